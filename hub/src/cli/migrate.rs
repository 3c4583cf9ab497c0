//! `migrate`: which numbered SQL files the database has and which wait, and applying those that wait.
//!
//! The files lie in `DIR/migrations`. With a daemon it is the daemon that applies them, because it is the
//! one writer; without one it is this command.

use super::{CliError, Place, output};
use crate::clock;
use crate::control::{self, Migrated, Reply, Request};
use crate::daemon;
use crate::database;
use crate::folder::Folder;
use crate::store::migrate::{self, MigrateError};
use crate::store::{HubStore, StoreError};
use serde_json::{Value as Json, json};
use tt_migrations::runner::{self, Applied, Migration};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(clap::Subcommand)]
enum What {
    /// Show which migrations are applied and which wait.
    Status,
    /// Apply those that wait, in order, each whole or not at all.
    Up,
}

pub(super) fn run(place: &Place, arguments: &Arguments) -> Result<(), CliError> {
    let folder = Folder::of_hub(&place.data)?;
    match arguments.what {
        None | Some(What::Status) => status(place, &folder),
        Some(What::Up) => up(place, &folder),
    }
}

fn status(place: &Place, folder: &Folder) -> Result<(), CliError> {
    let conn = database::open(&folder.database())?;
    let files = migrate::files(&conn, &folder.migrations()).map_err(MigrateError::from)?;
    let waiting = runner::waiting(&conn, &files).map_err(MigrateError::from)?;
    let applied = runner::applied(&conn).map_err(MigrateError::from)?;
    let adopted = applied.iter().any(|each| each.number == 0);
    let applied: Vec<&Applied> = applied.iter().filter(|each| each.number > 0).collect();
    if place.json {
        let done = applied.iter().map(|each| to_json(each.number, &each.name, Some(each.applied_at)));
        let rest = waiting.iter().map(|each| to_json(each.number, &each.name, None));
        return Ok(output::json(&json!({
            "folder": folder.migrations(),
            "adopted": adopted,
            "waiting": waiting.len(),
            "migrations": done.chain(rest).collect::<Vec<_>>(),
        }))?);
    }
    Ok(output::text(&describe(folder, &applied, &waiting))?)
}

fn to_json(number: u32, name: &str, applied_at: Option<i64>) -> Json {
    let state = if applied_at.is_some() { "applied" } else { "waiting" };
    json!({ "number": number, "name": name, "state": state, "applied_at": applied_at })
}

fn describe(folder: &Folder, applied: &[&Applied], waiting: &[Migration]) -> String {
    let mut rows = vec![["NUMBER", "NAME", "STATE"].map(str::to_owned).to_vec()];
    let row = |number: u32, name: &str, state: String| vec![format!("{number:04}"), name.to_owned(), state];
    let now = clock::now().0;
    rows.extend(applied.iter().map(|each| {
        let ago = output::span((now - each.applied_at) / 1000);
        row(each.number, &each.name, format!("applied {ago} ago"))
    }));
    rows.extend(waiting.iter().map(|each| row(each.number, &each.name, "waiting".to_owned())));
    let mut text = if rows.len() > 1 { output::columns(&rows) } else { String::new() };
    text.push_str(&match waiting.len() {
        0 => format!("nothing waits; new migrations go into {}\n", folder.migrations().display()),
        1 => "1 migration waits: apply it with `tt-hub migrate up`\n".to_owned(),
        more => format!("{more} migrations wait: apply them with `tt-hub migrate up`\n"),
    });
    text
}

fn up(place: &Place, folder: &Folder) -> Result<(), CliError> {
    let Migrated { applied, failed } = match control::ask(folder, &Request::Migrate)? {
        Some(Reply::Migrated(migrated)) => migrated,
        Some(Reply::Failed { reason }) => return Err(CliError::Refused(reason)),
        Some(other) => return Err(CliError::Refused(format!("the hub answered something else: {other:?}"))),
        None => alone(folder)?,
    };
    if place.json {
        let done: Vec<Json> =
            applied.iter().map(|(number, name)| json!({ "number": number, "name": name })).collect();
        output::json(&json!({ "applied": done, "failed": failed }))?;
    } else {
        let lines = applied.iter().map(|(number, name)| format!("applied {number:04} {name}\n"));
        let mut text: String = lines.collect();
        if applied.is_empty() && failed.is_none() {
            text.push_str("nothing waits\n");
        }
        output::text(&text)?;
    }
    failed.map_or(Ok(()), |reason| Err(CliError::Refused(reason)))
}

/// Without a daemon this command is the one writer. A daemon that starts meanwhile waits for it.
fn alone(folder: &Folder) -> Result<Migrated, CliError> {
    let path = folder.database();
    let policy = daemon::kept_policy(&path)?;
    let mut store = HubStore::open(&path, policy).map_err(|error| match error {
        StoreError::Sqlite(error) => CliError::Database(database::DatabaseError::new(&path, &error)),
        other => MigrateError::from(other).into(),
    })?;
    let waiting = migrate::waiting(store.connection(), &folder.migrations())?;
    let migrated = control::migrate(waiting, |migration| store.migrate(migration, clock::now()));
    store.checkpoint().map_err(MigrateError::from)?;
    Ok(migrated)
}

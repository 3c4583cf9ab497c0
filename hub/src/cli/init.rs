//! `init`: sets up a new hub, whole or not at all.
//!
//! * Everything is built in `DIR/.init` and put in place at the end, the database last: where it is, the
//!   hub is complete. What fails before that leaves nothing behind.
//! * An adopted file is copied and never touched.

mod adopt;
mod staging;

use super::{CliError, Place, output};
use crate::ca::{Authority, CaError};
use crate::clock;
use crate::folder::Folder;
use crate::store::{HubStore, StoreError};
use crate::upkeep;
use adopt::AdoptError;
use rusqlite::Connection;
use serde_json::{Map, json};
use staging::Staging;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use tt_migrations::capture::install;
use tt_migrations::policy::{self, PolicyError};
use tt_migrations::progress::Progress;
use tt_migrations::quote::ident;
use tt_migrations::runner::{self, MigrationError};
use tt_migrations::{connection, state};
use tt_protocol::counted::counted;
use tt_protocol::policy::Policy;
use tt_terminal::bar::Bar;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Begin with a copy of this SQLite file instead of an empty database.
    #[arg(long, value_name = "FILE.db")]
    adopt: Option<PathBuf>,
    /// How changes are merged; without it, the policy for TabletTracker.
    #[arg(long, value_name = "FILE.toml")]
    policy: Option<PathBuf>,
}

/// Why a hub was not set up. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub(super) enum InitError {
    #[error(
        "there is a hub in {0} already, and it was left as it is: start it with `tt-hub --data {0} serve`, or name another folder with --data"
    )]
    Exists(PathBuf),
    #[error("cannot write {path}: {source}; check the owner and mode of the folder, or choose another with --data", path = .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error(transparent)]
    Adopt(#[from] AdoptError),
    #[error(transparent)]
    Ca(#[from] CaError),
    #[error("cannot make the database: {0}; check the free space")]
    Sqlite(#[from] rusqlite::Error),
    #[error("cannot make the database: {0}")]
    Migration(#[from] MigrationError),
    #[error("cannot make the database: {0}")]
    Store(#[from] StoreError),
}

/// What was made.
struct Made {
    rows: BTreeMap<String, u64>,
    keyless: Vec<String>,
    warnings: Vec<String>,
    stripped: bool,
    keeps_authority: bool,
}

pub(super) fn run(place: &Place, arguments: &Arguments) -> Result<(), CliError> {
    let folder = Folder::new(&place.data);
    let bar = Bar::for_command(place.json || arguments.adopt.is_none());
    let made = set_up(&folder, arguments, &bar)?;
    bar.end();
    warn(&made);
    if place.json {
        let rows: Map<_, _> = made.rows.iter().map(|(table, rows)| (table.clone(), json!(rows))).collect();
        return Ok(output::json(&json!({
            "data": place.data,
            "database": folder.database(),
            "adopted": arguments.adopt,
            "rows": rows,
            "keyless": made.keyless,
            "warnings": made.warnings,
        }))?);
    }
    Ok(output::text(&describe(&folder, arguments, &made))?)
}

fn set_up(folder: &Folder, arguments: &Arguments, progress: &dyn Progress) -> Result<Made, InitError> {
    refuse_existing(folder)?;
    let (text, policy) = read_policy(arguments.policy.as_deref())?;
    if let Some(source) = &arguments.adopt {
        adopt::look(source)?;
    }
    // A new machine for a hub whose old one was lost: its devices know this authority.
    let keeps_authority = folder.path().join("ca").exists();
    if keeps_authority {
        Authority::load(folder.path())?;
    }
    let staging = Staging::begin(folder)?;
    if !keeps_authority {
        Authority::create(staging.path())?;
    }
    let mut made = build(&staging, arguments, (&text, policy), progress)?;
    made.keeps_authority = keeps_authority;
    staging.put_in_place()?;
    Ok(made)
}

fn refuse_existing(folder: &Folder) -> Result<(), InitError> {
    if folder.database().symlink_metadata().is_ok() {
        return Err(InitError::Exists(folder.path().to_owned()));
    }
    Ok(())
}

fn read_policy(file: Option<&Path>) -> Result<(String, Policy), InitError> {
    let Some(path) = file else {
        return Ok((policy::SHIPPED.to_owned(), policy::shipped()));
    };
    let text = std::fs::read_to_string(path)
        .map_err(|source| PolicyError::Unreadable { path: path.to_owned(), source })?;
    let policy = policy::parse(&path.display().to_string(), &text)?;
    Ok((text, policy))
}

fn build(
    staging: &Staging,
    arguments: &Arguments,
    (text, policy): (&str, Policy),
    progress: &dyn Progress,
) -> Result<Made, InitError> {
    let source = arguments.adopt.as_deref();
    let own_policy = arguments.policy.is_some();
    let path = staging.new_database()?;
    if let Some(source) = source {
        adopt::copy(source, &path, progress)?;
    }
    progress.step("setting up the database");
    let conn = connection::open(&path)?;
    let (stripped, intruders) = match source {
        Some(_) => {
            let stripped = has_traces(&conn)?;
            let intruders = install::uninstall(&conn)?;
            runner::adopt(&conn, clock::now().0)?;
            (stripped, intruders)
        }
        None => {
            runner::apply_all(&conn, clock::now().0)?;
            (false, Vec::new())
        }
    };
    conn.execute_batch(state::TABLES)?;
    state::set_text(&conn, state::POLICY, text)?;
    // The shipped policy names tables of every age of the program; an operator's own names what is there.
    let mut warnings = match own_policy {
        true => policy::warnings(&policy, &conn)?,
        false => Vec::new(),
    };
    let left_out = |what| format!("the file's {what} was left out: it names tables that are the hub's own");
    warnings.extend(intruders.into_iter().map(left_out));
    drop(conn);
    let mut store = HubStore::open(&path, policy)?;
    let replica = std::sync::Arc::clone(store.replica());
    let conn = store.connection();
    let rows = replica
        .tables
        .keys()
        .map(|table| Ok((table.clone(), rows_of(conn, table)?)))
        .collect::<rusqlite::Result<_>>()?;
    // Free pages can be given back a few at a time from now on.
    upkeep::vacuum_whole(conn, clock::now())?;
    // The file must be whole by itself when it is put in place.
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(Made { rows, keyless: replica.keyless.clone(), warnings, stripped, keeps_authority: false })
}

/// Whether the file comes from a hub or a device.
fn has_traces(conn: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name LIKE '\\_sync\\_%' ESCAPE '\\')";
    conn.query_row(sql, [], |row| row.get(0))
}

fn rows_of(conn: &Connection, table: &str) -> rusqlite::Result<u64> {
    let sql = format!("SELECT count(*) FROM {}", ident(table));
    let count: i64 = conn.query_row(&sql, [], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

fn warn(made: &Made) {
    for warning in &made.warnings {
        eprintln!("tt-hub: warning: {warning}");
    }
    for table in &made.keyless {
        eprintln!(
            "tt-hub: WARNING: table {table:?} has no primary key and is NOT replicated: rebuild it with one, \
             and it will be"
        );
    }
    if made.stripped {
        eprintln!(
            "tt-hub: warning: the adopted file came from another hub or device; its devices, versions and \
             conflicts stay there, its rows are here"
        );
    }
}

fn describe(folder: &Folder, arguments: &Arguments, made: &Made) -> String {
    let total: u64 = made.rows.values().sum();
    let mut text = match &arguments.adopt {
        Some(source) => {
            let (tables, rows) = (counted(made.rows.len(), "table"), counted(total, "row"));
            format!("adopted {}: {tables}, {rows}\n", source.display())
        }
        None => format!("made an empty database with {}\n", counted(made.rows.len(), "table")),
    };
    if arguments.adopt.is_some() {
        for (table, rows) in &made.rows {
            text.push_str(&format!("  {table}: {}\n", counted(*rows, "row")));
        }
    }
    let data = folder.path().display();
    text.push_str(&format!(
        "the hub is in {data}\n\nStart it:          tt-hub --data {data} serve\nInvite a device:   tt-hub \
         --data {data} invite NAME\n"
    ));
    text.push_str(&if made.keeps_authority {
        "the authority that was there already was kept: its devices know this hub; to go on with their database, \
         `tt-hub restore` before anything else\n"
            .to_owned()
    } else {
        format!("Keep a copy of {data}/ca elsewhere, in private: it is in no backup, and only with it devices know a new machine\n")
    });
    text
}

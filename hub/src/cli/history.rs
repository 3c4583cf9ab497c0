//! `history TABLE KEY`: who changed a row, when, from what to what. Reads the journal's files, with or without
//! the daemon.

use super::conflicts::{Names, names};
use super::{CliError, Place, output};
use crate::backup::calendar;
use crate::database;
use crate::folder::Folder;
use crate::journal::history::{Changed, Event, Line, Row, of_row};
use crate::journal::reader::{Reach, Reader};
use crate::store::conflict::{self, same_key};
use crate::store::decide::value;
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use tt_migrations::replica::Tracked;
use tt_migrations::shape::Schema;
use tt_protocol::value::Value;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The table.
    table: String,
    /// The row's key: a value, or `column=value` for each column of the key.
    #[arg(value_name = "KEY", required = true)]
    key: Vec<String>,
}

pub(super) fn run(place: &Place, arguments: &Arguments) -> Result<(), CliError> {
    let folder = Folder::of_hub(&place.data)?;
    let conn = database::open(&folder.database())?;
    let names = names(&conn)?;
    let tracked = table(&conn, &arguments.table)?;
    let key = key(&tracked, &arguments.key)?;
    let conflicts = same_key(&conn, &tracked, &key)?;
    let journal = Reader::of_folder(&folder.journal());
    let row = Row { tracked: &tracked, key, conflicts };
    let failed = |error: String| CliError::Refused(error);
    let lines = of_row(&journal, &row).map_err(|error| failed(error.to_string()))?;
    let reach = journal.reach().map_err(|error| failed(error.to_string()))?;
    if place.json {
        return Ok(output::json(&to_json(&row, &lines, reach, &names))?);
    }
    Ok(output::text(&describe(&row, &lines, reach, &names))?)
}

fn table(conn: &Connection, name: &str) -> Result<Tracked, CliError> {
    let schema = Schema::read(conn)?;
    let found = schema.tables.values().find(|table| table.name.eq_ignore_ascii_case(name));
    match found.filter(|table| !table.key.is_empty()) {
        Some(table) => Ok(Tracked::new(table.clone(), 0)),
        None => Err(CliError::Refused(format!(
            "the hub has no table `{name}` with a primary key: `tt-hub status` lists the tables"
        ))),
    }
}

/// The key as it was typed: one bare value, or a value for each column.
fn key(tracked: &Tracked, given: &[String]) -> Result<Vec<Value>, CliError> {
    let names = &tracked.names[..tracked.keys()];
    let named = |text: &String| names.iter().any(|name| starts_with_name(text, name));
    let texts: Vec<String> = match given {
        [value] if names.len() == 1 && !named(value) => vec![format!("{}={value}", names[0])],
        texts => texts.to_vec(),
    };
    let values = value::read(&tracked.table, &texts)?;
    let column = |name: &String| {
        let found = values.iter().find(|(have, _)| have.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone()).ok_or_else(|| {
            CliError::Usage(format!(
                "the key of {} is {}: give each as column=value",
                tracked.table.name,
                names.join(", ")
            ))
        })
    };
    let key = names.iter().map(column).collect::<Result<Vec<_>, _>>()?;
    if values.len() > key.len() {
        return Err(CliError::Usage(format!(
            "only {} is the key of {}",
            names.join(", "),
            tracked.table.name
        )));
    }
    Ok(key)
}

fn starts_with_name(text: &str, name: &str) -> bool {
    text.split_once('=').is_some_and(|(head, _)| head.trim_end_matches(':').trim().eq_ignore_ascii_case(name))
}

fn to_json(row: &Row<'_>, lines: &[Line], reach: Option<Reach>, names: &Names) -> Json {
    let named = row.tracked.names.iter().zip(&row.key);
    let key: serde_json::Map<String, Json> =
        named.map(|(name, held)| (name.clone(), conflict::value(held))).collect();
    let value = |held: &Option<Value>| held.as_ref().map(conflict::value);
    let column = |one: &Changed| json!({ "name": one.name, "from": value(&one.from), "to": value(&one.to) });
    let changes: Vec<Json> = lines
        .iter()
        .map(|line| {
            json!({
                "version": line.version.0,
                "at": line.at.0,
                "merged_at": line.merged_at.0,
                "by": names.of(line.by.0),
                "event": word(&line.event),
                "conflict": match &line.event { Event::Decided { id, .. } => Some(id), _ => None },
                "decision": match &line.event { Event::Decided { decision, .. } => Some(decision), _ => None },
                "columns": line.columns.iter().map(column).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "table": row.tracked.table.name,
        "key": key,
        "from_version": reach.map(|reach| reach.from.0),
        "from_at": reach.map(|reach| reach.from_at.0),
        "changes": changes,
    })
}

const fn word(event: &Event) -> &'static str {
    match event {
        Event::Made => "made",
        Event::Changed => "changed",
        Event::Deleted => "deleted",
        Event::Decided { .. } => "decided",
    }
}

fn describe(row: &Row<'_>, lines: &[Line], reach: Option<Reach>, names: &Names) -> String {
    let mut rows = vec![["VERSION", "WHEN (UTC)", "BY", "WHAT"].map(str::to_owned).to_vec()];
    for line in lines {
        let what = match &line.event {
            Event::Decided { id, decision } => format!("conflict {id}: {decision}"),
            event => format!("{} {}", word(event), columns(&line.columns)),
        };
        rows.push(vec![line.version.to_string(), utc(line.at.0), names.of(line.by.0), what]);
    }
    let table = &row.tracked.table.name;
    let since = match reach {
        Some(reach) => {
            format!("The journal reaches back to version {} ({}).\n", reach.from, utc(reach.from_at.0))
        }
        None => "There is no journal yet: it begins with the first start of the hub.\n".to_owned(),
    };
    if lines.is_empty() {
        return format!("nothing has happened to this row of {table}\n{since}");
    }
    format!("{}\n{since}", output::columns(&rows))
}

/// A moment, from milliseconds.
fn utc(at: i64) -> String {
    calendar::utc(at.div_euclid(1_000))
}

fn columns(columns: &[Changed]) -> String {
    let text = |value: &Option<Value>| value.as_ref().map(|value| conflict::value(value).to_string());
    let one = |changed: &Changed| match (text(&changed.from), text(&changed.to)) {
        (Some(from), Some(to)) => format!("{} {from} → {to}", changed.name),
        (from, to) => format!("{} {}", changed.name, from.or(to).unwrap_or_default()),
    };
    columns.iter().map(one).collect::<Vec<_>>().join(", ")
}

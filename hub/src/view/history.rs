//! The history of one row, for a person who names the row by its table and key.

use super::ViewError;
use super::names::Names;
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

/// What the journal says of a row.
pub(crate) struct Told<'t> {
    pub(crate) row: Row<'t>,
    pub(crate) lines: Vec<Line>,
    /// How far back the journal goes.
    pub(crate) reach: Option<Reach>,
}

/// Reads it. The key is as it was typed: one bare value, or `column=value` for each column.
pub(crate) fn read<'t>(
    conn: &Connection,
    folder: &Folder,
    tracked: &'t Tracked,
    typed: &[String],
) -> Result<Told<'t>, ViewError> {
    let key = key(tracked, typed)?;
    let conflicts = same_key(conn, tracked, &key)?;
    let journal = Reader::of_folder(&folder.journal());
    let row = Row { tracked, key, conflicts };
    let lines = of_row(&journal, &row)?;
    let reach = journal.reach()?;
    Ok(Told { row, lines, reach })
}

pub(crate) fn table(conn: &Connection, name: &str) -> Result<Tracked, ViewError> {
    let schema = Schema::read(conn)?;
    let found = schema.tables.values().find(|table| table.name.eq_ignore_ascii_case(name));
    match found.filter(|table| !table.key.is_empty()) {
        Some(table) => Ok(Tracked::new(table.clone(), 0)),
        None => Err(ViewError::NoTable(name.to_owned())),
    }
}

/// The key as it was typed: one bare value, or a value for each column.
fn key(tracked: &Tracked, given: &[String]) -> Result<Vec<Value>, ViewError> {
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
            ViewError::Key(format!(
                "the key of {} is {}: give each as column=value",
                tracked.table.name,
                names.join(", ")
            ))
        })
    };
    let key = names.iter().map(column).collect::<Result<Vec<_>, _>>()?;
    if values.len() > key.len() {
        return Err(ViewError::Key(format!(
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

impl Told<'_> {
    pub(crate) fn to_json(&self, names: &Names) -> Json {
        let Told { row, lines, reach } = self;
        let named = row.tracked.names.iter().zip(&row.key);
        let key: serde_json::Map<String, Json> =
            named.map(|(name, held)| (name.clone(), conflict::value(held))).collect();
        let value = |held: &Option<Value>| held.as_ref().map(conflict::value);
        let column =
            |one: &Changed| json!({ "name": one.name, "from": value(&one.from), "to": value(&one.to) });
        let changes: Vec<Json> = lines
            .iter()
            .map(|line| {
                json!({
                    "version": line.version.0,
                    "at": line.at.0,
                    "merged_at": line.merged_at.0,
                    "by": names.of(line.by.0),
                    "handed_in_by": line.through.map(|through| names.of(through.0)),
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
}

pub(crate) const fn word(event: &Event) -> &'static str {
    match event {
        Event::Made => "made",
        Event::Changed => "changed",
        Event::Deleted => "deleted",
        Event::Decided { .. } => "decided",
    }
}

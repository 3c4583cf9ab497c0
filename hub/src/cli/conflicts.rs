//! `conflicts`: what could not be merged or was overruled, as a list and one by one.

use super::{CliError, Place, output};
use crate::clock;
use crate::database;
use crate::devices;
use crate::folder::Folder;
use crate::store::conflict;
use rusqlite::Connection;
use serde_json::Value as Json;
use std::collections::HashMap;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Closed ones, too.
    #[arg(long)]
    all: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Show one of them whole.
    Show {
        /// Its number in the list.
        id: i64,
    },
}

pub(super) fn run(place: &Place, arguments: &Arguments) -> Result<(), CliError> {
    let folder = Folder::of_hub(&place.data)?;
    let conn = database::open(&folder.database())?;
    match arguments.action {
        Some(Action::Show { id }) => show(place, &conn, id),
        None => list(place, &conn, arguments.all),
    }
}

fn list(place: &Place, conn: &Connection, all: bool) -> Result<(), CliError> {
    let entries = read(conn, all)?;
    if place.json {
        return Ok(output::json(&Json::Array(entries))?);
    }
    if entries.is_empty() {
        return Ok(output::text("no conflicts\n")?);
    }
    let now = clock::now().0;
    let heading = ["ID", "KIND", "TABLE", "KEY", "COLUMNS", "LOST BY", "WHEN", "STATE", "DONE"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(entries.iter().map(|entry| to_row(entry, now)));
    Ok(output::text(&output::columns(&rows))?)
}

fn show(place: &Place, conn: &Connection, id: i64) -> Result<(), CliError> {
    let entry =
        read(conn, true)?.into_iter().find(|entry| entry["id"] == id).ok_or(CliError::NoConflict(id))?;
    if place.json {
        return Ok(output::json(&entry)?);
    }
    Ok(output::text(&describe(&entry, clock::now().0))?)
}

fn read(conn: &Connection, all: bool) -> Result<Vec<Json>, CliError> {
    let devices = devices::list(conn)?.into_iter();
    let names: HashMap<u16, String> = devices.map(|device| (device.device.0, device.name)).collect();
    let name_of = |device: u16| match names.get(&device) {
        Some(name) => name.clone(),
        None if device == 0 => "hub".to_owned(),
        None => format!("device {device}"),
    };
    Ok(conflict::list(conn, all, name_of)?)
}

fn to_row(entry: &Json, now: i64) -> Vec<String> {
    let columns = entry["columns"].as_array().into_iter().flatten();
    let columns: Vec<&str> = columns.filter_map(|column| column["name"].as_str()).collect();
    vec![
        plain(&entry["id"]),
        plain(&entry["kind"]),
        plain(&entry["table"]),
        fields(&entry["key"]),
        columns.join(", "),
        plain(&entry["lost_from"]),
        ago(&entry["lost_at"], now),
        plain(&entry["state"]),
        plain(&entry["action"]),
    ]
}

fn describe(entry: &Json, now: i64) -> String {
    let mut text = format!(
        "conflict {} ({}, {})\nrow      {} {}\ndone     {}\nlost     {}, {}\n",
        plain(&entry["id"]),
        plain(&entry["kind"]),
        plain(&entry["state"]),
        plain(&entry["table"]),
        fields(&entry["key"]),
        plain(&entry["action"]),
        plain(&entry["lost_from"]),
        ago(&entry["lost_at"], now),
    );
    if !entry["kept_from"].is_null() {
        let (from, when) = (plain(&entry["kept_from"]), ago(&entry["kept_at"], now));
        text.push_str(&format!("kept     {from}, {when}\n"));
    }
    let columns = entry["columns"].as_array().into_iter().flatten();
    let mut rows = vec![["COLUMN", "BASE", "KEPT", "LOST"].map(str::to_owned).to_vec()];
    rows.extend(
        columns.map(|column| ["name", "base", "kept", "lost"].map(|name| plain(&column[name])).to_vec()),
    );
    if rows.len() > 1 {
        text.push('\n');
        text.push_str(&output::columns(&rows));
    }
    if let Some(row) = entry["row"].as_object() {
        text.push_str("\nthe row that lost:\n");
        let cells = row.iter().map(|(name, value)| vec![format!("  {name}"), plain(value)]);
        text.push_str(&output::columns(&cells.collect::<Vec<_>>()));
    }
    text
}

fn ago(at: &Json, now: i64) -> String {
    let at = at.as_i64();
    at.map_or_else(|| "-".to_owned(), |at| format!("{} ago", output::span((now - at) / 1000)))
}

/// A value without the quotes of JSON.
fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn fields(key: &Json) -> String {
    let fields = key.as_object().into_iter().flatten();
    let fields: Vec<String> = fields.map(|(name, value)| format!("{name}={}", plain(value))).collect();
    fields.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_entry_is_told_whole() {
        let entry = json!({
            "id": 7, "kind": "column", "table": "po_lines", "key": {"id": 3}, "state": "open",
            "columns": [{"name": "note", "base": null, "kept": "a", "lost": "b"}],
            "row": {"id": 3, "note": "b"}, "rows": 1,
            "kept_from": "hub", "kept_at": 0, "lost_from": "station-1", "lost_at": 60_000, "action": "kept the later",
        });
        let text = describe(&entry, 120_000);
        for part in
            ["conflict 7 (column, open)", "po_lines id=3", "station-1, 60 s ago", "note    null  a     b"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(to_row(&entry, 120_000)[3..6], ["id=3", "note", "station-1"]);
    }
}

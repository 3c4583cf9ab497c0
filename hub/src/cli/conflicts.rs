//! `conflicts`: what could not be merged or was overruled, as a list and one by one, and what the operator
//! decides about it.

mod decide;

use super::{CliError, Place, output};
use crate::clock;
use crate::database;
use crate::folder::Folder;
use crate::store::conflict::Kind;
use crate::store::conflict::page::{self, Filter, Page};
use crate::view::names::Names;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use decide::{Side, Which};
use rusqlite::Connection;
use serde_json::Value as Json;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Closed ones, too.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    chosen: Chosen,
    #[command(subcommand)]
    action: Option<Action>,
}

/// Which entries are meant; what is given must all hold.
#[derive(clap::Args)]
struct Chosen {
    /// Only conflicts of this table.
    #[arg(long, global = true, value_name = "TABLE")]
    table: Option<String>,
    /// Only conflicts that this device lost; `hub` for programs at the hub.
    #[arg(long, global = true, value_name = "NAME")]
    device: Option<String>,
    /// Only conflicts of this kind.
    #[arg(long, global = true, value_name = "KIND", value_parser = kind())]
    kind: Option<Kind>,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Show one of them whole.
    Show {
        /// Its number in the list.
        id: i64,
    },
    /// Take a side. What lost goes in after all; of a counter, what was held is added.
    Take {
        /// Its number in the list, or `all` that --table, --device and --kind let through.
        #[arg(value_name = "ID|all")]
        which: Which,
        /// Who is right.
        side: Side,
        /// Do not ask whether really all of them are meant.
        #[arg(long)]
        yes: bool,
    },
    /// Write other values. A row that was held goes in with them.
    #[command(after_help = decide::VALUES_HELP)]
    Edit {
        /// Its number in the list.
        id: i64,
        /// What to write.
        #[arg(value_name = "COLUMN=VALUE", required = true)]
        values: Vec<String>,
    },
    /// Close it without doing anything.
    Dismiss {
        /// Its number in the list, or `all` that --table, --device and --kind let through.
        #[arg(value_name = "ID|all")]
        which: Which,
        /// Do not ask whether really all of them are meant.
        #[arg(long)]
        yes: bool,
    },
}

fn kind() -> impl TypedValueParser<Value = Kind> {
    PossibleValuesParser::new(Kind::ALL.map(Kind::word))
        .try_map(|word| Kind::from_word(&word).ok_or("it is none of the kinds"))
}

pub(super) fn run(place: &Place, arguments: Arguments) -> Result<(), CliError> {
    let folder = Folder::of_hub(&place.data)?;
    let conn = database::open(&folder.database())?;
    let names = Names::read(&conn)?;
    let filter = arguments.chosen.filter(arguments.all, &names)?;
    let desk = decide::Desk { place, folder: &folder, conn: &conn, names: &names };
    match arguments.action {
        None => list(place, &conn, &filter, &names),
        Some(Action::Show { id }) => {
            no_filter(&filter)?;
            show(place, &conn, id, &names)
        }
        Some(Action::Take { which, side, yes }) => desk.many(which, filter, &side.decision(), yes),
        Some(Action::Dismiss { which, yes }) => {
            desk.many(which, filter, &crate::store::decide::Decision::Dismiss, yes)
        }
        Some(Action::Edit { id, values }) => {
            no_filter(&filter)?;
            desk.edit(id, &values)
        }
    }
}

impl Chosen {
    fn filter(self, closed: bool, names: &Names) -> Result<Filter, CliError> {
        let lost_from = self.device.map(|name| names.numbers(&name)).transpose()?;
        Ok(Filter { closed, table: self.table, lost_from, kind: self.kind })
    }
}

/// A number alone says which entry is meant.
fn no_filter(filter: &Filter) -> Result<(), CliError> {
    if filter.is_empty() {
        return Ok(());
    }
    Err(CliError::Usage(
        "--table, --device and --kind choose among many: leave them out, or say `all`".into(),
    ))
}

fn list(place: &Place, conn: &Connection, filter: &Filter, names: &Names) -> Result<(), CliError> {
    let entries = page::read(conn, filter, Page::WHOLE, |device| names.of(device))?;
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

fn show(place: &Place, conn: &Connection, id: i64, names: &Names) -> Result<(), CliError> {
    let entry = page::find(conn, id, |device| names.of(device))?.ok_or(CliError::NoConflict(id))?;
    if place.json {
        return Ok(output::json(&entry)?);
    }
    Ok(output::text(&describe(&entry, clock::now().0))?)
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
    if !entry["decided_at"].is_null() {
        let (decision, when) = (plain(&entry["decision"]), ago(&entry["decided_at"], now));
        text.push_str(&format!("decided  {decision}, {when}\n"));
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
    if entry["state"] == "open" {
        text.push_str(&suggestions(entry));
    }
    text
}

/// What the operator can type now.
fn suggestions(entry: &Json) -> String {
    let id = plain(&entry["id"]);
    // What stands for several rows has no columns that could be edited.
    let edit = if entry["rows"] == 1 { format!(" | edit {id} COLUMN=VALUE") } else { String::new() };
    format!("\ndecide with `tt-hub conflicts`: take {id} winner | take {id} loser{edit} | dismiss {id}\n")
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
            "decision": null, "decided_at": null,
        });
        let text = describe(&entry, 120_000);
        for part in
            ["conflict 7 (column, open)", "po_lines id=3", "station-1, 60 s ago", "note    null  a     b"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(text.ends_with("take 7 winner | take 7 loser | edit 7 COLUMN=VALUE | dismiss 7\n"), "{text}");
        assert_eq!(to_row(&entry, 120_000)[3..6], ["id=3", "note", "station-1"]);
    }

    #[test]
    fn history_is_told_and_what_is_closed_is_not_decided_again() {
        let entry = json!({
            "id": 7, "kind": "deletes", "table": "po_lines", "key": {}, "state": "closed", "columns": [],
            "row": null, "rows": 9, "kept_from": null, "lost_from": "hub", "lost_at": 0, "action": "held",
            "decision": "dismissed", "decided_at": 60_000,
        });
        let text = describe(&entry, 120_000);
        assert!(text.contains("decided  dismissed, 60 s ago\n") && !text.contains("take 7"), "{text}");
        assert!(!suggestions(&entry).contains("edit"));
    }
}

//! `history TABLE KEY`: who changed a row, when, from what to what. Reads the journal's files, with or without
//! the daemon.

use super::{CliError, Place, output};
use crate::backup::calendar;
use crate::database;
use crate::folder::Folder;
use crate::journal::history::{Changed, Event};
use crate::store::conflict;
use crate::view::history::{self, Told};
use crate::view::names::Names;
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
    let names = Names::read(&conn)?;
    let tracked = history::table(&conn, &arguments.table)?;
    let told = history::read(&conn, &folder, &tracked, &arguments.key)?;
    if place.json {
        return Ok(output::json(&told.to_json(&names))?);
    }
    Ok(output::text(&describe(&told, &names))?)
}

fn describe(told: &Told<'_>, names: &Names) -> String {
    let Told { row, lines, reach } = told;
    let mut rows = vec![["VERSION", "WHEN (UTC)", "BY", "WHAT"].map(str::to_owned).to_vec()];
    for line in lines {
        let what = match &line.event {
            Event::Decided { id, decision } => format!("conflict {id}: {decision}"),
            event => format!("{} {}", history::word(event), columns(&line.columns)),
        };
        let through = line.through.map(|through| format!(", through {}", names.of(through.0)));
        let by = format!("{}{}", names.of(line.by.0), through.unwrap_or_default());
        rows.push(vec![line.version.to_string(), utc(line.at.0), by, what]);
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

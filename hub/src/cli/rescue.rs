//! `rescue FILE.db`: takes the unsent work out of the file of a device that is lost or broken.
//!
//! This command copies the file and cuts in the copy what was uncut; the one writer takes it in, the daemon when one
//! runs.

use super::invite::unexpected;
use super::{CliError, Place, output};
use crate::ca::Authority;
use crate::clock;
use crate::control::{self, Reply, Request};
use crate::daemon;
use crate::folder::Folder;
use crate::rescue::{Copied, Rescued, Work};
use serde_json::json;
use std::path::PathBuf;
use tt_protocol::counted::counted;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The device's database, with its `-wal` file beside it if there is one.
    #[arg(value_name = "FILE.db")]
    file: PathBuf,
    /// Only say what would go in.
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(place: &Place, arguments: &Arguments) -> Result<(), CliError> {
    let folder = Folder::of_hub(&std::path::absolute(&place.data)?)?;
    let copied = Copied::of(&folder, &arguments.file)?;
    Work::cut(&copied.db, &copied.of)?;
    let report = take_in(&folder, &copied, arguments.dry_run)?;
    if place.json {
        output::json(&to_json(&copied, &report, arguments.dry_run))?;
    } else {
        output::text(&described(&report, arguments.dry_run))?;
    }
    tell_missing(&copied, &report);
    if report.lost.is_empty() && copied.illegible.is_empty() { Ok(()) } else { Err(CliError::NotAll) }
}

fn take_in(folder: &Folder, copied: &Copied, dry_run: bool) -> Result<Rescued, CliError> {
    let request = Request::Rescue { copy: copied.db.clone(), of: copied.of.clone(), dry_run };
    match control::ask(folder, &request)? {
        Some(Reply::Rescued(report)) => return Ok(report),
        Some(other) => return Err(unexpected(other)),
        None => {}
    }
    let authority = Authority::load(folder.path())?.fingerprint();
    let (_lock, mut store) = daemon::open_alone(folder)?;
    let report = store.rescue(Work::read(&copied.db)?, &copied.of, (&authority, dry_run), clock::now())?;
    store.checkpoint()?;
    Ok(report)
}

/// What is missing, and what may be: on stderr, also beside JSON.
fn tell_missing(copied: &Copied, report: &Rescued) {
    let file = copied.of.display();
    for one in &copied.illegible {
        let rows = one.rows.map(|rows| format!(" ({})", counted(rows, "row"))).unwrap_or_default();
        eprintln!("tt-hub: {file} is damaged: \"{}\"{rows}: {}", one.table, one.found);
    }
    for one in &report.lost {
        eprintln!("tt-hub: NOT handed in: {one}");
    }
    if copied.has_no_log {
        eprintln!(
            "tt-hub: there is no {file}-wal beside the file: if the device has one, bring it too and run this again, \
             because what was written last is in it"
        );
    }
}

fn to_json(copied: &Copied, report: &Rescued, dry_run: bool) -> serde_json::Value {
    json!({
        "file": copied.of,
        "device": report.device,
        "name": report.name,
        "revoked": report.is_revoked,
        "dry_run": dry_run,
        "changesets": report.changesets,
        "rows": report.rows,
        "tables": report.tables,
        "uncut": report.uncut,
        "merged": report.merged,
        "unclear": report.unclear,
        "conflicts": report.conflicts,
        "handed_in_by": report.handed_in_by,
        "version": report.version,
        "lost": report.lost,
        "illegible": copied.illegible,
    })
}

fn described(report: &Rescued, dry_run: bool) -> String {
    let Rescued { name, device, changesets, rows, merged, .. } = report;
    let mut text = format!("The file of {name} (device {device}).\n");
    let goes = if dry_run { "would go in" } else { "went in" };
    if *changesets == 0 {
        text.push_str(&format!("Nothing new: the hub has all of it ({}).\n", counted(*merged, "changeset")));
    } else {
        let by = report.handed_in_by.as_deref().unwrap_or_default();
        text.push_str(&format!(
            "{} with {} {goes}, as {by}; {merged} {} here already.\n",
            counted(*changesets, "changeset"),
            counted(*rows, "row"),
            if *merged == 1 { "was" } else { "were" }
        ));
        let table = |(table, rows): (&String, &u64)| vec![format!("    {table}"), rows.to_string()];
        text.push_str(&output::columns(&report.tables.iter().map(table).collect::<Vec<_>>()));
        if report.uncut > 0 {
            text.push_str(&format!("{} of these rows the device had not cut yet.\n", report.uncut));
        }
    }
    if report.unclear > 0 {
        text.push_str(&format!(
            "Perhaps in already: {}, for which the device, or another copy, has handed in other values. The conflict list \
             has what waits.\n",
            counted(report.unclear, "row")
        ));
    }
    if !report.conflicts.is_empty() {
        text.push_str(&format!(
            "{} of the conflict list came of it: tt-hub conflicts --all\n",
            counted(report.conflicts.len(), "entry")
        ));
    }
    if !report.is_revoked {
        text.push_str(&format!("If {name} is lost, cut it off: tt-hub revoke {name}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_reads_what_goes_in_and_what_to_do_next() {
        let mut report = Rescued { device: 3, name: "a".into(), merged: 2, ..Rescued::default() };
        assert_eq!(
            described(&report, false),
            "The file of a (device 3).\nNothing new: the hub has all of it (2 changesets).\nIf a is lost, cut it off: \
             tt-hub revoke a\n"
        );
        report = Rescued {
            changesets: 1,
            rows: 4,
            uncut: 1,
            unclear: 2,
            tables: [("t".to_owned(), 4)].into(),
            handed_in_by: Some("a-rescued-00".into()),
            is_revoked: true,
            conflicts: vec![7],
            ..report
        };
        assert_eq!(
            described(&report, true),
            "The file of a (device 3).\n1 changeset with 4 rows would go in, as a-rescued-00; 2 were here already.\n    t  \
             4\n1 of these rows the device had not cut yet.\nPerhaps in already: 2 rows, for which the device, or another copy, \
             has handed in other values. The conflict list has what waits.\n1 entry of the conflict list came of it: \
             tt-hub conflicts --all\n"
        );
    }
}

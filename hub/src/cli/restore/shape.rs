//! How backups to choose from, a plan and a restore look on a terminal.

use crate::backup::calendar::Civil;
use crate::backup::zone::Zone;
use crate::backup::{Backups, Listed};
use crate::cli::output;
use crate::restore::{Plan, Target};
use crate::store::epoch::Begun;
use std::fmt::Write as _;
use tt_protocol::counted::counted;

/// Backups to choose from, numbered from 1.
pub(super) fn list(backups: &[&Listed], of: &Backups, now: i64) -> Vec<Vec<String>> {
    let mut rows = vec![["", "BACKUP", "TIER", "AGE", "ROWS", "COPIES"].map(str::to_owned).to_vec()];
    for (number, backup) in (1..).zip(backups) {
        let manifest = &backup.manifest;
        let age = match Target::read(&manifest.taken_at, of) {
            Ok(Target::Time(at)) => output::span(now - at),
            _ => "-".to_owned(),
        };
        let total: u64 = manifest.contents.program_rows().map(|(_, rows)| rows).sum();
        let copies = backup.copies.iter().map(|(vault, state)| {
            let word = if state.is_good() { state.word().to_owned() } else { state.word().to_uppercase() };
            format!("{} {word}", of.vaults[*vault].vault.name())
        });
        let copies = copies.collect::<Vec<_>>().join(", ");
        let number = number.to_string();
        rows.push(vec![
            number,
            manifest.id.clone(),
            manifest.tier.to_string(),
            age,
            total.to_string(),
            copies,
        ]);
    }
    rows
}

/// What will change, for a person.
pub(super) fn plan(label: &str, plan: &Plan, zone: &Zone) -> String {
    let mut text = format!("{label} was checked and can be restored.\n");
    if plan.present_damaged {
        text.push_str(
            "The present database is damaged: nothing can be compared with it. Its bytes are kept as they are.\n",
        );
        return text;
    }
    text.push_str(&match plan.adopted {
        true => format!(
            "It has nothing of this hub and is adopted as new; now: version {} of epoch {}.\n",
            plan.present_version, plan.present_epoch
        ),
        false => format!(
            "It is version {} of epoch {}; now: version {} of epoch {}.\n",
            plan.version, plan.epoch, plan.present_version, plan.present_epoch
        ),
    });
    tables(plan, &mut text);
    if let Some(at) = plan.newest_lost_at {
        let local = Civil::of(zone.local(at.div_euclid(1_000))).text();
        writeln!(text, "The newest change that it does not have came in at {local}.").unwrap_or_default();
    }
    devices(plan, &mut text);
    if !plan.written_at_hub.is_empty() {
        text.push_str(
            "Written at the hub itself since, and sent again by nobody; the safety copy keeps them:\n",
        );
        for (table, rows) in &plan.written_at_hub {
            writeln!(text, "  {table}: {}", counted(*rows, "row")).unwrap_or_default();
        }
    }
    if !plan.not_cut.is_empty() {
        let tables = plan.not_cut.join(", ");
        writeln!(text, "Written at the hub just now, and in the safety copy only: rows of {tables}.")
            .unwrap_or_default();
    }
    if plan.conflicts_left > 0 {
        writeln!(
            text,
            "Of the conflict list, only the safety copy keeps {} that wait for a decision.",
            counted(plan.conflicts_left, "entry")
        )
        .unwrap_or_default();
    }
    text
}

fn tables(plan: &Plan, text: &mut String) {
    if plan.tables.is_empty() {
        text.push_str("No row of any table is another one.\n");
        return;
    }
    let mut rows = vec![["TABLE", "COME BACK", "GO", "CHANGE", ""].map(str::to_owned).to_vec()];
    for (table, change) in &plan.tables {
        let shape = if change.shape { "other columns, or the table itself" } else { "" };
        let numbers = [change.added, change.removed, change.changed].map(|count| count.to_string());
        let [added, removed, changed] = numbers;
        rows.push(vec![table.clone(), added, removed, changed, shape.to_owned()]);
    }
    text.push_str(&output::columns(&rows));
}

fn devices(plan: &Plan, text: &mut String) {
    for device in plan.devices.iter().filter(|device| !device.revoked) {
        let name = &device.name;
        match (device.again_from, device.again_to) {
            _ if device.cannot_be_placed => writeln!(
                text,
                "{name}: its changesets 1 to {} count as handed in; whether this file has them, nobody can say. It \
                 sends what comes after.",
                device.present
            ),
            (Some(from), Some(to)) if from == to => writeln!(text, "{name} sends changeset {from} again."),
            (Some(from), Some(to)) => writeln!(text, "{name} sends changesets {from} to {to} again."),
            _ => writeln!(text, "{name} has nothing to send again."),
        }
        .unwrap_or_default();
    }
    let revoked: Vec<&str> = plan
        .devices
        .iter()
        .filter(|device| device.revoked && device.again_to.is_some())
        .map(|device| device.name.as_str())
        .collect();
    if !revoked.is_empty() {
        let names = revoked.join(", ");
        writeln!(text, "Revoked, so that the hub takes from its journal what they had handed in: {names}.")
            .unwrap_or_default();
    }
}

/// What was done.
pub(super) fn done(label: &str, begun: Begun, safety: &str) -> String {
    format!(
        "restored {label}: the hub begins epoch {} with version {}\nthe database of before is {safety}: `tt-hub restore \
         undo` puts it back\n",
        begun.epoch, begun.version
    )
}

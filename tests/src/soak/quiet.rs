//! A quiet moment: everything is mended, programs rest, all come in step, and every promise is looked at on every node.

use super::account;
use super::act;
use super::backups;
use super::chronicle::{Chronicle, now_s};
use super::fault::Mends;
use super::site::{Device, Point, Site};
use super::strain::Strain;
use crate::inspect;
use anyhow::{Context as _, bail, ensure};
use std::path::Path;
use std::time::Duration;

/// Attempts of a minute each until a device is in step.
const ATTEMPTS: u32 = 5;
/// Findings that are printed of one file.
const FINDINGS_MAX: usize = 30;

/// Mends, waits and looks. Programs rest afterwards.
pub(super) fn quiet(
    site: &mut Site,
    mends: &mut Mends,
    strain: &mut Strain,
    chronicle: &mut Chronicle,
) -> anyhow::Result<()> {
    let begun = chronicle.elapsed();
    act::mend_all(site, mends)?;
    site.rest_programs()?;
    in_step(site)?;
    prove(site)?;
    let commits = site.commits()?;
    let checked = backups::check(site)?;
    site.unsettled = false;
    note_point(site)?;
    chronicle.tally.quiet += 1;
    chronicle.tally.commits = commits;
    for line in strain.look(site)? {
        chronicle.say(&format!("  {line}"));
    }
    let (open, nodes) = (open_conflicts(site)?, site.devices.len() + 1);
    let took = chronicle.elapsed().saturating_sub(begun).as_secs();
    chronicle.say(&format!(
        "quiet moment {}: {commits} commits are on {nodes} nodes, each once; {checked} backups read; {open} open \
         conflicts; {took} s",
        chronicle.tally.quiet
    ));
    Ok(())
}

/// Every device has handed in and fetched all.
fn in_step(site: &Site) -> anyhow::Result<()> {
    // Twice: what the last device hands in must still reach the first.
    for device in site.devices.iter().chain(&site.devices) {
        device_in_step(device)?;
    }
    Ok(())
}

pub(super) fn device_in_step(device: &Device) -> anyhow::Result<()> {
    let mut reason = None;
    for _ in 0..ATTEMPTS {
        match device.edge.sync("60") {
            Ok(()) => return Ok(()),
            Err(error) => reason = Some(error),
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    let status = device.edge.status()?;
    let reason = reason.map_or_else(String::new, |error| format!("{error:#}"));
    bail!("{} does not come in step: {reason}; its status: {status}", device.name)
}

/// Every node holds what the ledger says, and the same.
fn prove(site: &Site) -> anyhow::Result<()> {
    let account = site.account(&site.past)?;
    let expected = inspect::digests(&site.hub.db())?;
    let mut wrong = Vec::new();
    for (name, db) in site.files() {
        let findings = account.compare(&account::found(&db)?);
        wrong.extend(findings.iter().take(FINDINGS_MAX).map(|finding| format!("{name}: {finding}")));
        if findings.len() > FINDINGS_MAX {
            wrong.push(format!("{name}: and {} more", findings.len() - FINDINGS_MAX));
        }
        let found = inspect::digests(&db)?;
        let differing = expected.iter().filter(|(table, digest)| found.get(*table) != Some(*digest));
        wrong.extend(differing.map(|(table, _)| format!("{name}: {table} differs from the hub's")));
        if found.len() != expected.len() {
            wrong.push(format!("{name}: it has {} tables, the hub {}", found.len(), expected.len()));
        }
        sound(&db).with_context(|| name.clone())?;
    }
    for device in &site.devices {
        let status = device.edge.status()?;
        if status["unsent"] != 0 || !status["blocked"].is_null() {
            wrong.push(format!("{}: {status}", device.name));
        }
    }
    if !wrong.is_empty() {
        let conflicts = site.hub.say(&["conflicts"])?.out;
        bail!("the promises do not hold:\n  {}\nopen conflicts:\n{conflicts}", wrong.join("\n  "));
    }
    Ok(())
}

/// All that SQLite can check by itself.
pub(super) fn sound(db: &Path) -> anyhow::Result<()> {
    let broken = inspect::number(db, "SELECT count(*) FROM pragma_foreign_key_check")?;
    ensure!(broken == 0, "{broken} broken references in {}", db.display());
    let sick = "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'";
    ensure!(inspect::number(db, sick)? == 0, "{} is damaged", db.display());
    Ok(())
}

fn open_conflicts(site: &Site) -> anyhow::Result<usize> {
    Ok(site.hub_must(&["conflicts"])?.as_array().map_or(0, Vec::len))
}

/// Nobody writes: this moment has a version and a second of its own.
fn note_point(site: &mut Site) -> anyhow::Result<()> {
    let version = site.hub_must(&["status"])?["version"].as_u64().context("a version")?;
    let second = now_s();
    let (at, _) = site.office_at()?;
    let state = site.past.now(&at);
    for target in [version.to_string(), utc(second)] {
        let arguments = vec!["--at".to_owned(), target];
        site.points.push(Point { arguments, state: state.clone() });
    }
    // A restore to a time takes all of that second.
    while now_s() <= second {
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// As `restore --at` reads it. SQLite knows the calendar.
fn utc(second: u64) -> String {
    let text = rusqlite::Connection::open_in_memory().and_then(|conn| {
        let sql = "SELECT strftime('%Y-%m-%dT%H:%M:%SZ', ?1, 'unixepoch')";
        conn.query_row(sql, [i64::try_from(second).unwrap_or(0)], |row| row.get(0))
    });
    text.unwrap_or_default()
}

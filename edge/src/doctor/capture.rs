//! Capture and replication of this file: triggers, tables left out, ids, and compares with the hub.

use super::Check;
use crate::store::{Audit, Outcome};
use rusqlite::{Connection, Result};
use tt_migrations::capture::{ids, install};
use tt_migrations::replica::Replica;
use tt_migrations::{programs_triggers, state};
use tt_protocol::counted::counted;
use tt_protocol::ids::ID_MAX;
use tt_protocol::number::Millis;

/// Share of the id space from which on somebody should know.
const ID_SPACE_WARN: f64 = 0.8;
/// A clock that is further off than this makes the device win or lose ties that it should not.
const CLOCK_WARN_MS: i64 = 300_000;

/// The triggers that note what programs change.
pub(crate) fn triggers(conn: &Connection, replica: &Replica) -> Check {
    let mut flaws = Vec::new();
    for tracked in replica.tables.values() {
        match install::flaws(conn, tracked) {
            Ok(found) => flaws.extend(found),
            Err(error) => return Check::impossible("capture", &error),
        }
    }
    let new = replica.schema.tables.values().filter(|table| {
        !table.key.is_empty() && replica.get(&table.name).is_none() && !replica.left_out.contains(&table.name)
    });
    flaws.extend(new.map(|table| format!("table \"{}\" is new and not watched yet", table.name)));
    if flaws.is_empty() {
        return Check::ok(
            "capture",
            format!("all triggers of {} are in place", counted(replica.tables.len(), "table")),
        );
    }
    let advice =
        "run tt-edge sync, or start tt-edge run: they are put back, and the table is compared with the hub's";
    Check::fail("capture", flaws.join("; "), advice)
}

/// Tables that are not replicated, and why.
pub(crate) fn left_out(replica: &Replica) -> Vec<Check> {
    let mut checks = Vec::new();
    for table in &replica.keyless {
        let found = format!("table \"{table}\" has no primary key and is NOT replicated");
        checks.push(Check::warn("not replicated", found, "give it a primary key"));
    }
    if !replica.left_out.is_empty() {
        let found = format!("left out by the policy: {}", replica.left_out.join(", "));
        checks.push(Check::ok("not replicated", found));
    }
    checks
}

/// Triggers of the program that do not fire when rows arrive, although something depends on them.
pub(crate) fn programs_triggers(conn: &Connection, replica: &Replica) -> Vec<Check> {
    match programs_triggers::would_be_left_out(conn, replica) {
        Ok(found) => found.iter().map(|one| programs_trigger(&one.to_string())).collect(),
        Err(error) => vec![Check::impossible("trigger", &error)],
    }
}

/// One of them.
pub(crate) fn programs_trigger(found: &str) -> Check {
    Check::warn(
        "trigger",
        found,
        "what the trigger keeps lacks what came from elsewhere, until the trigger is changed",
    )
}

/// What of the hub's does not go into this file.
pub(crate) fn feed(conn: &Connection) -> Option<Check> {
    let reason = match state::get_text(conn, state::FEED_REFUSED) {
        Ok(reason) => reason.filter(|reason| !reason.is_empty())?,
        Err(error) => return Some(Check::impossible("feed", &error)),
    };
    let advice = "do what the reason says; it is tried again by itself, and what is written here is handed in meanwhile";
    Some(Check::fail("feed", format!("the hub's rows wait: {reason}"), advice))
}

/// Id blocks and the id space.
pub(crate) fn ids(conn: &Connection, replica: &Replica) -> Check {
    let read = || -> Result<(f64, Vec<String>, Vec<String>)> {
        let (mut used, mut nearly, mut none) = (0.0_f64, Vec::new(), Vec::new());
        for tracked in replica.tables.values().filter(|tracked| tracked.table.rowid_key) {
            let place = ids::place(conn, tracked)?;
            used = used.max(place.first as f64 / ID_MAX as f64);
            if place.hi < place.lo {
                none.push(tracked.table.name.clone());
            } else if ids::nearly_used(conn, tracked)? {
                nearly.push(tracked.table.name.clone());
            }
        }
        Ok((used, nearly, none))
    };
    let (used, nearly, none) = match read() {
        Ok(read) => read,
        Err(error) => return Check::impossible("ids", &error),
    };
    let space = format!("{:.4} % of the id space is used", used * 100.0);
    if !none.is_empty() {
        let found = format!("no free id is left in {}; {space}", none.join(", "));
        return Check::fail("ids", found, "start tt-edge run: it reserves the next block");
    }
    if !nearly.is_empty() {
        let found = format!("the block of ids is nearly used in {}; {space}", nearly.join(", "));
        return Check::warn("ids", found, "start tt-edge run: it reserves the next block");
    }
    if used > ID_SPACE_WARN {
        return Check::warn("ids", space, "plan new tables: ids end at 2^53");
    }
    Check::ok("ids", space)
}

/// The last compare of each table with the hub's.
pub(crate) fn compares(audits: &[Audit], now: Millis) -> Vec<Check> {
    audits.iter().map(|audit| compare(audit, now)).collect()
}

fn compare(audit: &Audit, now: Millis) -> Check {
    let name = format!("compare {}", audit.table);
    let ago = audit.at.map_or(String::new(), |at| {
        format!(", {} min ago at version {}", (now.0 - at.0).max(0) / 60_000, audit.version)
    });
    let rows = counted(audit.rows, "row");
    if audit.due && audit.blind {
        let found = "its triggers had gone; what was written meanwhile is not known yet".to_owned();
        return Check::warn(&name, found, "leave tt-edge run running, or run tt-edge doctor --compare");
    }
    match audit.outcome {
        None => Check::ok(&name, "not compared with the hub yet"),
        Some(Outcome::Equal) => Check::ok(&name, format!("equal{ago}")),
        Some(Outcome::Healed) => Check::ok(&name, format!("equal; healed {rows}{ago}")),
        Some(Outcome::Healing) => Check::ok(&name, format!("healed {rows}, to be compared again{ago}")),
        Some(Outcome::OtherColumns) => Check::warn(
            &name,
            format!("the hub has other columns, or not this table{ago}"),
            "see tt-hub conflicts: rows may wait there for the schema",
        ),
        Some(Outcome::Differs) => Check::warn(
            &name,
            format!("differs in {rows}, and putting that right did not help{ago}"),
            "see tt-hub conflicts and the rules (CHECK, UNIQUE) that only this device has; tt-edge reseed takes the hub's rows",
        ),
    }
}

/// The device's clock against the hub's, as last measured.
pub(crate) fn clock(offset_ms: Option<i64>) -> Check {
    match offset_ms {
        None => Check::ok("clock", "not measured yet"),
        Some(offset) if offset.abs() > CLOCK_WARN_MS => Check::warn(
            "clock",
            format!("{offset} ms against the hub's when last measured"),
            "set the device's clock; times are corrected, but a person who compares them is misled",
        ),
        Some(offset) => Check::ok("clock", format!("{offset} ms against the hub's when last measured")),
    }
}

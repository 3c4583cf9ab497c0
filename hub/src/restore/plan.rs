//! What a restore would change, told before anything is: rows per table, what devices send again, what only the
//! safety copy will have.

mod rows;

use super::live::touched;
use super::prepare::{Kind, kind};
use super::{RestoreError, Source};
use crate::backup::contents::Contents;
use crate::database::DatabaseError;
use crate::devices::{self, DevicesError};
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tt_migrations::state;
use tt_protocol::change::decode_piece;
use tt_protocol::number::EdgeId;

pub(crate) use rows::TableChanges;

/// What a restore would change.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Plan {
    /// The hub's version and epoch in the file that is restored; 0 when it has none.
    pub(crate) version: u64,
    pub(crate) epoch: u64,
    /// And now.
    pub(crate) present_version: u64,
    pub(crate) present_epoch: u64,
    /// The file has nothing of this hub: it is adopted as new.
    pub(crate) adopted: bool,
    /// The present database is not sound: nothing can be compared with it.
    pub(crate) present_damaged: bool,
    /// Only tables that differ.
    pub(crate) tables: BTreeMap<String, TableChanges>,
    pub(crate) devices: Vec<DevicePlan>,
    /// Rows that programs at the hub wrote since, by table: nobody sends them again.
    pub(crate) written_at_hub: BTreeMap<String, u64>,
    /// Tables to which programs at the hub have written what is no version yet; the safety copy has that, too.
    pub(crate) not_cut: Vec<String>,
    /// When the last changeset came in that the file lacks, in milliseconds since 1970.
    pub(crate) newest_lost_at: Option<i64>,
    /// Open entries of the conflict list that only the safety copy has, when the file is adopted.
    pub(crate) conflicts_left: u64,
}

/// What one device sends again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct DevicePlan {
    pub(crate) device: u16,
    pub(crate) name: String,
    pub(crate) revoked: bool,
    /// The last changeset in the file, and now.
    pub(crate) merged: u64,
    pub(crate) present: u64,
    /// Changesets from this one on are sent again, or cannot be placed.
    pub(crate) again_from: Option<u64>,
    pub(crate) again_to: Option<u64>,
    /// Nobody knows whether the file has them, and they count as merged.
    pub(crate) cannot_be_placed: bool,
}

/// Compares the fetched file with a copy of the present database, which is None when that is damaged. Reads only.
pub(super) fn make(
    present: Option<&Contents>,
    former: &Path,
    source: &Source,
    fetched: &Path,
) -> Result<Plan, RestoreError> {
    let Some(here) = present else {
        return Ok(Plan { present_damaged: true, ..Plan::default() });
    };
    let failed = |error: rusqlite::Error| RestoreError::from(DatabaseError::new(former, &error));
    let open = |path| Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed);
    let (live, restored) = (open(former)?, open(fetched)?);
    let is_equal = |table: &str| {
        let there = source.contents.as_ref().and_then(|contents| contents.tables.get(table));
        there.is_some() && there == here.tables.get(table)
    };
    compare(&live, &restored, &is_equal).map_err(failed)
}

/// `is_equal` says of a table that both hold the same rows; it need not know.
fn compare(
    live: &Connection,
    restored: &Connection,
    is_equal: &dyn Fn(&str) -> bool,
) -> rusqlite::Result<Plan> {
    let adopted = kind(restored, live)? != Kind::Own;
    let number = |conn: &Connection, name| {
        Ok::<_, rusqlite::Error>(state::get(conn, name)?.unwrap_or(0).unsigned_abs())
    };
    let mut plan = Plan {
        adopted,
        present_version: number(live, state::VERSION)?,
        present_epoch: number(live, state::EPOCH)?,
        tables: rows::compare(live, restored, is_equal)?,
        ..Plan::default()
    };
    if adopted {
        plan.conflicts_left = crate::store::conflict::open_count(live)?;
    } else {
        plan.version = number(restored, state::VERSION)?;
        plan.epoch = number(restored, state::EPOCH)?;
    }
    plan.devices = of_devices(live, restored, adopted)?;
    plan.newest_lost_at = newest_lost(live, restored, adopted)?;
    plan.not_cut = touched(live)?.1;
    plan.written_at_hub = written_at_hub(live, if adopted { None } else { Some(restored) })?;
    Ok(plan)
}

fn merged(conn: &Connection) -> rusqlite::Result<BTreeMap<u16, u64>> {
    let mut statement = conn.prepare("SELECT edge, max(seq) FROM _sync_merged GROUP BY edge")?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?.collect()
}

fn of_devices(live: &Connection, restored: &Connection, adopted: bool) -> rusqlite::Result<Vec<DevicePlan>> {
    let present = merged(live)?;
    let known = if adopted { BTreeMap::new() } else { merged(restored)? };
    let list = devices::list(live).map_err(|error| match error {
        DevicesError::Sql(error) => error,
        other => rusqlite::Error::ToSqlConversionFailure(Box::new(other)),
    })?;
    let mut plans = Vec::new();
    for device in list {
        let EdgeId(number) = device.device;
        let of = |merged: &BTreeMap<u16, u64>| merged.get(&number).copied().unwrap_or(0);
        let (then, now) = (of(&known), of(&present));
        plans.push(DevicePlan {
            device: number,
            name: device.name,
            revoked: device.revoked_at.is_some(),
            merged: then,
            present: now,
            again_from: (now > then).then_some(then + 1),
            again_to: (now > then).then_some(now),
            cannot_be_placed: adopted && now > 0,
        });
    }
    Ok(plans)
}

fn newest_lost(live: &Connection, restored: &Connection, adopted: bool) -> rusqlite::Result<Option<i64>> {
    let known = if adopted { BTreeMap::new() } else { merged(restored)? };
    let mut statement = live.prepare("SELECT edge, seq, at FROM _sync_merged")?;
    let mut rows = statement.query([])?;
    let mut newest = None;
    while let Some(row) = rows.next()? {
        let (edge, seq, at): (u16, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if seq.unsigned_abs() > known.get(&edge).copied().unwrap_or(0) {
            newest = newest.max(Some(at));
        }
    }
    Ok(newest)
}

/// Rows that programs at the hub touched in versions that the file does not have.
fn written_at_hub(
    live: &Connection,
    restored: Option<&Connection>,
) -> rusqlite::Result<BTreeMap<String, u64>> {
    let sql = "SELECT version, part, keys FROM _sync_log WHERE origin = 0";
    let known: BTreeSet<(i64, i64)> = match restored {
        Some(restored) => {
            let mut statement = restored.prepare("SELECT version, part FROM _sync_log WHERE origin = 0")?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?
        }
        None => BTreeSet::new(),
    };
    let mut written = BTreeMap::new();
    let mut statement = live.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (place, keys): ((i64, i64), Vec<u8>) = ((row.get(0)?, row.get(1)?), row.get(2)?);
        if known.contains(&place) {
            continue;
        }
        let damaged = |error| {
            rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Blob, Box::new(error))
        };
        for change in decode_piece(&keys).map_err(damaged)? {
            *written.entry(change.table.clone()).or_insert(0) += change.rows.rows() as u64;
        }
    }
    Ok(written)
}

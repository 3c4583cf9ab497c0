//! The device's id block of each table with an integer key: SQLite's AUTOINCREMENT hands out the ids,
//! we only decide where it counts (`tt_protocol::ids` has the rule).
//!
//! * `_sync_table.lo..=hi` are the fresh ids: made on this device and not yet cut. The capture triggers
//!   take no note of such rows, so whoever moves `lo` or `hi` must first have cut or noted them.
//! * Everything here runs in the caller's transaction, together with the rows that made it necessary.

use super::base;
use super::triggers::NOW;
use crate::quote::ident;
use crate::replica::{Replica, Tracked, list};
use rusqlite::{Connection, Result};
use tt_protocol::ids::{ID_MAX, IdBlock};
use tt_protocol::number::EdgeId;
use tt_protocol::value::Value;

/// A block is left for a new one when this share of it is used: what is left must be enough for the next
/// large transaction, and ticks are many (2^23).
const USED_SHARE_MAX: f64 = 0.25;

/// Where a table's ids stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// First id of the current block; 0 before there is one.
    pub first: i64,
    /// First fresh id.
    pub lo: i64,
    /// Last id of the block.
    pub hi: i64,
    /// SQLite's counter: the largest id that it has handed out or seen.
    pub counter: i64,
}

impl Place {
    fn is_nearly_used(&self) -> bool {
        let used = (self.counter - self.first) as f64 / (self.hi - self.first).max(1) as f64;
        self.first > 0 && used > USED_SHARE_MAX
    }
}

/// Reads where a table's ids stand.
///
/// # Errors
/// When SQLite fails.
pub fn place(conn: &Connection, tracked: &Tracked) -> Result<Place> {
    let sql = "SELECT block_first, lo, hi FROM _sync_table WHERE tid = ?1";
    let (first, lo, hi) = conn
        .prepare_cached(sql)?
        .query_row([tracked.tid], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let counter = conn
        // A program may have put anything there.
        .prepare_cached("SELECT COALESCE(MAX(CAST(seq AS INTEGER)), 0) FROM sqlite_sequence WHERE name = ?1")?
        .query_row([&tracked.table.name], |row| row.get(0))?;
    Ok(Place { first, lo, hi, counter })
}

/// Makes sure that the next id that SQLite hands out lies in this device's block and above all others.
/// To be called after foreign rows were applied, and when capture is installed.
///
/// # Errors
/// When SQLite fails.
pub fn settle(conn: &Connection, tracked: &Tracked, device: EdgeId) -> Result<()> {
    if !tracked.table.rowid_key {
        return Ok(());
    }
    keep_minus_one(conn, tracked)?;
    let place = place(conn, tracked)?;
    let largest = largest(conn, tracked)?;
    if place.first == 0 {
        return begin(conn, tracked, device, largest.max(given(&place)));
    }
    let inside = place.first - 1 <= place.counter && place.counter < place.hi;
    if inside && largest <= place.counter {
        return Ok(());
    }
    renew(conn, tracked, device, &place, largest)
}

/// Finds tables whose counter a program has moved or deleted, or whose block ran out, and puts them right.
/// One look for all tables, because every cut does it.
///
/// # Errors
/// When SQLite fails.
pub fn settle_disturbed(conn: &Connection, replica: &Replica, device: EdgeId) -> Result<()> {
    if !replica.tables.values().any(|tracked| tracked.table.rowid_key) {
        return Ok(());
    }
    let sql = "SELECT t.name FROM _sync_table t LEFT JOIN sqlite_sequence s ON s.name = t.name
               WHERE t.block_first > 0 AND (s.seq IS NULL OR s.seq < t.block_first - 1 OR s.seq >= t.hi)";
    let disturbed: Vec<String> =
        conn.prepare_cached(sql)?.query_map([], |row| row.get(0))?.collect::<Result<_>>()?;
    disturbed
        .iter()
        .filter_map(|name| replica.get(name))
        .try_for_each(|tracked| settle(conn, tracked, device))
}

/// A row with the id -1 always has a note: in an INSERT trigger -1 stands for "not chosen yet", so that a
/// REPLACE of it would pass without one.
///
/// # Errors
/// When SQLite fails.
pub(super) fn keep_minus_one(conn: &Connection, tracked: &Tracked) -> Result<()> {
    let key = ident(&tracked.table.key[0].0);
    let sql = format!(
        "INSERT INTO {}({}, _existed, _at) SELECT {}, 1, 0 FROM {} WHERE {key} = -1 ON CONFLICT DO NOTHING",
        ident(&base::name(&tracked.table.name)),
        base::columns(&tracked.table).join(", "),
        list(&tracked.names),
        ident(&tracked.table.name),
    );
    conn.prepare_cached(&sql)?.execute([])?;
    Ok(())
}

/// Notes the row with the id -1 as it is now: what was merged into it is no change of this node's programs.
/// To be called when those were cut before, in the same transaction.
///
/// # Errors
/// When SQLite fails.
pub fn follow_minus_one(conn: &Connection, tracked: &Tracked) -> Result<()> {
    base::forget(conn, &tracked.table, &[Value::Integer(-1)])?;
    keep_minus_one(conn, tracked)
}

/// Leaves a block that is well used. To be called by the cut, when no row is fresh.
///
/// # Errors
/// When SQLite fails.
pub fn renew_when_used(conn: &Connection, tracked: &Tracked, device: EdgeId) -> Result<()> {
    let place = place(conn, tracked)?;
    if place.is_nearly_used() {
        let largest = largest(conn, tracked)?;
        renew(conn, tracked, device, &place, largest)?;
    }
    Ok(())
}

/// True when a block should be left for a new one, whether or not its rows are cut.
///
/// # Errors
/// When SQLite fails.
pub fn nearly_used(conn: &Connection, tracked: &Tracked) -> Result<bool> {
    Ok(place(conn, tracked)?.is_nearly_used())
}

/// Leaves the block because rows of others are about to come into its fresh ids (a program elsewhere
/// chose such an id by itself). The fresh rows get notes, so that they are not taken for each other.
///
/// # Errors
/// When SQLite fails.
pub fn leave(conn: &Connection, tracked: &Tracked, device: EdgeId) -> Result<()> {
    let (place, largest) = (place(conn, tracked)?, largest(conn, tracked)?);
    renew(conn, tracked, device, &place, largest)
}

/// Marks all rows of the block that exist now as cut.
///
/// # Errors
/// When SQLite fails.
pub fn mark_cut(conn: &Connection, tracked: &Tracked, largest_cut: i64) -> Result<()> {
    conn.prepare_cached("UPDATE _sync_table SET lo = ?2 WHERE tid = ?1 AND lo <= ?2 - 1")?
        .execute((tracked.tid, largest_cut + 1))?;
    Ok(())
}

/// The first block. The hub goes on where an adopted file's own counter stands.
fn begin(conn: &Connection, tracked: &Tracked, device: EdgeId, largest: i64) -> Result<()> {
    let own =
        IdBlock::containing(largest, device).filter(|block| device == EdgeId::HUB && largest < block.last());
    match own {
        Some(block) => write(conn, tracked, Some((block, largest + 1))),
        None => write(conn, tracked, IdBlock::above(largest, device).map(|block| (block, block.first()))),
    }
}

fn renew(conn: &Connection, tracked: &Tracked, device: EdgeId, place: &Place, largest: i64) -> Result<()> {
    note_fresh(conn, tracked, place)?;
    let above = largest.max(given(place)).max(place.hi);
    match IdBlock::above(above, device) {
        Some(block) => write(conn, tracked, Some((block, block.first()))),
        // Not to be forgotten: ids up to here were handed out.
        None => {
            let sql = "UPDATE _sync_table SET lo = hi + 1 WHERE tid = ?1";
            conn.execute(sql, [tracked.tid]).map(drop)
        }
    }
}

/// SQLite's counter as far as it can tell of ids that it chose: those are below 2^53.
fn given(place: &Place) -> i64 {
    if place.counter < ID_MAX { place.counter } else { 0 }
}

/// Rows that were fresh in a block that is left become ordinary notes: "did not exist". Notes of fresh
/// rows that have gone again say nothing any more.
fn note_fresh(conn: &Connection, tracked: &Tracked, place: &Place) -> Result<()> {
    let key = ident(&tracked.table.key[0].0);
    let noted = base::key_column(&tracked.table.key[0].0);
    let (base, table) = (ident(&base::name(&tracked.table.name)), ident(&tracked.table.name));
    conn.execute(&format!("DELETE FROM {base} WHERE {noted} BETWEEN ?1 AND ?2"), (place.lo, place.hi))?;
    let sql = format!(
        "INSERT INTO {base}({noted}, _existed, _at) SELECT {key}, 0, {NOW} FROM {table} WHERE {key} BETWEEN ?1 AND ?2"
    );
    conn.execute(&sql, (place.lo, place.hi))?;
    Ok(())
}

/// Without a block (the 53 bits are used up) the range is empty, and the trigger refuses new ids.
fn write(conn: &Connection, tracked: &Tracked, block: Option<(IdBlock, i64)>) -> Result<()> {
    let (first, lo, hi) = block.map_or((1, 1, 0), |(block, lo)| (block.first(), lo, block.last()));
    conn.execute(
        "UPDATE _sync_table SET block_first = ?2, lo = ?3, hi = ?4 WHERE tid = ?1",
        (tracked.tid, first, lo, hi),
    )?;
    let name = &tracked.table.name;
    if block.is_some()
        && conn.execute("UPDATE sqlite_sequence SET seq = ?2 WHERE name = ?1", (name, lo - 1))? == 0
    {
        conn.execute("INSERT INTO sqlite_sequence(name, seq) VALUES (?1, ?2)", (name, lo - 1))?;
    }
    Ok(())
}

/// The largest id of a row, or of one that was touched since the last cut.
fn largest(conn: &Connection, tracked: &Tracked) -> Result<i64> {
    let sql = format!(
        "SELECT MAX(COALESCE((SELECT MAX({}) FROM {}), 0), COALESCE((SELECT MAX({}) FROM {}), 0))",
        ident(&tracked.table.key[0].0),
        ident(&tracked.table.name),
        base::key_column(&tracked.table.key[0].0),
        ident(&base::name(&tracked.table.name)),
    );
    conn.prepare_cached(&sql)?.query_row([], |row| row.get(0))
}

//! The first half of a cut: compares every base with the live row and hands on what really differs.
//!
//! Used by the edge's cut, by the hub's cut of its own programs' changes, and by `status`, which only
//! counts. It changes nothing; [`clear`] is the second half, in the same transaction.

use super::{base, ids};
use crate::quote::ident;
use crate::replica::{Replica, Tracked, list};
use crate::value::get;
use rusqlite::{Connection, Result, Row};
use tt_protocol::number::EdgeId;
use tt_protocol::value::ValueRef;

/// Where collected changes go. Values come in the order of [`Tracked::names`].
pub trait Sink {
    /// A row that did not exist at the last cut.
    ///
    /// # Errors
    /// Whatever the sink's own storage answers.
    fn insert(&mut self, tracked: &Tracked, row: &[ValueRef<'_>], time: i64) -> Result<()>;
    /// A row in which the columns at `changed` (places in [`Tracked::names`]) have other values.
    ///
    /// # Errors
    /// Whatever the sink's own storage answers.
    fn update(
        &mut self,
        tracked: &Tracked,
        changed: &[usize],
        base: &[ValueRef<'_>],
        live: &[ValueRef<'_>],
        time: i64,
    ) -> Result<()>;
    /// A row that is gone, as it was.
    ///
    /// # Errors
    /// Whatever the sink's own storage answers.
    fn delete(&mut self, tracked: &Tracked, base: &[ValueRef<'_>], time: i64) -> Result<()>;
}

/// What [`clear`] must know about a collected table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// There was at least one note.
    pub noted: bool,
    /// The largest fresh id.
    pub largest_fresh: Option<i64>,
}

impl Collected {
    /// Nothing was touched since the last cut.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        !self.noted && self.largest_fresh.is_none()
    }
}

/// A whole cut: hands every difference of all tables to the sink, empties what was collected, and puts
/// the ids right that a program disturbed.
///
/// # Errors
/// When SQLite or the sink fails.
pub fn cut(
    conn: &Connection,
    replica: &Replica,
    device: EdgeId,
    now: i64,
    sink: &mut impl Sink,
) -> Result<()> {
    let mut done: Vec<(&Tracked, Collected)> = Vec::new();
    for tracked in replica.tables.values() {
        let collected = collect(conn, tracked, now, sink)?;
        if !collected.is_empty() {
            done.push((tracked, collected));
        }
    }
    done.into_iter().try_for_each(|(tracked, collected)| clear(conn, tracked, collected, device))?;
    ids::settle_disturbed(conn, replica, device)
}

/// Hands every difference of one table to the sink. `now` is the time given to fresh rows, which have
/// no note of their own.
///
/// # Errors
/// When SQLite or the sink fails.
pub fn collect(conn: &Connection, tracked: &Tracked, now: i64, sink: &mut impl Sink) -> Result<Collected> {
    let noted = collect_notes(conn, tracked, sink)?;
    let largest_fresh = if tracked.table.rowid_key { collect_fresh(conn, tracked, now, sink)? } else { None };
    Ok(Collected { noted, largest_fresh })
}

/// Empties what was collected, and keeps the device's ids in order: also to be called for a table in which
/// nothing was collected, because a program may have disturbed the counter without writing a row.
///
/// # Errors
/// When SQLite fails.
pub fn clear(conn: &Connection, tracked: &Tracked, collected: Collected, device: EdgeId) -> Result<()> {
    if collected.noted {
        let sql = format!("DELETE FROM {}", ident(&base::name(&tracked.table.name)));
        conn.prepare_cached(&sql)?.execute([])?;
    }
    if let Some(largest) = collected.largest_fresh {
        ids::mark_cut(conn, tracked, largest)?;
    }
    if !tracked.table.rowid_key {
        return Ok(());
    }
    ids::keep_minus_one(conn, tracked)?;
    ids::settle(conn, tracked, device)?;
    ids::renew_when_used(conn, tracked, device)
}

fn collect_notes(conn: &Connection, tracked: &Tracked, sink: &mut impl Sink) -> Result<bool> {
    let mut statement = conn.prepare_cached(&notes_sql(tracked))?;
    let mut rows = statement.query([])?;
    let mut noted = false;
    while let Some(row) = rows.next()? {
        let fresh: bool = row.get(3)?;
        let reported = !fresh && hand_on(tracked, row, sink)?;
        noted |= reported || !is_kept(tracked, row)?;
    }
    Ok(noted)
}

/// The note of a row with the id -1 that has not changed stays where it is.
fn is_kept(tracked: &Tracked, row: &Row<'_>) -> Result<bool> {
    let lives = row.get::<_, bool>(0)? && row.get::<_, bool>(2)?;
    Ok(tracked.table.rowid_key && lives && get(row, 4)? == ValueRef::Integer(-1))
}

/// `_existed`, `_at`, live row present, row is fresh, then the base, then the live row.
fn notes_sql(tracked: &Tracked) -> String {
    let base_columns: Vec<_> =
        base::columns(&tracked.table).iter().map(|column| format!("b.{column}")).collect();
    let live: Vec<_> = tracked.names.iter().map(|name| format!("t.{}", ident(name))).collect();
    let rowid = tracked.table.rowid_key;
    // The key's own collation, which need not be the column's.
    let same: Vec<_> = tracked
        .table
        .key
        .iter()
        .map(|(name, collation)| {
            let collate = if rowid { String::new() } else { format!(" COLLATE {}", ident(collation)) };
            format!("t.{} = b.{}{collate}", ident(name), base::key_column(name))
        })
        .collect();
    let first = &tracked.table.key[0].0;
    let fresh = if rowid {
        let key = base::key_column(first);
        format!(
            "EXISTS (SELECT 1 FROM _sync_table WHERE tid = {} AND b.{key} BETWEEN lo AND hi)",
            tracked.tid
        )
    } else {
        "0".to_owned()
    };
    format!(
        "SELECT b._existed, b._at, t.{} IS NOT NULL, {fresh}, {}, {} FROM {} b LEFT JOIN {} t ON {}",
        ident(first),
        base_columns.join(", "),
        live.join(", "),
        ident(&base::name(&tracked.table.name)),
        ident(&tracked.table.name),
        same.join(" AND "),
    )
}

/// Reports what differs; false when nothing does.
fn hand_on(tracked: &Tracked, row: &Row<'_>, sink: &mut impl Sink) -> Result<bool> {
    let width = tracked.names.len();
    let (existed, time, lives) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let base = (4..4 + width).map(|index| get(row, index)).collect::<Result<Vec<_>>>()?;
    let live = (4 + width..4 + 2 * width).map(|index| get(row, index)).collect::<Result<Vec<_>>>()?;
    match (existed, lives) {
        (false, true) => sink.insert(tracked, &live, time)?,
        (true, false) => sink.delete(tracked, &base, time)?,
        (false, false) => return Ok(false),
        (true, true) => return hand_on_both(tracked, &base, &live, time, sink),
    }
    Ok(true)
}

fn hand_on_both(
    tracked: &Tracked,
    base: &[ValueRef<'_>],
    live: &[ValueRef<'_>],
    time: i64,
    sink: &mut impl Sink,
) -> Result<bool> {
    // The same key in another spelling (a NOCASE key rewritten): other nodes must see the new bytes.
    if base[..tracked.keys()] != live[..tracked.keys()] {
        sink.delete(tracked, base, time)?;
        sink.insert(tracked, live, time)?;
        return Ok(true);
    }
    let changed: Vec<usize> =
        (tracked.keys()..base.len()).filter(|place| base[*place] != live[*place]).collect();
    if !changed.is_empty() {
        sink.update(tracked, &changed, base, live, time)?;
    }
    Ok(!changed.is_empty())
}

fn collect_fresh(
    conn: &Connection,
    tracked: &Tracked,
    now: i64,
    sink: &mut impl Sink,
) -> Result<Option<i64>> {
    let place = ids::place(conn, tracked)?;
    let key = ident(&tracked.table.key[0].0);
    let sql = format!(
        "SELECT {} FROM {} WHERE {key} BETWEEN ?1 AND ?2 ORDER BY {key}",
        list(&tracked.names),
        ident(&tracked.table.name)
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query((place.lo, place.hi))?;
    let mut largest = None;
    while let Some(row) = rows.next()? {
        largest = Some(row.get(0)?);
        let values = (0..tracked.names.len()).map(|index| get(row, index)).collect::<Result<Vec<_>>>()?;
        sink.insert(tracked, &values, now)?;
    }
    Ok(largest)
}

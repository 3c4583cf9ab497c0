//! Digests of a table by leaves, and the rows of some leaves: both sides of a compare.
//!
//! Rows with NULL in their key are left out: they cannot be named on another node.

use crate::capture::{base, collect, ids};
use crate::quote::ident;
use crate::replica::{Tracked, list};
use crate::row::key_bytes;
use crate::value::{copy, get};
use rusqlite::{Connection, Result, Row};
use tt_protocol::audit::{Digests, leaf};
use tt_protocol::digest::row_hash;
use tt_protocol::value::{Value, ValueRef};

/// The columns of a compare: all, in order of name.
#[must_use]
pub fn columns(tracked: &Tracked) -> Vec<String> {
    let mut names = tracked.names.clone();
    names.sort();
    names
}

/// Digests of all leaves over these columns, which the table must have.
///
/// # Errors
/// When SQLite fails.
pub fn digests(conn: &Connection, tracked: &Tracked, columns: &[String]) -> Result<Digests> {
    let places: Vec<usize> = columns.iter().filter_map(|name| tracked.place(name)).collect();
    let mut digests = Digests::default();
    let (mut scratch, mut key) = (Vec::new(), Vec::new());
    for_each(conn, tracked, |row| {
        let values = places.iter().map(|place| get(row, *place)).collect::<Result<Vec<_>>>()?;
        let hash = row_hash(columns.iter().map(String::as_str).zip(values), &mut scratch);
        digests.add(leaf_of(tracked, row, &mut key)?, hash);
        Ok(())
    })?;
    Ok(digests)
}

/// Hands on every row of the wanted leaves, in the order of [`Tracked::names`]. `wanted` is in order.
///
/// # Errors
/// When SQLite or `take` fails.
pub fn rows_in(
    conn: &Connection,
    tracked: &Tracked,
    wanted: &[u16],
    mut take: impl FnMut(u16, Vec<Value>) -> Result<()>,
) -> Result<()> {
    let mut key = Vec::new();
    for_each(conn, tracked, |row| {
        let leaf = leaf_of(tracked, row, &mut key)?;
        if wanted.binary_search(&leaf).is_err() {
            return Ok(());
        }
        take(leaf, copy(row, 0, tracked.names.len())?)
    })
}

/// As [`digests`], of rows that were read already, in the order of [`Tracked::names`].
pub fn digests_of<'r>(
    tracked: &Tracked,
    columns: &[String],
    rows: impl Iterator<Item = &'r [Value]>,
) -> Digests {
    let places: Vec<usize> = columns.iter().filter_map(|name| tracked.place(name)).collect();
    let mut digests = Digests::default();
    let mut scratch = Vec::new();
    for row in rows {
        let values = places.iter().filter_map(|place| row.get(*place)).map(Value::as_ref);
        let hash = row_hash(columns.iter().map(String::as_str).zip(values), &mut scratch);
        digests.add(leaf(&key_bytes(row.get(..tracked.keys()).unwrap_or_default())), hash);
    }
    digests
}

/// True when the table has changes that are not cut: it is not what any version says.
///
/// # Errors
/// When SQLite fails.
pub fn is_touched(conn: &Connection, tracked: &Tracked) -> Result<bool> {
    if tracked.table.rowid_key {
        let place = ids::place(conn, tracked)?;
        let (name, key) = (ident(&tracked.table.name), ident(&tracked.table.key[0].0));
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {name} WHERE {key} BETWEEN ?1 AND ?2)");
        if conn.prepare_cached(&sql)?.query_row((place.lo, place.hi), |row| row.get(0))? {
            return Ok(true);
        }
    }
    if !base::any(conn, &tracked.table)? {
        return Ok(false);
    }
    // A row with the id -1 always has a note, and a note alone is no change.
    let mut seen = Seen(false);
    collect::collect(conn, tracked, 0, &mut seen)?;
    Ok(seen.0)
}

/// Only wants to know whether there is anything.
struct Seen(bool);

impl collect::Sink for Seen {
    fn insert(&mut self, _: &Tracked, _: &[ValueRef<'_>], _: i64) -> Result<()> {
        self.0 = true;
        Ok(())
    }

    fn update(
        &mut self,
        _: &Tracked,
        _: &[usize],
        _: &[ValueRef<'_>],
        _: &[ValueRef<'_>],
        _: i64,
    ) -> Result<()> {
        self.0 = true;
        Ok(())
    }

    fn delete(&mut self, _: &Tracked, _: &[ValueRef<'_>], _: i64) -> Result<()> {
        self.0 = true;
        Ok(())
    }
}

fn leaf_of(tracked: &Tracked, row: &Row<'_>, key: &mut Vec<u8>) -> Result<u16> {
    key.clear();
    for place in 0..tracked.keys() {
        get(row, place)?.write_canonical(key);
    }
    Ok(leaf(key))
}

fn for_each(
    conn: &Connection,
    tracked: &Tracked,
    mut take: impl FnMut(&Row<'_>) -> Result<()>,
) -> Result<()> {
    let given: Vec<_> = tracked.table.key_names().map(|key| format!("{} IS NOT NULL", ident(key))).collect();
    let (columns, name) = (list(&tracked.names), ident(&tracked.table.name));
    let sql = format!("SELECT {columns} FROM {name} WHERE {}", given.join(" AND "));
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(())
}

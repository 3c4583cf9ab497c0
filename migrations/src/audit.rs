//! Digests of a table by buckets, and the rows of some buckets: both sides of a compare.

use crate::quote::ident;
use crate::replica::{Tracked, list};
use crate::row::key_bytes;
use crate::value::copy;
use rusqlite::{Connection, Result};
use tt_protocol::audit::{BUCKETS, bucket};
use tt_protocol::digest::{TableDigest, row_hash};
use tt_protocol::value::Value;

/// The columns of a compare: all, in order of name.
#[must_use]
pub fn columns(tracked: &Tracked) -> Vec<String> {
    let mut names = tracked.names.clone();
    names.sort();
    names
}

/// Digests of all buckets over these columns, which the table must have.
///
/// # Errors
/// When SQLite fails.
pub fn digests(conn: &Connection, tracked: &Tracked, columns: &[String]) -> Result<Vec<TableDigest>> {
    let places: Vec<usize> = columns.iter().filter_map(|name| tracked.place(name)).collect();
    let mut buckets = vec![TableDigest::default(); BUCKETS];
    let mut scratch = Vec::new();
    for_each(conn, tracked, |row| {
        let named = columns
            .iter()
            .zip(&places)
            .filter_map(|(name, place)| Some((name.as_str(), row.get(*place)?.as_ref())));
        let hash = row_hash(named, &mut scratch);
        if let Some(digest) = buckets.get_mut(bucket_of(tracked, row)) {
            digest.add(hash);
        }
        Ok(())
    })?;
    Ok(buckets)
}

/// Hands on every row of the wanted buckets, in the order of [`Tracked::names`].
///
/// # Errors
/// When SQLite or `take` fails.
pub fn rows_in(
    conn: &Connection,
    tracked: &Tracked,
    wanted: &[u8],
    mut take: impl FnMut(&[Value]) -> Result<()>,
) -> Result<()> {
    for_each(conn, tracked, |row| {
        let place = bucket_of(tracked, row);
        if wanted.iter().any(|wanted| usize::from(*wanted) == place) { take(row) } else { Ok(()) }
    })
}

fn bucket_of(tracked: &Tracked, row: &[Value]) -> usize {
    bucket(&key_bytes(row.get(..tracked.keys()).unwrap_or_default()))
}

fn for_each(
    conn: &Connection,
    tracked: &Tracked,
    mut take: impl FnMut(&[Value]) -> Result<()>,
) -> Result<()> {
    let sql = format!("SELECT {} FROM {}", list(&tracked.names), ident(&tracked.table.name));
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        take(&copy(row, 0, tracked.names.len())?)?;
    }
    Ok(())
}

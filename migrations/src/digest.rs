//! Digests of a file's tables: how nodes prove to each other that they are identical.

use crate::quote::ident;
use crate::replica::{Replica, Tracked};
use crate::value::get;
use rusqlite::{Connection, Result};
use std::collections::BTreeMap;
use tt_protocol::digest::{TableDigest, combine, row_hash};

/// Digest of one table.
///
/// # Errors
/// When SQLite fails.
pub fn table(conn: &Connection, tracked: &Tracked) -> Result<TableDigest> {
    let mut names = tracked.names.clone();
    names.sort();
    let columns: Vec<_> = names.iter().map(|name| ident(name)).collect();
    let sql = format!("SELECT {} FROM {}", columns.join(", "), ident(&tracked.table.name));
    let mut statement = conn.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut digest = TableDigest::default();
    let mut scratch = Vec::new();
    while let Some(row) = rows.next()? {
        let values = (0..names.len()).map(|index| get(row, index)).collect::<Result<Vec<_>>>()?;
        digest.add(row_hash(names.iter().map(String::as_str).zip(values), &mut scratch));
    }
    Ok(digest)
}

/// Digests of all replicated tables by name.
///
/// # Errors
/// When SQLite fails.
pub fn tables(conn: &Connection, replica: &Replica) -> Result<BTreeMap<String, TableDigest>> {
    replica.tables.values().map(|tracked| Ok((tracked.table.name.clone(), table(conn, tracked)?))).collect()
}

/// One short digest over all replicated tables, for people to compare.
///
/// # Errors
/// When SQLite fails.
pub fn whole(conn: &Connection, replica: &Replica) -> Result<String> {
    let digests = tables(conn, replica)?;
    Ok(combine(digests.iter().map(|(name, digest)| (name.as_str(), *digest))))
}

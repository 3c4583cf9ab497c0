//! Looks into a node's file from outside, as a person with a SQLite shell would.

use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeMap;
use std::path::Path;
use tt_migrations::digest;
use tt_migrations::policy;
use tt_migrations::replica::{Replica, Tracked};
use tt_migrations::shape::Schema;
use tt_protocol::digest::TableDigest;

/// Opens a file for reading only.
///
/// # Errors
/// When it is not there.
pub fn open(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    conn.busy_timeout(std::time::Duration::from_secs(10))?;
    Ok(conn)
}

/// The replicated tables under the shipped policy, without touching the file.
///
/// # Errors
/// When the file cannot be read.
pub fn replica(conn: &Connection) -> rusqlite::Result<Replica> {
    let (policy, schema) = (policy::shipped(), Schema::read(conn)?);
    let replicated =
        schema.tables.values().filter(|table| !table.key.is_empty() && policy.table(&table.name).replicate);
    let tables =
        replicated.map(|table| (table.name.clone(), Tracked::new(table.clone(), 0).into())).collect();
    Ok(Replica { tables, schema, ..Replica::default() })
}

/// Digest of every replicated table.
///
/// # Errors
/// When the file cannot be read.
pub fn digests(path: &Path) -> rusqlite::Result<BTreeMap<String, TableDigest>> {
    let conn = open(path)?;
    digest::tables(&conn, &replica(&conn)?)
}

/// One short digest of all replicated tables.
///
/// # Errors
/// When the file cannot be read.
pub fn digest(path: &Path) -> rusqlite::Result<String> {
    let conn = open(path)?;
    digest::whole(&conn, &replica(&conn)?)
}

/// One number out of a file.
///
/// # Errors
/// When the file or the statement is not usable.
pub fn number(path: &Path, sql: &str) -> rusqlite::Result<i64> {
    open(path)?.query_row(sql, [], |row| row.get(0))
}

//! How both daemons open a database file that programs are using.

use core::time::Duration;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, Result};
use std::path::Path;

/// Longer than any transaction of a program should take; a program's own lock is never broken.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// Statements kept prepared: a few per table of the largest schema seen (26 tables).
const STATEMENTS_CACHED: usize = 256;

/// Opens the file so that what we write is not captured: triggers do not fire for this connection, and
/// foreign keys do not act for it, because the cascades' rows come by themselves. Checkpoints happen
/// when the daemon says so. The file is in WAL mode afterwards, unless another program holds it back.
///
/// # Errors
/// When the file is not a database or cannot be opened.
pub fn open(path: &Path) -> Result<Connection> {
    let conn = Connection::open(path)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    conn.pragma_update(None, "foreign_keys", false)?;
    conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    Ok(conn)
}

//! A snapshot of the canonical database for a device: the rows at one version, and nothing of the hub's
//! own bookkeeping but that version, the epoch, the policy, the steps of the schema, and how far it had merged each
//! edge: a device that is reseeded must know whether its own work is in it.
//!
//! The *head* of a snapshot is all of that but the rows, for a device that asks only for those that differ.

use super::StoreError;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use tt_migrations::capture::install::uninstall;
use tt_migrations::quote::ident;
use tt_migrations::state;
use tt_protocol::number::{Epoch, Version};

/// What a snapshot is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The hub's incarnation.
    pub epoch: Epoch,
    /// The version of its rows.
    pub version: Version,
}

/// Writes a snapshot of the database at `source` to the new file `to`.
///
/// # Errors
/// When SQLite fails (disk full, the file exists). What was written so far is left to the caller to remove.
pub fn write(source: &Path, to: &Path) -> Result<Snapshot, StoreError> {
    let reader = Connection::open_with_flags(source, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    reader.busy_timeout(std::time::Duration::from_secs(30))?;
    reader.execute("VACUUM INTO ?1", [to.to_string_lossy()])?;
    strip(to)
}

/// One read made the copy, so version and rows agree. A program's write that the hub had not yet cut may
/// be in it; it comes again with the feed, which is state and does no harm twice.
fn strip(copy: &Path) -> Result<Snapshot, StoreError> {
    let conn = Connection::open(copy)?;
    conn.pragma_update(None, "synchronous", "OFF")?;
    // What a device must not see is not to be found in the gaps either.
    conn.pragma_update(None, "secure_delete", "ON")?;
    let number = |name| Ok::<_, StoreError>(state::get(&conn, name)?.unwrap_or(0));
    let (epoch, version) = (number(state::EPOCH)?, number(state::VERSION)?);
    let step = number(state::STEP)?;
    let policy = state::get_text(&conn, state::POLICY)?;
    let formers = state::formers(&conn)?;
    // Kept aside under names that are not ours while all of ours goes.
    conn.execute_batch(
        "CREATE TEMP TABLE merged AS SELECT edge, MAX(seq) AS seq FROM _sync_merged GROUP BY edge;
         CREATE TEMP TABLE steps AS SELECT step, piece FROM _sync_step;",
    )?;
    uninstall(&conn)?;
    conn.execute_batch(state::TABLES)?;
    conn.execute_batch(state::SNAPSHOT_TABLES)?;
    conn.execute_batch(
        "INSERT INTO _sync_seed_merged SELECT edge, seq FROM merged;
         INSERT INTO _sync_seed_step SELECT step, piece FROM steps;
         DROP TABLE temp.merged; DROP TABLE temp.steps;",
    )?;
    state::set(&conn, state::EPOCH, epoch)?;
    state::set(&conn, state::VERSION, version)?;
    state::set(&conn, state::STEP, step)?;
    state::add_formers(&conn, &formers)?;
    if let Some(policy) = policy {
        state::set_text(&conn, state::POLICY, &policy)?;
    }
    give_back(&conn)?;
    Ok(Snapshot { epoch: Epoch(epoch.unsigned_abs()), version: Version(version.unsigned_abs()) })
}

/// Makes the file smaller by the pages that are free now. Where it can give pages back, only those are moved.
fn give_back(conn: &Connection) -> Result<(), StoreError> {
    const INCREMENTAL: i64 = 2;
    if conn.pragma_query_value(None, "auto_vacuum", |row| row.get::<_, i64>(0))? != INCREMENTAL {
        return Ok(conn.execute_batch("VACUUM")?);
    }
    let mut statement = conn.prepare("PRAGMA incremental_vacuum")?;
    let mut steps = statement.query([])?;
    while steps.next()?.is_some() {}
    Ok(())
}

/// Writes the head of the snapshot at `whole` to the new file `to`: its tables without rows, and how many each has.
///
/// # Errors
/// As [`write()`].
pub fn write_head(whole: &Path, to: &Path, identity: &str) -> Result<(), StoreError> {
    let conn = Connection::open(to)?;
    conn.pragma_update(None, "synchronous", "OFF")?;
    conn.execute("ATTACH ?1 AS whole", [whole.to_string_lossy()])?;
    let tx = conn.unchecked_transaction()?;
    let sql = "SELECT s.name, s.type, s.sql, l.name IS NOT NULL FROM whole.sqlite_schema s
               LEFT JOIN pragma_table_list l ON l.schema = 'whole' AND l.type = 'table' AND l.name = s.tbl_name
               WHERE s.type IN ('table', 'index') AND s.sql IS NOT NULL AND s.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
               ORDER BY s.type = 'index', s.rowid";
    let objects: Vec<(String, String, String, bool)> = tx
        .prepare(sql)?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect::<rusqlite::Result<_>>()?;
    tx.execute_batch(state::HEAD_TABLES)?;
    for (name, kind, sql, is_ordinary) in objects {
        // A search index and what belongs to it is every device's own.
        if !is_ordinary {
            continue;
        }
        tx.execute_batch(&sql)?;
        let quoted = ident(&name);
        if name.starts_with("_sync_") && kind == "table" {
            tx.execute_batch(&format!("INSERT INTO main.{quoted} SELECT * FROM whole.{quoted}"))?;
        } else if kind == "table" {
            let sql = format!("INSERT INTO _sync_seed_rows SELECT ?1, COUNT(*) FROM whole.{quoted}");
            tx.execute(&sql, [&name])?;
        }
    }
    state::set_text(&tx, state::IDENTITY, identity)?;
    tx.commit()?;
    conn.execute_batch("DETACH whole")?;
    Ok(())
}

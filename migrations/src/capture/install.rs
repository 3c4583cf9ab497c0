//! Puts capture into a file, and puts it right again after a program changed the schema.
//!
//! Installing is idempotent: what is as it should be is not touched, so that programs need not prepare
//! their statements again. It runs in the caller's transaction.

use super::{base, ids, triggers};
use crate::autoincrement::{self, AutoincrementError};
use crate::quote::ident;
use crate::replica::{Replica, Tracked};
use crate::shape::{Schema, Table};
use crate::state;
use rusqlite::{Connection, OptionalExtension as _};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tt_protocol::number::EdgeId;
use tt_protocol::policy::Policy;

/// What installing found and did.
#[derive(Debug)]
pub struct Installed {
    /// The replicated tables.
    pub replica: Replica,
    /// Tables whose triggers had gone: rows written meanwhile are unknown until compared with the hub.
    pub blind: Vec<String>,
}

/// Why capture could not be installed. The caller's transaction must be rolled back.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// SQLite refused.
    #[error("capture cannot be installed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A table's key cannot be given AUTOINCREMENT.
    #[error("capture cannot be installed: {0}")]
    Upgrade(#[from] AutoincrementError),
}

/// Installs or repairs capture on every table that the policy replicates.
///
/// # Errors
/// When SQLite fails or a table's key cannot be upgraded.
pub fn install(conn: &Connection, policy: &Policy, device: EdgeId) -> Result<Installed, InstallError> {
    conn.execute_batch(state::TABLES)?;
    upgrade_keys(conn, policy)?;
    let schema = Schema::read(conn)?;
    let mut keyless = Vec::new();
    let mut tables = BTreeMap::new();
    let mut blind = Vec::new();
    let found = existing_triggers(conn)?;
    let mut wanted = HashMap::new();
    for table in schema
        .tables
        .values()
        .filter(|table| policy.table(&table.name).replicate)
    {
        if table.key.is_empty() {
            keyless.push(table.name.clone());
            continue;
        }
        let (tid, known) = number_of(conn, &table.name)?;
        base::ensure(conn, table)?;
        if install_triggers(conn, table, tid, &found, &mut wanted)? && known {
            blind.push(table.name.clone());
        }
        let tracked = Tracked::new(table.clone(), tid);
        ids::settle(conn, &tracked, device)?;
        tables.insert(table.name.clone(), Arc::new(tracked));
    }
    drop_strangers(conn, &found, &wanted)?;
    mark_for_audit(conn, &blind)?;
    let schema_version = conn.pragma_query_value(None, "schema_version", |row| row.get(0))?;
    Ok(Installed {
        replica: Replica {
            schema_version,
            schema,
            tables,
            keyless,
        },
        blind,
    })
}

/// Removes every trace of ours from a file.
///
/// # Errors
/// When SQLite fails.
pub fn uninstall(conn: &Connection) -> rusqlite::Result<()> {
    for name in existing_triggers(conn)?.keys() {
        conn.execute_batch(&format!("DROP TRIGGER {};", ident(name)))?;
    }
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE '\\_sync\\_%' ESCAPE '\\'";
    let tables: Vec<String> = conn
        .prepare(sql)?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for table in tables {
        conn.execute_batch(&format!("DROP TABLE {};", ident(&table)))?;
    }
    Ok(())
}

fn upgrade_keys(conn: &Connection, policy: &Policy) -> Result<(), InstallError> {
    for table in Schema::read(conn)?.tables.into_values() {
        if table.rowid_key && policy.table(&table.name).replicate {
            autoincrement::upgrade(conn, &table.name)?;
        }
    }
    Ok(())
}

fn existing_triggers(conn: &Connection) -> rusqlite::Result<HashMap<String, String>> {
    let sql =
        "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND name LIKE '\\_sync\\_%' ESCAPE '\\'";
    conn.prepare(sql)?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// The table's number, and whether it was known before.
fn number_of(conn: &Connection, table: &str) -> rusqlite::Result<(i64, bool)> {
    let found = conn
        .query_row("SELECT tid FROM _sync_table WHERE name = ?1", [table], |row| {
            row.get(0)
        })
        .optional()?;
    if let Some(tid) = found {
        return Ok((tid, true));
    }
    conn.execute("INSERT INTO _sync_table(name) VALUES (?1)", [table])?;
    Ok((conn.last_insert_rowid(), false))
}

/// Creates what is missing or different. True when a trigger was missing altogether.
fn install_triggers(
    conn: &Connection,
    table: &Table,
    tid: i64,
    found: &HashMap<String, String>,
    wanted: &mut HashMap<String, String>,
) -> rusqlite::Result<bool> {
    let mut missing = false;
    for trigger in triggers::of(table, tid) {
        match found.get(&trigger.name) {
            Some(sql) if *sql == trigger.sql => {}
            Some(_) => conn.execute_batch(&format!(
                "DROP TRIGGER {}; {};",
                ident(&trigger.name),
                trigger.sql
            ))?,
            None => {
                missing = true;
                conn.execute_batch(&trigger.sql)?;
            }
        }
        wanted.insert(trigger.name, trigger.sql);
    }
    Ok(missing)
}

/// Triggers of ours that belong to no replicated table: it was renamed, or the policy changed.
fn drop_strangers(
    conn: &Connection,
    found: &HashMap<String, String>,
    wanted: &HashMap<String, String>,
) -> rusqlite::Result<()> {
    for name in found.keys().filter(|name| !wanted.contains_key(*name)) {
        conn.execute_batch(&format!("DROP TRIGGER IF EXISTS {};", ident(name)))?;
    }
    Ok(())
}

fn mark_for_audit(conn: &Connection, blind: &[String]) -> rusqlite::Result<()> {
    for table in blind {
        conn.execute("UPDATE _sync_table SET audit = 1 WHERE name = ?1", [table])?;
    }
    Ok(())
}

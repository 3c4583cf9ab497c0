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
    /// Tables that were not watched as they had to be: a trigger had gone, the key or a column is another,
    /// or there is a new unique index by which a REPLACE may have removed rows unseen. Rows written
    /// meanwhile are unknown until compared with the hub.
    pub blind: Vec<String>,
    /// Tables that appeared after the first installation. The rows that they held are noted as new, so
    /// that the next cut reports them.
    pub discovered: Vec<String>,
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
    let (mut keyless, mut left_out) = (Vec::new(), Vec::new());
    let mut tables = BTreeMap::new();
    let mut blind = Vec::new();
    let mut discovered = Vec::new();
    let found = existing_triggers(conn)?;
    let first: bool =
        conn.query_row("SELECT NOT EXISTS (SELECT 1 FROM _sync_table)", [], |row| row.get(0))?;
    let mut wanted = HashMap::new();
    for table in schema.tables.values() {
        if !policy.table(&table.name).replicate {
            left_out.push(table.name.clone());
            continue;
        }
        if table.key.is_empty() {
            keyless.push(table.name.clone());
            continue;
        }
        let (tid, known) = number_of(conn, &table.name)?;
        let changed = base::ensure(conn, table)?;
        let unwatched = install_triggers(conn, table, tid, &found, &mut wanted)?;
        if known && (changed || unwatched) {
            blind.push(table.name.clone());
        }
        if !known && !first {
            base::note_all_as_new(conn, table)?;
            discovered.push(table.name.clone());
        }
        let tracked = Tracked::new(table.clone(), tid);
        ids::settle(conn, &tracked, device)?;
        tables.insert(table.name.clone(), Arc::new(tracked));
    }
    drop_strangers(conn, &found, &wanted)?;
    mark_for_audit(conn, &blind)?;
    let schema_version = conn.pragma_query_value(None, "schema_version", |row| row.get(0))?;
    Ok(Installed {
        replica: Replica { schema_version, schema, tables, keyless, left_out },
        blind,
        discovered,
    })
}

/// What is wrong with the triggers of a table, for a person. Looks only.
///
/// # Errors
/// When SQLite fails.
pub fn flaws(conn: &Connection, tracked: &Tracked) -> rusqlite::Result<Vec<String>> {
    let found = existing_triggers(conn)?;
    let flaw = |trigger: triggers::Trigger| match found.get(&trigger.name.to_ascii_lowercase()) {
        Some(sql) if *sql == trigger.sql => None,
        Some(_) => Some(format!("trigger \"{}\" is not as it was installed", trigger.name)),
        None => Some(format!("trigger \"{}\" is missing", trigger.name)),
    };
    Ok(triggers::of(&tracked.table, tracked.tid).into_iter().filter_map(flaw).collect())
}

/// Removes every trace of ours from a file, and the program's triggers and views that name our tables: they would
/// fail without them, and write into the tables that we make next. Gives what these were.
///
/// # Errors
/// When SQLite fails.
pub fn uninstall(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    for name in existing_triggers(conn)?.keys() {
        conn.execute_batch(&format!("DROP TRIGGER {};", ident(name)))?;
    }
    let mut intruders = Vec::new();
    for (kind, name) in intruders_in(conn)? {
        // A trigger of a view has gone with it.
        conn.execute_batch(&format!("DROP {kind} IF EXISTS {};", ident(&name)))?;
        intruders.push(format!("{kind} {name}"));
    }
    // Tables before indexes: those on tables of ours go with them.
    for kind in ["table", "index"] {
        let sql = "SELECT name FROM sqlite_schema WHERE type = ?1 AND name LIKE '\\_sync\\_%' ESCAPE '\\'";
        let names: Vec<String> =
            conn.prepare(sql)?.query_map([kind], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for name in names {
            conn.execute_batch(&format!("DROP {kind} {};", ident(&name)))?;
        }
    }
    Ok(intruders)
}

/// Tables whose key was given AUTOINCREMENT here, as far as they still have their name.
///
/// # Errors
/// When SQLite fails.
pub fn upgraded(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql =
        "SELECT name FROM _sync_upgraded WHERE name IN (SELECT name FROM sqlite_schema WHERE type = 'table')";
    conn.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

fn intruders_in(conn: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let sql =
        "SELECT type, name, sql FROM sqlite_schema WHERE type IN ('trigger', 'view') ORDER BY type, name";
    let mut statement = conn.prepare(sql)?;
    let all = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?)))?;
    let all: Vec<(String, String, String)> = all.collect::<rusqlite::Result<_>>()?;
    let intruders = all.into_iter().filter(|(.., sql)| names_ours(sql));
    Ok(intruders.map(|(kind, name, _)| (kind, name)).collect())
}

/// Whether a name in it begins as those of our tables do; `last_sync_at` does not.
fn names_ours(sql: &str) -> bool {
    let sql = sql.to_ascii_lowercase();
    let begins = |(at, _): (usize, &str)| {
        !sql[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == '$')
    };
    sql.match_indices("_sync_").any(begins)
}

fn upgrade_keys(conn: &Connection, policy: &Policy) -> Result<(), InstallError> {
    for table in Schema::read(conn)?.tables.into_values() {
        if table.rowid_key && policy.table(&table.name).replicate {
            let is_new = autoincrement::upgrade(conn, &table.name)?;
            if is_new {
                let sql = "INSERT INTO _sync_upgraded(name) VALUES (?1) ON CONFLICT(name) DO NOTHING";
                conn.execute(sql, [&table.name])?;
            }
        }
    }
    Ok(())
}

/// Names in lower case: SQLite takes names that differ only in ASCII case for one.
fn existing_triggers(conn: &Connection) -> rusqlite::Result<HashMap<String, String>> {
    let sql =
        "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND name LIKE '\\_sync\\_%' ESCAPE '\\'";
    conn.prepare(sql)?
        .query_map([], |row| Ok((row.get::<_, String>(0)?.to_ascii_lowercase(), row.get(1)?)))?
        .collect()
}

/// The table's number, and whether it was known before.
fn number_of(conn: &Connection, table: &str) -> rusqlite::Result<(i64, bool)> {
    let sql = "SELECT tid FROM _sync_table WHERE name = ?1 COLLATE NOCASE";
    let found = conn.query_row(sql, [table], |row| row.get(0)).optional()?;
    if let Some(tid) = found {
        conn.execute("UPDATE _sync_table SET name = ?2 WHERE tid = ?1 AND name <> ?2", (tid, table))?;
        return Ok((tid, true));
    }
    conn.execute("INSERT INTO _sync_table(name) VALUES (?1)", [table])?;
    Ok((conn.last_insert_rowid(), false))
}

/// Creates what is missing or different. True when a trigger was missing altogether, or when the unique
/// indexes are others: then something may have happened that no trigger saw.
fn install_triggers(
    conn: &Connection,
    table: &Table,
    tid: i64,
    found: &HashMap<String, String>,
    wanted: &mut HashMap<String, String>,
) -> rusqlite::Result<bool> {
    let mut unwatched = false;
    for trigger in triggers::of(table, tid) {
        let name = trigger.name.to_ascii_lowercase();
        match found.get(&name) {
            Some(sql) if *sql == trigger.sql => {}
            Some(sql) => {
                unwatched |=
                    trigger.guards_uniques && !watched(sql).eq_ignore_ascii_case(watched(&trigger.sql));
                conn.execute_batch(&format!("DROP TRIGGER {}; {};", ident(&trigger.name), trigger.sql))?;
            }
            None => {
                unwatched = true;
                conn.execute_batch(&trigger.sql)?;
            }
        }
        wanted.insert(name, trigger.sql);
    }
    Ok(unwatched)
}

/// The part of a trigger before its body: when it looks at all.
fn watched(sql: &str) -> &str {
    sql.split_once(" BEGIN ").map_or(sql, |(head, _)| head)
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

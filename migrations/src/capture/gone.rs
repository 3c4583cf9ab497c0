//! What capture still knows of columns and tables that are gone.
//!
//! A base table keeps a column that the program's table has lost, and outlives a table that was dropped.
//! Whoever sweeps learns what went since the last time, and the traces are removed in the same transaction.

use super::base;
use crate::quote::ident;
use crate::replica::Tracked;
use crate::shape::{Schema, read_table};
use rusqlite::{Connection, Result};
use std::sync::Arc;

/// What went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// Tables, as they were called.
    pub tables: Vec<String>,
    /// Table and column.
    pub columns: Vec<(String, String)>,
}

/// Finds what is gone and forgets its notes. To be called after an installation, when no trigger of ours
/// names a column that is gone. A table's number and its id block are kept: ids are never given twice.
///
/// # Errors
/// When SQLite fails.
pub fn sweep<'t>(
    conn: &Connection,
    schema: &Schema,
    tables: impl Iterator<Item = &'t Arc<Tracked>>,
) -> Result<Gone> {
    let mut gone = Gone::default();
    let known: Vec<String> = conn
        .prepare("SELECT name FROM _sync_table ORDER BY tid")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_>>()?;
    for table in known.into_iter().filter(|name| schema.table(name).is_none()) {
        if has_table(conn, &base::name(&table))? {
            conn.execute_batch(&format!("DROP TABLE {}", ident(&base::name(&table))))?;
            gone.tables.push(table);
        }
    }
    for tracked in tables {
        let table = &tracked.table;
        let base_name = base::name(&table.name);
        for column in &read_table(conn, &base_name)?.columns {
            let Some(name) = column.name.strip_prefix("b_") else { continue };
            let generated = table.generated.iter().any(|found| found.eq_ignore_ascii_case(name));
            if table.column(name).is_some() {
                continue;
            }
            conn.execute_batch(&format!(
                "ALTER TABLE {} DROP COLUMN {}",
                ident(&base_name),
                ident(&column.name)
            ))?;
            if !generated {
                gone.columns.push((table.name.clone(), name.to_owned()));
            }
        }
    }
    Ok(gone)
}

/// Forgets tables that existed only for a moment inside of one transaction.
///
/// # Errors
/// When SQLite fails.
pub fn forget_passing(conn: &Connection, schema: &Schema, names: &[String]) -> Result<()> {
    for name in names.iter().filter(|name| schema.table(name).is_none()) {
        conn.execute_batch(&format!("DROP TABLE IF EXISTS {}", ident(&base::name(name))))?;
        conn.execute("DELETE FROM _sync_table WHERE name = ?1 COLLATE NOCASE", [name])?;
    }
    Ok(())
}

fn has_table(conn: &Connection, name: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE)";
    conn.prepare_cached(sql)?.query_row([name], |row| row.get(0))
}

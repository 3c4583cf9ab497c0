//! Capture follows a table or column to its new name, with the notes and the id block that it has.
//!
//! Called in the transaction that renames it, while our triggers are away.

use super::base;
use crate::quote::ident;
use rusqlite::{Connection, Result};

/// A table is about to be called otherwise.
///
/// # Errors
/// When SQLite fails.
pub fn table(conn: &Connection, from: &str, to: &str) -> Result<()> {
    // What is left of an earlier table of that name has no rows any more.
    conn.execute(
        "DELETE FROM _sync_table WHERE name = ?1 COLLATE NOCASE AND name <> ?2 COLLATE NOCASE",
        (to, from),
    )?;
    conn.execute("UPDATE _sync_table SET name = ?2 WHERE name = ?1 COLLATE NOCASE", (from, to))?;
    if exists(conn, &base::name(from))? && !from.eq_ignore_ascii_case(to) {
        let (old, new) = (ident(&base::name(from)), ident(&base::name(to)));
        conn.execute_batch(&format!("DROP TABLE IF EXISTS {new}; ALTER TABLE {old} RENAME TO {new}"))?;
    }
    Ok(())
}

/// A column is about to be called otherwise.
///
/// # Errors
/// When SQLite fails.
pub fn column(conn: &Connection, table: &str, from: &str, to: &str) -> Result<()> {
    let base = base::name(table);
    if !exists(conn, &base)? {
        return Ok(());
    }
    for prefix in ["k_", "b_"] {
        let (old, new) = (format!("{prefix}{from}"), format!("{prefix}{to}"));
        let sql = "SELECT EXISTS (SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2 COLLATE NOCASE)";
        let held = |name: &str| conn.query_row(sql, (&base, name), |row| row.get::<_, bool>(0));
        if held(&old)? && !held(&new)? {
            conn.execute_batch(&format!(
                "ALTER TABLE {} RENAME COLUMN {} TO {}",
                ident(&base),
                ident(&old),
                ident(&new)
            ))?;
        }
    }
    Ok(())
}

fn exists(conn: &Connection, table: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE)";
    conn.prepare_cached(sql)?.query_row([table], |row| row.get(0))
}

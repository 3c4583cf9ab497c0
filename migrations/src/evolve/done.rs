//! Recognises a statement whose effect is already there.

use crate::script::Action;
use rusqlite::{Connection, Result};

/// True when the statement would change nothing, or, on an edge, when what it is about is not there: a
/// table that is not replicated need not be on every node.
pub(super) fn is_done(conn: &Connection, action: &Action, hub: bool) -> Result<bool> {
    let table = |name: &str| exists(conn, "table", name);
    Ok(match action {
        Action::CreateTable(name) => table(name)? || exists(conn, "view", name)?,
        Action::DropTable(name) => !table(name)?,
        Action::RenameTable { from, to } => !table(from)? && (!hub || table(to)?),
        Action::AddColumn { table: name, column } => match table(name)? {
            true => has_column(conn, name, column)?,
            false => !hub,
        },
        Action::DropColumn { table: name, column } => match table(name)? {
            true => !has_column(conn, name, column)?,
            false => !hub,
        },
        Action::RenameColumn { table: name, from, to } => match table(name)? {
            true => !has_column(conn, name, from)? && (!hub || has_column(conn, name, to)?),
            false => !hub,
        },
        Action::Create { what, name } => exists(conn, what, name)?,
        Action::Drop { what, name } => !exists(conn, what, name)?,
        Action::Rows { .. } | Action::Mark | Action::Look => false,
    })
}

fn exists(conn: &Connection, what: &str, name: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = ?1 AND name = ?2 COLLATE NOCASE)";
    conn.prepare_cached(sql)?.query_row([what, name], |row| row.get(0))
}

/// Generated columns as well: none can be added under their name.
fn has_column(conn: &Connection, table: &str, column: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pragma_table_xinfo(?1) WHERE name = ?2 COLLATE NOCASE)";
    conn.prepare(sql)?.query_row([table, column], |row| row.get(0))
}

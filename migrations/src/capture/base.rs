//! The base table of one replicated table.
//!
//! * `k_<column>`: the key, with the column's affinity and collation, so that two spellings of a key
//!   that are one row for the program are one note for us.
//! * `b_<column>`: the other columns as they were, without affinity, so that nothing is converted.
//! * `_existed`: 0 when there was no such row; `_at`: device time of the last touch in milliseconds.

mod ensure;

pub use ensure::{ensure, note_all_as_new};

use crate::quote::ident;
use crate::shape::Table;
use crate::value::{bound, copy};
use rusqlite::{Connection, OptionalExtension as _, Result, params_from_iter};
use tt_protocol::value::Value;

/// Name of the base table, not quoted.
#[must_use]
pub fn name(table: &str) -> String {
    format!("_sync_base_{table}")
}

/// Quoted name of a key column in the base table.
#[must_use]
pub fn key_column(column: &str) -> String {
    ident(&format!("k_{column}"))
}

/// Quoted name of another column in the base table.
#[must_use]
pub fn value_column(column: &str) -> String {
    ident(&format!("b_{column}"))
}

/// All quoted columns of the base table in the order of [`Table::ordered`].
#[must_use]
pub fn columns(table: &Table) -> Vec<String> {
    let ordered = table.ordered_names();
    let place = |(index, name): (usize, &String)| {
        if index < table.key.len() { key_column(name) } else { value_column(name) }
    };
    ordered.iter().enumerate().map(place).collect()
}

/// A note: the row as it was when first touched since the last cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// False: there was no such row.
    pub existed: bool,
    /// The row in the order of [`Table::ordered`]. Only the key is meaningful when it did not exist.
    pub row: Vec<Value>,
}

/// The note at `key`, if the row was touched.
///
/// # Errors
/// When SQLite fails.
pub fn note(conn: &Connection, table: &Table, key: &[Value]) -> Result<Option<Note>> {
    let sql = format!(
        "SELECT _existed, {} FROM {} WHERE {}",
        columns(table).join(", "),
        quoted(table),
        at_key(table)
    );
    let width = table.columns.len();
    conn.prepare_cached(&sql)?
        .query_row(params_from_iter(bound(key.iter().map(Value::as_ref))), |row| {
            Ok(Note { existed: row.get(0)?, row: copy(row, 1, 1 + width)? })
        })
        .optional()
}

/// Replaces the base of a noted row: it is now compared with another row of the hub.
///
/// # Errors
/// When SQLite fails.
pub fn rebase(conn: &Connection, table: &Table, row: &[Value]) -> Result<()> {
    let sets: Vec<_> =
        columns(table).iter().skip(table.key.len()).map(|column| format!("{column} = ?")).collect();
    if sets.is_empty() {
        return Ok(());
    }
    let sql = format!("UPDATE {} SET {} WHERE {}", quoted(table), sets.join(", "), at_key(table));
    let (key, values) = row.split_at(table.key.len());
    let parameters = values.iter().chain(key).map(Value::as_ref);
    conn.prepare_cached(&sql)?.execute(params_from_iter(bound(parameters)))?;
    Ok(())
}

/// Notes a row by hand, as a trigger would have: with the base `was`, or as one that did not exist.
///
/// # Errors
/// When SQLite fails.
pub fn add(conn: &Connection, table: &Table, live: &[Value], was: Option<&Vec<Value>>) -> Result<()> {
    let marks = vec!["?"; table.columns.len()].join(", ");
    let sql = format!(
        "INSERT INTO {}({}, _existed, _at) VALUES ({marks}, ?, CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER))
         ON CONFLICT DO NOTHING",
        quoted(table),
        columns(table).join(", "),
    );
    let existed = Value::Integer(i64::from(was.is_some()));
    let row = was.map_or(live, Vec::as_slice).iter().chain([&existed]);
    conn.prepare_cached(&sql)?.execute(params_from_iter(bound(row.map(Value::as_ref))))?;
    Ok(())
}

/// Forgets a note: the program's change is undone or has become the hub's row.
///
/// # Errors
/// When SQLite fails.
pub fn forget(conn: &Connection, table: &Table, key: &[Value]) -> Result<()> {
    let sql = format!("DELETE FROM {} WHERE {}", quoted(table), at_key(table));
    conn.prepare_cached(&sql)?.execute(params_from_iter(bound(key.iter().map(Value::as_ref))))?;
    Ok(())
}

/// True when the table has any note.
///
/// # Errors
/// When SQLite fails.
pub fn any(conn: &Connection, table: &Table) -> Result<bool> {
    let sql = format!("SELECT EXISTS (SELECT 1 FROM {})", quoted(table));
    conn.prepare_cached(&sql)?.query_row([], |row| row.get(0))
}

fn quoted(table: &Table) -> String {
    ident(&name(&table.name))
}

fn at_key(table: &Table) -> String {
    table.key_names().map(|name| format!("{} = ?", key_column(name))).collect::<Vec<_>>().join(" AND ")
}

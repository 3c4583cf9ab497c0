//! Rows by key, read and written as values, and what a constraint says to them.

use crate::programs_triggers::past_failing;
use crate::replica::Tracked;
use crate::value::{Bound, bound, copy};
use rusqlite::{Connection, OptionalExtension as _, Result, params_from_iter};
use tt_protocol::value::{Value, ValueRef};

/// A row's primary key, in key order.
pub type Key = Vec<Value>;
/// A whole row, in the order of [`Tracked::names`].
pub type Row = Vec<Value>;

/// The key as bytes: equal exactly when the keys are.
#[inline]
#[must_use]
pub fn key_bytes(key: &[Value]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() * 9);
    for value in key {
        value.as_ref().write_canonical(&mut out);
    }
    out
}

/// The row at `key`, if there is one.
///
/// # Errors
/// When SQLite fails.
pub fn read(conn: &Connection, tracked: &Tracked, key: &[Value]) -> Result<Option<Row>> {
    conn.prepare_cached(&tracked.select)?
        .query_row(params_from_iter(bind(key)), |row| copy(row, 0, tracked.names.len()))
        .optional()
}

/// Inserts a whole row.
///
/// # Errors
/// When a constraint refuses it, or SQLite fails.
pub fn insert(conn: &Connection, tracked: &Tracked, row: &[Value]) -> Result<()> {
    execute(conn, tracked, &tracked.insert, row.iter().map(Value::as_ref))
}

/// Inserts a row of which only the named columns are known; the others take their defaults.
///
/// # Errors
/// When a constraint refuses it, or SQLite fails.
pub fn insert_named<'v>(
    conn: &Connection,
    tracked: &Tracked,
    columns: &[String],
    row: impl IntoIterator<Item = ValueRef<'v>> + Clone,
) -> Result<()> {
    if *columns == tracked.names {
        return execute(conn, tracked, &tracked.insert, row);
    }
    let sql = format!(
        "INSERT INTO {}({}) VALUES ({})",
        crate::quote::ident(&tracked.table.name),
        crate::replica::list(columns),
        vec!["?"; columns.len()].join(", ")
    );
    execute(conn, tracked, &sql, row)
}

/// Sets some columns of the row at `key`.
///
/// # Errors
/// When a constraint refuses it, or SQLite fails.
pub fn update(conn: &Connection, tracked: &Tracked, key: &[Value], set: &[(String, Value)]) -> Result<()> {
    let names: Vec<&str> = set.iter().map(|(name, _)| name.as_str()).collect();
    let values = set.iter().map(|(_, value)| value.as_ref()).chain(key.iter().map(Value::as_ref));
    execute(conn, tracked, &tracked.update(&names), values)
}

/// Deletes the row at `key`.
///
/// # Errors
/// When SQLite fails.
pub fn delete(conn: &Connection, tracked: &Tracked, key: &[Value]) -> Result<()> {
    execute(conn, tracked, &tracked.delete, key.iter().map(Value::as_ref))
}

/// Runs a statement that writes a row of the table. A trigger of the program that fires with it never keeps
/// the row out.
///
/// # Errors
/// When a constraint of the table refuses the row, or SQLite fails.
pub fn execute<'v>(
    conn: &Connection,
    tracked: &Tracked,
    sql: &str,
    values: impl IntoIterator<Item = ValueRef<'v>> + Clone,
) -> Result<()> {
    let run = || conn.prepare_cached(sql)?.execute(params_from_iter(bound(values.clone()))).map(drop);
    run().or_else(|error| past_failing(conn, &tracked.table.name, error, run))
}

fn bind(values: &[Value]) -> impl Iterator<Item = Bound<'_>> {
    bound(values.iter().map(Value::as_ref))
}

/// What kind of constraint refused a statement; None for every other failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another row has this primary key.
    Key,
    /// Another row has this value in a unique index.
    Unique,
    /// NOT NULL, CHECK, a type of a STRICT table.
    Rule,
}

/// Sorts a failure: a constraint is an answer about the row, anything else is about the file.
#[must_use]
pub fn refusal(error: &rusqlite::Error) -> Option<Refusal> {
    use rusqlite::ffi;
    let rusqlite::Error::SqliteFailure(failure, _) = error else {
        return None;
    };
    match failure.extended_code {
        ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID => Some(Refusal::Key),
        ffi::SQLITE_CONSTRAINT_UNIQUE => Some(Refusal::Unique),
        _ if failure.code == rusqlite::ErrorCode::ConstraintViolation => Some(Refusal::Rule),
        _ if failure.code == rusqlite::ErrorCode::TypeMismatch => Some(Refusal::Rule),
        _ => None,
    }
}

//! Values between rusqlite and the protocol, byte for byte in both directions.

use rusqlite::types::{ToSqlOutput, ValueRef as SqlRef};
use rusqlite::{Row, ToSql};
use tt_protocol::value::{Value, ValueRef};

/// A protocol value that can be bound to a statement. Text is bound as the bytes that it is.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'a>(pub ValueRef<'a>);

impl ToSql for Bound<'_> {
    #[inline]
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            ValueRef::Null => SqlRef::Null,
            ValueRef::Integer(value) => SqlRef::Integer(value),
            ValueRef::Real(value) => SqlRef::Real(value),
            ValueRef::Text(bytes) => SqlRef::Text(bytes),
            ValueRef::Blob(bytes) => SqlRef::Blob(bytes),
        }))
    }
}

/// Makes anything that yields values bindable.
#[inline]
pub fn bound<'a>(values: impl IntoIterator<Item = ValueRef<'a>>) -> impl Iterator<Item = Bound<'a>> {
    values.into_iter().map(Bound)
}

/// Column `index` of a row, borrowed.
///
/// # Errors
/// When the row has no such column.
#[inline]
pub fn get<'r>(row: &'r Row<'_>, index: usize) -> rusqlite::Result<ValueRef<'r>> {
    Ok(match row.get_ref(index)? {
        SqlRef::Null => ValueRef::Null,
        SqlRef::Integer(value) => ValueRef::Integer(value),
        SqlRef::Real(value) => ValueRef::Real(value),
        SqlRef::Text(bytes) => ValueRef::Text(bytes),
        SqlRef::Blob(bytes) => ValueRef::Blob(bytes),
    })
}

/// Columns `from..to` of a row, copied.
///
/// # Errors
/// When the row has fewer columns.
#[inline]
pub fn copy(row: &Row<'_>, from: usize, to: usize) -> rusqlite::Result<Vec<Value>> {
    (from..to).map(|index| Ok(get(row, index)?.to_owned())).collect()
}

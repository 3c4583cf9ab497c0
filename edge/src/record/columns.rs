//! Which columns the tables of this file have: files of different years differ by them.

use rusqlite::{Connection, Result};
use std::collections::BTreeSet;

/// The columns of one table; none when there is no such table.
pub(crate) struct Columns(BTreeSet<String>);

impl Columns {
    /// Reads them.
    ///
    /// # Errors
    /// When SQLite fails.
    pub(crate) fn of(conn: &Connection, table: &str) -> Result<Self> {
        let mut statement = conn.prepare_cached("SELECT name FROM pragma_table_info(?1)")?;
        let names = statement.query_map([table], |row| row.get(0))?;
        Ok(Self(names.collect::<Result<_>>()?))
    }

    /// True when there is no such table.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True when the table has this column.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// The column where it exists, and this expression elsewhere.
    pub(crate) fn or(&self, name: &str, otherwise: &str) -> String {
        if self.has(name) { name.to_owned() } else { otherwise.to_owned() }
    }
}

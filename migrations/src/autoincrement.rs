//! Gives a table AUTOINCREMENT whose key is an `INTEGER PRIMARY KEY` without it.
//!
//! Without the word SQLite hands out an id again once its row is deleted, and it does not look into
//! `sqlite_sequence`, through which ids are kept apart between devices. The file format is the same with
//! and without it, so the table's text is edited in place: rows, indexes and triggers are not touched.
//! It must never leave a schema behind that it did not verify: everything happens in a savepoint.

mod clause;

pub use clause::ClauseError;

use crate::quote::{ident, text};
use rusqlite::{Connection, OptionalExtension, params};

/// Why a table was left as it was.
#[derive(Debug, thiserror::Error)]
pub enum AutoincrementError {
    /// Called outside a transaction.
    #[error("the key of table {0:?} can only be upgraded inside a transaction; begin one first")]
    NoTransaction(String),
    /// The database has no such table.
    #[error("there is no table {0:?} whose key could be upgraded")]
    NoTable(String),
    /// The table's text is not understood.
    #[error(
        "the CREATE TABLE text of {table:?} cannot be edited: {source}; \
         rebuild the table with INTEGER PRIMARY KEY AUTOINCREMENT, then try again"
    )]
    Unreadable {
        /// The table.
        table: String,
        /// What about its text.
        source: ClauseError,
    },
    /// The edited table is not what it was before.
    #[error("table {table:?} was not upgraded, because afterwards {what}; nothing was changed")]
    Changed {
        /// The table.
        table: String,
        /// What differs.
        what: String,
    },
    /// SQLite refused a step.
    #[error("the key of table {table:?} could not be upgraded: {source}; nothing was changed")]
    Sqlite {
        /// The table.
        table: String,
        /// SQLite's own words.
        source: rusqlite::Error,
    },
}

/// One column as `table_xinfo` shows it.
type Column = (String, String, bool, Option<String>, i64, i64);

/// Adds AUTOINCREMENT to the table's key if its key is a rowid alias without it, and says whether it did.
///
/// Tables without a rowid, with another kind of key, virtual tables and views are left alone. Runs inside
/// the caller's transaction and leaves it usable also after an error.
///
/// # Errors
/// [`AutoincrementError`]; the table is then as it was.
pub fn upgrade(conn: &Connection, table: &str) -> Result<bool, AutoincrementError> {
    if conn.is_autocommit() {
        return Err(AutoincrementError::NoTransaction(table.to_owned()));
    }
    let fail = |source| AutoincrementError::Sqlite { table: table.to_owned(), source };
    let found = stored(conn, table).optional().map_err(fail)?;
    let (name, sql) = found.ok_or_else(|| AutoincrementError::NoTable(table.to_owned()))?;
    let Some(key) = rowid_alias(conn, &name).map_err(fail)? else {
        return Ok(false);
    };
    let edited = clause::with_autoincrement(&sql)
        .map_err(|source| AutoincrementError::Unreadable { table: name.clone(), source })?;
    let Some(edited) = edited else { return Ok(false) };
    conn.execute_batch("SAVEPOINT _sync_autoincrement").map_err(fail)?;
    let outcome = replace_and_verify(conn, &name, &key, &edited);
    let end = if outcome.is_ok() { "RELEASE _sync_autoincrement" } else { UNDO };
    conn.execute_batch(end).map_err(fail)?;
    outcome.map(|()| true)
}

/// Takes AUTOINCREMENT back that [`upgrade`] gave, and says whether it did. SQLite's counter of the table goes
/// with it: ids go on above the largest one that is there.
///
/// # Errors
/// [`AutoincrementError`]; the table is then as it was.
pub fn take_back(conn: &Connection, table: &str) -> Result<bool, AutoincrementError> {
    if conn.is_autocommit() {
        return Err(AutoincrementError::NoTransaction(table.to_owned()));
    }
    let fail = |source| AutoincrementError::Sqlite { table: table.to_owned(), source };
    let found = stored(conn, table).optional().map_err(fail)?;
    let (name, sql) = found.ok_or_else(|| AutoincrementError::NoTable(table.to_owned()))?;
    let bare = clause::without_autoincrement(&sql)
        .map_err(|source| AutoincrementError::Unreadable { table: name.clone(), source })?;
    let Some(bare) = bare else { return Ok(false) };
    conn.execute_batch("SAVEPOINT _sync_autoincrement").map_err(fail)?;
    let outcome = replace_verified(conn, &name, &bare).and_then(|()| {
        conn.execute("DELETE FROM main.sqlite_sequence WHERE name = ?1", [&name]).map(drop).map_err(fail)
    });
    let end = if outcome.is_ok() { "RELEASE _sync_autoincrement" } else { UNDO };
    conn.execute_batch(end).map_err(fail)?;
    outcome.map(|()| true)
}

/// Makes sure that `sqlite_sequence` has a row for an AUTOINCREMENT table, at or above its largest id.
///
/// # Errors
/// SQLite's own.
pub fn ensure_sequence_row(conn: &Connection, table: &str, key: &str) -> rusqlite::Result<()> {
    ensure_sequence_table(conn)?;
    let top_sql = format!("SELECT max(0, ifnull(max({}), 0)) FROM main.{}", ident(key), ident(table));
    let top: i64 = conn.query_row(&top_sql, [], |row| row.get(0))?;
    let raised = conn.execute(
        "UPDATE main.sqlite_sequence SET seq = max(CAST(seq AS INTEGER), ?2) WHERE name = ?1",
        params![table, top],
    )?;
    if raised == 0 {
        conn.execute("INSERT INTO main.sqlite_sequence(name, seq) VALUES (?1, ?2)", params![table, top])?;
    }
    Ok(())
}

/// Taking the savepoint back does not take back the schema that this connection has read meanwhile.
const UNDO: &str =
    "ROLLBACK TO _sync_autoincrement; RELEASE _sync_autoincrement; PRAGMA writable_schema=RESET";

/// Name and text of the table as the schema holds them.
fn stored(conn: &Connection, table: &str) -> rusqlite::Result<(String, String)> {
    conn.query_row(
        "SELECT name, sql FROM main.sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE",
        [table],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// The key column, if the table is an ordinary one whose key is its rowid.
///
/// SQLite tells by what is absent: any other primary key of a table with rowids has an index of its own.
fn rowid_alias(conn: &Connection, table: &str) -> rusqlite::Result<Option<String>> {
    conn.query_row(
        "SELECT c.name FROM pragma_table_xinfo(?1, 'main') AS c
          WHERE c.pk > 0
            AND EXISTS (SELECT 1 FROM pragma_table_list AS t
                         WHERE t.schema = 'main' AND t.name = ?1 AND t.type = 'table' AND t.wr = 0)
            AND NOT EXISTS (SELECT 1 FROM pragma_index_list(?1, 'main') AS i WHERE i.origin = 'pk')",
        [table],
        |row| row.get(0),
    )
    .optional()
}

fn replace_and_verify(
    conn: &Connection,
    table: &str,
    key: &str,
    sql: &str,
) -> Result<(), AutoincrementError> {
    let fail = |source| AutoincrementError::Sqlite { table: table.to_owned(), source };
    ensure_sequence_table(conn).map_err(fail)?;
    replace_verified(conn, table, sql)?;
    ensure_sequence_row(conn, table, key).map_err(fail)
}

/// The table is what it was, but for its text.
fn replace_verified(conn: &Connection, table: &str, sql: &str) -> Result<(), AutoincrementError> {
    let fail = |source| AutoincrementError::Sqlite { table: table.to_owned(), source };
    let changed = |what: String| AutoincrementError::Changed { table: table.to_owned(), what };
    let before = (columns(conn, table).map_err(fail)?, findings(conn, table).map_err(fail)?);
    replace(conn, table, sql).map_err(fail)?;
    if stored(conn, table).map_err(fail)?.1 != sql {
        return Err(changed("its text is another".to_owned()));
    }
    let after = (columns(conn, table).map_err(fail)?, findings(conn, table).map_err(fail)?);
    if before.0 != after.0 {
        return Err(changed("its columns are others".to_owned()));
    }
    if before.1 != after.1 {
        return Err(changed(format!("integrity_check says {}", after.1.join(", "))));
    }
    Ok(())
}

/// SQLite makes its own table when the first AUTOINCREMENT table is created, and keeps it afterwards.
fn ensure_sequence_table(conn: &Connection) -> rusqlite::Result<()> {
    let sql = "SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE name = 'sqlite_sequence')";
    if conn.query_row(sql, [], |row| row.get(0))? {
        return Ok(());
    }
    conn.execute_batch(
        "CREATE TABLE main._sync_first_sequence(id INTEGER PRIMARY KEY AUTOINCREMENT);
         DROP TABLE main._sync_first_sequence;",
    )
}

/// Writes the new text and reads the schema anew. Other connections notice by the schema's number.
fn replace(conn: &Connection, table: &str, sql: &str) -> rusqlite::Result<()> {
    let number: i64 = conn.query_row("PRAGMA main.schema_version", [], |row| row.get(0))?;
    conn.execute_batch("PRAGMA writable_schema=ON")?;
    let update = "UPDATE main.sqlite_schema SET sql = ?2 WHERE type = 'table' AND name = ?1";
    let updated = conn.execute(update, params![table, sql]);
    let next = (number + 1) & i64::from(i32::MAX);
    conn.execute_batch(&format!("PRAGMA main.schema_version={next}; PRAGMA writable_schema=RESET"))?;
    updated.map(|_| ())
}

fn columns(conn: &Connection, table: &str) -> rusqlite::Result<Vec<Column>> {
    let sql = "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?1, 'main')";
    let mut statement = conn.prepare(sql)?;
    let rows = statement.query_map([table], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
    })?;
    rows.collect()
}

/// What `integrity_check` says about this table: compared, because old faults are not our doing.
fn findings(conn: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = conn.prepare(&format!("PRAGMA main.integrity_check({})", text(table)))?;
    let rows = statement.query_map([], |row| row.get(0))?;
    rows.collect()
}

#[cfg(test)]
mod tests;

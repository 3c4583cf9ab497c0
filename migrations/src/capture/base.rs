//! The base table of one replicated table.
//!
//! * `k_<column>`: the key, with the column's affinity and collation, so that two spellings of a key
//!   that are one row for the program are one note for us.
//! * `b_<column>`: the other columns as they were, without affinity, so that nothing is converted.
//! * `_existed`: 0 when there was no such row; `_at`: device time of the last touch in milliseconds.

use crate::quote::{ident, text};
use crate::shape::{Column, Table};
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
        if index < table.key.len() {
            key_column(name)
        } else {
            value_column(name)
        }
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
            Ok(Note {
                existed: row.get(0)?,
                row: copy(row, 1, 1 + width)?,
            })
        })
        .optional()
}

/// Replaces the base of a noted row: it is now compared with another row of the hub.
///
/// # Errors
/// When SQLite fails.
pub fn rebase(conn: &Connection, table: &Table, row: &[Value]) -> Result<()> {
    let sets: Vec<_> = columns(table)
        .iter()
        .skip(table.key.len())
        .map(|column| format!("{column} = ?"))
        .collect();
    if sets.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "UPDATE {} SET {} WHERE {}",
        quoted(table),
        sets.join(", "),
        at_key(table)
    );
    let (key, values) = row.split_at(table.key.len());
    let parameters = values.iter().chain(key).map(Value::as_ref);
    conn.prepare_cached(&sql)?
        .execute(params_from_iter(bound(parameters)))?;
    Ok(())
}

/// Forgets a note: the program's change is undone or has become the hub's row.
///
/// # Errors
/// When SQLite fails.
pub fn forget(conn: &Connection, table: &Table, key: &[Value]) -> Result<()> {
    let sql = format!("DELETE FROM {} WHERE {}", quoted(table), at_key(table));
    conn.prepare_cached(&sql)?
        .execute(params_from_iter(bound(key.iter().map(Value::as_ref))))?;
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
    table
        .key_names()
        .map(|name| format!("{} = ?", key_column(name)))
        .collect::<Vec<_>>()
        .join(" AND ")
}

/// Creates the base table, or adds the columns that the program's table has gained. A gained column's
/// base is its default: it held nothing else before the program could touch it.
///
/// # Errors
/// When SQLite fails.
pub fn ensure(conn: &Connection, table: &Table) -> Result<()> {
    let name = name(&table.name);
    let Some(existing) = existing_columns(conn, &name)? else {
        return conn.execute_batch(&create(table));
    };
    for column in table.ordered().into_iter().skip(table.key.len()) {
        let wanted = format!("b_{}", column.name);
        if !existing.iter().any(|found| found.eq_ignore_ascii_case(&wanted)) {
            conn.execute_batch(&add_column(&name, column))?;
        }
    }
    Ok(())
}

fn existing_columns(conn: &Connection, name: &str) -> Result<Option<Vec<String>>> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    if conn.query_row(sql, [name], |_| Ok(())).optional()?.is_none() {
        return Ok(None);
    }
    let mut statement = conn.prepare("SELECT name FROM pragma_table_info(?1)")?;
    statement
        .query_map([name], |row| row.get(0))?
        .collect::<Result<_>>()
        .map(Some)
}

fn create(table: &Table) -> String {
    let name = ident(&name(&table.name));
    let values: String = table
        .ordered()
        .into_iter()
        .skip(table.key.len())
        .map(|column| format!(", {}", value_column(&column.name)))
        .collect();
    if table.rowid_key {
        let key = key_column(&table.key[0].0);
        return format!(
            "CREATE TABLE {name}({key} INTEGER PRIMARY KEY, _existed INTEGER NOT NULL, _at INTEGER NOT NULL{values});"
        );
    }
    let keys: String = table
        .key
        .iter()
        .map(|(column, collation)| {
            let declared = table.column(column).map_or("", |found| affinity(&found.declared));
            format!("{} {declared} COLLATE {}, ", key_column(column), ident(collation))
        })
        .collect();
    let list: Vec<_> = table.key_names().map(key_column).collect();
    format!(
        "CREATE TABLE {name}({keys}_existed INTEGER NOT NULL, _at INTEGER NOT NULL{values}, PRIMARY KEY({})) WITHOUT ROWID;",
        list.join(", ")
    )
}

/// `ALTER TABLE ADD COLUMN` takes constant defaults only, and the program's own column had to obey that
/// as well; anything else (a default in parentheses after a rebuild) leaves the base NULL.
fn add_column(base: &str, column: &Column) -> String {
    let constant = |sql: &&String| !sql.starts_with('(') && !sql.to_ascii_uppercase().starts_with("CURRENT_");
    let default = column
        .default
        .as_ref()
        .filter(constant)
        .map(|sql| match sql.strip_prefix('"') {
            // A double-quoted default is an old spelling of a text.
            Some(rest) => text(&rest.trim_end_matches('"').replace("\"\"", "\"")),
            None => sql.clone(),
        });
    let clause = default.map(|sql| format!(" DEFAULT {sql}")).unwrap_or_default();
    format!(
        "ALTER TABLE {} ADD COLUMN {} {}{clause};",
        ident(base),
        value_column(&column.name),
        affinity(&column.declared)
    )
}

/// The type that gives a base column the affinity that SQLite derives from a declared type
/// (sqlite.org/datatype3.html, section 3.1).
fn affinity(declared: &str) -> &'static str {
    let upper = declared.to_ascii_uppercase();
    let has = |part: &str| upper.contains(part);
    if has("INT") {
        "INT"
    } else if has("CHAR") || has("CLOB") || has("TEXT") {
        "TEXT"
    } else if has("BLOB") || upper.is_empty() {
        "BLOB"
    } else if has("REAL") || has("FLOA") || has("DOUB") {
        "REAL"
    } else {
        "NUMERIC"
    }
}

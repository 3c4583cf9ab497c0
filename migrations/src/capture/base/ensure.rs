//! Makes the base table fit the program's table, whatever a program did to it meanwhile.
//!
//! A column that was added is added here as well. A key that became another makes a new base table: what
//! the old one held names rows that no longer can be told apart, so the caller must compare with the hub.

use super::{columns, key_column, name, quoted, value_column};
use crate::capture::default;
use crate::capture::triggers::NOW;
use crate::quote::ident;
use crate::replica::list;
use crate::shape::{Column, Table, read_table};
use rusqlite::{Connection, OptionalExtension as _, Result};

/// Creates the base table, or adds the columns that the program's table has gained. A gained column's
/// base is its default: it held nothing else before the program could touch it.
///
/// True when that is not the whole story: the key is another, or a column that went while one came may
/// have been renamed with all its values. Then rows differ from the hub's without a note.
///
/// # Errors
/// When SQLite fails.
pub fn ensure(conn: &Connection, table: &Table) -> Result<bool> {
    let Some(existing) = existing(conn, table)? else {
        return conn.execute_batch(&create(table)).map(|()| false);
    };
    if !keys_fit(&existing, table) {
        let drop = format!("DROP TABLE {};", quoted(table));
        return conn.execute_batch(&format!("{drop} {}", create(table))).map(|()| true);
    }
    let values: Vec<_> = table.ordered().into_iter().skip(table.key.len()).collect();
    let gained: Vec<_> =
        values.iter().filter(|column| existing.column(&format!("b_{}", column.name)).is_none()).collect();
    for column in &gained {
        add_column(conn, table, column)?;
    }
    let gone = existing
        .columns
        .iter()
        .filter_map(|column| column.name.strip_prefix("b_"))
        .any(|name| table.column(name).is_none());
    Ok(gone && !gained.is_empty())
}

/// Notes every row of a table that was just discovered as one that did not exist at the last cut.
///
/// # Errors
/// When SQLite fails.
pub fn note_all_as_new(conn: &Connection, table: &Table) -> Result<usize> {
    let keys: Vec<_> = table.key_names().map(str::to_owned).collect();
    let given: Vec<_> = keys.iter().map(|key| format!("{} IS NOT NULL", ident(key))).collect();
    let sql = format!(
        "INSERT INTO {}({}, _existed, _at) SELECT {}, 0, {NOW} FROM {} WHERE {} ON CONFLICT DO NOTHING",
        quoted(table),
        columns(table)[..keys.len()].join(", "),
        list(&keys),
        ident(&table.name),
        given.join(" AND ")
    );
    conn.execute(&sql, [])
}

fn existing(conn: &Connection, table: &Table) -> Result<Option<Table>> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE";
    let found: Option<String> = conn.query_row(sql, [name(&table.name)], |row| row.get(0)).optional()?;
    found.map(|name| read_table(conn, &name)).transpose()
}

fn keys_fit(existing: &Table, table: &Table) -> bool {
    let same = |(found, wanted): (&(String, String), &(String, String))| {
        found.0.eq_ignore_ascii_case(&format!("k_{}", wanted.0))
            && found.1.eq_ignore_ascii_case(&wanted.1)
            && (table.rowid_key
                || existing.column(&found.0).map(|column| column.declared.as_str())
                    == Some(key_type(table, &wanted.0)))
    };
    existing.rowid_key == table.rowid_key
        && existing.key.len() == table.key.len()
        && existing.key.iter().zip(&table.key).all(same)
}

fn create(table: &Table) -> String {
    let name = quoted(table);
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
    let declare = |(column, collation): &(String, String)| {
        format!("{} {} COLLATE {}, ", key_column(column), key_type(table, column), ident(collation))
    };
    let keys: String = table.key.iter().map(declare).collect();
    let list: Vec<_> = table.key_names().map(key_column).collect();
    format!(
        "CREATE TABLE {name}({keys}_existed INTEGER NOT NULL, _at INTEGER NOT NULL{values}, PRIMARY KEY({})) WITHOUT ROWID;",
        list.join(", ")
    )
}

/// A default that is not constant (after a rebuild, which may declare any) leaves the base NULL.
fn add_column(conn: &Connection, table: &Table, column: &Column) -> Result<()> {
    let plain = format!(
        "ALTER TABLE {} ADD COLUMN {} {}",
        quoted(table),
        value_column(&column.name),
        table.affinity(column)
    );
    if let Some(sql) = column.default.as_ref().filter(|_| super::any(conn, table).unwrap_or(true)) {
        let with_default = format!("{plain} DEFAULT {}", default::expression(sql));
        if conn.execute_batch(&with_default).is_ok() {
            return Ok(());
        }
    }
    conn.execute_batch(&plain)
}

fn key_type(table: &Table, column: &str) -> &'static str {
    table.column(column).map_or("", |found| table.affinity(found))
}

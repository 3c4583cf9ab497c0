//! A line becomes a row of a table of the program's, by a plain INSERT. What was not given is left to the
//! table's own defaults.

use super::fields::Fields;
use super::unfit::{Strange, Unfit};
use crate::record::{Row, insert};
use rusqlite::{Connection, Result};
use serde_json::Value;
use std::collections::BTreeMap;

/// A table, and what its columns are declared to hold.
pub(super) struct Table {
    name: String,
    columns: BTreeMap<String, Affinity>,
}

/// As SQLite takes it from the declared type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Affinity {
    Integer,
    Real,
    Other,
}

impl Table {
    /// Reads the shape; None when there is no such table.
    pub(super) fn of(conn: &Connection, name: &str) -> Result<Option<Self>> {
        let sql = "SELECT c.name, c.type, t.name FROM pragma_table_info(?1) AS c
                   JOIN sqlite_schema AS t ON t.type = 'table' AND t.name = ?1 COLLATE NOCASE";
        let mut statement = conn.prepare(sql)?;
        let mut rows = statement.query([name])?;
        let mut table = Self { name: name.to_owned(), columns: BTreeMap::new() };
        while let Some(row) = rows.next()? {
            let declared: String = row.get(1)?;
            table.name = row.get(2)?;
            table.columns.insert(row.get(0)?, affinity(&declared));
        }
        Ok((!table.columns.is_empty()).then_some(table))
    }

    /// The table's own spelling of a column.
    pub(super) fn column(&self, name: &str) -> std::result::Result<&str, Strange> {
        let found = self.columns.keys().find(|column| column.eq_ignore_ascii_case(name));
        let unknown = || Strange::NoTarget { table: self.name.clone(), column: name.to_owned() };
        found.map(String::as_str).ok_or_else(unknown)
    }

    /// Inserts a line.
    pub(super) fn insert(&self, conn: &Connection, fields: Fields) -> std::result::Result<(), Unfit> {
        let mut values = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            let column = self.column(&name).map_err(|error| Unfit::Count(error.to_string()))?;
            let holds = self.columns.get(column).copied().unwrap_or(Affinity::Other);
            values.push((column.to_owned(), fit(column, holds, value)?));
        }
        let row = Row { role: String::new(), table: self.name.clone(), values, id: None };
        insert(conn, &row).map(drop).map_err(Unfit::Refused)
    }
}

/// SQLite would keep a text in a column of numbers, and whoever adds them up would miss it.
fn fit(column: &str, holds: Affinity, value: Value) -> std::result::Result<Value, Unfit> {
    let fits = match (&value, holds) {
        (Value::Number(number), Affinity::Integer) => number.as_i64().is_some(),
        (Value::Number(number), _) => number.as_i64().is_some() || !number.is_u64(),
        (Value::String(text), Affinity::Integer) => text.parse::<i64>().is_ok(),
        (Value::String(text), Affinity::Real) => text.parse::<f64>().is_ok_and(f64::is_finite),
        _ => true,
    };
    if fits {
        return Ok(value);
    }
    let found = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Err(Unfit::NoNumber { field: column.to_owned(), found })
}

/// The rules of SQLite's manual, as far as they matter here: a date's or a truth value's column takes any.
fn affinity(declared: &str) -> Affinity {
    let declared = declared.to_ascii_uppercase();
    let has = |word: &str| declared.contains(word);
    if has("INT") {
        Affinity::Integer
    } else if !has("CHAR") && !has("CLOB") && !has("TEXT") && (has("REAL") || has("FLOA") || has("DOUB")) {
        Affinity::Real
    } else {
        Affinity::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_text_is_no_number_and_a_date_is_no_affair_of_ours() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(
            "CREATE TABLE T(id INTEGER PRIMARY KEY, n INTEGER, r REAL, d DATE, b BOOLEAN DEFAULT 1, x TEXT)",
        )
        .unwrap();
        let table = Table::of(&conn, "t").unwrap().unwrap();
        let row = |value: Value| match value {
            Value::Object(fields) => table.insert(&conn, fields),
            _ => unreachable!("the cases are objects"),
        };
        row(json!({ "N": "12", "r": "1.5", "d": "2026-01-31", "x": "a" })).unwrap();
        row(json!({ "n": 13, "r": 2.5, "b": false, "x": null })).unwrap();
        for (wrong, reason) in [
            (json!({ "n": "twelve" }), "n is `twelve`"),
            (json!({ "n": 1.5 }), "whole number"),
            (json!({ "r": "nan" }), "r is `nan`"),
            (json!({ "y": 1 }), "no column `y`"),
        ] {
            assert!(row(wrong).unwrap_err().to_string().contains(reason), "{reason}");
        }
        let found: Vec<(String, String)> = conn
            .prepare("SELECT quote(n) || quote(r) || quote(d), quote(b) || quote(x) FROM t ORDER BY id")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .collect::<Result<_>>()
            .unwrap();
        let expected = [("121.5'2026-01-31'", "1'a'"), ("132.5NULL", "0NULL")];
        assert_eq!(found, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
        assert!(Table::of(&conn, "nothing").unwrap().is_none());
    }
}

//! Reads `column=value` as an operator types it, by the column's declared type.
//!
//! * `column=value`: a number for INTEGER and REAL columns, `x'00ff'` for a BLOB, else the text as it
//!   stands, which a NUMERIC column (dates, decimals, booleans) keeps as a number where it is one.
//! * `column:=literal`: exactly what SQL would write there: NULL, a number, `'text'` or `x'00ff'`.
//! * `id=new`, for an integer key that SQLite chooses: an id of the hub's own.

use tt_migrations::shape::Table;
use tt_protocol::value::Value;

/// Stands for an id that is chosen when the row goes in. An integer key never holds text.
const NEW: &str = "new";

/// Why a value cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ValueError {
    /// There is no equals sign.
    #[error("`{0}` is not COLUMN=VALUE")]
    NoValue(String),
    /// The table does not have the column.
    #[error("{table} has no column `{name}`: its columns are {columns}")]
    NoColumn {
        /// The table.
        table: String,
        /// What was asked for.
        name: String,
        /// What there is.
        columns: String,
    },
    /// A column is given two values.
    #[error("`{0}` is given twice: name every column once")]
    Twice(String),
    /// The column takes numbers.
    #[error("{name} takes a number, and `{text}` is none; for nothing write {name}:=NULL")]
    NotANumber {
        /// The column.
        name: String,
        /// What was given.
        text: String,
    },
    /// After `:=`.
    #[error("`{0}` is no SQL literal: after := write NULL, a number, 'text' or x'00ff'")]
    NotALiteral(String),
}

/// Reads the columns and values of an edit.
///
/// # Errors
/// [`ValueError`].
pub fn read(table: &Table, texts: &[String]) -> Result<Vec<(String, Value)>, ValueError> {
    let mut values: Vec<(String, Value)> = Vec::new();
    for text in texts {
        let (name, value) = read_one(table, text)?;
        if values.iter().any(|(have, _)| *have == name) {
            return Err(ValueError::Twice(name));
        }
        values.push((name, value));
    }
    Ok(values)
}

/// True when the value asks for an id of the hub's own.
pub(super) fn is_new(value: &Value) -> bool {
    matches!(value, Value::Text(text) if text.eq_ignore_ascii_case(NEW.as_bytes()))
}

fn read_one(table: &Table, text: &str) -> Result<(String, Value), ValueError> {
    let (name, value) = text.split_once('=').ok_or_else(|| ValueError::NoValue(text.to_owned()))?;
    let literal = name.strip_suffix(':');
    let name = literal.unwrap_or(name).trim();
    let Some(column) = table.column(name) else {
        let columns = table.ordered_names().join(", ");
        return Err(ValueError::NoColumn { table: table.name.clone(), name: name.to_owned(), columns });
    };
    let name = column.name.clone();
    if literal.is_some() {
        let value = read_literal(value.trim()).ok_or_else(|| ValueError::NotALiteral(value.to_owned()))?;
        return Ok((name, value));
    }
    if table.rowid_key && table.key_names().any(|key| key == name) && value.eq_ignore_ascii_case(NEW) {
        return Ok((name, Value::text(NEW)));
    }
    let affinity = table.affinity(column);
    let read = match affinity {
        "INT" | "REAL" => number(value, affinity)
            .ok_or(ValueError::NotANumber { name: name.clone(), text: value.to_owned() })?,
        "NUMERIC" => number(value, affinity).unwrap_or_else(|| Value::text(value)),
        "BLOB" => blob(value).unwrap_or_else(|| Value::text(value)),
        _ => Value::text(value),
    };
    Ok((name, read))
}

/// A number as a column of this affinity keeps it.
fn number(text: &str, affinity: &str) -> Option<Value> {
    let text = text.trim();
    // Rust also reads words such as "inf" as numbers.
    let real: f64 = text.parse().ok().filter(|real: &f64| real.is_finite() && has_digit(text))?;
    match text.parse::<i64>() {
        Ok(_) | Err(_) if affinity == "REAL" => Some(Value::Real(real)),
        Ok(integer) => Some(Value::Integer(integer)),
        // Digits alone that are no integer of 64 bits would lose some.
        Err(_) if affinity == "INT" && !text.contains(['.', 'e', 'E']) => None,
        Err(_) => Some(Value::Real(real)),
    }
}

fn has_digit(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
}

fn read_literal(text: &str) -> Option<Value> {
    if text.eq_ignore_ascii_case("null") {
        return Some(Value::Null);
    }
    if let Some(inner) = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        // A quote inside of the text is written twice.
        let single = inner.replace("''", "");
        return (!single.contains('\'')).then(|| Value::text(&inner.replace("''", "'")));
    }
    blob(text).or_else(|| number(text, "INT"))
}

fn blob(text: &str) -> Option<Value> {
    let hex = text.strip_prefix(['x', 'X'])?.strip_prefix('\'')?.strip_suffix('\'')?;
    data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok().map(Value::Blob)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;
    use tt_migrations::shape::Schema;

    fn one(text: &str) -> Result<Value, ValueError> {
        let conn = Connection::open_in_memory().unwrap();
        let sql = "CREATE TABLE t(id INTEGER PRIMARY KEY, good INTEGER, weight REAL, note VARCHAR(9), at TIMESTAMP, photo BLOB)";
        conn.execute_batch(sql).unwrap();
        let schema = Schema::read(&conn).unwrap();
        read(schema.table("t").unwrap(), &[text.to_owned()]).map(|mut values| values.remove(0).1)
    }

    #[test]
    fn the_columns_type_decides_what_a_value_is() {
        for (text, value) in [
            ("good=5", Value::Integer(5)),
            ("GOOD= -5", Value::Integer(-5)),
            ("good=1.5", Value::Real(1.5)),
            ("weight=2", Value::Real(2.0)),
            ("note=", Value::text("")),
            ("note=5", Value::text("5")),
            ("note=a=b:=c", Value::text("a=b:=c")),
            ("note=NULL", Value::text("NULL")),
            ("at=2026-01-02 03:04:05", Value::text("2026-01-02 03:04:05")),
            ("at=7", Value::Integer(7)),
            ("photo=x'00fF'", Value::Blob(vec![0, 255])),
            ("photo=words", Value::text("words")),
            ("id=new", Value::text("new")),
        ] {
            assert_eq!(one(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn a_literal_is_what_sql_would_write() {
        for (text, value) in [
            ("good:=NULL", Value::Null),
            ("note:= 5", Value::Integer(5)),
            ("note:=1e3", Value::Real(1000.0)),
            ("good:='it''s'", Value::text("it's")),
            ("note:=X'61'", Value::Blob(vec![0x61])),
        ] {
            assert_eq!(one(text), Ok(value), "{text}");
        }
        for text in
            ["note:=", "note:=abc", "note:='", "note:='a'b'", "note:=x'0'", "note:=nan", "note:=1e999"]
        {
            assert!(matches!(one(text), Err(ValueError::NotALiteral(_))), "{text}: {:?}", one(text));
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for text in ["good=", "good=abc", "good=inf", "good=99999999999999999999", "weight=heavy", "id=nwe"] {
            assert!(matches!(one(text), Err(ValueError::NotANumber { .. })), "{text}: {:?}", one(text));
        }
        assert_eq!(one("good"), Err(ValueError::NoValue("good".into())));
        let said = one("goods=1").unwrap_err().to_string();
        assert_eq!(said, "t has no column `goods`: its columns are id, good, weight, note, at, photo");
    }
}

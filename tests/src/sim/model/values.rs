//! Values as the model sees them: keys that SQLite takes for the same, what a column makes of a value,
//! sums, SQLite's order, and how the conflict list writes a value. Written without a look at the code of
//! the product.

use super::tables::{Column, KeyKind, Table, Unique};
use serde_json::{Value as Json, json};
use std::cmp::Ordering;
use tt_protocol::value::Value;

/// A whole row, columns in the table's order.
pub type Row = Vec<Value>;

fn bytes_of(value: &Value, nocase: bool) -> Vec<u8> {
    let mut out = Vec::new();
    match value {
        Value::Text(text) if nocase => {
            Value::Text(text.to_ascii_lowercase()).as_ref().write_canonical(&mut out);
        }
        value => value.as_ref().write_canonical(&mut out),
    }
    out
}

/// Bytes that are equal for keys that are one row to SQLite.
#[must_use]
pub fn key_of(table: &Table, row: &[Value]) -> Vec<u8> {
    let nocase = table.key == KeyKind::Nocase;
    row.iter().take(table.keys()).flat_map(|value| bytes_of(value, nocase)).collect()
}

/// Bytes that no other row may have; None where this row does not count.
#[must_use]
pub fn unique_of(table: &Table, unique: &Unique, row: &[Value]) -> Option<Vec<u8>> {
    let value = |name: &str| table.place(name).and_then(|place| row.get(place));
    if unique.only_where.is_some_and(|name| value(name) != Some(&Value::Integer(1))) {
        return None;
    }
    let mut all = Vec::new();
    for name in unique.columns {
        let value = value(name).filter(|value| !value.is_null())?;
        all.extend(bytes_of(value, unique.nocase));
    }
    Some(all)
}

/// Bytes that are equal for rows of one natural key; None where the table has none, or the row a NULL in it.
#[must_use]
pub fn natural_of(table: &Table, row: &[Value]) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    for name in table.natural {
        let place = table.place(name)?;
        let value = row.get(place).filter(|value| !value.is_null())?;
        all.extend(bytes_of(value, is_nocase(&table.columns[place])));
    }
    (!table.natural.is_empty()).then_some(all)
}

/// True when the column takes both values for the same.
#[must_use]
pub fn alike(column: &Column, one: &Value, other: &Value) -> bool {
    bytes_of(one, is_nocase(column)) == bytes_of(other, is_nocase(column))
}

fn is_nocase(column: &Column) -> bool {
    column.declared.contains("NOCASE")
}

/// What a row has in each key that is not its primary one and holds for all rows, with the key's place.
#[must_use]
pub fn values_in_keys(table: &Table, row: &[Value]) -> Vec<(usize, Vec<u8>)> {
    let whole = table.uniques.iter().filter(|unique| unique.only_where.is_none());
    let uniques = whole.map(|unique| unique_of(table, unique, row));
    let all = uniques.chain([natural_of(table, row)]).enumerate();
    all.filter_map(|(place, bytes)| Some((place, bytes?))).collect()
}

/// True when the table's CHECKs allow the row.
#[must_use]
pub fn allowed(table: &Table, row: &[Value]) -> bool {
    let value = |name: &str| table.place(name).and_then(|place| row.get(place)).unwrap_or(&Value::Null);
    let good = table.good_below.is_none_or(|limit| {
        value("good").is_null() || order(value("good"), &Value::Integer(limit)) == Ordering::Less
    });
    let (low, high) = (value("low"), value("high"));
    good && (!table.ordered || low.is_null() || high.is_null() || order(low, high) != Ordering::Greater)
}

/// What a column of this declared type stores: sqlite.org/datatype3.html, as far as sums need it.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
pub fn stored(declared: &str, value: Value) -> Value {
    match value {
        Value::Real(real) if real.is_nan() => Value::Null,
        Value::Real(real) if declared.starts_with("INTEGER") && real.fract() == 0.0 && real.abs() < 9e15 => {
            Value::Integer(real as i64)
        }
        Value::Integer(integer) if declared.starts_with("REAL") => Value::Real(integer as f64),
        value => value,
    }
}

/// What became of a sum.
pub enum Sum {
    /// It fits.
    Is(Value),
    /// It has no place in 64 bits.
    Overflows,
    /// These are not numbers that could be added.
    None,
}

/// The hub's value plus the device's difference. NULL is 0 unless somebody wrote it over a number.
#[must_use]
pub fn sum(base: &Value, new: &Value, hub: &Value) -> Sum {
    let number = |value: &Value| match value {
        Value::Null => Some(Value::Integer(0)),
        Value::Integer(_) | Value::Real(_) => Some(value.clone()),
        _ => None,
    };
    if new.is_null() || (hub.is_null() && !base.is_null()) {
        return Sum::None;
    }
    let (Some(base), Some(new), Some(hub)) = (number(base), number(new), number(hub)) else {
        return Sum::None;
    };
    if let (Value::Integer(base), Value::Integer(new), Value::Integer(hub)) = (&base, &new, &hub) {
        let total = i128::from(*hub) + i128::from(*new) - i128::from(*base);
        return i64::try_from(total).map_or(Sum::Overflows, |total| Sum::Is(Value::Integer(total)));
    }
    Sum::Is(Value::Real(real(&hub) + (real(&new) - real(&base))))
}

fn real(value: &Value) -> f64 {
    match value {
        Value::Integer(value) => *value as f64,
        Value::Real(value) => *value,
        _ => 0.0,
    }
}

/// SQLite's order: NULL, numbers, text, blobs.
#[must_use]
pub fn order(one: &Value, other: &Value) -> Ordering {
    let class = |value: &Value| match value {
        Value::Null => 0,
        Value::Integer(_) | Value::Real(_) => 1,
        Value::Text(_) => 2,
        Value::Blob(_) => 3,
    };
    match (one, other) {
        (Value::Integer(one), Value::Integer(other)) => one.cmp(other),
        (Value::Text(one), Value::Text(other)) | (Value::Blob(one), Value::Blob(other)) => one.cmp(other),
        _ if class(one) == 1 && class(other) == 1 => {
            real(one).partial_cmp(&real(other)).unwrap_or(Ordering::Equal)
        }
        _ => class(one).cmp(&class(other)),
    }
}

/// A value as the conflict list writes it.
#[must_use]
pub fn listed(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Integer(number) => json!(number),
        Value::Real(number) if number.is_finite() => json!(number),
        Value::Real(number) => json!({ "real": number.to_string() }),
        Value::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => json!(text),
            Err(_) => json!({ "text": hex(bytes) }),
        },
        Value::Blob(bytes) => json!({ "blob": hex(bytes) }),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A value for a person.
#[must_use]
pub fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => format!("{number:?}"),
        Value::Text(bytes) => format!("'{}'", String::from_utf8_lossy(bytes).escape_default()),
        Value::Blob(bytes) => format!("x'{}'", hex(bytes)),
    }
}

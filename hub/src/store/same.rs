//! What SQLite takes for the same value in a column: collation and affinity, in bytes that can be compared.
//!
//! A key `'abc'` in a NOCASE column is the row `'ABC'`, and a child's text `'5'` points at the integer 5.
//! Trash, stamps and held rows are found by such bytes; rows themselves keep the spelling that they have.

use tt_migrations::replica::Tracked;
use tt_protocol::value::Value;

/// Bytes that are equal exactly when SQLite takes the values of these columns for the same.
pub(crate) fn bytes<'n>(
    tracked: &Tracked,
    columns: impl IntoIterator<Item = &'n str>,
    values: &[Value],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(values.len() * 9);
    for (column, value) in columns.into_iter().zip(values) {
        folded(tracked, column, value).as_ref().write_canonical(&mut out);
    }
    out
}

/// The bytes of a primary key.
pub(crate) fn key_bytes(tracked: &Tracked, key: &[Value]) -> Vec<u8> {
    bytes(tracked, tracked.table.key_names(), key)
}

fn folded(tracked: &Tracked, column: &str, value: &Value) -> Value {
    let value = converted(declared(tracked, column), value);
    match (value, collation(tracked, column)) {
        (Value::Text(text), Some(name)) if name.eq_ignore_ascii_case("NOCASE") => {
            Value::Text(text.to_ascii_lowercase())
        }
        (Value::Text(mut text), Some(name)) if name.eq_ignore_ascii_case("RTRIM") => {
            let end = text.iter().rposition(|byte| *byte != b' ').map_or(0, |at| at + 1);
            text.truncate(end);
            Value::Text(text)
        }
        (value, _) => value,
    }
}

fn declared<'t>(tracked: &'t Tracked, column: &str) -> &'t str {
    tracked.table.column(column).map_or("", |found| found.declared.as_str())
}

/// Columns that others point at are in the key or in a unique index, which name their collation.
pub(crate) fn collation<'t>(tracked: &'t Tracked, column: &str) -> Option<&'t str> {
    let uniques = tracked.table.uniques.iter().filter_map(|unique| unique.columns.as_ref()).flatten();
    let mut all = tracked.table.key.iter().chain(uniques);
    all.find(|(name, _)| name.eq_ignore_ascii_case(column)).map(|(_, collation)| collation.as_str())
}

/// The conversions of sqlite.org/datatype3.html, section 3, as far as keys can meet them.
fn converted(declared: &str, value: &Value) -> Value {
    let upper = declared.to_ascii_uppercase();
    let has = |part: &str| upper.contains(part);
    let numeric =
        has("INT") || !(has("CHAR") || has("CLOB") || has("TEXT") || has("BLOB") || upper.is_empty());
    match value {
        Value::Text(text) if numeric => number(text).unwrap_or_else(|| value.clone()),
        Value::Real(real) if numeric => whole(*real).map_or_else(|| value.clone(), Value::Integer),
        Value::Integer(number) if !numeric && (has("CHAR") || has("CLOB") || has("TEXT")) => {
            Value::text(&number.to_string())
        }
        _ => value.clone(),
    }
}

fn number(text: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(text).ok()?.trim();
    if let Ok(integer) = text.parse() {
        return Some(Value::Integer(integer));
    }
    // Rust also reads words such as "inf" as numbers.
    let real: f64 = text.parse().ok().filter(|_| text.bytes().any(|byte| byte.is_ascii_digit()))?;
    Some(whole(real).map_or(Value::Real(real), Value::Integer))
}

/// A real without a fraction that an integer can hold is that integer.
#[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
fn whole(real: f64) -> Option<i64> {
    (real.fract() == 0.0 && real.abs() < 9.0e15).then_some(real as i64)
}

//! What a file says of a thing (a badge, a code) becomes what the program's tables say of it (a name, an id).

use super::config::Lookup;
use super::unfit::Unfit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Result};
use serde_json::Value;
use tt_migrations::quote::ident;

/// The one value that rows with this in one of the columns have.
///
/// # Errors
/// When there is none, or several, or the table cannot be asked.
pub(super) fn find(conn: &Connection, lookup: &Lookup, value: &Value) -> std::result::Result<Value, Unfit> {
    let text = value.as_str().map_or_else(|| value.to_string(), |text| text.trim().to_owned());
    let mut found = ask(conn, lookup, &text).map_err(Unfit::Refused)?;
    let by = || lookup.by.join(" or ");
    match (found.pop(), found.pop()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Unfit::NotFound { table: lookup.table.clone(), by: by(), value: text }),
        _ => Err(Unfit::Several { table: lookup.table.clone(), by: by(), value: text }),
    }
}

fn ask(conn: &Connection, lookup: &Lookup, text: &str) -> Result<Vec<Value>> {
    let same = lookup.by.iter().map(|column| format!("{} = ?1 COLLATE NOCASE", ident(column)));
    let sql = format!(
        "SELECT DISTINCT {} FROM {} WHERE {} LIMIT 2",
        ident(&lookup.give),
        ident(&lookup.table),
        same.collect::<Vec<_>>().join(" OR ")
    );
    let mut statement = conn.prepare_cached(&sql)?;
    statement
        .query_map([text], |row| {
            Ok(match row.get_ref(0)? {
                ValueRef::Integer(number) => Value::from(number),
                ValueRef::Real(number) => Value::from(number),
                ValueRef::Text(bytes) => Value::from(String::from_utf8_lossy(bytes)),
                ValueRef::Null | ValueRef::Blob(_) => Value::Null,
            })
        })?
        .collect()
}

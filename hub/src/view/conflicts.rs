//! What the operator says about an entry of the conflict list, read as a decision.

use super::ViewError;
use crate::store::conflict::page;
use crate::store::decide::{Decision, value};
use rusqlite::Connection;
use tt_migrations::shape::Schema;

/// Values of an entry's row, each as `column=value`, as a decision.
pub(crate) fn edit(conn: &Connection, id: i64, values: &[String]) -> Result<Decision, ViewError> {
    // Only the table's name is wanted of it.
    let entry = page::find(conn, id, |_| String::new())?.ok_or(ViewError::NoConflict(id))?;
    let name = entry["table"].as_str().unwrap_or_default();
    let schema = Schema::read(conn)?;
    let no_table = || ViewError::ConflictWithoutTable { id, table: name.to_owned() };
    let table = schema.table(name).ok_or_else(no_table)?;
    Ok(Decision::Edit(value::read(table, values)?))
}

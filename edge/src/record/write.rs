//! Makes the file hold a plan: inserts its rows, changes the rows of the plan before to it, removes those
//! that it does not have, and adds the differences to purchase order lines.

use super::RecordError;
use super::columns::Columns;
use super::plan::Plan;
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, Result, params_from_iter};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tt_migrations::quote::ident;

/// A row to be, or that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// What it is for in its plan; the same in the plan of a correction.
    pub(crate) role: String,
    /// The table.
    pub(crate) table: String,
    /// Values by column. Numbers, texts and NULL only.
    pub(crate) values: Vec<(String, Value)>,
    /// Its key, once it is written.
    pub(crate) id: Option<i64>,
}

/// What was added to a counter of a purchase order line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Added {
    /// The line.
    pub(crate) line: i64,
    /// The counter.
    pub(crate) column: String,
    /// How much.
    pub(crate) amount: i64,
}

/// Inserts a row; columns that the file does not have are left out. Gives its id.
///
/// # Errors
/// When SQLite refuses.
pub(crate) fn insert(conn: &Connection, row: &Row) -> Result<i64> {
    let columns = Columns::of(conn, &row.table)?;
    let given: Vec<_> = row.values.iter().filter(|(name, _)| columns.has(name)).collect();
    let names: Vec<_> = given.iter().map(|(name, _)| ident(name)).collect();
    let marks = vec!["?"; names.len()].join(", ");
    let sql = format!("INSERT INTO {}({}) VALUES ({marks})", ident(&row.table), names.join(", "));
    // Kept ready: to compile it means to compile the triggers of the table, and a file has thousands of lines.
    let values = given.into_iter().map(|(_, value)| sql_value(value));
    conn.prepare_cached(&sql)?.execute(params_from_iter(values))?;
    Ok(conn.last_insert_rowid())
}

/// Makes the file hold `next` in place of `before`. Of a row that both have, only what differs between
/// the plans is written: what somebody else has changed meanwhile stays.
///
/// # Errors
/// When SQLite refuses, or a row to change is gone.
pub(super) fn settle(
    conn: &Connection,
    key: &str,
    before: &Plan,
    mut next: Plan,
) -> Result<Plan, RecordError> {
    for row in &mut next.rows {
        match before.rows.iter().find(|old| old.role == row.role && old.table == row.table) {
            Some(old) => {
                row.id = old.id;
                if update(conn, old, row)? == 0 {
                    return Err(RecordError::Gone(key.to_owned()));
                }
            }
            None => row.id = Some(insert(conn, row)?),
        }
    }
    let kept = |old: &Row| next.rows.iter().any(|row| row.id == old.id && row.table == old.table);
    for old in before.rows.iter().filter(|old| !kept(old)) {
        conn.execute(&format!("DELETE FROM {} WHERE id = ?1", ident(&old.table)), [old.id])?;
    }
    add_differences(conn, &before.added, &next.added)?;
    Ok(next)
}

/// Rows changed: 1, or 0 when the row is gone.
fn update(conn: &Connection, old: &Row, new: &Row) -> Result<usize> {
    let columns = Columns::of(conn, &new.table)?;
    let differs = |one: &&(String, Value)| columns.has(&one.0) && !old.values.contains(*one);
    let changed: Vec<_> = new.values.iter().filter(differs).collect();
    let table = ident(&new.table);
    if changed.is_empty() {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE id = ?1)");
        let there: bool = conn.query_row(&sql, [old.id], |row| row.get(0))?;
        return Ok(usize::from(there));
    }
    let sets: Vec<_> = changed.iter().map(|(name, _)| format!("{} = ?", ident(name))).collect();
    let sql = format!("UPDATE {table} SET {} WHERE id = ?", sets.join(", "));
    let id = old.id.map_or(Sql::Null, Sql::Integer);
    conn.execute(&sql, params_from_iter(changed.into_iter().map(|(_, value)| sql_value(value)).chain([id])))
}

fn add_differences(conn: &Connection, before: &[Added], next: &[Added]) -> Result<()> {
    let taken = before.iter().map(|one| Added { amount: -one.amount, ..one.clone() });
    let mut sums: Vec<Added> = Vec::new();
    for one in taken.chain(next.iter().cloned()) {
        match sums.iter_mut().find(|sum| sum.line == one.line && sum.column == one.column) {
            Some(sum) => sum.amount += one.amount,
            None => sums.push(one),
        }
    }
    for sum in sums.iter().filter(|sum| sum.amount != 0) {
        let column = ident(&sum.column);
        let sql = format!("UPDATE po_lines SET {column} = COALESCE({column}, 0) + ?1 WHERE id = ?2");
        conn.execute(&sql, (sum.amount, sum.line))?;
        rewrite_totals(conn, sum.line)?;
    }
    Ok(())
}

/// The program rewrites a purchase order's totals as sums over its lines after every count.
fn rewrite_totals(conn: &Connection, line: i64) -> Result<()> {
    const TOTALS: [(&str, &str); 5] = [
        ("ordered_quantity", "quantity_ordered"),
        ("current_good_count", "good_count"),
        ("current_damaged_count", "damaged_count"),
        ("machine_good_count", "machine_good_count"),
        ("machine_damaged_count", "machine_damaged_count"),
    ];
    let (orders, lines) = (Columns::of(conn, "purchase_orders")?, Columns::of(conn, "po_lines")?);
    let sum = |what: &str| {
        format!("(SELECT COALESCE(SUM({what}), 0) FROM po_lines WHERE po_id = purchase_orders.id)")
    };
    let mut sets: Vec<String> = TOTALS
        .iter()
        .filter(|(total, what)| orders.has(total) && lines.has(what))
        .map(|(total, what)| format!("{total} = {}", sum(what)))
        .collect();
    if orders.has("remaining_quantity") {
        let left = "COALESCE(quantity_ordered, 0) - COALESCE(good_count, 0) - COALESCE(damaged_count, 0)";
        sets.push(format!("remaining_quantity = {}", sum(left)));
    }
    if orders.has("updated_at") {
        sets.push("updated_at = CURRENT_TIMESTAMP".to_owned());
    }
    if sets.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "UPDATE purchase_orders SET {} WHERE id = (SELECT po_id FROM po_lines WHERE id = ?1)",
        sets.join(", ")
    );
    conn.execute(&sql, [line])?;
    Ok(())
}

fn sql_value(value: &Value) -> Sql {
    match value {
        Value::Null => Sql::Null,
        Value::String(text) => Sql::Text(text.clone()),
        Value::Bool(flag) => Sql::Integer(i64::from(*flag)),
        other => other.as_i64().map(Sql::Integer).or(other.as_f64().map(Sql::Real)).unwrap_or(Sql::Null),
    }
}

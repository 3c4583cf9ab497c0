//! How the rows of two databases differ, table by table: by primary key where both have the same one, else as a bag.

use rusqlite::Connection;
use serde::Serialize;
use std::collections::BTreeMap;
use tt_migrations::quote::ident;

/// How the rows of one table would change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct TableChanges {
    /// Rows that come back.
    pub(crate) added: u64,
    /// Rows that go.
    pub(crate) removed: u64,
    /// Rows with other values. Without a common primary key a changed row is one added and one removed.
    pub(crate) changed: u64,
    /// The table itself comes or goes, or has other columns.
    pub(crate) shape: bool,
}

/// The columns of a table, and its primary key.
#[derive(Default, PartialEq)]
struct Shape {
    columns: Vec<String>,
    key: Vec<String>,
}

/// Programs' tables that differ between two databases that nobody writes to. A table of one shape that `is_equal`
/// vouches for is not read.
pub(super) fn compare(
    live: &Connection,
    restored: &Connection,
    is_equal: &dyn Fn(&str) -> bool,
) -> rusqlite::Result<BTreeMap<String, TableChanges>> {
    let (here, there) = (shapes(live)?, shapes(restored)?);
    let conn = Connection::open_in_memory()?;
    for (name, of) in [("live", live), ("restored", restored)] {
        conn.execute(&format!("ATTACH ?1 AS {name}"), [of.path().unwrap_or_default()])?;
    }
    let mut changes = BTreeMap::new();
    for (name, shape) in &here {
        let change = match there.get(name) {
            None => {
                TableChanges { removed: count(&conn, "live", name)?, shape: true, ..TableChanges::default() }
            }
            Some(other) if shape == other && is_equal(name) => continue,
            Some(other) => differences(&conn, name, shape, other)?,
        };
        changes.insert(name.clone(), change);
    }
    for name in there.keys().filter(|name| !here.contains_key(*name)) {
        let added = count(&conn, "restored", name)?;
        changes.insert(name.clone(), TableChanges { added, shape: true, ..TableChanges::default() });
    }
    changes.retain(|_, change| *change != TableChanges::default());
    Ok(changes)
}

fn shapes(conn: &Connection) -> rusqlite::Result<BTreeMap<String, Shape>> {
    let sql = "SELECT t.name, c.name, c.pk FROM pragma_table_list t, pragma_table_xinfo(t.name) c
               WHERE t.schema = 'main' AND t.type = 'table' AND c.hidden = 0
               AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND t.name NOT LIKE '\\_sync\\_%' ESCAPE '\\'
               ORDER BY t.name, c.pk, c.name";
    let mut shapes: BTreeMap<String, Shape> = BTreeMap::new();
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (table, column, place): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let shape = shapes.entry(table).or_default();
        if place > 0 {
            shape.key.push(column.clone());
        }
        shape.columns.push(column);
    }
    Ok(shapes)
}

fn count(conn: &Connection, schema: &str, table: &str) -> rusqlite::Result<u64> {
    number(conn, &format!("SELECT count(*) FROM {schema}.{}", ident(table)))
}

fn number(conn: &Connection, sql: &str) -> rusqlite::Result<u64> {
    let count: i64 = conn.query_row(sql, [], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

fn differences(
    conn: &Connection,
    table: &str,
    live: &Shape,
    restored: &Shape,
) -> rusqlite::Result<TableChanges> {
    let mut columns: Vec<&String> =
        live.columns.iter().filter(|name| restored.columns.contains(name)).collect();
    columns.sort();
    let shape = columns.len() != live.columns.len() || columns.len() != restored.columns.len();
    if live.key.is_empty() || live.key != restored.key || has_null(conn, table, &live.key)? {
        return bags(conn, table, &columns, shape);
    }
    let same = |names: &mut dyn Iterator<Item = &String>| {
        let pairs: Vec<String> = names.map(|name| format!("a.{0} IS b.{0}", ident(name))).collect();
        pairs.join(" AND ")
    };
    let on: Vec<String> = live.key.iter().map(|name| format!("a.{0} = b.{0}", ident(name))).collect();
    let rest = same(&mut columns.into_iter().filter(|name| !live.key.contains(name)));
    let sql = format!(
        "SELECT count(*), coalesce(sum(NOT ({rest})), 0) FROM restored.{table} a JOIN live.{table} b ON {on}",
        rest = if rest.is_empty() { "1" } else { &rest },
        table = ident(table),
        on = on.join(" AND ")
    );
    let (both, changed): (i64, i64) = conn.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let only =
        |schema| Ok::<_, rusqlite::Error>(count(conn, schema, table)?.saturating_sub(both.unsigned_abs()));
    Ok(TableChanges {
        added: only("restored")?,
        removed: only("live")?,
        changed: changed.unsigned_abs(),
        shape,
    })
}

/// SQLite lets most primary keys be NULL, and then it is none.
fn has_null(conn: &Connection, table: &str, key: &[String]) -> rusqlite::Result<bool> {
    let null: Vec<String> = key.iter().map(|name| format!("{} IS NULL", ident(name))).collect();
    let (table, null) = (ident(table), null.join(" OR "));
    let any = |schema| format!("EXISTS (SELECT 1 FROM {schema}.{table} WHERE {null})");
    conn.query_row(&format!("SELECT {} OR {}", any("live"), any("restored")), [], |row| row.get(0))
}

/// Each row with the number of its equals, so that a bag is compared and not a set.
fn bags(conn: &Connection, table: &str, columns: &[&String], shape: bool) -> rusqlite::Result<TableChanges> {
    let list: Vec<String> = columns.iter().map(|name| ident(name)).collect();
    let (table, list) = (ident(table), list.join(", "));
    let bag = |schema: &str| format!("SELECT count(*) AS _n, {list} FROM {schema}.{table} GROUP BY {list}");
    let only = |one: &str, other: &str| {
        number(conn, &format!("SELECT coalesce(sum(_n), 0) FROM ({} EXCEPT {})", bag(one), bag(other)))
    };
    Ok(TableChanges {
        added: only("restored", "live")?,
        removed: only("live", "restored")?,
        changed: 0,
        shape,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_by_key_and_without_one_as_a_bag() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str, rows: &str| {
            let path = dir.path().join(name);
            let conn = Connection::open(&path).unwrap();
            conn.execute_batch(
                "CREATE TABLE k(a TEXT, b INTEGER, n, PRIMARY KEY(a, b)); CREATE TABLE bag(x, y); CREATE TABLE same(i INTEGER PRIMARY KEY);
                 CREATE TABLE nulls(t TEXT PRIMARY KEY, v); INSERT INTO nulls VALUES (NULL, 1), (NULL, 1), ('a', 1)",
            )
            .unwrap();
            conn.execute_batch(rows).unwrap();
            path
        };
        let live = make(
            "live.db",
            "INSERT INTO k VALUES ('a', 1, 1), ('a', 2, NULL), ('gone', 1, 1); INSERT INTO bag VALUES (1, 2), (1, 2), (3, NULL);
             INSERT INTO same VALUES (1); INSERT INTO nulls VALUES (NULL, 1); CREATE TABLE later(i INTEGER PRIMARY KEY, v); INSERT INTO later VALUES (1, 1), (2, 2);
             ALTER TABLE same ADD COLUMN more",
        );
        let then = make(
            "then.db",
            "INSERT INTO k VALUES ('a', 1, 1), ('a', 2, 5), ('back', 1, 1), ('back', 2, 1); INSERT INTO bag VALUES (1, 2), (3, NULL);
             INSERT INTO same VALUES (1)",
        );
        let (live, restored) = (Connection::open(live).unwrap(), Connection::open(then).unwrap());
        let found = compare(&live, &restored, &|_| false).unwrap();
        assert_eq!(
            compare(&live, &restored, &|table| table == "same").unwrap(),
            found,
            "its shape is another"
        );
        let vouched = compare(&live, &restored, &|table| table == "bag").unwrap();
        assert!(!vouched.contains_key("bag") && vouched.len() == found.len() - 1, "{vouched:?}");
        let change = |added, removed, changed, shape| TableChanges { added, removed, changed, shape };
        assert_eq!(
            found,
            BTreeMap::from([
                ("bag".to_owned(), change(1, 2, 0, false)),
                ("k".to_owned(), change(2, 1, 1, false)),
                ("later".to_owned(), change(0, 2, 0, true)),
                ("nulls".to_owned(), change(2, 3, 0, false)),
                ("same".to_owned(), change(0, 0, 0, true)),
            ])
        );
    }
}

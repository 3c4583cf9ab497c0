//! Rows of a table in the order of their keys, from one key to another: both sides of a reseed by difference.
//!
//! SQLite compares the keys, by the collations of the primary key. Rows with NULL in their key are left out: they
//! cannot be named on another node.

use crate::audit;
use crate::quote::ident;
use crate::replica::{Tracked, list};
use crate::row::Key;
use crate::value::{Bound, get};
use rusqlite::{Connection, Result, Row, params_from_iter};
use tt_protocol::difference::cell::Mark;
use tt_protocol::digest::RowHasher;
use tt_protocol::value::Value;

/// The rows above one key and up to another; None: from the first, to the last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds<'k> {
    /// The last key that is not meant.
    pub above: Option<&'k [Value]>,
    /// The last key that is meant.
    pub upto: Option<&'k [Value]>,
}

impl<'k> Bounds<'k> {
    /// The bounds of part `number` of a table whose parts, but for its last, end with these keys.
    #[must_use]
    pub fn of(uppers: &'k [Key], number: usize) -> Self {
        let above = number.checked_sub(1).and_then(|before| uppers.get(before)).map(Vec::as_slice);
        Self { above, upto: uppers.get(number).map(Vec::as_slice) }
    }
}

/// Hands on each row between the bounds, in the order of [`Tracked::names`].
///
/// # Errors
/// When SQLite or `take` fails.
pub fn for_each(
    conn: &Connection,
    tracked: &Tracked,
    bounds: Bounds<'_>,
    mut take: impl FnMut(&Row<'_>) -> Result<()>,
) -> Result<()> {
    let values = bounds.above.into_iter().chain(bounds.upto).flatten();
    let mut statement = conn.prepare_cached(&select(tracked, bounds))?;
    let mut rows = statement.query(params_from_iter(values.map(|value| Bound(value.as_ref()))))?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(())
}

fn select(tracked: &Tracked, bounds: Bounds<'_>) -> String {
    // BINARY is left unsaid: with it, SQLite would not find a key of several columns by its index.
    let compared = |(name, collation): &(String, String)| match collation.as_str() {
        "" | "BINARY" => ident(name),
        other => format!("{} COLLATE {}", ident(name), ident(other)),
    };
    let keys = tracked.table.key.iter().map(compared).collect::<Vec<_>>().join(", ");
    let marks = vec!["?"; tracked.keys()].join(", ");
    let mut given: Vec<String> =
        tracked.table.key_names().map(|key| format!("{} IS NOT NULL", ident(key))).collect();
    given.extend(bounds.above.map(|_| format!("({keys}) > ({marks})")));
    given.extend(bounds.upto.map(|_| format!("({keys}) <= ({marks})")));
    let (columns, name) = (list(&tracked.names), ident(&tracked.table.name));
    format!("SELECT {columns} FROM {name} WHERE {} ORDER BY {keys}", given.join(" AND "))
}

/// Hashes rows of one table as an audit does.
#[derive(Clone, Debug)]
pub struct Marker {
    hasher: RowHasher,
    places: Vec<usize>,
    keys: usize,
    key: Vec<u8>,
}

impl Marker {
    /// Over the columns of the hub's table. None when this one lacks any of them.
    #[must_use]
    pub fn new(tracked: &Tracked, hub: &Tracked) -> Option<Self> {
        let columns = audit::columns(hub);
        let places = columns.iter().map(|name| tracked.place(name)).collect::<Option<Vec<_>>>()?;
        let hasher = RowHasher::new(columns.iter().map(String::as_str));
        Some(Self { hasher, places, keys: tracked.keys(), key: Vec::new() })
    }

    /// The hash of a row, and its mark.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn read(&mut self, row: &Row<'_>) -> Result<(u128, Mark)> {
        let hash = self.hasher.hash(self.places.iter().map(|place| get(row, *place)))?;
        self.key.clear();
        for place in 0..self.keys {
            get(row, place)?.write_canonical(&mut self.key);
        }
        Ok((hash, Mark::of(&self.key, hash)))
    }

    /// The hash of a row that is in mind.
    #[must_use]
    pub fn hash(&mut self, row: &[Value]) -> Option<u128> {
        let values = self.places.iter().map(|place| row.get(*place).map(Value::as_ref).ok_or(()));
        self.hasher.hash(values).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Schema;

    fn tracked(sql: &str) -> (Connection, Tracked) {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(sql).unwrap();
        let table = Schema::read(&conn).unwrap().table("t").unwrap().clone();
        (conn, Tracked::new(table, 1))
    }

    /// Cuts the table into parts of two rows, and reads each part by its bounds.
    fn assert_parts_are_the_whole(sql: &str) {
        let (conn, tracked) = tracked(sql);
        let read = |bounds: Bounds<'_>| {
            let mut keys: Vec<Key> = Vec::new();
            for_each(&conn, &tracked, bounds, |row| {
                keys.push(crate::value::copy(row, 0, tracked.keys())?);
                Ok(())
            })
            .unwrap();
            keys
        };
        let all = read(Bounds::default());
        assert!(all.len() >= 5, "{all:?}");
        let uppers: Vec<Key> = all.chunks(2).map(|part| part.last().unwrap().clone()).collect();
        let uppers = &uppers[..uppers.len() - 1];
        let parts: Vec<Vec<Key>> =
            (0..=uppers.len()).map(|number| read(Bounds::of(uppers, number))).collect();
        assert!(parts.iter().all(|part| !part.is_empty() && part.len() <= 2), "{parts:?}");
        assert_eq!(parts.concat(), all);
    }

    #[test]
    fn parts_are_the_whole_whatever_the_key() {
        let values =
            "INSERT INTO t VALUES (5, 'a', 1), (-3, 'B', 2), (7, 'b ', 3), (8, 'C', 4), (9, 'd', 5);";
        for declared in [
            "CREATE TABLE t(a INTEGER PRIMARY KEY, b, c)",
            "CREATE TABLE t(a, b TEXT PRIMARY KEY, c)",
            "CREATE TABLE t(a, b TEXT COLLATE NOCASE PRIMARY KEY, c) WITHOUT ROWID",
            "CREATE TABLE t(a, b TEXT, c, PRIMARY KEY (b COLLATE RTRIM, c))",
            "CREATE TABLE t(a, b, c, PRIMARY KEY (c DESC, a)) WITHOUT ROWID",
        ] {
            assert_parts_are_the_whole(&format!("{declared}; {values}"));
        }
        let mixed = "INSERT INTO t VALUES (1, 1), (1, 'x'), (1, x'00'), (2, 1.5), ('1', 0), (x'01', 7);";
        assert_parts_are_the_whole(&format!("CREATE TABLE t(a, b, PRIMARY KEY (a, b)); {mixed}"));
    }

    #[test]
    fn a_row_without_a_key_is_left_out() {
        let (conn, tracked) =
            tracked("CREATE TABLE t(a TEXT PRIMARY KEY, b); INSERT INTO t VALUES (NULL, 1), ('x', 2);");
        let mut seen = 0;
        for_each(&conn, &tracked, Bounds::default(), |_| {
            seen += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, 1);
    }

    #[test]
    fn columns_in_another_order_give_the_same_mark() {
        let (one, here) =
            tracked("CREATE TABLE t(a INTEGER PRIMARY KEY, b, c); INSERT INTO t VALUES (1, 'x', 2.5);");
        let (two, there) = tracked(
            "CREATE TABLE t(C, own DEFAULT 4, a INTEGER PRIMARY KEY, b); INSERT INTO t(a, b, c) VALUES (1, 'x', 2.5);",
        );
        let mark = |conn: &Connection, tracked: &Tracked| {
            let mut marker = Marker::new(tracked, &here).unwrap();
            let mut found = None;
            for_each(conn, tracked, Bounds::default(), |row| {
                let read = marker.read(row)?;
                let values = crate::value::copy(row, 0, tracked.names.len())?;
                assert_eq!(marker.hash(&values), Some(read.0));
                found = Some(read);
                Ok(())
            })
            .unwrap();
            found
        };
        assert_eq!(mark(&one, &here), mark(&two, &there));
        assert!(Marker::new(&here, &there).is_none(), "a column is not there");
    }
}

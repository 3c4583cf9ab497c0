//! Reads the conflict list in part: one entry, or a page of those that a filter lets through, so that
//! nobody holds 100,000 entries to show one.

use super::{Kind, to_json};
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension as _, Result, params_from_iter};
use serde_json::Value as Json;

/// What [`to_json`] reads, in its order.
const COLUMNS: &str =
    "id, kind, tab, named_key, clashes, row, kept_from, kept_at, lost_from, lost_at, action, state,
                       rows, decision, decided_at";

/// Which entries are meant. What is set must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Closed ones, too.
    pub closed: bool,
    /// Entries of this table, named as SQLite compares names.
    pub table: Option<String>,
    /// Entries in which one of these devices lost.
    pub lost_from: Option<Vec<u16>>,
    /// Entries of this kind.
    pub kind: Option<Kind>,
}

/// A part of the list, in the order of the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Only entries with a number above this one.
    pub after: i64,
    /// At most so many.
    pub limit: u32,
}

impl Page {
    /// The list from its beginning to its end.
    pub const WHOLE: Self = Self { after: 0, limit: u32::MAX };
}

impl Filter {
    /// True when it lets every open entry through.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.table.is_none() && self.lost_from.is_none() && self.kind.is_none()
    }

    /// The conditions as SQL. The state stands there as it does in the index of the open entries, so that
    /// SQLite uses it.
    fn conditions(&self) -> (String, Vec<Sql>) {
        let mut sql = String::new();
        let mut values = Vec::new();
        if !self.closed {
            sql.push_str(" AND state = 'open'");
        }
        if let Some(table) = &self.table {
            sql.push_str(" AND tab = ? COLLATE NOCASE");
            values.push(Sql::Text(table.clone()));
        }
        if let Some(kind) = self.kind {
            sql.push_str(" AND kind = ?");
            values.push(Sql::Text(kind.word().to_owned()));
        }
        if let Some(devices) = &self.lost_from {
            sql.push_str(&format!(" AND lost_from IN ({})", vec!["?"; devices.len()].join(", ")));
            values.extend(devices.iter().map(|device| Sql::Integer(i64::from(*device))));
        }
        (sql, values)
    }
}

fn select<T>(
    conn: &Connection,
    columns: &str,
    filter: &Filter,
    page: Page,
    read: impl FnMut(&rusqlite::Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let (conditions, values) = filter.conditions();
    let sql = format!("SELECT {columns} FROM _sync_conflict WHERE id > ?{conditions} ORDER BY id LIMIT ?");
    let bound = [Sql::Integer(page.after)].into_iter().chain(values);
    let bound = bound.chain([Sql::Integer(i64::from(page.limit))]);
    conn.prepare_cached(&sql)?.query_map(params_from_iter(bound), read)?.collect()
}

/// A page of entries as the JSON that scripts read. Device names come from `name_of`.
///
/// # Errors
/// When SQLite fails.
pub fn read(
    conn: &Connection,
    filter: &Filter,
    page: Page,
    name_of: impl Fn(u16) -> String,
) -> Result<Vec<Json>> {
    select(conn, COLUMNS, filter, page, |row| to_json(row, &name_of))
}

/// Only the numbers of a page of entries.
///
/// # Errors
/// When SQLite fails.
pub fn ids(conn: &Connection, filter: &Filter, page: Page) -> Result<Vec<i64>> {
    select(conn, "id", filter, page, |row| row.get(0))
}

/// How many open entries there are of each kind.
///
/// # Errors
/// When SQLite fails.
pub fn open_by_kind(conn: &Connection) -> Result<Vec<(String, u64)>> {
    let sql = "SELECT kind, count(*) FROM _sync_conflict WHERE state = 'open' GROUP BY kind ORDER BY kind";
    let mut statement = conn.prepare_cached(sql)?;
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()));
    statement.query_map([], row)?.collect()
}

/// One entry, open or closed.
///
/// # Errors
/// When SQLite fails.
pub fn find(conn: &Connection, id: i64, name_of: impl Fn(u16) -> String) -> Result<Option<Json>> {
    let sql = format!("SELECT {COLUMNS} FROM _sync_conflict WHERE id = ?1");
    conn.prepare_cached(&sql)?.query_row([id], |row| to_json(row, &name_of)).optional()
}

#[cfg(test)]
mod tests {
    use super::super::{Entry, add};
    use super::*;
    use tt_protocol::merge::Stamp;
    use tt_protocol::number::{EdgeId, Version};

    fn entries() -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(crate::store::TABLES).unwrap();
        for number in 0..100_u16 {
            let (kind, table) = if number % 2 == 0 { (Kind::Column, "a") } else { (Kind::Key, "b") };
            let lost = Stamp { at: 0, edge: EdgeId(number % 3) };
            add(&conn, Version(1), None, &Entry::new(kind, table, Vec::new(), lost, "done")).unwrap();
        }
        conn.execute("UPDATE _sync_conflict SET state = 'closed' WHERE id <= 10", []).unwrap();
        conn
    }

    #[test]
    fn filters_hold_together_and_pages_follow_each_other() {
        let conn = entries();
        let filter = Filter {
            table: Some("A".into()),
            lost_from: Some(vec![1, 7]),
            kind: Some(Kind::Column),
            closed: false,
        };
        let whole = ids(&conn, &filter, Page::WHOLE).unwrap();
        assert!(whole.len() > 10 && whole.iter().all(|id| *id > 10 && id % 2 == 1));
        let mut paged = Vec::new();
        loop {
            let after = paged.last().copied().unwrap_or(0);
            let found = ids(&conn, &filter, Page { after, limit: 4 }).unwrap();
            if found.is_empty() {
                break;
            }
            assert!(found.len() <= 4);
            paged.extend(found);
        }
        assert_eq!(paged, whole);
        let closed = Filter { closed: true, ..Filter::default() };
        assert_eq!(ids(&conn, &closed, Page::WHOLE).unwrap().len(), 100);
        assert_eq!(ids(&conn, &Filter::default(), Page::WHOLE).unwrap().len(), 90);
        let nobody = Filter { lost_from: Some(Vec::new()), ..Filter::default() };
        assert_eq!(ids(&conn, &nobody, Page::WHOLE).unwrap(), Vec::<i64>::new());
    }

    #[test]
    fn open_entries_are_found_without_a_look_at_the_closed_ones() {
        let conn = entries();
        let (conditions, _) = Filter::default().conditions();
        let sql = format!(
            "EXPLAIN QUERY PLAN SELECT id FROM _sync_conflict WHERE id > 0{conditions} ORDER BY id LIMIT 10"
        );
        let plan: String = conn.query_row(&sql, [], |row| row.get("detail")).unwrap();
        assert!(plan.contains("_sync_conflict_open"), "{plan}");
        assert!(find(&conn, 3, |_| String::new()).unwrap().is_some_and(|entry| entry["state"] == "closed"));
        assert!(find(&conn, 101, |_| String::new()).unwrap().is_none());
    }

    #[test]
    fn a_word_names_one_kind() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_word(kind.word()), Some(kind));
        }
    }
}

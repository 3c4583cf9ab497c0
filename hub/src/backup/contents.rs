//! What a database holds, in a form that two copies of it can be compared by: rows and digest of each table,
//! ours among them, and what its foreign keys complain about.
//!
//! The digest of a replicated table is the one that `status --digests` shows.

use rusqlite::{Connection, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use tt_migrations::quote::ident;
use tt_migrations::value::get;
use tt_protocol::digest::{RowHasher, TableDigest};

/// Types of tables that hold rows of their own.
const STORED: &str = "'table', 'shadow'";

/// Tables and complaints of one database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contents {
    pub(crate) tables: BTreeMap<String, TableContents>,
    /// Rows without their parent by table, as they were when the backup was made: programs with foreign keys
    /// off leave such rows, and a backup keeps what is there.
    pub(crate) foreign_key_violations: BTreeMap<String, u64>,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TableContents {
    pub(crate) rows: u64,
    pub(crate) digest: String,
}

/// Reads all of it, in the caller's transaction if it has one.
pub(crate) fn read(conn: &Connection) -> Result<Contents> {
    let mut tables = BTreeMap::new();
    for name in of_types(conn, STORED)? {
        let digest = digest(conn, &name)?;
        tables.insert(name, TableContents { rows: digest.rows, digest: digest.to_string() });
    }
    Ok(Contents { tables, foreign_key_violations: foreign_key_violations(conn)? })
}

/// Rows without their parent, by table.
pub(crate) fn foreign_key_violations(conn: &Connection) -> Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    for name in of_types(conn, STORED)? {
        if let Some(count) = violations(conn, &name)? {
            found.insert(name, count);
        }
    }
    Ok(found)
}

impl Contents {
    /// The first difference, in words; `self` is what should be.
    pub(crate) fn difference(&self, found: &Self) -> Option<String> {
        for (name, table) in &self.tables {
            match found.tables.get(name) {
                None => return Some(format!("the table {name} is missing")),
                Some(other) if other.rows != table.rows => {
                    return Some(format!("{name} has {} rows instead of {}", other.rows, table.rows));
                }
                Some(other) if other != table => return Some(format!("rows of {name} are others")),
                Some(_) => {}
            }
        }
        if let Some(name) = found.tables.keys().find(|name| !self.tables.contains_key(*name)) {
            return Some(format!("there is a table {name} that should not be there"));
        }
        (self.foreign_key_violations != found.foreign_key_violations)
            .then(|| "foreign_key_check says something else than when the backup was made".to_owned())
    }

    /// Rows of the programs' tables.
    pub(crate) fn program_rows(&self) -> impl Iterator<Item = (&str, u64)> {
        let ours = |name: &str| name.starts_with("_sync_") || name.starts_with("sqlite_");
        self.tables
            .iter()
            .filter(move |(name, _)| !ours(name))
            .map(|(name, table)| (name.as_str(), table.rows))
    }
}

/// A short name for everything that the schema declares.
pub(crate) fn schema_name(conn: &Connection) -> Result<String> {
    let sql = "SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY 1";
    let mut hasher = Sha256::new();
    for text in names(conn, sql, [])? {
        hasher.update(text);
        hasher.update([0]);
    }
    Ok(data_encoding::HEXLOWER.encode(&hasher.finalize()[..4]))
}

/// What is wrong with the pages of a file; empty when it is sound.
pub(crate) fn integrity_problems(conn: &Connection) -> Result<Vec<String>> {
    problems(conn, "PRAGMA integrity_check(10)")
}

/// Every table, also those of virtual ones.
pub(crate) fn tables(conn: &Connection) -> Result<Vec<String>> {
    of_types(conn, &format!("{STORED}, 'virtual'"))
}

fn of_types(conn: &Connection, types: &str) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ({types})
         AND name NOT IN ('sqlite_schema', 'sqlite_master') ORDER BY name"
    );
    names(conn, &sql, [])
}

/// What a check of SQLite's finds; empty when all is well.
pub(crate) fn problems(conn: &Connection, check: &str) -> Result<Vec<String>> {
    let lines = names(conn, check, [])?;
    Ok(if lines == ["ok"] { Vec::new() } else { lines })
}

fn names<P: rusqlite::Params>(conn: &Connection, sql: &str, parameters: P) -> Result<Vec<String>> {
    conn.prepare(sql)?.query_map(parameters, |row| row.get(0))?.collect()
}

/// Columns that are computed are left out: they follow from the others.
fn digest(conn: &Connection, table: &str) -> Result<TableDigest> {
    let mut columns = names(conn, "SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0", [table])?;
    columns.sort();
    let list: Vec<_> = columns.iter().map(|name| ident(name)).collect();
    let mut statement = conn.prepare(&format!("SELECT {} FROM {}", list.join(", "), ident(table)))?;
    let mut rows = statement.query([])?;
    let mut digest = TableDigest::default();
    let mut hasher = RowHasher::new(columns.iter().map(String::as_str));
    while let Some(row) = rows.next()? {
        digest.add(hasher.hash((0..columns.len()).map(|index| get(row, index)))?);
    }
    Ok(digest)
}

/// None: all is well. A foreign key to something that cannot be a parent counts as all that SQLite can say.
fn violations(conn: &Connection, table: &str) -> Result<Option<u64>> {
    let count = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
    match conn.query_row("SELECT count(*) FROM pragma_foreign_key_check(?1)", [table], count) {
        Ok(count) => Ok((count != 0).then_some(count.unsigned_abs())),
        Err(error) if error.to_string().contains("foreign key mismatch") => Ok(Some(u64::MAX >> 1)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(sql: &str) -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.pragma_update(None, "foreign_keys", false).unwrap();
        conn.execute_batch(sql).unwrap();
        conn
    }

    #[test]
    fn a_row_has_the_hash_that_nodes_compare() {
        let conn = database(
            "CREATE TABLE t(b, a, \"c d\" TEXT, e BLOB);
             INSERT INTO t VALUES (1, -1.5, 'x', x'00ff'), (NULL, 9007199254740993, '', x''), ('1', 0.0, 'ä', NULL);",
        );
        let columns = ["a", "b", "c d", "e"];
        let mut statement = conn.prepare("SELECT a, b, \"c d\", e FROM t").unwrap();
        let mut rows = statement.query([]).unwrap();
        let mut slow = TableDigest::default();
        while let Some(row) = rows.next().unwrap() {
            let values = (0..columns.len()).map(|index| get(row, index).unwrap());
            slow.add(tt_protocol::digest::row_hash(columns.into_iter().zip(values), &mut Vec::new()));
        }
        assert_eq!(digest(&conn, "t").unwrap(), slow);
    }

    #[test]
    fn each_kind_of_difference_is_named() {
        let base = "CREATE TABLE p(id INTEGER PRIMARY KEY AUTOINCREMENT, v, twice AS (v * 2));
                    CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p(id)); CREATE TABLE plain(a, b);
                    INSERT INTO p(v) VALUES (1); INSERT INTO c VALUES (1, 9); INSERT INTO plain VALUES (1, 1);";
        let whole = read(&database(base)).unwrap();
        assert_eq!(whole.foreign_key_violations, BTreeMap::from([("c".to_owned(), 1)]));
        assert_eq!(whole.tables.keys().collect::<Vec<_>>(), ["c", "p", "plain", "sqlite_sequence"]);
        assert_eq!(whole.program_rows().collect::<Vec<_>>(), [("c", 1), ("p", 1), ("plain", 1)]);
        for (change, said) in [
            ("UPDATE plain SET b = '1'", "rows of plain are others"),
            ("DELETE FROM p", "p has 0 rows instead of 1"),
            ("UPDATE sqlite_sequence SET seq = 5", "rows of sqlite_sequence"),
            ("DROP TABLE plain", "the table plain is missing"),
            ("CREATE TABLE x(a)", "table x that should not"),
        ] {
            let conn = database(base);
            conn.execute_batch(change).unwrap();
            let difference = whole.difference(&read(&conn).unwrap()).unwrap();
            assert!(difference.contains(said), "{change}: {difference}");
        }
        assert_eq!(whole.difference(&read(&database(base)).unwrap()), None);
        let mismatch =
            database("CREATE TABLE p(a); CREATE TABLE c(p REFERENCES p(a)); INSERT INTO c VALUES (1)");
        assert!(read(&mismatch).unwrap().foreign_key_violations.contains_key("c"));
    }
}

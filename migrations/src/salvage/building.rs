//! The new file: the damaged one's tables with the rows that can be read, then what depends on them.
//!
//! A note says that a row was changed here. Where its row cannot be read, the note goes: left alone, it would
//! say that the row was deleted.

use super::Illegible;
use super::reading::{Reach, Source, numbers};
use crate::capture::base;
use crate::quote::ident;
use crate::replica::list;
use crate::{outbox, shape, state};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Result, Row, ToSql, params_from_iter};
use std::path::Path;

const BASE: &str = "_sync_base_";

/// One object of the damaged file's schema.
struct Object {
    kind: String,
    name: String,
    sql: String,
}

/// Builds `fresh` from what can be read of `source`. Gives what cannot.
///
/// # Errors
/// When nothing of the file can be read, or not what makes it a device's.
pub fn build(source: &Path, fresh: &Path) -> Result<Vec<Illegible>> {
    let from = Connection::open(source)?;
    // A schema that is partly illegible is better than none.
    from.pragma_update(None, "writable_schema", true)?;
    let to = Connection::open(fresh)?;
    for name in ["page_size", "auto_vacuum", "user_version", "application_id"] {
        let value: i64 = from.pragma_query_value(None, name, |row| row.get(0))?;
        to.pragma_update(None, name, value)?;
    }
    let encoding: String = from.pragma_query_value(None, "encoding", |row| row.get(0))?;
    to.pragma_update(None, "encoding", encoding)?;
    // Rows are taken as they are; who wrote them was allowed to.
    to.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; BEGIN")?;
    let mut building = Building { from, to, illegible: Vec::new() };
    building.all()?;
    building.to.execute_batch("COMMIT")?;
    Ok(building.illegible)
}

struct Building {
    from: Connection,
    to: Connection,
    illegible: Vec<Illegible>,
}

impl Building {
    fn all(&mut self) -> Result<()> {
        let objects = self.objects()?;
        self.to.execute_batch(state::TABLES)?;
        self.to.execute_batch(outbox::TABLES)?;
        self.make(&objects, |object| object.kind == "table");
        let names = objects.iter().filter(|object| object.kind == "table" && !is_virtual(object));
        let names = names.map(|object| object.name.as_str()).filter(|name| self.is_there(name));
        // Ids that SQLite has given are noted while rows are written: the damaged file's own come last.
        let names: Vec<&str> = names.chain(["sqlite_sequence"]).collect();
        let mut damaged = Vec::new();
        for name in names {
            let reach = self.copy(name)?;
            if reach.is_damaged {
                damaged.push((name.to_owned(), reach));
            }
        }
        if state::get(&self.to, state::DEVICE)?.is_none() {
            return Err(illegible("_sync_state"));
        }
        self.know_tables(&objects)?;
        self.drop_notes(&objects, &damaged)?;
        self.keep_numbers()?;
        self.make(&objects, |object| object.kind == "index");
        self.make(&objects, |object| object.kind == "view");
        self.make(&objects, |object| object.kind == "trigger");
        Ok(())
    }

    fn objects(&mut self) -> Result<Vec<Object>> {
        let columns = ["type", "name", "sql"].map(str::to_owned);
        let source = Source { conn: &self.from, name: "sqlite_schema", columns: &columns, key: &[] };
        let mut found = Vec::new();
        let reach = source.read(&[], &mut |row| {
            // What a program never wrote as SQL (an index of a constraint) comes with its table.
            if let (Ok(kind), Ok(name), Ok(sql)) = (row.get(1), row.get::<_, String>(2), row.get(3))
                && !name.starts_with("sqlite_")
            {
                found.push(Object { kind, name, sql });
            }
            Ok(())
        })?;
        if reach.is_damaged {
            self.tell(
                "sqlite_schema",
                None,
                "some tables, indexes or triggers of this file are not known any more",
            );
        }
        // Tables that belong to a virtual one are made with it.
        found.sort_by_key(|object| !is_virtual(object));
        Ok(found)
    }

    fn make(&mut self, objects: &[Object], is_meant: impl Fn(&Object) -> bool) {
        for object in objects.iter().filter(|object| is_meant(object)) {
            if object.kind == "table" && self.is_there(&object.name) {
                continue;
            }
            if let Err(error) = self.to.execute_batch(&object.sql) {
                self.tell(
                    &object.name,
                    None,
                    &format!("this {} could not be made again: {error}", object.kind),
                );
            }
        }
    }

    fn is_there(&self, table: &str) -> bool {
        self.to.table_exists(None, table).unwrap_or(false)
    }

    fn copy(&mut self, name: &str) -> Result<Reach> {
        let sql = "SELECT name, pk FROM pragma_table_xinfo(?1) WHERE hidden = 0 ORDER BY cid";
        let named = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?));
        let mut columns: Vec<(String, i64)> =
            self.to.prepare(sql)?.query_map([name], named)?.collect::<Result<_>>()?;
        let without_rowid: bool = self.to.query_row(
            "SELECT COALESCE(MAX(wr), 0) FROM pragma_table_list WHERE schema = 'main' AND name = ?1",
            [name],
            |row| row.get(0),
        )?;
        let mut key: Vec<(String, i64)> = columns.iter().filter(|(_, place)| *place > 0).cloned().collect();
        key.sort_by_key(|(_, place)| *place);
        let key: Vec<String> = key.into_iter().map(|(name, _)| name).filter(|_| without_rowid).collect();
        if !without_rowid && name != "sqlite_sequence" && !self.rowid_is_a_column(name)? {
            columns.push(("_rowid_".to_owned(), 0));
        }
        let columns: Vec<String> = columns.into_iter().map(|(name, _)| name).collect();
        if columns.is_empty() || self.from.prepare(&format!("SELECT 1 FROM {}", ident(name))).is_err() {
            return Ok(Reach::default());
        }
        self.to.execute(&format!("DELETE FROM {}", ident(name)), [])?;
        let marks = vec!["?"; columns.len()].join(", ");
        let sql = format!("INSERT OR IGNORE INTO {}({}) VALUES ({marks})", ident(name), list(&columns));
        let source = Source { conn: &self.from, name, columns: &columns, key: &key };
        let mut insert = self.to.prepare(&sql)?;
        let places = self.places(name);
        let reach = source.read(&places, &mut |row| {
            let values =
                (1..=columns.len()).map(|place| row.get_ref(place).map(Raw)).collect::<Result<Vec<_>>>()?;
            match insert.execute(params_from_iter(values)) {
                Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) => {
                    Ok(())
                }
                outcome => outcome.map(drop),
            }
        })?;
        drop(insert);
        self.count_missing(name, &reach)?;
        Ok(reach)
    }

    /// True when a column of the table is its rowid.
    fn rowid_is_a_column(&self, name: &str) -> Result<bool> {
        Ok(shape::read_table(&self.to, name)?.rowid_key)
    }

    /// Where rows are known or supposed to be: noted ones, new ones, and those that an index names.
    fn places(&self, name: &str) -> Vec<i64> {
        let mut places = numbers(&self.from, &format!("SELECT * FROM {}", ident(&base::name(name))));
        let of_table = crate::quote::text(name);
        for column in ["lo", "hi", "block_first"] {
            let sql = format!("SELECT {column} FROM _sync_table WHERE name = {of_table} COLLATE NOCASE");
            places.extend(numbers(&self.from, &sql));
        }
        places
            .extend(numbers(&self.from, &format!("SELECT seq FROM sqlite_sequence WHERE name = {of_table}")));
        for index in self.indexes(name) {
            places.extend(numbers(&self.from, &indexed("_rowid_", name, &index)));
        }
        places.sort_unstable();
        places.dedup();
        places
    }

    fn indexes(&self, name: &str) -> Vec<String> {
        let read = || -> Result<Vec<String>> {
            let sql = "SELECT name FROM pragma_index_list(?1) WHERE partial = 0 AND origin <> 'pk'";
            self.from.prepare(sql)?.query_map([name], |row| row.get(0))?.collect()
        };
        read().unwrap_or_default()
    }

    fn count_missing(&mut self, name: &str, reach: &Reach) -> Result<()> {
        let here: i64 =
            self.to.query_row(&format!("SELECT COUNT(*) FROM {}", ident(name)), [], |row| row.get(0))?;
        let here = here.unsigned_abs();
        if !reach.is_damaged {
            if reach.rows > here {
                self.tell(
                    name,
                    Some(reach.rows - here),
                    "they break a rule of their own table and were left out",
                );
            }
            return Ok(());
        }
        let counts = self.indexes(name).into_iter().filter_map(|index| {
            numbers(&self.from, &indexed("COUNT(*)", name, &index)).first().map(|count| count.unsigned_abs())
        });
        let rows = counts.max().map(|count| count.saturating_sub(here));
        let found = match name.strip_prefix(BASE) {
            Some(table) => format!("changes noted in \"{table}\" cannot be read: they are not handed in"),
            None if name.starts_with("_sync_") => "it cannot be read as a whole".to_owned(),
            None => {
                "rows cannot be read: what the hub has of them comes back from it, what was new here does not"
                    .to_owned()
            }
        };
        self.tell(name, rows, &found);
        Ok(())
    }

    /// A table that is not known to be captured would be taken for a new one, all of whose rows are new.
    fn know_tables(&mut self, objects: &[Object]) -> Result<()> {
        let sql = "INSERT INTO _sync_table(name) SELECT ?1
                   WHERE NOT EXISTS (SELECT 1 FROM _sync_table WHERE name = ?1 COLLATE NOCASE)";
        let captured = objects.iter().filter_map(|object| object.name.strip_prefix(BASE));
        let mut forgotten = Vec::new();
        for table in captured.filter(|table| self.is_there(table)) {
            if self.to.execute(sql, [table])? > 0 {
                forgotten.push(table);
            }
        }
        if !forgotten.is_empty() {
            self.to.execute_batch("DELETE FROM _sync_audit; DELETE FROM _sync_audit_tried")?;
        }
        for table in forgotten {
            self.tell(
                table,
                None,
                "which rows were new here cannot be read: those that are not cut are not handed in",
            );
        }
        Ok(())
    }

    fn drop_notes(&mut self, objects: &[Object], damaged: &[(String, Reach)]) -> Result<()> {
        for object in objects.iter().filter(|object| object.kind == "table") {
            let Some(table) = object.name.strip_prefix(BASE) else { continue };
            let notes = ident(&object.name);
            if !self.is_there(table) {
                let count: i64 =
                    self.to.query_row(&format!("SELECT COUNT(*) FROM {notes}"), [], |row| row.get(0))?;
                self.to.execute_batch(&format!("DROP TABLE {notes}"))?;
                if count > 0 {
                    self.tell(
                        table,
                        Some(count.unsigned_abs()),
                        "they were changed here; the table cannot be read",
                    );
                }
            } else if let Some((_, reach)) = damaged.iter().find(|(name, _)| name.eq_ignore_ascii_case(table))
            {
                let gone = self.drop_notes_of(table, &notes, reach)?;
                if gone > 0 {
                    self.tell(
                        table,
                        Some(gone as u64),
                        "they were changed here, cannot be read, and are not handed in",
                    );
                }
            }
        }
        Ok(())
    }

    fn drop_notes_of(&self, table: &str, notes: &str, reach: &Reach) -> Result<usize> {
        let shape = shape::read_table(&self.to, table)?;
        let same = shape.key_names().map(|key| format!("b.{} = t.{}", base::key_column(key), ident(key)));
        let same = same.collect::<Vec<_>>().join(" AND ");
        let sql = format!(
            "DELETE FROM {notes} AS b WHERE NOT EXISTS (SELECT 1 FROM {} AS t WHERE {same})",
            ident(&shape.name)
        );
        if !shape.rowid_key {
            return self.to.execute(&sql, []);
        }
        // A row between two that were read is gone because a program deleted it.
        let key = shape.key_names().next().map(base::key_column).unwrap_or_default();
        let mut gone = 0;
        for (low, high) in &reach.gaps {
            gone += self.to.execute(&format!("{sql} AND b.{key} BETWEEN ?1 AND ?2"), [low, high])?;
        }
        Ok(gone)
    }

    /// A number that was given once is not given again, whatever else was lost.
    fn keep_numbers(&self) -> Result<()> {
        let sql = "SELECT MAX(COALESCE((SELECT MAX(seq) FROM _sync_outbox), 0),
                              COALESCE((SELECT MAX(seq) FROM _sync_piece), 0))";
        let largest: i64 = self.to.query_row(sql, [], |row| row.get(0))?;
        let known = state::get(&self.to, state::SEQ)?.unwrap_or(0);
        state::set(&self.to, state::SEQ, known.max(largest))
    }

    fn tell(&mut self, table: &str, rows: Option<u64>, found: &str) {
        self.illegible.push(Illegible { table: table.to_owned(), rows, found: found.to_owned() });
    }
}

/// A value on its way from one file to the other, byte for byte.
struct Raw<'v>(ValueRef<'v>);

impl ToSql for Raw<'_> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.0))
    }
}

fn is_virtual(object: &Object) -> bool {
    object.sql.get(..14).is_some_and(|start| start.eq_ignore_ascii_case("CREATE VIRTUAL"))
}

fn indexed(what: &str, table: &str, index: &str) -> String {
    format!("SELECT {what} FROM {} INDEXED BY {}", ident(table), ident(index))
}

fn illegible(table: &str) -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    rusqlite::Error::SqliteFailure(code, Some(format!("{table} cannot be read")))
}

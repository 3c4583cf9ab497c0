//! The ledger of one program: a file of lines beside no database, written before and after each commit.
//!
//! * `{"n":17,"does":[…]}` stands there before the transaction can be committed.
//! * `{"n":17,"done":true}` follows when it was, `false` when it was rolled back.
//!
//! A program that dies in between leaves the question open. Every transaction inserts a row that is called like it
//! and is never removed, so that the program's own file answers before anything else happens to it.

use super::deed::Deed;
use crate::inspect;
use anyhow::{Context as _, ensure};
use serde_json::{Value as Json, json};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// One transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its number, from 1.
    pub(super) number: u64,
    /// What it does.
    pub(super) deeds: Vec<Deed>,
    /// Whether it was committed; None while nobody knows.
    pub(super) done: Option<bool>,
}

/// The ledger of one program.
#[derive(Clone, Debug)]
pub(super) struct Book(pub(super) PathBuf);

/// Name of the row that every transaction leaves.
pub(super) fn mark(who: &str, number: u64) -> String {
    format!("{who}#{number}")
}

impl Book {
    pub(super) fn begin(&self, number: u64, deeds: &[Deed]) -> anyhow::Result<()> {
        let deeds: Vec<Json> = deeds.iter().map(Deed::to_json).collect();
        self.write(&json!({ "n": number, "does": deeds }))
    }

    pub(super) fn end(&self, number: u64, done: bool) -> anyhow::Result<()> {
        self.write(&json!({ "n": number, "done": done }))
    }

    /// One line in one call: a death leaves it whole, or leaves a piece that nobody reads.
    fn write(&self, line: &Json) -> anyhow::Result<()> {
        let mut file = File::options().create(true).append(true).open(&self.0)?;
        Ok(file.write_all(format!("{line}\n").as_bytes())?)
    }

    pub(super) fn read(&self) -> anyhow::Result<Vec<Entry>> {
        if !self.0.exists() {
            return Ok(Vec::new());
        }
        let text = fs::read_to_string(&self.0)?;
        let mut entries: Vec<Entry> = Vec::new();
        // The last line may have been cut off by a death; a transaction of which only that is there never began.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for line in whole.lines() {
            let json: Json =
                serde_json::from_str(line).with_context(|| format!("{}: {line}", self.0.display()))?;
            let number = json["n"].as_u64().context("every line has a number")?;
            if let Some(done) = json["done"].as_bool() {
                let last = entries.last_mut().context("an end has a beginning")?;
                ensure!(last.number == number, "{}: {number} ends in {}", self.0.display(), last.number);
                last.done = Some(done);
            } else {
                let deeds = json["does"].as_array().context("a beginning says what is done")?;
                let deeds = deeds.iter().map(Deed::from_json).collect::<anyhow::Result<_>>()?;
                entries.push(Entry { number, deeds, done: None });
            }
        }
        Ok(entries)
    }

    /// Number of the last transaction that was begun; 0 before the first.
    pub(super) fn last(&self) -> anyhow::Result<u64> {
        Ok(self.read()?.last().map_or(0, |entry| entry.number))
    }

    /// True while a transaction is open.
    pub(super) fn is_open(&self) -> bool {
        self.read().is_ok_and(|entries| entries.last().is_some_and(|entry| entry.done.is_none()))
    }

    /// Answers what a dead program has left open, from its own file.
    pub(super) fn settle(&self, who: &str, db: &Path) -> anyhow::Result<()> {
        self.drop_piece()?;
        let entries = self.read()?;
        let Some(open) = entries.last().filter(|entry| entry.done.is_none()) else { return Ok(()) };
        let sql = "SELECT count(*) FROM warehouse_submissions WHERE receipt_number = ?1";
        let found: i64 = inspect::open(db)?.query_row(sql, [mark(who, open.number)], |row| row.get(0))?;
        self.end(open.number, found > 0)
    }

    /// A line that was cut off must not become the beginning of the next one.
    fn drop_piece(&self) -> anyhow::Result<()> {
        let Ok(text) = fs::read_to_string(&self.0) else { return Ok(()) };
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            File::options().write(true).open(&self.0)?.set_len(whole as u64)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    #[test]
    fn what_a_dead_program_left_open_is_answered_by_its_own_file() {
        let folder = tempfile::tempdir().unwrap();
        let book = Book(folder.path().join("a.book"));
        let db = folder.path().join("a.db");
        let conn = Connection::open(&db).unwrap();
        conn.execute_batch("CREATE TABLE warehouse_submissions(receipt_number TEXT)").unwrap();
        for (number, is_there) in [(1, true), (2, false)] {
            book.begin(number, &[Deed::set("row", &mark("a", number), "x")]).unwrap();
            assert!(book.is_open());
            if is_there {
                conn.execute("INSERT INTO warehouse_submissions VALUES (?1)", [mark("a", number)]).unwrap();
            }
            book.settle("a", &db).unwrap();
            assert_eq!(book.read().unwrap().last().unwrap().done, Some(is_there));
        }
        // It died while it wrote: that transaction was never begun.
        let mut file = File::options().append(true).open(&book.0).unwrap();
        file.write_all(b"{\"n\":3,\"do").unwrap();
        book.settle("a", &db).unwrap();
        assert_eq!(book.last().unwrap(), 2);
        book.begin(3, &[]).unwrap();
        assert_eq!(book.last().unwrap(), 3);
    }
}

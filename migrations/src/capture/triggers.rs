//! The text of the capture triggers: plain SQL that SQLite 3.40 understands.
//!
//! * All notes are taken BEFORE the statement acts. An AFTER trigger would see a row that a trigger of
//!   the program's own has already changed again, and the base would be wrong.
//! * `INSERT OR REPLACE` and `UPDATE OR REPLACE` fire no delete trigger for the rows that they remove,
//!   so every row that a new key or unique value could remove is noted first. A note too many is
//!   harmless: the cut compares the base with the row and sends only what differs.
//! * Notes use `ON CONFLICT(key) DO UPDATE`, never `OR IGNORE`: the outer statement's OR clause would
//!   override it.
//! * In a BEFORE INSERT trigger, SQLite gives -1 for an id that it has yet to choose. Such ids are not
//!   noted; the AFTER INSERT trigger makes sure that they lie in this device's block.

use super::base;
use crate::quote::{ident, text};
use crate::shape::{Table, Unique};

/// A trigger's name and its whole CREATE statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// Name, not quoted.
    pub name: String,
    /// `CREATE TRIGGER …` without a final semicolon, as `sqlite_schema` keeps it.
    pub sql: String,
}

/// Device time in milliseconds, in SQL of any version.
const NOW: &str = "CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER)";

/// The triggers of one table, which has a primary key and the number `tid` in `_sync_table`.
#[must_use]
pub fn of(table: &Table, tid: i64) -> Vec<Trigger> {
    let text = Text { table, tid };
    let mut found = vec![
        text.before_insert(),
        text.before_update(),
        text.before_delete(),
        text.key_change(),
    ];
    if table.rowid_key {
        found.push(text.after_insert());
    }
    found.extend(text.unique_change());
    found
}

struct Text<'t> {
    table: &'t Table,
    tid: i64,
}

impl Text<'_> {
    fn before_insert(&self) -> Trigger {
        // Where an insert can remove a row by a unique value, every insert must look.
        let chosen = self
            .table
            .rowid_key
            .then(|| format!("NEW.{} <> -1", self.first_key()));
        let when = if self.has_uniques() { None } else { chosen.clone() };
        let mut body = self.note_new_key(chosen.as_deref());
        body.push_str(&self.note_unique_victims());
        self.trigger(
            "insert",
            "BEFORE INSERT",
            &when.unwrap_or_else(|| self.key_given("NEW")),
            &body,
        )
    }

    fn before_update(&self) -> Trigger {
        self.trigger("update", "BEFORE UPDATE", &self.stale("OLD"), &self.note_old())
    }

    fn before_delete(&self) -> Trigger {
        self.trigger("delete", "BEFORE DELETE", &self.stale("OLD"), &self.note_old())
    }

    fn key_change(&self) -> Trigger {
        let differs: Vec<_> = self
            .keys()
            .map(|key| format!("NEW.{key} IS NOT OLD.{key}"))
            .collect();
        let when = format!("({}) AND {}", differs.join(" OR "), self.key_given("NEW"));
        self.trigger("key", "BEFORE UPDATE", &when, &self.note_new_key(None))
    }

    fn unique_change(&self) -> Option<Trigger> {
        let mut columns: Vec<_> = self
            .uniques()
            .flat_map(|(_, columns)| columns)
            .map(|(name, _)| ident(name))
            .collect();
        columns.sort();
        columns.dedup();
        if columns.is_empty() {
            return None;
        }
        let event = format!("BEFORE UPDATE OF {}", columns.join(", "));
        Some(self.trigger("unique", &event, "1", &self.note_unique_victims()))
    }

    /// Refuses an id that SQLite chose outside of this device's block: the block ran out, or a program
    /// moved or deleted the counter in `sqlite_sequence`. An id that the program gave has a note.
    fn after_insert(&self) -> Trigger {
        let message = format!(
            "TabletTracker Sync: this device has no free id left in {}; nothing was written; start tt-edge so that it reserves new ids",
            self.table.name
        );
        let key = self.first_key();
        let body = format!(
            "SELECT RAISE(ABORT, {}) WHERE NOT EXISTS (SELECT 1 FROM {} WHERE {} = NEW.{key});",
            text(&message),
            self.base(),
            base::key_column(&self.table.key[0].0),
        );
        self.trigger("id", "AFTER INSERT", &self.stale("NEW"), &body)
    }

    /// Notes the row as it is, with the values that the statement is about to change.
    fn note_old(&self) -> String {
        let values: Vec<_> = self
            .table
            .ordered()
            .iter()
            .map(|column| format!("OLD.{}", ident(&column.name)))
            .collect();
        format!(
            "INSERT INTO {}({}, _existed, _at) VALUES ({}, 1, {NOW}) {};",
            self.base(),
            base::columns(self.table).join(", "),
            values.join(", "),
            self.touch()
        )
    }

    /// Notes what is at the key that the statement is about to fill: a row that it would replace, or
    /// nothing. `chosen` says when the key is known already.
    fn note_new_key(&self, chosen: Option<&str>) -> String {
        let at_key: Vec<_> = self.keys().map(|key| format!("{key} = NEW.{key}")).collect();
        let at_key = at_key.join(" AND ");
        let there = self.note_rows(&at_key);
        let keys: Vec<_> = self.table.key_names().map(base::key_column).collect();
        let new: Vec<_> = self.keys().map(|key| format!("NEW.{key}")).collect();
        let only = chosen.map(|sql| format!("{sql} AND ")).unwrap_or_default();
        format!(
            "{there} INSERT INTO {}({}, _existed, _at) SELECT {}, 0, {NOW} WHERE {only}NOT EXISTS (SELECT 1 FROM {} WHERE {at_key}) {};",
            self.base(),
            keys.join(", "),
            new.join(", "),
            ident(&self.table.name),
            self.touch()
        )
    }

    fn note_unique_victims(&self) -> String {
        self.uniques()
            .map(|(unique, columns)| {
                let equal: Vec<_> = columns
                    .iter()
                    .map(|(name, collation)| {
                        format!("{0} = NEW.{0} COLLATE {1}", ident(name), ident(collation))
                    })
                    .collect();
                let partial = unique
                    .predicate
                    .as_ref()
                    .map(|sql| format!(" AND ({sql})"))
                    .unwrap_or_default();
                self.note_rows(&format!("{}{partial}", equal.join(" AND ")))
            })
            .collect()
    }

    fn note_rows(&self, condition: &str) -> String {
        let columns: Vec<_> = self
            .table
            .ordered()
            .iter()
            .map(|column| ident(&column.name))
            .collect();
        let not_null: Vec<_> = self.keys().map(|key| format!("{key} IS NOT NULL")).collect();
        format!(
            "INSERT INTO {}({}, _existed, _at) SELECT {}, 1, {NOW} FROM {} WHERE {condition} AND {} {};",
            self.base(),
            base::columns(self.table).join(", "),
            columns.join(", "),
            ident(&self.table.name),
            not_null.join(" AND "),
            self.touch()
        )
    }

    fn touch(&self) -> String {
        let keys: Vec<_> = self.table.key_names().map(base::key_column).collect();
        format!(
            "ON CONFLICT({}) DO UPDATE SET _at = excluded._at",
            keys.join(", ")
        )
    }

    /// True for a row that is not among the fresh ones of this device's block.
    fn stale(&self, row: &str) -> String {
        if !self.table.rowid_key {
            return self.key_given(row);
        }
        format!(
            "NOT EXISTS (SELECT 1 FROM _sync_table WHERE tid = {} AND {row}.{} BETWEEN lo AND hi)",
            self.tid,
            self.first_key()
        )
    }

    /// A row with NULL in its key cannot be named on another node, so it is not noted.
    fn key_given(&self, row: &str) -> String {
        let given: Vec<_> = self
            .keys()
            .map(|key| format!("{row}.{key} IS NOT NULL"))
            .collect();
        given.join(" AND ")
    }

    fn trigger(&self, suffix: &str, event: &str, when: &str, body: &str) -> Trigger {
        let name = format!("_sync_{}_{suffix}", self.table.name);
        let sql = format!(
            "CREATE TRIGGER {} {event} ON {} WHEN {when} BEGIN {body} END",
            ident(&name),
            ident(&self.table.name)
        );
        Trigger { name, sql }
    }

    fn uniques(&self) -> impl Iterator<Item = (&Unique, &Vec<(String, String)>)> {
        self.table
            .uniques
            .iter()
            .filter_map(|unique| Some((unique, unique.columns.as_ref()?)))
    }

    fn has_uniques(&self) -> bool {
        self.uniques().next().is_some()
    }

    fn keys(&self) -> impl Iterator<Item = String> {
        self.table.key_names().map(ident)
    }

    fn first_key(&self) -> String {
        ident(&self.table.key[0].0)
    }

    fn base(&self) -> String {
        ident(&base::name(&self.table.name))
    }
}

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
//!   noted; the AFTER INSERT trigger makes sure that they lie in this device's block. A row that really
//!   has the id -1 keeps a note all the time (`collect::keep_minus_one`), because nothing announces a
//!   REPLACE of it.
//! * Keys are compared with the collation of the key, which need not be the column's.

mod victims;

use super::{base, default};
use crate::quote::{ident, text};
use crate::shape::Table;

/// A trigger's name and its whole CREATE statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// Name, not quoted.
    pub name: String,
    /// `CREATE TRIGGER …` without a final semicolon, as `sqlite_schema` keeps it.
    pub sql: String,
    /// It looks for rows that hold a unique value: another head means other unique indexes.
    pub guards_uniques: bool,
}

/// How the refusal of a row begins for which the device has no id: no fault of the row's.
pub const NO_FREE_ID: &str = "TabletTracker Sync: this device has no free id left in";

/// Device time in milliseconds, in SQL of any version.
pub(super) const NOW: &str = "CAST((julianday() - 2440587.5) * 86400000.0 AS INTEGER)";

/// The triggers of one table, which has a primary key and the number `tid` in `_sync_table`.
#[must_use]
pub fn of(table: &Table, tid: i64) -> Vec<Trigger> {
    let text = Text { table, tid };
    let mut found = vec![text.before_insert(), text.before_update(), text.before_delete(), text.key_change()];
    if table.rowid_key {
        found.push(text.after_insert());
    }
    found.extend(text.taken());
    found.extend(text.unique_change());
    found
}

struct Text<'t> {
    table: &'t Table,
    tid: i64,
}

impl Text<'_> {
    fn before_insert(&self) -> Trigger {
        let when = if self.table.rowid_key {
            format!("NEW.{} <> -1", self.first_key())
        } else {
            self.new_key_given()
        };
        self.trigger("insert", "BEFORE INSERT", &when, &self.note_new_key())
    }

    fn before_update(&self) -> Trigger {
        self.trigger("update", "BEFORE UPDATE", &self.stale("OLD"), &self.note_old())
    }

    fn before_delete(&self) -> Trigger {
        self.trigger("delete", "BEFORE DELETE", &self.stale("OLD"), &self.note_old())
    }

    fn key_change(&self) -> Trigger {
        let when = format!("NOT ({}) AND {}", self.same_key("NEW", "OLD"), self.new_key_given());
        self.trigger("key", "BEFORE UPDATE", &when, &self.note_new_key())
    }

    /// Refuses an id that SQLite chose outside of this device's block: the block ran out, or a program
    /// moved or deleted the counter in `sqlite_sequence`. An id that the program gave has a note, save -1.
    fn after_insert(&self) -> Trigger {
        let message = format!(
            "{NO_FREE_ID} {}; nothing was written; start tt-edge so that it reserves new ids",
            self.table.name
        );
        let key = self.first_key();
        let noted = base::key_column(&self.table.key[0].0);
        let body = format!(
            "INSERT INTO {base}({noted}, _existed, _at) SELECT NEW.{key}, 0, {NOW} WHERE NEW.{key} = -1 {}; \
             SELECT RAISE(ABORT, {}) WHERE NOT EXISTS (SELECT 1 FROM {base} WHERE {noted} = NEW.{key});",
            self.touch(),
            text(&message),
            base = self.base(),
        );
        self.trigger("id", "AFTER INSERT", &self.stale("NEW"), &body)
    }

    /// Notes the row as it is, with the values that the statement is about to change.
    fn note_old(&self) -> String {
        let values: Vec<_> =
            self.table.ordered().iter().map(|column| format!("OLD.{}", ident(&column.name))).collect();
        format!(
            "INSERT INTO {}({}, _existed, _at) VALUES ({}, 1, {NOW}) {};",
            self.base(),
            base::columns(self.table).join(", "),
            values.join(", "),
            self.touch()
        )
    }

    /// Notes what is at the key that the statement is about to fill: a row that it would replace, in its
    /// own spelling of the key, or nothing.
    fn note_new_key(&self) -> String {
        let keys = self.keys().map(|key| format!("ifnull(t.{key}, {})", self.new_value(&key)));
        let others = self.table.ordered().into_iter().skip(self.table.key.len());
        let values: Vec<_> = keys.chain(others.map(|column| format!("t.{}", ident(&column.name)))).collect();
        format!(
            "INSERT INTO {}({}, _existed, _at) SELECT {}, t.{} IS NOT NULL, {NOW} \
             FROM (SELECT 1) LEFT JOIN {} AS t ON {} WHERE 1 {};",
            self.base(),
            base::columns(self.table).join(", "),
            values.join(", "),
            self.first_key(),
            ident(&self.table.name),
            self.at_new_key(),
            self.touch()
        )
    }

    fn touch(&self) -> String {
        let keys: Vec<_> = self.table.key_names().map(base::key_column).collect();
        format!("ON CONFLICT({}) DO UPDATE SET _at = excluded._at", keys.join(", "))
    }

    /// True for a row that is not among the fresh ones of this device's block.
    fn stale(&self, row: &str) -> String {
        if !self.table.rowid_key {
            let given: Vec<_> = self.keys().map(|key| format!("{row}.{key} IS NOT NULL")).collect();
            return given.join(" AND ");
        }
        format!(
            "NOT EXISTS (SELECT 1 FROM _sync_table WHERE tid = {} AND {row}.{} BETWEEN lo AND hi)",
            self.tid,
            self.first_key()
        )
    }

    /// A row with NULL in its key cannot be named on another node, so it is not noted.
    fn new_key_given(&self) -> String {
        let given: Vec<_> = self.keys().map(|key| format!("{} IS NOT NULL", self.new_value(&key))).collect();
        given.join(" AND ")
    }

    fn at_new_key(&self) -> String {
        let pair = |(name, collation): &(String, String)| {
            let key = ident(name);
            format!("t.{key} = {}{}", self.new_value(&key), self.collate(collation))
        };
        self.table.key.iter().map(pair).collect::<Vec<_>>().join(" AND ")
    }

    fn same_key(&self, one: &str, other: &str) -> String {
        let pair = |(name, collation): &(String, String)| {
            format!("{one}.{0} IS {other}.{0}{1}", ident(name), self.collate(collation))
        };
        self.table.key.iter().map(pair).collect::<Vec<_>>().join(" AND ")
    }

    fn collate(&self, collation: &str) -> String {
        if self.table.rowid_key { String::new() } else { format!(" COLLATE {}", ident(collation)) }
    }

    /// What a quoted column will hold. Where REPLACE meets NULL in a NOT NULL column, SQLite puts the
    /// default in its place, and only after the BEFORE triggers.
    fn new_value(&self, quoted: &str) -> String {
        let column = self.table.columns.iter().find(|column| ident(&column.name) == quoted);
        let filled = column.filter(|column| column.not_null && !self.table.rowid_key_is(&column.name));
        match filled.and_then(|column| column.default.as_ref()) {
            Some(sql) => format!("ifnull(NEW.{quoted}, {})", default::expression(sql)),
            None => format!("NEW.{quoted}"),
        }
    }

    fn trigger(&self, suffix: &str, event: &str, when: &str, body: &str) -> Trigger {
        let name = format!("_sync_{}_{suffix}", self.table.name);
        let sql = format!(
            "CREATE TRIGGER {} {event} ON {} WHEN {when} BEGIN {body} END",
            ident(&name),
            ident(&self.table.name)
        );
        let guards_uniques = matches!(suffix, "taken" | "unique");
        Trigger { name, sql, guards_uniques }
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

impl Table {
    fn rowid_key_is(&self, name: &str) -> bool {
        self.rowid_key && self.key_names().any(|key| key == name)
    }
}

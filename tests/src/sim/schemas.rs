//! The schemas of simulated worlds: integer, text and composite keys, NOCASE, WITHOUT ROWID, UNIQUE,
//! foreign keys with every action, odd names.
//!
//! * Every table has `tag`, a text that no other row has: it tells rows apart whatever their keys do.
//! * `batch_head` and `batch_row` are only ever inserted into, all rows of a batch in one transaction.

use tt_protocol::policy::{Policy, TableRule};

/// How the values of a key column are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// SQLite's own row number.
    Automatic,
    /// A small integer.
    Integer,
    /// A short text.
    Text,
    /// A short text, compared without case.
    Nocase,
}

/// A foreign key.
#[derive(Clone, Copy, Debug)]
pub struct Parent {
    /// Columns of the child.
    pub columns: &'static [&'static str],
    /// Place of the parent in [`Shape::tables`].
    pub table: usize,
    /// Columns of the parent.
    pub parent_columns: &'static [&'static str],
}

/// What programs know of a table.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Name as declared.
    pub name: &'static str,
    /// Key columns.
    pub key: &'static [(&'static str, KeyKind)],
    /// Columns to which programs add.
    pub counters: &'static [&'static str],
    /// A text column without rules.
    pub note: &'static str,
    /// A unique column.
    pub code: Option<&'static str>,
    /// A foreign key.
    pub parent: Option<Parent>,
}

/// One schema.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// For people.
    pub name: &'static str,
    /// The statements.
    pub sql: &'static str,
    /// Tables that programs write, parents first.
    pub tables: &'static [Table],
}

impl Shape {
    /// Counters are counters; all else follows the ordinary rule.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let rule = |table: &Table| TableRule {
            counters: table.counters.iter().map(|name| (*name).to_owned()).collect(),
            ..TableRule::ORDINARY
        };
        let tables = self.tables.iter().map(|table| (table.name.to_owned(), rule(table)));
        Policy { tables: tables.collect(), ..Policy::default() }
    }
}

/// Tables of whole batches, in every schema.
pub const BATCHES: &str = "
CREATE TABLE batch_head(id INTEGER PRIMARY KEY AUTOINCREMENT, tag TEXT, size INTEGER);
CREATE TABLE batch_row(id INTEGER PRIMARY KEY, head INTEGER REFERENCES batch_head(id), n INTEGER);
CREATE INDEX batch_row_head ON batch_row(head);";

const ID: &[(&str, KeyKind)] = &[("id", KeyKind::Automatic)];

const fn to(
    columns: &'static [&'static str],
    table: usize,
    parent_columns: &'static [&'static str],
) -> Option<Parent> {
    Some(Parent { columns, table, parent_columns })
}

/// All of them.
pub const ALL: &[Shape] = &[TABLETS, SETTINGS, SHELVES, ODD, TREE];

const TABLETS: Shape = Shape {
    name: "tablets",
    sql: "
CREATE TABLE purchase_orders(id INTEGER PRIMARY KEY AUTOINCREMENT, tag TEXT, po_number TEXT UNIQUE, note TEXT, good INTEGER DEFAULT 0);
CREATE TABLE po_lines(id INTEGER PRIMARY KEY AUTOINCREMENT, tag TEXT, po_id INTEGER REFERENCES purchase_orders(id),
  note TEXT, good INTEGER DEFAULT 0, bad INTEGER DEFAULT 0);
CREATE TABLE bags(id INTEGER PRIMARY KEY AUTOINCREMENT, tag TEXT, line_id INTEGER REFERENCES po_lines(id) ON DELETE CASCADE,
  code TEXT UNIQUE, note TEXT, good INTEGER DEFAULT 0);
INSERT INTO purchase_orders(tag, po_number) VALUES ('s1', 'a'), ('s2', 'b');
INSERT INTO po_lines(tag, po_id) VALUES ('s3', 1), ('s4', 1), ('s5', 2);
INSERT INTO bags(tag, line_id, code) VALUES ('s6', 1, 'a'), ('s7', 2, 'b'), ('s8', 2, 'c');",
    tables: &[
        Table { name: "purchase_orders", key: ID, counters: &["good"], note: "note", code: Some("po_number"), parent: None },
        Table { name: "po_lines", key: ID, counters: &["good", "bad"], note: "note", code: None, parent: to(&["po_id"], 0, &["id"]) },
        Table { name: "bags", key: ID, counters: &["good"], note: "note", code: Some("code"), parent: to(&["line_id"], 1, &["id"]) },
    ],
};

const SETTINGS: Shape = Shape {
    name: "settings",
    sql: "
CREATE TABLE app_settings(name TEXT PRIMARY KEY, tag TEXT, note TEXT, good INTEGER DEFAULT 0);
CREATE TABLE people(name TEXT PRIMARY KEY COLLATE NOCASE, tag TEXT, note TEXT, code TEXT UNIQUE COLLATE NOCASE, good INTEGER DEFAULT 0);
CREATE TABLE badges(name TEXT PRIMARY KEY, tag TEXT, owner TEXT REFERENCES people(name) ON DELETE SET NULL ON UPDATE CASCADE,
  note TEXT, good INTEGER DEFAULT 0) WITHOUT ROWID;
INSERT INTO app_settings(name, tag) VALUES ('a', 's1'), ('b', 's2');
INSERT INTO people(name, tag, code) VALUES ('a', 's3', 'a'), ('B', 's4', 'b');
INSERT INTO badges(name, tag, owner) VALUES ('a', 's5', 'A'), ('b', 's6', 'B');",
    tables: &[
        Table { name: "app_settings", key: &[("name", KeyKind::Text)], counters: &["good"], note: "note", code: None, parent: None },
        Table { name: "people", key: &[("name", KeyKind::Nocase)], counters: &["good"], note: "note", code: Some("code"), parent: None },
        Table { name: "badges", key: &[("name", KeyKind::Text)], counters: &["good"], note: "note", code: None, parent: to(&["owner"], 1, &["name"]) },
    ],
};

const SHELVES: Shape = Shape {
    name: "shelves",
    sql: "
CREATE TABLE shelf(aisle INTEGER, slot TEXT, tag TEXT, note TEXT, good INTEGER DEFAULT 0, PRIMARY KEY(aisle, slot));
CREATE TABLE bin(id INTEGER PRIMARY KEY, tag TEXT, aisle INTEGER, slot TEXT, code TEXT UNIQUE, note TEXT, good INTEGER DEFAULT 0,
  FOREIGN KEY(aisle, slot) REFERENCES shelf(aisle, slot) ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE part(kind TEXT, bin INTEGER REFERENCES bin ON DELETE CASCADE, tag TEXT, note TEXT, good INTEGER DEFAULT 0 CHECK (good < 60),
  PRIMARY KEY(kind, bin)) WITHOUT ROWID;
INSERT INTO shelf(aisle, slot, tag) VALUES (1, 'a', 's1'), (1, 'b', 's2'), (2, 'a', 's3');
INSERT INTO bin(tag, aisle, slot, code) VALUES ('s4', 1, 'a', 'a'), ('s5', 1, 'b', 'b'), ('s6', 2, 'a', 'c');
INSERT INTO part(kind, bin, tag) VALUES ('a', 1, 's7'), ('b', 1, 's8'), ('a', 2, 's9');",
    tables: &[
        Table {
            name: "shelf",
            key: &[("aisle", KeyKind::Integer), ("slot", KeyKind::Text)],
            counters: &["good"],
            note: "note",
            code: None,
            parent: None,
        },
        Table { name: "bin", key: ID, counters: &["good"], note: "note", code: Some("code"), parent: to(&["aisle", "slot"], 0, &["aisle", "slot"]) },
        Table {
            name: "part",
            key: &[("kind", KeyKind::Text), ("bin", KeyKind::Integer)],
            counters: &["good"],
            note: "note",
            code: None,
            parent: to(&["bin"], 1, &["id"]),
        },
    ],
};

const ODD: Shape = Shape {
    name: "odd names",
    sql: "
CREATE TABLE \"order\"(\"group\" INTEGER PRIMARY KEY AUTOINCREMENT, tag TEXT, \"select\" TEXT UNIQUE, \"a b\" TEXT, \"from\" INTEGER DEFAULT 0);
CREATE TABLE \"a b\"(id INTEGER PRIMARY KEY, tag TEXT, \"order\" TEXT REFERENCES \"Order\"(\"select\") ON UPDATE CASCADE ON DELETE SET NULL,
  \"it's\" TEXT, good INTEGER DEFAULT 0 CHECK (good < 60));
INSERT INTO \"order\"(tag, \"select\") VALUES ('s1', 'a'), ('s2', 'b'), ('s3', 'c');
INSERT INTO \"a b\"(tag, \"order\") VALUES ('s4', 'a'), ('s5', 'b'), ('s6', NULL);",
    tables: &[
        Table { name: "order", key: &[("group", KeyKind::Automatic)], counters: &["from"], note: "a b", code: Some("select"), parent: None },
        Table { name: "a b", key: ID, counters: &["good"], note: "it's", code: None, parent: to(&["order"], 0, &["select"]) },
    ],
};

const TREE: Shape = Shape {
    name: "tree",
    sql: "
CREATE TABLE node(id INTEGER PRIMARY KEY AUTOINCREMENT, tag TEXT, up INTEGER REFERENCES node(id) ON DELETE CASCADE,
  code TEXT UNIQUE, note TEXT, good INTEGER DEFAULT 0);
CREATE TABLE leaf(id INTEGER PRIMARY KEY AUTOINCREMENT, tag TEXT, node_code TEXT REFERENCES node(code) ON UPDATE CASCADE,
  note TEXT, good INTEGER DEFAULT 0);
INSERT INTO node(tag, up, code) VALUES ('s1', NULL, 'a'), ('s2', 1, 'b'), ('s3', 2, 'c');
INSERT INTO leaf(tag, node_code) VALUES ('s4', 'a'), ('s5', 'b');",
    tables: &[
        Table { name: "node", key: ID, counters: &["good"], note: "note", code: Some("code"), parent: to(&["up"], 0, &["id"]) },
        Table { name: "leaf", key: ID, counters: &["good"], note: "note", code: None, parent: to(&["node_code"], 0, &["code"]) },
    ],
};

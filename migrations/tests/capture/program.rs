//! A program that writes random SQL: every way of changing a row that SQLite has, on whatever tables the
//! schema holds. Most statements collide with something; that they fail is part of the test.

use crate::dice::Dice;
use rusqlite::Connection;
use tt_migrations::quote::{ident, text};
use tt_migrations::shape::{Schema, Table};

const CLAUSES: &[&str] =
    &["", "", "OR REPLACE ", "OR REPLACE ", "OR IGNORE ", "OR FAIL ", "OR ROLLBACK ", "OR ABORT "];
const VALUES: &[&str] = &[
    "NULL",
    "1",
    "2",
    "3",
    "4",
    "1",
    "2",
    "'a'",
    "'A'",
    "'b'",
    "'a '",
    "'ä'",
    "'2'",
    "1.0",
    "2.5",
    "-0.0",
    "x'61'",
    "0",
    "'a'",
    "'B'",
    "9007199254740993",
    "''",
];

/// Writes statements for the tables of one schema.
pub(crate) struct Program {
    tables: Vec<Table>,
}

impl Program {
    pub(crate) fn new(conn: &Connection) -> Self {
        let tables = Schema::read(conn).expect("schema").tables.into_values();
        Self { tables: tables.filter(|table| !table.key.is_empty()).collect() }
    }

    /// One statement, or one group of them that belongs together.
    pub(crate) fn statement(&self, dice: &mut Dice) -> String {
        let table = &self.tables[dice.below(self.tables.len())];
        match dice.below(24) {
            0..=4 => insert(table, dice),
            5..=6 => insert_select(table, dice),
            7..=9 => upsert(table, dice),
            10..=13 => update(table, dice, false),
            14..=16 => update(table, dice, true),
            17 => swap(table, dice),
            18..=20 => format!("DELETE FROM {} WHERE {}", ident(&table.name), condition(table, dice)),
            21 => format!(
                "SAVEPOINT s; {}; {}; ROLLBACK TO s; RELEASE s",
                insert(table, dice),
                update(table, dice, true)
            ),
            22 => format!("SAVEPOINT s; {}; RELEASE s", update(table, dice, false)),
            _ => dice.pick(&["BEGIN", "COMMIT", "ROLLBACK", "BEGIN IMMEDIATE", "COMMIT"]).to_owned(),
        }
    }

    /// What an administrator does now and then.
    pub(crate) fn upkeep(dice: &mut Dice) -> &'static str {
        dice.pick(&[
            "VACUUM",
            "PRAGMA wal_checkpoint(TRUNCATE)",
            "PRAGMA journal_mode = WAL",
            "PRAGMA journal_mode = DELETE",
            "REINDEX",
            "ANALYZE",
            "PRAGMA recursive_triggers = ON",
            "PRAGMA recursive_triggers = OFF",
        ])
    }
}

/// Columns of an insert with their values; the key is left out where SQLite can choose it.
fn row(table: &Table, dice: &mut Dice) -> (Vec<String>, Vec<String>) {
    let automatic = table.rowid_key && dice.chance(60);
    let mut names = Vec::new();
    let mut values = Vec::new();
    for column in &table.columns {
        let is_key = table.key_names().any(|name| name == column.name);
        if (is_key && automatic) || (!is_key && dice.chance(15)) {
            continue;
        }
        names.push(ident(&column.name));
        values.push(value(table, &column.name, dice));
    }
    if names.is_empty() {
        names.push(ident(&table.columns[0].name));
        values.push(value(table, &table.columns[0].name, dice));
    }
    (names, values)
}

fn insert(table: &Table, dice: &mut Dice) -> String {
    let (names, values) = row(table, dice);
    let clause = dice.pick(CLAUSES);
    format!("INSERT {clause}INTO {}({}) VALUES ({})", ident(&table.name), names.join(", "), values.join(", "))
}

/// Several rows at once, made from the table's own.
fn insert_select(table: &Table, dice: &mut Dice) -> String {
    let (names, mut values) = row(table, dice);
    for (value, name) in values.iter_mut().zip(&names) {
        if dice.chance(60) {
            *value = dice.pick(&[name.as_str(), "n", "'a' || n", "n + 2", "-n"]).to_owned();
        }
    }
    let name = ident(&table.name);
    let limit = 1 + dice.below(4);
    let source = format!("(SELECT *, row_number() OVER () AS n FROM {name} LIMIT {limit})");
    format!(
        "INSERT {}INTO {name}({}) SELECT {} FROM {source}",
        dice.pick(CLAUSES),
        names.join(", "),
        values.join(", ")
    )
}

fn upsert(table: &Table, dice: &mut Dice) -> String {
    let (names, values) = row(table, dice);
    let column = &table.columns[dice.below(table.columns.len())].name;
    let set = dice.pick(&["excluded.", ""]);
    let keys: Vec<_> =
        table.key.iter().map(|(name, collation)| format!("{} COLLATE {collation}", ident(name))).collect();
    let target = if dice.chance(50) { format!("({})", keys.join(", ")) } else { String::new() };
    let action = match dice.below(3) {
        0 => "NOTHING".to_owned(),
        1 => format!("UPDATE SET {0} = {set}{0}", ident(column)),
        _ => format!("UPDATE SET {} = {}", ident(column), value(table, column, dice)),
    };
    let clause = dice.pick(CLAUSES);
    let name = ident(&table.name);
    format!(
        "INSERT {clause}INTO {name}({}) VALUES ({}) ON CONFLICT {target} DO {action}",
        names.join(", "),
        values.join(", ")
    )
}

fn update(table: &Table, dice: &mut Dice, with_key: bool) -> String {
    let mut sets = Vec::new();
    for column in &table.columns {
        let is_key = table.key_names().any(|name| name == column.name);
        if is_key == with_key && dice.chance(if is_key { 80 } else { 45 }) {
            let name = if is_key && table.rowid_key && table.column("rowid").is_none() && dice.chance(40) {
                "rowid".to_owned()
            } else {
                ident(&column.name)
            };
            let change =
                if dice.chance(25) { format!("{name} + 1") } else { value(table, &column.name, dice) };
            sets.push(format!("{name} = {change}"));
        }
    }
    if sets.is_empty() {
        let name = ident(&table.columns[table.columns.len() - 1].name);
        sets.push(format!("{name} = {name}"));
    }
    let name = ident(&table.name);
    format!("UPDATE {}{name} SET {} WHERE {}", dice.pick(CLAUSES), sets.join(", "), condition(table, dice))
}

/// Exchanges two values of one column through a third, or both at once.
fn swap(table: &Table, dice: &mut Dice) -> String {
    let column = &table.columns[dice.below(table.columns.len())].name;
    let (name, quoted) = (ident(&table.name), ident(column));
    let (one, other) = (value(table, column, dice), value(table, column, dice));
    if dice.chance(50) {
        let clause = dice.pick(CLAUSES);
        return format!(
            "UPDATE {clause}{name} SET {quoted} = CASE {quoted} WHEN {one} THEN {other} ELSE {one} END WHERE {quoted} IN ({one}, {other})"
        );
    }
    let through = if table.rowid_key { "987654" } else { "'through'" };
    let step = |to: &str, from: &str| format!("UPDATE {name} SET {quoted} = {to} WHERE {quoted} = {from}");
    format!("{}; {}; {}", step(through, &one), step(&one, &other), step(&other, through))
}

fn condition(table: &Table, dice: &mut Dice) -> String {
    let column = &table.columns[dice.below(table.columns.len())].name;
    let quoted = ident(column);
    match dice.below(8) {
        0..=3 => format!("{quoted} IS {}", value(table, column, dice)),
        4 => format!("{quoted} >= {}", value(table, column, dice)),
        5 => format!("length(quote({quoted})) % 3 = {}", dice.below(3)),
        6 => format!("{quoted} IS NOT NULL"),
        _ => {
            let key = ident(&table.key[0].0);
            format!("{key} = (SELECT max({key}) FROM {})", ident(&table.name))
        }
    }
}

/// A value for this column: from a small pool, or one that a row holds already.
fn value(table: &Table, column: &str, dice: &mut Dice) -> String {
    let from = |table: &str, column: &str, dice: &mut Dice| {
        format!(
            "(SELECT {} FROM {} ORDER BY 1 LIMIT 1 OFFSET {})",
            ident(column),
            ident(table),
            dice.below(4)
        )
    };
    for key in &table.foreign_keys {
        if let Some(at) = key.columns.iter().position(|name| name == column)
            && dice.chance(70)
        {
            return from(&key.parent, &key.parent_columns[at], dice);
        }
    }
    if table.rowid_key && table.key[0].0 == column {
        return id(table, dice);
    }
    if dice.chance(20) { from(&table.name, column, dice) } else { dice.pick(VALUES).to_owned() }
}

fn id(table: &Table, dice: &mut Dice) -> String {
    let key = ident(&table.key[0].0);
    let own = format!("FROM _sync_table WHERE name = {}", text(&table.name));
    match dice.below(16) {
        0..=4 => (1 + dice.below(12)).to_string(),
        5 => "-1".to_owned(),
        6 => "-5".to_owned(),
        7 => "NULL".to_owned(),
        8..=10 => format!(
            "(SELECT {key} FROM {} ORDER BY {key} DESC LIMIT 1 OFFSET {})",
            ident(&table.name),
            dice.below(5)
        ),
        11..=12 => format!("(SELECT lo + {} {own})", dice.below(8)),
        13 => format!("(SELECT lo - {} {own})", 1 + dice.below(4)),
        14 if dice.chance(10) => format!("(SELECT hi - {} {own})", dice.below(3)),
        15 if dice.chance(5) => "1099511627776".to_owned(),
        _ => "'6'".to_owned(),
    }
}

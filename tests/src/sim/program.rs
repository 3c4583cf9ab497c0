//! Programs: random transactions of ordinary SQL on one node, sometimes rolled back, each booked in the
//! ledger when it commits.

use super::ledger::{Ledger, rows};
use super::random::Random;
use super::schemas::{KeyKind, Shape, Table};
use rusqlite::Connection;
use tt_migrations::quote::{ident, text};

/// How wild the programs of a world are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temper {
    /// Nothing that two nodes do can clash: the conflict list must stay empty.
    Quiet,
    /// Everything.
    Wild,
}

/// The programs of one node.
pub struct Programs<'w> {
    /// The node: 0 is the hub.
    pub node: usize,
    /// The schema.
    pub shape: &'w Shape,
    /// How wild they are.
    pub temper: Temper,
    /// Numbers the tags of the world.
    pub next_tag: &'w mut u64,
}

impl Programs<'_> {
    /// One transaction.
    ///
    /// # Panics
    /// When the file cannot be read.
    pub fn transaction(&mut self, conn: &Connection, random: &mut Random, ledger: &mut Ledger) {
        conn.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes now");
        let before = rows(conn, self.shape);
        let mut automatic = Vec::new();
        let mut batches = 0;
        for _ in 0..=random.below(3) {
            if random.once_in(8) {
                batches += self.batch(conn, random);
            } else {
                self.statement(conn, random, &mut automatic);
            }
        }
        let after = rows(conn, self.shape);
        if random.once_in(8) || conn.execute_batch("COMMIT").is_err() {
            conn.execute_batch("ROLLBACK").expect("rolls back");
            return;
        }
        ledger.book(&before, &after);
        ledger.batches += batches;
        for place in automatic {
            let other = ledger.automatic.insert(place, self.node);
            assert_eq!(other, None, "automatic id {place:?} was handed out twice");
        }
    }

    fn tag(&mut self) -> String {
        *self.next_tag += 1;
        format!("n{}-{}", self.node, self.next_tag)
    }

    /// A batch, rarely so large that it needs several pieces.
    fn batch(&mut self, conn: &Connection, random: &mut Random) -> u64 {
        let size = if random.once_in(60) { 4_000 + random.below(6_000) } else { 1 + random.below(6) };
        let sql = format!("INSERT INTO batch_head(tag, size) VALUES ({}, {size})", text(&self.tag()));
        conn.execute_batch(&sql).expect("inserts");
        let sql = format!(
            "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < {size})
             INSERT INTO batch_row(head, n) SELECT last_insert_rowid(), i FROM c"
        );
        conn.execute_batch(&sql).expect("inserts");
        1
    }

    /// One statement or a few that belong together. That it fails is as good: programs meet constraints.
    fn statement(&mut self, conn: &Connection, random: &mut Random, automatic: &mut Vec<(usize, i64)>) {
        let place = usize::try_from(random.below(self.shape.tables.len() as u64)).expect("few");
        let table = &self.shape.tables[place];
        let kinds = if self.temper == Temper::Quiet { 12 } else { 22 };
        let sql = match random.below(kinds) {
            0..=3 => {
                let (sql, chosen) = self.insert(conn, table, random, "");
                if conn.execute_batch(&sql).is_ok() && chosen {
                    automatic.push((place, conn.last_insert_rowid()));
                }
                return;
            }
            4..=7 => self.count(conn, table, random),
            8 | 9 => self.literal_total(conn, table, random),
            10 | 11 => self.note(conn, table, random),
            12 | 13 => self.insert(conn, table, random, "OR REPLACE ").0,
            14 => self.upsert(conn, table, random),
            15 | 16 => self.delete(conn, table, random),
            17 => swap(conn, table, random),
            18 => self.key_change(conn, table, random),
            19 => self.code_change(conn, table, random),
            20 => self.parent_change(conn, table, random),
            _ => format!("{}; {}", self.insert(conn, table, random, "").0, self.count(conn, table, random)),
        };
        // The first failure ends the batch; what was done before it stays, as in a careless program.
        let _ = conn.execute_batch(&sql);
    }

    /// True when SQLite chooses the key.
    fn insert(
        &mut self,
        conn: &Connection,
        table: &Table,
        random: &mut Random,
        clause: &str,
    ) -> (String, bool) {
        let quiet = self.temper == Temper::Quiet;
        let tag = self.tag();
        let mut columns = vec!["tag".to_owned()];
        let mut values = vec![text(&tag)];
        let mut chosen = false;
        let parent = table.parent.map(|parent| {
            (parent, pick(conn, &self.shape.tables[parent.table], parent.parent_columns, random))
        });
        for (name, kind) in table.key {
            let from_parent = parent.as_ref().and_then(|(parent, found)| {
                let at = parent.columns.iter().position(|column| column == name)?;
                found.as_ref()?.get(at).cloned()
            });
            let value = match (from_parent, kind) {
                (Some(value), _) => value,
                (None, KeyKind::Automatic) if quiet || !random.once_in(5) => {
                    chosen = true;
                    continue;
                }
                (None, KeyKind::Automatic) => explicit_id(conn, table, random),
                (None, KeyKind::Integer) if quiet => self.next_tag.to_string(),
                (None, KeyKind::Integer) => (1 + random.below(3)).to_string(),
                (None, _) if quiet => text(&tag),
                (None, _) => short_text(random),
            };
            columns.push(ident(name));
            values.push(value);
        }
        if let Some((parent, Some(found))) = parent {
            for (column, value) in parent.columns.iter().zip(found) {
                if !table.key.iter().any(|(name, _)| name == column) {
                    columns.push(ident(column));
                    values.push(value);
                }
            }
        }
        if let Some(code) = table.code {
            columns.push(ident(code));
            values.push(if quiet || random.once_in(3) { text(&tag) } else { short_text(random) });
        }
        for counter in table.counters {
            columns.push(ident(counter));
            values.push(random.below(9).to_string());
        }
        let sql = format!(
            "INSERT {clause}INTO {}({}) VALUES ({})",
            ident(table.name),
            columns.join(", "),
            values.join(", ")
        );
        (sql, chosen)
    }

    fn count(&self, conn: &Connection, table: &Table, random: &mut Random) -> String {
        let counter = ident(random.pick(table.counters));
        let sign = if random.once_in(4) { '-' } else { '+' };
        let amount = random.below(20);
        let condition = if random.once_in(6) && self.temper == Temper::Wild {
            "1".to_owned()
        } else {
            at_row(conn, table, random)
        };
        format!("UPDATE {} SET {counter} = {counter} {sign} {amount} WHERE {condition}", ident(table.name))
    }

    fn literal_total(&self, conn: &Connection, table: &Table, random: &mut Random) -> String {
        let condition = at_row(conn, table, random);
        let counter = ident(random.pick(table.counters));
        let sql = format!("SELECT {counter} FROM {} WHERE {condition}", ident(table.name));
        let total: i64 = conn.query_row(&sql, [], |row| row.get(0)).unwrap_or(0);
        let total = total + i64::try_from(random.below(9)).expect("small");
        format!("UPDATE {} SET {counter} = {total} WHERE {condition}", ident(table.name))
    }

    fn note(&mut self, conn: &Connection, table: &Table, random: &mut Random) -> String {
        let own = format!(" AND tag LIKE 'n{}-%'", self.node);
        let whose = if self.temper == Temper::Quiet { own.as_str() } else { "" };
        let condition = at_row(conn, table, random);
        format!(
            "UPDATE {} SET {} = {} WHERE {condition}{whose}",
            ident(table.name),
            ident(table.note),
            text(&random.below(4).to_string())
        )
    }

    fn upsert(&mut self, conn: &Connection, table: &Table, random: &mut Random) -> String {
        let key: Vec<String> = table.key.iter().map(|(name, _)| ident(name)).collect();
        let counter = ident(table.counters[0]);
        let insert = self.insert(conn, table, random, "").0;
        format!(
            "{insert} ON CONFLICT({}) DO UPDATE SET {counter} = {counter} + excluded.{counter}",
            key.join(", ")
        )
    }

    fn delete(&self, conn: &Connection, table: &Table, random: &mut Random) -> String {
        format!("DELETE FROM {} WHERE {}", ident(table.name), at_row(conn, table, random))
    }

    fn key_change(&self, conn: &Connection, table: &Table, random: &mut Random) -> String {
        let (name, kind) = random.pick(table.key);
        let value = match kind {
            KeyKind::Automatic => explicit_id(conn, table, random),
            KeyKind::Integer => (1 + random.below(3)).to_string(),
            _ => short_text(random),
        };
        let clause = if random.once_in(4) { "OR REPLACE " } else { "" };
        format!(
            "UPDATE {clause}{} SET {} = {value} WHERE {}",
            ident(table.name),
            ident(name),
            at_row(conn, table, random)
        )
    }

    fn code_change(&self, conn: &Connection, table: &Table, random: &mut Random) -> String {
        let Some(code) = table.code else {
            return self.count(conn, table, random);
        };
        let clause = if random.once_in(3) { "OR REPLACE " } else { "" };
        format!(
            "UPDATE {clause}{} SET {} = {} WHERE {}",
            ident(table.name),
            ident(code),
            short_text(random),
            at_row(conn, table, random)
        )
    }

    fn parent_change(&self, conn: &Connection, table: &Table, random: &mut Random) -> String {
        let Some(parent) = table.parent else {
            return self.count(conn, table, random);
        };
        let Some(values) = pick(conn, &self.shape.tables[parent.table], parent.parent_columns, random) else {
            return String::new();
        };
        let sets: Vec<String> = parent
            .columns
            .iter()
            .zip(values)
            .map(|(name, value)| format!("{} = {value}", ident(name)))
            .collect();
        format!("UPDATE {} SET {} WHERE {}", ident(table.name), sets.join(", "), at_row(conn, table, random))
    }
}

/// Two rows exchange their unique values.
fn swap(conn: &Connection, table: &Table, random: &mut Random) -> String {
    let Some(code) = table.code else {
        return String::new();
    };
    let read = |random: &mut Random| pick(conn, table, &[code], random).and_then(|mut found| found.pop());
    let (Some(one), Some(other)) = (read(random), read(random)) else {
        return String::new();
    };
    let (name, code) = (ident(table.name), ident(code));
    format!(
        "UPDATE {name} SET {code} = 'swap' WHERE {code} = {one}; UPDATE {name} SET {code} = {one} WHERE {code} = {other};
         UPDATE {name} SET {code} = {other} WHERE {code} = 'swap'"
    )
}

/// A small id, or what a program gets that computes the next one by itself.
fn explicit_id(conn: &Connection, table: &Table, random: &mut Random) -> String {
    if random.once_in(2) {
        return (1 + random.below(12)).to_string();
    }
    let sql = format!("SELECT COALESCE(MAX({}), 0) + 1 FROM {}", ident(table.key[0].0), ident(table.name));
    let id: i64 = conn.query_row(&sql, [], |row| row.get(0)).expect("one number");
    id.to_string()
}

fn short_text(random: &mut Random) -> String {
    text(random.pick(&["a", "A", "b", "B", "c", "d", "e"]))
}

/// A condition that names one row by its key, or none when the table is empty.
fn at_row(conn: &Connection, table: &Table, random: &mut Random) -> String {
    let names: Vec<&str> = table.key.iter().map(|(name, _)| *name).collect();
    let Some(key) = pick(conn, table, &names, random) else {
        return "0".to_owned();
    };
    let same: Vec<String> =
        names.iter().zip(key).map(|(name, value)| format!("{} = {value}", ident(name))).collect();
    same.join(" AND ")
}

/// Values of one row, as SQL literals.
fn pick(conn: &Connection, table: &Table, columns: &[&str], random: &mut Random) -> Option<Vec<String>> {
    let name = ident(table.name);
    let count: i64 =
        conn.query_row(&format!("SELECT COUNT(*) FROM {name}"), [], |row| row.get(0)).expect("one number");
    if count == 0 {
        return None;
    }
    let list: Vec<String> = columns.iter().map(|column| format!("quote({})", ident(column))).collect();
    let order: Vec<String> = table.key.iter().map(|(name, _)| ident(name)).collect();
    let sql = format!(
        "SELECT {} FROM {name} ORDER BY {} LIMIT 1 OFFSET {}",
        list.join(", "),
        order.join(", "),
        random.below(count.unsigned_abs())
    );
    conn.query_row(&sql, [], |row| (0..columns.len()).map(|at| row.get(at)).collect()).ok()
}

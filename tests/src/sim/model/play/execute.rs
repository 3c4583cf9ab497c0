//! Statements of a script on a node, and which rows they touched.

use super::super::merge::Place;
use super::super::script::{Label, Op, place_of};
use super::super::tables::{KeyKind, Table};
use super::super::values::Row;
use super::Play;
use rusqlite::{Connection, params_from_iter};
use std::collections::BTreeSet;
use tt_migrations::quote::ident;
use tt_migrations::value::{bound, copy};
use tt_protocol::value::Value;

impl Play<'_> {
    pub(super) fn operate(&mut self, node: usize, op: &Op, touched: &mut BTreeSet<Place>) {
        let done = self.execute(self.world.program(node), op);
        let Ok(id) = done else { return };
        let table = |label: &Label| self.script.labels[*label as usize];
        match op {
            Op::Insert(label, table, values, _) => {
                let chosen = || vec![Value::Integer(id)];
                let key: Row = values
                    .iter()
                    .take(self.script.tables[*table].keys())
                    .map(|(_, value)| value.clone())
                    .collect();
                let key = if self.script.tables[*table].key == KeyKind::Automatic { chosen() } else { key };
                touched.insert(place_of(&self.script.tables, *table, &key));
                self.keys.insert(*label, key);
            }
            Op::Rekey(label, to, key) => {
                touched.insert(place_of(&self.script.tables, table(label), key));
                touched
                    .extend(self.keys.get(label).map(|key| place_of(&self.script.tables, table(label), key)));
                self.keys.insert(*to, key.clone());
            }
            Op::Set(label, ..) | Op::Add(label, ..) | Op::Delete(label) => {
                touched
                    .extend(self.keys.get(label).map(|key| place_of(&self.script.tables, table(label), key)));
            }
            Op::Rotate(labels, _) => {
                for label in labels {
                    touched.extend(
                        self.keys.get(label).map(|key| place_of(&self.script.tables, table(label), key)),
                    );
                }
            }
        }
    }

    /// Gives the id of the last row that was inserted.
    pub(super) fn execute(&self, conn: &Connection, op: &Op) -> rusqlite::Result<i64> {
        let of = |label: &Label| &self.script.tables[self.script.labels[*label as usize]];
        let key = |label: &Label| self.keys.get(label).cloned().unwrap_or_default();
        match op {
            Op::Insert(_, table, values, replace) => {
                let table = &self.script.tables[*table];
                let names: Vec<String> =
                    values.iter().map(|(place, _)| ident(table.columns[*place].name)).collect();
                let marks = vec!["?"; names.len()].join(", ");
                let clause = if *replace { "OR REPLACE " } else { "" };
                let sql =
                    format!("INSERT {clause}INTO {}({}) VALUES ({marks})", table.name, names.join(", "));
                run(conn, &sql, values.iter().map(|(_, value)| value))?;
            }
            Op::Set(label, sets, replace) => {
                let clause = if *replace { "OR REPLACE " } else { "" };
                update(conn, of(label), clause, sets, &key(label))?;
            }
            Op::Add(label, column, amount) => {
                let (table, key) = (of(label), key(label));
                let name = ident(table.columns[*column].name);
                let sql =
                    format!("UPDATE {} SET {name} = ifnull({name}, 0) + ? WHERE {}", table.name, at(table));
                if !key.is_empty() {
                    run(conn, &sql, std::iter::once(amount).chain(&key))?;
                }
            }
            Op::Delete(label) => {
                let (table, key) = (of(label), key(label));
                if !key.is_empty() {
                    run(conn, &format!("DELETE FROM {} WHERE {}", table.name, at(table)), &key)?;
                }
            }
            Op::Rotate(labels, column) => self.rotate(conn, labels, *column)?,
            Op::Rekey(label, _, new) => {
                let sets: Vec<_> = new.iter().cloned().enumerate().collect();
                if update(conn, of(label), "", &sets, &key(label))? == 0 {
                    return Err(rusqlite::Error::QueryReturnedNoRows);
                }
            }
        }
        Ok(conn.last_insert_rowid())
    }

    pub(super) fn rotate(&self, conn: &Connection, labels: &[Label], column: usize) -> rusqlite::Result<()> {
        let table = &self.script.tables[self.script.labels[labels[0] as usize]];
        let name = ident(table.columns[column].name);
        let mut rows = Vec::new();
        for key in labels.iter().filter_map(|label| self.keys.get(label)) {
            let sql = format!("SELECT {name} FROM {} WHERE {}", table.name, at(table));
            let mut statement = conn.prepare_cached(&sql)?;
            let mut found = statement.query(params_from_iter(bound(key.iter().map(Value::as_ref))))?;
            if let Some(row) = found.next()? {
                rows.push((key, copy(row, 0, 1)?.remove(0)));
            }
        }
        conn.execute_batch("SAVEPOINT rotate")?;
        let turned = rows
            .iter()
            .try_for_each(|(key, _)| update(conn, table, "", &[(column, Value::Null)], key).map(drop));
        let turned = turned.and_then(|()| {
            let values = rows.iter().map(|(_, value)| value).cycle().skip(1);
            rows.iter().zip(values).try_for_each(|((key, _), value)| {
                update(conn, table, "", &[(column, value.clone())], key).map(drop)
            })
        });
        conn.execute_batch(if turned.is_ok() {
            "RELEASE rotate"
        } else {
            "ROLLBACK TO rotate; RELEASE rotate"
        })?;
        turned
    }
}

fn run<'v>(
    conn: &Connection,
    sql: &str,
    values: impl IntoIterator<Item = &'v Value>,
) -> rusqlite::Result<usize> {
    conn.prepare_cached(sql)?.execute(params_from_iter(bound(values.into_iter().map(Value::as_ref))))
}

fn update(
    conn: &Connection,
    table: &Table,
    clause: &str,
    sets: &[(usize, Value)],
    key: &Row,
) -> rusqlite::Result<usize> {
    if key.is_empty() {
        return Ok(0);
    }
    let names: Vec<String> =
        sets.iter().map(|(place, _)| format!("{} = ?", ident(table.columns[*place].name))).collect();
    let sql = format!("UPDATE {clause}{} SET {} WHERE {}", table.name, names.join(", "), at(table));
    run(conn, &sql, sets.iter().map(|(_, value)| value).chain(key))
}

fn at(table: &Table) -> String {
    let names = table.columns.iter().take(table.keys()).map(|column| format!("{} = ?", ident(column.name)));
    names.collect::<Vec<_>>().join(" AND ")
}

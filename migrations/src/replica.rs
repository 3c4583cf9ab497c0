//! The replicated tables of one file, with the SQL that reads and writes their rows.
//!
//! A [`Replica`] is read once per shape of the file and then shared; `schema_version` tells when it is
//! out of date. Columns are always named: two nodes may hold them in another order.

use crate::quote::ident;
use crate::row::Row;
use crate::shape::{Schema, Table};
use rusqlite::{Connection, OptionalExtension as _, Result};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use tt_protocol::change::TableChange;
use tt_protocol::policy::Policy;
use tt_protocol::value::Value;

/// A table with a primary key that the policy replicates.
#[derive(Clone, Debug)]
pub struct Tracked {
    /// Its shape.
    pub table: Table,
    /// Its number in `_sync_table`.
    pub tid: i64,
    /// Names of the columns, key first.
    pub names: Vec<String>,
    /// `SELECT` of all columns, key first, for one key.
    pub select: String,
    /// `INSERT` of all columns, key first.
    pub insert: String,
    /// `DELETE` of one key.
    pub delete: String,
}

/// All replicated tables of a file.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    /// `PRAGMA schema_version` when this was read.
    pub schema_version: i64,
    /// The whole schema, with tables that are not replicated.
    pub schema: Schema,
    /// Replicated tables by name.
    pub tables: BTreeMap<String, Arc<Tracked>>,
    /// Tables that cannot be replicated because they have no primary key. Said loudly.
    pub keyless: Vec<String>,
    /// Tables that the policy leaves out.
    pub left_out: Vec<String>,
}

impl Tracked {
    /// A row of a change in the order of the table; NULL where the change does not have the column.
    #[must_use]
    pub fn row_of(&self, change: &TableChange, index: usize) -> Row {
        let value = |name: &String| {
            let place = change.columns.iter().position(|column| column.eq_ignore_ascii_case(name));
            place.map_or(Value::Null, |place| change.rows.get(index, place).to_owned())
        };
        self.names.iter().map(value).collect()
    }

    /// Prepares the SQL of one table.
    #[must_use]
    pub fn new(table: Table, tid: i64) -> Self {
        let names = table.ordered_names();
        let name = ident(&table.name);
        let columns = list(&names);
        let at_key = at_key(&table);
        let marks = vec!["?"; names.len()].join(", ");
        Self {
            select: format!("SELECT {columns} FROM {name} WHERE {at_key}"),
            insert: format!("INSERT INTO {name}({columns}) VALUES ({marks})"),
            delete: format!("DELETE FROM {name} WHERE {at_key}"),
            names,
            table,
            tid,
        }
    }

    /// Number of key columns.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.table.key.len()
    }

    /// True when these columns, in this order, are the primary key.
    #[must_use]
    pub fn key_is(&self, columns: &[String]) -> bool {
        self.keys() == columns.len()
            && self.names.iter().zip(columns).all(|(key, column)| key.eq_ignore_ascii_case(column))
    }

    /// `UPDATE` of the named columns for one key: their values are bound first, then the key.
    #[must_use]
    pub fn update(&self, columns: &[&str]) -> String {
        let sets: Vec<_> = columns.iter().map(|name| format!("{} = ?", ident(name))).collect();
        format!("UPDATE {} SET {} WHERE {}", ident(&self.table.name), sets.join(", "), at_key(&self.table))
    }

    /// `INSERT … ON CONFLICT(key) DO UPDATE` of the named columns, which begin with the key. The conflict
    /// target is named, so that a clash in another unique column is an error and never a mixed row.
    #[must_use]
    pub fn upsert(&self, columns: &[String]) -> String {
        let keys: Vec<_> = self.table.key_names().map(ident).collect();
        let skip = if self.table.rowid_key { 1 } else { 0 };
        let sets: Vec<_> =
            columns.iter().skip(skip).map(|name| format!("{0} = excluded.{0}", ident(name))).collect();
        let action =
            if sets.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", sets.join(", ")) };
        format!(
            "INSERT INTO {}({}) VALUES ({}) ON CONFLICT({}) DO {action}",
            ident(&self.table.name),
            list(columns),
            vec!["?"; columns.len()].join(", "),
            keys.join(", ")
        )
    }

    /// `SELECT` of all rows, key first, in key order.
    #[must_use]
    pub fn select_all(&self) -> String {
        let keys: Vec<_> = self.table.key_names().map(ident).collect();
        format!("SELECT {} FROM {} ORDER BY {}", list(&self.names), ident(&self.table.name), keys.join(", "))
    }

    /// Place of a column in [`Tracked::names`], compared as SQLite compares names.
    #[must_use]
    pub fn place(&self, column: &str) -> Option<usize> {
        self.names.iter().position(|name| name.eq_ignore_ascii_case(column))
    }
}

impl Replica {
    /// The replicated tables as they were installed, without installing anything. A table that a program
    /// has just made is not among them: the daemon adopts it with the next cut.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn look(conn: &Connection, policy: &Policy) -> Result<Self> {
        let schema = Schema::read(conn)?;
        let schema_version = conn.pragma_query_value(None, "schema_version", |row| row.get(0))?;
        let mut replica = Self { schema_version, ..Self::default() };
        for table in schema.tables.values() {
            let name = table.name.clone();
            if !policy.table(&name).replicate {
                replica.left_out.push(name);
            } else if table.key.is_empty() {
                replica.keyless.push(name);
            } else {
                let sql = "SELECT tid FROM _sync_table WHERE name = ?1 COLLATE NOCASE";
                let tid: Option<i64> = conn.query_row(sql, [&name], |row| row.get(0)).optional()?;
                if let Some(tid) = tid {
                    replica.tables.insert(name, Arc::new(Tracked::new(table.clone(), tid)));
                }
            }
        }
        Ok(Self { schema, ..replica })
    }

    /// A short name for the shape of the replicated tables: equal for equal tables, columns and keys,
    /// whatever their order in the file.
    #[must_use]
    pub fn name(&self) -> String {
        let mut hasher = Sha256::new();
        for tracked in self.tables.values() {
            let mut columns: Vec<_> =
                tracked.table.columns.iter().map(|column| column.name.to_lowercase()).collect();
            columns.sort();
            let keys: Vec<_> = tracked.table.key_names().map(str::to_lowercase).collect();
            let name = tracked.table.name.to_lowercase();
            hasher.update(format!("{name}\n{}\n{}\n", keys.join("\t"), columns.join("\t")));
        }
        data_encoding::HEXLOWER.encode(&hasher.finalize()[..4])
    }

    /// A replicated table, compared as SQLite compares names.
    #[must_use]
    pub fn get(&self, table: &str) -> Option<&Arc<Tracked>> {
        self.tables
            .get(table)
            .or_else(|| self.tables.values().find(|tracked| tracked.table.name.eq_ignore_ascii_case(table)))
    }
}

/// Quoted names with commas.
#[must_use]
pub fn list(names: &[String]) -> String {
    names.iter().map(|name| ident(name)).collect::<Vec<_>>().join(", ")
}

/// The key's own collation decides which row is meant, whatever the column's is.
fn at_key(table: &Table) -> String {
    let one = |(name, collation): &(String, String)| {
        if table.rowid_key {
            format!("{} = ?", ident(name))
        } else {
            format!("{} = ? COLLATE {}", ident(name), ident(collation))
        }
    };
    table.key.iter().map(one).collect::<Vec<_>>().join(" AND ")
}

//! Joins a file that a program already uses, in one transaction and without moving the file.
//!
//! * Equal rows are nothing. Rows that the hub lacks, and rows that differ, become the first changeset:
//!   the hub takes the ones and lists the others. Rows that the file lacks are not deletes.
//! * Columns that the file lacks are no difference: it gets them with the hub's values.
//! * Where both have a row under one key, the hub's stays. A row of the file that has a unique value of
//!   a hub's row steps aside, with its children, until the hub has decided: it is in the changeset.

use super::{JoinError, Joined, count, policy_of, rows, sqlite};
use crate::clock;
use crate::store;
use rusqlite::{Connection, TransactionBehavior, params_from_iter};
use std::path::Path;
use tt_migrations::capture::install::install;
use tt_migrations::follow;
use tt_migrations::progress::{Progress, Unit};
use tt_migrations::quote::ident;
use tt_migrations::replica::{Tracked, list};
use tt_migrations::row::{self, Key, Refusal, refusal};
use tt_migrations::shape::{Schema, Table};
use tt_migrations::value::{bound, copy};
use tt_migrations::{connection, outbox, state};
use tt_protocol::change::Kind;
use tt_protocol::number::{EdgeId, Seq, Version};
use tt_protocol::pieces::PieceBuilder;
use tt_protocol::policy::Policy;
use tt_protocol::value::{Value, ValueRef};

pub(super) fn join(
    db: &Path,
    snapshot: &Path,
    device: EdgeId,
    progress: &dyn Progress,
) -> Result<Joined, JoinError> {
    let policy = policy_of(snapshot)?;
    let hub = Connection::open(snapshot).map_err(|source| sqlite(snapshot, source))?;
    let mut conn = connection::open(db).map_err(|source| sqlite(db, source))?;
    let failed = |source| sqlite(db, source);
    conn.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let joined = Meeting { local: &tx, hub: &hub, policy: &policy, db, progress }.run(device)?;
    tx.commit().map_err(failed)?;
    Ok(joined)
}

struct Meeting<'m> {
    local: &'m Connection,
    hub: &'m Connection,
    policy: &'m Policy,
    db: &'m Path,
    progress: &'m dyn Progress,
}

impl Meeting<'_> {
    fn run(&self, device: EdgeId) -> Result<Joined, JoinError> {
        let hub_schema = Schema::read(self.hub).map_err(|source| sqlite(self.db, source))?;
        let before = Schema::read(self.local).map_err(|source| sqlite(self.db, source))?;
        self.fit_schema(&hub_schema)?;
        let local_schema = Schema::read(self.local).map_err(|source| sqlite(self.db, source))?;
        let shared = self.shared(&hub_schema, &local_schema)?;
        let (pieces, offered) = self.meet(&shared, &before).map_err(|source| sqlite(self.db, source))?;
        self.local.execute_batch(outbox::TABLES).map_err(|source| sqlite(self.db, source))?;
        let replica = install(self.local, self.policy, device).map_err(store::StoreError::from)?.replica;
        for table in hub_schema.tables.values() {
            follow::declared(self.local, &follow::definition(table))
                .map_err(|source| sqlite(self.db, source))?;
        }
        let version =
            self.settle_state(device, &pieces, offered).map_err(|source| sqlite(self.db, source))?;
        let rows = rows(self.local, &replica).map_err(|source| sqlite(self.db, source))?;
        Ok(Joined { version, rows, offered, keyless: replica.keyless })
    }

    /// Tables and columns that the hub has and the file lacks are made.
    fn fit_schema(&self, hub: &Schema) -> Result<(), JoinError> {
        let local = Schema::read(self.local).map_err(|source| sqlite(self.db, source))?;
        for table in hub.tables.values() {
            match local.table(&table.name) {
                None => self.create(table).map_err(|source| sqlite(self.db, source))?,
                Some(own) => self.add_columns(table, own)?,
            }
        }
        Ok(())
    }

    fn create(&self, table: &Table) -> rusqlite::Result<()> {
        let sql = "SELECT sql FROM sqlite_schema WHERE tbl_name = ?1 AND type IN ('table', 'index')
                   AND sql IS NOT NULL ORDER BY type DESC";
        let texts: Vec<String> = self
            .hub
            .prepare(sql)?
            .query_map([&table.name], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        texts.iter().try_for_each(|text| self.local.execute_batch(text))
    }

    fn add_columns(&self, table: &Table, own: &Table) -> Result<(), JoinError> {
        for column in table.columns.iter().filter(|column| own.column(&column.name).is_none()) {
            let default = column.default.as_ref().map(|sql| format!(" DEFAULT {sql}")).unwrap_or_default();
            let sql = format!(
                "ALTER TABLE {} ADD COLUMN {} {}{default}",
                ident(&own.name),
                ident(&column.name),
                column.declared
            );
            self.local.execute_batch(&sql).map_err(|error| JoinError::Shape {
                table: table.name.clone(),
                problem: format!("column \"{}\" cannot be added ({error})", column.name),
            })?;
        }
        Ok(())
    }

    /// Replicated tables in both files' shapes; the keys must be the same.
    fn shared(&self, hub: &Schema, local: &Schema) -> Result<Vec<(Tracked, Tracked)>, JoinError> {
        let mut shared = Vec::new();
        for table in local.tables.values().filter(|table| self.policy.table(&table.name).replicate) {
            let Some(theirs) = hub.table(&table.name) else {
                continue;
            };
            if table.key.is_empty() {
                continue;
            }
            let same = table
                .key_names()
                .map(str::to_ascii_lowercase)
                .eq(theirs.key_names().map(str::to_ascii_lowercase));
            if !same {
                let problem = "it has another primary key".to_owned();
                return Err(JoinError::Shape { table: table.name.clone(), problem });
            }
            shared.push((Tracked::new(table.clone(), 0), Tracked::new(theirs.clone(), 0)));
        }
        Ok(shared)
    }

    fn meet(&self, shared: &[(Tracked, Tracked)], before: &Schema) -> rusqlite::Result<(Vec<Vec<u8>>, u64)> {
        let mut total = 0;
        for (own, theirs) in shared {
            total += count(self.local, own)? + count(self.hub, theirs)?;
        }
        self.progress.phase("comparing rows", Some(total), Unit::Rows);
        let mut builder = PieceBuilder::default();
        for (own, theirs) in shared {
            let known = |name: &String| {
                before.table(&own.table.name).is_some_and(|table| table.column(name).is_some())
            };
            let known: Vec<bool> = own.names.iter().map(known).collect();
            self.offer(own, theirs, &known, &mut builder)?;
        }
        for (own, theirs) in shared {
            self.take_over(own, theirs)?;
        }
        self.step_aside(shared)?;
        let offered = builder.rows();
        Ok((builder.finish(), offered))
    }

    /// Own rows that the hub does not have exactly so go into the changeset, as far as the file knows
    /// their columns (`known`); those that it has under the same key leave the file.
    fn offer(
        &self,
        own: &Tracked,
        theirs: &Tracked,
        known: &[bool],
        builder: &mut PieceBuilder,
    ) -> rusqlite::Result<()> {
        let now = clock::now().0;
        let names: Vec<&str> = of_known(own.names.iter(), known).map(String::as_str).collect();
        let mut leaving: Vec<Key> = Vec::new();
        let mut statement = self.local.prepare(&own.select_all())?;
        let mut rows = statement.query([])?;
        while let Some(found) = rows.next()? {
            self.progress.advance(1);
            let mine = copy(found, 0, own.names.len())?;
            let key: Key = mine.iter().take(own.keys()).cloned().collect();
            let hub = row::read(self.hub, theirs, &key)?;
            if hub.as_ref().is_some_and(|hub| equal(own, &mine, theirs, hub)) {
                continue;
            }
            let same = hub.as_ref().is_some_and(|hub| equal_where(known, own, &mine, theirs, hub));
            if !same {
                let row = of_known(mine.iter(), known).map(Value::as_ref).chain([ValueRef::Integer(now)]);
                builder.push(Kind::Insert, &own.table.name, own.keys(), &names, row);
            }
            if hub.is_some() {
                leaving.push(key);
            }
        }
        drop(rows);
        leaving.iter().try_for_each(|key| row::delete(self.local, own, key))
    }

    /// The hub's rows that are not in the file now go into it.
    fn take_over(&self, own: &Tracked, theirs: &Tracked) -> rusqlite::Result<()> {
        let sql = format!("SELECT {} FROM {}", list(&theirs.names), ident(&theirs.table.name));
        let mut statement = self.hub.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(found) = rows.next()? {
            self.progress.advance(1);
            let hub = copy(found, 0, theirs.names.len())?;
            loop {
                let values = hub.iter().map(Value::as_ref);
                match row::insert_named(self.local, own, &theirs.names, values) {
                    Ok(()) => break,
                    Err(error) => match refusal(&error) {
                        Some(Refusal::Key) => break,
                        Some(Refusal::Unique) if self.make_room(own, theirs, &hub)? => {}
                        _ => return Err(error),
                    },
                }
            }
        }
        Ok(())
    }

    /// Removes the own rows that have a unique value of the hub's row. False when there is none.
    fn make_room(&self, own: &Tracked, theirs: &Tracked, hub: &[Value]) -> rusqlite::Result<bool> {
        let mut removed = 0;
        for columns in own.table.uniques.iter().filter_map(|unique| unique.columns.as_ref()) {
            let at: Vec<_> = columns
                .iter()
                .map(|(name, how)| format!("{} = ? COLLATE {}", ident(name), ident(how)))
                .collect();
            let values: Option<Vec<&Value>> =
                columns.iter().map(|(name, _)| theirs.place(name).and_then(|place| hub.get(place))).collect();
            let Some(values) = values else { continue };
            let sql = format!("DELETE FROM {} WHERE {}", ident(&own.table.name), at.join(" AND "));
            let values = values.into_iter().map(Value::as_ref);
            removed += self.local.execute(&sql, params_from_iter(bound(values)))?;
        }
        Ok(removed > 0)
    }

    /// Own rows whose parent stepped aside step aside as well; rows that the hub has stay.
    fn step_aside(&self, shared: &[(Tracked, Tracked)]) -> rusqlite::Result<()> {
        loop {
            let mut removed = 0;
            for (own, theirs) in shared {
                for key in self.alone(own)? {
                    if row::read(self.hub, theirs, &key)?.is_none() {
                        row::delete(self.local, own, &key)?;
                        removed += 1;
                    }
                }
            }
            if removed == 0 {
                return Ok(());
            }
        }
    }

    fn alone(&self, own: &Tracked) -> rusqlite::Result<Vec<Key>> {
        let keys: Vec<_> = own.table.key_names().map(|name| format!("c.{}", ident(name))).collect();
        let mut found = Vec::new();
        for foreign in &own.table.foreign_keys {
            let given = foreign.columns.iter().map(|name| format!("c.{} IS NOT NULL", ident(name)));
            let pairs = foreign.columns.iter().zip(&foreign.parent_columns);
            let same = pairs.map(|(name, parent)| format!("p.{} = c.{}", ident(parent), ident(name)));
            let sql = format!(
                "SELECT {} FROM {} c WHERE {} AND NOT EXISTS (SELECT 1 FROM {} p WHERE {})",
                keys.join(", "),
                ident(&own.table.name),
                given.collect::<Vec<_>>().join(" AND "),
                ident(&foreign.parent),
                same.collect::<Vec<_>>().join(" AND ")
            );
            let mut statement = self.local.prepare(&sql)?;
            let rows = statement.query_map([], |row| copy(row, 0, keys.len()))?;
            found.extend(rows.collect::<rusqlite::Result<Vec<Key>>>()?);
        }
        Ok(found)
    }

    fn settle_state(&self, device: EdgeId, pieces: &[Vec<u8>], offered: u64) -> rusqlite::Result<Version> {
        for name in [state::EPOCH, state::VERSION, state::STEP] {
            state::set(self.local, name, state::get(self.hub, name)?.unwrap_or(0))?;
        }
        for name in [state::POLICY, state::FORMERS] {
            if let Some(text) = state::get_text(self.hub, name)? {
                state::set_text(self.local, name, &text)?;
            }
        }
        state::set(self.local, state::DEVICE, i64::from(device.0))?;
        state::set(self.local, state::SEQ, 0)?;
        if offered > 0 {
            outbox::cut::keep(self.local, Seq(1), pieces, offered, clock::now().0)?;
        }
        Ok(Version(state::get(self.local, state::VERSION)?.unwrap_or(0).unsigned_abs()))
    }
}

/// Equal in all columns that either of them has.
fn equal(own: &Tracked, mine: &[Value], theirs: &Tracked, hub: &[Value]) -> bool {
    own.names.len() == theirs.names.len() && equal_where(&vec![true; mine.len()], own, mine, theirs, hub)
}

/// Equal in the columns that the file knows.
fn equal_where(known: &[bool], own: &Tracked, mine: &[Value], theirs: &Tracked, hub: &[Value]) -> bool {
    of_known(own.names.iter().zip(mine), known).all(|(name, value)| {
        theirs.place(name).and_then(|place| hub.get(place)).is_some_and(|other| other == value)
    })
}

fn of_known<T>(items: impl Iterator<Item = T>, known: &[bool]) -> impl Iterator<Item = T> {
    items.zip(known).filter_map(|(item, known)| known.then_some(item))
}

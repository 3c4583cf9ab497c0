//! Steps of the hub's schema, made before the rows that need them: each in a transaction of its own, in
//! order, exactly once.
//!
//! * What programs changed before a step is cut in the same transaction, by the names of before. The
//!   feed then waits until the hub has that cut, as it waits for any.
//! * A crash between two steps leaves the file with the ones before it; the feed comes again.

use super::{EdgeStore, Feed, StoreError, Verdict, audit, cut, refresh};
use rusqlite::{Connection, TransactionBehavior};
use std::sync::Arc;
use tt_migrations::evolve::{self, EvolveError, Evolved, Site};
use tt_migrations::follow;
use tt_migrations::row::refusal;
use tt_migrations::shape::Schema;
use tt_migrations::state;
use tt_protocol::change::decode_definitions;
use tt_protocol::definition::TableDefinition;
use tt_protocol::step::{Happened, Step, decode_step};

impl EdgeStore {
    /// Makes the steps of a feed that are not made yet. The verdict, when the rows cannot follow at once.
    pub(super) fn make_steps(&mut self, feed: &Feed) -> Result<Option<Verdict>, StoreError> {
        let mut steps: Vec<Step> = Vec::new();
        for piece in &feed.pieces {
            steps.extend(decode_step(piece)?);
        }
        if steps.is_empty() {
            return Ok(None);
        }
        let last_seq = state::get(&self.conn, state::SEQ)?.unwrap_or(0).unsigned_abs();
        if self.cursor()? != feed.from || last_seq != feed.merged.0 {
            return Ok(Some(Verdict::Stale));
        }
        let mut definitions = Vec::new();
        for piece in &feed.pieces {
            definitions.extend(decode_definitions(piece)?.unwrap_or_default());
        }
        for step in steps {
            self.make_step(&step, &definitions)?;
        }
        Ok(self.cut_ahead.map(|_| Verdict::CutFirst))
    }

    fn make_step(&mut self, step: &Step, definitions: &[TableDefinition]) -> Result<(), StoreError> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let place = i64::try_from(step.place).unwrap_or(i64::MAX);
        if state::get(&tx, state::STEP)?.unwrap_or(0) >= place {
            return Ok(());
        }
        refresh(&tx, &self.policy, self.device, &mut self.replica)?;
        // The cut needs only what is in the file: its time is the notes' own, or that of the last feed.
        let now = now_of(&tx)?;
        let cut = cut::cut(&tx, &self.replica, &self.policy, self.device, now)?;
        let site = Site { conn: &tx, policy: &self.policy, device: self.device };
        let made = make(site, &step.happened, definitions)?;
        state::set(&tx, state::STEP, place)?;
        let mut replica = Arc::clone(&self.replica);
        if let Some(evolved) = made {
            for sql in &evolved.later {
                tx.execute("INSERT INTO _sync_later(sql) VALUES (?1) ON CONFLICT(sql) DO NOTHING", [sql])?;
            }
            audit::mark_changed(&tx, &evolved.replica)?;
            replica = Arc::new(evolved.replica);
        }
        state::add_formers(&tx, &step.formers)?;
        // What a program had added was told by the cut; what the step changed, the hub knows.
        follow::undeclared(&tx, replica.tables.values().map(AsRef::as_ref))?;
        tx.commit()?;
        self.replica = replica;
        for former in &step.formers {
            Arc::make_mut(&mut self.policy).follow(former);
        }
        self.cut_ahead = cut.or(self.cut_ahead);
        Ok(())
    }
}

/// The device's clock as SQLite reads it: what is cut here was written before now.
fn now_of(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("SELECT CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER)", [], |row| {
        row.get(0)
    })
}

/// Makes one step. None when the file was like the hub's already, because a program had made it so.
fn make(
    site: Site<'_>,
    happened: &Happened,
    definitions: &[TableDefinition],
) -> Result<Option<Evolved>, StoreError> {
    site.conn.execute_batch("SAVEPOINT step")?;
    let outcome = match happened {
        Happened::Migration { sql, .. } => evolve::evolve(site, sql),
        Happened::DroppedColumn { table, column } => evolve::drop_column(site, table, column),
        Happened::DroppedTable { table } => {
            evolve::evolve(site, &format!("DROP TABLE {}", tt_migrations::quote::ident(table)))
        }
    };
    match outcome {
        Ok(evolved) => {
            site.conn.execute_batch("RELEASE step")?;
            Ok(Some(evolved))
        }
        Err(error) => {
            site.conn.execute_batch("ROLLBACK TO step; RELEASE step")?;
            let is_statement = matches!(error, EvolveError::Statement { .. });
            match happened {
                Happened::Migration { .. } if is_statement && is_like(site.conn, definitions)? => Ok(None),
                Happened::DroppedColumn { .. } | Happened::DroppedTable { .. } if is_statement => {
                    // What is left of it here holds nothing that anybody else has.
                    tracing::warn!(%error, "{} stays here", what(happened));
                    Ok(None)
                }
                _ => Err(StoreError::Step { what: what(happened), source: error }),
            }
        }
    }
}

fn what(happened: &Happened) -> String {
    match happened {
        Happened::Migration { number, name, .. } => format!("the hub's migration {number} ({name})"),
        Happened::DroppedColumn { table, column } => {
            format!("the dropped column \"{column}\" of table \"{table}\"")
        }
        Happened::DroppedTable { table } => format!("the dropped table \"{table}\""),
    }
}

/// True when every table that the hub tells of is here, with the same columns.
fn is_like(conn: &Connection, definitions: &[TableDefinition]) -> rusqlite::Result<bool> {
    let schema = Schema::read(conn)?;
    let same = |definition: &TableDefinition| {
        schema.table(&definition.name).is_some_and(|own| {
            own.columns.len() == definition.columns.len()
                && definition.columns.iter().all(|column| own.column(&column.name).is_some())
        })
    };
    Ok(!definitions.is_empty() && definitions.iter().all(same))
}

/// Makes the unique indexes that had to wait for rows. True when one was made.
pub(super) fn try_later(conn: &Connection) -> rusqlite::Result<bool> {
    let waiting: Vec<String> = conn
        .prepare_cached("SELECT sql FROM _sync_later")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut made = false;
    for sql in waiting {
        match conn.execute_batch(&sql) {
            // Rows that programs have not handed in yet stand against it: the hub decides over them first.
            Err(error) if refusal(&error).is_some() => continue,
            Err(error) => tracing::warn!(%error, %sql, "an index of the hub's cannot be made here"),
            Ok(()) => made = true,
        }
        conn.execute("DELETE FROM _sync_later WHERE sql = ?1", [&sql])?;
    }
    Ok(made)
}

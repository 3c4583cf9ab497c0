//! Migrations at the hub: numbered SQL from the operator, each in one transaction, told to every edge.
//!
//! What programs wrote before is cut first, and what a migration does to rows becomes part of the same
//! version as the step that tells of it. A failing one leaves nothing behind; those before it stay.

use super::merge::twin::index_natural_keys;
use super::schema::steps;
use super::{HubStore, StoreError, begin, journaled, local, schema};
use crate::journal::record::What;
use rusqlite::{Connection, TransactionBehavior};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tt_migrations::evolve::{EvolveError, Site, evolve};
use tt_migrations::programs_triggers;
use tt_migrations::replica::Replica;
use tt_migrations::runner::{self, Migration, MigrationError};
use tt_migrations::state;
use tt_protocol::counted::counted;
use tt_protocol::limits::MIGRATION_BYTES_MAX;
use tt_protocol::number::{EdgeId, Millis, Version};
use tt_protocol::policy::Policy;
use tt_protocol::step::Happened;

/// Why a migration was not applied. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The files do not fit to what was applied.
    #[error(transparent)]
    Files(#[from] MigrationError),
    /// It could not be made.
    #[error(
        "migration {number} ({name}) failed and was rolled back whole: {source}; those before it stay. Correct its file, then run \
         `tt-hub migrate up` again"
    )]
    Failed {
        /// Its number.
        number: u32,
        /// Its name.
        name: String,
        /// What stands against it.
        source: Box<EvolveError>,
    },
    /// It leaves rows without their parents.
    #[error(
        "migration {number} ({name}) was rolled back whole: it leaves {} of table \"{table}\" without a parent; \
         those before it stay. Correct its file, then run `tt-hub migrate up` again",
        counted(.rows, "row")
    )]
    Parents {
        /// Its number.
        number: u32,
        /// Its name.
        name: String,
        /// The table of the children.
        table: String,
        /// How many more than before.
        rows: u64,
    },
    /// It is too long to travel.
    #[error(
        "migration {number} ({name}) has {bytes} bytes, and edges take at most {MIGRATION_BYTES_MAX}: move its rows into a \
         program, or split it"
    )]
    TooLong {
        /// Its number.
        number: u32,
        /// Its name.
        name: String,
        /// Its length.
        bytes: usize,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for MigrateError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// The files that belong to this database: the program's own where the hub began with them, then the
/// operator's.
///
/// # Errors
/// [`MigrationError`] when a file cannot be read, or numbers are missing or there twice.
pub fn files(conn: &Connection, folder: &Path) -> Result<Vec<Migration>, MigrationError> {
    let own = runner::from_folder(folder)?;
    if runner::is_adopted(conn)? {
        return Ok(own);
    }
    if let Some(taken) = own.iter().find(|file| file.number <= runner::latest()) {
        let problem = format!(
            "numbers up to {} are tt-hub's own; give {} ({}) a number from {} on",
            runner::latest(),
            taken.number,
            taken.name,
            runner::latest() + 1
        );
        return Err(MigrationError::Folder { path: folder.to_owned(), problem });
    }
    Ok(runner::embedded().into_iter().chain(own).collect())
}

/// What the database lacks, after a look at all files.
///
/// # Errors
/// [`MigrateError`].
pub fn waiting(conn: &Connection, folder: &Path) -> Result<Vec<Migration>, MigrateError> {
    Ok(runner::waiting(conn, &files(conn, folder)?)?)
}

impl HubStore {
    /// Applies one migration. False when the database has it already.
    ///
    /// # Errors
    /// [`MigrateError`]; nothing of the migration is left then.
    pub fn migrate(&mut self, migration: &Migration, now: Millis) -> Result<bool, MigrateError> {
        let (number, name) = (migration.number, migration.name.to_string());
        if migration.sql.len() > MIGRATION_BYTES_MAX {
            return Err(MigrateError::TooLong { number, name, bytes: migration.sql.len() });
        }
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if runner::is_applied(&tx, migration)? {
            return Ok(false);
        }
        self.clock.set(now);
        let mut replica = Arc::clone(&self.replica);
        let mut policy = Arc::clone(&self.policy);
        let mut version = begin(&tx, &policy, &mut replica, (self.looked_at, &self.places), now)?;
        version = version.next();
        let pieces = apply(&tx, &mut replica, &mut policy, migration, (version, now), local_rows)?;
        let sql = migration.sql.to_string();
        journaled::put(&tx, version, now, || What::Migrated { number, name, sql, pieces })?;
        schema::release(&tx, &replica, &policy, &mut version, now)?;
        journaled::know_schema(&tx)?;
        state::set(&tx, state::VERSION, version.0 as i64)?;
        tx.commit()?;
        self.version = version;
        self.looked_at = replica.schema_version;
        self.replica = replica;
        self.policy = policy;
        self.committed()?;
        Ok(true)
    }
}

/// Does what a migration says, as `version`. `rows` puts what it did to rows into the log.
pub(super) fn apply(
    conn: &Connection,
    replica: &mut Arc<Replica>,
    policy: &mut Arc<Policy>,
    migration: &Migration,
    (version, now): (Version, Millis),
    rows: impl FnOnce(&Connection, &Replica, &Policy, (Version, Millis)) -> Result<Vec<Vec<u8>>, StoreError>,
) -> Result<Vec<Vec<u8>>, MigrateError> {
    let (number, name) = (migration.number, migration.name.to_string());
    let alone = without_parents(conn)?;
    let site = Site { conn, policy, device: EdgeId::HUB };
    let failed = |error| MigrateError::Failed { number, name: name.clone(), source: Box::new(error) };
    let evolved = evolve(site, &migration.sql).map_err(failed)?;
    for (table, rows) in without_parents(conn)? {
        let more = rows.saturating_sub(alone.get(&table).copied().unwrap_or(0));
        if more > 0 {
            return Err(MigrateError::Parents { number, name, table, rows: more });
        }
    }
    runner::record(conn, migration, now.0)?;
    *replica = Arc::new(evolved.replica);
    steps::carry_over(conn, &evolved.formers)?;
    let sql = migration.sql.to_string();
    steps::add(conn, version, Happened::Migration { number, name, sql }, &evolved.formers)?;
    for former in &evolved.formers {
        Arc::make_mut(policy).follow(former);
    }
    let pieces = rows(conn, replica, policy, (version, now))?;
    schema::observe(conn, replica, version)?;
    schema::declare(conn, replica, version)?;
    index_natural_keys(conn, replica, policy)?;
    Arc::make_mut(replica).schema_version =
        conn.pragma_query_value(None, "schema_version", |row| row.get(0))?;
    programs_triggers::renew(conn, replica)?;
    Ok(pieces)
}

fn local_rows(
    conn: &Connection,
    replica: &Replica,
    policy: &Policy,
    (version, now): (Version, Millis),
) -> Result<Vec<Vec<u8>>, StoreError> {
    Ok(local::cut(conn, replica, policy, version, now.0)?.pieces)
}

/// Rows without their parent, by child table. A reference that SQLite cannot check counts for nothing.
fn without_parents(conn: &Connection) -> rusqlite::Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table'";
    let tables: Vec<String> =
        conn.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for table in tables {
        let sql = "SELECT count(*) FROM pragma_foreign_key_check(?1)";
        let rows: rusqlite::Result<i64> = conn.query_row(sql, [&table], |row| row.get(0));
        found.insert(table, rows.unwrap_or(0).unsigned_abs());
    }
    Ok(found)
}

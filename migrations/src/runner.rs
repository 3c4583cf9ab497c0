//! Applies numbered SQL, each file in one transaction, and remembers which by number and checksum.
//!
//! A hub that starts empty gets its tables from the set that is part of the program. A database that was
//! adopted has a schema of its own: that set must never touch it, but its operator can number files of his
//! own. A file, once applied anywhere, is never edited: the next number corrects it.

mod folder;

pub use folder::from_folder;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::path::PathBuf;

/// One numbered file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its number, from 1. Without gaps within a set.
    pub number: u32,
    /// What the file's name says after the number.
    pub name: Cow<'static, str>,
    /// Statements, without BEGIN and COMMIT.
    pub sql: Cow<'static, str>,
}

/// A migration as the database remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its number. 0 stands for the adoption of a schema of its own.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// SHA-256 of its text, in hexadecimal.
    pub sha256: String,
    /// When it was applied, in milliseconds since 1970-01-01 UTC.
    pub applied_at: i64,
}

/// Why the schema was not brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// A file was edited after it had been applied.
    #[error(
        "migration {number} ({name}) is not the file that this database got: its checksum was {recorded} and is \
         {found}; restore the file and put the correction into a new number"
    )]
    Edited {
        /// Its number.
        number: u32,
        /// Its name now.
        name: String,
        /// The checksum in the database.
        recorded: String,
        /// The checksum of the file.
        found: String,
    },
    /// A number below the last applied one appeared.
    #[error("migration {number} is new, but {last} is applied already; give it a number above {last}")]
    Late {
        /// Its number.
        number: u32,
        /// The last applied number.
        last: u32,
    },
    /// A number is missing.
    #[error(
        "migration {number} waits, but {before} is the last before it; a number is missing in between: put its file back, or give {number} the next number"
    )]
    Gap {
        /// Its number.
        number: u32,
        /// The one before it.
        before: u32,
    },
    /// The file itself ended the transaction.
    #[error("migration {0} ends its transaction itself; remove BEGIN, COMMIT and ROLLBACK from it")]
    OwnTransaction(u32),
    /// A file in the folder is not `0001_name.sql`, or a number is missing.
    #[error("{path}: {problem}; files are named 0001_name.sql, 0002_name.sql and so on")]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// SQLite refused a statement of a migration.
    #[error("migration {number} ({name}) failed and was rolled back: {source}")]
    Statement {
        /// Its number.
        number: u32,
        /// Its name.
        name: String,
        /// SQLite's own words.
        source: rusqlite::Error,
    },
    /// The record of applied migrations cannot be read or written.
    #[error("the record of applied migrations cannot be used: {0}")]
    Record(#[from] rusqlite::Error),
}

impl Migration {
    /// SHA-256 of the text, in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> String {
        Sha256::digest(self.sql.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

const EMBEDDED: [(u32, &str, &str); 2] = [
    (1, "tables", include_str!("../sql/0001_tables.sql")),
    (2, "later_columns", include_str!("../sql/0002_later_columns.sql")),
];

/// The set that is part of the program, for a hub that starts empty.
#[must_use]
pub fn embedded() -> Vec<Migration> {
    let own = |(number, name, sql)| Migration { number, name: Cow::Borrowed(name), sql: Cow::Borrowed(sql) };
    EMBEDDED.into_iter().map(own).collect()
}

/// Number of the last migration of the embedded set.
#[must_use]
pub const fn latest() -> u32 {
    EMBEDDED[EMBEDDED.len() - 1].0
}

/// What this database remembers, by number. Empty for a database that was never migrated or adopted.
///
/// # Errors
/// SQLite's own.
pub fn applied(conn: &Connection) -> Result<Vec<Applied>, MigrationError> {
    if !has_record(conn)? {
        return Ok(Vec::new());
    }
    let sql = "SELECT number, name, sha256, applied_at FROM main._sync_migration ORDER BY number";
    let mut statement = conn.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        Ok(Applied { number: row.get(0)?, name: row.get(1)?, sha256: row.get(2)?, applied_at: row.get(3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Marks the database as having a schema of its own, so that the embedded set never runs on it.
///
/// # Errors
/// SQLite's own.
pub fn adopt(conn: &Connection, now_ms: i64) -> Result<(), MigrationError> {
    create_record(conn)?;
    let sql = "INSERT INTO main._sync_migration VALUES (0, 'adopted', '', ?1) ON CONFLICT(number) DO NOTHING";
    conn.execute(sql, [now_ms])?;
    Ok(())
}

/// Whether the database has a schema of its own: it was marked so, or it holds tables that no migration made.
///
/// # Errors
/// SQLite's own.
pub fn is_adopted(conn: &Connection) -> Result<bool, MigrationError> {
    if let Some(first) = applied(conn)?.first() {
        return Ok(first.number == 0);
    }
    let sql = "SELECT EXISTS (SELECT 1 FROM main.sqlite_schema
                WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_sync\\_%' ESCAPE '\\')";
    Ok(conn.query_row(sql, [], |row| row.get(0))?)
}

/// Brings a database of ours up to date with the embedded set and returns the numbers that it applied.
///
/// Does nothing to an adopted one. Begins its own transactions, so none may be open.
///
/// # Errors
/// [`MigrationError`]; every migration before the failed one stays applied.
pub fn apply_all(conn: &Connection, now_ms: i64) -> Result<Vec<u32>, MigrationError> {
    if is_adopted(conn)? { Ok(Vec::new()) } else { apply(conn, &embedded(), now_ms) }
}

/// Applies what the database lacks of a set, each migration in a transaction of its own.
///
/// # Errors
/// As [`apply_all`].
pub fn apply(conn: &Connection, set: &[Migration], now_ms: i64) -> Result<Vec<u32>, MigrationError> {
    let mut done = Vec::new();
    for migration in set {
        let tx = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
        if apply_one(&tx, migration, now_ms)? {
            done.push(migration.number);
        }
        tx.commit()?;
    }
    Ok(done)
}

/// Applies one migration inside the caller's transaction; false if the database has it already.
///
/// # Errors
/// [`MigrationError`]; the caller then rolls back.
pub fn apply_one(conn: &Connection, migration: &Migration, now_ms: i64) -> Result<bool, MigrationError> {
    create_record(conn)?;
    if is_recorded(conn, migration)? {
        return Ok(false);
    }
    let Migration { number, name, sql } = migration;
    conn.execute_batch(sql).map_err(|source| MigrationError::Statement {
        number: *number,
        name: name.to_string(),
        source,
    })?;
    if conn.is_autocommit() {
        return Err(MigrationError::OwnTransaction(*number));
    }
    record(conn, migration, now_ms)?;
    Ok(true)
}

/// Whether the database has this very migration.
///
/// # Errors
/// When it has another one under the number, or a later one.
pub fn is_applied(conn: &Connection, migration: &Migration) -> Result<bool, MigrationError> {
    create_record(conn)?;
    is_recorded(conn, migration)
}

/// Remembers a migration that was applied in the caller's transaction.
///
/// # Errors
/// When SQLite fails.
pub fn record(conn: &Connection, migration: &Migration, now_ms: i64) -> Result<(), MigrationError> {
    conn.execute(
        "INSERT INTO main._sync_migration(number, name, sha256, applied_at) VALUES (?1, ?2, ?3, ?4)",
        params![migration.number, migration.name, migration.sha256(), now_ms],
    )?;
    Ok(())
}

/// What the database lacks of a set, after a look at the whole set: nothing edited, nothing late, nothing
/// missing in between.
///
/// # Errors
/// [`MigrationError`].
pub fn waiting(conn: &Connection, set: &[Migration]) -> Result<Vec<Migration>, MigrationError> {
    let known = applied(conn)?;
    let last = known.iter().map(|each| each.number).max().unwrap_or(0);
    let mut waiting: Vec<Migration> = Vec::new();
    for migration in set {
        let number = migration.number;
        if let Some(each) = known.iter().find(|each| each.number == number) {
            let found = migration.sha256();
            if each.sha256 != found {
                let (name, recorded) = (migration.name.to_string(), each.sha256.clone());
                return Err(MigrationError::Edited { number, name, recorded, found });
            }
            continue;
        }
        if number < last {
            return Err(MigrationError::Late { number, last });
        }
        let before = waiting.last().map_or(last, |before| before.number);
        if before > 0 && number != before + 1 {
            return Err(MigrationError::Gap { number, before });
        }
        waiting.push(migration.clone());
    }
    Ok(waiting)
}

/// Whether the database has this very migration.
fn is_recorded(conn: &Connection, migration: &Migration) -> Result<bool, MigrationError> {
    let number = migration.number;
    let sql = "SELECT sha256 FROM main._sync_migration WHERE number = ?1";
    let recorded: Option<String> = conn.query_row(sql, [number], |row| row.get(0)).optional()?;
    if let Some(recorded) = recorded {
        let found = migration.sha256();
        if recorded == found {
            return Ok(true);
        }
        return Err(MigrationError::Edited { number, name: migration.name.to_string(), recorded, found });
    }
    let sql = "SELECT ifnull(max(number), 0) FROM main._sync_migration";
    let last: u32 = conn.query_row(sql, [], |row| row.get(0))?;
    if last > number { Err(MigrationError::Late { number, last }) } else { Ok(false) }
}

fn has_record(conn: &Connection) -> rusqlite::Result<bool> {
    let sql =
        "SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = '_sync_migration')";
    conn.query_row(sql, [], |row| row.get(0))
}

fn create_record(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(
        "CREATE TABLE IF NOT EXISTS main._sync_migration(
             number INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL, applied_at INTEGER NOT NULL)",
    )
}

#[cfg(test)]
mod tests;

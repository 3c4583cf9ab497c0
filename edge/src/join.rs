//! Turns a fetched snapshot into this device's database.
//!
//! * Where there is no file yet, the snapshot becomes it: finished under another name, then linked into
//!   place, so that a program never sees half of it and an existing file is never overwritten.
//! * Where a program already has a file, it is written *into*, in one transaction (`existing`).

mod existing;

use crate::store::{EdgeStore, StoreError};
use flate2::read::MultiGzDecoder;
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use tt_migrations::policy;
use tt_migrations::progress::{Progress, Told, Unit};
use tt_migrations::quote::ident;
use tt_migrations::replica::{Replica, Tracked};
use tt_migrations::state;
use tt_protocol::number::{EdgeId, Version};
use tt_protocol::policy::Policy;

/// Why a snapshot cannot become this device's database.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// A file could not be read or written.
    #[error("cannot {what} {path}: {source}; nothing was changed")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's own words.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("{path}: {source}; nothing was changed")]
    Sqlite {
        /// On what.
        path: PathBuf,
        /// SQLite's own words.
        source: rusqlite::Error,
    },
    /// The existing file is no database, or a damaged one.
    #[error(
        "{path} cannot be joined: {problem}; nothing was changed. Name the file that the program writes with --db"
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The existing file's tables do not fit to the hub's.
    #[error(
        "table \"{table}\" of the existing file does not fit to the hub's: {problem}; nothing was changed"
    )]
    Shape {
        /// The table.
        table: String,
        /// What does not fit.
        problem: String,
    },
    /// The device's store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What joining came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The version of the rows.
    pub version: Version,
    /// Rows in replicated tables.
    pub rows: u64,
    /// Rows of an existing file that will be handed in.
    pub offered: u64,
    /// Tables that cannot be replicated because they have no primary key.
    pub keyless: Vec<String>,
}

/// True when the file belongs to a hub already.
#[must_use]
pub fn is_joined(db: &Path) -> bool {
    device_in(db).is_some()
}

/// The device number in a file that belongs to a hub.
#[must_use]
pub fn device_in(db: &Path) -> Option<EdgeId> {
    let conn = Connection::open_with_flags(db, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    let number = state::get(&conn, state::DEVICE).ok()??;
    u16::try_from(number).ok().map(EdgeId)
}

/// What joining came to, told again from the file: an earlier attempt ended after its last step but one.
///
/// # Errors
/// When the file cannot be used.
pub fn already(db: &Path) -> Result<Joined, JoinError> {
    remove(&fresh(db))?;
    let store = EdgeStore::open(db, policy_of(db)?)?;
    Ok(Joined {
        version: store.cursor()?,
        rows: rows(store.connection(), store.replica()).map_err(|source| sqlite(db, source))?,
        offered: store.unacknowledged()?.0,
        keyless: store.replica().keyless.clone(),
    })
}

/// Makes sure, before a token is used up, that an existing file can be joined.
///
/// # Errors
/// When it is no database, is damaged, or belongs to a hub already.
pub fn check_existing(db: &Path) -> Result<(), JoinError> {
    if !db.exists() {
        return Ok(());
    }
    let unusable = |problem: String| JoinError::Unusable { path: db.to_owned(), problem };
    let conn = Connection::open_with_flags(db, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .map_err(|error| unusable(error.to_string()))?;
    let check: String = conn
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| unusable(error.to_string()))?;
    if check != "ok" {
        return Err(unusable(format!("it is damaged ({check})")));
    }
    if is_joined(db) {
        return Err(unusable("it already belongs to a hub".to_owned()));
    }
    Ok(())
}

/// Installs the fetched snapshot `packed` as the database `db` of this device.
///
/// # Errors
/// When a file or SQLite refuses; the existing file is then as it was.
pub fn install(
    packed: &Path,
    db: &Path,
    device: EdgeId,
    progress: &dyn Progress,
) -> Result<Joined, JoinError> {
    let fresh = fresh(db);
    remove(&fresh)?;
    unpack(packed, &fresh, progress)?;
    let joined = if db.exists() {
        existing::join(db, &fresh, device, progress)
    } else {
        progress.step("making it this device's file");
        become_database(&fresh, db, device)
    };
    remove(&fresh)?;
    joined
}

/// Where the database grows until it is whole.
fn fresh(db: &Path) -> PathBuf {
    let mut name = db.as_os_str().to_owned();
    name.push(".joining");
    PathBuf::from(name)
}

fn become_database(fresh: &Path, db: &Path, device: EdgeId) -> Result<Joined, JoinError> {
    let policy = policy_of(fresh)?;
    let store = EdgeStore::adopt(fresh, policy, device)?;
    let joined = Joined {
        version: store.cursor()?,
        rows: rows(store.connection(), store.replica()).map_err(|source| sqlite(fresh, source))?,
        offered: 0,
        keyless: store.replica().keyless.clone(),
    };
    // Closing the last connection moves the log into the file.
    drop(store);
    File::open(fresh).and_then(|file| file.sync_all()).map_err(|source| failed("sync", fresh, source))?;
    fs::hard_link(fresh, db).map_err(|source| failed("put in place", db, source))?;
    Ok(joined)
}

fn unpack(packed: &Path, to: &Path, progress: &dyn Progress) -> Result<(), JoinError> {
    let source = File::open(packed).map_err(|source| failed("read", packed, source))?;
    let bytes = source.metadata().map_err(|source| failed("read", packed, source))?.len();
    progress.phase("unpacking the hub's rows", Some(bytes), Unit::Bytes);
    let mut target = File::create_new(to).map_err(|source| failed("write", to, source))?;
    io::copy(&mut MultiGzDecoder::new(Told::new(source, progress)), &mut target)
        .map_err(|source| failed("unpack into", to, source))?;
    target.sync_all().map_err(|source| failed("sync", to, source))
}

fn remove(fresh: &Path) -> Result<(), JoinError> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = fresh.as_os_str().to_owned();
        name.push(suffix);
        match fs::remove_file(&name) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", Path::new(&name), source));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The hub's policy, which travels in the snapshot.
fn policy_of(snapshot: &Path) -> Result<Policy, JoinError> {
    let conn = Connection::open(snapshot).map_err(|source| sqlite(snapshot, source))?;
    let text = state::get_text(&conn, state::POLICY).map_err(|source| sqlite(snapshot, source))?;
    let policy = policy::kept("the hub's policy", text.as_deref());
    Ok(policy.map_err(|error| StoreError::Policy(error.to_string()))?)
}

fn rows(conn: &Connection, replica: &Replica) -> rusqlite::Result<u64> {
    let mut total = 0;
    for tracked in replica.tables.values() {
        total += count(conn, tracked)?;
    }
    Ok(total)
}

fn count(conn: &Connection, tracked: &Tracked) -> rusqlite::Result<u64> {
    let sql = format!("SELECT COUNT(*) FROM {}", ident(&tracked.table.name));
    Ok(conn.query_row(&sql, [], |row| row.get::<_, i64>(0))?.unsigned_abs())
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> JoinError {
    JoinError::Io { what, path: path.to_owned(), source }
}

fn sqlite(path: &Path, source: rusqlite::Error) -> JoinError {
    JoinError::Sqlite { path: path.to_owned(), source }
}

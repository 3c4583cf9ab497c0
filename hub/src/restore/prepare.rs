//! Makes the fetched file the hub's next database, in the scratch folder.
//!
//! * A backup of this hub begins the next epoch.
//! * A file without a hub's tables, or with another hub's, is adopted as new: its rows are taken, and what devices
//!   had acknowledged counts as merged, because nobody will send it again.
//! * A file with tables that only a newer program knows is refused.

use super::record::{self, Mark};
use super::{RestoreError, Restores};
use crate::database::DatabaseError;
use crate::devices;
use crate::journal::reader::Reader;
use crate::journal::record::Lsn;
use crate::store::epoch::{self, Begun, Floor};
use crate::store::journaled;
use crate::store::{HubStore, StoreError};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeSet;
use std::path::Path;
use tt_migrations::capture::install::uninstall;
use tt_migrations::{connection, policy, runner, state};
use tt_protocol::number::{EdgeId, Epoch, Millis, Version};
use tt_protocol::policy::Policy;

/// Versions and device numbers that are left out when the present file cannot say which were used.
const VERSIONS_LEFT_OUT: u64 = 1_000_000;
const DEVICES_LEFT_OUT: u16 = 64;
/// Ticks of ids that are left out then, in each table: more than a day in which the hub's programs and a device take
/// turns every two seconds uses up, and less than a hundredth of all.
const TICKS_LEFT_OUT: i64 = 1 << 16;

/// The next database is ready.
pub(super) struct Prepared {
    pub(super) begun: Begun,
    pub(super) mark: Mark,
    pub(super) notes: Vec<String>,
}

/// What kind of file it is, seen from the present one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A backup of this hub.
    Own,
    /// Of another hub.
    OfAnotherHub,
    /// It has nothing of a hub.
    Foreign,
}

/// The present database, as far as it can be read.
#[derive(Clone, Copy)]
pub(super) struct Former<'f> {
    pub(super) path: &'f Path,
    /// It passed its check. One that did not is asked as far as it answers.
    pub(super) whole: bool,
}

impl Restores {
    /// Makes `next` from what was fetched. When it is there already it is made anew, in place.
    pub(super) fn prepare(
        &self,
        fetched: &Path,
        next: &Path,
        former: Former<'_>,
        mark: Mark,
        now_ms: i64,
    ) -> Result<Prepared, RestoreError> {
        let failed = |error: rusqlite::Error| DatabaseError::new(next, &error);
        let present = open_former(former)?;
        same_page_size(fetched, &present).map_err(failed)?;
        copy(fetched, next).map_err(failed)?;
        let kind = kind(&Connection::open(next).map_err(failed)?, &present).map_err(failed)?;
        let mut notes = Vec::new();
        if kind == Kind::Own {
            if let Some(reason) = of_newer_program(next).map_err(failed)? {
                return Err(RestoreError::Unusable { what: mark.id, reason });
            }
        } else {
            notes.push(match kind {
                Kind::OfAnotherHub => "it comes from another hub: only its rows were taken".to_owned(),
                _ => "it has nothing of a hub: its rows were taken as new".to_owned(),
            });
            notes.extend(strip(next, &present, now_ms).map_err(failed)?);
        }
        let mut store = open_store(next)?;
        let conn = store.connection();
        if kind != Kind::Own
            && let Err(error) = epoch::take_merged(conn, &present)
        {
            if former.whole {
                return Err(failed(error).into());
            }
            notes.push(format!("what devices had handed in cannot be read ({error}); it comes again"));
        }
        let now = Millis(now_ms);
        let vouches = former.whole && vouches(&present, conn).map_err(failed)?;
        let begun = match epoch::begin(conn, Some(&present), self.floor(conn, vouches)?, now) {
            Err(_) if !former.whole => {
                notes.push(
                    "the present list of devices cannot be read: the backup's is used; look through `tt-hub edges` \
                     for devices that were revoked since"
                        .to_owned(),
                );
                epoch::begin(conn, None, self.floor(conn, false)?, now)?
            }
            begun => begun?,
        };
        store.begin_epoch((begun.epoch, begun.version), self.last_entry(&present), &mark.id, now)?;
        let conn = store.connection();
        let mark = Mark { epoch: begun.epoch.0, ..mark };
        record::put_mark(conn, &mark).map_err(failed)?;
        drop(store);
        // The counters of ids have moved; programs must not find them outside of the hub's block.
        drop(open_store(next)?);
        in_one_file(next).map_err(failed)?;
        Ok(Prepared { begun, mark, notes })
    }

    /// The last entry of the journal that may ever have been: the next epoch's come after it.
    fn last_entry(&self, present: &Connection) -> Lsn {
        let known = journaled::last(present).ok().flatten().unwrap_or_default();
        // A journal that cannot be read begins a new chain, whatever its entries are called.
        let written = Reader::of_folder(&self.journal).reach().ok().flatten().map(|reach| reach.last);
        known.max(written.unwrap_or_default())
    }

    /// What must not be given out again although the present file may not know it.
    fn floor(&self, restored: &Connection, vouches: bool) -> Result<Floor, RestoreError> {
        if vouches {
            return Ok(Floor::default());
        }
        let catalog = self.backups.catalog();
        let manifests = || catalog.backups.iter().map(|backup| &backup.manifest);
        let safe = self.safety_copies();
        let epochs = manifests().chain(&safe).map(|manifest| manifest.epoch);
        let versions = manifests().chain(&safe).map(|manifest| manifest.version);
        let device: u16 = restored
            .query_row("SELECT coalesce(max(device), 0) FROM _sync_edge", [], |row| row.get(0))
            .map_err(|error| DatabaseError::new(&self.database, &error))?;
        let last = super::last(&self.root).and_then(|entry| entry.epoch).unwrap_or(0);
        let reach = Reader::of_folder(&self.journal).reach().ok().flatten();
        let (last_epoch, to) = reach.map_or((0, 0), |reach| (reach.last_epoch.0, reach.to.0));
        Ok(Floor {
            epoch: Epoch(epochs.max().unwrap_or(0).max(last).max(last_epoch)),
            version: Version(versions.max().unwrap_or(0).max(to) + VERSIONS_LEFT_OUT),
            device: EdgeId(device.saturating_add(DEVICES_LEFT_OUT)),
            ticks: TICKS_LEFT_OUT,
        })
    }
}

fn open_former(former: Former<'_>) -> Result<Connection, RestoreError> {
    let opened = || {
        let conn = Connection::open_with_flags(former.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        conn.busy_timeout(super::PATIENCE)?;
        Ok(conn)
    };
    opened().map_err(|error| DatabaseError::new(former.path, &error).into())
}

/// What kind of file it is.
pub(super) fn kind(restored: &Connection, present: &Connection) -> rusqlite::Result<Kind> {
    let sql = "SELECT count(*) = 3 FROM sqlite_schema WHERE type = 'table' AND name IN ('_sync_state', '_sync_merged', '_sync_edge')";
    let is_hub: bool = restored.query_row(sql, [], |row| row.get(0))?;
    if !is_hub || state::get(restored, state::DEVICE)? != Some(i64::from(EdgeId::HUB.0)) {
        return Ok(Kind::Foreign);
    }
    // A present file that cannot say is taken for the same hub's: only that can be restored exactly.
    let same = epoch::of_one_hub(restored, present).unwrap_or(true);
    Ok(if same { Kind::Own } else { Kind::OfAnotherHub })
}

/// Whether the present database comes after the restored one, so that it knows what was ever given out. One that was
/// just made on a new machine does not.
fn vouches(present: &Connection, restored: &Connection) -> rusqlite::Result<bool> {
    let device = |conn: &Connection| {
        conn.query_row("SELECT coalesce(max(device), 0) FROM _sync_edge", [], |row| row.get::<_, i64>(0))
    };
    let comes_after = |name| Ok(state::get(present, name)? >= state::get(restored, name)?);
    let after: rusqlite::Result<bool> = comes_after(state::EPOCH);
    Ok(after? && comes_after(state::VERSION)? && device(present)? >= device(restored)?)
}

/// The tables that this program makes, and what they are made of, against the file's.
fn of_newer_program(path: &Path) -> rusqlite::Result<Option<String>> {
    let ours = Connection::open_in_memory()?;
    ours.execute_batch(state::TABLES)?;
    ours.execute_batch(crate::store::TABLES)?;
    ours.execute_batch(devices::TABLES)?;
    let restored = Connection::open(path)?;
    let mut tables = ours.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
    let names: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for name in names {
        let (known, found) = (columns(&ours, &name)?, columns(&restored, &name)?);
        if let Some(column) = found.difference(&known).next() {
            return Ok(Some(format!(
                "a newer tt-hub made it ({name} has a column {column}); install that version first"
            )));
        }
    }
    Ok(None)
}

fn columns(conn: &Connection, table: &str) -> rusqlite::Result<BTreeSet<String>> {
    let mut statement = conn.prepare("SELECT name FROM pragma_table_info(?1)")?;
    statement.query_map([table], |row| row.get(0))?.collect()
}

/// The live file keeps its page size: SQLite copies pages as they are.
fn same_page_size(fetched: &Path, present: &Connection) -> rusqlite::Result<()> {
    let size = |conn: &Connection| conn.pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0));
    let conn = Connection::open(fetched)?;
    let wanted = size(present)?;
    if size(&conn)? != wanted {
        conn.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
        conn.pragma_update(None, "page_size", wanted)?;
        conn.execute_batch("VACUUM")?;
    }
    Ok(())
}

/// Through SQLite, because a connection may have the copy open.
fn copy(fetched: &Path, next: &Path) -> rusqlite::Result<()> {
    let mut copy = Connection::open(next)?;
    copy.pragma_update(None, "synchronous", "OFF")?;
    let from = Connection::open(fetched)?;
    match Backup::new(&from, &mut copy)?.step(-1)? {
        StepResult::Done => Ok(()),
        _ => {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
            Err(rusqlite::Error::SqliteFailure(code, Some("the scratch file is busy".to_owned())))
        }
    }
}

/// Takes away what is left of a device or another hub, and gives it this hub's policy. Gives what a person should
/// know.
fn strip(next: &Path, present: &Connection, now_ms: i64) -> rusqlite::Result<Vec<String>> {
    let conn = connection::open(next)?;
    let intruders = uninstall(&conn)?;
    runner::adopt(&conn, now_ms).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    conn.execute_batch(state::TABLES)?;
    let text = state::get_text(present, state::POLICY).ok().flatten();
    state::set_text(&conn, state::POLICY, text.as_deref().unwrap_or(policy::SHIPPED))?;
    let note = |what| format!("its {what} was left out: it names tables that are the hub's own");
    Ok(intruders.into_iter().map(note).collect())
}

/// Opens it as the daemon will: what does not work is found out now.
pub(super) fn open_store(path: &Path) -> Result<HubStore, RestoreError> {
    let policy = kept_policy(path)?;
    Ok(HubStore::open(path, policy)?)
}

fn kept_policy(path: &Path) -> Result<Policy, RestoreError> {
    let read = || state::get_text(&Connection::open(path)?, state::POLICY);
    let text = read().map_err(StoreError::from)?;
    Ok(text.and_then(|text| policy::parse("policy", &text).ok()).unwrap_or_else(policy::shipped))
}

pub(super) fn in_one_file(path: &Path) -> rusqlite::Result<()> {
    Connection::open(path)?.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))
}

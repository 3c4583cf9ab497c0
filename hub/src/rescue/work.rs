//! What a sound copy of a device's file still holds: changesets that were cut, and the rest, which is cut now.

use super::RescueError;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::sync::Arc;
use tt_migrations::capture::install::install;
use tt_migrations::outbox::kept::{self, Kept, Lost};
use tt_migrations::outbox::{self, cut, times};
use tt_migrations::{connection, policy, state};
use tt_protocol::number::{EdgeId, Epoch, Millis, Seq, Version};
use tt_protocol::policy::Policy;

/// The changeset that was cut in the copy, if there is one; and the last time that the file knew before.
const UNCUT: &str = "rescued_uncut";
const SEEN: &str = "rescued_seen";

/// A file's work.
pub(crate) struct Work {
    /// The device that the file was.
    pub(crate) device: EdgeId,
    /// Its hub, if the file says it.
    pub(crate) hub: Option<String>,
    pub(crate) epoch: Epoch,
    pub(crate) version: Version,
    /// The last step of the schema that the file has made.
    pub(crate) step: u64,
    /// The last time that the file knows of.
    pub(crate) seen: Millis,
    pub(crate) kept: Vec<Kept>,
    pub(crate) lost: Vec<Lost>,
    /// Number of the changeset that the device had not cut.
    pub(crate) uncut: Option<Seq>,
}

impl Work {
    /// Cuts what is uncut in the copy; `of` is the device's own file, for messages.
    pub(crate) fn cut(db: &Path, of: &Path) -> Result<(), RescueError> {
        let failed = |source| RescueError::Sqlite { path: of.to_owned(), source };
        let mut conn = connection::open(db).map_err(failed)?;
        let policy = kept_policy(&conn, of)?;
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        tx.execute_batch(state::TABLES).map_err(failed)?;
        tx.execute_batch(outbox::TABLES).map_err(failed)?;
        let device = device(&tx).map_err(failed)?;
        // Before anything is noted here.
        let seen = times::last_seen(&tx).map_err(failed)?;
        let installed = install(&tx, &policy, device);
        let replica = installed
            .map_err(|error| RescueError::Capture { path: of.to_owned(), what: error.to_string() })?
            .replica;
        let cut = cut::cut_in_copy(&tx, &replica, &policy, device, seen).map_err(failed)?;
        let uncut = cut.map_or(0, |cut| cut.seq.0 as i64);
        state::set(&tx, UNCUT, uncut).and_then(|()| state::set(&tx, SEEN, seen)).map_err(failed)?;
        tx.commit().map_err(failed)
    }

    /// What a copy holds in which all is cut.
    pub(crate) fn read(db: &Path) -> Result<Self, RescueError> {
        let failed = |source| RescueError::Sqlite { path: db.to_owned(), source };
        let read = || -> rusqlite::Result<Self> {
            let conn = Connection::open_with_flags(db, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            let number = |name: &str| Ok::<_, rusqlite::Error>(state::get(&conn, name)?.unwrap_or(0));
            let (kept, lost) = kept::read(&conn, true)?;
            Ok(Self {
                device: device(&conn)?,
                hub: state::get_text(&conn, state::HUB)?,
                epoch: Epoch(number(state::EPOCH)?.unsigned_abs()),
                version: Version(number(state::VERSION)?.unsigned_abs()),
                step: number(state::STEP)?.unsigned_abs(),
                seen: Millis(number(SEEN)?),
                kept,
                lost,
                uncut: Some(number(UNCUT)?.unsigned_abs()).filter(|seq| *seq > 0).map(Seq),
            })
        };
        read().map_err(failed)
    }

    /// The same for the same file, whoever brings it and however often.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(self.device.0.to_le_bytes());
        for kept in &self.kept {
            hasher.update(kept.seq.to_le_bytes());
            hasher.update(kept.hash);
        }
        hasher.finalize().into()
    }
}

fn device(conn: &Connection) -> rusqlite::Result<EdgeId> {
    let number = state::get(conn, state::DEVICE)?.and_then(|number| u16::try_from(number).ok());
    number.map(EdgeId).ok_or(rusqlite::Error::QueryReturnedNoRows)
}

/// The policy that the device had: what it replicated is what it may have changed.
fn kept_policy(conn: &Connection, of: &Path) -> Result<Arc<Policy>, RescueError> {
    let failed = |source| RescueError::Sqlite { path: of.to_owned(), source };
    let text = state::get_text(conn, state::POLICY).map_err(failed)?;
    let unreadable =
        |error: policy::PolicyError| RescueError::Policy { path: of.to_owned(), what: error.to_string() };
    let mut policy = policy::kept("the file's policy", text.as_deref()).map_err(unreadable)?;
    for former in &state::formers(conn).map_err(failed)? {
        policy.follow(former);
    }
    Ok(Arc::new(policy))
}

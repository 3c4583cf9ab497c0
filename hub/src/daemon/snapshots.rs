//! Snapshots for devices: made when one is wanted, shared while fresh, deleted when nobody takes them.
//!
//! * The file that a device gets is the gzip of a SQLite database: the rows at one version with the
//!   epoch and the policy, nothing of the hub's own (`store::snapshot`).
//! * The identity is `e<epoch>-v<version>-<random>`: never again for other bytes.
//! * A device whose transfer was cut off gets the same snapshot again for a while, so that a slow link
//!   comes to an end, too.

use super::DaemonError;
use super::event::{Event, Shared};
use crate::clock;
use crate::folder::Folder;
use crate::link::{Prepared, serve_snapshot};
use crate::store::snapshot;
use data_encoding::HEXLOWER;
use flate2::Compression;
use flate2::write::GzEncoder;
use quinn::{RecvStream, SendStream};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{Mutex, oneshot};
use tokio::task::spawn_blocking;
use tt_protocol::download::Wanted;
use tt_protocol::number::{EdgeId, Epoch, Version};

/// A snapshot this young serves the next device, too; the feed brings what is newer.
const FRESH_MS: i64 = 60_000;
/// How long a transfer that was cut off may go on with the same snapshot.
const RESUME_MS: i64 = 30 * 60_000;
/// Devices whose cut-off transfers are remembered, and so the number of files that they can pin.
const RESUMES_MAX: usize = 8;
/// The wire is the bottleneck on wireless links, the two cores are at a hub.
const LEVEL: u32 = 3;

/// The snapshots of a running hub.
pub(super) struct Snapshots {
    database: PathBuf,
    folder: PathBuf,
    shared: Arc<Shared>,
    state: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    newest: Option<Arc<Snapshot>>,
    cut_off: HashMap<EdgeId, Arc<Snapshot>>,
}

/// One snapshot; its file goes with the last one who holds it.
struct Snapshot {
    prepared: Prepared,
    made_at: i64,
    /// [`Shared::pauses`] before it was made: after a restore it is one of another epoch.
    pauses: u64,
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
enum SnapshotError {
    #[error("the hub cannot make a snapshot: {0}")]
    Store(#[from] crate::store::StoreError),
    #[error("the hub cannot write a snapshot: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Link(#[from] crate::link::LinkError),
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
    #[error("the hub is stopping or cannot write; try again in a moment")]
    Stopping,
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        // What is left behind goes when the hub starts again.
        let _ = fs::remove_file(&self.prepared.path);
    }
}

impl Snapshots {
    /// Begins without any; those of an earlier run are deleted.
    pub(super) fn new(folder: &Folder, shared: Arc<Shared>) -> Result<Self, DaemonError> {
        let snapshots = folder.snapshots()?;
        let failed = |source| DaemonError::File { what: "empty", path: snapshots.clone(), source };
        for entry in fs::read_dir(&snapshots).map_err(failed)? {
            fs::remove_file(entry.map_err(failed)?.path()).map_err(failed)?;
        }
        Ok(Self { database: folder.database(), folder: snapshots, shared, state: Mutex::default() })
    }

    /// Serves one stream on which a device asks for a snapshot.
    pub(super) async fn serve(&self, edge: EdgeId, stream: (SendStream, RecvStream)) {
        let mut taken: Option<Arc<Snapshot>> = None;
        let served = serve_snapshot(stream, async |wanted| match self.get(edge, wanted).await {
            Ok(snapshot) => Ok(taken.insert(snapshot).prepared.clone()),
            Err(error) => {
                tracing::error!(%error, "there is no snapshot for a device");
                Err(error.to_string())
            }
        })
        .await;
        match served {
            Ok(bytes) => {
                tracing::info!(device = %edge, bytes, "a device took a snapshot");
                self.state.lock().await.cut_off.remove(&edge);
            }
            Err(error) => {
                tracing::info!(device = %edge, %error, "a snapshot was cut off");
                if let Some(snapshot) = taken {
                    self.remember(edge, snapshot).await;
                }
            }
        }
    }

    async fn remember(&self, edge: EdgeId, snapshot: Arc<Snapshot>) {
        let mut state = self.state.lock().await;
        let now = clock::now().0;
        state.cut_off.retain(|_, snapshot| snapshot.is_younger(now, RESUME_MS));
        if state.cut_off.len() < RESUMES_MAX {
            state.cut_off.insert(edge, snapshot);
        }
    }

    /// The snapshot for a device. One is made at a time; others who want one wait and share it.
    async fn get(&self, edge: EdgeId, wanted: Wanted) -> Result<Arc<Snapshot>, SnapshotError> {
        let mut state = self.state.lock().await;
        let now = clock::now().0;
        let pauses = self.shared.pauses();
        let cut_off = state.cut_off.get(&edge);
        let goes_on = |snapshot: &&Arc<Snapshot>| {
            snapshot.pauses == pauses && snapshot.is_younger(now, RESUME_MS) && snapshot.fits(wanted)
        };
        if let Some(snapshot) = cut_off.filter(goes_on) {
            return Ok(Arc::clone(snapshot));
        }
        let (answer, cut) = oneshot::channel();
        // When the writer is gone or in trouble, so is the answer's sender.
        let _ = self.shared.events.send(Event::Cut(answer)).await;
        cut.await.map_err(|_| SnapshotError::Stopping)?;
        let (version, pauses) = (self.shared.version(), self.shared.pauses());
        let fresh = |snapshot: &&Arc<Snapshot>| {
            let fresh = snapshot.prepared.version == version || snapshot.is_younger(now, FRESH_MS);
            fresh && snapshot.pauses == pauses && snapshot.fits(wanted)
        };
        if let Some(snapshot) = state.newest.as_ref().filter(fresh) {
            return Ok(Arc::clone(snapshot));
        }
        let (database, folder) = (self.database.clone(), self.folder.clone());
        let made = spawn_blocking(move || make(&database, &folder, pauses)).await;
        let snapshot = Arc::new(made.map_err(io::Error::other)??);
        state.newest = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }
}

impl Snapshot {
    /// A hub that was restored has other rows under the same versions.
    fn fits(&self, wanted: Wanted) -> bool {
        let epoch = |epoch: Epoch| self.prepared.identity.starts_with(&format!("e{epoch}-"));
        self.prepared.version >= wanted.at_least && wanted.epoch.is_none_or(epoch)
    }

    /// A clock that was set back makes nothing younger.
    const fn is_younger(&self, now: i64, age_ms: i64) -> bool {
        let age = now - self.made_at;
        0 <= age && age < age_ms
    }
}

fn make(database: &Path, folder: &Path, pauses: u64) -> Result<Snapshot, SnapshotError> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(SnapshotError::Random)?;
    let name = HEXLOWER.encode(&random);
    let (raw, packed) = (folder.join(format!("{name}.db")), folder.join(format!("{name}.db.gz")));
    let made = snapshot::write(database, &raw).map_err(SnapshotError::from);
    let packing = made.and_then(|made| {
        pack(&raw, &packed)?;
        let identity = format!("e{}-v{}-{name}", made.epoch, made.version);
        Ok(Prepared::measure(&packed, Version(made.version.0), &identity)?)
    });
    let _ = fs::remove_file(&raw);
    match packing {
        Ok(prepared) => Ok(Snapshot { prepared, made_at: clock::now().0, pauses }),
        Err(error) => {
            let _ = fs::remove_file(&packed);
            Err(error)
        }
    }
}

fn pack(raw: &Path, packed: &Path) -> io::Result<()> {
    let mut source = File::open(raw)?;
    let target = BufWriter::new(File::create_new(packed)?);
    let mut encoder = GzEncoder::new(target, Compression::new(LEVEL));
    io::copy(&mut source, &mut encoder)?;
    encoder.finish()?.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::HubStore;
    use flate2::read::MultiGzDecoder;
    use rusqlite::Connection;
    use tt_migrations::{policy, runner};

    #[test]
    fn a_snapshot_is_a_packed_database_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("tablet_counter.db");
        runner::apply_all(&Connection::open(&database).unwrap(), 0).unwrap();
        drop(HubStore::open(&database, policy::shipped()).unwrap());
        let folder = dir.path().join("snapshots");
        fs::create_dir(&folder).unwrap();
        let snapshot = make(&database, &folder, 0).unwrap();
        assert!(snapshot.prepared.identity.starts_with("e1-v0-"), "{}", snapshot.prepared.identity);
        let unpacked = dir.path().join("unpacked.db");
        let mut decoder = MultiGzDecoder::new(File::open(&snapshot.prepared.path).unwrap());
        io::copy(&mut decoder, &mut File::create(&unpacked).unwrap()).unwrap();
        let check: String = Connection::open(&unpacked)
            .unwrap()
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(check, "ok");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "only the packed file");
        drop(snapshot);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }

    #[test]
    fn a_failed_one_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("not.db");
        fs::write(&database, "text that is long enough to be looked at as a database header").unwrap();
        let folder = dir.path().join("snapshots");
        fs::create_dir(&folder).unwrap();
        assert!(make(&database, &folder, 0).is_err());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
}

//! One snapshot: a SQLite database of the rows at one version with the epoch and the policy, nothing of the hub's own
//! (`store::snapshot`), and what devices take of it.
//!
//! * Its identity is `e<epoch>-v<version>-<random>`: never again for other bytes.
//! * All of it lies in a folder of its own, which goes with the last one who holds it.

use crate::backup::pack::{Effort, Packed, pack};
use crate::clock;
use crate::link::Prepared;
use crate::store::difference::Compared;
use crate::store::{StoreError, snapshot};
use data_encoding::HEXLOWER;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tt_migrations::durable;
use tt_migrations::progress::Unwatched;
use tt_protocol::download::Wanted;
use tt_protocol::number::{Epoch, Version};

/// One snapshot.
pub(super) struct Snapshot {
    identity: String,
    version: Version,
    folder: PathBuf,
    made_at: i64,
    /// [`super::Shared::pauses`] before it was made: after a restore it is one of another epoch.
    pauses: u64,
    packed: OnceCell<Prepared>,
    head: OnceCell<Prepared>,
    compared: Arc<Compared>,
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    #[error("the hub cannot make a snapshot: {0}")]
    Store(#[from] StoreError),
    #[error("the hub cannot write a snapshot: {0}")]
    Io(#[from] io::Error),
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
    #[error("the hub is stopping or cannot write; try again in a moment")]
    Stopping,
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        // What is left behind goes when the hub starts again.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Snapshot {
    /// Makes one of the database, in a folder of its own in `folder`. May take long.
    pub(super) fn make(database: &Path, folder: &Path, pauses: u64) -> Result<Self, SnapshotError> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(SnapshotError::Random)?;
        let name = HEXLOWER.encode(&random);
        let folder = folder.join(&name);
        durable::make_folder(&folder)?;
        let compared = Arc::new(Compared::new(whole(&folder), folder.clone()));
        let (packed, head, made_at) = (OnceCell::new(), OnceCell::new(), clock::now().0);
        let (identity, version) = (String::new(), Version(0));
        // From here on the folder goes when something fails.
        let mut made = Self { identity, version, folder, made_at, pauses, packed, head, compared };
        let written = snapshot::write(database, &whole(&made.folder))?;
        made.identity = format!("e{}-v{}-{name}", written.epoch, written.version);
        made.version = written.version;
        Ok(made)
    }

    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    pub(super) const fn version(&self) -> Version {
        self.version
    }

    pub(super) const fn pauses(&self) -> u64 {
        self.pauses
    }

    /// What devices ask about.
    pub(super) fn compared(&self) -> Arc<Compared> {
        Arc::clone(&self.compared)
    }

    /// All of it, packed. The first who wants it has it made, others wait.
    pub(super) async fn packed(&self) -> Result<Prepared, SnapshotError> {
        let make = || async {
            let (whole, path) = (whole(&self.folder), self.folder.join("whole.db.gz"));
            let target = path.clone();
            let packed = spawn_blocking(move || pack(&whole, &target, Effort::Quick, &Unwatched)).await;
            prepared(path, &packed.map_err(io::Error::other)??, self.version, self.identity.clone())
        };
        self.packed.get_or_try_init(make).await.cloned()
    }

    /// All but its rows, packed.
    pub(super) async fn head(&self) -> Result<Prepared, SnapshotError> {
        let make = || async {
            let (whole, head) = (whole(&self.folder), self.folder.join("head.db"));
            let (path, identity) = (self.folder.join("head.db.gz"), self.identity.clone());
            let target = path.clone();
            let packed = spawn_blocking(move || {
                snapshot::write_head(&whole, &head, &identity)?;
                Ok::<_, SnapshotError>(pack(&head, &target, Effort::Small, &Unwatched)?)
            })
            .await;
            let identity = format!("{}-head", self.identity);
            prepared(path, &packed.map_err(io::Error::other)??, self.version, identity)
        };
        self.head.get_or_try_init(make).await.cloned()
    }

    /// A hub that was restored has other rows under the same versions.
    pub(super) fn fits(&self, wanted: Wanted) -> bool {
        let epoch = |epoch: Epoch| self.identity.starts_with(&format!("e{epoch}-"));
        self.version >= wanted.at_least && wanted.epoch.is_none_or(epoch)
    }

    /// A clock that was set back makes nothing younger.
    pub(super) const fn is_younger(&self, now: i64, age_ms: i64) -> bool {
        let age = now - self.made_at;
        0 <= age && age < age_ms
    }
}

fn whole(folder: &Path) -> PathBuf {
    folder.join("whole.db")
}

fn prepared(
    path: PathBuf,
    packed: &Packed,
    version: Version,
    identity: String,
) -> Result<Prepared, SnapshotError> {
    let sha256 = HEXLOWER.decode(packed.sha256.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    let sha256 = sha256.expect("a SHA-256 as the hub writes it");
    Ok(Prepared { path, bytes: packed.bytes, sha256, version, identity })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::HubStore;
    use flate2::read::MultiGzDecoder;
    use rusqlite::Connection;
    use std::fs::File;
    use tt_migrations::{policy, runner};

    #[tokio::test]
    async fn a_snapshot_is_a_packed_database_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("tablet_counter.db");
        let conn = Connection::open(&database).unwrap();
        runner::apply_all(&conn, 0).unwrap();
        // The head is what is left without them.
        conn.execute_batch(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
             INSERT INTO tablet_types(tablet_type_name) SELECT 'type ' || (i * 7919 % 10007) FROM n",
        )
        .unwrap();
        drop(conn);
        drop(HubStore::open(&database, policy::shipped()).unwrap());
        let folder = dir.path().join("snapshots");
        fs::create_dir(&folder).unwrap();
        let snapshot = Snapshot::make(&database, &folder, 0).unwrap();
        assert!(snapshot.identity().starts_with("e1-v0-"), "{}", snapshot.identity());
        let unpacked = dir.path().join("unpacked.db");
        let packed = snapshot.packed().await.unwrap();
        assert_eq!(packed, Prepared::measure(&packed.path, Version(0), snapshot.identity()).unwrap());
        let mut decoder = MultiGzDecoder::new(File::open(&packed.path).unwrap());
        io::copy(&mut decoder, &mut File::create(&unpacked).unwrap()).unwrap();
        let check: String = Connection::open(&unpacked)
            .unwrap()
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(check, "ok");
        let head = snapshot.head().await.unwrap();
        assert!(head.bytes < packed.bytes && head.identity != packed.identity, "{head:?}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "a folder of its own");
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
        assert!(Snapshot::make(&database, &folder, 0).is_err());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
}

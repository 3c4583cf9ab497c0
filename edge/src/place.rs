//! Where things are on a device: the daemon's folder, and the program's database file.
//!
//! `DIR/identity/` is the device's key and certificate, `DIR/edge.json` says which file is replicated,
//! `DIR/control.sock` is the running daemon's ear. The lock lies beside the database file, because what
//! must be alone is not the daemon's folder but the one who writes that file.

use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use tt_migrations::durable;

/// Why a folder or file of the device cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The system refused.
    #[error(
        "cannot {what} {path}: {source}; check that the path is right and that this user may write there"
    )]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's own words.
        source: io::Error,
    },
    /// No database is named yet.
    #[error("{0} belongs to no hub yet: run tt-edge join TOKEN --data {0}")]
    NotJoined(PathBuf),
    /// The settings file is damaged.
    #[error("{0} is damaged: {1}; restore it, or join this device again")]
    Damaged(PathBuf, serde_json::Error),
    /// Another daemon holds the file.
    #[error("process {pid} already replicates {path}: stop it first, or use its own folder with --data")]
    Locked {
        /// The process.
        pid: String,
        /// The database.
        path: PathBuf,
    },
}

/// What we make in the daemon's folder, but for the settings: keys, what a join or a reseed was fetching, the
/// daemon's ear and its page.
const TRACES: [&str; 15] = [
    "identity.joining",
    "identity.old",
    "identity",
    "snapshot.db.gz",
    "snapshot.db.gz.part",
    "snapshot.db.gz.part.identity",
    "seed.db.gz",
    "seed.db.gz.part",
    "seed.db.gz.part.identity",
    "seed.db",
    "seed.db.unpacking",
    "control.sock",
    "edge.addr.json",
    "edge.addr.new",
    "station.token",
];

#[derive(Serialize, Deserialize)]
struct Settings {
    db: PathBuf,
}

/// The daemon's folder on a device.
#[derive(Clone, Debug)]
pub struct Place {
    dir: PathBuf,
}

/// Held as long as this process may write the database file. The system releases it with the process.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Place {
    /// The folder at `dir`, which need not exist yet.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The running daemon's control socket.
    #[must_use]
    pub fn control(&self) -> PathBuf {
        self.dir.join("control.sock")
    }

    /// Where a snapshot lies between its arrival and its installation.
    #[must_use]
    pub fn packed_snapshot(&self) -> PathBuf {
        self.dir.join("snapshot.db.gz")
    }

    /// Where the database is when nobody says otherwise.
    #[must_use]
    pub fn default_db(&self) -> PathBuf {
        self.dir.join("tablet_counter.db")
    }

    /// Makes the folder, for its owner only.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn create(&self) -> Result<(), PlaceError> {
        durable::make_folder(&self.dir).map_err(|source| failed("create the folder", &self.dir, source))
    }

    /// Remembers which file is replicated.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn remember_db(&self, db: &Path) -> Result<(), PlaceError> {
        let path = self.settings();
        let text = serde_json::to_vec_pretty(&Settings { db: db.to_owned() }).expect("a path and braces");
        durable::write(&path, &text).map_err(|source| failed("write", &path, source))
    }

    /// The file that is replicated.
    ///
    /// # Errors
    /// When the device has not joined.
    pub fn db(&self) -> Result<PathBuf, PlaceError> {
        let path = self.settings();
        match fs::read(&path) {
            Ok(bytes) => {
                let settings: Settings =
                    serde_json::from_slice(&bytes).map_err(|source| PlaceError::Damaged(path, source))?;
                Ok(settings.db)
            }
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                Err(PlaceError::NotJoined(self.dir.clone()))
            }
            Err(source) => Err(failed("read", &path, source)),
        }
    }

    /// Everything of ours on this device that is there now, what is removed last being last: which file was
    /// replicated is known until the end.
    #[must_use]
    pub fn traces(&self, db: &Path) -> Vec<PathBuf> {
        let beside = ["joining", "joining-wal", "joining-shm"].map(|end| suffixed(db, end));
        let own = TRACES.map(|name| self.dir.join(name));
        let last = [self.settings(), suffixed(db, "tt-edge.lock")];
        let all = beside.into_iter().chain(own).chain(last);
        all.filter(|path| fs::symlink_metadata(path).is_ok()).collect()
    }

    /// Removes them, and the folder if nothing else is in it. Gives what was removed.
    ///
    /// # Errors
    /// When the system refuses. It can be done again then.
    pub fn remove_traces(&self, db: &Path, _held: Lock) -> Result<Vec<PathBuf>, PlaceError> {
        let mut traces = self.traces(db);
        for path in &traces {
            let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            removed.map_err(|source| failed("remove", path, source))?;
        }
        // Files of scanners and their reasons are somebody's: only empty folders go.
        let inbox = ["inbox/done", "inbox/rejected", "inbox"].map(|name| self.dir.join(name));
        traces
            .extend(inbox.into_iter().chain([self.dir.clone()]).filter(|path| fs::remove_dir(path).is_ok()));
        Ok(traces)
    }

    fn settings(&self) -> PathBuf {
        self.dir.join("edge.json")
    }
}

/// Takes the lock of a database file: one daemon per file.
///
/// # Errors
/// When another process holds it, named by its number, or the system refuses.
pub fn lock(db: &Path) -> Result<Lock, PlaceError> {
    let path = suffixed(db, "tt-edge.lock");
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = open.map_err(|source| failed("open", &path, source))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // The holder may be about to write its number; an empty one is said as such.
            let _ = file.read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() { "another one".to_owned() } else { pid.trim().to_owned() };
            return Err(PlaceError::Locked { pid, path: db.to_owned() });
        }
        Err(TryLockError::Error(source)) => return Err(failed("lock", &path, source)),
    }
    let written = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
    written.map_err(|source| failed("write", &path, source))?;
    Ok(Lock { _file: file })
}

fn suffixed(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(end);
    PathBuf::from(name)
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> PlaceError {
    PlaceError::Io { what, path: path.to_owned(), source }
}

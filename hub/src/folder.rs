//! What lies where in the hub's folder.
//!
//! * `tablet_counter.db` is the canonical database; where it is, a hub was set up.
//! * `ca/` and `hub.toml` are made with it. All else comes and goes with the daemon.

use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use tt_migrations::durable;

/// A socket's path may have about a hundred bytes.
const SOCKET_PATH_BYTES_MAX: usize = 100;

/// The folder of one hub.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

/// Why a folder is not one of a hub.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// Nothing was set up here.
    #[error("there is no hub in {0}: run `tt-hub --data {0} init`, or name its folder with --data")]
    NoHub(PathBuf),
    /// The system does not let us in.
    #[error("cannot use {path}: {source}; check that you are the owner of the hub's folder", path = .path.display())]
    Closed {
        /// What was tried.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// A path to a socket that the system accepts, whatever the folder is called.
pub(crate) struct SocketPath {
    pub(crate) path: PathBuf,
    /// Keeps the short path valid.
    _folder: Option<File>,
}

impl Folder {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The folder of a hub that was set up.
    pub(crate) fn of_hub(path: &Path) -> Result<Self, FolderError> {
        let folder = Self::new(path);
        let database = folder.database();
        match fs::metadata(&database) {
            Ok(_) => Ok(folder),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(FolderError::NoHub(path.to_owned()))
            }
            Err(source) => Err(FolderError::Closed { path: database, source }),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.0.join("tablet_counter.db")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.0.join("hub.toml")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.0.join("hub.lock")
    }

    pub(crate) fn addresses(&self) -> PathBuf {
        self.0.join("hub.addr.json")
    }

    /// The backups' lock and logs, and the vaults that are below the hub's own folder.
    pub(crate) fn backups(&self) -> PathBuf {
        self.0.join("backups")
    }

    /// The journal's segments.
    pub(crate) fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    /// Numbered SQL of the operator's.
    pub(crate) fn migrations(&self) -> PathBuf {
        self.0.join("migrations")
    }

    /// Where the copy of a lost device's file lies while it is rescued.
    pub(crate) fn rescue(&self) -> PathBuf {
        self.0.join("rescue")
    }

    /// Where `init` builds what it then puts in place.
    pub(crate) fn staging(&self) -> PathBuf {
        self.0.join(".init")
    }

    /// Where snapshots for devices are.
    pub(crate) fn snapshots_path(&self) -> PathBuf {
        self.0.join("snapshots")
    }

    /// The folder of snapshots, made when it is not there.
    pub(crate) fn snapshots(&self) -> Result<PathBuf, FolderError> {
        let path = self.snapshots_path();
        match durable::make_folder(&path) {
            Ok(()) => Ok(path),
            Err(source) => Err(FolderError::Closed { path, source }),
        }
    }

    /// The daemon's control socket.
    pub(crate) fn control(&self) -> SocketPath {
        let path = self.0.join("control.sock");
        let opened = || File::open(&self.0).ok();
        match (path.as_os_str().len() > SOCKET_PATH_BYTES_MAX).then(opened).flatten() {
            None => SocketPath { path, _folder: None },
            Some(folder) => SocketPath {
                path: format!("/proc/self/fd/{}/control.sock", folder.as_raw_fd()).into(),
                _folder: Some(folder),
            },
        }
    }
}

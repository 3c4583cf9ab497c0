//! `rescue`: the unsent work of a lost device, out of its file.
//!
//! * The file is copied first, with its log, and never opened itself (`copy`). Of a damaged one the copy is taken
//!   apart, as far as it can be read.
//! * In the copy, what the device had not cut is cut (`work`): the same file always gives the same changesets.
//! * What the hub does not have of them it merges, in one commit, as a device number of its own that exists for this
//!   file only (`crate::store::lost_work`): so a second attempt, from wherever it was cut off, finds them merged.

mod copy;
mod work;

pub(crate) use copy::Copied;
pub(crate) use work::Work;

use crate::folder::FolderError;
use crate::store::StoreError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use tt_migrations::outbox::kept::Lost;
use tt_protocol::change::PieceError;

/// Why a file was not rescued. The file is always as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RescueError {
    #[error("there is no file {0}: check the path, and that the stick or card is mounted")]
    Missing(PathBuf),
    #[error("{0} is not a file: name the device's database, usually tablet_counter.db")]
    NotAFile(PathBuf),
    #[error("cannot {what} {path}: {source}; check its owner and mode, and that the stick or card can be read", path = .path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "{path} is in use by {who}: only the file of a device that is gone can be rescued; stop these programs, or let the \
         device hand in its work itself with tt-edge sync", path = .path.display()
    )]
    InUse { path: PathBuf, who: String },
    #[error(
        "{0} was written while it was copied: stop whatever writes it, or let the device hand in its work itself with \
         tt-edge sync"
    )]
    Changing(PathBuf),
    #[error("there is not enough room in {folder} for a copy: it takes {needed}, and {free} are free; make room", folder = .folder.display())]
    NoRoom { folder: PathBuf, needed: String, free: String },
    #[error("{0} is no SQLite database: name the device's file, usually tablet_counter.db")]
    NotADatabase(PathBuf),
    #[error(
        "{0} is not the file of a device that has joined a hub: to bring its rows in, give it to a device with tt-edge join \
         TOKEN --db FILE"
    )]
    NotOfADevice(PathBuf),
    #[error(
        "{0} is the file of a hub and not of a device: tt-hub restore brings a hub's file back, and tt-edge join TOKEN --db \
         FILE brings rows of another database in"
    )]
    OfAHub(PathBuf),
    #[error(
        "{path} belongs to device {device} of another hub ({why}): rescue it there; to bring its rows in here all the same, \
         use tt-edge join TOKEN --rescue", path = .path.display()
    )]
    OfAnotherHub { path: PathBuf, device: u16, why: String },
    #[error(
        "{path} is damaged where it says which device it is and what is unsent ({found}): nothing can be handed in from it; \
         keep it, and try a copy that was made earlier", path = .path.display()
    )]
    Illegible { path: PathBuf, found: String },
    #[error("what was read of {path} does not make a sound file ({found}): keep it, and report this", path = .path.display())]
    Unsound { path: PathBuf, found: String },
    #[error("another rescue is under way in {0}: wait for its end")]
    Busy(PathBuf),
    #[error("{path}: {source}", path = .path.display())]
    Sqlite { path: PathBuf, source: rusqlite::Error },
    #[error("the policy that {path} was written under cannot be read: {what}; bring the hub to the device's version", path = .path.display())]
    Policy { path: PathBuf, what: String },
    #[error("capture in the copy of {path}: {what}", path = .path.display())]
    Capture { path: PathBuf, what: String },
    #[error("what the file had cut cannot be read: {0}")]
    Piece(#[from] PieceError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the hub's database: {0}")]
    Hub(#[from] rusqlite::Error),
    #[error(transparent)]
    Devices(#[from] crate::devices::DevicesError),
}

/// What came of a file, or would come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rescued {
    /// The device whose file it is.
    pub(crate) device: u16,
    /// Its name.
    pub(crate) name: String,
    /// It is cut off already.
    pub(crate) is_revoked: bool,
    /// Changesets that go in.
    pub(crate) changesets: u64,
    /// Rows in them.
    pub(crate) rows: u64,
    /// These rows by table.
    pub(crate) tables: BTreeMap<String, u64>,
    /// How many of these rows the device had not cut.
    pub(crate) uncut: u64,
    /// Changesets that the hub has already.
    pub(crate) merged: u64,
    /// Rows that may be in already: they wait on the conflict list.
    pub(crate) unclear: u64,
    /// Entries of the conflict list that came of it.
    pub(crate) conflicts: Vec<i64>,
    /// Changesets that cannot go in.
    pub(crate) lost: Vec<Lost>,
    /// The name under which the hub handed them in to itself.
    pub(crate) handed_in_by: Option<String>,
    /// The hub's version afterwards.
    pub(crate) version: u64,
}

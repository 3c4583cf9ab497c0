//! Files that scanners and other programs leave: CSV and JSON lines, mapped by `DIR/inbox.toml` to counts or to
//! rows of a table. The daemon watches the folder, `tt-edge import` takes a file by hand.
//!
//! * A file goes in whole, in one transaction, together with the note that it went in: once, whatever dies. What
//!   cannot go in of it is kept with its line number and the reason in `rejected/`, the file itself in `done/`.
//! * A line is written as a program writes it (`record`), and captured as anybody's.
//! * Nothing is held in memory but one line at a time, and nothing outside of the folder is ever read.

mod book;
pub(crate) mod config;
mod fields;
pub(crate) mod folder;
mod import;
mod kind;
mod lines;
mod lookup;
mod moves;
mod opened;
mod pattern;
mod table;
mod unfit;

pub(crate) use book::TABLES;
pub(crate) use import::{Job, Taken, Verdict, Whole, import};
pub(crate) use moves::{finish, make};

use std::path::{Path, PathBuf};

/// Longer than any line of a scanner. What is longer is rejected without being held.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// A file is one transaction, and programs wait while it goes in: some thirty thousand lines, and a second or two, which
/// every program's patience with a busy file outlasts.
pub(crate) const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The same for whoever takes a file by hand at a time when no program writes.
pub(crate) const LARGE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Reasons that are held and told one by one; of the others only the number is.
const REASONS_MAX: usize = 1_000;

/// A line that did not go in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    /// Its number in the file, from 1.
    pub(crate) line: u64,
    /// Why.
    pub(crate) reason: String,
}

/// Why a file could not be taken now. Nothing of it was written, and it stays where it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InboxError {
    /// The system refused.
    #[error("cannot {what} {path}: {source}; check who owns it, and the free space")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// Somebody writes it.
    #[error("{0} was written while it was read; it is taken when it is finished")]
    Written(PathBuf),
    /// It is no ordinary file.
    #[error("{0} is no ordinary file: links, folders and devices are not read")]
    NoFile(PathBuf),
    /// A folder of ours is something else.
    #[error("{0} is no folder: remove it, and it is made anew")]
    NoFolder(PathBuf),
    /// SQLite failed, and not because of a line.
    #[error("the database could not be used: {0}; the file is tried again")]
    Sqlite(#[from] rusqlite::Error),
    /// The device has none left, which is not the lines' fault.
    #[error("the device has no free ids for its lines: {0}; the file is tried again")]
    NoIds(String),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] config::ConfigError),
}

fn failed(what: &'static str, path: &Path, source: std::io::Error) -> InboxError {
    InboxError::Io { what, path: path.to_owned(), source }
}

//! A file of the inbox, opened so that no link is followed and nothing but an ordinary file is read, and what it
//! was when it was looked at.

use super::{InboxError, failed};
use rustix::fs::OFlags;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, BufReader, Seek as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// What tells that somebody has written a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    file: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
}

impl Look {
    pub(super) fn of(found: &Metadata) -> Self {
        Self {
            file: (found.dev(), found.ino()),
            bytes: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
        }
    }
}

/// An open file.
pub(super) struct Opened {
    pub(super) path: PathBuf,
    file: File,
    look: Look,
}

impl Opened {
    /// Opens it for reading.
    pub(super) fn open(path: &Path) -> Result<Self, InboxError> {
        // A pipe without a writer would make us wait.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Err(source) if source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                return Err(InboxError::NoFile(path.to_owned()));
            }
            opened => opened.map_err(|source| failed("read", path, source))?,
        };
        let found = file.metadata().map_err(|source| failed("read", path, source))?;
        if !found.is_file() {
            return Err(InboxError::NoFile(path.to_owned()));
        }
        Ok(Self { path: path.to_owned(), look: Look::of(&found), file })
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.look.bytes
    }

    pub(super) const fn look(&self) -> Look {
        self.look
    }

    /// Its bytes from the beginning.
    pub(super) fn read(&self) -> Result<BufReader<&File>, InboxError> {
        self.read_from(0)
    }

    /// Its bytes from this one on.
    pub(super) fn read_from(&self, first: u64) -> Result<BufReader<&File>, InboxError> {
        let mut file = &self.file;
        file.seek(io::SeekFrom::Start(first)).map_err(|source| self.failed(source))?;
        Ok(BufReader::with_capacity(64 * 1024, file))
    }

    /// True when nobody has written it since it was opened, as far as the system tells.
    pub(super) fn is_unchanged(&self) -> Result<bool, InboxError> {
        let found = self.file.metadata().map_err(|source| self.failed(source))?;
        Ok(Look::of(&found) == self.look)
    }

    pub(super) fn failed(&self, source: io::Error) -> InboxError {
        failed("read", &self.path, source)
    }
}

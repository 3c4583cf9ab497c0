//! Reads the journal of a hub's folder or of a vault, also while it is being written, and says where it is not
//! whole: a gap between segments, a fork of the chain, damaged bytes.
//!
//! A tail that ends too early is no damage: somebody is writing it, or died doing so.

use super::parts;
use super::record::{Entry, Lsn, What};
use super::segment::{self, Flaw, Frames, Hash, Header};
use crate::backup::vault::Vault;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use tt_protocol::number::{Epoch, Millis, Version};

/// A header fits into so many bytes.
const HEAD_BYTES: u64 = 2_048;

/// Where segments are.
pub(crate) trait Source {
    /// For messages.
    fn place(&self) -> String;
    /// The first entries of all segments, in order.
    fn list(&self) -> io::Result<Vec<Lsn>>;
    /// A segment, or its beginning.
    fn read(&self, first: Lsn, bytes_max: u64) -> io::Result<Vec<u8>>;
}

/// Why the journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReaderError {
    /// The system refuses.
    #[error("the journal in {place} cannot be read: {source}; check the folder's disk, owner and mode")]
    File {
        /// The folder or vault.
        place: String,
        /// What the system says.
        source: io::Error,
    },
    /// Entries are missing.
    #[error(
        "the journal in {place} has no entry {missing}{}: take it from another vault, or choose a later backup",
        .found.map(|found| format!(" (the next one is {found})")).unwrap_or_default()
    )]
    Gap {
        /// The folder or vault.
        place: String,
        /// The first that is missing.
        missing: Lsn,
        /// The next that is there.
        found: Option<Lsn>,
    },
    /// A segment does not follow the one before it.
    #[error(
        "the journal in {place}: segment {segment} does not go on where the one before it ends: it is of another history of this hub"
    )]
    Fork {
        /// The folder or vault.
        place: String,
        /// The segment.
        segment: String,
    },
    /// Bytes are not what was written.
    #[error(
        "the journal in {place} is damaged: segment {segment} at byte {offset}: {what}; take this segment from another vault"
    )]
    Damaged {
        /// The folder or vault.
        place: String,
        /// The segment.
        segment: String,
        /// Where, in bytes from its beginning.
        offset: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// How far a journal goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The incarnation in which it begins.
    pub epoch: Epoch,
    /// Its first entry.
    pub first: Lsn,
    /// A snapshot of this version or a later one can be brought on.
    pub from: Version,
    /// When the first entry was made.
    pub from_at: Millis,
    /// The incarnation in which it ends.
    pub last_epoch: Epoch,
    /// Its last entry.
    pub last: Lsn,
    /// The version of the last entry.
    pub to: Version,
    /// When the last entry was made.
    pub to_at: Millis,
}

/// A journal.
pub struct Reader {
    source: Box<dyn Source>,
}

struct Folder(PathBuf);

impl Reader {
    /// The journal in a hub's folder: give it `DIR/journal`.
    #[must_use]
    pub fn of_folder(path: &Path) -> Self {
        Self { source: Box::new(Folder(path.to_owned())) }
    }

    /// The journal in a vault: give it the part of the vault in which the journal is.
    pub(crate) fn of_vault(vault: Box<dyn Vault>) -> Self {
        Self { source: Box::new(vault) }
    }

    /// How far it goes; `None` when there is none. Looks at the headers and the last segment only.
    ///
    /// # Errors
    /// [`ReaderError`].
    pub fn reach(&self) -> Result<Option<Reach>, ReaderError> {
        let mut reach: Option<Reach> = None;
        for first in self.segments()? {
            let bytes = self.bytes(first, HEAD_BYTES)?;
            let header = match Header::read(&bytes) {
                Ok((header, _)) => header,
                Err(flaw) if flaw.torn => continue,
                Err(flaw) => return Err(self.damaged(first, &flaw)),
            };
            let Header { first, epoch, version, at, before } = header;
            if before == [0; 32] || reach.is_none() {
                let (from, from_at) = (version, at);
                let (last_epoch, last, to, to_at) = (epoch, first, version, at);
                reach = Some(Reach { epoch, first, from, from_at, last_epoch, last, to, to_at });
            }
            if let Some(reach) = &mut reach {
                (reach.last_epoch, reach.last, reach.to, reach.to_at) = (epoch, first, version, at);
            }
        }
        let Some(mut reach) = reach else { return Ok(None) };
        for entry in self.entries(reach.last, None) {
            let entry = entry?;
            (reach.last, reach.to, reach.to_at) = (entry.lsn, entry.version, entry.at);
            if let What::Epoch { epoch, .. } = entry.what {
                reach.last_epoch = epoch;
            }
        }
        Ok(Some(reach))
    }

    /// All entries above this one, in order. An error ends them.
    ///
    /// # Errors
    /// When the entry that comes next is not there although later ones are, or the place cannot be listed.
    pub fn after(&self, lsn: Lsn) -> Result<Entries<'_>, ReaderError> {
        let segments = self.segments()?;
        let Some(first) = segments.iter().rev().find(|first| **first <= lsn.next()) else {
            if segments.is_empty() {
                return Ok(self.entries(lsn.next(), Some(lsn)));
            }
            let found = segments.first().copied();
            return Err(ReaderError::Gap { place: self.source.place(), missing: lsn.next(), found });
        };
        Ok(self.entries(*first, Some(lsn)))
    }

    fn entries(&self, first: Lsn, after: Option<Lsn>) -> Entries<'_> {
        Entries { reader: self, at: first, bytes: Vec::new(), offset: 0, hash: None, after, ended: false }
    }

    fn segments(&self) -> Result<Vec<Lsn>, ReaderError> {
        self.source.list().map_err(|source| self.file(source))
    }

    fn bytes(&self, first: Lsn, bytes_max: u64) -> Result<Vec<u8>, ReaderError> {
        self.source.read(first, bytes_max).map_err(|source| self.file(source))
    }

    fn file(&self, source: io::Error) -> ReaderError {
        ReaderError::File { place: self.source.place(), source }
    }

    fn damaged(&self, segment: Lsn, flaw: &Flaw) -> ReaderError {
        let (place, segment) = (self.source.place(), segment::name(segment));
        ReaderError::Damaged { place, segment, offset: flaw.offset, what: flaw.what }
    }
}

/// Entries that are being read, one segment at a time.
pub struct Entries<'r> {
    reader: &'r Reader,
    /// The segment that is read.
    at: Lsn,
    bytes: Vec<u8>,
    offset: usize,
    /// The last entry read and its hash.
    hash: Option<(Lsn, Hash)>,
    after: Option<Lsn>,
    ended: bool,
}

impl Entries<'_> {
    /// The next entry, from the segment that is open or from the next one.
    fn next_entry(&mut self) -> Result<Option<Entry>, ReaderError> {
        loop {
            if self.bytes.is_empty() && !self.open()? {
                return Ok(None);
            }
            let mut frames = Frames::new(&self.bytes).map_err(|flaw| self.reader.damaged(self.at, &flaw))?;
            if let Some((last, hash)) = self.hash {
                frames.go_to(self.offset, last, hash);
            }
            match frames.next() {
                Ok(Some(entry)) => {
                    self.hash = Some((entry.lsn, frames.hash));
                    self.offset = frames.offset;
                    return Ok(Some(entry));
                }
                Ok(None) => self.bytes.clear(),
                Err(flaw) if flaw.torn && self.is_last()? => return Ok(None),
                Err(flaw) => return Err(self.reader.damaged(self.at, &flaw)),
            }
            let last = self.hash.map_or(self.at, |(last, _)| last.next());
            if self.at == last {
                if self.is_last()? {
                    return Ok(None);
                }
                let flaw = Flaw { offset: self.offset, what: "it has no entries", torn: false };
                return Err(self.reader.damaged(self.at, &flaw));
            }
            self.at = last;
        }
    }

    fn is_last(&self) -> Result<bool, ReaderError> {
        Ok(self.reader.segments()?.last().is_none_or(|last| *last <= self.at))
    }

    /// Opens the segment that begins with `at`. False when there is none and none after it.
    fn open(&mut self) -> Result<bool, ReaderError> {
        let segments = self.reader.segments()?;
        if !segments.contains(&self.at) {
            return match segments.iter().find(|first| **first > self.at) {
                None => Ok(false),
                Some(found) => {
                    let place = self.reader.source.place();
                    Err(ReaderError::Gap { place, missing: self.at, found: Some(*found) })
                }
            };
        }
        let bytes = self.reader.bytes(self.at, u64::MAX)?;
        let header = match Header::read(&bytes) {
            Ok((header, offset)) => {
                self.offset = offset;
                header
            }
            Err(flaw) if flaw.torn && self.is_last()? => return Ok(false),
            Err(flaw) => return Err(self.reader.damaged(self.at, &flaw)),
        };
        if header.first != self.at || self.hash.is_some_and(|(_, hash)| hash != header.before) {
            let (place, segment) = (self.reader.source.place(), segment::name(self.at));
            return Err(ReaderError::Fork { place, segment });
        }
        self.hash = Some((Lsn(header.first.0 - 1), header.before));
        self.bytes = bytes;
        Ok(true)
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, ReaderError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            match self.next_entry() {
                Ok(Some(entry)) if self.after.is_some_and(|after| entry.lsn <= after) => {}
                Ok(Some(entry)) => return Some(Ok(entry)),
                Ok(None) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

impl Source for Folder {
    fn place(&self) -> String {
        self.0.display().to_string()
    }

    fn list(&self) -> io::Result<Vec<Lsn>> {
        let mut found = Vec::new();
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            entries => entries?,
        };
        for entry in entries {
            found.extend(entry?.file_name().to_str().and_then(segment::parse_name));
        }
        found.sort();
        Ok(found)
    }

    fn read(&self, first: Lsn, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        fs::File::open(self.0.join(segment::name(first)))?.take(bytes_max).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl Source for Box<dyn Vault> {
    fn place(&self) -> String {
        self.as_ref().place()
    }

    fn list(&self) -> io::Result<Vec<Lsn>> {
        Ok(parts::Stored::of(&Vault::list(self.as_ref())?).into_keys().collect())
    }

    fn read(&self, first: Lsn, bytes_max: u64) -> io::Result<Vec<u8>> {
        parts::read(self.as_ref(), first, bytes_max)
    }
}

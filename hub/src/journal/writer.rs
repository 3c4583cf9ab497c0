//! Carries what the store has put into `_sync_journal` into segments, on disk before anybody is told.
//!
//! * When it is opened, a tail that a crash left behind is cut off and written again from the database.
//! * When the files cannot go on (damaged, or the database is another one), a new chain begins: what was there
//!   stays for a person, and the next backup is where replay can begin. The hub never stops over it.
//! * When the system refuses to write, the step fails, and nothing of it is acknowledged.

use super::reader::Reader;
use super::record::{Entry, Lsn};
use super::segment::{self, Frames, Hash, Header};
use crate::store::journaled;
use rusqlite::Connection;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use tt_migrations::durable;
use tt_migrations::state;
use tt_protocol::number::{Epoch, Millis, Version};

/// A segment is closed when it is longer, or with the day (UTC).
const SEGMENT_BYTES: u64 = 4 << 20;
const DAY_MS: i64 = 86_400_000;
/// Entries that are written at once.
const BATCH_BYTES: usize = 8 << 20;

/// Why the journal cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The system refuses.
    #[error("the journal cannot be written: {path}: {source}; free some space, and check the folder's owner and mode", path = .path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The database failed.
    #[error("the hub's database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// What is to be written is no entry.
    #[error("entry {0} in the hub's database is damaged: report this, and make a backup")]
    Entry(Lsn),
}

/// How far the journal on disk goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// The last entry.
    pub last: Lsn,
    /// Its version.
    pub version: Version,
    /// When it was made.
    pub at: Millis,
    /// The segment that it is in, by its first entry.
    pub segment: Lsn,
    /// The length of that segment.
    pub bytes: u64,
}

/// Writes segments.
pub struct Writer {
    folder: PathBuf,
    /// The segment that goes on.
    open: Option<Open>,
    tail: Tail,
    hash: Hash,
}

struct Open {
    file: File,
    path: PathBuf,
    began: Millis,
}

impl Writer {
    /// Opens the journal in this folder, which is made when it is not there. `conn` is the database that it
    /// belongs to.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open(folder: &Path, conn: &Connection) -> Result<Self, JournalError> {
        durable::make_folder(folder).map_err(|source| file(folder, source))?;
        let mut writer = Self { folder: folder.to_owned(), open: None, tail: Tail::default(), hash: [0; 32] };
        let known = journaled::last(conn)?.unwrap_or_default();
        let found = writer.find_end()?;
        let next = journaled::above(conn, Lsn(0), 1)?.first().map(|(lsn, _)| *lsn);
        // What the files lack must be in the database.
        let kept_from = next.unwrap_or(known.next());
        match found {
            // A tail that is not whole was never told to anybody, or is still in the database as well.
            End::Whole | End::Damaged { .. }
                if writer.tail.last <= known && kept_from <= writer.tail.last.next() =>
            {
                writer.cut_tail()?;
            }
            End::Empty if kept_from == Lsn(1) => {}
            found => writer.begin_anew(conn, known, kept_from, found)?,
        }
        writer.flush(conn)?;
        Ok(writer)
    }

    /// Reads what is on disk.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::of_folder(&self.folder)
    }

    /// How far the files go.
    #[must_use]
    pub const fn tail(&self) -> Tail {
        self.tail
    }

    /// Writes what the database has and the files lack. When this returns, all of it is on disk.
    ///
    /// # Errors
    /// [`JournalError`]. What was not written is tried again the next time.
    pub fn flush(&mut self, conn: &Connection) -> Result<(), JournalError> {
        loop {
            let waiting = journaled::above(conn, self.tail.last, BATCH_BYTES)?;
            if waiting.is_empty() {
                return Ok(());
            }
            let mut rest = waiting.as_slice();
            while !rest.is_empty() {
                let written = self.write(conn, rest)?;
                rest = rest.get(written..).unwrap_or_default();
            }
        }
    }

    /// Writes entries into one segment. Gives their number, which is at least one.
    fn write(&mut self, conn: &Connection, waiting: &[(Lsn, Vec<u8>)]) -> Result<usize, JournalError> {
        let (mut bytes, mut hash, mut tail, mut count) = (Vec::new(), self.hash, self.tail, 0);
        for (lsn, entry) in waiting {
            let Ok(Entry { version, at, .. }) = Entry::from_bytes(entry) else {
                return Err(JournalError::Entry(*lsn));
            };
            if count == 0 {
                self.rotate_if_due(conn, *lsn, at)?;
                (tail.segment, tail.bytes) = (self.tail.segment, self.tail.bytes);
            } else if tail.bytes + bytes.len() as u64 >= SEGMENT_BYTES || self.is_another_day(at) {
                break;
            }
            hash = segment::frame(&mut bytes, entry, hash);
            (tail.last, tail.version, tail.at) = (*lsn, version, at);
            count += 1;
        }
        let Some(open) = &mut self.open else { return Ok(count) };
        let before = tail.bytes;
        if let Err(source) = open.file.write_all(&bytes).and_then(|()| open.file.sync_data()) {
            // What reached the file would be in the way of the next attempt.
            let cut = open.file.set_len(before);
            let path = open.path.clone();
            if cut.is_err() {
                self.open = None;
            }
            return Err(JournalError::File { path, source });
        }
        tail.bytes += bytes.len() as u64;
        (self.hash, self.tail) = (hash, tail);
        Ok(count)
    }

    fn is_another_day(&self, at: Millis) -> bool {
        let day = |at: Millis| at.0.div_euclid(DAY_MS);
        self.open.as_ref().is_none_or(|open| day(open.began) != day(at))
    }

    fn rotate_if_due(&mut self, conn: &Connection, first: Lsn, at: Millis) -> Result<(), JournalError> {
        if self.open.is_some() && self.tail.bytes < SEGMENT_BYTES && !self.is_another_day(at) {
            return Ok(());
        }
        let epoch = Epoch(state::get(conn, state::EPOCH)?.unwrap_or(1).unsigned_abs());
        let header = Header { first, epoch, version: self.tail.version, at, before: self.hash };
        let path = self.folder.join(segment::name(first));
        let head = header.to_bytes();
        let begin = || {
            let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
            // An attempt that failed may have left something.
            file.set_len(0)?;
            file.write_all(&head)?;
            file.sync_data()?;
            File::open(&self.folder)?.sync_all()?;
            Ok(file)
        };
        let file = begin().map_err(|source| file(&path, source))?;
        (self.tail.segment, self.tail.bytes) = (first, head.len() as u64);
        self.open = Some(Open { file, path, began: at });
        Ok(())
    }

    /// Finds where the files end, and cuts off what a crash has left behind.
    fn find_end(&mut self) -> Result<End, JournalError> {
        loop {
            let names = fs::read_dir(&self.folder).map_err(|source| file(&self.folder, source))?;
            let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            let Some(first) = names.filter_map(|name| segment::parse_name(&name)).max() else {
                return Ok(End::Empty);
            };
            let path = self.folder.join(segment::name(first));
            let bytes = fs::read(&path).map_err(|source| file(&path, source))?;
            let mut frames = match Frames::new(&bytes) {
                Ok(frames) => frames,
                Err(flaw) if flaw.torn => {
                    fs::remove_file(&path).map_err(|source| file(&path, source))?;
                    continue;
                }
                Err(flaw) => return Ok(End::Damaged { segment: first, what: flaw.what }),
            };
            self.tail = Tail { version: frames.header.version, at: frames.header.at, ..Tail::default() };
            let flaw = loop {
                match frames.next() {
                    Ok(Some(entry)) => (self.tail.version, self.tail.at) = (entry.version, entry.at),
                    Ok(None) => break None,
                    Err(flaw) => break Some(flaw),
                }
            };
            (self.tail.segment, self.tail.last, self.tail.bytes) =
                (first, frames.last(), frames.offset as u64);
            self.hash = frames.hash;
            let began = frames.header.at;
            let opened = OpenOptions::new().append(true).open(&path).map_err(|source| file(&path, source))?;
            self.open = Some(Open { file: opened, path, began });
            return Ok(match flaw {
                Some(flaw) if !flaw.torn => End::Damaged { segment: first, what: flaw.what },
                _ => End::Whole,
            });
        }
    }

    /// What is whole stays. It may never have been synced: the writer may have died before.
    fn cut_tail(&self) -> Result<(), JournalError> {
        let Some(Open { file: opened, path, .. }) = &self.open else { return Ok(()) };
        let cut = opened.set_len(self.tail.bytes).and_then(|()| opened.sync_all());
        cut.map_err(|source| file(path, source))
    }

    /// Begins a new chain: replay cannot cross this place. No number is ever used twice.
    fn begin_anew(
        &mut self,
        conn: &Connection,
        known: Lsn,
        kept_from: Lsn,
        found: End,
    ) -> Result<(), JournalError> {
        let why = match found {
            End::Empty => "its older segments are not there".to_owned(),
            End::Damaged { segment, what } => format!("segment {}: {what}", segment::name(segment)),
            End::Whole if self.tail.last > known => "the database is an older one".to_owned(),
            End::Whole => "entries between its end and the database are missing".to_owned(),
        };
        tracing::error!(
            %why,
            folder = %self.folder.display(),
            "the journal cannot be continued: it begins anew, and replay is possible from the next backup on"
        );
        let mut last = Lsn(kept_from.0.saturating_sub(1));
        if self.tail.last > known {
            // The numbers of the files that are there are used up.
            last = self.tail.last;
            conn.execute("DELETE FROM _sync_journal", [])?;
            state::set(conn, journaled::JOURNAL, last.0 as i64)?;
        }
        let version = Version(state::get(conn, state::VERSION)?.unwrap_or(0).unsigned_abs());
        self.open = None;
        self.hash = [0; 32];
        self.tail = Tail { last, version, ..Tail::default() };
        Ok(())
    }
}

/// How the files end.
enum End {
    Empty,
    Whole,
    Damaged { segment: Lsn, what: &'static str },
}

fn file(path: &Path, source: io::Error) -> JournalError {
    JournalError::File { path: path.to_owned(), source }
}

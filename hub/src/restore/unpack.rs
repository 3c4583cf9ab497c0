//! Unpacks a `.gz` that somebody names, of which nobody knows what it unpacks to.
//!
//! * What does not begin as a SQLite database ends there: nothing of it is written.
//! * Stations' counts arrive on the same disk. It is never filled: some room is left, whatever the file says.

use crate::backup::RESERVE_BYTES;
use crate::backup::pack::{CHUNK_BYTES, pump};
use crate::space::{Space, readable};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::path::Path;
use tt_migrations::progress::{Progress, Told, Unit};

const MAGIC: &[u8; 16] = b"SQLite format 3\0";
const HEADER_BYTES: usize = 100;
/// Room is asked for again after so many bytes.
const ASK_EVERY_BYTES: u64 = 16 << 20;

/// Why a file was not unpacked.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnpackError {
    #[error("it is not a SQLite database")]
    NotADatabase,
    #[error(
        "unpacked it needs {needed}, and {free} are free beside what the hub itself needs: make room on the hub's disk"
    )]
    NoRoom { needed: String, free: String },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Unpacks into the new file `to`.
pub(super) fn unpack(packed: &Path, to: &Path, progress: &dyn Progress) -> Result<(), UnpackError> {
    let folder = to.parent().unwrap_or(to);
    // Where nobody can say, the attempt will.
    unpack_into(packed, to, progress, &|| Space::of(folder).map_or(u64::MAX, |space| space.free))
}

fn unpack_into(
    packed: &Path,
    to: &Path,
    progress: &dyn Progress,
    free: &dyn Fn() -> u64,
) -> Result<(), UnpackError> {
    let file = File::open(packed)?;
    progress.phase("unpacking the file", Some(file.metadata()?.len()), Unit::Bytes);
    let told = Told::new(file, progress);
    let mut decoder = MultiGzDecoder::new(BufReader::with_capacity(CHUNK_BYTES, told));
    let header = header(&mut decoder)?;
    expect_room(database_bytes(&header).unwrap_or(0), free())?;
    let mut out = BufWriter::with_capacity(CHUNK_BYTES, File::create(to)?);
    out.write_all(&header)?;
    let mut unasked = 0;
    let mut full = None;
    let unpacked = pump(&mut decoder, |bytes| {
        unasked += bytes.len() as u64;
        if unasked >= ASK_EVERY_BYTES {
            unasked = 0;
            if let Err(error) = expect_room(ASK_EVERY_BYTES, free()) {
                full = Some(error);
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        out.write_all(bytes)
    });
    if let Some(error) = full {
        return Err(error);
    }
    unpacked?;
    Ok(out.flush()?)
}

/// The first bytes, which must be those of a database.
fn header(decoder: &mut impl Read) -> Result<Vec<u8>, UnpackError> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    decoder.take(HEADER_BYTES as u64).read_to_end(&mut header)?;
    if header.len() == HEADER_BYTES && header.starts_with(MAGIC) {
        Ok(header)
    } else {
        Err(UnpackError::NotADatabase)
    }
}

/// Page size and number of pages, where the header says the latter for sure (file format, 1.3.7).
fn database_bytes(header: &[u8]) -> Option<u64> {
    let number = |at: usize| Some(u32::from_be_bytes(header.get(at..at + 4)?.try_into().ok()?));
    let page = u16::from_be_bytes(header.get(16..18)?.try_into().ok()?);
    let page = if page == 1 { 65_536 } else { u64::from(page) };
    (number(24)? == number(92)?).then_some(page * u64::from(number(28)?))
}

fn expect_room(needed: u64, free: u64) -> Result<(), UnpackError> {
    let free = free.saturating_sub(RESERVE_BYTES);
    if needed <= free {
        return Ok(());
    }
    Err(UnpackError::NoRoom { needed: format!("{} at least", readable(needed)), free: readable(free) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::cell::Cell;
    use std::path::PathBuf;
    use tt_migrations::progress::Unwatched;

    fn packed(dir: &Path, begin: &[u8], zeros: u64) -> PathBuf {
        let path = dir.join("x.gz");
        let mut encoder = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
        encoder.write_all(begin).unwrap();
        io::copy(&mut io::repeat(0).take(zeros), &mut encoder).unwrap();
        encoder.finish().unwrap();
        path
    }

    fn header_of(pages: u32) -> Vec<u8> {
        let mut header = MAGIC.to_vec();
        header.resize(HEADER_BYTES, 0);
        header[16..18].copy_from_slice(&4_096_u16.to_be_bytes());
        header[28..32].copy_from_slice(&pages.to_be_bytes());
        header
    }

    #[test]
    fn what_is_no_database_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("to.db");
        for (begin, zeros) in [(&b""[..], 0), (b"SQLite format 3", 0), (b"", 40 << 20), (&MAGIC[..], 83)] {
            let error = unpack(&packed(dir.path(), begin, zeros), &to, &Unwatched).unwrap_err();
            assert!(matches!(error, UnpackError::NotADatabase), "{zeros}: {error}");
            assert!(!to.exists());
        }
    }

    #[test]
    fn a_database_for_which_there_is_no_room_is_not_begun() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("to.db");
        let file = packed(dir.path(), &header_of(u32::MAX), 1_000);
        let error = unpack_into(&file, &to, &Unwatched, &|| 1 << 40).unwrap_err().to_string();
        assert!(error.contains("needs 16.0 TiB at least, and 1023.9 GiB are free"), "{error}");
        assert!(!to.exists());
    }

    #[test]
    fn a_file_that_unpacks_without_end_stops_before_the_disk_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("to.db");
        let file = packed(dir.path(), &header_of(1), 200 << 20);
        let asked = Cell::new(0);
        let free = || {
            asked.set(asked.get() + 1);
            RESERVE_BYTES + ASK_EVERY_BYTES * 4 - (asked.get() - 1) * ASK_EVERY_BYTES
        };
        let error = unpack_into(&file, &to, &Unwatched, &free).unwrap_err();
        assert!(matches!(error, UnpackError::NoRoom { .. }), "{error}");
        assert!(std::fs::metadata(&to).unwrap().len() <= ASK_EVERY_BYTES * 5);
        assert_eq!(asked.get(), 5);
    }

    #[test]
    fn a_database_comes_out_as_it_went_in() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from.db"), dir.path().join("to.db"));
        let conn = rusqlite::Connection::open(&from).unwrap();
        conn.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (randomblob(100000));").unwrap();
        drop(conn);
        let bytes = std::fs::read(&from).unwrap();
        assert_eq!(database_bytes(&bytes), Some(bytes.len() as u64));
        unpack(&packed(dir.path(), &bytes, 0), &to, &Unwatched).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), bytes);
    }
}

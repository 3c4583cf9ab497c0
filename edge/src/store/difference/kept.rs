//! The rows that were fetched so far, in a file of the daemon's folder.
//!
//! * The file begins with the moment that was compared. Another moment begins a new file.
//! * A record holds what differs in some ranges of a table, proven. It is appended at once and has a checksum: what a
//!   crash has left of the last one is cut off, and fetched again.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use tt_protocol::frame::{from_kept_bytes, to_bytes};
use tt_protocol::number::{Seq, Version};

/// Bytes of a record's checksum.
const SUM_BYTES: usize = 8;

/// What was compared: with anything else, what is kept is of no use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// Identity of the hub's snapshot.
    pub(crate) identity: String,
    /// The version that the file has applied.
    pub(crate) cursor: Version,
    /// The last changeset that it has cut.
    pub(crate) last: Seq,
    /// `PRAGMA schema_version` of the file.
    pub(crate) schema: i64,
}

/// What differs in some ranges of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) table: String,
    /// Blocks in which nothing else differs.
    pub(super) blocks: Vec<u32>,
    /// Ranges in which nothing else differs.
    pub(super) ranges: Vec<u32>,
    /// Keys that the hub has not, as in a feed.
    pub(super) gone: Vec<Vec<u8>>,
    /// The hub's rows, as in a feed.
    pub(super) put: Vec<Vec<u8>>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Entry {
    Begin(Moment),
    Record(Record),
    /// Nothing else differs.
    End,
}

/// The file, to go on with.
#[derive(Debug)]
pub(super) struct Kept {
    file: File,
    blocks: HashSet<(String, u32)>,
    ranges: HashSet<(String, u32)>,
}

impl Kept {
    /// What there is of this moment, or a new file.
    pub(super) fn open(path: &Path, moment: &Moment) -> io::Result<Self> {
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let (entries, whole) = entries(&mut file)?;
        let is_same = matches!(entries.first(), Some(Entry::Begin(begun)) if begun == moment);
        let mut kept = Self { file, blocks: HashSet::new(), ranges: HashSet::new() };
        if !is_same {
            kept.file.set_len(0)?;
            kept.file.rewind()?;
            kept.append(&Entry::Begin(moment.clone()))?;
            return Ok(kept);
        }
        kept.file.set_len(whole)?;
        kept.file.seek(SeekFrom::Start(whole))?;
        for entry in entries {
            if let Entry::Record(record) = entry {
                let table = |number: &u32| (record.table.clone(), *number);
                kept.blocks.extend(record.blocks.iter().map(table));
                kept.ranges.extend(record.ranges.iter().map(table));
            }
        }
        Ok(kept)
    }

    /// True when this block need not be compared again.
    pub(super) fn has_block(&self, table: &str, block: u32) -> bool {
        self.blocks.contains(&(table.to_owned(), block))
    }

    /// True when this range need not be compared again.
    pub(super) fn has_range(&self, table: &str, range: u32) -> bool {
        self.ranges.contains(&(table.to_owned(), range))
    }

    pub(super) fn add(&mut self, record: Record) -> io::Result<()> {
        self.append(&Entry::Record(record))
    }

    /// All is there, and on disk.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.append(&Entry::End)?;
        self.file.sync_all()
    }

    fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let body = to_bytes(entry);
        let mut bytes = (body.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(&checksum(&body));
        bytes.extend_from_slice(&body);
        self.file.write_all(&bytes)
    }
}

/// The pieces of a feed that bring the file to the snapshot: keys that go before rows that come, whatever the
/// table. None when they are of another moment, or not all there.
pub(crate) fn pieces(path: &Path, moment: &Moment) -> io::Result<Option<Vec<Vec<u8>>>> {
    let (entries, _) = entries(&mut File::open(path)?)?;
    let mut entries = entries.into_iter();
    if !matches!(entries.next(), Some(Entry::Begin(begun)) if begun == *moment) {
        return Ok(None);
    }
    let (mut gone, mut put) = (Vec::new(), Vec::new());
    for entry in entries {
        match entry {
            Entry::Begin(_) => return Ok(None),
            Entry::Record(record) => {
                gone.extend(record.gone);
                put.extend(record.put);
            }
            Entry::End => {
                gone.append(&mut put);
                return Ok(Some(gone));
            }
        }
    }
    Ok(None)
}

/// The whole entries from the front, and where they end.
fn entries(file: &mut File) -> io::Result<(Vec<Entry>, u64)> {
    let length = file.metadata()?.len();
    file.rewind()?;
    let mut reader = BufReader::new(file);
    let (mut entries, mut whole) = (Vec::new(), 0);
    while let Some((entry, bytes)) = next(&mut reader, length - whole)? {
        whole += bytes;
        entries.push(entry);
    }
    Ok((entries, whole))
}

/// The next entry and its size; None at the end, and at what is none.
fn next(reader: &mut impl Read, left: u64) -> io::Result<Option<(Entry, u64)>> {
    let head = 8 + SUM_BYTES as u64;
    let Some(room) = left.checked_sub(head) else { return Ok(None) };
    let (mut length, mut sum) = ([0; 8], [0; SUM_BYTES]);
    reader.read_exact(&mut length)?;
    reader.read_exact(&mut sum)?;
    let length = u64::from_le_bytes(length);
    let Some(bytes) = usize::try_from(length).ok().filter(|_| length <= room) else { return Ok(None) };
    let mut body = vec![0; bytes];
    reader.read_exact(&mut body)?;
    let entry = from_kept_bytes(&body).ok().filter(|_| checksum(&body) == sum);
    Ok(entry.map(|entry| (entry, head + length)))
}

fn checksum(body: &[u8]) -> [u8; SUM_BYTES] {
    let hash = Sha256::digest(body);
    let mut sum = [0; SUM_BYTES];
    sum.copy_from_slice(&hash[..SUM_BYTES]);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(schema: i64) -> Moment {
        Moment { identity: "e1-v2-a".into(), cursor: Version(1), last: Seq(3), schema }
    }

    fn record(block: u32) -> Record {
        let byte = u8::try_from(block).unwrap();
        Record {
            table: "t".into(),
            blocks: vec![block],
            ranges: vec![block + 9],
            gone: vec![vec![byte]],
            put: vec![vec![byte, 0]],
        }
    }

    #[test]
    fn what_was_fetched_is_there_the_next_time_and_rows_that_go_come_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows");
        let mut kept = Kept::open(&path, &moment(1)).unwrap();
        kept.add(record(1)).unwrap();
        drop(kept);
        assert_eq!(pieces(&path, &moment(1)).unwrap(), None, "not yet all");
        let mut kept = Kept::open(&path, &moment(1)).unwrap();
        assert!(kept.has_block("t", 1) && !kept.has_block("t", 2) && !kept.has_block("u", 1));
        assert!(kept.has_range("t", 10) && !kept.has_range("t", 1));
        kept.add(record(2)).unwrap();
        kept.finish().unwrap();
        let all = [vec![1], vec![2], vec![1, 0], vec![2, 0]];
        assert_eq!(pieces(&path, &moment(1)).unwrap().unwrap(), all);
        assert_eq!(pieces(&path, &moment(2)).unwrap(), None, "of another moment");
        assert!(!Kept::open(&path, &moment(2)).unwrap().has_block("t", 1), "begins anew");
    }

    #[test]
    fn half_of_a_record_is_cut_off_and_a_damaged_one_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows");
        let mut kept = Kept::open(&path, &moment(1)).unwrap();
        kept.add(record(1)).unwrap();
        kept.add(record(2)).unwrap();
        drop(kept);
        let bytes = std::fs::read(&path).unwrap();
        for lost in 1..30 {
            std::fs::write(&path, &bytes[..bytes.len() - lost]).unwrap();
            let mut kept = Kept::open(&path, &moment(1)).unwrap();
            assert!(kept.has_block("t", 1) && !kept.has_block("t", 2), "{lost} bytes lost");
            kept.add(record(2)).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
        let mut damaged = bytes.clone();
        *damaged.last_mut().unwrap() ^= 1;
        std::fs::write(&path, damaged).unwrap();
        assert!(!Kept::open(&path, &moment(1)).unwrap().has_block("t", 2));
    }
}

//! What is known of one table of a snapshot: the digest and the last key of every range in memory, a thousandth of
//! the table, and the mark of every row in a file.

use super::Trouble;
use rusqlite::Connection;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use tt_migrations::ranges::{Bounds, Marker, for_each};
use tt_migrations::replica::Tracked;
use tt_migrations::row::Key;
use tt_migrations::value::copy;
use tt_protocol::difference::cell::{MARK_BYTES, Mark};
use tt_protocol::difference::{BLOCK_RANGES, RANGE_ROWS};
use tt_protocol::digest::TableDigest;
use tt_protocol::value::Value;

/// One table of a snapshot. Every range has [`RANGE_ROWS`] rows but the last, which may have none.
pub(super) struct Summary {
    tracked: Tracked,
    digests: Vec<TableDigest>,
    /// The last key of every range but the table's last.
    uppers: Vec<Key>,
    marks: File,
}

impl Summary {
    /// Reads a table. The marks of its rows go into a new file at `path`.
    pub(super) fn read(conn: &Connection, tracked: Tracked, path: &Path) -> Result<Self, Trouble> {
        let mut marker = Marker::new(&tracked, &tracked).ok_or(Trouble::Asked)?;
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        let mut out = BufWriter::new(&file);
        let (mut digests, mut uppers) = (vec![TableDigest::default()], Vec::new());
        let (mut before, mut written) = (None, Ok(()));
        for_each(conn, &tracked, Bounds::default(), |row| {
            let (hash, mark) = marker.read(row)?;
            let last = digests.last_mut().expect("there is a first range");
            if last.rows == RANGE_ROWS as u64 {
                uppers.extend(before.take());
                digests.push(TableDigest::default());
            }
            let last = digests.last_mut().expect("there is a first range");
            last.add(hash);
            if last.rows == RANGE_ROWS as u64 {
                before = Some(copy(row, 0, tracked.keys())?);
            }
            if written.is_ok() {
                written = out.write_all(&mark.to_bytes());
            }
            Ok(())
        })?;
        written?;
        out.flush()?;
        drop(out);
        Ok(Self { tracked, digests, uppers, marks: file })
    }

    /// The table, as the snapshot has it.
    pub(super) const fn tracked(&self) -> &Tracked {
        &self.tracked
    }

    /// How many ranges it has.
    pub(super) fn ranges(&self) -> usize {
        self.digests.len()
    }

    /// How many blocks it has.
    pub(super) fn blocks(&self) -> usize {
        self.ranges().div_ceil(BLOCK_RANGES)
    }

    /// The last key of every range but the last.
    pub(super) fn uppers(&self) -> &[Key] {
        &self.uppers
    }

    /// The ranges of a block.
    pub(super) fn ranges_of(&self, block: usize) -> Range<usize> {
        let first = block.saturating_mul(BLOCK_RANGES).min(self.ranges());
        first..self.ranges().min(first + BLOCK_RANGES)
    }

    /// The digest of a range, and its last key.
    pub(super) fn range(&self, range: usize) -> (TableDigest, Option<&[Value]>) {
        let digest = self.digests.get(range).copied().unwrap_or_default();
        (digest, self.uppers.get(range).map(Vec::as_slice))
    }

    /// The digest of a block, and its last key.
    pub(super) fn block(&self, block: usize) -> (TableDigest, Option<&[Value]>) {
        let ranges = self.ranges_of(block);
        let mut digest = TableDigest::default();
        self.digests[ranges.clone()].iter().for_each(|range| digest.join(*range));
        (digest, ranges.last().and_then(|last| self.uppers.get(last)).map(Vec::as_slice))
    }

    /// The marks of a range's rows, in key order.
    pub(super) fn marks(&self, range: u32) -> Result<Vec<Mark>, Trouble> {
        let number = usize::try_from(range).map_err(|_| Trouble::Asked)?;
        let rows = self.digests.get(number).ok_or(Trouble::Asked)?.rows;
        let mut bytes = vec![0; usize::try_from(rows).map_err(|_| Trouble::Asked)? * MARK_BYTES];
        self.marks.read_exact_at(&mut bytes, u64::from(range) * (RANGE_ROWS * MARK_BYTES) as u64)?;
        let (marks, _) = bytes.as_chunks::<MARK_BYTES>();
        Ok(marks.iter().map(|mark| Mark::from_bytes(*mark)).collect())
    }
}

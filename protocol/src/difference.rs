//! The conversation in which a device that is reseeded fetches only the rows in which it differs from a snapshot
//! of the hub.
//!
//! * A table of the snapshot is cut into *ranges* of [`RANGE_ROWS`] rows in the order of their keys, and
//!   [`BLOCK_RANGES`] ranges are a *block*. Rows that came or went together lie together, so one range tells of them.
//! * Blocks and ranges are compared by the digests that an audit has. Where a range differs, its rows are sorted by
//!   a hash of their key into *cells* ([`cell`]), and sums of two bytes say which cells differ ([`narrow`]).
//!   Two bytes can agree by chance: the range's digest then finds it out once its rows are there.
//! * The device asks and the hub answers from the snapshot alone: it keeps nothing for a device, and a question can
//!   be asked again on the next link.

pub mod cell;
pub mod narrow;
pub mod numbers;

use crate::change::{Kind, PieceError, TableChange, decode_piece, encode_piece};
use crate::digest::TableDigest;
use crate::value::{Value, ValueRef};
use cell::Cell;
use serde::{Deserialize, Serialize};

/// Rows of every range of a table but its last. A summary of the whole table costs some 18 bytes for each.
pub const RANGE_ROWS: usize = 512;
/// Ranges of every block of a table but its last.
pub const BLOCK_RANGES: usize = 64;
/// Blocks in one answer; the device asks on.
pub const BLOCKS_MAX: usize = 4_096;
/// Blocks whose ranges are compared together. Bounds what a device keeps in mind: the hashes and keys of 262,144 rows.
pub const WINDOW_BLOCKS: usize = 8;
/// Ranges that one question may touch: the hub reads all rows of each.
pub const RANGES_MAX: usize = WINDOW_BLOCKS * BLOCK_RANGES;
/// Cells in one question.
pub const CELLS_MAX: usize = 32_768;
/// Rows in one answer.
pub const ROWS_MAX: usize = 8_192;
/// Bytes of a question: [`CELLS_MAX`] numbers, deflated.
pub const QUESTION_BYTES_MAX: usize = 512 * 1024;
/// An answer with rows or keys is closed once it holds this many bytes; the device asks on.
pub const ANSWER_BYTES_SOFT: usize = 1024 * 1024;

/// Cells of one depth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cells {
    /// Bits of a row's place that say in which cell of its range it lies.
    pub depth: u8,
    /// Numbers of the cells, ascending ([`numbers::pack_ascending`]).
    pub numbers: Vec<u8>,
}

/// What a device asks about one table of the snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// Blocks from this one on.
    Blocks {
        /// The table.
        table: String,
        /// The first.
        from: u32,
    },
    /// The ranges of at most [`WINDOW_BLOCKS`] blocks.
    Ranges {
        /// The table.
        table: String,
        /// The blocks, ascending.
        blocks: Vec<u32>,
    },
    /// The sums of all but the last part of each cell, when each is split by so many bits.
    Sums {
        /// The table.
        table: String,
        /// The cells, at most [`CELLS_MAX`] in [`RANGES_MAX`] ranges.
        cells: Cells,
        /// Bits, at most [`cell::SPLIT_MAX`].
        bits: u8,
    },
    /// The rows of these cells, two bytes of the hash of each.
    Marks {
        /// The table.
        table: String,
        /// As in [`Question::Sums`].
        cells: Cells,
    },
    /// Rows: of each cell the one at this place, counted in key order. Without places: all rows of the cells.
    Rows {
        /// The table.
        table: String,
        /// A cell comes once for each of its rows.
        cells: Cells,
        /// One for each cell, or nothing ([`numbers::pack`]).
        places: Vec<u8>,
    },
}

/// What the hub answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Some blocks of a table.
    Blocks {
        /// How many the table has.
        total: u32,
        /// As many as fit.
        parts: Parts,
    },
    /// The ranges of as many of the blocks as fit, at least of one.
    Ranges(Parts),
    /// Two bytes each, cell by cell.
    Sums(Vec<u8>),
    /// Rows of cells.
    Marks {
        /// How many rows each cell has ([`numbers::pack`]).
        counts: Vec<u8>,
        /// Two bytes of each row's hash, cell by cell, in key order.
        hashes: Vec<u8>,
    },
    /// Rows.
    Rows {
        /// How many rows there are of each cell that was asked for, of as many cells as fit, at least of one
        /// ([`numbers::pack`]).
        counts: Vec<u8>,
        /// The rows in the order in which they were asked for, as in a feed.
        pieces: Vec<Vec<u8>>,
    },
    /// The snapshot is not there any more.
    Over,
    /// The table cannot be compared in this way, and why, in a sentence.
    Refused(String),
}

/// Consecutive parts of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// The digest of each.
    pub digests: Vec<TableDigest>,
    /// The last key of each; the table's last part has none, because it is open to the end.
    pub uppers: Vec<u8>,
}

impl Parts {
    /// Parts with these last keys.
    #[must_use]
    pub fn new<'k>(
        (table, names): (&str, &[String]),
        digests: Vec<TableDigest>,
        uppers: impl IntoIterator<Item = &'k [Value]>,
    ) -> Self {
        let mut keys = TableChange::new(table, Kind::Gone, names.len(), names.to_vec());
        for upper in uppers {
            keys.rows.push(upper.iter().map(Value::as_ref));
        }
        Self { digests, uppers: encode_piece(&[keys]) }
    }

    /// The last keys, each of `keys` values.
    ///
    /// # Errors
    /// When they are not such keys, or not as many as there are parts.
    pub fn uppers(&self, keys: usize) -> Result<Vec<Vec<Value>>, PieceError> {
        let changes = decode_piece(&self.uppers)?;
        let [change] = changes.as_slice() else { return Err(PieceError::Shape) };
        let rows = change.rows.rows();
        let fits = rows == self.digests.len() || rows + 1 == self.digests.len();
        if change.kind != Kind::Gone || change.keys != keys || !fits {
            return Err(PieceError::Shape);
        }
        Ok((0..rows).map(|row| change.key(row).map(ValueRef::to_owned).collect()).collect())
    }
}

impl Cells {
    /// Cells, which are in order.
    #[must_use]
    pub fn new(depth: u8, numbers: &[u64]) -> Self {
        Self { depth, numbers: numbers::pack_ascending(numbers) }
    }

    /// The cells, if they are as many and touch as many ranges as they may; they come from outside.
    #[must_use]
    pub fn read(&self, ranges: usize) -> Option<Vec<Cell>> {
        if self.depth > cell::DEPTH_MAX {
            return None;
        }
        let numbers = numbers::unpack_ascending(&self.numbers, CELLS_MAX)?;
        let cells: Option<Vec<Cell>> =
            numbers.iter().map(|number| Cell::numbered(*number, self.depth)).collect();
        let cells = cells?;
        let mut touched: Vec<u32> = cells.iter().map(|cell| cell.range).collect();
        touched.dedup();
        let known = touched.iter().all(|range| usize::try_from(*range).is_ok_and(|range| range < ranges));
        (known && touched.len() <= RANGES_MAX).then_some(cells)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{from_bytes, to_bytes};

    #[test]
    fn golden_bytes_hold_the_variants_still() {
        let table = || "t".to_owned();
        let question = Question::Blocks { table: table(), from: 300 };
        assert_eq!(to_bytes(&question), [0, 1, b't', 251, 44, 1]);
        let question = Question::Ranges { table: table(), blocks: vec![2, 9] };
        assert_eq!(to_bytes(&question), [1, 1, b't', 2, 2, 9]);
        let cells = || Cells { depth: 4, numbers: vec![7] };
        let question = Question::Sums { table: table(), cells: cells(), bits: 2 };
        assert_eq!(to_bytes(&question), [2, 1, b't', 4, 1, 7, 2]);
        assert_eq!(to_bytes(&Question::Marks { table: table(), cells: cells() }), [3, 1, b't', 4, 1, 7]);
        let question = Question::Rows { table: table(), cells: cells(), places: vec![5] };
        assert_eq!(to_bytes(&question), [4, 1, b't', 4, 1, 7, 1, 5]);
        let parts = || Parts { digests: vec![TableDigest { rows: 1, sum: 2 }], uppers: vec![3] };
        let answer = Answer::Blocks { total: 6, parts: parts() };
        assert_eq!(to_bytes(&answer), [0, 6, 1, 1, 2, 1, 3]);
        assert_eq!(from_bytes::<Answer>(&to_bytes(&answer)).unwrap(), answer);
        assert_eq!(to_bytes(&Answer::Ranges(parts())), [1, 1, 1, 2, 1, 3]);
        assert_eq!(to_bytes(&Answer::Sums(vec![1, 2])), [2, 2, 1, 2]);
        let answer = Answer::Marks { counts: vec![1], hashes: vec![2, 3] };
        assert_eq!(to_bytes(&answer), [3, 1, 1, 2, 2, 3]);
        assert_eq!(to_bytes(&Answer::Rows { counts: vec![1], pieces: vec![vec![9]] }), [4, 1, 1, 1, 1, 9]);
        assert_eq!(to_bytes(&Answer::Over), [5]);
        assert_eq!(to_bytes(&Answer::Refused("no".into())), [6, 2, b'n', b'o']);
    }

    #[test]
    fn the_last_part_needs_no_key_and_any_other_does() {
        let names = ["a".to_owned(), "b".to_owned()];
        let keys = [vec![Value::Integer(7), Value::Text(b"x".to_vec())]];
        let digests = |count| vec![TableDigest::default(); count];
        let parts = |count| Parts::new(("t", &names), digests(count), keys.iter().map(Vec::as_slice));
        assert_eq!(parts(1).uppers(2).unwrap(), keys);
        assert_eq!(parts(2).uppers(2).unwrap(), keys);
        assert!(parts(3).uppers(2).is_err(), "two parts without a key");
        assert!(parts(1).uppers(1).is_err(), "keys of another width");
        assert!(Parts { uppers: vec![1, 2, 3], ..parts(1) }.uppers(2).is_err());
    }

    #[test]
    fn cells_beyond_a_limit_are_refused() {
        let of = |depth, numbers: &[u64]| Cells::new(depth, numbers).read(1_000);
        assert_eq!(of(4, &[16, 17]).map(|cells| cells.len()), Some(2));
        assert_eq!(of(0, &[999]).map(|cells| cells.len()), Some(1));
        assert_eq!(of(0, &[1_000]), None, "a range that is not there");
        assert_eq!(of(17, &[0]), None, "more bits than a place has");
        let many: Vec<u64> = (0..=RANGES_MAX as u64).collect();
        assert_eq!(of(0, &many), None, "too many ranges");
        let many = vec![3; CELLS_MAX + 1];
        assert_eq!(of(0, &many), None, "too many cells");
    }
}

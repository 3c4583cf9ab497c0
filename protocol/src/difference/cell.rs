//! The rows of a range, sorted by a hash of their key.
//!
//! A row's *place* is its leaf in an audit: 16 bits of its key's hash. The first bits of the place say in which cell
//! of its range it lies: the range as a whole is one cell at depth 0, of two halves at depth 1, and so on. Both
//! sides find the cell of a row without being told, whichever rows they lack.

use crate::audit::leaf;

/// Bits of a place.
pub const DEPTH_MAX: u8 = 16;
/// Bits by which a cell is split at once.
pub const SPLIT_MAX: u8 = 4;
/// Bytes of a mark in a file.
pub const MARK_BYTES: usize = 4;

/// A row as a compare sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// By the hash of its key.
    pub place: u16,
    /// The lower bytes of its hash.
    pub hash: u16,
}

/// The rows of a range whose places begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// The range's number in its table.
    pub range: u32,
    /// How many bits.
    pub depth: u8,
    /// The bits.
    pub prefix: u16,
}

impl Mark {
    /// The mark of a row, by the canonical bytes of its key and its hash.
    #[must_use]
    pub fn of(key: &[u8], row_hash: u128) -> Self {
        Self { place: leaf(key), hash: low(row_hash) }
    }

    /// As it lies in a file.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; MARK_BYTES] {
        let ([a, b], [c, d]) = (self.place.to_le_bytes(), self.hash.to_le_bytes());
        [a, b, c, d]
    }

    /// As it lay in a file.
    #[must_use]
    pub const fn from_bytes([a, b, c, d]: [u8; MARK_BYTES]) -> Self {
        Self { place: u16::from_le_bytes([a, b]), hash: u16::from_le_bytes([c, d]) }
    }
}

/// What is left of a hash, or of a sum of hashes, in a sum of two bytes.
#[must_use]
pub const fn low(sum: u128) -> u16 {
    (sum & 0xffff) as u16
}

impl Cell {
    /// The whole range.
    #[must_use]
    pub const fn whole(range: u32) -> Self {
        Self { range, depth: 0, prefix: 0 }
    }

    /// The cell of this number at a depth.
    #[must_use]
    pub fn numbered(number: u64, depth: u8) -> Option<Self> {
        let range = u32::try_from(number >> depth).ok()?;
        let prefix = u16::try_from(number & ((1 << depth) - 1)).ok()?;
        Some(Self { range, depth, prefix })
    }

    /// Its number among the table's cells of its depth.
    #[must_use]
    pub fn number(self) -> u64 {
        u64::from(self.range) << self.depth | u64::from(self.prefix)
    }

    /// True when a row of the range with this place lies in it.
    #[must_use]
    pub fn holds(self, place: u16) -> bool {
        u32::from(place) >> (DEPTH_MAX - self.depth) == u32::from(self.prefix)
    }

    /// Its parts, when it is split by `bits` bits. None when it has not so many.
    #[must_use]
    pub fn parts(self, bits: u8) -> Option<impl Iterator<Item = Self>> {
        let depth = self.depth.checked_add(bits).filter(|depth| *depth <= DEPTH_MAX)?;
        let first = u32::from(self.prefix) << bits;
        let part = move |place: u32| {
            let prefix = u16::try_from(first + place).expect("at most 16 bits");
            Self { range: self.range, depth, prefix }
        };
        Some((0..1_u32 << bits).map(part))
    }

    /// The sums of its parts over these rows of its range, as [`Cell::parts`] has them.
    #[must_use]
    pub fn sums(self, bits: u8, rows: impl Iterator<Item = Mark>) -> Vec<u16> {
        let mut sums = vec![0_u16; 1 << bits];
        let deeper = u32::from(DEPTH_MAX - self.depth - bits);
        for row in rows.filter(|row| self.holds(row.place)) {
            let part = (u32::from(row.place) >> deeper) & ((1 << bits) - 1);
            if let Some(sum) = usize::try_from(part).ok().and_then(|part| sums.get_mut(part)) {
                *sum = sum.wrapping_add(row.hash);
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> impl Iterator<Item = Mark> {
        (0..1_000_u64).map(|row| Mark::of(&row.to_le_bytes(), u128::from(row) * 0x1_0003))
    }

    #[test]
    fn a_cell_is_the_sum_of_its_parts() {
        let whole = rows().fold(0_u16, |sum, row| sum.wrapping_add(row.hash));
        for bits in 1..=SPLIT_MAX {
            let sums = Cell::whole(3).sums(bits, rows());
            assert_eq!(sums.len(), 1 << bits);
            assert_eq!(sums.iter().fold(0_u16, |sum, part| sum.wrapping_add(*part)), whole);
        }
        let part = Cell::whole(3).parts(4).unwrap().nth(9).unwrap();
        let of_part = Cell::whole(3).sums(4, rows())[9];
        assert_eq!(part.sums(2, rows()).iter().fold(0_u16, |sum, part| sum.wrapping_add(*part)), of_part);
    }

    #[test]
    fn every_row_lies_in_one_part_at_any_depth() {
        for depth in 0..=DEPTH_MAX {
            let row = Mark::of(b"key", 1);
            let holding = (0..1_u64 << depth)
                .filter(|number| Cell::numbered((5 << depth) | number, depth).unwrap().holds(row.place));
            assert_eq!(holding.count(), 1, "at depth {depth}");
        }
        assert!(Cell { range: 0, depth: 15, prefix: 0 }.parts(2).is_none(), "there are 16 bits");
    }

    #[test]
    fn numbers_and_marks_come_back_as_they_were() {
        let cell = Cell { range: 70_000, depth: 8, prefix: 200 };
        assert_eq!(Cell::numbered(cell.number(), 8), Some(cell));
        assert_eq!(Cell::numbered(u64::MAX, 8), None);
        let mark = Mark { place: 0x1234, hash: 0xabcd };
        assert_eq!(Mark::from_bytes(mark.to_bytes()), mark);
    }
}

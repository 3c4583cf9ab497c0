//! Integer ids made offline without asking anybody: `tick · device · offset` in one 53-bit number.
//!
//! * 53 bits, because the program's pages are JavaScript, whose numbers are exact up to 2^53.
//! * A device hands out ids only inside its own block, and only one that lies above every id in the
//!   table: SQLite's AUTOINCREMENT goes to one more than the largest id it has seen.
//! * Whoever applies a foreign id at or above its own position moves to the next tick (a Lamport
//!   clock), so a tick is used up only when somebody inserts after having seen it.
//! * Offset 0 is never handed out: the id after the end of a block then belongs to nobody, and the
//!   capture triggers can tell a block that ran out from an id that a program chose.

use crate::number::EdgeId;

const OFFSET_BITS: u32 = 18;
const DEVICE_BITS: u32 = 12;
const ID_BITS: u32 = 53;
/// Ids are below this: 2^53.
pub const ID_MAX: i64 = 1 << ID_BITS;
/// Ids of one tick: one block of every device.
pub const TICK: i64 = 1 << (OFFSET_BITS + DEVICE_BITS);
/// Largest device number that fits: 4095.
pub const DEVICE_MAX: u16 = (1 << DEVICE_BITS) - 1;

/// The ids that one device may hand out in one table during one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdBlock {
    base: i64,
}

impl IdBlock {
    /// The device's first block that lies wholly above `largest`, the largest id in the table or ever
    /// handed out there. None when the 53 bits are used up.
    #[must_use]
    pub fn above(largest: i64, device: EdgeId) -> Option<Self> {
        let device_base = i64::from(device.0 & DEVICE_MAX) << OFFSET_BITS;
        let largest = largest.max(0);
        let mut base = (largest / TICK) * TICK + device_base;
        if base < largest {
            base = base.checked_add(TICK)?;
        }
        (base < ID_MAX).then_some(Self { base })
    }

    /// The device's block in which `id` lies, if it lies in one of this device's.
    #[must_use]
    pub fn containing(id: i64, device: EdgeId) -> Option<Self> {
        let base = id & !((1 << OFFSET_BITS) - 1);
        (Self::owner(id) == Some(device)).then_some(Self { base })
    }

    /// The device in whose block `id` lies; None when it lies in nobody's.
    #[must_use]
    pub fn owner(id: i64) -> Option<EdgeId> {
        let device = (id >> OFFSET_BITS) & i64::from(DEVICE_MAX);
        (0..ID_MAX).contains(&id).then(|| u16::try_from(device).ok().map(EdgeId)).flatten()
    }

    /// The first id: one more than what `sqlite_sequence` must hold.
    #[must_use]
    pub const fn first(self) -> i64 {
        self.base + 1
    }

    /// The last id.
    #[must_use]
    pub const fn last(self) -> i64 {
        self.base + (1 << OFFSET_BITS) - 1
    }

    /// How much of the whole id space is used, 0 to 1.
    #[must_use]
    pub fn share_used(self) -> f64 {
        self.base as f64 / ID_MAX as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hub_goes_on_counting_from_one() {
        let block = IdBlock::above(0, EdgeId::HUB).expect("free");
        assert_eq!((block.first(), block.last()), (1, 262_143));
    }

    #[test]
    fn a_block_lies_above_what_was_seen_and_belongs_to_one_device() {
        for largest in
            [0, 1, 262_143, 262_144, 262_145, (1 << 30) - 1, 1 << 30, (1 << 30) + 5, 123_456_789_012]
        {
            let blocks: Vec<_> = (0..=DEVICE_MAX)
                .step_by(37)
                .map(|device| IdBlock::above(largest, EdgeId(device)).expect("free"))
                .collect();
            assert!(blocks.iter().all(|block| block.first() > largest && block.last() < ID_MAX));
            let mut ranges: Vec<_> = blocks.iter().map(|block| (block.first(), block.last())).collect();
            ranges.sort_unstable();
            assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0));
        }
    }

    #[test]
    fn the_end_of_the_space_is_an_answer_not_an_overflow() {
        assert_eq!(IdBlock::above(ID_MAX - 1, EdgeId(1)), None);
        assert_eq!(IdBlock::above(i64::MAX, EdgeId(4095)), None);
    }
}

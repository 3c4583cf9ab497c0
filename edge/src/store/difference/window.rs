//! The ranges of a table that are compared together, here and as they come from the hub.

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;
use tt_protocol::block::Block;
use tt_protocol::difference::cell::Mark;
use tt_protocol::difference::narrow::Found;
use tt_protocol::digest::TableDigest;
use tt_protocol::pieces::PieceBuilder;

/// A range that differs, as it is here.
pub(super) struct OwnRange {
    pub(super) hub: TableDigest,
    pub(super) own: TableDigest,
    pub(super) hashes: Vec<u128>,
    pub(super) marks: Vec<Mark>,
    pub(super) keys: Block,
}

/// The hub's rows of one range that have come.
#[derive(Default)]
pub(super) struct Come {
    pub(super) digest: TableDigest,
    pub(super) keys: HashSet<Vec<u8>>,
    /// Keys of own rows that are among them in another spelling, which SQLite takes for the same.
    pub(super) spelled: HashSet<Vec<u8>>,
}

/// Ranges that are compared together.
pub(super) struct Window {
    pub(super) ranges: BTreeMap<u32, OwnRange>,
    pub(super) come: BTreeMap<u32, Come>,
    pub(super) put: PieceBuilder,
    /// Ids that this device has given and not handed in: no hub has them.
    pub(super) fresh: RangeInclusive<i64>,
}

impl OwnRange {
    /// The digest of the range with the rows that have come in place of those that are stale.
    pub(super) fn with(&self, stale: &[usize], come: &Come) -> TableDigest {
        let left = stale.iter().filter_map(|index| self.hashes.get(*index));
        let sum = left.fold(self.own.sum, |sum, hash| sum.wrapping_sub(*hash));
        let mut digest = TableDigest { rows: self.own.rows - stale.len() as u64, sum };
        digest.join(come.digest);
        digest
    }
}

impl Window {
    pub(super) fn new(ranges: BTreeMap<u32, OwnRange>, fresh: RangeInclusive<i64>) -> Self {
        let come = ranges.keys().map(|range| (*range, Come::default())).collect();
        Self { ranges, come, put: PieceBuilder::default(), fresh }
    }

    /// These ranges of it, which it has no more.
    pub(super) fn take(&mut self, ranges: &[u32]) -> Self {
        let taken = ranges.iter().filter_map(|range| self.ranges.remove_entry(range)).collect();
        Self::new(taken, self.fresh.clone())
    }

    /// Ranges in which a difference was overlooked.
    pub(super) fn unproven(&self, found: &Found) -> Vec<u32> {
        let is_proven = |number: &u32, own: &OwnRange| {
            let stale = found.stale.get(number).map(Vec::as_slice).unwrap_or_default();
            self.come.get(number).is_some_and(|come| own.with(stale, come) == own.hub)
        };
        let of_rows = self.ranges.iter().filter(|(number, _)| found.whole.binary_search(number).is_err());
        of_rows.filter(|(number, own)| !is_proven(number, own)).map(|(number, _)| *number).collect()
    }
}

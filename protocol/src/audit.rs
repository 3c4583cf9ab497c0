//! Comparing a table with the hub's, to find rows that capture missed: a program that rebuilds a table
//! drops the triggers with it, and what it writes until they are back is noted nowhere.
//!
//! * Rows are sorted by a hash of their key into 256 buckets of 256 leaves each. Buckets are compared
//!   first, then the leaves of those that differ, then the rows of the leaves that differ. A leaf of a
//!   table of a million rows has about fifteen: one differing row costs some 15 KB on the link.
//! * A hash and not ranges of keys, because it works for every key (text, several columns), spreads rows
//!   evenly however their keys lie, and needs no agreement on where a range begins.
//! * One read of the table gives both levels: a bucket is the sum of its leaves.

use crate::digest::TableDigest;
use crate::number::Version;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// Buckets of a table, and leaves of a bucket.
pub const FANOUT: usize = 256;
/// Buckets whose leaves are asked about at once: 32 × 256 digests are 160 KB. What is left out differs
/// again at the next compare.
pub const REFINED_MAX: usize = 32;

/// The leaf of a row, by the canonical bytes of its key. Its upper byte is the bucket.
#[must_use]
pub fn leaf(key: &[u8]) -> u16 {
    let hash = Sha256::digest(key);
    u16::from_be_bytes([hash[0], hash[1]])
}

/// Digests of all leaves of a table, empty ones left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    leaves: BTreeMap<u16, TableDigest>,
}

/// A bucket with the digests of its [`FANOUT`] leaves.
pub type Refined = (u8, Vec<TableDigest>);

impl Digests {
    /// Adds one row, given by its leaf and its hash.
    pub fn add(&mut self, leaf: u16, row_hash: u128) {
        self.leaves.entry(leaf).or_default().add(row_hash);
    }

    /// Leaves that hold a row: what this costs in memory.
    #[must_use]
    pub fn held(&self) -> usize {
        self.leaves.len()
    }

    /// The whole table.
    #[must_use]
    pub fn whole(&self) -> TableDigest {
        let mut whole = TableDigest::default();
        self.leaves.values().for_each(|leaf| whole.join(*leaf));
        whole
    }

    /// Digest of one leaf.
    #[must_use]
    pub fn leaf(&self, leaf: u16) -> TableDigest {
        self.leaves.get(&leaf).copied().unwrap_or_default()
    }

    /// Digests of all [`FANOUT`] buckets.
    #[must_use]
    pub fn buckets(&self) -> Vec<TableDigest> {
        let mut buckets = vec![TableDigest::default(); FANOUT];
        for (leaf, digest) in &self.leaves {
            if let Some(bucket) = buckets.get_mut(usize::from(leaf >> 8)) {
                bucket.join(*digest);
            }
        }
        buckets
    }

    /// Some buckets with all of their leaves.
    #[must_use]
    pub fn refined(&self, buckets: &[u8]) -> Vec<Refined> {
        let leaves = |bucket: u8| (0..=u8::MAX).map(move |low| self.leaf(u16::from_be_bytes([bucket, low])));
        buckets.iter().map(|bucket| (*bucket, leaves(*bucket).collect())).collect()
    }

    /// Buckets in which the other side differs.
    #[must_use]
    pub fn differing_buckets(&self, theirs: &[TableDigest]) -> Vec<u8> {
        let pairs = (0..=u8::MAX).zip(self.buckets()).zip(theirs);
        pairs.filter(|((_, own), theirs)| own != *theirs).map(|((bucket, _), _)| bucket).collect()
    }

    /// Leaves in which the other side differs, in order.
    #[must_use]
    pub fn differing(&self, theirs: &Self) -> Vec<u16> {
        let mut leaves: Vec<u16> = self.leaves.keys().chain(theirs.leaves.keys()).copied().collect();
        leaves.sort_unstable();
        leaves.dedup();
        leaves.retain(|leaf| self.leaf(*leaf) != theirs.leaf(*leaf));
        leaves
    }

    /// Leaves of these buckets in which the other side differs, in order.
    #[must_use]
    pub fn differing_leaves(&self, theirs: &[Refined]) -> Vec<u16> {
        let all = theirs.iter().flat_map(|(bucket, leaves)| {
            (0..=u8::MAX).zip(leaves).map(|(low, digest)| (u16::from_be_bytes([*bucket, low]), digest))
        });
        let mut differing: Vec<u16> =
            all.filter(|(leaf, digest)| self.leaf(*leaf) != **digest).map(|(leaf, _)| leaf).collect();
        differing.sort_unstable();
        differing.dedup();
        differing
    }
}

/// The edge's side of a compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    /// The table.
    pub table: String,
    /// The version that the edge has applied, with nothing of its own on top.
    pub version: Version,
    /// The columns that the digests are over, in order of name.
    pub columns: Vec<String>,
    /// What the edge has.
    pub question: Question,
}

/// What an edge asks in a compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// "These are my [`FANOUT`] buckets: which ones differ?"
    Buckets(Vec<TableDigest>),
    /// "These are the leaves of at most [`REFINED_MAX`] buckets: what are your rows where they differ?"
    Leaves(Vec<Refined>),
}

impl Question {
    /// True when it has as many digests as it must; it comes from outside.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        match self {
            Self::Buckets(digests) => digests.len() == FANOUT,
            Self::Leaves(refined) => {
                refined.len() <= REFINED_MAX && refined.iter().all(|(_, leaves)| leaves.len() == FANOUT)
            }
        }
    }
}

/// The hub's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// The table.
    pub table: String,
    /// As in [`Compare::version`].
    pub version: Version,
    /// What the hub found.
    pub finding: Finding,
}

/// What a compare came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finding {
    /// The hub is at another version by now, or a program there is writing: compare again later.
    NotNow,
    /// Equal.
    Equal,
    /// These buckets differ.
    Buckets(Vec<u8>),
    /// These leaves differ, perhaps others too. The pieces hold all of the hub's rows in them.
    Rows {
        /// The leaves, in order.
        leaves: Vec<u16>,
        /// Rows as in a feed.
        pieces: Vec<Vec<u8>>,
    },
    /// The hub has not such a table, or with other columns: rows that need them are held there, and
    /// nothing can be compared until the schemas agree.
    OtherColumns,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{EdgeFrame, HubFrame, from_bytes, to_bytes};

    fn table(rows: std::ops::Range<u64>) -> Digests {
        let mut digests = Digests::default();
        for row in rows {
            digests.add(leaf(&row.to_le_bytes()), u128::from(row) << 64 | 1);
        }
        digests
    }

    #[test]
    fn a_bucket_is_the_sum_of_its_leaves_and_a_table_that_of_its_buckets() {
        let digests = table(0..10_000);
        let refined = digests.refined(&[7]);
        let mut bucket = TableDigest::default();
        refined[0].1.iter().for_each(|leaf| bucket.join(*leaf));
        assert_eq!(bucket, digests.buckets()[7]);
        assert_eq!(digests.whole().rows, 10_000);
    }

    #[test]
    fn one_row_more_is_found_in_one_leaf() {
        let (ours, theirs) = (table(0..10_000), table(0..10_001));
        let place = leaf(&10_000_u64.to_le_bytes());
        let buckets = ours.differing_buckets(&theirs.buckets());
        assert_eq!(buckets, [place.to_be_bytes()[0]]);
        assert_eq!(ours.differing_leaves(&theirs.refined(&buckets)), [place]);
        assert_eq!(ours.differing_buckets(&ours.buckets()), [0_u8; 0]);
    }

    #[test]
    fn a_question_with_too_few_or_too_many_digests_is_known_as_such() {
        let digests = table(0..10);
        assert!(Question::Buckets(digests.buckets()).is_whole());
        assert!(!Question::Buckets(vec![TableDigest::default(); 255]).is_whole());
        assert!(Question::Leaves(digests.refined(&[1, 2])).is_whole());
        assert!(!Question::Leaves(vec![(1, Vec::new())]).is_whole());
        let many: Vec<u8> = (0..=32).collect();
        assert!(!Question::Leaves(digests.refined(&many)).is_whole());
    }

    #[test]
    fn golden_bytes_hold_the_frames_of_a_compare_still() {
        let digest = TableDigest { rows: 1, sum: 2 };
        let (table, version, columns) = ("t".to_owned(), Version(3), vec!["c".to_owned()]);
        let question = Question::Leaves(vec![(9, vec![digest])]);
        let compare = EdgeFrame::Compare(Compare { table: table.clone(), version, columns, question });
        let bytes = to_bytes(&compare);
        assert_eq!(bytes, [5, 1, b't', 3, 1, 1, b'c', 1, 1, 9, 1, 1, 2]);
        assert_eq!(from_bytes::<EdgeFrame>(&bytes).unwrap(), compare);
        let finding = Finding::Rows { leaves: vec![258], pieces: vec![vec![7]] };
        let compared = HubFrame::Compared(Compared { table, version, finding });
        assert_eq!(to_bytes(&compared), [5, 1, b't', 3, 3, 1, 251, 2, 1, 1, 1, 7]);
    }
}

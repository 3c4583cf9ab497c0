//! Comparing a table with the hub's, to find rows that capture missed: a program that rebuilds a table
//! drops the triggers with it, and what it writes until they are back is noted nowhere.
//!
//! Both sides sort rows into buckets by a hash of the key and digest each bucket. Only buckets that
//! differ are looked at row by row, so a compare costs a read of the table and little on the wire.

use crate::digest::TableDigest;
use crate::number::Version;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Number of buckets: a few hundred rows each in the largest tables seen.
pub const BUCKETS: usize = 256;

/// The bucket of a row, by the canonical bytes of its key.
#[must_use]
pub fn bucket(key: &[u8]) -> usize {
    usize::from(Sha256::digest(key)[0])
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
    /// [`BUCKETS`] digests.
    pub buckets: Vec<TableDigest>,
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
    /// The hub is at another version by now, or has not such a table: compare again later.
    NotNow,
    /// Equal in all buckets.
    Equal,
    /// These buckets differ. The pieces hold all of the hub's rows in them.
    Differs {
        /// Numbers of the buckets.
        buckets: Vec<u8>,
        /// Rows as in a feed.
        pieces: Vec<Vec<u8>>,
    },
}

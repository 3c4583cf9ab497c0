//! What the journal says of one write of the hub: all that the database itself does not decide.
//!
//! * Variants are appended and never reordered; golden bytes in the tests hold them still.
//! * `at` is the time that the merge took for now. A version may have several entries: the one that made it, and
//!   what happened before the next one without making a version (a device joined, an entry was dismissed).
//! * Rows of programs at the hub are told as the cut found them, as pieces like those of a changeset. Their
//!   changes of the schema are told as SQL, with the whole rows of the tables that nobody watched meanwhile.

use crate::store::decide::Decision;
use crate::store::history::Bounds;
use serde::{Deserialize, Serialize};
use tt_protocol::frame::{FrameError, from_kept_bytes, to_bytes};
use tt_protocol::number::{EdgeId, Epoch, Millis, Seq, Version};

/// Number of an entry: from 1 upwards without gaps, for the life of a hub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The next number.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl std::fmt::Display for Lsn {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(out)
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number.
    pub lsn: Lsn,
    /// The hub's version when it was done.
    pub version: Version,
    /// The hub's time when it was done.
    pub at: Millis,
    /// What was done.
    pub what: What,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum What {
    /// An epoch began at the entry's version: the hub was restored.
    Epoch {
        /// The new one.
        epoch: Epoch,
        /// The last entry that the restored database contains: those between it and this one do not count for
        /// what came later.
        restored: Lsn,
        /// From what it was restored.
        from: String,
    },
    /// What programs at the hub did was cut.
    Local(Local),
    /// A device's changeset was merged.
    Changeset {
        /// Who cut it.
        edge: EdgeId,
        /// Its number.
        seq: Seq,
        /// The version that the device knew.
        cursor: Version,
        /// All of it.
        pieces: Vec<Vec<u8>>,
    },
    /// Rows that waited for the schema went in.
    Released,
    /// The operator decided about an entry of the conflict list.
    Decided {
        /// Its number.
        id: i64,
        /// What was decided.
        decision: Decision,
        /// The same as the history says it.
        words: String,
    },
    /// A numbered migration was applied.
    Migrated {
        /// Its number.
        number: u32,
        /// Its name.
        name: String,
        /// Its text.
        sql: String,
        /// What it did to rows, as pieces.
        pieces: Vec<Vec<u8>>,
    },
    /// Devices and invitations are now exactly these.
    Devices(Vec<Named>),
    /// Rows that came late, after the hub was put back, went in.
    Late,
    /// The past was cut.
    Forgotten(Bounds),
    /// Changesets of a device up to this one are nowhere any more, and those after it are taken.
    PassedOver {
        /// The device.
        edge: EdgeId,
        /// The last of them.
        seq: Seq,
    },
}

/// What programs at the hub did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Local {
    /// It made the entry's version.
    pub moved: bool,
    /// It was looked what had gone from the schema.
    pub observed: bool,
    /// What became of the schema.
    pub schema: Option<SchemaChange>,
    /// Where ids stand in tables where that is not as the last entry left it.
    pub places: Vec<IdPlace>,
    /// The rows, as pieces.
    pub pieces: Vec<Vec<u8>>,
}

/// Where a table's ids stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdPlace {
    /// The table.
    pub table: String,
    /// First id of the block.
    pub first: i64,
    /// First fresh id.
    pub lo: i64,
    /// Last id of the block.
    pub hi: i64,
    /// SQLite's own counter; None when the table has none.
    pub counter: Option<i64>,
}

/// What programs did to the schema.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SchemaChange {
    /// Type and name of what is gone, or is another now.
    pub gone: Vec<(String, String)>,
    /// What is there now, in the order in which SQLite lists it.
    pub made: Vec<Object>,
    /// Whole rows of tables that are new, or that nobody watched meanwhile, as pieces.
    pub images: Vec<Vec<u8>>,
    /// The tables whose images these are: what else they held is gone.
    pub imaged: Vec<String>,
    /// Tables of which every device is told everything again.
    pub audits: Vec<String>,
}

/// An object of the schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// table, index, trigger or view.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// As it was declared.
    pub sql: String,
}

/// A row of one of our own tables: the table, then columns and values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Named {
    /// The table.
    pub table: String,
    /// Its columns; the first is the key.
    pub row: Vec<(String, tt_protocol::value::Value)>,
}

impl Entry {
    /// The entry as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FrameError> {
        from_kept_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(what: What) -> Entry {
        Entry { lsn: Lsn(1), version: Version(2), at: Millis(3), what }
    }

    #[test]
    fn golden_bytes_hold_the_variants_still() {
        let bytes = |what| entry(what).to_bytes();
        assert_eq!(
            bytes(What::Epoch { epoch: Epoch(2), restored: Lsn(5), from: "b".into() }),
            [1, 2, 6, 0, 2, 5, 1, b'b']
        );
        assert_eq!(
            bytes(What::Local(Local { moved: true, ..Local::default() })),
            [1, 2, 6, 1, 1, 0, 0, 0, 0]
        );
        let pieces = vec![vec![9]];
        let changeset = What::Changeset { edge: EdgeId(4), seq: Seq(5), cursor: Version(6), pieces };
        assert_eq!(bytes(changeset), [1, 2, 6, 2, 4, 5, 6, 1, 1, 9]);
        assert_eq!(bytes(What::Released), [1, 2, 6, 3]);
        assert_eq!(bytes(What::Late), [1, 2, 6, 7]);
        let bounds = Bounds { log: Version(1), images_before: Millis(2), names: Version(3) };
        assert_eq!(bytes(What::Forgotten(bounds)), [1, 2, 6, 8, 1, 4, 3]);
        assert_eq!(bytes(What::PassedOver { edge: EdgeId(4), seq: Seq(5) }), [1, 2, 6, 9, 4, 5]);
        let decided = What::Decided { id: 7, decision: Decision::Dismiss, words: String::new() };
        assert_eq!(bytes(decided), [1, 2, 6, 4, 14, 3, 0]);
        let (name, sql) = (String::new(), "x".to_owned());
        let migrated = What::Migrated { number: 8, name, sql, pieces: Vec::new() };
        assert_eq!(bytes(migrated), [1, 2, 6, 5, 8, 0, 1, b'x', 0]);
        assert_eq!(bytes(What::Devices(Vec::new())), [1, 2, 6, 6, 0]);
    }

    #[test]
    fn hostile_bytes_are_an_error_never_a_panic() {
        let schema = Some(SchemaChange { imaged: vec!["t".into()], ..SchemaChange::default() });
        let bytes = entry(What::Local(Local { schema, ..Local::default() })).to_bytes();
        assert_eq!(Entry::from_bytes(&bytes).unwrap().to_bytes(), bytes);
        for at in 0..bytes.len() {
            assert!(Entry::from_bytes(&bytes[..at]).is_err());
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                let _ = Entry::from_bytes(&bad);
            }
        }
    }
}

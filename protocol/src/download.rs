//! The conversation in which an edge fetches a snapshot: one request, one reply, then raw bytes.
//!
//! (Or questions and answers, where an edge wants only the rows that differ: [`crate::difference`].)
//!
//! Each download has a stream of its own beside the frames. The edge says what it already holds; when
//! that is the front of the snapshot that the hub offers, only the rest is sent.

use crate::number::{Epoch, Version};
use serde::{Deserialize, Serialize};

/// What the edge already holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Identity of the snapshot that the bytes belong to; empty when there are none.
    pub identity: String,
    /// Bytes from the front.
    pub bytes: u64,
}

/// Asks for the snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DownloadRequest {
    /// Any snapshot that the hub has at hand.
    V1(Held),
    /// One of this epoch that is at least of this version.
    V2 {
        /// What the edge already holds.
        held: Held,
        /// The hub's incarnation.
        epoch: Epoch,
        /// An older one does not hold the edge's last changeset.
        at_least: Version,
    },
    /// As `V2`, but all of it except the rows: what is needed before these are asked for.
    Head {
        /// What the edge already holds of the head.
        held: Held,
        /// The hub's incarnation.
        epoch: Epoch,
        /// As in `V2`.
        at_least: Version,
    },
    /// No bytes: frames of [`crate::difference::Question`] about the snapshot of this identity follow, and each is
    /// answered.
    Ask {
        /// The identity in the head.
        identity: String,
    },
}

/// What a snapshot must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The hub's incarnation; None: whichever it is in.
    pub epoch: Option<Epoch>,
    /// The least version.
    pub at_least: Version,
}

/// What the hub is about to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHeader {
    /// Size of the whole file.
    pub bytes: u64,
    /// SHA-256 of the whole file.
    pub sha256: [u8; 32],
    /// The version that the snapshot shows.
    pub version: Version,
    /// The same text for the same bytes, never again for others.
    pub identity: String,
    /// The first byte that follows: what the edge holds if it fits, else 0.
    pub offset: u64,
}

/// What the hub answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DownloadReply {
    /// The bytes from the header's offset to the end follow, and then the end of the stream.
    Ready(SnapshotHeader),
    /// No, and why, in a sentence for a person.
    Refused {
        /// The sentence.
        reason: String,
    },
}

/// Where sending starts for an edge that holds `held` when a snapshot of `bytes` bytes is offered.
#[must_use]
pub fn offset_for(held: &Held, identity: &str, bytes: u64) -> u64 {
    if held.identity == identity && held.bytes <= bytes { held.bytes } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{from_bytes, to_bytes};

    #[test]
    fn only_the_front_of_the_same_snapshot_is_worth_keeping() {
        let held = Held { identity: "e1-v7".into(), bytes: 50 };
        assert_eq!(offset_for(&held, "e1-v7", 100), 50);
        assert_eq!(offset_for(&held, "e1-v7", 50), 50);
        assert_eq!(offset_for(&held, "e1-v7", 49), 0);
        assert_eq!(offset_for(&held, "e1-v8", 100), 0);
        assert_eq!(offset_for(&Held::default(), "e1-v8", 100), 0);
    }

    #[test]
    fn golden_bytes_hold_the_variants_still() {
        let held = Held { identity: "a".into(), bytes: 3 };
        let request = DownloadRequest::Head { held, epoch: Epoch(2), at_least: Version(7) };
        assert_eq!(to_bytes(&request), [2, 1, b'a', 3, 2, 7]);
        assert_eq!(to_bytes(&DownloadRequest::Ask { identity: "a".into() }), [3, 1, b'a']);
        let request = DownloadRequest::V1(Held { identity: "a".into(), bytes: 300 });
        assert_eq!(to_bytes(&request), [0, 1, b'a', 251, 44, 1]);
        let held = Held { identity: "a".into(), bytes: 300 };
        let request = DownloadRequest::V2 { held, epoch: Epoch(2), at_least: Version(7) };
        assert_eq!(to_bytes(&request), [1, 1, b'a', 251, 44, 1, 2, 7]);
        assert_eq!(to_bytes(&DownloadReply::Refused { reason: "no".into() }), [1, 2, b'n', b'o']);
        let header = SnapshotHeader {
            bytes: 9,
            sha256: [4; 32],
            version: Version(2),
            identity: "b".into(),
            offset: 1,
        };
        let ready = to_bytes(&DownloadReply::Ready(header.clone()));
        assert_eq!(ready[..3], [0, 9, 4]);
        assert_eq!(ready[34..], [2, 1, b'b', 1]);
        assert_eq!(from_bytes::<DownloadReply>(&ready).unwrap(), DownloadReply::Ready(header));
    }
}

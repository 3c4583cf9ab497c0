//! The frames between an edge and the hub, and the one place where bincode is used.
//!
//! * Versioned at the outermost enum: variants are appended, never reordered, and golden bytes in the
//!   tests hold them still.
//! * A frame is at most [`FRAME_BYTES_MAX`] bytes, checked before decoding, because bincode ignores its
//!   own limit on slices. Bytes left over are refused.

use crate::audit::{Compare, Compared};
use crate::limits::FRAME_BYTES_MAX;
use crate::number::{EdgeId, Epoch, Millis, Seq, Version};
use bincode::Options;
use serde::{Deserialize, Serialize};

/// Version of the conversation. A peer of another version is refused with a reason.
pub const PROTOCOL: u16 = 1;

/// What an edge says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum EdgeFrame {
    /// First frame of a link.
    Hello(Hello),
    /// One piece of a changeset.
    Piece(Piece),
    /// "My cursor is here; send me what lies above, when there is something." One feed per pull.
    Pull(Pull),
    /// How the edge is doing, for the operator's list.
    Report(Report),
    /// Asks for a [`HubFrame::Pong`] with the same number.
    Ping(u64),
    /// Asks to compare a table with the hub's.
    Compare(Compare),
    /// The device leaves for good; it may be the first frame. The answer is [`HubFrame::Refused`], then and ever after.
    Leave,
}

/// What the hub says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum HubFrame {
    /// Answer to a Hello: the link is up.
    Welcome(Welcome),
    /// The hub will not talk, and why. The sentence is for a person.
    Refused(String),
    /// The changeset is merged and on disk.
    Ack(Ack),
    /// One piece of a feed.
    Feed(FeedPiece),
    /// Answer to a Ping.
    Pong(Pong),
    /// Answer to a compare.
    Compared(Compared),
    /// As in [`Welcome::watermark`], which has moved since.
    Safe(Version),
}

/// The edge introduces itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u16,
    /// Device number; must be the one of the certificate.
    pub edge: EdgeId,
    /// Epoch of the hub that the cursor belongs to.
    pub epoch: Epoch,
    /// Version that the edge has applied.
    pub cursor: Version,
    /// Last changeset that the edge has cut.
    pub last_seq: Seq,
    /// Hash of that changeset, so that a copied or rolled-back device is noticed at once.
    pub last_hash: [u8; 32],
    /// The first changeset that the edge still has whole; the one after `last_seq` when it has none.
    pub first_held: Seq,
    /// The edge asks for a snapshot in place of feeds: a person wants its file made anew.
    pub seed_wanted: bool,
    /// The last order to take a snapshot that the edge has carried out.
    pub order_done: u64,
    /// The edge's clock.
    pub now: Millis,
}

/// The hub accepts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// [`PROTOCOL`].
    pub protocol: u16,
    /// The hub's incarnation.
    pub epoch: Epoch,
    /// The hub's version now.
    pub version: Version,
    /// Last changeset of this edge that is merged.
    pub merged: Seq,
    /// The version that it became.
    pub merged_as: Version,
    /// Pieces of the changeset after that one which the hub already holds.
    pub pieces_held: u32,
    /// Version that is safe in two places; the edge may forget acknowledged changesets up to it.
    pub watermark: Version,
    /// The edge must hand in what it has and then take a snapshot in place of feeds: it is reseeded.
    pub seed: bool,
    /// The operator's newest order to do so.
    pub order: u64,
    /// The hub's clock.
    pub now: Millis,
}

/// One piece of a changeset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    /// The changeset's number.
    pub seq: Seq,
    /// SHA-256 over all pieces, in order.
    pub hash: [u8; 32],
    /// Place of this piece, from 0.
    pub index: u32,
    /// Number of pieces, at least 1.
    pub count: u32,
    /// The version up to which the edge knew the hub when it cut: what its changes build on.
    pub cursor: Version,
    /// The encoded piece.
    pub bytes: Vec<u8>,
}

/// The edge asks for a feed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pull {
    /// Version that the edge has applied.
    pub cursor: Version,
    /// False: answer at once, also when there is nothing. True: answer when there is something.
    pub wait: bool,
}

/// State of an edge, as the operator sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Rows not yet acknowledged.
    pub unsent: u64,
    /// Age of the oldest such row in seconds.
    pub oldest_unsent_s: Option<u64>,
    /// The edge's clock minus the hub's.
    pub clock_offset_ms: i64,
    /// A short name for the edge's schema.
    pub schema: String,
    /// Why the edge cannot go on, in a sentence.
    pub blocked: Option<String>,
}

/// A changeset is merged and fsynced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ack {
    /// The changeset.
    pub seq: Seq,
    /// The version that it became.
    pub version: Version,
    /// True when nothing else happened for this edge up to `version`: its cursor may move there.
    pub caught_up: bool,
    /// As in [`Welcome::watermark`].
    pub watermark: Version,
}

/// One piece of a feed. A feed is applied whole, when its last piece is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeedPiece {
    /// The cursor that the feed starts from.
    pub from: Version,
    /// The version that it leads to.
    pub to: Version,
    /// Last changeset of this edge that the feed's rows contain.
    pub merged: Seq,
    /// Place of this piece, from 0.
    pub index: u32,
    /// Number of pieces, at least 1.
    pub count: u32,
    /// The encoded piece.
    pub bytes: Vec<u8>,
}

/// Answer to a ping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pong {
    /// The ping's number.
    pub number: u64,
    /// The hub's clock.
    pub now: Millis,
}

/// Why received bytes are not a frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Longer than any frame may be.
    #[error(
        "a frame of {0} bytes is larger than the limit of {FRAME_BYTES_MAX}: the peer is damaged or of another version"
    )]
    TooLarge(usize),
    /// Not decodable.
    #[error("a frame cannot be read ({0}): the peer is damaged or of another version")]
    Shape(#[from] bincode::Error),
}

fn options() -> impl Options {
    bincode::DefaultOptions::new().with_varint_encoding().reject_trailing_bytes()
}

/// Encodes a message.
///
/// # Panics
/// Never for the types of this crate: they hold nothing that bincode cannot write.
pub fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    options().serialize(value).expect("plain data can always be written")
}

/// Decodes a message that came from outside.
///
/// # Errors
/// When it is larger than a frame may be, or not such a message.
pub fn from_bytes<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, FrameError> {
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge(bytes.len()));
    }
    Ok(options().deserialize(bytes)?)
}

/// Decodes what this program itself has kept, which may be longer than a frame: the work of a whole
/// changeset, say.
///
/// # Errors
/// When it is not such a message.
pub fn from_kept_bytes<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, FrameError> {
    Ok(options().deserialize(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_hold_the_variants_still() {
        let pull = EdgeFrame::Pull(Pull { cursor: Version(300), wait: true });
        assert_eq!(to_bytes(&pull), [2, 251, 44, 1, 1]);
        assert_eq!(to_bytes(&EdgeFrame::Ping(7)), [4, 7]);
        assert_eq!(to_bytes(&EdgeFrame::Leave), [6]);
        let hash = [9; 32];
        let piece = Piece { seq: Seq(1), hash, index: 2, count: 3, cursor: Version(4), bytes: vec![5, 6] };
        let golden = [&[1, 1][..], &hash, &[2, 3, 4, 2, 5, 6]].concat();
        assert_eq!(to_bytes(&EdgeFrame::Piece(piece)), golden);
        let ack = Ack { seq: Seq(1), version: Version(2), caught_up: true, watermark: Version(0) };
        assert_eq!(to_bytes(&HubFrame::Ack(ack)), [2, 1, 2, 1, 0]);
        assert_eq!(to_bytes(&HubFrame::Refused("no".into())), [1, 2, b'n', b'o']);
        assert_eq!(to_bytes(&HubFrame::Safe(Version(9))), [6, 9]);
    }

    #[test]
    fn trailing_and_missing_bytes_are_refused() {
        assert!(from_bytes::<EdgeFrame>(&[4, 7, 0]).is_err());
        assert!(from_bytes::<EdgeFrame>(&[4]).is_err());
        assert!(from_bytes::<EdgeFrame>(&[99]).is_err());
        assert!(matches!(
            from_bytes::<EdgeFrame>(&vec![0; FRAME_BYTES_MAX + 1]),
            Err(FrameError::TooLarge(_))
        ));
    }
}

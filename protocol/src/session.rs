//! The two ends of a conversation as state machines: no I/O, no clock, no threads.
//!
//! Each has `handle_*` for what happened, and `poll_output` for what is to be done about it. The rim
//! (daemon, simulation) performs the outputs in order and reports back.

pub mod edge;
pub mod hub;

use crate::frame::FeedPiece;
use crate::limits::{CHANGESET_BYTES_MAX, PIECES_MAX};
use crate::number::{Seq, Version};

/// A whole feed, put together from its pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeFeed {
    /// The cursor that it starts from.
    pub from: Version,
    /// The version that it leads to.
    pub to: Version,
    /// Last changeset of the edge that its rows contain.
    pub merged: Seq,
    /// The rows, encoded. Empty when there is nothing to write.
    pub pieces: Vec<Vec<u8>>,
}

/// Pieces that arrive in order and must all belong to one whole.
#[derive(Clone, Debug, Default)]
pub struct Assembly {
    pieces: Vec<Vec<u8>>,
    bytes: usize,
}

/// Why a piece does not fit to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssemblyError {
    /// Not the next one.
    #[error("a piece came out of order")]
    Order,
    /// More than a whole may have.
    #[error("the whole is larger than the limit of {CHANGESET_BYTES_MAX} bytes or {PIECES_MAX} pieces")]
    TooLarge,
}

impl Assembly {
    /// Pieces held so far.
    #[must_use]
    pub fn held(&self) -> u32 {
        u32::try_from(self.pieces.len()).unwrap_or(u32::MAX)
    }

    /// Adds the piece at `index` of `count`. True when the whole is there.
    ///
    /// # Errors
    /// When it is not the next one, or the whole gets too large.
    pub fn add(&mut self, index: u32, count: u32, bytes: Vec<u8>) -> Result<bool, AssemblyError> {
        if index != self.held() || index >= count {
            return Err(AssemblyError::Order);
        }
        self.bytes += bytes.len();
        if self.bytes > CHANGESET_BYTES_MAX || count > PIECES_MAX {
            return Err(AssemblyError::TooLarge);
        }
        self.pieces.push(bytes);
        Ok(self.held() == count)
    }

    /// The pieces.
    #[must_use]
    pub fn into_pieces(self) -> Vec<Vec<u8>> {
        self.pieces
    }
}

/// A feed without rows still has one frame, whose bytes are empty.
fn feed_frames(feed: WholeFeed) -> impl Iterator<Item = FeedPiece> {
    let WholeFeed { from, to, merged, mut pieces } = feed;
    if pieces.is_empty() {
        pieces.push(Vec::new());
    }
    let count = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
    (0..count).zip(pieces).map(move |(index, bytes)| FeedPiece { from, to, merged, index, count, bytes })
}

#[cfg(test)]
mod tests;

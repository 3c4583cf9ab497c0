//! The wireless between the edges and the hub: frames as bytes, in order, each link until it is cut. A
//! device that links again leaves its old link behind, whose frames may still arrive at the hub first.

use std::collections::VecDeque;
use tt_hub::engine::LinkId;
use tt_protocol::frame::{EdgeFrame, HubFrame, from_bytes, to_bytes};

/// A link between an edge and the hub, with frames under way.
pub(super) struct Link {
    pub(super) id: LinkId,
    /// The hub has noticed it.
    pub(super) known: bool,
    pub(super) up: VecDeque<Vec<u8>>,
    pub(super) down: VecDeque<Vec<u8>>,
}

impl Link {
    pub(super) fn new(id: LinkId) -> Self {
        Self { id, known: false, up: VecDeque::new(), down: VecDeque::new() }
    }

    pub(super) fn send_up(&mut self, frame: &EdgeFrame) {
        self.up.push_back(to_bytes(frame));
    }

    pub(super) fn send_down(&mut self, frame: &HubFrame) {
        self.down.push_back(to_bytes(frame));
    }

    /// The next frame for the hub.
    pub(super) fn take_up(&mut self) -> Option<EdgeFrame> {
        let bytes = self.up.pop_front()?;
        Some(from_bytes(&bytes).expect("a frame of ours"))
    }

    /// The next frame for the edge.
    pub(super) fn take_down(&mut self) -> Option<HubFrame> {
        let bytes = self.down.pop_front()?;
        Some(from_bytes(&bytes).expect("a frame of ours"))
    }

    /// The next frame for the hub comes twice, where a sender may really say a thing twice: the last
    /// piece of a changeset.
    pub(super) fn repeat(&mut self) {
        if let Some(bytes) = self.up.front().cloned()
            && matches!(from_bytes(&bytes), Ok(EdgeFrame::Piece(piece)) if piece.index + 1 == piece.count)
        {
            self.up.push_front(bytes);
        }
    }
}

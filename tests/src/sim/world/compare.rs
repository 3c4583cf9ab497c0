//! Compares in a world: the hub's end of them, and what they cost on the links.

use super::World;
use tt_hub::engine::LinkId;
use tt_protocol::audit::Compare;
use tt_protocol::frame::{EdgeFrame, HubFrame, to_bytes};

/// What the compares of a world cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compares {
    /// Questions of edges.
    pub asked: u64,
    /// Bytes of questions and answers.
    pub bytes: usize,
}

impl Compares {
    /// A frame leaves an edge.
    pub(super) fn up(&mut self, frame: &EdgeFrame) {
        if matches!(frame, EdgeFrame::Compare(_)) {
            self.asked += 1;
            self.bytes += to_bytes(frame).len();
        }
    }
}

impl World {
    /// The hub compares a table with an edge's.
    pub(super) fn compare(&mut self, link: LinkId, compare: &Compare) {
        if let (Some(hub), Some(auditor)) = (&mut self.hub, &mut self.auditor) {
            let compared = auditor.compare(hub.store().replica(), compare).expect("the store answers");
            self.compares.bytes += to_bytes(&HubFrame::Compared(compared.clone())).len();
            hub.compared(link, compared);
        }
    }
}

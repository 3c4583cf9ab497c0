//! The clocks of the devices: one that anybody may set, and one that counts since the start.

use super::{EdgeNode, World};
use tt_protocol::clock::{Boot, Reading};
use tt_protocol::number::Millis;

impl World {
    /// Somebody sets a device's clock, or the battery goes flat: it is off by this much now.
    pub fn set_clock(&mut self, edge: usize, clock_ms: i64) {
        self.edges[edge].clock_ms = clock_ms;
        self.pass(0);
    }

    /// A device is switched off and on again: its daemon starts with a clock that is off by this much.
    pub fn restart_device(&mut self, edge: usize, clock_ms: i64) {
        self.crash_edge(edge);
        self.edges[edge].start = (self.edges[edge].start.0 + 1, self.now);
        self.set_clock(edge, clock_ms);
    }
}

impl EdgeNode {
    /// What the device's clocks show at this true time.
    pub(super) fn reading(&self, now: i64) -> Reading {
        let (id, since) = self.start;
        Reading { wall: Millis(now + self.clock_ms), boot: Some(Boot { id, elapsed_ms: now - since }) }
    }
}

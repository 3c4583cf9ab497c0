//! How a world goes on: by chance, step by step, or until it is at rest.

use super::super::random::Random;
use super::World;
use std::collections::BTreeMap;
use tt_edge::engine::Engine as EdgeEngine;
use tt_protocol::number::Millis;

impl World {
    /// Everything runs and is linked until nothing moves any more.
    ///
    /// # Panics
    /// When that takes longer than any real world could, or the hub refuses a device.
    pub fn settle(&mut self) {
        self.start_hub();
        for edge in 0..self.edges.len() {
            self.start_edge(edge);
            if self.edges[edge].link.is_none() {
                self.link(edge);
            }
        }
        for _ in 0..5_000 {
            let mut moved = self.step_hub();
            for edge in 0..self.edges.len() {
                // A link may be cut while it brings rows.
                if self.edges[edge].link.is_none() {
                    self.link(edge);
                }
                moved |= self.step_edge(edge);
                moved |= self.deliver_up(edge, false);
                assert_eq!(self.edges[edge].refused, None, "edge {edge} was refused");
            }
            if !moved && self.edges.iter().all(|edge| edge.engine.as_ref().is_some_and(EdgeEngine::in_step)) {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    /// Digest of each table on every node, the hub first.
    ///
    /// # Panics
    /// When a file cannot be read.
    #[must_use]
    pub fn digests(&self) -> Vec<BTreeMap<String, tt_protocol::digest::TableDigest>> {
        let read = |node: usize, replica: &tt_migrations::replica::Replica| {
            tt_migrations::digest::tables(self.program(node), replica).expect("reads")
        };
        let hub = read(0, self.hub_store().replica());
        let edges = (0..self.edges.len()).map(|edge| read(edge + 1, self.edge_store(edge).replica()));
        std::iter::once(hub).chain(edges).collect()
    }

    /// The hub commits what is due and dies before a word of it leaves.
    ///
    /// # Panics
    /// When its store fails.
    pub fn commit_and_crash_hub(&mut self) {
        if let Some(hub) = &mut self.hub {
            hub.step(Millis(self.now)).expect("the store answers");
        }
        self.crash_hub();
    }

    /// One step of chance: a frame moves, a link comes or goes, a daemon dies or starts.
    pub fn chance(&mut self, random: &mut Random) {
        let edge = usize::try_from(random.below(self.edges.len() as u64)).expect("few edges");
        self.pass(i64::try_from(random.below(2_000)).expect("small"));
        match random.below(40) {
            0 => self.unlink(edge),
            1..=3 if !self.is_linked(edge) => self.link(edge),
            1 => self.link_again(edge),
            4 => self.crash_edge(edge),
            5 | 6 => self.start_edge(edge),
            7 if random.once_in(6) => self.commit_and_crash_hub(),
            7 if random.once_in(5) => self.crash_hub(),
            8 | 9 => self.start_hub(),
            10 => self.repeat_up(edge),
            11..=18 => drop(self.step_hub()),
            19..=28 => drop(self.step_edge(edge)),
            29 => drop(self.deliver_up(edge, true)),
            _ => drop(self.deliver_up(edge, false)),
        }
    }
}

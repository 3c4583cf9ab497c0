//! Daemons of a world die and start again; their files stay.

use super::World;
use tt_edge::engine::Engine as EdgeEngine;
use tt_edge::store::EdgeStore;
use tt_hub::engine::Engine as HubEngine;
use tt_hub::store::audit::AuditReader;
use tt_hub::store::{FeedReader, HubStore};

impl World {
    /// The hub's daemon dies; files stay.
    pub fn crash_hub(&mut self) {
        self.hub = None;
        self.feeder = None;
        self.auditor = None;
        self.feeds.clear();
        for edge in 0..self.edges.len() {
            self.unlink(edge);
        }
    }

    /// The hub's daemon starts.
    ///
    /// # Panics
    /// When the file cannot be opened.
    pub fn start_hub(&mut self) {
        if self.hub.is_none() {
            let (path, policy) = (&self.hub_node.path, self.policy.clone());
            let mut store =
                HubStore::open_journaled(path, policy, &self.journal()).expect("the hub opens its file");
            self.hub_node.clock.rule(store.connection());
            self.hub = Some(HubEngine::new(store));
            self.feeder = Some(FeedReader::open(&self.hub_node.path).expect("the hub opens its file twice"));
            self.auditor =
                Some(AuditReader::open(&self.hub_node.path).expect("the hub opens its file thrice"));
        }
    }

    /// A device's daemon dies; its file stays, and programs go on writing.
    pub fn crash_edge(&mut self, edge: usize) {
        self.unlink(edge);
        self.edges[edge].engine = None;
    }

    /// A device's daemon starts.
    ///
    /// # Panics
    /// When the file cannot be opened.
    pub fn start_edge(&mut self, edge: usize) {
        let device = &mut self.edges[edge];
        if device.engine.is_none() {
            let store =
                EdgeStore::open(&device.node.path, self.policy.clone()).expect("the edge opens its file");
            device.node.clock.rule(store.connection());
            device.engine = Some(EdgeEngine::new(store));
        }
    }
}

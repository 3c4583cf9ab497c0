//! The hub's file is put back: an older copy of it goes on in a new epoch.

use super::World;
use super::node::Node;
use rusqlite::Connection;
use std::path::PathBuf;
use tt_hub::store::epoch::{self, Floor};
use tt_migrations::state;
use tt_protocol::frame::HubFrame;
use tt_protocol::number::{Millis, Version};

/// A copy of the hub's file as it was.
#[derive(Clone, Debug)]
pub struct Copy {
    path: PathBuf,
}

impl World {
    /// A name for a file of this world that no other has.
    pub(super) fn new_path(&mut self, what: &str) -> PathBuf {
        self.files += 1;
        self.dir.path().join(format!("{what}{}.db", self.files))
    }

    /// A backup of the hub's file. From here on nothing that comes later is safe: no watermark passes it.
    ///
    /// # Panics
    /// When the file cannot be copied.
    pub fn copy_hub(&mut self) -> Copy {
        let path = self.new_path("backup");
        let conn = Connection::open(&self.hub_node.path).expect("the file opens");
        conn.execute("VACUUM INTO ?1", [path.to_string_lossy()]).expect("a copy");
        let version = state::get(&Connection::open(&path).expect("opens"), state::VERSION).expect("reads");
        self.safe = Some(Version(version.unwrap_or(0).unsigned_abs()));
        Copy { path }
    }

    /// The hub dies, and the copy goes on as its next incarnation, whose versions are above all of before.
    ///
    /// # Panics
    /// When the copy cannot be used.
    pub fn restore_hub(&mut self, copy: &Copy) {
        self.crash_hub();
        let former = Connection::open(&self.hub_node.path).expect("the file opens");
        let path = self.new_path("restored");
        std::fs::copy(&copy.path, &path).expect("a copy");
        let conn = Connection::open(&path).expect("opens");
        epoch::begin(&conn, Some(&former), Floor::default(), Millis(self.now)).expect("a new epoch");
        drop(conn);
        self.hub_node = Node::new(path);
        self.pass(0);
    }

    /// The hub forgets the history of everything but its last versions. As its daemon does, it ends all links.
    ///
    /// # Panics
    /// When its store fails.
    pub fn forget_history(&mut self) {
        let Some(hub) = &mut self.hub else { return };
        let before = Version(hub.store().version().0.saturating_sub(2));
        hub.store_mut().forget_before(before, Millis(self.now)).expect("the store forgets");
        self.feeds.clear();
        for edge in 0..self.edges.len() {
            self.unlink(edge);
        }
    }

    /// No watermark passes what is in the last backup.
    pub(super) fn held_back(&self, mut frame: HubFrame) -> HubFrame {
        match (self.safe, &mut frame) {
            (Some(safe), HubFrame::Welcome(welcome)) => welcome.watermark = welcome.watermark.min(safe),
            (Some(safe), HubFrame::Ack(ack)) => ack.watermark = ack.watermark.min(safe),
            _ => {}
        }
        frame
    }
}

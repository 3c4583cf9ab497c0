//! One world: a hub, edges, links between them. Every step is one thing that happens.
//!
//! A crash drops all that is not in a file: sessions, frames under way, connections. Programs and readers
//! have connections of their own, which live on.

mod clocks;
mod compare;
mod decide;
mod journal;
mod lives;
mod node;
mod reseed;
mod restore;
mod schema;
mod settle;

pub use compare::Compares;
pub use node::EdgeNode;
pub use restore::Copy;

use super::schemas::{BATCHES, Shape};
use super::wire::Link;
use node::{Node, memory_folder};
use rusqlite::Connection;
use std::path::Path;
use tempfile::TempDir;
use tt_edge::engine::{Engine as EdgeEngine, Step};
use tt_edge::store::EdgeStore;
use tt_hub::engine::{Action, Engine as HubEngine, LinkId};
use tt_hub::store::audit::AuditReader;
use tt_hub::store::{FeedReader, HubStore};
use tt_protocol::frame::HubFrame;
use tt_protocol::number::{EdgeId, Millis, Version};
use tt_protocol::policy::Policy;
use tt_protocol::session::WholeFeed;

/// The whole world.
pub struct World {
    dir: TempDir,
    shape: Shape,
    policy: Policy,
    hub_node: Node,
    hub: Option<HubEngine>,
    feeder: Option<FeedReader>,
    auditor: Option<AuditReader>,
    /// The devices; device number is place + 1.
    pub edges: Vec<EdgeNode>,
    /// What compares have cost so far.
    pub compares: Compares,
    next_link: LinkId,
    now: i64,
    feeds: Vec<(LinkId, EdgeId, Version)>,
    remembered: journal::Remembered,
    /// What the last backup holds.
    safe: Option<Version>,
    files: u64,
    /// Snapshots that devices have written into their files.
    pub seeds: u64,
    /// Those of which only the rows that differ were fetched.
    pub by_rows: u64,
}

impl World {
    /// A hub with this schema and `edges` devices made from its snapshot.
    ///
    /// # Panics
    /// When the schema does not load: a mistake of the test.
    #[must_use]
    pub fn new(shape: &Shape, policy: Policy, edges: u16) -> Self {
        let dir = tempfile::tempdir_in(memory_folder()).expect("a temporary folder");
        let path = dir.path().join("hub.db");
        let first = Connection::open(&path).expect("a new file");
        first.pragma_update(None, "synchronous", "OFF").expect("a setting");
        first.execute_batch(&format!("BEGIN; {} {BATCHES} COMMIT;", shape.sql)).expect("the schema loads");
        drop(first);
        let mut world = Self {
            hub_node: Node::new(path),
            dir,
            shape: *shape,
            policy,
            hub: None,
            feeder: None,
            auditor: None,
            edges: Vec::new(),
            compares: Compares::default(),
            next_link: 1,
            now: 1_800_000_000_000,
            feeds: Vec::new(),
            remembered: journal::Remembered::default(),
            safe: None,
            files: 0,
            seeds: 0,
            by_rows: 0,
        };
        world.pass(0);
        world.start_hub();
        world.step_hub();
        let copy = world.device_snapshot();
        for number in 1..=edges {
            world.enrol(number, &copy);
        }
        world
    }

    fn enrol(&mut self, number: u16, snapshot: &Path) {
        let path = self.dir.path().join(format!("edge{number}.db"));
        std::fs::copy(snapshot, &path).expect("a copy");
        let store = EdgeStore::adopt(&path, self.policy.clone(), EdgeId(number)).expect("a new edge");
        let node = Node::new(path);
        node.clock.rule(store.connection());
        let engine = Some(EdgeEngine::new(store));
        let start = (1, self.now);
        self.edges.push(EdgeNode {
            node,
            engine,
            link: None,
            fetch: None,
            under_way: None,
            ghost: None,
            clock_ms: 0,
            start,
            refused: None,
        });
        self.pass(0);
    }

    /// The schema.
    #[must_use]
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }

    fn node(&self, node: usize) -> &Node {
        node.checked_sub(1).map_or(&self.hub_node, |edge| &self.edges[edge].node)
    }

    /// The connection of a program on a node: 0 is the hub, others are edges.
    #[must_use]
    pub fn program(&self, node: usize) -> &Connection {
        &self.node(node).program
    }

    /// A second connection of a node, for looking on. None where there is no such node.
    #[must_use]
    pub fn reader(&self, node: usize) -> Option<&Connection> {
        (node <= self.edges.len()).then(|| &self.node(node).reader)
    }

    /// The hub's store, which must be running.
    ///
    /// # Panics
    /// When the hub is down.
    #[must_use]
    pub fn hub_store(&self) -> &HubStore {
        self.hub.as_ref().expect("the hub runs").store()
    }

    /// A device's store, which must be running.
    ///
    /// # Panics
    /// When the device's daemon is down.
    #[must_use]
    pub fn edge_store(&self, edge: usize) -> &EdgeStore {
        self.edges[edge].engine.as_ref().expect("the daemon runs").store()
    }

    /// Time passes.
    pub fn pass(&mut self, milliseconds: i64) {
        self.now += milliseconds;
        self.hub_node.clock.set(self.now);
        for edge in &self.edges {
            edge.node.clock.set(self.now + edge.clock_ms);
        }
    }

    /// The wireless comes: the device links, if both daemons run.
    ///
    /// # Panics
    /// When the store fails.
    pub fn link(&mut self, edge: usize) {
        self.unlink(edge);
        self.link_again(edge);
    }

    /// The device links although it has a link: the old one is left behind with what is under way.
    ///
    /// # Panics
    /// When the store fails.
    pub fn link_again(&mut self, edge: usize) {
        let device = &mut self.edges[edge];
        let reading = device.reading(self.now);
        let (Some(_), Some(engine)) = (&self.hub, &mut device.engine) else {
            return;
        };
        let id = self.next_link;
        self.next_link += 1;
        engine.look_at_clock(reading).expect("the store answers");
        engine.begin(reading.wall, true).expect("the store answers");
        device.fetch = None;
        device.ghost = device.link.replace(Link::new(id));
    }

    /// The wireless goes: frames under way are lost.
    pub fn unlink(&mut self, edge: usize) {
        let device = &mut self.edges[edge];
        device.fetch = None;
        if let Some(engine) = &mut device.engine {
            engine.end();
        }
        for link in device.link.take().into_iter().chain(device.ghost.take()) {
            if let Some(hub) = &mut self.hub {
                hub.link_down(link.id);
            }
        }
    }

    /// Whether a device is linked.
    #[must_use]
    pub fn is_linked(&self, edge: usize) -> bool {
        self.edges[edge].link.is_some()
    }

    /// Whether a device is linked, and as far as both ends know nothing is unsent and nothing unread.
    #[must_use]
    pub fn is_in_step(&self, edge: usize) -> bool {
        self.edges[edge].engine.as_ref().is_some_and(EdgeEngine::in_step)
    }

    /// A device's daemon does one thing: notices writes, takes one frame in, performs one output.
    ///
    /// # Panics
    /// When its store fails, which nothing in a simulated world should make it do.
    pub fn step_edge(&mut self, edge: usize) -> bool {
        if self.bring_snapshot(edge) {
            return true;
        }
        let device = &mut self.edges[edge];
        let reading = device.reading(self.now);
        let now = reading.wall;
        let Some(engine) = &mut device.engine else {
            return false;
        };
        engine.look_at_clock(reading).expect("the store answers");
        if engine.store_mut().written_by_others().expect("the store answers") {
            engine.dirty();
        }
        let mut moved = false;
        if let Some(frame) = device.link.as_mut().and_then(Link::take_down) {
            engine.frame(now, frame);
            moved = true;
        }
        match engine.perform_one(now).expect("the store answers") {
            None => return true,
            Some(Step::Frame(frame)) => {
                self.compares.up(&frame);
                if let Some(link) = &mut device.link {
                    link.send_up(&frame);
                }
                moved = true;
            }
            Some(Step::Refused(reason)) => {
                device.refused = Some(reason);
                self.unlink(edge);
            }
            Some(Step::Read(reading)) => {
                let done = reading.perform(engine.store().connection());
                engine.read(now, done).expect("the store answers");
                moved = true;
            }
            Some(Step::Fetch(fetch)) => moved = device.fetch.replace(fetch).is_none(),
            Some(Step::Idle) => {}
        }
        moved
    }

    /// A device's daemon cuts what its programs wrote, link or no link.
    ///
    /// # Panics
    /// When its store fails.
    pub fn cut(&mut self, edge: usize) {
        let device = &mut self.edges[edge];
        let now = Millis(self.now + device.clock_ms);
        if let Some(engine) = &mut device.engine {
            engine.store_mut().cut(now).expect("the store cuts");
        }
    }

    /// Delivers one frame of a device to the hub, if there is one.
    pub fn deliver_up(&mut self, edge: usize, from_ghost: bool) -> bool {
        let now = Millis(self.now);
        let device = &mut self.edges[edge];
        let link = if from_ghost { &mut device.ghost } else { &mut device.link };
        let (Some(hub), Some(link)) = (&mut self.hub, link) else {
            return false;
        };
        let Some(frame) = link.take_up() else { return false };
        let id = link.id;
        if !link.known && !from_ghost {
            link.known = true;
            let number = EdgeId(u16::try_from(edge + 1).expect("few edges"));
            hub.link_up(id, number);
        }
        hub.frame(id, now, frame);
        true
    }

    /// The next frame of a device comes to the hub twice.
    pub fn repeat_up(&mut self, edge: usize) {
        if let Some(link) = &mut self.edges[edge].link {
            link.repeat();
        }
    }

    /// The hub does what is due, and makes the feeds that were asked for.
    ///
    /// # Panics
    /// When its store fails.
    pub fn step_hub(&mut self) -> bool {
        let Some(hub) = &mut self.hub else { return false };
        let mut moved = false;
        for (link, edge, cursor) in std::mem::take(&mut self.feeds) {
            let feeder = self.feeder.as_ref().expect("the hub runs");
            let feed = feeder.feed(hub.store().replica(), edge, cursor).expect("the store answers");
            let (from, to, merged, pieces) = (feed.from, feed.to, feed.merged, feed.pieces);
            hub.feed_made(link, WholeFeed { from, to, merged, pieces });
            moved = true;
        }
        hub.dirty();
        for action in hub.step(Millis(self.now)).expect("the store answers") {
            moved = true;
            match action {
                Action::Send(link, frame) => self.send_down(link, &frame),
                Action::Close(link, _) => self.close(link),
                Action::MakeFeed(link, edge, cursor) => self.feeds.push((link, edge, cursor)),
                Action::Compare(link, compare) => self.compare(link, &compare),
                Action::Report(..) | Action::Leave(_) => {}
            }
        }
        if self.remembered.next {
            self.remember();
        }
        moved
    }

    fn links(&mut self) -> impl Iterator<Item = &mut Link> {
        self.edges.iter_mut().flat_map(|edge| edge.link.iter_mut().chain(edge.ghost.iter_mut()))
    }

    fn send_down(&mut self, id: LinkId, frame: &HubFrame) {
        let frame = self.held_back(frame.clone());
        if let Some(link) = self.links().find(|link| link.id == id) {
            link.send_down(&frame);
        }
    }

    /// Frames that are under way to the edge still arrive: the refusal among them.
    fn close(&mut self, id: LinkId) {
        if let Some(link) = self.links().find(|link| link.id == id) {
            link.up.clear();
        }
    }
}

//! One world: a hub, edges, links between them. Every step is one thing that happens.
//!
//! Frames travel as bytes, so encoding is exercised as well. A crash drops all that is not in a file:
//! sessions, frames under way, connections.

use super::random::Random;
use rusqlite::Connection;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use tempfile::TempDir;
use tt_edge::engine::{Engine as EdgeEngine, Step};
use tt_edge::store::EdgeStore;
use tt_hub::engine::{Action, Engine as HubEngine, LinkId};
use tt_hub::store::{FeedReader, HubStore, snapshot};
use tt_protocol::frame::{EdgeFrame, HubFrame, from_bytes, to_bytes};
use tt_protocol::number::{EdgeId, Millis, Version};
use tt_protocol::policy::Policy;
use tt_protocol::session::WholeFeed;

/// A link between an edge and the hub, with frames under way.
struct Link {
    id: LinkId,
    up: VecDeque<Vec<u8>>,
    down: VecDeque<Vec<u8>>,
}

/// One device.
pub struct EdgeNode {
    path: PathBuf,
    engine: Option<EdgeEngine>,
    link: Option<Link>,
    /// The device's clock minus true time.
    pub clock_ms: i64,
    /// Why the hub refused it.
    pub refused: Option<String>,
}

/// The whole world.
pub struct World {
    dir: TempDir,
    policy: Policy,
    hub: Option<HubEngine>,
    reader: Option<FeedReader>,
    /// The devices; device number is place + 1.
    pub edges: Vec<EdgeNode>,
    next_link: LinkId,
    now: i64,
    feeds: Vec<(LinkId, EdgeId, Version)>,
}

impl World {
    /// A hub with this schema and `edges` devices made from its snapshot.
    ///
    /// # Panics
    /// When the schema does not load: a mistake of the test.
    #[must_use]
    pub fn new(schema: &str, policy: Policy, edges: u16) -> Self {
        let dir = tempfile::tempdir_in(memory_folder()).expect("a temporary folder");
        let path = dir.path().join("hub.db");
        let program = Connection::open(&path).expect("a new file");
        program.execute_batch(schema).expect("the schema loads");
        drop(program);
        let mut world = Self {
            dir,
            policy,
            hub: None,
            reader: None,
            edges: Vec::new(),
            next_link: 1,
            now: 1_800_000_000_000,
            feeds: Vec::new(),
        };
        world.start_hub();
        world.step_hub();
        for number in 1..=edges {
            world.enrol(number);
        }
        world
    }

    fn enrol(&mut self, number: u16) {
        let path = self.dir.path().join(format!("edge{number}.db"));
        snapshot::write(&self.hub_path(), &path).expect("a snapshot");
        let store = EdgeStore::adopt(&path, self.policy.clone(), EdgeId(number)).expect("a new edge");
        let engine = Some(EdgeEngine::new(store));
        self.edges.push(EdgeNode {
            path,
            engine,
            link: None,
            clock_ms: 0,
            refused: None,
        });
    }

    /// The canonical file.
    #[must_use]
    pub fn hub_path(&self) -> PathBuf {
        self.dir.path().join("hub.db")
    }

    /// A device's file.
    #[must_use]
    pub fn edge_path(&self, edge: usize) -> PathBuf {
        self.edges[edge].path.clone()
    }

    /// A program's connection to the hub's file.
    #[must_use]
    pub fn hub_program(&self) -> Connection {
        program(&self.hub_path())
    }

    /// A program's connection to a device's file.
    #[must_use]
    pub fn edge_program(&self, edge: usize) -> Connection {
        program(&self.edges[edge].path)
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
    pub const fn pass(&mut self, milliseconds: i64) {
        self.now += milliseconds;
    }

    /// The hub's daemon dies; files stay.
    pub fn crash_hub(&mut self) {
        self.hub = None;
        self.reader = None;
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
            let store =
                HubStore::open(&self.hub_path(), self.policy.clone()).expect("the hub opens its file");
            self.hub = Some(HubEngine::new(store));
            self.reader = Some(FeedReader::open(&self.hub_path()).expect("the hub opens its file twice"));
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
        let node = &mut self.edges[edge];
        if node.engine.is_none() {
            let store = EdgeStore::open(&node.path, self.policy.clone()).expect("the edge opens its file");
            node.engine = Some(EdgeEngine::new(store));
        }
    }

    /// The wireless comes: the device links, if both daemons run.
    pub fn link(&mut self, edge: usize) {
        self.unlink(edge);
        let now = Millis(self.now + self.edges[edge].clock_ms);
        let (Some(hub), Some(engine)) = (&mut self.hub, &mut self.edges[edge].engine) else {
            return;
        };
        let id = self.next_link;
        self.next_link += 1;
        engine.begin(now, true).expect("the store answers");
        let number = EdgeId(u16::try_from(edge + 1).expect("few edges"));
        assert!(hub.link_up(id, number).is_empty(), "the old link was cut before");
        self.edges[edge].link = Some(Link {
            id,
            up: VecDeque::new(),
            down: VecDeque::new(),
        });
    }

    /// The wireless goes: frames under way are lost.
    pub fn unlink(&mut self, edge: usize) {
        let node = &mut self.edges[edge];
        if let Some(engine) = &mut node.engine {
            engine.end();
        }
        if let Some(link) = node.link.take()
            && let Some(hub) = &mut self.hub
        {
            hub.link_down(link.id);
        }
    }

    /// Whether a device is linked.
    #[must_use]
    pub fn is_linked(&self, edge: usize) -> bool {
        self.edges[edge].link.is_some()
    }

    /// A device's daemon does one thing: notices writes, takes one frame in, sends one frame out.
    ///
    /// # Panics
    /// When its store fails, which nothing in a simulated world should make it do.
    pub fn step_edge(&mut self, edge: usize) -> bool {
        let now = Millis(self.now + self.edges[edge].clock_ms);
        let node = &mut self.edges[edge];
        let Some(engine) = &mut node.engine else {
            return false;
        };
        if engine.store_mut().written_by_others().expect("the store answers") {
            engine.dirty();
        }
        let mut moved = false;
        if let Some(bytes) = node.link.as_mut().and_then(|link| link.down.pop_front()) {
            engine.frame(now, from_bytes::<HubFrame>(&bytes).expect("a frame of ours"));
            moved = true;
        }
        match engine.step(now).expect("the store answers") {
            Step::Frame(frame) => {
                if let Some(link) = &mut node.link {
                    link.up.push_back(to_bytes(&frame));
                }
                moved = true;
            }
            Step::Refused(reason) => {
                node.refused = Some(reason);
                self.unlink(edge);
            }
            Step::Idle => {}
        }
        moved
    }

    /// Delivers one frame of a device to the hub, if there is one.
    ///
    /// # Panics
    /// When the frame cannot be read: it is ours.
    pub fn deliver_up(&mut self, edge: usize) -> bool {
        let Some(link) = &mut self.edges[edge].link else {
            return false;
        };
        let (Some(hub), Some(bytes)) = (&mut self.hub, link.up.pop_front()) else {
            return false;
        };
        hub.frame(
            link.id,
            Millis(self.now),
            from_bytes::<EdgeFrame>(&bytes).expect("a frame of ours"),
        );
        true
    }

    /// Sends the frame that was delivered last a second time, as a link that repeats would.
    pub fn repeat_up(&mut self, edge: usize) {
        if let Some(link) = &mut self.edges[edge].link
            && let Some(bytes) = link.up.front().cloned()
            && matches!(from_bytes(&bytes), Ok(EdgeFrame::Piece(piece)) if piece.count == 1)
        {
            link.up.push_front(bytes);
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
            let reader = self.reader.as_ref().expect("the hub runs");
            let feed = reader
                .feed(hub.store().replica(), edge, cursor)
                .expect("the store answers");
            hub.feed_made(
                link,
                WholeFeed {
                    from: feed.from,
                    to: feed.to,
                    merged: feed.merged,
                    pieces: feed.pieces,
                },
            );
            moved = true;
        }
        hub.dirty();
        for action in hub.step(Millis(self.now)).expect("the store answers") {
            moved = true;
            match action {
                Action::Send(link, frame) => send_down(&mut self.edges, link, &frame),
                Action::Close(link, _) => close(&mut self.edges, link),
                Action::MakeFeed(link, edge, cursor) => self.feeds.push((link, edge, cursor)),
                Action::Report(..) => {}
            }
        }
        moved
    }

    /// Everything runs and is linked until nothing moves any more.
    ///
    /// # Panics
    /// When that takes longer than any real world could.
    pub fn settle(&mut self) {
        self.start_hub();
        for edge in 0..self.edges.len() {
            self.start_edge(edge);
            if self.edges[edge].link.is_none() {
                self.link(edge);
            }
        }
        for _ in 0..100_000 {
            let mut moved = self.step_hub();
            for edge in 0..self.edges.len() {
                moved |= self.step_edge(edge);
                moved |= self.deliver_up(edge);
            }
            if !moved
                && self
                    .edges
                    .iter()
                    .all(|edge| edge.engine.as_ref().is_some_and(EdgeEngine::in_step))
            {
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
        let read = |path: PathBuf, replica: &tt_migrations::replica::Replica| {
            tt_migrations::digest::tables(&Connection::open(path).expect("opens"), replica).expect("reads")
        };
        let hub = read(self.hub_path(), self.hub_store().replica());
        let edges =
            (0..self.edges.len()).map(|edge| read(self.edge_path(edge), self.edge_store(edge).replica()));
        std::iter::once(hub).chain(edges).collect()
    }

    /// One step of chance: a frame moves, a link comes or goes, a daemon dies or starts.
    pub fn chance(&mut self, random: &mut Random) {
        let edge = usize::try_from(random.below(self.edges.len() as u64)).expect("few edges");
        self.pass(i64::try_from(random.below(2_000)).expect("small"));
        match random.below(40) {
            0 => self.unlink(edge),
            1..=3 => {
                if !self.is_linked(edge) {
                    self.link(edge);
                }
            }
            4 => self.crash_edge(edge),
            5 | 6 => self.start_edge(edge),
            7 if random.once_in(3) => self.crash_hub(),
            8 | 9 => self.start_hub(),
            10 => self.repeat_up(edge),
            11..=18 => {
                self.step_hub();
            }
            19..=28 => {
                self.step_edge(edge);
            }
            _ => {
                self.deliver_up(edge);
            }
        }
    }
}

fn send_down(edges: &mut [EdgeNode], id: LinkId, frame: &HubFrame) {
    if let Some(link) = edges
        .iter_mut()
        .filter_map(|edge| edge.link.as_mut())
        .find(|link| link.id == id)
    {
        link.down.push_back(to_bytes(frame));
    }
}

fn close(edges: &mut [EdgeNode], id: LinkId) {
    for edge in edges {
        if edge.link.as_ref().is_some_and(|link| link.id == id) {
            // Frames that are under way still arrive: the refusal among them.
            if let Some(link) = &mut edge.link {
                link.up.clear();
            }
        }
    }
}

fn program(path: &std::path::Path) -> Connection {
    let conn = Connection::open(path).expect("the file opens");
    conn.busy_timeout(std::time::Duration::from_secs(5))
        .expect("a setting");
    conn.pragma_update(None, "foreign_keys", true).expect("a setting");
    conn.pragma_update(None, "synchronous", "OFF").expect("a setting");
    conn
}

/// A folder in memory where there is one: a thousand worlds should wait for the processor, not a disk.
fn memory_folder() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    }
}

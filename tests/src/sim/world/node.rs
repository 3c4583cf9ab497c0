//! The nodes of a world: a file with the connections of its programs, and what a device has besides.

use super::reseed::UnderWay;
use crate::sim::clock::NodeClock;
use crate::sim::wire::Link;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use tt_edge::engine::{Engine as EdgeEngine, Fetch};

/// A file with the connections of its programs.
pub(super) struct Node {
    pub(super) path: PathBuf,
    pub(super) program: Connection,
    pub(super) reader: Connection,
    pub(super) clock: NodeClock,
}

/// One device.
pub struct EdgeNode {
    pub(super) node: Node,
    pub(super) engine: Option<EdgeEngine>,
    pub(super) link: Option<Link>,
    /// The snapshot that it has asked for.
    pub(super) fetch: Option<Fetch>,
    /// What it has begun to fetch of one.
    pub(super) under_way: Option<UnderWay>,
    /// Left behind when the device linked again.
    pub(super) ghost: Option<Link>,
    /// The device's clock minus true time.
    pub clock_ms: i64,
    /// How often it was started, and the true time of the last start.
    pub(super) start: (i64, i64),
    /// Why the hub refused it.
    pub refused: Option<String>,
}

impl EdgeNode {
    /// The device's daemon, while it runs.
    #[must_use]
    pub const fn engine(&self) -> Option<&EdgeEngine> {
        self.engine.as_ref()
    }
}

impl Node {
    pub(super) fn new(path: PathBuf) -> Self {
        let clock = NodeClock::default();
        let (program, reader) = (open(&path), open(&path));
        clock.rule(&program);
        Self { path, program, reader, clock }
    }
}

fn open(path: &Path) -> Connection {
    let conn = Connection::open(path).expect("the file opens");
    conn.busy_timeout(std::time::Duration::from_secs(5)).expect("a setting");
    conn.pragma_update(None, "foreign_keys", true).expect("a setting");
    conn.pragma_update(None, "synchronous", "OFF").expect("a setting");
    conn.set_prepared_statement_cache_capacity(64);
    conn
}

/// A folder in memory where there is one: a thousand worlds should wait for the processor, not a disk.
pub(super) fn memory_folder() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

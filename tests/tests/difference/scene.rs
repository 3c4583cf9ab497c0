//! A hub's file and a device's, whose rows drift apart unseen.

use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tempfile::TempDir;
use tt_edge::store::difference::{self, Compared};
use tt_edge::store::{EdgeStore, Seed, Verdict};
use tt_hub::store::difference::{self as at_hub, Answerer};
use tt_hub::store::{HubStore, snapshot};
use tt_migrations::progress::Unwatched;
use tt_protocol::difference::{Answer, Question};
use tt_protocol::frame::to_bytes;
use tt_protocol::number::{EdgeId, Epoch};
use tt_protocol::policy::Policy;
use tt_tests::inspect;

pub(crate) struct Scene {
    dir: TempDir,
    pub(crate) store: EdgeStore,
    taken: u32,
}

/// A snapshot that the device asks about, on one link or several.
pub(crate) struct Snapshot {
    seed: Seed,
    rows: PathBuf,
    pub(crate) answerer: Answerer,
    pub(crate) wire: Wire,
}

/// What went over the wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wire {
    pub(crate) down: usize,
    pub(crate) up: usize,
    pub(crate) asked: usize,
    /// Of `asked`, those for rows.
    pub(crate) for_rows: usize,
}

impl Scene {
    /// A hub with these tables, and a device that has just joined.
    pub(crate) fn new(sql: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (hub, edge) = (dir.path().join("hub.db"), dir.path().join("edge.db"));
        let conn = Connection::open(&hub).expect("a new file");
        conn.execute_batch(&format!("BEGIN; {sql}; COMMIT;")).expect("the tables are made");
        drop(conn);
        drop(HubStore::open(&hub, Policy::default()).expect("a new hub"));
        snapshot::write(&hub, &edge).expect("a snapshot");
        let store = EdgeStore::adopt(&edge, Policy::default(), EdgeId(1)).expect("a new device");
        Self { dir, store, taken: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A program at the hub.
    pub(crate) fn at_hub(&self, sql: &str) {
        let conn = Connection::open(self.path("hub.db")).expect("the file opens");
        conn.execute_batch(sql).expect("the program may do this");
    }

    /// A program on the device.
    pub(crate) fn program(&self) -> Connection {
        Connection::open(self.path("edge.db")).expect("the file opens")
    }

    /// The device's rows become others, and nothing tells that they did.
    pub(crate) fn unseen(&self, sql: &str) {
        let conn = tt_migrations::connection::open(&self.path("edge.db")).expect("the file opens");
        conn.execute_batch(&format!("BEGIN; {sql}; COMMIT;")).expect("rows can be written");
    }

    /// A snapshot of the hub as it is now.
    pub(crate) fn snapshot(&mut self) -> Snapshot {
        self.taken += 1;
        let name = |what: &str| self.path(&format!("{what}{}", self.taken));
        let (whole, head, marks) = (name("whole"), name("head"), name("marks"));
        let made = snapshot::write(&self.path("hub.db"), &whole).expect("a snapshot");
        snapshot::write_head(&whole, &head, &format!("e{}-v{}-{}", made.epoch, made.version, self.taken))
            .expect("a head");
        std::fs::create_dir(&marks).expect("a folder");
        let compared = Arc::new(at_hub::Compared::new(whole, marks));
        let answerer = Answerer::open(compared).expect("the snapshot opens");
        let seed = Seed { path: head, rows: None, epoch: Epoch(1), order: 0 };
        Snapshot { seed, rows: name("rows"), answerer, wire: Wire::default() }
    }

    /// Fetches the rows that differ on a link that brings so many answers, which `tamper` may change.
    pub(crate) fn fetch_over(
        &mut self,
        snapshot: &mut Snapshot,
        answers: usize,
        tamper: &mut dyn FnMut(&Question, Answer) -> Answer,
    ) -> Compared {
        let ground = self
            .store
            .make_ready(&snapshot.seed)
            .expect("the store answers")
            .expect("it is the one that is needed");
        let Snapshot { seed, rows, answerer, wire } = snapshot;
        let mut left = answers;
        let mut ask = |question: &Question| {
            wire.asked += 1;
            wire.for_rows += usize::from(matches!(question, Question::Rows { .. }));
            wire.up += to_bytes(question).len();
            left = left.checked_sub(1)?;
            let answer = tamper(question, answerer.answer(question));
            wire.down += to_bytes(&answer).len();
            Some(answer)
        };
        difference::compare((&seed.path, rows), &ground, &mut ask, (&AtomicBool::new(false), &Unwatched))
            .expect("files can be written")
    }

    /// Fetches the rows that differ, if they are worth it.
    pub(crate) fn fetch(&mut self, snapshot: &mut Snapshot) -> Compared {
        self.fetch_over(snapshot, usize::MAX, &mut |_, answer| answer)
    }

    /// Writes what was fetched.
    pub(crate) fn write(&mut self, snapshot: &Snapshot) -> Verdict {
        let seed = Seed { rows: Some(snapshot.rows.clone()), ..snapshot.seed.clone() };
        self.store.reseed(&seed).expect("the store answers")
    }

    /// A whole reseed that must go well. What it cost.
    pub(crate) fn reseed(&mut self) -> Wire {
        let mut snapshot = self.snapshot();
        assert_eq!(self.fetch(&mut snapshot), Compared::Rows);
        assert_eq!(self.write(&snapshot), Verdict::Applied);
        snapshot.wire
    }

    /// Every table is on the device as it is at the hub.
    pub(crate) fn assert_equal(&self) {
        let digests = |name: &str| inspect::digests(&self.path(name)).expect("reads");
        assert_eq!(digests("edge.db"), digests("hub.db"));
    }
}

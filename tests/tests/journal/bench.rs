//! A journaled hub in a temporary folder, and what is done to it.

use rusqlite::Connection;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tt_hub::journal::reader::Reader;
use tt_hub::journal::record::Entry;
use tt_hub::journal::replay::{Replayed, Target, replay};
use tt_hub::store::{Changeset, HubStore, Outcome};
use tt_protocol::change::Kind;
use tt_protocol::number::{EdgeId, Epoch, Millis, Seq, Version};
use tt_protocol::pieces::{self, PieceBuilder};
use tt_protocol::policy::Policy;
use tt_protocol::value::ValueRef;

pub(crate) const NOON: i64 = 1_800_000_000_000;

const SCHEMA: &str =
    "CREATE TABLE bags(id INTEGER PRIMARY KEY AUTOINCREMENT, label TEXT UNIQUE, good INTEGER,
                      seen_at TEXT DEFAULT CURRENT_TIMESTAMP)";

/// A hub.
pub(crate) struct Bench {
    pub(crate) dir: TempDir,
    pub(crate) store: HubStore,
    pub(crate) program: Connection,
    seq: u64,
}

pub(crate) fn open(dir: &Path) -> HubStore {
    HubStore::open_journaled(&dir.join("hub.db"), Policy::default(), &dir.join("journal")).expect("it opens")
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let program = Connection::open(dir.path().join("hub.db")).expect("a file");
        program.execute_batch(SCHEMA).expect("the schema");
        let store = open(dir.path());
        Self { dir, store, program, seq: 0 }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.path().join("journal")
    }

    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let names = std::fs::read_dir(self.journal()).expect("the journal");
        let mut paths: Vec<PathBuf> = names.map(|entry| entry.expect("a name").path()).collect();
        paths.sort();
        paths
    }

    /// The daemon dies and starts again.
    pub(crate) fn restart(&mut self) {
        self.store = open(self.path());
    }

    /// A device's changeset of rows with these ids.
    pub(crate) fn changeset(&mut self, ids: std::ops::Range<i64>) -> Changeset {
        self.seq += 1;
        let mut builder = PieceBuilder::default();
        for id in ids {
            let label = format!("bag {id}");
            let row = [ValueRef::Integer(id), ValueRef::Text(label.as_bytes()), ValueRef::Integer(5)];
            let row = row.into_iter().chain([ValueRef::Integer(NOON)]);
            builder.push(Kind::Insert, "bags", 1, &["id", "label", "good"], row);
        }
        let pieces = builder.finish();
        let hash = pieces::hash(&pieces);
        Changeset { edge: EdgeId(1), seq: Seq(self.seq), hash, pieces, cursor: Version(0) }
    }

    /// Merges a changeset at `at` milliseconds after noon, and expects that it is acknowledged.
    pub(crate) fn merge(&mut self, changeset: &Changeset, at: i64) -> Version {
        let outcomes = self.store.merge(std::slice::from_ref(changeset), Millis(NOON + at)).expect("merges");
        match &outcomes[0] {
            Ok(Outcome::Merged { version, .. }) => *version,
            other => panic!("{other:?}"),
        }
    }

    /// `count` changesets of one row, a second apart.
    pub(crate) fn merge_some(&mut self, count: i64) {
        for _ in 0..count {
            let id = 1_000_000 + self.seq as i64;
            let changeset = self.changeset(id..id + 1);
            self.merge(&changeset, id % 1_000_000 * 1_000);
        }
    }

    /// A changeset of one row.
    pub(crate) fn merge_one(&mut self, id: i64, at: i64) -> Version {
        let changeset = self.changeset(id..id + 1);
        self.merge(&changeset, at)
    }

    /// A restore: the snapshot's rows, and a new epoch above all that was. The device goes on where the snapshot has it.
    pub(crate) fn put_back(&mut self, snapshot: &Path, epoch: Epoch, at: i64) {
        let (path, other) = (self.path().join("hub.db"), self.path().join("other.db"));
        let version = self.store.version().next();
        let floor = self.store.tail().expect("a journal").last;
        // Nobody has the file open while it is replaced.
        self.store = HubStore::open(&other, Policy::default()).expect("opens");
        self.program = Connection::open_in_memory().expect("opens");
        for ending in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{ending}", path.display()));
        }
        std::fs::copy(snapshot, &path).expect("it is put back");
        let mut store = HubStore::open(&path, Policy::default()).expect("opens");
        store.begin_epoch((epoch, version), floor, "a backup", Millis(NOON + at)).expect("an epoch begins");
        drop(store);
        self.restart();
        self.program = Connection::open(&path).expect("opens");
        let merged = "SELECT coalesce(max(seq), 0) FROM _sync_merged WHERE edge = 1";
        let merged: i64 = self.program.query_row(merged, [], |row| row.get(0)).expect("a number");
        self.seq = merged.unsigned_abs();
    }

    /// A copy of the database as it is.
    pub(crate) fn snapshot(&self) -> PathBuf {
        let path = self.path().join(format!("snapshot{}.db", self.store.version()));
        self.program.execute("VACUUM INTO ?1", [path.to_string_lossy()]).expect("a copy");
        path
    }

    /// All entries that can be read.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let reader = Reader::of_folder(&self.journal());
        let Some(reach) = reader.reach().expect("a journal") else { return Vec::new() };
        let after = tt_hub::journal::record::Lsn(reach.first.0 - 1);
        reader.after(after).expect("entries").collect::<Result<_, _>>().expect("whole entries")
    }

    /// Replays onto a copy of a snapshot. Gives what came of it, and the labels that are there then.
    pub(crate) fn replay(&self, snapshot: &Path, target: Target) -> Result<(Replayed, Vec<String>), String> {
        let copy = snapshot.with_extension("copy");
        std::fs::copy(snapshot, &copy).expect("a copy");
        let mut store = HubStore::open(&copy, Policy::default()).expect("the copy opens");
        let done = replay(&mut store, &Reader::of_folder(&self.journal()), target);
        let labels = labels(store.connection());
        drop(store);
        std::fs::remove_file(&copy).expect("it goes");
        done.map(|done| (done, labels)).map_err(|error| error.to_string())
    }
}

/// What the table holds.
pub(crate) fn labels(conn: &Connection) -> Vec<String> {
    let sql = "SELECT label || ' ' || good || ' ' || COALESCE(seen_at, '-') FROM bags ORDER BY id";
    let mut statement = conn.prepare(sql).expect("reads");
    statement.query_map([], |row| row.get(0)).expect("reads").collect::<Result<_, _>>().expect("reads")
}

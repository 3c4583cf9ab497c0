//! The journal in a world: a snapshot from some moment and a replay give what the hub had, at its end and at
//! versions before.

use super::World;
use crate::sim::random::Random;
use rusqlite::Connection;
use rusqlite::types::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use tt_hub::journal::reader::Reader;
use tt_hub::journal::record::Lsn;
use tt_hub::journal::replay::{Target, replay};
use tt_hub::store::{HubStore, snapshot};
use tt_migrations::replica::Replica;
use tt_protocol::change::decode_piece;
use tt_protocol::number::Version;

/// All that a replay must give back, row by row.
type State = BTreeMap<String, BTreeSet<String>>;

/// Tables of the hub's own, with what of them must come back.
const OWN: &[(&str, &str)] = &[
    ("_sync_conflict", "*"),
    ("_sync_trash", "*"),
    ("_sync_stamp", "*"),
    ("_sync_alias", "*"),
    ("_sync_follower", "*"),
    ("_sync_merged", "*"),
    ("_sync_schema", "*"),
    ("_sync_step", "*"),
    ("_sync_former", "*"),
    ("_sync_made", "*"),
    ("_sync_table", "name, block_first, lo, hi, audit, declared"),
    ("_sync_edge", "device, name, role, enrolled_at, hex(cert_sha256), revoked_at"),
];

/// What a world remembers of its hub, to be compared with what a replay gives.
#[derive(Default)]
pub(super) struct Remembered {
    snapshots: Vec<PathBuf>,
    /// By the last entry of the journal at that moment.
    states: BTreeMap<Lsn, (Version, State)>,
    /// The next step's state is remembered.
    pub(super) next: bool,
}

impl World {
    /// The hub's journal.
    pub(super) fn journal(&self) -> PathBuf {
        self.dir.path().join("journal")
    }

    /// Copies the hub's file as it is, with what no cut has seen.
    ///
    /// # Panics
    /// When it cannot be copied.
    pub fn remember_snapshot(&mut self) {
        let path = self.dir.path().join(format!("replay{}.db", self.remembered.snapshots.len()));
        let reader = &self.hub_node.reader;
        reader.execute("VACUUM INTO ?1", [path.to_string_lossy()]).expect("a copy");
        self.remembered.snapshots.push(path);
    }

    /// What the hub has after its next step will be compared.
    pub fn remember_next(&mut self) {
        self.remembered.next = true;
    }

    /// The hub has just made a step, and no program has written since.
    pub(super) fn remember(&mut self) {
        self.remembered.next = false;
        let store = self.hub.as_ref().expect("the hub runs").store();
        let state = state(&self.hub_node.reader, store.replica());
        let last = store.tail().expect("the hub is journaled").last;
        self.remembered.states.insert(last, (store.version(), state));
    }

    /// Replays the journal from each snapshot to the end and to some version on the way.
    ///
    /// # Panics
    /// When that does not give what the hub had.
    pub fn check_replay(&mut self, random: &mut Random) {
        self.start_hub();
        self.remember_next();
        self.step_hub();
        for snapshot in std::mem::take(&mut self.remembered.snapshots) {
            let moments: Vec<Lsn> = self.remembered.states.keys().copied().collect();
            let on_the_way = random.pick(&moments);
            for target in [None, Some(on_the_way)] {
                self.replay_to(&snapshot, target);
            }
        }
        self.remembered.states.clear();
    }

    fn replay_to(&self, snapshot: &std::path::Path, last: Option<Lsn>) {
        let copy = self.dir.path().join("replayed.db");
        std::fs::copy(snapshot, &copy).expect("a copy");
        let mut store = HubStore::open(&copy, self.policy.clone()).expect("the copy opens");
        store.connection().pragma_update(None, "synchronous", "OFF").expect("a setting");
        let first = store.last_entry().expect("reads").expect("a snapshot of a journaled hub");
        if last.is_none_or(|last| last >= first) {
            let journal = Reader::of_folder(&self.journal());
            let target = Target { last, ..Target::default() };
            let done = replay(&mut store, &journal, target).unwrap_or_else(|error| panic!("replay: {error}"));
            let wanted = last.unwrap_or(*self.remembered.states.keys().next_back().expect("the end"));
            let (version, wanted_state) = &self.remembered.states[&wanted];
            assert_eq!((done.last, done.version), (wanted, *version), "the replay stopped somewhere else");
            let replica = std::sync::Arc::clone(store.replica());
            let mut found = state(store.connection(), &replica);
            if done.entries == 0 {
                // What programs did to a counter since the last entry is in the copy; the next entry tells of it.
                found.insert("counters".to_owned(), wanted_state["counters"].clone());
            }
            compare(wanted_state, &found, *version);
        }
        drop(store);
        for ending in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{ending}", copy.display()));
        }
    }

    /// A snapshot as devices get it, which takes nothing from the hub.
    pub(super) fn device_snapshot(&self) -> PathBuf {
        let copy = self.dir.path().join("snapshot.db");
        snapshot::write(&self.hub_node.path, &copy).expect("a snapshot");
        copy
    }
}

fn compare(wanted: &State, found: &State, version: Version) {
    let names: BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
    let nothing = BTreeSet::new();
    for name in names {
        let (wanted, found) = (wanted.get(name).unwrap_or(&nothing), found.get(name).unwrap_or(&nothing));
        let lacking: Vec<_> = wanted.difference(found).take(5).collect();
        let more: Vec<_> = found.difference(wanted).take(5).collect();
        assert!(
            lacking.is_empty() && more.is_empty(),
            "replayed to version {version}, {name} differs: only the hub had {lacking:#?}, only the replay has {more:#?}"
        );
    }
}

fn state(conn: &Connection, replica: &Replica) -> State {
    let mut state = State::new();
    for (name, tracked) in &replica.tables {
        let columns = tt_migrations::replica::list(&tracked.names);
        state.insert(name.clone(), rows(conn, &columns, &tt_migrations::quote::ident(name)));
    }
    for (table, columns) in OWN {
        state.insert((*table).to_owned(), rows(conn, columns, table));
    }
    let facts =
        "SELECT name || '=' || value FROM _sync_state WHERE name IN ('version', 'epoch', 'schema_step')";
    state.insert("facts".to_owned(), rows(conn, "*", &format!("({facts})")));
    let counters = "SELECT name, seq FROM sqlite_sequence WHERE name NOT LIKE '\\_sync%' ESCAPE '\\'";
    state.insert("counters".to_owned(), rows(conn, "*", &format!("({counters})")));
    state.insert("log".to_owned(), log(conn));
    state
}

fn rows(conn: &Connection, columns: &str, from: &str) -> BTreeSet<String> {
    let mut statement = conn.prepare(&format!("SELECT {columns} FROM {from}")).expect("reads");
    let width = statement.column_count();
    let rows = statement.query_map([], |row| {
        let values: Vec<String> = (0..width)
            .map(|at| Ok(format!("{:?}", row.get::<_, Value>(at)?)))
            .collect::<rusqlite::Result<_>>()?;
        Ok(values.join(" "))
    });
    rows.expect("reads").collect::<rusqlite::Result<_>>().expect("reads")
}

/// The keys of the log: in which order a piece has them means nothing.
fn log(conn: &Connection) -> BTreeSet<String> {
    let mut statement = conn.prepare("SELECT version, origin, keys FROM _sync_log").expect("reads");
    let mut rows = statement.query([]).expect("reads");
    let mut found = BTreeSet::new();
    while let Some(row) = rows.next().expect("reads") {
        let (version, origin): (i64, i64) = (row.get(0).expect("a version"), row.get(1).expect("an origin"));
        for change in decode_piece(&row.get::<_, Vec<u8>>(2).expect("keys")).expect("a piece") {
            for index in 0..change.rows.rows() {
                let key: Vec<_> = change.key(index).collect();
                found.insert(format!("{version} {origin} {} {key:?}", change.table));
            }
        }
    }
    found
}

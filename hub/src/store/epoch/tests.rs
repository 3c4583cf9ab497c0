//! A restored file and the former one, side by side.

use super::*;
use crate::store::HubStore;
use tempfile::TempDir;
use tt_migrations::policy;
use tt_protocol::ids::IdBlock;

const NOW: Millis = Millis(5_000);

struct Hub {
    _dir: TempDir,
    store: HubStore,
}

impl Hub {
    /// A hub in this epoch and version, with devices by number: name, certificate, revoked or not.
    fn new(epoch: i64, version: i64, devices: &[(u16, &str, u8, bool)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hub.db");
        let sql = "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, note TEXT)";
        rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let mut store = HubStore::open(&path, policy::shipped()).unwrap();
        let conn = store.connection();
        state::set(conn, state::EPOCH, epoch).unwrap();
        state::set(conn, state::VERSION, version).unwrap();
        for (device, name, certificate, revoked) in devices {
            let sql = "INSERT INTO _sync_edge(device, name, role, enrolled_at, cert_sha256, revoked_at, cursor, unsent,
                       blocked) VALUES (?1, ?2, 'station', ?1, ?3, ?4, 9, 9, 'why')";
            let at = revoked.then_some(1);
            conn.execute(sql, params![device, name, [*certificate; 32], at]).unwrap();
        }
        Self { _dir: dir, store }
    }

    fn conn(&mut self) -> &Connection {
        self.store.connection()
    }

    fn devices(&mut self) -> Vec<(u16, String, Option<u8>, bool)> {
        let sql = "SELECT device, name, substr(cert_sha256, 1, 1), revoked_at IS NOT NULL FROM _sync_edge ORDER BY 1";
        let mut statement = self.conn().prepare(sql).unwrap();
        let read = |row: &rusqlite::Row<'_>| {
            let certificate: Option<Vec<u8>> = row.get(2)?;
            Ok((row.get(0)?, row.get(1)?, certificate.map(|bytes| bytes[0]), row.get(3)?))
        };
        statement.query_map([], read).unwrap().collect::<Result<_>>().unwrap()
    }
}

fn begun(restored: &mut Hub, former: &mut Hub) -> Begun {
    begin(restored.conn(), Some(former.conn()), Floor::default(), NOW).unwrap()
}

#[test]
fn numbers_go_on_above_both_files_and_the_floor() {
    for (restored, former, floor, then) in [
        ((1, 10), (1, 50), (0, 0), (2, 51)),
        ((3, 60), (2, 50), (0, 0), (4, 61)),
        ((1, 10), (1, 10), (6, 900), (7, 901)),
    ] {
        let mut old = Hub::new(restored.0, restored.1, &[]);
        let mut live = Hub::new(former.0, former.1, &[]);
        let floor = Floor { epoch: Epoch(floor.0), version: Version(floor.1), device: EdgeId(0), ticks: 0 };
        let begun = begin(old.conn(), Some(live.conn()), floor, NOW).unwrap();
        assert_eq!((begun.epoch, begun.version), (Epoch(then.0), Version(then.1)));
        assert_eq!(begun.from, Version(restored.1.unsigned_abs()));
        assert_eq!(state::get(old.conn(), state::EPOCH).unwrap(), Some(then.0 as i64));
        assert_eq!(state::get(old.conn(), state::VERSION).unwrap(), Some(then.1 as i64));
        assert_eq!(state::get(live.conn(), state::EPOCH).unwrap(), Some(former.0), "only read");
    }
}

#[test]
fn devices_enrolled_or_revoked_since_stay_so_and_forget_what_they_said() {
    let mut old = Hub::new(1, 1, &[(1, "a", 1, false), (2, "b", 2, false)]);
    let mut live =
        Hub::new(1, 9, &[(1, "a", 11, false), (2, "b", 2, true), (3, "b", 3, false), (4, "c", 4, false)]);
    begun(&mut old, &mut live);
    assert_eq!(old.devices(), live.devices());
    let sql = "SELECT count(*) FROM _sync_edge WHERE coalesce(cursor, unsent, blocked) IS NOT NULL";
    let said: i64 = old.conn().query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(said, 0);
}

#[test]
fn a_device_that_only_the_restored_file_knows_gives_way_to_its_namesake() {
    let mut old = Hub::new(1, 1, &[(1, "a", 1, false), (2, "b", 2, false), (3, "c", 3, false)]);
    let mut live = Hub::new(1, 9, &[(1, "a", 1, false), (4, "b", 3, false)]);
    begun(&mut old, &mut live);
    let name = str::to_owned;
    assert_eq!(
        old.devices(),
        [
            (1, name("a"), Some(1), false),
            (2, name("b"), Some(2), true),
            (3, name("c"), None, false),
            (4, name("b"), Some(3), false)
        ]
    );
}

#[test]
fn invitations_are_those_of_the_former_file() {
    let (mut old, mut live) = (Hub::new(1, 1, &[]), Hub::new(1, 9, &[]));
    let withdrawn = devices::invite(old.conn(), "a", "station", 1_000, false, NOW).unwrap();
    let open = devices::invite(live.conn(), "b", "station", 1_000, false, NOW).unwrap();
    begun(&mut old, &mut live);
    assert!(devices::redeem(old.conn(), &withdrawn.secret, b"key", NOW).is_err());
    assert_eq!(devices::redeem(old.conn(), &open.secret, b"key", NOW).unwrap().device, EdgeId(1));
}

#[test]
fn what_was_merged_is_what_the_restored_file_has() {
    let mut old = Hub::new(1, 5, &[(1, "a", 1, false)]);
    let mut live = Hub::new(1, 9, &[(1, "a", 1, false), (2, "b", 2, false)]);
    let add = |conn: &Connection, edge: i64, seq: i64| {
        let sql =
            "INSERT INTO _sync_merged(edge, seq, hash, version, at) VALUES (?1, ?2, zeroblob(32), ?2, 0)";
        conn.execute(sql, (edge, seq)).unwrap();
    };
    add(old.conn(), 1, 4);
    add(live.conn(), 1, 8);
    add(live.conn(), 2, 7);
    begun(&mut old, &mut live);
    let merged = |hub: &Hub| [1, 2].map(|edge| hub.store.merged(EdgeId(edge)).unwrap().0);
    assert_eq!(merged(&old), [4, 0]);
    take_merged(old.conn(), live.conn()).unwrap();
    assert_eq!(merged(&old), [8, 7]);
}

#[test]
fn an_id_that_the_former_hub_gave_is_not_given_again() {
    let (mut old, mut live) = (Hub::new(1, 1, &[]), Hub::new(1, 9, &[]));
    let add = "INSERT INTO t(note) VALUES ('x')";
    let id = |hub: &mut Hub| {
        hub.conn().execute(add, []).unwrap();
        hub.conn().last_insert_rowid()
    };
    id(&mut old);
    let last = (0..5).map(|_| id(&mut live)).max().unwrap();
    begun(&mut old, &mut live);
    assert_eq!(id(&mut old), last + 1);
}

#[test]
fn a_step_of_the_schema_is_not_counted_twice() {
    let (mut old, mut live) = (Hub::new(1, 1, &[]), Hub::new(1, 9, &[]));
    state::set(live.conn(), state::STEP, 5).unwrap();
    begun(&mut old, &mut live);
    assert_eq!(state::get(old.conn(), state::STEP).unwrap(), Some(5));
}

#[test]
fn without_the_former_file_numbers_that_may_have_been_are_left_out() {
    let mut old = Hub::new(1, 5, &[(1, "a", 1, false)]);
    let floor = Floor { epoch: Epoch(3), version: Version(1_000), device: EdgeId(40), ticks: 0 };
    let begun = begin(old.conn(), None, floor, NOW).unwrap();
    assert_eq!((begun.epoch, begun.version), (Epoch(4), Version(1_001)));
    let open = devices::invite(old.conn(), "b", "station", 1_000, false, NOW).unwrap();
    assert_eq!(devices::redeem(old.conn(), &open.secret, b"key", NOW).unwrap().device, EdgeId(41));
}

#[test]
fn without_the_former_file_ids_that_may_have_been_given_are_left_out() {
    let mut old = Hub::new(1, 5, &[]);
    let next = |hub: &mut Hub| {
        hub.conn().execute("INSERT INTO t(note) VALUES ('x')", []).unwrap();
        hub.conn().last_insert_rowid()
    };
    let last = next(&mut old);
    begin(old.conn(), None, Floor { ticks: 3, ..Floor::default() }, NOW).unwrap();
    let path = old.conn().path().unwrap().to_owned();
    drop(HubStore::open(path.as_ref(), policy::shipped()).unwrap());
    let given = next(&mut old);
    assert!(given > last + 3 * TICK && IdBlock::containing(given, EdgeId::HUB).is_some(), "{given}");
    // Where that many are not left, none is given.
    begin(old.conn(), None, Floor { ticks: i64::MAX, ..Floor::default() }, NOW).unwrap();
    drop(HubStore::open(path.as_ref(), policy::shipped()).unwrap());
    let program = rusqlite::Connection::open(&path).unwrap();
    assert!(program.execute("INSERT INTO t(note) VALUES ('x')", []).is_err());
}

#[test]
fn a_file_of_another_hub_is_told_apart() {
    let mut one = Hub::new(1, 1, &[(1, "a", 1, false)]);
    let mut same = Hub::new(1, 1, &[(1, "a", 1, true), (2, "b", 2, false)]);
    let mut other = Hub::new(1, 1, &[(1, "z", 1, false)]);
    assert!(of_one_hub(one.conn(), same.conn()).unwrap());
    assert!(!of_one_hub(one.conn(), other.conn()).unwrap());
}

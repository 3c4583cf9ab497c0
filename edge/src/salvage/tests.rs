//! Pages of a device's file are made illegible at random: whatever row can still be read by itself is in the
//! new file, what was unsent of them is handed in once, and what is missing is named.

use super::{build, damage, is_damage};
use crate::store::EdgeStore;
use rusqlite::{Connection, OptionalExtension as _};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use tt_migrations::policy;
use tt_protocol::change::{Kind, decode_piece};
use tt_protocol::number::{EdgeId, Millis, Seq};
use tt_protocol::value::ValueRef;

const PAGE: usize = 4_096;
const SEEDS: u64 = 60;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// A device's file: rows that were handed in, some of them changed since, a changeset in the outbox, and rows
/// that are not cut. Gives the ids of what was changed, of what is in the outbox and of what is not cut.
fn device(db: &Path) -> [BTreeSet<i64>; 3] {
    let program = Connection::open(db).unwrap();
    let make = "PRAGMA page_size = 4096; CREATE TABLE counts(id INTEGER PRIMARY KEY AUTOINCREMENT, note TEXT NOT NULL, n INT);
                CREATE INDEX by_note ON counts(note); CREATE TABLE words(word TEXT PRIMARY KEY, n INT) WITHOUT ROWID;";
    program.execute_batch(make).unwrap();
    let mut store = EdgeStore::adopt(db, policy::shipped(), EdgeId(3)).unwrap();
    let add = |rows: usize| -> BTreeSet<i64> {
        (0..rows)
            .map(|row| {
                let sql = "INSERT INTO counts(note, n) VALUES (?1 || hex(zeroblob(60)), 0)";
                program.execute(sql, [format!("row {row} ")]).unwrap();
                program.last_insert_rowid()
            })
            .collect()
    };
    let safe = add(200);
    store.cut(Millis(1_000)).unwrap().unwrap();
    program.execute_batch("UPDATE _sync_outbox SET version = 1").unwrap();
    store.forget_safe(tt_protocol::number::Version(1)).unwrap();
    let cut = add(150);
    store.cut(Millis(2_000)).unwrap().unwrap();
    let uncut = add(150);
    let changed: BTreeSet<i64> = safe.iter().copied().step_by(7).collect();
    for id in &changed {
        program.execute("UPDATE counts SET n = n + 1 WHERE id = ?1", [id]).unwrap();
    }
    program.execute("INSERT INTO words SELECT 'word ' || id, 1 FROM counts WHERE id % 3 = 0", []).unwrap();
    drop(program);
    drop(store);
    [changed, cut, uncut]
}

/// Makes one to four pages illegible, never the first.
fn spoil(db: &Path, random: &mut Random) {
    let mut bytes = std::fs::read(db).unwrap();
    let pages = bytes.len() / PAGE;
    for _ in 0..=random.below(4) {
        let page = 1 + random.below(pages - 1);
        let filler = [0, 0xff, 0x5a][random.below(3)];
        bytes[page * PAGE..(page + 1) * PAGE].fill(filler);
    }
    std::fs::write(db, bytes).unwrap();
}

/// Rows that can be read by themselves.
fn legible(db: &Path, ids: impl Iterator<Item = i64>) -> BTreeMap<i64, String> {
    let conn = Connection::open(db).unwrap();
    conn.pragma_update(None, "writable_schema", true).unwrap();
    let read =
        |id: i64| conn.query_row("SELECT note || n FROM counts WHERE id = ?1", [id], |row| row.get(0)).ok();
    ids.filter_map(|id| Some((id, read(id)?))).collect()
}

/// What a file hands in: ids of new rows and of changed ones, in order, and whether anything was deleted.
fn handed_in(store: &EdgeStore) -> (Vec<i64>, Vec<i64>, bool) {
    let (mut new, mut changed, mut deleted) = (Vec::new(), Vec::new(), false);
    let mut after = Seq(0);
    while let Some(waiting) = store.next_waiting(after).unwrap() {
        after = waiting.seq;
        for index in 0..waiting.pieces {
            for change in decode_piece(&store.piece(&waiting, index).unwrap().bytes).unwrap() {
                deleted |= change.kind == Kind::Delete;
                for row in (0..change.rows.rows()).filter(|_| change.table == "counts") {
                    let Some(ValueRef::Integer(id)) = change.key(row).next() else { panic!("an id") };
                    if change.kind == Kind::Insert { new.push(id) } else { changed.push(id) }
                }
            }
        }
    }
    (new, changed, deleted)
}

fn state_is_legible(db: &Path) -> bool {
    let read = || -> rusqlite::Result<Option<i64>> {
        let conn = Connection::open(db)?;
        conn.pragma_update(None, "writable_schema", true)?;
        conn.query_row("SELECT value FROM _sync_state WHERE name = 'device'", [], |row| row.get(0)).optional()
    };
    matches!(read(), Ok(Some(3)))
}

#[test]
fn whatever_can_still_be_read_is_kept_and_handed_in_once() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.db");
    let [changed, cut, uncut] = device(&whole);
    let ids: Vec<i64> = {
        let conn = Connection::open(&whole).unwrap();
        let mut statement = conn.prepare("SELECT id FROM counts").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let (mut refused, mut partial) = (0, 0);
    for seed in 1..=SEEDS {
        println!("SEED={seed}");
        let db = folder.path().join(format!("{seed}.db"));
        std::fs::copy(&whole, &db).unwrap();
        spoil(&db, &mut Random(seed));
        let expected = legible(&db, ids.iter().copied());
        let fresh: PathBuf = folder.path().join(format!("{seed}.fresh.db"));
        let illegible = match build(&db, &fresh) {
            Ok(illegible) => illegible,
            Err(error) => {
                assert!(is_damage(&error) && !state_is_legible(&db), "{error}");
                refused += 1;
                continue;
            }
        };
        assert_eq!(damage(&fresh).unwrap(), None);
        let found = if Connection::open(&fresh).unwrap().table_exists(None, "counts").unwrap() {
            legible(&fresh, ids.iter().copied())
        } else {
            BTreeMap::new()
        };
        assert_eq!(found, expected, "the rows that can be read");
        let named = |table: &str| illegible.iter().any(|one| one.table == table);
        assert!(found.len() == ids.len() || named("counts") || named("sqlite_schema"), "{illegible:?}");
        partial += u32::from(found.len() < ids.len());
        let mut store = EdgeStore::open(&fresh, policy::shipped()).unwrap();
        let rescued = store.rescue(EdgeId(9), "token", true, Millis(3_000)).unwrap();
        let (new, touched, deleted) = handed_in(&store);
        assert!(!deleted, "what cannot be read is not deleted");
        let once: BTreeSet<i64> = new.iter().copied().collect();
        assert_eq!(once.len(), new.len(), "a row is handed in once");
        let touched_once: BTreeSet<i64> = touched.iter().copied().collect();
        assert_eq!(touched_once.len(), touched.len(), "a change is handed in once");
        assert!(once.is_subset(&cut.union(&uncut).copied().collect()) && touched_once.is_subset(&changed));
        assert!(
            rescued.lost.iter().any(|lost| lost.seq == 2) || cut.is_subset(&once) || named("_sync_outbox"),
            "the outbox is whole or named"
        );
        if !named("counts") {
            assert!(uncut.is_subset(&once), "{illegible:?}");
            assert!(named("_sync_base_counts") || changed.is_subset(&touched_once), "{illegible:?}");
        } else if !illegible.iter().any(|one| one.found.starts_with("which rows were new")) && found.len() > 1
        {
            let readable = uncut.iter().filter(|id| expected.contains_key(id));
            assert!(readable.into_iter().all(|id| once.contains(id)), "{illegible:?}");
        }
    }
    println!("{refused} of {SEEDS} files could not be read at all, {partial} in part");
    assert!(refused < SEEDS / 4 && partial > 5);
}

//! Replay to a version, to a second, and across a restore.

use crate::bench::{Bench, NOON, labels};
use tt_hub::journal::reader::Reader;
use tt_hub::journal::replay::Target;
use tt_protocol::number::{Epoch, Millis, Version};

#[test]
fn every_version_and_every_second_can_be_brought_back() {
    let mut bench = Bench::new();
    bench.program.execute("INSERT INTO bags(label, good) VALUES ('by hand', 1)", []).expect("writes");
    let snapshot = bench.snapshot();
    let mut states = Vec::new();
    for step in 0..6 {
        if step == 3 {
            let sql = "UPDATE bags SET good = good + 10; DELETE FROM bags WHERE label = 'bag 1000001';
                       ALTER TABLE bags ADD COLUMN note TEXT DEFAULT 'n'";
            bench.program.execute_batch(sql).expect("writes");
        }
        let changeset = bench.changeset(1_000_000 + step..1_000_001 + step);
        let version = bench.merge(&changeset, step * 1_000);
        states.push((version, Millis(NOON + step * 1_000), labels(&bench.program)));
    }
    for (version, at, wanted) in &states {
        let to_version = Target { version: Some(*version), ..Target::default() };
        let (done, found) = bench.replay(&snapshot, to_version).expect("replays");
        assert_eq!((done.version, &found), (*version, wanted));
        let just_before_the_next = Target { at: Some(Millis(at.0 + 999)), ..Target::default() };
        let (done, found) = bench.replay(&snapshot, just_before_the_next).expect("replays");
        assert_eq!((done.version, done.at, &found), (*version, Some(*at), wanted));
    }
    let reach = Reader::of_folder(&bench.journal()).reach().expect("reads").expect("a journal");
    let (last, _, _) = states.last().expect("six");
    assert_eq!((reach.from, reach.to, reach.to_at), (Version(0), *last, Millis(NOON + 5_000)));
}

#[test]
fn what_a_restore_left_behind_counts_for_the_time_before_it_and_not_for_later() {
    let mut bench = Bench::new();
    let first = bench.snapshot();
    bench.merge_some(2);
    let backup = bench.snapshot();
    let kept = labels(&bench.program);
    bench.merge_some(3);
    let (before, old) = (bench.store.version(), labels(&bench.program));
    let floor = bench.store.tail().expect("a journal").last;
    // The restore: the backup's rows, and a new epoch above all that was.
    let path = bench.dir.path().join("hub.db");
    bench.store =
        tt_hub::store::HubStore::open(&bench.dir.path().join("other.db"), Default::default()).expect("opens");
    bench.program = rusqlite::Connection::open_in_memory().expect("opens");
    for ending in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{ending}", path.display()));
    }
    std::fs::copy(&backup, &path).expect("it is put back");
    let mut store = tt_hub::store::HubStore::open(&path, Default::default()).expect("opens");
    let begun = (Epoch(2), before.next());
    store.begin_epoch(begun, floor, "a backup", Millis(NOON + 100_000)).expect("an epoch begins");
    drop(store);
    bench.restart();
    bench.program = rusqlite::Connection::open(&path).expect("opens");
    assert_eq!(labels(&bench.program), kept);
    let changeset = bench.changeset(77..78);
    let changeset = tt_hub::store::Changeset { seq: tt_protocol::number::Seq(3), ..changeset };
    let version = bench.merge(&changeset, 200_000);
    assert!(version > before.next(), "versions go on above all that were");
    let now = labels(&bench.program);
    for snapshot in [&first, &backup] {
        let (done, found) = bench.replay(snapshot, Target::default()).expect("replays");
        assert_eq!((done.version, &found), (version, &now));
        let left = Target { version: Some(before), ..Target::default() };
        let (done, found) = bench.replay(snapshot, left).expect("replays");
        assert_eq!((done.version, &found), (before, &old), "what was before the restore is not lost");
    }
}

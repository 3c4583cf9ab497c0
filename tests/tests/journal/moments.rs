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
    bench.put_back(&backup, Epoch(2), 100_000);
    assert_eq!(labels(&bench.program), kept);
    let version = bench.merge_one(77, 200_000);
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

/// Of two restores the second goes back to before the first, and a third goes on with what the first began: each stands
/// on its own line, whatever lies between in the journal.
#[test]
fn a_restore_that_was_itself_left_behind_hides_nothing() {
    let mut bench = Bench::new();
    bench.merge_one(1, 1_000);
    let evening = bench.snapshot();
    bench.merge_one(2, 2_000);
    let night = bench.snapshot();
    bench.put_back(&evening, Epoch(2), 100_000);
    bench.merge_one(3, 101_000);
    let morning = bench.snapshot();
    bench.put_back(&night, Epoch(3), 200_000);
    let second = bench.merge_one(4, 201_000);
    let on_second = labels(&bench.program);
    let are =
        |found: &[String], bags: [&str; 3]| found.iter().zip(bags).all(|(row, bag)| row.starts_with(bag));
    assert!(on_second.len() == 3 && are(&on_second, ["bag 1 ", "bag 2 ", "bag 4 "]), "{on_second:?}");
    bench.put_back(&morning, Epoch(4), 300_000);
    let third = bench.merge_one(5, 301_000);
    let on_third = labels(&bench.program);
    assert!(on_third.len() == 3 && are(&on_third, ["bag 1 ", "bag 3 ", "bag 5 "]), "{on_third:?}");
    let to = |version| Target { version: Some(version), ..Target::default() };
    for (snapshot, version, wanted) in [
        (&evening, second, &on_second),
        (&night, second, &on_second),
        (&evening, third, &on_third),
        (&morning, third, &on_third),
    ] {
        let (done, found) = bench.replay(snapshot, to(version)).expect("replays");
        assert_eq!((done.version, &found), (version, wanted), "{}", snapshot.display());
    }
    for (snapshot, version) in [(&morning, second), (&night, third)] {
        let refused = bench.replay(snapshot, to(version)).expect_err("it is of another line");
        assert!(refused.contains("began from an earlier state"), "{refused}");
    }
}

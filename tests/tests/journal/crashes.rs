//! The hub dies between any two steps of its journal, or its disk is full.

use crate::bench::{Bench, labels};
use tt_hub::journal::replay::Target;
use tt_protocol::number::Version;

/// Takes the last `bytes` bytes from the last segment, as if they had never reached the disk.
fn lose(bench: &Bench, bytes: u64) {
    let path = bench.segments().pop().expect("a segment");
    let length = std::fs::metadata(&path).expect("a length").len();
    let file = std::fs::OpenOptions::new().write(true).open(path).expect("a segment");
    file.set_len(length.saturating_sub(bytes)).expect("it is cut");
}

#[test]
fn whatever_of_the_last_append_is_lost_the_next_start_writes_it_again() {
    let mut bench = Bench::new();
    let snapshot = bench.snapshot();
    bench.merge_some(3);
    let whole = std::fs::read(&bench.segments()[0]).expect("a segment");
    let before = {
        let mut other = Bench::new();
        other.merge_some(2);
        std::fs::metadata(&other.segments()[0]).expect("a length").len()
    };
    for lost in 1..=(whole.len() as u64 - before) {
        lose(&bench, lost);
        bench.restart();
        assert_eq!(std::fs::read(&bench.segments()[0]).expect("a segment"), whole, "{lost} bytes lost");
    }
    let (done, found) = bench.replay(&snapshot, Target::default()).expect("replays");
    assert_eq!((done.version, found), (Version(3), labels(&bench.program)));
}

#[test]
fn a_segment_that_was_only_begun_goes_and_is_made_again() {
    let mut bench = Bench::new();
    bench.merge_some(1);
    for kept in [0, 5, 30, 60] {
        let path = bench.segments().pop().expect("a segment");
        std::fs::OpenOptions::new().write(true).open(path).expect("a file").set_len(kept).expect("it is cut");
        bench.restart();
        assert_eq!(bench.entries().len() as u64, bench.store.tail().expect("a journal").last.0);
    }
}

#[test]
fn rubbish_after_the_last_entry_is_cut_off_as_long_as_the_database_has_what_was_there() {
    let mut bench = Bench::new();
    bench.merge_some(2);
    let entries = bench.entries();
    let path = bench.segments().pop().expect("a segment");
    let whole = std::fs::read(&path).expect("a segment");
    for rubbish in [&[0; 100][..], &[255; 3], &[7, 0, 0, 0, 1, 2, 3]] {
        std::fs::write(&path, [&whole, rubbish].concat()).expect("written");
        bench.restart();
        assert_eq!(bench.entries(), entries);
    }
    bench.merge_some(1);
    let all = bench.entries();
    assert_eq!(
        (&all[..entries.len()], all.last().map(|entry| entry.version)),
        (&entries[..], Some(Version(3)))
    );
}

#[test]
fn entries_that_are_in_a_segment_leave_the_database_with_a_later_merge() {
    let mut bench = Bench::new();
    bench.merge_some(10);
    let kept: i64 =
        bench.program.query_row("SELECT COUNT(*) FROM _sync_journal", [], |row| row.get(0)).expect("reads");
    assert_eq!(kept, 1, "only what the last merge wrote");
    assert!(bench.entries().len() >= 10);
}

#[test]
fn a_journal_that_cannot_be_written_acknowledges_nothing_and_goes_on_when_it_can() {
    let mut bench = Bench::new();
    bench.merge_some(1);
    let changeset = bench.changeset(500..501);
    // The next day needs a new segment, and a folder stands where it would be.
    let next = bench.store.tail().expect("a journal").last.next();
    let in_the_way = bench.journal().join(format!("{:016}.seg", next.0));
    std::fs::create_dir(&in_the_way).expect("a folder");
    let day = 86_400_000;
    let now = tt_protocol::number::Millis(crate::bench::NOON + day);
    let refused = bench.store.merge(std::slice::from_ref(&changeset), now);
    assert!(refused.is_err(), "no outcome, no acknowledgement: {refused:?}");
    std::fs::remove_dir(&in_the_way).expect("it goes");
    bench.restart();
    let version = bench.merge(&changeset, day);
    assert_eq!(version, Version(2), "it is merged once");
    assert_eq!(bench.entries().last().map(|entry| entry.version), Some(Version(2)));
    assert_eq!(bench.segments().len(), 2);
}

#[test]
fn an_older_database_begins_a_new_chain_and_never_uses_a_number_twice() {
    let mut bench = Bench::new();
    bench.merge_some(2);
    let older = bench.snapshot();
    bench.merge_some(3);
    let last = bench.store.tail().expect("a journal").last;
    drop(bench.store);
    let path = bench.dir.path().join("hub.db");
    drop(bench.program);
    for ending in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{ending}", path.display()));
    }
    std::fs::copy(older, &path).expect("it is put back");
    let store = crate::bench::open(bench.dir.path());
    assert_eq!(store.tail().expect("a journal").last, last);
}

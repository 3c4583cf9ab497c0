//! Files of the journal that are not as they were written are named, and never replayed.

use crate::bench::Bench;
use tt_hub::journal::reader::Reader;
use tt_hub::journal::record::Lsn;
use tt_hub::journal::replay::Target;

/// A hub with a segment for each of three days.
fn three_days() -> Bench {
    let mut bench = Bench::new();
    for day in 0..3 {
        for _ in 0..3 {
            let id = 10 + day * 10 + bench.entries().len() as i64;
            let changeset = bench.changeset(id..id + 1);
            bench.merge(&changeset, day * 86_400_000);
        }
    }
    assert_eq!(bench.segments().len(), 3);
    bench
}

#[test]
fn a_flipped_byte_anywhere_in_a_closed_segment_is_found_and_named() {
    let bench = three_days();
    let path = &bench.segments()[1];
    let whole = std::fs::read(path).expect("a segment");
    let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
    for at in 0..whole.len() {
        let mut bad = whole.clone();
        bad[at] ^= 0x10;
        std::fs::write(path, bad).expect("written");
        let reader = Reader::of_folder(&bench.journal());
        let failed = reader.after(Lsn(0)).expect("a beginning").find_map(Result::err);
        let error = failed.unwrap_or_else(|| panic!("byte {at} is not missed")).to_string();
        assert!(error.contains(name), "byte {at}: {error}");
    }
}

#[test]
fn a_segment_that_ends_too_early_is_damage_when_there_is_a_later_one() {
    let bench = three_days();
    let path = &bench.segments()[1];
    let whole = std::fs::read(path).expect("a segment");
    for length in 0..whole.len() {
        std::fs::write(path, &whole[..length]).expect("written");
        let reader = Reader::of_folder(&bench.journal());
        let failed = reader.after(Lsn(0)).expect("a beginning").find_map(Result::err);
        assert!(failed.is_some(), "{length} of {} bytes", whole.len());
    }
}

#[test]
fn a_lost_segment_is_a_gap_and_nothing_is_replayed_across_it() {
    let mut bench = Bench::new();
    let snapshot = bench.snapshot();
    for day in 0..3 {
        let changeset = bench.changeset(day..day + 1);
        bench.merge(&changeset, day * 86_400_000);
    }
    std::fs::remove_file(&bench.segments()[1]).expect("it goes");
    let error = bench.replay(&snapshot, Target::default()).expect_err("a gap");
    assert!(error.contains("has no entry"), "{error}");
    std::fs::remove_file(&bench.segments()[0]).expect("it goes");
    let error = bench.replay(&snapshot, Target::default()).expect_err("no beginning");
    assert!(error.contains("has no entry 1"), "{error}");
}

#[test]
fn a_segment_of_another_history_is_a_fork() {
    let (mut bench, other) = (three_days(), three_days());
    bench.restart();
    let id = 900;
    let changeset = bench.changeset(id..id + 1);
    bench.merge(&changeset, 2 * 86_400_000);
    // The other hub merged other rows before it, and its third segment begins with the same number.
    let mut strange = Bench::new();
    for day in 0..3 {
        for index in 0..3 {
            let id = 700 + day * 10 + index;
            let changeset = strange.changeset(id..id + 1);
            strange.merge(&changeset, day * 86_400_000);
        }
    }
    let (from, to) = (&strange.segments()[2], &other.segments()[2]);
    assert_eq!(from.file_name(), to.file_name());
    std::fs::copy(from, to).expect("a copy");
    let reader = Reader::of_folder(&other.journal());
    let error = reader.after(Lsn(0)).expect("a beginning").find_map(Result::err).expect("a fork");
    assert!(error.to_string().contains("another history"), "{error}");
}

#[test]
fn hostile_bytes_never_panic() {
    let bench = three_days();
    let path = bench.segments()[0].clone();
    let whole = std::fs::read(&path).expect("a segment");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..2_000 {
        let mut bad = whole.clone();
        for _ in 0..4 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (state >> 33) as usize % bad.len();
            bad[at] = (state >> 17) as u8;
        }
        bad.truncate((state >> 40) as usize % (bad.len() + 1));
        std::fs::write(&path, &bad).expect("written");
        let reader = Reader::of_folder(&bench.journal());
        let _ = reader.reach();
        let _ = reader.after(Lsn(0)).map(Iterator::count);
    }
}

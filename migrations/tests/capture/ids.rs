//! Automatic ids: distinct over all devices, inside their own blocks, never given twice; and a clear
//! error where there is none left.

use crate::dice::{Dice, seeds};
use crate::station::Station;
use std::collections::BTreeSet;
use tt_protocol::ids::{ID_MAX, IdBlock};
use tt_protocol::number::EdgeId;
use tt_protocol::value::Value;

const TABLE: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, v);";
const NO_ID: &str = "no free id left in t";

#[test]
fn ids_of_many_devices_never_meet() {
    for seed in seeds(2) {
        println!("SEED={seed}");
        many_devices(seed);
    }
}

/// Devices insert, delete, and apply each other's rows in random order. Each row is told to some others.
fn many_devices(seed: u64) {
    let mut dice = Dice::new(seed);
    let mut stations: Vec<_> = [0, 1, 2, 4095].map(|device| Station::of_device(TABLE, device)).into();
    for station in &stations {
        station.run("PRAGMA synchronous = OFF");
        station.daemon.execute_batch("PRAGMA synchronous = OFF").expect("pragma");
    }
    let mut given = BTreeSet::new();
    for _ in 0..1_500 {
        let at = dice.below(stations.len());
        let id = stations[at].insert("INSERT INTO t(v) VALUES (1)");
        assert!(given.insert(id), "SEED={seed}: {id} was given twice");
        assert!((1..ID_MAX).contains(&id), "SEED={seed}: {id} is too large");
        assert!(
            IdBlock::containing(id, stations[at].device).is_some(),
            "SEED={seed}: {id} is not this device's"
        );
        if dice.chance(60) {
            let other = dice.below(stations.len());
            tell(&mut stations[other], id);
        }
        if dice.chance(20) {
            stations[at].run("DELETE FROM t WHERE id = (SELECT max(id) FROM t)");
        }
        if dice.chance(20) {
            stations[at].cut_unchecked();
        }
    }
}

fn tell(station: &mut Station, id: i64) {
    if station.number_with("SELECT count(*) FROM t WHERE id = ?1", [id]) == 0 {
        station.apply_foreign("t", &[Value::Integer(id), Value::Null]);
    }
}

#[test]
fn a_foreign_id_far_above_moves_the_block_and_waiting_rows_are_still_cut() {
    let mut station = Station::new(TABLE);
    let waiting = station.insert("INSERT INTO t(v) VALUES (1)");
    let gone = station.insert("INSERT INTO t(v) VALUES (1)");
    station.run(&format!("REPLACE INTO t VALUES ({gone}, 2); DELETE FROM t WHERE id = {gone}"));
    let far = Value::Integer(1 << 45);
    station.shadow.add(station.replica.get("t").expect("t"), vec![far.clone(), Value::Null]);
    station.apply_foreign("t", &[far, Value::Null]);
    let after = station.insert("INSERT INTO t(v) VALUES (3)");
    assert!(after > 1 << 45 && IdBlock::containing(after, station.device).is_some());
    assert_eq!(station.cut(), [format!("+ t {waiting}"), format!("+ t {after}")]);
}

/// Leaves `free` ids in the block of `t`.
fn nearly_full(station: &mut Station, free: i64) {
    let place = station.place("t");
    station.run(&format!("INSERT INTO t(id, v) VALUES ({}, 'near the end')", place.hi - free));
}

#[test]
fn a_block_that_runs_out_gives_a_clear_error_and_work_goes_on() {
    let ten = "SELECT value FROM json_each('[1,2,3,4,5,6,7,8,9,10]')";
    for clause in ["", "OR IGNORE", "OR REPLACE", "OR FAIL", "OR ROLLBACK"] {
        let mut station = Station::new(TABLE);
        nearly_full(&mut station, 3);
        let error = station.refused(&format!("INSERT {clause} INTO t(v) {ten}"));
        assert!(error.contains(NO_ID), "{clause}: {error}");
        assert_eq!(station.number("SELECT count(*) FROM t"), 1, "{clause}: all or nothing");
        for _ in 0..3 {
            station.run(&format!("INSERT {clause} INTO t(v) VALUES ('the last ones')"));
        }
        assert!(
            station.refused(&format!("INSERT {clause} INTO t(v) VALUES (1)")).contains(NO_ID),
            "{clause}"
        );
        let neighbour = station.place("t").hi;
        assert_eq!(station.number("SELECT max(id) FROM t"), neighbour, "the last id of the block is given");
        assert_eq!(station.cut().len(), 4, "{clause}");
        station.run(&format!("INSERT {clause} INTO t(v) {ten}"));
        assert_eq!(station.cut().len(), 10, "{clause}: a new block");
    }
}

#[test]
fn a_well_used_block_is_left_at_the_next_cut() {
    let mut station = Station::new(TABLE);
    let before = station.place("t");
    station.run(&format!("INSERT INTO t(id, v) VALUES ({}, 1)", before.first + 100_000));
    station.cut();
    assert!(station.place("t").first > before.hi);
    station.run("INSERT INTO t(v) VALUES (1)");
    assert_eq!(station.cut().len(), 1);
}

#[test]
fn settle_helps_a_program_that_ran_out() {
    let mut station = Station::new(TABLE);
    nearly_full(&mut station, 0);
    assert!(station.refused("INSERT INTO t(v) VALUES (1)").contains(NO_ID));
    station.settle();
    station.run("INSERT INTO t(v) VALUES (1)");
    assert_eq!(station.cut().len(), 2);
}

#[test]
fn a_program_that_chooses_a_huge_id() {
    let mut station = Station::new(TABLE);
    station.run("INSERT INTO t VALUES (1 << 50, 'mine')");
    assert!(
        station.refused("INSERT INTO t(v) VALUES (1)").contains(NO_ID),
        "the id after it is somebody else's"
    );
    assert_eq!(station.cut(), [format!("+ t {}", 1i64 << 50)]);
    let id = station.insert("INSERT INTO t(v) VALUES (1)");
    assert!(id > 1 << 50 && IdBlock::containing(id, station.device).is_some());

    station.run("INSERT INTO t VALUES (9223372036854775806, 'above 2^53')");
    assert!(station.refused("INSERT INTO t(v) VALUES (1)").contains(NO_ID));
    assert_eq!(station.cut().len(), 2);
    assert!(station.refused("INSERT INTO t(v) VALUES (1)").contains(NO_ID), "SQLite counts on from there");
    station.run("DELETE FROM t WHERE id > 1 << 53");
    station.cut();
    let next = station.insert("INSERT INTO t(v) VALUES (1)");
    assert!(next > id && next < ID_MAX, "once it has gone, ids go on above the last one given");
}

#[test]
fn a_program_that_disturbs_the_counter() {
    for statement in [
        "DELETE FROM sqlite_sequence",
        "UPDATE sqlite_sequence SET seq = 5",
        "UPDATE sqlite_sequence SET seq = NULL",
        "UPDATE sqlite_sequence SET seq = 'many'",
        "UPDATE sqlite_sequence SET seq = 4000000",
        "INSERT INTO sqlite_sequence VALUES ('t', 7)",
    ] {
        let mut station = Station::new(TABLE);
        let mut given = BTreeSet::new();
        given.insert(station.insert("INSERT INTO t(v) VALUES (1)"));
        station.cut();
        station.run("DELETE FROM t");
        station.cut();
        station.run(statement);
        if station.program.execute_batch("INSERT INTO t(v) VALUES (2)").is_ok() {
            assert!(given.insert(station.program.last_insert_rowid()), "{statement}: given twice");
        }
        station.cut();
        let id = station.insert("INSERT INTO t(v) VALUES (3)");
        assert!(given.insert(id), "{statement}: {id} given twice");
        assert!(IdBlock::containing(id, station.device).is_some(), "{statement}: {id}");
        station.cut();
    }
}

#[test]
fn the_hub_goes_on_where_an_adopted_file_stood() {
    let old = "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 1), (500, 2);";
    assert_eq!(Station::of_device(old, EdgeId::HUB.0).insert("INSERT INTO t(v) VALUES (3)"), 501);
    let grown = old.replace("500", "1000000");
    let id = Station::of_device(&grown, EdgeId::HUB.0).insert("INSERT INTO t(v) VALUES (3)");
    assert!(id > 1_000_000 && IdBlock::containing(id, EdgeId::HUB).is_some());
}

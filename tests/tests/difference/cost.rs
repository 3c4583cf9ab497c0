//! Bytes on the wire, and what a cut link costs.

use crate::scene::{Scene, Snapshot};
use tt_edge::store::Verdict;
use tt_edge::store::difference::Compared;

const ROWS: i64 = 60_000;

/// Rows as wide as the warehouse's, of which hardly one repeats another.
fn scene() -> Scene {
    Scene::new(&format!(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, who TEXT, box INTEGER, bag INTEGER, made INTEGER, at TEXT);
         CREATE TABLE still(id TEXT PRIMARY KEY, v);
         WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {ROWS})
         INSERT INTO t SELECT n, 'worker ' || n % 7, n / 40, n % 40, n * 7919 % 300, '2026-11-' || (1 + n / 2500) FROM c;
         INSERT INTO still SELECT 'key ' || id, made FROM t"
    ))
}

#[test]
fn one_scattered_row_in_a_hundred_costs_some_fifty_bytes_each() {
    let mut scene = scene();
    scene.unseen("UPDATE t SET made = made + 1 WHERE id % 103 = 5");
    let changed = usize::try_from(ROWS / 103).unwrap();
    let wire = scene.reseed();
    scene.assert_equal();
    println!("{changed} rows: {wire:?}");
    assert!(wire.down < changed * 55, "{wire:?} for {changed} rows");
    assert!(wire.up < changed * 12, "{wire:?} for {changed} rows");
}

#[test]
fn rows_that_lie_together_cost_little_more_than_themselves() {
    let mut scene = scene();
    scene.unseen("DELETE FROM t WHERE id > 59400");
    let wire = scene.reseed();
    scene.assert_equal();
    println!("600 rows: {wire:?}");
    assert!(wire.down < 600 * 20, "{wire:?}");
    assert!(wire.asked < 12, "{wire:?}");
}

#[test]
fn nothing_differs_and_next_to_nothing_is_fetched() {
    let mut scene = scene();
    let wire = scene.reseed();
    assert!(wire.down < 1_000 && wire.for_rows == 0, "{wire:?}");
}

#[test]
fn a_link_that_is_cut_after_any_answer_goes_on_and_fetches_no_rows_twice() {
    let apart = |scene: &mut Scene| -> Snapshot {
        scene.unseen(
            "UPDATE t SET made = made + 1 WHERE id % 103 = 5; DELETE FROM still WHERE id LIKE 'key 7%'",
        );
        scene.snapshot()
    };
    let mut once = scene();
    let mut snapshot = apart(&mut once);
    assert_eq!(once.fetch(&mut snapshot), Compared::Rows);
    let whole = snapshot.wire;
    for answers in [1, 2, 3, 5, 8] {
        let mut scene = scene();
        let mut snapshot = apart(&mut scene);
        let mut links = 0;
        // Every link brings a little more than the one before, as a device does that comes nearer.
        while scene.fetch_over(&mut snapshot, answers + links, &mut |_, answer| answer) == Compared::Cut {
            links += 1;
            assert!(links < 100, "it comes to no end");
        }
        assert_eq!(scene.write(&snapshot), Verdict::Applied);
        scene.assert_equal();
        println!("{links} cut links of {answers} and more answers: {:?}, {whole:?} on one", snapshot.wire);
        assert!(links > 0, "it was cut");
    }
}

#[test]
fn a_device_that_has_hardly_any_rows_takes_the_whole_snapshot() {
    let mut scene = scene();
    scene.unseen("DELETE FROM t WHERE id > 5000; DELETE FROM still WHERE v < 200");
    let mut snapshot = scene.snapshot();
    let compared = scene.fetch(&mut snapshot);
    assert!(matches!(&compared, Compared::Whole(why) if why.contains("rows")), "{compared:?}");
    assert_eq!(snapshot.wire.asked, 0, "the head says enough");
}

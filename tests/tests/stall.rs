//! A constraint that only one device has keeps the hub's rows out of its file. That is said, nothing spins,
//! the device's own counts go on, and all is well again when the constraint goes.

use rusqlite::Connection;
use tt_edge::engine::Engine;
use tt_protocol::policy::{Policy, TableRule};
use tt_tests::sim::checks;
use tt_tests::sim::schemas::Shape;
use tt_tests::sim::world::World;

const SCHEMA: &str = "
CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, note TEXT, good INTEGER DEFAULT 0);
CREATE TABLE lines(id INTEGER PRIMARY KEY AUTOINCREMENT, order_id INTEGER REFERENCES orders(id), good INTEGER DEFAULT 0);
INSERT INTO orders(id, note) VALUES (1, 'apples'), (2, 'pears');
INSERT INTO lines(id, order_id) VALUES (1, 1);";

const SHAPE: Shape = Shape { name: "stall", sql: SCHEMA, tables: &[] };
const HUB: usize = 0;
const ONE: usize = 1;
const OTHER: usize = 2;

/// More steps than anything here takes, and far fewer than a loop.
const STEPS_MAX: usize = 300;
/// Longer than a device waits until it tries by itself.
const A_WHILE_MS: i64 = 60_000;

fn world() -> World {
    let mut policy = Policy::default();
    for table in ["orders", "lines"] {
        let rule = TableRule { counters: vec!["good".to_owned()], ..TableRule::ORDINARY };
        policy.tables.insert(table.to_owned(), rule);
    }
    let mut world = World::new(&SHAPE, policy, 2);
    world.settle();
    world
}

fn write(world: &mut World, node: usize, sql: &str) {
    world.pass(1_000);
    world.program(node).execute_batch(&format!("BEGIN; {sql}; COMMIT")).expect("the program may do this");
}

fn number(conn: &Connection, sql: &str) -> i64 {
    conn.query_row(sql, [], |row| row.get(0)).expect(sql)
}

/// Runs until nothing moves, which a loop never does. Gives the number of rounds.
#[track_caller]
fn rest(world: &mut World) -> usize {
    for step in 0..STEPS_MAX {
        let mut moved = world.step_hub();
        for edge in 0..world.edges.len() {
            moved |= world.step_edge(edge);
            moved |= world.deliver_up(edge, false);
        }
        if !moved {
            return step;
        }
    }
    panic!("it does not come to rest");
}

#[track_caller]
fn engine(world: &World, node: usize) -> &Engine {
    world.edges[node - 1].engine().expect("the daemon runs")
}

/// The device waits and says why, in these words.
#[track_caller]
fn waits(world: &World, node: usize, words: &[&str]) {
    assert!(engine(world, node).is_stuck() && !engine(world, node).in_step());
    let reason = engine(world, node).feed_refused().expect("it says why").to_owned();
    for word in words {
        assert!(reason.contains(word), "`{word}` is not in: {reason}");
    }
    let kept = world.edge_store(node - 1).feed_refused().expect("reads");
    assert_eq!(kept, Some(reason), "status says it also without the daemon");
}

/// Nothing waits any more, and every node holds the same.
#[track_caller]
fn healed(world: &mut World) {
    world.settle();
    checks::converged(world);
    checks::nothing_unsent(world);
    for edge in 0..world.edges.len() {
        assert_eq!(engine(world, edge + 1).feed_refused(), None);
        assert_eq!(world.edge_store(edge).feed_refused().expect("reads"), None);
    }
}

#[test]
fn a_unique_index_of_one_device_blocks_the_feed_visibly_and_counts_go_on() {
    let mut world = world();
    write(&mut world, OTHER, "CREATE UNIQUE INDEX by_note ON orders(note)");
    world.settle();
    write(&mut world, ONE, "INSERT INTO orders(id, note) VALUES (10, 'apples')");
    write(&mut world, ONE, "UPDATE lines SET good = good + 1");
    rest(&mut world);
    let words = ["the row id=10 of orders", "unique index \"by_note\"", "id=1 ", "DROP INDEX \"by_note\""];
    waits(&world, OTHER, &words);
    assert_eq!(
        number(world.program(OTHER), "SELECT good FROM lines"),
        0,
        "a feed goes in whole or not at all"
    );

    // What the device counts reaches the hub and the other device, every time.
    for round in 1..=5 {
        write(&mut world, OTHER, "UPDATE lines SET good = good + 2");
        rest(&mut world);
        for node in [HUB, ONE] {
            assert_eq!(number(world.program(node), "SELECT good FROM lines"), 1 + 2 * round, "node {node}");
        }
        waits(&world, OTHER, &words);
    }
    checks::nothing_unsent(&world);

    // It heals by itself as soon as the index is gone, without any wait.
    write(&mut world, OTHER, "DROP INDEX by_note");
    healed(&mut world);
    assert_eq!(number(world.program(OTHER), "SELECT good FROM lines"), 11);
    assert_eq!(number(world.program(OTHER), "SELECT COUNT(*) FROM orders WHERE note = 'apples'"), 2);
}

#[test]
fn a_check_that_one_device_added_is_named_with_the_row() {
    let mut world = world();
    write(
        &mut world,
        OTHER,
        "CREATE TABLE made_anew(id INTEGER PRIMARY KEY AUTOINCREMENT, order_id INTEGER REFERENCES orders(id),
           good INTEGER DEFAULT 0 CONSTRAINT few CHECK (good < 5));
         INSERT INTO made_anew SELECT id, order_id, good FROM lines; DROP TABLE lines;
         ALTER TABLE made_anew RENAME TO lines",
    );
    world.settle();
    write(&mut world, ONE, "UPDATE lines SET good = 7 WHERE id = 1");
    rest(&mut world);
    waits(&world, OTHER, &["the row id=1 of lines", "CHECK constraint failed: few", "migration"]);
    write(&mut world, OTHER, "UPDATE orders SET good = good + 1 WHERE id = 1");
    rest(&mut world);
    assert_eq!(number(world.program(HUB), "SELECT good FROM orders WHERE id = 1"), 1);
    // The hub's row is put right instead: no schema changes, so the device finds out after a while.
    write(&mut world, ONE, "UPDATE lines SET good = 3 WHERE id = 1");
    rest(&mut world);
    waits(&world, OTHER, &["id=1 of lines"]);
    world.pass(A_WHILE_MS);
    healed(&mut world);
}

#[test]
fn a_device_that_waits_asks_seldom() {
    let mut world = world();
    write(&mut world, OTHER, "CREATE UNIQUE INDEX by_note ON orders(note)");
    world.settle();
    write(&mut world, HUB, "INSERT INTO orders(id, note) VALUES (10, 'apples')");
    rest(&mut world);
    waits(&world, OTHER, &["id=10"]);
    let quiet = rest(&mut world);
    assert_eq!(quiet, 0, "at rest it stays at rest");
    world.pass(A_WHILE_MS);
    let steps = rest(&mut world);
    assert!((1..50).contains(&steps), "after a while it tries once more, not more often: {steps} steps");
    waits(&world, OTHER, &["id=10"]);
}

#[test]
fn the_reason_outlives_the_daemon_and_a_new_link_finds_it_again() {
    let mut world = world();
    write(&mut world, OTHER, "CREATE UNIQUE INDEX by_note ON orders(lower(note)) WHERE note IS NOT NULL");
    world.settle();
    write(&mut world, ONE, "INSERT INTO orders(id, note) VALUES (10, 'APPLES'), (11, NULL), (12, NULL)");
    rest(&mut world);
    waits(&world, OTHER, &["id=10 of orders", "\"by_note\""]);
    world.crash_edge(OTHER - 1);
    world.start_edge(OTHER - 1);
    assert!(world.edge_store(OTHER - 1).feed_refused().expect("reads").is_some());
    world.link(OTHER - 1);
    rest(&mut world);
    waits(&world, OTHER, &["id=10 of orders", "\"by_note\""]);
    // Meanwhile the device is away, and its program puts the row of its own right.
    world.unlink(OTHER - 1);
    write(&mut world, OTHER, "UPDATE orders SET note = 'green apples' WHERE id = 1");
    healed(&mut world);
    assert_eq!(number(world.program(HUB), "SELECT COUNT(*) FROM orders WHERE note = 'green apples'"), 1);
}

#[test]
fn a_clash_with_a_row_that_is_not_cut_is_still_the_hubs_to_decide() {
    let mut world = world();
    write(&mut world, OTHER, "CREATE UNIQUE INDEX by_note ON orders(note)");
    world.settle();
    world.unlink(OTHER - 1);
    write(&mut world, ONE, "UPDATE orders SET note = 'plums' WHERE id = 1");
    rest(&mut world);
    // The program gives way to what it cannot know of yet: the two never clash at the hub.
    write(&mut world, OTHER, "UPDATE orders SET note = 'plums' WHERE id = 2");
    world.link(OTHER - 1);
    rest(&mut world);
    waits(&world, OTHER, &["id=1 of orders", "row id=2 "]);
    assert_eq!(
        number(world.program(HUB), "SELECT COUNT(*) FROM orders WHERE note = 'plums'"),
        2,
        "the uncut change was handed in before the feed was called refused"
    );
    write(&mut world, OTHER, "UPDATE orders SET note = 'pears' WHERE id = 2");
    world.pass(A_WHILE_MS);
    healed(&mut world);
}

#[test]
fn a_migration_that_cannot_be_made_on_one_device_is_named_and_its_counts_go_on() {
    let mut world = world();
    write(&mut world, OTHER, "CREATE VIEW report AS SELECT note, good FROM orders");
    world.settle();
    world.migrate(1, "ALTER TABLE orders DROP COLUMN note").expect("the hub can");
    rest(&mut world);
    waits(&world, OTHER, &["migration 1", "cannot be made here", "report"]);
    for round in 1..=3 {
        write(&mut world, OTHER, "UPDATE lines SET good = good + 2");
        rest(&mut world);
        assert_eq!(number(world.program(HUB), "SELECT good FROM lines"), 2 * round);
        waits(&world, OTHER, &["migration 1"]);
    }
    write(&mut world, OTHER, "DROP VIEW report");
    healed(&mut world);
}

/// Steps of a device from the link to the feed, and some more.
const MOMENTS: usize = 24;

#[test]
fn what_was_cut_before_the_step_that_fails_is_handed_in_whenever_it_was_written() {
    for moment in 0..MOMENTS {
        let mut world = world();
        world.unlink(OTHER - 1);
        write(&mut world, OTHER, "CREATE VIEW report AS SELECT note FROM orders");
        world.migrate(1, "ALTER TABLE lines ADD COLUMN place TEXT").expect("the hub can");
        world.migrate(2, "ALTER TABLE orders DROP COLUMN note").expect("the hub can");
        world.link(OTHER - 1);
        for step in 0..MOMENTS {
            if step == moment {
                write(&mut world, OTHER, "UPDATE lines SET good = good + 5");
            }
            world.step_hub();
            world.step_edge(OTHER - 1);
            world.deliver_up(OTHER - 1, false);
        }
        rest(&mut world);
        waits(&world, OTHER, &["migration 2", "report"]);
        assert_eq!(number(world.program(HUB), "SELECT good FROM lines"), 5, "written at step {moment}");
        write(&mut world, OTHER, "DROP VIEW report");
        healed(&mut world);
    }
}

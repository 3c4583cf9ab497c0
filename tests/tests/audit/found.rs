//! What is found, in both directions, and who wins.

use crate::life::{HUB, audit, listed, on, outcome, past_capture, quiet, without_triggers, world};
use tt_edge::store::Outcome;
use tt_tests::sim::checks;

const COUNTS: &str = "SELECT id || '|' || who || '|' || n AS line FROM counts ORDER BY id";
const SETTINGS: &str = "SELECT name || '|' || value AS line FROM settings ORDER BY name";

#[test]
fn after_joining_every_table_is_compared_once_and_then_is_at_rest() {
    let mut world = world();
    for node in [1, 2] {
        for table in ["orders", "counts", "settings"] {
            assert_eq!(outcome(&world, node, table), (Some(Outcome::Equal), 0), "{table}");
            assert!(!audit(&world, node, table).due);
        }
    }
    let before = world.compares.asked;
    world.settle();
    assert_eq!(world.compares.asked, before, "what is equal is not compared again at once");
}

#[test]
fn what_was_written_while_the_triggers_were_gone_is_handed_in_as_changes() {
    let mut world = world();
    world.crash_edge(0);
    let program = world.program(1);
    without_triggers(program);
    program
        .execute_batch(
            "UPDATE counts SET n = n + 40 WHERE id = 1;
             INSERT INTO counts(id, order_id, who, n) VALUES (900, 2, 'dora', 9);
             DELETE FROM counts WHERE id = 3;
             UPDATE settings SET value = 'lb' WHERE name = 'scale';
             INSERT INTO settings VALUES ('theme', 'dark');",
        )
        .expect("writes");
    world.settle();
    checks::converged(&world);
    // Nobody is known to have deleted row 3: it is fetched.
    assert_eq!(on(&world, HUB, COUNTS), "1|ana|41 2|ben|2 3|carla|3 900|dora|9");
    assert_eq!(on(&world, HUB, SETTINGS), "Printer|A4 scale|lb theme|dark");
    assert_eq!(listed(&world), "", "the reason is known: no conflict");
    assert_eq!(outcome(&world, 1, "counts"), (Some(Outcome::Healed), 3));
    assert_eq!(outcome(&world, 1, "settings"), (Some(Outcome::Healed), 2));
    assert_eq!(outcome(&world, 2, "counts").0, Some(Outcome::Equal));
}

#[test]
fn what_a_device_wrote_past_capture_is_found_when_idle_and_never_put_over_the_hubs_rows() {
    let mut world = world();
    past_capture(
        &world,
        1,
        "UPDATE counts SET n = 77 WHERE id = 1; DELETE FROM counts WHERE id = 2;
         INSERT INTO counts(id, order_id, who, n) VALUES (901, 1, 'eve', 5);
         UPDATE settings SET value = 'old' WHERE name = 'scale';",
    );
    world.settle();
    assert_eq!(on(&world, HUB, COUNTS), "1|ana|1 2|ben|2 3|carla|3", "nothing tells of it");
    quiet(&mut world, 120);
    checks::converged(&world);
    // Whether 77 is new or a leftover of a damaged file nobody knows: it is on the list, whole.
    assert_eq!(on(&world, HUB, COUNTS), "1|ana|1 2|ben|2 3|carla|3 901|eve|5");
    assert_eq!(on(&world, 1, COUNTS), on(&world, HUB, COUNTS));
    assert_eq!(on(&world, HUB, SETTINGS), "Printer|A4 scale|kg");
    assert_eq!(listed(&world), "key counts key settings");
    assert_eq!(outcome(&world, 1, "counts"), (Some(Outcome::Equal), 0), "equal in the next round");
}

#[test]
fn what_a_program_wrote_past_capture_at_the_hub_reaches_the_devices_when_idle() {
    let mut world = world();
    past_capture(
        &world,
        HUB,
        "UPDATE counts SET n = 50 WHERE id = 1; INSERT INTO orders(id, number) VALUES (-7, 'G');
         INSERT INTO counts(id, order_id, who, n) VALUES (-70, -7, 'gil', 8);",
    );
    world.settle();
    assert_eq!(on(&world, 1, COUNTS), "1|ana|1 2|ben|2 3|carla|3");
    // Digests that the hub remembers hold until the next version.
    world.program(2).execute("INSERT INTO settings VALUES ('next', 'version')", []).expect("writes");
    quiet(&mut world, 60);
    checks::converged(&world);
    assert_eq!(on(&world, 1, COUNTS), "-70|gil|8 1|ana|50 2|ben|2 3|carla|3");
    for node in [1, 2] {
        checks::consistent_cut_of_keys(&world, node);
    }
}

#[test]
fn a_missing_child_is_never_fetched_before_its_parent() {
    let mut world = world();
    // The children's table is compared at once, because its triggers had gone; the parents' is not.
    world.crash_edge(0);
    past_capture(&world, 1, "DELETE FROM counts; DELETE FROM orders;");
    world.program(1).execute_batch("DROP TRIGGER \"_sync_counts_delete\"").expect("drops");
    world.settle();
    checks::consistent_cut_of_keys(&world, 1);
    assert_eq!(outcome(&world, 1, "counts"), (Some(Outcome::Differs), 3), "its parents are not here");
    quiet(&mut world, 60);
    checks::converged(&world);
    assert_eq!(on(&world, 1, COUNTS), "1|ana|1 2|ben|2 3|carla|3");
}

#[test]
fn a_difference_that_cannot_be_put_right_is_shown_and_not_tried_for_ever() {
    let mut world = world();
    // A rule that only this device has refuses the hub's row.
    let rule = "CREATE UNIQUE INDEX one_per_person ON counts(who)";
    world.program(1).execute_batch(rule).expect("the program may do this");
    world.settle();
    past_capture(&world, HUB, "INSERT INTO counts(id, order_id, who, n) VALUES (-80, 1, 'ana', 6)");
    world.program(2).execute("INSERT INTO settings VALUES ('next', 'version')", []).expect("writes");
    quiet(&mut world, 60);
    assert_eq!(outcome(&world, 1, "counts"), (Some(Outcome::Differs), 1));
    assert!(!audit(&world, 1, "counts").due, "it is not due before its next turn");
    assert_eq!(outcome(&world, 2, "counts").0, Some(Outcome::Healed));
    let (compares, version) = (world.compares.asked, world.hub_store().version());
    for _ in 0..20 {
        world.pass(1_000);
        world.settle();
    }
    assert_eq!(world.compares.asked, compares, "twenty seconds in which nothing is asked");
    quiet(&mut world, 60);
    assert_eq!(world.hub_store().version(), version, "no echo: nothing is handed in again and again");
    assert_eq!(listed(&world), "");
}

#[test]
fn no_table_is_compared_in_turns_while_programs_write() {
    let mut world = world();
    let before = world.compares.asked;
    for n in 0..120 {
        world.program(1).execute("UPDATE counts SET n = ?1 WHERE id = 2", [n + 10]).expect("writes");
        world.pass(30_000);
        world.settle();
    }
    assert_eq!(world.compares.asked, before, "an hour in which somebody writes every half minute");
    quiet(&mut world, 60);
    assert!(world.compares.asked > before, "an hour in which nobody does");
}

#[test]
fn an_uncut_change_is_neither_compared_nor_overwritten() {
    let mut world = world();
    world.crash_edge(0);
    without_triggers(world.program(1));
    world.program(1).execute("UPDATE counts SET n = 12 WHERE id = 2", []).expect("writes");
    world.start_edge(0);
    // Captured again, and not handed in before the compare begins.
    world.program(1).execute("UPDATE counts SET n = n + 1 WHERE id = 2", []).expect("writes");
    world.program(2).execute("UPDATE counts SET n = n + 100 WHERE id = 1", []).expect("writes");
    world.settle();
    checks::converged(&world);
    // The device's trigger noted 12 as the base of 13; what it had missed before, ten, is found after.
    assert_eq!(on(&world, HUB, "SELECT n AS line FROM counts WHERE id = 1"), "101");
    let n: i64 = on(&world, HUB, "SELECT n AS line FROM counts WHERE id = 2").parse().expect("a number");
    assert!([3, 13].contains(&n), "the captured count is there: {n}");
}

#[test]
fn tables_take_turns_and_a_restart_goes_on_with_the_next_one() {
    let mut world = world();
    let at = |world: &tt_tests::sim::world::World, table| audit(world, 1, table).at.expect("it was compared");
    let first = at(&world, "orders");
    let mut order = Vec::new();
    let mut seen = ["orders", "counts", "settings"].map(|table| (table, first));
    for _ in 0..45 {
        // Every quarter of an hour the daemon dies: without a memory only the first table had turns.
        world.crash_edge(0);
        quiet(&mut world, 15);
        for (table, last) in &mut seen {
            if at(&world, table) > *last {
                (*last, _) = (at(&world, table), order.push(*table));
            }
        }
    }
    for (table, _) in seen {
        let turns = order.iter().filter(|name| **name == table).count();
        assert!(turns >= 10, "{table} had {turns} turns: {order:?}");
    }
}

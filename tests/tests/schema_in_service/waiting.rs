//! Rows that the hub has no place for yet: they wait visibly, and go in by themselves.

use crate::{all_equal, columns, number, run, world};
use tt_migrations::policy;
use tt_protocol::policy::{Additive, Policy};
use tt_tests::sim::world::World;

fn holding() -> Policy {
    let mut policy = policy::shipped();
    policy.schema.additive = Additive::Hold;
    policy
}

fn open(world: &World) -> i64 {
    number(world.program(0), "SELECT COUNT(*) FROM _sync_conflict WHERE kind = 'schema' AND state = 'open'")
}

const ADD: &str = "ALTER TABLE counts ADD COLUMN case_count INTEGER DEFAULT 0";

#[test]
fn rows_wait_visibly_and_go_in_when_a_migration_brings_their_column() {
    let mut world = world(holding());
    run(&world, 1, ADD);
    run(
        &world,
        1,
        "INSERT INTO counts(who, case_count) VALUES ('held', 1); UPDATE counts SET case_count = 5 WHERE who = 'ana'",
    );
    world.settle();
    assert_eq!(open(&world), 2);
    assert_eq!(number(world.program(1), "SELECT COUNT(*) FROM counts WHERE who = 'held'"), 1);
    assert_eq!(number(world.program(0), "SELECT COUNT(*) FROM counts WHERE who = 'held'"), 0);
    run(&world, 2, "UPDATE counts SET n = 9 WHERE who = 'ana'");
    world.settle();
    assert!(world.migrate(1, ADD).expect("applies"));
    world.settle();
    assert_eq!(open(&world), 0);
    all_equal(&world);
    let hub = world.program(0);
    assert_eq!(number(hub, "SELECT COUNT(*) FROM counts WHERE who = 'held' AND case_count = 1"), 1);
    assert_eq!(number(hub, "SELECT COUNT(*) FROM counts WHERE who = 'ana' AND case_count = 5 AND n = 9"), 1);
    let told = "SELECT COUNT(*) FROM _sync_conflict WHERE action LIKE '%applied when the hub got the schema'";
    assert_eq!(number(hub, told), 2);
}

#[test]
fn what_the_device_changes_later_in_a_waiting_row_waits_with_it() {
    let mut world = world(holding());
    run(&world, 1, ADD);
    run(
        &world,
        1,
        "INSERT INTO counts(who, n, case_count) VALUES ('held', 1, 1); UPDATE counts SET case_count = 5 WHERE who = 'ana'",
    );
    world.settle();
    run(
        &world,
        1,
        "UPDATE counts SET n = n + 10 WHERE who IN ('held', 'ana'); UPDATE counts SET case_count = 6 WHERE who = 'held'",
    );
    world.settle();
    run(
        &world,
        1,
        "UPDATE counts SET case_count = 7 WHERE who = 'ana'; DELETE FROM counts WHERE who = 'ben'",
    );
    world.settle();
    assert_eq!(open(&world), 3, "the deleted row names the column as well");
    run(&world, 0, ADD);
    world.settle();
    assert_eq!(open(&world), 0, "a program's own change of the hub's file is as good as a migration");
    all_equal(&world);
    let hub = world.program(0);
    assert_eq!(
        number(hub, "SELECT COUNT(*) FROM counts WHERE who = 'held' AND case_count = 6 AND n = 11"),
        1
    );
    assert_eq!(number(hub, "SELECT COUNT(*) FROM counts WHERE who = 'ana' AND case_count = 7 AND n = 11"), 1);
    assert_eq!(number(hub, "SELECT COUNT(*) FROM counts"), 2);
    assert_eq!(number(hub, "SELECT COUNT(*) FROM _sync_conflict WHERE state = 'open'"), 0);
}

#[test]
fn a_child_waits_with_its_parent_and_the_device_keeps_both() {
    let mut world = world(holding());
    let table =
        "CREATE TABLE parts(id INTEGER PRIMARY KEY AUTOINCREMENT, machine INTEGER REFERENCES machines(id))";
    world.migrate(1, table).expect("applies");
    world.settle();
    run(&world, 2, "ALTER TABLE machines ADD COLUMN area TEXT");
    run(
        &world,
        2,
        "INSERT INTO machines(machine_name, area) VALUES ('M2', 'hall'); INSERT INTO parts(machine) SELECT id FROM machines WHERE machine_name = 'M2'",
    );
    world.settle();
    assert_eq!(open(&world), 2);
    assert_eq!(number(world.program(2), "SELECT COUNT(*) FROM parts"), 1);
    assert_eq!(number(world.program(0), "SELECT COUNT(*) FROM parts"), 0);
    world.migrate(2, "ALTER TABLE machines ADD COLUMN area TEXT").expect("applies");
    world.settle();
    all_equal(&world);
    assert_eq!(open(&world), 0);
    assert_eq!(
        number(world.program(1), "SELECT COUNT(*) FROM parts JOIN machines ON machine = machines.id"),
        1
    );
}

#[test]
fn a_whole_table_waits_and_its_rows_find_it_under_the_migrations_own_words() {
    let mut world = world(holding());
    run(
        &world,
        3,
        "CREATE TABLE rolls(code TEXT PRIMARY KEY, n INTEGER); INSERT INTO rolls VALUES ('R1', 1), ('R2', 2)",
    );
    world.settle();
    assert_eq!((open(&world), columns(&world, 1, "rolls").as_str()), (2, ""));
    world.crash_hub();
    world.start_hub();
    world.migrate(1, "CREATE TABLE rolls(code TEXT PRIMARY KEY, n INTEGER, note TEXT)").expect("applies");
    world.settle();
    all_equal(&world);
    assert_eq!((open(&world), number(world.program(1), "SELECT SUM(n) FROM rolls")), (0, 3));
}

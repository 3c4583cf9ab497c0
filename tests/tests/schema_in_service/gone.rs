//! Columns and tables that are dropped or renamed while devices still use the old names.

use crate::{all_equal, columns, no_conflicts, number, run, world};
use tt_migrations::policy;
use tt_tests::sim::world::World;

/// What the list says about the schema: table, rows, state, action.
fn told(world: &World) -> Vec<(String, i64, String)> {
    world
        .program(0)
        .prepare("SELECT tab, rows, action FROM _sync_conflict WHERE kind = 'schema' ORDER BY id")
        .expect("a query")
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .expect("rows")
        .collect::<Result<_, _>>()
        .expect("entries")
}

#[test]
fn a_device_that_does_not_have_the_new_column_does_not_wipe_it() {
    let mut world = world(policy::shipped());
    world.crash_edge(0);
    world
        .migrate(1, "ALTER TABLE counts ADD COLUMN note TEXT DEFAULT 'none'; UPDATE counts SET note = 'kept'")
        .expect("applies");
    run(&world, 1, "UPDATE counts SET n = n + 5 WHERE who = 'ana'; INSERT INTO counts(who) VALUES ('old')");
    world.settle();
    all_equal(&world);
    no_conflicts(&world);
    assert_eq!(number(world.program(1), "SELECT COUNT(*) FROM counts WHERE note = 'kept'"), 2);
    assert_eq!(number(world.program(1), "SELECT COUNT(*) FROM counts WHERE note = 'none'"), 1);
    assert_eq!(number(world.program(2), "SELECT n FROM counts WHERE who = 'ana'"), 6);
}

#[test]
fn a_column_dropped_by_a_migration_is_one_entry_however_many_devices_still_write_it() {
    let mut world = world(policy::shipped());
    for edge in 0..3 {
        world.crash_edge(edge);
    }
    world.migrate(1, "ALTER TABLE counts ADD COLUMN x; ALTER TABLE counts DROP COLUMN x").expect("applies");
    world.migrate(2, "ALTER TABLE counts DROP COLUMN n").expect("applies");
    for node in 1..=3 {
        run(
            &world,
            node,
            &format!("UPDATE counts SET n = n + {node}, who = who || '{node}' WHERE who LIKE 'ana%'"),
        );
        run(&world, node, "INSERT INTO counts(who, n) VALUES ('new', 4)");
    }
    world.settle();
    all_equal(&world);
    assert_eq!(columns(&world, 2, "counts"), "id who");
    let [(table, rows, action)] = &told(&world)[..] else { panic!("{:?}", told(&world)) };
    assert_eq!((table.as_str(), *rows), ("counts", 6));
    assert!(action.contains("dropped by migration 2 (number_2)"), "{action}");
    assert_eq!(number(world.program(0), "SELECT COUNT(*) FROM counts WHERE who = 'new'"), 3);
}

#[test]
fn a_column_that_a_program_drops_at_the_hub_is_dropped_everywhere() {
    let mut world = world(policy::shipped());
    run(&world, 0, "CREATE INDEX by_value ON settings(value); INSERT INTO settings VALUES ('a', 'b')");
    world.settle();
    world.crash_hub();
    let hub = world.program(0);
    let ours = "SELECT group_concat('DROP TRIGGER \"' || name || '\";', ' ') FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'settings'";
    let ours: String = hub.query_row(ours, [], |row| row.get(0)).expect("triggers");
    hub.execute_batch(&format!(
        "BEGIN; {ours} DROP INDEX by_value; ALTER TABLE settings DROP COLUMN value; COMMIT"
    ))
    .expect("drops");
    run(&world, 1, "UPDATE settings SET value = 'later'");
    world.settle();
    all_equal(&world);
    assert_eq!(columns(&world, 3, "settings"), "name");
    let told = told(&world);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].2.contains("by a program at the hub"), "{told:?}");
}

#[test]
fn a_renamed_column_keeps_what_devices_write_under_its_old_name() {
    let mut world = world(policy::shipped());
    run(&world, 1, "UPDATE counts SET n = n + 1 WHERE who = 'ana'");
    world.crash_edge(2);
    world.migrate(1, "ALTER TABLE counts RENAME COLUMN n TO amount").expect("applies");
    world.migrate(2, "ALTER TABLE counts ADD COLUMN n TEXT DEFAULT 'another'").expect("applies");
    run(
        &world,
        3,
        "UPDATE counts SET n = n + 10 WHERE who = 'ben'; INSERT INTO counts(who, n) VALUES ('old', 7)",
    );
    run(&world, 3, "ALTER TABLE counts ADD COLUMN own INTEGER DEFAULT 3");
    world.settle();
    all_equal(&world);
    no_conflicts(&world);
    assert_eq!(columns(&world, 3, "counts"), "amount id n own who");
    assert_eq!(number(world.program(2), "SELECT amount FROM counts WHERE who = 'ben'"), 12);
    assert_eq!(number(world.program(2), "SELECT amount FROM counts WHERE who = 'ana'"), 2);
    assert_eq!(number(world.program(2), "SELECT SUM(n = 'another') FROM counts"), 3);
    run(&world, 3, "UPDATE counts SET n = 'mine' WHERE who = 'ben'");
    world.settle();
    all_equal(&world);
    no_conflicts(&world);
    assert_eq!(number(world.program(0), "SELECT COUNT(*) FROM counts WHERE n = 'mine' AND amount = 12"), 1);
}

#[test]
fn a_renamed_table_keeps_its_rows_its_ids_and_what_devices_still_write() {
    let mut world = world(policy::shipped());
    run(&world, 2, "INSERT INTO counts(who) VALUES ('before')");
    world.settle();
    world.crash_edge(0);
    world.crash_edge(1);
    run(&world, 0, "UPDATE counts SET n = 50 WHERE who = 'ben'");
    world.migrate(1, "ALTER TABLE counts RENAME TO tallies").expect("applies");
    run(&world, 0, "INSERT INTO tallies(who) VALUES ('hub')");
    run(
        &world,
        1,
        "UPDATE counts SET n = n + 10 WHERE who = 'ana'; INSERT INTO counts(who, n) VALUES ('old', 7)",
    );
    run(&world, 2, "DELETE FROM counts WHERE who = 'before'");
    world.settle();
    all_equal(&world);
    no_conflicts(&world);
    assert_eq!(columns(&world, 1, "counts"), "");
    for node in 0..4 {
        let program = world.program(node);
        assert_eq!(number(program, "SELECT SUM(n) FROM tallies"), 11 + 50 + 7);
        program.execute("INSERT INTO tallies(who) VALUES ('after')", []).expect("inserts");
    }
    world.settle();
    all_equal(&world);
    assert_eq!(number(world.program(1), "SELECT COUNT(DISTINCT id) FROM tallies"), 8);
}

#[test]
fn rows_of_a_dropped_table_are_counted_in_one_entry() {
    let mut world = world(policy::shipped());
    world.crash_edge(0);
    world.crash_edge(1);
    world.migrate(1, "DROP TABLE settings").expect("applies");
    for node in 1..=2 {
        run(
            &world,
            node,
            "INSERT INTO settings VALUES ('a', 'x'), ('b', 'y'); INSERT INTO counts(who) VALUES ('also')",
        );
    }
    world.settle();
    run(&world, 1, "INSERT INTO counts(who) VALUES ('more')");
    world.settle();
    all_equal(&world);
    let [(table, rows, action)] = &told(&world)[..] else { panic!("{:?}", told(&world)) };
    assert_eq!((table.as_str(), *rows), ("settings", 4));
    assert!(action.contains("the table was dropped by migration 1"), "{action}");
    assert_eq!(columns(&world, 1, "settings"), "");
    assert_eq!(number(world.program(3), "SELECT COUNT(*) FROM counts WHERE who IN ('also', 'more')"), 3);
}

#[test]
fn a_table_that_a_program_drops_at_the_hub_is_dropped_everywhere_and_may_come_back() {
    let mut world = world(policy::shipped());
    run(&world, 0, "DROP TABLE settings");
    world.settle();
    assert_eq!(columns(&world, 2, "settings"), "");
    run(
        &world,
        1,
        "CREATE TABLE settings(name TEXT PRIMARY KEY, kind INTEGER); INSERT INTO settings VALUES ('k', 1)",
    );
    world.settle();
    all_equal(&world);
    no_conflicts(&world);
    assert_eq!(number(world.program(3), "SELECT kind FROM settings"), 1);
}

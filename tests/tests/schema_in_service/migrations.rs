//! Numbered migrations at the hub, and every device follows in order with its capture kept.

use crate::{all_equal, columns, no_conflicts, number, run, world};
use tt_migrations::policy;
use tt_tests::sim::world::World;

/// Every kind of step that a device must make in the right order.
const THREE: [&str; 3] = [
    "CREATE TABLE areas(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE NOT NULL);
     INSERT INTO areas(name) VALUES ('hall'), ('yard');
     ALTER TABLE counts ADD COLUMN area INTEGER REFERENCES areas(id);
     UPDATE counts SET area = (SELECT id FROM areas WHERE name = 'hall');",
    "ALTER TABLE counts RENAME COLUMN n TO amount; CREATE INDEX by_area ON counts(area);",
    "ALTER TABLE areas RENAME TO places; ALTER TABLE counts DROP COLUMN who;",
];

fn captured(world: &mut World) {
    for node in 0..4 {
        let column = if columns(world, node, "counts").contains("who") { "who" } else { "area" };
        run(
            world,
            node,
            &format!("UPDATE counts SET amount = amount + 1; INSERT INTO counts({column}) VALUES (1)"),
        );
        world.settle();
    }
    all_equal(world);
}

#[test]
fn devices_follow_three_migrations_whether_they_were_there_or_away() {
    let mut world = world(policy::shipped());
    world.crash_edge(1);
    for (place, sql) in (1..).zip(THREE) {
        world.migrate(place, sql).expect("applies");
        if place == 2 {
            world.start_edge(0);
            world.link(0);
            for _ in 0..200 {
                world.step_hub();
                world.step_edge(0);
                world.deliver_up(0, false);
            }
        }
    }
    run(&world, 2, "UPDATE counts SET n = n + 5 WHERE who = 'ana'");
    world.settle();
    all_equal(&world);
    assert_eq!(columns(&world, 2, "counts"), "amount area id");
    assert_eq!(number(world.program(3), "SELECT COUNT(*) FROM counts JOIN places ON places.id = area"), 2);
    assert_eq!(number(world.program(3), "SELECT SUM(amount) FROM counts"), 8);
    captured(&mut world);
    no_conflicts(&world);
}

#[test]
fn rows_that_a_migration_writes_are_written_once() {
    let mut world = world(policy::shipped());
    world
        .migrate(
            1,
            "UPDATE counts SET n = n + 100; DELETE FROM machines; INSERT INTO settings VALUES ('a', 'b')",
        )
        .expect("applies");
    world.settle();
    all_equal(&world);
    no_conflicts(&world);
    assert_eq!(number(world.program(2), "SELECT SUM(n) FROM counts"), 203);
    assert_eq!(number(world.program(2), "SELECT COUNT(*) FROM machines"), 0);
}

#[test]
fn a_device_that_writes_all_the_time_gets_the_migration_and_loses_nothing() {
    let mut world = world(policy::shipped());
    world.migrate(1, "ALTER TABLE counts ADD COLUMN note TEXT DEFAULT ''").expect("applies");
    world.migrate(2, "ALTER TABLE counts RENAME COLUMN n TO amount").expect("applies");
    let mut written = 0;
    for _ in 0..400 {
        world.step_hub();
        let column = if columns(&world, 1, "counts").contains("amount") { "amount" } else { "n" };
        run(&world, 1, &format!("UPDATE counts SET {column} = {column} + 1 WHERE who = 'ana'"));
        written += 1;
        world.step_edge(0);
        world.deliver_up(0, false);
    }
    assert_eq!(columns(&world, 1, "counts"), "amount id note who", "it was not starved");
    world.settle();
    all_equal(&world);
    no_conflicts(&world);
    assert_eq!(number(world.program(0), "SELECT amount FROM counts WHERE who = 'ana'"), 1 + written);
}

#[test]
fn a_change_that_programs_made_by_themselves_is_recognised() {
    let mut world = world(policy::shipped());
    for edge in 0..3 {
        world.crash_edge(edge);
    }
    run(
        &world,
        1,
        "ALTER TABLE counts ADD COLUMN note TEXT; INSERT INTO counts(who, note) VALUES ('x', 'own')",
    );
    run(
        &world,
        2,
        "CREATE TABLE areas(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT); CREATE INDEX by_who ON counts(who)",
    );
    run(&world, 3, "DROP TABLE settings; INSERT INTO counts(who) VALUES ('three')");
    world
        .migrate(
            1,
            "ALTER TABLE counts ADD COLUMN note TEXT; CREATE TABLE areas(id INTEGER PRIMARY KEY, name TEXT, size INTEGER);
             CREATE INDEX by_who ON counts(who); DROP TABLE settings;",
        )
        .expect("applies");
    world.settle();
    all_equal(&world);
    assert_eq!(columns(&world, 2, "areas"), "id name size");
    assert_eq!(number(world.program(0), "SELECT COUNT(*) FROM counts WHERE note = 'own'"), 1);
}

#[test]
fn a_table_rebuilt_by_a_migration_keeps_its_rows_everywhere() {
    let ways = [
        "CREATE TABLE new_counts(id INTEGER PRIMARY KEY AUTOINCREMENT, who TEXT NOT NULL CHECK (who <> ''), amount INTEGER NOT NULL DEFAULT 0);
         INSERT INTO new_counts(id, who, amount) SELECT id, who, n * 2 FROM counts; DROP TABLE counts; ALTER TABLE new_counts RENAME TO counts;",
        "ALTER TABLE counts RENAME TO counts_old; CREATE TABLE counts(id INTEGER PRIMARY KEY AUTOINCREMENT, who TEXT, amount INTEGER DEFAULT 0);
         INSERT INTO counts(id, who, amount) SELECT id, who, n * 2 FROM counts_old; DROP TABLE counts_old;",
    ];
    for sql in ways {
        let mut world = world(policy::shipped());
        world.crash_edge(0);
        run(&world, 2, "UPDATE counts SET n = 40 WHERE who = 'ben'");
        run(&world, 1, "INSERT INTO counts(who, n) VALUES ('away', 3)");
        world.migrate(1, sql).expect("applies");
        world.settle();
        all_equal(&world);
        assert_eq!(columns(&world, 1, "counts"), "amount id who");
        assert_eq!(number(world.program(3), "SELECT amount FROM counts WHERE who = 'ana'"), 2);
        captured(&mut world);
        let left =
            "SELECT COUNT(*) FROM sqlite_schema WHERE name LIKE '%new_counts%' OR name LIKE '%counts_old%'";
        assert_eq!(number(world.program(0), left) + number(world.program(1), left), 0);
    }
}

#[test]
fn a_unique_index_waits_on_a_device_until_the_rows_allow_it() {
    let mut world = world(policy::shipped());
    run(&world, 1, "INSERT INTO counts(who, n) VALUES ('ana', 7)");
    world.settle();
    world
        .migrate(1, "DELETE FROM counts WHERE n = 7; CREATE UNIQUE INDEX one_who ON counts(who)")
        .expect("applies");
    world.settle();
    all_equal(&world);
    for node in 0..4 {
        assert!(
            world.program(node).execute("INSERT INTO counts(who) VALUES ('ben')", []).is_err(),
            "node {node}"
        );
    }
}

#[test]
fn a_migration_that_fails_leaves_nothing_and_the_one_before_it_stays() {
    let mut world = world(policy::shipped());
    run(&world, 0, "INSERT INTO machines(machine_name) VALUES ('M9')");
    world.migrate(1, "ALTER TABLE counts ADD COLUMN note TEXT").expect("applies");
    let hostile = [
        ("ALTER TABLE counts ADD COLUMN more TEXT; INSERT INTO nowhere VALUES (1)", "no such table: nowhere"),
        ("UPDATE counts SET n = 99; COMMIT; DROP TABLE counts", "COMMIT"),
        ("DELETE FROM _sync_state", "_sync_"),
        ("UPDATE machines SET machine_name = 'same'", "UNIQUE constraint failed"),
        (
            "CREATE TABLE parts(id INTEGER PRIMARY KEY, m INTEGER REFERENCES machines(id)); INSERT INTO parts VALUES (1, 77)",
            "without a parent",
        ),
        ("ALTER TABLE counts DROP COLUMN id", "PRIMARY KEY"),
    ];
    for (sql, why) in hostile {
        let error = world.migrate(2, sql).expect_err(sql).to_string();
        assert!(error.contains(why) && error.contains("migration 2 (number_2)"), "{error}");
        assert!(error.contains("migrate up"), "{error}");
    }
    world.settle();
    all_equal(&world);
    no_conflicts(&world);
    assert_eq!(columns(&world, 1, "counts"), "id n note who");
    assert_eq!(number(world.program(1), "SELECT SUM(n) FROM counts"), 3);
    assert!(world.migrate(2, "ALTER TABLE counts ADD COLUMN more TEXT").expect("the corrected file applies"));
    assert!(!world.migrate(2, "ALTER TABLE counts ADD COLUMN more TEXT").expect("once"));
    assert!(world.migrate(2, "SELECT 1").expect_err("edited").to_string().contains("checksum"));
    world.settle();
    assert_eq!(columns(&world, 3, "counts"), "id more n note who");
}

#[test]
fn a_device_or_the_hub_that_dies_between_migrations_goes_on_where_it_was() {
    let mut world = world(policy::shipped());
    for (place, sql) in (1..).zip(THREE) {
        world.migrate(place, sql).expect("applies");
        world.crash_hub();
        world.start_hub();
    }
    run(&world, 1, "UPDATE counts SET n = n + 1 WHERE who = 'ana'");
    for steps in 0..60 {
        world.start_edge(0);
        world.link(0);
        for _ in 0..steps {
            world.step_hub();
            world.step_edge(0);
            world.deliver_up(0, false);
        }
        world.crash_edge(0);
    }
    world.settle();
    all_equal(&world);
    assert_eq!(number(world.program(2), "SELECT SUM(amount) FROM counts"), 4);
    captured(&mut world);
}

//! Programs change the schema while they work, as the real one does in its first minutes: the hub and
//! every other device follow, and what was written while the triggers were gone is found.

use crate::{all_equal, no_conflicts, number, run, world};
use tt_migrations::policy;

#[test]
fn a_column_that_a_program_adds_reaches_every_node_before_its_rows() {
    let mut world = world(policy::shipped());
    world.settle();
    let program = world.program(1);
    program
        .execute_batch(
            "ALTER TABLE counts ADD COLUMN case_count INTEGER DEFAULT 0;
             ALTER TABLE counts ADD COLUMN machine_id INTEGER REFERENCES machines(id);
             INSERT INTO counts(who, n, case_count, machine_id) VALUES ('carla', 3, 7, 1);
             UPDATE counts SET case_count = 5 WHERE who = 'ana';",
        )
        .expect("the program works on");
    world.settle();
    all_equal(&world);
    no_conflicts(&world);
    assert_eq!(number(world.program(3), "SELECT SUM(case_count) FROM counts"), 12);
}

#[test]
fn the_same_column_added_everywhere_by_each_program_is_one_column() {
    let mut world = world(policy::shipped());
    for edge in 0..3 {
        let program = world.program(edge + 1);
        program.execute_batch("ALTER TABLE counts ADD COLUMN case_count INTEGER DEFAULT 0").expect("adds");
        program.execute("INSERT INTO counts(who, case_count) VALUES ('x', 1)", []).expect("inserts");
    }
    world.settle();
    all_equal(&world);
    no_conflicts(&world);
    assert_eq!(number(world.program(0), "SELECT SUM(case_count) FROM counts"), 3);
}

#[test]
fn tables_that_programs_create_at_the_hub_and_on_a_device_reach_all() {
    let mut world = world(policy::shipped());
    let rolls = "CREATE TABLE rolls(id INTEGER PRIMARY KEY AUTOINCREMENT, code TEXT NOT NULL, machine_id INTEGER REFERENCES machines(id));
                 INSERT INTO rolls(code, machine_id) VALUES ('R1', 1)";
    world.program(2).execute_batch(rolls).expect("creates");
    let compressors = "CREATE TABLE \"air compressors\"(name TEXT PRIMARY KEY, \"order\" INTEGER NOT NULL DEFAULT 9) WITHOUT ROWID;
                       INSERT INTO \"air compressors\"(name) VALUES ('C1')";
    world.program(0).execute_batch(compressors).expect("creates");
    world.settle();
    all_equal(&world);
    for edge in 0..3 {
        let program = world.program(edge + 1);
        assert_eq!(number(program, "SELECT COUNT(*) FROM rolls"), 1);
        assert_eq!(number(program, "SELECT \"order\" FROM \"air compressors\""), 9);
        program.execute("INSERT INTO rolls(code) VALUES (?1)", [format!("E{edge}")]).expect("inserts");
    }
    world.settle();
    all_equal(&world);
    no_conflicts(&world);
    assert_eq!(number(world.program(0), "SELECT COUNT(DISTINCT id) FROM rolls"), 4);
}

#[test]
fn a_table_rebuilt_while_no_daemon_runs_loses_nothing_that_was_written_meanwhile() {
    let mut world = world(policy::shipped());
    world.settle();
    world.crash_edge(0);
    let program = world.program(1);
    program.pragma_update(None, "foreign_keys", false).expect("as such programs do");
    program
        .execute_batch(
            "BEGIN;
             CREATE TABLE counts_new(id INTEGER PRIMARY KEY AUTOINCREMENT, who TEXT NOT NULL, n INTEGER DEFAULT 0, note TEXT);
             INSERT INTO counts_new(id, who, n) SELECT id, who, n FROM counts;
             DROP TABLE counts;
             ALTER TABLE counts_new RENAME TO counts;
             COMMIT;
             UPDATE counts SET n = 40, note = 'recounted' WHERE who = 'ana';
             INSERT INTO counts(id, who, n) VALUES (5000, 'written in the gap', 9);",
        )
        .expect("a rebuild");
    world.settle();
    all_equal(&world);
    let hub = world.program(0);
    assert_eq!(number(hub, "SELECT n FROM counts WHERE who = 'ana'"), 40);
    assert_eq!(number(hub, "SELECT COUNT(*) FROM counts WHERE who = 'written in the gap'"), 1);
    assert_eq!(number(hub, "SELECT COUNT(*) FROM counts WHERE note = 'recounted'"), 1);
    world.program(1).execute("UPDATE counts SET n = n + 1 WHERE who = 'ben'", []).expect("captured again");
    world.settle();
    all_equal(&world);
    assert_eq!(number(world.program(0), "SELECT n FROM counts WHERE who = 'ben'"), 3);
}

#[test]
fn a_column_added_by_each_program_with_another_default_is_one_column_with_one_value_a_row() {
    let mut world = world(policy::shipped());
    let spelled = ["INTEGER DEFAULT 0", "INTEGER DEFAULT '0'", "INTEGER DEFAULT (0)", "INTEGER DEFAULT 7"];
    for (node, declared) in spelled.into_iter().enumerate() {
        run(&world, node, &format!("ALTER TABLE counts ADD COLUMN case_count {declared}"));
        run(&world, node, &format!("INSERT INTO counts(who, case_count) VALUES ('x{node}', {node})"));
    }
    world.settle();
    all_equal(&world);
    assert_eq!(number(world.program(0), "SELECT SUM(case_count) FROM counts WHERE who LIKE 'x%'"), 6);
}

#[test]
fn a_program_on_a_device_cannot_drop_a_column_that_capture_names() {
    let mut world = world(policy::shipped());
    let error = world.program(1).execute_batch("ALTER TABLE counts DROP COLUMN n").expect_err("refused");
    assert!(error.to_string().contains("_sync_"), "{error}");
    world.settle();
    all_equal(&world);
    no_conflicts(&world);
}

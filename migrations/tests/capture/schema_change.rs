//! The program changes the schema between two cuts, and capture is put right again.

use crate::shadow::Shadow;
use crate::station::Station;
use tt_migrations::capture::install::uninstall;

const LINES: &str =
    "CREATE TABLE lines(id INTEGER PRIMARY KEY AUTOINCREMENT, item TEXT UNIQUE, n INTEGER DEFAULT 0);
    CREATE TABLE names(name TEXT PRIMARY KEY, v);
    INSERT INTO lines VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3); INSERT INTO names VALUES ('x', 1);";

/// The shadow takes over columns that are new: they hold their default in every row as of the last cut.
fn shadow_with_defaults(station: &mut Station, undo: &str) {
    station.program.execute_batch(&format!("SAVEPOINT before; {undo}")).expect("undo");
    station.shadow = Shadow::of(&station.program, &station.replica);
    station.run("ROLLBACK TO before; RELEASE before");
}

#[test]
fn installing_again_changes_nothing() {
    let mut station = Station::new(LINES);
    let version = station.number("PRAGMA schema_version");
    let again = station.install();
    assert_eq!(station.number("PRAGMA schema_version"), version);
    assert!(again.blind.is_empty() && again.discovered.is_empty());
    assert_eq!(again.replica.schema_version, version);
}

#[test]
fn a_column_that_is_added_in_service() {
    let defaults =
        ["'x'", "\"Active\"", "Active", "-5", "(7)", "TRUE", "NULL", "1.5", "x'00ff'", "\"say \"\"so\"\"\""];
    for default in defaults {
        let mut station = Station::new(LINES);
        station.run("UPDATE lines SET n = 10 WHERE id = 1; DELETE FROM lines WHERE id = 3; INSERT INTO lines(n) VALUES (4)");
        station.run(&format!("ALTER TABLE lines ADD COLUMN status NUMERIC DEFAULT {default}"));
        station.run("UPDATE lines SET status = 'changed' WHERE id IN (1, 2)");
        station.run("INSERT INTO lines(id, n, status) VALUES (50, 1, 'mine')");
        let fresh = station.number("SELECT max(id) FROM lines");
        let installed = station.install();
        assert!(installed.blind.is_empty(), "{default}: {:?}", installed.blind);
        let undo = format!(
            "DELETE FROM lines WHERE id IN (50, {fresh}); INSERT INTO lines(id, item, n) VALUES (3, 'c', 3);
             UPDATE lines SET n = id, status = (SELECT status FROM lines WHERE id = 3) WHERE id < 3"
        );
        shadow_with_defaults(&mut station, &undo);
        let mut wanted = ["+ lines 50", "- lines 3", "~ lines 1: n,status", "~ lines 2: status"]
            .map(str::to_owned)
            .to_vec();
        wanted.insert(0, format!("+ lines {fresh}"));
        wanted.sort();
        assert_eq!(station.cut(), wanted, "{default}");
        station.run("UPDATE lines SET status = 'again' WHERE id = 2");
        assert_eq!(station.cut(), ["~ lines 2: status"]);
    }
}

#[test]
fn a_rebuilt_table_is_reported_blind_and_watched_again() {
    let mut station = Station::new(LINES);
    station.run("INSERT INTO lines(n) VALUES (4)");
    station.run(
        "BEGIN; CREATE TABLE new_lines(id INTEGER PRIMARY KEY, n INTEGER, item TEXT UNIQUE, at TEXT DEFAULT (datetime('now')));
         INSERT INTO new_lines(id, n, item) SELECT id, n, item FROM lines; DROP TABLE lines;
         ALTER TABLE new_lines RENAME TO lines; COMMIT;",
    );
    assert_eq!(station.install().blind, ["lines"]);
    assert_eq!(station.number("SELECT audit FROM _sync_table WHERE name = 'lines'"), 1);
    station.cut_unchecked();
    station.shadow = Shadow::of(&station.daemon, &station.replica);
    station.run("UPDATE lines SET n = 9 WHERE id = 2; INSERT INTO lines(n) VALUES (5)");
    assert_eq!(station.cut().len(), 2);
    assert!(station.install().blind.is_empty());
}

#[test]
fn a_rebuild_that_gives_another_key() {
    let mut station = Station::new(LINES);
    station.run("UPDATE names SET v = 2");
    station.run(
        "CREATE TABLE names_2(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, v); INSERT INTO names_2(name, v) SELECT * FROM names;
         DROP TABLE names; ALTER TABLE names_2 RENAME TO names;",
    );
    assert_eq!(station.install().blind, ["names"]);
    station.shadow = Shadow::of(&station.daemon, &station.replica);
    station.run("UPDATE names SET v = 3; INSERT INTO names(name) VALUES ('y')");
    assert_eq!(station.cut().len(), 2);
}

#[test]
fn a_renamed_column_is_compared_with_the_hub() {
    let mut station = Station::new(LINES);
    station.run("ALTER TABLE lines RENAME COLUMN n TO amount; UPDATE lines SET amount = 7 WHERE id = 1");
    assert_eq!(station.install().blind, ["lines"]);
    station.cut_unchecked();
    station.shadow = Shadow::of(&station.daemon, &station.replica);
    station.run("UPDATE lines SET amount = 8");
    assert_eq!(station.cut().len(), 3);
}

#[test]
fn a_renamed_table_is_a_new_one() {
    let mut station = Station::new(LINES);
    station.run("ALTER TABLE lines RENAME TO positions; UPDATE positions SET n = 7 WHERE id = 1");
    let installed = station.install();
    assert_eq!((installed.blind, installed.discovered), (Vec::new(), vec!["positions".to_owned()]));
    assert_eq!(station.cut(), ["+ positions 1", "+ positions 2", "+ positions 3"]);
    station.run("UPDATE positions SET n = 8 WHERE id = 2; INSERT INTO positions(n) VALUES (1)");
    assert_eq!(station.cut().len(), 2);
    let triggers = "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND name LIKE '%lines%'";
    assert_eq!(station.number(triggers), 0);
}

#[test]
fn a_table_renamed_only_by_case_is_the_same_one() {
    let mut station = Station::new(LINES);
    station.run("UPDATE lines SET n = 7 WHERE id = 1; ALTER TABLE lines RENAME TO other; ALTER TABLE other RENAME TO Lines");
    let installed = station.install();
    assert!(installed.blind.is_empty() && installed.discovered.is_empty());
    station.shadow = Shadow::default();
    let changes = station.cut_unchecked().changes;
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].0, "Lines");
}

/// A limit of triggers that name columns: SQLite refuses before anything has changed. A migration of the
/// hub's takes capture away first.
#[test]
fn a_column_that_capture_names_cannot_be_dropped_by_a_program() {
    let mut station = Station::new(LINES);
    assert!(station.refused("ALTER TABLE lines DROP COLUMN n").contains("_sync_lines_"));
    station.run("UPDATE lines SET n = 7 WHERE id = 1");
    assert_eq!(station.cut(), ["~ lines 1: n"]);
}

#[test]
fn a_new_table_is_found_with_its_rows() {
    let mut station = Station::new(LINES);
    station.run("CREATE TABLE extra(id INTEGER PRIMARY KEY, v); INSERT INTO extra(v) VALUES (1), (2)");
    assert_eq!(station.install().discovered, ["extra"]);
    assert_eq!(station.cut(), ["+ extra 1", "+ extra 2"]);
    station.run("INSERT INTO extra(v) VALUES (3)");
    assert_eq!(station.cut().len(), 1);
}

#[test]
fn a_new_unique_index_is_watched() {
    let mut station = Station::new(LINES);
    station.run("CREATE UNIQUE INDEX by_n ON lines(n)");
    assert_eq!(station.install().blind, ["lines"], "a REPLACE may have removed rows by it");
    station.run("INSERT OR REPLACE INTO lines(id, n) VALUES (9, 2)");
    assert_eq!(station.cut(), ["+ lines 9", "- lines 2"]);
    station.run("DROP INDEX by_n");
    station.install();
    station.run("INSERT OR REPLACE INTO lines(id, n) VALUES (10, 9)");
    assert_eq!(station.cut(), ["+ lines 10"]);
}

#[test]
fn uninstalling_leaves_no_trace() {
    let mut station = Station::new(LINES);
    station.run("UPDATE lines SET n = 7");
    let tx = station.daemon.transaction().expect("transaction");
    uninstall(&tx).expect("uninstalled");
    tx.commit().expect("commit");
    let trace =
        "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%sync%' OR sql LIKE '%\\_sync\\_%' ESCAPE '\\'";
    assert_eq!(station.number(trace), 0);
    assert_eq!(station.number("SELECT count(*) FROM sqlite_sequence WHERE name LIKE '%sync%'"), 0);
    station.run("INSERT INTO lines(n) VALUES (1); DELETE FROM lines; PRAGMA integrity_check");
}

//! The embedded set, its pinned checksums, and what the runner refuses.

use super::{
    Migration, MigrationError, adopt, applied, apply, apply_all, embedded, from_folder, is_adopted, latest,
};
use rusqlite::Connection;
use std::borrow::Cow;

/// Checksums of merged files. A file that fails here was edited: take the edit back and add a new number.
const PINNED: [(u32, &str); 2] = [
    (1, "e4f1805999cf4ef2d98555b6714641abd185e66527d86072e0163c2b1f3159ae"),
    (2, "b308965cfb6ecff7335be4dca3f99c2c8a40df51a62044eccfc288fe4533a8a9"),
];

const NOW_MS: i64 = 1_767_225_600_000;

/// The guide's own query.
const GUIDE: &str = "SELECT setting_value FROM app_settings WHERE setting_key = 'schema_version'";

fn memory() -> Connection {
    Connection::open_in_memory().expect("memory")
}

fn made(number: u32, sql: &'static str) -> Migration {
    Migration { number, name: Cow::Borrowed("made"), sql: Cow::Borrowed(sql) }
}

#[test]
fn merged_files_are_never_edited() {
    let found: Vec<(u32, String)> = embedded().iter().map(|each| (each.number, each.sha256())).collect();
    let pinned: Vec<(u32, String)> =
        PINNED.iter().map(|(number, sum)| (*number, (*sum).to_owned())).collect();
    assert_eq!(found, pinned);
}

#[test]
fn the_embedded_set_is_the_folder() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    assert_eq!(from_folder(&folder).expect("folder"), embedded());
}

#[test]
fn a_new_hub_answers_the_guides_query_at_every_step() {
    let conn = memory();
    for migration in embedded() {
        assert_eq!(
            apply(&conn, std::slice::from_ref(&migration), NOW_MS).expect("apply"),
            [migration.number]
        );
        let version: String = conn.query_row(GUIDE, [], |row| row.get(0)).expect(GUIDE);
        assert_eq!(version, migration.number.to_string());
    }
    assert_eq!(apply_all(&conn, NOW_MS + 1).expect("again"), Vec::<u32>::new());
    let record = applied(&conn).expect("applied");
    assert_eq!(record.last().map(|last| (last.number, last.applied_at)), Some((latest(), NOW_MS)));
    assert!(!is_adopted(&conn).expect("ours"));
}

#[test]
fn a_new_hub_has_the_guides_tables_with_keys_that_are_never_reused() {
    let conn = memory();
    apply_all(&conn, NOW_MS).expect("apply");
    for table in [
        "warehouse_submissions",
        "purchase_orders",
        "po_lines",
        "shipments",
        "receiving",
        "small_boxes",
        "bags",
        "employees",
        "tablet_types",
        "product_details",
        "machine_counts",
        "app_settings",
        "roles",
    ] {
        let sql = "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?1";
        let text: String = conn.query_row(sql, [table], |row| row.get(0)).expect(table);
        assert!(text.contains("id INTEGER PRIMARY KEY AUTOINCREMENT"), "{table}");
    }
    let faults: i64 =
        conn.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0)).expect("check");
    assert_eq!(faults, 0);
    conn.execute_batch("PRAGMA foreign_keys=ON; INSERT INTO warehouse_submissions(employee_name, product_name, machine_id) SELECT 'a', 'b', NULL")
        .expect("every foreign key has its table");
}

#[test]
fn an_adopted_database_is_left_alone() {
    let conn = memory();
    conn.execute_batch("CREATE TABLE purchase_orders(id INTEGER PRIMARY KEY)").expect("a table of its own");
    assert!(is_adopted(&conn).expect("asked"));
    assert_eq!(apply_all(&conn, NOW_MS).expect("nothing"), Vec::<u32>::new());
    adopt(&conn, NOW_MS).expect("adopt");
    adopt(&conn, NOW_MS + 1).expect("adopting twice is once");
    assert_eq!(apply_all(&conn, NOW_MS).expect("nothing"), Vec::<u32>::new());
    let own = [made(1, "ALTER TABLE purchase_orders ADD COLUMN note TEXT")];
    assert_eq!(apply(&conn, &own, NOW_MS).expect("its own files"), [1]);
    assert!(is_adopted(&conn).expect("still"));
    assert_eq!(applied(&conn).expect("applied").len(), 2);
}

#[test]
fn an_edited_file_and_a_late_number_are_refused() {
    let conn = memory();
    apply(&conn, &[made(2, "CREATE TABLE t(a)")], NOW_MS).expect("apply");
    let edited = apply(&conn, &[made(2, "CREATE TABLE t(b)")], NOW_MS).expect_err("edited");
    assert!(matches!(edited, MigrationError::Edited { number: 2, .. }), "{edited}");
    let late = apply(&conn, &[made(1, "CREATE TABLE u(a)")], NOW_MS).expect_err("late");
    assert!(matches!(late, MigrationError::Late { number: 1, last: 2 }), "{late}");
}

#[test]
fn a_failed_migration_leaves_nothing_and_the_ones_before_it_stay() {
    let conn = memory();
    let set = [made(1, "CREATE TABLE t(a)"), made(2, "CREATE TABLE u(a); INSERT INTO nowhere VALUES (1)")];
    let error = apply(&conn, &set, NOW_MS).expect_err("fails");
    assert!(matches!(error, MigrationError::Statement { number: 2, .. }), "{error}");
    assert!(conn.is_autocommit());
    assert!(conn.prepare("SELECT a FROM t").is_ok() && conn.prepare("SELECT a FROM u").is_err());
    assert_eq!(applied(&conn).expect("applied").len(), 1);
    let own = apply(&conn, &[made(2, "CREATE TABLE v(a); COMMIT")], NOW_MS).expect_err("commits itself");
    assert!(matches!(own, MigrationError::OwnTransaction(2)), "{own}");
}

#[test]
fn a_folder_is_read_in_order_and_without_gaps() {
    let folder = tempfile::tempdir().expect("folder");
    let write = |name: &str| std::fs::write(folder.path().join(name), "SELECT 1").expect("write");
    assert_eq!(from_folder(&folder.path().join("none")).expect("missing is empty"), []);
    for name in ["0010_b.sql", "0009_a_c.sql", "readme.txt"] {
        write(name);
    }
    let names: Vec<_> =
        from_folder(folder.path()).expect("two").into_iter().map(|m| (m.number, m.name)).collect();
    assert_eq!(names, [(9, Cow::Borrowed("a_c")), (10, Cow::Borrowed("b"))]);
    write("0012_gap.sql");
    assert!(from_folder(folder.path()).expect_err("gap").to_string().contains("after 10 comes 12"));
    write("nameless.sql");
    assert!(matches!(from_folder(folder.path()), Err(MigrationError::Folder { .. })));
}

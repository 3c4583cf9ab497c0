//! Database files of the real program, of two ages, under our own SQLite.
//!
//! The files are copied before use. What is checked here is what adopting such a file stands on: it
//! opens, its schema loads with its double-quoted defaults, its keys are what we think they are, and the
//! shipped policy knows its tables.

use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use tt_migrations::{autoincrement, policy, quote, runner};

/// Tables of the guide, in every file of any age.
const GUIDE: [&str; 12] = [
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
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// A copy, so that the fixture stays as it is.
fn copy_of(name: &str) -> (tempfile::TempDir, Connection) {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("tablet_counter.db");
    std::fs::write(&path, std::fs::read(fixture(name)).expect(name)).expect("copy");
    let conn = Connection::open(path).expect(name);
    (folder, conn)
}

fn strings(conn: &Connection, sql: &str) -> Vec<String> {
    let mut statement = conn.prepare(sql).expect(sql);
    let rows = statement.query_map([], |row| row.get(0)).expect(sql);
    rows.collect::<Result<_, _>>().expect(sql)
}

fn tables(conn: &Connection) -> Vec<String> {
    strings(
        conn,
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
    )
}

const BOTH: [(&str, usize); 2] = [("tablettracker_2025.db", 13), ("tablettracker_2026.db", 26)];

#[test]
fn both_files_open_read_only_and_are_sound() {
    for (name, _) in BOTH {
        let conn = Connection::open_with_flags(fixture(name), OpenFlags::SQLITE_OPEN_READ_ONLY).expect(name);
        assert_eq!(strings(&conn, "PRAGMA integrity_check"), ["ok"], "{name}");
        assert!(strings(&conn, "SELECT \"table\" FROM pragma_foreign_key_check").is_empty(), "{name}");
    }
}

#[test]
fn a_copy_lists_the_guides_tables() {
    for (name, count) in BOTH {
        let (_folder, conn) = copy_of(name);
        let found = tables(&conn);
        assert_eq!(found.len(), count, "{name}: {found:?}");
        for table in GUIDE {
            assert!(found.iter().any(|each| each == table), "{name} lacks {table}");
            let sql = format!("SELECT count(*) FROM {}", quote::ident(table));
            let _rows: i64 = conn.query_row(&sql, [], |row| row.get(0)).expect(table);
        }
    }
}

#[test]
fn double_quoted_defaults_work() {
    for (name, _) in BOTH {
        let (_folder, conn) = copy_of(name);
        let insert = "INSERT INTO warehouse_submissions(employee_name, product_name) VALUES ('a', 'b')
                      RETURNING submission_type";
        assert_eq!(strings(&conn, insert), ["packaged"], "{name}");
        let insert = "INSERT INTO purchase_orders(po_number) VALUES ('PO-new') RETURNING internal_status";
        assert_eq!(strings(&conn, insert), ["Active"], "{name}");
    }
}

#[test]
fn their_keys_need_no_upgrade_and_the_embedded_set_stays_away() {
    for (name, _) in BOTH {
        let (_folder, mut conn) = copy_of(name);
        let before = strings(&conn, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL");
        let tx = conn.transaction().expect("begin");
        for table in tables(&tx) {
            assert!(!autoincrement::upgrade(&tx, &table).expect(&table), "{name}: {table}");
        }
        tx.commit().expect("commit");
        assert!(runner::is_adopted(&conn).expect("asked"), "{name}");
        assert_eq!(runner::apply_all(&conn, 0).expect("nothing to do"), Vec::<u32>::new());
        assert_eq!(strings(&conn, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL"), before, "{name}");
    }
}

#[test]
fn the_shipped_policy_knows_the_newest_file_and_warns_about_the_older() {
    let shipped = policy::shipped();
    let (_folder, newest) = copy_of("tablettracker_2026.db");
    let unknown = policy::warnings(&shipped, &newest).expect("warnings");
    assert_eq!(unknown, ["the policy names table \"roles\", which this database does not have"]);
    let (_folder, older) = copy_of("tablettracker_2025.db");
    let unknown = policy::warnings(&shipped, &older).expect("warnings");
    assert!(unknown.iter().any(|line| line.contains("\"machines\"")), "{unknown:?}");
    assert!(!unknown.iter().any(|line| line.contains("\"po_lines\"")), "{unknown:?}");
}

#[test]
fn a_new_hubs_tables_hold_every_column_of_both_files() {
    let new = Connection::open_in_memory().expect("memory");
    runner::apply_all(&new, 0).expect("apply");
    for (name, _) in BOTH {
        let (_folder, old) = copy_of(name);
        for table in GUIDE {
            let sql = format!("SELECT name || ' ' || type FROM pragma_table_xinfo({})", quote::text(table));
            let ours = strings(&new, &sql);
            for column in strings(&old, &sql) {
                assert!(ours.contains(&column), "{name}: {table} has {column}");
            }
        }
    }
}

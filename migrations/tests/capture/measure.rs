//! What capture costs a program: printed as a ratio to the same statements on plain SQLite.
//!
//! `cargo test --release -p tt-migrations --test capture measure -- --ignored --nocapture`
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use crate::station::Station;
use rusqlite::Connection;
use std::time::Instant;
use tempfile::TempDir;

const ROWS: i64 = 100_000;
const SINGLE: i64 = 5_000;
const RUNS: usize = 5;

const SUBMISSIONS: &str = "
CREATE TABLE submissions(id INTEGER PRIMARY KEY AUTOINCREMENT, employee_name TEXT NOT NULL, product_name TEXT NOT NULL,
  box_number INTEGER, bag_number INTEGER, bag_label_count INTEGER, displays_made INTEGER DEFAULT 0, packs_remaining INTEGER DEFAULT 0,
  loose_tablets INTEGER DEFAULT 0, damaged_tablets INTEGER DEFAULT 0, discrepancy_flag BOOLEAN DEFAULT FALSE, assigned_po_id INTEGER,
  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, submission_date DATE, po_assignment_verified BOOLEAN DEFAULT FALSE,
  inventory_item_id TEXT, admin_notes TEXT, submission_type TEXT DEFAULT 'packaged');";

/// Two unique values per row: every insert and update must look for the rows that it could replace.
const UNIQUE: &str = "CREATE UNIQUE INDEX one ON submissions(box_number, bag_number, bag_label_count);
CREATE UNIQUE INDEX other ON submissions(inventory_item_id, bag_label_count);";

#[test]
#[ignore = "a measurement, not a check"]
fn measure_programs_with_and_without_capture() {
    for (name, schema) in [
        ("no unique values", SUBMISSIONS.to_owned()),
        ("two unique indexes", format!("{SUBMISSIONS}{UNIQUE}")),
    ] {
        println!("{name}: plain / captured, median of {RUNS} (smallest to largest)");
        let mut ratios: Vec<Vec<f64>> = vec![Vec::new(); LABELS.len()];
        for _ in 0..RUNS {
            let plain = plain_run(&schema);
            let captured = captured_run(&schema);
            for (place, list) in ratios.iter_mut().enumerate() {
                list.push(plain[place] / captured[place]);
            }
        }
        for (label, mut list) in LABELS.iter().zip(ratios) {
            list.sort_by(f64::total_cmp);
            println!("  {label:<28} {:.2} ({:.2} to {:.2})", list[RUNS / 2], list[0], list[RUNS - 1]);
        }
    }
}

const LABELS: [&str; 6] = [
    "inserts",
    "first-touch updates",
    "repeated updates",
    "updates of fresh rows",
    "one-row commits",
    "first-touch deletes",
];

fn plain_run(schema: &str) -> Vec<f64> {
    let folder = TempDir::new().expect("folder");
    let conn = Connection::open(folder.path().join("plain.db")).expect("open");
    conn.execute_batch(schema).expect("schema");
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL").expect("pragma");
    phases(&conn, &mut || {})
}

fn captured_run(schema: &str) -> Vec<f64> {
    let mut station = Station::new(schema);
    station.run("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
    let program = Connection::open(station.path()).expect("open");
    program.execute_batch("PRAGMA synchronous = NORMAL").expect("pragma");
    phases(&program, &mut || drop(station.cut_unchecked()))
}

/// Seconds of each phase in the order of [`LABELS`].
fn phases(conn: &Connection, cut: &mut dyn FnMut()) -> Vec<f64> {
    let insert = timed(|| in_one(conn, |conn| insert_rows(conn, 0, ROWS)));
    let fresh = timed(|| in_one(conn, update_all));
    cut();
    let first = timed(|| in_one(conn, update_all));
    let again = timed(|| in_one(conn, update_all));
    cut();
    let single = timed(|| (0..SINGLE).for_each(|at| insert_rows(conn, ROWS + at, 1)));
    cut();
    let delete = timed(|| {
        in_one(conn, |conn| {
            conn.execute("DELETE FROM submissions WHERE id > 0", []).expect("delete");
        })
    });
    vec![insert, first, again, fresh, single, delete]
}

/// Seconds that this thread spent on a core, so that a busy machine matters less; elapsed ones where the
/// system does not tell.
fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    let before = on_core();
    work();
    match (before, on_core()) {
        (Some(before), Some(after)) => after - before,
        _ => start.elapsed().as_secs_f64(),
    }
}

fn on_core() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split_whitespace().next()?.parse::<f64>().ok()? / 1e9)
}

fn in_one(conn: &Connection, work: impl FnOnce(&Connection)) {
    conn.execute_batch("BEGIN IMMEDIATE").expect("begin");
    work(conn);
    conn.execute_batch("COMMIT").expect("commit");
}

fn update_all(conn: &Connection) {
    let mut ids = conn.prepare("SELECT id FROM submissions").expect("ids");
    let ids: Vec<i64> = ids.query_map([], |row| row.get(0)).expect("ids").map(|id| id.expect("id")).collect();
    let mut update = conn
        .prepare(
            "UPDATE submissions SET displays_made = displays_made + 1, admin_notes = 'seen' WHERE id = ?1",
        )
        .expect("update");
    for id in ids {
        update.execute([id]).expect("update");
    }
}

fn insert_rows(conn: &Connection, from: i64, count: i64) {
    let sql = "INSERT INTO submissions(employee_name, product_name, box_number, bag_number, bag_label_count, displays_made,
               packs_remaining, loose_tablets, damaged_tablets, assigned_po_id, submission_date, inventory_item_id)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    let mut insert = conn.prepare_cached(sql).expect("insert");
    for at in from..from + count {
        let name = ["Maria", "John", "Wei", "Aisha"][usize::try_from(at % 4).expect("small")];
        let item = format!("52549300000{:05}", at % 97);
        let row = (
            name,
            "Vitamin C 500",
            at % 40,
            at % 12,
            at,
            at % 30,
            at % 9,
            at % 50,
            at % 3,
            at % 23,
            "2025-12-06",
            item,
        );
        insert.execute(row).expect("row");
    }
}

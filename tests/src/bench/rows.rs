//! Submissions that look like the warehouse's, made from a seed.

use crate::sim::random::Random;
use rusqlite::{Connection, Transaction, params};

/// A plain TabletTracker database with a few purchase orders.
///
/// # Errors
/// When SQLite refuses.
pub fn database(path: &std::path::Path) -> anyhow::Result<()> {
    let conn = Connection::open(path)?;
    tt_migrations::runner::apply_all(&conn, 0)?;
    for number in 1..=20 {
        conn.execute("INSERT INTO purchase_orders(po_number) VALUES (?1)", [format!("PO-{number:05}")])?;
        for line in 1..=3 {
            conn.execute(
                "INSERT INTO po_lines(po_id, po_number, inventory_item_id) VALUES (?1, ?2, ?3)",
                params![number, format!("PO-{number:05}"), format!("item-{line:04}")],
            )?;
        }
    }
    Ok(())
}

/// Inserts `count` submissions.
///
/// # Errors
/// When SQLite refuses.
pub fn insert(tx: &Transaction<'_>, count: u32, seed: u64) -> rusqlite::Result<()> {
    let mut random = Random::new(seed);
    let mut small = move |below: u64| i64::try_from(random.below(below)).unwrap_or_default();
    let names = ["Ana Ruiz", "Ben Ochoa", "Carla M.", "Dmitri", "Elena P."];
    let products = ["Hyroxi Blue 30ct", "Hyroxi XL Mango", "7OH 4ct Bottle", "MIT A Pink 12ct"];
    let mut insert = tx.prepare_cached(
        "INSERT INTO warehouse_submissions(employee_name, product_name, box_number, bag_number, bag_label_count,
         displays_made, packs_remaining, loose_tablets, damaged_tablets, assigned_po_id, submission_date,
         inventory_item_id, admin_notes, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?;
    for number in 0..i64::from(count) {
        let (day, second) = (1 + number / 2_000 % 28, number % 60);
        insert.execute(params![
            names[usize::try_from(small(5)).unwrap_or_default()],
            products[usize::try_from(small(4)).unwrap_or_default()],
            number / 40,
            number % 40,
            20_000 + small(500),
            small(60),
            small(12),
            small(300),
            small(9),
            1 + small(20),
            format!("2026-11-{day:02}"),
            format!("item-{:04}", small(3) + 1),
            (small(10) == 0).then_some("recounted by hand"),
            format!("2026-11-{day:02} {:02}:{:02}:{second:02}", 6 + number / 3600 % 12, number / 60 % 60),
        ])?;
    }
    Ok(())
}

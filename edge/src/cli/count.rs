//! `tt-edge count`: records a count the way a program does, with plain SQL into the local file.
//!
//! It needs no daemon and no hub: what it writes is captured like anybody's.

use super::Outcome;
use crate::daemon::DaemonError;
use crate::place::Place;
use crate::store::StoreError;
use anyhow::{Context as _, bail};
use clap::Args;
use rusqlite::types::Value;
use rusqlite::{
    Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params_from_iter,
};
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub(super) struct CountArgs {
    /// Who counted.
    #[arg(long, value_name = "NAME")]
    employee: String,
    /// What was counted.
    #[arg(long, value_name = "NAME")]
    product: String,
    /// Box number.
    #[arg(long = "box", value_name = "N")]
    box_number: Option<i64>,
    /// Bag number.
    #[arg(long = "bag", value_name = "N")]
    bag_number: Option<i64>,
    /// Full displays made.
    #[arg(long, value_name = "N", default_value_t = 0)]
    displays: i64,
    /// Packs that filled no display.
    #[arg(long, value_name = "N", default_value_t = 0)]
    packs: i64,
    /// Loose tablets.
    #[arg(long, value_name = "N", default_value_t = 0)]
    loose: i64,
    /// Damaged tablets.
    #[arg(long, value_name = "N", default_value_t = 0)]
    damaged: i64,
    /// Count on this purchase order: its number.
    #[arg(long, value_name = "NUMBER", requires = "item")]
    po: Option<String>,
    /// The line of the purchase order: its inventory item.
    #[arg(long, value_name = "ITEM", requires = "po")]
    item: Option<String>,
    /// Good tablets to add to that line.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "po")]
    good: i64,
    /// A remark.
    #[arg(long, value_name = "TEXT")]
    notes: Option<String>,
}

pub(super) fn count(place: &Place, args: &CountArgs, json: bool) -> Outcome {
    let numbers = [args.displays, args.packs, args.loose, args.damaged, args.good];
    let places = [args.box_number, args.bag_number].into_iter().flatten();
    if numbers.into_iter().chain(places).any(|number| number < 0) {
        bail!("a count cannot be negative: correct an entry in the program that made it");
    }
    let db = place.db()?;
    if !db.exists() {
        return Err(StoreError::Missing(db).into());
    }
    let unusable = |source| DaemonError::Unusable { path: db.clone(), source };
    let mut conn = open(&db).map_err(unusable)?;
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(unusable)?;
    crate::store::look_before_writing(&tx, crate::clock::reading()).map_err(unusable)?;
    let po = args.po.as_ref().map(|number| find_po(&tx, number)).transpose()?;
    let id = insert(&tx, args, po)?;
    if let (Some(po), Some(item)) = (po, &args.item) {
        add_to_line(&tx, args, po, item)?;
    }
    tx.commit()?;
    if json {
        println!("{}", json!({ "id": id }));
    } else {
        println!("Saved on this device as entry {id}.");
    }
    Ok(ExitCode::SUCCESS)
}

fn open(db: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(db, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    conn.busy_timeout(Duration::from_secs(30))?;
    conn.pragma_update(None, "foreign_keys", true)?;
    Ok(conn)
}

fn find_po(tx: &Transaction<'_>, number: &str) -> anyhow::Result<i64> {
    let found = tx
        .query_row("SELECT id FROM purchase_orders WHERE po_number = ?1", [number], |row| row.get(0))
        .optional()?;
    found.with_context(|| {
        format!("there is no purchase order {number} on this device; check the number, or sync first")
    })
}

fn insert(tx: &Transaction<'_>, args: &CountArgs, po: Option<i64>) -> anyhow::Result<i64> {
    let text = |value: &str| Value::Text(value.to_owned());
    let optional = |value: Option<i64>| value.map_or(Value::Null, Value::Integer);
    let mut row = vec![
        ("employee_name", text(&args.employee)),
        ("product_name", text(&args.product)),
        ("box_number", optional(args.box_number)),
        ("bag_number", optional(args.bag_number)),
        ("displays_made", Value::Integer(args.displays)),
        ("packs_remaining", Value::Integer(args.packs)),
        ("loose_tablets", Value::Integer(args.loose)),
        ("assigned_po_id", optional(po)),
    ];
    if args.damaged > 0 {
        row.push(("damaged_tablets", Value::Integer(args.damaged)));
    }
    if let Some(notes) = &args.notes {
        row.push(("admin_notes", text(notes)));
    }
    let names: Vec<&str> = row.iter().map(|(name, _)| *name).collect();
    let marks = vec!["?"; names.len()].join(", ");
    let sql = format!("INSERT INTO warehouse_submissions({}) VALUES ({marks})", names.join(", "));
    let mut statement =
        tx.prepare(&sql).context("this file has no table for counts as TabletTracker makes them")?;
    statement.execute(params_from_iter(row.into_iter().map(|(_, value)| value)))?;
    Ok(tx.last_insert_rowid())
}

fn add_to_line(tx: &Transaction<'_>, args: &CountArgs, po: i64, item: &str) -> anyhow::Result<()> {
    let sql = "UPDATE po_lines SET good_count = good_count + ?1, damaged_count = damaged_count + ?2
               WHERE id = (SELECT MIN(id) FROM po_lines WHERE po_id = ?3 AND inventory_item_id = ?4)";
    if tx.execute(sql, (args.good, args.damaged, po, item))? == 0 {
        bail!("that purchase order has no line for item {item}; check the item");
    }
    Ok(())
}

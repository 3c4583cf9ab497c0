//! `tt-edge count`: records a count the way a program does, with plain SQL into the local file.
//!
//! It needs no daemon and no hub: what it writes is captured like anybody's.

use super::Outcome;
use crate::daemon::DaemonError;
use crate::place::Place;
use crate::record::{self, Row};
use crate::store::StoreError;
use anyhow::{Context as _, bail};
use clap::Args;
use rusqlite::{OptionalExtension as _, Transaction};
use serde_json::json;
use std::process::ExitCode;

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
    /// Receipt number.
    #[arg(long, value_name = "NUMBER")]
    receipt: Option<String>,
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
    let mut conn = record::open(&db).map_err(unusable)?;
    let tx = record::begin(&mut conn).map_err(unusable)?;
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

fn find_po(tx: &Transaction<'_>, number: &str) -> anyhow::Result<i64> {
    let found = tx
        .query_row("SELECT id FROM purchase_orders WHERE po_number = ?1", [number], |row| row.get(0))
        .optional()?;
    found.with_context(|| {
        format!("there is no purchase order {number} on this device; check the number, or sync first")
    })
}

fn insert(tx: &Transaction<'_>, args: &CountArgs, po: Option<i64>) -> anyhow::Result<i64> {
    let mut values = vec![
        ("employee_name", json!(args.employee)),
        ("product_name", json!(args.product)),
        ("box_number", json!(args.box_number)),
        ("bag_number", json!(args.bag_number)),
        ("displays_made", json!(args.displays)),
        ("packs_remaining", json!(args.packs)),
        ("loose_tablets", json!(args.loose)),
        ("damaged_tablets", json!(args.damaged)),
        ("assigned_po_id", json!(po)),
    ];
    let remarks = [("admin_notes", &args.notes), ("receipt_number", &args.receipt)];
    let given = remarks.into_iter().filter_map(|(name, text)| Some((name, json!(text.as_ref()?))));
    values.extend(given);
    let values = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let row = Row { role: String::new(), table: record::SUBMISSIONS.to_owned(), values, id: None };
    record::insert(tx, &row).context("this file has no table for counts as TabletTracker makes them")
}

fn add_to_line(tx: &Transaction<'_>, args: &CountArgs, po: i64, item: &str) -> anyhow::Result<()> {
    let sql = "UPDATE po_lines SET good_count = good_count + ?1, damaged_count = damaged_count + ?2
               WHERE id = (SELECT MIN(id) FROM po_lines WHERE po_id = ?3 AND inventory_item_id = ?4)";
    if tx.execute(sql, (args.good, args.damaged, po, item))? == 0 {
        bail!("that purchase order has no line for item {item}; check the item");
    }
    Ok(())
}

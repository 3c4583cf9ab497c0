//! `tt-edge count`: records a count the way a program does, with plain SQL into the local file.
//!
//! It needs no daemon and no hub: what it writes is captured like anybody's.

use super::Outcome;
use crate::daemon::DaemonError;
use crate::place::Place;
use crate::record::{self, Direct};
use crate::store::StoreError;
use clap::Args;
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

pub(super) fn count(place: &Place, args: CountArgs, json: bool) -> Outcome {
    let count = args.direct();
    count.check()?;
    let db = place.db()?;
    if !db.exists() {
        return Err(StoreError::Missing(db).into());
    }
    let unusable = |source| DaemonError::Unusable { path: db.clone(), source };
    let mut conn = record::open(&db).map_err(unusable)?;
    let tx = record::begin(&mut conn).map_err(unusable)?;
    let id = count.record(&tx)?;
    tx.commit()?;
    if json {
        println!("{}", json!({ "id": id }));
    } else {
        println!("Saved on this device as entry {id}.");
    }
    Ok(ExitCode::SUCCESS)
}

impl CountArgs {
    fn direct(self) -> Direct {
        Direct {
            employee: self.employee,
            product: self.product,
            r#box: self.box_number,
            bag: self.bag_number,
            receipt: self.receipt,
            displays: self.displays,
            packs: self.packs,
            loose: self.loose,
            damaged: self.damaged,
            po: self.po,
            item: self.item,
            good: self.good,
            notes: self.notes,
        }
    }
}

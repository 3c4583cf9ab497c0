//! A count as it is given: one submission, and perhaps an addition to a line of a purchase order. Nothing is
//! looked for and nobody is asked. `tt-edge count` and the inbox record it.

use super::plan::SUBMISSIONS;
use super::write::{Row, insert};
use super::{Columns, RecordError, check_text};
use rusqlite::{Connection, OptionalExtension as _};
use serde::Deserialize;
use serde_json::json;

/// What was counted. Names and numbers are taken as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Direct {
    /// Who counted.
    pub(crate) employee: String,
    /// What was counted.
    pub(crate) product: String,
    /// Box number.
    pub(crate) r#box: Option<i64>,
    /// Bag number.
    pub(crate) bag: Option<i64>,
    /// Receipt number.
    pub(crate) receipt: Option<String>,
    /// Full displays made.
    pub(crate) displays: i64,
    /// Packs that filled no display.
    pub(crate) packs: i64,
    /// Loose tablets.
    pub(crate) loose: i64,
    /// Damaged tablets.
    pub(crate) damaged: i64,
    /// Number of the purchase order to count on.
    pub(crate) po: Option<String>,
    /// The line of it: its inventory item.
    pub(crate) item: Option<String>,
    /// Good tablets to add to that line.
    pub(crate) good: i64,
    /// A remark.
    pub(crate) notes: Option<String>,
}

impl Direct {
    /// Checks what cannot be.
    ///
    /// # Errors
    /// The first thing that cannot be.
    pub(crate) fn check(&self) -> Result<(), RecordError> {
        let numbers = [self.displays, self.packs, self.loose, self.damaged, self.good];
        let places = [self.r#box, self.bag].into_iter().flatten();
        if numbers.into_iter().chain(places).any(|number| number < 0) {
            return Err(RecordError::Negative);
        }
        if self.po.is_some() != self.item.is_some() {
            let why = "a purchase order is counted on by its number and an item";
            return Err(RecordError::Invalid { field: "po", why });
        }
        if self.po.is_none() && self.good > 0 {
            let why = "good tablets are added to a line of a purchase order";
            return Err(RecordError::Invalid { field: "good", why });
        }
        check_text("employee", &self.employee)?;
        check_text("product", &self.product)
    }

    /// Writes it in the caller's transaction. Gives the submission's id.
    ///
    /// # Errors
    /// When it cannot be, its order or line is not known, or SQLite refuses.
    pub(crate) fn record(&self, conn: &Connection) -> Result<i64, RecordError> {
        self.check()?;
        if Columns::of(conn, SUBMISSIONS)?.is_empty() {
            return Err(RecordError::NoTable(SUBMISSIONS));
        }
        let po = self.po.as_ref().map(|number| find_order(conn, number)).transpose()?;
        let id = insert(conn, &self.row(po))?;
        if let (Some(po), Some(item)) = (po, &self.item) {
            self.add_to_line(conn, po, item)?;
        }
        Ok(id)
    }

    fn row(&self, po: Option<i64>) -> Row {
        let mut values = vec![
            ("employee_name", json!(self.employee)),
            ("product_name", json!(self.product)),
            ("box_number", json!(self.r#box)),
            ("bag_number", json!(self.bag)),
            ("displays_made", json!(self.displays)),
            ("packs_remaining", json!(self.packs)),
            ("loose_tablets", json!(self.loose)),
            ("damaged_tablets", json!(self.damaged)),
            ("assigned_po_id", json!(po)),
        ];
        let remarks = [("admin_notes", &self.notes), ("receipt_number", &self.receipt)];
        let given = remarks.into_iter().filter_map(|(name, text)| Some((name, json!(text.as_ref()?))));
        values.extend(given);
        let values = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Row { role: String::new(), table: SUBMISSIONS.to_owned(), values, id: None }
    }

    fn add_to_line(&self, conn: &Connection, po: i64, item: &str) -> Result<(), RecordError> {
        let sql = "UPDATE po_lines SET good_count = good_count + ?1, damaged_count = damaged_count + ?2
                   WHERE id = (SELECT MIN(id) FROM po_lines WHERE po_id = ?3 AND inventory_item_id = ?4)";
        if conn.execute(sql, (self.good, self.damaged, po, item))? == 0 {
            return Err(RecordError::NoLine(item.to_owned()));
        }
        Ok(())
    }
}

fn find_order(conn: &Connection, number: &str) -> Result<i64, RecordError> {
    let found = conn
        .query_row("SELECT id FROM purchase_orders WHERE po_number = ?1", [number], |row| row.get(0))
        .optional()?;
    found.ok_or_else(|| RecordError::NoOrder(number.to_owned()))
}

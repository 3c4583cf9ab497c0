//! Which bag of which delivery a count belongs to, found at entry and on what this device knows, as the
//! program does: one open match assigns it, several leave it for review, none is a question.

use super::columns::Columns;
use rusqlite::{Connection, OptionalExtension as _, Result, Row, params_from_iter};

/// A bag, and the purchase order that its delivery belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bag {
    pub(super) id: Option<i64>,
    pub(super) po: Option<i64>,
    pub(super) box_number: Option<i64>,
    pub(super) bag_number: Option<i64>,
    pub(super) label_count: Option<i64>,
    pub(super) tablet_type: Option<i64>,
    pub(super) reserved: bool,
}

/// What looking for a bag came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    One(Bag),
    Several,
    None,
    /// The file keeps no deliveries in which one could look.
    Nowhere,
}

/// Looks for a bag with one of these tablet types. Closed bags count only for what is packed afterwards.
pub(super) fn find(
    conn: &Connection,
    tablet_types: &[i64],
    (box_number, bag_number): (Option<i64>, i64),
    closed_too: bool,
) -> Result<Found> {
    let (bags, boxes) = (Columns::of(conn, "bags")?, Columns::of(conn, "small_boxes")?);
    let receiving = Columns::of(conn, "receiving")?;
    if !bags.has("tablet_type_id") || boxes.is_empty() || receiving.is_empty() {
        return Ok(Found::Nowhere);
    }
    let mut conditions = vec!["b.bag_number = ?1".to_owned(), "(?2 IS NULL OR s.box_number = ?2)".to_owned()];
    if receiving.has("closed") {
        conditions.push("COALESCE(r.closed, 0) = 0".to_owned());
    }
    if receiving.has("status") {
        conditions.push("COALESCE(r.status, 'published') = 'published'".to_owned());
    }
    if !closed_too {
        conditions.push("COALESCE(b.status, 'Available') <> 'Closed'".to_owned());
    }
    let types: Vec<_> = (0..tablet_types.len()).map(|at| format!("?{}", at + 3)).collect();
    conditions.push(format!("b.tablet_type_id IN ({})", types.join(", ")));
    let reserved = if bags.has("reserved_for_bottles") { "COALESCE(b.reserved_for_bottles, 0)" } else { "0" };
    let sql = format!(
        "SELECT b.id, r.po_id, s.box_number, b.bag_number, b.bag_label_count, b.tablet_type_id, {reserved}
         FROM bags b JOIN small_boxes s ON b.small_box_id = s.id JOIN receiving r ON s.receiving_id = r.id
         WHERE {} LIMIT 2",
        conditions.join(" AND ")
    );
    let values = [Some(bag_number), box_number].into_iter().chain(tablet_types.iter().copied().map(Some));
    let mut statement = conn.prepare(&sql)?;
    let rows = statement.query_map(params_from_iter(values), |row| {
        Ok(Bag { tablet_type: row.get(5)?, reserved: row.get(6)?, ..bag(row)? })
    })?;
    Ok(only(rows.collect::<Result<_>>()?))
}

/// The bag that the machine counts of a receipt name; None when there is no such count here.
pub(super) fn of_receipt(conn: &Connection, receipt: &str) -> Result<Option<Found>> {
    let sql = "SELECT DISTINCT w.bag_id, w.assigned_po_id, w.box_number, w.bag_number,
                 (SELECT bag_label_count FROM bags WHERE id = w.bag_id)
               FROM warehouse_submissions w WHERE w.receipt_number = ?1 AND w.submission_type = 'machine' LIMIT 2";
    let mut statement = conn.prepare(sql)?;
    let found = statement.query_map([receipt], bag)?.collect::<Result<_>>()?;
    Ok(match only(found) {
        Found::None => None,
        found => Some(found),
    })
}

/// The columns with which each question here begins.
fn bag(row: &Row<'_>) -> Result<Bag> {
    Ok(Bag {
        id: row.get(0)?,
        po: row.get(1)?,
        box_number: row.get(2)?,
        bag_number: row.get(3)?,
        label_count: row.get(4)?,
        ..Bag::default()
    })
}

/// One match is it; of several none is taken.
fn only(mut found: Vec<Bag>) -> Found {
    match (found.pop(), found.pop()) {
        (None, _) => Found::None,
        (Some(bag), None) => Found::One(bag),
        (Some(_), Some(_)) => Found::Several,
    }
}

/// The tablet types that a product may be made of: its own, and those that the file allows besides.
pub(super) fn tablet_types(conn: &Connection, product: i64, own: Option<i64>) -> Result<Vec<i64>> {
    let mut found: Vec<i64> = own.into_iter().collect();
    if !Columns::of(conn, "product_allowed_tablet_types")?.is_empty() {
        let sql = "SELECT tablet_type_id FROM product_allowed_tablet_types WHERE product_details_id = ?1";
        let mut statement = conn.prepare(sql)?;
        for one in statement.query_map([product], |row| row.get(0))? {
            found.push(one?);
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// The inventory item of a tablet type.
pub(super) fn item(conn: &Connection, tablet_type: i64) -> Result<Option<String>> {
    let sql = "SELECT inventory_item_id FROM tablet_types WHERE id = ?1";
    Ok(conn.query_row(sql, [tablet_type], |row| row.get(0)).optional()?.flatten())
}

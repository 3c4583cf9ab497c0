//! What a count comes to in the program's tables: rows, and differences of purchase order lines. Nothing is
//! written here.
//!
//! * A machine count is a row of `machine_counts` and a submission for each machine, and adds its tablets to
//!   the machine counter of the purchase order line that its bag belongs to.
//! * A packaged count and a bag count are one submission each and touch no line: the program adds them up
//!   when it reads.

use super::bag::{self, Bag, Found};
use super::columns::Columns;
use super::error::Question;
use super::write::{Added, Row};
use super::{Count, Entry, MachineCounter, RecordError};
use rusqlite::{Connection, OptionalExtension as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Each press of a blister machine cuts so many blisters.
const BLISTERS_PER_PRESS: i64 = 2;

pub(crate) const SUBMISSIONS: &str = "warehouse_submissions";
const MACHINE_COUNTS: &str = "machine_counts";

/// What a count comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Rows to be.
    pub(crate) rows: Vec<Row>,
    /// What is added to purchase order lines.
    pub(crate) added: Vec<Added>,
}

/// What the file says of a product.
struct Product {
    id: i64,
    tablet_type: Option<i64>,
    per_package: i64,
    displays_per_case: i64,
}

/// Works out a count. `earlier` are the ids of its own submissions when it is a correction: they are no
/// other count with the same receipt.
pub(super) fn plan(conn: &Connection, entry: &Entry, earlier: &Plan) -> Result<Plan, RecordError> {
    let columns = Columns::of(conn, SUBMISSIONS)?;
    if columns.is_empty() {
        return Err(RecordError::NoTable(SUBMISSIONS));
    }
    let day = day(conn, entry)?;
    let work = Work { conn, entry, columns, day, earlier };
    match &entry.count {
        Count::Machine { product, r#box, bag, receipt, machines } => {
            work.machine(product, (*r#box, *bag), trimmed(receipt.as_ref()), machines)
        }
        Count::Packaged { .. } => work.packaged(),
        Count::Bag { tablet, r#box, bag, tablets } => work.bag(tablet, (*r#box, *bag), *tablets),
    }
}

struct Work<'w> {
    conn: &'w Connection,
    entry: &'w Entry,
    columns: Columns,
    day: String,
    earlier: &'w Plan,
}

impl Work<'_> {
    fn machine(
        &self,
        name: &str,
        place: (Option<i64>, i64),
        receipt: Option<&str>,
        machines: &[MachineCounter],
    ) -> Result<Plan, RecordError> {
        if Columns::of(self.conn, MACHINE_COUNTS)?.is_empty() {
            return Err(RecordError::NoTable(MACHINE_COUNTS));
        }
        let product = self.product(name)?;
        let types = bag::tablet_types(self.conn, product.id, product.tablet_type)?;
        let (mut bag, mut review) = self.bag_at(&types, place, false)?;
        bag.tablet_type = bag.tablet_type.or(product.tablet_type);
        let item = bag.tablet_type.map(|id| bag::item(self.conn, id)).transpose()?.flatten();
        let line = self.line(&bag, item.as_deref())?;
        let mut plan = Plan::default();
        for one in machines {
            review |= self.receipt_used(receipt, name, Some(one.machine))?;
            let (cards, tablets) = self.made(&product, one)?;
            let role = one.machine.map_or_else(|| "machine".to_owned(), |id| format!("machine {id}"));
            plan.rows.push(self.counter_row(&role, one, &bag));
            // Files from before the machine's submissions have no place for what they say.
            if self.columns.has("tablets_pressed_into_cards") {
                let more = [
                    ("displays_made", json!(one.counter)),
                    ("packs_remaining", json!(cards)),
                    ("tablets_pressed_into_cards", json!(tablets)),
                    ("machine_id", json!(one.machine)),
                ];
                let row = self.submission(&role, "machine", (name, item.as_deref()), (&bag, receipt, review));
                plan.rows.push(with(row, more));
                if let Some(line) = line {
                    plan.added.push(Added { line, column: "machine_good_count".to_owned(), amount: tablets });
                }
            }
        }
        Ok(plan)
    }

    fn packaged(&self) -> Result<Plan, RecordError> {
        let Count::Packaged {
            product: name,
            receipt,
            r#box,
            bag,
            cases,
            displays,
            packs,
            loose,
            reopened,
            damaged,
        } = &self.entry.count
        else {
            return Ok(Plan::default());
        };
        let receipt = trimmed(receipt.as_ref());
        let product = self.product(name)?;
        let mut review = self.receipt_used(receipt, name, None)?;
        let (found, unsure) = self.packed_bag(&product, receipt, (*r#box, *bag))?;
        review |= unsure;
        let tablet_type = found.tablet_type.or(product.tablet_type);
        let item = tablet_type.map(|id| bag::item(self.conn, id)).transpose()?.flatten();
        if *cases > 0 && product.displays_per_case <= 0 {
            return Err(RecordError::Invalid {
                field: "cases",
                why: "nobody has said how many displays fill a case",
            });
        }
        let made = cases.checked_mul(product.displays_per_case).and_then(|made| made.checked_add(*displays));
        let made = made.ok_or(RecordError::TooMuch)?;
        let row = self.submission("packaged", "packaged", (name, item.as_deref()), (&found, receipt, review));
        let mut row = with(
            row,
            [
                ("bag_label_count", json!(found.label_count.unwrap_or(0))),
                ("displays_made", json!(made)),
                ("packs_remaining", json!(packs)),
                ("loose_tablets", json!(loose)),
                ("cards_reopened", json!(reopened)),
                ("damaged_tablets", json!(damaged)),
                ("case_count", json!(cases)),
                ("loose_display_count", json!(displays)),
            ],
        );
        if self.earlier.rows.is_empty() {
            let now: String = self.conn.query_row("SELECT CURRENT_TIMESTAMP", [], |row| row.get(0))?;
            row = with(row, [("bag_end_time", json!(now))]);
        }
        Ok(Plan { rows: vec![row], added: Vec::new() })
    }

    fn bag(&self, tablet: &str, place: (Option<i64>, i64), tablets: i64) -> Result<Plan, RecordError> {
        let sql = "SELECT id, inventory_item_id FROM tablet_types WHERE tablet_type_name = ?1";
        if Columns::of(self.conn, "tablet_types")?.is_empty() {
            return Err(RecordError::NoTable("tablet_types"));
        }
        let found: Option<(i64, Option<String>)> =
            self.conn.query_row(sql, [tablet], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let unknown = || RecordError::Unknown { field: "tablet", name: tablet.to_owned() };
        let (id, item) = found.ok_or_else(unknown)?;
        let (bag, review) = self.bag_at(&[id], place, false)?;
        let row = self.submission("bag", "bag", (tablet, item.as_deref()), (&bag, None, review));
        Ok(Plan { rows: vec![with(row, [("loose_tablets", json!(tablets))])], added: Vec::new() })
    }

    /// The bag that was given, else the one that the receipt's machine counts name. True when somebody
    /// should look at it later.
    fn packed_bag(
        &self,
        product: &Product,
        receipt: Option<&str>,
        (box_number, bag_number): (Option<i64>, Option<i64>),
    ) -> Result<(Bag, bool), RecordError> {
        let types = bag::tablet_types(self.conn, product.id, product.tablet_type)?;
        if let Some(number) = bag_number {
            return self.bag_at(&types, (box_number, number), true);
        }
        let Some(receipt) = receipt.filter(|_| self.columns.has("receipt_number")) else {
            return Ok((Bag { box_number, ..Bag::default() }, false));
        };
        match bag::of_receipt(self.conn, receipt)? {
            Some(Found::One(bag)) => Ok((bag.clone(), bag.id.is_none())),
            Some(_) => Ok((Bag::default(), true)),
            None => {
                self.ask(Question::ReceiptUnknown)?;
                Ok((Bag { box_number, ..Bag::default() }, true))
            }
        }
    }

    fn bag_at(
        &self,
        types: &[i64],
        place: (Option<i64>, i64),
        closed_too: bool,
    ) -> Result<(Bag, bool), RecordError> {
        let given = || Bag { box_number: place.0, bag_number: Some(place.1), ..Bag::default() };
        match bag::find(self.conn, types, place, closed_too)? {
            Found::One(bag) => {
                if bag.reserved {
                    self.ask(Question::BagReserved)?;
                }
                Ok((bag, false))
            }
            Found::Several => Ok((given(), true)),
            Found::None => {
                self.ask(Question::BagUnknown)?;
                Ok((given(), false))
            }
            Found::Nowhere => Ok((given(), false)),
        }
    }

    /// True when the receipt is on another count of the same kind already, and the person wants it so.
    /// `machine` is None for what is packaged.
    fn receipt_used(
        &self,
        receipt: Option<&str>,
        product: &str,
        machine: Option<Option<i64>>,
    ) -> Result<bool, RecordError> {
        let Some(receipt) = receipt.filter(|_| self.columns.has("receipt_number")) else {
            return Ok(false);
        };
        let own: Vec<i64> = self.earlier.rows.iter().filter_map(|row| row.id).collect();
        let mut sql = self.conn.prepare_cached(&format!(
            "SELECT id, product_name, submission_type, {} FROM warehouse_submissions WHERE receipt_number = ?1",
            self.columns.or("machine_id", "NULL")
        ))?;
        let mut rows = sql.query([receipt])?;
        let (mut used, mut other) = (false, false);
        while let Some(row) = rows.next()? {
            if own.contains(&row.get(0)?) {
                continue;
            }
            let kind: Option<String> = row.get(2)?;
            let same = match machine {
                None => kind.as_deref() == Some("packaged"),
                Some(machine) => {
                    kind.as_deref() == Some("machine") && row.get::<_, Option<i64>>(3)? == machine
                }
            };
            used |= same;
            other |= row.get::<_, String>(1)? != product;
        }
        if other {
            self.ask(Question::ReceiptOther)?;
        }
        if used {
            self.ask(Question::ReceiptUsed)?;
        }
        Ok(used || other)
    }

    fn ask(&self, question: Question) -> Result<(), RecordError> {
        if self.entry.confirmed { Ok(()) } else { Err(RecordError::Question(question)) }
    }

    /// Cards and tablets that a counter stands for.
    fn made(&self, product: &Product, one: &MachineCounter) -> Result<(i64, i64), RecordError> {
        let machines = Columns::of(self.conn, "machines")?;
        let found: Option<(i64, String)> = match one.machine {
            Some(id) if !machines.is_empty() => {
                let sql = "SELECT COALESCE(cards_per_turn, 1), COALESCE(machine_role, 'sealing') FROM machines WHERE id = ?1";
                let found =
                    self.conn.query_row(sql, [id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
                let unknown = || RecordError::Unknown { field: "machines", name: format!("machine {id}") };
                Some(found.ok_or_else(unknown)?)
            }
            _ => None,
        };
        let (cards_per_turn, role) = found.unwrap_or((1, "sealing".to_owned()));
        let blister = role.trim().eq_ignore_ascii_case("blister");
        let each = if blister { BLISTERS_PER_PRESS } else { cards_per_turn };
        let cards = one.counter.checked_mul(each).ok_or(RecordError::TooMuch)?;
        let tablets = cards.checked_mul(product.per_package).ok_or(RecordError::TooMuch)?;
        Ok((if blister { 0 } else { cards }, tablets))
    }

    /// The line of the bag's purchase order that counts this item.
    fn line(&self, bag: &Bag, item: Option<&str>) -> Result<Option<i64>, RecordError> {
        if !Columns::of(self.conn, "po_lines")?.has("machine_good_count") {
            return Ok(None);
        }
        let sql = "SELECT MIN(id) FROM po_lines WHERE po_id = ?1 AND inventory_item_id = ?2";
        Ok(self.conn.query_row(sql, (bag.po, item), |row| row.get(0))?)
    }

    fn product(&self, name: &str) -> Result<Product, RecordError> {
        let columns = Columns::of(self.conn, "product_details")?;
        if columns.is_empty() {
            return Err(RecordError::NoTable("product_details"));
        }
        let sql = format!(
            "SELECT id, tablet_type_id, COALESCE(tablets_per_package, 0), COALESCE({}, 0)
             FROM product_details WHERE product_name = ?1",
            columns.or("displays_per_case", "0")
        );
        let read = |row: &rusqlite::Row<'_>| {
            let (id, tablet_type, per_package) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(Product { id, tablet_type, per_package, displays_per_case: row.get(3)? })
        };
        let found = self.conn.query_row(&sql, [name], read).optional()?;
        found.ok_or_else(|| RecordError::Unknown { field: "product", name: name.to_owned() })
    }

    fn counter_row(&self, role: &str, one: &MachineCounter, bag: &Bag) -> Row {
        let text = |number: Option<i64>| number.map(|number| number.to_string());
        let row =
            Row { role: role.to_owned(), table: MACHINE_COUNTS.to_owned(), values: Vec::new(), id: None };
        with(
            row,
            [
                ("tablet_type_id", json!(bag.tablet_type)),
                ("machine_id", json!(one.machine)),
                ("machine_count", json!(one.counter)),
                ("employee_name", json!(self.entry.employee.trim())),
                ("count_date", json!(self.day)),
                ("box_number", json!(text(bag.box_number))),
                ("bag_number", json!(text(bag.bag_number))),
            ],
        )
    }

    fn submission(
        &self,
        role: &str,
        kind: &str,
        (product, item): (&str, Option<&str>),
        (bag, receipt, review): (&Bag, Option<&str>, bool),
    ) -> Row {
        let row = Row { role: role.to_owned(), table: SUBMISSIONS.to_owned(), values: Vec::new(), id: None };
        with(
            row,
            [
                ("employee_name", json!(self.entry.employee.trim())),
                ("product_name", json!(product)),
                ("inventory_item_id", json!(item)),
                ("box_number", json!(bag.box_number)),
                ("bag_number", json!(bag.bag_number)),
                ("submission_date", json!(self.day)),
                ("submission_type", json!(kind)),
                ("bag_id", json!(bag.id)),
                ("assigned_po_id", json!(bag.po)),
                ("needs_review", json!(i64::from(review))),
                ("admin_notes", json!(trimmed(self.entry.notes.as_ref()))),
                ("receipt_number", json!(receipt)),
            ],
        )
    }
}

fn with<const N: usize>(mut row: Row, values: [(&str, Value); N]) -> Row {
    row.values.extend(values.map(|(name, value)| (name.to_owned(), value)));
    row
}

fn trimmed(text: Option<&String>) -> Option<&str> {
    text.map(|text| text.trim()).filter(|text| !text.is_empty())
}

/// The day that the person gave, else the day where the station stands.
fn day(conn: &Connection, entry: &Entry) -> Result<String, RecordError> {
    let Some(given) = &entry.day else {
        return Ok(conn.query_row("SELECT date('now', 'localtime')", [], |row| row.get(0))?);
    };
    let read: Option<String> = conn.query_row("SELECT date(?1)", [given], |row| row.get(0))?;
    read.filter(|read| read == given)
        .ok_or(RecordError::Invalid { field: "day", why: "it is no day as YYYY-MM-DD" })
}

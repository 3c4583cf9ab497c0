//! What a station chooses from: people, products, tablet types and machines, as this device knows them.

use super::RecordError;
use super::columns::Columns;
use super::plan::SUBMISSIONS;
use rusqlite::{Connection, Result, Row};
use serde::Serialize;

/// What a page needs to offer.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Catalog {
    people: Vec<String>,
    products: Vec<Product>,
    tablets: Vec<String>,
    machines: Vec<Machine>,
    /// Submissions have a receipt number.
    receipts: bool,
    /// Machine counts can be recorded.
    counters: bool,
    /// Submissions have cases.
    cases: bool,
    /// Submissions have damaged tablets.
    damaged: bool,
    /// Submissions have cards that were opened again.
    reopened: bool,
}

#[derive(Clone, Debug, Serialize)]
struct Product {
    name: String,
    tablet: Option<String>,
    packs_per_display: i64,
    tablets_per_pack: i64,
    displays_per_case: i64,
}

#[derive(Clone, Debug, Serialize)]
struct Machine {
    id: i64,
    name: String,
    role: String,
}

/// Reads it.
///
/// # Errors
/// When this is no file of TabletTracker, or SQLite fails.
pub(crate) fn catalog(conn: &Connection) -> Result<Catalog, RecordError> {
    let submissions = Columns::of(conn, SUBMISSIONS)?;
    for (name, columns) in
        [(SUBMISSIONS, &submissions), ("product_details", &Columns::of(conn, "product_details")?)]
    {
        if columns.is_empty() {
            return Err(RecordError::NoTable(name));
        }
    }
    Ok(Catalog {
        people: people(conn)?,
        products: products(conn)?,
        tablets: list(conn, "tablet_types", "tablet_type_name", |row| row.get(0))?,
        machines: machines(conn)?,
        receipts: submissions.has("receipt_number"),
        counters: !Columns::of(conn, "machine_counts")?.is_empty(),
        cases: submissions.has("case_count"),
        damaged: submissions.has("damaged_tablets"),
        reopened: submissions.has("cards_reopened"),
    })
}

fn people(conn: &Connection) -> Result<Vec<String>> {
    let active = Columns::of(conn, "employees")?.or("is_active", "1");
    list(conn, &format!("employees WHERE COALESCE({active}, 1) <> 0"), "full_name", |row| row.get(0))
}

fn products(conn: &Connection) -> Result<Vec<Product>> {
    let columns = Columns::of(conn, "product_details")?;
    let variety = columns.or("is_variety_pack", "0");
    let bottle = columns.or("is_bottle_product", "0");
    let tablet = if Columns::of(conn, "tablet_types")?.is_empty() {
        "NULL"
    } else {
        "(SELECT tablet_type_name FROM tablet_types t WHERE t.id = product_details.tablet_type_id)"
    };
    let what = format!(
        "product_name, {tablet}, COALESCE(packages_per_display, 0), COALESCE(tablets_per_package, 0), COALESCE({}, 0)",
        columns.or("displays_per_case", "0")
    );
    let from = format!("product_details WHERE COALESCE({variety}, 0) = 0 AND COALESCE({bottle}, 0) = 0");
    list(conn, &from, &what, |row| {
        let (name, tablet, packs_per_display) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(Product {
            name,
            tablet,
            packs_per_display,
            tablets_per_pack: row.get(3)?,
            displays_per_case: row.get(4)?,
        })
    })
}

fn machines(conn: &Connection) -> Result<Vec<Machine>> {
    let active = Columns::of(conn, "machines")?.or("is_active", "1");
    let from = format!("machines WHERE COALESCE({active}, 1) <> 0");
    list(conn, &from, "machine_name, id, COALESCE(machine_role, 'sealing')", |row| {
        Ok(Machine { name: row.get(0)?, id: row.get(1)?, role: row.get(2)? })
    })
}

/// Rows in the order of their first column; none when there is no such table.
fn list<T>(
    conn: &Connection,
    from: &str,
    what: &str,
    read: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let table = from.split_whitespace().next().unwrap_or_default();
    if Columns::of(conn, table)?.is_empty() {
        return Ok(Vec::new());
    }
    let mut statement = conn.prepare(&format!("SELECT {what} FROM {from} ORDER BY 1"))?;
    statement.query_map([], read)?.collect()
}

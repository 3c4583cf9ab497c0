//! A program at a station or at the hub: plain SQL at a gentle pace, each transaction in the ledger around its commit.
//!
//! It knows nothing of daemons and hubs. It ends when whoever started it closes its input. What it writes:
//!
//! * counts on lines that everybody counts on, as increments and as literal totals, and corrections of its own counts
//! * batches of many rows, some of which it removes again
//! * orders with lines under them; an order that other programs make at the same time, too, and a line under that
//! * kinds of tablets that others make, too, and products of them; a setting by `INSERT OR REPLACE`; a contested name
//!
//! Whoever works at the hub makes shared things of another name than the devices: a restore takes back what was done
//! at the hub, and nobody at a device shall have built on it.

use super::book::{Book, mark};
use super::deed::Deed;
use crate::sim::random::Random;
use crate::writer;
use anyhow::{Context as _, bail};
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Transaction, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Names of programs at the hub begin like this.
pub(super) const AT_HUB: &str = "office-";
/// Shared things get a new name after so many transactions of a program.
const SHARED_FOR: u64 = 12;
/// Own rows that may still be corrected: those of so many transactions.
const CORRECTED_FOR: u64 = 60;

/// What a program is told.
#[derive(Clone, Debug)]
pub struct Orders {
    /// The file that it writes.
    pub db: PathBuf,
    /// Its ledger.
    pub book: PathBuf,
    /// Its name.
    pub who: String,
    /// The seed of all chance.
    pub seed: u64,
    /// Milliseconds between two transactions, on average.
    pub pace_ms: u64,
    /// Its disk may run full: then a transaction fails, and it goes on with the next.
    pub small_disk: bool,
}

struct Station {
    who: String,
    book: Book,
    random: Random,
    number: u64,
    /// The file, where its disk may run full.
    small_disk: Option<PathBuf>,
}

/// Writes until its input is closed.
///
/// # Errors
/// When SQLite refuses, or the ledger cannot be written.
pub fn work(orders: &Orders) -> anyhow::Result<()> {
    let stop = told_to_stop();
    let mut conn = writer::open(&orders.db)?;
    let book = Book(orders.book.clone());
    let number = book.last()?;
    let random = Random::new(orders.seed ^ number);
    let small_disk = orders.small_disk.then(|| orders.db.clone());
    let mut station = Station { who: orders.who.clone(), book, random, number, small_disk };
    while !stop.load(Ordering::Acquire) {
        station
            .transaction(&mut conn)
            .with_context(|| format!("{} in {}", orders.who, orders.db.display()))?;
        let mut left = station.random.below(2 * orders.pace_ms.max(1));
        while left > 0 && !stop.load(Ordering::Acquire) {
            let step = left.min(50);
            std::thread::sleep(Duration::from_millis(step));
            left -= step;
        }
    }
    Ok(())
}

/// So many transactions without a pause. Gives what the ledger says of them.
#[cfg(test)]
pub(super) fn transactions(
    db: &Path,
    book: &Path,
    who: &str,
    count: u64,
) -> anyhow::Result<Vec<super::book::Entry>> {
    let mut conn = writer::open(db)?;
    let (who, book) = (who.to_owned(), Book(book.to_owned()));
    let mut station =
        Station { who, book: book.clone(), random: Random::new(1), number: 0, small_disk: None };
    (0..count).try_for_each(|_| station.transaction(&mut conn))?;
    book.read()
}

/// Set when the input ends, also because whoever held it has died.
fn told_to_stop() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        told.store(true, Ordering::Release);
    });
    stop
}

impl Station {
    fn transaction(&mut self, conn: &mut Connection) -> anyhow::Result<()> {
        self.number += 1;
        let done = self.attempt(conn);
        match (&done, &self.small_disk) {
            // Whether it was committed all the same, the file says.
            (Err(error), Some(db)) if is_full(error) => self.book.settle(&self.who, db),
            _ => done,
        }
    }

    fn attempt(&mut self, conn: &mut Connection) -> anyhow::Result<()> {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let deeds = self.write(&tx)?;
        self.book.begin(self.number, &deeds)?;
        if self.random.once_in(10) {
            // A slow program: here is where it is killed.
            std::thread::sleep(Duration::from_millis(20 + self.random.below(120)));
        }
        let gives_up = self.random.once_in(25);
        if gives_up {
            tx.rollback()?;
        } else {
            tx.commit()?;
        }
        self.book.end(self.number, !gives_up)
    }

    fn write(&mut self, tx: &Transaction<'_>) -> anyhow::Result<Vec<Deed>> {
        let mut deeds = match self.random.below(40) {
            0..=3 => self.correct(tx)?,
            4..=6 => self.remove(tx)?,
            7..=9 => self.order(tx)?,
            10..=12 => self.shared_order(tx)?,
            13 | 14 => self.product(tx)?,
            15 => self.setting(tx)?,
            16 => self.name(tx)?,
            17 | 18 => self.batch(tx)?,
            19 | 20 => self.damage(tx)?,
            _ => Vec::new(),
        };
        let (item, amount) = (self.line(tx)?, self.amount());
        deeds.extend(self.count(tx, &mark(&self.who, self.number), &item, amount)?);
        Ok(deeds)
    }

    fn amount(&mut self) -> i64 {
        i64::try_from(self.random.below(500)).unwrap_or(0) + 1
    }

    fn is_at_hub(&self) -> bool {
        self.who.starts_with(AT_HUB)
    }

    /// The end of the name of what is made on several nodes at the same time.
    fn shared(&self) -> String {
        format!("{}{}", if self.is_at_hub() { AT_HUB } else { "" }, self.number / SHARED_FOR)
    }

    /// A line to count on.
    fn line(&mut self, tx: &Transaction<'_>) -> anyhow::Result<String> {
        let sql = "SELECT inventory_item_id FROM po_lines WHERE inventory_item_id LIKE ?1 ORDER BY id";
        let mut lines = tx.prepare_cached(sql)?;
        let wanted = if self.random.once_in(4) { "%#%" } else { "common-%" };
        let lines: Vec<String> =
            lines.query_map([wanted], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let usable: Vec<String> =
            lines.into_iter().filter(|line| self.is_at_hub() || !line.starts_with(AT_HUB)).collect();
        if usable.is_empty() {
            return Ok("common-1".to_owned());
        }
        let place = usize::try_from(self.random.below(usable.len() as u64))?;
        Ok(usable[place].clone())
    }

    /// A submission and the count on its line.
    fn count(
        &mut self,
        tx: &Transaction<'_>,
        name: &str,
        item: &str,
        amount: i64,
    ) -> anyhow::Result<Vec<Deed>> {
        let row = self.submit(tx, name, item, amount)?;
        Ok(vec![row, self.add(tx, "good", item, amount)?])
    }

    fn submit(&self, tx: &Transaction<'_>, name: &str, item: &str, amount: i64) -> anyhow::Result<Deed> {
        let sql = "INSERT INTO warehouse_submissions(employee_name, product_name, receipt_number, inventory_item_id,
                     loose_tablets, assigned_po_id)
                   SELECT ?1, 'soak', ?2, ?3, ?4, po_id FROM po_lines WHERE inventory_item_id = ?3";
        tx.prepare_cached(sql)?.execute((&self.who, name, item, amount))?;
        Ok(Deed::set("row", name, row(item, amount)))
    }

    /// Every third time as a total that the program has computed itself.
    fn add(&mut self, tx: &Transaction<'_>, kind: &str, item: &str, amount: i64) -> anyhow::Result<Deed> {
        let column = format!("{kind}_count");
        if self.random.once_in(3) {
            let sql = format!("SELECT {column} FROM po_lines WHERE inventory_item_id = ?1");
            let total: i64 = tx.prepare_cached(&sql)?.query_row([item], |row| row.get(0))?;
            let sql = format!("UPDATE po_lines SET {column} = ?2 WHERE inventory_item_id = ?1");
            tx.prepare_cached(&sql)?.execute((item, total + amount))?;
        } else {
            let sql = format!("UPDATE po_lines SET {column} = {column} + ?2 WHERE inventory_item_id = ?1");
            tx.prepare_cached(&sql)?.execute((item, amount))?;
        }
        Ok(Deed::add(kind, item, amount))
    }

    fn damage(&mut self, tx: &Transaction<'_>) -> anyhow::Result<Vec<Deed>> {
        let (item, amount) = (self.line(tx)?, self.amount());
        Ok(vec![self.add(tx, "damaged", &item, amount)?])
    }

    /// A transaction of its own that is not long ago.
    fn earlier(&mut self) -> u64 {
        let oldest = self.number.saturating_sub(CORRECTED_FOR).max(1);
        oldest + self.random.below((self.number - oldest).max(1))
    }

    /// One of its own counts was wrong.
    fn correct(&mut self, tx: &Transaction<'_>) -> anyhow::Result<Vec<Deed>> {
        let earlier = self.earlier();
        let (name, amount) = (mark(&self.who, earlier), self.amount());
        let Some((item, old)) = counted(tx, &name)? else { return Ok(Vec::new()) };
        let sql = "UPDATE warehouse_submissions SET loose_tablets = ?2 WHERE receipt_number = ?1";
        tx.prepare_cached(sql)?.execute((&name, amount))?;
        Ok(vec![Deed::set("row", &name, row(&item, amount)), self.add(tx, "good", &item, amount - old)?])
    }

    /// A row of one of its batches goes, and its count with it.
    fn remove(&mut self, tx: &Transaction<'_>) -> anyhow::Result<Vec<Deed>> {
        let sql = "SELECT receipt_number FROM warehouse_submissions
                   WHERE receipt_number > ?1 AND receipt_number < ?2 AND instr(receipt_number, '/') > 0 LIMIT 1";
        // All that begin with the name and `#`.
        let between = (format!("{}#", self.who), format!("{}$", self.who));
        let found: Option<String> =
            tx.prepare_cached(sql)?.query_row(between, |row| row.get(0)).optional()?;
        let Some(name) = found else { return Ok(Vec::new()) };
        let Some((item, old)) = counted(tx, &name)? else { return Ok(Vec::new()) };
        tx.prepare_cached("DELETE FROM warehouse_submissions WHERE receipt_number = ?1")?.execute([&name])?;
        Ok(vec![Deed::gone("row", &name), self.add(tx, "good", &item, -old)?])
    }

    /// Many rows on one line.
    fn batch(&mut self, tx: &Transaction<'_>) -> anyhow::Result<Vec<Deed>> {
        let most = if self.random.once_in(8) { 400 } else { 20 };
        let (item, size) = (self.line(tx)?, 5 + self.random.below(most));
        let (mut deeds, mut sum) = (Vec::new(), 0);
        for part in 1..=size {
            let (name, amount) = (format!("{}/{part}", mark(&self.who, self.number)), self.amount());
            deeds.push(self.submit(tx, &name, &item, amount)?);
            sum += amount;
        }
        deeds.push(self.add(tx, "good", &item, sum)?);
        Ok(deeds)
    }

    /// An order that only this program makes.
    fn order(&mut self, tx: &Transaction<'_>) -> anyhow::Result<Vec<Deed>> {
        let name = mark(&self.who, self.number);
        tx.prepare_cached("INSERT INTO purchase_orders(po_number) VALUES (?1)")?.execute([&name])?;
        let mut deeds = vec![Deed::set("order", &name, 0)];
        for part in 0..=self.random.below(3) {
            deeds.extend(self.line_under(tx, &name, &format!("{name}:{part}"))?);
        }
        Ok(deeds)
    }

    fn line_under(&self, tx: &Transaction<'_>, order: &str, item: &str) -> anyhow::Result<Vec<Deed>> {
        let sql = "INSERT INTO po_lines(po_id, po_number, inventory_item_id)
                   SELECT id, po_number, ?2 FROM purchase_orders WHERE po_number = ?1";
        if tx.prepare_cached(sql)?.execute((order, item))? != 1 {
            bail!("there is no order {order}");
        }
        let of = |kind| Deed::set(kind, item, 0);
        Ok(vec![Deed::set("line", item, order), of("good"), of("damaged")])
    }

    /// An order that other programs make at about the same time: it is one, and its counts add.
    fn shared_order(&mut self, tx: &Transaction<'_>) -> anyhow::Result<Vec<Deed>> {
        let (name, amount) = (format!("shared-{}", self.shared()), self.amount());
        let sql = "INSERT INTO purchase_orders(po_number, current_good_count) VALUES (?1, ?2) ON CONFLICT(po_number)
                   DO UPDATE SET current_good_count = current_good_count + excluded.current_good_count";
        tx.prepare_cached(sql)?.execute((&name, amount))?;
        let mut deeds = vec![Deed::add("order", &name, amount)];
        deeds.extend(self.line_under(tx, &name, &format!("{}:s", mark(&self.who, self.number)))?);
        Ok(deeds)
    }

    /// A product of a kind of tablets that others may have made already.
    fn product(&self, tx: &Transaction<'_>) -> anyhow::Result<Vec<Deed>> {
        let (kind, name) = (format!("type-{}", self.shared()), mark(&self.who, self.number));
        tx.prepare_cached("INSERT OR IGNORE INTO tablet_types(tablet_type_name) VALUES (?1)")?
            .execute([&kind])?;
        let sql = "INSERT INTO product_details(product_name, tablet_type_id)
                   SELECT ?2, id FROM tablet_types WHERE tablet_type_name = ?1";
        tx.prepare_cached(sql)?.execute((&kind, &name))?;
        Ok(vec![Deed::set("type", &kind, 1), Deed::set("product", &name, &kind)])
    }

    fn setting(&self, tx: &Transaction<'_>) -> anyhow::Result<Vec<Deed>> {
        let key = format!("soak-{}", self.who);
        let sql = "INSERT OR REPLACE INTO app_settings(setting_key, setting_value) VALUES (?1, ?2)";
        tx.prepare_cached(sql)?.execute((&key, self.number.to_string()))?;
        Ok(vec![Deed::set("setting", &key, self.number)])
    }

    /// Everybody gives the same lines names.
    fn name(&mut self, tx: &Transaction<'_>) -> anyhow::Result<Vec<Deed>> {
        let (item, name) = (format!("common-{}", 1 + self.random.below(3)), mark(&self.who, self.number));
        let sql = "UPDATE po_lines SET line_item_name = ?2 WHERE inventory_item_id = ?1";
        tx.prepare_cached(sql)?.execute((&item, &name))?;
        Ok(vec![Deed::any("name", &item, &name)])
    }
}

/// SQLite has no room: for the log, or for what its connections share.
fn is_full(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code);
    matches!(code, Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure))
}

/// How the ledger writes a submission.
pub(super) fn row(item: &str, amount: i64) -> String {
    format!("{item} {amount}")
}

/// Line and count of a submission.
fn counted(tx: &Transaction<'_>, name: &str) -> rusqlite::Result<Option<(String, i64)>> {
    let sql = "SELECT inventory_item_id, loose_tablets FROM warehouse_submissions WHERE receipt_number = ?1";
    tx.prepare_cached(sql)?.query_row([name], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

/// Makes the lines that everybody counts on.
///
/// # Errors
/// When SQLite refuses.
pub(super) fn prepare(db: &Path, lines: u32) -> rusqlite::Result<()> {
    let conn = writer::open(db)?;
    conn.execute_batch(
        "CREATE INDEX soak_receipt ON warehouse_submissions(receipt_number);
         INSERT INTO purchase_orders(po_number) VALUES ('common')",
    )?;
    for number in 1..=lines {
        conn.execute(
            "INSERT INTO po_lines(po_id, po_number, inventory_item_id)
             SELECT id, po_number, ?1 FROM purchase_orders WHERE po_number = 'common'",
            [format!("common-{number}")],
        )?;
    }
    Ok(())
}

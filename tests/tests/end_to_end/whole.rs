//! A transaction of 50,000 rows is seen whole or not at all, on the hub and on another device, also when
//! the link is lost in the middle; and what has arrived by then is not sent again.

use crate::warehouse::{Done, Warehouse, sql, until_number};
use anyhow::{Context as _, ensure};
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use tt_tests::inspect;
use tt_tests::node::until;

/// Rows of the transaction, next to their purchase order.
const ROWS: i64 = 50_000;
/// Parent first, children after it; random text, so that packing does not make it small.
const LARGE: &str = "BEGIN IMMEDIATE;
    INSERT INTO purchase_orders(po_number) VALUES ('PO-LARGE');
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
    INSERT INTO po_lines(po_id, po_number, inventory_item_id, good_count, line_item_name)
    SELECT (SELECT id FROM purchase_orders WHERE po_number = 'PO-LARGE'), 'PO-LARGE', 'ITEM-' || i, i,
           hex(randomblob(12)) FROM n;
    COMMIT;";
const SEEN: &str = "SELECT COUNT(*) FROM po_lines WHERE po_number = 'PO-LARGE'";
const ORPHANS: &str = "SELECT COUNT(*) FROM pragma_foreign_key_check('po_lines')";
/// Bytes after which the link is lost: some pieces of the changeset are at the hub by then.
const LOST_AFTER_BYTES: u64 = 700_000;

#[test]
fn a_large_transaction_is_never_seen_in_part() -> Done {
    let warehouse = Warehouse::open()?;
    let (writes, reads) = (warehouse.linked("writes")?, warehouse.linked("reads")?);
    let watch = Watch::begin(vec![warehouse.hub.db(), reads.db()]);
    sql(&writes.db(), LARGE)?;
    writes.sync("60")?;
    reads.sync("60")?;
    watch.end()?;
    warehouse.agree(&[&writes, &reads])
}

#[test]
fn a_large_transaction_survives_losing_the_link_and_the_daemon() -> Done {
    let warehouse = Warehouse::open()?;
    let (mut writes, reads) = (warehouse.linked("writes")?, warehouse.linked("reads")?);
    let watch = Watch::begin(vec![warehouse.hub.db(), reads.db()]);
    let relay = &warehouse.relay;
    relay.cut_after(LOST_AFTER_BYTES);
    sql(&writes.db(), LARGE)?;
    until("the link is lost in the middle", || Ok(relay.is_cut().then_some(())))?;
    writes.daemon.take().context("it runs")?.kill()?;
    ensure!(inspect::number(&warehouse.hub.db(), SEEN)? == 0, "the hub cannot have all of it");
    let whole = inspect::number(&writes.db(), "SELECT SUM(LENGTH(bytes)) FROM _sync_piece")?.unsigned_abs();
    let sent = relay.sent();
    // The second loss hits the way from the hub to the other device.
    relay.mend();
    relay.cut_after(whole);
    writes.run()?;
    until("the link is lost again", || Ok(relay.is_cut().then_some(())))?;
    relay.mend();
    writes.sync("60")?;
    let again = relay.sent() - sent;
    println!("{whole} bytes in all; {again} sent after the link was lost");
    ensure!(again < whole - LOST_AFTER_BYTES / 3, "{again} of {whole} bytes were sent again");
    until_number(&reads.db(), SEEN, ROWS)?;
    watch.end()?;
    warehouse.agree(&[&writes, &reads])
}

/// Looks into files again and again, on connections of its own.
struct Watch {
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<anyhow::Result<u64>>>,
}

impl Watch {
    fn begin(files: Vec<PathBuf>) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let start = |file: PathBuf| {
            let ended = Arc::clone(&ended);
            std::thread::spawn(move || {
                let conn = inspect::open(&file)?;
                let mut looks = 0;
                while !ended.load(Ordering::SeqCst) {
                    look(&conn).with_context(|| format!("look {looks} into {}", file.display()))?;
                    looks += 1;
                }
                look(&conn).map(|()| looks)
            })
        };
        Self { threads: files.into_iter().map(start).collect(), ended }
    }

    fn end(self) -> Done {
        self.ended.store(true, Ordering::SeqCst);
        for thread in self.threads {
            let looks = thread.join().ok().context("a watcher broke")??;
            ensure!(looks > 2, "only {looks} looks");
        }
        Ok(())
    }
}

/// One moment of the file: nothing or everything, and no child without its parent.
fn look(conn: &Connection) -> Done {
    let moment = conn.unchecked_transaction()?;
    let seen: i64 = moment.query_row(SEEN, [], |row| row.get(0))?;
    ensure!(seen == 0 || seen == ROWS, "{seen} of {ROWS} rows are there");
    let orphans: i64 = moment.query_row(ORPHANS, [], |row| row.get(0))?;
    ensure!(orphans == 0, "{orphans} rows are there before their parent");
    Ok(())
}

//! How far devices are with their blocks of ids, as the hub's rows show it.

use rusqlite::{Connection, OptionalExtension as _};
use std::collections::BTreeMap;
use tt_migrations::quote::ident;
use tt_migrations::replica::{Replica, Tracked};
use tt_protocol::ids::{IdBlock, TICK};
use tt_protocol::number::EdgeId;

/// The largest share that each device has used of a block of the newest tick, in whichever table, 0 to 1. A device
/// without a row there begins a new block.
pub(crate) fn used(conn: &Connection, replica: &Replica) -> rusqlite::Result<BTreeMap<EdgeId, f64>> {
    let mut used = BTreeMap::new();
    for tracked in replica.tables.values().filter(|tracked| tracked.table.rowid_key) {
        in_table(conn, tracked, &mut used)?;
    }
    Ok(used)
}

/// From block to block, not from row to row: two steps into the table for each device that has rows.
fn in_table(conn: &Connection, tracked: &Tracked, used: &mut BTreeMap<EdgeId, f64>) -> rusqlite::Result<()> {
    let table = ident(&tracked.table.name);
    let largest: Option<i64> =
        conn.query_row(&format!("SELECT max(_rowid_) FROM {table}"), [], |row| row.get(0))?;
    let mut first =
        conn.prepare(&format!("SELECT _rowid_ FROM {table} WHERE _rowid_ > ?1 ORDER BY _rowid_ LIMIT 1"))?;
    let mut last = conn
        .prepare(&format!("SELECT _rowid_ FROM {table} WHERE _rowid_ <= ?1 ORDER BY _rowid_ DESC LIMIT 1"))?;
    let mut after = largest.map_or(0, |largest| largest.max(0) / TICK * TICK - 1);
    while let Some(id) = first.query_row([after], |row| row.get::<_, i64>(0)).optional()? {
        // Ids beyond the last of all blocks are a program's own.
        let Some(owner) = IdBlock::owner(id) else { break };
        let Some(block) = IdBlock::containing(id, owner) else { break };
        let top: i64 = last.query_row([block.last()], |row| row.get(0))?;
        let share = (top - block.first() + 1) as f64 / (block.last() - block.first() + 1) as f64;
        let known = used.entry(owner).or_insert(0.0);
        *known = share.max(*known);
        after = block.last();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::HubStore;
    use tt_migrations::policy;

    #[test]
    fn only_the_newest_tick_counts_and_the_fullest_table_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hub.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch(
            "CREATE TABLE a(id INTEGER PRIMARY KEY AUTOINCREMENT); CREATE TABLE b(id INTEGER PRIMARY KEY AUTOINCREMENT);
             CREATE TABLE empty(id INTEGER PRIMARY KEY AUTOINCREMENT);",
        )
        .unwrap();
        let store = HubStore::open(&path, policy::parse("none", "").unwrap()).unwrap();
        let block = |largest, device| IdBlock::above(largest, EdgeId(device)).unwrap();
        let whole = block(0, 1).last() - block(0, 1).first() + 1;
        let add =
            |table: &str, id: i64| conn.execute(&format!("INSERT INTO {table} VALUES (?1)"), [id]).unwrap();
        // The first device has filled a block that nobody will write into again.
        add("a", block(0, 1).last());
        let next = block(TICK, 1);
        add("a", next.first());
        add("a", next.first() + whole / 2 - 1);
        add("a", block(TICK, 2).first());
        add("b", block(0, 2).first() + whole / 4 - 1);
        let used = used(&conn, store.replica()).unwrap();
        let share = |device| (used[&EdgeId(device)] * 1_000.0).round();
        assert_eq!((share(1), share(2), used.len()), (500.0, 250.0, 2), "{used:?}");
    }
}

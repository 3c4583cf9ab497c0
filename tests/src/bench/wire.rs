//! Bytes of changesets per row, as they lie in the outbox and go on the wire.

use super::rows;
use rusqlite::Connection;
use tt_edge::store::EdgeStore;
use tt_hub::store::{HubStore, snapshot};
use tt_migrations::policy;
use tt_protocol::number::{EdgeId, Millis};

/// Prints bytes per row for several sizes of a batch.
///
/// # Errors
/// When SQLite refuses.
pub fn measure(count: u32) -> anyhow::Result<()> {
    println!("Bytes per row in a changeset");
    let dir = tempfile::tempdir()?;
    let (hub, edge) = (dir.path().join("hub.db"), dir.path().join("edge.db"));
    rows::database(&hub)?;
    drop(HubStore::open(&hub, policy::shipped())?);
    snapshot::write(&hub, &edge)?;
    let mut store = EdgeStore::adopt(&edge, policy::shipped(), EdgeId(1))?;
    for batch in [1, 10, 100, 1_000, count] {
        let mut program = Connection::open(&edge)?;
        let tx = program.transaction()?;
        rows::insert(&tx, batch, u64::from(batch))?;
        tx.commit()?;
        println!("  {:<58} {:>9.1} bytes", format!("inserts, {batch} rows"), per_row(&mut store, batch)?);
    }
    let program = Connection::open(&edge)?;
    let rows = program.execute("UPDATE warehouse_submissions SET loose_tablets = loose_tablets + 3", [])?;
    let rows = u32::try_from(rows)?;
    println!(
        "  {:<58} {:>9.1} bytes",
        format!("one changed column, {rows} rows"),
        per_row(&mut store, rows)?
    );
    Ok(())
}

fn per_row(store: &mut EdgeStore, rows: u32) -> anyhow::Result<f64> {
    let Some(cut) = store.cut(Millis(1_800_000_000_000))? else { anyhow::bail!("there is something to cut") };
    let sql = "SELECT SUM(LENGTH(bytes)) FROM _sync_piece WHERE seq = ?1";
    let bytes: i64 = store.connection().query_row(sql, [i64::try_from(cut.seq.0)?], |row| row.get(0))?;
    Ok(bytes as f64 / f64::from(rows))
}

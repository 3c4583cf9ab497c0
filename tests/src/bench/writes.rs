//! A program's own writes: with capture installed and the daemon idle, against the same file without.

use super::figure::{Figure, print, time};
use super::rows;
use rusqlite::Connection;
use std::path::Path;
use std::time::Duration;
use tt_edge::store::EdgeStore;
use tt_hub::store::{HubStore, snapshot};
use tt_migrations::policy;
use tt_protocol::number::EdgeId;

/// Prints the ratios: 1 is as fast as plain SQLite.
///
/// # Errors
/// When SQLite refuses.
pub fn measure(runs: usize, count: u32) -> anyhow::Result<()> {
    println!("Local writes with capture, as a share of plain SQLite's speed ({count} rows, {runs} runs)");
    let mut ratios = [const { Figure(Vec::new()) }; 4];
    let mut growth = Figure::default();
    for _ in 0..runs {
        let dir = tempfile::tempdir()?;
        let (plain, captured) = pair(dir.path())?;
        let (a, b) = (work(&plain, count)?, work(&captured, count)?);
        for ((ratio, a), b) in ratios.iter_mut().zip(a).zip(b) {
            ratio.add(a.as_secs_f64() / b.as_secs_f64());
        }
        growth.add(size(&captured)? / size(&plain)?);
    }
    let names = [
        "inserts in one transaction",
        "first-touch updates in one transaction",
        "repeated updates",
        "one-row commits",
    ];
    for (name, ratio) in names.iter().zip(&ratios) {
        print(name, ratio, "x");
    }
    print("file size, every row touched again and uncut", &growth, "x");
    Ok(())
}

/// A plain file and a joined edge with the same rows.
fn pair(dir: &Path) -> anyhow::Result<(std::path::PathBuf, std::path::PathBuf)> {
    let (hub, plain, edge) = (dir.join("hub.db"), dir.join("plain.db"), dir.join("edge.db"));
    rows::database(&hub)?;
    std::fs::copy(&hub, &plain)?;
    Connection::open(&plain)?.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    drop(HubStore::open(&hub, policy::shipped())?);
    snapshot::write(&hub, &edge)?;
    drop(EdgeStore::adopt(&edge, policy::shipped(), EdgeId(1))?);
    Ok((plain, edge))
}

fn work(path: &Path, count: u32) -> anyhow::Result<[Duration; 4]> {
    let mut conn = Connection::open(path)?;
    conn.pragma_update(None, "synchronous", "NORMAL")?;
    let mut bulk = |sql: Option<&str>| -> anyhow::Result<Duration> {
        let (done, taken) = time(|| -> anyhow::Result<()> {
            let tx = conn.transaction()?;
            match sql {
                None => rows::insert(&tx, count, 1)?,
                Some(sql) => update_each(&tx, sql, count)?,
            }
            Ok(tx.commit()?)
        });
        done?;
        Ok(taken)
    };
    let insert = bulk(None)?;
    bulk_stale(path)?;
    let touch = "UPDATE warehouse_submissions SET loose_tablets = loose_tablets + 1 WHERE id = ?1";
    let first = bulk(Some(touch))?;
    let again = bulk(Some(touch))?;
    let (done, single) = time(|| singles(path));
    done?;
    Ok([insert, first, again, single])
}

/// Makes the inserted rows old ones, as they are after they were handed in: a cut, where there is one.
fn bulk_stale(path: &Path) -> anyhow::Result<()> {
    let known: bool = Connection::open(path)?.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_sync_state')",
        [],
        |row| row.get(0),
    )?;
    if known {
        let mut store = EdgeStore::open(path, policy::shipped())?;
        store.cut(tt_protocol::number::Millis(0))?;
        store.checkpoint()?;
    }
    Ok(())
}

fn update_each(tx: &rusqlite::Transaction<'_>, sql: &str, count: u32) -> anyhow::Result<()> {
    let first: i64 = tx.query_row("SELECT MIN(id) FROM warehouse_submissions", [], |row| row.get(0))?;
    let mut update = tx.prepare_cached(sql)?;
    for id in first..first + i64::from(count) {
        update.execute([id])?;
    }
    Ok(())
}

fn singles(path: &Path) -> anyhow::Result<()> {
    let mut conn = Connection::open(path)?;
    conn.pragma_update(None, "synchronous", "NORMAL")?;
    for seed in 0..2_000 {
        let tx = conn.transaction()?;
        rows::insert(&tx, 1, seed)?;
        tx.commit()?;
    }
    Ok(())
}

fn size(path: &Path) -> anyhow::Result<f64> {
    let conn = Connection::open(path)?;
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(std::fs::metadata(path)?.len() as f64)
}

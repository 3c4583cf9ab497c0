//! A backlog: what a device counted while it was away, handed in, and fetched by another device.
//! Real processes over loopback QUIC; the time runs from the start of `sync` to its end.

use super::figure::{Figure, print, time};
use super::rows;
use crate::inspect;
use crate::node::{Edge, Hub, Program};
use rusqlite::Connection;

/// Prints rows per second, and the share of plain bulk inserts.
///
/// # Errors
/// When a process or SQLite fails.
pub fn measure(program: &Program, runs: usize, count: u32) -> anyhow::Result<()> {
    println!("A backlog of {count} rows ({runs} runs)");
    let [mut plain, mut up, mut down, mut up_ratio, mut down_ratio] = [const { Figure(Vec::new()) }; 5];
    for _ in 0..runs {
        let (bulk, there, back) = once(program, count)?;
        let speed = |seconds: f64| f64::from(count) / seconds / 1000.0;
        plain.add(speed(bulk));
        up.add(speed(there));
        down.add(speed(back));
        up_ratio.add(bulk / there);
        down_ratio.add(bulk / back);
    }
    print("plain SQLite, bulk insert, synchronous = FULL", &plain, "thousand rows/s");
    print("edge to hub: cut, push, merge, acknowledge", &up, "thousand rows/s");
    print("  as a share of plain", &up_ratio, "x");
    print("hub to a returning edge: feed, apply", &down, "thousand rows/s");
    print("  as a share of plain", &down_ratio, "x");
    Ok(())
}

fn once(program: &Program, count: u32) -> anyhow::Result<(f64, f64, f64)> {
    let dir = tempfile::tempdir()?;
    let seed = dir.path().join("seed.db");
    rows::database(&seed)?;
    let plain = insert(&seed, count)?;
    let clean = dir.path().join("clean.db");
    rows::database(&clean)?;
    let mut hub = Hub::init(program, &dir.path().join("hub"), Some(&clean))?;
    hub.serve("127.0.0.1:0", &[])?;
    let away = Edge::join(program, &dir.path().join("away"), &hub.invite("away")?)?;
    let other = Edge::join(program, &dir.path().join("other"), &hub.invite("other")?)?;
    insert(&away.db(), count)?;
    let (sent, there) = time(|| away.sync("120"));
    sent?;
    let (fetched, back) = time(|| other.sync("120"));
    fetched?;
    let arrived = inspect::number(&other.db(), "SELECT COUNT(*) FROM warehouse_submissions")?;
    anyhow::ensure!(arrived == i64::from(count), "{arrived} of {count} rows arrived");
    Ok((plain, there.as_secs_f64(), back.as_secs_f64()))
}

fn insert(path: &std::path::Path, count: u32) -> anyhow::Result<f64> {
    let mut conn = Connection::open(path)?;
    conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    let (done, taken) = time(|| {
        let tx = conn.transaction()?;
        rows::insert(&tx, count, 7)?;
        tx.commit()
    });
    done?;
    Ok(taken.as_secs_f64())
}

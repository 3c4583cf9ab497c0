//! Live: from a commit on one device to its being visible in another device's file, through the hub.
//! Three daemons as real processes; the hub commits with `synchronous = FULL`.

use super::figure::{Figure, print, time};
use super::rows;
use crate::node::{Edge, Hub, Program, until};
use rusqlite::Connection;
use std::time::{Duration, Instant};

/// Commits measured per run.
const COMMITS: u32 = 200;
/// Pause between commits: each stands alone.
const PAUSE: Duration = Duration::from_millis(20);

/// Prints quantiles of the latency, and a plain commit beside it.
///
/// # Errors
/// When a process or SQLite fails.
pub fn measure(program: &Program, runs: usize) -> anyhow::Result<()> {
    println!("Live: commit on A to visible on B, single rows ({COMMITS} commits, {runs} runs)");
    let [mut half, mut most, mut plain] = [const { Figure(Vec::new()) }; 3];
    for _ in 0..runs {
        let (latency, commit) = once(program)?;
        half.add(latency.quantile(0.5));
        most.add(latency.quantile(0.99));
        plain.add(commit.quantile(0.5));
    }
    print("a commit in plain SQLite, synchronous = FULL, median", &plain, "ms");
    print("A to B, median", &half, "ms");
    print("A to B, 99 of 100", &most, "ms");
    Ok(())
}

fn once(program: &Program) -> anyhow::Result<(Figure, Figure)> {
    let dir = tempfile::tempdir()?;
    let seed = dir.path().join("seed.db");
    rows::database(&seed)?;
    let mut hub = Hub::init(program, &dir.path().join("hub"), Some(&seed))?;
    hub.serve("127.0.0.1:0", &[])?;
    let mut edges = Vec::new();
    for name in ["a", "b"] {
        let mut edge = Edge::join(program, &dir.path().join(name), &hub.invite(name)?)?;
        edge.run()?;
        until("the device is linked", || Ok((edge.status()?["connected"] == true).then_some(())))?;
        edges.push(edge);
    }
    let plain = commits(&seed, None)?;
    let latency = commits(&edges[0].db(), Some(&edges[1].db()))?;
    Ok((latency, plain))
}

/// Milliseconds of each commit, or, with another file, until the row is visible there.
fn commits(path: &std::path::Path, other: Option<&std::path::Path>) -> anyhow::Result<Figure> {
    let mut conn = Connection::open(path)?;
    conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    let watch = other.map(crate::inspect::open).transpose()?;
    let mut figure = Figure::default();
    for seed in 0..COMMITS {
        let (id, taken) = time(|| -> rusqlite::Result<i64> {
            let tx = conn.transaction()?;
            rows::insert(&tx, 1, u64::from(seed))?;
            let id = tx.last_insert_rowid();
            tx.commit()?;
            Ok(id)
        });
        let id = id?;
        let after = watch.as_ref().map(|watch| visible(watch, id)).transpose()?;
        figure.add(after.unwrap_or(taken).as_secs_f64() * 1000.0);
        std::thread::sleep(PAUSE);
    }
    Ok(figure)
}

fn visible(watch: &Connection, id: i64) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    let mut seen = watch.prepare("SELECT 1 FROM warehouse_submissions WHERE id = ?1")?;
    while !seen.exists([id])? {
        anyhow::ensure!(begin.elapsed() < crate::node::PATIENCE, "row {id} does not arrive");
        std::thread::sleep(Duration::from_micros(100));
    }
    Ok(begin.elapsed())
}

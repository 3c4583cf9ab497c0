//! The journal: what a row costs in it, how far the second vault is behind, how fast it is replayed; and how long a
//! program at the hub waits for its commits while a backup is made, beside the same program with nothing going on.

use super::backup::filled;
use super::figure::{Figure, print, time};
use super::rows;
use crate::node::{Edge, Hub, Program, until};
use rusqlite::{Connection, TransactionBehavior};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::DirEntry;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Small commits that are measured one by one.
const COMMITS: u32 = 100;
/// Between two commits of the program at the hub.
const PAUSE: Duration = Duration::from_millis(5);
/// How long the program writes with nothing else going on.
const IDLE: Duration = Duration::from_secs(4);

/// Prints bytes, seconds and ratios. `count` rows are in bulk; `size` submissions are in the database of the backup.
///
/// # Errors
/// When a process or SQLite fails.
pub fn measure(program: &Program, runs: usize, count: u32, size: u32) -> anyhow::Result<()> {
    println!("The journal, {count} rows in bulk and {COMMITS} single ones ({runs} runs)");
    let [mut bulk, mut small, mut lag, mut replay] = [const { Figure(Vec::new()) }; 4];
    for _ in 0..runs {
        let once = costs(program, count, &mut lag)?;
        bulk.add(once.bulk);
        small.add(once.small);
        replay.add(once.replay_s / f64::from(count) * 100_000.0);
    }
    print("bytes of a row in bulk", &bulk, "bytes");
    print("bytes of a commit of one row", &small, "bytes");
    print("from the commit to the second vault, all of them", &lag, "s");
    println!("  {:<58} {:>9.2} s", "  99 of 100 within", lag.quantile(0.99));
    print("a restore by replay, less one without, per 100,000 rows", &replay, "s");
    println!("Commits at the hub of one row each, {size} submissions there ({runs} runs)");
    let [mut idle, mut during, mut longest, mut ratio] = [const { Figure(Vec::new()) }; 4];
    for _ in 0..runs {
        let (quiet, busy) = commits(program, size)?;
        idle.add(quiet.quantile(0.99) * 1e3);
        during.add(busy.quantile(0.99) * 1e3);
        longest.add(busy.quantile(1.0) * 1e3);
        ratio.add(busy.quantile(0.99) / quiet.quantile(0.99));
    }
    print("99 of 100 within, nothing else going on", &idle, "ms");
    print("99 of 100 within, while a backup is made", &during, "ms");
    print("  against nothing going on", &ratio, "x");
    print("the longest one meanwhile", &longest, "ms");
    Ok(())
}

struct Costs {
    bulk: f64,
    small: f64,
    replay_s: f64,
}

fn costs(program: &Program, count: u32, lag: &mut Figure) -> anyhow::Result<Costs> {
    let dir = tempfile::tempdir()?;
    let seed = dir.path().join("seed.db");
    rows::database(&seed)?;
    let mut hub = Hub::init(program, &dir.path().join("hub"), Some(&seed))?;
    hub.serve("127.0.0.1:0", &[])?;
    let mut edge = Edge::join(program, &dir.path().join("edge"), &hub.invite("edge")?)?;
    let made = program.must("hub", &hub.dir, &["backup", "--tier", "hourly", "--json"])?;
    let id: serde_json::Value = serde_json::from_str(&made)?;
    let id = id["id"].as_str().unwrap_or_default().to_owned();
    let own = hub.dir.join("journal");
    let mut conn = Connection::open(edge.db())?;
    let before = size(&own)?;
    let tx = conn.transaction()?;
    rows::insert(&tx, count, 7)?;
    tx.commit()?;
    edge.sync("120")?;
    let after = size(&own)?;
    edge.run()?;
    let second = hub.dir.join("backups/secondary/journal");
    caught_up(&own, &second)?;
    for number in 0..COMMITS {
        let (mine, theirs) = (files(&own)?, files(&second)?);
        let tx = conn.transaction()?;
        rows::insert(&tx, 1, u64::from(number))?;
        tx.commit()?;
        let begin = Instant::now();
        // The hub has it when its own journal has grown; then it is the vault's turn, which may also put parts together.
        until("the hub has it", || Ok((files(&own)? != mine).then_some(())))?;
        until("the second vault has it", || Ok((files(&second)? != theirs).then_some(())))?;
        lag.add(begin.elapsed().as_secs_f64());
    }
    let small = size(&own)? - after;
    let restored = |what: &[&str]| {
        let (done, taken) =
            time(|| program.must("hub", &hub.dir, &[&["restore"][..], what, &["--force"]].concat()));
        done.map(|_| taken.as_secs_f64())
    };
    let with_replay = restored(&["--at", "2100-01-01T00:00:00Z"])?;
    let without = restored(&[&id])?;
    Ok(Costs {
        bulk: (after - before) as f64 / f64::from(count),
        small: small as f64 / f64::from(COMMITS),
        replay_s: with_replay - without,
    })
}

fn caught_up(own: &Path, vault: &Path) -> anyhow::Result<()> {
    until("the second vault has the journal", || Ok((size(vault).unwrap_or(0) >= size(own)?).then_some(())))
}

/// A folder's files with their sizes.
fn files(folder: &Path) -> anyhow::Result<BTreeMap<OsString, u64>> {
    let sized = |entry: std::io::Result<DirEntry>| {
        let entry = entry?;
        // A part may be put together with others right now.
        Ok((entry.file_name(), entry.metadata().map_or(0, |meta| meta.len())))
    };
    std::fs::read_dir(folder)?.map(sized).collect()
}

/// All bytes of a folder's files.
fn size(folder: &Path) -> anyhow::Result<u64> {
    Ok(files(folder)?.values().sum())
}

/// How long commits take with nothing going on, and while a backup is made.
fn commits(program: &Program, count: u32) -> anyhow::Result<(Figure, Figure)> {
    let dir = tempfile::tempdir()?;
    let mut hub = filled(program, dir.path(), count)?;
    hub.serve("127.0.0.1:0", &[])?;
    let mut conn = Connection::open(hub.db())?;
    conn.busy_timeout(Duration::from_secs(60))?;
    let (mut idle, mut busy) = (Figure::default(), Figure::default());
    let begin = Instant::now();
    while begin.elapsed() < IDLE {
        commit(&mut conn, &mut idle)?;
    }
    let mut backup = program.command("hub", &hub.dir, &["backup", "--tier", "hourly"]);
    let mut backup = backup.stdout(Stdio::null()).spawn()?;
    while backup.try_wait()?.is_none() {
        commit(&mut conn, &mut busy)?;
    }
    anyhow::ensure!(backup.wait()?.success(), "the backup failed");
    Ok((idle, busy))
}

fn commit(conn: &mut Connection, figure: &mut Figure) -> anyhow::Result<()> {
    let (done, taken) = time(|| {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        rows::insert(&tx, 1, 3)?;
        tx.commit()
    });
    done?;
    figure.add(taken.as_secs_f64());
    std::thread::sleep(PAUSE);
    Ok(())
}

//! A file of scanned lines: `tt-edge import` from its start to its end, against the same lines read and inserted by the
//! same driver into a plain file, and what a program waits that writes meanwhile.

use super::figure::{Figure, print, time};
use super::rows;
use crate::node::{Edge, Hub, Program};
use anyhow::Context as _;
use rusqlite::{Connection, Transaction, params_from_iter};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Lines of the largest file that the inbox takes, about.
const LINES: u32 = 30_000;
/// Between two of a program's writes, and two looks at the process.
const PAUSE: Duration = Duration::from_millis(5);
/// A program's patience is not what is measured.
const PATIENCE: Duration = Duration::from_secs(600);

const COLUMNS: &str = "employee_name,product_name,box_number,bag_number,displays_made,packs_remaining,receipt_number,submission_date";

/// Prints speed, its share of plain SQLite's, memory, and the longest wait of a program.
///
/// # Errors
/// When a process or SQLite fails.
pub fn measure(program: &Program, runs: usize) -> anyhow::Result<()> {
    println!("A file of {LINES} lines by tt-edge import ({runs} runs)");
    let [mut plain, mut speed, mut ratio, mut memory, mut wait] = [const { Figure(Vec::new()) }; 5];
    for _ in 0..runs {
        let once = once(program)?;
        plain.add(f64::from(LINES) / once.plain / 1000.0);
        speed.add(f64::from(LINES) / once.import / 1000.0);
        ratio.add(once.plain / once.import);
        memory.add(once.memory_kb / 1024.0);
        wait.add(once.wait);
    }
    print("plain SQLite, the same lines in one transaction", &plain, "thousand lines/s");
    print("tt-edge import, its start included", &speed, "thousand lines/s");
    print("  as a share of plain", &ratio, "x");
    print("most memory, with the pages of its program", &memory, "MiB");
    print("longest wait of a program that writes meanwhile", &wait, "s");
    Ok(())
}

struct Once {
    plain: f64,
    import: f64,
    memory_kb: f64,
    wait: f64,
}

fn once(program: &Program) -> anyhow::Result<Once> {
    let dir = tempfile::tempdir()?;
    let (seed, file) = (dir.path().join("seed.db"), dir.path().join("scans.csv"));
    rows::database(&seed)?;
    fs::write(&file, text()?)?;
    let mut hub = Hub::init(program, &dir.path().join("hub"), Some(&seed))?;
    hub.serve("127.0.0.1:0", &[])?;
    let edge = Edge::join(program, &dir.path().join("edge"), &hub.invite("edge")?)?;
    let name = file.to_string_lossy();
    let mut command =
        program.command("edge", &edge.dir, &["import", name.as_ref(), "--table", "warehouse_submissions"]);
    let done = AtomicBool::new(false);
    let (import, memory_kb, wait) = thread::scope(|scope| {
        let writer = scope.spawn(|| longest_write(&edge.db(), &done));
        let (watched, import) = time(|| watch(command.stdout(Stdio::null()).spawn()?));
        done.store(true, Ordering::Relaxed);
        let wait = writer.join().map_err(|_| anyhow::anyhow!("the writing program panicked"))??;
        anyhow::Ok((import.as_secs_f64(), watched?, wait))
    })?;
    Ok(Once { plain: plainly(&seed, &file)?, import, memory_kb, wait })
}

fn text() -> anyhow::Result<String> {
    let mut text = format!("{COLUMNS}\n");
    for line in 0..LINES {
        let (bag, minute) = (line % 300, line % 60);
        writeln!(
            text,
            "Employee {},Hyroxi Blue {}ct,{},{bag},{minute},{},R-{line:08},2026-11-27",
            line % 37,
            line % 91,
            line % 40,
            line % 12
        )?;
    }
    Ok(text)
}

/// Waits for the end of the process. Gives the most memory that it had.
fn watch(mut child: Child) -> anyhow::Result<f64> {
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0.0_f64;
    let outcome = loop {
        if let Ok(text) = fs::read_to_string(&status) {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
            most = most.max(kilobytes.unwrap_or(0.0));
        }
        match child.try_wait()? {
            None => thread::sleep(PAUSE),
            Some(outcome) => break outcome,
        }
    };
    anyhow::ensure!(outcome.success(), "tt-edge import ended with {outcome}");
    Ok(most)
}

/// Writes one row after another as a program does, until `done`. Gives the longest time that one took, in seconds.
fn longest_write(db: &Path, done: &AtomicBool) -> anyhow::Result<f64> {
    let conn = Connection::open(db)?;
    conn.busy_timeout(PATIENCE)?;
    let mut longest = Duration::ZERO;
    while !done.load(Ordering::Relaxed) {
        let begun = Instant::now();
        conn.execute(
            "INSERT INTO machine_counts(machine_count, employee_name, count_date) VALUES (1, 'Ana', '2026-11-27')",
            [],
        )?;
        longest = longest.max(begun.elapsed());
        thread::sleep(PAUSE);
    }
    Ok(longest.as_secs_f64())
}

/// The same lines into a plain file, in one transaction; in seconds.
fn plainly(db: &Path, file: &Path) -> anyhow::Result<f64> {
    let mut conn = Connection::open(db)?;
    conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    let (done, taken) = time(|| {
        let text = fs::read_to_string(file)?;
        let tx = conn.transaction()?;
        insert(&tx, &text)?;
        anyhow::Ok(tx.commit()?)
    });
    done?;
    Ok(taken.as_secs_f64())
}

fn insert(tx: &Transaction<'_>, text: &str) -> anyhow::Result<()> {
    let mut lines = text.lines();
    let header = lines.next().context("a header")?;
    let places = vec!["?"; header.split(',').count()].join(", ");
    let mut insert = tx.prepare(&format!("INSERT INTO warehouse_submissions({header}) VALUES ({places})"))?;
    for line in lines {
        insert.execute(params_from_iter(line.split(',')))?;
    }
    Ok(())
}

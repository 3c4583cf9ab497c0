//! A whole backup and a restore, by the commands that an operator types: two vaults, every copy read back, every
//! check of SQLite's. Beside them what one thread of `zlib-rs`, the `gzip` command and SQLite's own
//! backup take for the same file in the same run; and restic, where it is installed: one place instead of two, and its
//! own reading back.

use super::figure::{Figure, print, time};
use super::rows;
use crate::node::{Hub, Program};
use crate::sim::random::Random;
use flate2::Compression;
use flate2::write::GzEncoder;
use rusqlite::{Connection, Transaction};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// As programs have them: a database without indexes is checked too easily, and one without receipts that nobody
/// can guess is compressed too easily.
const RECEIPTS: &str = "
    CREATE TABLE receipts(submission_id INTEGER PRIMARY KEY REFERENCES warehouse_submissions(id), receipt TEXT NOT NULL);";
const INDEXES: &str = "
    CREATE UNIQUE INDEX ix_receipts ON receipts(receipt);
    CREATE INDEX ix_ws_assigned_po_id ON warehouse_submissions(assigned_po_id);
    CREATE INDEX ix_ws_created_at ON warehouse_submissions(created_at);
    CREATE INDEX ix_ws_item ON warehouse_submissions(inventory_item_id);";
/// Between two looks at the memory of a process.
const LOOK: Duration = Duration::from_millis(2);

/// Prints seconds and ratios for a database of `count` submissions.
///
/// # Errors
/// When a process or SQLite fails.
pub fn measure(program: &Program, runs: usize, count: u32) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let hub = filled(program, dir.path(), count)?;
    let plain = dir.path().join("plain.db");
    copy(&hub.db(), &plain)?;
    let bytes = fs::metadata(&plain)?.len();
    println!("A verified backup of {count} submissions, {:.1} MB ({runs} runs)", bytes as f64 / 1e6);
    let [mut online, mut one, mut command, mut whole, mut restored] = [const { Figure(Vec::new()) }; 5];
    let [mut to_one, mut to_command, mut memory, mut by_restic] = [const { Figure(Vec::new()) }; 4];
    for _ in 0..runs {
        let (copied, taken) = time(|| copy(&hub.db(), &plain));
        copied?;
        online.add(taken.as_secs_f64());
        let single = one_thread(&plain, &dir.path().join("one.gz"))?.as_secs_f64();
        let gzip = gzip_command(&plain)?.as_secs_f64();
        let (backup, peak) = peak(&mut program.command("hub", &hub.dir, &["backup", "--tier", "hourly"]))?;
        let backup = backup.as_secs_f64();
        if let Some(taken) = restic(&plain)? {
            by_restic.add(taken.as_secs_f64());
        }
        one.add(single);
        command.add(gzip);
        whole.add(backup);
        to_one.add(backup / single);
        to_command.add(backup / gzip);
        memory.add(peak);
        restored.add(restore(program, &hub)?.as_secs_f64());
    }
    print("SQLite's own backup, nothing compressed or checked", &online, "s");
    print("gzip of the file, one thread of zlib-rs at level 6", &one, "s");
    print("gzip -6 of the file, the command", &command, "s");
    match by_restic.median() {
        median if median.is_nan() => println!("  restic is not installed"),
        _ => print("restic: backup into one new place, check --read-data", &by_restic, "s"),
    }
    print("the whole backup: two vaults, every copy read back", &whole, "s");
    print("  against one thread", &to_one, "x");
    print("  against the command", &to_command, "x");
    print("  most memory while it ran", &memory, "MiB");
    print("restore of it, the present state kept and verified first", &restored, "s");
    let ratio = fs::metadata(dir.path().join("one.gz"))?.len() as f64 / bytes as f64;
    println!("  {:<58} {ratio:>9.3}", "compressed size, of the file");
    Ok(())
}

/// A hub that has adopted a file with these rows.
pub(super) fn filled(program: &Program, dir: &Path, count: u32) -> anyhow::Result<Hub> {
    let seed = dir.join("seed.db");
    rows::database(&seed)?;
    let mut conn = Connection::open(&seed)?;
    let tx = conn.transaction()?;
    rows::insert(&tx, count, 7)?;
    tx.execute_batch(RECEIPTS)?;
    receipts(&tx, count)?;
    tx.commit()?;
    conn.execute_batch(INDEXES)?;
    drop(conn);
    let hub = Hub::init(program, &dir.join("hub"), Some(&seed))?;
    fs::remove_file(&seed)?;
    Ok(hub)
}

/// A random name for each submission, as programs that work offline give them.
fn receipts(tx: &Transaction<'_>, count: u32) -> rusqlite::Result<()> {
    let mut random = Random::new(11);
    let mut insert = tx.prepare("INSERT INTO receipts VALUES (?1, ?2)")?;
    for number in 1..=i64::from(count) {
        let (a, b) = (random.below(1 << 62), random.below(1 << 62));
        let receipt = format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            a >> 30,
            a >> 14 & 0xffff,
            a & 0xfff,
            b & 0xfff,
            b >> 14
        );
        insert.execute(rusqlite::params![number, receipt])?;
    }
    Ok(())
}

/// SQLite's own backup, in one step.
fn copy(from: &Path, to: &Path) -> rusqlite::Result<()> {
    let mut target = Connection::open(to)?;
    rusqlite::backup::Backup::new(&Connection::open(from)?, &mut target)?.step(-1).map(drop)
}

fn one_thread(plain: &Path, to: &Path) -> anyhow::Result<Duration> {
    let (done, taken) = time(|| {
        let mut encoder = GzEncoder::new(File::create(to)?, Compression::new(6));
        io::copy(&mut io::BufReader::with_capacity(128 << 10, File::open(plain)?), &mut encoder)?;
        encoder.finish()
    });
    done?;
    Ok(taken)
}

fn gzip_command(plain: &Path) -> anyhow::Result<Duration> {
    let mut gzip = Command::new("gzip");
    gzip.args(["-6", "-c"]).arg(plain).stdin(Stdio::null()).stdout(Stdio::null());
    let (status, taken) = time(|| gzip.status());
    anyhow::ensure!(status?.success(), "gzip failed");
    Ok(taken)
}

/// A backup of the file by restic into a new repository, read back; None where restic is not installed.
fn restic(plain: &Path) -> anyhow::Result<Option<Duration>> {
    let repository = tempfile::tempdir()?;
    let run = |args: &[&str]| {
        let mut command = Command::new("restic");
        command.args(["--quiet", "--no-cache", "--repo"]).arg(repository.path()).args(args);
        command.env("RESTIC_PASSWORD", "measured").stdout(Stdio::null()).stderr(Stdio::null()).status()
    };
    match run(&["init"]) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        made => anyhow::ensure!(made?.success(), "restic init failed"),
    }
    let path = plain.to_string_lossy();
    let (done, taken) =
        time(|| Ok::<_, io::Error>([run(&["backup", &path])?, run(&["check", "--read-data"])?]));
    anyhow::ensure!(done?.iter().all(std::process::ExitStatus::success), "restic failed");
    Ok(Some(taken))
}

/// Restores the newest backup by its id.
fn restore(program: &Program, hub: &Hub) -> anyhow::Result<Duration> {
    let list = program.must("hub", &hub.dir, &["backups", "--json"])?;
    let list: serde_json::Value = serde_json::from_str(&list)?;
    let newest = list.as_array().and_then(|list| list.last()).and_then(|backup| backup["id"].as_str());
    let id = newest.ok_or_else(|| anyhow::anyhow!("there is a backup to restore"))?.to_owned();
    let (done, taken) = time(|| program.must("hub", &hub.dir, &["restore", &id, "--force"]));
    done?;
    Ok(taken)
}

/// Runs a command. Gives its time and the most memory that it had, in MiB, as the system counts it.
fn peak(command: &mut Command) -> anyhow::Result<(Duration, f64)> {
    let begin = std::time::Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn()?;
    let path = format!("/proc/{}/status", child.id());
    let mut most = 0.0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        most = kib.map_or(most, |kib| kib / 1024.0);
        std::thread::sleep(LOOK);
    };
    anyhow::ensure!(status.success(), "the command ended with {status}");
    Ok((begin.elapsed(), most))
}

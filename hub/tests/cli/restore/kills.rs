//! A restore that dies by `kill -9` at a random moment has happened or has not; the next one works.

use super::{Bench, add, ours, program};
use crate::program::roll;
use rusqlite::Connection;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

const SEEDS: u64 = 12;

fn epoch(conn: &Connection) -> i64 {
    conn.query_row("SELECT value FROM _sync_state WHERE name = 'epoch'", [], |row| row.get(0)).unwrap()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test measures how long a restore takes")]
fn a_restore_that_is_killed_has_happened_or_has_not() {
    let bench = Bench::new();
    let folder = &bench.folder;
    let begun = Instant::now();
    bench.restored();
    let whole = u64::try_from(begun.elapsed().as_micros()).unwrap();
    let count = std::env::var("TT_RESTORE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    let open = program(folder);
    let (mut happened, mut not) = (0, 0);
    for seed in 0..count {
        let daemon = (seed % 3 == 2).then(|| folder.serve());
        let name = format!("seed-{seed}");
        add(folder, &name);
        let before = epoch(&open);
        let mut child = folder
            .command(&["restore", &bench.id, "--force"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_micros(roll(seed, whole + whole / 4)));
        child.kill().unwrap();
        child.wait().unwrap();
        let now = epoch(&open);
        let found = ours(&open);
        if now == before {
            not += 1;
            assert!(found.contains(&name), "seed {seed}: {found:?}");
        } else {
            happened += 1;
            assert_eq!(found, ["kept"], "seed {seed}: epoch {before} {now}");
        }
        let sound: String = open.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok", "seed {seed}");
        if let Some(daemon) = daemon {
            // It goes on by itself, and says no word of trouble.
            crate::daemon::until("the hub goes on", || folder.json(&["status"])["failing"].is_null());
            drop(daemon);
        }
        // The next start finds out what became of it, and writes that down.
        drop(folder.serve());
        let record = std::fs::read_to_string(folder.data().join("backups/restore.json")).unwrap();
        assert!(record.contains("\"pending\": null"), "seed {seed}: {record}");
        add(folder, "written by a program");
        bench.restored();
        assert_eq!(ours(&open), ["kept"], "seed {seed}");
        assert!(!folder.data().join("backups/.restore").exists(), "seed {seed}");
    }
    eprintln!("{happened} restores had happened, {not} had not");
}

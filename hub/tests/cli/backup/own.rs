//! A hub that dies by `kill -9` in the middle of its own backups, while programs write and the journal is on its way into
//! the vaults: what is listed restores, the next start makes up what was missed and leaves nothing behind, and nobody is
//! told what is not so.

use super::kills::{assert_cleaned_up, micros, seeds, wait_for_moment};
use super::{add_employees, assert_all_restore, litter};
use crate::daemon::until;
use crate::program::{Daemon, Folder};
use rusqlite::Connection;
use serde_json::Value as Json;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const SEEDS: u64 = 4;
const TIERS: [&str; 5] = ["daily", "hourly", "monthly", "weekly", "yearly"];

/// A hub with something to copy.
fn hub() -> Folder {
    let folder = Folder::with_hub();
    let program = Connection::open(folder.database()).unwrap();
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8000)
                INSERT INTO employees(username, full_name, password_hash)
                SELECT hex(randomblob(16)), 'fill', hex(randomblob(100)) FROM n";
    program.execute(fill, []).unwrap();
    folder
}

/// It makes what is due as soon as it is there.
fn serve(folder: &Folder) -> Daemon {
    folder.serve_with(&["--first-look", "0"])
}

fn tiers(folder: &Folder) -> Vec<String> {
    let listed = folder.json(&["backups"]);
    let good = |backup: &&Json| {
        backup["vaults"].as_array().unwrap().iter().any(|vault| vault["state"] == "verified")
    };
    let listed = listed.as_array().unwrap().iter().filter(good);
    let mut tiers: Vec<_> = listed.map(|backup| backup["tier"].as_str().unwrap().to_owned()).collect();
    tiers.sort();
    tiers
}

/// A drill is what a look does last.
fn is_done(folder: &Folder) -> bool {
    folder.data().join("backups/drill.json").exists() && litter(folder).is_empty()
}

/// The vaults have the journal, all of it and whole.
fn has_all(folder: &Folder) -> bool {
    let lag = folder.json(&["status"])["journal"]["lag"].clone();
    lag.as_array().unwrap().iter().all(|vault| vault["problem"].is_null() && vault["versions"] == 0)
}

/// Writes small transactions until somebody says stop. Gives how many rows they were.
fn write_until(folder: &Folder, stop: &AtomicBool) -> i64 {
    let program = Connection::open(folder.database()).unwrap();
    program.busy_timeout(Duration::from_secs(30)).unwrap();
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            return round;
        }
        add_employees(&program, &format!("round-{round}"), 1);
    }
    0
}

/// Dies at a moment of the seed. Gives the rows that a program had written by then.
fn dies(folder: &Folder, seed: u64, whole: u64) -> i64 {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let program = scope.spawn(|| write_until(folder, &stop));
        let daemon = serve(folder);
        wait_for_moment(seed, whole);
        daemon.signal("KILL");
        daemon.end();
        stop.store(true, Ordering::Relaxed);
        program.join().unwrap()
    })
}

#[test]
fn a_hub_that_is_killed_in_its_own_backup_makes_up_what_it_missed() {
    let first = hub();
    let daemon = serve(&first);
    let whole = micros(|| until("what is due is made", || is_done(&first)));
    assert_eq!(tiers(&first), TIERS);
    drop((daemon, first));
    let mut in_the_middle = 0;
    for seed in 0..seeds(SEEDS) {
        eprintln!("seed {seed}");
        let folder = hub();
        let written = dies(&folder, seed, whole);
        assert_all_restore(&folder);
        in_the_middle += usize::from(!is_done(&folder));

        let daemon = serve(&folder);
        until("what was missed is made up", || is_done(&folder) && tiers(&folder) == TIERS);
        until("the vaults have the journal", || has_all(&folder));
        let alerts = fs::read_to_string(folder.data().join("backups/backup_alerts.log")).unwrap_or_default();
        assert_eq!(alerts, "", "seed {seed}: nothing is wrong");
        daemon.signal("TERM");
        assert_eq!(daemon.end().0, Some(0), "seed {seed}");
        assert_all_restore(&folder);
        assert_cleaned_up(&folder, seed);

        // From the oldest backup on, by the journal that was on its way when the hub died, to the last row.
        let version = folder.json(&["status"])["version"].to_string();
        folder.hub(&["drill"]).fine();
        folder.hub(&["restore", "--at", &version, "--force"]).fine();
        let ours = "SELECT count(*) FROM employees WHERE username LIKE 'round-%'";
        let program = Connection::open(folder.database()).unwrap();
        let has: i64 = program.query_row(ours, [], |row| row.get(0)).unwrap();
        assert_eq!(has, written, "seed {seed}: rows of a program");
    }
    eprintln!("{in_the_middle} died before all was made");
}

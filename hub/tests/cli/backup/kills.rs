//! A backup that dies by `kill -9` at a random moment: what is listed restores, and the next run needs nobody's help and
//! leaves nothing of the dead one behind.

use super::{add_employees, assert_all_restore, litter};
use crate::program::{Folder, roll};
use rusqlite::Connection;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

const SEEDS: u64 = 12;

#[test]
#[expect(clippy::disallowed_methods, reason = "a test measures how long a backup takes")]
fn a_backup_that_is_killed_is_there_whole_or_not_at_all() {
    let folder = Folder::with_hub();
    let program = Connection::open(folder.database()).unwrap();
    program.busy_timeout(Duration::from_secs(30)).unwrap();
    add_employees(&program, "first", 200);
    let begun = Instant::now();
    folder.hub(&["backup", "--tier", "monthly"]).fine();
    let whole = u64::try_from(begun.elapsed().as_micros()).unwrap();
    let count = std::env::var("TT_BACKUP_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    for seed in 0..count {
        eprintln!("seed {seed}");
        // With a daemon that merges beside it, and without.
        let daemon = (seed % 3 == 2).then(|| folder.serve());
        add_employees(&program, &format!("seed-{seed}"), 3);
        let before = assert_all_restore(&folder);
        let mut child = folder
            .command(&["backup", "--tier", ["monthly", "yearly"][usize::try_from(seed % 2).unwrap()]])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_micros(roll(seed, whole + whole / 4)));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        let after = assert_all_restore(&folder);
        assert!(after == before || after == before + 1, "seed {seed}: {before} {after}");
        assert!(!status.success() || after == before + 1, "seed {seed}: it said that it was done");
        drop(daemon);
        if seed % 4 == 3 {
            folder.hub(&["backup", "--tier", "monthly"]).fine();
            assert_eq!(litter(&folder), [""; 0], "seed {seed}");
            folder.hub(&["verify"]).fine();
        }
    }
}

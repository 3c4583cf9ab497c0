//! A backup that dies by `kill -9` at a random moment: what is listed restores, and the next run needs nobody's help and
//! leaves nothing of the dead one behind.

use super::{add_employees, assert_all_restore, litter};
use crate::program::{Folder, roll};
use rusqlite::Connection;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

const SEEDS: u64 = 12;

/// How many seeds are tried, unless `TT_BACKUP_SEEDS` says otherwise.
pub(super) fn seeds(usually: u64) -> u64 {
    std::env::var("TT_BACKUP_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(usually)
}

/// How long something takes, for deaths in the middle of it.
#[expect(clippy::disallowed_methods, reason = "a test measures how long a backup takes")]
pub(super) fn micros(work: impl FnOnce()) -> u64 {
    let begun = Instant::now();
    work();
    u64::try_from(begun.elapsed().as_micros()).unwrap()
}

/// A moment in something that takes so long, or a little after its end.
pub(super) fn wait_for_moment(seed: u64, whole: u64) {
    thread::sleep(Duration::from_micros(roll(seed, whole + whole / 4)));
}

/// All that is left of a run that died goes with the next one, and every copy is good then.
pub(super) fn assert_cleaned_up(folder: &Folder, seed: u64) {
    assert_eq!(litter(folder), [""; 0], "seed {seed}");
    folder.hub(&["verify"]).fine();
}

#[test]
fn a_backup_that_is_killed_is_there_whole_or_not_at_all() {
    let folder = Folder::with_hub();
    let program = Connection::open(folder.database()).unwrap();
    program.busy_timeout(Duration::from_secs(30)).unwrap();
    add_employees(&program, "first", 200);
    let whole = micros(|| drop(folder.hub(&["backup", "--tier", "monthly"]).fine()));
    for seed in 0..seeds(SEEDS) {
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
        wait_for_moment(seed, whole);
        child.kill().unwrap();
        let status = child.wait().unwrap();
        let after = assert_all_restore(&folder);
        assert!(after == before || after == before + 1, "seed {seed}: {before} {after}");
        assert!(!status.success() || after == before + 1, "seed {seed}: it said that it was done");
        drop(daemon);
        if seed % 4 == 3 {
            folder.hub(&["backup", "--tier", "monthly"]).fine();
            assert_cleaned_up(&folder, seed);
        }
    }
}

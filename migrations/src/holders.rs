//! Who has a database file open: other processes that this user may see, and those whose lock the kernel lists.
//!
//! A connection in WAL mode holds a lock as long as it is open, whoever its user is.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The processes but `own`, in words; None when nobody else has it open.
#[must_use]
pub fn of(db: &Path, own: u32) -> Option<String> {
    let mut found: BTreeSet<u32> = processes(db, own).into_iter().collect();
    if let (Ok(meta), Ok(locks)) = (fs::metadata(db), fs::read_to_string("/proc/locks")) {
        found.extend(locked(&locks, meta.dev(), meta.ino()));
    }
    found.remove(&own);
    let named = found.iter().map(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        format!("process {pid} ({})", name.trim())
    });
    let named: Vec<String> = named.collect();
    (!named.is_empty()).then(|| named.join(", "))
}

/// Processes other than `own` that have the file open, as far as this user may see them.
#[must_use]
pub fn processes(db: &Path, own: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let found = processes.filter_map(|entry| {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        pid.filter(|pid| *pid != own && has_open(&entry.path(), db))
    });
    found.collect()
}

fn has_open(process: &Path, db: &Path) -> bool {
    let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| target == db)
}

/// Processes in the kernel's list of locks: `1: POSIX  ADVISORY  READ 4711 08:02:1234 128 128`.
fn locked(locks: &str, device: u64, inode: u64) -> Vec<u32> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let file = format!("{major:02x}:{minor:02x}:{inode}");
    let lines = locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines
        .filter(|words| words.iter().any(|word| *word == file))
        .filter_map(|words| words.get(words.len().checked_sub(4)?)?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::locked;

    #[test]
    fn the_holder_of_a_lock_is_found_by_device_and_inode() {
        let list = "1: POSIX  ADVISORY  READ 4711 08:02:1234 1073741826 1073742335\n\
                    2: -> POSIX  ADVISORY  WRITE 4712 08:02:1234 120 120\n\
                    3: FLOCK  ADVISORY  WRITE 4713 08:02:1235 0 EOF\n4: POSIX ADVISORY READ 9 08:03:1234 0 EOF\n";
        assert_eq!(locked(list, rustix::fs::makedev(8, 2), 1234), [4711, 4712]);
    }
}

//! The machine around the file: free space, and the SQLite libraries of other processes.
//!
//! What Linux shows under `/proc` is a hint and no more: a process of another user is not shown, and one
//! that brings its own SQLite (as tt-edge does) shows no library.

use super::Check;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tt_migrations::holders::processes;

/// Room for a few large feeds and the log of the database.
const FREE_KB_WARN: u64 = 1024 * 1024;
/// Below this the next large transaction may fail.
const FREE_KB_FAIL: u64 = 64 * 1024;

/// Versions with the WAL-reset race: two connections, one finishing a checkpoint while a commit restarts
/// the log, can damage the file.
const RACY: ((u32, u32, u32), (u32, u32, u32)) = ((3, 7, 0), (3, 51, 2));

/// Free space of the folder.
pub(crate) fn disk(folder: &Path) -> Check {
    let free = match rustix::fs::statvfs(folder) {
        Ok(found) => found.f_bavail * found.f_frsize / 1024,
        Err(error) => return Check::ok("disk", format!("free space is not known here: {error}")),
    };
    let found = format!("{} MB free in {}", free / 1024, folder.display());
    match free {
        ..FREE_KB_FAIL => Check::fail("disk", found, "make room: counts cannot be saved on a full disk"),
        FREE_KB_FAIL..FREE_KB_WARN => Check::warn("disk", found, "make room before the disk is full"),
        _ => Check::ok("disk", found),
    }
}

/// Who has the file open, and with which library, as far as this user may see it.
pub(crate) fn libraries(db: &Path) -> Check {
    let Ok(db) = db.canonicalize() else {
        return Check::ok("libraries", "the file is not there");
    };
    let mut lines = Vec::new();
    let mut racy = false;
    for pid in processes(&db, std::process::id()) {
        let process = Path::new("/proc").join(pid.to_string());
        let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
        let libraries = mapped(&fs::read_to_string(process.join("maps")).unwrap_or_default());
        let described: Vec<String> = libraries
            .iter()
            .map(|library| {
                let version = fs::read(library).ok().and_then(|bytes| version_in(&bytes));
                racy |= version.is_some_and(|version| (RACY.0..=RACY.1).contains(&version));
                let version = version.map(|(a, b, c)| format!(" (SQLite {a}.{b}.{c})"));
                format!("{library}{}", version.unwrap_or_default())
            })
            .collect();
        let with = if described.is_empty() { "its own SQLite".to_owned() } else { described.join(", ") };
        lines.push(format!("process {pid} ({}) with {with}", name.trim()));
    }
    if lines.is_empty() {
        return Check::ok("libraries", "no other process that can be seen has the file open now");
    }
    let found = format!("the file is open in {}", lines.join("; "));
    if racy {
        let advice = "SQLite 3.7.0 to 3.51.2 can, rarely, damage a file in WAL mode (the WAL-reset race): update that library; \
                      tt-edge checkpoints early so that it hardly comes to it";
        return Check::warn("libraries", found, advice);
    }
    Check::ok("libraries", found)
}

/// Paths of SQLite libraries in a process's map.
fn mapped(maps: &str) -> BTreeSet<String> {
    let paths = maps.lines().filter_map(|line| line.find('/').map(|at| &line[at..]));
    let is_sqlite = |path: &&str| path.rsplit('/').next().is_some_and(|name| name.starts_with("libsqlite3"));
    paths.filter(is_sqlite).map(str::to_owned).collect()
}

/// The one text of the form `3.N.N` that stands alone in the library. None when there is none, or several.
fn version_in(bytes: &[u8]) -> Option<(u32, u32, u32)> {
    let mut found = BTreeSet::new();
    for text in bytes.split(|byte| *byte == 0).filter(|text| text.starts_with(b"3.") && text.len() <= 9) {
        let mut parts = std::str::from_utf8(text).ok()?.split('.').map(|part| part.parse::<u32>().ok());
        if let (Some(Some(a)), Some(Some(b)), Some(Some(c)), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        {
            found.insert((a, b, c));
        }
    }
    if found.len() == 1 { found.pop_first() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_found_by_their_file_name_only() {
        let maps = "7f00-7f01 r-xp 00000000 08:01 12  /usr/lib/libsqlite3.so.0.8.6\n\
                    7f02-7f03 r--p 00000000 08:01 12  /usr/lib/libsqlite3.so.0.8.6\n\
                    7f04-7f05 r--p 00000000 08:01 13  /home/libsqlite3/other.so\n7f06-7f07 rw-p 0 00:00 0\n";
        assert_eq!(mapped(maps), BTreeSet::from(["/usr/lib/libsqlite3.so.0.8.6".to_owned()]));
    }

    #[test]
    fn a_version_is_said_only_when_it_is_the_only_one() {
        assert_eq!(version_in(b"x\x003.40.1\x00y\x003.x\x00"), Some((3, 40, 1)));
        assert_eq!(version_in(b"x\x003.40.1\x00y\x003.9.2\x00"), None);
        assert_eq!(version_in(b"3.40\0nothing"), None);
    }
}

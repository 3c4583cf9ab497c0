//! The order in which bytes, names and folders come to disk, as the system itself saw it: recorded by `strace`.
//!
//! For every file that the program puts in place: written, then the file is synced, then it gets its name, then the
//! folder is synced, before anything else gets a name there. A manifest is last, after its copy was read back. Where
//! there is no `strace`, or it may not look, that is said and the test is skipped.

use super::copies;
use crate::program::Folder;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// One call that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Read(PathBuf),
    Write(PathBuf),
    Sync(PathBuf),
    Rename(PathBuf, PathBuf),
}

const CALLS: &str =
    "trace=openat,write,pwrite64,writev,copy_file_range,sendfile,fsync,fdatasync,rename,renameat,renameat2";

/// Runs a command and gives what it did to files, in order. None where nobody may record it.
fn record(folder: &Folder, arguments: &[&str]) -> Option<Vec<Event>> {
    let log = folder.beside("calls");
    let _ = fs::remove_file(&log);
    let command = folder.command(arguments);
    let mut strace = std::process::Command::new("strace");
    strace.args(["-f", "-y", "-s", "0", "-e", CALLS, "-o"]).arg(&log).arg(command.get_program());
    let said = match strace.args(command.get_args()).output() {
        Ok(said) => said,
        Err(error) => return skip(&error.to_string()),
    };
    let calls = fs::read_to_string(&log).unwrap_or_default();
    if !calls.contains("openat(") {
        return skip(&String::from_utf8_lossy(&said.stderr));
    }
    assert!(said.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said.stderr));
    Some(events(&calls))
}

fn skip(why: &str) -> Option<Vec<Event>> {
    eprintln!("nothing can be recorded here ({}): skipped; install strace", why.trim());
    None
}

/// A call that another thread interrupted is told in two lines, and counts from where it was done.
fn events(calls: &str) -> Vec<Event> {
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    let mut events = Vec::new();
    for line in calls.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(start) = rest.strip_suffix("<unfinished ...>") {
            begun.insert(thread, start);
        } else if rest.starts_with("<... ") {
            let start = begun.remove(thread).unwrap_or_default();
            events.extend(event(start, rest));
        } else {
            events.extend(event(rest, rest));
        }
    }
    events
}

/// `start` has the arguments, `end` the outcome.
fn event(start: &str, end: &str) -> Option<Event> {
    let outcome = end.rsplit_once(" = ")?.1;
    if outcome.starts_with('-') {
        return None;
    }
    let (call, arguments) = start.split_once('(')?;
    let quoted = || arguments.split('"').skip(1).step_by(2).map(PathBuf::from);
    let descriptors =
        || arguments.split('<').skip(1).filter_map(|rest| rest.split('>').next()).map(PathBuf::from);
    match call {
        "openat" if arguments.contains("O_RDONLY") => quoted().next().map(Event::Read),
        "write" | "pwrite64" | "writev" | "sendfile" => descriptors().next().map(Event::Write),
        "copy_file_range" => descriptors().nth(1).map(Event::Write),
        "fsync" | "fdatasync" => descriptors().next().map(Event::Sync),
        "rename" | "renameat" | "renameat2" => Some(Event::Rename(quoted().next()?, quoted().nth(1)?)),
        _ => None,
    }
}

/// What is wrong with the order, for every file that got its name below `root`.
fn faults(events: &[Event], root: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    for (at, event) in events.iter().enumerate() {
        let Event::Rename(from, to) = event else { continue };
        if !to.starts_with(root) {
            continue;
        }
        let before = |wanted: Event| events[..at].iter().rposition(|event| *event == wanted);
        let (written, synced) = (before(Event::Write(from.clone())), before(Event::Sync(from.clone())));
        if written.is_none() || synced < written {
            faults.push(format!("{} got its name before its bytes were on disk", to.display()));
        }
        let above = to.parent().unwrap();
        let later = |wanted: &dyn Fn(&Event) -> bool| events[at + 1..].iter().position(wanted);
        let folder = later(&|event| *event == Event::Sync(above.to_owned()));
        let next = later(&|event| matches!(event, Event::Rename(_, other) if other.parent() == Some(above)));
        if folder.is_none() || next.is_some_and(|next| Some(next) < folder) {
            faults.push(format!("the folder of {} was not synced", to.display()));
        }
        if to.extension().is_some_and(|ending| ending == "json") && to.with_extension("db.gz").exists() {
            faults.extend(manifest(&events[..at], to));
        }
    }
    faults
}

/// A manifest gets its name when its copy and its checksum have theirs, and the copy was read back.
fn manifest(before: &[Event], manifest: &Path) -> Vec<String> {
    let copy = manifest.with_extension("db.gz");
    let read = before.iter().rposition(|event| *event == Event::Read(copy.clone()));
    let named =
        |path: &Path| before.iter().position(|event| matches!(event, Event::Rename(_, to) if to == path));
    let checksum = copy.with_extension("gz.sha256");
    let mut faults = Vec::new();
    if named(&copy).is_some_and(|at| read < Some(at)) || read.is_none() {
        faults.push(format!("{} was not read back before its manifest", copy.display()));
    }
    let has_checksum = before.contains(&Event::Read(checksum.clone()));
    if named(&checksum).is_none() && !has_checksum {
        faults.push(format!("{} came after its manifest", checksum.display()));
    }
    faults
}

#[test]
fn bytes_names_and_folders_come_to_disk_in_their_order_and_the_manifest_last() {
    let folder = Folder::with_hub();
    let root = folder.data().canonicalize().unwrap();
    let Some(recorded) = record(&folder, &["backup", "--tier", "yearly"]) else { return };
    assert_eq!(faults(&recorded, &root), [""; 0]);
    let names = recorded.iter().filter(|event| matches!(event, Event::Rename(..))).count();
    assert_eq!(names, 13, "the list of ids; whose it is, file, checksum and manifest in three vaults");
    // Whatever of it is left out, it is noticed: this test can fail.
    let renamed = |path: &PathBuf| {
        let is_it = |event: &Event| matches!(event, Event::Rename(from, to) if from == path || to.parent() == Some(path));
        recorded.iter().any(is_it)
    };
    let mut left_out = 0;
    for (at, event) in recorded.iter().enumerate() {
        if matches!(event, Event::Sync(path) if renamed(path) && path.starts_with(root.join("backups"))) {
            let mut without = recorded.clone();
            without.remove(at);
            // A folder that was just made was synced for its own name as well.
            left_out += usize::from(!faults(&without, &root).is_empty());
        }
    }
    // The folder of the list is synced again, for the folders of the vaults in it.
    assert_eq!(left_out, 25, "each file and each folder, for each name");

    let listed = folder.json(&["backups"]);
    fs::write(&copies(&listed[0])[1], b"rotten").unwrap();
    let mended = record(&folder, &["verify"]).unwrap();
    assert_eq!(faults(&mended, &root), [""; 0]);
    assert!(mended.iter().any(|event| matches!(event, Event::Rename(_, to) if *to == copies(&listed[0])[1])));
    let id = listed[0]["id"].as_str().unwrap();
    for command in [&["drill"][..], &["restore", id, "--force"]] {
        let recorded = record(&folder, command).unwrap();
        assert_eq!(faults(&recorded, &root), [""; 0], "{command:?}");
        assert!(recorded.iter().any(|event| matches!(event, Event::Rename(..))), "{command:?}");
    }
}

//! After a file went in, or was refused: rejected lines and reasons into `rejected/`, the file into `done/`. Each
//! step can be done again: whatever dies between, the next look at the folder ends it.

use super::book::{self, Known};
use super::import::Whole;
use super::opened::{Look, Opened};
use super::{InboxError, failed};
use rusqlite::Connection;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use tt_migrations::durable;

/// Where taken files lie.
pub(super) const DONE: &str = "done";
/// Where lines and files lie that did not go in.
pub(super) const REJECTED: &str = "rejected";

/// Makes a folder and those above it, for the daemon's group too: scanners write there, and people read what was
/// rejected. One that exists is left as it is.
pub(crate) fn make(path: &Path) -> Result<(), InboxError> {
    match DirBuilder::new().recursive(true).mode(0o770).create(path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            Err(failed("make the folder", path, source))
        }
        _ => Ok(()),
    }
}

/// A folder of ours in the inbox. A link in its place would lead what we write somewhere else.
fn folder(inbox: &Path, name: &str) -> Result<PathBuf, InboxError> {
    let path = inbox.join(name);
    make(&path)?;
    let found = fs::symlink_metadata(&path).map_err(|source| failed("look at", &path, source))?;
    if found.is_dir() { Ok(path) } else { Err(InboxError::NoFolder(path)) }
}

/// Keeps the lines of a file that did not go in, and notes that all of it lies where it should. Gives where they are.
///
/// # Errors
/// When they cannot be written. It can be done again then.
pub(crate) fn finish(
    conn: &mut Connection,
    inbox: &Path,
    source: &Path,
    id: i64,
) -> Result<Option<PathBuf>, InboxError> {
    let kept = keep_rejected(conn, inbox, Some(source), id)?;
    book::settle(conn, id)?;
    Ok(kept)
}

/// As [`finish`], for a file of the inbox, which goes to `done/` between, unless somebody has written it since.
pub(super) fn finish_and_move(
    conn: &mut Connection,
    inbox: &Path,
    source: &Path,
    (id, look): (i64, Look),
) -> Result<bool, InboxError> {
    keep_rejected(conn, inbox, Some(source), id)?;
    let found = fs::symlink_metadata(source).map_err(|error| failed("look at", source, error))?;
    let is_same = Look::of(&found) == look;
    if is_same {
        let done = folder(inbox, DONE)?;
        put(source, &free(&done, &name_of(source)))?;
    }
    book::settle(conn, id)?;
    Ok(is_same)
}

/// A file went in and is not in the inbox any more. Its rejected lines were kept before it was moved; if somebody
/// else took it away, their numbers and reasons are.
pub(super) fn finish_without(conn: &mut Connection, inbox: &Path, known: &Known) -> Result<(), InboxError> {
    let is_kept = known.kept.as_ref().is_some_and(|kept| inbox.join(REJECTED).join(kept).exists());
    if !is_kept {
        keep_rejected(conn, inbox, None, known.id)?;
    }
    Ok(book::settle(conn, known.id)?)
}

/// Moves what cannot go in at all, with the reason beside it.
pub(super) fn reject(inbox: &Path, source: &Path, whole: &Whole) -> Result<PathBuf, InboxError> {
    let target = free(&folder(inbox, REJECTED)?, &name_of(source));
    let mut text = format!("{}\n", whole.why);
    for reason in &whole.reasons {
        text.push_str(&format!("line {}: {}\n", reason.line, reason.reason));
    }
    let more = whole.rejected.saturating_sub(whole.reasons.len() as u64);
    if more > 0 {
        text.push_str(&format!("and {more} more\n"));
    }
    // Reasons first: a file in `rejected/` always has them.
    write(&reasons_of(&target), |out| out.write_all(text.as_bytes()))?;
    put(source, &target)?;
    Ok(target)
}

/// Writes the lines that did not go in, under the file's header, and their reasons.
fn keep_rejected(
    conn: &mut Connection,
    inbox: &Path,
    source: Option<&Path>,
    id: i64,
) -> Result<Option<PathBuf>, InboxError> {
    if !book::has_rejected(conn, id)? {
        return Ok(None);
    }
    let rejected = folder(inbox, REJECTED)?;
    let target = rejected.join(name_to_keep(conn, &rejected, id)?);
    write_rejected(conn, &target, source, id)?;
    Ok(Some(target))
}

fn write_rejected(
    conn: &mut Connection,
    target: &Path,
    source: Option<&Path>,
    id: i64,
) -> Result<(), InboxError> {
    let mut reasons = Ok(Ok(0));
    // One reading of the book: somebody else may settle the same file. Who has done so has written all of this, and
    // the book has nothing of it any more.
    let tx = conn.transaction()?;
    if !book::has_rejected(&tx, id)? {
        return Ok(());
    }
    if let Some(source) = source {
        let (file, known) = (Opened::open(source)?, book::read(&tx, id)?);
        let mut lines = Ok(Ok(0));
        write(target, |out| {
            copy(&file, (0, known.header), out)?;
            lines = book::rejected(&tx, id, |place| copy(&file, (place.first, place.past), out));
            Ok(())
        })?;
        lines?.map_err(|error| failed("write", target, error))?;
    }
    let path = reasons_of(target);
    write(&path, |out| {
        reasons = book::rejected(&tx, id, |place| {
            writeln!(out, "line {}: {}", place.reason.line, place.reason.reason)
        });
        Ok(())
    })?;
    reasons?.map_err(|error| failed("write", &path, error))?;
    Ok(())
}

/// The name is noted before it is used, so that a second try writes the same file and not another one.
fn name_to_keep(conn: &Connection, rejected: &Path, id: i64) -> Result<String, InboxError> {
    let known = book::read(conn, id)?;
    if let Some(kept) = known.kept {
        return Ok(kept);
    }
    let target = free(rejected, &known.name);
    let name = target.file_name().map_or(known.name, |name| name.to_string_lossy().into_owned());
    book::keep_as(conn, id, &name)?;
    Ok(name)
}

/// Copies a part of the file; a last line gets its line break.
fn copy(file: &Opened, (first, past): (u64, u64), out: &mut dyn io::Write) -> io::Result<()> {
    let source = file.read_from(first).map_err(io::Error::other)?;
    let mut last = Last { out, byte: b'\n' };
    io::copy(&mut source.take(past.saturating_sub(first)), &mut last)?;
    if last.byte == b'\n' { Ok(()) } else { out.write_all(b"\n") }
}

/// Remembers the last byte that was written.
struct Last<'o> {
    out: &'o mut dyn io::Write,
    byte: u8,
}

impl io::Write for Last<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        if let Some(byte) = bytes.get(written.wrapping_sub(1)) {
            self.byte = *byte;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Writes a file of any length so that it is whole or not there.
fn write(path: &Path, content: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> Result<(), InboxError> {
    let mut growing = path.as_os_str().to_owned();
    growing.push(format!(".{}.tmp", std::process::id()));
    let growing = PathBuf::from(growing);
    let run = || {
        // What an earlier attempt left behind; nothing else has such a name, and no link is written through.
        let _ = fs::remove_file(&growing);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o660).open(&growing)?;
        let mut out = BufWriter::new(file);
        content(&mut out)?;
        let file: File = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        durable::put_in_place(&growing, path)
    };
    let written = run();
    if written.is_err() {
        let _ = fs::remove_file(&growing);
    }
    written.map_err(|source| failed("write", path, source))
}

/// Removes what processes that died left half written.
pub(super) fn clean(inbox: &Path) {
    let is_left = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".tmp"));
        let process =
            name.and_then(|name| name.rsplit_once('.')).and_then(|(_, pid)| pid.parse::<u32>().ok());
        process.is_some_and(|pid| {
            pid == std::process::id() || !Path::new("/proc").join(pid.to_string()).exists()
        })
    };
    let entries = fs::read_dir(inbox.join(REJECTED)).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()).filter(|path| is_left(path)) {
        // What stays takes room, and nothing else.
        let _ = fs::remove_file(path);
    }
}

fn put(from: &Path, to: &Path) -> Result<(), InboxError> {
    durable::put_in_place(from, to).map_err(|source| failed("move to", to, source))
}

/// The name, or one with a number behind it that nothing has yet.
fn free(folder: &Path, name: &str) -> PathBuf {
    let numbered = (2_u64..).map(|number| folder.join(format!("{name}.{number}")));
    let mut names = std::iter::once(folder.join(name)).chain(numbered);
    names.find(|path| fs::symlink_metadata(path).is_err()).expect("numbers do not end")
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn reasons_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".reasons");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::Reason;

    #[test]
    fn whoever_comes_after_another_has_settled_leaves_what_that_one_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (source, target) = (folder.path().join("scans.csv"), folder.path().join("kept.csv"));
        fs::write(&source, "code\nbad\n").unwrap();
        let mut conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(book::TABLES).unwrap();
        let id = book::note(&conn, ("scans.csv", &[0; 32], 9), true, 0).unwrap();
        book::note_header(&conn, id, 5).unwrap();
        let reason = Reason { line: 2, reason: "no such code".to_owned() };
        book::reject(&conn, id, &book::Place { first: 5, past: 9, reason }).unwrap();
        for _ in 0..2 {
            write_rejected(&mut conn, &target, Some(&source), id).unwrap();
            assert_eq!(fs::read_to_string(&target).unwrap(), "code\nbad\n");
            assert_eq!(fs::read_to_string(reasons_of(&target)).unwrap(), "line 2: no such code\n");
            book::settle(&conn, id).unwrap();
        }
    }
}

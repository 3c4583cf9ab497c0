//! Reads one copy back and compares it with its manifest.
//!
//! The SHA-256 of the file as the vault gives it, then of the unpacked bytes, then SQLite's own checks and the
//! rows of every table on the unpacked file. Bytes whose SHA-256 passed all of that a moment ago, in another
//! vault or as the snapshot from which the copy was made, are not put through SQLite once more: they are the same
//! bytes. Every copy is read and unpacked whole all the same.

use super::contents::{self, Contents};
use super::manifest::Manifest;
use super::pack::{CHUNK_BYTES, Hashing, pump};
use super::snapshot::Snapshot;
use super::vault::Vault;
use flate2::read::MultiGzDecoder;
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read as _, Write as _};
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};
use tt_migrations::progress::{Progress, Told, Unit};

/// How a copy was verified, as its manifest says it.
pub(crate) const HOW: &str = "read back: sha256 of the file and of what it unpacks to; these bytes passed integrity_check, foreign_key_check, rows and digest of every table";

/// Checks copies, also several at a time.
pub(crate) struct Checker<'p> {
    /// Whoever unpacks into this file holds the lock.
    scratch: Mutex<PathBuf>,
    /// SHA-256 of databases that passed, and what they hold.
    passed: Mutex<Vec<(String, Contents)>>,
    progress: &'p dyn Progress,
}

impl<'p> Checker<'p> {
    /// Unpacks into `work`. Each byte of a copy that is read is told.
    pub(crate) fn new(work: &Path, progress: &'p dyn Progress) -> Self {
        Self { scratch: Mutex::new(work.join("check.db")), passed: Mutex::default(), progress }
    }

    /// A copy that unpacks to the bytes of a sound snapshot has passed as well. Of one that is not sound nothing is
    /// known: its copies are put through the checks themselves, which say what is wrong.
    pub(crate) fn knows_snapshot(&self, snapshot: &Snapshot) {
        if snapshot.is_sound {
            self.has_passed(&snapshot.packed.database_sha256, &snapshot.taken.contents);
        }
    }

    /// A database of these bytes passed SQLite's checks and holds this.
    fn has_passed(&self, sha256: &str, contents: &Contents) {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        passed.push((sha256.to_owned(), contents.clone()));
    }

    fn knows(&self, manifest: &Manifest) -> bool {
        let passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |(sha256, contents): &(String, Contents)| {
            *sha256 == manifest.database_sha256 && *contents == manifest.contents
        };
        passed.iter().any(is_it)
    }

    /// Checks one copy; the error says what is wrong with it.
    pub(crate) fn check(&self, vault: &dyn Vault, manifest: &Manifest) -> Result<(), String> {
        if self.knows(manifest) {
            return unpack(vault, manifest, None, self.progress);
        }
        let scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        if self.knows(manifest) {
            // Another vault's copy was checked while we waited.
            return unpack(vault, manifest, None, self.progress);
        }
        let checked = unpack(vault, manifest, Some(&scratch), self.progress)
            .and_then(|()| inspect(&scratch, &manifest.contents));
        // The next check begins with an empty file whatever is left here.
        let _ = fs::remove_file(&*scratch);
        if checked.is_ok() {
            self.has_passed(&manifest.database_sha256, &manifest.contents);
        }
        checked
    }
}

/// How much of an unpacked copy is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Its bytes: those of a verified backup have passed everything else when it was verified.
    Bytes,
    /// SQLite's checks and every row, once more.
    Rows,
}

/// Unpacks one copy to the new file `to` and checks it there; the error says what is wrong with it.
pub(crate) fn fetch(
    vault: &dyn Vault,
    manifest: &Manifest,
    to: &Path,
    depth: Depth,
    progress: &dyn Progress,
) -> Result<(), String> {
    progress.phase("reading the backup", Some(manifest.bytes), Unit::Bytes);
    unpack(vault, manifest, Some(to), progress)?;
    match depth {
        Depth::Bytes if manifest.verified.is_some() => Ok(()),
        _ => {
            progress.step("checking the backup");
            inspect(to, &manifest.contents)
        }
    }
}

fn unpack(
    vault: &dyn Vault,
    manifest: &Manifest,
    to: Option<&Path>,
    progress: &dyn Progress,
) -> Result<(), String> {
    let Manifest { file, .. } = manifest;
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => format!("{file} is not there"),
        _ => format!("{file} cannot be read: {error}"),
    };
    let packed = Hashing::new(Told::new(vault.read(file).map_err(failed)?, progress));
    let mut decoder = MultiGzDecoder::new(BufReader::with_capacity(CHUNK_BYTES, packed));
    let out: Box<dyn io::Write> = match to {
        Some(path) => Box::new(BufWriter::with_capacity(CHUNK_BYTES, File::create(path).map_err(failed)?)),
        None => Box::new(io::sink()),
    };
    let mut out = Hashing::new(out);
    let mut limited = (&mut decoder).take(manifest.database_bytes + 1);
    pump(&mut limited, |bytes| out.write_all(bytes)).map_err(failed)?;
    out.flush().map_err(failed)?;
    let mut rest = decoder.into_inner();
    pump(&mut rest, |_| Ok(())).map_err(failed)?;
    let (_, sha256, bytes) = rest.into_inner().finish();
    if (sha256.as_str(), bytes) != (manifest.sha256.as_str(), manifest.bytes) {
        return Err(format!(
            "{file} does not have the bytes that were written: {bytes} bytes, SHA-256 {sha256}"
        ));
    }
    let (_, sha256, bytes) = out.finish();
    if (sha256.as_str(), bytes) != (manifest.database_sha256.as_str(), manifest.database_bytes) {
        return Err(format!("{file} does not unpack to the database that was packed"));
    }
    Ok(())
}

/// SQLite's own checks and the rows of every table.
fn inspect(database: &Path, expected: &Contents) -> Result<(), String> {
    let Examined { problems, contents } =
        examine(database).map_err(|error| format!("the unpacked database: {error}"))?;
    if let Some(problem) = problems.first() {
        // The bytes are those that were packed, so the database itself was like this.
        return Err(format!(
            "integrity_check of the database, as it was when it was packed, says: {problem}"
        ));
    }
    match expected.difference(&contents) {
        Some(difference) => Err(format!("the unpacked database is another: {difference}")),
        None => Ok(()),
    }
}

/// What SQLite says of a database, and what it holds.
pub(crate) struct Examined {
    /// Of `integrity_check`; empty when the database is sound.
    pub(crate) problems: Vec<String>,
    pub(crate) contents: Contents,
}

/// Reads a database that nobody writes to: its pages and its rows at the same time.
pub(crate) fn examine(database: &Path) -> rusqlite::Result<Examined> {
    thread::scope(|scope| {
        let problems = scope.spawn(|| contents::integrity_problems(&still(database)?));
        let contents = still(database).and_then(|conn| contents::read(&conn));
        Ok(Examined { problems: finished(problems)?, contents: contents? })
    })
}

/// Opens a database that nobody writes to. Only one thread may have the connection, so that SQLite need not lock each
/// call.
pub(crate) fn still(database: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(database, flags)
}

/// What a thread beside ours has come to. Whoever dies there dies here, too: nobody must go on with half of the work.
pub(crate) fn finished<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|died| panic::resume_unwind(died))
}

#[cfg(test)]
mod tests {
    use super::super::manifest::Facts;
    use super::super::pack::Effort;
    use super::super::vault::{self, tests::MemoryVault};
    use super::super::{Tier, snapshot};
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tt_migrations::progress::Unwatched;
    use tt_migrations::state;

    #[test]
    fn a_file_of_one_member_as_earlier_programs_made_it_is_as_good_as_one_of_many() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let conn = Connection::open(path("live.db")).unwrap();
        conn.execute_batch(state::TABLES).unwrap();
        conn.execute_batch(
            "CREATE TABLE bags(id INTEGER PRIMARY KEY, label);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 90000)
             INSERT INTO bags(label) SELECT 'the label of bag number ' || i FROM n;",
        )
        .unwrap();
        let (plain, file) = (path("plain.db"), path("plain.db.gz"));
        let Snapshot { taken, packed, is_sound } =
            snapshot::take(&path("live.db"), &plain, &file, Effort::Small, &Unwatched).unwrap();
        assert!(is_sound);
        let many = fs::read(path("plain.db.gz")).unwrap();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(9));
        encoder.write_all(&fs::read(path("plain.db")).unwrap()).unwrap();
        let one = encoder.finish().unwrap();
        assert_ne!(one, many);
        let (mut sha256, mut told) = (Hashing::new(io::sink()), packed.clone());
        sha256.write_all(&one).unwrap();
        (_, told.sha256, told.bytes) = sha256.finish();
        for (bytes, packed) in [(many, packed), (one, told)] {
            let facts = Facts {
                tier: Tier::Hourly,
                slot: String::new(),
                taken_at: String::new(),
                stamp: "20261122_020000",
                taken: &taken,
                packed: &packed,
            };
            let (vault, manifest) = (MemoryVault::default(), Manifest::new(facts));
            vault::put(&vault, &manifest.file, &bytes).unwrap();
            fetch(&vault, &manifest, &path("fetched.db"), Depth::Bytes, &Unwatched).unwrap();
            assert_eq!(fs::read(path("fetched.db")).unwrap(), fs::read(path("plain.db")).unwrap());
            vault::put(&vault, &manifest.file, &bytes[..bytes.len() - 1]).unwrap();
            assert!(Checker::new(dir.path(), &Unwatched).check(&vault, &manifest).is_err(), "cut off");
        }
    }
}

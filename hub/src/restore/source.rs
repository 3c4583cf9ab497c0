//! Fetches what is to be restored: a verified copy from any vault, or a file from anywhere.

use super::choice::{Target, What, as_file};
use super::unpack::{UnpackError, unpack};
use super::{RestoreError, Restores, record, replay};
use crate::backup::check::{self, Depth, Examined};
use crate::backup::contents::Contents;
use crate::backup::manifest::{MANIFEST_BYTES_MAX, Manifest, manifest_file};
use crate::backup::pack::sha256;
use crate::backup::vault::{self, FolderVault, Vault};
use crate::backup::{Listed, calendar};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use tt_migrations::progress::{Progress, Unit};
use tt_protocol::counted::counted;

const HEADER: &[u8; 16] = b"SQLite format 3\0";

/// What was fetched.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// The id, or the path of a file.
    pub(crate) label: String,
    /// Copies that were skipped, and what else a person should know.
    pub(crate) notes: Vec<String>,
    /// What its tables hold, where that is known.
    pub(super) contents: Option<Contents>,
}

/// Fetches into the new file `to` and checks it there, as deep as is asked: what comes with no manifest is always
/// looked at whole.
pub(super) fn fetch(
    restores: &Restores,
    what: &What,
    to: &Path,
    depth: Depth,
) -> Result<Source, RestoreError> {
    match what {
        What::Named(name) => named(restores, name, to, depth),
        What::Undo => {
            let mark = record::mark_in(&restores.database)?;
            let id = mark.and_then(|mark| mark.safety_copy).ok_or(RestoreError::NothingToUndo)?;
            named(restores, &id, to, depth)
        }
        What::At(target) => {
            let mut reasons = Vec::new();
            // A backup of a history that a restore has left leads nowhere; an older one may.
            for backup in older(restores, *target)? {
                let mut source = from_vaults(restores, &backup, to, depth)?;
                match replay::up_to(restores, to, &backup.manifest, *target) {
                    Ok(notes) => {
                        source.notes.extend(notes);
                        source.contents = None;
                        source.label = format!("{} ({target})", source.label);
                        return Ok(source);
                    }
                    Err(error) => reasons.push(error),
                }
                let _ = fs::remove_file(to);
            }
            Err(reasons.into_iter().next().unwrap_or_else(|| RestoreError::TooOld(target.to_string())))
        }
    }
}

fn named(restores: &Restores, name: &str, to: &Path, depth: Depth) -> Result<Source, RestoreError> {
    let catalog = restores.backups.catalog();
    if let Some(backup) = catalog.backups.iter().find(|backup| backup.manifest.id == name) {
        return from_vaults(restores, backup, to, depth);
    }
    if let Some(manifest) = restores.safety_copy(name) {
        check::fetch(&restores.vault, &manifest, to, depth, restores.backups.progress())
            .map_err(|reason| RestoreError::Unusable { what: name.to_owned(), reason })?;
        return Ok(fetched(name, &manifest.contents, Vec::new()));
    }
    // A backup whose manifests are all lost is still a file in a vault, and can be named as one.
    match as_file(name) {
        Some(path) => from_file(&path, to, depth, restores.backups.progress()),
        None => Err(RestoreError::Unknown(name.to_owned())),
    }
}

/// Verified backups that are not younger than the target, the nearest first.
fn older(restores: &Restores, target: Target) -> Result<Vec<Listed>, RestoreError> {
    let is_older = |backup: &Listed| match target {
        Target::Time(at) => backup.manifest.taken_at <= calendar::utc(at),
        Target::Version(version) => backup.manifest.version <= version,
    };
    let order = |backup: &Listed| match target {
        Target::Time(_) => (0, backup.manifest.taken_at.clone()),
        Target::Version(_) => (backup.manifest.version, backup.manifest.taken_at.clone()),
    };
    let mut found = restores.backups.catalog().backups;
    found.retain(|backup| backup.is_verified() && is_older(backup));
    found.sort_by_key(|backup| std::cmp::Reverse(order(backup)));
    // The tiers of one run are one.
    found.dedup_by_key(|backup| backup.manifest.database_sha256.clone());
    if found.is_empty() { Err(RestoreError::TooOld(target.to_string())) } else { Ok(found) }
}

/// The first copy that passes its check now.
fn from_vaults(
    restores: &Restores,
    backup: &Listed,
    to: &Path,
    depth: Depth,
) -> Result<Source, RestoreError> {
    let mut notes = Vec::new();
    for number in restores.backups.near_first(backup.copies.iter().map(|(number, _)| *number)) {
        let vault = restores.backups.vaults[number].vault.as_ref();
        match check::fetch(vault, &backup.manifest, to, depth, restores.backups.progress()) {
            Ok(()) => {
                let Manifest { id, contents, .. } = &backup.manifest;
                return Ok(fetched(id, contents, notes));
            }
            Err(reason) => {
                notes.push(format!("the copy in the vault {} was not used: {reason}", vault.name()))
            }
        }
    }
    Err(RestoreError::Unusable { what: backup.manifest.id.clone(), reason: notes.join("; ") })
}

/// Backups hold what was there, also rows without their parent: these are said, not refused.
fn fetched(label: &str, contents: &Contents, mut notes: Vec<String>) -> Source {
    let orphans = contents.foreign_key_violations.iter();
    notes.extend(orphans.map(|(table, rows)| {
        format!("{} of {table} without the row that is named there", counted(*rows, "row"))
    }));
    Source { label: label.to_owned(), notes, contents: Some(contents.clone()) }
}

/// A file that somebody names.
fn from_file(path: &Path, to: &Path, depth: Depth, progress: &dyn Progress) -> Result<Source, RestoreError> {
    let what = path.display().to_string();
    let unusable = |reason: String| RestoreError::Unusable { what: what.clone(), reason };
    if !path.exists() {
        return Err(RestoreError::Unknown(what));
    }
    // A pipe would keep us waiting for ever.
    if !path.is_file() {
        return Err(unusable("it is no file".to_owned()));
    }
    let bytes = fs::metadata(path).map_or(0, |file| file.len());
    progress.phase("reading the file", Some(bytes), Unit::Bytes);
    check_sum(path, progress).map_err(unusable)?;
    if let Some((vault, manifest)) = manifest_beside(path) {
        check::fetch(&vault, &manifest, to, depth, progress).map_err(unusable)?;
        return Ok(fetched(&what, &manifest.contents, Vec::new()));
    }
    if path.extension().is_some_and(|ending| ending == "gz") {
        unpack(path, to, progress).map_err(|error| match error {
            UnpackError::Io(error) => unusable(in_words(&error)),
            error => unusable(error.to_string()),
        })?;
    } else {
        copy(path, to).map_err(unusable)?;
    }
    if !has_header(to).map_err(|error| unusable(in_words(&error)))? {
        return Err(unusable("it is not a SQLite database".to_owned()));
    }
    progress.step("checking the file");
    let Examined { problems, contents } = check::examine(to).map_err(|error| unusable(error.to_string()))?;
    if let Some(problem) = problems.first() {
        return Err(unusable(format!("integrity_check says: {}", problem.replace('\n', " "))));
    }
    let note = "no manifest is beside it: its tables were compared with nothing".to_owned();
    Ok(fetched(&what, &contents, vec![note]))
}

/// The `.sha256` beside a file, when there is one.
fn check_sum(path: &Path, progress: &dyn Progress) -> Result<(), String> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".sha256");
    let text = match fs::read_to_string(&beside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        text => text.map_err(|error| format!("its .sha256 cannot be read: {error}"))?,
    };
    let expected = text.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    let found = sha256(path, progress).map_err(|error| in_words(&error))?;
    if expected == found {
        Ok(())
    } else {
        Err(format!("its SHA-256 is {found}, and the .sha256 beside it says {expected}"))
    }
}

/// A copy of one of our backups that was carried elsewhere, with its manifest.
fn manifest_beside(path: &Path) -> Option<(FolderVault, Manifest)> {
    let name = path.file_name()?.to_str()?;
    let id = name.strip_suffix(".db.gz")?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let vault = FolderVault::new("file", folder, false);
    let bytes = vault::get(&vault, &manifest_file(id), MANIFEST_BYTES_MAX).ok()?;
    let manifest = Manifest::from_bytes(id, &bytes).ok()?;
    vault.list().ok()?.contains(&manifest.file).then_some((vault, manifest))
}

/// A database as it is now, with its log, also while a program has it open.
fn copy(path: &Path, to: &Path) -> Result<(), String> {
    if !has_header(path).map_err(|error| in_words(&error))? {
        return Err("it is not a SQLite database".to_owned());
    }
    let copied = || {
        let from = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        from.busy_timeout(super::PATIENCE)?;
        let moment = from.unchecked_transaction()?;
        moment.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        let mut copy = Connection::open(to)?;
        let step = Backup::new(&moment, &mut copy)?.step(-1)?;
        copy.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
        Ok::<_, rusqlite::Error>(step)
    };
    match copied() {
        Ok(StepResult::Done) => Ok(()),
        Ok(_) => Err("a program holds it for itself: stop that program".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn has_header(path: &Path) -> io::Result<bool> {
    let mut header = Vec::new();
    File::open(path)?.take(16).read_to_end(&mut header)?;
    Ok(header == HEADER)
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it is cut off, or something was added to its end".to_owned(),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            format!("it does not unpack ({error}): the file is damaged or no gzip")
        }
        _ => format!("it cannot be read: {error}"),
    }
}

//! One file, in one transaction: its lines, the places of those that did not go in, and the note that it went in.
//!
//! The file is read twice from one handle: first its digest, without a lock, then its lines. If both readings are
//! not the same, somebody was writing it, and nothing went in.

use super::book::{self, Known, Place};
use super::config::{Lookup, Mapping, Target};
use super::fields::{Fields, Shape};
use super::lines::{Line, Lines};
use super::opened::{Look, Opened};
use super::table::Table;
use super::unfit::{Strange, Unfit};
use super::{FILE_BYTES_MAX, InboxError, LARGE_BYTES_MAX, REASONS_MAX, Reason};
use crate::clock;
use crate::record::{self, Columns, RecordError};
use rusqlite::{Connection, ErrorCode};
use sha2::{Digest as _, Sha256};
use std::io::{self, BufRead, Read as _};
use std::path::Path;
use tt_migrations::capture::triggers::NO_FREE_ID;

/// What is to be done.
pub(crate) struct Job<'j> {
    /// The file.
    pub(crate) path: &'j Path,
    /// The name under which it is noted.
    pub(crate) name: &'j str,
    /// What its lines become.
    pub(crate) mapping: &'j Mapping,
    /// A person asks for it, and the file is not in the folder.
    pub(crate) by_hand: bool,
    /// It goes in whatever went in before.
    pub(crate) again: bool,
    /// The content of another file is no reason against it.
    pub(crate) equal_files: bool,
    /// Nothing is written.
    pub(crate) dry_run: bool,
    /// Programs may have to wait for long.
    pub(crate) large: bool,
}

/// What became of a file.
pub(crate) enum Verdict {
    /// It is in.
    In(Taken),
    /// It, or one that is equal, was in before.
    Known(Known, Look),
    /// Nothing of it went in.
    Whole(Whole),
}

/// A file that is in.
pub(crate) struct Taken {
    /// Number of its note.
    pub(crate) id: i64,
    /// Lines that went in.
    pub(crate) lines: u64,
    /// Lines that did not.
    pub(crate) rejected: u64,
    /// The first of these.
    pub(crate) reasons: Vec<Reason>,
    /// What it was.
    pub(super) look: Look,
}

/// A file of which nothing went in.
#[derive(Debug)]
pub(crate) struct Whole {
    /// Why, in a sentence.
    pub(crate) why: String,
    /// Lines that did not fit.
    pub(crate) rejected: u64,
    /// The first of these.
    pub(crate) reasons: Vec<Reason>,
}

impl Whole {
    /// Why, for a file whose lines were not asked.
    pub(crate) fn because(why: &impl ToString) -> Self {
        Self { why: why.to_string(), rejected: 0, reasons: Vec::new() }
    }
}

/// Takes a file, or says why not. `tell` hears the fields of each line that went in.
///
/// # Errors
/// When it cannot be taken now. Nothing was written then.
pub(crate) fn import(
    conn: &mut Connection,
    job: &Job<'_>,
    tell: &mut dyn FnMut(u64, &Fields),
) -> Result<Verdict, InboxError> {
    let file = Opened::open(job.path)?;
    if let Some(strange) = too_large(file.bytes(), job.large) {
        return Ok(Verdict::Whole(Whole::because(&strange)));
    }
    let (hash, is_utf16) = survey(&file)?;
    if is_utf16 {
        return Ok(Verdict::Whole(Whole::because(&Strange::Utf16)));
    }
    let tx = record::begin(conn)?;
    tx.execute_batch(book::TABLES)?;
    if !job.again {
        let name = job.equal_files.then_some(job.name);
        if let Some(known) = book::find(&tx, &hash, name)? {
            return Ok(Verdict::Known(known, file.look()));
        }
        if let Some(known) = beginning(&tx, &file, job)? {
            return Ok(Verdict::Whole(Whole::because(&grown(&known))));
        }
    }
    let id = book::note(&tx, (job.name, &hash, file.bytes()), job.by_hand, clock::now().0)?;
    let mut work =
        Work { conn: &tx, mapping: job.mapping, id, table: None, lines: 0, rejected: 0, reasons: Vec::new() };
    let mut lines = Lines::new(file.read()?);
    let outcome = work.all(&mut lines, Shape::new(job.mapping, job.mapping.format(job.name)), tell);
    let strange = match outcome {
        Err(Stop::File(source)) => return Err(file.failed(source)),
        Err(Stop::Sqlite(source)) if is_out_of_ids(&source) => {
            return Err(InboxError::NoIds(source.to_string()));
        }
        Err(Stop::Sqlite(source)) => return Err(source.into()),
        Err(Stop::Strange(strange)) => return Ok(Verdict::Whole(Whole::because(&strange))),
        Ok(()) => (lines.digest() != hash || !file.is_unchanged()?).then_some(()),
    };
    if strange.is_some() {
        return Err(InboxError::Written(job.path.to_owned()));
    }
    let Work { lines, rejected, reasons, .. } = work;
    if lines == 0 && rejected > 0 {
        let why = "no line of it can go in".to_owned();
        return Ok(Verdict::Whole(Whole { why, rejected, reasons }));
    }
    book::count(&tx, id, lines)?;
    let taken = Taken { id, lines, rejected, reasons, look: file.look() };
    if job.dry_run {
        return Ok(Verdict::In(taken));
    }
    match tx.commit() {
        Ok(()) => Ok(Verdict::In(taken)),
        Err(source) if is_lines_fault(&source) => {
            let why = format!("its rows do not fit together: {source}");
            Ok(Verdict::Whole(Whole { why, rejected: taken.rejected, reasons: taken.reasons }))
        }
        Err(source) => Err(source.into()),
    }
}

/// Why a file of so many bytes does not go in.
fn too_large(bytes: u64, large: bool) -> Option<Strange> {
    if bytes > LARGE_BYTES_MAX {
        return Some(Strange::TooLarge);
    }
    (bytes > FILE_BYTES_MAX && !large).then_some(Strange::Large)
}

/// The digest of a file, and whether it says that it is UTF-16.
fn survey(file: &Opened) -> Result<([u8; 32], bool), InboxError> {
    let (hash, head) = digest(file.read()?).map_err(|source| file.failed(source))?;
    Ok((hash, [[0xFF, 0xFE], [0xFE, 0xFF]].iter().any(|mark| *mark == head.as_slice())))
}

/// A shorter file of this name that went in and is the beginning of this one: its lines would go in twice.
fn beginning(conn: &Connection, file: &Opened, job: &Job<'_>) -> Result<Option<Known>, InboxError> {
    if job.equal_files {
        return Ok(None);
    }
    for (known, hash) in book::shorter(conn, job.name, file.bytes())? {
        let found = digest(file.read()?.take(known.bytes)).map_err(|source| file.failed(source))?;
        if found.0 == hash {
            return Ok(Some(known));
        }
    }
    Ok(None)
}

/// Of all that is there, with its first two bytes.
fn digest(mut source: impl BufRead) -> io::Result<([u8; 32], Vec<u8>)> {
    let mut digest = Sha256::new();
    let mut head = Vec::new();
    loop {
        let part = source.fill_buf()?;
        if part.is_empty() {
            return Ok((digest.finalize().into(), head));
        }
        head.extend(part.iter().take(2_usize.saturating_sub(head.len())));
        digest.update(part);
        let read = part.len();
        source.consume(read);
    }
}

fn grown(known: &Known) -> String {
    format!(
        "its first {} bytes went in at {} UTC as a file of this name, and nothing of the rest has: put the new lines \
         into a file of their own",
        known.bytes, known.at
    )
}

/// Why the lines of a file are not read to their end.
enum Stop {
    File(io::Error),
    Sqlite(rusqlite::Error),
    Strange(Strange),
}

impl From<rusqlite::Error> for Stop {
    fn from(source: rusqlite::Error) -> Self {
        Self::Sqlite(source)
    }
}

struct Work<'w> {
    conn: &'w Connection,
    mapping: &'w Mapping,
    id: i64,
    table: Option<Table>,
    lines: u64,
    rejected: u64,
    reasons: Vec<Reason>,
}

impl Work<'_> {
    fn all<R: BufRead>(
        &mut self,
        lines: &mut Lines<R>,
        mut shape: Shape<'_>,
        tell: &mut dyn FnMut(u64, &Fields),
    ) -> Result<(), Stop> {
        let mut is_header = shape.wants_header();
        if let Target::Table(name) = &self.mapping.target {
            let table = Table::of(self.conn, name)?;
            self.table = Some(table.ok_or_else(|| Stop::Strange(Strange::NoTable(name.clone())))?);
        }
        self.mapping.lookup.values().try_for_each(|lookup| self.can_ask(lookup))?;
        if !is_header {
            self.knows(&shape)?;
        }
        while let Some(line) = lines.next_filled().map_err(Stop::File)? {
            if is_header {
                is_header = false;
                shape.header(line).map_err(Stop::Strange)?;
                self.knows(&shape)?;
                book::note_header(self.conn, self.id, line.past)?;
                continue;
            }
            self.line(line, &mut shape, tell)?;
        }
        Ok(())
    }

    /// A name in quotes that is no column would be taken for a text.
    fn can_ask(&self, lookup: &Lookup) -> Result<(), Stop> {
        let columns = Columns::of(self.conn, &lookup.table)?;
        if columns.is_empty() {
            return Err(Stop::Strange(Strange::NoTable(lookup.table.clone())));
        }
        let missing = lookup.by.iter().chain([&lookup.give]).find(|column| !columns.has(column));
        missing.map_or(Ok(()), |column| {
            let (table, column) = (lookup.table.clone(), column.clone());
            Err(Stop::Strange(Strange::NoTarget { table, column }))
        })
    }

    /// Every field that the file names is one.
    fn knows(&self, shape: &Shape<'_>) -> Result<(), Stop> {
        for field in shape.named() {
            match (&self.mapping.target, &self.table) {
                (Target::Count(kind), _) if !kind.knows(field) => {
                    return Err(Stop::Strange(Strange::NoField(field.to_owned(), kind.names())));
                }
                (Target::Table(_), Some(table)) => {
                    table.column(field).map_err(Stop::Strange)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes one line, or notes why not.
    fn line(
        &mut self,
        line: Line<'_>,
        shape: &mut Shape<'_>,
        tell: &mut dyn FnMut(u64, &Fields),
    ) -> Result<(), Stop> {
        let (number, first, past) = (line.number, line.first, line.past);
        self.conn.prepare_cached("SAVEPOINT _sync_line")?.execute([])?;
        let written = shape.fields(line, self.conn).and_then(|fields| {
            self.write(fields.clone())?;
            Ok(fields)
        });
        let unfit = match written {
            Ok(fields) => {
                self.conn.prepare_cached("RELEASE _sync_line")?.execute([])?;
                self.lines += 1;
                tell(number, &fields);
                return Ok(());
            }
            Err(unfit) => unfit,
        };
        if let Unfit::Refused(source) | Unfit::Record(RecordError::Sqlite(source)) = &unfit
            && (!is_lines_fault(source) || self.conn.is_autocommit())
        {
            return Err(Stop::Sqlite(clone(source)));
        }
        self.conn.execute_batch("ROLLBACK TO _sync_line; RELEASE _sync_line")?;
        let reason = Reason { line: number, reason: unfit.to_string() };
        book::reject(self.conn, self.id, &Place { first, past, reason: reason.clone() })?;
        self.rejected += 1;
        if self.reasons.len() < REASONS_MAX {
            self.reasons.push(reason);
        }
        Ok(())
    }

    fn write(&self, fields: Fields) -> Result<(), Unfit> {
        match (&self.mapping.target, &self.table) {
            (Target::Count(kind), _) => kind.record(self.conn, fields, self.mapping.confirmed),
            (Target::Table(_), Some(table)) => table.insert(self.conn, fields),
            (Target::Table(name), None) => Err(Unfit::Count(format!("there is no table {name}"))),
        }
    }
}

/// True when another line may well go in: the row is what SQLite, or a program's trigger, does not want.
fn is_lines_fault(error: &rusqlite::Error) -> bool {
    use ErrorCode::{ConstraintViolation, TooBig, TypeMismatch, Unknown};
    if is_out_of_ids(error) {
        return false;
    }
    let code = error.sqlite_error_code();
    code.is_none_or(|code| matches!(code, ConstraintViolation | TypeMismatch | TooBig | Unknown))
}

/// True when the device must meet its hub before any such row can go in.
fn is_out_of_ids(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(_, Some(text)) if text.starts_with(NO_FREE_ID))
}

/// The same failure, for whoever tries the whole file again.
fn clone(error: &rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::SqliteFailure(code, text) => rusqlite::Error::SqliteFailure(*code, text.clone()),
        other => rusqlite::Error::ToSqlConversionFailure(other.to_string().into()),
    }
}

#[cfg(test)]
mod tests;

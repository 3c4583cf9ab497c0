//! The hub's side of a reseed by difference: answers what devices ask about a snapshot.
//!
//! * Everything is answered from the snapshot's own file, which changes no more: the writer never waits, and every
//!   device that asks about the same snapshot gets the same answers.
//! * A table is read once, when a device first asks about it. Kept is the digest and the last key of every range,
//!   and in a file beside the snapshot four bytes for each row. Nothing is kept for a device.
//! * A question comes from outside: what it may ask at once is bounded by [`tt_protocol::difference`].

mod summary;

use super::StoreError;
use rusqlite::{Connection, OpenFlags};
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use summary::Summary;
use tt_migrations::ranges::{self, Bounds};
use tt_migrations::replica::Tracked;
use tt_migrations::row::Row;
use tt_migrations::shape::Schema;
use tt_migrations::value::copy;
use tt_protocol::change::Kind;
use tt_protocol::difference::cell::{Cell, Mark, SPLIT_MAX};
use tt_protocol::difference::{
    ANSWER_BYTES_SOFT, Answer, BLOCKS_MAX, Cells, Parts, Question, ROWS_MAX, WINDOW_BLOCKS, numbers,
};
use tt_protocol::limits::FRAME_BYTES_MAX;
use tt_protocol::pieces::PieceBuilder;
use tt_protocol::value::Value;

/// A snapshot that devices may ask about, with what is known of its tables.
pub struct Compared {
    snapshot: PathBuf,
    folder: PathBuf,
    known: Mutex<HashMap<String, Arc<Summary>>>,
}

/// Reads the snapshot for one device.
pub struct Answerer {
    conn: Connection,
    compared: Arc<Compared>,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the hub cannot read its snapshot: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("the hub cannot keep what it knows of its snapshot: {0}")]
    Io(#[from] io::Error),
    #[error("the hub's snapshot has no table \"{0}\" with a key")]
    NoTable(String),
    #[error("the device asks for more than it may, or for what is not there")]
    Asked,
    #[error("a row of table \"{0}\" is too large to be sent by itself")]
    Large(String),
    #[error("the keys of table \"{0}\" do not sort as its index does")]
    Order(String),
}

impl Compared {
    /// Nothing is known of the snapshot yet. What will be goes into `folder`.
    #[must_use]
    pub fn new(snapshot: PathBuf, folder: PathBuf) -> Self {
        Self { snapshot, folder, known: Mutex::default() }
    }

    /// The first that asks about a table has it read; others wait for that and share it.
    fn summary(&self, conn: &Connection, table: &str) -> Result<Arc<Summary>, Trouble> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(summary) = known.get(table) {
            return Ok(Arc::clone(summary));
        }
        let schema = Schema::read(conn)?;
        let found = schema.tables.get(table).filter(|found| !found.key.is_empty());
        let found = found.ok_or_else(|| Trouble::NoTable(table.to_owned()))?;
        let path = self.folder.join(format!("{}.marks", known.len()));
        let summary = Arc::new(Summary::read(conn, Tracked::new(found.clone(), 0), &path)?);
        known.insert(table.to_owned(), Arc::clone(&summary));
        Ok(summary)
    }
}

impl Answerer {
    /// Opens the snapshot.
    ///
    /// # Errors
    /// When its file cannot be opened.
    pub fn open(compared: Arc<Compared>) -> Result<Self, StoreError> {
        let conn = Connection::open_with_flags(&compared.snapshot, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        Ok(Self { conn, compared })
    }

    /// Answers one question. Reads the table, if nobody has asked about it before.
    #[must_use]
    pub fn answer(&self, question: &Question) -> Answer {
        self.found(question).unwrap_or_else(|trouble| {
            tracing::warn!(%trouble, "a device takes a whole snapshot");
            Answer::Refused(trouble.to_string())
        })
    }

    fn found(&self, question: &Question) -> Result<Answer, Trouble> {
        let summary = |table: &String| self.compared.summary(&self.conn, table);
        match question {
            Question::Blocks { table, from } => blocks(&*summary(table)?, *from),
            Question::Ranges { table, blocks } => ranges(&*summary(table)?, blocks),
            Question::Sums { table, cells, bits } => sums(&*summary(table)?, cells, *bits),
            Question::Marks { table, cells } => marks(&*summary(table)?, cells),
            Question::Rows { table, cells, places } => self.rows(&*summary(table)?, cells, places),
        }
    }

    /// As many as fit. Every range that is touched is read once.
    fn rows(&self, summary: &Summary, cells: &Cells, places: &[u8]) -> Result<Answer, Trouble> {
        let cells = cells.read(summary.ranges()).filter(|cells| !cells.is_empty()).ok_or(Trouble::Asked)?;
        let places = if places.is_empty() {
            Vec::new()
        } else {
            let places = numbers::unpack(places, cells.len()).filter(|places| places.len() == cells.len());
            places.ok_or(Trouble::Asked)?
        };
        let mut taking =
            Taking { summary, builder: PieceBuilder::default(), rows: 0, bytes: 0, counts: Vec::new() };
        let mut places = places.into_iter();
        for of_range in cells.chunk_by(|one, next| one.range == next.range) {
            let marks = summary.marks(of_range[0].range)?;
            let wanted: Option<Vec<Vec<usize>>> =
                of_range.iter().map(|cell| rows_in(*cell, &marks, places.next())).collect();
            let wanted = wanted.ok_or(Trouble::Asked)?;
            let rows = self.rows_at(summary, of_range[0].range, marks.len(), &wanted.concat())?;
            for indexes in wanted {
                let rows: Vec<&Row> = indexes.iter().filter_map(|index| rows.get(index)).collect();
                if !taking.take(&rows) {
                    return taking.finish();
                }
            }
        }
        taking.finish()
    }

    /// Some rows of a range, by where in it they are. All of its rows are walked over.
    fn rows_at(
        &self,
        summary: &Summary,
        range: u32,
        count: usize,
        wanted: &[usize],
    ) -> Result<HashMap<usize, Row>, Trouble> {
        let tracked = summary.tracked();
        let number = usize::try_from(range).map_err(|_| Trouble::Asked)?;
        let wanted: HashSet<usize> = wanted.iter().copied().collect();
        let (mut rows, mut index) = (HashMap::new(), 0);
        ranges::for_each(&self.conn, tracked, Bounds::of(summary.uppers(), number), |row| {
            if wanted.contains(&index) {
                rows.insert(index, copy(row, 0, tracked.names.len())?);
            }
            index += 1;
            Ok(())
        })?;
        if index == count { Ok(rows) } else { Err(Trouble::Order(tracked.table.name.clone())) }
    }
}

/// Where in its range the rows of a cell are, or the one at this place. None when there is no such place.
fn rows_in(cell: Cell, marks: &[Mark], place: Option<u64>) -> Option<Vec<usize>> {
    let mut held =
        marks.iter().enumerate().filter(|(_, mark)| cell.holds(mark.place)).map(|(index, _)| index);
    match place {
        Some(place) => held.nth(usize::try_from(place).ok()?).map(|index| vec![index]),
        None => Some(held.collect()),
    }
}

/// Rows of one answer.
struct Taking<'s> {
    summary: &'s Summary,
    builder: PieceBuilder,
    rows: usize,
    bytes: usize,
    counts: Vec<u64>,
}

impl Taking<'_> {
    /// False when these must wait for the next answer.
    fn take(&mut self, rows: &[&Row]) -> bool {
        let size = |value: &Value| match value {
            Value::Text(bytes) | Value::Blob(bytes) => bytes.len(),
            _ => 8,
        };
        let bytes: usize = rows.iter().flat_map(|row| row.iter()).map(size).sum();
        let is_full = self.rows + rows.len() > ROWS_MAX || self.bytes + bytes > ANSWER_BYTES_SOFT;
        if !self.counts.is_empty() && is_full {
            return false;
        }
        let tracked = self.summary.tracked();
        let names: Vec<&str> = tracked.names.iter().map(String::as_str).collect();
        for row in rows {
            let values = row.iter().map(Value::as_ref);
            self.builder.push(Kind::Put, &tracked.table.name, tracked.keys(), &names, values);
        }
        (self.rows, self.bytes) = (self.rows + rows.len(), self.bytes + bytes);
        self.counts.push(rows.len() as u64);
        true
    }

    fn finish(self) -> Result<Answer, Trouble> {
        let pieces = self.builder.finish();
        // The rest of a frame is for the counts.
        let room = FRAME_BYTES_MAX - 64 * 1024;
        if pieces.iter().map(Vec::len).sum::<usize>() > room {
            return Err(Trouble::Large(self.summary.tracked().table.name.clone()));
        }
        Ok(Answer::Rows { counts: numbers::pack(&self.counts), pieces })
    }
}

fn blocks(summary: &Summary, from: u32) -> Result<Answer, Trouble> {
    let total = summary.blocks();
    let from = usize::try_from(from).map_err(|_| Trouble::Asked)?;
    if from >= total {
        return Err(Trouble::Asked);
    }
    let numbers: Vec<usize> = (from..total.min(from + BLOCKS_MAX)).collect();
    let (_, parts) = fitting(summary, &numbers, |block| summary.block(block))?;
    let total = u32::try_from(total).map_err(|_| Trouble::Asked)?;
    Ok(Answer::Blocks { total, parts })
}

fn ranges(summary: &Summary, blocks: &[u32]) -> Result<Answer, Trouble> {
    let is_known = |block: &u32| usize::try_from(*block).is_ok_and(|block| block < summary.blocks());
    let ascend = blocks.windows(2).all(|pair| pair[0] < pair[1]);
    if blocks.is_empty() || blocks.len() > WINDOW_BLOCKS || !ascend || !blocks.iter().all(is_known) {
        return Err(Trouble::Asked);
    }
    let of_block = |block: &u32| summary.ranges_of(usize::try_from(*block).unwrap_or(usize::MAX));
    for count in (1..=blocks.len()).rev() {
        let numbers: Vec<usize> = blocks[..count].iter().flat_map(of_block).collect();
        let (all, parts) = fitting(summary, &numbers, |range| summary.range(range))?;
        if all {
            return Ok(Answer::Ranges(parts));
        }
    }
    Err(Trouble::Large(summary.tracked().table.name.clone()))
}

/// As many of these parts as fit into an answer, and whether that is all of them.
fn fitting<'s>(
    summary: &'s Summary,
    numbers: &[usize],
    part: impl Fn(usize) -> (tt_protocol::digest::TableDigest, Option<&'s [Value]>),
) -> Result<(bool, Parts), Trouble> {
    let tracked = summary.tracked();
    let names = &tracked.names[..tracked.keys()];
    let mut count = numbers.len();
    while count > 0 {
        let parts: Vec<_> = numbers[..count].iter().map(|number| part(*number)).collect();
        let digests = parts.iter().map(|(digest, _)| *digest).collect();
        let uppers = parts.iter().filter_map(|(_, upper)| *upper);
        let built = Parts::new((&tracked.table.name, names), digests, uppers);
        if built.uppers.len() <= ANSWER_BYTES_SOFT {
            return Ok((count == numbers.len(), built));
        }
        count /= 2;
    }
    Err(Trouble::Large(tracked.table.name.clone()))
}

fn sums(summary: &Summary, cells: &Cells, bits: u8) -> Result<Answer, Trouble> {
    let cells =
        cells.read(summary.ranges()).filter(|_| (1..=SPLIT_MAX).contains(&bits)).ok_or(Trouble::Asked)?;
    let mut bytes = Vec::new();
    each(summary, &cells, |cell, marks| {
        if cell.parts(bits).is_none() {
            return Err(Trouble::Asked);
        }
        let sums = cell.sums(bits, marks.iter().copied());
        // The last one follows from the others.
        let told = sums.split_last().map(|(_, told)| told).unwrap_or_default();
        bytes.extend(told.iter().flat_map(|sum| sum.to_le_bytes()));
        Ok(())
    })?;
    Ok(Answer::Sums(bytes))
}

fn marks(summary: &Summary, cells: &Cells) -> Result<Answer, Trouble> {
    let cells = cells.read(summary.ranges()).ok_or(Trouble::Asked)?;
    let (mut counts, mut hashes) = (Vec::with_capacity(cells.len()), Vec::new());
    each(summary, &cells, |cell, marks| {
        let before = hashes.len();
        let held = marks.iter().filter(|mark| cell.holds(mark.place));
        hashes.extend(held.flat_map(|mark| mark.hash.to_le_bytes()));
        counts.push(((hashes.len() - before) / 2) as u64);
        if hashes.len() > ANSWER_BYTES_SOFT { Err(Trouble::Asked) } else { Ok(()) }
    })?;
    Ok(Answer::Marks { counts: numbers::pack(&counts), hashes })
}

/// Hands on each cell with the marks of its range, which are read once for all its cells.
fn each(
    summary: &Summary,
    cells: &[Cell],
    mut take: impl FnMut(Cell, &[Mark]) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    for of_range in cells.chunk_by(|one, next| one.range == next.range) {
        let Some(first) = of_range.first() else { continue };
        let marks = summary.marks(first.range)?;
        of_range.iter().try_for_each(|cell| take(*cell, &marks))?;
    }
    Ok(())
}

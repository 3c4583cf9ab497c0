//! Who changed a row, when, from what to what: read from the journal's files.
//!
//! * A change is told as its writer made it: the values that the row had there, and the ones that it got. What
//!   the merge made of it, where others had changed the row as well, is in the conflict list.
//! * The operator's decisions about the row are told among the changes.

use super::reader::{Reader, ReaderError};
use super::record::{Entry, What};
use tt_migrations::replica::Tracked;
use tt_protocol::change::{Kind, PieceError, TableChange, decode_piece};
use tt_protocol::number::{EdgeId, Millis, Version};
use tt_protocol::rescue::decode_origin;
use tt_protocol::value::{Value, ValueRef};

/// A column with what it was and what it became.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    /// The column.
    pub name: String,
    /// What it was; `None` when there was no row.
    pub from: Option<Value>,
    /// What it became; `None` when there is no row any more.
    pub to: Option<Value>,
}

/// What happened to the row.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It was made.
    Made,
    /// It was changed.
    Changed,
    /// It was deleted.
    Deleted,
    /// The operator decided about an entry of the conflict list.
    Decided {
        /// The entry.
        id: i64,
        /// What was decided, in words.
        decision: String,
    },
}

/// One line of a row's history.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The version that it became.
    pub version: Version,
    /// When the hub took it in.
    pub merged_at: Millis,
    /// When it was done, by its writer's corrected clock.
    pub at: Millis,
    /// Who did it; the hub stands for its programs and its operator.
    pub by: EdgeId,
    /// Who handed it in for that device, whose file was rescued.
    pub through: Option<EdgeId>,
    /// What.
    pub event: Event,
    /// The columns. Of a row that was made or deleted: all that were not NULL.
    pub columns: Vec<Changed>,
}

/// Why a history cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The journal cannot be read.
    #[error(transparent)]
    Read(#[from] ReaderError),
    /// What it holds is no change.
    #[error("an entry of the journal holds no changes: {0}")]
    Piece(#[from] PieceError),
}

/// The row that is asked for.
pub struct Row<'r> {
    /// Its table.
    pub tracked: &'r Tracked,
    /// Its key, in the order of the table.
    pub key: Vec<Value>,
    /// Entries of the conflict list that are about it.
    pub conflicts: Vec<i64>,
}

/// All that the journal says of a row, newest last.
///
/// # Errors
/// [`HistoryError`].
pub fn of_row(journal: &Reader, row: &Row<'_>) -> Result<Vec<Line>, HistoryError> {
    let mut lines = Vec::new();
    let Some(reach) = journal.reach()? else { return Ok(lines) };
    for entry in journal.after(super::record::Lsn(reach.first.0 - 1))? {
        row.look(&entry?, &mut lines)?;
    }
    Ok(lines)
}

impl Row<'_> {
    /// What one entry says of the row.
    pub(crate) fn told_by(&self, entry: &Entry) -> Result<Vec<Line>, HistoryError> {
        let mut lines = Vec::new();
        self.look(entry, &mut lines)?;
        Ok(lines)
    }

    fn look(&self, entry: &Entry, lines: &mut Vec<Line>) -> Result<(), HistoryError> {
        let mut through = None;
        let (edge, pieces) = match &entry.what {
            What::Local(local) => (EdgeId::HUB, &local.pieces),
            What::Migrated { pieces, .. } => (EdgeId::HUB, pieces),
            What::Changeset { edge, pieces, .. } => {
                let origin = pieces.first().map(|piece| decode_origin(piece)).transpose()?.flatten();
                through = origin.map(|_| *edge);
                (origin.map_or(*edge, |origin| origin.edge), pieces)
            }
            What::Decided { id, words, .. } => {
                if self.conflicts.contains(id) {
                    let event = Event::Decided { id: *id, decision: words.clone() };
                    lines.push(line(entry, EdgeId::HUB, entry.at, event));
                }
                return Ok(());
            }
            What::Epoch { .. }
            | What::Released
            | What::Devices(_)
            | What::Late
            | What::Forgotten(_)
            | What::PassedOver { .. } => {
                return Ok(());
            }
        };
        for piece in pieces {
            for change in decode_piece(piece)? {
                if change.table.eq_ignore_ascii_case(&self.tracked.table.name) {
                    self.look_at_change(entry, (edge, through), &change, lines);
                }
            }
        }
        Ok(())
    }

    fn look_at_change(
        &self,
        entry: &Entry,
        (edge, through): (EdgeId, Option<EdgeId>),
        change: &TableChange,
        lines: &mut Vec<Line>,
    ) {
        for index in (0..change.rows.rows()).filter(|index| self.is_it(change, *index)) {
            let others = change.columns.iter().skip(change.keys);
            let value = |at: usize| change.rows.get(index, at);
            let all = |tell: &dyn Fn(&str, ValueRef<'_>) -> Changed| -> Vec<Changed> {
                let places = (0..change.columns.len()).filter(|at| !value(*at).is_null());
                places.map(|at| tell(&change.columns[at], value(at))).collect()
            };
            let (event, columns) = match change.kind {
                Kind::Insert => (Event::Made, all(&|name, value| changed(name, None, Some(value)))),
                Kind::Delete => (Event::Deleted, all(&|name, value| changed(name, Some(value), None))),
                _ => {
                    let pair = |(place, name): (usize, &String)| {
                        let (from, to) = change.pair(index, place);
                        changed(name, Some(from), Some(to))
                    };
                    (Event::Changed, others.enumerate().map(pair).collect())
                }
            };
            lines.push(Line { columns, through, ..line(entry, edge, Millis(change.time(index)), event) });
        }
    }

    fn is_it(&self, change: &TableChange, index: usize) -> bool {
        change.keys == self.key.len()
            && change
                .key(index)
                .zip(&self.key)
                .zip(&self.tracked.table.key)
                .all(|((found, wanted), key)| same(found, wanted.as_ref(), &key.1))
    }
}

/// Whether two values of a key are one, by the key's collation.
fn same(found: ValueRef<'_>, wanted: ValueRef<'_>, collation: &str) -> bool {
    match (found, wanted) {
        (ValueRef::Text(a), ValueRef::Text(b)) if collation.eq_ignore_ascii_case("NOCASE") => {
            a.eq_ignore_ascii_case(b)
        }
        (ValueRef::Text(a), ValueRef::Text(b)) if collation.eq_ignore_ascii_case("RTRIM") => {
            a.trim_ascii_end() == b.trim_ascii_end()
        }
        _ => found == wanted,
    }
}

fn changed(name: &str, from: Option<ValueRef<'_>>, to: Option<ValueRef<'_>>) -> Changed {
    let (from, to) = (from.map(ValueRef::to_owned), to.map(ValueRef::to_owned));
    Changed { name: name.to_owned(), from, to }
}

const fn line(entry: &Entry, by: EdgeId, at: Millis, event: Event) -> Line {
    Line { version: entry.version, merged_at: entry.at, at, by, through: None, event, columns: Vec::new() }
}

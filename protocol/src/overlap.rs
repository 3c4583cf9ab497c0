//! Two changesets that say how the same file changed since the same cut: what the second one still brings.
//!
//! One of them was cut in a copy of a device's file, because the device was thought to be lost; the other one was
//! cut by the device itself, or in another copy. They begin at the same rows, so what both say has happened once.
//!
//! * A row that both changed in the same way, at the same time, is the same change: it is not merged again.
//! * When the second is known to be the later one, a row that it changed further is a change of what the first
//!   left; and what only it has is new.
//! * Else nobody can know: such rows are held for a person. Nothing is counted twice, and nothing is dropped.
//! * A file that was used in two places has two lives. They show when both made other rows under the same new id
//!   and have no change in common: then the second is new as a whole.

use crate::change::{Kind, PieceError, TableChange, decode_piece};
use crate::pieces::PieceBuilder;
use crate::value::{Value, ValueRef};
use std::collections::HashMap;

/// The time of one touch is the same in both, but for what the measured offset of the clock differs by.
const SAME_TOUCH_MS: i64 = 50;

/// What the second changeset still brings.
#[derive(Debug, Default)]
pub struct Rest {
    /// Rows that go in, as pieces.
    pub goes: Vec<Vec<u8>>,
    /// Rows of which nobody knows whether the first has them, as pieces.
    pub unclear: Vec<Vec<u8>>,
    /// Number of the unclear rows.
    pub unclear_rows: u64,
    /// Rows that the first one has.
    pub same: u64,
}

/// What `second` still brings when `first` is merged. `is_later`: it is known to be the later one. `is_counter`
/// says of a table's column whether differences of it add up.
///
/// # Errors
/// When a piece is damaged.
pub fn rest(
    first: &[Vec<u8>],
    second: &[Vec<u8>],
    is_later: bool,
    is_counter: &dyn Fn(&str, &str) -> bool,
) -> Result<Rest, PieceError> {
    let (first, second) = (Changes::read(first)?, (Changes::read(second)?, second));
    let (changes, pieces) = second;
    if changes.is_another_life(&first) {
        return Ok(Rest { goes: pieces.to_vec(), ..Rest::default() });
    }
    let mut sorting = Sorting { is_later, is_counter, goes: PieceBuilder::default(), ..Sorting::new() };
    changes.each(|change, row| sorting.sort(&first, Place { change, row }));
    let mut goes = Vec::new();
    for piece in pieces {
        // Names, definitions and steps are not about rows.
        if decode_piece(piece)?.is_empty() {
            goes.push(piece.clone());
        }
    }
    goes.extend(sorting.goes.finish());
    let unclear_rows = sorting.unclear.rows();
    Ok(Rest { goes, unclear: sorting.unclear.finish(), unclear_rows, same: sorting.same })
}

/// A row of a changeset.
#[derive(Clone, Copy)]
struct Place<'c> {
    change: &'c TableChange,
    row: usize,
}

/// A changeset with its rows by table and key. A row that was deleted and made again stands under both kinds.
struct Changes {
    changes: Vec<TableChange>,
    places: HashMap<Vec<u8>, Vec<(usize, usize)>>,
}

impl Changes {
    fn read(pieces: &[Vec<u8>]) -> Result<Self, PieceError> {
        let mut changes = Vec::new();
        for piece in pieces {
            changes.extend(decode_piece(piece)?);
        }
        let mut places: HashMap<Vec<u8>, Vec<(usize, usize)>> = HashMap::new();
        for (index, change) in changes.iter().enumerate() {
            for row in 0..change.rows.rows() {
                places.entry(name(change, row)).or_default().push((index, row));
            }
        }
        Ok(Self { changes, places })
    }

    fn each<'c>(&'c self, mut look: impl FnMut(&'c TableChange, usize)) {
        for change in &self.changes {
            (0..change.rows.rows()).for_each(|row| look(change, row));
        }
    }

    fn find(&self, of: Place<'_>, kind: Option<Kind>) -> Option<Place<'_>> {
        let found = self.places.get(&name(of.change, of.row))?.iter();
        let mut found =
            found.filter_map(|(index, row)| Some(Place { change: self.changes.get(*index)?, row: *row }));
        found.find(|place| kind.is_none_or(|kind| place.change.kind == kind))
    }

    fn is_another_life(&self, first: &Self) -> bool {
        let (mut is_common, mut is_apart) = (false, false);
        self.each(|change, row| {
            let own = Place { change, row };
            if let Some(other) = first.find(own, Some(change.kind)) {
                let is_equal = own.is_same(other);
                is_common |= is_equal;
                is_apart |= !is_equal && change.kind == Kind::Insert;
            }
        });
        is_apart && !is_common
    }
}

fn name(change: &TableChange, row: usize) -> Vec<u8> {
    let mut name = change.table.to_ascii_lowercase().into_bytes();
    name.push(0);
    change.key(row).for_each(|value| value.write_canonical(&mut name));
    name
}

impl<'c> Place<'c> {
    fn time(self) -> i64 {
        self.change.time(self.row)
    }

    /// The columns with their values; of an update the base and the new value, else the value twice.
    fn columns(self) -> impl Iterator<Item = (&'c str, ValueRef<'c>, ValueRef<'c>)> {
        let Self { change, row } = self;
        change.columns.iter().enumerate().skip(change.keys).map(move |(place, name)| {
            let (base, new) = match change.kind {
                Kind::Update => change.pair(row, place - change.keys),
                _ => (change.rows.get(row, place), change.rows.get(row, place)),
            };
            (name.as_str(), base, new)
        })
    }

    fn find(self, column: &str) -> Option<(ValueRef<'c>, ValueRef<'c>)> {
        self.columns().find(|(name, ..)| name.eq_ignore_ascii_case(column)).map(|(_, base, new)| (base, new))
    }

    /// The same change. New rows carry no time of their own.
    fn is_same(self, other: Place<'_>) -> bool {
        let equal = |(name, base, new): (&str, ValueRef<'_>, ValueRef<'_>)| {
            other.find(name).is_some_and(|(base_there, new_there)| base == base_there && new == new_there)
        };
        let is_at_once = self.time().abs_diff(other.time()) <= SAME_TOUCH_MS.unsigned_abs();
        self.change.kind == other.change.kind
            && self.change.columns.len() == other.change.columns.len()
            && (self.change.kind == Kind::Insert || is_at_once)
            && self.columns().all(equal)
    }
}

struct Sorting<'s> {
    is_later: bool,
    is_counter: &'s dyn Fn(&str, &str) -> bool,
    goes: PieceBuilder,
    unclear: PieceBuilder,
    same: u64,
}

impl Sorting<'_> {
    fn new() -> Self {
        let (goes, unclear) = (PieceBuilder::default(), PieceBuilder::default());
        Self { is_later: false, is_counter: &|_, _| false, goes, unclear, same: 0 }
    }

    fn sort(&mut self, first: &Changes, own: Place<'_>) {
        let same_kind = first.find(own, Some(own.change.kind));
        if same_kind.is_some_and(|other| own.is_same(other)) {
            self.same += 1;
        } else if !self.is_later {
            copy(&mut self.unclear, own);
        } else if let Some(other) = first.find(own, None) {
            self.go_on_from(other, own);
        } else {
            copy(&mut self.goes, own);
        }
    }

    /// The device has changed further what the first one left.
    fn go_on_from(&mut self, first: Place<'_>, own: Place<'_>) {
        if own.time() <= first.time().saturating_add(SAME_TOUCH_MS) && own.change.kind == Kind::Update {
            return copy(&mut self.unclear, own);
        }
        match (first.change.kind, own.change.kind) {
            (Kind::Insert, Kind::Insert) | (Kind::Update, Kind::Update) => self.difference(first, own),
            (Kind::Update, Kind::Delete) => self.delete_what_is_left(first, own),
            _ => copy(&mut self.goes, own),
        }
    }

    fn difference(&mut self, first: Place<'_>, own: Place<'_>) {
        let table = own.change.table.as_str();
        let mut changed: Vec<(&str, Value, ValueRef<'_>)> = Vec::new();
        for (name, base, new) in own.columns() {
            let from = match first.find(name) {
                Some((base_there, new_there)) if (self.is_counter)(table, name) => {
                    counted((base_there, new_there), (base, own.change.kind == Kind::Update))
                }
                Some((_, new_there)) => new_there.to_owned(),
                None if own.change.kind == Kind::Insert => Value::Null,
                None => base.to_owned(),
            };
            if from.as_ref() != new {
                changed.push((name, from, new));
            }
        }
        if own.change.kind == Kind::Update {
            // Columns that the first one changed, and that are as before again.
            let reverted = first.columns().filter(|(name, ..)| own.find(name).is_none());
            changed.extend(reverted.map(|(name, base, new)| (name, new.to_owned(), base)));
        }
        if changed.is_empty() {
            // Equal values at another time: two counts, or one.
            return copy(&mut self.unclear, own);
        }
        let keys = own.change.columns.iter().take(own.change.keys).map(String::as_str);
        let names: Vec<&str> = keys.chain(changed.iter().map(|(name, ..)| *name)).collect();
        let bases = changed.iter().map(|(_, from, _)| from.as_ref());
        let row = (own.change.key(own.row))
            .chain(bases)
            .chain(changed.iter().map(|(.., new)| *new))
            .chain([ValueRef::Integer(own.time())]);
        self.goes.push(Kind::Update, table, own.change.keys, &names, row.collect::<Vec<_>>());
    }

    fn delete_what_is_left(&mut self, first: Place<'_>, own: Place<'_>) {
        let names: Vec<&str> = own.change.columns.iter().map(String::as_str).collect();
        let left = own.columns().map(|(name, base, _)| first.find(name).map_or(base, |(_, new)| new));
        let row: Vec<ValueRef<'_>> =
            own.change.key(own.row).chain(left).chain([ValueRef::Integer(own.time())]).collect();
        self.goes.push(Kind::Delete, &own.change.table, own.change.keys, &names, row);
    }
}

/// What a counter is counted on from: the difference that the first one brought is in already, whatever the
/// base has become meanwhile.
fn counted(
    (base_there, new_there): (ValueRef<'_>, ValueRef<'_>),
    (base, is_update): (ValueRef<'_>, bool),
) -> Value {
    let number = |value: ValueRef<'_>| match value {
        ValueRef::Integer(number) => Some(number),
        ValueRef::Null => Some(0),
        _ => None,
    };
    let numbers = (number(base), number(base_there), number(new_there));
    if let (true, (Some(base), Some(base_there), Some(new_there))) = (is_update, numbers)
        && let Some(from) = new_there.checked_sub(base_there).and_then(|brought| base.checked_add(brought))
    {
        return Value::Integer(from);
    }
    new_there.to_owned()
}

fn copy(into: &mut PieceBuilder, own: Place<'_>) {
    let Place { change, row } = own;
    let names: Vec<&str> = change.columns.iter().map(String::as_str).collect();
    into.push(
        change.kind,
        &change.table,
        change.keys,
        &names,
        change.rows.slice(row, 0, change.rows.width()),
    );
}

#[cfg(test)]
mod tests;

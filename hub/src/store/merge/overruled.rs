//! Deletes that do not happen because somebody changed the row meanwhile, until the changeset is through: one of
//! its inserts may be the same row again.

use super::replace::Freed;
use crate::store::conflict::Named;
use crate::store::same;
use std::collections::HashMap;
use std::sync::Arc;
use tt_migrations::replica::Tracked;
use tt_migrations::row::Key;
use tt_protocol::merge::Clash;
use tt_protocol::value::Value;

/// A delete that does not happen, unless the row is inserted again by the same changeset.
pub(super) struct Overruled {
    pub(super) tracked: Arc<Tracked>,
    pub(super) key: Key,
    /// The row that the edge deleted.
    pub(super) base: Named,
    pub(super) clashes: Vec<Clash>,
    pub(super) at: i64,
}

/// All of them, found by what they were: each insert of a large changeset asks.
#[derive(Default)]
pub(super) struct OverruledRows {
    rows: Vec<Option<Overruled>>,
    open: usize,
    by_key: HashMap<(String, Vec<u8>), usize>,
    by_value: HashMap<Freed, Vec<usize>>,
}

impl OverruledRows {
    pub(super) const fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// Adds one, with what its row had in the other keys of its table.
    pub(super) fn add(&mut self, one: Overruled, values: Vec<(usize, Vec<u8>)>) {
        let (number, table) = (self.rows.len(), &one.tracked.table.name);
        for (place, bytes) in values {
            self.by_value.entry((table.clone(), place, bytes)).or_default().push(number);
        }
        self.by_key.insert((table.clone(), same::key_bytes(&one.tracked, &one.key)), number);
        self.rows.push(Some(one));
        self.open += 1;
    }

    /// The one with this key.
    pub(super) fn take(&mut self, tracked: &Tracked, key: &[Value]) -> Option<Overruled> {
        let slot = (tracked.table.name.clone(), same::key_bytes(tracked, key));
        let number = self.by_key.get(&slot).copied()?;
        self.take_number(number)
    }

    /// The one with another key that had one of these values. Of several, the one that is most like the row, or
    /// the first.
    pub(super) fn take_twin(
        &mut self,
        tracked: &Tracked,
        row: &[Value],
        values: Vec<(usize, Vec<u8>)>,
    ) -> Option<Overruled> {
        let own = same::key_bytes(tracked, &row[..tracked.keys()]);
        let slots = values.into_iter().map(|(place, bytes)| (tracked.table.name.clone(), place, bytes));
        let numbers = slots.filter_map(|slot| self.by_value.get(&slot)).flatten().copied();
        let others = numbers.filter_map(|number| {
            let one = self.rows[number].as_ref()?;
            let is_other = same::key_bytes(tracked, &one.key) != own;
            is_other.then(|| (differing(tracked, &one.base, row), number))
        });
        let (_, number) = others.min()?;
        self.take_number(number)
    }

    /// Those that stayed, in the order of the changeset.
    pub(super) fn into_rows(self) -> impl Iterator<Item = Overruled> {
        self.rows.into_iter().flatten()
    }

    fn take_number(&mut self, number: usize) -> Option<Overruled> {
        let taken = self.rows[number].take();
        self.open -= usize::from(taken.is_some());
        taken
    }
}

/// Columns other than the key's in which they differ.
fn differing(tracked: &Tracked, base: &Named, row: &[Value]) -> usize {
    let same = |(name, value): &(&String, &Value)| {
        base.iter().any(|(have, had)| have.eq_ignore_ascii_case(name) && had == *value)
    };
    tracked.names.iter().zip(row).skip(tracked.keys()).filter(|one| !same(one)).count()
}

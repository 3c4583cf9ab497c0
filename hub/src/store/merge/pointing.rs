//! The rows of a changeset by the parent that they point at, so that ten thousand whose parents are all gone are not
//! looked through ten thousand times.

use super::{Merge, MergeError};
use crate::store::same;
use std::collections::HashMap;
use std::sync::Arc;
use tt_migrations::replica::Tracked;
use tt_migrations::row::Key;
use tt_migrations::shape::ForeignKey;
use tt_protocol::change::{Kind, TableChange, decode_piece};
use tt_protocol::value::{Value, ValueRef};

/// A row of the changeset: the change and its place in it.
type Sent = (Arc<TableChange>, usize);

/// By child table and place of the foreign key in it, then by the bytes of the parent's values: as the rows were when
/// somebody first asked. One that points elsewhere since is still found, so whoever gets it looks at it again; what it
/// points at now is asked for in another round.
#[derive(Default)]
pub(super) struct Pointing(HashMap<(String, usize), HashMap<Vec<u8>, Vec<Sent>>>);

impl Pointing {
    /// Rows have changed: the next question looks at all of them.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

impl Merge<'_> {
    /// Inserted and updated rows of this changeset that pointed at these values, in their order.
    pub(super) fn pointing_at(
        &mut self,
        child: &Arc<Tracked>,
        place: usize,
        values: &Key,
    ) -> Result<Vec<Sent>, MergeError> {
        let Some(foreign) = child.table.foreign_keys.get(place) else { return Ok(Vec::new()) };
        let slot = (child.table.name.clone(), place);
        if !self.pointing.0.contains_key(&slot) {
            let all = self.by_parent(child, foreign)?;
            self.pointing.0.insert(slot.clone(), all);
        }
        let bytes = self.parent_bytes(foreign, values);
        Ok(self.pointing.0.get(&slot).and_then(|all| all.get(&bytes)).cloned().unwrap_or_default())
    }

    fn by_parent(
        &mut self,
        child: &Arc<Tracked>,
        foreign: &ForeignKey,
    ) -> Result<HashMap<Vec<u8>, Vec<Sent>>, MergeError> {
        let mut all: HashMap<Vec<u8>, Vec<Sent>> = HashMap::new();
        let pieces = self.pieces;
        for piece in pieces {
            let of_child = |change: &TableChange| {
                change.table.eq_ignore_ascii_case(&child.table.name)
                    && matches!(change.kind, Kind::Insert | Kind::Update)
            };
            for change in decode_piece(piece)?.into_iter().filter(of_child).map(Arc::new) {
                for index in 0..change.rows.rows() {
                    let sent: Key = change.key(index).map(ValueRef::to_owned).collect();
                    let Some((_, present)) = self.where_it_is(child, sent, change.kind)? else { continue };
                    if let Some(values) = reference(child, &present, foreign) {
                        let sent = (Arc::clone(&change), index);
                        all.entry(self.parent_bytes(foreign, &values)).or_default().push(sent);
                    }
                }
            }
        }
        Ok(all)
    }

    /// The same for all spellings of one parent.
    pub(super) fn parent_bytes(&self, foreign: &ForeignKey, values: &[Value]) -> Vec<u8> {
        if let Some(parent) = self.context.replica.get(&foreign.parent) {
            return same::bytes(parent, foreign.parent_columns.iter().map(String::as_str), values);
        }
        let mut bytes = Vec::new();
        values.iter().for_each(|value| value.as_ref().write_canonical(&mut bytes));
        bytes
    }
}

/// The parent's values that a row of the child has.
pub(super) fn reference(child: &Tracked, row: &[Value], foreign: &ForeignKey) -> Option<Key> {
    let value = |name: &String| child.place(name).and_then(|place| row.get(place)).cloned();
    foreign.columns.iter().map(value).collect()
}

#[cfg(test)]
mod tests;

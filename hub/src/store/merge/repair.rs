//! Foreign keys at the end of a merge: every child has its parent, on every node, at every commit.
//!
//! * A parent that was the same thing as another row is followed by its children to that one.
//! * A parent that was deleted comes back, with all that the same changeset deleted under it: the
//!   delete was overruled by a child that its author did not know.
//! * A parent that was replaced (deleted, and another row took its unique value) is followed by its children.
//! * A parent that took another value, while a child of somebody else points at the old one, keeps the old.
//! * Where none of this helps, the children are held whole.
//! * Violations that an adopted file had before are not ours to touch.

use super::{Merge, MergeError};
use crate::store::conflict::Kind;
use crate::store::same;
use crate::store::trash::{self, Image};
use rusqlite::{OptionalExtension as _, params_from_iter};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use tt_migrations::quote::ident;
use tt_migrations::replica::{Tracked, list};
use tt_migrations::row::{self, Key, Row, refusal};
use tt_migrations::shape::ForeignKey;
use tt_migrations::value::{bound, copy};
use tt_protocol::merge::Clash;
use tt_protocol::value::Value;

/// Values of parents, by child table and place of the foreign key in it, then by their bytes.
/// In order: a journal that is replayed must come out with the same list.
pub(super) type Wanted = BTreeMap<(String, usize), BTreeMap<Vec<u8>, Key>>;

/// More values than this are looked for in one pass over the child's table.
const ASKED_SINGLY_MAX: usize = 200;
/// Rounds after which nothing is brought back any more: what is still alone is held.
const ROUNDS_MAX: usize = 100;

/// A parent whose values, to which children point, were changed.
pub(super) struct Moved {
    tracked: Arc<Tracked>,
    before: Row,
    after: Row,
}

/// A parent that is not there and that a child points at.
struct Missing {
    child: Arc<Tracked>,
    place: usize,
    values: Key,
    /// It was there before this changeset, so that any row may be its child.
    vacated: bool,
}

impl Merge<'_> {
    /// Repairs until nothing is missing. Every round brings a row back or holds one, so it ends.
    pub(super) fn repair(&mut self) -> Result<(), MergeError> {
        let mut rounds = 0;
        loop {
            let mut missing = self.missing_parents()?;
            missing.extend(self.orphans()?);
            if missing.is_empty() {
                return Ok(());
            }
            rounds += 1;
            self.pointing.forget();
            for missing in missing {
                self.provide_parent(&missing, rounds > ROUNDS_MAX)?;
            }
        }
    }

    /// A parent goes, or takes other values: whoever points at the old ones must be looked at.
    pub(super) fn vacate(&mut self, tracked: &Arc<Tracked>, before: &Row, after: Option<&Row>) {
        let values = |row: &Row, names: &[String]| -> Option<Key> {
            names.iter().map(|name| row.get(tracked.place(name)?).cloned()).collect()
        };
        let mut moved = false;
        for child in self.context.replica.tables.values() {
            for (place, foreign) in child.table.foreign_keys.iter().enumerate() {
                if !foreign.parent.eq_ignore_ascii_case(&tracked.table.name) {
                    continue;
                }
                let bytes = |values: &Key| {
                    same::bytes(tracked, foreign.parent_columns.iter().map(String::as_str), values)
                };
                let Some(old) =
                    values(before, &foreign.parent_columns).filter(|old| !old.iter().any(Value::is_null))
                else {
                    continue;
                };
                let new = after.and_then(|after| values(after, &foreign.parent_columns));
                if new.is_some_and(|new| bytes(&new) == bytes(&old)) {
                    continue;
                }
                moved |= after.is_some();
                let slot = (child.table.name.clone(), place);
                self.vacated.entry(slot).or_default().insert(bytes(&old), old);
            }
        }
        if let (true, Some(after)) = (moved, after) {
            let (tracked, before, after) = (Arc::clone(tracked), before.clone(), after.clone());
            self.moved.push(Moved { tracked, before, after });
        }
    }

    /// Parents that rows of this changeset point at and that are not there.
    fn missing_parents(&mut self) -> Result<Vec<Missing>, MergeError> {
        let mut missing = Vec::new();
        for ((table, place), values) in std::mem::take(&mut self.parents) {
            let Some(child) = self.context.replica.get(&table).cloned() else {
                continue;
            };
            let Some(foreign) = child.table.foreign_keys.get(place) else {
                continue;
            };
            for values in values.into_values() {
                if !self.parent_exists(foreign, &values)? {
                    missing.push(Missing { child: Arc::clone(&child), place, values, vacated: false });
                }
            }
        }
        Ok(missing)
    }

    /// Values that a parent had before, that no parent has now, and that a child points at.
    fn orphans(&mut self) -> Result<Vec<Missing>, MergeError> {
        let mut orphans = Vec::new();
        for ((table, place), mut values) in std::mem::take(&mut self.vacated) {
            let Some(child) = self.context.replica.get(&table).cloned() else {
                continue;
            };
            let Some(foreign) = child.table.foreign_keys.get(place) else {
                continue;
            };
            if values.len() > ASKED_SINGLY_MAX {
                let alone = self.alone(&child, foreign)?;
                values.retain(|bytes, _| alone.contains(bytes));
            }
            for values in values.into_values() {
                if !self.parent_exists(foreign, &values)?
                    && !self.children(&child, foreign, &values)?.is_empty()
                {
                    orphans.push(Missing { child: Arc::clone(&child), place, values, vacated: true });
                }
            }
        }
        Ok(orphans)
    }

    fn parent_exists(&self, foreign: &ForeignKey, values: &Key) -> Result<bool, MergeError> {
        let at: Vec<_> = foreign.parent_columns.iter().map(|name| format!("{} = ?", ident(name))).collect();
        let sql =
            format!("SELECT EXISTS (SELECT 1 FROM {} WHERE {})", ident(&foreign.parent), at.join(" AND "));
        let mut statement = self.context.conn.prepare_cached(&sql)?;
        Ok(statement
            .query_row(params_from_iter(bound(values.iter().map(Value::as_ref))), |row| row.get(0))?)
    }

    /// All values in the child that no parent has.
    fn alone(&self, child: &Tracked, foreign: &ForeignKey) -> Result<HashSet<Vec<u8>>, MergeError> {
        let Some(parent) = self.context.replica.get(&foreign.parent) else {
            return Ok(HashSet::new());
        };
        let columns: Vec<_> = foreign.columns.iter().map(|name| format!("c.{}", ident(name))).collect();
        let pairs = columns.iter().zip(&foreign.parent_columns);
        let same: Vec<_> = pairs.map(|(child, name)| format!("p.{} = {child}", ident(name))).collect();
        let given: Vec<_> = columns.iter().map(|child| format!("{child} IS NOT NULL")).collect();
        let sql = format!(
            "SELECT DISTINCT {} FROM {} c WHERE {} AND NOT EXISTS (SELECT 1 FROM {} p WHERE {})",
            columns.join(", "),
            ident(&child.table.name),
            given.join(" AND "),
            ident(&foreign.parent),
            same.join(" AND "),
        );
        let mut statement = self.context.conn.prepare_cached(&sql)?;
        let found = statement.query_map([], |row| copy(row, 0, columns.len()))?;
        let names = || foreign.parent_columns.iter().map(String::as_str);
        Ok(found.map(|values| Ok(same::bytes(parent, names(), &values?))).collect::<rusqlite::Result<_>>()?)
    }

    fn provide_parent(&mut self, missing: &Missing, last_resort: bool) -> Result<(), MergeError> {
        let Missing { child, place, values, vacated } = missing;
        let Some(foreign) = child.table.foreign_keys.get(*place) else {
            return Ok(());
        };
        if self.parent_exists(foreign, values)? {
            return Ok(());
        }
        if !last_resort && self.follow_twin(child, *place, values)? {
            return Ok(());
        }
        if !last_resort {
            if let Some((parent, image)) = self.image_of_parent(foreign, values)? {
                let key: Key = image.row(&parent).into_iter().take(parent.keys()).collect();
                if self.revive(&parent, &key, self.stamp(image.stamp.at), "given a child", &[])?
                    || self.follow(child, foreign, values, &parent, &image)?
                {
                    return Ok(());
                }
            }
            if self.move_back(foreign, values)? {
                return Ok(());
            }
        }
        self.hold_children(child, *place, values)?;
        self.hold_brought_back(child, foreign, values)?;
        if *vacated || last_resort {
            self.hold_all_children(child, foreign, values)?;
        }
        Ok(())
    }

    /// Another row took a unique value of the deleted parent: it is the same thing under another key, and
    /// the children follow to it. False when there is none, or a child cannot.
    fn follow(
        &mut self,
        child: &Arc<Tracked>,
        foreign: &ForeignKey,
        values: &Key,
        parent: &Arc<Tracked>,
        image: &Image,
    ) -> Result<bool, MergeError> {
        let in_key = |name: &String| child.table.key_names().any(|key| key.eq_ignore_ascii_case(name));
        if foreign.columns.iter().any(in_key) {
            return Ok(false);
        }
        let Some(successor) = self.successor(parent, &image.row(parent))? else {
            return Ok(false);
        };
        let to = |name: &String| parent.place(name).and_then(|place| successor.get(place)).cloned();
        let Some(new) = foreign.parent_columns.iter().map(to).collect::<Option<Key>>() else {
            return Ok(false);
        };
        let set: Vec<_> = foreign.columns.iter().cloned().zip(new).collect();
        for present in self.children(child, foreign, values)? {
            let key: Key = present.iter().take(child.keys()).cloned().collect();
            match row::update(self.context.conn, child, &key, &set) {
                Err(error) if refusal(&error).is_some() => return Ok(false),
                outcome => outcome?,
            }
            self.log.changed(child, &key);
            if let Some(after) = row::read(self.context.conn, child, &key)? {
                self.vacate(child, &present, Some(&after));
            }
        }
        Ok(true)
    }

    fn successor(&self, parent: &Tracked, old: &Row) -> Result<Option<Row>, MergeError> {
        for unique in parent.table.uniques.iter().filter(|unique| unique.predicate.is_none()) {
            let Some(columns) = &unique.columns else { continue };
            let at: Vec<_> = columns
                .iter()
                .map(|(name, collation)| format!("{} = ? COLLATE {}", ident(name), ident(collation)))
                .collect();
            let values: Key =
                columns.iter().filter_map(|(name, _)| old.get(parent.place(name)?).cloned()).collect();
            let (names, table) = (list(&parent.names), ident(&parent.table.name));
            let sql = format!("SELECT {names} FROM {table} WHERE {}", at.join(" AND "));
            let mut statement = self.context.conn.prepare_cached(&sql)?;
            let bound = params_from_iter(bound(values.iter().map(Value::as_ref)));
            let found = statement.query_row(bound, |row| copy(row, 0, parent.names.len())).optional()?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// A parent of this changeset took another value while a child points at the old one: it keeps it.
    fn move_back(&mut self, foreign: &ForeignKey, values: &Key) -> Result<bool, MergeError> {
        let had = |moved: &Moved| {
            let names = || foreign.parent_columns.iter().map(String::as_str);
            let place = |name: &String| moved.before.get(moved.tracked.place(name)?).cloned();
            let old: Option<Key> = foreign.parent_columns.iter().map(place).collect();
            moved.tracked.table.name.eq_ignore_ascii_case(&foreign.parent)
                && old.is_some_and(|old| {
                    same::bytes(&moved.tracked, names(), &old) == same::bytes(&moved.tracked, names(), values)
                })
        };
        let Some(found) = self.moved.iter().position(had) else {
            return Ok(false);
        };
        let Moved { tracked, before, after } = self.moved.swap_remove(found);
        let key: Key = before.iter().take(tracked.keys()).cloned().collect();
        let places = foreign.parent_columns.iter().filter_map(|name| tracked.place(name));
        let places: Vec<usize> = places.filter(|place| before[*place] != after[*place]).collect();
        let set: Vec<_> =
            places.iter().map(|place| (tracked.names[*place].clone(), before[*place].clone())).collect();
        if set.is_empty() {
            return Ok(false);
        }
        match row::update(self.context.conn, &tracked, &key, &set) {
            Err(error) if refusal(&error).is_some() => return Ok(false),
            outcome => outcome?,
        }
        self.log.changed(&tracked, &key);
        if let Some(now) = row::read(self.context.conn, &tracked, &key)? {
            self.vacate(&tracked, &after, Some(&now));
            // That was no change of the device's, and must not be undone in turn.
            self.moved.retain(|moved| moved.before != after);
        }
        let clash = |place: &usize| Clash {
            name: tracked.names[*place].clone(),
            base: before[*place].clone(),
            kept: before[*place].clone(),
            lost: after[*place].clone(),
        };
        let clashes = places.iter().map(clash).collect();
        let lost = trash::stamp(self.context.conn, &tracked, &key)?.unwrap_or(self.stamp(self.at));
        let action = "the old value stays: a row that was made elsewhere points at it";
        self.list_clashes(Kind::Parent, &tracked, &key, clashes, (None, lost), action)?;
        Ok(true)
    }
}

/// "The rows of the child that point at these values", compared as the parent compares them.
pub(in crate::store) fn select_children(
    child: &Tracked,
    foreign: &ForeignKey,
    parent: &Tracked,
    columns: &[String],
) -> String {
    let pairs = foreign.columns.iter().zip(&foreign.parent_columns);
    let at: Vec<_> = pairs
        .map(|(name, parent_name)| {
            let collation = same::collation(parent, parent_name).unwrap_or("BINARY");
            format!("{} = ? COLLATE {}", ident(name), ident(collation))
        })
        .collect();
    format!("SELECT {} FROM {} WHERE {}", list(columns), ident(&child.table.name), at.join(" AND "))
}

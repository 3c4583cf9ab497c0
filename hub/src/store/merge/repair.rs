//! Foreign keys at the end of a merge: every child has its parent, on every node, at every commit.
//!
//! * A parent that was deleted comes back, with all that the same changeset deleted under it: the
//!   delete was overruled by a child that its author did not know.
//! * Where no image of the parent is left, the children of this changeset are held whole.
//! * Violations that an adopted file had before are not ours to touch.

use super::{Merge, MergeError};
use crate::store::conflict::{self, Entry, Kind};
use crate::store::trash::{self, Image};
use rusqlite::params_from_iter;
use std::sync::Arc;
use tt_migrations::quote::ident;
use tt_migrations::replica::Tracked;
use tt_migrations::row::{self, Key, refusal};
use tt_migrations::shape::ForeignKey;
use tt_migrations::value::{bound, copy};
use tt_protocol::change::{Kind as ChangeKind, TableChange, decode_piece};
use tt_protocol::merge::Stamp;
use tt_protocol::value::{Value, ValueRef};

impl Merge<'_> {
    /// Repairs until nothing is missing. Every round brings a row back or holds one, so it ends.
    pub(super) fn repair(&mut self) -> Result<(), MergeError> {
        loop {
            let mut missing = self.missing_parents()?;
            missing.extend(self.orphans()?);
            if missing.is_empty() {
                return Ok(());
            }
            for (child, place, values) in missing {
                self.provide_parent(&child, place, &values)?;
            }
        }
    }

    /// Parents that rows of this changeset point at and that are not there.
    fn missing_parents(&mut self) -> Result<Vec<(Arc<Tracked>, usize, Key)>, MergeError> {
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
                    missing.push((Arc::clone(&child), place, values));
                }
            }
        }
        Ok(missing)
    }

    /// Children whose parent vanished from a table in this changeset.
    fn orphans(&mut self) -> Result<Vec<(Arc<Tracked>, usize, Key)>, MergeError> {
        let mut orphans = Vec::new();
        for parent in std::mem::take(&mut self.shrunk) {
            for child in self.context.replica.tables.values() {
                for (place, foreign) in child.table.foreign_keys.iter().enumerate() {
                    if foreign.parent.eq_ignore_ascii_case(&parent) {
                        let values = self.dangling(child, foreign)?;
                        orphans.extend(
                            values
                                .into_iter()
                                .map(|values| (Arc::clone(child), place, values)),
                        );
                    }
                }
            }
        }
        Ok(orphans)
    }

    fn parent_exists(&self, foreign: &ForeignKey, values: &Key) -> Result<bool, MergeError> {
        let at: Vec<_> = foreign
            .parent_columns
            .iter()
            .map(|name| format!("{} = ?", ident(name)))
            .collect();
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM {} WHERE {})",
            ident(&foreign.parent),
            at.join(" AND ")
        );
        let mut statement = self.context.conn.prepare_cached(&sql)?;
        Ok(
            statement.query_row(params_from_iter(bound(values.iter().map(Value::as_ref))), |row| {
                row.get(0)
            })?,
        )
    }

    /// Values in the child that no parent has, but for those that nobody in this merge caused.
    fn dangling(&self, child: &Tracked, foreign: &ForeignKey) -> Result<Vec<Key>, MergeError> {
        let columns: Vec<_> = foreign
            .columns
            .iter()
            .map(|name| format!("c.{}", ident(name)))
            .collect();
        let same = columns
            .iter()
            .zip(&foreign.parent_columns)
            .map(|(child, name)| format!("p.{} = {child}", ident(name)));
        let given = columns.iter().map(|child| format!("{child} IS NOT NULL"));
        let sql = format!(
            "SELECT DISTINCT {} FROM {} c WHERE {} AND NOT EXISTS (SELECT 1 FROM {} p WHERE {})",
            columns.join(", "),
            ident(&child.table.name),
            given.collect::<Vec<_>>().join(" AND "),
            ident(&foreign.parent),
            same.collect::<Vec<_>>().join(" AND "),
        );
        let mut statement = self.context.conn.prepare_cached(&sql)?;
        let found: Vec<Key> = statement
            .query_map([], |row| copy(row, 0, columns.len()))?
            .collect::<rusqlite::Result<_>>()?;
        let mut ours = Vec::new();
        for values in found {
            if self
                .image_of_parent(foreign, &values)?
                .is_some_and(|(_, image)| image.version == self.context.version)
            {
                ours.push(values);
            }
        }
        Ok(ours)
    }

    fn provide_parent(&mut self, child: &Arc<Tracked>, place: usize, values: &Key) -> Result<(), MergeError> {
        let Some(foreign) = child.table.foreign_keys.get(place) else {
            return Ok(());
        };
        if self.parent_exists(foreign, values)? {
            return Ok(());
        }
        if let Some((parent, image)) = self.image_of_parent(foreign, values)? {
            let key: Key = image.row(&parent).into_iter().take(parent.keys()).collect();
            if self.revive(&parent, &key, self.stamp(image.stamp.at), "given a child")? {
                return Ok(());
            }
        }
        self.hold_children(child, foreign, values)
    }

    fn image_of_parent(
        &self,
        foreign: &ForeignKey,
        values: &Key,
    ) -> Result<Option<(Arc<Tracked>, Image)>, MergeError> {
        let Some(parent) = self.context.replica.get(&foreign.parent).cloned() else {
            return Ok(None);
        };
        let by_key = parent.keys() == foreign.parent_columns.len()
            && parent
                .names
                .iter()
                .zip(&foreign.parent_columns)
                .all(|(a, b)| a.eq_ignore_ascii_case(b));
        let found = if by_key {
            trash::find(self.context.conn, &parent, values)?
        } else {
            let images = trash::of_table(self.context.conn, &parent)?;
            images
                .into_iter()
                .find(|image| points_at(&parent, image, &foreign.parent_columns, values))
        };
        Ok(found.map(|image| (parent, image)))
    }

    /// Brings a deleted row back with all that was deleted under it in the same changeset. False when no
    /// image is left, or its place is taken by now.
    pub(super) fn revive(
        &mut self,
        tracked: &Arc<Tracked>,
        key: &Key,
        kept: Stamp,
        why: &str,
    ) -> Result<bool, MergeError> {
        let Some(image) = trash::find(self.context.conn, tracked, key)? else {
            return Ok(false);
        };
        if !self.put_back(tracked, &image)? {
            return Ok(false);
        }
        let action = format!("the delete was overruled: the row was {why} meanwhile and is back");
        self.list(Entry {
            kind: Kind::Delete,
            table: &tracked.table.name,
            key: conflict::named_key(tracked, key),
            clashes: Vec::new(),
            row: None,
            kept: Some(kept),
            lost: image.stamp,
            action: &action,
        })?;
        Ok(true)
    }

    /// A delete of this changeset was overruled: what it deleted under the row comes back as well.
    pub(super) fn overruled_here(&mut self, tracked: &Arc<Tracked>, key: &Key) {
        self.overruled.push((Arc::clone(tracked), key.clone()));
    }

    pub(super) fn put_back_under_overruled(&mut self) -> Result<(), MergeError> {
        for (tracked, key) in std::mem::take(&mut self.overruled) {
            if let Some(row) = row::read(self.context.conn, &tracked, &key)? {
                self.put_back_children(&tracked, &row, self.context.version)?;
            }
        }
        Ok(())
    }

    fn put_back(&mut self, tracked: &Arc<Tracked>, image: &Image) -> Result<bool, MergeError> {
        let back = image.row(tracked);
        match row::insert(self.context.conn, tracked, &back) {
            Ok(()) => {}
            Err(error) if refusal(&error).is_some() => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let key: Key = back.iter().take(tracked.keys()).cloned().collect();
        trash::forget(self.context.conn, tracked, &key)?;
        self.log.changed(tracked, &key);
        self.need_parents(tracked, &tracked.names, |place| back[place].clone());
        self.put_back_children(tracked, &back, image.version)?;
        Ok(true)
    }

    /// Rows that `version` deleted under `parent`, and under those, come back.
    fn put_back_children(
        &mut self,
        parent: &Tracked,
        row: &[Value],
        version: tt_protocol::number::Version,
    ) -> Result<(), MergeError> {
        let value = |name: &String| {
            parent
                .place(name)
                .and_then(|place| row.get(place))
                .cloned()
                .unwrap_or(Value::Null)
        };
        let replica = self.context.replica;
        for child in replica.tables.values() {
            for foreign in child
                .table
                .foreign_keys
                .iter()
                .filter(|key| key.parent.eq_ignore_ascii_case(&parent.table.name))
            {
                let values: Key = foreign.parent_columns.iter().map(value).collect();
                for image in trash::of_version(self.context.conn, child, version)? {
                    if points_at(child, &image, &foreign.columns, &values) {
                        self.put_back(child, &image)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Holds the rows of this changeset that point at a parent which nobody has.
    fn hold_children(
        &mut self,
        child: &Arc<Tracked>,
        foreign: &ForeignKey,
        values: &Key,
    ) -> Result<(), MergeError> {
        for piece in self.pieces {
            for change in decode_piece(piece)? {
                if change.table.eq_ignore_ascii_case(&child.table.name) {
                    self.hold_matching(child, foreign, values, &change)?;
                }
            }
        }
        Ok(())
    }

    fn hold_matching(
        &mut self,
        child: &Arc<Tracked>,
        foreign: &ForeignKey,
        values: &Key,
        change: &TableChange,
    ) -> Result<(), MergeError> {
        for index in 0..change.rows.rows() {
            let key: Key = change.key(index).map(ValueRef::to_owned).collect();
            let Some(present) = row::read(self.context.conn, child, &key)? else {
                continue;
            };
            let still = foreign.columns.iter().zip(values).all(|(name, value)| {
                child
                    .place(name)
                    .and_then(|place| present.get(place))
                    .is_some_and(|have| have == value)
            });
            match change.kind {
                ChangeKind::Insert if still => {
                    self.hold_inserted(child, &key, &present, change.time(index))?
                }
                ChangeKind::Update if still => self.take_back(child, foreign, change, index, &key)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn hold_inserted(
        &mut self,
        child: &Arc<Tracked>,
        key: &Key,
        present: &[Value],
        at: i64,
    ) -> Result<(), MergeError> {
        row::delete(self.context.conn, child, key)?;
        self.held_out(child, present);
        let action = "held whole: its parent is not at the hub";
        self.hold_row(Kind::Parent, child, trash::named(child, present), at, action)
    }

    /// Children of a row that is held are held with it.
    fn held_out(&mut self, held: &Tracked, row: &[Value]) {
        for child in self.context.replica.tables.values() {
            for (place, foreign) in child.table.foreign_keys.iter().enumerate() {
                if !foreign.parent.eq_ignore_ascii_case(&held.table.name) {
                    continue;
                }
                let value = |name: &String| {
                    held.place(name)
                        .and_then(|at| row.get(at))
                        .cloned()
                        .unwrap_or(Value::Null)
                };
                let values: Key = foreign.parent_columns.iter().map(value).collect();
                if !values.iter().any(Value::is_null) {
                    let slot = self.parents.entry((child.table.name.clone(), place)).or_default();
                    slot.insert(row::key_bytes(&values), values);
                }
            }
        }
    }

    /// An update that points at a parent which nobody has: the old reference comes back, and is listed.
    fn take_back(
        &mut self,
        child: &Arc<Tracked>,
        foreign: &ForeignKey,
        change: &TableChange,
        index: usize,
        key: &Key,
    ) -> Result<(), MergeError> {
        let mut set = Vec::new();
        let mut clashes = Vec::new();
        for (place, name) in change.columns.iter().skip(change.keys).enumerate() {
            if foreign
                .columns
                .iter()
                .any(|column| column.eq_ignore_ascii_case(name))
            {
                let (base, new) = change.pair(index, place);
                let (base, lost) = (base.to_owned(), new.to_owned());
                clashes.push(tt_protocol::merge::Clash {
                    name: name.clone(),
                    base: base.clone(),
                    kept: base.clone(),
                    lost,
                });
                set.push((name.clone(), base));
            }
        }
        if set.is_empty() {
            return Ok(());
        }
        row::update(self.context.conn, child, key, &set)?;
        self.log.changed(child, key);
        let sides = (None, self.stamp(change.time(index)));
        let action = "the old reference stays: the new parent is not at the hub";
        self.list_clashes(Kind::Parent, child, key, clashes, sides, action)
    }
}

fn points_at(tracked: &Tracked, image: &Image, columns: &[String], values: &Key) -> bool {
    let row = image.row(tracked);
    columns.iter().zip(values).all(|(name, value)| {
        tracked
            .place(name)
            .and_then(|place| row.get(place))
            .is_some_and(|have| have == value)
    })
}

//! A deleted row comes back, because somebody changed it or made a child of it without knowing: with all
//! that the same changeset deleted under it.

use super::{Merge, MergeError};
use crate::store::conflict::{self, Entry, Kind};
use crate::store::same;
use crate::store::trash::{self, Image};
use std::sync::Arc;
use tt_migrations::replica::Tracked;
use tt_migrations::row::{self, Key, refusal};
use tt_migrations::shape::ForeignKey;
use tt_protocol::merge::Stamp;
use tt_protocol::number::Version;
use tt_protocol::value::Value;

impl Merge<'_> {
    pub(super) fn image_of_parent(
        &self,
        foreign: &ForeignKey,
        values: &Key,
    ) -> Result<Option<(Arc<Tracked>, Image)>, MergeError> {
        let Some(parent) = self.context.replica.get(&foreign.parent).cloned() else {
            return Ok(None);
        };
        let found = if parent.key_is(&foreign.parent_columns) {
            trash::find(self.context.conn, &parent, values)?
        } else {
            let images = trash::of_table(self.context.conn, &parent)?;
            images.into_iter().find(|image| {
                points_at(&parent, image, &foreign.parent_columns, &parent, &foreign.parent_columns, values)
            })
        };
        Ok(found.map(|image| (parent, image)))
    }

    /// Brings a deleted row back with all that was deleted under it in the same changeset: as it was, or
    /// where its place is taken by now, with the columns that `change` gives it. False when no image is
    /// left, or neither can be.
    pub(super) fn revive(
        &mut self,
        tracked: &Arc<Tracked>,
        key: &Key,
        kept: Stamp,
        why: &str,
        change: &[(String, Value)],
    ) -> Result<bool, MergeError> {
        let Some(mut image) = trash::find(self.context.conn, tracked, key)? else {
            return Ok(false);
        };
        if !self.put_back(tracked, &image)? {
            // A unique value of it may have gone to another row of the changeset that gives it a new one.
            for (name, value) in &mut image.named {
                if let Some((_, new)) = change.iter().find(|(changed, _)| changed.eq_ignore_ascii_case(name))
                {
                    value.clone_from(new);
                }
            }
            if change.is_empty() || !self.put_back(tracked, &image)? {
                return Ok(false);
            }
            trash::set_stamp(self.context.conn, tracked, key, kept)?;
        }
        let action = format!("the delete was overruled: the row was {why} meanwhile and is back");
        let key = conflict::named_key(tracked, key);
        let entry = Entry::new(Kind::Delete, &tracked.table.name, key, image.stamp, &action);
        self.list(Entry { kept: Some(kept), ..entry })?;
        Ok(true)
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
        self.brought_back.push((tracked.table.name.clone(), key.clone()));
        self.log.changed(tracked, &key);
        self.need_parents(tracked, &tracked.names, |place| back[place].clone());
        self.put_back_children(tracked, &back, image.version)?;
        Ok(true)
    }

    /// Rows that `version` deleted under `parent`, and under those, come back.
    pub(super) fn put_back_children(
        &mut self,
        parent: &Tracked,
        row: &[Value],
        version: Version,
    ) -> Result<(), MergeError> {
        let value = |name: &String| {
            parent.place(name).and_then(|place| row.get(place)).cloned().unwrap_or(Value::Null)
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
                    if points_at(child, &image, &foreign.columns, parent, &foreign.parent_columns, &values) {
                        self.put_back(child, &image)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// True when the image holds these values, as the parent compares them.
fn points_at(
    tracked: &Tracked,
    image: &Image,
    columns: &[String],
    parent: &Tracked,
    parent_columns: &[String],
    values: &Key,
) -> bool {
    let row = image.row(tracked);
    let held: Option<Key> =
        columns.iter().map(|name| tracked.place(name).and_then(|place| row.get(place)).cloned()).collect();
    let bytes = |values: &[Value]| same::bytes(parent, parent_columns.iter().map(String::as_str), values);
    held.is_some_and(|held| bytes(&held) == bytes(values))
}

//! A row that vanished into its twin becomes a row of its own again, because the operator says so: it gets
//! its counts and its children back.

use super::{Context, Merge, MergeError};
use crate::store::alias::{self, Alias, Follower};
use crate::store::conflict::Named;
use crate::store::same;
use std::sync::Arc;
use tt_migrations::replica::Tracked;
use tt_migrations::row::{self, Key, Row};
use tt_protocol::value::Value;

impl<'a> Merge<'a> {
    /// Merges pieces that release the entry `conflict`: `row` is the released row, as it goes in. Returns
    /// the number of conflict entries made.
    ///
    /// # Errors
    /// As [`Merge::run`], and when a constraint refuses what comes back with the row.
    pub(crate) fn run_release(
        context: Context<'a>,
        pieces: &'a [Vec<u8>],
        conflict: i64,
        row: &[(String, Value)],
    ) -> Result<u64, MergeError> {
        let twin = alias::of_conflict(context.conn, conflict)?;
        let mut merge = Self::new(context, pieces);
        let Some(mut alias) = twin else {
            return Ok(merge.until_the_end()?.conflicts);
        };
        let Some(tracked) = merge.context.replica.get(&alias.table).cloned() else {
            return Ok(merge.until_the_end()?.conflicts);
        };
        merge.take_back_counts(&tracked, &mut alias)?;
        let (followers, under) = merge.end_alias(&alias)?;
        merge.take_in()?;
        merge.give_back(&tracked, &alias, row, (followers, under))?;
        Ok(merge.end()?.conflicts)
    }

    fn end_alias(&self, alias: &Alias) -> Result<(Vec<Follower>, Vec<Alias>), MergeError> {
        let conn = self.context.conn;
        let found = (alias::followers(conn, alias.id)?, alias::under(conn, alias.id)?);
        alias::end(conn, alias.id)?;
        Ok(found)
    }

    /// Children that followed the survivor point at `row` again, and rows that vanished because they
    /// followed are themselves again.
    fn give_back(
        &mut self,
        parent: &Arc<Tracked>,
        alias: &Alias,
        row: &[(String, Value)],
        (followers, under): (Vec<Follower>, Vec<Alias>),
    ) -> Result<(), MergeError> {
        let survivor = row::read(self.context.conn, parent, &alias.survivor)?;
        for follower in followers {
            self.give_child_back(parent, survivor.as_ref(), row, &follower)?;
        }
        for mut vanished in under {
            let Some(child) = self.context.replica.get(&vanished.table).cloned() else { continue };
            let key: Key = vanished.row.iter().take(child.keys()).map(|(_, value)| value.clone()).collect();
            let below = self.end_alias(&vanished)?;
            if row::read(self.context.conn, &child, &key)?.is_some() {
                continue;
            }
            self.take_back_counts(&child, &mut vanished)?;
            let names: Vec<String> = vanished.row.iter().map(|(name, _)| name.clone()).collect();
            let values = vanished.row.iter().map(|(_, value)| value.as_ref());
            row::insert_named(self.context.conn, &child, &names, values)?;
            self.log.changed(&child, &key);
            self.need_parents(&child, &names, |place| vanished.row[place].1.clone());
            let again = vanished.row.clone();
            self.give_back(&child, &vanished, &again, below)?;
        }
        Ok(())
    }

    fn give_child_back(
        &mut self,
        parent: &Arc<Tracked>,
        survivor: Option<&Row>,
        row: &[(String, Value)],
        follower: &Follower,
    ) -> Result<(), MergeError> {
        let Some(child) = self.context.replica.get(&follower.table).cloned() else {
            return Ok(());
        };
        let Some(foreign) = child.table.foreign_keys.get(follower.place) else {
            return Ok(());
        };
        let Some(present) = row::read(self.context.conn, &child, &follower.key)? else {
            return Ok(());
        };
        let points_at: Option<Key> = foreign
            .columns
            .iter()
            .map(|name| child.place(name).and_then(|place| present.get(place)).cloned())
            .collect();
        let of_survivor = survivor.and_then(|survivor| {
            let value = |name: &String| parent.place(name).and_then(|place| survivor.get(place)).cloned();
            foreign.parent_columns.iter().map(value).collect::<Option<Key>>()
        });
        let bytes =
            |values: &Key| same::bytes(parent, foreign.parent_columns.iter().map(String::as_str), values);
        // Somebody gave the child another parent since: that stands.
        if points_at.as_ref().map(bytes) != of_survivor.as_ref().map(bytes) {
            return Ok(());
        }
        let value = |name: &String| {
            let found = row.iter().find(|(have, _)| have.eq_ignore_ascii_case(name));
            found.map_or(Value::Null, |(_, value)| value.clone())
        };
        let set: Named =
            foreign.columns.iter().cloned().zip(foreign.parent_columns.iter().map(value)).collect();
        row::update(self.context.conn, &child, &follower.key, &set)?;
        let mut after = present.clone();
        for (name, value) in set {
            if let Some(slot) = child.place(&name).and_then(|place| after.get_mut(place)) {
                *slot = value;
            }
        }
        self.log.changed(&child, &follower.key);
        self.log.changed(&child, &after[..child.keys()].to_vec());
        self.need_parents(&child, &child.names, |place| after[place].clone());
        self.vacate(&child, &present, Some(&after));
        Ok(())
    }
}

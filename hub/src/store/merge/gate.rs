//! What is not let in: writes to tables that the device's role may not write, and changesets that delete
//! more than the policy lets through.
//!
//! * A refused row is listed and the device's copy goes back; the rest of its changeset goes in.
//! * A changeset that deletes too much is held whole, in one entry, and so is all that the device did
//!   before it heard of it: it builds on rows that the hub does not have.

use super::twin::Vanishing;
use super::waiting::single;
use super::{Merge, MergeError, zip_owned};
use crate::store::conflict::{self, Entry, Kind, Named};
use crate::store::same;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use tt_migrations::quote::ident;
use tt_migrations::replica::Tracked;
use tt_migrations::row::{self, Key, Row};
use tt_protocol::change::{Kind as ChangeKind, TableChange, decode_piece, encode_piece};
use tt_protocol::number::EdgeId;
use tt_protocol::value::{Value, ValueRef};

/// What a person reads of rows that may be in already.
const UNCLEAR: &str = "held: a copy of the device's file and the device itself, or another copy, have handed in this work with \
                       other values; take the loser if it is more work, dismiss it if it is the same";

/// Deletes that pass the bounds of a table's policy.
struct TooMany {
    table: String,
    deletes: u64,
    of: u64,
}

impl Merge<'_> {
    /// Refuses a change of a table that the device's role may not write. False when it may.
    pub(super) fn refuse_role(
        &mut self,
        tracked: &Arc<Tracked>,
        change: &TableChange,
    ) -> Result<bool, MergeError> {
        let rule = self.context.policy.table(&tracked.table.name);
        if self.context.released || self.context.role.is_none_or(|role| rule.may_write(role)) {
            return Ok(false);
        }
        for index in 0..change.rows.rows() {
            self.refuse_row(tracked, change, index)?;
        }
        Ok(true)
    }

    fn refuse_row(
        &mut self,
        tracked: &Arc<Tracked>,
        change: &TableChange,
        index: usize,
    ) -> Result<(), MergeError> {
        let key: Key = change.key(index).map(ValueRef::to_owned).collect();
        self.log.changed(tracked, &key);
        let row = match change.kind {
            ChangeKind::Update => {
                let new = (0..change.others()).map(|place| change.pair(index, place).1);
                zip_owned(&change.columns, change.key(index).chain(new))
            }
            _ => zip_owned(&change.columns, change.values(index)),
        };
        let work = vec![encode_piece(&[single(change, index)])];
        if change.kind == ChangeKind::Insert
            && let Some(survivor) = self.same_row(tracked, &row, &key)?
        {
            let here = self.with_parents_here(tracked, row.clone())?;
            let new = Vanishing { row: &row, here, at: change.time(index), via: None, work: Some(work) };
            return self.join(tracked, &new, &survivor, Kind::Role);
        }
        let role = self.context.role.unwrap_or_default();
        let what = match change.kind {
            ChangeKind::Insert => "make",
            ChangeKind::Delete => "delete",
            _ => "change",
        };
        let action = format!("refused: the role {role} may not {what} rows of this table");
        let lost = self.stamp(change.time(index));
        let conn = self.context.conn;
        if let Some(id) = conflict::refused(conn, tracked, &key, self.context.edge)? {
            return Ok(conflict::append(conn, id, &work, 0, Some(&row))?);
        }
        let entry =
            Entry::new(Kind::Role, &tracked.table.name, conflict::named_key(tracked, &key), lost, &action);
        self.list(Entry { row: Some(row), work: Some(work), ..entry })?;
        Ok(())
    }

    /// The hub's row that a refused one would have been: under its key, or its twin.
    fn same_row(
        &mut self,
        tracked: &Arc<Tracked>,
        row: &Named,
        key: &Key,
    ) -> Result<Option<Vec<Value>>, MergeError> {
        match row::read(self.context.conn, tracked, key)? {
            Some(hub) => Ok(Some(hub)),
            None => self.twin_of(tracked, row),
        }
    }

    /// Holds the changeset whole when it deletes more than the policy lets through, or when its device
    /// has not heard yet that an earlier one is held. True when it is held.
    pub(super) fn hold_whole(&mut self) -> Result<bool, MergeError> {
        let conn = self.context.conn;
        if self.context.released || self.context.edge == EdgeId::HUB {
            return Ok(false);
        }
        let edge = self.context.edge;
        if let Some(id) = conflict::held_after(conn, edge, self.context.cursor)? {
            let (rows, _) = self.give_all_back(self.pieces)?;
            conflict::append(conn, id, self.pieces, rows, None)?;
            return Ok(true);
        }
        let Some(TooMany { table, deletes, of }) = self.too_many_deletes()? else {
            return Ok(false);
        };
        let (rows, at) = self.give_all_back(self.pieces)?;
        let action = format!(
            "held whole: it deletes {deletes} of {of} rows of {table}, more than the policy lets through; nothing of it went in"
        );
        let entry = Entry::new(Kind::Deletes, &table, Vec::new(), self.stamp(at), &action);
        let (work, rows) = (Some(self.pieces.to_vec()), rows);
        self.list(Entry { work, rows, ..entry })?;
        Ok(true)
    }

    /// Holds rows of a rescued file, or of its device, that may be in already: to merge them could count them twice.
    pub(super) fn hold_unclear(&mut self, unclear: &[Vec<u8>]) -> Result<(), MergeError> {
        let mut table = None;
        for piece in unclear {
            let first = decode_piece(piece)?.into_iter().next();
            table = table.or(first.map(|change| change.table));
        }
        let Some(table) = table else { return Ok(()) };
        let (rows, at) = self.give_all_back(unclear)?;
        let entry = Entry::new(Kind::Copy, &table, Vec::new(), self.stamp(at), UNCLEAR);
        self.list(Entry { work: Some(unclear.to_vec()), rows, ..entry })?;
        Ok(())
    }

    /// All rows of the changeset go back on the device to what they are here. Gives their number and the
    /// latest time.
    fn give_all_back(&mut self, pieces: &[Vec<u8>]) -> Result<(u64, i64), MergeError> {
        let (mut rows, mut at) = (0, 0);
        for piece in pieces {
            for change in decode_piece(piece)? {
                let Some(tracked) = self.context.replica.get(&change.table).cloned() else { continue };
                for index in 0..change.rows.rows() {
                    rows += 1;
                    at = at.max(change.time(index));
                    self.log.changed(&tracked, &change.key(index).map(ValueRef::to_owned).collect());
                }
            }
        }
        Ok((rows, at))
    }

    /// The table of which the changeset deletes more than the policy lets through, if there is one.
    fn too_many_deletes(&self) -> Result<Option<TooMany>, MergeError> {
        let mut deletes: BTreeMap<String, u64> = BTreeMap::new();
        for piece in self.pieces {
            for change in decode_piece(piece)?.iter().filter(|change| change.kind == ChangeKind::Delete) {
                *deletes.entry(change.table.clone()).or_default() += change.rows.rows() as u64;
            }
        }
        for (table, sent) in deletes {
            let bounds = self.context.policy.table(&table).hold_deletes;
            let Some(tracked) = self.context.replica.get(&table).filter(|_| sent > bounds.rows) else {
                continue;
            };
            let deletes = self.really_deleted(tracked)?;
            let sql = format!("SELECT COUNT(*) FROM {}", ident(&tracked.table.name));
            let of: i64 = self.context.conn.query_row(&sql, [], |row| row.get(0))?;
            if bounds.holds(deletes, of.unsigned_abs()) {
                return Ok(Some(TooMany { table, deletes, of: of.unsigned_abs() }));
            }
        }
        Ok(None)
    }

    /// Rows that are still here, that the changeset deletes and does not make again (a REPLACE).
    fn really_deleted(&self, tracked: &Arc<Tracked>) -> Result<u64, MergeError> {
        let key_of = |row: &Row| same::key_bytes(tracked, &row[..tracked.keys()]);
        let mut deleted: HashSet<Vec<u8>> = HashSet::new();
        self.each(tracked, ChangeKind::Delete, |row| {
            deleted.insert(key_of(row));
            Ok(())
        })?;
        let mut made_again: HashSet<(usize, Vec<u8>)> = HashSet::new();
        // A key in another spelling is sent as a delete and an insert.
        let mut same_key: HashSet<Vec<u8>> = HashSet::new();
        self.each(tracked, ChangeKind::Insert, |row| {
            let key = key_of(row);
            if deleted.contains(&key) {
                same_key.insert(key);
            } else {
                made_again.extend(self.values_in_keys(tracked, |place| row.get(place)));
            }
            Ok(())
        })?;
        let mut count = 0;
        self.each(tracked, ChangeKind::Delete, |row| {
            let values = self.values_in_keys(tracked, |place| row.get(place));
            let key = &row[..tracked.keys()];
            let again =
                values.iter().any(|values| made_again.contains(values)) || same_key.contains(&key_of(row));
            if !again && row::read(self.context.conn, tracked, key)?.is_some() {
                count += 1;
            }
            Ok(())
        })?;
        Ok(count)
    }

    fn each(
        &self,
        tracked: &Tracked,
        kind: ChangeKind,
        mut look: impl FnMut(&Row) -> Result<(), MergeError>,
    ) -> Result<(), MergeError> {
        for piece in self.pieces {
            for change in decode_piece(piece)? {
                if change.kind == kind && change.table.eq_ignore_ascii_case(&tracked.table.name) {
                    for index in 0..change.rows.rows() {
                        look(&tracked.row_of(&change, index))?;
                    }
                }
            }
        }
        Ok(())
    }
}

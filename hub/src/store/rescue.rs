//! Rescued changesets: the unsent work of a file that was copied, put back or lost its identity, handed in by a
//! new device.
//!
//! * What was merged already, under the name by which the file cut it or in another rescue, is not merged again;
//!   and what was rescued is not merged again when the device itself brings it after all.
//! * A row whose id meanwhile means something else goes in under a fresh id, whatever in the same file points at
//!   it goes with it, and the list says so.

use super::conflict::{self, Entry, Kind};
use super::{MergeError, once};
use rusqlite::{Connection, OptionalExtension as _, Result};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use tt_migrations::quote::ident;
use tt_migrations::replica::{Replica, Tracked};
use tt_migrations::row;
use tt_protocol::change::{Kind as ChangeKind, TableChange, decode_piece, encode_piece};
use tt_protocol::ids::{IdBlock, TICK};
use tt_protocol::merge::Stamp;
use tt_protocol::number::{EdgeId, Millis, Seq, Version};
use tt_protocol::rescue::{Origin, decode_origin};
use tt_protocol::value::{Value, ValueRef};

/// The new device gives ids of its own in the block above all that its file knows: these lie so many ticks above
/// what the hub knows that they never meet.
const TICKS_AWAY: i64 = 64;

/// What is known of a changeset that is about to be merged.
pub(super) enum Found {
    /// It is a device's own.
    Own,
    /// It was cut under this name, and is new.
    Rescued(Origin),
    /// It was merged before, in a rescue or by its device.
    Known,
}

/// Looks whether a changeset was merged before under another name.
pub(super) fn find(
    conn: &Connection,
    (edge, seq, hash): (EdgeId, Seq, &[u8; 32]),
    pieces: &[Vec<u8>],
) -> std::result::Result<Found, MergeError> {
    let Some(origin) = pieces.first().map(|piece| decode_origin(piece)).transpose()?.flatten() else {
        let own = Origin { edge, seq, hash: *hash };
        return Ok(if was_rescued(conn, &own)? { Found::Known } else { Found::Own });
    };
    Ok(if is_known(conn, &origin)? { Found::Known } else { Found::Rescued(origin) })
}

/// True when a changeset was merged under this name, by its device or in a rescue.
pub(super) fn is_known(conn: &Connection, origin: &Origin) -> Result<bool> {
    let merged = once::find_merged(conn, origin.edge, origin.seq)?;
    Ok(merged.is_some_and(|(hash, _)| hash == origin.hash) || was_rescued(conn, origin)?)
}

/// Devices from whose files this hub has taken work by itself, with a stand-in that never had a certificate.
pub(crate) fn of_files(conn: &Connection) -> Result<BTreeSet<EdgeId>> {
    let sql = "SELECT DISTINCT r.edge FROM _sync_rescued r JOIN _sync_merged m ON m.version = r.version
               JOIN _sync_edge e ON e.device = m.edge WHERE e.cert_sha256 IS NULL AND e.revoked_at = e.enrolled_at";
    conn.prepare(sql)?.query_map([], |row| Ok(EdgeId(row.get(0)?)))?.collect()
}

fn was_rescued(conn: &Connection, origin: &Origin) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM _sync_rescued WHERE edge = ?1 AND seq = ?2 AND hash = ?3)";
    let name = (origin.edge.0, origin.seq.0 as i64, origin.hash);
    conn.prepare_cached(sql)?.query_row(name, |row| row.get(0))
}

/// Remembers that a changeset was rescued, as `version`.
pub(super) fn remember(conn: &Connection, origin: &Origin, version: Version) -> Result<()> {
    let sql = "INSERT INTO _sync_rescued(edge, seq, hash, version) VALUES (?1, ?2, ?3, ?4)";
    let row = (origin.edge.0, origin.seq.0 as i64, origin.hash, version.0 as i64);
    conn.prepare_cached(sql)?.execute(row).map(drop)
}

/// Gives rows whose ids mean something else fresh ones, here and in all that follows of the same file.
pub(super) fn with_fresh_ids<'p>(
    site: &Site<'_>,
    pieces: &'p [Vec<u8>],
) -> std::result::Result<Cow<'p, [Vec<u8>]>, MergeError> {
    let mut changes: Vec<Vec<TableChange>> = Vec::new();
    for piece in pieces {
        changes.push(decode_piece(piece)?);
    }
    for change in changes.iter().flatten().filter(|change| change.kind == ChangeKind::Insert) {
        site.give_ids(change)?;
    }
    let given = site.given()?;
    if given.is_empty() {
        return Ok(Cow::Borrowed(pieces));
    }
    let rewritten = pieces.iter().zip(changes).map(|(piece, changes)| {
        if changes.is_empty() {
            return piece.clone();
        }
        let changes: Vec<TableChange> = changes.iter().map(|change| site.rewrite(change, &given)).collect();
        encode_piece(&changes)
    });
    Ok(Cow::Owned(rewritten.collect()))
}

/// Where and as whom a rescued changeset is merged.
pub(super) struct Site<'s> {
    pub(super) conn: &'s Connection,
    pub(super) replica: &'s Replica,
    /// The device that hands in.
    pub(super) edge: EdgeId,
    pub(super) version: Version,
    pub(super) now: Millis,
}

/// By table in lower case and former id.
type Given = BTreeMap<(String, i64), i64>;

impl Site<'_> {
    fn given(&self) -> Result<Given> {
        let sql = "SELECT tab, former, given FROM _sync_rescued_id WHERE edge = ?1";
        let mut statement = self.conn.prepare_cached(sql)?;
        let rows = statement.query_map([self.edge.0], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?;
        rows.collect()
    }

    fn give_ids(&self, change: &TableChange) -> std::result::Result<(), MergeError> {
        let Some(tracked) = self.replica.get(&change.table).filter(|tracked| tracked.table.rowid_key) else {
            return Ok(());
        };
        for index in 0..change.rows.rows() {
            let Some(ValueRef::Integer(former)) = change.key(index).next() else { continue };
            let Some(present) = row::read(self.conn, tracked, &[Value::Integer(former)])? else { continue };
            let equal = change.columns.iter().zip(change.values(index)).all(|(name, value)| {
                tracked
                    .place(name)
                    .and_then(|place| present.get(place))
                    .is_none_or(|own| own.as_ref() == value)
            });
            if !equal && !self.has(tracked, former)? {
                self.give(tracked, change, index, former)?;
            }
        }
        Ok(())
    }

    fn has(&self, tracked: &Tracked, former: i64) -> Result<bool> {
        let sql =
            "SELECT EXISTS (SELECT 1 FROM _sync_rescued_id WHERE edge = ?1 AND tab = ?2 AND former = ?3)";
        let name = tracked.table.name.to_ascii_lowercase();
        self.conn.prepare_cached(sql)?.query_row((self.edge.0, name, former), |row| row.get(0))
    }

    fn give(
        &self,
        tracked: &Tracked,
        change: &TableChange,
        index: usize,
        former: i64,
    ) -> std::result::Result<(), MergeError> {
        let name = tracked.table.name.to_ascii_lowercase();
        let sql = "SELECT MAX(given) FROM _sync_rescued_id WHERE edge = ?1 AND tab = ?2";
        let last: Option<i64> =
            self.conn.prepare_cached(sql)?.query_row((self.edge.0, &name), |row| row.get(0))?;
        let next = last.map(|last| last + 1);
        let own = |id: &i64| IdBlock::containing(*id, self.edge).is_some();
        let given = match next.filter(own) {
            Some(id) => id,
            None => self.first_fresh(tracked, last)?,
        };
        let sql = "INSERT INTO _sync_rescued_id(edge, tab, former, given) VALUES (?1, ?2, ?3, ?4)";
        self.conn.prepare_cached(sql)?.execute((self.edge.0, &name, former, given))?;
        let key = vec![(tracked.names[0].clone(), Value::Integer(former))];
        let lost = Stamp { at: change.time(index).min(self.now.0), edge: self.edge };
        let action = format!("went in under the id {given}: another row has its id");
        let row: conflict::Named =
            change.columns.iter().cloned().zip(change.values(index).map(ValueRef::to_owned)).collect();
        let entry =
            Entry { row: Some(row), ..Entry::new(Kind::Key, &tracked.table.name, key, lost, &action) };
        let id = conflict::add(self.conn, self.version, Some(tracked), &entry)?;
        Ok(conflict::close(self.conn, id, "rescued under a fresh id", self.now.0)?)
    }

    fn first_fresh(&self, tracked: &Tracked, last: Option<i64>) -> std::result::Result<i64, MergeError> {
        let (key, name) = (ident(&tracked.table.key[0].0), ident(&tracked.table.name));
        let sql = format!("SELECT COALESCE(MAX({key}), 0) FROM {name}");
        let largest: i64 = self.conn.query_row(&sql, [], |row| row.get(0))?;
        let counter: Option<i64> = self
            .conn
            .query_row("SELECT seq FROM sqlite_sequence WHERE name = ?1", [&tracked.table.name], |row| {
                row.get(0)
            })
            .optional()?;
        let above =
            largest.max(counter.unwrap_or(0)).max(last.unwrap_or(0)).saturating_add(TICKS_AWAY * TICK);
        IdBlock::above(above, self.edge).map(IdBlock::first).ok_or(MergeError::NoIds)
    }

    /// The table whose ids a column holds: its own, or that of a parent.
    fn meant_by(&self, tracked: &Tracked, column: &str) -> Option<String> {
        if tracked.table.rowid_key && tracked.names[0].eq_ignore_ascii_case(column) {
            return Some(tracked.table.name.to_ascii_lowercase());
        }
        let mut parents =
            tracked.table.foreign_keys.iter().filter(|foreign| {
                foreign.columns.len() == 1 && foreign.columns[0].eq_ignore_ascii_case(column)
            });
        parents.find_map(|foreign| {
            let parent = self.replica.get(&foreign.parent).filter(|parent| parent.table.rowid_key)?;
            let by_id = parent.names[0].eq_ignore_ascii_case(&foreign.parent_columns[0]);
            by_id.then(|| parent.table.name.to_ascii_lowercase())
        })
    }

    /// The same change with the ids that its rows have now.
    fn rewrite(&self, change: &TableChange, given: &Given) -> TableChange {
        let Some(tracked) = self.replica.get(&change.table) else { return change.clone() };
        let mut out = TableChange::new(&change.table, change.kind, change.keys, change.columns.clone());
        let meant: Vec<Option<String>> =
            change.columns.iter().map(|column| self.meant_by(tracked, column)).collect();
        for index in 0..change.rows.rows() {
            let width = change.rows.width();
            let row = change.rows.slice(index, 0, width).enumerate().map(|(place, value)| {
                // The new values of an update come after the bases, in the same order.
                let column = if place < change.columns.len() { place } else { place - change.others() };
                let table = meant
                    .get(column)
                    .and_then(Option::as_ref)
                    .filter(|_| place + 1 < width || is_state(change));
                match (table, value) {
                    (Some(table), ValueRef::Integer(id)) => {
                        ValueRef::Integer(given.get(&(table.clone(), id)).copied().unwrap_or(id))
                    }
                    (_, value) => value,
                }
            });
            out.rows.push(row.collect::<Vec<_>>());
        }
        out
    }
}

/// Changes whose rows do not end with a time.
const fn is_state(change: &TableChange) -> bool {
    matches!(change.kind, ChangeKind::Put | ChangeKind::Gone)
}

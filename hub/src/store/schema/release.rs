//! Rows that waited for the schema go in as soon as the hub has their tables and columns.
//!
//! They are merged as a changeset of the edge that sent them, each edge's in a version of its own, and
//! reach every edge, that one as well: it may have been told another row meanwhile.

use crate::devices;
use crate::journal::record::What;
use crate::store::merge::{Context, Merge, fits as change_fits};
use crate::store::{MergeError, StoreError, conflict, journaled, same};
use rusqlite::Connection;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use tt_migrations::replica::{Replica, Tracked};
use tt_migrations::row::Key;
use tt_protocol::change::{Kind, TableChange, decode_piece};
use tt_protocol::number::{EdgeId, Millis, Version};
use tt_protocol::policy::Policy;
use tt_protocol::value::{Value, ValueRef};

/// An entry that waits.
struct Held {
    id: i64,
    edge: EdgeId,
    work: Vec<Vec<u8>>,
    changes: Vec<TableChange>,
}

/// Releases what need not wait any more. Each edge's rows become a version.
pub(crate) fn release(
    conn: &Connection,
    replica: &Arc<Replica>,
    policy: &Policy,
    version: &mut Version,
    now: Millis,
) -> Result<(), StoreError> {
    let before = *version;
    let (free, mut waiting): (Vec<Held>, Vec<Held>) =
        read(conn)?.into_iter().partition(|held| held.changes.iter().all(|change| fits(replica, change)));
    let mut by_edge: BTreeMap<EdgeId, Vec<Held>> = BTreeMap::new();
    for held in with_their_parents(replica, free, &mut waiting) {
        by_edge.entry(held.edge).or_default().push(held);
    }
    for (edge, entries) in by_edge {
        conn.execute_batch("SAVEPOINT release")?;
        let role = devices::role(conn, edge)?;
        let (role, next) = (Some(role.as_str()), version.next());
        let (cursor, released) = (next, false);
        let context = Context { conn, replica, policy, edge, role, cursor, version: next, now, released };
        match release_all(context, &entries, now) {
            Ok(()) => {
                conn.execute_batch("RELEASE release")?;
                *version = version.next();
                tracing::info!(device = %edge, rows = entries.len(), "rows that waited for the schema went in");
            }
            Err(MergeError::Sqlite(error)) if crate::store::once::is_about_the_file(&error) => {
                return Err(error.into());
            }
            Err(error) => {
                conn.execute_batch("ROLLBACK TO release; RELEASE release")?;
                tracing::error!(device = %edge, %error, "rows that waited for the schema cannot be merged and go on waiting");
            }
        }
    }
    if *version != before {
        journaled::put(conn, *version, now, || What::Released)?;
    }
    Ok(())
}

/// The hub has the table and all columns of the change.
pub(crate) fn fits(replica: &Replica, change: &TableChange) -> bool {
    change_fits(replica, change).is_some()
}

fn release_all(context: Context<'_>, entries: &[Held], now: Millis) -> Result<(), MergeError> {
    let Context { conn, version, .. } = context;
    let sql = "UPDATE _sync_conflict SET state = 'closed', decided_at = ?2,
               action = action || '; applied when the hub got the schema' WHERE id = ?1";
    for held in entries {
        conn.prepare_cached(sql)?.execute((held.id, now.0))?;
    }
    let pieces: Vec<Vec<u8>> = entries.iter().flat_map(|held| held.work.iter().cloned()).collect();
    Merge::run(context, &pieces)?;
    conn.execute("UPDATE _sync_log SET origin = -1 WHERE version = ?1", [version.0 as i64])?;
    Ok(())
}

fn read(conn: &Connection) -> Result<Vec<Held>, StoreError> {
    let sql = "SELECT id, lost_from, work FROM _sync_conflict
               WHERE kind = 'schema' AND state = 'open' AND work IS NOT NULL ORDER BY id";
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let work: Vec<Vec<u8>> = conflict::decode(&row.get::<_, Vec<u8>>(2)?)?;
        let mut changes = Vec::new();
        for piece in &work {
            changes.extend(decode_piece(piece)?);
        }
        found.push(Held { id: row.get(0)?, edge: EdgeId(row.get(1)?), work, changes });
    }
    Ok(found)
}

/// A row whose parent goes on waiting goes on waiting.
fn with_their_parents(replica: &Replica, mut free: Vec<Held>, waiting: &mut Vec<Held>) -> Vec<Held> {
    loop {
        let unplaced: HashSet<(EdgeId, String, Vec<u8>)> =
            waiting.iter().flat_map(|held| keys(replica, held)).collect();
        let (alone, rest): (Vec<Held>, Vec<Held>) =
            free.into_iter().partition(|held| points_at_one_of(replica, held, &unplaced));
        free = rest;
        if alone.is_empty() {
            return free;
        }
        waiting.extend(alone);
    }
}

fn keys(replica: &Replica, held: &Held) -> Vec<(EdgeId, String, Vec<u8>)> {
    let slot = |change: &TableChange| {
        let key: Key = change.key(0).map(ValueRef::to_owned).collect();
        let bytes = replica.get(&change.table).map(|tracked| same::key_bytes(tracked, &key))?;
        Some((held.edge, change.table.to_ascii_lowercase(), bytes))
    };
    held.changes.iter().filter(|change| change.rows.rows() > 0).filter_map(slot).collect()
}

fn points_at_one_of(replica: &Replica, held: &Held, unplaced: &HashSet<(EdgeId, String, Vec<u8>)>) -> bool {
    let inserts = held.changes.iter().filter(|change| change.kind == Kind::Insert && change.rows.rows() > 0);
    inserts.into_iter().any(|change| {
        let Some(tracked) = replica.get(&change.table) else { return false };
        tracked.table.foreign_keys.iter().any(|foreign| {
            let values: Option<Key> = foreign.columns.iter().map(|name| value(change, name)).collect();
            let parent: Option<&Arc<Tracked>> = replica.get(&foreign.parent);
            values.zip(parent).is_some_and(|(values, parent)| {
                let bytes = same::key_bytes(parent, &values);
                unplaced.contains(&(held.edge, foreign.parent.to_ascii_lowercase(), bytes))
            })
        })
    })
}

fn value(change: &TableChange, name: &str) -> Option<Value> {
    let place = change.columns.iter().position(|column| column.eq_ignore_ascii_case(name))?;
    Some(change.rows.get(0, place).to_owned())
}

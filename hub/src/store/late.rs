//! A hub that was put back hears again what it lacks, device by device, and so in another order than the first
//! time: a change of a row before the row itself, a child before its parent. Such rows are held like any that
//! cannot go in, and go in by themselves as soon as what they need is there.
//!
//! A delete of a row that is not there yet is no question for anybody: it waits closed. Only when its row has come
//! and is not what the device deleted does it come on the list; it may still go in when more has come.
//!
//! They are merged as a changeset of the device that sent them, each entry in a version of its own. What would
//! be a conflict even then stays on the list for the operator.

mod asleep;

use super::conflict::Entry;
use super::merge::{Context, Merge};
use super::{MergeError, StoreError, alias, conflict, journaled, once, trash};
use crate::devices;
use crate::journal::record::What;
pub(super) use asleep::Asleep;
use rusqlite::{Connection, Result, params_from_iter};
use std::collections::BTreeMap;
use std::sync::Arc;
use tt_migrations::quote::ident;
use tt_migrations::replica::{Replica, Tracked};
use tt_migrations::row::{self, Key};
use tt_migrations::state;
use tt_migrations::value::bound;
use tt_protocol::change::{Kind, decode_piece};
use tt_protocol::number::{EdgeId, Epoch, Millis, Version};
use tt_protocol::pieces::PieceBuilder;
use tt_protocol::policy::Policy;
use tt_protocol::value::{Value, ValueRef};

/// What is done about a delete whose row is not there.
pub(super) const DELETE_WAITS: &str = "the hub does not have the row that was deleted: it goes when it comes";
/// The decision about a delete that waits.
const WAITS: &str = "waits for its row";

/// An entry that may have become mergeable.
struct Late {
    id: i64,
    table: String,
    row: conflict::Named,
    /// The changes of a row that was missing; of a child, the row itself is what goes in.
    work: Option<Vec<Vec<u8>>>,
    edge: EdgeId,
    at: i64,
    /// A delete whose row had not come.
    waits: bool,
    /// Of a child, the row as it is held.
    held: Option<Vec<u8>>,
}

/// Keeps a delete until its row comes.
pub(super) fn wait(conn: &Connection, version: Version, tracked: &Tracked, entry: &Entry<'_>) -> Result<()> {
    let id = conflict::add(conn, version, Some(tracked), entry)?;
    conflict::close(conn, id, WAITS, 0)
}

/// True in a hub that was put back: only there a row can come after its own change.
pub(super) fn is_possible(conn: &Connection) -> Result<bool> {
    Ok(state::get(conn, state::EPOCH)?.unwrap_or(1) > 1)
}

/// Lets in what need not wait any more. What becomes of it is the same whether `asleep` knows much or nothing.
pub(super) fn release(
    context: (&Connection, &Arc<Replica>, &Policy),
    asleep: &mut Asleep,
    version: &mut Version,
    now: Millis,
    epoch: Epoch,
) -> std::result::Result<(), StoreError> {
    if epoch <= Epoch(1) {
        return Ok(());
    }
    let (conn, replica, _) = context;
    let (begun, mut waiting) = (*version, asleep.awake(conn, replica, *version)?);
    loop {
        let (still, has_moved) = pass(context, asleep, version, now, waiting)?;
        waiting = still;
        if !has_moved {
            break;
        }
    }
    for late in waiting.values().filter(|late| late.waits) {
        let Some(tracked) = replica.get(&late.table) else { continue };
        if late.is_ready(conn, replica, tracked)? {
            conflict::reopen(conn, late.id, "the delete waits: the row is not what the device deleted")?;
        }
    }
    if *version != begun {
        journaled::put(conn, *version, now, || What::Late)?;
    }
    Ok(())
}

/// Looks at each once, in order, and at those that this helps: at the ones before it in the next pass. Gives what must
/// be looked at again, and whether that can come to anything else.
fn pass(
    (conn, replica, policy): (&Connection, &Arc<Replica>, &Policy),
    asleep: &mut Asleep,
    version: &mut Version,
    now: Millis,
    mut waiting: BTreeMap<i64, Late>,
) -> std::result::Result<(BTreeMap<i64, Late>, bool), StoreError> {
    let (mut still, mut has_moved) = (BTreeMap::new(), false);
    while let Some((id, late)) = waiting.pop_first() {
        let Some(tracked) = replica.get(&late.table) else { continue };
        if late.waits && late.is_deleted(conn, tracked)? {
            conflict::close_again(conn, id, "deleted already", now.0)?;
            has_moved = true;
        } else if !late.is_ready(conn, replica, tracked)? {
            asleep.put(replica, tracked, &late);
        } else if merged(conn, replica, policy, version, now, &late)? {
            has_moved = true;
            let mut before = asleep.woken(conn, replica, *version)?;
            waiting.append(&mut before.split_off(&id));
            still.append(&mut before);
        } else {
            still.insert(id, late);
        }
    }
    Ok((still, has_moved))
}

/// Merges one entry. False, and nothing is changed, when something would come on the list of it.
fn merged(
    conn: &Connection,
    replica: &Arc<Replica>,
    policy: &Policy,
    version: &mut Version,
    now: Millis,
    late: &Late,
) -> std::result::Result<bool, StoreError> {
    let Some(tracked) = replica.get(&late.table) else { return Ok(false) };
    let role = devices::role(conn, late.edge)?;
    let (role, next, edge) = (Some(role.as_str()), version.next(), late.edge);
    let pieces = late.pieces(tracked);
    conn.execute_batch("SAVEPOINT late")?;
    conflict::close_again(conn, late.id, "applied when what it needs had come", now.0)?;
    let context =
        Context { conn, replica, policy, edge, role, cursor: next, version: next, now, released: false };
    match Merge::run(context, &pieces) {
        Ok(0) => {
            // Its device has followed the hub by now: it gets the row like every other.
            conn.execute("UPDATE _sync_log SET origin = -1 WHERE version = ?1", [next.0 as i64])?;
            conn.execute_batch("RELEASE late")?;
            *version = next;
            return Ok(true);
        }
        Err(MergeError::Sqlite(error)) if once::is_about_the_file(&error) => return Err(error.into()),
        Ok(_) => {}
        Err(error) => tracing::debug!(entry = late.id, %error, "a row that came late goes on waiting"),
    }
    conn.execute_batch("ROLLBACK TO late; RELEASE late")?;
    Ok(false)
}

impl Late {
    fn read(conn: &Connection, id: i64) -> Result<Self> {
        let sql =
            "SELECT tab, row, work, lost_from, lost_at, state = 'closed' FROM _sync_conflict WHERE id = ?1";
        conn.prepare_cached(sql)?.query_row([id], |row| {
            let (held, work): (Vec<u8>, Option<Vec<u8>>) = (row.get(1)?, row.get(2)?);
            Ok(Self {
                id,
                table: row.get(0)?,
                row: conflict::decode(&held)?,
                held: work.is_none().then_some(held),
                work: work.map(|bytes| conflict::decode(&bytes)).transpose()?,
                edge: EdgeId(row.get(3)?),
                at: row.get(4)?,
                waits: row.get(5)?,
            })
        })
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.row.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn key(&self, tracked: &Tracked) -> Option<Key> {
        tracked.table.key_names().map(|name| self.value(name).cloned()).collect()
    }

    /// Somebody else's delete of the row has gone in.
    fn is_deleted(&self, conn: &Connection, tracked: &Tracked) -> Result<bool> {
        let Some(key) = self.key(tracked) else { return Ok(false) };
        Ok(row::read(conn, tracked, &key)?.is_none() && trash::find(conn, tracked, &key)?.is_some())
    }

    /// A change has its row now, a child its parents, and nobody else has the child's key. In place of a row there may
    /// be the twin that stays: devices came in another order, and so it is another one than the first time.
    fn is_ready(&self, conn: &Connection, replica: &Replica, tracked: &Tracked) -> Result<bool> {
        let Some(key) = self.key(tracked) else { return Ok(false) };
        let present = row::read(conn, tracked, &key)?.is_some();
        if let Some(work) = &self.work {
            // What was deleted is not the twin.
            return Ok(present || alias::find(conn, tracked, &key)?.is_some() && !deletes(work));
        }
        if present {
            return Ok(false);
        }
        for foreign in &tracked.table.foreign_keys {
            let values: Vec<&Value> = foreign.columns.iter().filter_map(|name| self.value(name)).collect();
            if values.len() < foreign.columns.len() || values.contains(&&Value::Null) {
                continue;
            }
            let at: Vec<_> =
                foreign.parent_columns.iter().map(|name| format!("{} = ?", ident(name))).collect();
            let sql = format!(
                "SELECT EXISTS (SELECT 1 FROM {} WHERE {})",
                ident(&foreign.parent),
                at.join(" AND ")
            );
            let bound = params_from_iter(bound(values.iter().map(|value| value.as_ref())));
            if conn.prepare_cached(&sql)?.query_row(bound, |row| row.get::<_, bool>(0))? {
                continue;
            }
            let parent = replica.get(&foreign.parent).filter(|parent| parent.key_is(&foreign.parent_columns));
            let values: Key = values.into_iter().cloned().collect();
            let twin = parent.map(|parent| alias::find(conn, parent, &values)).transpose()?.flatten();
            if twin.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn pieces(&self, tracked: &Tracked) -> Vec<Vec<u8>> {
        if let Some(work) = &self.work {
            return work.clone();
        }
        let mut builder = PieceBuilder::default();
        let names: Vec<&str> = self.row.iter().map(|(name, _)| name.as_str()).collect();
        let row = self.row.iter().map(|(_, value)| value.as_ref()).chain([ValueRef::Integer(self.at)]);
        builder.push(Kind::Insert, &tracked.table.name, tracked.keys(), &names, row);
        builder.finish()
    }
}

/// Whether a change takes its row away.
fn deletes(work: &[Vec<u8>]) -> bool {
    let is_delete = |piece: &Vec<u8>| {
        decode_piece(piece).is_ok_and(|changes| changes.iter().any(|change| change.kind == Kind::Delete))
    };
    work.iter().any(is_delete)
}

#[cfg(test)]
mod tests;

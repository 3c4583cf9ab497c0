//! Exactly once: a changeset is merged under its (edge, seq), whole or not at all, and what is merged is
//! recognised by its hash.

use super::rescue::{self, Found, Site};
use super::{Changeset, MergeError, Outcome, feed, journaled, merge, read_shape, schema, uncut};
use crate::devices;
use crate::journal::record::What;
use rusqlite::{Connection, OptionalExtension as _};
use std::sync::Arc;
use tt_migrations::programs_triggers;
use tt_migrations::replica::Replica;
use tt_protocol::change::PieceError;
use tt_protocol::number::{EdgeId, Millis, Seq, Version};
use tt_protocol::pieces;
use tt_protocol::policy::Policy;

/// Merges one changeset in a savepoint of its own, unless it was merged before.
pub(super) fn merge_one(
    conn: &Connection,
    replica: &mut Arc<Replica>,
    policy: &Policy,
    changeset: &Changeset,
    version: &mut Version,
    now: Millis,
) -> Result<Outcome, MergeError> {
    let Changeset { edge, seq, hash, cursor, .. } = changeset;
    if let Some((known, merged_as)) = find_merged(conn, *edge, *seq)? {
        let caught_up = !feed::waits(conn, *edge, *cursor, merged_as)?;
        let merged = Outcome::Merged { version: merged_as, caught_up, rows: 0 };
        return Ok(if known == *hash { merged } else { Outcome::Fork });
    }
    let merged = feed::merged_seq(conn, *edge)?;
    if merged.next() != *seq {
        return Ok(Outcome::Gap { merged });
    }
    if pieces::hash(&changeset.pieces) != *hash {
        return Err(MergeError::Damaged(PieceError::Shape));
    }
    conn.execute_batch("SAVEPOINT changeset")?;
    match merge_new(conn, replica, policy, changeset, version.next(), now) {
        Ok(rows) => {
            conn.execute_batch("RELEASE changeset")?;
            *version = version.next();
            Ok(Outcome::Merged {
                version: *version,
                caught_up: !feed::waits(conn, *edge, *cursor, *version)?,
                rows,
            })
        }
        Err(error) => {
            conn.execute_batch("ROLLBACK TO changeset; RELEASE changeset")?;
            Err(error)
        }
    }
}

/// Merges a changeset that was not merged before, as `version`: first its definitions, then its rows, whose number it
/// gives.
fn merge_new(
    conn: &Connection,
    replica: &mut Arc<Replica>,
    policy: &Policy,
    changeset: &Changeset,
    version: Version,
    now: Millis,
) -> Result<u64, MergeError> {
    let Changeset { edge, seq, hash, pieces, cursor } = changeset;
    let found = rescue::find(conn, (*edge, *seq, hash), pieces)?;
    if matches!(found, Found::Known) {
        return record(conn, changeset, version, now).map(|()| 0);
    }
    let pieces = &*schema::by_present_names(conn, *edge, pieces, version)?;
    if schema::follow(conn, policy, pieces)? {
        *replica = read_shape(conn, policy)?;
        programs_triggers::renew(conn, replica)?;
        schema::declare(conn, replica, version)?;
    }
    let role = devices::role(conn, *edge)?;
    let role = Some(role.as_str());
    let (edge_id, cursor, released) = (*edge, *cursor, false);
    let context =
        merge::Context { conn, replica, policy, edge: edge_id, role, cursor, version, now, released };
    let mark = uncut::mark(pieces)?;
    let rows = if let Found::Rescued(origin) = found {
        let uncut::Sorted { goes, unclear } =
            uncut::sort(conn, policy, (origin.edge, origin.seq), mark, pieces)?;
        let site = Site { conn, replica, edge: edge_id, version, now };
        let goes = rescue::with_fresh_ids(&site, &goes)?;
        let rows = merge::Merge::run_and_hold(context, &goes, &unclear)?;
        rescue::remember(conn, &origin, version)?;
        if let Some(mark) = mark.filter(|mark| !mark.is_unclear) {
            uncut::remember(conn, &origin, mark, pieces)?;
        }
        rows
    } else {
        let uncut::Sorted { goes, unclear } = uncut::sort(conn, policy, (*edge, *seq), None, pieces)?;
        merge::Merge::run_and_hold(context, &goes, &unclear)?
    };
    record(conn, changeset, version, now)?;
    Ok(rows)
}

/// Writes down that the changeset is merged.
fn record(conn: &Connection, changeset: &Changeset, version: Version, now: Millis) -> Result<(), MergeError> {
    let Changeset { edge, seq, hash, cursor, .. } = changeset;
    let row = (edge.0, seq.0 as i64, hash, version.0 as i64, now.0);
    conn.prepare_cached(
        "INSERT INTO _sync_merged(edge, seq, hash, version, at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(row)?;
    let (edge, seq, cursor, pieces) = (*edge, *seq, *cursor, &changeset.pieces);
    journaled::put(conn, version, now, || What::Changeset { edge, seq, cursor, pieces: pieces.clone() })?;
    Ok(())
}

/// True for failures that say nothing about the changeset: the disk, the file, the memory, a lock. All
/// others stop the one device whose changeset it is, and nobody else.
pub(super) fn is_about_the_file(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode as Code;
    let about = [
        Code::DiskFull,
        Code::SystemIoFailure,
        Code::OutOfMemory,
        Code::DatabaseCorrupt,
        Code::NotADatabase,
        Code::DatabaseBusy,
        Code::DatabaseLocked,
        Code::ReadOnly,
        Code::CannotOpen,
        Code::OperationInterrupted,
        Code::PermissionDenied,
    ];
    error.sqlite_error_code().is_some_and(|code| about.contains(&code))
}

/// Hash and version under which a changeset was merged.
pub(super) fn find_merged(
    conn: &Connection,
    edge: EdgeId,
    seq: Seq,
) -> rusqlite::Result<Option<([u8; 32], Version)>> {
    conn.prepare_cached("SELECT hash, version FROM _sync_merged WHERE edge = ?1 AND seq = ?2")?
        .query_row((edge.0, seq.0 as i64), |row| {
            Ok((row.get(0)?, Version(row.get::<_, i64>(1)?.unsigned_abs())))
        })
        .optional()
}

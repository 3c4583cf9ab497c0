//! Work that a device had not cut when its file was rescued: it was cut in a copy, under the number that the
//! device's own next changeset has. That one can still come, when the device is found again, and begins at the
//! same rows: of it only goes in what the copy did not have (`tt_protocol::overlap`).

use super::MergeError;
use rusqlite::{Connection, OptionalExtension as _, Result};
use std::borrow::Cow;
use tt_protocol::change::PieceError;
use tt_protocol::frame::{from_kept_bytes, to_bytes};
use tt_protocol::number::{EdgeId, Millis, Seq};
use tt_protocol::overlap::{self, Rest};
use tt_protocol::policy::Policy;
use tt_protocol::rescue::{Origin, Uncut, decode_uncut};

/// A changeset, sorted: what goes in, and what nobody knows about.
pub(super) struct Sorted<'p> {
    pub(super) goes: Cow<'p, [Vec<u8>]>,
    pub(super) unclear: Cow<'p, [Vec<u8>]>,
}

/// What a changeset says of itself, if it was cut in a copy.
pub(super) fn mark(pieces: &[Vec<u8>]) -> std::result::Result<Option<Uncut>, PieceError> {
    for piece in pieces {
        if let Some(uncut) = decode_uncut(piece)? {
            return Ok(Some(uncut));
        }
    }
    Ok(None)
}

/// Sorts a changeset that is about to be merged under this name.
pub(super) fn sort<'p>(
    conn: &Connection,
    policy: &Policy,
    name: (EdgeId, Seq),
    mark: Option<Uncut>,
    pieces: &'p [Vec<u8>],
) -> std::result::Result<Sorted<'p>, MergeError> {
    if mark.is_some_and(|mark| mark.is_unclear) {
        return Ok(Sorted { goes: Cow::Borrowed(&[]), unclear: Cow::Borrowed(pieces) });
    }
    let Some((seen, taken)) = taken(conn, name)? else {
        return Ok(Sorted { goes: Cow::Borrowed(pieces), unclear: Cow::Borrowed(&[]) });
    };
    // What the device cuts itself, it cuts after the copy was made; of two copies the file says it.
    let is_later = mark.is_none_or(|mark| mark.seen > seen);
    let Rest { goes, unclear, same, unclear_rows } = rest(policy, &taken, pieces, is_later)?;
    tracing::info!(device = %name.0, seq = %name.1, same, unclear_rows, "a rescued file had part of this already");
    Ok(Sorted { goes: Cow::Owned(goes), unclear: Cow::Owned(unclear) })
}

/// What `second` still brings when `first` is merged, by the policy's counters.
pub(super) fn rest(
    policy: &Policy,
    first: &[Vec<u8>],
    second: &[Vec<u8>],
    is_later: bool,
) -> std::result::Result<Rest, PieceError> {
    let is_counter = |table: &str, column: &str| policy.table(table).is_counter(column);
    overlap::rest(first, second, is_later, &is_counter)
}

/// What a copy had, and the last time that it knew.
type Taken = (Millis, Vec<Vec<u8>>);

/// What the latest copy had under this name.
fn taken(conn: &Connection, (edge, seq): (EdgeId, Seq)) -> std::result::Result<Option<Taken>, MergeError> {
    let sql =
        "SELECT seen, pieces FROM _sync_uncut WHERE edge = ?1 AND seq = ?2 ORDER BY seen DESC, hash LIMIT 1";
    let found: Option<(i64, Vec<u8>)> = conn
        .prepare_cached(sql)?
        .query_row((edge.0, seq.0 as i64), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((seen, bytes)) = found else { return Ok(None) };
    Ok(Some((Millis(seen), from_kept_bytes(&bytes).map_err(|_| PieceError::Shape)?)))
}

/// Remembers what was taken of a copy.
pub(super) fn remember(conn: &Connection, origin: &Origin, uncut: Uncut, pieces: &[Vec<u8>]) -> Result<()> {
    let sql = "INSERT INTO _sync_uncut(edge, seq, hash, seen, pieces) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
    let row = (origin.edge.0, origin.seq.0 as i64, origin.hash, uncut.seen.0, to_bytes(&pieces));
    conn.prepare_cached(sql)?.execute(row).map(drop)
}

//! The cut: what programs changed since the last one becomes a changeset, in one short transaction.
//!
//! From the commit on, the changeset is immutable and can be sent any number of times. The commit is
//! fsynced before anything is sent: an edge that lost a cut after pushing it would use its number again
//! for other rows.

use super::times;
use crate::capture::collect::{self, Sink};
use crate::follow;
use crate::replica::{Replica, Tracked};
use crate::state;
use rusqlite::{Connection, Result};
use tt_protocol::change::{Kind, encode_definitions};
use tt_protocol::number::{EdgeId, Seq};
use tt_protocol::pieces::{self, PieceBuilder};
use tt_protocol::policy::Policy;
use tt_protocol::step::encode_made;
use tt_protocol::value::ValueRef;

/// A changeset that was just cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Its number.
    pub seq: Seq,
    /// Rows in it.
    pub rows: u64,
}

struct PieceSink<'p> {
    policy: &'p Policy,
    builder: PieceBuilder,
    offset: i64,
    times: times::Bounds,
}

/// Cuts in the caller's transaction. None when programs changed nothing.
///
/// # Errors
/// When SQLite fails.
pub fn cut(
    conn: &Connection,
    replica: &Replica,
    policy: &Policy,
    device: EdgeId,
    now: i64,
) -> Result<Option<Cut>> {
    cut_within(conn, replica, policy, device, times::bounds(conn, now)?)
}

/// Cuts in a copy of a file whose device is gone. The same file always gives the same changeset: `seen` is the
/// last time that it knows of.
///
/// # Errors
/// When SQLite fails.
pub fn cut_in_copy(
    conn: &Connection,
    replica: &Replica,
    policy: &Policy,
    device: EdgeId,
    seen: i64,
) -> Result<Option<Cut>> {
    cut_within(conn, replica, policy, device, times::bounds(conn, seen)?.until_now())
}

fn cut_within(
    conn: &Connection,
    replica: &Replica,
    policy: &Policy,
    device: EdgeId,
    times: times::Bounds,
) -> Result<Option<Cut>> {
    let now = times.now();
    let offset = state::get(conn, state::CLOCK_OFFSET_MS)?.unwrap_or(0);
    let mut sink = PieceSink { policy, builder: PieceBuilder::default(), offset, times };
    collect::cut(conn, replica, device, now, &mut sink)?;
    let rows = sink.builder.rows();
    let definitions = follow::undeclared(conn, replica.tables.values().map(AsRef::as_ref))?;
    if rows == 0 && definitions.is_empty() {
        return Ok(None);
    }
    let mut pieces: Vec<Vec<u8>> = names(conn)?.into_iter().collect();
    if !definitions.is_empty() {
        pieces.push(encode_definitions(&definitions));
    }
    pieces.extend(sink.builder.finish());
    let seq = Seq(state::get(conn, state::SEQ)?.unwrap_or(0).unsigned_abs()).next();
    keep(conn, seq, &pieces, rows, now)?;
    times::was_cut(conn, now)?;
    Ok(Some(Cut { seq, rows }))
}

/// By which names of tables and columns this changeset is written, when the hub does not know yet.
fn names(conn: &Connection) -> Result<Option<Vec<u8>>> {
    let step = state::get(conn, state::STEP)?.unwrap_or(0);
    if state::get(conn, state::STEP_TOLD)?.unwrap_or(0) == step {
        return Ok(None);
    }
    state::set(conn, state::STEP_TOLD, step)?;
    Ok(Some(encode_made(step.unsigned_abs())))
}

/// Writes a changeset into the outbox under the next number.
///
/// # Errors
/// When SQLite fails.
pub fn keep(conn: &Connection, seq: Seq, pieces: &[Vec<u8>], rows: u64, now: i64) -> Result<()> {
    let cursor = state::get(conn, state::VERSION)?.unwrap_or(0);
    conn.prepare_cached(
        "INSERT INTO _sync_outbox(seq, hash, pieces, rows, cut_at, cursor) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((seq.0 as i64, pieces::hash(pieces), pieces.len() as i64, rows as i64, now, cursor))?;
    let mut insert = conn.prepare_cached("INSERT INTO _sync_piece(seq, place, bytes) VALUES (?1, ?2, ?3)")?;
    for (place, bytes) in (0i64..).zip(pieces) {
        insert.execute((seq.0 as i64, place, bytes))?;
    }
    state::set(conn, state::SEQ, seq.0 as i64)
}

/// Counts what a cut would send now, and gives the time of the oldest touch.
///
/// # Errors
/// When SQLite fails.
pub fn count(conn: &Connection, replica: &Replica, now: i64) -> Result<(u64, Option<i64>)> {
    let mut sink = CountSink::default();
    for tracked in replica.tables.values() {
        collect::collect(conn, tracked, now, &mut sink)?;
    }
    Ok((sink.rows, sink.oldest))
}

impl Sink for PieceSink<'_> {
    fn insert(&mut self, tracked: &Tracked, row: &[ValueRef<'_>], time: i64) -> Result<()> {
        self.whole(Kind::Insert, tracked, row, time);
        Ok(())
    }

    fn delete(&mut self, tracked: &Tracked, base: &[ValueRef<'_>], time: i64) -> Result<()> {
        self.whole(Kind::Delete, tracked, base, time);
        Ok(())
    }

    fn update(
        &mut self,
        tracked: &Tracked,
        changed: &[usize],
        base: &[ValueRef<'_>],
        live: &[ValueRef<'_>],
        time: i64,
    ) -> Result<()> {
        let changed = with_groups(self.policy, tracked, changed);
        let places: Vec<usize> = (0..tracked.keys()).chain(changed.iter().copied()).collect();
        let names: Vec<&str> = places.iter().map(|place| tracked.names[*place].as_str()).collect();
        let time = self.corrected(time);
        let row = (live.iter().take(tracked.keys()).copied())
            .chain(changed.iter().map(|place| base[*place]))
            .chain(changed.iter().map(|place| live[*place]))
            .chain([time]);
        self.builder.push(Kind::Update, &tracked.table.name, tracked.keys(), &names, row);
        Ok(())
    }
}

impl PieceSink<'_> {
    /// The hub's time of a note.
    fn corrected<'v>(&self, time: i64) -> ValueRef<'v> {
        ValueRef::Integer(self.times.possible(time).saturating_sub(self.offset))
    }

    fn whole(&mut self, kind: Kind, tracked: &Tracked, row: &[ValueRef<'_>], time: i64) {
        let names: Vec<&str> = tracked.names.iter().map(String::as_str).collect();
        let time = self.corrected(time);
        self.builder.push(
            kind,
            &tracked.table.name,
            tracked.keys(),
            &names,
            row.iter().copied().chain([time]),
        );
    }
}

/// Columns that the policy keeps together are sent together, so that the hub can judge them as one.
fn with_groups(policy: &Policy, tracked: &Tracked, changed: &[usize]) -> Vec<usize> {
    let rule = policy.table(&tracked.table.name);
    let mut places = changed.to_vec();
    for group in changed.iter().filter_map(|place| rule.group(tracked.names.get(*place)?)) {
        places.extend(group.iter().filter_map(|name| tracked.place(name)));
    }
    places.sort_unstable();
    places.dedup();
    places
}

#[derive(Default)]
struct CountSink {
    rows: u64,
    oldest: Option<i64>,
}

impl CountSink {
    fn add(&mut self, time: i64) -> Result<()> {
        self.rows += 1;
        self.oldest = Some(self.oldest.map_or(time, |oldest| oldest.min(time)));
        Ok(())
    }
}

impl Sink for CountSink {
    fn insert(&mut self, _: &Tracked, _: &[ValueRef<'_>], time: i64) -> Result<()> {
        self.add(time)
    }

    fn update(
        &mut self,
        _: &Tracked,
        _: &[usize],
        _: &[ValueRef<'_>],
        _: &[ValueRef<'_>],
        time: i64,
    ) -> Result<()> {
        self.add(time)
    }

    fn delete(&mut self, _: &Tracked, _: &[ValueRef<'_>], time: i64) -> Result<()> {
        self.add(time)
    }
}

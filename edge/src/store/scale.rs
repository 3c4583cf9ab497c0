//! Keeps the times of notes on one scale while somebody sets the device's clock: brings the record of the
//! clock up to date, and moves the notes in the same commit. What to do is decided in
//! [`tt_protocol::clock`].
//!
//! Capture costs nothing for it: the triggers write the raw time. Any process that is about to write or
//! cut looks first, so the commands do it without a daemon as well; whoever looks second finds it done.

use super::{EdgeStore, StoreError};
use rusqlite::{Connection, Result, TransactionBehavior};
use tt_migrations::outbox::times::load;
use tt_migrations::quote::ident;
use tt_migrations::state;
use tt_protocol::clock::{CLOCK_TOLERANCE_MS, Look, Measured, Reading, Record, Shift, look, measure};

/// How old the record in the file may become. It is what is known after a power cut; written more often
/// it would wear out the card of a device on which nothing happens.
const KEEP_MS: i64 = 600_000;

/// The record in memory, so that a look costs no read of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    record: Record,
    saved_ms: i64,
}

impl EdgeStore {
    /// Compares the clocks with what is remembered. True when somebody has set the clock: the times of the
    /// notes and the offset are adjusted then.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn look_at_clock(&mut self, reading: Reading) -> Result<bool, StoreError> {
        if let Some(kept) = &mut self.clock {
            let looked = look(&kept.record, reading);
            let due = (reading.wall.0.saturating_sub(kept.saved_ms)).saturating_abs() >= KEEP_MS;
            if looked.shift.is_none() && !due {
                kept.record = looked.record;
                return Ok(false);
            }
        }
        let newer = self.clock.map(|kept| kept.record);
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (record, stepped) = look_in(&tx, reading, newer)?;
        tx.commit()?;
        self.clock = Some(Kept { record, saved_ms: record.seen_ms });
        Ok(stepped)
    }

    /// Remembers the clock's offset to the hub, which corrects the times of later cuts.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn set_clock_offset(&mut self, offset_ms: i64) -> Result<(), StoreError> {
        let Some(kept) = self.clock else {
            return Ok(state::set(&self.conn, state::CLOCK_OFFSET_MS, offset_ms)?);
        };
        let measured = measure(&kept.record, offset_ms);
        if measured.record == kept.record {
            return Ok(());
        }
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        perform(&tx, &measured)?;
        tx.commit()?;
        self.clock = Some(Kept { record: measured.record, saved_ms: measured.record.seen_ms });
        Ok(())
    }

    /// The clock's offset to the hub, as last measured.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn clock_offset(&self) -> Result<i64, StoreError> {
        Ok(state::get(&self.conn, state::CLOCK_OFFSET_MS)?.unwrap_or(0))
    }

    /// What a person should know about this device's clock; None when it is right.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn clock_trouble(&self) -> Result<Option<String>, StoreError> {
        let offset = self.clock_offset()?;
        let guessed = load(&self.conn)?.is_some_and(|record| record.measured == Measured::BeforeStart);
        Ok(trouble(offset, guessed))
    }
}

/// Before a command writes without a daemon: as [`EdgeStore::look_at_clock`], in the caller's transaction.
/// A file in which no daemon has run yet has no record, and needs none.
pub(crate) fn look_before_writing(conn: &Connection, reading: Reading) -> Result<()> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_sync_clock')";
    if conn.query_row(sql, [], |row| row.get(0))? {
        look_in(conn, reading, None)?;
    }
    Ok(())
}

/// Looks, and writes down what came of it. `newer` is the caller's own record, which may have been seen
/// later than the one in the file.
fn look_in(conn: &Connection, reading: Reading, newer: Option<Record>) -> Result<(Record, bool)> {
    let Some(mut record) = load(conn)? else {
        let record = Record::new(reading, state::get(conn, state::CLOCK_OFFSET_MS)?);
        save(conn, &record)?;
        return Ok((record, false));
    };
    let same_scale = |newer: &Record| {
        (newer.boot_id, newer.started_ms, newer.offset_ms)
            == (record.boot_id, record.started_ms, record.offset_ms)
    };
    if let Some(newer) = newer.filter(same_scale) {
        record.seen_ms = record.seen_ms.max(newer.seen_ms);
    }
    let looked = look(&record, reading);
    perform(conn, &looked)?;
    Ok((looked.record, looked.shift.is_some()))
}

fn perform(conn: &Connection, look: &Look) -> Result<()> {
    if let Some(shift) = look.shift {
        let moved = move_notes(conn, shift)?;
        tracing::info!(by_ms = shift.by_ms, notes = moved, "this device's clock was set or measured anew");
    }
    save(conn, &look.record)
}

fn move_notes(conn: &Connection, shift: Shift) -> Result<usize> {
    let sql =
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE '\\_sync\\_base\\_%' ESCAPE '\\'";
    let tables: Vec<String> =
        conn.prepare_cached(sql)?.query_map([], |row| row.get(0))?.collect::<Result<_>>()?;
    let mut moved = 0;
    for table in tables {
        let sql = format!(
            "UPDATE {} SET _at = CASE WHEN _at + ?3 < ?4 THEN ?1 ELSE min(_at + ?3, ?5) END
             WHERE _at NOT BETWEEN ?1 AND ?2",
            ident(&table)
        );
        let Shift { from_ms, to_ms, by_ms, floor_ms, ceiling_ms } = shift;
        moved += conn.execute(&sql, [from_ms, to_ms, by_ms, floor_ms, ceiling_ms])?;
    }
    Ok(moved)
}

fn save(conn: &Connection, record: &Record) -> Result<()> {
    let measured = match record.measured {
        Measured::Never => 0,
        Measured::BeforeStart => 1,
        Measured::SinceStart => 2,
    };
    let sql = "INSERT INTO _sync_clock(id, measured, boot_id, started_ms, seen_ms, cut_ms)
               VALUES (1, ?1, ?2, ?3, ?4, ?5) ON CONFLICT(id) DO UPDATE SET measured = excluded.measured,
               boot_id = excluded.boot_id, started_ms = excluded.started_ms, seen_ms = excluded.seen_ms,
               cut_ms = excluded.cut_ms";
    let Record { boot_id, started_ms, seen_ms, cut_ms, .. } = *record;
    conn.prepare_cached(sql)?.execute([measured, boot_id, started_ms, seen_ms, cut_ms])?;
    if state::get(conn, state::CLOCK_OFFSET_MS)?.unwrap_or(0) != record.offset_ms
        || record.measured == Measured::SinceStart
    {
        state::set(conn, state::CLOCK_OFFSET_MS, record.offset_ms)?;
    }
    Ok(())
}

fn trouble(offset_ms: i64, guessed: bool) -> Option<String> {
    if offset_ms.saturating_abs() <= CLOCK_TOLERANCE_MS {
        return None;
    }
    let side = if offset_ms > 0 { "ahead of" } else { "behind" };
    let span = match offset_ms.saturating_abs() / 1_000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    };
    let how = if guessed { ", as far as can be told before the hub is met again" } else { "" };
    Some(format!(
        "the clock is {span} {side} the hub's{how}: what is written is corrected for it, but set the clock"
    ))
}

#[cfg(test)]
mod tests;

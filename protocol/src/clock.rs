//! Judges a device's wall clock: pure decisions, the rim reads the clocks and moves the notes.
//!
//! * A note of capture has the wall clock's raw time. The cut subtracts the offset to the hub, so all notes
//!   must be on the scale that the offset belongs to.
//! * A *scale* begins when somebody sets the wall clock, or the device starts with a clock that lost its
//!   time. [`look`] notices it, because the clock that counts since the start knows how long it really was.
//!   What lies on the old scale is moved to the new one, so that corrected time goes on as if nothing
//!   had happened, also offline.
//! * After a start nobody knows what the wall clock did meanwhile. Until the next [`measure`], corrected
//!   time goes on from the last one seen and never back; the measurement then leaves the older notes at the
//!   corrected times they had, and gives those since the start their true one.

use crate::number::Millis;
use std::collections::VecDeque;

/// A wall clock that moved against the clock since the start by more than this was set by somebody. Programs
/// that keep the time slew by fractions of a second and set the clock when it is further off; a thread that
/// is held up between reading the two clocks is not held up for longer. It is also what the operator is
/// told of: a person does not order two writes that are closer together.
pub const CLOCK_TOLERANCE_MS: i64 = 2_000;

/// Measurements of the offset that are compared: the one with the shortest round trip is the best.
const SAMPLES: usize = 8;

/// What the two clocks of a device show at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock.
    pub wall: Millis,
    /// The clock that nobody can set; None where the system has none.
    pub boot: Option<Boot>,
}

/// The clock that counts since the system's start, sleep included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Another number after each start.
    pub id: i64,
    /// Milliseconds since then.
    pub elapsed_ms: i64,
}

/// Since when the offset is not a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    /// It never was measured.
    Never,
    /// Before the device was started last.
    BeforeStart,
    /// Since the device was started.
    SinceStart,
}

/// What is remembered of a device's wall clock. All times are on its present scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The wall clock minus the hub's: what the cut subtracts.
    pub offset_ms: i64,
    /// Whether the offset is a guess.
    pub measured: Measured,
    /// [`Boot::id`]; 0 where there is no such clock.
    pub boot_id: i64,
    /// What the wall clock would have shown at the start.
    pub started_ms: i64,
    /// The wall clock at the last look.
    pub seen_ms: i64,
    /// The wall clock at the last cut: no note is older.
    pub cut_ms: i64,
}

/// What to do with the notes that are not on the present scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    /// A note from here …
    pub from_ms: i64,
    /// … to here, inclusive, may be on the present scale, and keeps its time. All others move.
    pub to_ms: i64,
    /// Added to a note that moves.
    pub by_ms: i64,
    /// One that is earlier even then is on a scale that was never seen: it gets `from_ms`.
    pub floor_ms: i64,
    /// One that is later than this gets this.
    pub ceiling_ms: i64,
}

/// A record brought up to date, and what it means for the notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// To be remembered, in one commit with the shift.
    pub record: Record,
    /// None when all notes are on the present scale.
    pub shift: Option<Shift>,
}

impl Record {
    /// The first look at a clock: all notes are taken to be on its scale.
    #[must_use]
    pub fn new(reading: Reading, offset_ms: Option<i64>) -> Self {
        let wall = reading.wall.0;
        Self {
            offset_ms: offset_ms.unwrap_or(0),
            measured: if offset_ms.is_some() { Measured::SinceStart } else { Measured::Never },
            boot_id: reading.boot.map_or(0, |boot| boot.id),
            started_ms: reading.boot.map_or(wall, |boot| wall.saturating_sub(boot.elapsed_ms)),
            seen_ms: wall,
            cut_ms: i64::MIN,
        }
    }

    /// The same moments on a scale that is later by `by_ms`.
    const fn moved(self, by_ms: i64) -> Self {
        Self {
            offset_ms: self.offset_ms.saturating_add(by_ms),
            seen_ms: self.seen_ms.saturating_add(by_ms),
            cut_ms: if self.cut_ms == i64::MIN { i64::MIN } else { self.cut_ms.saturating_add(by_ms) },
            ..self
        }
    }
}

/// Compares the clocks with what is remembered.
#[must_use]
pub fn look(record: &Record, reading: Reading) -> Look {
    let wall = reading.wall.0;
    let Some(boot) = reading.boot else {
        return Look { record: Record { seen_ms: wall, ..*record }, shift: None };
    };
    let started_ms = wall.saturating_sub(boot.elapsed_ms);
    let elapsed_seen_ms = record.seen_ms.saturating_sub(record.started_ms);
    if boot.id != record.boot_id || boot.elapsed_ms < elapsed_seen_ms.saturating_sub(CLOCK_TOLERANCE_MS) {
        return started(record, wall, boot.id, started_ms);
    }
    let by_ms = started_ms.saturating_sub(record.started_ms);
    if by_ms.saturating_abs() <= CLOCK_TOLERANCE_MS {
        return Look { record: Record { seen_ms: wall, ..*record }, shift: None };
    }
    let moved = record.moved(by_ms);
    let (from_ms, floor_ms) = (moved.seen_ms.min(wall), moved.cut_ms);
    let shift = Shift { from_ms, to_ms: wall, by_ms, floor_ms, ceiling_ms: wall };
    Look { record: Record { started_ms, seen_ms: wall, ..moved }, shift: Some(shift) }
}

/// The device was started since the last look. A clock that shows an earlier time at the start than it
/// showed before has lost its time: corrected time goes on from the last one seen.
fn started(record: &Record, wall: i64, boot_id: i64, started_ms: i64) -> Look {
    let lost = started_ms < record.seen_ms.saturating_sub(CLOCK_TOLERANCE_MS);
    let by_ms = if lost { started_ms.saturating_sub(record.seen_ms) } else { 0 };
    let moved = record.moved(by_ms);
    let measured = match record.measured {
        Measured::Never => Measured::Never,
        Measured::BeforeStart | Measured::SinceStart => Measured::BeforeStart,
    };
    // What was noted before the start stays before it, so that it can still be told apart.
    let ceiling_ms = started_ms.saturating_sub(1);
    let shift = Shift { from_ms: started_ms, to_ms: wall, by_ms, floor_ms: moved.cut_ms, ceiling_ms };
    Look { record: Record { measured, boot_id, started_ms, seen_ms: wall, ..moved }, shift: Some(shift) }
}

/// The offset was measured. To be called with a record that [`look`] has just brought up to date.
#[must_use]
pub fn measure(record: &Record, offset_ms: i64) -> Look {
    let measured = Record { offset_ms, measured: Measured::SinceStart, ..*record };
    if record.measured != Measured::BeforeStart {
        return Look { record: measured, shift: None };
    }
    let by_ms = offset_ms.saturating_sub(record.offset_ms);
    let cut_ms = record.moved(by_ms).cut_ms;
    let (from_ms, to_ms) = (record.started_ms, record.seen_ms);
    let shift = Shift { from_ms, to_ms, by_ms, floor_ms: cut_ms, ceiling_ms: to_ms };
    Look { record: Record { cut_ms, ..measured }, shift: (by_ms != 0).then_some(shift) }
}

/// The newest measurements of the offset. A request and its answer took some time, and nobody knows how
/// much of it each way: the middle is wrong by half of it at most, so the shortest round trip counts.
#[derive(Clone, Debug, Default)]
pub struct Samples(VecDeque<(i64, i64)>);

impl Samples {
    /// Adds an answer of the hub, whose clock showed `hub`, to what was asked at `asked` and came back at
    /// `answered`. Gives the best offset known; None when the answer came before the question, which
    /// means that the clock was set between them.
    pub fn add(&mut self, asked: Millis, answered: Millis, hub: Millis) -> Option<i64> {
        let trip = answered.0.checked_sub(asked.0).filter(|trip| *trip >= 0)?;
        let middle = asked.0.saturating_add(trip / 2);
        if self.0.len() == SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back((trip, middle.saturating_sub(hub.0)));
        self.0.iter().rev().min_by_key(|(trip, _)| *trip).map(|(_, offset)| *offset)
    }

    /// Forgets all of them: the clock was set.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests;

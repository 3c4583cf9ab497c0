//! When the clock's offset to the hub is measured on a link: with the greeting, right after it, now and
//! then, and again when the clock was set.

use crate::clock::Samples;
use crate::frame::{EdgeFrame, Pong};
use crate::number::Millis;

/// How often the offset is measured on a link that stays: a bad crystal drifts by a tenth of a second in
/// that time.
const PING_EVERY_MS: i64 = 600_000;

/// Questions to the hub that its answers are paired with.
#[derive(Debug)]
pub(super) struct Timing {
    greeted_at: Option<Millis>,
    ping: Option<Millis>,
    number: u64,
    asked_at: Millis,
    samples: Samples,
}

impl Timing {
    /// The hub is greeted now.
    pub(super) fn new(now: Millis) -> Self {
        Self { greeted_at: Some(now), ping: None, number: 0, asked_at: now, samples: Samples::default() }
    }

    /// A ping, now.
    pub(super) fn ask(&mut self, now: Millis) -> EdgeFrame {
        self.number += 1;
        self.ping = Some(now);
        self.asked_at = now;
        EdgeFrame::Ping(self.number)
    }

    /// True when the last question is long ago, on whatever side of it the clock now is.
    pub(super) const fn is_due(&self, now: Millis) -> bool {
        now.0.saturating_sub(self.asked_at.0).saturating_abs() >= PING_EVERY_MS
    }

    /// The hub welcomed the device, at `hub` on its own clock. Gives the best offset known.
    pub(super) fn welcomed(&mut self, now: Millis, hub: Millis) -> Option<i64> {
        let asked = self.greeted_at.take()?;
        self.samples.add(asked, now, hub)
    }

    /// The hub answered a ping. Gives the best offset known.
    pub(super) fn answered(&mut self, now: Millis, pong: &Pong) -> Option<i64> {
        if pong.number != self.number {
            return None;
        }
        let asked = self.ping.take()?;
        self.samples.add(asked, now, pong.now)
    }

    /// The clock was set: what was asked before says nothing any more.
    pub(super) fn forget(&mut self) {
        self.greeted_at = None;
        self.ping = None;
        self.samples.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pong(number: u64, now: i64) -> Pong {
        Pong { number, now: Millis(now) }
    }

    #[test]
    fn a_ping_that_is_quicker_than_the_greeting_counts() {
        let mut timing = Timing::new(Millis(10_000));
        assert_eq!(timing.welcomed(Millis(12_000), Millis(1_000)), Some(10_000));
        assert_eq!(timing.welcomed(Millis(12_000), Millis(1_000)), None, "a greeting is answered once");
        assert_eq!(timing.ask(Millis(12_000)), EdgeFrame::Ping(1));
        assert_eq!(timing.answered(Millis(12_010), &pong(1, 1_005)), Some(11_000));
        assert_eq!(timing.answered(Millis(12_011), &pong(1, 1_005)), None, "and so is a ping");
    }

    #[test]
    fn answers_from_before_the_clock_was_set_say_nothing() {
        let mut timing = Timing::new(Millis(10_000));
        timing.ask(Millis(10_000));
        timing.forget();
        assert_eq!(timing.welcomed(Millis(99_000), Millis(1_000)), None);
        assert_eq!(timing.answered(Millis(99_000), &pong(1, 1_005)), None);
        timing.ask(Millis(99_000));
        assert_eq!(timing.answered(Millis(99_001), &pong(1, 1_005)), None, "the answer to the first ping");
        assert_eq!(timing.answered(Millis(99_004), &pong(2, 1_002)), Some(98_000));
    }

    #[test]
    fn the_next_ping_is_due_after_a_while_on_either_side() {
        let mut timing = Timing::new(Millis(0));
        timing.ask(Millis(0));
        assert!(!timing.is_due(Millis(PING_EVERY_MS - 1)));
        assert!(timing.is_due(Millis(PING_EVERY_MS)) && timing.is_due(Millis(-PING_EVERY_MS)));
    }
}

//! How long an edge waits before it tries the hub again.
//!
//! Exponential with full jitter: when a hub comes back, the devices that lost it must not all knock
//! in the same instant. The random fraction is an argument, so that simulations repeat themselves.

use core::time::Duration;

/// Shortest wait between two attempts.
pub const WAIT_MIN: Duration = Duration::from_millis(200);
/// Longest wait between two attempts: short enough that nobody at a station gives up on it.
pub const WAIT_MAX: Duration = Duration::from_secs(30);

/// Counts failures in a row and says how long to wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Nothing has failed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { failures: 0 }
    }

    /// An attempt failed: the wait before the next one, evenly spread between [`WAIT_MIN`] and a
    /// ceiling that doubles with each failure up to [`WAIT_MAX`]. `fraction` is random, from 0 to 1.
    pub fn failed(&mut self, fraction: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let doubled = 2_u32.saturating_pow(self.failures);
        let ceiling = WAIT_MIN.saturating_mul(doubled).min(WAIT_MAX);
        let fraction = if fraction.is_nan() { 1.0 } else { fraction.clamp(0.0, 1.0) };
        WAIT_MIN + (ceiling - WAIT_MIN).mul_f64(fraction)
    }

    /// The link is up, which means that the hub answered a Hello: the next failure starts afresh.
    pub const fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_and_then_stays() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..10).map(|_| backoff.failed(1.0).as_millis()).collect();
        assert_eq!(waits, [400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000, 30_000]);
        for _ in 0..100 {
            assert_eq!(backoff.failed(1.0), WAIT_MAX);
        }
    }

    #[test]
    fn the_wait_is_never_below_the_least_whatever_the_fraction() {
        let mut backoff = Backoff::new();
        for fraction in [0.0, -3.0, f64::NEG_INFINITY, f64::INFINITY, f64::NAN, 0.5] {
            let wait = backoff.failed(fraction);
            assert!((WAIT_MIN..=WAIT_MAX).contains(&wait), "{fraction}: {wait:?}");
        }
    }

    #[test]
    fn success_starts_afresh() {
        let mut backoff = Backoff::new();
        backoff.failed(0.3);
        backoff.failed(0.3);
        assert_eq!(backoff.failures(), 2);
        backoff.succeeded();
        assert_eq!(backoff.failed(1.0).as_millis(), 400);
    }
}

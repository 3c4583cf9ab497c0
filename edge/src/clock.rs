//! The one place where the edge reads the clock.

#![expect(clippy::disallowed_methods, reason = "this is the rim that reads the clock for everybody else")]

use std::time::{SystemTime, UNIX_EPOCH};
use tt_protocol::number::Millis;

/// Milliseconds since 1970; negative on a clock that is set before that.
#[must_use]
pub fn now() -> Millis {
    let now = SystemTime::now();
    let millis = match now.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()),
        Err(before) => i64::try_from(before.duration().as_millis()).map(|millis| -millis),
    };
    Millis(millis.unwrap_or(0))
}

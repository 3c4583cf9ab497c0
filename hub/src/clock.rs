//! The hub's clock: the one place where the daemon and its commands read the time.
//!
//! Sessions, merges and devices take the time as an argument and must never come here themselves.

#![expect(clippy::disallowed_methods, reason = "the rim reads the clock and hands the time in")]

use std::time::{SystemTime, UNIX_EPOCH};
use tt_protocol::number::Millis;

/// Milliseconds since 1970. A clock that stands before that counts as 1970.
pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

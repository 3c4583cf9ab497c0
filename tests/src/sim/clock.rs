//! The clock of one simulated node. The capture triggers read SQLite's own clock, so each connection of
//! the node gets a `julianday` that tells simulated time: a seed then decides every tie.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

const JULIAN_DAY_OF_1970: f64 = 2_440_587.5;
const DAY_MS: f64 = 86_400_000.0;

/// Milliseconds since 1970, shared with the connections that tell this time.
#[derive(Clone, Debug, Default)]
pub struct NodeClock(Arc<AtomicI64>);

impl NodeClock {
    /// Sets the time.
    pub fn set(&self, milliseconds: i64) {
        self.0.store(milliseconds, Ordering::Relaxed);
    }

    /// Makes a connection tell this time.
    ///
    /// # Panics
    /// When SQLite refuses the function, which it does not.
    pub fn rule(&self, conn: &Connection) {
        let time = Arc::clone(&self.0);
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
        conn.create_scalar_function("julianday", -1, flags, move |_| {
            let now = time.load(Ordering::Relaxed);
            // Half a millisecond more, because the triggers cut the fraction off.
            Ok((now as f64 + 0.5) / DAY_MS + JULIAN_DAY_OF_1970)
        })
        .expect("a function");
    }
}

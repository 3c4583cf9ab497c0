//! The pure core of TabletTracker Sync: numbers, values, changes, frames, merge rules and sessions.
//!
//! Nothing here does I/O, reads a clock, draws randomness or knows SQLite: time, random bytes and
//! received bytes are arguments. That is what lets thousands of simulated worlds run in seconds.

pub mod audit;
pub mod backoff;
pub mod block;
pub mod change;
pub mod clock;
pub mod counted;
pub mod definition;
mod dictionary;
pub mod difference;
pub mod digest;
pub mod download;
pub mod enrol;
pub mod former;
pub mod frame;
pub mod ids;
pub mod limits;
pub mod link;
pub mod merge;
pub mod number;
pub mod overlap;
pub mod pieces;
pub mod policy;
pub mod prefix;
pub mod rescue;
pub mod session;
pub mod span;
pub mod step;
pub mod token;
pub mod value;
mod varint;

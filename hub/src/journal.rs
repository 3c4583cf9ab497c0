//! The journal: every write transaction of the hub, in order, so that a snapshot and a replay give the database
//! at any version or second since, and so that people can ask who changed a row.
//!
//! * `record` is what is written down; the store puts it into `_sync_journal` in the transaction that it tells of
//!   (`store/journaled`), so that journal and database never disagree.
//! * `segment` and `writer` carry it into files under `DIR/journal`, on disk before anything is acknowledged;
//!   `reader` reads them back, from a folder or a vault, and finds gaps, forks and damage.
//! * `replay` applies it to a copy of a snapshot, through the same merge.
//! * A record is never changed, and none is removed but with its whole segment.

pub mod history;
pub(crate) mod parts;
pub mod reader;
pub mod record;
pub mod replay;
mod retention;
pub(crate) mod segment;
pub(crate) mod ship;
pub(crate) mod standing;
pub mod watermark;
pub mod writer;

//! `tt-hub`: accepts devices, merges their changesets into the canonical database, and feeds them.
//!
//! `link` carries frames, `engine` joins sessions to the `store`, `devices` and `ca` decide who may talk.

pub mod ca;
pub mod devices;
pub mod engine;
pub mod link;
pub mod store;

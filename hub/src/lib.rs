//! `tt-hub`: accepts devices, merges their changesets into the canonical database, and feeds them.
//!
//! `link` carries frames, `engine` joins sessions to the `store`, `devices` and `ca` decide who may talk.
//! `daemon` runs all of it; `cli` is the program, which reaches a running daemon through `control`.

mod background;
mod backup;
pub mod ca;
pub mod cli;
mod clock;
mod config;
mod control;
mod daemon;
mod database;
pub mod devices;
#[cfg(test)]
mod dice;
pub mod engine;
mod folder;
mod health;
mod http;
pub mod journal;
pub mod link;
mod rescue;
mod restore;
mod space;
pub mod store;
mod upkeep;
mod view;

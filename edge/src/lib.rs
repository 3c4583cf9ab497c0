//! `tt-edge`: cuts what programs changed on a device, hands it to the hub, and applies what others did.
//!
//! `store` is the program's file, `engine` joins it to a session, `link` carries frames to the hub,
//! `daemon` keeps all of it going, `station` is the page for counting, `record` writes a count as the program does,
//! `inbox` takes the files that scanners leave, `doctor` finds what is wrong, `salvage` takes a damaged file apart,
//! `cli` is what a person types.

pub mod cli;
pub mod clock;
pub mod daemon;
mod doctor;
pub mod engine;
pub mod identity;
mod inbox;
pub mod join;
pub mod link;
pub mod place;
mod record;
mod salvage;
pub mod station;
pub mod store;

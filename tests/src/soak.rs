//! A soak: hubs, devices and programs as real processes for an hour or longer, with all faults mixed by one seed.
//!
//! * `deed`: what a program's transaction does, as the ledger writes it down
//! * `book`: the ledger of one program, outside of every database, and how a killed transaction came out
//! * `station`: a program at a station, in plain SQL
//! * `crew`: such programs as processes
//! * `account`: what must be in every file, from all books, and what is in one
//! * `past`: which transactions of the hub's own programs a restore takes back
//! * `site`: hub, devices, and a stretch of bad wireless for each
//! * `disk`: a small disk for a device, that can run full
//! * `fault`: what goes wrong next, `act` lets it happen
//! * `backups`: what is listed is one moment of the database, and restores
//! * `quiet`: everything is mended, and the promises are looked at
//! * `strain`: memory, descriptors and folders of the daemons
//! * `chronicle`: one line for each event
//! * `run`: a soak from beginning to end

mod account;
mod act;
mod backups;
mod book;
mod chronicle;
mod crew;
mod deed;
mod disk;
mod fault;
mod past;
mod quiet;
mod run;
mod site;
pub mod station;
mod strain;

pub use run::{Plan, run};

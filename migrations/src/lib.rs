//! The shape of the database file: numbered SQL and its runner, the merge policy, capture, rows and changes.
//!
//! Everything here works on a connection that the caller owns. It must never open a network, read a clock
//! or draw randomness: the time is an argument.

pub mod audit;
pub mod autoincrement;
pub mod capture;
pub mod connection;
pub mod digest;
pub mod durable;
pub mod evolve;
pub mod follow;
pub mod holders;
pub mod outbox;
pub mod policy;
pub mod programs_triggers;
pub mod progress;
pub mod quote;
pub mod ranges;
pub mod replica;
pub mod row;
pub mod runner;
pub mod salvage;
pub mod script;
pub mod shape;
pub mod state;
pub mod tokens;
pub mod value;

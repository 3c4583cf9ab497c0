//! A device's outbox, in the program's own file: what was cut and is not yet safe, so that it commits with the rows.
//!
//! Here is what the device itself needs, and whoever has a device's file in its hands after the device is gone.

pub mod cut;
pub mod kept;
pub mod times;

/// The tables that only a device has.
pub const TABLES: &str = include_str!("outbox/tables.sql");

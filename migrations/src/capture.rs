//! Capture: what notes, in the program's own transaction, which rows it touched.
//!
//! One *base table* per replicated table holds each touched row as it was when first touched since the
//! last cut; BEFORE triggers of plain SQL fill it. Rows with a fresh id of this device's own block need
//! no note: they are found by their id. The daemon's own connections write with triggers disabled.

pub mod base;
pub mod collect;
mod default;
pub mod gone;
pub mod ids;
pub mod install;
pub mod rename;
pub mod triggers;

//! Capture against real files: what a program's SQL leaves behind must be exactly what the cut finds.
//!
//! A *station* is one file with two connections: the program's, plain, and the daemon's, with triggers
//! off. The tests let the program write, cut, and compare with a shadow copy as of the last cut.

/// Random numbers that a printed seed brings back.
#[path = "capture/dice.rs"]
mod dice;
/// A program that writes random SQL.
#[path = "capture/program.rs"]
mod program;
/// The schemas that random programs work on.
#[path = "capture/schemas.rs"]
mod schemas;
/// The tables as of the last cut, and the sink that records what a cut reports.
#[path = "capture/shadow.rs"]
mod shadow;
/// One file, its program and its daemon.
#[path = "capture/station.rs"]
mod station;

/// Files of the real program.
#[path = "capture/fixtures.rs"]
mod fixtures;
/// Ids of many devices, blocks that run out, counters that programs disturb.
#[path = "capture/ids.rs"]
mod ids;
/// What capture costs a program: printed, not asserted.
#[path = "capture/measure.rs"]
mod measure;
/// Random programs against the shadow: the main property.
#[path = "capture/property.rs"]
mod property;
/// The same triggers in the SQLite that Python brings along.
#[path = "capture/python.rs"]
mod python;
/// The program changes the schema between two cuts.
#[path = "capture/schema_change.rs"]
mod schema_change;
/// Single stories: REPLACE victims, odd keys, odd defaults, triggers of the program.
#[path = "capture/victims.rs"]
mod victims;

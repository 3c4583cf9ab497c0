//! Simulated worlds: a hub and its edges with real SQLite files under them, and a link that loses, cuts
//! and repeats, all driven by one seed.

pub mod random;
pub mod world;

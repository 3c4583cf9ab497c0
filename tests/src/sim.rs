//! Simulated worlds: a hub and its edges with real SQLite files under them, and a link that loses, cuts
//! and repeats, all driven by one seed. `pure` is the same without files: sessions only, far faster.
//!
//! * `schemas`: the handful of schemas that a seed chooses from
//! * `program`: what programs write, by chance
//! * `ledger`: what programs committed, to be compared with what the hub has in the end
//! * `world`, `wire`: nodes, links, crashes
//! * `checks`: the promises, each a function
//! * `model`: scripted worlds, and a model of the merge rules that says how they must come out
//! * `operator`: decides about all that is listed in the end
//! * `run`: one seed from beginning to end, and many on several threads

pub mod checks;
pub mod clock;
pub mod ledger;
pub mod model;
pub mod operator;
pub mod program;
pub mod pure;
pub mod random;
pub mod run;
pub mod schemas;
mod wire;
pub mod world;

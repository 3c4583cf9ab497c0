//! The merge rules, one story each: what two devices did, and what every node has afterwards.
//!
//! * `story`: a hub and two devices, and words to tell a story with
//! * `clocks`: clocks that are wrong, are set right or lose their time
//! * `decisions`: what the operator decides about each kind of entry, and that every node gets it
//! * `found`: faults that simulated worlds found
//! * `gate`: what a role may not write, changesets that delete too much
//! * `references`: parents and children
//! * `triggers`: triggers of the program that fire for rows that come from elsewhere, and those that do not
//! * `restored`: a hub that was put back, and what comes in another order than the first time
//! * `released`: pieces that are held, and what becomes of them when the operator decides
//! * `twins`: the same thing made on two devices
//! * `tables`: runs the tables in `tests/cases`, where most of the rules are written down
//! * `whole`: a large transaction is never seen in part; a rebase under a change that is not cut

#[path = "merge_cases/clocks.rs"]
mod clocks;
#[path = "merge_cases/decisions.rs"]
mod decisions;
#[path = "merge_cases/found.rs"]
mod found;
#[path = "merge_cases/gate.rs"]
mod gate;
#[path = "merge_cases/references.rs"]
mod references;
#[path = "merge_cases/released.rs"]
mod released;
#[path = "merge_cases/restored.rs"]
mod restored;
#[path = "merge_cases/story.rs"]
mod story;
#[path = "merge_cases/tables.rs"]
mod tables;
#[path = "merge_cases/triggers.rs"]
mod triggers;
#[path = "merge_cases/twins.rs"]
mod twins;
#[path = "merge_cases/whole.rs"]
mod whole;

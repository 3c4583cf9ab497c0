//! The merge rules, one story each: what two devices did, and what every node has afterwards.
//!
//! * `story`: a hub and two devices, and words to tell a story with
//! * `found`: faults that simulated worlds found
//! * `references`: parents and children
//! * `tables`: runs the tables in `tests/cases`, where most of the rules are written down
//! * `whole`: a large transaction is never seen in part; a rebase under a change that is not cut

#[path = "merge_cases/found.rs"]
mod found;
#[path = "merge_cases/references.rs"]
mod references;
#[path = "merge_cases/story.rs"]
mod story;
#[path = "merge_cases/tables.rs"]
mod tables;
#[path = "merge_cases/whole.rs"]
mod whole;

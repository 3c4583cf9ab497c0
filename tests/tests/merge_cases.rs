//! The merge rules, one story each: what two devices did, and what every node has afterwards.
//!
//! * `story`: a hub and two devices, and words to tell a story with
//! * `clocks`: clocks that are wrong, are set right or lose their time
//! * `columns`: counters, columns that both changed, deletes against changes
//! * `constraints`: primary keys, UNIQUE, CHECK, REPLACE, changes of keys
//! * `found`: faults that simulated worlds found
//! * `references`: parents and children
//! * `triggers`: triggers of the program that fire for rows that come from elsewhere, and those that do not
//! * `whole`: a large transaction is never seen in part; a rebase under a change that is not cut

#[path = "merge_cases/clocks.rs"]
mod clocks;
#[path = "merge_cases/columns.rs"]
mod columns;
#[path = "merge_cases/constraints.rs"]
mod constraints;
#[path = "merge_cases/found.rs"]
mod found;
#[path = "merge_cases/references.rs"]
mod references;
#[path = "merge_cases/story.rs"]
mod story;
#[path = "merge_cases/triggers.rs"]
mod triggers;
#[path = "merge_cases/whole.rs"]
mod whole;

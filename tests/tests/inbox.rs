//! Files that scanners leave, before real daemons: what they hold is there once, at the device and at the hub.
//!
//! * `folder`: the daemon takes files without a link, and what they hold arrives
//! * `by_hand`: `tt-edge import`, its verdicts, and two at once
//! * `kills`: whoever takes a file dies at any moment, and each line is there once

#[path = "inbox/by_hand.rs"]
mod by_hand;
#[path = "inbox/folder.rs"]
mod folder;
#[path = "inbox/kills.rs"]
mod kills;
#[path = "end_to_end/warehouse.rs"]
#[expect(dead_code, reason = "other tests use the rest of it")]
mod warehouse;

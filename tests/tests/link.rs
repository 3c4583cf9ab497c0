//! The link between a device and the hub, over real sockets on the loopback address.
//!
//! * `hub`: a hub with its authority and list of devices that echoes frames and serves one file
//! * `relay`: a UDP relay that can change its own address or swallow one direction
//! * `enrolment`: who gets in, and what the others are told
//! * `frames`: frames, refusals and endings on a link
//! * `snapshots`: a transfer that is cut, resumed, replaced and repaired
//! * `addresses`: finding the hub, and keeping the link when an address changes

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

#[path = "link/addresses.rs"]
mod addresses;
#[path = "link/enrolment.rs"]
mod enrolment;
#[path = "link/frames.rs"]
mod frames;
#[path = "link/hub.rs"]
mod hub;
#[path = "link/relay.rs"]
mod relay;
#[path = "link/snapshots.rs"]
mod snapshots;

use std::time::Duration;

/// Far more than any step needs; a test that waits so long has failed.
const DEADLINE: Duration = Duration::from_secs(20);

/// Waits, but not for ever.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it should have happened long ago")
}

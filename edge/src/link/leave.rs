//! Tells the hub that this device has left for good.

use super::{Link, LinkError, connect};
use crate::identity::Identity;
use std::time::Duration;
use tokio::time::timeout;
use tt_protocol::frame::{EdgeFrame, HubFrame, from_bytes, to_bytes};

/// Says it, and waits until the hub has heard it: it refuses the device from then on.
///
/// # Errors
/// When the hub is out of reach or does not answer; [`LinkError::Refused`] when it refused the device before.
pub async fn leave(identity: &Identity, addresses: &[String], deadline: Duration) -> Result<(), LinkError> {
    let mut link = connect(identity, addresses, deadline).await?;
    let outcome = timeout(deadline, say(&mut link)).await;
    link.close("this device has left").await;
    outcome.unwrap_or(Err(LinkError::Silent(deadline.as_secs())))
}

async fn say(link: &mut Link) -> Result<(), LinkError> {
    link.sender.send(&to_bytes(&EdgeFrame::Leave)).await?;
    while let Some(bytes) = link.receiver.recv().await? {
        if let HubFrame::Refused(_) = from_bytes(&bytes)? {
            return Ok(());
        }
    }
    // The reason may come with the end of the link only.
    Err(link.closed().await)
}

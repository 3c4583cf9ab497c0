//! Enrols this device at the hub of a token: one request, one reply.
//!
//! The hub is believed when the authority that it shows has the fingerprint of the token. The same
//! request may be repeated with the same key while the token lives; the hub then answers the same.

use super::connect::{Reached, reach};
use super::{FrameReceiver, FrameSender, LinkError, config};
use crate::identity::DeviceKey;
use quinn::{Connection, VarInt};
use rustls::pki_types::CertificateDer;
use std::time::Duration;
use tokio::time::timeout;
use tt_protocol::enrol::{Application, EnrolReply, EnrolRequest, Enrolled};
use tt_protocol::link::{CLOSE_DONE, close_reason};
use tt_protocol::token::Token;

/// How long the goodbye may take to leave.
const GOODBYE_DEADLINE: Duration = Duration::from_secs(1);

/// What a join brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// What the hub answered.
    pub enrolled: Enrolled,
    /// The hub's authority, to be trusted from now on.
    pub ca: CertificateDer<'static>,
    /// The address that answered, as it was given.
    pub address: String,
}

/// Enrols the device. Addresses that the operator gave are to be put in front of the token's own.
///
/// # Errors
/// When no address answers in time, somebody else answers, or the hub refuses, with its reason.
pub async fn join(token: &Token, key: &DeviceKey, deadline: Duration) -> Result<Joined, LinkError> {
    let pin = config::Pin::new(token.ca_sha256);
    let config = config::joining(pin.clone())?;
    let conversation = async {
        let reached = reach(&token.addresses, &config).await.map_err(|error| match error {
            LinkError::Untrusted(_) if pin.met_another_hub() => {
                LinkError::WrongHub(token.addresses.join(", "))
            }
            other => other,
        })?;
        let ca = authority(&reached.connection, &pin)
            .ok_or_else(|| LinkError::WrongHub(reached.address.clone()))?;
        let reply = ask(&reached.connection, token, key).await?;
        say_goodbye(&reached).await;
        match reply {
            EnrolReply::Enrolled(enrolled) => Ok(Joined { enrolled, ca, address: reached.address }),
            EnrolReply::Refused { reason } => Err(LinkError::Refused(reason)),
        }
    };
    timeout(deadline, conversation).await.map_err(|_| LinkError::Silent(deadline.as_secs()))?
}

async fn ask(connection: &Connection, token: &Token, key: &DeviceKey) -> Result<EnrolReply, LinkError> {
    let (send, receive) = connection.open_bi().await?;
    let mut sender = FrameSender::new(send);
    let request = EnrolRequest::V1(Application {
        secret: token.secret.clone(),
        name: token.name.clone(),
        public_key: key.public_key(),
    });
    sender.send(&request.to_frame()).await?;
    sender.finish();
    let frame = FrameReceiver::new(receive).recv().await?.ok_or(LinkError::NoAnswer)?;
    Ok(EnrolReply::from_frame(&frame)?)
}

fn authority(connection: &Connection, pin: &config::Pin) -> Option<CertificateDer<'static>> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    pin.find(&chain).map(|ca| ca.clone().into_owned())
}

async fn say_goodbye(reached: &Reached) {
    reached.connection.close(VarInt::from_u32(CLOSE_DONE), close_reason("enrolment done"));
    // The hub waits for it, but not for ever.
    let _ = timeout(GOODBYE_DEADLINE, reached.endpoint.wait_idle()).await;
}

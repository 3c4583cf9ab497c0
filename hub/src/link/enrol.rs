//! How a new device becomes known: one request, one reply, each with a deadline.
//!
//! [`serve_enrolment`] carries the conversation and knows no database; [`admit`] decides and runs
//! where the hub's writing connection lives. A refusal is a reply like any other: the device shows
//! its reason to the person who typed the token.

use super::{FrameReceiver, FrameSender, LinkError, close};
use crate::ca::{Authority, CaError};
use crate::devices::{self, DevicesError};
use quinn::Connection;
use sha2::{Digest, Sha256};
use std::time::Duration;
use tokio::time::timeout;
use tt_protocol::enrol::{Application, EnrolReply, EnrolRequest, Enrolled};
use tt_protocol::number::Millis;

/// A request holds a secret, a name and a key. Strangers may send no more than this.
const REQUEST_BYTES_MAX: usize = 4096;
/// How long a device may take to say its request, and then to hear the reply.
const TURN: Duration = Duration::from_secs(10);

/// Why the hub could not decide. The device is told only that there is trouble.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// About the invitation or the list of devices.
    #[error(transparent)]
    Devices(#[from] DevicesError),
    /// About the certificate.
    #[error(transparent)]
    Ca(#[from] CaError),
}

impl From<rusqlite::Error> for EnrolError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Devices(error.into())
    }
}

/// Hears one request, lets `decide` answer it, and sees the reply off.
///
/// # Errors
/// When the device says nothing, says something else, or goes away.
pub async fn serve_enrolment<Decision>(
    connection: Connection,
    decide: impl FnOnce(EnrolRequest) -> Decision,
) -> Result<(), LinkError>
where
    Decision: Future<Output = EnrolReply>,
{
    let heard = timeout(TURN, hear(&connection)).await;
    let (mut sender, request) = heard.map_err(|_| LinkError::Silent(TURN.as_secs()))??;
    let reply = decide(request).await;
    sender.send(&reply.to_frame()).await?;
    sender.finish();
    // The device closes when it has read the reply; closing first could overtake it.
    let _ = timeout(TURN, connection.closed()).await;
    close(&connection, "enrolment done");
    Ok(())
}

async fn hear(connection: &Connection) -> Result<(FrameSender, EnrolRequest), LinkError> {
    let (send, receive) = connection.accept_bi().await?;
    let frame = FrameReceiver::limited(receive, REQUEST_BYTES_MAX).recv().await?.unwrap_or_default();
    Ok((FrameSender::new(send), EnrolRequest::from_frame(&frame)?))
}

/// Decides over a request: uses the token, gives the number, signs the certificate; all or nothing.
///
/// # Errors
/// When the hub itself is in trouble. A request that is to blame itself gets
/// [`EnrolReply::Refused`].
pub fn admit(
    conn: &rusqlite::Connection,
    authority: &Authority,
    request: &EnrolRequest,
    addresses: &[String],
    now: Millis,
) -> Result<EnrolReply, EnrolError> {
    let EnrolRequest::V1(application) = request;
    match devices::atomically(conn, || enrol(conn, authority, application, addresses, now)) {
        Ok(enrolled) => Ok(EnrolReply::Enrolled(enrolled)),
        Err(EnrolError::Devices(error)) if error.is_refusal() => {
            Ok(EnrolReply::Refused { reason: error.to_string() })
        }
        Err(EnrolError::Ca(error @ CaError::PublicKey(_))) => {
            Ok(EnrolReply::Refused { reason: error.to_string() })
        }
        Err(error) => Err(error),
    }
}

fn enrol(
    conn: &rusqlite::Connection,
    authority: &Authority,
    application: &Application,
    addresses: &[String],
    now: Millis,
) -> Result<Enrolled, EnrolError> {
    let Application { secret, public_key, .. } = application;
    let admission = devices::redeem(conn, secret, &public_key.bytes, now)?;
    let certificate = authority.sign_device(public_key, admission.device, &admission.name)?;
    devices::record_certificate(conn, admission.device, &Sha256::digest(&certificate).into(), now)?;
    Ok(Enrolled {
        device: admission.device,
        name: admission.name,
        role: admission.role,
        certificate: certificate.to_vec(),
        addresses: addresses.to_vec(),
    })
}

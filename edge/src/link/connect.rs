//! Finds the hub: tries its addresses, a moment apart, and keeps the first that answers.
//!
//! The socket is bound to no particular address of this machine. When the device moves to another
//! network, the system sends from there, QUIC notices, and the link lives on.

use super::{FrameReceiver, FrameSender, LinkError, config};
use crate::identity::Identity;
use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, Runtime, VarInt};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tt_protocol::link::{CLOSE_DONE, SERVER_NAME, check_address, close_reason};

/// How long the next address waits for the one before it.
const HEAD_START: Duration = Duration::from_millis(300);
/// How long one place may take to shake hands.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// How long a closing link waits for its goodbye to leave.
const GOODBYE_DEADLINE: Duration = Duration::from_secs(1);

/// A connection to the hub with a stream for frames.
#[derive(Debug)]
pub struct Link {
    /// The connection; snapshots open streams of their own on it.
    pub connection: Connection,
    /// The socket.
    pub endpoint: Endpoint,
    /// Frames to the hub. The first must be the Hello: until then the hub does not see the stream.
    pub sender: FrameSender,
    /// Frames from the hub.
    pub receiver: FrameReceiver,
    /// The address that answered, as it was given.
    pub address: String,
}

/// A connection on which nothing has been said.
pub(super) struct Reached {
    pub(super) connection: Connection,
    pub(super) endpoint: Endpoint,
    pub(super) address: String,
}

/// Connects to the hub that the device has joined.
///
/// # Errors
/// When no address answers in time, or somebody else answers. That the hub refuses the device comes
/// out only of the first read.
pub async fn connect(
    identity: &Identity,
    addresses: &[String],
    deadline: Duration,
) -> Result<Link, LinkError> {
    let config = config::syncing(identity)?;
    let reached = timeout(deadline, reach(addresses, &config)).await;
    let Reached { connection, endpoint, address } =
        reached.map_err(|_| LinkError::Silent(deadline.as_secs()))??;
    let (send, receive) = connection.open_bi().await?;
    let (sender, receiver) = (FrameSender::new(send), FrameReceiver::new(receive));
    Ok(Link { connection, endpoint, sender, receiver, address })
}

impl Link {
    /// Closes the link and waits a moment for the hub to hear it.
    pub async fn close(self, reason: &str) {
        self.connection.close(VarInt::from_u32(CLOSE_DONE), close_reason(reason));
        // If the goodbye is lost, the hub finds out by its idle timeout.
        let _ = timeout(GOODBYE_DEADLINE, self.endpoint.wait_idle()).await;
    }

    /// Waits until the link has ended, and says why. May be cancelled.
    pub async fn closed(&self) -> LinkError {
        self.connection.closed().await.into()
    }
}

/// The first address that answers.
pub(super) async fn reach(addresses: &[String], config: &ClientConfig) -> Result<Reached, LinkError> {
    if addresses.is_empty() {
        return Err(LinkError::NoAddress);
    }
    let mut attempts = JoinSet::new();
    let mut head_start = Duration::ZERO;
    for address in addresses {
        let (address, config) = (address.clone(), config.clone());
        attempts.spawn(async move {
            sleep(head_start).await;
            try_address(&address, &config).await.map_err(|error| (address, error))
        });
        head_start += HEAD_START;
    }
    let mut failures = Vec::new();
    while let Some(ended) = attempts.join_next().await {
        match ended.expect("an attempt does not panic and nobody stops it") {
            Ok(reached) => return Ok(reached),
            Err(failure) => failures.push(failure),
        }
    }
    Err(sum_up(failures))
}

/// What a person should hear first when nothing worked: a reason that needs a person, if there is one.
fn sum_up(mut failures: Vec<(String, LinkError)>) -> LinkError {
    if let Some(place) = failures.iter().position(|(_, error)| !error.is_passing()) {
        return failures.swap_remove(place).1;
    }
    let each: Vec<_> = failures.iter().map(|(address, error)| describe(address, error)).collect();
    LinkError::Unreachable(each.join("; "))
}

fn describe(address: &str, error: &LinkError) -> String {
    match error {
        LinkError::Unreachable(what) => format!("{address} ({what})"),
        LinkError::Silent(seconds) => format!("{address} (no answer within {seconds} s)"),
        other => format!("{address} ({other})"),
    }
}

async fn try_address(address: &str, config: &ClientConfig) -> Result<Reached, LinkError> {
    check_address(address).map_err(|error| LinkError::Unreachable(error.to_string()))?;
    let found = lookup_host(address).await;
    let places =
        found.map_err(|error| LinkError::Unreachable(format!("the name cannot be looked up: {error}")))?;
    let mut last = LinkError::Unreachable("the name has no address".into());
    for place in places {
        match try_place(place, config).await {
            Ok((connection, endpoint)) => {
                return Ok(Reached { connection, endpoint, address: address.to_owned() });
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(target_os = "linux")]
fn runtime() -> Arc<dyn Runtime> {
    Arc::new(super::alarm::Alarms)
}

#[cfg(not(target_os = "linux"))]
fn runtime() -> Arc<dyn Runtime> {
    Arc::new(quinn::TokioRuntime)
}

async fn try_place(place: SocketAddr, config: &ClientConfig) -> Result<(Connection, Endpoint), LinkError> {
    let any: SocketAddr = match place {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).map_err(LinkError::Socket)?;
    let endpoint =
        Endpoint::new(EndpointConfig::default(), None, socket, runtime()).map_err(LinkError::Socket)?;
    let connecting = endpoint
        .connect_with(config.clone(), place, SERVER_NAME)
        .map_err(|error| LinkError::Unreachable(error.to_string()))?;
    let connection = timeout(HANDSHAKE_DEADLINE, connecting).await;
    let connection = connection.map_err(|_| LinkError::Silent(HANDSHAKE_DEADLINE.as_secs()))??;
    Ok((connection, endpoint))
}

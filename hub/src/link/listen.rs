//! The hub's socket: connections come in here and leave as [`Arrival`]s.
//!
//! Each handshake runs in a task of its own, a bounded number at a time and with a deadline, so that
//! a peer that falls silent in the middle keeps nobody else waiting.

use super::{LinkError, config, refuse, restart};
use crate::ca::Authority;
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, Endpoint, Incoming, TokioRuntime, VarInt};
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tt_protocol::link::{ALPN_JOIN, ALPN_SYNC, CLOSE_STOPPING, close_reason};

/// Handshakes at the same time. Each takes about a millisecond of one core.
const HANDSHAKES_MAX: usize = 64;
/// With more handshakes than this under way, a peer must first prove that it owns its address, so
/// that forged packets cannot hold the rest.
const HANDSHAKES_UNPROVEN_MAX: usize = 32;
/// A handshake that takes longer is given up.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// Arrivals that the caller has not picked up yet.
const ARRIVALS_MAX: usize = 64;
/// How long a stopping hub waits for its goodbyes to leave.
const GOODBYE_DEADLINE: Duration = Duration::from_secs(2);

/// A peer whose handshake is done.
#[derive(Debug)]
pub enum Arrival {
    /// A device that wants to enrol. It has shown no certificate, or one that does not matter.
    Joining(Connection),
    /// A device with a certificate of this hub's authority; perhaps a revoked one.
    Device {
        /// SHA-256 of its certificate in DER.
        cert_sha256: [u8; 32],
        /// Its connection. The first stream that it opens is for frames, later ones for snapshots.
        connection: Connection,
    },
}

/// The hub's socket. Closes all its connections when it is dropped.
#[derive(Debug)]
pub struct Listener {
    endpoint: Endpoint,
    arrivals: mpsc::Receiver<Arrival>,
}

impl Listener {
    /// Listens on `address`; port 0 lets the system choose. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the address is taken or not here, or the authority's files do not work.
    pub fn bind(address: SocketAddr, authority: &Authority) -> Result<Self, LinkError> {
        let config = config::server(authority)?;
        let endpoint = UdpSocket::bind(address)
            .and_then(|socket| {
                Endpoint::new(restart::endpoint(authority), Some(config), socket, Arc::new(TokioRuntime))
            })
            .map_err(|source| match source.kind() {
                io::ErrorKind::AddrInUse => LinkError::InUse(address),
                io::ErrorKind::AddrNotAvailable => LinkError::NotHere(address),
                _ => LinkError::Bind { address, source },
            })?;
        let (sender, arrivals) = mpsc::channel(ARRIVALS_MAX);
        tokio::spawn(shake_hands(endpoint.clone(), sender));
        Ok(Self { endpoint, arrivals })
    }

    /// The address that the system chose.
    ///
    /// # Panics
    /// When the system does not know the address of a socket that it bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.endpoint.local_addr().expect("a bound socket has an address")
    }

    /// The next peer, or `None` once the listener is closed. May be cancelled.
    pub async fn accept(&mut self) -> Option<Arrival> {
        self.arrivals.recv().await
    }

    /// Says goodbye to all: the hub stops, and devices are to come back later.
    pub async fn close(&mut self) {
        self.say_goodbye();
        // Whoever does not hear it finds out by the idle timeout.
        let _ = timeout(GOODBYE_DEADLINE, self.endpoint.wait_idle()).await;
    }

    fn say_goodbye(&self) {
        self.endpoint.close(VarInt::from_u32(CLOSE_STOPPING), close_reason("the hub is stopping"));
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.say_goodbye();
    }
}

async fn shake_hands(endpoint: Endpoint, arrivals: mpsc::Sender<Arrival>) {
    let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    while let Some(incoming) = endpoint.accept().await {
        let under_way = HANDSHAKES_MAX - places.available_permits();
        if under_way > HANDSHAKES_UNPROVEN_MAX && incoming.may_retry() {
            incoming.retry().expect("it was just asked whether it may");
            continue;
        }
        let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
        let arrivals = arrivals.clone();
        tokio::spawn(async move {
            if let Some(arrival) = shake_hand(incoming).await {
                // Nobody listens any more when the hub is stopping, and then the connection is closed too.
                let _ = arrivals.send(arrival).await;
            }
            drop(place);
        });
    }
}

async fn shake_hand(incoming: Incoming) -> Option<Arrival> {
    let from = incoming.remote_address();
    let handshake = async { incoming.accept()?.await };
    match timeout(HANDSHAKE_DEADLINE, handshake).await {
        Ok(Ok(connection)) => tell_apart(connection),
        Ok(Err(error)) => {
            tracing::info!(%from, %error, "a peer did not get in");
            None
        }
        Err(_) => {
            tracing::info!(%from, "a peer fell silent during its handshake");
            None
        }
    }
}

fn tell_apart(connection: Connection) -> Option<Arrival> {
    let from = connection.remote_address();
    match (protocol(&connection).as_deref(), certificate_sha256(&connection)) {
        (Some(ALPN_JOIN), _) => Some(Arrival::Joining(connection)),
        (Some(ALPN_SYNC), Some(cert_sha256)) => Some(Arrival::Device { cert_sha256, connection }),
        (Some(ALPN_SYNC), None) => {
            tracing::warn!(%from, "a peer without a certificate wanted to sync");
            refuse(
                &connection,
                "this device shows no certificate of this hub: enrol it with `tt-edge join TOKEN`",
            );
            None
        }
        _ => {
            tracing::warn!(%from, "a peer speaks an unknown protocol");
            refuse(
                &connection,
                "the hub does not speak this protocol: bring device and hub to the same version",
            );
            None
        }
    }
}

fn protocol(connection: &Connection) -> Option<Vec<u8>> {
    connection.handshake_data()?.downcast::<HandshakeData>().ok()?.protocol
}

fn certificate_sha256(connection: &Connection) -> Option<[u8; 32]> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    chain.first().map(|certificate| Sha256::digest(certificate).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_address_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(dir.path()).unwrap();
        let first = Listener::bind("127.0.0.1:0".parse().unwrap(), &authority).unwrap();
        let taken = first.local_addr();
        assert_ne!(taken.port(), 0);
        let error = Listener::bind(taken, &authority).unwrap_err().to_string();
        assert!(error.contains(&taken.to_string()) && error.contains("--listen"), "{error}");
        let elsewhere = Listener::bind("192.0.2.1:0".parse().unwrap(), &authority);
        assert!(matches!(elsewhere, Err(LinkError::NotHere(_))), "{elsewhere:?}");
    }

    #[tokio::test]
    async fn a_closed_listener_ends_accept() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(dir.path()).unwrap();
        let mut listener = Listener::bind("127.0.0.1:0".parse().unwrap(), &authority).unwrap();
        listener.close().await;
        assert!(timeout(GOODBYE_DEADLINE, listener.accept()).await.unwrap().is_none());
    }
}

//! How the hub speaks QUIC and TLS: which certificates it shows and accepts, and how much a peer may
//! make it hold.
//!
//! * TLS 1.3 only, the cryptography of `ring` named explicitly, no session resumption: every
//!   connection shows its certificate anew.
//! * A certificate is optional here because a new device has none; what it may do without one is
//!   decided by the protocol it asked for.

use super::LinkError;
use crate::ca::Authority;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{IdleTimeout, ServerConfig, TransportConfig, VarInt};
use rustls::pki_types::UnixTime;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{RootCertStore, version::TLS13};
use std::sync::Arc;
use std::time::Duration;
use tt_protocol::link::{
    ALPN_JOIN, ALPN_SYNC, CHECK_TIME_S, IDLE_TIMEOUT, LINK_WINDOW_BYTES, STREAM_WINDOW_BYTES,
};

/// Streams that a device may have open: its frames, a snapshot, and room for a broken-off one.
const STREAMS_MAX: u32 = 4;
/// Connections that wait for their handshake. Enough for every device at once after a restart.
const WAITING_MAX: usize = 4096;
/// Bytes that all waiting connections may hold together.
const WAITING_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// See [`CHECK_TIME_S`].
#[derive(Debug)]
struct FixedTime;

impl TimeProvider for FixedTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(CHECK_TIME_S)))
    }
}

pub(super) fn server(authority: &Authority) -> Result<ServerConfig, LinkError> {
    let crypto = QuicServerConfig::try_from(tls(authority)?).map_err(|error| refused(error.to_string()))?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport()));
    config.migration(true);
    config.max_incoming(WAITING_MAX);
    config.incoming_buffer_size_total(WAITING_BYTES_MAX);
    Ok(config)
}

fn tls(authority: &Authority) -> Result<rustls::ServerConfig, LinkError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone())?;
    let devices = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .map_err(|error| refused(error.to_string()))?;
    let mut tls = rustls::ServerConfig::builder_with_details(provider, Arc::new(FixedTime))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(devices)
        .with_single_cert(authority.hub_chain(), authority.hub_key())?;
    tls.alpn_protocols = vec![ALPN_SYNC.to_vec(), ALPN_JOIN.to_vec()];
    tls.send_tls13_tickets = 0;
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(tls)
}

fn refused(what: String) -> LinkError {
    LinkError::Tls(rustls::Error::General(what))
}

fn transport() -> TransportConfig {
    let idle = IdleTimeout::try_from(IDLE_TIMEOUT).expect("a minute fits");
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(LINK_WINDOW_BYTES))
        .send_window(u64::from(LINK_WINDOW_BYTES))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(idle));
    transport
}

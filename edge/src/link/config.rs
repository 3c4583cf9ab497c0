//! How the edge speaks QUIC and TLS: what it shows, whom it believes, and how much it may hold.
//!
//! * TLS 1.3 only, the cryptography of `ring` named explicitly, no session resumption.
//! * Certificates are checked at a fixed time, so a device whose clock stands at 1970 works.
//! * On a link, the authority that the device has joined is the only root. On a join there is none
//!   yet: the hub sends it, and its fingerprint must be the token's.

use super::LinkError;
use crate::identity::Identity;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, IdleTimeout, TransportConfig, VarInt};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    WantsVerifier,
};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tt_protocol::link::{
    ALPN_JOIN, ALPN_SYNC, CHECK_TIME_S, IDLE_TIMEOUT, KEEP_ALIVE, LINK_WINDOW_BYTES, STREAM_WINDOW_BYTES,
};

/// See [`CHECK_TIME_S`].
#[derive(Debug)]
struct FixedTime;

impl TimeProvider for FixedTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(CHECK_TIME_S)))
    }
}

/// For a device that has joined.
pub(super) fn syncing(identity: &Identity) -> Result<ClientConfig, LinkError> {
    let mut roots = RootCertStore::empty();
    roots.add(identity.ca.clone())?;
    let tls = tls()?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![identity.certificate.clone()], identity.key.private_key())?;
    quic(tls, ALPN_SYNC)
}

/// For a device that joins.
pub(super) fn joining(pin: Arc<Pin>) -> Result<ClientConfig, LinkError> {
    let tls = tls()?.dangerous().with_custom_certificate_verifier(pin).with_no_client_auth();
    quic(tls, ALPN_JOIN)
}

fn tls() -> Result<ConfigBuilder<rustls::ClientConfig, WantsVerifier>, LinkError> {
    let provider = Arc::new(ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_details(provider, Arc::new(FixedTime));
    Ok(builder.with_protocol_versions(&[&TLS13])?)
}

fn quic(mut tls: rustls::ClientConfig, protocol: &[u8]) -> Result<ClientConfig, LinkError> {
    tls.alpn_protocols = vec![protocol.to_vec()];
    tls.resumption = Resumption::disabled();
    let crypto = QuicClientConfig::try_from(tls).map_err(|error| Error::General(error.to_string()))?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport()));
    Ok(config)
}

fn transport() -> TransportConfig {
    let idle = IdleTimeout::try_from(IDLE_TIMEOUT).expect("a minute fits");
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(LINK_WINDOW_BYTES))
        .send_window(u64::from(LINK_WINDOW_BYTES))
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(idle));
    transport
}

/// Believes the hub whose chain holds the authority with this fingerprint, and nobody else.
#[derive(Debug)]
pub(super) struct Pin {
    ca_sha256: [u8; 32],
    provider: Arc<CryptoProvider>,
    wrong: AtomicBool,
}

impl Pin {
    pub(super) fn new(ca_sha256: [u8; 32]) -> Arc<Self> {
        let provider = Arc::new(ring::default_provider());
        Arc::new(Self { ca_sha256, provider, wrong: AtomicBool::new(false) })
    }

    /// True once somebody answered who is not the hub of the token.
    pub(super) fn met_another_hub(&self) -> bool {
        self.wrong.load(Ordering::Relaxed)
    }

    /// The authority in a chain, if it is there.
    pub(super) fn find<'a>(&self, chain: &'a [CertificateDer<'a>]) -> Option<&'a CertificateDer<'a>> {
        chain.iter().find(|certificate| Sha256::digest(certificate)[..] == self.ca_sha256)
    }

    fn verify(
        &self,
        hub: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let unknown = || Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let ca = self.find(rest).ok_or_else(unknown)?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
                .build()
                .map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(hub, &[], name, &[], now)
    }
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.verify(end_entity, intermediates, server_name, now);
        if verified.is_err() {
            self.wrong.store(true, Ordering::Relaxed);
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

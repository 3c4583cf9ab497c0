//! How devices learn at once that the hub was killed and started again.
//!
//! A hub that finds a packet of a connection that it does not know answers with a reset. The device
//! believes it only if it carries a token that the hub promised when the connection began. The tokens
//! follow from the hub's own key, so a hub that has forgotten the connection can still make them;
//! without that every device would wait for its idle timeout, a silent minute.

use crate::ca::Authority;
use quinn::crypto::{CryptoError, HmacKey};
use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig};
use rustls::crypto::hmac::Tag;
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::crypto::tls13::OkmBlock;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a connection's name, as many as quinn takes by itself.
const ID_BYTES: usize = 8;

pub(super) fn endpoint(authority: &Authority) -> EndpointConfig {
    let mut seed = Sha256::new_with_prefix(b"tt-hub reset tokens");
    seed.update(authority.hub_key().secret_der());
    let mut config = EndpointConfig::new(Arc::new(ResetKey(seed.finalize().into())));
    config.cid_generator(|| Box::new(RandomIds));
    config
}

/// HMAC-SHA256, borrowed from TLS.
struct ResetKey([u8; 32]);

impl ResetKey {
    fn tag(&self, data: &[u8]) -> Tag {
        let suite = TLS13_AES_128_GCM_SHA256.tls13().expect("its name says so");
        suite.hkdf_provider.hmac_sign(&OkmBlock::new(&self.0), data)
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(self.tag(data).as_ref());
    }

    fn signature_len(&self) -> usize {
        32
    }

    /// quinn makes tokens and never checks them; the comparison need not hide its time.
    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        if self.tag(data).as_ref() == signature { Ok(()) } else { Err(CryptoError) }
    }
}

/// quinn's own names are valid for one start of the hub only, and packets with others are dropped.
struct RandomIds;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; ID_BYTES];
        getrandom::fill(&mut id).expect("a system that gave TLS its keys gives random numbers");
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

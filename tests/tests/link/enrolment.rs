//! Who gets in, and what the others are told.

use crate::hub::{Device, HOUR_MS, Hub, echo};
use crate::{DEADLINE, soon};
use quinn::crypto::rustls::QuicClientConfig;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tt_edge::identity::DeviceKey;
use tt_edge::link::{LinkError, join};
use tt_protocol::link::{ALPN_SYNC, SERVER_NAME};
use tt_protocol::number::EdgeId;
use tt_protocol::token::{Secret, Token};

/// The reason that a person gets to see.
fn reason(result: Result<Device, LinkError>) -> String {
    match result {
        Err(LinkError::Refused(reason)) => reason,
        Err(other) => panic!("not a refusal: {other}"),
        Ok(_) => panic!("the device got in"),
    }
}

#[tokio::test]
async fn an_invited_device_joins_and_talks() {
    let hub = Hub::start();
    let token = Token::decode(&hub.invite("station-1").encode()).unwrap();
    let device = Device::join(&token).await.unwrap();
    assert_eq!((device.identity.name.as_str(), device.identity.role.as_str()), ("station-1", "station"));
    assert_eq!(device.identity.device, EdgeId(1));
    assert_eq!(device.identity.addresses, [hub.address.to_string()]);
    let mut link = device.link().await.unwrap();
    assert_eq!(echo(&mut link, b"count").await.unwrap(), b"count");
    link.close("done").await;
}

#[tokio::test]
async fn a_wrong_an_old_and_a_used_token_are_told_apart() {
    let hub = Hub::start();
    let token = hub.invite("a");
    let wrong = Token { secret: Secret([0; 16]), ..token.clone() };
    assert!(reason(Device::join(&wrong).await).contains("does not know this token"));
    hub.inner.now.fetch_add(HOUR_MS, Ordering::SeqCst);
    assert!(reason(Device::join(&token).await).contains("expired"));
    hub.inner.now.fetch_sub(HOUR_MS, Ordering::SeqCst);
    Device::join(&token).await.unwrap();
    assert!(reason(Device::join(&token).await).contains("already used"));
}

#[tokio::test]
async fn a_device_whose_reply_was_lost_asks_again_and_gets_the_same() {
    let hub = Hub::start();
    let token = hub.invite("a");
    let dir = tempfile::tempdir().unwrap();
    let first = join(&token, &DeviceKey::for_joining(dir.path()).unwrap(), DEADLINE).await.unwrap();
    let again = join(&token, &DeviceKey::for_joining(dir.path()).unwrap(), DEADLINE).await.unwrap();
    assert_eq!(first, again);
}

#[tokio::test]
async fn a_hub_with_another_fingerprint_is_not_believed() {
    let hub = Hub::start();
    let token = Token { ca_sha256: [0; 32], ..hub.invite("a") };
    let error = Device::join(&token).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, LinkError::WrongHub(_)), "{error}");
    assert!(error.to_string().contains(&hub.address.to_string()), "{error}");
}

#[tokio::test]
async fn a_device_does_not_talk_to_a_hub_that_it_has_not_joined() {
    let (hub, other) = (Hub::start(), Hub::start());
    let mut device = hub.device("a").await;
    device.identity.addresses = vec![other.address.to_string()];
    let error = device.link().await.map(|_| ()).unwrap_err();
    assert!(matches!(error, LinkError::Untrusted(_)) && !error.is_passing(), "{error}");
}

#[tokio::test]
async fn a_certificate_of_another_hub_is_refused() {
    let (hub, other) = (Hub::start(), Hub::start());
    let mut device = other.device("a").await;
    device.identity.ca = hub.inner.authority.certificate().clone();
    device.identity.addresses = vec![hub.address.to_string()];
    let error = match device.link().await {
        Ok(mut link) => echo(&mut link, b"hello").await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(error, LinkError::CertificateRefused(_)), "{error}");
    assert!(error.to_string().contains("join this one with a token from it"), "{error}");
}

#[tokio::test]
async fn a_device_without_a_certificate_learns_why_it_may_not_sync() {
    let hub = Hub::start();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(hub.inner.authority.certificate().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN_SYNC.to_vec()];
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connection = soon(endpoint.connect_with(config, hub.address, SERVER_NAME).unwrap()).await.unwrap();
    let error = LinkError::from(soon(connection.closed()).await);
    assert!(matches!(&error, LinkError::Refused(reason) if reason.contains("tt-edge join TOKEN")), "{error}");
}

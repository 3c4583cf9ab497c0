//! Finding the hub, and keeping the link when an address changes.

use crate::hub::{Hub, echo};
use crate::relay::Relay;
use crate::{DEADLINE, soon};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tt_edge::link::{LinkError, connect};

/// Where the hub thinks its only device is.
fn seen_at(hub: &Hub) -> SocketAddr {
    hub.inner.links.lock().unwrap()[0].remote_address()
}

#[tokio::test]
async fn the_first_address_that_answers_is_taken() {
    let hub = Hub::start();
    let device = hub.device("a").await;
    let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
    let by_name = format!("localhost:{}", hub.address.port());
    let addresses =
        [deaf.local_addr().unwrap().to_string(), "no-such-host.invalid:1".into(), by_name.clone()];
    let mut link = soon(connect(&device.identity, &addresses, DEADLINE)).await.unwrap();
    assert_eq!(link.address, by_name);
    echo(&mut link, b"hello").await.unwrap();
}

#[tokio::test]
async fn where_nobody_answers_every_address_is_named() {
    let hub = Hub::start();
    let device = hub.device("a").await;
    let addresses = ["no-such-host.invalid:1".to_owned(), "nonsense".to_owned()];
    let error = soon(connect(&device.identity, &addresses, DEADLINE)).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, LinkError::Unreachable(_)) && error.is_passing(), "{error}");
    for address in &addresses {
        assert!(error.to_string().contains(address), "{error}");
    }
    let deaf = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let error =
        soon(connect(&device.identity, &[deaf], Duration::from_secs(1))).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, LinkError::Silent(1)), "{error}");
    let error = connect(&device.identity, &[], DEADLINE).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, LinkError::NoAddress), "{error}");
}

#[tokio::test]
async fn a_link_outlives_a_change_of_network_that_the_device_does_not_notice() {
    let hub = Hub::start();
    let device = hub.device("a").await;
    let relay = Relay::to(hub.address, false).await;
    let mut link = soon(connect(&device.identity, &[relay.address.to_string()], DEADLINE)).await.unwrap();
    echo(&mut link, b"before").await.unwrap();
    let before = seen_at(&hub);
    let after = relay.move_on().await;
    assert_ne!(before, after);
    assert_eq!(echo(&mut link, b"after").await.unwrap(), b"after");
    assert_eq!(seen_at(&hub), after);
    assert_eq!(hub.inner.links.lock().unwrap().len(), 1, "it is the same link");
}

#[tokio::test]
async fn a_link_outlives_a_new_socket() {
    let hub = Hub::start();
    let mut link = hub.device("a").await.link().await.unwrap();
    echo(&mut link, b"before").await.unwrap();
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    link.endpoint.rebind(socket).unwrap();
    assert_eq!(echo(&mut link, b"after").await.unwrap(), b"after");
    assert_eq!(seen_at(&hub).port(), port);
}

#[tokio::test]
async fn a_device_learns_at_once_that_the_hub_was_killed_and_started_again() {
    let hub = Hub::start();
    let device = hub.device("a").await;
    let relay = Relay::to(hub.address, false).await;
    let mut link = soon(connect(&device.identity, &[relay.address.to_string()], DEADLINE)).await.unwrap();
    echo(&mut link, b"before").await.unwrap();
    let again = hub.started_again();
    relay.move_to(again.address).await;
    let error = echo(&mut link, &[1; 1000]).await.unwrap_err();
    assert!(error.is_passing() && error.to_string().contains("started again"), "{error}");
}

#[tokio::test]
async fn peers_that_fall_silent_in_their_handshake_keep_nobody_waiting() {
    let hub = Hub::start();
    let device = Arc::new(hub.device("a").await);
    let relay = Relay::to(hub.address, true).await;
    let mut silent = JoinSet::new();
    for _ in 0..100 {
        let (device, address) = (Arc::clone(&device), relay.address.to_string());
        silent.spawn(async move { connect(&device.identity, &[address], DEADLINE).await.is_ok() });
    }
    soon(relay.forwarded(100)).await;
    let mut link = device.link().await.unwrap();
    echo(&mut link, b"hello").await.unwrap();
    assert!(silent.try_join_next().is_none(), "they are still under way");
}

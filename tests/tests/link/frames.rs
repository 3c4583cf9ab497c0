//! Frames, refusals and endings on a link.

use crate::hub::{Hub, echo};
use crate::soon;
use tt_edge::link::LinkError;
use tt_hub::devices;
use tt_protocol::limits::FRAME_BYTES_MAX;
use tt_protocol::prefix::PrefixError;

#[tokio::test]
async fn frames_of_every_size_come_back_whole() {
    let hub = Hub::start();
    let mut link = hub.device("a").await.link().await.unwrap();
    for bytes in [0, 1, 4, 70_000, FRAME_BYTES_MAX] {
        let frame: Vec<u8> = (0..bytes).map(|place| u8::try_from(place % 251).unwrap()).collect();
        let (sent, back) = tokio::join!(soon(link.sender.send(&frame)), soon(link.receiver.recv()));
        sent.unwrap();
        assert!(back.unwrap().unwrap() == frame, "{bytes} bytes");
    }
}

#[tokio::test]
async fn a_frame_above_the_limit_is_refused_on_both_sides() {
    let hub = Hub::start();
    let mut link = hub.device("a").await.link().await.unwrap();
    let own = link.sender.send(&vec![0; FRAME_BYTES_MAX + 1]).await;
    assert!(matches!(own, Err(LinkError::Prefix(PrefixError::TooLarge { .. }))), "{own:?}");
    echo(&mut link, b"still fine").await.unwrap();
    let mut other = hub.device("b").await.link().await.unwrap();
    other.sender.into_stream().write_all(&u32::MAX.to_le_bytes()).await.unwrap();
    let error = soon(other.receiver.recv()).await.unwrap_err();
    assert!(matches!(&error, LinkError::Refused(reason) if reason.contains("4294967295 bytes")), "{error}");
}

#[tokio::test]
async fn a_revoked_device_is_cut_off_and_kept_out_with_the_reason() {
    let hub = Hub::start();
    let device = hub.device("a").await;
    let mut link = device.link().await.unwrap();
    echo(&mut link, b"hello").await.unwrap();
    devices::revoke(&hub.inner.database.lock().unwrap(), "a", hub.inner.now()).unwrap();
    tt_hub::link::refuse(&hub.inner.links.lock().unwrap()[0], "the operator has revoked this device");
    let cut_off = soon(link.receiver.recv()).await.unwrap_err();
    assert!(matches!(&cut_off, LinkError::Refused(reason) if reason.contains("operator")), "{cut_off}");
    let later = soon(link.closed()).await;
    assert!(matches!(&later, LinkError::Refused(reason) if reason.contains("operator")), "{later}");
    let mut link = device.link().await.unwrap();
    let kept_out = echo(&mut link, b"hello").await.unwrap_err();
    assert!(matches!(&kept_out, LinkError::Refused(reason) if reason.contains("was revoked")), "{kept_out}");
}

#[tokio::test]
async fn a_stopping_hub_says_so() {
    let hub = Hub::start();
    let mut link = hub.device("a").await.link().await.unwrap();
    echo(&mut link, b"hello").await.unwrap();
    hub.stop();
    let error = soon(link.receiver.recv()).await.unwrap_err();
    assert!(matches!(error, LinkError::Stopping) && error.is_passing(), "{error}");
}

#[tokio::test]
async fn a_receive_that_is_cancelled_loses_nothing() {
    let hub = Hub::start();
    let mut link = hub.device("a").await.link().await.unwrap();
    let frame = vec![7; 300_000];
    let (mut sender, mut receiver) = (link.sender, link.receiver);
    let sending = tokio::spawn(async move {
        sender.send(&frame).await.unwrap();
        sender
    });
    let received = soon(async {
        loop {
            tokio::select! {
                biased;
                frame = receiver.recv() => break frame.unwrap().unwrap(),
                () = tokio::task::yield_now() => {}
            }
        }
    });
    assert_eq!(received.await, vec![7; 300_000]);
    (link.sender, link.receiver) = (sending.await.unwrap(), receiver);
    assert_eq!(echo(&mut link, b"next").await.unwrap(), b"next");
}

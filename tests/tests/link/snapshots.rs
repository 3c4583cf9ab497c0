//! A snapshot's way: whole, cut and resumed, replaced, repaired, refused.

use crate::hub::{Device, Hub, echo};
use crate::soon;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use tt_edge::link::{Link, LinkError, Progress, fetch_snapshot};
use tt_protocol::download::SnapshotHeader;
use tt_protocol::number::Version;

const BYTES: usize = 5_000_000;

struct Scene {
    hub: Hub,
    device: Device,
    to: PathBuf,
}

fn content(seed: u32) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(BYTES).collect()
}

async fn scene() -> Scene {
    let hub = Hub::start();
    fs::write(hub.snapshot_file(), content(1)).unwrap();
    let device = hub.device("a").await;
    let to = device.dir.path().join("new.db");
    Scene { hub, device, to }
}

impl Scene {
    async fn link(&self) -> Link {
        let mut link = self.device.link().await.unwrap();
        echo(&mut link, b"hello").await.unwrap();
        link
    }

    async fn fetch(&self) -> Result<SnapshotHeader, LinkError> {
        let link = self.link().await;
        let header = soon(fetch_snapshot(&link.connection, &self.to, |_| {})).await;
        link.close("done").await;
        header
    }

    /// Loses the link when half of the snapshot is there. Gives the size of what is kept.
    async fn cut_in_half(&self) -> u64 {
        let link = self.link().await;
        let cut = |progress: Progress| {
            if progress.received > progress.total / 2 {
                link.connection.close(0_u32.into(), b"");
            }
        };
        soon(fetch_snapshot(&link.connection, &self.to, cut)).await.unwrap_err();
        assert!(!self.to.exists(), "half a snapshot never has the name of a whole one");
        fs::metadata(self.device.dir.path().join("new.db.part")).unwrap().len()
    }

    /// What the hub has sent in transfers that came to their end.
    async fn sent(&self, expected: u64) {
        soon(async {
            while self.hub.inner.snapshot_bytes.load(Ordering::SeqCst) != expected {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    fn assert_arrived(&self, expected: &[u8]) {
        assert!(fs::read(&self.to).unwrap() == expected);
        let left: Vec<_> = fs::read_dir(self.device.dir.path()).unwrap().flatten().collect();
        assert_eq!(left.len(), 2, "only the identity and the snapshot stay: {left:?}");
    }
}

fn total() -> u64 {
    u64::try_from(BYTES).unwrap()
}

#[tokio::test]
async fn a_snapshot_arrives_whole_and_its_progress_grows() {
    let scene = scene().await;
    let link = scene.link().await;
    let mut seen = Vec::new();
    let header =
        soon(fetch_snapshot(&link.connection, &scene.to, |progress| seen.push(progress))).await.unwrap();
    assert_eq!((header.version, header.bytes), (Version(7), total()));
    assert!(seen.windows(2).all(|pair| pair[0].received <= pair[1].received));
    assert_eq!(seen.last(), Some(&Progress { received: total(), total: total() }));
    scene.assert_arrived(&content(1));
}

#[tokio::test]
async fn a_cut_transfer_goes_on_where_it_stopped() {
    let scene = scene().await;
    let kept = scene.cut_in_half().await;
    assert!(kept > total() / 2 && kept < total(), "{kept}");
    let header = scene.fetch().await.unwrap();
    assert_eq!(header.offset, kept);
    scene.sent(total() - kept).await;
    scene.assert_arrived(&content(1));
}

#[tokio::test]
async fn a_newer_snapshot_is_fetched_from_its_beginning() {
    let scene = scene().await;
    scene.cut_in_half().await;
    fs::write(scene.hub.snapshot_file(), content(2)).unwrap();
    *scene.hub.inner.snapshot_identity.lock().unwrap() = "second".into();
    assert_eq!(scene.fetch().await.unwrap().offset, 0);
    scene.assert_arrived(&content(2));
}

#[tokio::test]
async fn a_damaged_part_is_thrown_away_and_the_transfer_starts_afresh() {
    let scene = scene().await;
    let kept = scene.cut_in_half().await;
    let part = scene.device.dir.path().join("new.db.part");
    let mut bytes = fs::read(&part).unwrap();
    bytes[1000] ^= 1;
    fs::write(&part, bytes).unwrap();
    assert_eq!(scene.fetch().await.unwrap().offset, 0);
    scene.sent(total() - kept + total()).await;
    scene.assert_arrived(&content(1));
}

#[tokio::test]
async fn a_hub_without_a_snapshot_says_so() {
    let scene = scene().await;
    fs::remove_file(scene.hub.snapshot_file()).unwrap();
    let error = scene.fetch().await.unwrap_err();
    assert!(
        matches!(&error, LinkError::Refused(reason) if reason.contains("cannot read the snapshot")),
        "{error}"
    );
}

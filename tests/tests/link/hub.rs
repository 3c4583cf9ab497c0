//! A hub reduced to its links: enrols by its list of devices, echoes frames, serves one file.

use crate::{DEADLINE, soon};
use rusqlite::Connection as Database;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tt_edge::identity::{DeviceKey, Identity};
use tt_edge::link::{Link, LinkError, connect, join};
use tt_hub::ca::Authority;
use tt_hub::devices;
use tt_hub::link::{
    Arrival, FrameReceiver, FrameSender, Listener, Prepared, admit, refuse, requested, send_prepared,
    serve_enrolment,
};
use tt_protocol::download::DownloadRequest;
use tt_protocol::number::{Millis, Version};
use tt_protocol::token::Token;

pub(crate) const HOUR_MS: i64 = 3_600_000;

pub(crate) struct Hub {
    pub(crate) address: SocketAddr,
    pub(crate) inner: Arc<Inner>,
    serving: JoinHandle<()>,
}

pub(crate) struct Inner {
    address: SocketAddr,
    pub(crate) dir: TempDir,
    pub(crate) authority: Authority,
    pub(crate) database: Mutex<Database>,
    pub(crate) now: AtomicI64,
    /// Bytes of snapshots that devices took to the end.
    pub(crate) snapshot_bytes: AtomicU64,
    pub(crate) snapshot_identity: Mutex<String>,
    /// Connections of devices, so that a test can cut one off.
    pub(crate) links: Mutex<Vec<quinn::Connection>>,
}

/// A device: a folder with an identity.
pub(crate) struct Device {
    pub(crate) dir: TempDir,
    pub(crate) identity: Identity,
}

impl Hub {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(dir.path()).unwrap();
        Self::with(dir, authority)
    }

    /// The same hub after a crash: its authority is all that it remembers.
    pub(crate) fn started_again(&self) -> Self {
        let authority = Authority::load(self.inner.dir.path()).unwrap();
        Self::with(tempfile::tempdir().unwrap(), authority)
    }

    fn with(dir: TempDir, authority: Authority) -> Self {
        let database = Database::open_in_memory().unwrap();
        devices::create_tables(&database).unwrap();
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), &authority).unwrap();
        let address = listener.local_addr();
        let inner = Arc::new(Inner {
            address,
            dir,
            authority,
            database: Mutex::new(database),
            now: AtomicI64::new(1_750_000_000_000),
            snapshot_bytes: AtomicU64::new(0),
            snapshot_identity: Mutex::new("first".into()),
            links: Mutex::default(),
        });
        let serving = tokio::spawn(serve(listener, Arc::clone(&inner)));
        Self { address, inner, serving }
    }

    /// A token for a new device of that name.
    pub(crate) fn invite(&self, name: &str) -> Token {
        let database = self.inner.database.lock().unwrap();
        let invitation =
            devices::invite(&database, name, "station", HOUR_MS, false, self.inner.now()).unwrap();
        Token {
            addresses: vec![self.address.to_string()],
            ca_sha256: self.inner.authority.fingerprint(),
            secret: invitation.secret,
            name: name.into(),
        }
    }

    /// A device that has joined.
    pub(crate) async fn device(&self, name: &str) -> Device {
        Device::join(&self.invite(name)).await.unwrap()
    }

    pub(crate) fn snapshot_file(&self) -> PathBuf {
        self.inner.dir.path().join("snapshot")
    }

    /// Stops without a word to anybody beyond what the listener says when it is dropped.
    pub(crate) fn stop(&self) {
        self.serving.abort();
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Inner {
    pub(crate) fn now(&self) -> Millis {
        Millis(self.now.load(Ordering::SeqCst))
    }
}

impl Device {
    pub(crate) async fn join(token: &Token) -> Result<Self, LinkError> {
        let dir = tempfile::tempdir().unwrap();
        let key = DeviceKey::for_joining(dir.path()).unwrap();
        let joined = soon(join(token, &key, DEADLINE)).await?;
        let identity = Identity::adopt(dir.path(), &joined.enrolled, &joined.ca).unwrap();
        Ok(Self { dir, identity })
    }

    pub(crate) async fn link(&self) -> Result<Link, LinkError> {
        soon(connect(&self.identity, &self.identity.addresses, DEADLINE)).await
    }
}

/// Sends a frame and waits until it comes back: only then is a link up.
pub(crate) async fn echo(link: &mut Link, frame: &[u8]) -> Result<Vec<u8>, LinkError> {
    soon(link.sender.send(frame)).await?;
    soon(link.receiver.recv()).await.map(|frame| frame.expect("the hub does not finish first"))
}

async fn serve(mut listener: Listener, hub: Arc<Inner>) {
    while let Some(arrival) = listener.accept().await {
        let hub = Arc::clone(&hub);
        match arrival {
            Arrival::Joining(connection) => tokio::spawn(async move {
                let addresses = [hub.address.to_string()];
                let decide = async |request| {
                    let database = hub.database.lock().unwrap();
                    admit(&database, &hub.authority, &request, &addresses, hub.now()).unwrap()
                };
                let _ = serve_enrolment(connection, decide).await;
            }),
            Arrival::Device { cert_sha256, connection } => tokio::spawn(async move {
                let device = devices::by_certificate(&hub.database.lock().unwrap(), &cert_sha256).unwrap();
                match device {
                    Some(device) if device.revoked_at.is_none() => serve_device(connection, hub).await,
                    Some(device) => refuse(&connection, &format!("the device `{}` was revoked", device.name)),
                    None => refuse(&connection, "the hub does not know this device"),
                }
            }),
        };
    }
}

async fn serve_device(connection: quinn::Connection, hub: Arc<Inner>) {
    hub.links.lock().unwrap().push(connection.clone());
    let Ok((send, receive)) = connection.accept_bi().await else {
        return;
    };
    let frames =
        tokio::spawn(echo_frames(connection.clone(), FrameSender::new(send), FrameReceiver::new(receive)));
    while let Ok(stream) = connection.accept_bi().await {
        let hub = Arc::clone(&hub);
        tokio::spawn(async move {
            let Ok((DownloadRequest::V1(held), sender, _)) = requested(stream).await else { return };
            let sent = send_prepared(sender, &held, prepare(&hub)).await;
            hub.snapshot_bytes.fetch_add(sent.unwrap_or(0), Ordering::SeqCst);
        });
    }
    frames.abort();
}

async fn echo_frames(connection: quinn::Connection, mut sender: FrameSender, mut receiver: FrameReceiver) {
    loop {
        match receiver.recv().await {
            Ok(Some(frame)) => sender.send(&frame).await.unwrap_or_default(),
            Ok(None) => return,
            Err(error) => return refuse(&connection, &error.to_string()),
        }
    }
}

fn prepare(hub: &Inner) -> Result<Prepared, String> {
    let identity = hub.snapshot_identity.lock().unwrap().clone();
    Prepared::measure(&hub.dir.path().join("snapshot"), Version(7), &identity)
        .map_err(|error| error.to_string())
}

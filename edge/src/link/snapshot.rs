//! Fetches a snapshot into a file, from where an earlier attempt stopped.
//!
//! * Bytes collect in `PATH.part`; `PATH.part.identity` beside it says which snapshot they belong to.
//!   The identity is on disk before the first byte of its snapshot.
//! * The file appears under its own name only when its SHA-256 is what the hub announced. Bytes that
//!   turn out wrong are thrown away, and the transfer starts afresh, once.

mod part;

use super::{FrameReceiver, FrameSender, LinkError};
use part::{Part, Paths};
use quinn::{Connection, RecvStream};
use std::path::Path;
use tt_migrations::progress::{self, Unit};
use tt_protocol::difference::{Answer, Question};
use tt_protocol::download::{DownloadReply, DownloadRequest, Held, SnapshotHeader};
use tt_protocol::frame::{from_bytes, to_bytes};
use tt_protocol::limits::SNAPSHOT_CHUNK_BYTES;
use tt_protocol::number::{Epoch, Version};

/// How far a transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes on this device, those of earlier attempts included.
    pub received: u64,
    /// Bytes of the whole snapshot.
    pub total: u64,
}

/// Tells a transfer to whoever watches long work. Bytes of earlier attempts are there at once; a transfer that
/// starts afresh is a phase of its own.
pub fn told<'p>(what: &'p str, watcher: &'p dyn progress::Progress) -> impl FnMut(Progress) + 'p {
    let mut before = None;
    move |now| {
        if before.is_none_or(|before| now.received < before) {
            watcher.phase(what, Some(now.total), Unit::Bytes);
            before = None;
        }
        watcher.advance(now.received - before.unwrap_or(0));
        before = Some(now.received);
    }
}

/// Fetches the hub's snapshot into the file `to`, replacing what is there. `progress` hears of every
/// chunk. When the link is lost, or the call is cancelled, the next call goes on where this stopped.
///
/// # Errors
/// When the hub refuses, the link is lost, or the file cannot be written.
pub async fn fetch_snapshot(
    connection: &Connection,
    to: &Path,
    progress: impl FnMut(Progress),
) -> Result<SnapshotHeader, LinkError> {
    fetch_what(connection, to, DownloadRequest::V1, progress).await
}

/// As [`fetch_snapshot`], but one of this epoch that is at least of this version.
///
/// # Errors
/// As [`fetch_snapshot`].
pub async fn fetch_seed(
    connection: &Connection,
    to: &Path,
    epoch: Epoch,
    at_least: Version,
    progress: impl FnMut(Progress),
) -> Result<SnapshotHeader, LinkError> {
    let request = |held| DownloadRequest::V2 { held, epoch, at_least };
    fetch_what(connection, to, request, progress).await
}

/// As [`fetch_seed`], but only the head: all except the rows.
///
/// # Errors
/// As [`fetch_snapshot`].
pub async fn fetch_head(
    connection: &Connection,
    to: &Path,
    epoch: Epoch,
    at_least: Version,
) -> Result<SnapshotHeader, LinkError> {
    let request = |held| DownloadRequest::Head { held, epoch, at_least };
    fetch_what(connection, to, request, |_| {}).await
}

/// A stream on which a snapshot is asked about.
#[derive(Debug)]
pub struct Questions {
    sender: FrameSender,
    receiver: FrameReceiver,
}

impl Questions {
    /// Opens a stream for questions about the snapshot of this identity.
    ///
    /// # Errors
    /// When the link is lost.
    pub async fn open(connection: &Connection, identity: String) -> Result<Self, LinkError> {
        let (send, receive) = connection.open_bi().await?;
        let (mut sender, receiver) = (FrameSender::new(send), FrameReceiver::new(receive));
        sender.send(&to_bytes(&DownloadRequest::Ask { identity })).await?;
        Ok(Self { sender, receiver })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// When the link is lost, or the hub answers otherwise.
    pub async fn ask(&mut self, question: &Question) -> Result<Answer, LinkError> {
        self.sender.send(&to_bytes(question)).await?;
        let frame = self.receiver.recv().await?.ok_or(LinkError::NoAnswer)?;
        Ok(from_bytes(&frame)?)
    }
}

async fn fetch_what(
    connection: &Connection,
    to: &Path,
    request: impl Fn(Held) -> DownloadRequest,
    mut progress: impl FnMut(Progress),
) -> Result<SnapshotHeader, LinkError> {
    let paths = Paths::beside(to);
    for _ in 0..2 {
        let (header, part) = fetch(connection, &paths, &request, &mut progress).await?;
        if part.is_whole(&header) {
            part.put_in_place(paths).await?;
            return Ok(header);
        }
        paths.discard()?;
    }
    Err(LinkError::Damaged(to.to_owned()))
}

async fn fetch(
    connection: &Connection,
    paths: &Paths,
    request: &impl Fn(Held) -> DownloadRequest,
    progress: &mut impl FnMut(Progress),
) -> Result<(SnapshotHeader, Part), LinkError> {
    let held = paths.held()?;
    let (header, stream) = ask(connection, &request(held.clone())).await?;
    let mut part = if header.offset == 0 || header.offset != held.bytes {
        Part::begin(paths, &header.identity).await?
    } else {
        Part::resume(paths, held.bytes).await?
    };
    // A hub that starts in the wrong place is found out by the SHA-256.
    let copied = copy(stream, &header, &mut part, progress).await;
    copied.map(|()| (header, part))
}

async fn ask(
    connection: &Connection,
    request: &DownloadRequest,
) -> Result<(SnapshotHeader, RecvStream), LinkError> {
    let (send, receive) = connection.open_bi().await?;
    let (mut sender, mut receiver) = (FrameSender::new(send), FrameReceiver::new(receive));
    sender.send(&to_bytes(request)).await?;
    sender.finish();
    let frame = receiver.recv().await?.ok_or(LinkError::NoAnswer)?;
    match from_bytes(&frame)? {
        DownloadReply::Ready(header) => Ok((header, receiver.into_stream())),
        DownloadReply::Refused { reason } => Err(LinkError::Refused(reason)),
    }
}

/// Copies the stream into the part. What came before an error is kept.
async fn copy(
    mut stream: RecvStream,
    header: &SnapshotHeader,
    part: &mut Part,
    progress: &mut impl FnMut(Progress),
) -> Result<(), LinkError> {
    loop {
        progress(Progress { received: part.bytes(), total: header.bytes });
        let (chunk, ended) = read_chunk(&mut stream).await;
        part.append(chunk).await?;
        if ended? || part.bytes() > header.bytes {
            progress(Progress { received: part.bytes(), total: header.bytes });
            return Ok(());
        }
    }
}

/// Reads until a chunk is full, the stream ends or fails; QUIC's own pieces are too small to write.
async fn read_chunk(stream: &mut RecvStream) -> (Vec<u8>, Result<bool, LinkError>) {
    let mut chunk = Vec::with_capacity(SNAPSHOT_CHUNK_BYTES);
    while chunk.len() < SNAPSHOT_CHUNK_BYTES {
        match stream.read_chunk(SNAPSHOT_CHUNK_BYTES - chunk.len(), true).await {
            Ok(Some(piece)) => chunk.extend_from_slice(&piece.bytes),
            Ok(None) => return (chunk, Ok(true)),
            Err(error) => return (chunk, Err(error.into())),
        }
    }
    (chunk, Ok(false))
}

//! Sends a prepared snapshot file to a device, from where an earlier attempt stopped, or answers its questions about
//! one.
//!
//! Reads in bounded chunks outside the asynchronous threads, and never reads ahead of what the
//! device takes. The bytes are the file's own; whoever prepares it decides what it is.

use super::{FrameReceiver, FrameSender, LinkError};
use quinn::{RecvStream, SendStream};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tt_protocol::difference::{Answer, QUESTION_BYTES_MAX, Question};
use tt_protocol::download::{DownloadReply, DownloadRequest, Held, SnapshotHeader, offset_for};
use tt_protocol::frame::{from_bytes, to_bytes};
use tt_protocol::limits::SNAPSHOT_CHUNK_BYTES;
use tt_protocol::number::Version;

/// How long a device that opened a stream may take to say what it wants.
const TURN: Duration = Duration::from_secs(10);
/// Between two questions a device reads a table of its own, perhaps a large one from a slow card. A device that is gone is
/// found out by its connection much earlier.
const BETWEEN_QUESTIONS: Duration = Duration::from_secs(2 * 3600);

/// A snapshot that lies ready and does not change any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The file. Must stay until the transfer is over.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// The version that it shows.
    pub version: Version,
    /// The same text for the same bytes, never again for others.
    pub identity: String,
}

impl Prepared {
    /// Measures a file. Reads all of it: call it outside the asynchronous threads.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn measure(path: &Path, version: Version, identity: &str) -> Result<Self, LinkError> {
        let (bytes, sha256) = measure(path).map_err(|source| failed(path, source))?;
        Ok(Self { path: path.to_owned(), bytes, sha256, version, identity: identity.to_owned() })
    }
}

/// Reads what a device wants on a stream that it opened. Gives both ends of the stream back.
///
/// # Errors
/// When the device asks for something else or goes away.
pub async fn requested(
    (send, receive): (SendStream, RecvStream),
) -> Result<(DownloadRequest, FrameSender, FrameReceiver), LinkError> {
    let mut receiver = FrameReceiver::limited(receive, QUESTION_BYTES_MAX);
    let heard = timeout(TURN, receiver.recv()).await;
    let frame = heard.map_err(|_| LinkError::Silent(TURN.as_secs()))??.unwrap_or_default();
    Ok((from_bytes(&frame)?, FrameSender::new(send), receiver))
}

/// Sends a file, from where the device's part of it ends, or the reason for a person why there is none. Gives the
/// number of bytes sent.
///
/// # Errors
/// When the device goes away, or the file cannot be read.
pub async fn send_prepared(
    mut sender: FrameSender,
    held: &Held,
    prepared: Result<Prepared, String>,
) -> Result<u64, LinkError> {
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(reason) => {
            sender.send(&to_bytes(&DownloadReply::Refused { reason })).await?;
            return wait_until_taken(sender.into_stream()).await.map(|()| 0);
        }
    };
    let offset = offset_for(held, &prepared.identity, prepared.bytes);
    sender.send(&to_bytes(&DownloadReply::Ready(header(&prepared, offset)))).await?;
    let mut stream = sender.into_stream();
    send_file(&mut stream, &prepared, offset).await?;
    wait_until_taken(stream).await?;
    Ok(prepared.bytes - offset)
}

/// A stream on which a device asks about a snapshot.
#[derive(Debug)]
pub struct Questions {
    sender: FrameSender,
    receiver: FrameReceiver,
}

impl Questions {
    /// The stream after its request.
    #[must_use]
    pub const fn new(sender: FrameSender, receiver: FrameReceiver) -> Self {
        Self { sender, receiver }
    }

    /// The next question; None when the device has no more.
    ///
    /// # Errors
    /// When the device goes away, asks nothing for long, or asks what is no question.
    pub async fn next(&mut self) -> Result<Option<Question>, LinkError> {
        let heard = timeout(BETWEEN_QUESTIONS, self.receiver.recv()).await;
        let frame = heard.map_err(|_| LinkError::Silent(BETWEEN_QUESTIONS.as_secs()))??;
        Ok(frame.map(|frame| from_bytes(&frame)).transpose()?)
    }

    /// Answers it.
    ///
    /// # Errors
    /// When the device goes away.
    pub async fn answer(&mut self, answer: &Answer) -> Result<(), LinkError> {
        self.sender.send(&to_bytes(answer)).await
    }
}

fn header(prepared: &Prepared, offset: u64) -> SnapshotHeader {
    SnapshotHeader {
        bytes: prepared.bytes,
        sha256: prepared.sha256,
        version: prepared.version,
        identity: prepared.identity.clone(),
        offset,
    }
}

async fn send_file(stream: &mut SendStream, prepared: &Prepared, offset: u64) -> Result<(), LinkError> {
    let path = prepared.path.clone();
    let opened = blocking(move || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(file)
    });
    let mut file = opened.await.map_err(|source| failed(&prepared.path, source))?;
    let mut left = prepared.bytes - offset;
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(SNAPSHOT_CHUNK_BYTES);
        let read = blocking(move || {
            let mut chunk = vec![0; wanted];
            file.read_exact(&mut chunk)?;
            Ok((file, chunk))
        });
        let (same_file, chunk) = read.await.map_err(|source| failed(&prepared.path, source))?;
        stream.write_all(&chunk).await?;
        left -= u64::try_from(chunk.len()).expect("a chunk is small");
        file = same_file;
    }
    Ok(())
}

/// Dropping a stream before the device has everything would be fine, closing the connection would not.
async fn wait_until_taken(mut stream: SendStream) -> Result<(), LinkError> {
    // An error means that the device has stopped the stream, which `stopped` says better.
    let _ = stream.finish();
    match stream.stopped().await {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(LinkError::BrokenOff),
        Err(quinn::StoppedError::ConnectionLost(error)) => Err(error.into()),
        Err(error) => Err(LinkError::Lost(error.to_string())),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

fn measure(path: &Path) -> io::Result<(u64, [u8; 32])> {
    let mut file = File::open(path)?;
    let (mut hash, mut bytes, mut chunk) = (Sha256::new(), 0, vec![0; SNAPSHOT_CHUNK_BYTES]);
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok((bytes, hash.finalize().into()));
        }
        hash.update(&chunk[..read]);
        bytes += u64::try_from(read).expect("a chunk is small");
    }
}

fn failed(path: &Path, source: io::Error) -> LinkError {
    LinkError::Snapshot { path: path.to_owned(), source }
}

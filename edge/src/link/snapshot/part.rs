//! The file of a transfer that is under way, and its SHA-256 so far.
//!
//! All reading and writing happens outside the asynchronous threads.

use crate::link::LinkError;
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tokio::task::spawn_blocking;
use tt_protocol::download::{Held, SnapshotHeader};
use tt_protocol::limits::SNAPSHOT_CHUNK_BYTES;

/// The names of a transfer's files.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    whole: PathBuf,
    part: PathBuf,
    identity: PathBuf,
}

/// Bytes from the front of a snapshot.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    open: Option<Open>,
    bytes: u64,
}

#[derive(Debug)]
struct Open {
    file: File,
    hash: Sha256,
}

impl Paths {
    pub(super) fn beside(whole: &Path) -> Self {
        let with = |ending: &str| {
            let mut name = OsString::from(whole);
            name.push(ending);
            PathBuf::from(name)
        };
        Self { whole: whole.to_owned(), part: with(".part"), identity: with(".part.identity") }
    }

    /// What an earlier transfer has left.
    pub(super) fn held(&self) -> Result<Held, LinkError> {
        let identity = match fs::read_to_string(&self.identity) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Held::default()),
            read => read.map_err(|source| failed(&self.identity, source))?,
        };
        match fs::metadata(&self.part) {
            Ok(metadata) => Ok(Held { identity, bytes: metadata.len() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Held::default()),
            Err(source) => Err(failed(&self.part, source)),
        }
    }

    /// Throws away what has arrived.
    pub(super) fn discard(&self) -> Result<(), LinkError> {
        remove(&self.identity)?;
        remove(&self.part)
    }
}

impl Part {
    /// An empty part for the snapshot of this identity. The identity goes first when the bytes of
    /// another go, and comes before the first byte of its own.
    pub(super) async fn begin(paths: &Paths, identity: &str) -> Result<Self, LinkError> {
        let (paths, identity) = (paths.clone(), identity.to_owned());
        let path = paths.part.clone();
        let open = blocking(&path, move || {
            paths.discard().map_err(io::Error::other)?;
            let file = File::create(&paths.part)?;
            let mut note = File::create(&paths.identity)?;
            note.write_all(identity.as_bytes())?;
            note.sync_all()?;
            Ok(Open { file, hash: Sha256::new() })
        });
        Ok(Self { open: Some(open.await?), path, bytes: 0 })
    }

    /// The part as it was left, with `bytes` bytes.
    pub(super) async fn resume(paths: &Paths, bytes: u64) -> Result<Self, LinkError> {
        let path = paths.part.clone();
        let part = path.clone();
        let open = blocking(&path, move || {
            let mut file = OpenOptions::new().read(true).write(true).open(&part)?;
            file.set_len(bytes)?;
            let hash = hash(&mut file)?;
            file.seek(SeekFrom::Start(bytes))?;
            Ok(Open { file, hash })
        });
        Ok(Self { open: Some(open.await?), path, bytes })
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) async fn append(&mut self, chunk: Vec<u8>) -> Result<(), LinkError> {
        let Open { mut file, mut hash } = self.open.take().expect("only an append that failed leaves none");
        let added = u64::try_from(chunk.len()).expect("a chunk is small");
        let open = blocking(&self.path, move || {
            hash.update(&chunk);
            file.write_all(&chunk)?;
            Ok(Open { file, hash })
        });
        self.open = Some(open.await?);
        self.bytes += added;
        Ok(())
    }

    /// True when this is the snapshot that the header announced.
    pub(super) fn is_whole(&self, header: &SnapshotHeader) -> bool {
        let sha256 = self.open.as_ref().map(|open| open.hash.clone().finalize());
        self.bytes == header.bytes && sha256.is_some_and(|sha256| sha256[..] == header.sha256)
    }

    /// Makes the part the whole file, durably.
    #[expect(clippy::disallowed_methods, reason = "file and folder are synced around it")]
    pub(super) async fn put_in_place(self, paths: Paths) -> Result<(), LinkError> {
        let Open { file, .. } = self.open.expect("only an append that failed leaves none");
        blocking(&self.path, move || {
            file.sync_all()?;
            fs::rename(&paths.part, &paths.whole)?;
            fs::remove_file(&paths.identity)?;
            let folder = paths.whole.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        })
        .await
    }
}

fn hash(file: &mut File) -> io::Result<Sha256> {
    let (mut hash, mut chunk) = (Sha256::new(), vec![0; SNAPSHOT_CHUNK_BYTES]);
    file.seek(SeekFrom::Start(0))?;
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok(hash);
        }
        hash.update(&chunk[..read]);
    }
}

fn remove(path: &Path) -> Result<(), LinkError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path, error)),
        _ => Ok(()),
    }
}

async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, LinkError> {
    let done = spawn_blocking(work).await.map_err(io::Error::other);
    done.and_then(|result| result).map_err(|source| failed(path, source))
}

fn failed(path: &Path, source: io::Error) -> LinkError {
    LinkError::File { path: path.to_owned(), source }
}

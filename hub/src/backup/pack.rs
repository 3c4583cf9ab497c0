//! Compresses a snapshot once, and knows both forms by their SHA-256 afterwards.

mod members;

pub(crate) use members::threads;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use tt_migrations::progress::{Progress, Told};

/// Read at a time, everywhere here.
pub(crate) const CHUNK_BYTES: usize = 128 << 10;

/// What is gained by taking longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// For what is kept for years.
    Small,
    /// For what somebody waits for: a quarter of the time.
    Quick,
}

/// A compressed snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
    pub(crate) database_sha256: String,
    pub(crate) database_bytes: u64,
}

/// Counts and hashes what goes through to a writer, or comes through from a reader.
pub(crate) struct Hashing<T> {
    inner: T,
    hasher: Sha256,
    bytes: u64,
}

impl<T> Hashing<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, hasher: Sha256::new(), bytes: 0 }
    }

    /// SHA-256 and length of all that passed.
    pub(crate) fn finish(self) -> (T, String, u64) {
        (self.inner, HEXLOWER.encode(&self.hasher.finalize()), self.bytes)
    }

    fn note(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.note(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.note(&buffer[..count]);
        Ok(count)
    }
}

/// SHA-256 of a file.
pub(crate) fn sha256(path: &Path, progress: &dyn Progress) -> io::Result<String> {
    let mut file = Hashing::new(Told::new(File::open(path)?, progress));
    pump(&mut file, |_| Ok(()))?;
    Ok(file.finish().1)
}

/// Hands a stream on piece by piece.
pub(crate) fn pump(from: &mut dyn Read, mut to: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => to(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes the gzip of `from` to `to`, on as many threads as there are cores. The same bytes give the same file,
/// whatever the number of threads: no time and no name is in it.
pub(crate) fn pack(from: &Path, to: &Path, effort: Effort, progress: &dyn Progress) -> io::Result<Packed> {
    let mut plain = Hashing::new(Told::new(File::open(from)?, progress));
    let mut out = Hashing::new(BufWriter::with_capacity(CHUNK_BYTES, File::create(to)?));
    members::compress(&mut plain, &mut out, effort, threads())?;
    out.flush()?;
    let (_, sha256, bytes) = out.finish();
    let (_, database_sha256, database_bytes) = plain.finish();
    Ok(Packed { sha256, bytes, database_sha256, database_bytes })
}

//! How far long work is, told to whoever watches it.
//!
//! The work says which phase begins, how much there is to do in it, and each piece that is done. It knows nothing of
//! a terminal: whoever watches may draw a bar, write lines into a socket, or not listen at all.
//!
//! * A total is true, or there is none: what nobody can know beforehand is not guessed.
//! * Pieces may be told from several threads at a time; only their sum counts.

use serde::{Deserialize, Serialize};
use std::io::{self, Read};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Bytes of files.
    Bytes,
    /// Rows of tables.
    Rows,
    /// Versions of the hub.
    Versions,
    /// Files as a whole.
    Files,
}

/// Watches long work.
pub trait Progress: Send + Sync {
    /// A phase begins, and the one before it is over.
    fn phase(&self, what: &str, total: Option<u64>, unit: Unit);

    /// So much more of the phase is done.
    fn advance(&self, done: u64);

    /// Nothing is under way any more; what was drawn goes away.
    fn end(&self) {}

    /// A phase of which nobody can say how long it takes.
    fn step(&self, what: &str) {
        self.phase(what, None, Unit::Files);
    }
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Progress for Unwatched {
    fn phase(&self, _: &str, _: Option<u64>, _: Unit) {}

    fn advance(&self, _: u64) {}
}

/// A reader that tells each byte that is read from it.
pub struct Told<'p, R> {
    inner: R,
    progress: &'p dyn Progress,
}

impl<'p, R> Told<'p, R> {
    /// Tells `progress`.
    pub fn new(inner: R, progress: &'p dyn Progress) -> Self {
        Self { inner, progress }
    }
}

impl<R: Read> Read for Told<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.progress.advance(count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Sum(AtomicU64);

    impl Progress for Sum {
        fn phase(&self, _: &str, _: Option<u64>, _: Unit) {
            self.0.store(0, Ordering::Relaxed);
        }

        fn advance(&self, done: u64) {
            self.0.fetch_add(done, Ordering::Relaxed);
        }
    }

    #[test]
    fn every_byte_that_is_read_is_told_once() {
        let sum = Sum(AtomicU64::new(7));
        sum.step("reading");
        let bytes = vec![1; 100_001];
        let mut read = Vec::new();
        Told::new(&bytes[..], &sum).read_to_end(&mut read).unwrap();
        assert_eq!((sum.0.into_inner(), read.len()), (100_001, 100_001));
    }
}

//! Compresses a stream as gzip members that do not depend on each other, several at a time.
//!
//! * A file of members is an ordinary gzip file: `gunzip`, `zcat` and every library join them.
//! * Where a member ends depends on the input alone, so the output does not depend on the number of threads.
//! * Thread `n` gets the members `n`, `n + threads`, and so on: the results are taken in turn, and nothing waits
//!   in a heap. What is under way is bounded, whatever the size of the input.

use super::Effort;
use libdeflater::{CompressionLvl, Compressor};
use std::io::{self, Read, Write};
use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Of the input. Members of this size cost 0.15 % more than a single one, and give each thread enough to do.
const MEMBER_BYTES: usize = 1 << 20;
/// More threads than this wait for the disk, or for the one that reads and writes.
const THREADS_MAX: usize = 8;
/// Members that one thread has been given and that were not taken back yet. One is in work and one waits, so that
/// no thread is idle while the turn is at another's result.
const AHEAD: usize = 2;

/// One thread's ends: members go in, and come out compressed in the same order.
struct Worker {
    input: SyncSender<Vec<u8>>,
    output: Receiver<io::Result<Vec<u8>>>,
}

impl Effort {
    fn compressor(self) -> Compressor {
        let level = match self {
            // Higher levels take twice the time and are 1 % smaller.
            Self::Small => 6,
            Self::Quick => 1,
        };
        Compressor::new(CompressionLvl::new(level).unwrap_or_default())
    }
}

/// As many as the system lets us use at once.
pub(crate) fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX)
}

/// Writes `from` to `to` as members. Memory is bounded by the number of threads.
pub(super) fn compress(
    from: &mut dyn Read,
    to: &mut dyn Write,
    effort: Effort,
    threads: usize,
) -> io::Result<()> {
    thread::scope(|scope| {
        let mut handles = Vec::new();
        let mut workers = Vec::new();
        for _ in 0..threads.max(1) {
            let (input, plain) = sync_channel(AHEAD);
            let (packed, output) = sync_channel(AHEAD);
            let named = thread::Builder::new().name("compress".to_owned());
            handles.push(named.spawn_scoped(scope, move || work(&plain, &packed, effort))?);
            workers.push(Worker { input, output });
        }
        let done = deal(from, to, &workers);
        // Without their input the threads come to an end.
        drop(workers);
        let ended = handles.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>();
        if ended.iter().any(Result::is_err) { Err(died()) } else { done }
    })
}

/// Deals the members out in turn, and takes them back in turn.
fn deal(from: &mut dyn Read, to: &mut dyn Write, workers: &[Worker]) -> io::Result<()> {
    let under_way_max = workers.len() * AHEAD;
    let (mut dealt, mut taken) = (0, 0);
    let mut take = |taken: usize| {
        let packed = workers[taken % workers.len()].output.recv().map_err(|_| died())?;
        to.write_all(&packed?)
    };
    loop {
        let mut member = Vec::new();
        from.take(MEMBER_BYTES as u64).read_to_end(&mut member)?;
        // An empty input is one empty member: no bytes at all are no gzip file.
        if member.is_empty() && dealt > 0 {
            break;
        }
        if dealt - taken == under_way_max {
            take(taken)?;
            taken += 1;
        }
        workers[dealt % workers.len()].input.send(member).map_err(|_| died())?;
        dealt += 1;
    }
    (taken..dealt).try_for_each(take)
}

fn work(input: &Receiver<Vec<u8>>, output: &SyncSender<io::Result<Vec<u8>>>, effort: Effort) {
    let mut compressor = effort.compressor();
    for member in input {
        // Nobody takes it any more when reading or writing has failed.
        if output.send(pack_member(&member, &mut compressor)).is_err() {
            return;
        }
    }
}

fn pack_member(member: &[u8], compressor: &mut Compressor) -> io::Result<Vec<u8>> {
    let mut packed = vec![0; compressor.gzip_compress_bound(member.len())];
    let length = compressor.gzip_compress(member, &mut packed).map_err(io::Error::other)?;
    // What waits for its turn takes no more room than it needs.
    packed.truncate(length);
    packed.shrink_to_fit();
    Ok(packed)
}

fn died() -> io::Error {
    io::Error::other("a thread that compresses has ended before its work was done")
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::MultiGzDecoder;
    use std::io::Cursor;
    use std::process::{Command, Stdio};

    /// Something like rows: neither the same all over nor without any order.
    fn plain(bytes: usize) -> Vec<u8> {
        let mut random = crate::dice::Dice(7);
        let mut plain = Vec::with_capacity(bytes + 32);
        while plain.len() < bytes {
            plain.extend_from_slice(format!("box {} bag {};", random.roll(900), random.roll(40)).as_bytes());
        }
        plain.truncate(bytes);
        plain
    }

    fn packed(plain: &[u8], threads: usize) -> Vec<u8> {
        let mut out = Vec::new();
        compress(&mut Cursor::new(plain), &mut out, Effort::Small, threads).unwrap();
        out
    }

    fn unpacked(packed: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        MultiGzDecoder::new(packed).read_to_end(&mut plain).unwrap();
        plain
    }

    #[test]
    fn any_number_of_threads_makes_the_same_file_and_it_unpacks_to_what_went_in() {
        for bytes in [0, 1, MEMBER_BYTES - 1, MEMBER_BYTES, MEMBER_BYTES + 1, 7 * MEMBER_BYTES + 5] {
            let plain = plain(bytes);
            let one = packed(&plain, 1);
            assert_eq!(unpacked(&one), plain, "{bytes} bytes");
            for threads in [2, 3, 8] {
                assert_eq!(packed(&plain, threads), one, "{bytes} bytes on {threads} threads");
            }
            let members = one.windows(4).filter(|at| *at == [0x1f, 0x8b, 8, 0]).count();
            assert!(members >= bytes.div_ceil(MEMBER_BYTES).max(1), "{members} members");
        }
    }

    #[test]
    fn the_gzip_command_reads_it() {
        let plain = plain(2 * MEMBER_BYTES + 77);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("members.gz");
        std::fs::write(&path, packed(&plain, 2)).unwrap();
        let said = Command::new("gzip").arg("-dc").arg(&path).stdin(Stdio::null()).output().unwrap();
        assert!(said.status.success() && said.stdout == plain, "{}", String::from_utf8_lossy(&said.stderr));
    }

    #[test]
    fn what_fails_while_reading_or_writing_ends_it_with_that_error() {
        struct Bad(u64);
        impl Read for Bad {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(buffer.len() as u64).ok_or(io::ErrorKind::BrokenPipe)?;
                Ok(buffer.len())
            }
        }
        impl Write for Bad {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for threads in [1, 2, 5] {
            let read = compress(&mut Bad(20 << 20), &mut Vec::new(), Effort::Small, threads);
            assert_eq!(read.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
            let written = compress(&mut Cursor::new(plain(30 << 20)), &mut Bad(0), Effort::Quick, threads);
            assert_eq!(written.unwrap_err().kind(), io::ErrorKind::StorageFull);
        }
    }
}

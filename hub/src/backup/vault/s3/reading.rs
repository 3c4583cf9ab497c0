//! A file of a bucket that is being read: piece by piece, each with a request of its own.
//!
//! So no piece waits for long, one that was cut off comes again, and only one is in memory. The first is small:
//! manifests and heads of segments are. All pieces are of one and the same file, or it is an error.

use super::client::{Ask, Client};
use super::upload::PART_BYTES;
use std::io::{self, Read};
use ureq::http::Method;

const FIRST_BYTES: usize = 64 << 10;

pub(super) struct S3Reading<'c> {
    client: &'c Client,
    key: String,
    etag: Option<String>,
    length: u64,
    /// Where the next piece begins.
    offset: u64,
    piece: Vec<u8>,
    /// What was given of the piece.
    given: usize,
    next: usize,
}

impl<'c> S3Reading<'c> {
    /// Asks for the first piece, so that what is not there is told at once.
    pub(super) fn open(client: &'c Client, key: String) -> io::Result<Self> {
        let next = FIRST_BYTES;
        let mut reading =
            Self { client, key, etag: None, length: 1, offset: 0, piece: Vec::new(), given: 0, next };
        reading.fetch()?;
        Ok(reading)
    }

    fn fetch(&mut self) -> io::Result<()> {
        let last = self.offset + self.next as u64 - 1;
        let mut ask = Ask::new(Method::GET, &self.key)
            .header("range", format!("bytes={}-{last}", self.offset))
            .at_most(self.next);
        if let Some(etag) = &self.etag {
            ask = ask.header("if-match", etag);
        }
        let answer = match self.client.ask(&ask) {
            Err(error) if self.offset == 0 && error.kind() == io::ErrorKind::UnexpectedEof => {
                self.length = 0;
                return Ok(());
            }
            answer => answer?,
        };
        let whole = answer.header("content-range").and_then(|range| range.rsplit('/').next()?.parse().ok());
        let got = answer.body.len() as u64;
        // Without a range the answer is the whole file; only one that fits was let through.
        let length = whole.unwrap_or(self.offset + got);
        let etag = answer.header("etag").map(str::to_owned);
        let is_other = self.offset > 0 && (length != self.length || etag != self.etag);
        if is_other || got == 0 && length > self.offset || self.offset + got > length {
            let what = format!("{} was replaced while it was read; read it again", self.key);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        (self.length, self.etag, self.offset) = (length, etag, self.offset + got);
        (self.piece, self.given, self.next) = (answer.body, 0, (self.next * 16).min(PART_BYTES));
        Ok(())
    }
}

impl Read for S3Reading<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.piece.len() && self.offset < self.length {
            self.fetch()?;
        }
        let rest = &self.piece[self.given..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.given += count;
        Ok(count)
    }
}

//! One line of a file after another, with its number and its place, in bounded memory, and the digest of all.
//!
//! * A line ends with LF or CRLF, or with the file. A byte order mark before the first one is no part of it.
//! * A line that is too long is passed over, not held.

use super::LINE_BYTES_MAX;
use sha2::{Digest as _, Sha256};
use std::io::{self, BufRead};

/// A line as it lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'l> {
    /// From 1.
    pub(super) number: u64,
    /// First byte of it.
    pub(super) first: u64,
    /// The byte after its end and its line break.
    pub(super) past: u64,
    /// Its bytes without the line break; None when they are too many.
    pub(super) bytes: Option<&'l [u8]>,
}

/// Reads them.
pub(super) struct Lines<R> {
    source: R,
    digest: Sha256,
    number: u64,
    at: u64,
    buffer: Vec<u8>,
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

impl<R: BufRead> Lines<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, digest: Sha256::new(), number: 0, at: 0, buffer: Vec::new() }
    }

    /// The next line that is not blank; None at the end of the file.
    pub(super) fn next_filled(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            let first = self.at;
            let Some(fits) = self.read()? else { return Ok(None) };
            let blank = fits && self.text().iter().all(u8::is_ascii_whitespace);
            if blank {
                continue;
            }
            let (number, past) = (self.number, self.at);
            let bytes = fits.then(|| self.text());
            return Ok(Some(Line { number, first, past, bytes }));
        }
    }

    /// Of all bytes read so far.
    pub(super) fn digest(self) -> [u8; 32] {
        self.digest.finalize().into()
    }

    /// Reads one line into the buffer. True when it fits there; None at the end.
    fn read(&mut self) -> io::Result<Option<bool>> {
        self.buffer.clear();
        let mut taken = 0_usize;
        loop {
            let found = match self.source.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                found => found?,
            };
            let end = found.iter().position(|byte| *byte == b'\n');
            let part = &found[..end.map_or(found.len(), |end| end + 1)];
            self.digest.update(part);
            let room = LINE_BYTES_MAX.saturating_sub(self.buffer.len());
            self.buffer.extend_from_slice(&part[..part.len().min(room)]);
            let read = part.len();
            self.source.consume(read);
            taken += read;
            if end.is_some() || read == 0 {
                break;
            }
        }
        if taken == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.at += taken as u64;
        Ok(Some(taken <= LINE_BYTES_MAX))
    }

    fn text(&self) -> &[u8] {
        let text = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if self.number == 1 { text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text) } else { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Vec<(u64, u64, u64, Option<Vec<u8>>)> {
        let mut lines = Lines::new(io::BufReader::with_capacity(7, text));
        let mut found = Vec::new();
        while let Some(line) = lines.next_filled().unwrap() {
            found.push((line.number, line.first, line.past, line.bytes.map(<[u8]>::to_vec)));
        }
        assert_eq!(lines.digest(), <[u8; 32]>::from(Sha256::digest(text)));
        found
    }

    #[test]
    fn lines_have_numbers_and_places_whatever_ends_them() {
        let found = all(b"\xEF\xBB\xBFa,b\r\n\r\n  \nc\nlast");
        let expected = [(1, 0, 8, &b"a,b"[..]), (4, 13, 15, b"c"), (5, 15, 19, b"last")];
        let expected: Vec<_> = expected.map(|(a, b, c, text)| (a, b, c, Some(text.to_vec()))).to_vec();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_line_without_end_is_passed_over_and_not_held() {
        let mut text = vec![b'x'; 50 * LINE_BYTES_MAX];
        text.extend(b"\nnext\n");
        let mut lines = Lines::new(io::BufReader::new(text.as_slice()));
        let long = lines.next_filled().unwrap().unwrap();
        assert_eq!((long.number, long.bytes), (1, None));
        assert_eq!(lines.next_filled().unwrap().unwrap().bytes, Some(&b"next"[..]));
        assert!(lines.buffer.capacity() <= 2 * LINE_BYTES_MAX, "{}", lines.buffer.capacity());
    }
}

//! A file on its way into a bucket.
//!
//! Up to one part's length it is only in memory, and committing is one PUT. What is longer is begun as an upload in
//! parts, all of one length but the last, as some stores want it. Committing completes it; dropping aborts it.

use super::S3Vault;
use super::answer;
use super::client::{Ask, checksum};
use crate::backup::vault::Upload;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::mem;
use ureq::http::Method;

/// Stores take no part below 5 MiB, but for the last one.
pub(super) const PART_BYTES: usize = 8 << 20;
/// Stores take no more parts: 78 GiB are the most.
const PARTS_MAX: usize = 10_000;

pub(super) struct S3Upload<'v> {
    vault: &'v S3Vault,
    key: String,
    buffer: Vec<u8>,
    begun: Option<String>,
    parts: Vec<Sent>,
    bytes: u64,
    failed: bool,
}

/// A part that the store has.
struct Sent {
    etag: String,
    checksum: String,
}

impl<'v> S3Upload<'v> {
    pub(super) fn new(vault: &'v S3Vault, key: String) -> Self {
        Self { vault, key, buffer: Vec::new(), begun: None, parts: Vec::new(), bytes: 0, failed: false }
    }

    fn begin(&mut self) -> io::Result<String> {
        if let Some(id) = &self.begun {
            return Ok(id.clone());
        }
        let ask = Ask::new(Method::POST, &self.key)
            .with("uploads", "")
            .header("x-amz-checksum-algorithm", "SHA256");
        let id = answer::upload_id(self.vault.client.ask(&ask)?.text()?)?;
        self.begun = Some(id.clone());
        Ok(id)
    }

    fn send_part(&mut self) -> io::Result<()> {
        let id = self.begin()?;
        let number = self.parts.len() + 1;
        if number > PARTS_MAX {
            let most = PARTS_MAX as u64 * PART_BYTES as u64;
            let what = format!("{} is longer than a store takes: {most} bytes are the most", self.key);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
        }
        let ask = Ask::new(Method::PUT, &self.key)
            .with("partNumber", number.to_string())
            .with("uploadId", id)
            .sending(&self.buffer);
        let answer = self.vault.client.ask(&ask)?;
        let etag = answer.header("etag").map(str::to_owned);
        let etag =
            etag.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the store gave a part no ETag"))?;
        self.parts.push(Sent { etag, checksum: checksum(&self.buffer) });
        self.buffer.clear();
        Ok(())
    }

    fn complete(&self, id: &str) -> io::Result<()> {
        let mut list = String::from("<CompleteMultipartUpload>");
        for (number, Sent { etag, checksum }) in (1..).zip(&self.parts) {
            let etag = etag.replace('&', "&amp;").replace('<', "&lt;");
            let _ = write!(
                list,
                "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag><ChecksumSHA256>{checksum}</ChecksumSHA256></Part>"
            );
        }
        list.push_str("</CompleteMultipartUpload>");
        let ask = Ask { body: list.as_bytes(), ..Ask::new(Method::POST, &self.key) }.with("uploadId", id);
        match self.vault.client.ask(&ask) {
            Ok(_) => Ok(()),
            // The first answer may have been lost on its way; then there is nothing left to complete.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_there()? => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the file is there, made of as many parts. Its bytes are read back by whoever wants to be sure.
    fn is_there(&self) -> io::Result<bool> {
        let answer = self.vault.client.ask(&Ask::new(Method::HEAD, &self.key))?;
        let parts = format!("-{}\"", self.parts.len());
        let length = answer.header("content-length").and_then(|length| length.parse().ok());
        Ok(length == Some(self.bytes) && answer.header("etag").is_some_and(|etag| etag.ends_with(&parts)))
    }
}

impl Write for S3Upload<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed {
            return Err(io::Error::other("the upload failed before"));
        }
        // Sent only when more comes, so that a file of just this length is one PUT.
        if self.buffer.len() == PART_BYTES
            && !bytes.is_empty()
            && let Err(error) = self.send_part()
        {
            self.failed = true;
            return Err(error);
        }
        let count = bytes.len().min(PART_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for S3Upload<'_> {
    fn commit(mut self: Box<Self>) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("the upload failed before"));
        }
        if self.begun.is_none() {
            let buffer = mem::take(&mut self.buffer);
            return self.vault.client.ask(&Ask::new(Method::PUT, &self.key).sending(&buffer)).map(drop);
        }
        self.send_part()?;
        let id = self.begin()?;
        self.complete(&id)?;
        self.begun = None;
        Ok(())
    }
}

impl Drop for S3Upload<'_> {
    fn drop(&mut self) {
        if let Some(id) = &self.begun {
            // What cannot be aborted now goes with the next tidy.
            let _ = self.vault.abort(&self.key, id);
        }
    }
}

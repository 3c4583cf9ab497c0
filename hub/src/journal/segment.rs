//! A segment: a file of entries, each chained to the one before it.
//!
//! * The name has the number of the first entry; the header says it again, with the epoch and version before it,
//!   when it was begun, and the hash of the last entry of the segment before.
//! * A frame is the length (4 bytes, little endian), the entry, and the SHA-256 of the hash before it, the length
//!   and the entry: checksum and chain in one. The header has a hash of its own.
//! * Nothing that was written is changed.

use super::record::{Entry, Lsn};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tt_protocol::frame::{from_bytes, to_bytes};
use tt_protocol::number::{Epoch, Millis, Version};

const MAGIC: &[u8; 8] = b"TTJRNL1\n";
/// A header is far shorter.
const HEADER_BYTES_MAX: usize = 1_024;
/// A changeset is far shorter; a length above this is damage.
const ENTRY_BYTES_MAX: usize = 1 << 30;
/// Length and hash of a frame.
const FRAME_BYTES: usize = 4 + HASH_BYTES;
const HASH_BYTES: usize = 32;

/// A SHA-256.
pub(crate) type Hash = [u8; HASH_BYTES];

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// Number of its first entry.
    pub first: Lsn,
    /// The hub's incarnation when it was begun.
    pub epoch: Epoch,
    /// The hub's version before its first entry.
    pub version: Version,
    /// When its first entry was made.
    pub at: Millis,
    /// Hash of the entry before the first; zeros where the chain begins.
    pub before: Hash,
}

/// Where and how bytes are not a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) offset: usize,
    pub(crate) what: &'static str,
    /// The bytes end too early: nothing says that there ever were more.
    pub(crate) torn: bool,
}

/// Bytes of a segment that are being read.
pub(crate) struct Frames<'b> {
    pub(crate) header: Header,
    bytes: &'b [u8],
    /// Up to here all is well.
    pub(crate) offset: usize,
    pub(crate) hash: Hash,
    next: Lsn,
}

/// The name of the segment that begins with this entry.
pub(crate) fn name(first: Lsn) -> String {
    format!("{:016}.seg", first.0)
}

/// The number in a segment's name.
pub(crate) fn parse_name(name: &str) -> Option<Lsn> {
    let number = name.strip_suffix(".seg").filter(|number| number.len() == 16)?;
    number.bytes().all(|digit| digit.is_ascii_digit()).then(|| number.parse().ok().map(Lsn)).flatten()
}

impl Header {
    /// The header as bytes.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let body = to_bytes(&self);
        let mut bytes = MAGIC.to_vec();
        bytes.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(body);
        let hash: Hash = Sha256::digest(&bytes).into();
        bytes.extend(hash);
        bytes
    }

    /// The header at the beginning of these bytes, and where it ends.
    pub(crate) fn read(bytes: &[u8]) -> Result<(Self, usize), Flaw> {
        let start = MAGIC.len() + 4;
        let flaw = |offset, what, torn| Flaw { offset, what, torn };
        let Some(head) = bytes.get(..start) else {
            return Err(flaw(0, "the header ends too early", true));
        };
        if !head.starts_with(MAGIC) {
            return Err(flaw(0, "this is no segment of a journal, or one of another version", false));
        }
        let length = length(&head[MAGIC.len()..]);
        if length > HEADER_BYTES_MAX {
            return Err(flaw(MAGIC.len(), "the header is longer than any", false));
        }
        let Some(hash) = bytes.get(start + length..start + length + HASH_BYTES) else {
            return Err(flaw(start, "the header ends too early", true));
        };
        let counted: Hash = Sha256::digest(&bytes[..start + length]).into();
        if hash != counted {
            return Err(flaw(start, "the header is not as it was written", false));
        }
        let header = from_bytes(&bytes[start..start + length])
            .map_err(|_| flaw(start, "the header cannot be read", false))?;
        Ok((header, start + length + HASH_BYTES))
    }
}

fn length(bytes: &[u8]) -> usize {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[..4]);
    u32::from_le_bytes(four) as usize
}

/// Appends an entry, and gives the hash that it comes to.
pub(crate) fn frame(out: &mut Vec<u8>, entry: &[u8], before: Hash) -> Hash {
    let length = u32::try_from(entry.len()).unwrap_or(u32::MAX).to_le_bytes();
    let hash = link(before, &length, entry);
    out.extend(length);
    out.extend_from_slice(entry);
    out.extend(hash);
    hash
}

fn link(before: Hash, length: &[u8], entry: &[u8]) -> Hash {
    Sha256::new().chain_update(before).chain_update(length).chain_update(entry).finalize().into()
}

impl<'b> Frames<'b> {
    /// Reads the header.
    pub(crate) fn new(bytes: &'b [u8]) -> Result<Self, Flaw> {
        let (header, offset) = Header::read(bytes)?;
        Ok(Self { header, bytes, offset, hash: header.before, next: header.first })
    }

    /// Goes on where an earlier look at the same bytes ended.
    pub(crate) const fn go_to(&mut self, offset: usize, last: Lsn, hash: Hash) {
        (self.offset, self.next, self.hash) = (offset, last.next(), hash);
    }

    /// The last entry that was read.
    pub(crate) const fn last(&self) -> Lsn {
        Lsn(self.next.0.saturating_sub(1))
    }

    /// The next entry; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Flaw> {
        let rest = &self.bytes[self.offset..];
        if rest.is_empty() {
            return Ok(None);
        }
        let flaw = |what, torn| Flaw { offset: self.offset, what, torn };
        let Some(head) = rest.get(..4) else {
            return Err(flaw("an entry ends too early", true));
        };
        let length = length(head);
        if length > ENTRY_BYTES_MAX {
            return Err(flaw("an entry is longer than any", false));
        }
        let Some(hash) = rest.get(4 + length..FRAME_BYTES + length) else {
            return Err(flaw("an entry ends too early", true));
        };
        let counted = link(self.hash, head, &rest[4..4 + length]);
        if hash != counted {
            return Err(flaw("an entry is not as it was written, or not the one that follows", false));
        }
        let entry =
            Entry::from_bytes(&rest[4..4 + length]).map_err(|_| flaw("an entry cannot be read", false))?;
        if entry.lsn != self.next {
            return Err(flaw("an entry has another number than the one that follows", false));
        }
        self.offset += FRAME_BYTES + length;
        self.hash = counted;
        self.next = entry.lsn.next();
        Ok(Some(entry))
    }
}

//! How a segment lies in a vault: whole when it is closed, and before that as parts, each with the bytes that came
//! since the part before. Vaults know only whole files, so nothing is ever appended to one.
//!
//! * `FIRST.seg` is a whole segment; `FIRST-OFFSET-LENGTH.part` is a part of one.
//! * Parts may overlap: a larger one takes the place of many small ones, which go afterwards.
//! * What is there is told by the names alone.

use super::record::Lsn;
use super::segment;
use crate::backup::vault::Vault;
use std::collections::BTreeMap;
use std::io::{self, Read as _};

/// A part by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Part {
    pub(crate) first: Lsn,
    /// Where in the segment it begins, in bytes.
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// What a vault has of one segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) whole: bool,
    /// In the order of their offsets.
    pub(crate) parts: Vec<Part>,
}

impl Part {
    pub(crate) fn name(self) -> String {
        let Self { first, offset, length } = self;
        format!("{:016}-{offset:010}-{length:010}.part", first.0)
    }

    fn parse(name: &str) -> Option<Self> {
        let mut numbers = name.strip_suffix(".part")?.split('-');
        let mut number = || numbers.next().filter(|text| text.bytes().all(|digit| digit.is_ascii_digit()));
        let (first, offset, length) = (number()?, number()?, number()?);
        let part = Self {
            first: Lsn(first.parse().ok()?),
            offset: offset.parse().ok()?,
            length: length.parse().ok()?,
        };
        (part.name() == name).then_some(part)
    }
}

impl Stored {
    /// What these names say, by segment.
    pub(crate) fn of(names: &[String]) -> BTreeMap<Lsn, Self> {
        let mut found: BTreeMap<Lsn, Self> = BTreeMap::new();
        for name in names {
            if let Some(first) = segment::parse_name(name) {
                found.entry(first).or_default().whole = true;
            } else if let Some(part) = Part::parse(name) {
                found.entry(part.first).or_default().parts.push(part);
            }
        }
        found.values_mut().for_each(|stored| stored.parts.sort());
        found
    }

    /// Bytes from the beginning on that are there without a gap. Of a whole segment its name does not say.
    pub(crate) fn bytes(&self) -> u64 {
        let mut bytes = 0;
        for part in &self.parts {
            if part.offset <= bytes {
                bytes = bytes.max(part.offset.saturating_add(part.length));
            }
        }
        bytes
    }
}

/// Reads a segment from a vault, or its beginning.
pub(crate) fn read(vault: &dyn Vault, first: Lsn, bytes_max: u64) -> io::Result<Vec<u8>> {
    let names = vault.list()?;
    let stored = Stored::of(&names).remove(&first).unwrap_or_default();
    let mut bytes = Vec::new();
    if stored.whole {
        vault.read(&segment::name(first))?.take(bytes_max).read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    for part in &stored.parts {
        let have = bytes.len() as u64;
        if have >= bytes_max || part.offset > have {
            break;
        }
        let mut piece = Vec::new();
        vault.read(&part.name())?.take(part.length).read_to_end(&mut piece)?;
        let skip = usize::try_from(have - part.offset).unwrap_or(usize::MAX);
        bytes.extend_from_slice(piece.get(skip..).unwrap_or_default());
    }
    Ok(bytes)
}

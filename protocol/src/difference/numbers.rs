//! Lists of small numbers as a few bytes: variable length, then deflated.
//!
//! Lists come from outside: how many numbers they may hold is said before they are inflated.

use crate::change::deflate;
use crate::varint::{Reader, put};
use flate2::read::DeflateDecoder;
use std::io::Read as _;

/// Bytes of the longest number.
const NUMBER_BYTES_MAX: usize = 10;

/// Packs numbers.
#[must_use]
pub fn pack(numbers: &[u64]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(numbers.len());
    numbers.iter().for_each(|number| put(&mut raw, *number));
    deflate(Vec::new(), &raw)
}

/// Packs numbers that do not descend, as their differences.
#[must_use]
pub fn pack_ascending(numbers: &[u64]) -> Vec<u8> {
    let mut before = 0;
    let step = |number: &u64| {
        let step = number.wrapping_sub(before);
        before = *number;
        step
    };
    pack(&numbers.iter().map(step).collect::<Vec<_>>())
}

/// At most `most` numbers; None when there are more, or the bytes are no such list.
#[must_use]
pub fn unpack(bytes: &[u8], most: usize) -> Option<Vec<u64>> {
    let limit = most * NUMBER_BYTES_MAX;
    let mut raw = Vec::new();
    let mut inflated = DeflateDecoder::new(bytes).take(limit as u64 + 1);
    inflated.read_to_end(&mut raw).ok().filter(|read| *read <= limit)?;
    let mut reader = Reader::new(&raw);
    let mut numbers = Vec::new();
    while reader.remaining() > 0 {
        numbers.push(reader.number()?);
    }
    (numbers.len() <= most).then_some(numbers)
}

/// As [`unpack`], of [`pack_ascending`].
#[must_use]
pub fn unpack_ascending(bytes: &[u8], most: usize) -> Option<Vec<u64>> {
    let mut before = 0_u64;
    let steps = unpack(bytes, most)?;
    let add = |step: u64| {
        before = before.checked_add(step)?;
        Some(before)
    };
    steps.into_iter().map(add).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_were() {
        let numbers = [0, 0, 5, 300, 300, 1 << 40];
        assert_eq!(unpack_ascending(&pack_ascending(&numbers), 6).unwrap(), numbers);
        assert_eq!(unpack(&pack(&[9, 1, u64::MAX]), 3).unwrap(), [9, 1, u64::MAX]);
        assert_eq!(unpack(&pack(&[]), 0).unwrap(), [0_u64; 0]);
    }

    #[test]
    fn more_than_may_be_is_refused_before_it_is_inflated() {
        assert_eq!(unpack(&pack(&[1, 2, 3]), 2), None);
        let bomb = deflate(Vec::new(), &vec![0; 64 << 20]);
        assert!(bomb.len() < 1 << 20);
        assert_eq!(unpack(&bomb, 1_000), None);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        assert_eq!(unpack(&[255, 255, 255], 9), None);
        assert_eq!(unpack(&deflate(Vec::new(), &[0x80]), 9), None, "half a number");
        assert_eq!(unpack_ascending(&pack(&[u64::MAX, 1]), 9), None, "beyond the last number");
    }
}

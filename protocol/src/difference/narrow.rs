//! Narrows ranges that differ down to rows: the device's side of a compare, without a file and without a link.
//!
//! * `ask` says what to ask, `take_sums` and `take_marks` what the hub answered; `finish` says which rows to fetch.
//! * The steps are chosen for scattered rows, one in a hundred: 16 cells of 32 rows each, of which a quarter
//!   differ, then cells of 8 and of 2 rows, then rows. That costs some 25 bytes for each differing row.
//! * A sum is of two bytes, so that one difference in some ten thousand is overlooked. Who has fetched the rows sees
//!   that a range's digest is not yet the hub's, and fetches that range whole.

use super::CELLS_MAX;
use super::cell::{Cell, Mark, low};
use super::numbers;
use crate::digest::TableDigest;
use std::collections::{BTreeMap, BTreeSet};

/// Bits by which cells are split, one step after the other.
const SPLITS: [u8; 3] = [4, 2, 2];
/// Cells of a range after all steps.
const CELLS_AT_LAST: usize = 256;
/// A range of so few rows is fetched whole: its rows cost less than finding out which of them differ.
const FEW_ROWS: u64 = 48;

/// A range that differs.
#[derive(Clone, Debug)]
pub struct Pair {
    /// Its number in the table.
    pub number: u32,
    /// What the hub has.
    pub hub: TableDigest,
    /// What the device has, in key order.
    pub own: Vec<Mark>,
}

/// What is to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The sums of the parts of these cells.
    Sums {
        /// The cells.
        cells: Vec<Cell>,
        /// By how many bits they are split.
        bits: u8,
    },
    /// The rows of these cells.
    Marks(Vec<Cell>),
}

/// Which rows are to be fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Ranges of which all rows are wanted, ascending. Of the device's rows none is as the hub has it, as far as
    /// is known.
    pub whole: Vec<u32>,
    /// Rows that are wanted: a cell and a place in it, ascending.
    pub wanted: Vec<(Cell, u16)>,
    /// The device's rows that are not as the hub has them: for each range, where in [`Pair::own`] they are.
    pub stale: BTreeMap<u32, Vec<usize>>,
}

/// An answer is not what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the hub's answer has another size than was asked for: it is damaged or of another version")]
pub struct Misfit;

/// The state machine.
#[derive(Debug)]
pub struct Narrowing {
    own: BTreeMap<u32, Vec<Mark>>,
    /// Cells of this step, each with the hub's sum.
    open: Vec<(Cell, u16)>,
    /// Those of the next one.
    deeper: Vec<(Cell, u16)>,
    /// How many of `open` are being asked about.
    asked: usize,
    step: usize,
    found: Found,
}

impl Narrowing {
    /// Begins with ranges that differ, ascending.
    #[must_use]
    pub fn new(pairs: Vec<Pair>) -> Self {
        let (mut open, mut found, mut own) = (Vec::new(), Found::default(), BTreeMap::new());
        for pair in pairs {
            let is_poor = (pair.own.len() as u64).saturating_mul(2) < pair.hub.rows;
            if is_poor || pair.hub.rows <= FEW_ROWS {
                found.whole.push(pair.number);
            } else {
                open.push((Cell::whole(pair.number), low(pair.hub.sum)));
            }
            own.insert(pair.number, pair.own);
        }
        Self { own, open, deeper: Vec::new(), asked: 0, step: 0, found }
    }

    /// What to ask next; None when all is known.
    #[must_use]
    pub fn ask(&mut self) -> Option<Ask> {
        if self.open.is_empty() {
            self.open = std::mem::take(&mut self.deeper);
            self.step += 1;
            if self.step == SPLITS.len() {
                self.give_up_full_ranges();
            }
        }
        if self.open.is_empty() {
            return None;
        }
        self.asked = self.open.len().min(CELLS_MAX);
        let cells = self.open[..self.asked].iter().map(|(cell, _)| *cell).collect();
        Some(match SPLITS.get(self.step) {
            Some(bits) => Ask::Sums { cells, bits: *bits },
            None => Ask::Marks(cells),
        })
    }

    /// Where most cells differ, asking on costs more than the rows.
    fn give_up_full_ranges(&mut self) {
        let mut cells: BTreeMap<u32, usize> = BTreeMap::new();
        self.open.iter().for_each(|(cell, _)| *cells.entry(cell.range).or_default() += 1);
        let full: BTreeSet<u32> = cells
            .into_iter()
            .filter(|(_, cells)| *cells > CELLS_AT_LAST / 2)
            .map(|(range, _)| range)
            .collect();
        self.open.retain(|(cell, _)| !full.contains(&cell.range));
        self.found.whole.extend(full);
    }

    /// The sums of what [`Ask::Sums`] asked for.
    ///
    /// # Errors
    /// When they are more or fewer.
    pub fn take_sums(&mut self, bytes: &[u8]) -> Result<(), Misfit> {
        let Some(bits) = SPLITS.get(self.step).copied() else { return Err(Misfit) };
        let each = (1 << bits) - 1;
        let sums = halves(bytes, self.asked * each)?;
        for ((cell, sum), parts) in self.open.drain(..self.asked).zip(sums.chunks(each)) {
            let rows = self.own.get(&cell.range).into_iter().flatten().copied();
            let own = cell.sums(bits, rows);
            let last = parts.iter().fold(sum, |rest, part| rest.wrapping_sub(*part));
            let theirs = parts.iter().copied().chain([last]);
            let places = cell.parts(bits).ok_or(Misfit)?;
            let differing = places.zip(theirs).zip(own).filter(|((_, theirs), own)| theirs != own);
            self.deeper.extend(differing.map(|(part, _)| part));
        }
        self.asked = 0;
        Ok(())
    }

    /// The rows of what [`Ask::Marks`] asked for.
    ///
    /// # Errors
    /// When they are not of as many cells.
    pub fn take_marks(&mut self, counts: &[u8], hashes: &[u8]) -> Result<(), Misfit> {
        let counts = numbers::unpack(counts, self.asked).filter(|counts| counts.len() == self.asked);
        let counts = counts.ok_or(Misfit)?;
        let rows = counts.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count));
        let rows = rows.and_then(|rows| usize::try_from(rows).ok()).ok_or(Misfit)?;
        let hashes = halves(hashes, rows)?;
        let mut rest = hashes.as_slice();
        for ((cell, _), count) in self.open.drain(..self.asked).zip(counts) {
            let count = usize::try_from(count).map_err(|_| Misfit)?;
            let (theirs, after) = rest.split_at_checked(count).ok_or(Misfit)?;
            rest = after;
            let own = self.own.get(&cell.range).map(Vec::as_slice).unwrap_or_default();
            compare(cell, own, theirs, &mut self.found)?;
        }
        self.asked = 0;
        Ok(())
    }

    /// What was found, once nothing is left to ask.
    #[must_use]
    pub fn finish(self) -> Found {
        let mut found = self.found;
        found.whole.sort_unstable();
        found.wanted.sort_unstable();
        for range in &found.whole {
            let rows = self.own.get(range).map_or(0, Vec::len);
            found.stale.insert(*range, (0..rows).collect());
        }
        found
    }
}

/// Sorts the rows of one cell into those that both have and those that one of them has.
fn compare(cell: Cell, own: &[Mark], theirs: &[u16], found: &mut Found) -> Result<(), Misfit> {
    let held = own.iter().enumerate().filter(|(_, mark)| cell.holds(mark.place));
    let mut unmatched: Vec<(usize, u16)> = held.map(|(index, mark)| (index, mark.hash)).collect();
    for (place, hash) in theirs.iter().enumerate() {
        match unmatched.iter().position(|(_, own)| own == hash) {
            Some(same) => {
                unmatched.swap_remove(same);
            }
            None => found.wanted.push((cell, u16::try_from(place).map_err(|_| Misfit)?)),
        }
    }
    let stale = found.stale.entry(cell.range).or_default();
    stale.extend(unmatched.into_iter().map(|(index, _)| index));
    Ok(())
}

/// Numbers of two bytes, which must be as many.
fn halves(bytes: &[u8], count: usize) -> Result<Vec<u16>, Misfit> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() || pairs.len() != count {
        return Err(Misfit);
    }
    Ok(pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row: its key, and what is in it.
    type Rows = BTreeMap<u64, u64>;

    fn hash(key: u64, content: u64) -> u128 {
        crate::digest::row_hash(
            [
                ("k", crate::value::ValueRef::Integer(key as i64)),
                ("v", crate::value::ValueRef::Integer(content as i64)),
            ],
            &mut Vec::new(),
        )
    }

    fn marks(rows: &Rows) -> Vec<Mark> {
        rows.iter().map(|(key, content)| Mark::of(&key.to_le_bytes(), hash(*key, *content))).collect()
    }

    fn digest(rows: &Rows) -> TableDigest {
        let mut digest = TableDigest::default();
        rows.iter().for_each(|(key, content)| digest.add(hash(*key, *content)));
        digest
    }

    /// Plays the hub with its rows of each range. Gives what was found and the bytes of all answers.
    fn narrow(own: &[Rows], hub: &[Rows]) -> (Found, usize) {
        let pairs = (0..).zip(own.iter().zip(hub));
        let pairs = pairs.map(|(number, (own, hub))| Pair { number, hub: digest(hub), own: marks(own) });
        let mut narrowing = Narrowing::new(pairs.collect());
        let theirs: Vec<Vec<Mark>> = hub.iter().map(marks).collect();
        let of = |cell: Cell| theirs[usize::try_from(cell.range).unwrap()].iter().copied();
        let mut bytes = 0;
        while let Some(ask) = narrowing.ask() {
            match ask {
                Ask::Sums { cells, bits } => {
                    let parts = |cell: Cell| {
                        let mut sums = cell.sums(bits, of(cell));
                        sums.pop();
                        sums
                    };
                    let sums: Vec<u8> =
                        cells.into_iter().flat_map(parts).flat_map(u16::to_le_bytes).collect();
                    bytes += sums.len();
                    narrowing.take_sums(&sums).unwrap();
                }
                Ask::Marks(cells) => {
                    let held = |cell: &Cell| {
                        let cell = *cell;
                        of(cell).filter(move |row| cell.holds(row.place))
                    };
                    let counts: Vec<u64> = cells.iter().map(|cell| held(cell).count() as u64).collect();
                    let hashes: Vec<u8> =
                        cells.iter().flat_map(held).flat_map(|row| row.hash.to_le_bytes()).collect();
                    let counts = numbers::pack(&counts);
                    bytes += counts.len() + hashes.len();
                    narrowing.take_marks(&counts, &hashes).unwrap();
                }
            }
        }
        (narrowing.finish(), bytes)
    }

    /// The keys that are wanted, as the hub finds them.
    fn wanted(found: &Found, hub: &[Rows]) -> BTreeSet<u64> {
        let key = |(cell, place): &(Cell, u16)| {
            let rows = &hub[usize::try_from(cell.range).unwrap()];
            let of_cell = |key: &&u64| cell.holds(Mark::of(&key.to_le_bytes(), 0).place);
            *rows.keys().filter(of_cell).nth(usize::from(*place)).unwrap()
        };
        found.wanted.iter().map(key).collect()
    }

    fn ranges(count: u64) -> Vec<Rows> {
        (0..count).map(|range| (range * 512..(range + 1) * 512).map(|key| (key, key)).collect()).collect()
    }

    #[test]
    fn one_row_in_a_hundred_is_found_for_some_25_bytes_each() {
        let hub = ranges(100);
        let mut own = hub.clone();
        let mut changed = BTreeSet::new();
        for (row, content) in own.iter_mut().flatten().filter(|(key, _)| *key % 103 == 7) {
            *content += 1;
            changed.insert(*row);
        }
        let (found, bytes) = narrow(&own, &hub);
        assert_eq!(wanted(&found, &hub), changed);
        assert_eq!(found.stale.values().map(Vec::len).sum::<usize>(), changed.len());
        assert_eq!(found.whole, [0_u32; 0]);
        assert!(bytes < changed.len() * 28, "{bytes} bytes for {} rows", changed.len());
    }

    #[test]
    fn rows_that_one_side_lacks_are_found_at_either_end() {
        let hub = ranges(2);
        let mut own = hub.clone();
        own[0].remove(&0);
        own[1].remove(&1023);
        own[0].insert(5_000, 1);
        let (found, _) = narrow(&own, &hub);
        assert_eq!(wanted(&found, &hub), BTreeSet::from([0, 1023]));
        assert_eq!(
            found.stale[&0].iter().map(|index| *own[0].keys().nth(*index).unwrap()).collect::<Vec<_>>(),
            [5_000]
        );
        assert!(found.stale.get(&1).is_none_or(Vec::is_empty));
    }

    #[test]
    fn what_is_hardly_there_small_or_all_other_is_wanted_whole() {
        let mut hub = ranges(4);
        hub[2].retain(|key, _| *key % 20 == 0);
        let mut own = hub.clone();
        own[0].retain(|key, _| *key % 3 == 0);
        own[1].values_mut().for_each(|content| *content += 1);
        own[2].insert(1_100, 0);
        own[3].insert(9_999, 0);
        let (found, _) = narrow(&own, &hub);
        assert_eq!(found.whole, [0, 1, 2]);
        assert_eq!(found.stale[&1].len(), 512);
        assert!(found.wanted.is_empty());
    }

    #[test]
    fn an_answer_of_another_size_is_refused() {
        let hub = ranges(1);
        let mut own = hub.clone();
        own[0].remove(&3);
        let begun = || {
            let pair = Pair { number: 0, hub: digest(&hub[0]), own: marks(&own[0]) };
            let mut narrowing = Narrowing::new(vec![pair]);
            assert!(matches!(narrowing.ask(), Some(Ask::Sums { .. })));
            narrowing
        };
        assert_eq!(begun().take_sums(&[0; 28]), Err(Misfit));
        assert_eq!(begun().take_sums(&[0; 31]), Err(Misfit));
        assert_eq!(begun().take_marks(&numbers::pack(&[9, 9]), &[0; 36]), Err(Misfit));
        assert_eq!(begun().take_marks(&numbers::pack(&[u64::MAX]), &[]), Err(Misfit));
        assert_eq!(begun().take_marks(&numbers::pack(&[2]), &[0; 2]), Err(Misfit));
    }
}

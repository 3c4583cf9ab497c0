//! One table, here and in the hub's snapshot: block by block, range by range, row by row.

use super::kept::{Kept, Record};
use super::window::{OwnRange, Window};
use super::{DifferenceError, Early, Hub, whole};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use tt_migrations::capture::ids;
use tt_migrations::ranges::{Bounds, Marker, for_each};
use tt_migrations::replica::Tracked;
use tt_migrations::row::Key;
use tt_migrations::value::get;
use tt_protocol::block::Block;
use tt_protocol::difference::cell::Cell;
use tt_protocol::difference::narrow::{Ask, Found, Misfit, Narrowing, Pair};
use tt_protocol::difference::{
    Answer, BLOCK_RANGES, Cells, Parts, Question, RANGE_ROWS, RANGES_MAX, ROWS_MAX, WINDOW_BLOCKS,
};
use tt_protocol::digest::TableDigest;

/// Rows of this file that may lie in the ranges that are compared together: four times the hub's.
const OWN_ROWS_MAX: usize = 4 * RANGES_MAX * RANGE_ROWS;

/// One table here and there.
pub(super) struct Comparing<'c> {
    pub(super) own: &'c Connection,
    pub(super) tracked: &'c Tracked,
    pub(super) theirs: &'c Tracked,
    pub(super) marker: Marker,
    /// Hashes rows as the hub sends them.
    pub(super) their_marker: Marker,
}

impl<'c> Comparing<'c> {
    pub(super) fn new(own: &'c Connection, tracked: &'c Tracked, theirs: &'c Tracked) -> Result<Self, Early> {
        let name = &tracked.table.name;
        if !theirs.key_is(&tracked.names[..tracked.keys()]) {
            return Err(whole(format!("table \"{name}\" has another primary key here")));
        }
        let markers = Marker::new(tracked, theirs).zip(Marker::new(theirs, theirs));
        let lacking = || whole(format!("table \"{name}\" lacks a column here"));
        let (marker, their_marker) = markers.ok_or_else(lacking)?;
        Ok(Self { own, tracked, theirs, marker, their_marker })
    }

    /// Compares the table, and keeps what differs.
    pub(super) fn run(&mut self, hub: &mut Hub<'_>, kept: &mut Kept) -> Result<(), Early> {
        let (blocks, uppers) = self.blocks(hub)?;
        let name = self.theirs.table.name.clone();
        let mut differing = Vec::new();
        for (number, digest) in (0..).zip(&blocks) {
            hub.go_on()?;
            let bounds = Bounds::of(&uppers, place_of(number)?);
            if kept.has_block(&name, number) {
                continue;
            }
            let own = self.digest(bounds)?;
            hub.progress.advance(own.rows);
            if own != *digest {
                differing.push(number);
            }
        }
        let mut rest = differing.as_slice();
        while !rest.is_empty() {
            let asked = &rest[..rest.len().min(WINDOW_BLOCKS)];
            let taken = self.window(hub, kept, (asked, blocks.len(), &uppers))?;
            rest = &rest[taken..];
        }
        Ok(())
    }

    /// The digests of all blocks at the hub, and the last key of each but the last.
    fn blocks(&self, hub: &mut Hub<'_>) -> Result<(Vec<TableDigest>, Vec<Key>), Early> {
        let (mut digests, mut uppers) = (Vec::new(), Vec::new());
        loop {
            let from = u32::try_from(digests.len()).map_err(|_| Misfit)?;
            let question = Question::Blocks { table: self.theirs.table.name.clone(), from };
            let Answer::Blocks { total, parts } = hub.ask(&question)? else { return Err(Misfit.into()) };
            uppers.extend(self.uppers(&parts)?);
            digests.extend(parts.digests);
            let total = usize::try_from(total).map_err(|_| Misfit)?;
            let is_last = digests.len() == total;
            if digests.len() > total || uppers.len() + usize::from(is_last) != digests.len() {
                return Err(Misfit.into());
            }
            if is_last {
                return Ok((digests, uppers));
            }
        }
    }

    fn uppers(&self, parts: &Parts) -> Result<Vec<Key>, Early> {
        if parts.digests.is_empty() {
            return Err(Misfit.into());
        }
        parts.uppers(self.theirs.keys()).map_err(whole)
    }

    fn digest(&mut self, bounds: Bounds<'_>) -> Result<TableDigest, Early> {
        let mut digest = TableDigest::default();
        let marker = &mut self.marker;
        for_each(self.own, self.tracked, bounds, |row| {
            digest.add(marker.read(row)?.0);
            Ok(())
        })?;
        Ok(digest)
    }

    /// Compares some blocks, and keeps what differs in them. How many of them the hub's answer had room for.
    fn window(
        &mut self,
        hub: &mut Hub<'_>,
        kept: &mut Kept,
        (asked, of, uppers): (&[u32], usize, &[Key]),
    ) -> Result<usize, Early> {
        let question = Question::Ranges { table: self.theirs.table.name.clone(), blocks: asked.to_vec() };
        let Answer::Ranges(parts) = hub.ask(&question)? else { return Err(Misfit.into()) };
        let taken = told(asked, of, parts.digests.len())?;
        let blocks = &asked[..taken];
        let mut window = self.read(hub, kept, blocks, &parts, uppers)?;
        let pairs = window.ranges.iter().map(|(number, range)| Pair {
            number: *number,
            hub: range.hub,
            own: range.marks.clone(),
        });
        let mut narrowing = Narrowing::new(pairs.collect());
        while let Some(ask) = narrowing.ask() {
            self.narrow(hub, &mut narrowing, ask)?;
        }
        let found = narrowing.finish();
        for ranges in portions(&window, &found) {
            let portion = window.take(&ranges);
            let record = self.fetch(hub, portion, &found)?;
            hub.go_on()?;
            kept.add(record).map_err(DifferenceError::Io).map_err(Early::Failed)?;
        }
        let table = self.theirs.table.name.clone();
        let done = Record { table, blocks: blocks.to_vec(), ..Record::default() };
        kept.add(done).map_err(DifferenceError::Io).map_err(Early::Failed)?;
        Ok(taken)
    }

    /// The ranges of these blocks that differ, with what this file has in them.
    fn read(
        &mut self,
        hub: &Hub<'_>,
        kept: &Kept,
        blocks: &[u32],
        parts: &Parts,
        uppers: &[Key],
    ) -> Result<Window, Early> {
        let keys = self.uppers(parts)?;
        let snapshot = self.own.unchecked_transaction()?;
        let fresh = if self.tracked.table.rowid_key {
            let place = ids::place(&snapshot, self.tracked)?;
            place.lo..=place.hi
        } else {
            RangeInclusive::new(1, 0)
        };
        let (mut ranges, mut held) = (BTreeMap::new(), 0);
        for (block, part) in blocks.iter().zip(parts.digests.chunks(BLOCK_RANGES)) {
            let first = place_of(*block)? * BLOCK_RANGES;
            let before = place_of(*block)?.checked_sub(1).and_then(|before| uppers.get(before));
            let skipped = blocks.iter().position(|one| one == block).unwrap_or(0) * BLOCK_RANGES;
            let last_keys = keys.get(skipped..).unwrap_or_default();
            for (index, digest) in part.iter().enumerate() {
                hub.go_on()?;
                let above = index.checked_sub(1).map_or(before, |before| last_keys.get(before));
                let bounds =
                    Bounds { above: above.map(Vec::as_slice), upto: last_keys.get(index).map(Vec::as_slice) };
                let own = self.own_range(bounds, *digest)?;
                held += own.hashes.len();
                let number = u32::try_from(first + index).map_err(|_| Misfit)?;
                if own.own != own.hub && !kept.has_range(&self.theirs.table.name, number) {
                    ranges.insert(number, own);
                }
                if held > OWN_ROWS_MAX {
                    return Err(whole("this device has many more rows than the hub"));
                }
            }
        }
        Ok(Window::new(ranges, fresh))
    }

    fn own_range(&mut self, bounds: Bounds<'_>, hub: TableDigest) -> Result<OwnRange, Early> {
        let (keys, own) = (Block::new(self.tracked.keys()), TableDigest::default());
        let mut range = OwnRange { hub, own, hashes: Vec::new(), marks: Vec::new(), keys };
        let (marker, count) = (&mut self.marker, self.tracked.keys());
        for_each(self.own, self.tracked, bounds, |row| {
            let (hash, mark) = marker.read(row)?;
            range.own.add(hash);
            // Beyond that nothing of it is used.
            if range.hashes.len() <= OWN_ROWS_MAX {
                range.hashes.push(hash);
                range.marks.push(mark);
                let key = (0..count).map(|place| get(row, place)).collect::<rusqlite::Result<Vec<_>>>()?;
                range.keys.push(key);
            }
            Ok(())
        })?;
        Ok(range)
    }

    fn narrow(&self, hub: &mut Hub<'_>, narrowing: &mut Narrowing, ask: Ask) -> Result<(), Early> {
        let table = self.theirs.table.name.clone();
        match ask {
            Ask::Sums { cells, bits } => {
                let Answer::Sums(bytes) = hub.ask(&Question::Sums { table, cells: packed(&cells), bits })?
                else {
                    return Err(Misfit.into());
                };
                Ok(narrowing.take_sums(&bytes)?)
            }
            Ask::Marks(cells) => {
                let answer = hub.ask(&Question::Marks { table, cells: packed(&cells) })?;
                let Answer::Marks { counts, hashes } = answer else { return Err(Misfit.into()) };
                Ok(narrowing.take_marks(&counts, &hashes)?)
            }
        }
    }
}

/// Ranges that are fetched and kept together: as many rows as one answer may hold.
fn portions(window: &Window, found: &Found) -> Vec<Vec<u32>> {
    let mut wanted: BTreeMap<u32, usize> = BTreeMap::new();
    found.wanted.iter().for_each(|(cell, _)| *wanted.entry(cell.range).or_default() += 1);
    let (mut portions, mut rows) = (vec![Vec::new()], 0_usize);
    for (number, range) in &window.ranges {
        let all = usize::try_from(range.hub.rows).unwrap_or(usize::MAX);
        let is_whole = found.whole.binary_search(number).is_ok();
        let more = if is_whole { all } else { wanted.get(number).copied().unwrap_or(0) };
        rows = rows.saturating_add(more);
        if let Some(portion) = portions.last_mut() {
            portion.push(*number);
        }
        if rows >= ROWS_MAX {
            portions.push(Vec::new());
            rows = 0;
        }
    }
    portions.retain(|portion| !portion.is_empty());
    portions
}

/// How many of the blocks these ranges are of. All blocks of a table but the last have as many.
fn told(asked: &[u32], of: usize, ranges: usize) -> Result<usize, Misfit> {
    let taken = ranges.div_ceil(BLOCK_RANGES);
    let last = taken.checked_sub(1).and_then(|last| asked.get(last)).ok_or(Misfit)?;
    let is_last = usize::try_from(*last).is_ok_and(|last| last + 1 == of);
    if ranges.is_multiple_of(BLOCK_RANGES) || is_last { Ok(taken) } else { Err(Misfit) }
}

fn place_of(block: u32) -> Result<usize, Misfit> {
    usize::try_from(block).map_err(|_| Misfit)
}

pub(super) fn packed(cells: &[Cell]) -> Cells {
    let depth = cells.first().map_or(0, |cell| cell.depth);
    Cells::new(depth, &cells.iter().map(|cell| cell.number()).collect::<Vec<_>>())
}

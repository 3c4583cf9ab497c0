//! The hub's rows of some ranges come, and it is proven that with them the ranges are the hub's.

use super::kept::Record;
use super::table::{Comparing, packed};
use super::window::Window;
use super::{Early, Hub, whole};
use tt_migrations::row::{self, Row, key_bytes};
use tt_protocol::change::{Kind, decode_piece};
use tt_protocol::difference::cell::Cell;
use tt_protocol::difference::narrow::{Found, Misfit};
use tt_protocol::difference::{Answer, Question, ROWS_MAX, numbers};
use tt_protocol::digest::TableDigest;
use tt_protocol::pieces::PieceBuilder;
use tt_protocol::value::{Value, ValueRef};

/// Depth at which all rows of a range are asked for, so that wide ones need not fit into one answer together.
const WHOLE_DEPTH: u8 = 4;
/// Ranges of which all rows are asked for at once.
const WHOLE_RANGES: usize = 16;

impl Comparing<'_> {
    /// Fetches what was found to differ in these ranges.
    pub(super) fn fetch(
        &mut self,
        hub: &mut Hub<'_>,
        mut window: Window,
        found: &Found,
    ) -> Result<Record, Early> {
        let is_here = |range: &u32| window.ranges.contains_key(range);
        let wanted: Vec<(Cell, u16)> =
            found.wanted.iter().filter(|(cell, _)| is_here(&cell.range)).copied().collect();
        let mut all: Vec<u32> = found.whole.iter().filter(|range| is_here(range)).copied().collect();
        self.fetch_wanted(hub, &mut window, &wanted)?;
        all.extend(window.unproven(found));
        all.sort_unstable();
        self.fetch_whole(hub, &mut window, &all)?;
        self.settle(window, found, &all)
    }

    /// Fetches single rows.
    fn fetch_wanted(
        &mut self,
        hub: &mut Hub<'_>,
        window: &mut Window,
        wanted: &[(Cell, u16)],
    ) -> Result<(), Early> {
        let mut rest = wanted;
        while !rest.is_empty() {
            let asked = &rest[..rest.len().min(ROWS_MAX)];
            let cells: Vec<Cell> = asked.iter().map(|(cell, _)| *cell).collect();
            let places: Vec<u64> = asked.iter().map(|(_, place)| u64::from(*place)).collect();
            let (counts, rows) = self.ask_rows(hub, &cells, &places)?;
            if counts.iter().any(|count| *count != 1) {
                return Err(Misfit.into());
            }
            for (cell, row) in cells.iter().zip(rows) {
                self.come(window, cell.range, &row)?;
            }
            rest = &rest[counts.len()..];
        }
        Ok(())
    }

    /// Fetches all rows of these ranges.
    fn fetch_whole(&mut self, hub: &mut Hub<'_>, window: &mut Window, ranges: &[u32]) -> Result<(), Early> {
        for ranges in ranges.chunks(WHOLE_RANGES) {
            for range in ranges {
                window.come.entry(*range).or_default().digest = TableDigest::default();
            }
            let of_range = |range: &u32| Cell::whole(*range).parts(WHOLE_DEPTH).into_iter().flatten();
            let cells: Vec<Cell> = ranges.iter().flat_map(of_range).collect();
            let mut rest = cells.as_slice();
            while !rest.is_empty() {
                let (counts, rows) = self.ask_rows(hub, rest, &[])?;
                let mut rows = rows.into_iter();
                for (cell, count) in rest.iter().zip(&counts) {
                    for row in rows.by_ref().take(*count) {
                        self.come(window, cell.range, &row)?;
                    }
                }
                rest = &rest[counts.len()..];
            }
        }
        Ok(())
    }

    /// The rows of as many of these cells as the hub's answer has room for, and how many each has.
    fn ask_rows(
        &self,
        hub: &mut Hub<'_>,
        cells: &[Cell],
        places: &[u64],
    ) -> Result<(Vec<usize>, Vec<Row>), Early> {
        let places = if places.is_empty() { Vec::new() } else { numbers::pack(places) };
        let table = self.theirs.table.name.clone();
        let answer = hub.ask(&Question::Rows { table, cells: packed(cells), places })?;
        let Answer::Rows { counts, pieces } = answer else { return Err(Misfit.into()) };
        let counts = numbers::unpack(&counts, cells.len()).ok_or(Misfit)?;
        let counts: Result<Vec<usize>, _> = counts.into_iter().map(usize::try_from).collect();
        let counts = counts.map_err(|_| Misfit)?;
        let mut rows = Vec::new();
        for piece in &pieces {
            for change in decode_piece(piece).map_err(whole)? {
                if change.kind != Kind::Put || change.columns != self.theirs.names {
                    return Err(Misfit.into());
                }
                rows.extend(
                    (0..change.rows.rows())
                        .map(|row| change.values(row).map(ValueRef::to_owned).collect::<Row>()),
                );
            }
        }
        let expected = counts.iter().try_fold(0_usize, |sum, count| sum.checked_add(*count));
        if counts.is_empty() || expected != Some(rows.len()) {
            return Err(Misfit.into());
        }
        Ok((counts, rows))
    }

    /// A row of the hub's has come: it is written, unless it is here as it is.
    fn come(&mut self, window: &mut Window, range: u32, hub: &Row) -> Result<(), Early> {
        let (Some(own), Some(come)) = (window.ranges.get(&range), window.come.get_mut(&range)) else {
            return Err(Misfit.into());
        };
        let names: Vec<&str> = self.theirs.names.iter().map(String::as_str).collect();
        let keys = self.theirs.keys();
        let hash = self.their_marker.hash(hub).ok_or(Misfit)?;
        come.digest.add(hash);
        let key = hub.get(..keys).ok_or(Misfit)?;
        if !come.keys.insert(key_bytes(key)) || own.hashes.contains(&hash) {
            return Ok(());
        }
        if let Some(here) = row::read(self.own, self.tracked, key)?
            && let Some(spelled) = here.get(..keys).filter(|spelled| *spelled != key)
        {
            come.spelled.insert(key_bytes(spelled));
        }
        let values = hub.iter().map(Value::as_ref);
        window.put.push(Kind::Put, &self.tracked.table.name, keys, &names, values);
        Ok(())
    }

    /// Proves that with these rows every range is the hub's. What is left here goes.
    fn settle(&self, window: Window, found: &Found, all: &[u32]) -> Result<Record, Early> {
        let mut gone = PieceBuilder::default();
        let keys = self.tracked.keys();
        let names: Vec<&str> = self.theirs.names[..keys].iter().map(String::as_str).collect();
        for (number, own) in &window.ranges {
            let come = window.come.get(number).ok_or(Misfit)?;
            let every: Vec<usize> = (0..own.hashes.len()).collect();
            let is_whole = all.binary_search(number).is_ok();
            let stale = if is_whole { Some(&every) } else { found.stale.get(number) };
            let stale = stale.map(Vec::as_slice).unwrap_or_default();
            if own.with(stale, come) != own.hub {
                return Err(whole("the hub's rows are not what their digest says"));
            }
            for index in stale {
                let key: Vec<ValueRef<'_>> = own.keys.slice(*index, 0, keys).collect();
                let is_fresh =
                    matches!(key.first(), Some(ValueRef::Integer(id)) if window.fresh.contains(id));
                let bytes = bytes_of(&key);
                if !is_fresh && !come.keys.contains(&bytes) && !come.spelled.contains(&bytes) {
                    gone.push(Kind::Gone, &self.tracked.table.name, keys, &names, key);
                }
            }
        }
        let (table, ranges) = (self.theirs.table.name.clone(), window.ranges.keys().copied().collect());
        Ok(Record { table, blocks: Vec::new(), ranges, gone: gone.finish(), put: window.put.finish() })
    }
}

fn bytes_of(key: &[ValueRef<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.iter().for_each(|value| value.write_canonical(&mut bytes));
    bytes
}

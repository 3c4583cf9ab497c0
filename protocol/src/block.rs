//! Many rows held and sent column by column: neighbours in a column resemble each other, so the bytes
//! deflate to a few per row, and a whole block needs three allocations instead of one per text.
//!
//! Bytes of one column, in order:
//! * runs of classes, (class, length) each, until they cover the rows;
//! * integers, each as the zigzag difference to its prediction (see [`Block::encode`]);
//! * reals, 8 bytes each; lengths of texts and blobs; then their bytes.

use crate::limits::{COLUMNS_MAX, PIECE_BYTES_MAX, PIECE_ROWS_MAX};
use crate::value::ValueRef;
use crate::varint::{Reader, put, put_signed};

/// A value's place: numbers in the cell, bytes as a range of the block's heap.
#[derive(Clone, Copy, Debug)]
enum Cell {
    Null,
    Integer(i64),
    Real(u64),
    Text(u32, u32),
    Blob(u32, u32),
}

impl Cell {
    const fn class(self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Integer(_) => 1,
            Self::Real(_) => 2,
            Self::Text(..) => 3,
            Self::Blob(..) => 4,
        }
    }
}

/// Rows of equal width. Invariant: every column holds exactly `rows` cells.
#[derive(Clone, Debug, Default)]
pub struct Block {
    columns: Vec<Vec<Cell>>,
    heap: Vec<u8>,
    rows: usize,
}

impl Block {
    /// An empty block of `width` columns.
    #[must_use]
    pub fn new(width: usize) -> Self {
        Self { columns: vec![Vec::new(); width], heap: Vec::new(), rows: 0 }
    }

    /// Number of rows.
    #[inline]
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    #[inline]
    #[must_use]
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// Bytes that the rows take in memory, roughly: what decides when a piece is closed.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.heap.len() + self.rows * self.columns.len() * 2
    }

    /// Adds a row. The iterator must give exactly [`Block::width`] values.
    ///
    /// # Panics
    /// When it gives another number of values, or the block would pass 4 GiB of text: both are
    /// mistakes of the caller, who closes a block long before.
    #[inline]
    pub fn push<'v>(&mut self, row: impl IntoIterator<Item = ValueRef<'v>>) {
        let mut count = 0;
        for value in row {
            let cell = self.store(value);
            self.columns.get_mut(count).expect("no more values than columns").push(cell);
            count += 1;
        }
        assert_eq!(count, self.columns.len(), "a row must fill every column");
        self.rows += 1;
    }

    #[inline]
    fn store(&mut self, value: ValueRef<'_>) -> Cell {
        match value {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(value) => Cell::Integer(value),
            ValueRef::Real(value) => Cell::Real(value.to_bits()),
            ValueRef::Text(bytes) => {
                let (start, len) = self.keep(bytes);
                Cell::Text(start, len)
            }
            ValueRef::Blob(bytes) => {
                let (start, len) = self.keep(bytes);
                Cell::Blob(start, len)
            }
        }
    }

    #[inline]
    fn keep(&mut self, bytes: &[u8]) -> (u32, u32) {
        let start = u32::try_from(self.heap.len()).expect("a block stays below 4 GiB");
        let len = u32::try_from(bytes.len()).expect("a SQLite value stays below 2 GiB");
        self.heap.extend_from_slice(bytes);
        (start, len)
    }

    /// The value at (`row`, `column`).
    ///
    /// # Panics
    /// When the place is outside of the block.
    #[inline]
    #[must_use]
    pub fn get(&self, row: usize, column: usize) -> ValueRef<'_> {
        match self.columns[column][row] {
            Cell::Null => ValueRef::Null,
            Cell::Integer(value) => ValueRef::Integer(value),
            Cell::Real(bits) => ValueRef::Real(f64::from_bits(bits)),
            Cell::Text(start, len) => ValueRef::Text(self.range(start, len)),
            Cell::Blob(start, len) => ValueRef::Blob(self.range(start, len)),
        }
    }

    #[inline]
    fn range(&self, start: u32, len: u32) -> &[u8] {
        &self.heap[start as usize..start as usize + len as usize]
    }

    /// Values `from..to` of a row.
    #[inline]
    pub fn slice(&self, row: usize, from: usize, to: usize) -> impl Iterator<Item = ValueRef<'_>> + Clone {
        (from..to).map(move |column| self.get(row, column))
    }

    /// Appends the encoded block. An integer is predicted by the cell of the column that `reference`
    /// names for its own column, where that holds an integer too (new value by base), else by the
    /// integer above it in the same column (ids and times by their neighbours).
    pub fn encode(&self, out: &mut Vec<u8>, reference: impl Fn(usize) -> Option<usize>) {
        put(out, self.rows as u64);
        put(out, self.columns.len() as u64);
        for (index, cells) in self.columns.iter().enumerate() {
            encode_classes(out, cells);
            self.encode_integers(out, index, reference(index));
            self.encode_rest(out, cells);
        }
    }

    fn encode_integers(&self, out: &mut Vec<u8>, index: usize, reference: Option<usize>) {
        let mut above = 0i64;
        for (row, cell) in self.columns[index].iter().enumerate() {
            if let Cell::Integer(value) = cell {
                put_signed(out, value.wrapping_sub(self.predict(row, reference, above)));
                above = *value;
            }
        }
    }

    fn predict(&self, row: usize, reference: Option<usize>, above: i64) -> i64 {
        match reference.map(|column| self.columns[column][row]) {
            Some(Cell::Integer(value)) => value,
            _ => above,
        }
    }

    fn encode_rest(&self, out: &mut Vec<u8>, cells: &[Cell]) {
        for cell in cells {
            match cell {
                Cell::Real(bits) => out.extend_from_slice(&bits.to_le_bytes()),
                Cell::Text(_, len) | Cell::Blob(_, len) => put(out, u64::from(*len)),
                Cell::Null | Cell::Integer(_) => {}
            }
        }
        for cell in cells {
            if let Cell::Text(start, len) | Cell::Blob(start, len) = cell {
                out.extend_from_slice(self.range(*start, *len));
            }
        }
    }

    /// Reads what [`Block::encode`] wrote with the same `reference`. None when the bytes are not such
    /// a block, or pass a limit.
    pub(crate) fn decode(
        reader: &mut Reader<'_>,
        reference: impl Fn(usize) -> Option<usize>,
    ) -> Option<Self> {
        let rows = reader.count(PIECE_ROWS_MAX)?;
        let width = reader.count(2 * COLUMNS_MAX + 1)?;
        let mut block = Self { columns: Vec::with_capacity(width), heap: Vec::new(), rows };
        for index in 0..width {
            let classes = decode_classes(reader, rows)?;
            let refer = reference(index).filter(|column| *column < index);
            let cells = block.decode_column(reader, &classes, refer)?;
            block.columns.push(cells);
        }
        Some(block)
    }

    fn decode_column(
        &mut self,
        reader: &mut Reader<'_>,
        classes: &[u8],
        reference: Option<usize>,
    ) -> Option<Vec<Cell>> {
        let mut cells = Vec::with_capacity(classes.len());
        let mut above = 0i64;
        for (row, class) in classes.iter().enumerate() {
            let mut cell = Cell::Null;
            if *class == 1 {
                let value = self.predict(row, reference, above).wrapping_add(reader.signed()?);
                above = value;
                cell = Cell::Integer(value);
            }
            cells.push(cell);
        }
        for (cell, class) in cells.iter_mut().zip(classes) {
            match class {
                2 => *cell = Cell::Real(u64::from_le_bytes(reader.bytes(8)?.try_into().ok()?)),
                3 => *cell = Cell::Text(0, u32::try_from(reader.count(PIECE_BYTES_MAX)?).ok()?),
                4 => *cell = Cell::Blob(0, u32::try_from(reader.count(PIECE_BYTES_MAX)?).ok()?),
                _ => {}
            }
        }
        self.decode_bytes(reader, &mut cells)?;
        Some(cells)
    }

    fn decode_bytes(&mut self, reader: &mut Reader<'_>, cells: &mut [Cell]) -> Option<()> {
        for cell in cells {
            if let Cell::Text(start, len) | Cell::Blob(start, len) = cell {
                let bytes = reader.bytes(*len as usize)?;
                *start = u32::try_from(self.heap.len()).ok()?;
                self.heap.extend_from_slice(bytes);
            }
        }
        Some(())
    }
}

fn encode_classes(out: &mut Vec<u8>, cells: &[Cell]) {
    for run in cells.chunk_by(|a, b| a.class() == b.class()) {
        out.push(run[0].class());
        put(out, run.len() as u64);
    }
}

fn decode_classes(reader: &mut Reader<'_>, rows: usize) -> Option<Vec<u8>> {
    let mut classes = Vec::with_capacity(rows);
    while classes.len() < rows {
        let class = reader.byte().filter(|class| *class <= 4)?;
        let run = reader.count(rows - classes.len()).filter(|run| *run > 0)?;
        classes.resize(classes.len() + run, class);
    }
    Some(classes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Block {
        let mut block = Block::new(3);
        block.push([ValueRef::Integer(i64::MIN), ValueRef::Text(b"a"), ValueRef::Null]);
        block.push([ValueRef::Integer(i64::MAX), ValueRef::Blob(&[0, 255]), ValueRef::Integer(-7)]);
        block.push([ValueRef::Null, ValueRef::Real(-0.0), ValueRef::Text(&[0xff, 0])]);
        block
    }

    #[test]
    fn every_class_comes_back_bit_for_bit() {
        let block = sample();
        let mut bytes = Vec::new();
        block.encode(&mut bytes, |column| (column == 2).then_some(0));
        let back =
            Block::decode(&mut Reader::new(&bytes), |column| (column == 2).then_some(0)).expect("valid");
        for row in 0..3 {
            for column in 0..3 {
                assert_eq!(back.get(row, column), block.get(row, column));
            }
        }
    }

    #[test]
    fn bytes_cut_anywhere_are_refused_and_never_panic() {
        let mut bytes = Vec::new();
        sample().encode(&mut bytes, |_| None);
        for end in 0..bytes.len() {
            assert!(Block::decode(&mut Reader::new(&bytes[..end]), |_| None).is_none(), "cut at {end}");
        }
    }
}

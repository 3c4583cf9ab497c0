//! What travels: rows of one table that changed in the same way, and the pieces that hold them.
//!
//! * A *changeset* is all that an edge changed between two cuts. It is a list of pieces; deletes come
//!   before updates before inserts, so that a value freed by one is free for the next.
//! * A *feed* is a list of pieces of `Put` and `Gone`: the state of rows, not their history.
//! * A piece is self-contained: it can be sent, kept and checked alone.

use crate::block::Block;
use crate::definition::TableDefinition;
use crate::dictionary;
use crate::frame::{from_bytes, to_bytes};
use crate::limits::{COLUMNS_MAX, PIECE_BYTES_MAX};
use crate::rescue::{RESCUED, UNCUT};
use crate::step::{MADE, STEP};
use crate::value::ValueRef;
use crate::varint::{Reader, put};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use std::io::{Read, Write};

/// First byte of a piece that is not packed.
const RAW: u8 = 0;
/// First byte of a deflated piece.
const DEFLATED: u8 = 1;
/// First byte of a piece of definitions.
const DEFINITIONS: u8 = 2;
/// First byte of a piece that is deflated with the dictionary of names.
const NAMED: u8 = 3;
/// Pieces up to this size in bytes are deflated with the dictionary; in larger ones the names weigh nothing.
const DICTIONARY_PAYS: usize = 16 * 1024;

/// How the rows of a [`TableChange`] changed, which also says what its block's columns are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Whole new rows; then the time of each.
    Insert,
    /// Key, base of each changed column, new value of each changed column; then the time.
    Update,
    /// Whole rows as they were before; then the time.
    Delete,
    /// Feed: whole rows as they now are.
    Put,
    /// Feed: keys of rows that are not there any more.
    Gone,
}

/// Rows of one table, changed in the same way and in the same columns.
#[derive(Clone, Debug)]
pub struct TableChange {
    /// The table's name as declared.
    pub table: String,
    /// What happened to the rows.
    pub kind: Kind,
    /// How many of `columns`, from the first, are the primary key.
    pub keys: usize,
    /// Names: the key, then all other columns (`Update`: only the changed ones; `Gone`: none).
    pub columns: Vec<String>,
    /// The rows. Its width follows from the kind.
    pub rows: Block,
}

/// Why received bytes are not a piece.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PieceError {
    /// Not inflatable, or larger than the limit once inflated.
    #[error(
        "a piece of {0} bytes does not inflate within the limit: the sender is damaged or of another version"
    )]
    Inflate(usize),
    /// Inflated, but not of this shape.
    #[error("a piece does not have the expected shape: the sender is damaged or of another version")]
    Shape,
}

impl TableChange {
    /// An empty change.
    #[must_use]
    pub fn new(table: &str, kind: Kind, keys: usize, columns: Vec<String>) -> Self {
        let width = width(kind, keys, columns.len());
        Self { table: table.to_owned(), kind, keys, columns, rows: Block::new(width) }
    }

    /// Number of columns other than the key.
    #[must_use]
    pub fn others(&self) -> usize {
        self.columns.len() - self.keys
    }

    /// The key of a row.
    #[inline]
    pub fn key(&self, row: usize) -> impl Iterator<Item = ValueRef<'_>> + Clone {
        self.rows.slice(row, 0, self.keys)
    }

    /// All named columns of a row (`Insert`, `Delete`, `Put`, `Gone`), key first.
    #[inline]
    pub fn values(&self, row: usize) -> impl Iterator<Item = ValueRef<'_>> + Clone {
        self.rows.slice(row, 0, self.columns.len())
    }

    /// Base and new value of changed column `index` (0 is the first after the key) of an `Update`.
    #[must_use]
    pub fn pair(&self, row: usize, index: usize) -> (ValueRef<'_>, ValueRef<'_>) {
        let base = self.keys + index;
        (self.rows.get(row, base), self.rows.get(row, base + self.others()))
    }

    /// When the row was last touched, by the device's corrected clock. 0 in feeds.
    #[must_use]
    pub fn time(&self, row: usize) -> i64 {
        match (self.kind, self.rows.get(row, self.rows.width() - 1)) {
            (Kind::Insert | Kind::Update | Kind::Delete, ValueRef::Integer(time)) => time,
            _ => 0,
        }
    }
}

/// Columns of the block: named ones, doubled where both sides of a change are held, and the time.
const fn width(kind: Kind, keys: usize, columns: usize) -> usize {
    match kind {
        Kind::Insert | Kind::Delete => columns + 1,
        Kind::Update => keys + 2 * (columns - keys) + 1,
        Kind::Put | Kind::Gone => columns,
    }
}

/// Which column predicts another: an update's new value is predicted by its base.
fn reference(kind: Kind, keys: usize, columns: usize) -> impl Fn(usize) -> Option<usize> {
    let others = columns - keys;
    move |column| {
        (kind == Kind::Update && (columns..columns + others).contains(&column)).then(|| column - others)
    }
}

/// Encodes and deflates a piece. The first byte says how it was packed.
#[must_use]
pub fn encode_piece(changes: &[TableChange]) -> Vec<u8> {
    let mut raw = Vec::new();
    put(&mut raw, changes.len() as u64);
    for change in changes {
        encode_change(&mut raw, change);
    }
    let packed =
        if raw.len() <= DICTIONARY_PAYS { with_dictionary(&raw) } else { deflate(vec![DEFLATED], &raw) };
    if packed.len() <= raw.len() {
        return packed;
    }
    raw.insert(0, RAW);
    raw
}

/// Deflates a small piece with the names that it is likely to hold as a dictionary.
fn with_dictionary(raw: &[u8]) -> Vec<u8> {
    let mut deflate = Compress::new(Compression::new(6), false);
    deflate
        .set_dictionary(dictionary::names())
        .expect("a dictionary at the start of a stream is always taken");
    // Deflate never needs more than a few bytes above the input's length.
    let mut packed = Vec::with_capacity(raw.len() + 64);
    packed.push(NAMED);
    let status = deflate.compress_vec(raw, &mut packed, FlushCompress::Finish).expect("memory to memory");
    if status == Status::StreamEnd { packed } else { vec![RAW; raw.len() + 1] }
}

/// Large pieces are deflated fast: on two cores the processor, not the wireless, is what they wait for.
pub(crate) fn deflate(out: Vec<u8>, raw: &[u8]) -> Vec<u8> {
    let level = if raw.len() > 128 * 1024 { 2 } else { 6 };
    let mut encoder = flate2::write::DeflateEncoder::new(out, Compression::new(level));
    encoder.write_all(raw).expect("writing to a Vec cannot fail");
    encoder.finish().expect("writing to a Vec cannot fail")
}

/// Encodes definitions of tables as a piece of their own, which comes before the rows that need it.
#[must_use]
pub fn encode_definitions(definitions: &[TableDefinition]) -> Vec<u8> {
    deflate(vec![DEFINITIONS], &to_bytes(&definitions))
}

/// Definitions of tables, if the piece holds such; None for a piece of rows.
///
/// # Errors
/// When the bytes do not inflate within the limit, or are no definitions.
pub fn decode_definitions(bytes: &[u8]) -> Result<Option<Vec<TableDefinition>>, PieceError> {
    match bytes.split_first() {
        Some((&DEFINITIONS, body)) => from_bytes(&inflate(body)?).map(Some).map_err(|_| PieceError::Shape),
        _ => Ok(None),
    }
}

/// Reads a piece that came from outside. A piece about the schema holds no rows.
///
/// # Errors
/// When the bytes do not inflate within the limit, or are not a piece.
pub fn decode_piece(bytes: &[u8]) -> Result<Vec<TableChange>, PieceError> {
    let (mode, body) = bytes.split_first().ok_or(PieceError::Shape)?;
    match *mode {
        RAW => decode_raw(body),
        DEFLATED => decode_raw(&inflate(body)?),
        DEFINITIONS | STEP | MADE | RESCUED | UNCUT => Ok(Vec::new()),
        NAMED => decode_raw(&inflate_named(body)?),
        _ => Err(PieceError::Shape),
    }
}

pub(crate) fn inflate(body: &[u8]) -> Result<Vec<u8>, PieceError> {
    let mut raw = Vec::new();
    let mut decoder = flate2::read::DeflateDecoder::new(body).take(PIECE_BYTES_MAX as u64 + 1);
    match decoder.read_to_end(&mut raw) {
        Ok(_) if raw.len() <= PIECE_BYTES_MAX => Ok(raw),
        _ => Err(PieceError::Inflate(body.len())),
    }
}

/// Inflates a small piece. What such a piece may come to is bounded by when the dictionary is used.
fn inflate_named(body: &[u8]) -> Result<Vec<u8>, PieceError> {
    let damaged = || PieceError::Inflate(body.len());
    let mut inflate = Decompress::new(false);
    inflate.set_dictionary(dictionary::names()).map_err(|_| damaged())?;
    let mut raw = Vec::with_capacity(DICTIONARY_PAYS);
    match inflate.decompress_vec(body, &mut raw, FlushDecompress::Finish) {
        Ok(Status::StreamEnd) if inflate.total_in() == body.len() as u64 => Ok(raw),
        _ => Err(damaged()),
    }
}

fn decode_raw(raw: &[u8]) -> Result<Vec<TableChange>, PieceError> {
    let mut reader = Reader::new(raw);
    let count = reader.count(raw.len()).ok_or(PieceError::Shape)?;
    let changes = (0..count)
        .map(|_| decode_change(&mut reader))
        .collect::<Option<Vec<_>>>()
        .ok_or(PieceError::Shape)?;
    if reader.remaining() > 0 { Err(PieceError::Shape) } else { Ok(changes) }
}

fn encode_change(out: &mut Vec<u8>, change: &TableChange) {
    put_name(out, &change.table);
    out.push(change.kind as u8);
    put(out, change.keys as u64);
    put(out, change.columns.len() as u64);
    for name in &change.columns {
        put_name(out, name);
    }
    change.rows.encode(out, reference(change.kind, change.keys, change.columns.len()));
}

fn put_name(out: &mut Vec<u8>, name: &str) {
    put(out, name.len() as u64);
    out.extend_from_slice(name.as_bytes());
}

fn decode_change(reader: &mut Reader<'_>) -> Option<TableChange> {
    let table = name(reader)?;
    let kind = match reader.byte()? {
        0 => Kind::Insert,
        1 => Kind::Update,
        2 => Kind::Delete,
        3 => Kind::Put,
        4 => Kind::Gone,
        _ => return None,
    };
    let keys = reader.count(COLUMNS_MAX)?;
    let count = reader.count(COLUMNS_MAX).filter(|count| *count >= keys && keys > 0)?;
    let columns = (0..count).map(|_| name(reader)).collect::<Option<Vec<_>>>()?;
    let rows = Block::decode(reader, reference(kind, keys, count))?;
    (rows.width() == width(kind, keys, count)).then_some(TableChange { table, kind, keys, columns, rows })
}

fn name(reader: &mut Reader<'_>) -> Option<String> {
    let len = reader.count(reader.remaining())?;
    String::from_utf8(reader.bytes(len)?.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update() -> TableChange {
        let columns = ["id", "good_count", "note"].map(str::to_owned).to_vec();
        let mut change = TableChange::new("po_lines", Kind::Update, 1, columns);
        for id in 1..=1000 {
            let count = ValueRef::Integer(1000 + id);
            let row = [ValueRef::Integer(id), count, ValueRef::Null, ValueRef::Integer(1003 + id)];
            change
                .rows
                .push(row.into_iter().chain([ValueRef::Text(b"x"), ValueRef::Integer(1_700_000_000_000)]));
        }
        change
    }

    #[test]
    fn a_piece_comes_back_whole() {
        let piece = encode_piece(&[update()]);
        assert!(piece.len() < 200, "regular rows deflate to almost nothing, got {}", piece.len());
        let back = decode_piece(&piece).expect("valid");
        assert_eq!(back[0].pair(999, 0), (ValueRef::Integer(2000), ValueRef::Integer(2003)));
        assert_eq!(back[0].pair(0, 1), (ValueRef::Null, ValueRef::Text(b"x")));
        assert_eq!(back[0].time(5), 1_700_000_000_000);
        assert_eq!(back[0].columns, update().columns);
    }

    #[test]
    fn one_count_is_mostly_the_count_and_not_the_names_of_its_columns() {
        let columns = "id employee_name product_name box_number bag_number bag_label_count displays_made";
        let columns: Vec<String> = columns.split(' ').map(str::to_owned).collect();
        let mut change = TableChange::new("warehouse_submissions", Kind::Insert, 1, columns);
        let name = ValueRef::Text(b"Ana");
        let row =
            [ValueRef::Integer(262_145), name, name, ValueRef::Integer(3), ValueRef::Null, ValueRef::Null];
        change.rows.push(row.into_iter().chain([ValueRef::Integer(5), ValueRef::Integer(1_700_000_000_000)]));
        let piece = encode_piece(&[change]);
        assert!(piece.len() < 75, "{} bytes", piece.len());
        assert_eq!(decode_piece(&piece).expect("valid")[0].key(0).next(), Some(ValueRef::Integer(262_145)));
    }

    #[test]
    fn hostile_bytes_are_an_error_never_a_panic() {
        let piece = encode_piece(&[update()]);
        for at in 0..piece.len() {
            let mut bad = piece.clone();
            bad[at] ^= 0x55;
            let _ = decode_piece(&bad);
            let _ = decode_piece(&piece[..at]);
        }
        assert_eq!(decode_piece(&[]).err(), Some(PieceError::Shape));
        assert_eq!(decode_piece(&[9, 9]).err(), Some(PieceError::Shape));
    }
}

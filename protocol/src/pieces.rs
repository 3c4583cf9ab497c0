//! Collects rows into pieces while they are read, so that memory holds one open piece per kind of
//! change and the rest already deflated.

use crate::change::{Kind, TableChange, encode_piece};
use crate::limits::{PIECE_BYTES_SOFT, PIECE_ROWS_MAX};
use crate::value::ValueRef;
use sha2::{Digest as _, Sha256};

/// Rows per piece: large enough for deflate to see the columns, small enough to resume in steps.
const PIECE_ROWS: usize = PIECE_ROWS_MAX / 2;

/// Rows that leave together. Pieces are ordered so that a value freed by one row is free for the next:
/// deletes, updates, inserts; in a feed, rows gone before rows put.
#[derive(Debug, Default)]
pub struct PieceBuilder {
    phases: [Phase; 3],
    rows: u64,
}

#[derive(Debug, Default)]
struct Phase {
    open: Vec<TableChange>,
    closed: Vec<Vec<u8>>,
}

const fn phase(kind: Kind) -> usize {
    match kind {
        Kind::Delete | Kind::Gone => 0,
        Kind::Update => 1,
        Kind::Insert | Kind::Put => 2,
    }
}

impl PieceBuilder {
    /// Adds a row to the change of this table, kind and set of columns.
    pub fn push<'v>(
        &mut self,
        kind: Kind,
        table: &str,
        keys: usize,
        columns: &[&str],
        row: impl IntoIterator<Item = ValueRef<'v>>,
    ) {
        self.rows += 1;
        let phase = &mut self.phases[phase(kind)];
        let same = |change: &TableChange| change.table == table && change.columns == columns;
        let place = phase.open.iter().rposition(same).unwrap_or_else(|| {
            let names = columns.iter().map(|name| (*name).to_owned()).collect();
            phase.open.push(TableChange::new(table, kind, keys, names));
            phase.open.len() - 1
        });
        let change = &mut phase.open[place];
        change.rows.push(row);
        if change.rows.rows() >= PIECE_ROWS || change.rows.weight() >= PIECE_BYTES_SOFT {
            let full = phase.open.swap_remove(place);
            phase.closed.push(encode_piece(&[full]));
        }
    }

    /// Number of rows so far.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The pieces in order. What is still open goes into as few pieces as the limit allows.
    #[must_use]
    pub fn finish(self) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        let mut waiting: Vec<TableChange> = Vec::new();
        for phase in self.phases {
            if !phase.closed.is_empty() {
                flush(&mut pieces, &mut waiting);
                pieces.extend(phase.closed);
            }
            for change in phase.open {
                let weight: usize = waiting.iter().map(|change| change.rows.weight()).sum();
                if weight + change.rows.weight() > PIECE_BYTES_SOFT {
                    flush(&mut pieces, &mut waiting);
                }
                waiting.push(change);
            }
        }
        flush(&mut pieces, &mut waiting);
        pieces
    }
}

fn flush(pieces: &mut Vec<Vec<u8>>, waiting: &mut Vec<TableChange>) {
    if !waiting.is_empty() {
        pieces.push(encode_piece(waiting));
        waiting.clear();
    }
}

/// SHA-256 over all pieces in order: what names a changeset's content.
#[must_use]
pub fn hash(pieces: &[Vec<u8>]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for piece in pieces {
        hasher.update((piece.len() as u64).to_le_bytes());
        hasher.update(piece);
    }
    hasher.finalize().into()
}

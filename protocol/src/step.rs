//! Steps of the schema: what happened to the hub's tables that an edge cannot see from their definitions.
//!
//! * A step travels in a feed as a piece of its own, before the definitions and rows that need it. Steps
//!   are numbered by the hub without gaps, and an edge makes each exactly once.
//! * An edge says in a changeset which step it has made, so that the hub knows by which names the edge
//!   calls tables and columns. It says so only when that has changed since it last did.

use crate::change::{PieceError, deflate, inflate};
use crate::former::Former;
use crate::frame::{from_bytes, to_bytes};
use crate::varint::{Reader, put};
use serde::{Deserialize, Serialize};

/// First byte of a piece that holds a step.
pub(crate) const STEP: u8 = 4;
/// First byte of a piece that says which step an edge has made.
pub(crate) const MADE: u8 = 5;

/// What happened to the hub's tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Happened {
    /// The operator applied a numbered SQL file.
    Migration {
        /// Its number.
        number: u32,
        /// Its name.
        name: String,
        /// Its text.
        sql: String,
    },
    /// A program at the hub dropped a column.
    DroppedColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A program at the hub dropped a table.
    DroppedTable {
        /// The table.
        table: String,
    },
}

/// A step with its place in their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its place, from 1.
    pub place: u64,
    /// What happened.
    pub happened: Happened,
    /// Names that went with it, in order. Rules of the policy follow them.
    pub formers: Vec<Former>,
}

/// Encodes a step as a piece.
#[must_use]
pub fn encode_step(step: &Step) -> Vec<u8> {
    deflate(vec![STEP], &to_bytes(step))
}

/// The step that a piece holds; None for any other piece.
///
/// # Errors
/// When the bytes do not inflate within the limit, or are no step.
pub fn decode_step(bytes: &[u8]) -> Result<Option<Step>, PieceError> {
    match bytes.split_first() {
        Some((&STEP, body)) => from_bytes(&inflate(body)?).map(Some).map_err(|_| PieceError::Shape),
        _ => Ok(None),
    }
}

/// Encodes which step an edge has made.
#[must_use]
pub fn encode_made(place: u64) -> Vec<u8> {
    let mut out = vec![MADE];
    put(&mut out, place);
    out
}

/// The step that the edge says it has made; None for any other piece.
///
/// # Errors
/// When it is no number.
pub fn decode_made(bytes: &[u8]) -> Result<Option<u64>, PieceError> {
    match bytes.split_first() {
        Some((&MADE, body)) => {
            let mut reader = Reader::new(body);
            let place = reader.number().filter(|_| reader.remaining() == 0);
            place.map(Some).ok_or(PieceError::Shape)
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{decode_definitions, decode_piece};

    fn migration() -> Step {
        let sql = "ALTER TABLE t ADD COLUMN a".to_owned();
        let happened = Happened::Migration { number: 7, name: "a".into(), sql };
        let former = Former { table: "t".into(), column: Some("b".into()), becomes: None };
        Step { place: 3, happened, formers: vec![former] }
    }

    #[test]
    fn golden_bytes_hold_the_steps_still() {
        assert_eq!(encode_made(300), [5, 172, 2]);
        let bytes = to_bytes(&migration());
        assert_eq!(
            (&bytes[..6], &bytes[32..]),
            (&[3, 0, 7, 1, b'a', 26][..], &[1, 1, b't', 1, 1, b'b', 0][..])
        );
        let column = Happened::DroppedColumn { table: "t".into(), column: "c".into() };
        let step = |place, happened| to_bytes(&Step { place, happened, formers: Vec::new() });
        assert_eq!(step(1, column), [1, 1, 1, b't', 1, b'c', 0]);
        let table = Happened::DroppedTable { table: "t".into() };
        assert_eq!(step(2, table), [2, 2, 1, b't', 0]);
    }

    #[test]
    fn a_step_comes_back_and_is_no_rows_and_no_definition() {
        let piece = encode_step(&migration());
        assert_eq!(decode_step(&piece), Ok(Some(migration())));
        assert_eq!(decode_made(&encode_made(9)), Ok(Some(9)));
        for piece in [piece, encode_made(9)] {
            assert!(decode_piece(&piece).expect("no rows").is_empty());
            assert_eq!(decode_definitions(&piece), Ok(None));
        }
        assert_eq!(decode_made(&[5]), Err(PieceError::Shape));
        assert_eq!(decode_made(&[5, 1, 1]), Err(PieceError::Shape));
        assert!(decode_step(&[4, 255, 255]).is_err());
    }
}

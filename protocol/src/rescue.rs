//! A rescued changeset: one that a file made as another device, and that is handed in by a new one.
//!
//! It begins with a piece that names it as it was. The hub takes it only if it has not merged it under that name
//! already, from wherever it came: so that of two copies of a file nothing is counted twice.
//!
//! What a file held that its device never cut is cut in a copy of the file, by whoever rescues it. The same
//! work can come once more, as the changeset that the device itself cuts: a second piece says so.

use crate::change::PieceError;
use crate::frame::{from_bytes, to_bytes};
use crate::number::{EdgeId, Millis, Seq};
use serde::{Deserialize, Serialize};

/// First byte of a piece that names a rescued changeset.
pub(crate) const RESCUED: u8 = 6;

/// First byte of a piece that says that a rescued changeset was not cut by its device.
pub(crate) const UNCUT: u8 = 7;

/// Says of a rescued changeset that it was cut in a copy of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uncut {
    /// The last time that the file knows of, by its device's clock: of two copies, the later one has more.
    pub seen: Millis,
    /// Nobody knows whether the device has handed in these rows otherwise: they wait for the operator.
    pub is_unclear: bool,
}

/// Encodes it as a piece.
#[must_use]
pub fn encode_uncut(uncut: &Uncut) -> Vec<u8> {
    let mut out = vec![UNCUT];
    out.extend(to_bytes(uncut));
    out
}

/// What a piece says of an uncut changeset; None for any other piece.
///
/// # Errors
/// When the bytes are damaged.
pub fn decode_uncut(bytes: &[u8]) -> Result<Option<Uncut>, PieceError> {
    match bytes.split_first() {
        Some((&UNCUT, body)) => from_bytes(body).map(Some).map_err(|_| PieceError::Shape),
        _ => Ok(None),
    }
}

/// The name under which a changeset was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The device that the file was.
    pub edge: EdgeId,
    /// The changeset's number there.
    pub seq: Seq,
    /// SHA-256 over its pieces.
    pub hash: [u8; 32],
}

/// Encodes the name as a piece.
#[must_use]
pub fn encode_origin(origin: &Origin) -> Vec<u8> {
    let mut out = vec![RESCUED];
    out.extend(to_bytes(origin));
    out
}

/// The name that a piece holds; None for any other piece.
///
/// # Errors
/// When the bytes are no name.
pub fn decode_origin(bytes: &[u8]) -> Result<Option<Origin>, PieceError> {
    match bytes.split_first() {
        Some((&RESCUED, body)) => from_bytes(body).map(Some).map_err(|_| PieceError::Shape),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{decode_definitions, decode_piece};
    use crate::step::{decode_made, decode_step, encode_made};

    #[test]
    fn a_name_comes_back_and_is_nothing_else() {
        let origin = Origin { edge: EdgeId(3), seq: Seq(300), hash: [7; 32] };
        let piece = encode_origin(&origin);
        assert_eq!((piece[..5].to_vec(), piece.len()), (vec![6, 3, 251, 44, 1], 37));
        assert_eq!(decode_origin(&piece), Ok(Some(origin)));
        assert!(decode_piece(&piece).expect("no rows").is_empty());
        assert_eq!(decode_definitions(&piece), Ok(None));
        assert_eq!((decode_made(&piece), decode_step(&piece)), (Ok(None), Ok(None)));
        assert_eq!(decode_origin(&encode_made(6)), Ok(None));
        assert_eq!(decode_origin(&piece[..36]), Err(PieceError::Shape));
    }

    #[test]
    fn a_copy_says_that_it_was_cut_there() {
        let uncut = Uncut { seen: Millis(300), is_unclear: true };
        let piece = encode_uncut(&uncut);
        assert_eq!(piece, [7, 251, 88, 2, 1]);
        assert_eq!(decode_uncut(&piece), Ok(Some(uncut)));
        assert!(decode_piece(&piece).expect("no rows").is_empty());
        assert_eq!((decode_origin(&piece), decode_uncut(&encode_made(6))), (Ok(None), Ok(None)));
        assert_eq!(decode_uncut(&piece[..3]), Err(PieceError::Shape));
    }
}

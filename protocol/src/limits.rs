//! Every limit of the protocol in one place. A peer that passes one of them is refused by name.

/// Largest frame on the wire in bytes, its length prefix not counted. Checked before decoding.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Rows in one piece of a changeset or a feed.
pub const PIECE_ROWS_MAX: usize = 8_192;
/// A piece is closed once its rows hold this many bytes, so that wide rows stay below the frame limit.
pub const PIECE_BYTES_SOFT: usize = 1024 * 1024;
/// Bytes that a piece may hold once inflated: the guard against a deflate bomb.
pub const PIECE_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Columns of one table: SQLite's own compile-time limit is 2,000.
pub const COLUMNS_MAX: usize = 2_000;
/// Pieces of one changeset.
pub const PIECES_MAX: u32 = 65_536;
/// Compressed bytes of one changeset that the hub keeps while its pieces arrive.
pub const CHANGESET_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bytes of a snapshot sent in one frame.
pub const SNAPSHOT_CHUNK_BYTES: usize = 256 * 1024;
/// Text of one migration in bytes: it travels in one frame.
pub const MIGRATION_BYTES_MAX: usize = 1024 * 1024;

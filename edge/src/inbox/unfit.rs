//! Why a line, or a whole file, does not fit, in words for whoever made it.

/// Why it does not fit. Nothing of it was written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    /// More than any line may have.
    #[error("the line has more than {} KiB; is a line break missing?", super::LINE_BYTES_MAX / 1024)]
    TooLong,
    /// Another encoding.
    #[error("the line is not UTF-8; save the file as UTF-8 (it may be Windows-1252 or Latin-1)")]
    Encoding,
    /// A quote that is not closed.
    #[error("a quote is not closed on its line; a cell cannot have a line break")]
    Quote,
    /// Cells are missing or too many.
    #[error(
        "the line has {found} cells, and {expected} are expected; is the delimiter right, or a cell not in quotes?"
    )]
    Cells {
        /// How many it has.
        found: usize,
        /// How many it should have.
        expected: usize,
    },
    /// No JSON.
    #[error("the line is no JSON object: {0}")]
    Json(String),
    /// A value of a kind that no column has.
    #[error("{0} is a list or an object, which no column holds")]
    Nested(String),
    /// A number is expected.
    #[error("{field} is `{found}`, and a whole number is expected")]
    NoNumber {
        /// Which field.
        field: String,
        /// What is there.
        found: String,
    },
    /// Nothing of that name is known.
    #[error("no row of {table} has `{value}` as {by}; correct it, or sync first")]
    NotFound {
        /// The table.
        table: String,
        /// Its columns that were asked.
        by: String,
        /// What was looked for.
        value: String,
    },
    /// Several of that name are known.
    #[error("several rows of {table} have `{value}` as {by}; say which")]
    Several {
        /// The table.
        table: String,
        /// Its columns that were asked.
        by: String,
        /// What was looked for.
        value: String,
    },
    /// A field that the count needs, or does not know.
    #[error("this is no such count: {0}")]
    Count(String),
    /// The count was refused.
    #[error("{0}")]
    Record(crate::record::RecordError),
    /// SQLite refused the row.
    #[error("the table does not take it: {0}")]
    Refused(rusqlite::Error),
}

/// Why nothing of a file is understood.
#[derive(Debug, thiserror::Error)]
pub(super) enum Strange {
    /// UTF-16, or no text at all.
    #[error("the file is UTF-16; save it as UTF-8")]
    Utf16,
    /// Larger than a transaction should be.
    #[error(
        "the file has more than {} MiB, and programs would have to wait for long while it goes in; cut it into smaller \
         ones, or take it with tt-edge import --large while nobody counts",
        super::FILE_BYTES_MAX / 1024 / 1024
    )]
    Large,
    /// Larger than any file that is taken.
    #[error("the file has more than {} MiB; cut it into smaller ones", super::LARGE_BYTES_MAX / 1024 / 1024)]
    TooLarge,
    /// The header cannot be read.
    #[error("the header cannot be read: {0}")]
    Header(Unfit),
    /// A column is missing.
    #[error("the header has no column `{column}`, which {field} comes from; it has: {found}")]
    NoColumn {
        /// What the mapping names.
        column: String,
        /// What it is for.
        field: String,
        /// What the file has.
        found: String,
    },
    /// A column twice.
    #[error("the header has the column `{0}` twice")]
    Twice(String),
    /// The database has no such table.
    #[error("this database has no table {0}")]
    NoTable(String),
    /// A count has no such field.
    #[error("a count has no field `{0}`, but {1}; name the columns in `columns`")]
    NoField(String, String),
    /// The table has no such column.
    #[error("table {table} has no column `{column}`; name the columns in `columns`")]
    NoTarget {
        /// The table.
        table: String,
        /// What was named.
        column: String,
    },
}

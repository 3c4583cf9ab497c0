//! The definition of a table as it travels: structure, never SQL text, because a node must not run
//! statements that another one wrote.
//!
//! Only what can be added to a file without harm is said: columns, keys, unique constraints, references.
//! A node compares it with its own table and adds what it lacks.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnDefinition {
    /// Name as declared.
    pub name: String,
    /// Declared type, possibly empty.
    pub declared: String,
    /// NOT NULL.
    pub not_null: bool,
    /// Default as SQL text. A receiver takes it only if it is one literal.
    pub default: Option<String>,
}

/// A reference to another table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// Columns of the child.
    pub columns: Vec<String>,
    /// The parent table.
    pub parent: String,
    /// Columns of the parent.
    pub parent_columns: Vec<String>,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDefinition {
    /// Name as declared.
    pub name: String,
    /// Columns in the file's order.
    pub columns: Vec<ColumnDefinition>,
    /// Primary key columns in key order.
    pub key: Vec<String>,
    /// The key is SQLite's row number, handed out by AUTOINCREMENT.
    pub rowid_key: bool,
    /// Unique constraints over plain columns.
    pub uniques: Vec<Vec<String>>,
    /// Foreign keys.
    pub references: Vec<Reference>,
}

impl TableDefinition {
    /// A short name for this definition: another one whenever anything in it differs.
    #[must_use]
    pub fn hash(&self) -> String {
        let bytes = crate::frame::to_bytes(self);
        data_encoding::HEXLOWER.encode(&Sha256::digest(bytes)[..8])
    }
}

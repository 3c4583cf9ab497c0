//! The digest of a table: equal on two nodes exactly when they hold the same rows, whatever order the
//! rows or the columns have in the file.
//!
//! A row's hash is the first 16 bytes of the SHA-256 of its columns in order of name, each as name and
//! canonical value. The table's digest is the number of rows and the wrapping sum of the hashes: a sum,
//! so that it can be kept by ranges, and not an exclusive or, in which two equal rows would vanish.

use crate::value::ValueRef;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// Digest of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDigest {
    /// Number of rows.
    pub rows: u64,
    /// Wrapping sum of the rows' hashes.
    pub sum: u128,
}

impl TableDigest {
    /// Adds one row, given by its hash.
    pub fn add(&mut self, row_hash: u128) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(row_hash);
    }

    /// Adds the rows of another digest.
    pub fn join(&mut self, other: Self) {
        self.rows += other.rows;
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

impl fmt::Display for TableDigest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", self.sum)
    }
}

/// Hashes one row. `columns` must come in order of name, so that nodes with another column order agree.
pub fn row_hash<'v>(
    columns: impl IntoIterator<Item = (&'v str, ValueRef<'v>)>,
    scratch: &mut Vec<u8>,
) -> u128 {
    scratch.clear();
    for (name, value) in columns {
        ValueRef::Text(name.as_bytes()).write_canonical(scratch);
        value.write_canonical(scratch);
    }
    head_of(scratch)
}

fn head_of(row: &[u8]) -> u128 {
    let hash = Sha256::digest(row);
    let mut head = [0; 16];
    head.copy_from_slice(&hash[..16]);
    u128::from_le_bytes(head)
}

/// Hashes rows that all have the same columns, whose names are written once. Gives what [`row_hash`] gives.
#[derive(Clone, Debug)]
pub struct RowHasher {
    names: Vec<Vec<u8>>,
    scratch: Vec<u8>,
}

impl RowHasher {
    /// `names` must come in order.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let written = |name: &str| {
            let mut bytes = Vec::new();
            ValueRef::Text(name.as_bytes()).write_canonical(&mut bytes);
            bytes
        };
        Self { names: names.into_iter().map(written).collect(), scratch: Vec::new() }
    }

    /// Hashes one row, given by a value for each name.
    ///
    /// # Errors
    /// When a value cannot be read.
    pub fn hash<'v, E>(
        &mut self,
        values: impl IntoIterator<Item = Result<ValueRef<'v>, E>>,
    ) -> Result<u128, E> {
        self.scratch.clear();
        for (name, value) in self.names.iter().zip(values) {
            self.scratch.extend_from_slice(name);
            value?.write_canonical(&mut self.scratch);
        }
        Ok(head_of(&self.scratch))
    }
}

/// One digest over many tables, given in order of name: what a person compares between nodes.
pub fn combine<'t>(tables: impl IntoIterator<Item = (&'t str, TableDigest)>) -> String {
    let mut hasher = Sha256::new();
    for (name, digest) in tables {
        hasher.update((name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(digest.rows.to_le_bytes());
        hasher.update(digest.sum.to_le_bytes());
    }
    data_encoding::HEXLOWER.encode(&hasher.finalize()[..8])
}

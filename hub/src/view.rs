//! What people and scripts are shown: the JSON that `--json` prints and that the operator's page reads.
//!
//! Commands and the HTTP server ask here, so that both say the same. Everything only reads.

pub(crate) mod backups;
pub(crate) mod blocks;
pub(crate) mod conflicts;
pub(crate) mod devices;
pub(crate) mod history;
pub(crate) mod names;
pub(crate) mod status;

use crate::config::ConfigError;
use crate::devices::DevicesError;
use crate::journal::history::HistoryError;
use crate::journal::reader::ReaderError;
use crate::store::decide::value::ValueError;
use std::path::PathBuf;

/// Why something cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ViewError {
    #[error(transparent)]
    Devices(#[from] DevicesError),
    #[error(
        "cannot read the hub's database: {0}; run `tt-hub status`, and bring back a backup if it fails, too"
    )]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error(transparent)]
    Journal(#[from] ReaderError),
    #[error(transparent)]
    Value(#[from] ValueError),
    #[error("there is no device `{0}`: `tt-hub edges` lists them")]
    NoDevice(String),
    #[error("there is no conflict {0}: `tt-hub conflicts --all` lists them")]
    NoConflict(i64),
    #[error("conflict {id} stays open: the hub has no table `{table}`")]
    ConflictWithoutTable { id: i64, table: String },
    #[error("the hub has no table `{0}` with a primary key: `tt-hub status` lists the tables")]
    NoTable(String),
    #[error("{0}")]
    Key(String),
    #[error("the policy in the hub's database cannot be used: {0}")]
    Policy(String),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot read {path}: {source}", path = .path.display())]
    File { path: PathBuf, source: std::io::Error },
}

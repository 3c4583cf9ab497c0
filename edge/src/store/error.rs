//! Why the edge's database did not do what it was asked, in words that say what to do.

use tt_migrations::capture::install::InstallError;
use tt_migrations::evolve::EvolveError;
use tt_migrations::follow::FollowError;
use tt_protocol::change::PieceError;

/// Why the edge's database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed.
    #[error("the database file: {0}{advice}", advice = crate::salvage::advice(.0))]
    Sqlite(#[from] rusqlite::Error),
    /// Capture could not be put right after a change of the schema.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The hub sent bytes that are not a feed.
    #[error("the hub's feed: {0}")]
    Feed(#[from] PieceError),
    /// The hub sent another kind of change than a feed has.
    #[error("the hub's feed has a change of the wrong kind: it is of another version")]
    Shape,
    /// The hub has a table that this device lacks.
    #[error("the hub sends rows of table \"{0}\", which this device does not have: reseed the device")]
    NoTable(String),
    /// The hub has a column that this device lacks.
    #[error(
        "the hub sends column \"{1}\" of table \"{0}\", which this device does not have: reseed the device"
    )]
    NoColumn(String, String),
    /// The hub's table has another primary key.
    #[error(
        "table \"{0}\" has another primary key than the hub's: a program has made it anew; give it the hub's key"
    )]
    Key(String),
    /// There is no such file.
    #[error("{0} is not there: restore it, or fetch the rows again with tt-edge join")]
    Missing(std::path::PathBuf),
    /// The policy that came with the snapshot cannot be read.
    #[error("the hub's merge policy cannot be read: {0}; bring tt-edge to the hub's version")]
    Policy(String),
    /// The hub's schema has changed in a way that cannot be followed here.
    #[error("the hub's schema cannot be followed: {0}")]
    Follow(#[from] FollowError),
    /// A step of the hub's schema cannot be made here.
    #[error(
        "{what} cannot be made here: {source}; the hub's rows wait until it can. Put right what stands against it (often a \
         view or a trigger of a program), or fetch the file anew with tt-edge reseed"
    )]
    Step {
        /// Which step.
        what: String,
        /// What stands against it.
        source: EvolveError,
    },
    /// What the file remembers of its rescue cannot be read.
    #[error("what this file remembers of its rescue is damaged: {0}")]
    Remembered(#[from] serde_json::Error),
    /// AUTOINCREMENT could not be taken back.
    #[error("the file could not be left as it was before it joined: {0}")]
    Autoincrement(#[from] tt_migrations::autoincrement::AutoincrementError),
    /// The rows that a reseed has fetched cannot be read.
    #[error("the rows that were fetched for a reseed cannot be read: {0}; they are fetched again")]
    Fetched(#[from] std::io::Error),
    /// The file belongs to no hub.
    #[error("this database file belongs to no hub yet: run tt-edge join TOKEN")]
    NotJoined,
}

impl StoreError {
    /// True when the hub's rows wait for this file's schema: everything else goes on.
    #[must_use]
    pub const fn waits_for_schema(&self) -> bool {
        matches!(
            self,
            Self::NoTable(_) | Self::NoColumn(..) | Self::Key(_) | Self::Follow(_) | Self::Step { .. }
        )
    }
}

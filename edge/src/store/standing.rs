//! Where the device stands: what is applied, and why it cannot go on.

use super::{EdgeStore, StoreError};
use rusqlite::Connection;
use tt_migrations::state;
use tt_protocol::ids::ID_MAX;
use tt_protocol::number::{Epoch, Version};

impl EdgeStore {
    /// The version that is applied.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn cursor(&self) -> Result<Version, StoreError> {
        Ok(Version(state::get(&self.conn, state::VERSION)?.unwrap_or(0).unsigned_abs()))
    }

    /// The hub's incarnation that the cursor belongs to.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn epoch(&self) -> Result<Epoch, StoreError> {
        Ok(Epoch(state::get(&self.conn, state::EPOCH)?.unwrap_or(0).unsigned_abs()))
    }

    /// Feeds applied since the file was opened.
    #[must_use]
    pub const fn applied_feeds(&self) -> u64 {
        self.applied
    }

    /// Keeps, or forgets, why the hub refuses this device.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn set_blocked(&self, reason: Option<&str>) -> Result<(), StoreError> {
        keep_reason(&self.conn, state::BLOCKED, reason)
    }

    /// Why the hub refuses this device.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn blocked(&self) -> Result<Option<String>, StoreError> {
        Ok(state::get_text(&self.conn, state::BLOCKED)?.filter(|reason| !reason.is_empty()))
    }

    /// Why the hub's rows did not go into this file when that was last tried.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn feed_refused(&self) -> Result<Option<String>, StoreError> {
        Ok(state::get_text(&self.conn, state::FEED_REFUSED)?.filter(|reason| !reason.is_empty()))
    }

    /// Another number after every change of the file's tables and indexes.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn schema_version(&self) -> Result<i64, StoreError> {
        Ok(self.conn.pragma_query_value(None, "schema_version", |row| row.get(0))?)
    }

    /// The largest share of the id space that any table has used, 0 to 1.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn id_space_used(&self) -> Result<f64, StoreError> {
        let largest: i64 =
            self.conn
                .query_row("SELECT COALESCE(MAX(block_first), 0) FROM _sync_table", [], |row| row.get(0))?;
        Ok(largest as f64 / ID_MAX as f64)
    }
}

/// Writes only what is new: a write is a change of the file, which others look at.
pub(super) fn keep_reason(conn: &Connection, name: &str, reason: Option<&str>) -> Result<(), StoreError> {
    let wanted = reason.unwrap_or_default();
    if state::get_text(conn, name)?.unwrap_or_default() != wanted {
        state::set_text(conn, name, wanted)?;
    }
    Ok(())
}

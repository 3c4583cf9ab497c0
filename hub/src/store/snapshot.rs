//! A snapshot of the canonical database for a device: the rows at one version, and nothing of the hub's
//! own bookkeeping but that version, the epoch, the policy, the steps of the schema, and how far it had merged each
//! edge: a device that is reseeded must know whether its own work is in it.

use super::StoreError;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use tt_migrations::capture::install::uninstall;
use tt_migrations::state;
use tt_protocol::number::{Epoch, Version};

/// What a snapshot is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The hub's incarnation.
    pub epoch: Epoch,
    /// The version of its rows.
    pub version: Version,
}

/// Writes a snapshot of the database at `source` to the new file `to`.
///
/// # Errors
/// When SQLite fails (disk full, the file exists). What was written so far is left to the caller to remove.
pub fn write(source: &Path, to: &Path) -> Result<Snapshot, StoreError> {
    let reader = Connection::open_with_flags(source, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    reader.busy_timeout(std::time::Duration::from_secs(30))?;
    reader.execute("VACUUM INTO ?1", [to.to_string_lossy()])?;
    strip(to)
}

/// One read made the copy, so version and rows agree. A program's write that the hub had not yet cut may
/// be in it; it comes again with the feed, which is state and does no harm twice.
fn strip(copy: &Path) -> Result<Snapshot, StoreError> {
    let conn = Connection::open(copy)?;
    conn.pragma_update(None, "synchronous", "OFF")?;
    let number = |name| Ok::<_, StoreError>(state::get(&conn, name)?.unwrap_or(0));
    let (epoch, version) = (number(state::EPOCH)?, number(state::VERSION)?);
    let step = number(state::STEP)?;
    let policy = state::get_text(&conn, state::POLICY)?;
    let formers = state::formers(&conn)?;
    // Kept aside under names that are not ours while all of ours goes.
    conn.execute_batch(
        "CREATE TEMP TABLE merged AS SELECT edge, MAX(seq) AS seq FROM _sync_merged GROUP BY edge;
         CREATE TEMP TABLE steps AS SELECT step, piece FROM _sync_step;",
    )?;
    uninstall(&conn)?;
    conn.execute_batch(state::TABLES)?;
    conn.execute_batch(state::SNAPSHOT_TABLES)?;
    conn.execute_batch(
        "INSERT INTO _sync_seed_merged SELECT edge, seq FROM merged;
         INSERT INTO _sync_seed_step SELECT step, piece FROM steps;
         DROP TABLE temp.merged; DROP TABLE temp.steps;",
    )?;
    state::set(&conn, state::EPOCH, epoch)?;
    state::set(&conn, state::VERSION, version)?;
    state::set(&conn, state::STEP, step)?;
    state::add_formers(&conn, &formers)?;
    if let Some(policy) = policy {
        state::set_text(&conn, state::POLICY, &policy)?;
    }
    conn.execute_batch("VACUUM")?;
    Ok(Snapshot { epoch: Epoch(epoch.unsigned_abs()), version: Version(version.unsigned_abs()) })
}

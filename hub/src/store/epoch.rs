//! A new epoch: makes a restored file the hub's next incarnation.
//!
//! What a restored file says of rows, and of the last changeset merged from each device, is true together and
//! stays as it is: that is what makes sending again exact. What must never go back comes from the former file:
//!
//! * epochs, versions, steps of the schema and the ids that the hub has handed out are never used a second time;
//! * devices that were enrolled or revoked since stay so, and so do invitations;
//! * what devices last said of themselves was said to the former epoch and is forgotten.
//!
//! Where the former file cannot be read, a [`Floor`] that is known from elsewhere keeps the numbers apart.

use super::StoreError;
use crate::devices::{self, atomically};
use rusqlite::{Connection, OptionalExtension as _, Result, params};
use tt_migrations::state;
use tt_protocol::ids::{DEVICE_MAX, ID_MAX, TICK};
use tt_protocol::number::{EdgeId, Epoch, Millis, Version};

/// Below these numbers nothing may be given out again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floor {
    /// The last epoch that is known to have been.
    pub epoch: Epoch,
    /// The last version that may have been.
    pub version: Version,
    /// The last device number that may have been given out.
    pub device: EdgeId,
    /// So many ticks of ids may have been used since.
    pub ticks: i64,
}

/// What a restored file has become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The new epoch.
    pub epoch: Epoch,
    /// The version with which it begins.
    pub version: Version,
    /// The version that the file had: up to here its history is that of the former epoch.
    pub from: Version,
}

/// Makes `restored` the next incarnation of the hub whose file was `former`, whole or not at all. Both must
/// have the tables of a hub; `former` is only read.
///
/// # Errors
/// When SQLite fails. Nothing is changed then.
pub fn begin(
    restored: &Connection,
    former: Option<&Connection>,
    floor: Floor,
    now: Millis,
) -> std::result::Result<Begun, StoreError> {
    atomically(restored, || {
        let own = number(restored, state::VERSION)?;
        let mut floor = floor;
        floor.epoch = floor.epoch.max(Epoch(number(restored, state::EPOCH)?));
        floor.version = floor.version.max(Version(own));
        if let Some(former) = former {
            floor.epoch = floor.epoch.max(Epoch(number(former, state::EPOCH)?));
            floor.version = floor.version.max(Version(number(former, state::VERSION)?));
            keep_devices(restored, former, now)?;
            keep_steps(restored, former)?;
            keep_ids(restored, former)?;
        }
        reserve_devices(restored, floor.device, now)?;
        leave_out_ids(restored, floor.ticks)?;
        restored.execute_batch(
            "UPDATE _sync_edge SET cursor = NULL, unsent = NULL, oldest_unsent_s = NULL, schema = NULL, blocked = NULL",
        )?;
        let begun =
            Begun { epoch: Epoch(floor.epoch.0 + 1), version: floor.version.next(), from: Version(own) };
        state::set(restored, state::EPOCH, begun.epoch.0 as i64)?;
        state::set(restored, state::VERSION, begun.version.0 as i64)?;
        Ok(begun)
    })
}

/// Whether two files can be of the same hub: no device number means another device in each.
///
/// # Errors
/// When SQLite fails.
pub fn of_one_hub(one: &Connection, other: &Connection) -> Result<bool> {
    let mut find = other.prepare("SELECT name, enrolled_at FROM _sync_edge WHERE device = ?1")?;
    let mut devices = one.prepare("SELECT device, name, enrolled_at FROM _sync_edge")?;
    let mut rows = devices.query([])?;
    while let Some(row) = rows.next()? {
        let (device, name, at): (i64, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let same = find.query_row([device], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        if same.is_some_and(|same| same != (name, at)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A file that never had anything of a hub is to be one: what devices had acknowledged counts as merged,
/// because nobody will send it again, and so the names by which they speak are the former file's.
///
/// # Errors
/// When SQLite fails.
pub fn take_merged(adopted: &Connection, former: &Connection) -> Result<()> {
    adopted.execute_batch("DELETE FROM _sync_merged; DELETE FROM _sync_made;")?;
    let mut insert = adopted
        .prepare("INSERT INTO _sync_merged(edge, seq, hash, version, at) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    let mut merged = former.prepare("SELECT edge, seq, hash, version, at FROM _sync_merged")?;
    let mut rows = merged.query([])?;
    while let Some(row) = rows.next()? {
        let (edge, seq, hash): (i64, i64, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (version, at): (i64, i64) = (row.get(3)?, row.get(4)?);
        insert.execute((edge, seq, hash, version, at))?;
    }
    let mut made = former.prepare("SELECT edge, step FROM _sync_made")?;
    let mut rows = made.query([])?;
    while let Some(row) = rows.next()? {
        let (edge, step): (i64, i64) = (row.get(0)?, row.get(1)?);
        adopted.execute("INSERT INTO _sync_made(edge, step) VALUES (?1, ?2)", (edge, step))?;
    }
    Ok(())
}

fn number(conn: &Connection, name: &str) -> Result<u64> {
    Ok(state::get(conn, name)?.unwrap_or(0).unsigned_abs())
}

/// The former file's devices and invitations replace the restored one's. A device that only the restored file
/// knows stays, but never beside another one of its name or with another one's certificate.
fn keep_devices(restored: &Connection, former: &Connection, now: Millis) -> Result<()> {
    restored.execute_batch(devices::TABLES)?;
    let newer = devices::list(former).map_err(of_devices)?;
    for device in &newer {
        restored.execute("DELETE FROM _sync_edge WHERE device = ?1", [device.device.0])?;
    }
    let sql =
        "SELECT device, name, role, enrolled_at, cert_sha256, revoked_at, last_seen, address, clock_offset_ms
               FROM _sync_edge";
    let mut read = former.prepare(sql)?;
    let mut rows = read.query([])?;
    while let Some(row) = rows.next()? {
        let (name, certificate): (String, Option<Vec<u8>>) = (row.get(1)?, row.get(4)?);
        let revoked: Option<i64> = row.get(5)?;
        restored
            .execute("UPDATE _sync_edge SET cert_sha256 = NULL WHERE cert_sha256 = ?1", [&certificate])?;
        if revoked.is_none() {
            let sql = "UPDATE _sync_edge SET revoked_at = ?2 WHERE name = ?1 AND revoked_at IS NULL";
            restored.execute(sql, params![name, now.0])?;
        }
        let sql = "INSERT INTO _sync_edge(device, name, role, enrolled_at, cert_sha256, revoked_at, last_seen, address,
                   clock_offset_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let (device, role, enrolled): (i64, String, i64) = (row.get(0)?, row.get(2)?, row.get(3)?);
        let (seen, address): (Option<i64>, Option<String>) = (row.get(6)?, row.get(7)?);
        let offset: Option<i64> = row.get(8)?;
        let values = params![device, name, role, enrolled, certificate, revoked, seen, address, offset];
        restored.execute(sql, values)?;
    }
    keep_tokens(restored, former)
}

/// A device list is read with plain SQL; nothing else can go wrong.
fn of_devices(error: devices::DevicesError) -> rusqlite::Error {
    match error {
        devices::DevicesError::Sql(error) => error,
        other => rusqlite::Error::ToSqlConversionFailure(Box::new(other)),
    }
}

fn keep_tokens(restored: &Connection, former: &Connection) -> Result<()> {
    restored.execute("DELETE FROM _sync_token", [])?;
    let names = "secret_sha256, name, role, expires_at, used_at, public_key, device";
    let mut read = former.prepare(&format!("SELECT {names} FROM _sync_token"))?;
    let mut insert =
        restored.prepare(&format!("INSERT INTO _sync_token({names}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"))?;
    let mut rows = read.query([])?;
    while let Some(row) = rows.next()? {
        let values = (0..7).map(|place| row.get::<_, rusqlite::types::Value>(place));
        let values: Vec<_> = values.collect::<Result<_>>()?;
        insert.execute(rusqlite::params_from_iter(values))?;
    }
    Ok(())
}

/// A device whose file has made the former hub's step 5 must make the next one, whatever it is: so that one
/// is not called 4.
fn keep_steps(restored: &Connection, former: &Connection) -> Result<()> {
    let step = number(restored, state::STEP)?.max(number(former, state::STEP)?);
    if step > 0 {
        state::set(restored, state::STEP, i64::try_from(step).unwrap_or(i64::MAX))?;
    }
    Ok(())
}

/// The former hub's programs made rows whose ids some device's rows may name: the next row gets another id.
fn keep_ids(restored: &Connection, former: &Connection) -> Result<()> {
    if !has_table(former, "sqlite_sequence")? || !has_table(restored, "sqlite_sequence")? {
        return Ok(());
    }
    let sql = "SELECT name, CAST(seq AS INTEGER) FROM sqlite_sequence WHERE name NOT LIKE '\\_sync\\_%' ESCAPE '\\'";
    let mut read = former.prepare(sql)?;
    let mut rows = read.query([])?;
    while let Some(row) = rows.next()? {
        let (name, counter): (String, i64) = (row.get(0)?, row.get(1)?);
        let raise = "UPDATE sqlite_sequence SET seq = max(CAST(seq AS INTEGER), ?2) WHERE name = ?1";
        if restored.execute(raise, params![name, counter])? == 0 {
            // Also of a table that is not there: when a device brings it again, its ids go on.
            restored
                .execute("INSERT INTO sqlite_sequence(name, seq) VALUES (?1, ?2)", params![name, counter])?;
        }
    }
    Ok(())
}

/// Ids that the hub may have given after the file was made are not given again: devices have seen them, their rows
/// may name them, and they may be printed on labels. The hub goes on in a later block when the file is opened.
fn leave_out_ids(conn: &Connection, ticks: i64) -> Result<()> {
    if ticks == 0 || !has_table(conn, "sqlite_sequence")? {
        return Ok(());
    }
    // What lies beyond the ids that there are says that none are left.
    let sql = "UPDATE sqlite_sequence SET seq = min(max(CAST(seq AS INTEGER), (SELECT hi FROM _sync_table t
                 WHERE t.name = sqlite_sequence.name)) + ?1, ?2)
               WHERE name IN (SELECT name FROM _sync_table WHERE block_first > 0)";
    conn.execute(sql, (ticks.saturating_mul(TICK), ID_MAX - 1)).map(drop)
}

fn has_table(conn: &Connection, name: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE)";
    conn.query_row(sql, [name], |row| row.get(0))
}

/// Numbers up to this one may have been given out by a file that nobody can read any more.
fn reserve_devices(conn: &Connection, last: EdgeId, now: Millis) -> Result<()> {
    let known: u16 =
        conn.query_row("SELECT coalesce(max(device), 0) FROM _sync_edge", [], |row| row.get(0))?;
    let last = last.0.min(DEVICE_MAX);
    if last > known {
        let sql = "INSERT INTO _sync_edge(device, name, role, enrolled_at, revoked_at) VALUES (?1, 'lost', 'station', ?2, ?2)";
        conn.execute(sql, params![last, now.0])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;

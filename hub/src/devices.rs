//! Which devices the hub knows, what each may do and how each is doing.
//!
//! Plain functions over a connection, in the hub's own SQLite file, so that devices, rows and
//! sequence numbers always agree, also in a backup. They work inside a transaction that the caller
//! opened and make their own when there is none.
//!
//! A device number is given out once, ever: ids made under it may sleep in a lost device for years.

mod admission;
mod journaled;
mod order;
mod stand_in;

pub use admission::{Admission, Invitation, invite, redeem};
pub(crate) use journaled::replace;
pub(crate) use order::order;
pub use order::{order_reseed, ordered};
pub(crate) use stand_in::{gone, stand_in};

use rusqlite::{Connection, OptionalExtension, Params, Row, named_params, params};
use tt_protocol::ids::DEVICE_MAX;
use tt_protocol::number::{EdgeId, Millis, Version};

/// The tables of devices and invitations, which lie beside the rows.
pub(crate) const TABLES: &str = include_str!("devices/tables.sql");

/// A device as the operator's list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its number.
    pub device: EdgeId,
    /// Its name. Revoked devices may share one with a later device.
    pub name: String,
    /// What it may write.
    pub role: String,
    /// When it joined.
    pub enrolled_at: Millis,
    /// When it was cut off, if it was.
    pub revoked_at: Option<Millis>,
    /// When it was last connected.
    pub last_seen: Option<Millis>,
    /// Where it last connected from.
    pub address: Option<String>,
    /// What it last said about itself.
    pub state: DeviceState,
}

/// What a device reports, and what the hub knows of its progress. `None`: not known yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceState {
    /// Version that it has applied.
    pub cursor: Option<Version>,
    /// Rows that it has not got acknowledged.
    pub unsent: Option<u64>,
    /// Age in seconds of the oldest such row when it was reported.
    pub oldest_unsent_s: Option<u64>,
    /// Its clock minus the hub's.
    pub clock_offset_ms: Option<i64>,
    /// A short name for its schema.
    pub schema: Option<String>,
    /// Why it cannot go on, in a sentence. `None`: it can.
    pub blocked: Option<String>,
}

/// Why something cannot be done with a device.
#[derive(Debug, thiserror::Error)]
pub enum DevicesError {
    /// The name breaks the rule.
    #[error(
        "`{0}` is not a device name: use 1 to 63 of a-z, 0-9 and -, not beginning with -; `hub` is taken"
    )]
    Name(String),
    /// The role breaks the rule.
    #[error(
        "`{0}` is not a role for a device: use 1 to 63 of a-z, 0-9 and -, not beginning with -; `hub` is taken"
    )]
    Role(String),
    /// A token must live for some time.
    #[error("a token cannot live for {0} ms: give a time above zero")]
    Lifetime(i64),
    /// There is or was such a device.
    #[error("there is already a device `{0}`: choose another name, or cut the old one off with --replace")]
    Exists(String),
    /// There is no such device.
    #[error("there is no device `{0}`: `tt-hub edges` lists them")]
    Missing(String),
    /// It was cut off before.
    #[error("the device `{0}` is revoked already")]
    AlreadyRevoked(String),
    /// All numbers are used up.
    #[error(
        "all {DEVICE_MAX} device numbers are used up; numbers never come back, so this hub can take no more devices"
    )]
    Full,
    /// The secret belongs to no invitation.
    #[error(
        "the hub does not know this token: it was withdrawn, or comes from another hub; ask for a new one (`tt-hub invite NAME`)"
    )]
    TokenUnknown,
    /// The invitation came to nothing.
    #[error("the token for `{0}` has expired: ask for a new one (`tt-hub invite {0}`)")]
    TokenExpired(String),
    /// Another device has it.
    #[error(
        "the token for `{0}` was already used by a device with another key: ask for a new one; if nobody here used it, revoke `{0}`"
    )]
    TokenUsed(String),
    /// The device that used the token was cut off.
    #[error(
        "the device `{0}` that used this token was revoked: ask for a new one (`tt-hub invite {0} --replace`)"
    )]
    TokenRevoked(String),
    /// The system has no randomness.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
    /// SQLite refused.
    #[error("the list of devices cannot be read or written: {0}")]
    Sql(#[from] rusqlite::Error),
}

impl DevicesError {
    /// True when the asker is at fault and may be told the text; false when the hub itself is in trouble.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        !matches!(self, Self::Sql(_) | Self::Random(_))
    }
}

/// Makes the tables if they are not there yet.
///
/// # Errors
/// When SQLite refuses.
pub fn create_tables(conn: &Connection) -> Result<(), DevicesError> {
    Ok(conn.execute_batch(TABLES)?)
}

/// All devices by name, the newest of a name first, revoked ones too.
///
/// # Errors
/// When SQLite refuses.
pub fn list(conn: &Connection) -> Result<Vec<Device>, DevicesError> {
    let mut statement = conn.prepare_cached("SELECT * FROM _sync_edge ORDER BY name, device DESC")?;
    let devices = statement.query_map([], read_device)?.collect::<Result<_, _>>()?;
    Ok(devices)
}

/// What a device may write; nothing that is kept to some roles, when the hub does not know the device.
///
/// # Errors
/// When SQLite fails.
pub(crate) fn role(conn: &Connection, device: EdgeId) -> rusqlite::Result<String> {
    let sql = "SELECT role FROM _sync_edge WHERE device = ?1";
    let role = conn.prepare_cached(sql)?.query_row([device.0], |row| row.get(0)).optional()?;
    Ok(role.unwrap_or_default())
}

/// The newest device of that name, revoked or not.
///
/// # Errors
/// When SQLite refuses.
pub fn by_name(conn: &Connection, name: &str) -> Result<Option<Device>, DevicesError> {
    one(conn, "SELECT * FROM _sync_edge WHERE name = ? ORDER BY device DESC LIMIT 1", [name])
}

/// The device with this number, revoked or not.
///
/// # Errors
/// When SQLite fails.
pub(crate) fn by_number(conn: &Connection, device: EdgeId) -> rusqlite::Result<Option<Device>> {
    let sql = "SELECT * FROM _sync_edge WHERE device = ?";
    conn.prepare_cached(sql)?.query_row([device.0], read_device).optional()
}

/// The device of a certificate, revoked or not. Check `revoked_at` before talking to it.
///
/// # Errors
/// When SQLite refuses.
pub fn by_certificate(conn: &Connection, sha256: &[u8; 32]) -> Result<Option<Device>, DevicesError> {
    one(conn, "SELECT * FROM _sync_edge WHERE cert_sha256 = ?", [sha256])
}

/// The certificate of a device was signed: from now on it is the only one that speaks for it.
///
/// # Errors
/// When SQLite refuses.
pub fn record_certificate(
    conn: &Connection,
    device: EdgeId,
    sha256: &[u8; 32],
    now: Millis,
) -> Result<(), DevicesError> {
    conn.execute("UPDATE _sync_edge SET cert_sha256 = ? WHERE device = ?", params![sha256, device.0])?;
    journaled::tell(conn, now)
}

/// Cuts off the device of that name and withdraws its open invitation. Gives the device whose
/// connection must be closed, or `None` when there was only an invitation.
///
/// # Errors
/// When there is neither, or SQLite refuses.
pub fn revoke(conn: &Connection, name: &str, now: Millis) -> Result<Option<EdgeId>, DevicesError> {
    atomically(conn, || {
        let cut_off = cut_off(conn, name, now)?;
        let withdrawn = conn.execute("DELETE FROM _sync_token WHERE name = ? AND used_at IS NULL", [name])?;
        if cut_off.is_some() || withdrawn > 0 {
            journaled::tell(conn, now)?;
            return Ok(cut_off);
        }
        match by_name(conn, name)? {
            Some(_) => Err(DevicesError::AlreadyRevoked(name.to_owned())),
            None => Err(DevicesError::Missing(name.to_owned())),
        }
    })
}

/// A device leaves by itself. By its number: its name may be another device's by now.
///
/// # Errors
/// When SQLite refuses.
pub fn leave(conn: &Connection, device: EdgeId, now: Millis) -> Result<(), DevicesError> {
    atomically(conn, || {
        let sql = "UPDATE _sync_edge SET revoked_at = ? WHERE device = ? AND revoked_at IS NULL";
        if conn.execute(sql, params![now.0, device.0])? > 0 {
            journaled::tell(conn, now)?;
        }
        Ok(())
    })
}

/// The device is connected, from this address.
///
/// # Errors
/// When SQLite refuses.
pub fn record_contact(
    conn: &Connection,
    device: EdgeId,
    address: &str,
    now: Millis,
) -> Result<(), DevicesError> {
    let sql = "UPDATE _sync_edge SET last_seen = ?, address = ? WHERE device = ?";
    conn.prepare_cached(sql)?.execute(params![now.0, address, device.0])?;
    Ok(())
}

/// Replaces what is known of the device's state.
///
/// # Errors
/// When SQLite refuses.
pub fn record_state(conn: &Connection, device: EdgeId, state: &DeviceState) -> Result<(), DevicesError> {
    let sql = "UPDATE _sync_edge SET cursor = :cursor, unsent = :unsent, oldest_unsent_s = :oldest_unsent_s, \
               clock_offset_ms = :clock_offset_ms, schema = :schema, blocked = :blocked WHERE device = :device";
    conn.prepare_cached(sql)?.execute(named_params! {
        ":cursor": state.cursor.map(|version| saturate(version.0)),
        ":unsent": state.unsent.map(saturate),
        ":oldest_unsent_s": state.oldest_unsent_s.map(saturate),
        ":clock_offset_ms": state.clock_offset_ms,
        ":schema": state.schema,
        ":blocked": state.blocked,
        ":device": device.0,
    })?;
    Ok(())
}

/// A device may say any number; SQLite's largest is enough to show that it is absurd.
fn saturate(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn cut_off(conn: &Connection, name: &str, now: Millis) -> Result<Option<EdgeId>, DevicesError> {
    let sql = "UPDATE _sync_edge SET revoked_at = ? WHERE name = ? AND revoked_at IS NULL RETURNING device";
    Ok(conn.query_row(sql, params![now.0, name], |row| row.get(0).map(EdgeId)).optional()?)
}

fn one(conn: &Connection, sql: &str, params: impl Params) -> Result<Option<Device>, DevicesError> {
    Ok(conn.prepare_cached(sql)?.query_row(params, read_device).optional()?)
}

fn read_device(row: &Row<'_>) -> rusqlite::Result<Device> {
    Ok(Device {
        device: EdgeId(row.get("device")?),
        name: row.get("name")?,
        role: row.get("role")?,
        enrolled_at: Millis(row.get("enrolled_at")?),
        revoked_at: row.get::<_, Option<i64>>("revoked_at")?.map(Millis),
        last_seen: row.get::<_, Option<i64>>("last_seen")?.map(Millis),
        address: row.get("address")?,
        state: DeviceState {
            cursor: count(row, "cursor")?.map(Version),
            unsent: count(row, "unsent")?,
            oldest_unsent_s: count(row, "oldest_unsent_s")?,
            clock_offset_ms: row.get("clock_offset_ms")?,
            schema: row.get("schema")?,
            blocked: row.get("blocked")?,
        },
    })
}

/// A column that holds no negative numbers.
fn count(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<u64>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(|number| u64::try_from(number).unwrap_or(0)))
}

/// Runs `work` whole or not at all, in the caller's transaction or in its own. The first statement of
/// `work` must write: then two connections take turns instead of failing on a stale read.
pub(crate) fn atomically<T, E: From<rusqlite::Error>>(
    conn: &Connection,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    conn.execute_batch("SAVEPOINT _sync_devices")?;
    let result = work().and_then(|value| {
        conn.execute_batch("RELEASE _sync_devices")?;
        Ok(value)
    });
    if result.is_err() {
        conn.execute_batch("ROLLBACK TO _sync_devices; RELEASE _sync_devices")?;
    }
    result
}

#[cfg(test)]
mod tests;

//! Orders of the operator that a device take a snapshot in place of feeds. An order is kept until the device
//! says that it is carried out, however long it is away.

use super::{DevicesError, by_name};
use rusqlite::{Connection, OptionalExtension as _};
use std::collections::BTreeSet;
use tt_protocol::number::{EdgeId, Millis};

/// Orders the device of that name to be reseeded. A second order before the first is carried out is a later one.
///
/// # Errors
/// When there is no such device in use, or SQLite fails.
pub fn order_reseed(conn: &Connection, name: &str, now: Millis) -> Result<EdgeId, DevicesError> {
    let device = by_name(conn, name)?.ok_or_else(|| DevicesError::Missing(name.to_owned()))?;
    if device.revoked_at.is_some() {
        return Err(DevicesError::AlreadyRevoked(name.to_owned()));
    }
    // Its number is never given again, also not by a hub that was restored meanwhile: time goes on.
    let sql = "INSERT INTO _sync_order(device, number) VALUES (?1, ?2)
               ON CONFLICT(device) DO UPDATE SET number = MAX(number + 1, excluded.number)";
    conn.execute(sql, (device.device.0, now.0))?;
    Ok(device.device)
}

/// The order that a device has still to carry out, 0 when there is none. `done` is the last that it has.
pub(crate) fn order(conn: &Connection, device: EdgeId, done: u64) -> rusqlite::Result<u64> {
    let sql = "SELECT number FROM _sync_order WHERE device = ?1";
    let number: Option<i64> = conn.prepare_cached(sql)?.query_row([device.0], |row| row.get(0)).optional()?;
    let Some(number) = number else { return Ok(0) };
    if number.unsigned_abs() <= done {
        conn.execute("DELETE FROM _sync_order WHERE device = ?1", [device.0])?;
        return Ok(0);
    }
    Ok(number.unsigned_abs())
}

/// Devices that have an order to carry out.
///
/// # Errors
/// When SQLite fails.
pub fn ordered(conn: &Connection) -> Result<BTreeSet<EdgeId>, DevicesError> {
    let mut statement = conn.prepare_cached("SELECT device FROM _sync_order")?;
    let devices = statement.query_map([], |row| row.get(0).map(EdgeId))?;
    Ok(devices.collect::<rusqlite::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::super::{create_tables, invite, redeem};
    use super::*;

    #[test]
    fn an_order_stays_until_the_device_has_done_it() {
        let conn = Connection::open_in_memory().unwrap();
        create_tables(&conn).unwrap();
        assert!(matches!(order_reseed(&conn, "a", Millis(5)), Err(DevicesError::Missing(_))));
        let invitation = invite(&conn, "a", "station", 1000, false, Millis(5)).unwrap();
        redeem(&conn, &invitation.secret, &[1; 32], Millis(6)).unwrap();
        assert_eq!(order(&conn, EdgeId(1), 0).unwrap(), 0, "nobody has ordered anything");
        assert_eq!(order_reseed(&conn, "a", Millis(7)).unwrap(), EdgeId(1));
        assert_eq!((order(&conn, EdgeId(1), 0).unwrap(), order(&conn, EdgeId(1), 6).unwrap()), (7, 7));
        order_reseed(&conn, "a", Millis(7)).unwrap();
        assert_eq!(order(&conn, EdgeId(1), 7).unwrap(), 8, "a second order is another one");
        assert_eq!(ordered(&conn).unwrap(), BTreeSet::from([EdgeId(1)]));
        assert_eq!(order(&conn, EdgeId(1), 8).unwrap(), 0);
        assert!(ordered(&conn).unwrap().is_empty(), "it is done and gone");
    }
}

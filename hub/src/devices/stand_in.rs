//! A device number that exists only to hand in the work of a lost device's file: nobody ever connects as it.

use super::{DevicesError, admission, atomically, by_name, journaled};
use rusqlite::{Connection, params};
use tt_protocol::number::{EdgeId, Millis};

/// The stand-in of this name, which is made when it is not there yet: revoked from the beginning.
///
/// # Errors
/// When numbers have run out, or SQLite refuses.
pub(crate) fn stand_in(
    conn: &Connection,
    name: &str,
    role: &str,
    now: Millis,
) -> Result<EdgeId, DevicesError> {
    atomically(conn, || {
        if let Some(device) = by_name(conn, name)? {
            return Ok(device.device);
        }
        let device = admission::next_number(conn)?;
        let sql = "INSERT INTO _sync_edge (device, name, role, enrolled_at, revoked_at) VALUES (?1, ?2, ?3, ?4, ?4)";
        conn.execute(sql, params![device.0, name, role, now.0])?;
        journaled::tell(conn, now)?;
        Ok(device)
    })
}

/// All as whom nobody will ever connect: devices that were revoked or have left, and stand-ins.
///
/// # Errors
/// When SQLite fails.
pub(crate) fn gone(conn: &Connection) -> rusqlite::Result<Vec<EdgeId>> {
    let sql = "SELECT device FROM _sync_edge WHERE revoked_at IS NOT NULL ORDER BY device";
    conn.prepare(sql)?.query_map([], |row| Ok(EdgeId(row.get(0)?)))?.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::{create_tables, list};

    #[test]
    fn a_file_has_one_stand_in_and_its_number_is_nobody_elses() {
        let conn = Connection::open_in_memory().unwrap();
        create_tables(&conn).unwrap();
        let first = stand_in(&conn, "a-rescued-00", "station", Millis(5)).unwrap();
        assert_eq!(stand_in(&conn, "a-rescued-00", "station", Millis(6)).unwrap(), first);
        let second = stand_in(&conn, "a-rescued-01", "station", Millis(7)).unwrap();
        assert_eq!((first, second), (EdgeId(1), EdgeId(2)));
        assert_eq!(gone(&conn).unwrap(), [first, second]);
        assert!(list(&conn).unwrap().iter().all(|device| device.revoked_at == Some(device.enrolled_at)));
    }
}

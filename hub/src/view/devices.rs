//! Devices as people and scripts see them: state, lag both ways, clock, schema, and why one is blocked.

use super::ViewError;
use crate::devices::{self, Device};
use crate::store::{conflict, rescue};
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use tt_migrations::state as kept;
use tt_protocol::clock::CLOCK_TOLERANCE_MS;
use tt_protocol::number::Version;

/// All devices as JSON, by name, the newest of a name first. `linked` are those that are connected now.
pub(crate) fn all(conn: &Connection, linked: &[u16], now: i64) -> Result<Vec<Json>, ViewError> {
    let devices = devices::list(conn)?;
    let schemas = schemas(conn, &devices)?;
    let ordered = devices::ordered(conn)?;
    let rescued = rescue::of_files(conn)?;
    let version = kept::get(conn, kept::VERSION)?.unwrap_or(0);
    let version = Version(version.unsigned_abs());
    let one = |(device, schema): (&Device, &SchemaState)| {
        let mut json = to_json(device, linked, version, now);
        json["schema"] = json!(schema.text(device));
        json["reseed_ordered"] = json!(ordered.contains(&device.device));
        json["file_rescued"] = json!(rescued.contains(&device.device));
        json
    };
    Ok(devices.iter().zip(&schemas).map(one).collect())
}

/// How far a device is with the hub's schema, and what of its rows waits for the hub's.
pub(crate) struct SchemaState {
    to_come: u64,
    rows: u64,
}

impl SchemaState {
    /// What waits, in words.
    pub(crate) fn waits(&self) -> Option<String> {
        let rows = (self.rows > 0).then(|| format!("rows that wait for the hub's schema: {}", self.rows));
        let steps = (self.to_come > 0).then(|| format!("steps of the schema to come: {}", self.to_come));
        match (rows, steps) {
            (Some(rows), Some(steps)) => Some(format!("{rows}; {steps}")),
            (rows, steps) => rows.or(steps),
        }
    }

    /// The name of its shape, and what waits.
    fn text(&self, device: &Device) -> Option<String> {
        match (device.state.schema.clone(), self.waits()) {
            (Some(name), Some(waits)) => Some(format!("{name}; {waits}")),
            (name, waits) => name.or(waits),
        }
    }
}

pub(crate) fn schemas(conn: &Connection, devices: &[Device]) -> Result<Vec<SchemaState>, ViewError> {
    let rows = conflict::waiting_for_schema(conn)?;
    let one = |device: &Device| {
        let sql = "SELECT count(*) FROM _sync_step WHERE version > ?1";
        let to_come: i64 = match device.state.cursor.filter(|_| device.revoked_at.is_none()) {
            Some(cursor) => conn.query_row(sql, [cursor.0 as i64], |row| row.get(0))?,
            None => 0,
        };
        let rows = rows.get(&device.device.0).copied().unwrap_or(0);
        Ok(SchemaState { to_come: to_come.unsigned_abs(), rows })
    };
    devices.iter().map(one).collect()
}

/// The state in one word.
pub(crate) fn state(device: &Device, linked: &[u16]) -> &'static str {
    if device.revoked_at.is_some() {
        "revoked"
    } else if device.state.blocked.is_some() {
        "blocked"
    } else if linked.contains(&device.device.0) {
        "connected"
    } else {
        "away"
    }
}

/// Devices in use whose clock is further off than a person should leave it, with its offset to the hub's in
/// milliseconds.
pub(crate) fn clocks_off(devices: &[Device]) -> Vec<(&str, i64)> {
    let in_use = devices.iter().filter(|device| device.revoked_at.is_none());
    in_use.filter_map(|device| Some((device.name.as_str(), clock_off(device)?))).collect()
}

pub(crate) fn clock_off(device: &Device) -> Option<i64> {
    device.state.clock_offset_ms.filter(|offset| offset.saturating_abs() > CLOCK_TOLERANCE_MS)
}

/// Age of the oldest unsent row now: it grew since the device said so.
pub(crate) fn oldest_unsent_s(device: &Device, now: i64) -> Option<u64> {
    let reported = device.state.oldest_unsent_s?;
    let since_ms = now - device.last_seen.map_or(now, |seen| seen.0);
    Some(reported + u64::try_from(since_ms / 1000).unwrap_or(0))
}

fn to_json(device: &Device, linked: &[u16], version: Version, now: i64) -> Json {
    json!({
        "name": device.name,
        "role": device.role,
        "device": device.device.0,
        "state": state(device, linked),
        "cursor": device.state.cursor.map(|version| version.0),
        "behind": behind(device, version),
        "unsent": device.state.unsent,
        "oldest_unsent_s": oldest_unsent_s(device, now),
        "clock_offset_ms": device.state.clock_offset_ms,
        "schema": device.state.schema,
        "last_seen": device.last_seen.map(|seen| seen.0),
        "address": device.address,
        "blocked": device.state.blocked,
    })
}

/// Versions that a device in use has not applied yet.
fn behind(device: &Device, version: Version) -> Option<u64> {
    let cursor = device.state.cursor.filter(|_| device.revoked_at.is_none())?;
    Some(version.0.saturating_sub(cursor.0))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::devices::DeviceState;
    use tt_protocol::number::{EdgeId, Millis};

    pub(crate) fn device() -> Device {
        Device {
            device: EdgeId(3),
            name: "a".into(),
            role: "station".into(),
            enrolled_at: Millis(0),
            revoked_at: None,
            last_seen: Some(Millis(10_000)),
            address: None,
            state: DeviceState { oldest_unsent_s: Some(5), ..DeviceState::default() },
        }
    }

    #[test]
    fn the_worst_state_is_the_one_that_shows() {
        let mut device = device();
        assert_eq!(state(&device, &[]), "away");
        assert_eq!(state(&device, &[3]), "connected");
        device.state.blocked = Some("a copy".into());
        assert_eq!(state(&device, &[3]), "blocked");
        device.revoked_at = Some(Millis(1));
        assert_eq!(state(&device, &[3]), "revoked");
    }

    #[test]
    fn unsent_rows_of_a_device_that_is_away_grow_older() {
        assert_eq!(oldest_unsent_s(&device(), 70_000), Some(65));
        assert_eq!(oldest_unsent_s(&device(), 5_000), Some(5));
    }
}

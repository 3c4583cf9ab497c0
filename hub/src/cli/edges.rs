//! `edges`: every device, how it is doing, and what it waits for.

use super::{CliError, Place, output};
use crate::clock;
use crate::control::{self, Reply, Request};
use crate::database;
use crate::devices::{self, Device};
use crate::folder::Folder;
use crate::store::conflict;
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use tt_protocol::clock::CLOCK_TOLERANCE_MS;

pub(super) fn run(place: &Place) -> Result<(), CliError> {
    let folder = Folder::of_hub(&place.data)?;
    let linked = daemon(&folder)?.map(|state| state.linked).unwrap_or_default();
    let conn = database::open(&folder.database())?;
    let now = clock::now().0;
    let devices = devices::list(&conn)?;
    let schemas = schemas(&conn, &devices)?;
    let ordered = devices::ordered(&conn)?;
    if place.json {
        let list = devices.iter().zip(&schemas).map(|(device, schema)| {
            let mut json = to_json(device, &linked, now);
            json["schema"] = json!(schema.text(device));
            json["reseed_ordered"] = json!(ordered.contains(&device.device));
            json
        });
        return Ok(output::json(&Json::Array(list.collect()))?);
    }
    if devices.is_empty() {
        return Ok(output::text("no device has joined yet: `tt-hub invite NAME` makes a token\n")?);
    }
    let mut rows = vec![heading()];
    rows.extend(devices.iter().map(|device| to_row(device, &linked, now)));
    output::text(&output::columns(&rows))?;
    for (name, offset) in clocks_off(&devices) {
        let span = output::span(offset.saturating_abs() / 1_000);
        let side = if offset > 0 { "ahead" } else { "behind" };
        let what = "what is written there is corrected for it, but set the clock";
        output::text(&format!("the clock of {name} is {span} {side}: {what}\n"))?;
    }
    for (device, schema) in devices.iter().zip(&schemas) {
        if let Some(waits) = schema.waits() {
            output::text(&format!("{}: {waits}\n", device.name))?;
        }
        if ordered.contains(&device.device) && device.revoked_at.is_none() {
            output::text(&format!("{}: a reseed is ordered and not done yet\n", device.name))?;
        }
        if let (Some(reason), None) = (&device.state.blocked, device.revoked_at) {
            output::text(&format!("{} is blocked: {reason}\n", device.name))?;
        }
    }
    Ok(())
}

/// How far a device is with the hub's schema, and what of its rows waits for the hub's.
struct SchemaState {
    to_come: u64,
    rows: u64,
}

impl SchemaState {
    /// What waits, in words.
    fn waits(&self) -> Option<String> {
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

fn schemas(conn: &Connection, devices: &[Device]) -> Result<Vec<SchemaState>, CliError> {
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

/// The running daemon's state, after it has written down what it knows.
pub(super) fn daemon(folder: &Folder) -> Result<Option<control::State>, CliError> {
    match control::ask(folder, &Request::State)? {
        Some(Reply::State(state)) => Ok(Some(state)),
        Some(Reply::Failed { reason }) => Err(CliError::Refused(reason)),
        Some(other) => Err(CliError::Refused(format!("the hub answered something else: {other:?}"))),
        None => Ok(None),
    }
}

/// The state in one word.
pub(super) fn state(device: &Device, linked: &[u16]) -> &'static str {
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
pub(super) fn clocks_off(devices: &[Device]) -> Vec<(&str, i64)> {
    let in_use = devices.iter().filter(|device| device.revoked_at.is_none());
    in_use.filter_map(|device| Some((device.name.as_str(), clock_off(device)?))).collect()
}

fn clock_off(device: &Device) -> Option<i64> {
    device.state.clock_offset_ms.filter(|offset| offset.saturating_abs() > CLOCK_TOLERANCE_MS)
}

fn clock(device: &Device) -> String {
    let word = if clock_off(device).is_some() { "OFF " } else { "" };
    output::or_dash(device.state.clock_offset_ms.map(|offset| format!("{word}{offset:+} ms")))
}

/// Age of the oldest unsent row now: it grew since the device said so.
fn oldest_unsent_s(device: &Device, now: i64) -> Option<u64> {
    let reported = device.state.oldest_unsent_s?;
    let since_ms = now - device.last_seen.map_or(now, |seen| seen.0);
    Some(reported + u64::try_from(since_ms / 1000).unwrap_or(0))
}

fn to_json(device: &Device, linked: &[u16], now: i64) -> Json {
    json!({
        "name": device.name,
        "role": device.role,
        "device": device.device.0,
        "state": state(device, linked),
        "cursor": device.state.cursor.map(|version| version.0),
        "unsent": device.state.unsent,
        "oldest_unsent_s": oldest_unsent_s(device, now),
        "clock_offset_ms": device.state.clock_offset_ms,
        "schema": device.state.schema,
        "last_seen": device.last_seen.map(|seen| seen.0),
        "address": device.address,
        "blocked": device.state.blocked,
    })
}

fn heading() -> Vec<String> {
    ["NAME", "ROLE", "DEVICE", "STATE", "CURSOR", "UNSENT", "OLDEST", "CLOCK", "SCHEMA", "SEEN", "ADDRESS"]
        .map(str::to_owned)
        .to_vec()
}

fn to_row(device: &Device, linked: &[u16], now: i64) -> Vec<String> {
    let seconds = |age: u64| output::span(i64::try_from(age).unwrap_or(i64::MAX));
    vec![
        device.name.clone(),
        device.role.clone(),
        device.device.to_string(),
        state(device, linked).to_owned(),
        output::or_dash(device.state.cursor),
        output::or_dash(device.state.unsent),
        output::or_dash(oldest_unsent_s(device, now).map(seconds)),
        clock(device),
        output::or_dash(device.state.schema.as_ref()),
        output::or_dash(device.last_seen.map(|seen| format!("{} ago", output::span((now - seen.0) / 1000)))),
        output::or_dash(device.address.as_ref()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::DeviceState;
    use tt_protocol::number::{EdgeId, Millis};

    fn device() -> Device {
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
    fn a_clock_that_is_off_is_a_word_and_not_only_a_number() {
        let mut device = device();
        assert_eq!(clock(&device), "-");
        for (offset, text) in
            [(-2_000, "-2000 ms"), (2_001, "OFF +2001 ms"), (-86_400_000, "OFF -86400000 ms")]
        {
            device.state.clock_offset_ms = Some(offset);
            assert_eq!(clock(&device), text);
        }
        assert_eq!(clocks_off(std::slice::from_ref(&device)), [("a", -86_400_000)]);
        device.revoked_at = Some(Millis(1));
        assert_eq!(clocks_off(&[device]), [], "nobody sets the clock of a revoked device");
    }

    #[test]
    fn unsent_rows_of_a_device_that_is_away_grow_older() {
        assert_eq!(oldest_unsent_s(&device(), 70_000), Some(65));
        assert_eq!(oldest_unsent_s(&device(), 5_000), Some(5));
    }
}

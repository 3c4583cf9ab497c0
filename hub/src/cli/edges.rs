//! `edges`: every device, how it is doing, and what it waits for.

use super::output::{self, Report};
use super::{CliError, Place};
use crate::clock;
use crate::control::{self, Reply, Request};
use crate::database;
use crate::devices::{self, Device};
use crate::folder::Folder;
use crate::store::rescue;
use crate::view;
use crate::view::devices::{clock_off, clocks_off, oldest_unsent_s, schemas, state};
use serde_json::Value as Json;
use tt_terminal::watch::Watch;

pub(super) fn run(place: &Place, watch: &Watch) -> Result<(), CliError> {
    let folder = Folder::of_hub(&place.data)?;
    output::show(place, watch, &mut || look(&folder, place.json))
}

fn look(folder: &Folder, json: bool) -> Result<Report, CliError> {
    let linked = daemon(folder)?.map(|state| state.linked).unwrap_or_default();
    let conn = database::open(&folder.database())?;
    let now = clock::now().0;
    if json {
        return Ok(Report::Json(Json::Array(view::devices::all(&conn, &linked, now)?)));
    }
    let devices = devices::list(&conn)?;
    let schemas = schemas(&conn, &devices)?;
    let ordered = devices::ordered(&conn)?;
    let rescued = rescue::of_files(&conn)?;
    if devices.is_empty() {
        return Ok(Report::Text("no device has joined yet: `tt-hub invite NAME` makes a token\n".to_owned()));
    }
    let mut rows = vec![heading()];
    rows.extend(devices.iter().map(|device| to_row(device, &linked, now)));
    let mut text = output::columns(&rows);
    for (name, offset) in clocks_off(&devices) {
        let span = output::span(offset.saturating_abs() / 1_000);
        let side = if offset > 0 { "ahead" } else { "behind" };
        let what = "what is written there is corrected for it, but set the clock";
        text.push_str(&format!("the clock of {name} is {span} {side}: {what}\n"));
    }
    for (device, schema) in devices.iter().zip(&schemas) {
        if let Some(waits) = schema.waits() {
            text.push_str(&format!("{}: {waits}\n", device.name));
        }
        if ordered.contains(&device.device) && device.revoked_at.is_none() {
            text.push_str(&format!("{}: a reseed is ordered and not done yet\n", device.name));
        }
        if rescued.contains(&device.device) && device.revoked_at.is_none() {
            let name = &device.name;
            let what = "its file was rescued; if it is lost, cut it off";
            text.push_str(&format!("{name}: {what}: tt-hub revoke {name}\n"));
        }
        if let (Some(reason), None) = (&device.state.blocked, device.revoked_at) {
            text.push_str(&format!("{} is blocked: {reason}\n", device.name));
        }
    }
    Ok(Report::Text(text))
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

fn clock(device: &Device) -> String {
    let word = if clock_off(device).is_some() { "OFF " } else { "" };
    output::or_dash(device.state.clock_offset_ms.map(|offset| format!("{word}{offset:+} ms")))
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
    use crate::view::devices::tests::device;
    use tt_protocol::number::Millis;

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
}

//! `tt-edge status`: one calm screen, or the JSON that scripts depend on.

use super::{Outcome, ask};
use crate::daemon::control::{Reply, Request, StatusReply};
use crate::daemon::worker::{self, State, numbers};
use crate::engine::Engine;
use crate::identity::Identity;
use crate::place::Place;
use anyhow::anyhow;
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tt_protocol::counted::counted;
use tt_protocol::span::span;
use tt_terminal::watch::{self, Watch};

/// What is known of the device now.
struct Seen {
    daemon: bool,
    status: StatusReply,
}

pub(super) fn status(place: &Place, watch: &Watch, json: bool) -> Outcome {
    let db = place.db()?;
    let identity = Identity::load(place.dir())?;
    let show = |seen: &Seen| if json { document(seen) } else { screen(&db, &identity, seen) };
    if let Some(every) = watch.every() {
        let mut look = || look(place, &db).map(|seen| show(&seen));
        watch::repeat(("tt-edge", every, json), &mut look)?;
        return Ok(ExitCode::SUCCESS);
    }
    let seen = look(place, &db)?;
    print!("{}", show(&seen));
    Ok(if blocked(&seen.status).is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn look(place: &Place, db: &Path) -> anyhow::Result<Seen> {
    let (daemon, status) = match ask::daemon(place, &Request::Status, Duration::from_secs(30))? {
        Some(Reply::Status(status)) => (true, *status),
        Some(Reply::Failed(reason)) => return Err(anyhow!(reason)),
        Some(Reply::InStep | Reply::Compared | Reply::Progress(_)) => {
            return Err(anyhow!("the daemon answers in another version: restart it"));
        }
        None => (false, StatusReply::new(numbers(&Engine::new(worker::open(db)?))?, &State::default())),
    };
    Ok(Seen { daemon, status })
}

fn document(Seen { daemon, status }: &Seen) -> String {
    let value = json!({
        "daemon": daemon,
        "connected": status.connected,
        "unsent": status.unsent,
        "unread": status.unread,
        "oldest_unsent_s": status.oldest_unsent_s,
        "version": status.version,
        "epoch": status.epoch,
        "blocked": blocked(status),
        "last_sync": status.last_sync,
        "id_space_used": status.id_space_used,
    });
    format!("{value}\n")
}

fn screen(db: &Path, identity: &Identity, Seen { daemon, status }: &Seen) -> String {
    let mut text = format!("{} ({}), device {}\n", identity.name, identity.role, identity.device);
    let mut line = |name: &str, what: &str| text.push_str(&format!("  {name:<9} {what}\n"));
    line("file", &db.display().to_string());
    line("daemon", if *daemon { "running" } else { "not running: start it with tt-edge run" });
    line("hub", &hub_line(*daemon, status));
    let unsent = match (status.unsent, status.oldest_unsent_s) {
        (0, _) => "nothing".to_owned(),
        (rows, Some(age)) => {
            let age = span(i64::try_from(age).unwrap_or(i64::MAX));
            format!("{}, the oldest {age} old; saved on this device", counted(rows, "row"))
        }
        (rows, None) => format!("{}; saved on this device", counted(rows, "row")),
    };
    line("unsent", &unsent);
    let unread = match status.unread {
        Some(0) => "nothing".to_owned(),
        Some(versions) => format!("{} of the hub", counted(versions, "version")),
        None => "not known without a link".to_owned(),
    };
    line("unread", &unread);
    line("version", &format!("{} of epoch {}", status.version, status.epoch));
    line("id space", &format!("{:.4} % used", status.id_space_used * 100.0));
    for warning in warnings(status) {
        text.push_str(&format!("  ! {warning}\n"));
    }
    text
}

fn warnings(status: &StatusReply) -> Vec<String> {
    let keyless = status
        .keyless
        .iter()
        .map(|table| format!("table \"{table}\" has no primary key and is NOT replicated: give it one"));
    let mut warnings: Vec<String> = keyless.collect();
    warnings.extend(status.left_out.iter().cloned());
    warnings.extend(status.clock.clone());
    warnings.extend(status.differing.iter().map(|(table, rows)| {
        format!("table \"{table}\" differs from the hub's in {}: see tt-edge doctor", counted(rows, "row"))
    }));
    warnings.extend(blocked(status).map(|reason| format!("blocked: {reason}")));
    warnings
}

/// Why the device cannot go on: the hub refuses it, or its file refuses the hub's rows.
const fn blocked(status: &StatusReply) -> Option<&String> {
    match &status.blocked {
        Some(reason) => Some(reason),
        None => status.feed_refused.as_ref(),
    }
}

fn hub_line(daemon: bool, status: &StatusReply) -> String {
    match &status.waiting_for {
        _ if status.connected => "connected".to_owned(),
        Some((what, since)) => {
            let age = span((crate::clock::now().0 - since) / 1000);
            format!("not connected for {age}: {what}")
        }
        None if daemon => "not connected yet".to_owned(),
        None => "not connected: only the daemon keeps a link".to_owned(),
    }
}

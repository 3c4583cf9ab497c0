//! `tt-edge status`: one calm screen, or the JSON that scripts depend on.

use super::{Outcome, ask};
use crate::daemon::control::{Reply, Request, StatusReply};
use crate::daemon::worker::{self, State, numbers};
use crate::engine::Engine;
use crate::identity::Identity;
use crate::place::Place;
use anyhow::anyhow;
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;

pub(super) fn status(place: &Place, json: bool) -> Outcome {
    let db = place.db()?;
    let identity = Identity::load(place.dir())?;
    let (daemon, status) = match ask::daemon(place, &Request::Status, Duration::from_secs(30))? {
        Some(Reply::Status(status)) => (true, *status),
        Some(Reply::Failed(reason)) => return Err(anyhow!(reason)),
        Some(Reply::InStep | Reply::Compared | Reply::Progress(_)) => {
            return Err(anyhow!("the daemon answers in another version: restart it"));
        }
        None => (false, StatusReply::new(numbers(&Engine::new(worker::open(&db)?))?, &State::default())),
    };
    if json {
        print_json(daemon, &status);
    } else {
        print_screen(&db, &identity, daemon, &status);
    }
    Ok(if blocked(&status).is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print_json(daemon: bool, status: &StatusReply) {
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
    println!("{value}");
}

fn print_screen(db: &std::path::Path, identity: &Identity, daemon: bool, status: &StatusReply) {
    println!("{} ({}), device {}", identity.name, identity.role, identity.device);
    println!("  file      {}", db.display());
    println!("  daemon    {}", if daemon { "running" } else { "not running: start it with tt-edge run" });
    println!("  hub       {}", hub_line(status));
    let unsent = match (status.unsent, status.oldest_unsent_s) {
        (0, _) => "nothing".to_owned(),
        (rows, Some(age)) => format!("{rows} rows, the oldest {age} s old; saved on this device"),
        (rows, None) => format!("{rows} rows; saved on this device"),
    };
    println!("  unsent    {unsent}");
    println!(
        "  unread    {}",
        status.unread.map_or("not known without a link".to_owned(), |count| count.to_string())
    );
    println!("  version   {} of epoch {}", status.version, status.epoch);
    println!("  id space  {:.4} % used", status.id_space_used * 100.0);
    for table in &status.keyless {
        println!("  ! table \"{table}\" has no primary key and is NOT replicated: give it one");
    }
    for trigger in &status.left_out {
        println!("  ! {trigger}");
    }
    if let Some(trouble) = &status.clock {
        println!("  ! {trouble}");
    }
    for (table, rows) in &status.differing {
        println!("  ! table \"{table}\" differs from the hub's in {rows} rows: see tt-edge doctor");
    }
    if let Some(reason) = blocked(status) {
        println!("  ! blocked: {reason}");
    }
}

/// Why the device cannot go on: the hub refuses it, or its file refuses the hub's rows.
const fn blocked(status: &StatusReply) -> Option<&String> {
    match &status.blocked {
        Some(reason) => Some(reason),
        None => status.feed_refused.as_ref(),
    }
}

fn hub_line(status: &StatusReply) -> String {
    match &status.waiting_for {
        _ if status.connected => "connected".to_owned(),
        Some((what, since)) => {
            let age = (crate::clock::now().0 - since) / 1000;
            format!("not connected for {age} s: {what}")
        }
        None => "not connected".to_owned(),
    }
}

//! `tt-edge doctor`: what is wrong with this device, line by line, with and without the daemon.
//!
//! It changes nothing, save that `--compare` has the hub asked, and what differs put right.

use super::{Outcome, addresses, ask, runtime};
use crate::daemon::control::{self, Reply, Request, StatusReply};
use crate::daemon::link;
use crate::daemon::worker::{Event, Worker};
use crate::doctor::{Check, Health, capture, file, inbox, machine};
use crate::identity::Identity;
use crate::place::{Lock, Place, lock};
use crate::{clock, store};
use anyhow::{anyhow, bail};
use clap::Args;
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tt_migrations::progress::Unwatched;
use tt_migrations::replica::Replica;
use tt_migrations::{audit, digest, policy, state};
use tt_protocol::counted::counted;
use tt_protocol::digest::combine;

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Also compare every index with its table: reads the whole file.
    #[arg(long)]
    full: bool,
    /// Have every table compared with the hub's now, and what differs put right.
    #[arg(long, conflicts_with = "digests")]
    compare: bool,
    /// How long the compare may take, in seconds.
    #[arg(long, default_value_t = 120, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Print only the digest of each table: equal on nodes in step.
    #[arg(long)]
    digests: bool,
}

/// How long the daemon may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn doctor(place: &Place, args: &DoctorArgs, json: bool) -> Outcome {
    let db = place.db()?;
    if args.digests {
        return digests(&db, json);
    }
    let mut checks = Vec::new();
    if args.compare {
        checks.push(compare_now(place, Duration::from_secs(args.timeout)));
    }
    checks.push(machine::disk(place.dir()));
    checks.extend(inbox::inbox(place.dir()));
    let tables = examine(&db, args.full, &mut checks);
    checks.push(machine::libraries(&db));
    for check in link_checks(place, &db) {
        // The daemon names triggers that are named already, and those that failed when it fired them.
        if !checks.contains(&check) {
            checks.push(check);
        }
    }
    let failed = checks.iter().any(|check| check.state == Health::Fail);
    if json {
        println!("{}", json!({ "healthy": !failed, "checks": checks, "tables": tables }));
    } else {
        checks.iter().for_each(print);
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print(check: &Check) {
    let mark = match check.state {
        Health::Ok => "ok  ",
        Health::Warn => "warn",
        Health::Fail => "FAIL",
    };
    println!("{mark}  {}: {}", check.check, check.found);
    if let Some(advice) = &check.advice {
        println!("      -> {advice}");
    }
}

/// Looks at the file. Gives the last compare of each table.
fn examine(db: &Path, full: bool, checks: &mut Vec<Check>) -> Vec<Json> {
    let opened = file::open(db).map_err(|error| Check::impossible("file", &error));
    let looked = opened.and_then(|conn| {
        checks.push(Check::ok("file", format!("{} opens", db.display())));
        // One moment for all that follows.
        conn.execute_batch("BEGIN").map_err(|error| Check::impossible("file", &error))?;
        checks.push(file::integrity(&conn, full));
        let replica = replica(&conn).map_err(|error| {
            let found = format!("the replicated tables are not known: {error:#}");
            Check::fail("file", found, "join the device again with tt-edge join TOKEN")
        })?;
        Ok((conn, replica))
    });
    let (conn, replica) = match looked {
        Ok(looked) => looked,
        Err(check) => {
            checks.push(check);
            return Vec::new();
        }
    };
    checks.push(file::foreign_keys(&conn, &replica));
    checks.push(file::journal(&conn));
    checks.push(file::synchronous());
    checks.push(capture::triggers(&conn, &replica));
    checks.extend(capture::left_out(&replica));
    checks.extend(capture::programs_triggers(&conn, &replica));
    checks.push(capture::ids(&conn, &replica));
    checks.extend(capture::feed(&conn));
    match state::get(&conn, state::CLOCK_OFFSET_MS) {
        Ok(offset) => checks.push(capture::clock(offset)),
        Err(error) => checks.push(Check::impossible("clock", &error)),
    }
    match store::audits(&conn, &replica) {
        Ok(audits) => {
            checks.extend(capture::compares(&audits, clock::now()));
            audits.iter().map(described).collect()
        }
        Err(error) => {
            checks.push(Check::impossible("compare", &error));
            Vec::new()
        }
    }
}

fn described(audit: &store::Audit) -> Json {
    json!({
        "table": audit.table,
        "compared_at": audit.at.map(|at| at.0),
        "version": audit.at.map(|_| audit.version.0),
        "outcome": audit.outcome.map(store::Outcome::word),
        "rows": audit.rows,
        "due": audit.due,
    })
}

fn replica(conn: &Connection) -> anyhow::Result<Replica> {
    let policy = policy::kept("the hub's policy", state::get_text(conn, state::POLICY)?.as_deref())?;
    Ok(Replica::look(conn, &policy)?)
}

/// The daemon, the hub, and what was not handed in yet.
fn link_checks(place: &Place, db: &Path) -> Vec<Check> {
    match ask::daemon(place, &Request::Status, PATIENCE) {
        Ok(Some(Reply::Status(status))) => said_by_daemon(&status),
        Ok(Some(Reply::Failed(reason))) => {
            vec![Check::fail("daemon", reason, "see the daemon's log")]
        }
        Ok(Some(_)) => vec![Check::fail("daemon", "it answers in another version", "restart tt-edge run")],
        Err(error) => vec![Check::fail("daemon", format!("{error:#}"), "see the daemon's log")],
        Ok(None) => {
            let mut checks = vec![Check::warn(
                "daemon",
                "it does not run: counts are saved here and not handed in",
                "start tt-edge run",
            )];
            checks.push(unsent(db).unwrap_or_else(|error| {
                Check::fail("unsent", format!("not known: {error:#}"), "run tt-edge doctor --full")
            }));
            checks
        }
    }
}

fn said_by_daemon(status: &StatusReply) -> Vec<Check> {
    let mut checks = vec![Check::ok("daemon", "it runs")];
    checks.push(match (&status.blocked, &status.waiting_for) {
        (Some(reason), _) => {
            Check::fail("link", format!("the hub refuses this device: {reason}"), "see tt-hub edges")
        }
        _ if status.connected => Check::ok("link", last_sync(status.last_sync)),
        (None, Some((what, since))) => {
            let seconds = (clock::now().0 - since) / 1000;
            let found = format!("no link for {seconds} s: {what}; {}", last_sync(status.last_sync));
            Check::warn("link", found, "it is tried again by itself; check the wireless and the hub")
        }
        (None, None) => Check::warn("link", "no link yet", "wait a moment and look again"),
    });
    let found = match status.oldest_unsent_s {
        Some(age) => {
            let rows = counted(status.unsent, "row");
            format!("{rows}, the oldest {age} s old; saved on this device")
        }
        None => counted(status.unsent, "row"),
    };
    checks.push(Check::ok("unsent", found));
    checks.extend(status.left_out.iter().map(|found| capture::programs_trigger(found)));
    checks
}

fn last_sync(at: Option<i64>) -> String {
    at.map_or("not in step since the daemon started".to_owned(), |at| {
        format!("last in step {} s ago", (clock::now().0 - at).max(0) / 1000)
    })
}

/// As `status` counts it, but without putting anything right.
fn unsent(db: &Path) -> anyhow::Result<Check> {
    let conn = file::open(db)?;
    if let Some(reason) = state::get_text(&conn, state::BLOCKED)?.filter(|reason| !reason.is_empty()) {
        let found = format!("the hub refuses this device: {reason}");
        return Ok(Check::fail("link", found, "see tt-hub edges"));
    }
    let (uncut, _) = tt_migrations::outbox::cut::count(&conn, &replica(&conn)?, clock::now().0)?;
    let sql = "SELECT COALESCE(SUM(rows), 0) FROM _sync_outbox WHERE version IS NULL";
    let cut: i64 = conn.query_row(sql, [], |row| row.get(0))?;
    Ok(Check::ok("unsent", counted(uncut + cut.unsigned_abs(), "row")))
}

/// Has every table compared, by the daemon or over a link of our own.
fn compare_now(place: &Place, wait: Duration) -> Check {
    let timeout_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let asked = ask::daemon(place, &Request::Compare { timeout_ms }, wait + Duration::from_secs(5));
    let reply = asked.and_then(|reply| match reply {
        Some(reply) => Ok(reply),
        None => {
            let lock = lock(&place.db()?)?;
            runtime()?.block_on(over_own_link(place, &lock, wait))
        }
    });
    let advice = "check the link with tt-edge sync, and try again";
    match reply.and_then(finished) {
        Ok(()) => Check::ok("compare", "every table was compared with the hub's"),
        Err(error) => Check::fail("compare", format!("not every table was compared: {error:#}"), advice),
    }
}

fn finished(reply: Reply) -> anyhow::Result<()> {
    match reply {
        Reply::Compared => Ok(()),
        Reply::Failed(reason) => Err(anyhow!(reason)),
        Reply::Status(_) | Reply::InStep | Reply::Progress(_) => {
            bail!("the daemon answers in another version: restart it")
        }
    }
}

async fn over_own_link(place: &Place, _lock: &Lock, wait: Duration) -> anyhow::Result<Reply> {
    let db = place.db()?;
    let identity = Identity::load(place.dir())?;
    let addresses = addresses(None, &identity.addresses)?;
    let (events, queue) = mpsc::channel(64);
    let worker = Worker::start((&db, place.dir()), &events, queue, false)?;
    let state = worker.state();
    let stop = tokio_util::sync::CancellationToken::new();
    let keeper = tokio::spawn(link::keep(
        identity,
        addresses,
        place.dir().to_owned(),
        events.clone(),
        Arc::default(),
        Arc::new(Unwatched),
        stop.clone(),
    ));
    let reply = control::compare(&events, &state, wait).await;
    stop.cancel();
    // What stopped is of no interest any more.
    let _ = keeper.await;
    let _ = events.send(Event::Stop).await;
    worker.join();
    Ok(reply)
}

/// The digest of every table, as the file is now.
fn digests(db: &Path, json: bool) -> Outcome {
    let conn = file::open(db)?;
    let conn = conn.unchecked_transaction()?;
    let replica = replica(&conn)?;
    let mut touched =
        conn.query_row("SELECT EXISTS (SELECT 1 FROM _sync_outbox WHERE version IS NULL)", [], |row| {
            row.get(0)
        })?;
    for tracked in replica.tables.values() {
        touched = touched || audit::is_touched(&conn, tracked)?;
    }
    let digests = digest::tables(&conn, &replica)?;
    let version = state::get(&conn, state::VERSION)?.unwrap_or(0);
    let whole = combine(digests.iter().map(|(name, digest)| (name.as_str(), *digest)));
    if json {
        let tables: Vec<Json> = digests
            .iter()
            .map(|(name, digest)| json!({ "table": name, "rows": digest.rows, "digest": digest.to_string() }))
            .collect();
        let epoch = state::get(&conn, state::EPOCH)?.unwrap_or(0);
        let value = json!({ "version": version, "epoch": epoch, "unsent": touched, "digest": whole, "tables": tables });
        println!("{value}");
        return Ok(ExitCode::SUCCESS);
    }
    println!("version {version}{}, digest {whole}", if touched { " with unsent changes" } else { "" });
    for (name, digest) in &digests {
        println!("  {name}: {}, {digest}", counted(digest.rows, "row"));
    }
    Ok(ExitCode::SUCCESS)
}

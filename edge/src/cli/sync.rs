//! `tt-edge sync`: one round, by the running daemon or by this process.

use super::{Outcome, addresses, ask, runtime};
use crate::daemon::control::{self, Reply, Request};
use crate::daemon::link;
use crate::daemon::worker::{Event, Worker};
use crate::identity::Identity;
use crate::place::{Lock, Place, PlaceError, lock};
use anyhow::{anyhow, bail};
use clap::Args;
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tt_migrations::progress::Progress;
use tt_terminal::bar::Bar;

/// How often to look whether a daemon that is starting listens.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
pub(super) struct SyncArgs {
    /// How long to try, in seconds.
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS")]
    timeout: f64,
    /// One more address of the hub, HOST:PORT; remembered.
    #[arg(long, value_name = "ADDR")]
    hub: Option<String>,
}

pub(super) fn sync(place: &Place, args: SyncArgs, json: bool) -> Outcome {
    if !args.timeout.is_finite() || args.timeout <= 0.0 || args.timeout > 86_400.0 {
        bail!("--timeout takes seconds, more than 0 and at most a day");
    }
    let wait = Duration::from_secs_f64(args.timeout);
    place.db()?;
    let mut identity = Identity::load(place.dir())?;
    let all = addresses(args.hub.as_ref(), &identity.addresses)?;
    if let Some(address) = &args.hub {
        identity.add_address(place.dir(), address)?;
    }
    let bar = Arc::new(Bar::for_command(json));
    let timeout_ms = u64::try_from(wait.as_millis())?;
    let reply = match who(place, &Request::Sync { timeout_ms }, wait, bar.as_ref())? {
        Who::Daemon(reply) => reply,
        Who::ThisProcess(lock) => {
            runtime()?.block_on(once(place, &lock, (identity, all), Event::Ask, (wait, bar.clone())))?
        }
    };
    bar.end();
    match reply {
        Reply::InStep => {
            if json {
                println!("{}", json!({ "in_step": true }));
            } else {
                println!("In step with the hub: nothing unsent, nothing unread.");
            }
            Ok(ExitCode::SUCCESS)
        }
        Reply::Failed(reason) => {
            Err(anyhow!("{reason}. Nothing is lost: what is not sent stays in the file"))
        }
        Reply::Status(_) | Reply::Compared | Reply::Progress(_) => {
            Err(anyhow!("the daemon answers in another version: restart it"))
        }
    }
}

/// Who does the work.
pub(super) enum Who {
    /// The daemon did.
    Daemon(Reply),
    /// This process may: it holds the file's lock.
    ThisProcess(Lock),
}

/// Asks the daemon, or takes its place. One that is starting holds the lock already but does not listen
/// yet; another `sync` is over soon: both are worth waiting for.
pub(super) fn who(
    place: &Place,
    request: &Request,
    wait: Duration,
    progress: &dyn Progress,
) -> anyhow::Result<Who> {
    let db = place.db()?;
    let mut left = wait;
    loop {
        if let Some(reply) = ask::daemon_watched(place, request, wait + Duration::from_secs(5), progress)? {
            return Ok(Who::Daemon(reply));
        }
        match lock(&db) {
            Ok(lock) => return Ok(Who::ThisProcess(lock)),
            Err(PlaceError::Locked { .. }) if left > Duration::ZERO => std::thread::sleep(LOOK),
            Err(error) => return Err(error.into()),
        }
        left = left.saturating_sub(LOOK);
    }
}

/// Writes into the file of which hub it is. A file that cannot be written says so to whoever really needs it.
pub(super) fn know_hub(db: &Path, identity: &Identity) {
    if let Err(error) = crate::store::know_hub(db, &identity.ca) {
        tracing::debug!(%error, "the file does not say of which hub it is");
    }
}

/// Links, asks until the end of the wait, and goes.
pub(super) async fn once(
    place: &Place,
    _lock: &Lock,
    (identity, addresses): (Identity, Vec<String>),
    question: impl FnOnce(oneshot::Sender<Result<(), String>>) -> Event,
    (wait, progress): (Duration, Arc<dyn Progress>),
) -> anyhow::Result<Reply> {
    let db = place.db()?;
    know_hub(&db, &identity);
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
        progress,
        stop.clone(),
    ));
    let reply = control::ask(&events, &state, wait, question).await;
    stop.cancel();
    let _ = keeper.await;
    let _ = events.send(Event::Stop).await;
    worker.join();
    Ok(reply)
}

//! `tt-edge reseed`: hands in what is unsent, then makes the file's tables equal to the hub's, while programs
//! keep the file open. By the running daemon or by this process.

use super::sync::{Who, once, who};
use super::{Outcome, addresses, runtime};
use crate::daemon::control::{Reply, Request};
use crate::daemon::worker::Event;
use crate::doctor::file::DAMAGED;
use crate::identity::Identity;
use crate::place::Place;
use crate::salvage;
use anyhow::{anyhow, bail};
use clap::Args;
use serde_json::json;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tt_migrations::progress::Progress as _;
use tt_terminal::bar::Bar;

#[derive(Debug, Args)]
pub(super) struct ReseedArgs {
    /// How long to wait for its end, in seconds. What is not done by then goes on with the next link.
    #[arg(long, default_value_t = 600.0, value_name = "SECONDS")]
    timeout: f64,
}

pub(super) fn reseed(place: &Place, args: &ReseedArgs, json: bool) -> Outcome {
    if !args.timeout.is_finite() || args.timeout <= 0.0 || args.timeout > 86_400.0 {
        bail!("--timeout takes seconds, more than 0 and at most a day");
    }
    let wait = Duration::from_secs_f64(args.timeout);
    let db = place.db()?;
    if db.exists()
        && let Some(found) = salvage::damage(&db)?
    {
        bail!("{} is damaged ({found}): {DAMAGED}", db.display());
    }
    let identity = Identity::load(place.dir())?;
    let all = addresses(None, &identity.addresses)?;
    let bar = Arc::new(Bar::for_command(json));
    bar.step("handing in what is unsent");
    let timeout_ms = u64::try_from(wait.as_millis())?;
    let reply =
        match who(place, &Request::Reseed { timeout_ms, progress: bar.is_drawn() }, wait, bar.as_ref())? {
            Who::Daemon(reply) => reply,
            Who::ThisProcess(lock) => runtime()?.block_on(once(
                place,
                &lock,
                (identity, all),
                Event::Reseed,
                (wait, bar.clone()),
            ))?,
        };
    bar.end();
    match reply {
        Reply::InStep if json => println!("{}", json!({ "reseeded": true })),
        Reply::InStep => println!("Reseeded: the file's rows are the hub's, and nothing is unsent."),
        Reply::Failed(reason) => {
            return Err(anyhow!(
                "{reason}. Nothing is lost: the file is as it was, and the reseed goes on with the next link"
            ));
        }
        Reply::Status(_) | Reply::Compared | Reply::Progress(_) => {
            return Err(anyhow!("the daemon answers in another version: restart it"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

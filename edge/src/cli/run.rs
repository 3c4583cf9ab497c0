//! `tt-edge run`.

use super::sync::know_hub;
use super::{Outcome, addresses, runtime};
use crate::identity::Identity;
use crate::place::Place;
use crate::station::Http;
use clap::Args;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// One more address of the hub, HOST:PORT; remembered.
    #[arg(long, value_name = "ADDR")]
    hub: Option<String>,
    /// Where the station page is, IP:PORT; port 0 takes any, "off" turns it off. Without this it is at
    /// 127.0.0.1:8788, if nobody else is there.
    #[arg(long, value_name = "IP:PORT", value_parser = http)]
    http: Option<Http>,
    /// Log JSON lines for a collector.
    #[arg(long)]
    log_json: bool,
}

fn http(text: &str) -> Result<Http, String> {
    if text == "off" {
        return Ok(Http::Off);
    }
    text.parse().map(Http::At).map_err(|_| format!("{text} is neither IP:PORT nor off"))
}

pub(super) fn daemon(place: &Place, args: RunArgs) -> Outcome {
    let db = place.db()?;
    let mut identity = Identity::load(place.dir())?;
    let all = addresses(args.hub.as_ref(), &identity.addresses)?;
    if let Some(address) = &args.hub {
        identity.add_address(place.dir(), address)?;
    }
    log(args.log_json);
    know_hub(&db, &identity);
    runtime()?.block_on(crate::daemon::run(place, identity, all, args.http.unwrap_or_default()))?;
    Ok(ExitCode::SUCCESS)
}

fn log(json: bool) {
    let filter = EnvFilter::try_from_env("TT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // A log that has no room must not end whoever has something to say.
    let builder = builder.log_internal_errors(false);
    // No colours in a journal.
    let builder = builder.with_ansi(io::stderr().is_terminal());
    if json {
        builder.json().init();
    } else {
        builder.with_target(false).init();
    }
}

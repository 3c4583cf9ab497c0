//! `health`: every check on one screen, and an exit code for scripts.

use super::{CliError, Place, edges, output};
use crate::clock;
use crate::config::Config;
use crate::folder::Folder;
use crate::health::{self, Report, State};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Exit with 1 for warnings too.
    #[arg(long)]
    strict: bool,
}

pub(super) fn run(place: &Place, arguments: &Arguments) -> Result<(), CliError> {
    let folder = Folder::of_hub(&std::path::absolute(&place.data)?)?;
    let config = Config::read(&folder)?;
    let daemon = health::daemon(edges::daemon(&folder).map_err(|error| error.to_string()));
    let now = clock::now().0.div_euclid(1_000);
    let mut report = health::look(&folder, &config.backup, daemon, now)?;
    report.checks.extend(config.http_tls.map(|https| health::https(&folder, &https, now)));
    if place.json {
        output::json(&report.json())?;
    } else {
        output::text(&text(&report))?;
    }
    let bound = if arguments.strict { State::Warning } else { State::Critical };
    if report.state() >= bound { Err(CliError::Unhealthy) } else { Ok(()) }
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for check in &report.checks {
        text.push_str(&format!("{:<9} {:<10} {}\n", check.state.word(), check.name, check.what));
    }
    text.push_str(&format!("\n{}\n", report.state().word().to_uppercase()));
    text
}

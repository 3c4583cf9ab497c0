//! The command line. Only this module knows the terminal: it prints results on stdout, one error with
//! its hint on stderr, and maps what happened to an exit code.
//!
//! Exit codes: 0 fine, 1 failed or unhealthy, 2 bad usage.

mod ask;
mod count;
mod doctor;
mod import;
mod join;
mod leave;
mod reseed;
mod run;
mod status;
mod sync;

use crate::place::Place;
use anyhow::anyhow;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use serde_json::json;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tt_terminal::watch::Watch;

/// Replicates a device's SQLite file with the hub. Programs go on using the file as they always did.
#[derive(Debug, Parser)]
#[command(name = "tt-edge", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Args)]
struct Global {
    /// The daemon's folder on this device.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "TT_EDGE_DATA",
        default_value = "/var/lib/tablettracker/edge"
    )]
    data: PathBuf,
    /// Print JSON for scripts.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Enrol this device with a token from the hub, and fetch the rows.
    Join(join::JoinArgs),
    /// The daemon: hands in what programs write, and brings what others wrote.
    Run(run::RunArgs),
    /// One round: send all, fetch all. Exit 0 when nothing is unsent or unread.
    Sync(sync::SyncArgs),
    /// Make the file anew from the hub's rows; unsent work is handed in first, and programs go on.
    Reseed(reseed::ReseedArgs),
    /// Take this device off its hub: unsent work is handed in, and the file is the program's alone again.
    Leave(leave::LeaveArgs),
    /// How this device is doing.
    Status(Watch),
    /// Record a count from a shell or a scanner.
    Count(count::CountArgs),
    /// Take the counts or rows of a CSV or JSON-lines file in, as the inbox does.
    Import(import::ImportArgs),
    /// Find what is wrong with this device. Exit 1 when something is broken.
    Doctor(doctor::DoctorArgs),
    /// Print a script with which a shell completes this program's commands and flags.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write a manual page for each of this program's commands into a folder.
    Man {
        /// The folder, such as /usr/local/share/man/man1.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

/// What a command comes to: the exit code.
type Outcome = anyhow::Result<ExitCode>;

/// Parses the line, runs the command, prints one error.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            // Nothing is left to be said when the terminal itself is gone.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let place = Place::new(&cli.global.data);
    let json = cli.global.json;
    let outcome = match cli.command {
        Command::Join(args) => join::join(&place, args, json),
        Command::Run(args) => run::daemon(&place, args),
        Command::Sync(args) => sync::sync(&place, args, json),
        Command::Reseed(args) => reseed::reseed(&place, &args, json),
        Command::Leave(args) => leave::leave(&place, &args, json),
        Command::Status(watch) => status::status(&place, &watch, json),
        Command::Doctor(args) => doctor::doctor(&place, &args, json),
        Command::Import(args) => import::import(&place, &args, json),
        Command::Count(args) => count::count(&place, args, json),
        Command::Completions { shell } => completions(shell),
        Command::Man { folder } => man(&folder, json),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("tt-edge: {error:#}");
        ExitCode::FAILURE
    })
}

fn completions(shell: Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tt-edge", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

fn man(folder: &Path, json: bool) -> Outcome {
    let pages = tt_terminal::man::write(Cli::command(), folder).map_err(|error| {
        let folder = folder.display();
        anyhow!("cannot write manual pages into {folder}: {error}; check the folder's owner and mode, or name another")
    })?;
    if json {
        println!("{}", json!({ "folder": folder, "pages": pages }));
    } else {
        println!("{} manual pages are in {}", pages.len(), folder.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// A runtime on this thread: a device has better things to do than to keep threads for us.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Addresses to try: the one given now first, then those that the hub named.
fn addresses(given: Option<&String>, known: &[String]) -> anyhow::Result<Vec<String>> {
    if let Some(address) = given {
        tt_protocol::link::check_address(address)?;
    }
    let mut all: Vec<String> = given.cloned().into_iter().collect();
    all.extend(known.iter().filter(|address| Some(*address) != given).cloned());
    Ok(all)
}

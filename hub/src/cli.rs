//! The program `tt-hub`: reads the command line, runs one command, and says how it went.
//!
//! Only here and below does the hub know a terminal. Results go to stdout, everything else to stderr;
//! an error is one line: what failed, on what, what to do next.

mod backup;
mod conflicts;
mod drill;
mod edges;
mod health;
mod history;
mod init;
mod invite;
mod maintain;
mod migrate;
mod output;
mod rescue;
mod reseed;
mod restore;
mod status;

use crate::config::ConfigError;
use crate::control::ControlError;
use crate::daemon::{self, DaemonError};
use crate::database::DatabaseError;
use crate::devices::DevicesError;
use crate::folder::FolderError;
use crate::restore::RestoreError;
use crate::store::migrate::MigrateError;
use crate::view::ViewError;
use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use serde_json::json;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use tt_terminal::watch::Watch;

#[derive(Parser)]
#[command(name = "tt-hub", version, about = "Merges what devices count into one database")]
struct Arguments {
    /// The hub's folder.
    #[arg(
        long,
        global = true,
        env = "TT_HUB_DATA",
        value_name = "DIR",
        default_value = "/var/lib/tablettracker/hub"
    )]
    data: PathBuf,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Set up a new hub: database, certificate authority, settings.
    Init(init::Arguments),
    /// Run the daemon.
    Serve(daemon::Arguments),
    /// Make a token with which one device can join.
    Invite(invite::Arguments),
    /// List the devices.
    Edges(Watch),
    /// Cut a device off, at once and for ever.
    Revoke {
        /// Name of the device.
        name: String,
    },
    /// Order a device to make its file anew from the hub's rows, without losing unsent work.
    Reseed {
        /// Name of the device.
        name: String,
    },
    /// Take the unsent work out of a lost device's file. The file is never written.
    Rescue(rescue::Arguments),
    /// Show how the hub is doing.
    Status(status::Arguments),
    /// Cut the history that devices do not need any more.
    Maintain(maintain::Arguments),
    /// Show or apply numbered changes of the schema.
    Migrate(migrate::Arguments),
    /// Make a backup and read every copy back.
    Backup(backup::MakeArguments),
    /// List the backups.
    Backups(Watch),
    /// Read copies back, and make bad ones again from good ones.
    Verify(backup::VerifyArguments),
    /// Remove backups that no tier keeps any more.
    Prune(backup::PruneArguments),
    /// Rehearse a restore in a scratch folder, journal and all, and compare what comes out.
    Drill,
    /// Check database, backups and disks, and exit with 1 when something is critical.
    Health(health::Arguments),
    /// Bring the database back from a backup, a file or a moment; `restore undo` takes that back.
    Restore(restore::Arguments),
    /// List what could not be merged or was overruled, and decide about it.
    Conflicts(conflicts::Arguments),
    /// Who changed a row, when, from what to what.
    History(history::Arguments),
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

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Devices(#[from] DevicesError),
    #[error(transparent)]
    Ca(#[from] crate::ca::CaError),
    #[error(transparent)]
    Init(#[from] init::InitError),
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    #[error(transparent)]
    Backup(#[from] crate::backup::BackupError),
    #[error(transparent)]
    Restore(RestoreError),
    #[error(transparent)]
    Migrate(Box<MigrateError>),
    #[error(
        "cannot read the hub's database: {0}; run `tt-hub status`, and bring back a backup if it fails, too"
    )]
    Sqlite(#[from] rusqlite::Error),
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    View(ViewError),
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    #[error("there is no conflict {0}: `tt-hub conflicts --all` lists them")]
    NoConflict(i64),
    #[error(transparent)]
    Rescue(#[from] crate::rescue::RescueError),
    #[error("not all of the file could be handed in: each line above says what, and the rest is in")]
    NotAll,
    #[error("the hub is not well: each line that says so says what to do")]
    Unhealthy,
    #[error("cannot write manual pages into {folder}: {source}; check the folder's owner and mode, or name another", folder = .folder.display())]
    Man { folder: PathBuf, source: std::io::Error },
    #[error("cannot print: {0}")]
    Output(#[from] std::io::Error),
}

impl From<ViewError> for CliError {
    fn from(error: ViewError) -> Self {
        match error {
            ViewError::Key(usage) => Self::Usage(usage),
            error => Self::View(error),
        }
    }
}

impl From<RestoreError> for CliError {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Time(_) => Self::Usage(error.to_string()),
            error => Self::Restore(error),
        }
    }
}

impl From<MigrateError> for CliError {
    fn from(error: MigrateError) -> Self {
        Self::Migrate(Box::new(error))
    }
}

/// Where a command works and how it prints.
struct Place {
    data: PathBuf,
    json: bool,
}

/// Runs the program with these arguments, the first of which is its own name. The code is 0 when all is
/// well, 1 when the command failed, 2 when it was not understood.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing is left to say when the terminal is gone.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let place = Place { data: arguments.data, json: arguments.json };
    match perform(&place, arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has seen enough.
        Err(CliError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tt-hub: {error}");
            if matches!(error, CliError::Usage(_)) { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

fn perform(place: &Place, command: Command) -> Result<(), CliError> {
    match command {
        Command::Init(arguments) => init::run(place, &arguments),
        Command::Serve(arguments) => Ok(daemon::serve(&place.data, arguments)?),
        Command::Invite(arguments) => invite::invite(place, arguments),
        Command::Revoke { name } => invite::revoke(place, name),
        Command::Reseed { name } => reseed::order(place, name),
        Command::Edges(watch) => edges::run(place, &watch),
        Command::Rescue(arguments) => rescue::run(place, &arguments),
        Command::Status(arguments) => status::run(place, &arguments),
        Command::Maintain(arguments) => maintain::run(place, &arguments),
        Command::Migrate(arguments) => migrate::run(place, &arguments),
        Command::Backup(arguments) => backup::make(place, &arguments),
        Command::Backups(watch) => backup::list(place, &watch),
        Command::Verify(arguments) => backup::verify(place, &arguments),
        Command::Prune(arguments) => backup::prune(place, &arguments),
        Command::Drill => drill::run(place),
        Command::Health(arguments) => health::run(place, &arguments),
        Command::Restore(arguments) => restore::run(place, &arguments),
        Command::Conflicts(arguments) => conflicts::run(place, arguments),
        Command::History(arguments) => history::run(place, &arguments),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "tt-hub", &mut script);
            Ok(output::text(&String::from_utf8_lossy(&script))?)
        }
        Command::Man { folder } => man(place, folder),
    }
}

fn man(place: &Place, folder: PathBuf) -> Result<(), CliError> {
    let pages = tt_terminal::man::write(Arguments::command(), &folder)
        .map_err(|source| CliError::Man { folder: folder.clone(), source })?;
    if place.json {
        return Ok(output::json(&json!({ "folder": folder, "pages": pages }))?);
    }
    Ok(output::text(&format!("{} manual pages are in {}\n", pages.len(), folder.display()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn folder_and_json_stand_anywhere() {
        for line in [
            "tt-hub --data /d --json edges",
            "tt-hub edges --json --data /d",
            "tt-hub --json conflicts show 7 --data /d",
        ] {
            let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
            assert!(arguments.json && arguments.data == std::path::Path::new("/d"), "{line}");
        }
    }
}

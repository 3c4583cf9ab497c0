//! Measures what the project claims, each beside the same work in plain SQLite in the same run.
//!
//! Absolute figures drift from machine to machine; the ratios are what counts. `tt-bench` runs all with
//! bounded sizes; name one to run it alone.

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tt_tests::bench::{backlog, backup, idle, inbox, journal, live, reseed, wire, writes};
use tt_tests::node::{Program, play};

#[derive(Parser)]
#[command(name = "tt-bench")]
struct Cli {
    /// How often each figure is measured; the median and the spread are printed.
    #[arg(long, default_value_t = 5, global = true)]
    runs: usize,
    /// Rows of the bulk measurements.
    #[arg(long, default_value_t = 100_000, global = true)]
    rows: u32,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Clone, Copy, Subcommand)]
enum What {
    /// A program's writes with capture, against the same without.
    Writes,
    /// A backlog from an edge to the hub and on to another edge, against plain bulk inserts.
    Backlog,
    /// From a commit on one edge to its being visible on another, through the hub.
    Live,
    /// Memory, wake-ups, processor time and bytes of devices that are linked and have nothing to do, and of their hub.
    Idle {
        /// Devices.
        #[arg(long, default_value_t = 3)]
        devices: u32,
        /// How long to look.
        #[arg(long, default_value_t = 2)]
        minutes: u32,
    },
    /// A file of scanned lines, against the same lines into a plain file, and what a program waits meanwhile.
    Inbox,
    /// Bytes of a changeset per row.
    Wire,
    /// A whole verified backup and a restore, against gzip alone.
    Backup {
        /// Submissions in the database; 11,000 make 3 MB, 400,000 make 109 MB, 745,000 make 203 MB.
        #[arg(long, default_value_t = 400_000)]
        size: u32,
    },
    /// Bytes of the journal, how far vaults are behind, replay, and commits at the hub during a backup.
    Journal {
        /// Submissions in the database of which the backup is made.
        #[arg(long, default_value_t = 400_000)]
        size: u32,
    },
    /// A new device, and one that is 1 % behind: bytes and seconds, against cp and gunzip.
    Reseed {
        /// Megabytes of the database.
        #[arg(long, default_value_t = 50)]
        size: u32,
    },
}

fn main() -> ExitCode {
    play("tt-bench", run)
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let program = Program(std::env::current_exe()?);
    let all = [
        What::Writes,
        What::Wire,
        What::Backlog,
        What::Live,
        What::Idle { devices: 3, minutes: 2 },
        What::Inbox,
        What::Backup { size: 400_000 },
        What::Journal { size: 400_000 },
        What::Reseed { size: 50 },
    ];
    for what in cli.what.map_or_else(|| all.to_vec(), |what| vec![what]) {
        match what {
            What::Writes => writes::measure(cli.runs, cli.rows)?,
            What::Wire => wire::measure(cli.rows)?,
            What::Backlog => backlog::measure(&program, cli.runs, cli.rows)?,
            What::Backup { size } => backup::measure(&program, cli.runs, size)?,
            What::Journal { size } => journal::measure(&program, cli.runs, cli.rows, size)?,
            What::Reseed { size } => reseed::measure(&program, cli.runs, size)?,
            What::Idle { devices, minutes } => idle::measure(&program, devices, minutes)?,
            What::Inbox => inbox::measure(&program, cli.runs)?,
            What::Live => live::measure(&program, cli.runs)?,
        }
    }
    Ok(())
}

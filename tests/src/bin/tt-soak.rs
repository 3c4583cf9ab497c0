//! Hubs, devices and programs as real processes for an hour, with all faults mixed: `tt-soak --minutes 60 --seed N`.
//!
//! The last line says that nothing was lost and nothing doubled, and the exit code is 0; or it is 1, what is wrong is
//! named by what the ledger calls it, and the folder with all logs stays. `tt-soak hub …` is `tt-hub …`, `tt-soak edge
//! …` is `tt-edge …`, and `tt-soak station …` is a program at a station.

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use tt_tests::node::{Program, play};
use tt_tests::soak::{self, Plan, station};

#[derive(Parser)]
#[command(name = "tt-soak", about = "A hub, its devices and their programs, with all faults mixed")]
struct Cli {
    /// How long.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Ends after so many faults, and leaves less time between them.
    #[arg(long)]
    faults: Option<u64>,
    /// The seed of all chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of devices.
    #[arg(long, default_value_t = 4)]
    devices: usize,
    /// Where to make its folder, which stays only when something is wrong.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Subcommand)]
enum Part {
    /// Be a program at a station until the input is closed.
    Station {
        /// The station's file.
        #[arg(long)]
        db: PathBuf,
        /// Its ledger.
        #[arg(long)]
        book: PathBuf,
        /// Its name.
        #[arg(long)]
        who: String,
        /// The seed of all chance.
        #[arg(long)]
        seed: u64,
        /// Milliseconds between two transactions, on average.
        #[arg(long)]
        pace: u64,
        /// Its disk may run full.
        #[arg(long)]
        small_disk: bool,
    },
}

fn main() -> ExitCode {
    play("tt-soak", run)
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let Cli { minutes, faults, seed, devices, dir, part } = cli;
    match part {
        Some(Part::Station { db, book, who, seed, pace, small_disk }) => {
            station::work(&station::Orders { db, book, who, seed, pace_ms: pace, small_disk })
        }
        None => {
            let parent = dir.unwrap_or_else(std::env::temp_dir);
            let program = Program(std::env::current_exe()?);
            soak::run(&program, &Plan { minutes, faults, seed, devices: devices.max(1), parent })
        }
    }
}

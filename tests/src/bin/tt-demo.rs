//! Plays the story of three devices that lose their link; and every part in it.
//!
//! `tt-demo` alone plays. `tt-demo hub …` is `tt-hub …`, `tt-demo edge …` is `tt-edge …`, and
//! `tt-demo writer …` is a program at a station: so that the story runs in real processes.

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use tt_tests::node::{Program, play};
use tt_tests::writer::Work;
use tt_tests::{demo, writer};

#[derive(Parser)]
#[command(name = "tt-demo")]
struct Cli {
    /// Where to make the folder of the story.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Subcommand)]
enum Part {
    /// Be a program at a station: record counts in plain SQL, and say how much.
    Writer {
        /// The station's file.
        #[arg(long)]
        db: PathBuf,
        /// Name of the person who counts.
        #[arg(long)]
        who: String,
        /// How many counts.
        #[arg(long)]
        counts: u64,
        /// On how many lines of purchase orders.
        #[arg(long)]
        lines: i64,
        /// Which counts are added to a line: every so many-th.
        #[arg(long, default_value_t = 1)]
        every: u64,
        /// The seed of all chance.
        #[arg(long)]
        seed: u64,
    },
}

fn main() -> ExitCode {
    play("tt-demo", run)
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.part {
        None => demo::play(&Program(std::env::current_exe()?), cli.folder),
        Some(Part::Writer { db, who, counts, lines, every, seed }) => {
            let written = writer::record(&db, &who, Work { counts, every, lines, seed })?;
            println!("{} {}", written.submissions, written.tablets);
            Ok(())
        }
    }
}

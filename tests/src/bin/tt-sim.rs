//! Long runs of simulated worlds: `tt-sim --seed N` replays one, `tt-sim --from A --worlds N` runs many
//! and prints each seed that failed. Exit code 1 when one did.

use clap::Parser;
use std::process::ExitCode;
use tt_tests::sim::{pure, run};

#[derive(Parser)]
#[command(about = "Simulated worlds of a hub and its devices")]
struct Arguments {
    /// Replays one seed.
    #[arg(long)]
    seed: Option<u64>,
    /// First seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Number of seeds.
    #[arg(long, default_value_t = 1_000)]
    worlds: u64,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Looks at every node after every step.
    #[arg(long)]
    watch: bool,
    /// Sessions only, without files: many thousand worlds a second.
    #[arg(long)]
    pure: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let range = match arguments.seed {
        Some(seed) => seed..seed + 1,
        None => arguments.from..arguments.from + arguments.worlds,
    };
    println!("seeds {}..{}", range.start, range.end);
    let kind = if arguments.pure { " --pure" } else { "" };
    let world = match (arguments.pure, arguments.watch) {
        (true, _) => pure::world,
        (false, true) => run::world_watched,
        (false, false) => run::world,
    };
    let failed = run::seeds(range, arguments.threads, world);
    for (seed, cause) in &failed {
        let cause: String = cause.chars().take(600).collect();
        println!("seed {seed}: {cause}\n  again: cargo run --bin tt-sim -- --seed {seed}{kind}");
    }
    println!("{} failed", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

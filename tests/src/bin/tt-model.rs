//! Long runs of scripted worlds against the model of the merge rules: `tt-model --seed N` replays one,
//! `tt-model --from A --worlds N` runs many. Exit code 1 when one failed.

use clap::Parser;
use std::process::ExitCode;
use tt_tests::sim::{model, run};

#[derive(Parser)]
#[command(about = "Scripted worlds of a hub and its devices, against a model of the merge rules")]
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
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let range = match arguments.seed {
        Some(seed) => seed..seed + 1,
        None => arguments.from..arguments.from + arguments.worlds,
    };
    println!("seeds {}..{}", range.start, range.end);
    // A failure is told once, at the end, with its script.
    std::panic::set_hook(Box::new(|_| {}));
    let failed = run::seeds(range, arguments.threads, model::run::world);
    for (seed, cause) in &failed {
        println!("seed {seed}: {cause}\n  again: cargo run --release --bin tt-model -- --seed {seed}");
    }
    println!("{} failed", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

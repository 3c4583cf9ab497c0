//! Daemons die by `kill -9` at random moments while programs count, with the link down and then up.
//!
//! The seed is printed, and `SEED=n` plays one again: it decides who dies when. Afterwards every row is
//! there once, the counter is exact on every node, and nothing is unsent.

use crate::journal;
use crate::warehouse::{Done, Warehouse, program};
use anyhow::{Context as _, ensure};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tt_tests::inspect;
use tt_tests::node::Edge;
use tt_tests::sim::random::Random;

const DEVICES: [&str; 3] = ["packing-1", "packing-2", "scanner-1"];
/// Rows that each device inserts; every second one comes with an increment of the one counter.
const ROWS: i64 = 1_000;
/// The counter.
const COUNTER: &str = "SELECT good_count FROM po_lines WHERE id = 1";
/// Kills after the link is back, while rows are under way.
const STRIKES_ONLINE: u32 = 5;

#[test]
fn nothing_is_lost_when_daemons_die_first_seed() -> Done {
    play(1)
}

#[test]
fn nothing_is_lost_when_daemons_die_second_seed() -> Done {
    play(2)
}

#[test]
fn nothing_is_lost_when_daemons_die_third_seed() -> Done {
    play(3)
}

fn play(seed: u64) -> Done {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(seed);
    println!("SEED={seed}");
    let mut story = Story::begin(seed)?;
    let before = inspect::number(&story.warehouse.hub.db(), COUNTER)?;
    let added = story.count_without_link()?;
    story.come_back()?;
    story.prove(before + added)
}

struct Story {
    warehouse: Warehouse,
    edges: Vec<Edge>,
    random: Random,
    seed: u64,
    /// The hub's file at the beginning.
    snapshot: PathBuf,
}

impl Story {
    fn begin(seed: u64) -> anyhow::Result<Self> {
        let warehouse = Warehouse::open()?;
        let edges = DEVICES.iter().map(|name| warehouse.linked(name)).collect::<anyhow::Result<_>>()?;
        let snapshot = journal::snapshot(&warehouse.hub)?;
        Ok(Self { warehouse, edges, random: Random::new(seed), seed, snapshot })
    }

    /// Gives what the programs have added to the counter.
    fn count_without_link(&mut self) -> anyhow::Result<i64> {
        self.warehouse.relay.cut();
        let seeds = self.seed * 10..;
        let devices = DEVICES.iter().zip(&self.edges).zip(seeds);
        let mut writers: Vec<Child> = devices
            .map(|((name, edge), seed)| start_writer(edge, name, seed))
            .collect::<anyhow::Result<_>>()?;
        while still_writing(&mut writers)? {
            self.strike()?;
        }
        writers.into_iter().map(tablets).sum()
    }

    fn come_back(&mut self) -> Done {
        self.warehouse.relay.mend();
        for _ in 0..STRIKES_ONLINE {
            self.strike()?;
        }
        Ok(())
    }

    /// Lets a random time pass, and kills somebody, who is started again.
    fn strike(&mut self) -> Done {
        std::thread::sleep(Duration::from_millis(20 + self.random.below(150)));
        let victim = usize::try_from(self.random.below(4))?;
        if let Some(edge) = self.edges.get_mut(victim) {
            edge.daemon.take().context("it runs")?.kill()?;
            return edge.run();
        }
        self.warehouse.kill_hub()?;
        self.warehouse.serve()
    }

    fn prove(&mut self, expected: i64) -> Done {
        let edges: Vec<&Edge> = self.edges.iter().collect();
        self.warehouse.agree(&edges)?;
        for db in std::iter::once(self.warehouse.hub.db()).chain(edges.iter().map(|edge| edge.db())) {
            ensure!(inspect::number(&db, COUNTER)? == expected, "the counter is wrong in {}", db.display());
            for name in DEVICES {
                let rows = format!(
                    "SELECT COUNT(DISTINCT box_number * 100 + bag_number) * 10000 + COUNT(*)
                     FROM warehouse_submissions WHERE employee_name = '{name}'"
                );
                ensure!(inspect::number(&db, &rows)? == ROWS * 10_001, "rows of {name} in {}", db.display());
            }
            let ids = "SELECT COUNT(*) = COUNT(DISTINCT id) AND MAX(id) < 1 << 53 FROM warehouse_submissions";
            ensure!(inspect::number(&db, ids)? == 1, "ids in {}", db.display());
        }
        ensure!(self.warehouse.conflicts()?.is_empty(), "nothing was contested");
        self.warehouse.kill_hub()?;
        self.warehouse.serve()?;
        journal::prove(&self.warehouse.hub, &self.snapshot)
    }
}

fn start_writer(edge: &Edge, who: &str, seed: u64) -> anyhow::Result<Child> {
    let mut command = Command::new(program().0);
    command.args(["writer", "--who", who, "--counts", &ROWS.to_string(), "--lines", "1", "--every", "2"]);
    command.args(["--seed", &seed.to_string(), "--db"]).arg(edge.db());
    Ok(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?)
}

fn still_writing(writers: &mut [Child]) -> anyhow::Result<bool> {
    for writer in writers {
        if writer.try_wait()?.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn tablets(writer: Child) -> anyhow::Result<i64> {
    let output = writer.wait_with_output()?;
    ensure!(output.status.success(), "a program at a station failed: {}", output.status);
    let said = String::from_utf8(output.stdout)?;
    let (rows, tablets) = said.trim().split_once(' ').context("a writer says two numbers")?;
    ensure!(rows == ROWS.to_string(), "a program wrote {rows} rows");
    Ok(tablets.parse()?)
}

//! Whoever takes a file dies by `kill -9` at any moment, is started again and dies again; then each line is there
//! once, and each line that does not fit is kept once.
//!
//! Each seed is one file. It says how long the file is, which lines are bad, whether the daemon or a person takes
//! it, and when death comes. Seeds are printed. `TT_INBOX_SEEDS=200 cargo test -p tt-tests --test inbox kills --
//! --nocapture` plays more of them, `SEED=n` one alone.

use crate::folder::{drop_in, inbox};
use crate::warehouse::{Done, Warehouse, program};
use anyhow::{Context as _, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tt_tests::inspect;
use tt_tests::node::{Edge, until};
use tt_tests::sim::random::Random;

/// Enough to find a rule that is broken; the long command plays more.
const SEEDS: u64 = 12;
const CONFIG: &str =
    "settle_s = 0.01\nrescan_s = 0.1\n\n[[file]]\nname = \"counts-*.csv\"\ncount = \"direct\"\n";

#[test]
fn each_line_is_there_once_whoever_dies() -> Done {
    let one = number("SEED");
    let seeds = one.map_or(1..=number("TT_INBOX_SEEDS").unwrap_or(SEEDS), |seed| seed..=seed);
    let mut warehouse = Warehouse::open()?;
    let mut edge = warehouse.device("scanner-1")?;
    warehouse.stop_hub()?;
    fs::write(edge.dir.join("inbox.toml"), CONFIG)?;
    let mut reached = BTreeMap::new();
    let mut times = Times::measure(&edge)?;
    for seed in seeds {
        let story = Story::new(seed);
        story.play(&edge, &mut times, &mut reached).with_context(|| format!("SEED={seed}"))?;
    }
    println!("where death found the file: {reached:?}");
    nothing_is_half_written(&mut edge)?;
    warehouse.serve()?;
    warehouse.agree(&[&edge])?;
    let twice = "SELECT COUNT(*) - COUNT(DISTINCT employee_name || '/' || loose_tablets)
                 FROM warehouse_submissions WHERE employee_name LIKE 'seed %'";
    ensure!(inspect::number(&warehouse.hub.db(), twice)? == 0, "nothing is at the hub twice");
    Ok(())
}

/// What the dead left half written, the next daemon removes.
fn nothing_is_half_written(edge: &mut Edge) -> Done {
    edge.run()?;
    let rejected = inbox(edge, "rejected");
    until("nothing is half written", || {
        let names = fs::read_dir(&rejected)?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<anyhow::Result<Vec<_>>>()?;
        Ok(names.iter().all(|name| !name.to_string_lossy().ends_with(".tmp")).then_some(()))
    })?;
    edge.daemon.take().context("it runs")?.kill()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// How long it takes here, so that death comes while there is something to be interrupted.
struct Times {
    daemon: Duration,
    by_hand: Duration,
}

impl Times {
    fn measure(edge: &Edge) -> anyhow::Result<Self> {
        let mut times = Self { daemon: Duration::from_secs(1), by_hand: Duration::from_secs(1) };
        for (seed, by_hand) in [(0, false), (0, true)] {
            let mut story = Story::new(seed);
            (story.by_hand, story.deaths) = (by_hand, 0);
            story.name = format!("counts-measured-{by_hand}.csv");
            story.who = format!("seed measured {by_hand}");
            let begun = Instant::now();
            story.play(edge, &mut times, &mut BTreeMap::new())?;
            *(if by_hand { &mut times.by_hand } else { &mut times.daemon }) = begun.elapsed();
        }
        Ok(times)
    }
}

struct Story {
    name: String,
    who: String,
    lines: u64,
    bad: Vec<u64>,
    by_hand: bool,
    deaths: u64,
    random: Random,
}

impl Story {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let lines = 1 + random.below(600);
        // Of a file of which nothing fits there is no note.
        let bad = (1..lines).filter(|_| random.once_in(20)).collect();
        let (by_hand, deaths) = (random.once_in(2), 1 + random.below(4));
        Self {
            name: format!("counts-{seed}.csv"),
            who: format!("seed {seed}"),
            lines,
            bad,
            by_hand,
            deaths,
            random,
        }
    }

    /// Bad lines are below zero.
    fn line(&self, number: u64) -> String {
        let sign = if self.bad.contains(&number) { "-" } else { "" };
        format!("{},Blue,{sign}{}\n", self.who, number + 1)
    }

    fn play(mut self, edge: &Edge, times: &mut Times, reached: &mut BTreeMap<String, u64>) -> Done {
        let lines: String = (0..self.lines).map(|number| self.line(number)).collect();
        let text = format!("employee,product,loose\n{lines}");
        if self.by_hand {
            fs::write(edge.dir.join(&self.name), &text)?;
        } else {
            drop_in(edge, &self.name, &text)?;
        }
        let longest = if self.by_hand { times.by_hand } else { times.daemon };
        for _ in 0..self.deaths {
            let mut child = self.start(edge)?;
            std::thread::sleep(longest.mul_f64(self.random.below(1_200) as f64 / 1_000.0));
            let over = child.try_wait()?.is_some();
            child.kill()?;
            child.wait()?;
            let found = if over { "the end".to_owned() } else { self.found(edge)? };
            *reached.entry(found).or_default() += 1;
        }
        self.come_to_the_end(edge)?;
        self.prove(edge)
    }

    fn start(&self, edge: &Edge) -> anyhow::Result<Child> {
        let file = edge.dir.join(&self.name).display().to_string();
        let by_hand = ["import", &file];
        let args = if self.by_hand { &by_hand[..] } else { &["run", "--http", "off"] };
        Ok(program().command("edge", &edge.dir, args).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
    }

    /// How far it had come.
    fn found(&self, edge: &Edge) -> anyhow::Result<String> {
        let there =
            inspect::number(&edge.db(), "SELECT COUNT(*) FROM sqlite_schema WHERE name = '_sync_import'")?
                == 1;
        let sql = format!(
            "SELECT COALESCE((SELECT settled + 1 FROM _sync_import WHERE name = '{}'), 0)",
            self.name
        );
        let noted = if there { inspect::number(&edge.db(), &sql)? } else { 0 };
        Ok(match noted {
            0 => "before the commit",
            1 => "between commit and end",
            _ => "after the end",
        }
        .to_owned())
    }

    fn come_to_the_end(&self, edge: &Edge) -> Done {
        let mut child = self.start(edge)?;
        if self.by_hand {
            child.wait()?;
            return Ok(());
        }
        let settled = || Ok((self.found(edge)? == "after the end").then_some(()));
        let outcome = until("the file is in and lies in done/", settled);
        child.kill()?;
        child.wait()?;
        outcome
    }

    fn prove(&self, edge: &Edge) -> Done {
        let good = i64::try_from(self.lines)? - i64::try_from(self.bad.len())?;
        let of_it = format!("FROM warehouse_submissions WHERE employee_name = '{}'", self.who);
        let count = |what: &str| inspect::number(&edge.db(), &format!("SELECT {what} {of_it}"));
        ensure!(count("COUNT(*)")? == good, "{} rows of {good}", count("COUNT(*)")?);
        ensure!(count("COUNT(DISTINCT loose_tablets)")? == good, "a line is there twice");
        let kept = fs::read_to_string(inbox(edge, &format!("rejected/{}", self.name))).unwrap_or_default();
        let bad: String = self.bad.iter().map(|number| self.line(*number)).collect();
        ensure!(kept.lines().skip(1).eq(bad.lines()), "kept: {kept}");
        ensure!(!inbox(edge, &format!("rejected/{}.2", self.name)).exists(), "kept once");
        if !self.by_hand {
            ensure!(
                inbox(edge, &format!("done/{}", self.name)).exists() && !inbox(edge, &self.name).exists()
            );
        }
        Ok(())
    }
}

//! The story, played by real processes in a temporary folder: three devices lose their link, keep
//! counting, come back, and end identical to the hub with every count added up.

mod proof;

use crate::node::{Edge, Hub, Program, until};
use crate::relay::Relay;
use crate::writer::Written;
use anyhow::{Context as _, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A database of the seed's time, as TabletTracker left it; contents made up.
const SEED_FILE: &[u8] = include_bytes!("../fixtures/tablettracker_2025.db");
/// The devices.
const DEVICES: [&str; 3] = ["packing-1", "packing-2", "scanner-1"];
/// Counts that each device records per act.
const COUNTS: u64 = 800;
/// Lines of purchase orders that all devices count on: few, so that they meet.
const LINES: i64 = 5;

/// Plays the story below `parent` and proves its end.
///
/// # Errors
/// When a step fails, or the proof does.
pub fn play(program: &Program, parent: Option<PathBuf>) -> anyhow::Result<()> {
    let dir = folder(parent)?;
    println!("A warehouse in {}\n", dir.display());
    let mut story = Story::begin(program, &dir)?;
    story.live()?;
    story.cut_off()?;
    story.come_back()?;
    story.prove()?;
    story.look_inside(&dir);
    Ok(())
}

fn folder(parent: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let parent = parent.unwrap_or_else(std::env::temp_dir);
    let dir = tempfile::Builder::new().prefix("tablettracker-demo-").tempdir_in(&parent);
    Ok(dir.with_context(|| format!("cannot make a folder in {}", parent.display()))?.keep())
}

struct Story {
    hub: Hub,
    edges: Vec<Edge>,
    relay: Relay,
    program: Program,
    written: Written,
    before: Written,
}

impl Story {
    fn begin(program: &Program, dir: &Path) -> anyhow::Result<Self> {
        let seed = dir.join("the_old_program.db");
        std::fs::write(&seed, SEED_FILE)?;
        act(1, "A hub adopts the database that TabletTracker has used so far.");
        let mut hub = Hub::init(program, &dir.join("hub"), Some(&seed))?;
        let address = hub.serve("127.0.0.1:0", &[])?;
        let relay = Relay::start(address)?;
        hub.daemon.take().context("the hub runs")?.stop()?;
        hub.serve(&address.to_string(), &["--advertise", &relay.address().to_string()])?;
        let before = proof::totals(&hub.db())?;
        act(2, "Three devices join: a token each, a key of their own, a snapshot, capture installed.");
        let mut edges = Vec::new();
        for name in DEVICES {
            let mut edge = Edge::join(program, &dir.join(name), &hub.invite(name)?)?;
            edge.run()?;
            edges.push(edge);
        }
        Ok(Self { hub, edges, relay, program: program.clone(), written: Written::default(), before })
    }

    fn live(&mut self) -> anyhow::Result<()> {
        act(3, "Linked. Programs on all devices and at the hub count at the same time, in plain SQL.");
        let mut writers = self.start_writers(COUNTS / 4, 10)?;
        writers.push(self.writer(&self.hub.db(), "office", COUNTS / 4, 19)?);
        self.finish(writers)
    }

    fn cut_off(&mut self) -> anyhow::Result<()> {
        act(4, "The wireless goes down. Nobody at a station notices: they count on, on the same lines.");
        self.relay.cut();
        let writers = self.start_writers(COUNTS, 20)?;
        act(5, "kill -9 hits the daemon of packing-2 in the middle; its program goes on writing.");
        let before = proof::totals(&self.edges[1].db())?.submissions;
        until("packing-2 has counted some more", || {
            Ok((proof::totals(&self.edges[1].db())?.submissions >= before + 20).then_some(()))
        })?;
        self.edges[1].daemon.take().context("packing-2 runs")?.kill()?;
        self.finish(writers)?;
        let unsent: Vec<String> = self.edges.iter().map(unsent).collect::<anyhow::Result<_>>()?;
        println!("      unsent rows now: {}", unsent.join(", "));
        Ok(())
    }

    fn come_back(&mut self) -> anyhow::Result<()> {
        act(6, "The wireless is back, and so is the daemon. Everything finds its way.");
        self.edges[1].run()?;
        self.relay.mend();
        // Twice: what the last device hands in must still reach the first.
        for edge in self.edges.iter().chain(&self.edges) {
            edge.sync("60")?;
        }
        Ok(())
    }

    fn prove(&self) -> anyhow::Result<()> {
        act(7, "The proof.");
        let expected = Written {
            submissions: self.before.submissions + self.written.submissions,
            tablets: self.before.tablets + self.written.tablets,
        };
        let mut nodes = vec![proof::Node::read("hub", &self.hub.db(), 0)?];
        for (name, edge) in DEVICES.iter().zip(&self.edges) {
            nodes.push(proof::Node::read(name, &edge.db(), rows(edge)?)?);
        }
        proof::print(&nodes, expected);
        ensure!(proof::holds(&nodes, expected), "the proof does not hold: see the table above");
        println!("\n  Every count is there exactly once, on every node. Nothing is unsent.");
        Ok(())
    }

    fn start_writers(&self, counts: u64, seed: u64) -> anyhow::Result<Vec<Child>> {
        let numbered = (seed..).zip(DEVICES.iter().zip(&self.edges));
        numbered.map(|(seed, (name, edge))| self.writer(&edge.db(), name, counts, seed)).collect()
    }

    fn writer(&self, db: &Path, who: &str, counts: u64, seed: u64) -> anyhow::Result<Child> {
        let mut command = Command::new(&self.program.0);
        command.args([
            "writer",
            "--who",
            who,
            "--counts",
            &counts.to_string(),
            "--lines",
            &LINES.to_string(),
        ]);
        command.args(["--seed", &seed.to_string(), "--db"]).arg(db);
        Ok(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?)
    }

    fn finish(&mut self, writers: Vec<Child>) -> anyhow::Result<()> {
        for writer in writers {
            let output = writer.wait_with_output()?;
            if !output.status.success() {
                bail!("a program at a station failed: {}", output.status);
            }
            let said = String::from_utf8(output.stdout)?;
            let (submissions, tablets) = said.trim().split_once(' ').context("a writer says two numbers")?;
            self.written.submissions += submissions.parse::<i64>()?;
            self.written.tablets += tablets.parse::<i64>()?;
        }
        println!(
            "      counted so far: {} counts, {} tablets",
            self.written.submissions, self.written.tablets
        );
        Ok(())
    }

    fn look_inside(&self, dir: &Path) {
        let (hub, edge) = (dir.join("hub"), dir.join(DEVICES[0]));
        println!("\nThe folder stays. The daemons have stopped; look inside with:");
        println!("  target/release/tt-hub status --data {}", hub.display());
        println!("  target/release/tt-hub edges --data {}", hub.display());
        println!("  target/release/tt-edge status --data {}", edge.display());
        println!("  sqlite3 {} 'SELECT * FROM po_lines LIMIT 5'", edge.join("tablet_counter.db").display());
        println!("Remove it with: rm -r {}", dir.display());
    }
}

fn act(number: u32, what: &str) {
    println!("  {number}.  {what}");
}

fn rows(edge: &Edge) -> anyhow::Result<u64> {
    edge.status()?["unsent"].as_u64().context("status --json says unsent")
}

fn unsent(edge: &Edge) -> anyhow::Result<String> {
    Ok(rows(edge)?.to_string())
}

//! The guide for a program that runs already, typed line by line, while that program goes on counting.

use crate::warehouse::{Done, copy, program, sql};
use anyhow::{Context as _, bail, ensure};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tt_tests::node::{Edge, Hub};
use tt_tests::{inspect, writer};

const GUIDE: &str = include_str!("../../../deploy/existing-program.md");
const INSERT: &str =
    "INSERT INTO warehouse_submissions(employee_name, product_name) VALUES ('guide', 'guide')";
const COUNTED: &str = "SELECT COUNT(*) FROM warehouse_submissions WHERE employee_name = 'guide'";

/// The two machines of the guide.
struct Reader {
    folder: TempDir,
    hub: Hub,
    edge: Edge,
    token: String,
}

impl Reader {
    fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("tablet_counter.db");
        copy("tablettracker_2026.db", &file)?;
        let (hub, edge) = (folder.path().join("hub"), folder.path().join("edge"));
        let hub = Hub { program: program(), dir: hub, daemon: None };
        Ok(Self { hub, edge: Edge::joined(&program(), &edge, Some(&file)), token: String::new(), folder })
    }

    fn copied(&self) -> PathBuf {
        self.folder.path().join("before.db")
    }

    /// What stands in the guide, with the names of this machine.
    fn words(&self, line: &str) -> Vec<String> {
        let names = [
            ("/srv/tablettracker/database/tablet_counter.db", self.edge.db()),
            ("/srv/before.db", self.copied()),
        ];
        let word = |word: &str| {
            let known = names.iter().find(|(name, _)| *name == word);
            known.map_or_else(|| word.replace("TOKEN", &self.token), |(_, path)| path.display().to_string())
        };
        let mut words: Vec<String> = line.split_whitespace().map(word).collect();
        if let Some(at) = words.iter().position(|word| word == "--data") {
            words.drain(at..at + 2);
        }
        words
    }

    fn type_in(&mut self, line: &str) -> Done {
        let words = self.words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["sqlite3", ref file, ..] => self.shell(Path::new(file), line),
            ["systemctl", "stop", "tt-edge"] => self.edge.daemon.take().context("it runs")?.stop(),
            // The guide's ports may be somebody's here.
            ["tt-hub", "serve", ..] => self.hub.serve("127.0.0.1:0", &[]).map(drop),
            ["tt-hub", "invite", name] => {
                self.token = self.hub.invite(name)?;
                Ok(())
            }
            ["tt-edge", "run"] => self.edge.run(),
            ["tt-hub", ref args @ ..] => program().must("hub", &self.hub.dir, args).map(drop),
            ["tt-edge", ref args @ ..] => program().must("edge", &self.edge.dir, args).map(drop),
            _ => bail!("nobody here can type `{line}`"),
        }
    }

    /// The shell's statements, by the library.
    fn shell(&self, file: &Path, line: &str) -> Done {
        let statement = line.split('"').nth(1).context("a statement in quotes")?;
        let statement = statement.replace("/srv/before.db", &self.copied().display().to_string());
        Connection::open(file)?.execute_batch(&statement).with_context(|| statement.clone())
    }
}

/// The lines of all blocks of commands.
fn commands() -> Vec<&'static str> {
    let blocks = GUIDE.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.flat_map(str::lines).collect()
}

#[test]
fn every_line_of_the_guide_does_what_it_says_while_the_program_counts() -> Done {
    let mut reader = Reader::new()?;
    let file = reader.edge.db();
    let lines = commands();
    ensure!(lines.len() >= 13, "the guide has lost its commands: {lines:?}");
    let counting = writer::open(&file)?;
    let before: Vec<_> = lines.iter().take_while(|line| !line.starts_with("tt-edge leave --data")).collect();
    for line in &before {
        reader.type_in(line).with_context(|| format!("`{line}`"))?;
        counting.execute_batch(INSERT).with_context(|| format!("the program, after `{line}`"))?;
    }
    // The last one is not handed in by anybody but `leave`.
    let counted = i64::try_from(before.len())?;
    drop(counting);
    for line in lines.iter().skip(before.len()) {
        reader.type_in(line).with_context(|| format!("`{line}`"))?;
    }
    for db in [&file, &reader.hub.db()] {
        ensure!(inspect::number(db, COUNTED)? == counted, "a count is missing in {}", db.display());
    }
    let ours = "SELECT COUNT(*) FROM sqlite_schema WHERE name LIKE '\\_sync\\_%' ESCAPE '\\'";
    ensure!(inspect::number(&file, ours)? == 0, "nothing of ours is left");
    let mode: String = inspect::open(&file)?.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    ensure!(mode == "delete", "the file is back in its own mode, not in {mode}");
    sql(&file, INSERT)
}

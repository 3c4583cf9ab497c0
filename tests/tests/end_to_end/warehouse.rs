//! A hub, its devices and the wireless between them, for one test.
//!
//! Everything lies in one temporary folder and ends with the test: daemons are killed when their handles
//! are dropped. A hub that starts again listens on another port, and the wireless follows it.

use anyhow::{Context as _, ensure};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tt_tests::node::{Edge, Hub, Program, Said, until};
use tt_tests::relay::Relay;
use tt_tests::{inspect, writer};

/// What a test comes to.
pub(crate) type Done = anyhow::Result<()>;

/// Nobody listens on port 9 of loopback: where the wireless leads while there is no hub yet.
const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);

pub(crate) struct Warehouse {
    pub(crate) hub: Hub,
    pub(crate) relay: Relay,
    folder: TempDir,
}

impl Warehouse {
    /// A hub that serves the newer of the program's files: two lines of one purchase order, and some
    /// hundred rows around them.
    pub(crate) fn open() -> anyhow::Result<Self> {
        Self::adopting(&fixture("tablettracker_2026.db"))
    }

    /// A hub that serves a copy of this file.
    pub(crate) fn adopting(file: &Path) -> anyhow::Result<Self> {
        let mut warehouse = Self::closed(Some(file))?;
        warehouse.serve()?;
        Ok(warehouse)
    }

    /// A hub that was set up and does not serve yet.
    pub(crate) fn closed(file: Option<&Path>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let hub = Hub::init(&program(), &folder.path().join("hub"), file)?;
        Ok(Self { hub, relay: Relay::start(NOWHERE.into())?, folder })
    }

    /// Starts the hub's daemon; the wireless leads there from now on.
    pub(crate) fn serve(&mut self) -> Done {
        let advertise = self.relay.address().to_string();
        let address = self.hub.serve("127.0.0.1:0", &["--advertise", &advertise])?;
        self.relay.lead_to(address);
        Ok(())
    }

    pub(crate) fn stop_hub(&mut self) -> Done {
        self.hub.daemon.take().context("the hub runs")?.stop()
    }

    pub(crate) fn kill_hub(&mut self) -> Done {
        self.hub.daemon.take().context("the hub runs")?.kill()
    }

    /// A path in the test's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A device that has joined; its daemon does not run.
    pub(crate) fn device(&self, name: &str) -> anyhow::Result<Edge> {
        Edge::join(&program(), &self.path(name), &self.hub.invite(name)?)
    }

    /// A device that has joined with the file of its program.
    pub(crate) fn device_with(&self, name: &str, file: &Path) -> anyhow::Result<Edge> {
        Edge::join_file(&program(), &self.path(name), &self.hub.invite(name)?, Some(file))
    }

    /// A device that is linked.
    pub(crate) fn linked(&self, name: &str) -> anyhow::Result<Edge> {
        let mut edge = self.device(name)?;
        edge.run()?;
        until("the device is linked", || Ok(is_linked(&edge)?.then_some(())))?;
        Ok(edge)
    }

    /// Runs a device's command that may fail.
    pub(crate) fn edge_says(&self, name: &str, args: &[&str]) -> anyhow::Result<Said> {
        program().say("edge", &self.path(name), args)
    }

    /// Brings all in step and proves that every node holds the same, soundly, with nothing unsent.
    pub(crate) fn agree(&self, edges: &[&Edge]) -> Done {
        // Twice: what the last device hands in must still reach the first.
        for edge in edges.iter().chain(edges) {
            edge.sync("60")?;
        }
        let expected = inspect::digests(&self.hub.db())?;
        sound(&self.hub.db())?;
        for edge in edges {
            let found = inspect::digests(&edge.db())?;
            for (table, digest) in &expected {
                ensure!(
                    found.get(table) == Some(digest),
                    "{table} differs: {digest:?} at the hub, {:?} in {}",
                    found.get(table),
                    edge.db().display()
                );
            }
            ensure!(found.len() == expected.len(), "{} has other tables", edge.db().display());
            sound(&edge.db())?;
            let status = edge.status()?;
            ensure!(status["unsent"] == 0, "something is unsent: {status}");
        }
        Ok(())
    }

    /// What the hub lists as conflicts.
    pub(crate) fn conflicts(&self) -> anyhow::Result<Vec<serde_json::Value>> {
        Ok(serde_json::from_str(&self.hub.program.must("hub", &self.hub.dir, &["conflicts", "--json"])?)?)
    }
}

/// The program that plays all parts.
pub(crate) fn program() -> Program {
    Program(env!("CARGO_BIN_EXE_tt-demo").into())
}

/// A file of the real program; to be copied, never written.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// A copy of a fixture that a test may write.
pub(crate) fn copy(name: &str, to: &Path) -> Done {
    std::fs::write(to, std::fs::read(fixture(name))?)?;
    Ok(())
}

/// Runs statements as a program does.
pub(crate) fn sql(db: &Path, statements: &str) -> Done {
    let conn = writer::open(db)?;
    conn.execute_batch(statements).with_context(|| format!("{}: {statements}", db.display()))
}

/// Waits until a statement gives this number, and it will not take long.
pub(crate) fn until_number(db: &Path, sql: &str, expected: i64) -> Done {
    until(&format!("{sql} gives {expected} in {}", db.display()), || {
        Ok((inspect::number(db, sql)? == expected).then_some(()))
    })
}

pub(crate) fn is_linked(edge: &Edge) -> anyhow::Result<bool> {
    Ok(edge.status()?["connected"] == true)
}

/// Every constraint that SQLite can check by itself.
pub(crate) fn sound(db: &Path) -> Done {
    let broken = inspect::number(db, "SELECT COUNT(*) FROM pragma_foreign_key_check")?;
    ensure!(broken == 0, "{broken} broken references in {}", db.display());
    let sick = inspect::number(db, "SELECT COUNT(*) FROM pragma_quick_check WHERE quick_check <> 'ok'")?;
    ensure!(sick == 0, "{} is damaged", db.display());
    Ok(())
}

/// Checks that a command was refused, and that its reason holds these words.
pub(crate) fn refused(said: &Said, code: i32, words: &[&str]) -> Done {
    ensure!(said.code == code, "exit code {} instead of {code}: {said:?}", said.code);
    for word in words {
        ensure!(said.err.contains(word), "the reason does not say `{word}`: {}", said.err);
    }
    ensure!(!said.err.contains("panicked"), "it broke: {}", said.err);
    Ok(())
}

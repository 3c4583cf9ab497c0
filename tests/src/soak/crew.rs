//! Programs at stations and at the hub, each a process of its own with a ledger of its own.

use super::book::{Book, Entry};
use super::station::Orders;
use crate::node::{Program, until};
use anyhow::{Context as _, bail};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A program in another language, with the SQLite that it brings along.
const PYTHON: &str = include_str!("station.py");

/// A program and its ledger.
pub(super) struct Worker {
    pub(super) orders: Orders,
    program: Program,
    is_python: bool,
    child: Option<Child>,
    log: PathBuf,
}

impl Worker {
    pub(super) fn new(program: &Program, orders: Orders, is_python: bool) -> Self {
        let log = orders.book.with_extension("log");
        Self { orders, program: program.clone(), is_python, child: None, log }
    }

    pub(super) fn who(&self) -> &str {
        &self.orders.who
    }

    pub(super) fn book(&self) -> Book {
        Book(self.orders.book.clone())
    }

    pub(super) fn entries(&self) -> anyhow::Result<Vec<Entry>> {
        self.book().read()
    }

    /// Starts it, unless it runs.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        if self.child.is_some() {
            return Ok(());
        }
        let mut command = if self.is_python {
            let mut command = Command::new("python3");
            command.args(["-c", PYTHON]);
            command
        } else {
            let mut command = Command::new(&self.program.0);
            command.arg("station");
            command
        };
        let Orders { db, book, who, seed, pace_ms, small_disk } = &self.orders;
        command.arg("--db").arg(db).arg("--book").arg(book).args(["--who", who]);
        command.args(["--seed", &seed.to_string(), "--pace", &pace_ms.to_string()]);
        if *small_disk {
            command.arg("--small-disk");
        }
        let log = File::options().create(true).append(true).open(&self.log)?;
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).spawn();
        self.child = Some(child.with_context(|| format!("cannot start {who}"))?);
        Ok(())
    }

    /// Lets it end its transaction, and waits for its end.
    pub(super) fn rest(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        drop(child.stdin.take());
        let status = until(&format!("{} ends", self.who()), || Ok(child.try_wait()?))?;
        if !status.success() {
            bail!("{} failed with {status}: {}", self.who(), self.said());
        }
        self.book().settle(self.who(), &self.orders.db)
    }

    /// `kill -9`, in the middle of a transaction if one comes soon enough. True when it was in one.
    pub(super) fn kill(&mut self) -> anyhow::Result<bool> {
        let Some(mut child) = self.child.take() else { return Ok(false) };
        let book = self.book();
        for _ in 0..400 {
            if book.is_open() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.kill()?;
        child.wait()?;
        let in_the_middle = book.is_open();
        book.settle(self.who(), &self.orders.db)?;
        Ok(in_the_middle)
    }

    /// A program whose writes fail is an error: nothing that happens may reach it.
    pub(super) fn look(&mut self) -> anyhow::Result<()> {
        let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
        match ended {
            Some(status) => bail!("{} ended with {status}: {}", self.who(), self.said()),
            None => Ok(()),
        }
    }

    /// It works with another file from now on. It must be at rest.
    pub(super) fn move_to(&mut self, db: &Path) {
        self.orders.db = db.to_owned();
    }

    /// Waits until it has committed so many more transactions.
    pub(super) fn commits(&mut self, more: usize) -> anyhow::Result<()> {
        let done = |entries: Vec<Entry>| entries.iter().filter(|entry| entry.done == Some(true)).count();
        let wanted = done(self.entries()?) + more;
        let what = format!("{} has committed {more} more", self.who());
        until(&what, || {
            self.look()?;
            Ok((done(self.entries()?) >= wanted).then_some(()))
        })
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Already ended is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether there is a Python with SQLite on this machine.
pub(super) fn has_python() -> bool {
    let probe = Command::new("python3").args(["-c", "import sqlite3"]).output();
    probe.is_ok_and(|probe| probe.status.success())
}

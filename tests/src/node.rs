//! Hubs and edges as real processes, for the demo, the end-to-end tests and the benchmarks.
//!
//! One program plays all of them: called as `PROGRAM hub …` it is `tt-hub …`, as `PROGRAM edge …` it is
//! `tt-edge …`. Processes are killed when their handle is dropped.

use anyhow::{Context as _, bail};
use serde_json::Value as Json;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for anything that should happen soon, on a slow and busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program that plays hubs and edges.
#[derive(Clone, Debug)]
pub struct Program(pub PathBuf);

/// A running daemon.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

/// A hub's folder, and its daemon while it runs.
pub struct Hub {
    /// The program.
    pub program: Program,
    /// Its folder.
    pub dir: PathBuf,
    /// Its daemon.
    pub daemon: Option<Daemon>,
}

/// A device's folder, and its daemon while it runs.
pub struct Edge {
    /// The program.
    pub program: Program,
    /// Its folder.
    pub dir: PathBuf,
    /// Its daemon.
    pub daemon: Option<Daemon>,
}

impl Program {
    /// A command of this program, in the role `hub` or `edge`, with `--data`.
    #[must_use]
    pub fn command(&self, role: &str, dir: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(&self.0);
        command.arg(role).args(args).arg("--data").arg(dir).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn output(&self, role: &str, dir: &Path, args: &[&str]) -> anyhow::Result<Output> {
        Ok(self.command(role, dir, args).output()?)
    }

    /// Runs a command that must succeed; gives what it printed.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn must(&self, role: &str, dir: &Path, args: &[&str]) -> anyhow::Result<String> {
        let output = self.output(role, dir, args)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("tt-{role} {} ended with {}: {}", args.join(" "), output.status, said.trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    fn start(&self, role: &str, dir: &Path, args: &[&str]) -> anyhow::Result<Daemon> {
        let log = dir.join(format!("{role}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        let child = self.command(role, dir, args).stdout(Stdio::null()).stderr(file).spawn()?;
        Ok(Daemon { child, log })
    }
}

impl Daemon {
    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`: no goodbye, no cleaning up.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop and waits for its end.
    ///
    /// # Errors
    /// When it does not end in time or not cleanly.
    pub fn stop(mut self) -> anyhow::Result<()> {
        Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status()?;
        let status = until("the daemon ends", || Ok(self.child.try_wait()?))?;
        if !status.success() {
            bail!("the daemon ended with {status}; see {}", self.log.display());
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Already ended is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Hub {
    /// Makes a hub, adopting a file if one is given.
    ///
    /// # Errors
    /// When `init` fails.
    pub fn init(program: &Program, dir: &Path, adopt: Option<&Path>) -> anyhow::Result<Self> {
        let mut args = vec!["init".to_owned()];
        if let Some(file) = adopt {
            args.extend(["--adopt".to_owned(), file.display().to_string()]);
        }
        program.must("hub", dir, &args.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(Self { program: program.clone(), dir: dir.to_owned(), daemon: None })
    }

    /// The canonical file.
    #[must_use]
    pub fn db(&self) -> PathBuf {
        self.dir.join("tablet_counter.db")
    }

    /// Starts the daemon and waits until it listens. Gives its QUIC address.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn serve(&mut self, listen: &str, more: &[&str]) -> anyhow::Result<SocketAddr> {
        let mut args = vec!["serve", "--listen", listen, "--http", "127.0.0.1:0"];
        args.extend(more);
        let mut daemon = self.program.start("hub", &self.dir, &args)?;
        let file = self.dir.join("hub.addr.json");
        let address = until("the hub listens", || {
            if let Some(status) = daemon.child.try_wait()? {
                let said = fs::read_to_string(&daemon.log).unwrap_or_default();
                bail!("tt-hub serve ended with {status}: {said}");
            }
            let Ok(bytes) = fs::read(&file) else { return Ok(None) };
            let json: Json = serde_json::from_slice(&bytes)?;
            // A file that an earlier, killed daemon left behind names another process.
            if json["pid"] != daemon.child.id() {
                return Ok(None);
            }
            Ok(json["quic"].as_str().and_then(|text| text.parse().ok()))
        })?;
        self.daemon = Some(daemon);
        Ok(address)
    }

    /// Makes a token for a device.
    ///
    /// # Errors
    /// When `invite` fails.
    pub fn invite(&self, name: &str) -> anyhow::Result<String> {
        let json: Json = serde_json::from_str(&self.program.must("hub", &self.dir, &["invite", name, "--json"])?)?;
        json["token"].as_str().map(str::to_owned).context("invite --json gives a token")
    }
}

impl Edge {
    /// Joins a new device with a token.
    ///
    /// # Errors
    /// When `join` fails.
    pub fn join(program: &Program, dir: &Path, token: &str) -> anyhow::Result<Self> {
        program.must("edge", dir, &["join", token])?;
        Ok(Self { program: program.clone(), dir: dir.to_owned(), daemon: None })
    }

    /// The program's file.
    #[must_use]
    pub fn db(&self) -> PathBuf {
        self.dir.join("tablet_counter.db")
    }

    /// Starts the daemon.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&mut self) -> anyhow::Result<()> {
        self.daemon = Some(self.program.start("edge", &self.dir, &["run"])?);
        Ok(())
    }

    /// `status --json`.
    ///
    /// # Errors
    /// When it prints something else.
    pub fn status(&self) -> anyhow::Result<Json> {
        let output = self.program.output("edge", &self.dir, &["status", "--json"])?;
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("status said: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// `sync`.
    ///
    /// # Errors
    /// When it does not come in step, with the reason that it gave.
    pub fn sync(&self, timeout_s: &str) -> anyhow::Result<()> {
        self.program.must("edge", &self.dir, &["sync", "--timeout", timeout_s]).map(drop)
    }
}

/// Asks again and again until there is an answer, or patience ends.
///
/// # Errors
/// When asking fails, or patience ends.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            bail!("waited {} s until {what}, in vain", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

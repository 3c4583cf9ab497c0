//! Hubs and edges as real processes, for the demo, the end-to-end tests and the benchmarks.
//!
//! One program plays all of them: called as `PROGRAM hub …` it is `tt-hub …`, as `PROGRAM edge …` it is
//! `tt-edge …`. Processes are killed when their handle is dropped.

use anyhow::{Context as _, bail};
use clap::Parser;
use serde_json::Value as Json;
use std::ffi::OsString;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for anything that should happen soon, on a slow and busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// When the line is `PROGRAM hub …` or `PROGRAM edge …`, is `tt-hub …` or `tt-edge …` and gives how that ended.
#[must_use]
fn as_daemon(args: &[OsString]) -> Option<ExitCode> {
    // The line as the program itself would have been called.
    let called = |name: &str| std::iter::once(name.into()).chain(args.iter().skip(2).cloned());
    match args.get(1)?.to_str()? {
        "hub" => Some(tt_hub::cli::run(called("tt-hub"))),
        "edge" => Some(tt_edge::cli::run(called("tt-edge"))),
        _ => None,
    }
}

/// The whole of a program that plays hubs and edges: one of them, as its line says, or its own work.
#[must_use]
pub fn play<C: Parser>(name: &str, work: impl FnOnce(C) -> anyhow::Result<()>) -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = as_daemon(&args) {
        return code;
    }
    match work(C::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The program that plays hubs and edges.
#[derive(Clone, Debug)]
pub struct Program(pub PathBuf);

/// A running daemon.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its exit code; -1 when it was killed.
    pub code: i32,
    /// What it printed.
    pub out: String,
    /// What it said on stderr.
    pub err: String,
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
    /// The program's file.
    pub db: PathBuf,
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
    /// When it cannot be started, or prints what is no text.
    pub fn say(&self, role: &str, dir: &Path, args: &[&str]) -> anyhow::Result<Said> {
        let output = self.command(role, dir, args).output()?;
        Ok(Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
        })
    }

    /// Runs a command that must succeed; gives what it printed.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn must(&self, role: &str, dir: &Path, args: &[&str]) -> anyhow::Result<String> {
        let said = self.say(role, dir, args)?;
        if said.code != 0 {
            bail!("tt-{role} {} ended with {}: {}", args.join(" "), said.code, said.err.trim());
        }
        Ok(said.out)
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

    /// True while it has not ended.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn is_running(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Everything that it and its predecessors have logged.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn log(&self) -> anyhow::Result<String> {
        fs::read_to_string(&self.log).with_context(|| format!("cannot read {}", self.log.display()))
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
            let Ok(bytes) = fs::read(&file) else {
                return Ok(None);
            };
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

    /// Runs a command in this hub's folder.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn say(&self, args: &[&str]) -> anyhow::Result<Said> {
        self.program.say("hub", &self.dir, args)
    }

    /// Makes a token for a device.
    ///
    /// # Errors
    /// When `invite` fails.
    pub fn invite(&self, name: &str) -> anyhow::Result<String> {
        let json: Json =
            serde_json::from_str(&self.program.must("hub", &self.dir, &["invite", name, "--json"])?)?;
        json["token"].as_str().map(str::to_owned).context("invite --json gives a token")
    }
}

impl Edge {
    /// Joins a new device with a token.
    ///
    /// # Errors
    /// When `join` fails.
    pub fn join(program: &Program, dir: &Path, token: &str) -> anyhow::Result<Self> {
        Self::join_file(program, dir, token, None)
    }

    /// Joins a new device, with the file that its program uses already if one is given.
    ///
    /// # Errors
    /// When `join` fails.
    pub fn join_file(
        program: &Program,
        dir: &Path,
        token: &str,
        file: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let mut args = vec!["join".to_owned(), token.to_owned()];
        if let Some(file) = file {
            args.extend(["--db".to_owned(), file.display().to_string()]);
        }
        program.must("edge", dir, &args.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(Self::joined(program, dir, file))
    }

    /// A device that has joined.
    #[must_use]
    pub fn joined(program: &Program, dir: &Path, file: Option<&Path>) -> Self {
        let db = file.map_or_else(|| dir.join("tablet_counter.db"), Path::to_owned);
        Self { program: program.clone(), dir: dir.to_owned(), db, daemon: None }
    }

    /// The program's file.
    #[must_use]
    pub fn db(&self) -> PathBuf {
        self.db.clone()
    }

    /// Starts the daemon and waits until commands can ask it.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn run(&mut self) -> anyhow::Result<()> {
        self.run_at("127.0.0.1:0")
    }

    /// As [`Edge::run`], with the station page at this address.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn run_at(&mut self, http: &str) -> anyhow::Result<()> {
        let mut daemon = self.program.start("edge", &self.dir, &["run", "--http", http])?;
        // What a killed daemon left behind refuses.
        let socket = self.dir.join("control.sock");
        until("the daemon listens", || {
            if let Some(status) = daemon.child.try_wait()? {
                bail!("tt-edge run ended with {status}: {}", daemon.log()?);
            }
            Ok(UnixStream::connect(&socket).ok().map(drop))
        })?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Where the station page of the running daemon is, IP:PORT.
    ///
    /// # Errors
    /// When it does not listen.
    pub fn page(&self) -> anyhow::Result<String> {
        let pid = self.daemon.as_ref().map(Daemon::pid).context("the daemon runs")?;
        until("the station page listens", || {
            let Ok(bytes) = fs::read(self.dir.join("edge.addr.json")) else { return Ok(None) };
            let json: Json = serde_json::from_slice(&bytes)?;
            Ok(json["http"].as_str().filter(|_| json["pid"] == pid).map(str::to_owned))
        })
    }

    /// `status --json`.
    ///
    /// # Errors
    /// When it prints something else.
    pub fn status(&self) -> anyhow::Result<Json> {
        let said = self.say(&["status", "--json"])?;
        serde_json::from_str(&said.out).with_context(|| format!("status said: {}", said.err))
    }

    /// Runs a command in this device's folder.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn say(&self, args: &[&str]) -> anyhow::Result<Said> {
        self.program.say("edge", &self.dir, args)
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

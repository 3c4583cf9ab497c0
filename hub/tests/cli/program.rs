//! Runs the program and keeps what it said.

use serde_json::Value as Json;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// What a command said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A folder for one hub that is not there yet.
pub(crate) struct Folder {
    dir: TempDir,
}

/// A running daemon.
pub(crate) struct Daemon {
    child: Child,
    lines: Receiver<String>,
    /// Its first line.
    pub(crate) ready: String,
}

pub(crate) fn tt_hub(arguments: &[&str]) -> Said {
    let mut command = program();
    command.args(arguments);
    run(command)
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tt-hub"));
    command.env_remove("TT_HUB_DATA").env_remove("TT_LOG").stdin(Stdio::null());
    command
}

fn run(mut command: Command) -> Said {
    let out = command.output().unwrap();
    Said {
        code: out.status.code().unwrap_or(-1),
        stdout: String::from_utf8(out.stdout).unwrap(),
        stderr: String::from_utf8(out.stderr).unwrap(),
    }
}

impl Said {
    pub(crate) fn fine(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self
    }

    pub(crate) fn json(self) -> Json {
        let said = self.fine();
        serde_json::from_str(&said.stdout).unwrap()
    }

    /// The one line of a command that failed.
    pub(crate) fn failure(self) -> String {
        assert_eq!(self.code, 1, "{}{}", self.stdout, self.stderr);
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        self.stderr
    }
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// With a hub in it.
    pub(crate) fn with_hub() -> Self {
        let folder = Self::new();
        folder.hub(&["init"]).fine();
        folder
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("hub")
    }

    /// A place beside the hub's folder.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.data().join("tablet_counter.db")
    }

    pub(crate) fn hub(&self, arguments: &[&str]) -> Said {
        let mut command = program();
        command.arg("--data").arg(self.data()).args(arguments);
        run(command)
    }

    /// A command in the hub's folder that was not started yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.arg("--data").arg(self.data()).args(arguments);
        command
    }

    /// The same as [`Self::hub`] for a command that reads answers.
    pub(crate) fn hub_hears(&self, arguments: &[&str], answers: &str) -> Said {
        let file = self.beside("answers");
        fs::write(&file, answers).unwrap();
        let mut command = self.command(arguments);
        command.stdin(fs::File::open(file).unwrap());
        run(command)
    }

    /// The same with `--json` at the end.
    pub(crate) fn json(&self, arguments: &[&str]) -> Json {
        let mut arguments = arguments.to_vec();
        arguments.push("--json");
        self.hub(&arguments).json()
    }

    pub(crate) fn serve(&self) -> Daemon {
        self.serve_with(&[])
    }

    /// Starts the daemon on ports that the system chooses, and waits until it is ready.
    pub(crate) fn serve_with(&self, arguments: &[&str]) -> Daemon {
        let mut command = program();
        command.arg("--data").arg(self.data());
        command.args(["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        let mut child = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut daemon = Daemon { child, lines, ready: String::new() };
        daemon.ready = daemon.line();
        daemon
    }

    /// Every file and folder of the hub by name.
    pub(crate) fn contents(&self) -> Vec<String> {
        names(&self.data())
    }
}

/// A number below `sides` that depends on the seed alone (splitmix64).
pub(crate) fn roll(seed: u64, sides: u64) -> u64 {
    let mut mixed = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % sides
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

impl Daemon {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line on stderr.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).expect("a line in time")
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for the end: the exit code and what was left on stderr.
    pub(crate) fn end(mut self) -> (Option<i32>, Vec<String>) {
        // The lines end when the process does.
        let mut left = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(DEADLINE) {
            left.push(line);
        }
        (self.child.wait().unwrap().code(), left)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! A real object store for tests: moto in a process of its own, which checks every signature.
//!
//! `tests/run.sh` installs it and names the Python that has it. Without it a test says that it was skipped; where
//! `CI` is true, it fails.

use serde_json::Value as Json;
use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A running store with one bucket. It ends when this is dropped.
pub(crate) struct Store {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    told: Json,
}

impl Store {
    /// With the files of a certificate and its key it has TLS. None where it is not installed.
    pub(crate) fn start(tls: &[&Path]) -> Option<Self> {
        let Ok(python) = env::var("TT_STORE_PYTHON") else {
            assert_ne!(
                env::var("CI").as_deref(),
                Ok("true"),
                "no object store to test against: see tests/run.sh"
            );
            println!("skipped: TT_STORE_PYTHON names no Python with moto; tests/run.sh installs one");
            return None;
        };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/store/serve.py");
        let mut command = Command::new(python);
        command.arg(script).args(tls).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (commands, answers) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut store = Self { child, commands, answers, told: Json::Null };
        store.told = serde_json::from_str(&store.line()).unwrap();
        Some(store)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "the store has ended: its words are above");
        line.trim_end().to_owned()
    }

    /// Gives a command, as serve.py lists them, and waits until it is done.
    pub(crate) fn tell(&mut self, command: &str) -> String {
        writeln!(self.commands.as_mut().unwrap(), "{command}").unwrap();
        self.line()
    }

    fn told(&self, name: &str) -> &str {
        self.told[name].as_str().unwrap()
    }

    /// What nothing may ever show.
    pub(crate) fn secret(&self) -> &str {
        self.told("secret")
    }

    /// What `s3` in hub.toml says of it, in one line.
    pub(crate) fn settings(&self, more: &str) -> String {
        let (endpoint, bucket) = (self.told("endpoint"), self.told("bucket"));
        format!("{{ endpoint = {endpoint:?}, bucket = {bucket:?}, credentials = \"keys.toml\"{more} }}")
    }

    /// The file of which the settings speak.
    pub(crate) fn write_keys(&self, folder: &Path) {
        let (id, secret) = (self.told("id"), self.secret());
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(folder.join("keys.toml"))
            .unwrap();
        write!(file, "access_key_id = {id:?}\nsecret_access_key = {secret:?}\n").unwrap();
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.commands = None;
        let _ = self.child.wait();
    }
}

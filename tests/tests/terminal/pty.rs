//! A command on a terminal of its own, by `script` of util-linux: its stdin, stdout and stderr are that terminal.

use anyhow::{Context as _, ensure};
use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};

/// The key that ends a program.
pub(crate) const CTRL_C: &[u8] = b"\x03";

/// A command that runs.
pub(crate) struct Terminal {
    child: Child,
    keys: ChildStdin,
}

/// What it came to.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) code: i32,
    /// All that was written to the terminal.
    pub(crate) text: String,
}

impl Terminal {
    /// Starts a command, with a terminal of this kind.
    pub(crate) fn start(command: &Command, kind: &str) -> anyhow::Result<Self> {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let quoted = words.map(|word| format!("'{}'", word.to_string_lossy())).collect::<Vec<_>>().join(" ");
        let mut script = Command::new("script");
        script.args(["-q", "-e", "-c", &format!("exec {quoted}"), "/dev/null"]);
        script.env("TERM", kind).env("SHELL", "/bin/sh");
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = script.spawn().context("these tests need script: apt-get install bsdutils")?;
        let keys = child.stdin.take().context("stdin is a pipe")?;
        Ok(Self { child, keys })
    }

    /// Types.
    pub(crate) fn type_keys(&mut self, keys: &[u8]) -> anyhow::Result<()> {
        Ok(self.keys.write_all(keys)?)
    }

    /// Reads until this stands on the screen so often.
    pub(crate) fn read_until(&mut self, text: &str, times: usize) -> anyhow::Result<String> {
        let out = self.child.stdout.as_mut().context("stdout is a pipe")?;
        let (mut read, mut piece) = (Vec::new(), [0; 4096]);
        while String::from_utf8_lossy(&read).matches(text).count() < times {
            let count = out.read(&mut piece)?;
            ensure!(count > 0, "it ended before it showed {text}: {}", String::from_utf8_lossy(&read));
            read.extend_from_slice(&piece[..count]);
        }
        Ok(String::from_utf8(read)?)
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> anyhow::Result<Shown> {
        let mut text = String::new();
        self.child.stdout.take().context("stdout is a pipe")?.read_to_string(&mut text)?;
        let code = self.child.wait()?.code().unwrap_or(-1);
        drop(self.keys);
        Ok(Shown { code, text })
    }
}

/// Runs a command to its end.
pub(crate) fn show(command: &Command, kind: &str) -> anyhow::Result<Shown> {
    Terminal::start(command, kind)?.end()
}

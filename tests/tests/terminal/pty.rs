//! A command on a terminal of its own, by `script` of util-linux: its stdin, stdout and stderr are that terminal.

use anyhow::Context as _;
use std::process::{Command, Stdio};

/// What it came to.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) code: i32,
    /// All that was written to the terminal.
    pub(crate) text: String,
}

/// Runs a command to its end, with a terminal of this kind.
pub(crate) fn show(command: &Command, kind: &str) -> anyhow::Result<Shown> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted = words.map(|word| format!("'{}'", word.to_string_lossy())).collect::<Vec<_>>().join(" ");
    let mut script = Command::new("script");
    script.args(["-q", "-e", "-c", &format!("exec {quoted}"), "/dev/null"]);
    script.env("TERM", kind).env("SHELL", "/bin/sh").stdin(Stdio::null());
    let output = script.output().context("these tests need script: apt-get install bsdutils")?;
    Ok(Shown { code: output.status.code().unwrap_or(-1), text: String::from_utf8(output.stdout)? })
}

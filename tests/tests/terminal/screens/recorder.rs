//! Types lines and keeps what is seen then, screen by screen.

use super::steady::steady;
use crate::warehouse::{Done, program};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tt_tests::node::Said;

/// What was typed and seen so far.
pub(crate) struct Recorder {
    folder: tempfile::TempDir,
    screens: BTreeMap<String, String>,
}

impl Recorder {
    pub(crate) fn begin() -> anyhow::Result<Self> {
        Ok(Self { folder: tempfile::tempdir()?, screens: BTreeMap::new() })
    }

    /// The screens by the names of their commands.
    pub(crate) fn end(self) -> BTreeMap<String, String> {
        self.screens
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Types a line, and keeps what is seen then. Words that are secrets or differ are typed by their names.
    pub(crate) fn line(&mut self, role: &str, dir: &str, args: &[&str]) -> anyhow::Result<Said> {
        let said = program().say(role, &self.path(dir), args)?;
        self.keep(role, args, &said);
        Ok(said)
    }

    pub(crate) fn keep(&mut self, role: &str, args: &[&str], said: &Said) {
        let root = self.folder.path().display().to_string();
        let typed =
            args.iter().map(|word| if word.contains(' ') { format!("'{word}'") } else { (*word).to_owned() });
        let mut text = format!("$ tt-{role} {}\n", typed.collect::<Vec<_>>().join(" "));
        text.push_str(&said.out);
        said.err.lines().for_each(|line| text.push_str(&format!("! {line}\n")));
        if said.code != 0 {
            text.push_str(&format!("[exit {}]\n", said.code));
        }
        let screen = self.screens.entry(format!("{role}-{}", args[0])).or_default();
        if !screen.is_empty() {
            screen.push('\n');
        }
        screen.push_str(&steady(&text, &root));
    }

    /// The same twice: for a person and for a script.
    pub(crate) fn both(&mut self, role: &str, dir: &str, args: &[&str]) -> Done {
        self.line(role, dir, args)?;
        self.line(role, dir, &[args, &["--json"]].concat())?;
        Ok(())
    }
}

//! Every command's output as a person and as a script gets it, held to files that people can read.
//!
//! One story runs through all commands of both programs; each leaves its screens in `screens/PROGRAM-COMMAND.txt`: the
//! line that was typed, what was printed, what was said on stderr (`!`), and the exit code when it is not 0. What
//! differs from run to run has a name in its place (`steady`). To write the files anew, and then to read them:
//! `TT_SCREENS=write cargo test -p tt-tests --features tt-hub/s3 --test terminal screens`.

#[path = "screens/recorder.rs"]
mod recorder;
#[path = "screens/steady.rs"]
mod steady;
#[path = "screens/story.rs"]
mod story;

use crate::man::commands;
use crate::warehouse::Done;
use anyhow::{Context as _, ensure};
use recorder::Recorder;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Commands that have no JSON: daemons, and what is a script for shells.
const WITHOUT_JSON: [&str; 4] = ["hub-serve", "edge-run", "hub-completions", "edge-completions"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/terminal/screens")
}

fn kept() -> anyhow::Result<BTreeMap<String, String>> {
    let mut kept = BTreeMap::new();
    for entry in fs::read_dir(folder())? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "txt") {
            let name = path.file_stem().context("a name")?.to_string_lossy().into_owned();
            kept.insert(name, fs::read_to_string(&path)?);
        }
    }
    Ok(kept)
}

#[test]
fn every_screen_is_as_it_was_read() -> Done {
    let mut recorder = Recorder::begin()?;
    story::play(&mut recorder)?;
    let screens = recorder.end();
    if std::env::var_os("TT_SCREENS").is_some_and(|what| what == "write") {
        for (name, text) in &screens {
            fs::write(folder().join(format!("{name}.txt")), text)?;
        }
    }
    let kept = kept()?;
    for (name, text) in &screens {
        let kept =
            kept.get(name).with_context(|| format!("no {name}.txt; the head of screens.rs says how"))?;
        for (at, (was, is)) in (1..).zip(kept.lines().zip(text.lines())) {
            ensure!(was == is, "{name}.txt:{at}: it was\n{was}\nand is\n{is}\nin\n{text}");
        }
        ensure!(kept == text, "{name}.txt has other lines at its end:\n{text}");
    }
    ensure!(kept.len() == screens.len(), "a screen is kept of a command that the story does not type");
    Ok(())
}

#[test]
fn every_command_has_its_screens() -> Done {
    let kept = kept()?;
    for role in ["hub", "edge"] {
        for command in commands(role)?.into_iter().filter(|command| command.len() == 1) {
            let name = format!("{role}-{}", command[0]);
            let text = kept.get(&name).with_context(|| format!("no screen of tt-{role} {}", command[0]))?;
            let typed: Vec<&str> = text.lines().filter(|line| line.starts_with("$ ")).collect();
            let line = format!("$ tt-{role} {}", command[0]);
            ensure!(typed.iter().all(|typed| typed.starts_with(&line)), "{name}: {typed:?}");
            let json = typed.iter().any(|typed| typed.contains("--json"));
            ensure!(json || WITHOUT_JSON.contains(&name.as_str()), "{name} shows no JSON");
            ensure!(text.contains("\n! "), "{name} shows no error");
            ensure!(
                text.contains("\n[exit 1]\n") || text.contains("\n[exit 2]\n"),
                "{name} shows no exit code"
            );
        }
    }
    Ok(())
}

//! Each alert rule fires when it should, and is silent when it should be, as Prometheus itself reckons.

use crate::warehouse::Done;
use anyhow::{Context as _, ensure};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rules() -> PathBuf {
    root().join("../deploy/prometheus/alerts.yml")
}

fn cases() -> PathBuf {
    root().join("tests/deploy/alerts.test.yml")
}

/// Prometheus' tool; None where it is not installed, which is said, and is a failure where `CI` is set.
fn promtool() -> anyhow::Result<Option<OsString>> {
    if let Some(program) = std::env::var_os("TT_PROMTOOL").filter(|program| !program.is_empty()) {
        return Ok(Some(program));
    }
    ensure!(std::env::var_os("CI").is_none(), "TT_PROMTOOL names no promtool; tests/run.sh installs it");
    eprintln!("SKIPPED: promtool is missing; tests/run.sh installs it");
    Ok(None)
}

fn must(program: &OsString, words: [&str; 2], file: &Path) -> Done {
    let said = Command::new(program).args(words).arg(file).output()?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    ensure!(said.status.success(), "promtool {}: {text}", words.join(" "));
    Ok(())
}

#[test]
fn alerts_fire_when_they_should_and_are_silent_when_they_should_be() -> Done {
    let Some(program) = promtool()? else { return Ok(()) };
    must(&program, ["check", "rules"], &rules())?;
    must(&program, ["test", "rules"], &cases())
}

#[test]
fn a_rule_that_means_something_else_is_noticed() -> Done {
    let Some(program) = promtool()? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let wrong = std::fs::read_to_string(rules())?.replacen("tt_hub_failing == 1", "tt_hub_failing == 0", 1);
    std::fs::write(folder.path().join("alerts.yml"), wrong)?;
    let (text, file) = (std::fs::read_to_string(cases())?, folder.path().join("alerts.test.yml"));
    std::fs::write(&file, text.replacen("../../../deploy/prometheus/alerts.yml", "alerts.yml", 1))?;
    let said = must(&program, ["test", "rules"], &file).err().context("promtool is content")?.to_string();
    ensure!(said.contains("HubCannotWrite"), "{said}");
    Ok(())
}

#[test]
fn every_rule_has_a_case_in_which_it_fires_and_one_in_which_it_is_silent() -> Done {
    let words = |file: PathBuf, before: &str| -> anyhow::Result<BTreeSet<String>> {
        let text = std::fs::read_to_string(file)?;
        Ok(text.lines().filter_map(|line| Some(line.trim().strip_prefix(before)?.to_owned())).collect())
    };
    let (rules, cases) = (words(rules(), "- alert: ")?, words(cases(), "- name: ")?);
    let wanted = rules.iter().flat_map(|rule| [format!("{rule} fires"), format!("{rule} is silent")]);
    ensure!(rules.len() >= 20 && cases == wanted.collect(), "{rules:?} and {cases:?}");
    Ok(())
}

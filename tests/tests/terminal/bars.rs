//! What takes long says how far it is: on a terminal, and nowhere else.

use crate::pty::show;
use crate::warehouse::{Done, Warehouse, copy, fixture, program, sql};
use anyhow::{Context as _, ensure};
use std::path::Path;
use std::process::Command;
use tt_tests::node::Said;

/// A command that takes long, and what it says while it runs.
struct Long<'l> {
    role: &'l str,
    dir: &'l Path,
    args: Vec<&'l str>,
    phases: &'l [&'l str],
}

impl Long<'_> {
    fn command(&self, more: &[&str]) -> Command {
        program().command(self.role, self.dir, &[&self.args[..], more].concat())
    }

    /// Its phases are drawn one after the other, and at the end only its results stand there.
    fn is_drawn(&self) -> Done {
        let shown = show(&self.command(&[]), "xterm")?;
        ensure!(shown.code == 0, "{:?}: {shown:?}", self.args);
        let mut rest = shown.text.as_str();
        for phase in self.phases {
            let at = rest.find(phase).with_context(|| format!("no {phase} in {shown:?}"))?;
            rest = &rest[at..];
        }
        let (_, left) = shown.text.rsplit_once("\x1b[2K").context("the line is cleared")?;
        ensure!(self.is_clean(left), "{:?} leaves {left:?}", self.args);
        Ok(())
    }

    fn is_clean(&self, text: &str) -> bool {
        !text.contains('\x1b') && self.phases.iter().all(|phase| !text.contains(phase))
    }

    /// Nothing of it is in any output that is no terminal, and nothing beside JSON.
    fn is_not_drawn(&self, said: &Said) -> Done {
        ensure!(said.code == 0, "{:?}: {said:?}", self.args);
        for text in [&said.out, &said.err] {
            ensure!(self.is_clean(text) && !text.contains('\r'), "{:?} says {text:?}", self.args);
        }
        Ok(())
    }
}

const FETCHED: &[&str] =
    &["enrolling", "fetching the hub's rows", "unpacking", "making it this device's file"];
const BROUGHT: &[&str] = &["enrolling", "fetching the hub's rows", "unpacking", "comparing rows"];
const SEEDED: &[&str] = &["handing in what is unsent", "comparing rows", "writing the rows"];
const MADE: &[&str] = &["copying the database", "compressing and comparing", "checking", "making copies"];
const RESTORED: &[&str] =
    &["reading the backup", "comparing with the", "keeping the", "preparing", "writing", "checking"];

#[test]
fn a_hub_draws_what_takes_long() -> Done {
    let folder = tempfile::tempdir()?;
    let hub = folder.path().join("hub");
    let file = fixture("tablettracker_2026.db");
    let file = file.to_str().context("a path in words")?;
    let long = |args, phases| Long { role: "hub", dir: &hub, args, phases };
    long(vec!["init", "--adopt", file], &["copying the file", "checking the copy", "setting up"])
        .is_drawn()?;
    long(vec!["backup", "--tier", "daily"], MADE).is_drawn()?;
    long(vec!["verify"], &["reading copies back"]).is_drawn()?;
    long(vec!["prune"], &["removing"]).is_drawn()?;
    let backups = program().must("hub", &hub, &["backups", "--json"])?;
    let backups: serde_json::Value = serde_json::from_str(&backups)?;
    let id = backups[0]["id"].as_str().context("an id")?;
    long(vec!["restore", id, "--force"], RESTORED).is_drawn()?;
    long(vec!["backup"], MADE).is_drawn()?;
    long(vec!["drill"], &["reading the backup", "comparing tables"]).is_drawn()?;
    for quiet in
        [vec!["backup"], vec!["verify"], vec!["prune"], vec!["drill"], vec!["restore", id, "--force"]]
    {
        let phases = &[MADE, RESTORED, &["reading copies back", "removing", "comparing"]].concat();
        let quiet = Long { role: "hub", dir: &hub, args: quiet, phases };
        // `restore` says its steps as lines where it cannot draw them.
        let phases = if quiet.args[0] == "restore" { &RESTORED[..2] } else { quiet.phases };
        let quiet = Long { phases, ..quiet };
        quiet.is_not_drawn(&program().say("hub", &hub, &quiet.args)?)?;
        for (more, kind) in [(&["--json"][..], "xterm"), (&[], "dumb")] {
            let shown = show(&quiet.command(more), kind)?;
            ensure!(shown.code == 0 && quiet.is_clean(&shown.text), "{:?}: {shown:?}", quiet.args);
        }
    }
    Ok(())
}

#[test]
fn a_device_draws_what_takes_long_and_hears_of_its_daemon() -> Done {
    let mut warehouse = Warehouse::open()?;
    let token = |warehouse: &Warehouse, name: &str| warehouse.hub.invite(name);
    let (new, own) = (warehouse.path("new"), warehouse.path("own"));
    let file = warehouse.path("own.db");
    copy("tablettracker_2026.db", &file)?;
    let file = file.to_str().context("a path in words")?;
    let fresh = token(&warehouse, "new")?;
    Long { role: "edge", dir: &new, args: vec!["join", &fresh], phases: FETCHED }.is_drawn()?;
    let known = token(&warehouse, "own")?;
    Long { role: "edge", dir: &own, args: vec!["join", &known, "--db", file], phases: BROUGHT }.is_drawn()?;
    let reseed = Long { role: "edge", dir: &own, args: vec!["reseed"], phases: SEEDED };
    reseed.is_drawn()?;
    reseed.is_not_drawn(&program().say("edge", &own, &["reseed"])?)?;
    let mut linked = warehouse.linked("linked")?;
    sql(&linked.db(), "UPDATE po_lines SET good_count = good_count + 5 WHERE id = 1")?;
    let dir = linked.dir.clone();
    // Which of the daemon's phases are heard depends on how fast they are over.
    let reseed = Long { role: "edge", dir: &dir, args: vec!["reseed"], phases: &SEEDED[..1] };
    reseed.is_drawn()?;
    Long { phases: SEEDED, ..reseed }.is_not_drawn(&program().say("edge", &dir, &["reseed"])?)?;
    linked.daemon.take().context("it runs")?.stop()?;
    warehouse.stop_hub()
}

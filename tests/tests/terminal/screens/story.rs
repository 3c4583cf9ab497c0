//! The story: a hub and two devices, from before `init` to after `leave`, with conflicts, a lost file, backups and a
//! restore on the way. Each command shows a good run, the same for a script, and what most often goes wrong.

use super::recorder::Recorder;
use crate::warehouse::{Done, copy, program, sql};
use anyhow::Context as _;
use serde_json::Value as Json;
use std::fs;
use tt_tests::node::{Daemon, Edge, Hub, Said, until};

/// A line of a program's purchase order, as two devices see it.
const LINE: &str = "UPDATE po_lines SET line_item_name = 'NAME', good_count = good_count + 5 WHERE id = 1";

pub(crate) fn play(on: &mut Recorder) -> Done {
    before_there_is_a_hub(on)?;
    let mut hub = set_up(on)?;
    let (mut first, mut second) = devices(on, &mut hub)?;
    first_counts(on, &mut first)?;
    conflicts(on, &first, &second)?;
    lost_file(on, &second)?;
    // While both are linked and all is in step, every run shows the same.
    first.run()?;
    second.run()?;
    all_in_step(on)?;
    how_all_is(on)?;
    for edge in [first, second] {
        edge.daemon.context("it runs")?.stop()?;
    }
    backups(on)?;
    restore(on)?;
    reseeds(on)?;
    hub.daemon.take().context("it runs")?.stop()?;
    without_the_hub(on)?;
    hub.serve("127.0.0.1:0", &[])?;
    the_end(on)?;
    hub.daemon.take().context("it runs")?.stop()
}

fn before_there_is_a_hub(on: &mut Recorder) -> Done {
    for line in [&["status"][..], &["edges"], &["backups"], &["health"], &["serve"], &["maintain"]] {
        on.line("hub", "hub", line)?;
    }
    for line in [&["status"][..], &["run"], &["doctor"], &["count", "--employee", "ana", "--product", "Blue"]]
    {
        on.line("edge", "packing-1", line)?;
    }
    on.line("edge", "packing-1", &["join", "nonsense"])?;
    on.line("edge", "packing-1", &["leave"])?;
    shells_and_pages(on)
}

fn shells_and_pages(on: &mut Recorder) -> Done {
    for role in ["hub", "edge"] {
        let said = program().say(role, &on.path("hub"), &["completions", "bash"])?;
        let first = said.out.lines().next().context("a script")?.to_owned();
        on.keep(role, &["completions", "bash"], &Said { out: format!("{first}\n…\n"), ..said });
        on.line(role, "hub", &["completions", "basic"])?;
        let (pages, file) = (on.text("man1"), on.text("file"));
        on.line(role, "hub", &["man", &pages])?;
        let said = program().say(role, &on.path("hub"), &["man", &pages, "--json"])?;
        let lines: Vec<&str> = said.out.lines().take(3).collect();
        on.keep(role, &["man", &pages, "--json"], &Said { out: format!("{} …\n", lines.join("\n")), ..said });
        fs::write(on.path("file"), "no folder")?;
        on.line(role, "hub", &["man", &file])?;
    }
    Ok(())
}

/// An adopted file, one numbered change of its schema, and the daemon.
fn set_up(on: &mut Recorder) -> anyhow::Result<Hub> {
    copy("tablettracker_2026.db", &on.path("old.db"))?;
    let (old, nothing) = (on.text("old.db"), on.text("nothing.db"));
    on.line("hub", "hub", &["init", "--adopt", &nothing])?;
    on.line("hub", "hub", &["init", "--adopt", &old])?;
    on.line("hub", "other", &["init", "--json"])?;
    on.line("hub", "hub", &["init"])?;
    on.line("hub", "hub", &["edges"])?;
    on.line("hub", "hub", &["backups"])?;
    on.line("hub", "hub", &["drill"])?;
    on.line("hub", "hub", &["conflicts"])?;
    on.line("hub", "hub", &["status"])?;
    let folder = on.path("hub").join("migrations");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("0003_boxes.sql"), "ALTER TABLE shipments ADD COLUMN boxes INTEGER;\n")?;
    on.both("hub", "hub", &["migrate"])?;
    on.line("hub", "hub", &["migrate", "up"])?;
    on.line("hub", "hub", &["migrate", "up", "--json"])?;
    fs::write(folder.join("0004_wrong.sql"), "ALTER TABLE nowhere ADD COLUMN x;\n")?;
    on.line("hub", "hub", &["migrate", "up"])?;
    fs::remove_file(folder.join("0004_wrong.sql"))?;
    let mut hub = Hub { program: program(), dir: on.path("hub"), daemon: None };
    hub.serve("127.0.0.1:0", &[])?;
    let ready = first_line(hub.daemon.as_ref())?;
    on.keep("hub", &["serve"], &Said { code: 0, out: String::new(), err: ready });
    on.line("hub", "hub", &["serve"])?;
    Ok(hub)
}

fn devices(on: &mut Recorder, hub: &mut Hub) -> anyhow::Result<(Edge, Edge)> {
    let said = on.line("hub", "hub", &["invite", "packing-1"])?;
    let token = said.out.lines().next().context("a token")?.to_owned();
    let said = on.line("hub", "hub", &["invite", "packing-2", "--json"])?;
    let other: Json = serde_json::from_str(&said.out)?;
    let other = other["token"].as_str().context("a token")?.to_owned();
    on.line("edge", "packing-1", &["join", &token])?;
    on.line("edge", "packing-2", &["join", &other, "--json"])?;
    on.line("edge", "packing-1", &["join", &token])?;
    on.line("hub", "hub", &["invite", "packing-1"])?;
    on.line("hub", "hub", &["invite", "Packing 1"])?;
    let joined = |name: &str| Edge::joined(&hub.program, &on.path(name), None);
    Ok((joined("packing-1"), joined("packing-2")))
}

fn first_line(daemon: Option<&Daemon>) -> anyhow::Result<String> {
    let daemon = daemon.context("it runs")?;
    until("the daemon says that it runs", || Ok(daemon.log()?.lines().next().map(str::to_owned)))
}

/// Counts by hand and from a file, with and without the daemon.
fn first_counts(on: &mut Recorder, first: &mut Edge) -> Done {
    let count = ["count", "--employee", "ana", "--product", "Blue", "--loose", "7"];
    on.both("edge", "packing-1", &count)?;
    on.line("edge", "packing-1", &["count", "--employee", "ana", "--product", "Blue", "--loose", "-7"])?;
    fs::write(on.path("counts.csv"), "employee,product,loose\nana,Blue,1\nana,Blue,-2\n")?;
    let file = on.text("counts.csv");
    on.line("edge", "packing-1", &["import", &file])?;
    fs::write(first.dir.join("inbox.toml"), "[[file]]\nname = \"counts*.csv\"\ncount = \"direct\"\n")?;
    on.line("edge", "packing-1", &["import", &file, "--dry-run"])?;
    on.line("edge", "packing-1", &["import", &file])?;
    on.line("edge", "packing-1", &["import", &file])?;
    on.line("edge", "packing-1", &["import", &file, "--again", "--json"])?;
    on.both("edge", "packing-1", &["status"])?;
    first.run()?;
    let ready = first_line(first.daemon.as_ref())?;
    on.keep("edge", &["run"], &Said { code: 0, out: String::new(), err: ready });
    on.line("edge", "packing-1", &["run"])?;
    first.sync("60")?;
    // Until every table was compared, some are and some are not.
    program().must("edge", &first.dir, &["doctor", "--compare"])?;
    on.both("edge", "packing-1", &["status"])?;
    on.both("edge", "packing-1", &["doctor"])?;
    first.daemon.take().context("it runs")?.stop()
}

/// One contested column and one contested key.
fn conflicts(on: &mut Recorder, first: &Edge, second: &Edge) -> Done {
    for (edge, name, number) in [(first, "earlier", "N-1"), (second, "later", "N-2")] {
        sql(&edge.db(), &LINE.replace("NAME", name))?;
        sql(&edge.db(), &format!("INSERT INTO tablet_types(id, tablet_type_name) VALUES (77, '{number}')"))?;
    }
    on.line("edge", "packing-1", &["sync"])?;
    on.line("edge", "packing-2", &["sync", "--json"])?;
    on.both("hub", "hub", &["conflicts"])?;
    on.both("hub", "hub", &["conflicts", "show", "1"])?;
    on.line("hub", "hub", &["conflicts", "take", "1", "loser"])?;
    on.line("hub", "hub", &["conflicts", "edit", "2", "id=new", "tablet_type_name=N-3", "--json"])?;
    on.line("hub", "hub", &["conflicts", "dismiss", "7"])?;
    on.line("hub", "hub", &["conflicts", "take", "1"])?;
    on.line("hub", "hub", &["conflicts", "--all"])?;
    on.both("hub", "hub", &["history", "po_lines", "1"])?;
    on.line("hub", "hub", &["history", "nowhere", "1"])?;
    on.line("hub", "hub", &["history", "po_lines", "99"])?;
    Ok(())
}

/// What a device had not handed in comes out of its file.
fn lost_file(on: &mut Recorder, second: &Edge) -> Done {
    sql(&second.db(), "UPDATE po_lines SET good_count = good_count + 3 WHERE id = 2")?;
    let (file, nothing) = (second.db().display().to_string(), on.text("nothing.db"));
    on.line("hub", "hub", &["rescue", &file, "--dry-run"])?;
    on.line("hub", "hub", &["rescue", &file])?;
    on.line("hub", "hub", &["rescue", &file, "--json"])?;
    on.line("hub", "hub", &["rescue", &nothing])?;
    Ok(())
}

fn all_in_step(on: &Recorder) -> Done {
    let ask = |name: &str| -> anyhow::Result<Json> {
        Ok(serde_json::from_str(&program().must("hub", &on.path("hub"), &[name, "--json"])?)?)
    };
    until("both devices have all, and every vault has the journal", || {
        let (status, edges) = (ask("status")?, ask("edges")?);
        let lag = status["journal"]["lag"].as_array().context("the lag of each vault")?;
        let mut devices = edges.as_array().context("a list")?.iter().take(2);
        let has_all = |edge: &Json| {
            edge["state"] == "connected" && edge["unsent"] == 0 && edge["cursor"] == status["version"]
        };
        let is_there = |vault: &Json| vault["versions"] == 0 && vault["problem"].is_null();
        Ok((devices.all(has_all) && lag.iter().all(is_there)).then_some(()))
    })
}

fn how_all_is(on: &mut Recorder) -> Done {
    on.both("hub", "hub", &["edges"])?;
    on.both("hub", "hub", &["status"])?;
    on.line("hub", "hub", &["status", "--digests"])?;
    on.both("hub", "hub", &["health"])?;
    on.both("hub", "hub", &["maintain", "--dry-run"])?;
    on.both("hub", "hub", &["maintain"])
}

fn backups(on: &mut Recorder) -> Done {
    // Two runs in one second would be listed in another order than others.
    on.line("hub", "hub", &["backup"])?;
    on.line("hub", "other", &["backup", "--tier", "hourly", "--json"])?;
    on.line("hub", "hub", &["backup", "--tier", "minutely"])?;
    on.both("hub", "hub", &["backups"])?;
    on.both("hub", "hub", &["verify"])?;
    on.line("hub", "hub", &["verify", "nothing"])?;
    on.line("hub", "hub", &["prune", "--dry-run"])?;
    on.line("hub", "hub", &["prune", "--json"])?;
    on.line("hub", "hub", &["prune", "now"])?;
    on.both("hub", "hub", &["drill"])?;
    on.line("hub", "hub", &["health"])?;
    Ok(())
}

fn restore(on: &mut Recorder) -> Done {
    let listed: Json =
        serde_json::from_str(&program().must("hub", &on.path("hub"), &["backups", "--json"])?)?;
    let id = listed[0]["id"].as_str().context("an id")?.to_owned();
    sql(&on.path("hub").join("tablet_counter.db"), "DELETE FROM machine_counts WHERE id < 4")?;
    until("the hub has made a version of that", || {
        let status = program().must("hub", &on.path("hub"), &["status", "--json"])?;
        Ok((serde_json::from_str::<Json>(&status)?["version"] == 9).then_some(()))
    })?;
    on.both("hub", "hub", &["restore", &id, "--dry-run"])?;
    on.line("hub", "hub", &["restore", &id])?;
    on.line("hub", "hub", &["restore", &id, "--force"])?;
    on.line("hub", "hub", &["restore", "undo", "--force", "--json"])?;
    on.line("hub", "hub", &["restore", "nothing", "--force"])?;
    on.line("hub", "hub", &["restore"])?;
    Ok(())
}

fn reseeds(on: &mut Recorder) -> Done {
    on.both("hub", "hub", &["reseed", "packing-1"])?;
    on.line("hub", "hub", &["reseed", "nobody"])?;
    on.both("edge", "packing-1", &["reseed"])
}

fn without_the_hub(on: &mut Recorder) -> Done {
    on.line("edge", "packing-1", &["sync", "--timeout", "1"])?;
    on.line("edge", "packing-1", &["reseed", "--timeout", "1"])?;
    Ok(())
}

/// Devices go.
fn the_end(on: &mut Recorder) -> Done {
    let address = fs::read_to_string(on.path("hub").join("hub.addr.json"))?;
    let address: Json = serde_json::from_str(&address)?;
    let address = address["quic"].as_str().context("an address")?.to_owned();
    on.both("edge", "packing-1", &["leave", "--dry-run"])?;
    on.line("edge", "packing-1", &["leave", "--hub", &address])?;
    on.line("hub", "hub", &["revoke", "packing-2"])?;
    program().must("hub", &on.path("hub"), &["invite", "packing-3"])?;
    on.line("hub", "hub", &["revoke", "packing-3", "--json"])?;
    on.line("hub", "hub", &["revoke", "nobody"])?;
    Ok(())
}

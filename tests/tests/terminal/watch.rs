//! `--watch`: one screen that is drawn in place, or reports one after the other, and Ctrl-C is a good end.

use crate::pty::{CTRL_C, Terminal};
use crate::warehouse::{Done, Warehouse, program};
use anyhow::{Context as _, ensure};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Commands that can be watched, with something that stands on each screen once.
fn watched(
    warehouse: &Warehouse,
) -> anyhow::Result<Vec<(&'static str, PathBuf, &'static str, &'static str)>> {
    let device = warehouse.device("packing-1")?;
    program().must("hub", &warehouse.hub.dir, &["backup"])?;
    let hub = warehouse.hub.dir.clone();
    Ok(vec![
        ("hub", hub.clone(), "status", "digest  "),
        ("hub", hub.clone(), "edges", "NAME"),
        ("hub", hub, "backups", "TAKEN"),
        ("edge", device.dir.clone(), "status", "id space"),
    ])
}

#[test]
fn on_a_terminal_it_is_one_screen_and_the_last_report_stays() -> Done {
    let warehouse = Warehouse::open()?;
    for (role, dir, name, part) in watched(&warehouse)? {
        let command = program().command(role, &dir, &[name, "--watch", "0.1"]);
        let mut terminal = Terminal::start(&command, "xterm")?;
        let seen = terminal.read_until(part, 3)?;
        ensure!(seen.starts_with("\x1b[?1049h\x1b[?25l"), "{role} {name}: {seen:?}");
        ensure!(seen.matches("\x1b[H").count() >= 3, "{role} {name} is not drawn in place: {seen:?}");
        terminal.type_keys(CTRL_C)?;
        let shown = terminal.end()?;
        ensure!(shown.code == 0, "{role} {name}: {shown:?}");
        let (_, last) = shown.text.rsplit_once("\x1b[?1049l").context("the screen is given back")?;
        ensure!(last.contains(part) && !last.contains('\x1b'), "{role} {name} leaves {last:?}");
    }
    Ok(())
}

#[test]
fn without_a_terminal_reports_follow_each_other_and_documents_are_lines() -> Done {
    let warehouse = Warehouse::open()?;
    for (role, dir, name, part) in watched(&warehouse)? {
        for json in [false, true] {
            let mut command = program().command(role, &dir, &[name, "--watch", "0.1"]);
            command.args(json.then_some("--json")).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn()?;
            let mut lines = BufReader::new(child.stdout.take().context("a pipe")?).lines();
            let (mut seen, mut reports) = (Vec::new(), 0);
            while reports < 3 {
                let line = lines.next().context("it goes on")??;
                reports += usize::from(if json { !line.is_empty() } else { line.contains(part) });
                seen.push(line);
            }
            ensure!(Command::new("kill").args(["-INT", &child.id().to_string()]).status()?.success(), "kill");
            ensure!(child.wait()?.code() == Some(0), "{role} {name}: Ctrl-C is a good end");
            ensure!(seen.iter().all(|line| !line.contains('\x1b')), "{role} {name}: {seen:?}");
            if json {
                for line in &seen {
                    serde_json::from_str::<serde_json::Value>(line).with_context(|| line.clone())?;
                }
            } else {
                ensure!(seen.iter().any(String::is_empty), "{role} {name}: nothing is between {seen:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn what_cannot_be_shown_at_all_is_not_watched() -> Done {
    let folder = tempfile::tempdir()?;
    for (role, word) in [("hub", "init"), ("edge", "join")] {
        let said = program().say(role, folder.path(), &["status", "--watch"])?;
        ensure!(said.code == 1 && said.err.contains(word) && said.err.lines().count() == 1, "{said:?}");
        let said = program().say(role, folder.path(), &["status", "--watch", "soon"])?;
        ensure!(said.code == 2, "{said:?}");
    }
    Ok(())
}

//! Files that cannot be joined, and files that were damaged or taken away afterwards.

use super::{bytes, untouched};
use crate::warehouse::{Done, Warehouse, copy, refused};
use anyhow::{Context as _, ensure};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use tt_tests::node::until;

#[test]
fn a_file_that_cannot_be_joined_stays_as_it_is() -> Done {
    let warehouse = Warehouse::open()?;
    let files = warehouse.path("files");
    fs::create_dir(&files)?;
    let path = |name: &str| files.join(name).display().to_string();
    fs::write(
        path("text.db"),
        "these are no tables, but a text that somebody has named like a database\n".repeat(40),
    )?;
    copy("tablettracker_2026.db", &files.join("corrupt.db"))?;
    let mut corrupt = fs::read(path("corrupt.db"))?;
    let middle = corrupt.len() / 2;
    corrupt[middle - 30_000..middle + 30_000].fill(0x5a);
    fs::write(path("corrupt.db"), corrupt)?;
    fs::create_dir(path("folder.db"))?;
    let token = warehouse.hub.invite("packing-1")?;
    let before = bytes(&files)?;
    let cases = [
        (path("text.db"), "file is not a database"),
        (path("corrupt.db"), "malformed"),
        (path("folder.db"), "folder.db"),
        (path("missing/tablet_counter.db"), "is not there"),
    ];
    for (file, reason) in &cases {
        let said = warehouse.edge_says("packing-1", &["join", &token, "--db", file])?;
        refused(&said, 1, &[reason, "--db"]).with_context(|| file.clone())?;
        untouched(&files, &before)?;
    }
    ensure!(warehouse.edge_says("packing-1", &["join", &token])?.code == 0, "the token was not used up");
    Ok(())
}

#[test]
fn a_device_joins_only_once() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.device("packing-1")?;
    let before = bytes(&edge.dir)?;
    let token = warehouse.hub.invite("packing-2")?;
    refused(&edge.say(&["join", &token])?, 1, &["already belongs to a hub", "--data"])?;
    let file = edge.db().display().to_string();
    let said = warehouse.edge_says("elsewhere", &["join", &token, "--db", &file])?;
    refused(&said, 1, &["already belongs to a hub", &file])?;
    untouched(&edge.dir, &before)?;
    edge.sync("30")
}

#[test]
fn a_file_that_is_gone_or_damaged_after_joining() -> Done {
    let warehouse = Warehouse::open()?;
    for (name, damage) in [("gone", false), ("damaged", true)] {
        let edge = warehouse.device(name)?;
        if damage {
            fs::write(edge.db(), "zzzz".repeat(20_000))?;
        } else {
            fs::remove_file(edge.db())?;
        }
        let before = bytes(&edge.dir)?;
        let file = edge.db().display().to_string();
        let reason = if damage { "not a database" } else { "not there" };
        for line in [
            &["status"][..],
            &["sync", "--timeout", "2"],
            &["run"],
            &["count", "--employee", "a", "--product", "b"],
        ] {
            refused(&edge.say(line)?, 1, &[reason, &file]).with_context(|| format!("{name}: {line:?}"))?;
            untouched(&edge.dir, &before)?;
        }
    }
    Ok(())
}

#[test]
fn one_daemon_per_file() -> Done {
    let warehouse = Warehouse::open()?;
    let edge = warehouse.linked("packing-1")?;
    let pid = edge.daemon.as_ref().context("it runs")?.pid().to_string();
    refused(&edge.say(&["run"])?, 1, &["already replicates", &pid, &edge.db().display().to_string()])?;
    let token = warehouse.hub.invite("packing-2")?;
    let file = edge.db().display().to_string();
    refused(&warehouse.edge_says("elsewhere", &["join", &token, "--db", &file])?, 1, &[&pid])?;
    until("the first one is not disturbed", || Ok((edge.status()?["connected"] == true).then_some(())))
}

#[test]
fn a_folder_that_cannot_be_written() -> Done {
    let warehouse = Warehouse::open()?;
    let closed = warehouse.path("closed");
    fs::create_dir(&closed)?;
    fs::set_permissions(&closed, Permissions::from_mode(0o500))?;
    if fs::write(closed.join("probe"), "").is_ok() {
        println!("skipped: this user may write everywhere");
        return Ok(());
    }
    let token = warehouse.hub.invite("packing-1")?;
    let said = warehouse.edge_says("closed/edge", &["join", &token])?;
    refused(&said, 1, &["cannot", "closed/edge", "write"])?;
    ensure!(warehouse.edge_says("packing-1", &["join", &token])?.code == 0, "the token was not used up");
    Ok(())
}

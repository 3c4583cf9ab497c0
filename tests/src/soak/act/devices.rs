//! What happens to devices: a clock is set, a file is made anew, copied to another device or put back, and a device is
//! lost and another one takes its place.

use super::{lasting, put_right};
use crate::node::Edge;
use crate::soak::crew::Worker;
use crate::soak::fault::{Mend, Mends};
use crate::soak::quiet::device_in_step;
use crate::soak::site::{Device, Site};
use crate::wrong_clock;
use anyhow::{Context as _, ensure};
use rusqlite::Connection;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Whether nothing is the matter with a device, after what was the matter is put right.
fn make_well(site: &mut Site, mends: &mut Mends, at: usize) -> anyhow::Result<()> {
    let name = site.devices[at].name.clone();
    let is_its = |mend: &Mend| matches!(mend, Mend::Link(of) | Mend::Daemon(of) | Mend::Wake(of) | Mend::Disk(of) if *of == name);
    let (its, others): (Mends, Mends) = mends.drain(..).partition(|(_, mend)| is_its(mend));
    *mends = others;
    its.iter().try_for_each(|(_, mend)| put_right(site, mend).map(drop))
}

fn rest(device: &mut Device) -> anyhow::Result<()> {
    device.crew.iter_mut().try_for_each(Worker::rest)
}

fn start(device: &mut Device) -> anyhow::Result<()> {
    device.crew.iter_mut().try_for_each(Worker::start)
}

/// The clock was wrong by days, and somebody has set it.
pub(super) fn clock(site: &mut Site, mends: &mut Mends, at: usize) -> anyhow::Result<Option<String>> {
    if site.devices[at].is_old {
        return Ok(None);
    }
    make_well(site, mends, at)?;
    let days = i64::try_from(site.random.below(400))? - 200;
    let device = &mut site.devices[at];
    rest(device)?;
    device.edge.daemon.take().context("it runs")?.kill()?;
    wrong_clock::was_off_by(&device.edge.db(), days * 86_400_000)?;
    device.edge.run()?;
    start(device)?;
    Ok(Some(format!("the clock of {} was {days} days off and was set", device.name)))
}

/// Programs cannot write then, and the daemon goes on when there is room again.
pub(super) fn disk_full(site: &mut Site, mends: &mut Mends) -> anyhow::Result<Option<String>> {
    let with_disk =
        |device: &&mut Device| device.disk.is_some() && !device.is_full && device.edge.daemon.is_some();
    let Some(device) = site.devices.iter_mut().find(with_disk) else { return Ok(None) };
    device.disk.as_ref().context("it has one")?.fill()?;
    device.is_full = true;
    let name = device.name.clone();
    lasting(site, mends, Mend::Disk(name.clone()));
    Ok(Some(format!("the disk of {name} is full")))
}

pub(super) fn reseed(site: &Site, at: usize) -> anyhow::Result<String> {
    let name = &site.devices[at].name;
    site.hub_must(&["reseed", name])?;
    Ok(format!("{name} is ordered to make its file anew"))
}

/// A device is gone with work that it has not handed in; its file is found. Another device takes its place.
pub(super) fn lost(site: &mut Site, mends: &mut Mends, at: usize) -> anyhow::Result<Option<String>> {
    if site.devices[at].is_old {
        return Ok(None);
    }
    make_well(site, mends, at)?;
    let is_in_step = site.random.once_in(3);
    let device = &mut site.devices[at];
    if is_in_step {
        rest(device)?;
        device_in_step(device)?;
    } else {
        device.relay.cut();
        std::thread::sleep(Duration::from_millis(800));
        rest(device)?;
    }
    device.edge.daemon.take().context("it runs")?.kill()?;
    let mut device = site.devices.remove(at);
    site.hub_must(&["revoke", &device.name])?;
    let (file, mut rescued) = (device.edge.db().display().to_string(), 0);
    if !is_in_step {
        let said = site.hub_must(&["rescue", &file])?;
        rescued = said["changesets"].as_u64().unwrap_or(0);
    }
    let mut next = site.device(device.disk.is_some())?;
    // Its file may be of a while ago, and programs go on where they were.
    device_in_step(&next)?;
    next.crew = std::mem::take(&mut device.crew);
    for worker in &mut next.crew {
        worker.move_to(&next.edge.db());
        worker.start()?;
    }
    let what = format!(
        "{} is lost: {rescued} changesets were taken out of its file; {} takes its place",
        device.name, next.name
    );
    site.devices.insert(at, next);
    Ok(Some(what))
}

/// All of a device: its folder with identity and file.
fn copy(from: &Edge, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to.join("identity"))?;
    Connection::open(from.db())?
        .execute("VACUUM INTO ?1", [to.join("tablet_counter.db").to_string_lossy()])?;
    for entry in fs::read_dir(from.dir.join("identity"))? {
        let entry = entry?;
        fs::copy(entry.path(), to.join("identity").join(entry.file_name()))?;
    }
    let settings = fs::read_to_string(from.dir.join("edge.json"))?;
    let (old, new) = (from.dir.display().to_string(), to.display().to_string());
    Ok(fs::write(to.join("edge.json"), settings.replace(&old, &new))?)
}

/// A program that only adds works with a file for a while.
fn work_a_while(site: &mut Site, who: &str, db: &Path) -> anyhow::Result<Worker> {
    let mut worker = site.worker(who, db, false);
    worker.start()?;
    worker.commits(3)?;
    worker.rest()?;
    Ok(worker)
}

/// It is stopped with the reason, and comes in under another name.
fn rescue(site: &Site, (edge, at): (&Edge, usize), name: &str) -> anyhow::Result<()> {
    let said = edge.say(&["sync", "--timeout", "60"])?;
    ensure!(
        said.code == 1 && said.err.contains("--rescue"),
        "{} was not recognised: {said:?}",
        edge.dir.display()
    );
    let token = site.hub.invite(name)?;
    let hub = site.devices[at].relay.address().to_string();
    let said = edge.say(&["join", &token, "--rescue", "--json", "--hub", &hub])?;
    ensure!(said.code == 0 && said.out.contains("\"handed_in\":true"), "{name}: {said:?}");
    Ok(())
}

/// The device goes on while there is a copy of it, and has handed something in that the copy has not.
fn goes_on(site: &mut Site, at: usize) -> anyhow::Result<()> {
    let device = &mut site.devices[at];
    start(device)?;
    device.crew.first_mut().context("each has a program")?.commits(2)?;
    rest(device)?;
    device_in_step(device)
}

/// The image of a device is used for a second one. When its work is in, that one is taken out of service.
pub(super) fn cloned(site: &mut Site, mends: &mut Mends, at: usize) -> anyhow::Result<String> {
    make_well(site, mends, at)?;
    rest(&mut site.devices[at])?;
    device_in_step(&site.devices[at])?;
    let (original, name) = (site.devices[at].name.clone(), site.next_name());
    let dir = site.dir.join(&name);
    copy(&site.devices[at].edge, &dir)?;
    goes_on(site, at)?;
    let edge = Edge::joined(&site.program, &dir, None);
    let worker = work_a_while(site, &format!("{name}c"), &edge.db())?;
    rescue(site, (&edge, at), &name)?;
    edge.sync("60")?;
    site.hub_must(&["revoke", &name])?;
    ensure!(edge.say(&["sync", "--timeout", "20"])?.code == 1, "{name} is revoked and still comes in step");
    site.retired.push((worker.who().to_owned(), worker.book()));
    start(&mut site.devices[at])?;
    // A hub that is brought back to before would have the copy's rows under ids that the original gave, too, and hold
    // the original's on the list.
    site.points.clear();
    site.before_restore = None;
    Ok(format!(
        "{original} was copied; the copy was stopped, and its work came in as {name}, which was revoked"
    ))
}

/// A device's file of a while ago is put back in its place.
pub(super) fn put_back(site: &mut Site, mends: &mut Mends, at: usize) -> anyhow::Result<Option<String>> {
    if site.devices[at].is_old {
        return Ok(None);
    }
    make_well(site, mends, at)?;
    rest(&mut site.devices[at])?;
    device_in_step(&site.devices[at])?;
    let former = site.devices[at].name.clone();
    let earlier = site.dir.join("earlier.db");
    let _ = fs::remove_file(&earlier);
    let db = site.devices[at].edge.db();
    Connection::open(&db)?.execute("VACUUM INTO ?1", [earlier.to_string_lossy()])?;
    goes_on(site, at)?;
    site.devices[at].edge.daemon.take().context("it runs")?.kill()?;
    for ending in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{ending}", db.display()));
    }
    fs::copy(&earlier, &db)?;
    let name = site.next_name();
    let worker = work_a_while(site, &format!("{name}p"), &db)?;
    site.retired.push((worker.who().to_owned(), worker.book()));
    let edge = Edge::joined(&site.program, &site.devices[at].edge.dir, None);
    rescue(site, (&edge, at), &name)?;
    let device = &mut site.devices[at];
    device.edge.run()?;
    device.name.clone_from(&name);
    device_in_step(device)?;
    start(device)?;
    // Nobody will come by that name.
    site.hub_must(&["revoke", &former])?;
    Ok(Some(format!("an earlier file of {former} was put back; it was stopped, and goes on as {name}")))
}

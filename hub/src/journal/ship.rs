//! Brings the journal into every vault while the daemon runs: what is on disk here is there within a second.
//!
//! * Each vault has a thread of its own: one that is full, slow or gone hurts neither the others nor the merge,
//!   and gets what it missed when it is back.
//! * It works from the segments on this disk alone. What a vault has is told by its list.

mod cleaning;
mod course;
#[cfg(test)]
mod tests;

use super::parts::{Part, Stored};
use super::record::Lsn;
use super::segment::{self, Header};
use super::watermark::{self, Watermark};
use super::writer::Tail;
use crate::backup::vault::{self, Vault};
use crate::backup::{self, Backups, Verified};
use crate::clock;
pub(crate) use course::Course;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tt_protocol::number::{Epoch, Millis, Version};

/// Parts of one segment above which a single one takes their place.
const PARTS_MAX: usize = 64;
/// What a vault has is listed anew after so many rounds: it may be another disk by now.
const ROUNDS_PER_LIST: u32 = 60;
/// A vault that lets nothing be removed is asked again after so many rounds.
const ROUNDS_PER_REMOVAL: u32 = 3_600;
/// Pause between rounds when nothing new comes.
const ROUND: Duration = Duration::from_secs(1);
/// Longest pause after a failure.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Where the journal is in a vault.
pub(crate) const PART: &str = "journal";

/// What one vault has, as far as its thread knows.
pub(crate) struct Shipper<'v> {
    folder: PathBuf,
    root: &'v dyn Vault,
    vault: Box<dyn Vault>,
    stored: Option<BTreeMap<Lsn, Stored>>,
    headers: BTreeMap<Lsn, Header>,
    /// The names of the backups when they were last read, and those that are verified.
    backups: (Vec<String>, Vec<Verified>),
    rounds: u32,
    /// The round from which something may be removed again.
    removes_from: u32,
    cleaned_at: Option<Millis>,
    /// Segments that went from the vault, while they may still be here.
    gone: BTreeSet<Lsn>,
}

/// What every vault has: the version that is safe there, and the last entry.
struct Fleet {
    vaults: Mutex<Vec<(Version, Lsn)>>,
    watermark: Watermark,
}

impl Fleet {
    /// A vault has so much. Gives the last entry that all of them have.
    fn tell(&self, number: usize, version: Version, last: Lsn) -> Lsn {
        let mut vaults = self.vaults.lock().unwrap_or_else(PoisonError::into_inner);
        vaults[number] = (version, last);
        let versions: Vec<Version> = vaults.iter().map(|(version, _)| *version).collect();
        self.watermark.raise(watermark::safe(&versions));
        vaults.iter().map(|(_, last)| *last).min().unwrap_or_default()
    }
}

/// Starts a thread for each vault. They end when the course ends.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn begin(
    backups: &Arc<Backups>,
    (folder, keep_days): (&Path, u32),
    course: &Arc<Course>,
    watermark: &Watermark,
) -> io::Result<()> {
    let count = backups.vaults.len();
    let vaults = Mutex::new(vec![Default::default(); count]);
    let fleet = Arc::new(Fleet { vaults, watermark: watermark.clone() });
    course.expect(count);
    for number in 0..count {
        let (backups, fleet, course) = (Arc::clone(backups), Arc::clone(&fleet), Arc::clone(course));
        let folder = folder.to_owned();
        thread::Builder::new().name(format!("vault-{number}")).spawn(move || {
            let mut shipper = Shipper::new(&folder, backups.vaults[number].vault.as_ref());
            keep(&mut shipper, &course, |shipper, version, last| {
                let all = fleet.tell(number, version, last);
                // One of them cleans up here; each cleans up in its own vault.
                shipper.clean_up(keep_days, (number == 0).then_some(all), clock::now());
            });
        })?;
    }
    Ok(())
}

fn keep(shipper: &mut Shipper<'_>, course: &Course, done: impl Fn(&mut Shipper<'_>, Version, Lsn)) {
    let (mut shipped, mut pause) = (Lsn(0), Duration::ZERO);
    while let Some((tail, epoch)) = course.wait(shipped, ROUND.max(pause), pause.is_zero()) {
        match shipper.round(tail, epoch) {
            Ok(version) => {
                if !pause.is_zero() {
                    tracing::info!(vault = shipper.root.name(), "the vault takes the journal again");
                }
                (shipped, pause) = (tail.last, Duration::ZERO);
                course.arrived(tail.last);
                done(shipper, version, tail.last);
            }
            Err(error) => {
                shipper.stored = None;
                if pause.is_zero() {
                    let (vault, place) = (shipper.root.name(), shipper.root.place());
                    tracing::error!(%error, vault, place, "the vault does not take the journal; trying again until it does");
                }
                pause = (pause * 2).clamp(ROUND, PAUSE_MAX);
            }
        }
    }
}

impl<'v> Shipper<'v> {
    pub(crate) fn new(folder: &Path, root: &'v dyn Vault) -> Self {
        Self {
            folder: folder.to_owned(),
            vault: root.part(PART),
            root,
            stored: None,
            headers: BTreeMap::new(),
            backups: Default::default(),
            rounds: 0,
            removes_from: 0,
            cleaned_at: None,
            gone: BTreeSet::new(),
        }
    }

    /// Brings all up to `tail` into the vault. Gives the version that is safe there.
    pub(crate) fn round(&mut self, tail: Tail, epoch: Epoch) -> io::Result<Version> {
        self.rounds += 1;
        if self.rounds.is_multiple_of(ROUNDS_PER_LIST) {
            self.stored = None;
        }
        let known = self.stored.take();
        // Of a far vault each list costs its owner money and us a way there and back.
        let look = known.is_none() || !self.root.is_far();
        let mut stored = match known {
            Some(stored) => stored,
            None => Stored::of(&self.vault.list()?),
        };
        self.read_headers()?;
        let here: Vec<Lsn> =
            self.headers.keys().filter(|first| !self.gone.contains(first)).copied().collect();
        for first in here {
            let known = stored.entry(first).or_default();
            if first == tail.segment {
                self.ship_open(first, tail.bytes, known)?;
            } else if first < tail.segment {
                self.ship_whole(first, known)?;
            }
        }
        self.stored = Some(stored);
        if look {
            self.read_backups()?;
        }
        Ok(self.safe(tail, epoch))
    }

    /// The headers of the segments on this disk.
    fn read_headers(&mut self) -> io::Result<()> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let Some(first) = name.to_str().and_then(segment::parse_name) else { continue };
            if let Some(header) = self.headers.get(&first) {
                found.insert(first, *header);
                continue;
            }
            let mut head = Vec::new();
            File::open(self.folder.join(&name))?.take(2_048).read_to_end(&mut head)?;
            if let Ok((header, _)) = Header::read(&head) {
                found.insert(first, header);
            }
        }
        self.headers = found;
        Ok(())
    }

    fn ship_whole(&mut self, first: Lsn, stored: &mut Stored) -> io::Result<()> {
        if !stored.whole {
            let mut file = File::open(self.folder.join(segment::name(first)))?;
            let mut upload = self.vault.begin(&segment::name(first))?;
            io::copy(&mut file, &mut upload)?;
            upload.commit()?;
            stored.whole = true;
        }
        self.remove(std::mem::take(&mut stored.parts));
        Ok(())
    }

    /// Removes parts that nothing needs. Those that cannot be removed go another time, when the next list shows
    /// them: the journal is there all the same, and must not wait for a vault that lets nothing go.
    fn remove(&mut self, parts: Vec<Part>) {
        if self.rounds < self.removes_from {
            return;
        }
        let removed = parts.into_iter().try_for_each(|part| self.vault.remove(&part.name()));
        if let Err(error) = removed {
            self.removes_from = self.rounds.saturating_add(ROUNDS_PER_REMOVAL);
            tracing::warn!(%error, vault = self.root.name(), "parts of the journal that nothing needs stay in the vault");
        }
    }

    fn ship_open(&mut self, first: Lsn, length: u64, stored: &mut Stored) -> io::Result<()> {
        let have = stored.bytes();
        if have >= length {
            return Ok(());
        }
        let together = stored.parts.len() >= PARTS_MAX;
        let offset = if together { 0 } else { have };
        let part = Part { first, offset, length: length - offset };
        let mut file = File::open(self.folder.join(segment::name(first)))?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(part.length).read_to_end(&mut bytes)?;
        vault::put(self.vault.as_ref(), &part.name(), &bytes)?;
        if together {
            self.remove(std::mem::take(&mut stored.parts));
        }
        stored.parts.push(part);
        stored.parts.sort();
        Ok(())
    }

    fn read_backups(&mut self) -> io::Result<()> {
        let names = self.root.list()?;
        if names != self.backups.0 {
            let verified = backup::verified(self.root, &names);
            self.backups = (names, verified);
        }
        Ok(())
    }

    /// The newest version that a verified backup in this vault and the journal there give back.
    fn safe(&self, tail: Tail, epoch: Epoch) -> Version {
        let of_now = self.backups.1.iter().filter(|backup| backup.epoch == epoch);
        let newest = of_now.map(|backup| backup.version).max();
        match (newest, self.from()) {
            (Some(newest), Some(from)) if newest >= from => newest.max(tail.version),
            (newest, _) => newest.unwrap_or_default(),
        }
    }

    /// The version from which on the vault has the journal without a gap.
    fn from(&self) -> Option<Version> {
        let stored = self.stored.as_ref()?;
        let mut from = None;
        for (first, header) in self.headers.iter().rev() {
            if !stored.get(first).is_some_and(|stored| stored.whole || stored.bytes() > 0) {
                break;
            }
            from = Some(header.version);
            if header.before == [0; 32] {
                break;
            }
        }
        from
    }
}

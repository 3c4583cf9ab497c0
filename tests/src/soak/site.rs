//! The site of a soak: a hub, its devices, the programs on all of them, and a stretch of bad wireless for each device.

use super::account::Account;
use super::book::Book;
use super::crew::{Worker, has_python};
use super::disk::Disk;
use super::past::{Past, State};
use super::station::{self, AT_HUB, Orders};
use crate::node::{Edge, Hub, Program, Said};
use crate::relay::Relay;
use crate::sim::random::Random;
use anyhow::{Context as _, ensure};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A file of the real program; contents made up.
const BEGINNING: &[u8] = include_bytes!("../../fixtures/tablettracker_2026.db");
/// Lines that everybody counts on.
const LINES: u32 = 6;
/// Nobody listens on port 9 of loopback: each device has an address of its own for the hub.
const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);
/// How long a command waits for the daemon's own work on backups.
const LOCKED_TRIES: u32 = 120;

/// A device and all that belongs to it.
pub(super) struct Device {
    pub(super) name: String,
    pub(super) edge: Edge,
    pub(super) relay: Relay,
    pub(super) crew: Vec<Worker>,
    /// Its daemon does not get any time.
    pub(super) asleep: bool,
    /// Its daemon is never killed, so that what grows slowly is seen.
    pub(super) is_old: bool,
    /// A disk of its own, which is dropped after everybody who works on it.
    pub(super) disk: Option<Disk>,
    /// No byte fits on it.
    pub(super) is_full: bool,
}

/// A moment to which the hub can be brought back.
#[derive(Clone, Debug)]
pub(super) struct Point {
    /// What `restore` is told.
    pub(super) arguments: Vec<String>,
    /// What programs at the hub have in it.
    pub(super) state: State,
}

/// Everything.
pub(super) struct Site {
    pub(super) program: Program,
    pub(super) dir: PathBuf,
    pub(super) hub: Hub,
    pub(super) devices: Vec<Device>,
    pub(super) office: Vec<Worker>,
    pub(super) past: Past,
    pub(super) points: Vec<Point>,
    /// The state before the last restore, while it can be undone.
    pub(super) before_restore: Option<State>,
    /// Backups that were made by the soak's own order, and restores that came to their end.
    pub(super) made_backups: u64,
    pub(super) restores: u64,
    /// Since the last quiet moment rows may wait for others of their transaction.
    pub(super) unsettled: bool,
    /// Ledgers of programs that have ended for good.
    pub(super) retired: Vec<(String, Book)>,
    /// Copies that were read without anything of ours since they were written.
    pub(super) read: BTreeSet<PathBuf>,
    /// Changes of the schema so far.
    pub(super) migrations: usize,
    pub(super) random: Random,
    pace_ms: u64,
    made: usize,
}

impl Site {
    /// A hub with an adopted file, and its devices; nobody counts yet.
    pub(super) fn begin(
        program: &Program,
        dir: &Path,
        devices: usize,
        seed: u64,
        pace_ms: u64,
    ) -> anyhow::Result<Self> {
        let file = dir.join("program.db");
        fs::write(&file, BEGINNING)?;
        station::prepare(&file, LINES)?;
        let hub = Hub::init(program, &dir.join("hub"), Some(&file))?;
        let mut site = Self {
            program: program.clone(),
            dir: dir.to_owned(),
            hub,
            devices: Vec::new(),
            office: Vec::new(),
            past: Past::default(),
            points: Vec::new(),
            before_restore: None,
            made_backups: 0,
            restores: 0,
            unsettled: false,
            retired: Vec::new(),
            read: BTreeSet::new(),
            migrations: 0,
            random: Random::new(seed),
            pace_ms,
            made: 0,
        };
        fs::create_dir(site.vault())?;
        site.name_vaults()?;
        site.serve()?;
        for number in 0..devices {
            let device = site.device(number == 1)?;
            site.devices.push(device);
            site.devices[number].is_old = number == 0;
        }
        for number in 1..=2 {
            let db = site.hub.db();
            let worker = site.worker(&format!("{AT_HUB}{number}"), &db, false);
            site.office.push(worker);
        }
        site.past = Past::begin(site.office.iter().map(|worker| worker.who().to_owned()));
        Ok(site)
    }

    /// The second vault is a disk of its own: one that is not there must stay missing.
    pub(super) fn vault(&self) -> PathBuf {
        self.dir.join("vault-2")
    }

    fn name_vaults(&self) -> anyhow::Result<()> {
        let settings = self.hub.dir.join("hub.toml");
        let text = fs::read_to_string(&settings)?;
        let (head, _) = text.split_once("[backup]").context("the settings have a part for backups")?;
        let vault = self.vault();
        let backup = format!(
            "[backup]\nzone = \"UTC\"\nvault = [\n  {{ name = \"primary\", path = \"backups/primary\" }},\n  \
             {{ name = \"secondary\", path = {vault:?} }},\n  \
             {{ name = \"archive\", path = \"backups/archive\", tiers = [\"monthly\", \"yearly\"] }},\n]\n"
        );
        Ok(fs::write(&settings, format!("{head}{backup}"))?)
    }

    /// Starts the hub's daemon; the wireless leads there from now on.
    pub(super) fn serve(&mut self) -> anyhow::Result<()> {
        let nowhere = SocketAddr::from(NOWHERE).to_string();
        let address = self.hub.serve("127.0.0.1:0", &["--advertise", &nowhere])?;
        self.devices.iter().for_each(|device| device.relay.lead_to(address));
        Ok(())
    }

    /// Where the hub listens: `quic` and `http`.
    pub(super) fn addresses(&self) -> anyhow::Result<Json> {
        Ok(serde_json::from_slice(&fs::read(self.hub.dir.join("hub.addr.json"))?)?)
    }

    /// A name that no device has had.
    pub(super) fn next_name(&mut self) -> String {
        self.made += 1;
        format!("packing-{}", self.made)
    }

    /// A new device with a daemon that runs and programs that do not yet.
    pub(super) fn device(&mut self, on_disk: bool) -> anyhow::Result<Device> {
        let name = self.next_name();
        let dir = self.dir.join(&name);
        let disk = if on_disk { Disk::mount(&dir)? } else { None };
        let relay = Relay::start(self.addresses()?["quic"].as_str().context("the hub listens")?.parse()?)?;
        let token = self.hub.invite(&name)?;
        self.program.must("edge", &dir, &["join", &token, "--hub", &relay.address().to_string()])?;
        let mut edge = Edge::joined(&self.program, &dir, None);
        edge.run()?;
        let db = edge.db();
        let mut crew = vec![self.worker(&format!("{name}a"), &db, false)];
        if self.made == 1 || disk.is_none() && self.random.once_in(2) {
            crew.push(self.worker(&format!("{name}b"), &db, has_python()));
        }
        crew.iter_mut().for_each(|worker| worker.orders.small_disk = disk.is_some());
        Ok(Device { name, edge, relay, crew, asleep: false, is_old: false, disk, is_full: false })
    }

    pub(super) fn worker(&mut self, who: &str, db: &Path, is_python: bool) -> Worker {
        let book = self.dir.join(format!("{who}.book"));
        let (db, who, seed) = (db.to_owned(), who.to_owned(), self.random.next() >> 1);
        Worker::new(
            &self.program,
            Orders { db, book, who, seed, pace_ms: self.pace_ms, small_disk: false },
            is_python,
        )
    }

    pub(super) fn workers(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.devices.iter_mut().flat_map(|device| &mut device.crew).chain(&mut self.office)
    }

    pub(super) fn start_programs(&mut self) -> anyhow::Result<()> {
        self.workers().try_for_each(Worker::start)
    }

    pub(super) fn rest_programs(&mut self) -> anyhow::Result<()> {
        self.workers().try_for_each(Worker::rest)
    }

    /// To which transactions the programs at the hub have come: the last that are certain, and the last begun.
    pub(super) fn office_at(&self) -> anyhow::Result<(BTreeMap<String, u64>, BTreeMap<String, u64>)> {
        let (mut certain, mut begun) = (BTreeMap::new(), BTreeMap::new());
        for worker in &self.office {
            let entries = worker.entries()?;
            let of = |wanted: fn(Option<bool>) -> bool| {
                entries.iter().rfind(|entry| wanted(entry.done)).map_or(0, |entry| entry.number)
            };
            certain.insert(worker.who().to_owned(), of(|done| done == Some(true)));
            begun.insert(worker.who().to_owned(), of(|_| true));
        }
        Ok((certain, begun))
    }

    /// The ledgers of all programs that there ever were.
    fn books(&self) -> impl Iterator<Item = (String, Book)> {
        let crews = self.devices.iter().flat_map(|device| &device.crew).chain(&self.office);
        crews.map(|worker| (worker.who().to_owned(), worker.book())).chain(self.retired.clone())
    }

    /// How many transactions were committed.
    pub(super) fn commits(&self) -> anyhow::Result<usize> {
        let mut commits = 0;
        for (_, book) in self.books() {
            commits += book.read()?.iter().filter(|entry| entry.done == Some(true)).count();
        }
        Ok(commits)
    }

    /// What must be in every file when all are in step.
    pub(super) fn account(&self, past: &Past) -> anyhow::Result<Account> {
        let mut account = Account::begin(LINES);
        for (who, book) in self.books() {
            for entry in book.read()? {
                ensure!(entry.done.is_some(), "{who}: nobody knows whether {} was committed", entry.number);
                if entry.done != Some(true) {
                    continue;
                }
                if past.has(&who, entry.number) {
                    account.book(&entry);
                } else {
                    account.allow(&entry);
                }
            }
        }
        Ok(account)
    }

    /// Runs a command of the hub, and waits while its daemon works on backups.
    pub(super) fn hub_says(&self, args: &[&str]) -> anyhow::Result<Said> {
        for _ in 0..LOCKED_TRIES {
            let said = self.hub.say(args)?;
            if said.code == 0 || !said.err.contains("is working on the backups in") {
                return Ok(said);
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        self.hub.say(args)
    }

    /// Runs a command of the hub that must succeed. Gives its JSON.
    pub(super) fn hub_must(&self, args: &[&str]) -> anyhow::Result<Json> {
        let said = self.hub_says(&[args, &["--json"]].concat())?;
        ensure!(said.code == 0, "tt-hub {} ended with {}: {}", args.join(" "), said.code, said.err.trim());
        Ok(serde_json::from_str(&said.out)?)
    }

    /// What is listed as backups. While a vault is away the command fails, and lists what the others have.
    pub(super) fn backups(&self) -> anyhow::Result<Vec<Json>> {
        let said = self.hub_says(&["backups", "--json"])?;
        ensure!(said.code == 0 || self.vault_away(), "tt-hub backups ended with {}: {}", said.code, said.err);
        Ok(serde_json::from_str(&said.out)?)
    }

    /// All files with the same rows: the hub's, then the devices'.
    pub(super) fn files(&self) -> Vec<(String, PathBuf)> {
        let devices = self.devices.iter().map(|device| (device.name.clone(), device.edge.db()));
        std::iter::once(("hub".to_owned(), self.hub.db())).chain(devices).collect()
    }
}

/// Sends a signal to a process of ours.
pub(super) fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status()?;
    ensure!(status.success(), "cannot send {name} to {pid}");
    Ok(())
}

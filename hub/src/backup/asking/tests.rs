//! Vaults that wait for each other, are silent, or slow but alive.

use super::super::catalog::{Catalog, CopyState};
use super::super::manifest::{Manifest, Verified, manifest_file};
use super::super::tier::{TIERS, Tier};
use super::super::vault::put;
use super::super::vault::tests::MemoryVault;
use super::*;
use std::sync::{Condvar, Mutex};

/// Nothing waits for longer, so that a test which fails ends all the same.
const DEADLINE: Duration = Duration::from_secs(20);
/// A busy machine answers within this.
const SOON: Duration = Duration::from_secs(2);

/// A door that somebody opens, or that opens by itself at the deadline.
#[derive(Default)]
struct Door {
    knocks: Mutex<usize>,
    news: Condvar,
}

impl Door {
    /// Waits until so many have knocked. False when they did not.
    fn wait(&self, count: usize) -> bool {
        let knocks = self.knocks.lock().unwrap();
        let waited = self.news.wait_timeout_while(knocks, DEADLINE, |knocks| *knocks < count).unwrap();
        !waited.1.timed_out()
    }

    fn knock(&self) {
        *self.knocks.lock().unwrap() += 1;
        self.news.notify_all();
    }
}

/// What a vault does before it lists or reads.
type Before = Arc<dyn Fn() + Send + Sync>;

struct Odd {
    inner: MemoryVault,
    before: Before,
}

impl Vault for Odd {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn part(&self, name: &str) -> Box<dyn Vault> {
        self.inner.part(name)
    }

    fn begin(&self, file: &str) -> io::Result<Box<dyn Upload + '_>> {
        self.inner.begin(file)
    }

    fn read(&self, file: &str) -> io::Result<Box<dyn Read + '_>> {
        (self.before)();
        self.inner.read(file)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        (self.before)();
        self.inner.list()
    }

    fn remove(&self, file: &str) -> io::Result<()> {
        self.inner.remove(file)
    }

    fn space(&self) -> io::Result<Option<Space>> {
        self.inner.space()
    }

    fn tidy(&self) -> io::Result<()> {
        self.inner.tidy()
    }
}

/// A vault with a good copy of so many backups.
fn placed(name: &str, backups: i64, before: impl Fn() + Send + Sync + 'static) -> Placed {
    let inner = MemoryVault { name: name.to_owned(), ..MemoryVault::default() };
    for number in 0..backups {
        let mut manifest = Manifest::sample(Tier::Hourly, format!("2026-01-01T0{number}:00:00Z"));
        manifest.verified = Some(Verified { at: manifest.taken_at.clone(), how: String::new() });
        put(&inner, &manifest_file(&manifest.id), &manifest.to_bytes().unwrap()).unwrap();
        put(&inner, &manifest.file, b"packed").unwrap();
    }
    let vault = Arc::new(Odd { inner, before: Arc::new(before) });
    Placed { vault, takes: TIERS.map(|plan| plan.tier).to_vec() }
}

#[test]
fn vaults_are_asked_at_the_same_time() {
    let door = Arc::new(Door::default());
    let meets = |door: &Arc<Door>| {
        let (door, met) = (Arc::clone(door), Arc::new(AtomicUsize::new(0)));
        let told = Arc::clone(&met);
        let before = move || {
            door.knock();
            // Each is answered only when all three were asked.
            met.fetch_add(usize::from(door.wait(3)), Ordering::AcqRel);
        };
        (before, told)
    };
    let all = [meets(&door), meets(&door), meets(&door)];
    let met: Vec<_> = all.iter().map(|(_, met)| Arc::clone(met)).collect();
    let vaults: Vec<Placed> =
        ["a", "b", "c"].iter().zip(all).map(|(name, (before, _))| placed(name, 0, before)).collect();
    let catalog = Catalog::read(&vaults, Patience::Whole);
    assert!(met.iter().all(|met| met.load(Ordering::Acquire) == 1), "one waited for another to be done");
    assert!(catalog.names.iter().all(Option::is_some));
}

#[test]
fn a_silent_vault_is_said_and_the_others_are_heard_in_their_order() {
    let door = Arc::new(Door::default());
    let silent = {
        let door = Arc::clone(&door);
        move || assert!(door.wait(1), "nobody opened")
    };
    let vaults = [placed("near", 2, || {}), placed("far", 2, silent), placed("archive", 1, || {})];
    let catalog = Catalog::read(&vaults, Patience::Silence(SOON));
    let problems: Vec<_> = catalog.problems.iter().map(|problem| problem.what.as_str()).collect();
    assert_eq!(problems, ["the vault far at memory of far cannot be listed: it does not answer"]);
    assert_eq!(catalog.silent, [1].into());
    let states: Vec<_> = catalog.backups.iter().map(|backup| backup.copies.clone()).collect();
    let gone = CopyState::Failed("the vault does not answer".to_owned());
    assert_eq!(states[0], [(0, CopyState::Verified), (1, gone.clone()), (2, CopyState::Verified)]);
    assert_eq!(states[1], [(0, CopyState::Verified), (1, gone), (2, CopyState::Missing)]);
    assert!(catalog.orphans().is_empty(), "nobody knows what is in it");
    door.knock();
    let again = Catalog::read(&vaults, Patience::Silence(DEADLINE));
    assert_eq!((again.silent.len(), again.problems.len()), (0, 0), "it is back");
}

#[test]
fn a_vault_that_is_slow_and_goes_on_is_heard_to_its_end() {
    // Ten answers take longer than anybody waits for one.
    let slow = || thread::sleep(SOON / 8);
    let vaults = [placed("slow", 9, slow)];
    let catalog = Catalog::read(&vaults, Patience::Silence(SOON));
    assert_eq!((catalog.backups.len(), catalog.silent.len()), (9, 0));
}

//! A vault in memory that fails, lies and loses when its world says so.

use super::super::vault::tests::MemoryVault;
use super::super::vault::{Upload, Vault};
use super::super::*;
use crate::space::Space;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// From this step on nothing can be written.
    NoSpace,
    /// This one step fails.
    Error,
    /// The file that is committed at or after this step comes out shorter, and nobody says so.
    Truncate,
    /// One bit of it comes out wrong.
    Flip,
    /// It is not there afterwards.
    Lose,
    /// It changes places with another file of the vault, or is lost when there is none.
    Swap,
    /// It comes out wrong, and the vault shows the right bytes until it is heard of again: a cache before a disk.
    Cache,
}

/// What goes wrong, counted in steps of all vaults together.
#[derive(Default)]
pub(super) struct Trouble {
    pub(super) step: u64,
    pub(super) crash_at: Option<u64>,
    pub(super) crashed: bool,
    /// Vault, step, kind.
    pub(super) fault: Option<(String, u64, Fault)>,
    pub(super) silent_done: bool,
    /// What a vault shows in place of what it has.
    pub(super) shown: Option<((String, String), Vec<u8>)>,
}

pub(super) type Shared = Arc<Mutex<Trouble>>;

#[derive(Clone)]
pub(super) struct Faulty {
    pub(super) inner: MemoryVault,
    pub(super) trouble: Shared,
}

struct FaultyUpload<'v> {
    inner: Option<Box<dyn Upload + 'v>>,
    vault: &'v Faulty,
    file: String,
}

impl Faulty {
    /// Counts a step. `Err`: it fails. `Ok(Some)`: it lies.
    fn step(&self, writes: bool) -> io::Result<Option<Fault>> {
        let mut trouble = self.trouble.lock().unwrap();
        trouble.step += 1;
        if trouble.crashed || trouble.crash_at.is_some_and(|at| trouble.step >= at) {
            trouble.crashed = true;
            return Err(io::Error::other("the process is dead"));
        }
        match trouble.fault.clone() {
            Some((vault, at, fault)) if vault == self.inner.name && trouble.step >= at => match fault {
                Fault::NoSpace if writes => Err(io::ErrorKind::StorageFull.into()),
                Fault::Error if !trouble.silent_done => {
                    trouble.silent_done = true;
                    Err(io::Error::other("injected"))
                }
                Fault::NoSpace | Fault::Error => Ok(None),
                _ => Ok((!trouble.silent_done).then_some(fault)),
            },
            _ => Ok(None),
        }
    }

    pub(super) fn spoil(&self, file: &str, fault: Fault) {
        let mut files = self.inner.files.lock().unwrap();
        let Some(bytes) = files.get_mut(file) else { return };
        let middle = bytes.len() / 2;
        match fault {
            Fault::Truncate => bytes.truncate(middle),
            Fault::Flip | Fault::Cache => bytes[middle] ^= 4,
            Fault::Swap => {
                let taken = bytes.clone();
                // The tiers of one run have the same bytes: to exchange those would change nothing.
                let other =
                    files.iter().find(|(name, found)| ending(name) == ending(file) && **found != taken);
                match other.map(|(name, found)| (name.clone(), found.clone())) {
                    Some((name, found)) => {
                        files.insert(name, taken);
                        files.insert(file.to_owned(), found);
                    }
                    None => drop(files.remove(file)),
                }
            }
            _ => drop(files.remove(file)),
        }
    }
}

impl Vault for Faulty {
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
        self.step(true)?;
        Ok(Box::new(FaultyUpload {
            inner: Some(self.inner.begin(file)?),
            vault: self,
            file: file.to_owned(),
        }))
    }

    fn read(&self, file: &str) -> io::Result<Box<dyn Read + '_>> {
        self.step(false)?;
        let shown = self.trouble.lock().unwrap().shown.clone();
        let inner = match shown {
            Some((name, bytes)) if name == (self.inner.name.clone(), file.to_owned()) => {
                Box::new(io::Cursor::new(bytes))
            }
            _ => self.inner.read(file)?,
        };
        Ok(Box::new(Slow { inner, reads: 0 }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.step(false)?;
        self.inner.list()
    }

    fn remove(&self, file: &str) -> io::Result<()> {
        self.step(false)?;
        self.inner.remove(file)
    }

    fn space(&self) -> io::Result<Option<Space>> {
        self.inner.space()
    }

    fn tidy(&self) -> io::Result<()> {
        self.step(false)?;
        self.inner.tidy()
    }
}

impl Write for FaultyUpload<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.vault.step(true)?;
        self.inner.as_mut().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for FaultyUpload<'_> {
    fn commit(mut self: Box<Self>) -> io::Result<()> {
        let lie = self.vault.step(true)?;
        self.inner.take().unwrap().commit()?;
        if let Some(fault) = lie {
            let mut trouble = self.vault.trouble.lock().unwrap();
            trouble.silent_done = true;
            if fault == Fault::Cache {
                let right = self.vault.inner.files.lock().unwrap()[&self.file].clone();
                trouble.shown = Some(((self.vault.inner.name.clone(), self.file.clone()), right));
            }
            drop(trouble);
            self.vault.spoil(&self.file, fault);
        }
        // Dying right after the rename is another death than dying right before it.
        self.vault.step(false).map(drop)
    }
}

/// Reads come in short and are interrupted, as on a network's disk.
struct Slow<'v> {
    inner: Box<dyn Read + 'v>,
    reads: usize,
}

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads += 1;
        if self.reads.is_multiple_of(5) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let most = buffer.len().min(self.reads % 4 * 700 + 1);
        self.inner.read(&mut buffer[..most])
    }
}

fn ending(name: &str) -> Option<&str> {
    manifest::parse_name(name).map(|(_, ending)| ending)
}

//! Asks all vaults something at the same time, so that one that is silent keeps nobody from hearing the others.
//!
//! * Who works on backups waits as long as a vault's own limits let him. Who only looks gives up on a vault of which
//!   nothing has come for a while; one that is slow but goes on is heard to its end.
//! * A question that was given up goes on waiting in its thread until the vault ends it. A disk of another machine can
//!   make that for ever, so there are never more than a few such threads.

use super::catalog::Placed;
use super::vault::{Upload, Vault};
use crate::space::Space;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// A disk that sleeps is awake by then, and nobody who looks at a page wants to wait for longer.
const SILENT_AFTER: Duration = Duration::from_secs(8);
/// Questions that wait at a time, in the whole process.
const WAITING_MAX: usize = 64;

static WAITING: AtomicUsize = AtomicUsize::new(0);

/// How long it is waited for a vault of which nothing comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// As long as it takes, and one after the other: a seed says what happens when.
    InTurn,
    /// As long as it takes.
    Whole,
    /// Not longer.
    Silence(Duration),
}

impl Default for Patience {
    /// That of who only looks.
    fn default() -> Self {
        Self::Silence(SILENT_AFTER)
    }
}

/// What each vault answers, in their order. None: nothing came of it, and nobody waits any more.
pub(super) fn all<T: Send + 'static>(
    vaults: &[Placed],
    patience: Patience,
    question: impl Fn(&dyn Vault) -> T + Clone + Send + 'static,
) -> Vec<Option<T>> {
    let silence = match patience {
        Patience::InTurn => {
            return vaults.iter().map(|placed| Some(question(placed.vault.as_ref()))).collect();
        }
        Patience::Whole => None,
        Patience::Silence(silence) => Some(silence),
    };
    thread::scope(|scope| {
        let ask = |placed: &Placed| {
            let (vault, question) = (Arc::clone(&placed.vault), question.clone());
            scope.spawn(move || one(vault, silence, question))
        };
        let under_way: Vec<_> = vaults.iter().map(ask).collect();
        under_way.into_iter().map(|thread| thread.join().ok().flatten()).collect()
    })
}

fn one<T: Send + 'static>(
    vault: Arc<dyn Vault>,
    silence: Option<Duration>,
    question: impl FnOnce(&dyn Vault) -> T + Send + 'static,
) -> Option<T> {
    let waiting = Waiting::begin().or_else(|| silence.is_none().then(Waiting::default))?;
    let (beat, beats) = channel();
    let heard = Heard { vault, beat };
    let thread = thread::Builder::new().name(format!("ask-{}", heard.name()));
    let asked = thread.spawn(move || {
        let answer = question(&heard);
        drop((heard, waiting));
        answer
    });
    let asked = asked.ok()?;
    if is_silent(&beats, silence) { None } else { asked.join().ok() }
}

/// Waits until the question is done. True when nothing came of it for too long.
fn is_silent(beats: &Receiver<()>, silence: Option<Duration>) -> bool {
    loop {
        let beat = match silence {
            Some(silence) => beats.recv_timeout(silence),
            None => beats.recv().map_err(Into::into),
        };
        match beat {
            Ok(()) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => return true,
        }
    }
}

/// One question that waits.
#[derive(Default)]
struct Waiting {
    is_counted: bool,
}

impl Waiting {
    fn begin() -> Option<Self> {
        let one_more = |count: usize| (count < WAITING_MAX).then_some(count + 1);
        WAITING.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        Some(Self { is_counted: true })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.is_counted {
            WAITING.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// A vault that lets somebody hear each time that something came of it.
struct Heard {
    vault: Arc<dyn Vault>,
    beat: Sender<()>,
}

impl Heard {
    fn tell<T>(&self, what: T) -> T {
        // Nobody hears it any more when the vault was given up.
        let _ = self.beat.send(());
        what
    }
}

impl Vault for Heard {
    fn name(&self) -> &str {
        self.vault.name()
    }

    fn place(&self) -> String {
        self.vault.place()
    }

    fn part(&self, name: &str) -> Box<dyn Vault> {
        Box::new(Self { vault: Arc::from(self.vault.part(name)), beat: self.beat.clone() })
    }

    fn begin(&self, file: &str) -> io::Result<Box<dyn Upload + '_>> {
        self.tell(self.vault.begin(file))
    }

    fn read(&self, file: &str) -> io::Result<Box<dyn Read + '_>> {
        self.tell(self.vault.read(file))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.tell(self.vault.list())
    }

    fn remove(&self, file: &str) -> io::Result<()> {
        self.tell(self.vault.remove(file))
    }

    fn space(&self) -> io::Result<Option<Space>> {
        self.tell(self.vault.space())
    }

    fn tidy(&self) -> io::Result<()> {
        self.tell(self.vault.tidy())
    }

    fn is_far(&self) -> bool {
        self.vault.is_far()
    }
}

#[cfg(test)]
mod tests;

//! How far the journal goes here and in each vault, for people: read from the files, with or without the daemon.

use super::reader::{Reach, Reader, ReaderError};
use super::record::Lsn;
use super::segment;
use super::ship::PART;
use crate::backup::vault::Vault;
use crate::backup::{Backups, Catalog};
use serde_json::{Value as Json, json};
use std::path::Path;
use tt_protocol::number::Millis;

/// The journal as it stands.
pub(crate) struct Standing {
    reach: Option<Reach>,
    segments: u64,
    bytes: u64,
    /// In the order in which they were given.
    pub(crate) vaults: Vec<Lag>,
}

/// What one vault lacks.
pub(crate) struct Lag {
    pub(crate) vault: String,
    /// None: nothing can be read there.
    versions: Option<u64>,
    /// Age of the first entry that is lacking; 0 when none is. None: nobody can say.
    pub(crate) seconds: Option<i64>,
    pub(crate) problem: Option<String>,
}

impl Standing {
    /// Looks at the segments in the hub's folder and at the vaults, but those that the catalog
    /// has found silent.
    ///
    /// # Errors
    /// When the hub's own journal cannot be read.
    pub(crate) fn read(
        folder: &Path,
        (backups, catalog): (Option<&Backups>, &Catalog),
        now: Millis,
    ) -> Result<Self, ReaderError> {
        let own = Reader::of_folder(folder);
        let reach = own.reach()?;
        let (mut segments, mut bytes) = (0, 0);
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|name| segment::parse_name(name).is_some()) {
                segments += 1;
                bytes += entry.metadata().map_or(0, |metadata| metadata.len());
            }
        }
        let vaults = backups.map_or_else(Vec::new, |backups| {
            let answers = backups.ask(catalog, |vault| Reader::of_vault(vault.part(PART)).reach());
            let vaults = backups.places().zip(answers);
            vaults.map(|(vault, answer)| lag(vault, answer, (&own, reach), now)).collect()
        });
        Ok(Self { reach, segments, bytes, vaults })
    }

    /// As `status --json` has it.
    pub(crate) fn to_json(&self) -> Json {
        let reach = self.reach.as_ref();
        let vault = |lag: &Lag| json!({ "vault": lag.vault, "versions": lag.versions, "seconds": lag.seconds, "problem": lag.problem });
        json!({
            "version": reach.map(|reach| reach.to.0),
            "from_version": reach.map(|reach| reach.from.0),
            "from_at": reach.map(|reach| reach.from_at.0),
            "entries": reach.map(|reach| reach.last.0 + 1 - reach.first.0),
            "segments": self.segments,
            "bytes": self.bytes,
            "lag": self.vaults.iter().map(vault).collect::<Vec<_>>(),
        })
    }
}

fn lag(
    vault: &dyn Vault,
    answer: Option<Result<Option<Reach>, ReaderError>>,
    (reader, own): (&Reader, Option<Reach>),
    now: Millis,
) -> Lag {
    let name = vault.name().to_owned();
    let (to, problem) = match answer {
        Some(Ok(reach)) => (reach, None),
        Some(Err(error)) => (None, Some(error.to_string())),
        None => (None, Some(format!("the vault {name} at {} does not answer", vault.place()))),
    };
    let Some(own) = own else {
        return Lag { vault: name, versions: Some(0), seconds: Some(0), problem };
    };
    let versions = to.map(|to| own.to.0.saturating_sub(to.to.0));
    let lacking = match to {
        Some(to) if to.last >= own.last => None,
        // What is no longer here either is older than all that is.
        Some(to) => Some(first_after(reader, to.last).unwrap_or(own.from_at)),
        None => Some(own.from_at),
    };
    let seconds = lacking.map_or(0, |at| (now.0 - at.0).max(0) / 1_000);
    Lag { vault: name, versions, seconds: problem.is_none().then_some(seconds), problem }
}

/// When the entry after this one was made.
fn first_after(reader: &Reader, last: Lsn) -> Option<Millis> {
    Some(reader.after(last).ok()?.next()?.ok()?.at)
}

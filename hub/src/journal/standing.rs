//! How far the journal goes here and in each vault, for people: read from the files, with or without the daemon.

use super::reader::{Reach, Reader, ReaderError};
use super::segment;
use super::ship::PART;
use crate::backup::vault::Vault;
use serde_json::{Value as Json, json};
use std::path::Path;
use tt_protocol::number::Millis;

/// The journal as it stands.
pub(crate) struct Standing {
    reach: Option<Reach>,
    segments: u64,
    bytes: u64,
    vaults: Vec<Lag>,
}

/// What one vault lacks.
struct Lag {
    vault: String,
    /// None: nothing can be read there.
    versions: Option<u64>,
    /// Age of the oldest entry that is lacking, at most.
    seconds: Option<i64>,
    problem: Option<String>,
}

impl Standing {
    /// Looks at the segments in the hub's folder and at the vaults.
    ///
    /// # Errors
    /// When the hub's own journal cannot be read.
    pub(crate) fn read<'v>(
        folder: &Path,
        vaults: impl Iterator<Item = &'v dyn Vault>,
        now: Millis,
    ) -> Result<Self, ReaderError> {
        let reach = Reader::of_folder(folder).reach()?;
        let (mut segments, mut bytes) = (0, 0);
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|name| segment::parse_name(name).is_some()) {
                segments += 1;
                bytes += entry.metadata().map_or(0, |metadata| metadata.len());
            }
        }
        let vaults = vaults.map(|vault| lag(vault, reach, now)).collect();
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

fn lag(vault: &dyn Vault, own: Option<Reach>, now: Millis) -> Lag {
    let name = vault.name().to_owned();
    let (to, problem) = match Reader::of_vault(vault.part(PART)).reach() {
        Ok(reach) => (reach, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let Some(own) = own else {
        return Lag { vault: name, versions: Some(0), seconds: Some(0), problem };
    };
    let versions = to.map(|to| own.to.0.saturating_sub(to.to.0));
    let behind = |to: Reach| if to.last >= own.last { 0 } else { (now.0 - to.to_at.0).max(0) / 1_000 };
    Lag { vault: name, versions, seconds: to.map(behind), problem }
}

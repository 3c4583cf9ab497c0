//! What backups there are: read from the manifests in all vaults, and from nothing else.

use super::asking::{self, Patience};
use super::manifest::{MANIFEST_BYTES_MAX, Manifest, manifest_file, parse_name};
use super::record::{Kind, Problem};
use super::retention::Entry;
use super::tier::Tier;
use super::vault::{self, Vault};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use tt_protocol::number::{Epoch, Version};

/// A vault and the tiers that it takes.
#[derive(Clone)]
pub(crate) struct Placed {
    pub(crate) vault: Arc<dyn Vault>,
    pub(crate) takes: Vec<Tier>,
}

/// How the copy in one vault is, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CopyState {
    /// It was read back whole, when its manifest says.
    Verified,
    /// It was bad and was made again from another vault's, just now.
    Repaired,
    /// It should be there and is not.
    Missing,
    /// It is there and cannot be used.
    Damaged(String),
    /// The vault cannot be used.
    Failed(String),
}

/// One backup.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) manifest: Manifest,
    /// By number of the vault, in order.
    pub(crate) copies: Vec<(usize, CopyState)>,
}

/// All backups by id, oldest first, and what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) backups: Vec<Listed>,
    pub(crate) problems: Vec<Problem>,
    /// What the vaults list; None for one that cannot be listed.
    pub(crate) names: Vec<Option<Vec<String>>>,
    /// Why, by number of the vault.
    pub(crate) unlisted: BTreeMap<usize, String>,
    /// The numbers of those that did not answer at all.
    pub(crate) silent: BTreeSet<usize>,
    /// How long a vault was waited for.
    pub(crate) patience: Patience,
}

/// What is in one vault.
struct Found {
    names: io::Result<Vec<String>>,
    manifests: Vec<(String, Result<Manifest, String>)>,
}

impl CopyState {
    /// The word in JSON.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Repaired => "repaired",
            Self::Missing => "missing",
            Self::Damaged(_) => "damaged",
            Self::Failed(_) => "failed",
        }
    }

    pub(crate) const fn is_good(&self) -> bool {
        matches!(self, Self::Verified | Self::Repaired)
    }

    /// Whether there are bytes that can be read back.
    pub(crate) const fn is_there(&self) -> bool {
        !matches!(self, Self::Missing | Self::Failed(_))
    }
}

impl Listed {
    pub(crate) fn is_verified(&self) -> bool {
        self.copies.iter().any(|(_, state)| state.is_good())
    }

    fn entry(&self) -> Entry {
        let point = self.manifest.point();
        let Manifest { id, tier, slot, taken_at, clock_life: life, .. } = self.manifest.clone();
        Entry { id, tier, slot, taken_at, life, point, verified: self.is_verified() }
    }
}

impl Catalog {
    /// Reads the manifests of all vaults, of each at the same time.
    pub(super) fn read(vaults: &[Placed], patience: Patience) -> Self {
        let mut catalog = Self { patience, ..Self::default() };
        let mut found: BTreeMap<String, BTreeMap<usize, Result<Manifest, String>>> = BTreeMap::new();
        for (number, answer) in asking::all(vaults, patience, Found::read).into_iter().enumerate() {
            let vault = vaults[number].vault.as_ref();
            let (names, manifests, why) = match answer {
                Some(Found { names: Ok(names), manifests }) => (Some(names), manifests, None),
                Some(Found { names: Err(error), .. }) => (None, Vec::new(), Some(error.to_string())),
                None => {
                    catalog.silent.insert(number);
                    (None, Vec::new(), Some("it does not answer".to_owned()))
                }
            };
            for (id, manifest) in manifests {
                found.entry(id).or_default().insert(number, manifest);
            }
            catalog.names.push(names);
            if let Some(why) = why {
                let (name, place) = (vault.name(), vault.place());
                let what = format!("the vault {name} at {place} cannot be listed: {why}");
                catalog.problems.push(Problem::warning(what));
                catalog.unlisted.insert(number, why);
            }
        }
        for (id, manifests) in found {
            catalog.add(vaults, &id, &manifests);
        }
        catalog.backups.sort_by(|a, b| {
            (&a.manifest.taken_at, a.manifest.tier).cmp(&(&b.manifest.taken_at, b.manifest.tier))
        });
        catalog
    }

    fn add(&mut self, vaults: &[Placed], id: &str, manifests: &BTreeMap<usize, Result<Manifest, String>>) {
        let readable = || manifests.values().flatten();
        let chosen = readable().find(|manifest| manifest.verified.is_some()).or_else(|| readable().next());
        let Some(manifest) = chosen.cloned() else {
            let what = format!(
                "{id}: no vault has a manifest of it that can be read; its files are left alone; `tt-hub restore` takes its .db.gz by its path"
            );
            self.problems.push(Problem { kind: Kind::Critical, what });
            return;
        };
        let mut copies = Vec::new();
        for (number, placed) in vaults.iter().enumerate() {
            let read = manifests.get(&number);
            if read.is_none() && !placed.takes.contains(&manifest.tier) {
                continue;
            }
            let has_file = self.names[number].as_ref().map(|names| names.contains(&manifest.file));
            let state = match (has_file, read) {
                (None, _) if self.silent.contains(&number) => {
                    CopyState::Failed("the vault does not answer".to_owned())
                }
                (None, _) => CopyState::Failed("the vault cannot be listed".to_owned()),
                (Some(false), _) | (_, None) => CopyState::Missing,
                (_, Some(Err(reason))) => CopyState::Damaged(reason.clone()),
                (_, Some(Ok(own))) => state_of(own, &manifest),
            };
            copies.push((number, state));
        }
        self.backups.push(Listed { manifest, copies });
    }

    /// Files with the name of a backup that has a manifest in no vault: a run that was cut off left them, or they are
    /// somebody's own. Empty as long as a vault cannot be listed, because the manifest may be there.
    pub(crate) fn orphans(&self) -> Vec<(usize, String)> {
        if self.names.iter().any(Option::is_none) {
            return Vec::new();
        }
        let all = || {
            self.names.iter().enumerate().flat_map(|(number, names)| {
                names.iter().flatten().filter_map(move |name| Some((number, name, parse_name(name)?)))
            })
        };
        let listed: BTreeSet<&str> =
            all().filter(|(.., (_, ending))| *ending == "json").map(|(.., (id, _))| id).collect();
        all()
            .filter(|(.., (id, _))| !listed.contains(id))
            .map(|(number, name, _)| (number, name.clone()))
            .collect()
    }

    /// What retention and the schedule go by.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.backups.iter().map(Listed::entry).collect()
    }

    /// Whether any vault has a file of this backup.
    pub(crate) fn has(&self, id: &str) -> bool {
        let mut names = self.names.iter().flatten().flatten().filter_map(|name| parse_name(name));
        names.any(|(other, _)| other == id)
    }
}

impl Found {
    fn read(vault: &dyn Vault) -> Self {
        let names = vault.list();
        let ids = names.iter().flatten().filter_map(|name| parse_name(name));
        let ids = ids.filter(|(_, ending)| *ending == "json");
        let manifests = ids.map(|(id, _)| (id.to_owned(), read_manifest(vault, id))).collect();
        Self { names, manifests }
    }
}

fn state_of(own: &Manifest, chosen: &Manifest) -> CopyState {
    match &own.damaged {
        _ if !own.is_of_same_backup(chosen) => {
            CopyState::Damaged("its manifest says something else than another vault's".to_owned())
        }
        Some(reason) => CopyState::Damaged(reason.clone()),
        None if own.verified.is_some() => CopyState::Verified,
        None => CopyState::Damaged("it was never read back".to_owned()),
    }
}

/// A backup whose copy in one vault was read back whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) epoch: Epoch,
    pub(crate) version: Version,
}

/// The backups of which this vault has such a copy.
pub(crate) fn verified(vault: &dyn Vault, names: &[String]) -> Vec<Verified> {
    let ids = names.iter().filter_map(|name| parse_name(name)).filter(|(_, ending)| *ending == "json");
    let read = ids.filter_map(|(id, _)| read_manifest(vault, id).ok());
    let good = read.filter(|manifest| {
        manifest.verified.is_some() && manifest.damaged.is_none() && names.contains(&manifest.file)
    });
    let one =
        |manifest: Manifest| Verified { epoch: Epoch(manifest.epoch), version: Version(manifest.version) };
    good.map(one).collect()
}

fn read_manifest(vault: &dyn Vault, id: &str) -> Result<Manifest, String> {
    match vault::get(vault, &manifest_file(id), MANIFEST_BYTES_MAX) {
        Ok(bytes) => Manifest::from_bytes(id, &bytes),
        Err(error) => Err(format!("its manifest cannot be read: {error}")),
    }
}

//! What an operator and time do to backups: a copy rots and is made again, a vault is away for a while, restores are
//! rehearsed, old copies and old history go.

use super::lasting;
use crate::soak::fault::{Mend, Mends};
use crate::soak::site::Site;
use anyhow::{Context as _, ensure};
use serde_json::Value as Json;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tt_migrations::durable;

/// One copy is damaged, and `verify` makes it again from another.
pub(super) fn rot(site: &mut Site) -> anyhow::Result<Option<String>> {
    if site.vault_away() {
        return Ok(None);
    }
    let listed = site.backups()?;
    let of_two: Vec<&Json> =
        listed.iter().filter(|backup| crate::soak::backups::copies(backup).len() > 1).collect();
    if of_two.is_empty() {
        return Ok(None);
    }
    let backup = of_two[usize::try_from(site.random.below(of_two.len() as u64))?];
    let id = backup["id"].as_str().context("an id")?;
    let copies = crate::soak::backups::copies(backup);
    let copy = &copies[usize::try_from(site.random.below(copies.len() as u64))?];
    let good = fs::read(copy)?;
    let what = damage(site, copy, &good)?;
    site.read.remove(copy);
    site.hub_must(&["verify", id])?;
    ensure!(fs::read(copy)? == good, "{} was {what} and was not made again", copy.display());
    Ok(Some(format!("a copy of {id} was {what}, and was made again")))
}

fn damage(site: &mut Site, copy: &Path, good: &[u8]) -> anyhow::Result<&'static str> {
    let at = usize::try_from(site.random.below(good.len() as u64))?;
    Ok(match site.random.below(4) {
        0 => {
            fs::remove_file(copy)?;
            "removed"
        }
        1 => {
            File::options().write(true).open(copy)?.set_len(at as u64)?;
            "cut off"
        }
        2 => {
            let sum = PathBuf::from(format!("{}.sha256", copy.display()));
            fs::write(sum, "nonsense\n")?;
            "given another checksum"
        }
        _ => {
            let mut bytes = good.to_vec();
            bytes[at] ^= 1 << site.random.below(8);
            fs::write(copy, bytes)?;
            "changed by one bit"
        }
    })
}

impl Site {
    /// Where the second vault is while it is not where it should be.
    fn aside(&self) -> PathBuf {
        self.dir.join("vault-2.away")
    }

    pub(in crate::soak) fn vault_away(&self) -> bool {
        self.aside().exists()
    }

    pub(in crate::soak) fn vault_back(&self) -> anyhow::Result<()> {
        if self.vault_away() {
            durable::put_in_place(&self.aside(), &self.vault())?;
        }
        Ok(())
    }
}

pub(super) fn vault_goes(site: &mut Site, mends: &mut Mends) -> anyhow::Result<Option<String>> {
    if site.vault_away() {
        return Ok(None);
    }
    durable::put_in_place(&site.vault(), &site.aside())?;
    lasting(site, mends, Mend::Vault);
    Ok(Some("the second vault is away".to_owned()))
}

pub(super) fn drill(site: &Site) -> anyhow::Result<Option<String>> {
    if site.vault_away() || site.backups()?.is_empty() {
        return Ok(None);
    }
    site.hub_must(&["drill"])?;
    Ok(Some("a restore was rehearsed".to_owned()))
}

pub(super) fn prune(site: &Site) -> anyhow::Result<Option<String>> {
    if site.vault_away() {
        return Ok(None);
    }
    let pruned = site.hub_must(&["prune"])?;
    let gone = pruned["drop"].as_array().map_or(0, Vec::len);
    Ok(Some(format!("{gone} old backups were removed")))
}

/// Sometimes with all of the history of feeds: whoever is away must make its file anew.
pub(super) fn maintain(site: &mut Site) -> anyhow::Result<String> {
    if site.random.once_in(2) {
        site.hub_must(&["maintain"])?;
        return Ok("the hub's file was tidied".to_owned());
    }
    let version = site.hub_must(&["status"])?["version"].to_string();
    site.hub_must(&["maintain", "--forget-before", &version])?;
    Ok(format!("the hub has forgotten the history before version {version}"))
}

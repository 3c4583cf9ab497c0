//! Backups of the canonical database: tiers, vaults, verified copies, retention.
//!
//! The way of a backup: `snapshot` copies one moment of the database and reads what it holds, `pack` compresses
//! it once, `copy` brings it into all vaults, `check` reads every copy back, and only then does a `manifest`
//! say that the backup exists. `tier` and `retention` decide what is due and what goes, as pure functions;
//! `make`, `verify` and `prune` carry it out under one lock per hub. One bad vault never harms the others.

mod alert;
mod asking;
pub(crate) mod calendar;
mod catalog;
pub(crate) mod check;
pub(crate) mod contents;
pub(crate) mod copy;
pub(crate) mod due;
#[cfg(test)]
mod faults;
mod lock;
mod made;
mod make;
pub(crate) mod manifest;
pub(crate) mod pack;
mod places;
mod prune;
pub(crate) mod record;
mod retention;
mod settings;
pub(crate) mod snapshot;
pub(crate) mod tier;
pub(crate) mod vault;
mod verify;
mod webhook;
pub(crate) mod zone;

use crate::database::{self, DatabaseError};
use crate::folder::Folder;
use asking::Patience;
pub(crate) use catalog::{Catalog, CopyState, Listed, Placed, Verified, verified};
pub(crate) use lock::BackupLock;
pub(crate) use make::RESERVE_BYTES;
pub(crate) use record::Problem;
pub(crate) use retention::{Entry, Point};
pub(crate) use settings::{BeforeRestore, Settings};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
pub(crate) use tier::Tier;
use tier::TierPlan;
use tt_migrations::progress::{Progress, Unwatched};
use tt_migrations::{durable, state};
use webhook::Webhook;
use zone::Zone;

/// Scratch of a run, below `DIR/backups`.
const WORK: &str = ".work";
/// What vaults outside the hub's folder are known by, beside it.
const KNOWN: &str = "known";
/// Safety copies of restores, beside it.
pub(crate) const BEFORE_RESTORE: &str = "before_restore";

/// Why backups cannot be worked on at all. What is wrong with one vault or copy is a [`Problem`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    #[error("hub.toml, [backup]: {0}")]
    Settings(String),
    #[error("another tt-hub (pid {pid}) is working on the backups in {folder}: try again when it is done", folder = .folder.display())]
    Locked { folder: PathBuf, pid: String },
    #[error("cannot use {path}: {source}; check the space on its disk, its owner and its mode", path = .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("no backup: it needs {needed} in {path} and {free} are free; make room on that disk", path = .path.display())]
    NoRoom { path: PathBuf, needed: String, free: String },
    #[error(
        "no backup: {path} is not what the database held when it was read a second time; have the memory and the disk of this machine tested, and try again", path = .0.display()
    )]
    Unlike(PathBuf),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("there is no backup {0}: `tt-hub backups` lists them")]
    Unknown(String),
    #[error("no vault has a copy of {0}: backup_alerts.log says why")]
    NoCopy(String),
}

/// The backups of one hub.
pub(crate) struct Backups {
    database: PathBuf,
    /// `DIR/backups`: the lock, the logs and the scratch folder are here.
    root: PathBuf,
    plans: [TierPlan; 5],
    zone: Zone,
    alert_command: Vec<String>,
    webhook: Option<Webhook>,
    /// All vaults are written and read at a time. One after the other, a seed says what happens when.
    at_once: bool,
    progress: Arc<dyn Progress>,
    pub(crate) vaults: Vec<Placed>,
}

/// What came of working on backups.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) backups: Vec<Listed>,
    pub(crate) problems: Vec<Problem>,
}

impl Backups {
    /// As the settings say. Nothing is read or written yet.
    pub(crate) fn open(folder: &Folder, settings: &Settings) -> Result<Self, BackupError> {
        settings.check().and_then(|()| places::check(folder, settings)).map_err(BackupError::Settings)?;
        let place = |settings: &settings::VaultSettings| {
            let vault = vault::open(folder, settings).map_err(BackupError::Settings)?;
            Ok(Placed { vault: vault.into(), takes: settings.tiers.clone() })
        };
        Ok(Self {
            database: folder.database(),
            vaults: settings.vaults().iter().map(place).collect::<Result<_, BackupError>>()?,
            plans: settings.plans().map_err(BackupError::Settings)?,
            zone: settings.zone().map_err(BackupError::Settings)?,
            at_once: true,
            progress: Arc::new(Unwatched),
            alert_command: settings.alert_command().to_vec(),
            webhook: settings.webhook().map_err(BackupError::Settings)?.map(Webhook::new),
            root: folder.backups(),
        })
    }

    /// Tells from now on how far it is.
    pub(crate) fn watch(&mut self, progress: Arc<dyn Progress>) {
        self.progress = progress;
    }

    /// Who watches.
    pub(crate) fn progress(&self) -> &dyn Progress {
        self.progress.as_ref()
    }

    /// What backups there are, and what is wrong with them by their manifests. For who works on them: a vault that is
    /// slow is waited for.
    pub(crate) fn catalog(&self) -> Catalog {
        Catalog::read(&self.vaults, self.patience())
    }

    /// The same for who only looks: a vault that does not answer soon is said to do so.
    pub(crate) fn glance(&self) -> Catalog {
        Catalog::read(&self.vaults, Patience::default())
    }

    /// What each vault answers to a question, in their order, asked with the patience of a catalog. None: it does not
    /// answer, or did not when the catalog was read.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        catalog: &Catalog,
        question: impl Fn(&dyn vault::Vault) -> T + Clone + Send + 'static,
    ) -> Vec<Option<T>> {
        let is_heard = |number: &usize| !catalog.silent.contains(number);
        let heard: Vec<usize> = (0..self.vaults.len()).filter(is_heard).collect();
        let vaults: Vec<Placed> = heard.iter().map(|number| self.vaults[*number].clone()).collect();
        let mut answers: Vec<Option<T>> = self.vaults.iter().map(|_| None).collect();
        let all = asking::all(&vaults, catalog.patience, question);
        heard.into_iter().zip(all).for_each(|(number, answer)| answers[number] = answer);
        answers
    }

    const fn patience(&self) -> Patience {
        if self.at_once { Patience::Whole } else { Patience::InTurn }
    }

    /// `DIR/backups`, where the logs are.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The vaults, in their order.
    pub(crate) fn places(&self) -> impl Iterator<Item = &dyn vault::Vault> {
        self.vaults.iter().map(|placed| placed.vault.as_ref())
    }

    /// The tiers as the site wants them, finest first.
    pub(crate) const fn plans(&self) -> &[TierPlan; 5] {
        &self.plans
    }

    /// Tiers that should have a backup by now and have none, finest first. `now` is in seconds since 1970.
    pub(crate) fn due(&self, now: i64) -> Vec<Tier> {
        self.due_beside(&self.catalog(), now)
    }

    /// The same by what is there.
    pub(crate) fn due_beside(&self, catalog: &Catalog, now: i64) -> Vec<Tier> {
        due::due(&self.plans, &catalog.entries(), self.present(), now, &self.zone)
    }

    /// How far the database is; None when it cannot be asked.
    pub(crate) fn present(&self) -> Option<Point> {
        let conn = database::open(&self.database).ok()?;
        let number = |name| state::get(&conn, name).ok().flatten().map(i64::unsigned_abs);
        Some(Point { epoch: number(state::EPOCH)?, version: number(state::VERSION)? })
    }

    /// What an operator wants who asks for a backup: this tier, or an hourly one and each coarser one that is due.
    pub(crate) fn wanted(&self, tier: Option<Tier>, now: i64) -> Vec<Tier> {
        tier.map_or_else(
            || {
                let due = self.due(now).into_iter().filter(|tier| *tier != Tier::Hourly);
                [Tier::Hourly].into_iter().chain(due).collect()
            },
            |tier| vec![tier],
        )
    }

    /// The slots of all tiers in which a moment lies.
    pub(crate) fn slots(&self, now: i64) -> Vec<String> {
        self.plans.iter().map(|plan| self.slot(plan, now)).collect()
    }

    /// The numbers of these vaults, those of this machine first.
    pub(crate) fn near_first(&self, numbers: impl Iterator<Item = usize>) -> Vec<usize> {
        let mut numbers: Vec<usize> = numbers.collect();
        numbers.sort_by_key(|number| self.vaults[*number].vault.is_far());
        numbers
    }

    /// The site's time zone.
    pub(crate) const fn zone(&self) -> &Zone {
        &self.zone
    }

    fn slot(&self, plan: &TierPlan, now: i64) -> String {
        tier::slot(plan, now, &self.zone)
    }

    /// Removes what a run that was cut off has left, where none is due that would do it: its scratch is as large as the
    /// database.
    pub(crate) fn tidy(&self, _lock: &BackupLock) -> Vec<Problem> {
        Self::clear(&self.work());
        self.clean(&self.catalog())
    }

    fn work(&self) -> PathBuf {
        self.root.join(WORK)
    }

    /// The scratch folder, empty.
    fn scratch(&self) -> Result<PathBuf, BackupError> {
        let path = self.work();
        let failed = |source| BackupError::File { path: path.clone(), source };
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => durable::make_folder(&path).map_err(failed)?,
        }
        Ok(path)
    }

    /// Removes the scratch folder; what cannot be removed now goes at the next run.
    fn clear(scratch: &Path) {
        let _ = fs::remove_dir_all(scratch);
    }

    /// Writes the run and its problems down, and tells whoever wants to know; when that cannot be, it is one more
    /// problem.
    pub(crate) fn record(&self, now: i64, run: &str, problems: &mut Vec<Problem>) {
        if let Err(untold) = alert::tell(&self.alert_command, problems) {
            problems.push(Problem::warning(untold));
        }
        if let Err(error) = record::write(&self.root, now, run, problems) {
            let what = format!("the log of backups in {} cannot be written: {error}", self.root.display());
            problems.push(Problem::warning(what));
        }
        if let Some(webhook) = &self.webhook {
            webhook.tell(&self.root, now, run, problems);
        }
    }
}

//! The way of a drill through the journal: from an older backup to a version chosen by chance, and from that very
//! state on to the newest backup.
//!
//! * At the chosen version the file is sound, no row lacks a parent that both backups have, its version and last entry
//!   are the journal's own, and its rows are those that the journal tells.
//! * The way ends with the same rows as the newest backup, whose bytes were checked. There is only one way from the
//!   one to the other, so that also what no other check sees at the chosen version was right there.

use super::prepare::open_store;
use super::told::Told;
use super::{RestoreError, Restores, replay};
use crate::backup::{Listed, calendar, contents};
use crate::journal::reader::{Reader, ReaderError};
use crate::journal::record::{Entry, Lsn, What};
use crate::journal::replay as journal;
use crate::store::{HubStore, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tt_migrations::digest;
use tt_protocol::number::Version;

/// Rows and digest of each table.
pub(super) type Digests = BTreeMap<String, (u64, String)>;

/// The version at which the way was stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moment {
    pub(crate) version: u64,
    /// When the hub came to it, UTC.
    pub(crate) at: String,
    /// Rows of it that were compared with what the journal tells.
    pub(crate) rows: usize,
}

/// Why it was not walked to its end.
pub(super) enum Stop {
    /// This journal is of no use; another place may have a better one.
    Unread(String),
    /// It leads to another state than it should: no other place is asked, because a restore would not, either.
    Wrong(String),
}

/// The version and all that the journal says of it.
struct Chosen {
    version: Version,
    /// The one before it.
    before: Version,
    entries: Vec<Entry>,
}

impl From<RestoreError> for Stop {
    fn from(error: RestoreError) -> Self {
        Self::Unread(error.to_string())
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Unread(error.to_string())
    }
}

impl From<ReaderError> for Stop {
    fn from(error: ReaderError) -> Self {
        Self::Unread(error.to_string())
    }
}

impl Restores {
    /// Walks from the fetched file of `older` to `newest`, which holds `expected`. Gives where it stopped on the way,
    /// if there is a version in between, and which journals were of no use.
    pub(super) fn walk(
        &self,
        database: &Path,
        (older, newest): (&Listed, &Listed),
        expected: &Digests,
        chance: u64,
    ) -> Result<(Option<Moment>, Vec<String>), RestoreError> {
        let (older, newest) = (&older.manifest, &newest.manifest);
        let excused = |table: &String| {
            let of = |contents: &contents::Contents| contents.foreign_key_violations.contains_key(table);
            of(&older.contents) || of(&newest.contents)
        };
        let way = Way { to: Version(newest.version), from: Version(older.version), chance, expected };
        let (outcome, notes) =
            replay::from_any(self, database, |reader| match way.walk(database, reader, &excused) {
                Ok(moment) => Ok(Ok(moment)),
                Err(Stop::Wrong(reason)) => Ok(Err(reason)),
                Err(Stop::Unread(reason)) => Err(reason),
            })?;
        match outcome {
            Some(Ok(moment)) => Ok((moment, notes)),
            Some(Err(reason)) => Err(RestoreError::Unusable { what: older.id.clone(), reason }),
            None => {
                let (to, why) = (format!("version {}", newest.version), notes.join("; "));
                Err(RestoreError::Journal { to, id: older.id.clone(), why })
            }
        }
    }
}

struct Way<'w> {
    from: Version,
    to: Version,
    chance: u64,
    expected: &'w Digests,
}

impl Way<'_> {
    fn walk(
        &self,
        database: &Path,
        reader: &Reader,
        excused: &dyn Fn(&String) -> bool,
    ) -> Result<Option<Moment>, Stop> {
        let mut store = open_store(database)?;
        let first = store.last_entry()?.unwrap_or_default();
        let mut moment = None;
        if let Some(chosen) = self.choose(reader, first)? {
            go_on(&mut store, reader, chosen.before)?;
            let told = Told::read(&mut store, &chosen.entries)?;
            go_on(&mut store, reader, chosen.version)?;
            let wrong = |reason| Stop::Wrong(format!("at version {}, {reason}", chosen.version));
            is_sound(&mut store, &chosen, excused)?.map_err(wrong)?;
            let rows = told.compare(&mut store)?.map_err(wrong)?;
            let at = chosen.entries.last().map_or(0, |entry| entry.at.0.div_euclid(1_000));
            moment = Some(Moment { version: chosen.version.0, at: calendar::utc(at), rows });
        }
        go_on(&mut store, reader, self.to)?;
        let found = digests(&mut store)?;
        let mut differing: Vec<&str> = Vec::new();
        differing
            .extend(self.expected.iter().filter(|(name, digest)| found.get(*name) != Some(digest)).map(name));
        differing.extend(found.iter().filter(|(name, _)| !self.expected.contains_key(*name)).map(name));
        if differing.is_empty() {
            return Ok(moment);
        }
        Err(Stop::Wrong(format!(
            "brought on by the journal to version {}, it is not the newest backup: {}",
            self.to,
            differing.join(", ")
        )))
    }

    /// A version between both, each as likely as any other. None when there is none.
    fn choose(&self, reader: &Reader, first: Lsn) -> Result<Option<Chosen>, Stop> {
        let mut versions = vec![self.from];
        for entry in reader.after(first)? {
            let entry = entry?;
            if entry.version >= self.to || matches!(entry.what, What::Epoch { .. }) {
                break;
            }
            if versions.last().is_some_and(|last| *last < entry.version) {
                versions.push(entry.version);
            }
        }
        let between = versions.len() as u64 - 1;
        let Some(place) = self.chance.checked_rem(between) else { return Ok(None) };
        let place = usize::try_from(place).unwrap_or(0);
        let [before, version] = [versions[place], versions[place + 1]];
        let mut entries = Vec::new();
        for entry in reader.after(first)? {
            let entry = entry?;
            match entry.version.cmp(&version) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => entries.push(entry),
                std::cmp::Ordering::Greater => break,
            }
        }
        Ok(Some(Chosen { version, before, entries }))
    }
}

fn name<'d>((name, _): (&'d String, &'d (u64, String))) -> &'d str {
    name
}

fn go_on(store: &mut HubStore, reader: &Reader, to: Version) -> Result<(), Stop> {
    let target = journal::Target { version: Some(to), ..journal::Target::default() };
    let done = journal::replay(store, reader, target).map_err(|error| Stop::Unread(error.to_string()))?;
    if done.version == to {
        return Ok(());
    }
    Err(Stop::Unread(format!("it leads to version {} and not to {to}", done.version)))
}

/// The state at the chosen version, by all that can be asked of it alone.
fn is_sound(
    store: &mut HubStore,
    chosen: &Chosen,
    excused: &dyn Fn(&String) -> bool,
) -> Result<Result<(), String>, Stop> {
    let (version, last) = (store.version(), store.last_entry()?);
    if (version, last) != (chosen.version, chosen.entries.last().map(|entry| entry.lsn)) {
        return Ok(Err(format!("the file says version {version} and entry {last:?}")));
    }
    let conn = store.connection();
    let problems = contents::integrity_problems(conn).map_err(StoreError::from)?;
    if let Some(problem) = problems.first() {
        return Ok(Err(format!("integrity_check says: {problem}")));
    }
    let orphans = contents::foreign_key_violations(conn).map_err(StoreError::from)?;
    Ok(match orphans.iter().find(|(table, _)| !excused(table)) {
        Some((table, rows)) => Err(format!("{rows} rows of {table} name a row that is not there")),
        None => Ok(()),
    })
}

/// What it holds, without what programs had written and no version has yet: that is in one file and not in the other.
pub(super) fn digests(store: &mut HubStore) -> Result<Digests, StoreError> {
    store.begin_replay()?;
    let replica = Arc::clone(store.replica());
    let tables = digest::tables(store.connection(), &replica)?;
    Ok(tables.into_iter().map(|(name, digest)| (name, (digest.rows, digest.to_string()))).collect())
}

//! The way of a drill through the journal: from an older backup to a version chosen by chance, and from that very
//! state on to the newest backup.
//!
//! * At the chosen version the file is sound, its version and last entry are the journal's own, and its rows are those
//!   that the journal tells. Rows that lack their parent only there are said and are no failure.
//! * The way ends with the same rows as the newest backup, whose bytes were checked. There is only one way from the
//!   one to the other, so that also what no other check sees at the chosen version was right there.

use super::journal::Found;
use super::prepare::open_store;
use super::told::Told;
use super::{RestoreError, replay};
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
use tt_migrations::progress::Progress;
use tt_protocol::counted::counted;
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

/// Walks from the fetched file of `older` to `newest`, which holds `expected`, by the first of these journals that leads
/// there. Gives where it stopped on the way, if there is a version in between, and what a person should know: which
/// journals were of no use, and rows without their parent there.
pub(super) fn walk(
    database: &Path,
    (older, newest): (&Listed, &Listed),
    journals: &[Found],
    expected: &Digests,
    (chance, progress): (u64, &dyn Progress),
) -> Result<(Option<Moment>, Vec<String>), RestoreError> {
    let (older, newest) = (&older.manifest, &newest.manifest);
    let known = |table: &String| {
        let of = |contents: &contents::Contents| contents.foreign_key_violations.contains_key(table);
        of(&older.contents) || of(&newest.contents)
    };
    let way = Way { to: Version(newest.version), from: Version(older.version), chance, expected, progress };
    let (outcome, mut notes) =
        replay::from_any(journals, database, |reader| match way.walk(database, reader, &known) {
            Ok(walked) => Ok(Ok(walked)),
            Err(Stop::Wrong(reason)) => Ok(Err(reason)),
            Err(Stop::Unread(reason)) => Err(reason),
        })?;
    match outcome {
        Some(Ok((moment, orphans))) => {
            notes.extend(orphans);
            Ok((moment, notes))
        }
        Some(Err(reason)) => Err(RestoreError::Unusable { what: older.id.clone(), reason }),
        None => {
            let (to, why) = (format!("version {}", newest.version), notes.join("; "));
            Err(RestoreError::Journal { to, id: older.id.clone(), why })
        }
    }
}

struct Way<'w> {
    from: Version,
    to: Version,
    chance: u64,
    expected: &'w Digests,
    progress: &'w dyn Progress,
}

impl Way<'_> {
    fn walk(
        &self,
        database: &Path,
        reader: &Reader,
        known: &dyn Fn(&String) -> bool,
    ) -> Result<(Option<Moment>, Option<String>), Stop> {
        let mut store = open_store(database)?;
        let first = store.last_entry()?.unwrap_or_default();
        let (mut moment, mut orphans) = (None, None);
        if let Some(chosen) = self.choose(reader, first)? {
            go_on(&mut store, reader, self.progress, chosen.before)?;
            self.progress.step("comparing rows with the journal");
            let told = Told::read(&mut store, &chosen.entries)?;
            go_on(&mut store, reader, self.progress, chosen.version)?;
            let wrong = |reason| Stop::Wrong(format!("at version {}, {reason}", chosen.version));
            is_sound(&mut store, &chosen)?.map_err(wrong)?;
            orphans = self::orphans(&mut store, known)?;
            let rows = told.compare(&mut store)?.map_err(wrong)?;
            let at = chosen.entries.last().map_or(0, |entry| entry.at.0.div_euclid(1_000));
            moment = Some(Moment { version: chosen.version.0, at: calendar::utc(at), rows });
        }
        go_on(&mut store, reader, self.progress, self.to)?;
        self.progress.step("comparing tables");
        let found = digests(&mut store)?;
        let mut differing: Vec<&str> = Vec::new();
        differing
            .extend(self.expected.iter().filter(|(name, digest)| found.get(*name) != Some(digest)).map(name));
        differing.extend(found.iter().filter(|(name, _)| !self.expected.contains_key(*name)).map(name));
        if differing.is_empty() {
            return Ok((moment, orphans));
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

fn go_on(store: &mut HubStore, reader: &Reader, progress: &dyn Progress, to: Version) -> Result<(), Stop> {
    let target = journal::Target { version: Some(to), ..journal::Target::default() };
    let done = journal::replay_watched(store, reader, target, progress)
        .map_err(|error| Stop::Unread(error.to_string()))?;
    if done.version == to {
        return Ok(());
    }
    Err(Stop::Unread(format!("it leads to version {} and not to {to}", done.version)))
}

/// The state at the chosen version, by all that can be asked of it alone.
fn is_sound(store: &mut HubStore, chosen: &Chosen) -> Result<Result<(), String>, Stop> {
    let (version, last) = (store.version(), store.last_entry()?);
    if (version, last) != (chosen.version, chosen.entries.last().map(|entry| entry.lsn)) {
        return Ok(Err(format!("the file says version {version} and entry {last:?}")));
    }
    let conn = store.connection();
    let problems = contents::integrity_problems(conn).map_err(StoreError::from)?;
    if let Some(problem) = problems.first() {
        return Ok(Err(format!("integrity_check says: {problem}")));
    }
    Ok(Ok(()))
}

/// Rows without their parent where neither of both backups has any. A program may write so with foreign keys off and put
/// it right a moment later. A replay gone wrong would have other rows at the end. So it is said, and is no failure.
fn orphans(store: &mut HubStore, known: &dyn Fn(&String) -> bool) -> Result<Option<String>, Stop> {
    let version = store.version();
    let orphans = contents::foreign_key_violations(store.connection()).map_err(StoreError::from)?;
    let new = orphans.iter().find(|(table, _)| !known(table));
    Ok(new.map(|(table, rows)| {
        let rows = counted(*rows, "row");
        format!("at version {version} {rows} of {table} named a row that was not there, and later none did")
    }))
}

/// What it holds, without what programs had written and no version has yet: that is in one file and not in the other.
pub(super) fn digests(store: &mut HubStore) -> Result<Digests, StoreError> {
    store.begin_replay()?;
    let replica = Arc::clone(store.replica());
    let tables = digest::tables(store.connection(), &replica)?;
    Ok(tables.into_iter().map(|(name, digest)| (name, (digest.rows, digest.to_string()))).collect())
}

//! One look at the watched folder: what is finished is taken, what is done or refused is moved.
//!
//! * A file is taken when two looks, a settling time apart, find the same: nobody is writing it. Names that end
//!   with `.part` or `.tmp` and the like, hidden files and folders are left alone.
//! * What cannot be done now stays, and is tried at every look. What was told is not told again until it changes.

use super::config::Config;
use super::import::{Job, Verdict, Whole, import};
use super::opened::Look;
use super::{InboxError, book, failed, moves, pattern};
use crate::record;
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Names of one look. What is more than that has its turn at the next one.
const NAMES_MAX: usize = 10_000;

/// What is remembered from one look to the next.
#[derive(Default)]
pub(crate) struct Inbox {
    seen: BTreeMap<String, Look>,
    told: BTreeSet<String>,
    /// It has looked before.
    is_begun: bool,
    /// The folder was empty, and nothing was left to be finished.
    is_tidy: bool,
}

/// What a look came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Looked {
    /// Files that went in.
    pub(crate) taken: u64,
    /// Files that may be finished at the next look.
    pub(crate) unsettled: bool,
}

impl Inbox {
    /// Looks once. `stop` is asked between files.
    ///
    /// # Errors
    /// When the folder or the database cannot be used at all.
    pub(crate) fn look(
        &mut self,
        db: &Path,
        config: &Config,
        stop: &dyn Fn() -> bool,
    ) -> Result<Looked, InboxError> {
        let names = names(&config.folder)?;
        self.seen.retain(|name, _| names.contains(name));
        let mut looked = Looked::default();
        // Programs have the database to themselves when there is nothing to do.
        if names.is_empty() && self.is_tidy {
            return Ok(looked);
        }
        if !self.is_begun {
            moves::clean(&config.folder);
            self.is_begun = true;
        }
        let mut conn = record::open(db)?;
        conn.execute_batch(book::TABLES)?;
        for known in book::unsettled(&conn)? {
            if fs::symlink_metadata(config.folder.join(&known.name)).is_err() {
                moves::finish_without(&mut conn, &config.folder, &known)?;
            }
        }
        self.is_tidy = names.is_empty();
        let mut troubles = BTreeSet::new();
        for name in names.iter().take_while(|_| !stop()) {
            match self.one(&mut conn, config, name, &mut looked) {
                Ok(()) => {}
                // It is looked at again as if it were new.
                Err(InboxError::Written(_)) => {
                    self.seen.remove(name);
                    looked.unsettled = true;
                }
                Err(error) => {
                    troubles.insert(self.tell(name, &error));
                }
            }
        }
        self.told = troubles;
        Ok(looked)
    }

    /// Says once what is wrong with a file.
    fn tell(&self, name: &str, error: &InboxError) -> String {
        let told = format!("{name}: {error}");
        if !self.told.contains(&told) {
            tracing::error!(file = %name, %error, "a file of the inbox waits");
        }
        told
    }

    fn one(
        &mut self,
        conn: &mut Connection,
        config: &Config,
        name: &str,
        looked: &mut Looked,
    ) -> Result<(), InboxError> {
        let path = config.folder.join(name);
        let found = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            found => found.map_err(|source| failed("look at", &path, source))?,
        };
        if !found.is_file() {
            let why = Whole::because(&InboxError::NoFile(path.clone()));
            return refuse(config, &path, &why);
        }
        let look = Look::of(&found);
        if self.seen.insert(name.to_owned(), look) != Some(look) {
            looked.unsettled = true;
            return Ok(());
        }
        let Some(mapping) = config.mapping(name) else {
            return refuse(
                config,
                &path,
                &Whole::because(&"no [[file]] of inbox.toml has a pattern for this name"),
            );
        };
        let equal_files = config.equal_files;
        let job = Job {
            path: &path,
            name,
            mapping,
            by_hand: false,
            again: false,
            equal_files,
            dry_run: false,
            large: false,
        };
        match import(conn, &job, &mut |_, _| {})? {
            Verdict::In(taken) => {
                tracing::info!(file = %name, lines = taken.lines, rejected = taken.rejected, "a file of the inbox is in");
                looked.taken += 1;
                settle(conn, config, &path, (taken.id, taken.look))
            }
            // Its rows are in; whoever took it did not come to the end.
            Verdict::Known(known, look) if !known.settled && known.name == name => {
                settle(conn, config, &path, (known.id, look))
            }
            Verdict::Known(known, _) => refuse(config, &path, &Whole::because(&known.refusal())),
            Verdict::Whole(whole) => refuse(config, &path, &whole),
        }
    }
}

fn settle(conn: &mut Connection, config: &Config, path: &Path, which: (i64, Look)) -> Result<(), InboxError> {
    if !moves::finish_and_move(conn, &config.folder, path, which)? {
        tracing::error!(file = %path.display(), "a file of the inbox was written after it was taken: give it its name last");
    }
    Ok(())
}

fn refuse(config: &Config, path: &Path, whole: &Whole) -> Result<(), InboxError> {
    let to = moves::reject(&config.folder, path, whole)?;
    tracing::error!(file = %path.display(), to = %to.display(), reason = %whole.why, "a file of the inbox is rejected");
    Ok(())
}

/// Names that may be taken, in their order. A name that is no text is left where it is.
fn names(folder: &Path) -> Result<BTreeSet<String>, InboxError> {
    let list = fs::read_dir(folder).map_err(|source| failed("read the folder", folder, source))?;
    let mut names = BTreeSet::new();
    for entry in list {
        let entry = entry.map_err(|source| failed("read the folder", folder, source))?;
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let Ok(name) = entry.file_name().into_string() else { continue };
        let is_ours = [moves::DONE, moves::REJECTED].contains(&name.as_str());
        if !is_folder && !is_ours && !pattern::is_unfinished(&name) {
            names.insert(name);
        }
        if names.len() >= NAMES_MAX {
            break;
        }
    }
    Ok(names)
}

/// How many files lie in the folder, and how many in `rejected/`.
pub(crate) fn waiting(config: &Config) -> Result<(usize, usize), InboxError> {
    let rejected: PathBuf = config.folder.join(moves::REJECTED);
    let of = |folder: &Path| if folder.is_dir() { names(folder) } else { Ok(BTreeSet::new()) };
    let is_file = |name: &&String| !name.ends_with(".reasons");
    Ok((of(&config.folder)?.len(), of(&rejected)?.iter().filter(is_file).count()))
}

#[cfg(test)]
mod tests;

//! `take`, `edit` and `dismiss`: the operator decides, with and without the daemon.
//!
//! Many entries go in commits of a few hundred, so that devices are not kept waiting. What failed is tried
//! again as long as others succeed: a row may need another one that comes after it in the list.

use super::{CliError, Place, no_filter, output};
use crate::clock;
use crate::control::decision::{self, DECISIONS_MAX, Outcome, Wish};
use crate::control::{self, Reply, Request};
use crate::daemon::{self, DaemonError, Lock};
use crate::folder::Folder;
use crate::store::HubStore;
use crate::store::conflict::page::{self, Filter, Page};
use crate::store::decide::{Decided, Decision};
use crate::view::conflicts;
use crate::view::names::Names;
use rusqlite::Connection;
use serde_json::Value as Json;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::str::FromStr;
use tt_protocol::counted::counted;

/// Rounds in which what failed is tried again.
const ROUNDS_MAX: usize = 10;

pub(super) const VALUES_HELP: &str = "\
Values:
  COLUMN=VALUE     a number for a column of INTEGER or REAL type, x'00ff' for
                   a BLOB, else the text as it stands (COLUMN= is the empty
                   text); a column of another type (DATE, DECIMAL, BOOLEAN)
                   keeps a number where VALUE is one
  COLUMN:=LITERAL  exactly as SQL writes it: NULL, 12, 1.5, 'text' or x'00ff'
  id=new           for a held row whose integer key SQLite chooses: a new id of
                   the hub's own";

/// One entry or many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    One(i64),
    All,
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            _ => text.parse().map(Self::One).map_err(|_| "write the number of a conflict, or all".to_owned()),
        }
    }
}

/// Who is right.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Side {
    /// What stands at the hub.
    Winner,
    /// What was overruled or held.
    Loser,
}

impl Side {
    pub(super) const fn decision(self) -> Decision {
        match self {
            Self::Winner => Decision::TakeWinner,
            Self::Loser => Decision::TakeLoser,
        }
    }
}

/// Where decisions are made.
pub(super) struct Desk<'a> {
    pub(super) place: &'a Place,
    pub(super) folder: &'a Folder,
    pub(super) conn: &'a Connection,
    pub(super) names: &'a Names,
}

/// How a decision is carried out.
enum Way {
    /// The daemon did it.
    Daemon(Reply),
    /// None runs, and none starts as long as we hold the lock.
    Alone(Box<(Lock, HubStore)>),
}

/// What became of all decisions.
#[derive(Default)]
struct Tally {
    closed: Vec<Decided>,
    /// Reasons by number.
    failed: Vec<(i64, String)>,
}

impl Desk<'_> {
    pub(super) fn edit(&self, id: i64, values: &[String]) -> Result<(), CliError> {
        let decision = conflicts::edit(self.conn, id, values)?;
        self.one(id, &decision)
    }

    pub(super) fn many(
        &self,
        which: Which,
        filter: Filter,
        decision: &Decision,
        yes: bool,
    ) -> Result<(), CliError> {
        if let Which::One(id) = which {
            no_filter(&filter)?;
            return self.one(id, decision);
        }
        let filter = Filter { closed: false, ..filter };
        let ids = page::ids(self.conn, &filter, Page::WHOLE)?;
        if filter.is_empty() && !yes && !ids.is_empty() {
            confirm(ids.len())?;
        }
        let tally = self.carry_out(&ids, decision)?;
        self.print(
            &tally,
            &format!("{} of {} closed\n", tally.closed.len(), counted(ids.len(), "conflict")),
        )?;
        if tally.failed.is_empty() {
            return Ok(());
        }
        for (_, reason) in &tally.failed {
            eprintln!("tt-hub: {reason}");
        }
        let (failed, all) = (tally.failed.len(), counted(ids.len(), "conflict"));
        Err(CliError::Refused(format!("{failed} of {all} could not be closed; the reasons are above")))
    }

    fn one(&self, id: i64, decision: &Decision) -> Result<(), CliError> {
        let tally = self.carry_out(&[id], decision)?;
        if let Some((_, reason)) = tally.failed.first() {
            return Err(CliError::Refused(reason.clone()));
        }
        let said = tally.closed.iter().map(|decided| format!("conflict {id}: {}\n", decided.decision));
        let said: String = said.collect();
        self.print(&tally, &said)
    }

    fn print(&self, tally: &Tally, said: &str) -> Result<(), CliError> {
        if self.place.json {
            let entry = |decided: &Decided| page::find(self.conn, decided.id, |device| self.names.of(device));
            let entries: Vec<Option<Json>> = tally.closed.iter().map(entry).collect::<Result<_, _>>()?;
            return Ok(output::json(&entries.into_iter().flatten().collect())?);
        }
        output::text(said)?;
        let told = tally.closed.iter().flat_map(|decided| &decided.told);
        Ok(output::text(&told.map(|told| format!("{told}\n")).collect::<String>())?)
    }

    fn carry_out(&self, ids: &[i64], decision: &Decision) -> Result<Tally, CliError> {
        let wish = Wish::new(decision);
        let mut own = None;
        let mut tally = Tally::default();
        let mut waiting = ids.to_vec();
        for round in 1.. {
            let closed_before = tally.closed.len();
            let mut again = Vec::new();
            for some in waiting.chunks(DECISIONS_MAX) {
                for outcome in self.decide(&mut own, some, &wish)? {
                    match outcome {
                        Outcome::Closed(decided) => tally.closed.push(decided),
                        Outcome::Failed { id, reason, again: true } => again.push((id, reason)),
                        Outcome::Failed { id, reason, .. } => tally.failed.push((id, reason)),
                    }
                }
            }
            if again.is_empty() || tally.closed.len() == closed_before || round == ROUNDS_MAX {
                tally.failed.extend(again);
                break;
            }
            waiting = again.into_iter().map(|(id, _)| id).collect();
        }
        tally.failed.sort();
        tally.closed.sort_by_key(|decided| decided.id);
        Ok(tally)
    }

    /// Through the daemon when one runs, else in a store of our own, which is kept for the next time.
    fn decide(
        &self,
        own: &mut Option<(Lock, HubStore)>,
        ids: &[i64],
        wish: &Wish,
    ) -> Result<Vec<Outcome>, CliError> {
        let here = |store: &mut HubStore| {
            decision::decide(ids, wish, |ids, decision| store.decide_all(ids, decision, clock::now()))
        };
        let reply = match own {
            Some((_, store)) => here(store)?,
            None => match self.ask(&Request::Decide { ids: ids.to_vec(), decision: wish.clone() })? {
                Way::Daemon(reply) => reply,
                Way::Alone(opened) => here(&mut own.insert(*opened).1)?,
            },
        };
        match reply {
            Reply::Decided { outcomes } => Ok(outcomes),
            Reply::Failed { reason } => Err(CliError::Refused(reason)),
            other => Err(CliError::Refused(format!("the hub answered something else: {other:?}"))),
        }
    }

    fn ask(&self, request: &Request) -> Result<Way, CliError> {
        if let Some(reply) = control::ask(self.folder, request)? {
            return Ok(Way::Daemon(reply));
        }
        match daemon::open_alone(self.folder) {
            Ok(opened) => Ok(Way::Alone(Box::new(opened))),
            // It came up between the two.
            Err(error @ DaemonError::Running { .. }) => {
                Ok(Way::Daemon(control::ask(self.folder, request)?.ok_or(error)?))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Asks whether really everything is meant. A script says so with `--yes`.
fn confirm(count: usize) -> Result<(), CliError> {
    let all = counted(count, "conflict");
    if !io::stdin().is_terminal() {
        return Err(CliError::Usage(format!(
            "`all` without --table, --device or --kind means {all}: add --yes if you mean that"
        )));
    }
    eprint!("Close {all}? Type yes: ");
    io::stderr().flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    if line.trim() == "yes" { Ok(()) } else { Err(CliError::Refused("nothing was decided".into())) }
}

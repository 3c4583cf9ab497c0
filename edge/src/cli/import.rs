//! `tt-edge import FILE`: takes a file by hand, as the inbox does. It needs no daemon and no hub.

use super::Outcome;
use crate::daemon::DaemonError;
use crate::inbox::config::{Config, Mapping};
use crate::inbox::{self, Job, Reason, Taken, Verdict, Whole};
use crate::place::Place;
use crate::record;
use crate::store::StoreError;
use anyhow::{Context as _, anyhow};
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tt_protocol::counted::counted;

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The file: CSV with a header, or one JSON object a line.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Read it as a file of this name: the first [[file]] of inbox.toml whose pattern fits decides.
    #[arg(long = "as", value_name = "NAME", conflicts_with = "table")]
    name: Option<String>,
    /// Its columns are those of this table; inbox.toml is not asked.
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,
    /// What is between two cells: one sign, or "tab".
    #[arg(long, value_name = "SIGN", requires = "table", default_value = ",")]
    delimiter: String,
    /// Only show what would go in, and what would not.
    #[arg(long)]
    dry_run: bool,
    /// Take it although its content went in before: these are other counts.
    #[arg(long)]
    again: bool,
    /// Take a file of up to 256 MiB: programs on this device cannot write until it is in.
    #[arg(long)]
    large: bool,
}

pub(super) fn import(place: &Place, args: &ImportArgs, json: bool) -> Outcome {
    let db = place.db()?;
    if !db.exists() {
        return Err(StoreError::Missing(db).into());
    }
    let config = Config::load(place.dir());
    let config = match (&args.table, config) {
        // Then its mappings are not asked.
        (Some(_), Err(_)) => Config::empty(place.dir()),
        (_, config) => config?.unwrap_or_else(|| Config::empty(place.dir())),
    };
    let own = args.file.file_name().context("FILE must name a file")?.to_string_lossy().into_owned();
    let path = args.file.canonicalize().with_context(|| format!("cannot read {}", args.file.display()))?;
    let mapping = mapping(args, &config, &own)?;
    let mut conn = record::open(&db).map_err(|source| DaemonError::Unusable { path: db, source })?;
    let job = Job {
        path: &path,
        name: &own,
        mapping: &mapping,
        by_hand: true,
        again: args.again,
        equal_files: false,
        dry_run: args.dry_run,
        large: args.large,
    };
    let verdict = inbox::import(&mut conn, &job, &mut |line, fields| {
        if args.dry_run && !json {
            println!("line {line}: {}", Value::Object(fields.clone()));
        }
    })?;
    let taken = match verdict {
        Verdict::Whole(whole) => return Ok(refused(&own, &whole, json)),
        Verdict::Known(known, _) => {
            // Whoever took it may not have come to the end.
            if known.is_unfinished() && !args.dry_run {
                inbox::finish(&mut conn, &config.folder, &path, known.id())?;
            }
            return Ok(refused(&own, &Whole::because(&known.refusal()), json));
        }
        Verdict::In(taken) => taken,
    };
    let kept = if args.dry_run {
        None
    } else {
        inbox::finish(&mut conn, &config.folder, &path, taken.id)
            .context("the lines that fit are in, but those that do not could not be kept")?
    };
    report(args, &own, (&taken, kept.as_deref()), json);
    Ok(if taken.rejected == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn mapping(args: &ImportArgs, config: &Config, own: &str) -> anyhow::Result<Mapping> {
    if let Some(table) = &args.table {
        return Mapping::of_table(table, &args.delimiter).map_err(|what| anyhow!(what));
    }
    let name = args.name.as_deref().unwrap_or(own);
    config.mapping(name).cloned().with_context(|| {
        format!(
            "no [[file]] of inbox.toml has a pattern for {name}: add one, name another with --as, or the table with --table"
        )
    })
}

fn listed(reasons: &[Reason]) -> Vec<Value> {
    reasons.iter().map(|one| json!({ "line": one.line, "reason": one.reason })).collect()
}

/// Nothing of it went in.
fn refused(name: &str, whole: &Whole, json: bool) -> ExitCode {
    if json {
        let value = json!({ "file": name, "in": false, "lines": 0, "rejected": whole.rejected,
                            "reason": whole.why, "reasons": listed(&whole.reasons) });
        println!("{value}");
        return ExitCode::FAILURE;
    }
    tell(&whole.reasons, whole.rejected);
    eprintln!("tt-edge: nothing of {name} went in: {}", whole.why);
    ExitCode::FAILURE
}

fn report(args: &ImportArgs, name: &str, (taken, kept): (&Taken, Option<&Path>), json: bool) {
    let (lines, rejected) = (taken.lines, taken.rejected);
    if json {
        let value = json!({ "file": name, "in": !args.dry_run, "lines": lines, "rejected": rejected,
                            "kept": kept, "reasons": listed(&taken.reasons) });
        println!("{value}");
        return;
    }
    tell(&taken.reasons, rejected);
    if args.dry_run {
        println!(
            "{} of {name} would go in, {rejected} would not. Nothing was written.",
            counted(lines, "line")
        );
        return;
    }
    println!("Saved on this device: {} of {name}; {rejected} did not fit.", counted(lines, "line"));
    if let Some(kept) = kept {
        println!("What did not fit is in {}: put it right there, and import that file.", kept.display());
    }
}

fn tell(reasons: &[Reason], rejected: u64) {
    for one in reasons {
        eprintln!("line {}: {}", one.line, one.reason);
    }
    let more = rejected.saturating_sub(reasons.len() as u64);
    if more > 0 {
        eprintln!("and {more} more");
    }
}

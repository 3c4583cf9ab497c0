//! `status`: the hub on one screen.
//!
//! Reads the file itself, with or without the daemon. What is wrong is said loudly: tables that are not
//! replicated, an id space that fills up, a daemon that cannot write.

use super::output::{self, Report};
use super::{CliError, Place, edges};
use crate::backup::{Backups, Catalog};
use crate::clock;
use crate::config::Config;
use crate::database::{self, DatabaseError};
use crate::folder::Folder;
use crate::journal::standing::Standing;
use crate::space::readable;
use crate::view::status::{self, Tables};
use serde_json::{Value as Json, json};
use tt_protocol::counted::counted;
use tt_protocol::digest::TableDigest;
use tt_terminal::watch::Watch;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Print only the digest of each table: equal on nodes in step.
    #[arg(long, conflicts_with = "watch")]
    digests: bool,
    #[command(flatten)]
    watch: Watch,
}

pub(super) fn run(place: &Place, arguments: &Arguments) -> Result<(), CliError> {
    let folder = Folder::of_hub(&place.data)?;
    if arguments.digests {
        return digests(place, &folder);
    }
    output::show(place, &arguments.watch, &mut || {
        let status = read(&folder)?;
        Ok(if place.json { Report::Json(status) } else { Report::Text(describe(&status)) })
    })
}

fn read(folder: &Folder) -> Result<Json, CliError> {
    let daemon = edges::daemon(folder)?;
    let path = folder.database();
    let conn = database::open(&path)?;
    // One moment for all that follows.
    let conn = conn.unchecked_transaction().map_err(|error| DatabaseError::new(&path, &error))?;
    let tables = Tables::read(&conn)?;
    Ok(status::all(&conn, folder, daemon, (&tables, journal(folder)))?)
}

/// How the journal is, here and in the vaults. What cannot be read is said and is no failure of the command.
fn journal(folder: &Folder) -> Json {
    let vaults = Config::read(folder).ok().and_then(|config| Backups::open(folder, &config.backup).ok());
    match Standing::read(&folder.journal(), (vaults.as_ref(), &Catalog::default()), clock::now()) {
        Ok(standing) => standing.to_json(),
        Err(error) => json!({ "error": error.to_string() }),
    }
}

/// The digest of every table, in the form of `tt-edge doctor --digests`.
fn digests(place: &Place, folder: &Folder) -> Result<(), CliError> {
    let path = folder.database();
    let conn = database::open(&path)?;
    let conn = conn.unchecked_transaction().map_err(|error| DatabaseError::new(&path, &error))?;
    let found = Tables::read(&conn)?;
    let (version, uncut, whole) = (found.version, found.uncut, found.whole());
    if place.json {
        let table = |(name, digest): (&String, &TableDigest)| json!({ "table": name, "rows": digest.rows, "digest": digest.to_string() });
        let tables: Vec<Json> = found.digests.iter().map(table).collect();
        return Ok(output::json(
            &json!({ "version": version, "epoch": found.epoch, "unsent": uncut, "digest": whole, "tables": tables }),
        )?);
    }
    let mut text = format!(
        "version {version}{}, digest {whole}\n",
        if uncut { " with changes that are no version yet" } else { "" }
    );
    for (name, digest) in &found.digests {
        text.push_str(&format!("  {name}: {}, {digest}\n", counted(digest.rows, "row")));
    }
    Ok(output::text(&text)?)
}

fn describe(status: &Json) -> String {
    let number = |name: &str| status[name].as_u64().unwrap_or(0);
    let mut text = match status["pid"].as_u64() {
        Some(pid) => format!("daemon      running, pid {pid}\n"),
        None => "daemon      not running: start it with `tt-hub serve`\n".to_owned(),
    };
    if let Some(reason) = status["failing"].as_str() {
        text.push_str(&format!("TROUBLE     {reason}\n"));
    }
    let devices = &status["devices"];
    text.push_str(&format!(
        "version     {}, epoch {}\ndevices     {} connected, {} away, {} blocked, {} revoked\nconflicts   {} \
         open\nids         {:.4} % of the space used\ndatabase    {}, {}\ndigest      {}\n",
        number("version"),
        number("epoch"),
        devices["connected"],
        devices["away"],
        devices["blocked"],
        devices["revoked"],
        number("open_conflicts"),
        status["id_space_used"].as_f64().unwrap_or(0.0) * 100.0,
        status["database"].as_str().unwrap_or_default(),
        readable(number("bytes")),
        status["digest"].as_str().unwrap_or_default(),
    ));
    text.push_str(&journal_lines(&status["journal"]));
    let off = status["clocks_off"].as_object().cloned().unwrap_or_default();
    if !off.is_empty() {
        let names: Vec<String> = off.iter().map(|(name, offset)| format!("{name} ({offset} ms)")).collect();
        text.push_str(&format!("CLOCKS OFF  {}: {}\n", names.len(), names.join(", ")));
    }
    if let waiting @ 1.. = number("waiting_for_schema") {
        text.push_str(&format!(
            "schema      rows that wait for a table or column: {waiting}; `tt-hub conflicts` \
             names them, and a migration brings what they need\n"
        ));
    }
    let maintenance = &status["maintenance"];
    for due in maintenance["due"].as_array().into_iter().flatten() {
        let due = due.as_str().unwrap_or_default();
        text.push_str(&format!("due         {due}\n"));
    }
    let mut rows = vec![["TABLE", "ROWS", "DIGEST"].map(str::to_owned).to_vec()];
    for (name, table) in status["tables"].as_object().into_iter().flatten() {
        let digest = table["digest"].as_str().unwrap_or_default().to_owned();
        rows.push(vec![name.clone(), table["rows"].to_string(), digest]);
    }
    text.push('\n');
    text.push_str(&output::columns(&rows));
    for table in status["keyless"].as_array().into_iter().flatten() {
        text.push_str(&format!("NOT REPLICATED: {table} has no primary key\n"));
    }
    for trigger in status["triggers_left_out"].as_array().into_iter().flatten() {
        text.push_str(&format!("WARNING: {}\n", trigger.as_str().unwrap_or_default()));
    }
    text
}

/// How far each vault is with the journal.
fn journal_lines(journal: &Json) -> String {
    if let Some(error) = journal["error"].as_str() {
        return format!("TROUBLE     the journal: {error}\n");
    }
    let vaults = journal["lag"].as_array().map_or(&[][..], Vec::as_slice);
    let mut text = String::new();
    for lag in vaults {
        let vault = lag["vault"].as_str().unwrap_or_default();
        if let Some(problem) = lag["problem"].as_str() {
            text.push_str(&format!("TROUBLE     the journal in the vault {vault}: {problem}\n"));
        } else if let versions @ 1.. = lag["versions"].as_u64().unwrap_or(0) {
            text.push_str(&format!(
                "journal     {} not in the vault {vault} yet\n",
                counted(versions, "version")
            ));
        }
    }
    if text.is_empty() {
        let vaults = match vaults.len() {
            1 => "the vault".to_owned(),
            many => format!("all {many} vaults"),
        };
        text = match journal["version"].as_u64() {
            Some(version) => format!("journal     up to version {version}, and so in {vaults}\n"),
            None => "journal     nothing yet: the daemon begins it\n".to_owned(),
        };
    }
    text
}

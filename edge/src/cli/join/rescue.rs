//! `tt-edge join TOKEN --rescue`: a file that was copied, put back or belonged to another hub becomes a new
//! device, which hands in what the file holds. Interrupted anywhere, the same command goes on.

use super::{DEADLINE, earlier};
use crate::cli::sync::once;
use crate::cli::{Outcome, addresses, runtime};
use crate::clock;
use crate::daemon::control::Reply;
use crate::daemon::worker::{self, Event};
use crate::identity::{DeviceKey, Identity};
use crate::join;
use crate::link;
use crate::place::{Lock, Place, lock};
use crate::salvage::{self, Illegible, Salvaged};
use crate::store::{EdgeStore, Rescued};
use anyhow::{Context as _, bail};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tt_protocol::counted::counted;
use tt_protocol::token::Token;
use tt_terminal::bar::Bar;

/// The first try to hand in; what is left goes in with `tt-edge run`.
const FIRST_TRY: Duration = Duration::from_secs(60);

pub(super) fn rescue(place: &Place, token: &Token, db: Option<PathBuf>, json: bool) -> Outcome {
    let db = std::path::absolute(db.or_else(|| place.db().ok()).unwrap_or_else(|| place.default_db()))?;
    let is_damaged = db.exists() && salvage::damage(&db)?.is_some();
    if !is_damaged && !join::is_joined(&db) {
        bail!("{} belongs to no hub: join it without --rescue, its rows are offered then", db.display());
    }
    place.create()?;
    let lock = lock(&db)?;
    let bare = Token { addresses: Vec::new(), ..token.clone() };
    let by = data_encoding::HEXLOWER.encode(&Sha256::digest(bare.encode().as_bytes()));
    let salvaged = salvage::when_damaged(&db, &by)?;
    let mut store = worker::open(&db)?;
    let (identity, rescued) = runtime()?.block_on(take_over(place, (token, &by), &mut store))?;
    drop(store);
    place.remember_db(&db)?;
    let handed_in = hand_in(place, &lock, identity, Arc::new(Bar::for_command(json)))?;
    let identity = Identity::load(place.dir())?;
    if json {
        println!(
            "{}",
            json!({ "name": identity.name, "device": identity.device.0, "role": identity.role, "db": db,
                    "changesets": rescued.changesets, "rows": rescued.rows, "handed_in": handed_in.is_none(),
                    "lost": rescued.lost, "aside": rescued.aside, "salvaged": salvaged })
        );
        return Ok(verdict(&rescued, salvaged.as_ref()));
    }
    println!(
        "{} is now {}, device {}. It still held {}: offered to the hub, which takes what it does not have.",
        db.display(),
        identity.name,
        identity.device,
        counted(rescued.rows, "row")
    );
    match handed_in {
        None => println!("All is handed in, and the file's rows are the hub's."),
        Some(reason) => println!("Not all is handed in yet: {reason}"),
    }
    println!("Next: tt-edge run (with the same --data)");
    Ok(verdict(&rescued, salvaged.as_ref()))
}

/// Says on stderr what is lost. The exit code says so too, although all that could be done is done.
fn verdict(rescued: &Rescued, salvaged: Option<&Salvaged>) -> ExitCode {
    if let Some(salvaged) = salvaged {
        eprintln!("tt-edge: the file was damaged, and is kept as it was in {}", salvaged.aside.display());
    }
    let illegible = salvaged.map(|salvaged| salvaged.illegible.as_slice()).unwrap_or_default();
    for Illegible { table, rows, found } in illegible {
        let rows = rows.map_or("an unknown number of rows".to_owned(), |rows| counted(rows, "row"));
        eprintln!("tt-edge: NOT readable: \"{table}\", {rows}: {found}");
    }
    if rescued.lost.is_empty() {
        return if illegible.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    for lost in &rescued.lost {
        eprintln!("tt-edge: NOT handed in: {lost}");
    }
    if let Some(aside) = &rescued.aside {
        eprintln!("tt-edge: the file as it was is kept in {}: count those rows again", aside.display());
    }
    ExitCode::FAILURE
}

/// Enrols, and writes the new identity into the file.
async fn take_over(
    place: &Place,
    (token, by): (&Token, &str),
    store: &mut EdgeStore,
) -> anyhow::Result<(Identity, Rescued)> {
    let known = earlier(place, token);
    if let Some(rescued) = store.rescued_by(by)?
        && let Some(identity) = known
    {
        return Ok((identity, rescued));
    }
    let former_hub = Identity::load(place.dir()).ok().map(|identity| Sha256::digest(&identity.ca).to_vec());
    // Without the former identity beside it nobody knows which hub the file had.
    let mut same_hub = former_hub.is_some_and(|former| former == token.ca_sha256);
    // An earlier attempt may have ended right after it got its certificate.
    let identity = match known.filter(|identity| identity.device != store.device()) {
        Some(identity) => {
            same_hub = false;
            identity
        }
        None => {
            let key = DeviceKey::for_joining(place.dir())?;
            let enrolled = link::join(token, &key, DEADLINE).await?;
            let mut identity = Identity::adopt(place.dir(), &enrolled.enrolled, &enrolled.ca)?;
            identity.add_address(place.dir(), &enrolled.address)?;
            identity
        }
    };
    let rescued = store
        .rescue(identity.device, by, same_hub, clock::now())
        .context("the file could not be given its new identity; nothing of it was changed")?;
    Ok((identity, rescued))
}

/// The reason why not all was handed in at once; None: it was.
fn hand_in(place: &Place, lock: &Lock, identity: Identity, bar: Arc<Bar>) -> anyhow::Result<Option<String>> {
    let all = addresses(None, &identity.addresses)?;
    let reply = runtime()?.block_on(once(place, lock, (identity, all), Event::Ask, (FIRST_TRY, bar)))?;
    Ok(match reply {
        Reply::InStep => None,
        Reply::Failed(reason) => Some(reason),
        Reply::Status(_) | Reply::Compared | Reply::Progress(_) => {
            Some("the daemon answers in another version".to_owned())
        }
    })
}

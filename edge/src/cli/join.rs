//! `tt-edge join TOKEN`: key, certificate, snapshot, capture. Interrupted anywhere, the same command
//! with the same token goes on.

mod rescue;

use super::sync::know_hub;
use super::{Outcome, runtime};
use crate::identity::{DeviceKey, Identity};
use crate::join::{self, Joined};
use crate::link::{self, LinkError};
use crate::place::{Place, lock};
use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tt_migrations::progress::Progress;
use tt_protocol::counted::counted;
use tt_protocol::token::Token;
use tt_terminal::bar::Bar;

/// For the enrolment; the snapshot has no deadline, only signs of life.
const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Debug, Args)]
pub(super) struct JoinArgs {
    /// The token that `tt-hub invite` printed.
    token: String,
    /// The database file that programs use; an existing one is kept, and its rows are offered to the hub.
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,
    /// One more address of the hub, HOST:PORT; tried first.
    #[arg(long, value_name = "ADDR")]
    hub: Option<String>,
    /// Give a file that was copied, put back or belonged to another hub a new identity, and hand in its unsent
    /// work.
    #[arg(long)]
    rescue: bool,
}

pub(super) fn join(place: &Place, args: JoinArgs, json: bool) -> Outcome {
    let mut token = Token::decode(args.token.trim())?;
    if let Some(address) = args.hub {
        tt_protocol::link::check_address(&address)?;
        token.addresses.insert(0, address);
    }
    if args.rescue {
        return rescue::rescue(place, &token, args.db, json);
    }
    if let Ok(db) = place.db()
        && join::is_joined(&db)
    {
        bail!(
            "{} already belongs to a hub; to join another one, give this device another folder with --data; a file that \
             was copied or put back gets a new identity with --rescue",
            db.display()
        );
    }
    let db = std::path::absolute(args.db.unwrap_or_else(|| place.default_db()))?;
    let folder = db.parent().context("--db must name a file")?;
    if !folder.is_dir() && db != std::path::absolute(place.default_db())? {
        bail!("the folder {} is not there: check --db", folder.display());
    }
    place.create()?;
    let _lock = lock(&db)?;
    let bar = Bar::for_command(json);
    let joined = match finished(place, &token, &db) {
        Some(()) => join::already(&db)?,
        None => runtime()?.block_on(enrol_and_fetch(place, &token, &db, &bar))?,
    };
    bar.end();
    place.remember_db(&db)?;
    let packed = place.packed_snapshot();
    if packed.exists() {
        std::fs::remove_file(&packed).with_context(|| format!("cannot remove {}", packed.display()))?;
    }
    let identity = Identity::load(place.dir())?;
    know_hub(&db, &identity);
    report(&identity, &db, &joined, json);
    Ok(ExitCode::SUCCESS)
}

/// An earlier attempt for this token that only did not write down its end.
fn finished(place: &Place, token: &Token, db: &Path) -> Option<()> {
    let identity = earlier(place, token)?;
    (join::device_in(db)? == identity.device).then_some(())
}

/// The identity of an earlier attempt with a token of this name from this hub.
fn earlier(place: &Place, token: &Token) -> Option<Identity> {
    let identity = Identity::load(place.dir()).ok()?;
    let authority: [u8; 32] = Sha256::digest(&identity.ca).into();
    (identity.name == token.name && authority == token.ca_sha256).then_some(identity)
}

async fn enrol_and_fetch(
    place: &Place,
    token: &Token,
    db: &Path,
    progress: &dyn Progress,
) -> anyhow::Result<Joined> {
    join::check_existing(db)?;
    let packed = place.packed_snapshot();
    let identity = match earlier(place, token) {
        // Its token is used up, and this is who used it. A revoked one needs the new token.
        Some(identity) => match fetch(&identity, token, &packed, progress).await {
            Err(LinkError::Refused(_) | LinkError::CertificateRefused(_)) => {
                enrol_and_then_fetch(place, token, &packed, progress).await?
            }
            fetched => fetched.map(|()| identity)?,
        },
        None => enrol_and_then_fetch(place, token, &packed, progress).await?,
    };
    Ok(join::install(&packed, db, identity.device, progress)?)
}

async fn enrol_and_then_fetch(
    place: &Place,
    token: &Token,
    packed: &Path,
    progress: &dyn Progress,
) -> anyhow::Result<Identity> {
    progress.step("enrolling");
    let key = DeviceKey::for_joining(place.dir())?;
    let enrolled = link::join(token, &key, DEADLINE).await?;
    let mut identity = Identity::adopt(place.dir(), &enrolled.enrolled, &enrolled.ca)?;
    identity.add_address(place.dir(), &enrolled.address)?;
    fetch(&identity, token, packed, progress).await?;
    Ok(identity)
}

/// Fetches the snapshot, or what is missing of it.
async fn fetch(
    identity: &Identity,
    token: &Token,
    packed: &Path,
    progress: &dyn Progress,
) -> Result<(), LinkError> {
    progress.step("waiting for the hub's rows");
    let mut addresses = token.addresses.clone();
    addresses.extend(identity.addresses.iter().filter(|known| !token.addresses.contains(known)).cloned());
    let link = link::connect(identity, &addresses, DEADLINE).await?;
    let fetched =
        link::fetch_snapshot(&link.connection, packed, link::told("fetching the hub's rows", progress)).await;
    link.close("the snapshot is here").await;
    fetched.map(drop)
}

fn report(identity: &Identity, db: &Path, joined: &Joined, json: bool) {
    let (name, device) = (&identity.name, identity.device);
    for table in &joined.keyless {
        eprintln!("tt-edge: table \"{table}\" has no primary key and is NOT replicated: give it one");
    }
    if json {
        let value = json!({ "name": name, "device": device.0, "role": identity.role, "db": db,
                            "version": joined.version.0, "rows": joined.rows, "offered": joined.offered });
        println!("{value}");
        return;
    }
    println!(
        "Joined as {name}, device {device}: {} at version {} in {}.",
        counted(joined.rows, "row"),
        joined.version,
        db.display()
    );
    if joined.offered > 0 {
        println!(
            "Other than the hub's, and to be handed in: {} of the existing file.",
            counted(joined.offered, "row")
        );
    }
    println!("Next: tt-edge run (with the same --data)");
}

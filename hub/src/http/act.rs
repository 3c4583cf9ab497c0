//! What changes something. Each is logged with what it was and where it came from.

use super::Web;
use super::answer::{Refusal, told};
use super::read::At;
use super::serve::Peer;
use crate::background;
use crate::backup::{BackupError, Outcome, Tier};
use crate::clock;
use crate::control::decision::{DECISIONS_MAX, Wish};
use crate::control::{Reply, Request};
use crate::restore::{Purpose, RestoreError, Target, What};
use crate::store::decide::Decision;
use crate::view;
use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use std::sync::Arc;

type Answer = Result<Response, Refusal>;
type From = Extension<Peer>;

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    let body = if body.is_empty() { b"{}" } else { body.as_ref() };
    serde_json::from_slice(body)
        .map_err(|error| Refusal::wrong(format!("the body is not what is wanted: {error}")))
}

/// Says in the log what was asked and by whom; what came of it is said as well when it was refused.
fn note<T>(
    web: &Web,
    Extension(Peer(from)): From,
    what: &str,
    done: Result<T, Refusal>,
) -> Result<T, Refusal> {
    let who = if web.access.needs_token() { "token" } else { "this machine" };
    match &done {
        Ok(_) => tracing::info!(%from, who, what, "done over HTTP"),
        Err(refusal) => tracing::warn!(%from, who, what, reason = refusal.reason(), "refused over HTTP"),
    }
    done
}

async fn ask(web: &Web, request: Request) -> Result<Json, Refusal> {
    match web.line.ask(request).await {
        Reply::Failed { reason } => Err(Refusal::conflict(reason)),
        reply => serde_json::to_value(reply).map_err(Refusal::trouble),
    }
}

#[derive(Deserialize)]
struct Login {
    token: String,
}

pub(super) async fn login(State(web): At, from: From, body: Bytes) -> Answer {
    let wrong =
        || Refusal::new(StatusCode::UNAUTHORIZED, "this is not the token in http.token of the hub's folder");
    let Login { token } = read(&body)?;
    note(&web, from, "login", if web.access.is_token(&token) { Ok(()) } else { Err(wrong()) })?;
    Ok(([(header::SET_COOKIE, web.access.set_cookie())], told(json!({ "ok": true }))).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decide {
    ids: Vec<i64>,
    decision: String,
}

pub(super) async fn decide(State(web): At, from: From, body: Bytes) -> Answer {
    let Decide { ids, decision } = read(&body)?;
    let what = format!("conflicts {ids:?}: {decision}");
    let decision = match decision.as_str() {
        "winner" => Decision::TakeWinner,
        "loser" => Decision::TakeLoser,
        "dismiss" => Decision::Dismiss,
        _ => return Err(Refusal::wrong("decide `winner`, `loser` or `dismiss`")),
    };
    if ids.len() > DECISIONS_MAX {
        return Err(Refusal::wrong(format!("at most {DECISIONS_MAX} conflicts at a time")));
    }
    let done = ask(&web, Request::Decide { ids, decision: Wish::new(&decision) }).await;
    Ok(told(note(&web, from, &what, done)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    values: Vec<String>,
}

pub(super) async fn edit(State(web): At, from: From, Path(id): Path<i64>, body: Bytes) -> Answer {
    let Edit { values } = read(&body)?;
    let decision = web.read(move |_, conn| Ok(view::conflicts::edit(conn, id, &values)?)).await?;
    let done = ask(&web, Request::Decide { ids: vec![id], decision: Wish::new(&decision) }).await;
    Ok(told(note(&web, from, &format!("conflict {id}: edit"), done)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Make {
    tier: Option<Tier>,
}

pub(super) async fn backup(State(web): At, from: From, body: Bytes) -> Answer {
    let Make { tier } = read(&body)?;
    let done = on_backups(&web, move |web| {
        let (opened, now) = (web.backups()?, clock::now().0.div_euclid(1_000));
        let lock = opened.lock().map_err(refused)?;
        let outcome = opened.make(&lock, &opened.wanted(tier, now), now).map_err(refused)?;
        Ok(outcome_of(&outcome, &opened.vaults))
    });
    Ok(told(note(&web, from, "backup", done.await)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Verify {
    id: Option<String>,
}

pub(super) async fn verify(State(web): At, from: From, body: Bytes) -> Answer {
    let Verify { id } = read(&body)?;
    let what = format!("verify {}", id.as_deref().unwrap_or("all"));
    let done = on_backups(&web, move |web| {
        let opened = web.backups()?;
        let lock = opened.lock().map_err(refused)?;
        let now = clock::now().0.div_euclid(1_000);
        let outcome = opened.verify(&lock, id.as_deref(), now).map_err(refused)?;
        Ok(outcome_of(&outcome, &opened.vaults))
    });
    Ok(told(note(&web, from, &what, done.await)?))
}

async fn on_backups(
    web: &Arc<Web>,
    work: impl FnOnce(&Web) -> Result<Json, Refusal> + Send + 'static,
) -> Result<Json, Refusal> {
    let gives_way = move |web: &Web| {
        let done = background::on_own_thread(|| work(web));
        done.unwrap_or_else(|| Err(Refusal::trouble("the work has ended before it was done")))
    };
    let done = web.heavy(gives_way).await;
    // What was known of the vaults is old now.
    *web.slow.lock().await = None;
    done
}

fn outcome_of(outcome: &Outcome, vaults: &[crate::backup::Placed]) -> Json {
    let problems: Vec<&str> = outcome.problems.iter().map(|problem| problem.what.as_str()).collect();
    let backups = outcome.backups.iter().map(|backup| view::backups::backup(backup, vaults));
    json!({ "backups": backups.collect::<Vec<_>>(), "problems": problems })
}

fn refused(error: BackupError) -> Refusal {
    match error {
        BackupError::Locked { .. } => Refusal::conflict(error),
        BackupError::Unknown(_) => Refusal::new(StatusCode::NOT_FOUND, error),
        error => Refusal::trouble(error),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Preview {
    what: Option<String>,
    at: Option<String>,
}

pub(super) async fn preview(State(web): At, from: From, body: Bytes) -> Answer {
    let preview: Preview = read(&body)?;
    let done = on_backups(&web, move |web| {
        let restores = web.restores()?;
        let catalog = restores.backups.catalog();
        let what = match (preview.what, preview.at) {
            (Some(undo), None) if undo == "undo" => What::Undo,
            // A file anywhere is for who sits at the hub.
            (Some(id), None) if catalog.backups.iter().any(|backup| backup.manifest.id == id) => {
                What::Named(id)
            }
            (Some(id), None) => return Err(refused(BackupError::Unknown(id))),
            (None, Some(at)) => What::At(Target::read(&at, &restores.backups).map_err(Refusal::wrong)?),
            _ => return Err(Refusal::wrong("name either a backup in `what` or a moment in `at`")),
        };
        let lock = restores.backups.lock().map_err(refused)?;
        let failed = |error: RestoreError| Refusal::conflict(error);
        let looked = restores.look(&lock, &what, Purpose::Tell).map_err(failed)?;
        let (source, plan) = (&looked.source, &looked.plan);
        Ok(json!({ "id": source.label, "dry_run": true, "plan": plan, "notes": source.notes }))
    });
    Ok(told(note(&web, from, "restore preview", done.await)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
}

pub(super) async fn reseed(State(web): At, from: From, body: Bytes) -> Answer {
    let Named { name } = read(&body)?;
    let done = ask(&web, Request::Reseed { name: name.clone() }).await;
    Ok(told(note(&web, from, &format!("reseed {name}"), done)?))
}

pub(super) async fn revoke(State(web): At, from: From, body: Bytes) -> Answer {
    let Named { name } = read(&body)?;
    let done = ask(&web, Request::Revoke { name: name.clone() }).await;
    Ok(told(note(&web, from, &format!("revoke {name}"), done)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Invite {
    name: String,
    role: Option<String>,
    ttl_s: Option<u32>,
    #[serde(default)]
    replace: bool,
}

pub(super) async fn invite(State(web): At, from: From, body: Bytes) -> Answer {
    let Invite { name, role, ttl_s, replace } = read(&body)?;
    let request = Request::Invite {
        name: name.clone(),
        role: role.unwrap_or_else(|| "station".to_owned()),
        ttl_ms: i64::from(ttl_s.unwrap_or(86_400)) * 1_000,
        replace,
    };
    let done = ask(&web, request).await;
    Ok(told(note(&web, from, &format!("invite {name}"), done)?))
}

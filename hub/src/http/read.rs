//! What can be looked at.

use super::answer::{Refusal, text, told};
use super::{Web, overview as whole};
use crate::backup::calendar::{Civil, DAY, moment};
use crate::clock;
use crate::health as checks;
use crate::store::conflict::Kind;
use crate::store::conflict::page::{self, Filter, Page};
use crate::view;
use crate::view::ViewError;
use crate::view::names::Names;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const PAGE_MAX: u32 = 200;
const DAYS_MAX: i64 = 400;

type Answer = Result<Response, Refusal>;
pub(super) type At = State<Arc<Web>>;

pub(super) async fn alive(State(web): At) -> Answer {
    match web.line.failing() {
        None => Ok(text("text/plain; charset=utf-8", "ok\n")),
        Some(reason) => Err(Refusal::trouble(reason)),
    }
}

pub(super) async fn ready(State(web): At) -> Answer {
    if let Some(reason) = web.line.failing() {
        return Err(Refusal::trouble(reason));
    }
    if !web.line.answers().await {
        return Err(Refusal::trouble("the writer does not answer in time"));
    }
    web.read(|_, conn| Ok(conn.query_row("SELECT count(*) FROM _sync_edge", [], |_| Ok(()))?)).await?;
    Ok(text("text/plain; charset=utf-8", "ready\n"))
}

pub(super) async fn overview(State(web): At) -> Answer {
    Ok(told(whole::make(&web).await?))
}

#[derive(Deserialize)]
pub(super) struct WhichEdges {
    #[serde(default)]
    offset: usize,
    limit: Option<u32>,
    #[serde(default)]
    filter: String,
    state: Option<String>,
}

pub(super) async fn edges(State(web): At, Query(which): Query<WhichEdges>) -> Answer {
    web.read(move |web, conn| {
        let mut all = view::devices::all(conn, &web.line.linked(), clock::now().0)?;
        let has =
            |one: &Json, field: &str, part: &str| one[field].as_str().is_some_and(|text| text.contains(part));
        all.retain(|one| {
            let named = has(one, "name", &which.filter) || has(one, "role", &which.filter);
            named && which.state.as_deref().is_none_or(|state| one["state"] == state)
        });
        let total = all.len();
        let limit = which.limit.unwrap_or(50).min(PAGE_MAX) as usize;
        let mut shown: Vec<Json> = all.into_iter().skip(which.offset).take(limit).collect();
        for one in &mut shown {
            let device = one["device"].as_u64().and_then(|device| u16::try_from(device).ok()).unwrap_or(0);
            one["traffic"] = json!(web.traffic.of(device));
        }
        Ok(told(json!({ "total": total, "offset": which.offset, "edges": shown })))
    })
    .await
}

#[derive(Deserialize)]
pub(super) struct WhichConflicts {
    #[serde(default)]
    after: i64,
    limit: Option<u32>,
    table: Option<String>,
    device: Option<String>,
    kind: Option<String>,
    all: Option<String>,
}

pub(super) async fn conflicts(State(web): At, Query(which): Query<WhichConflicts>) -> Answer {
    web.read(move |_, conn| {
        let names = Names::read(conn)?;
        let kind = which.kind.filter(|word| !word.is_empty());
        let none = |word: &String| Refusal::wrong(format!("`{word}` is no kind of conflict"));
        let filter = Filter {
            closed: which.all.is_some(),
            table: which.table.filter(|table| !table.is_empty()),
            lost_from: which
                .device
                .filter(|name| !name.is_empty())
                .map(|name| names.numbers(&name))
                .transpose()?,
            kind: kind.as_ref().map(|word| Kind::from_word(word).ok_or_else(|| none(word))).transpose()?,
        };
        let limit = which.limit.unwrap_or(50).clamp(1, PAGE_MAX);
        let found = page::read(conn, &filter, Page { after: which.after, limit }, |device| names.of(device))?;
        // A full page has a next one, which may turn out to be empty.
        let next = (found.len() == limit as usize).then(|| found.last().map(|last| last["id"].clone()));
        let open: BTreeMap<_, _> = page::open_by_kind(conn)?.into_iter().collect();
        Ok(told(json!({ "open": open, "conflicts": found, "next": next.flatten() })))
    })
    .await
}

pub(super) async fn conflict(State(web): At, Path(id): Path<i64>) -> Answer {
    web.read(move |_, conn| {
        let names = Names::read(conn)?;
        let found = page::find(conn, id, |device| names.of(device))?;
        Ok(told(found.ok_or(ViewError::NoConflict(id))?))
    })
    .await
}

pub(super) async fn history(State(web): At, Query(pairs): Query<Vec<(String, String)>>) -> Answer {
    let given = |name| pairs.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.clone());
    let keys: Vec<String> = given("key").collect();
    let Some(table) = given("table").next().filter(|_| !keys.is_empty()) else {
        return Err(Refusal::wrong("name the table and the key of the row: ?table=po_lines&key=7"));
    };
    web.heavy(move |web| {
        let conn = crate::database::open(&web.folder.database()).map_err(Refusal::trouble)?;
        let tracked = view::history::table(&conn, &table)?;
        let history = view::history::read(&conn, &web.folder, &tracked, &keys)?;
        Ok(told(history.to_json(&Names::read(&conn)?)))
    })
    .await
}

pub(super) async fn backups(State(web): At) -> Answer {
    web.heavy(|web| {
        let opened = web.backups()?;
        let catalog = opened.glance();
        let list = catalog.backups.iter().map(|backup| view::backups::backup(backup, &opened.vaults));
        Ok(told(Json::Array(list.collect())))
    })
    .await
}

#[derive(Deserialize)]
pub(super) struct Days {
    days: Option<i64>,
}

/// Backups by tier and day of the site.
pub(super) async fn calendar(State(web): At, Query(days): Query<Days>) -> Answer {
    web.heavy(move |web| {
        let opened = web.backups()?;
        let local = |at: i64| opened.zone().local(at).div_euclid(DAY);
        let today = local(clock::now().0.div_euclid(1_000));
        let count = days.days.unwrap_or(30).clamp(1, DAYS_MAX);
        let mut cells: BTreeMap<_, Vec<(bool, Json)>> = BTreeMap::new();
        for backup in opened.glance().backups {
            let day = local(moment(&backup.manifest.taken_at).unwrap_or(0));
            let all = backup.copies.iter().all(|(_, state)| state.is_good());
            let state = if all {
                "proven"
            } else if backup.is_verified() {
                "stored"
            } else {
                "failed"
            };
            let mut shown = view::backups::backup(&backup, &opened.vaults);
            shown["state"] = json!(state);
            shown["taken_at"] = json!(backup.manifest.taken_at);
            if (today - count + 1..=today).contains(&day) {
                cells.entry((backup.manifest.tier, day)).or_default().push((all, shown));
            }
        }
        let cell = |((tier, day), found): (_, Vec<(bool, Json)>)| {
            let worst = ["failed", "stored", "proven"]
                .into_iter()
                .find(|word| found.iter().any(|(_, one)| one["state"] == *word));
            let shown: Vec<Json> = found.into_iter().map(|(_, shown)| shown).collect();
            json!({ "tier": tier, "day": Civil::of(day * DAY).date(), "state": worst, "backups": shown })
        };
        let days: Vec<String> = (today - count + 1..=today).map(|day| Civil::of(day * DAY).date()).collect();
        Ok(told(json!({ "days": days, "cells": cells.into_iter().map(cell).collect::<Vec<_>>() })))
    })
    .await
}

pub(super) async fn health(State(web): At) -> Answer {
    web.heavy(|web| {
        let state = crate::control::State {
            pid: std::process::id(),
            linked: web.line.linked(),
            failing: web.line.failing(),
        };
        let now = clock::now().0.div_euclid(1_000);
        let report = checks::look(&web.folder, &web.settings, checks::daemon(Ok(Some(state))), now);
        Ok(told(report.map_err(Refusal::trouble)?.json()))
    })
    .await
}

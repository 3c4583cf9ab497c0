//! All that can be asked, each with a sentence; `GET /api` tells the same list.

use super::answer::{Refusal, told};
use super::{Web, act, events, gate, metrics, page, read, status};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use serde_json::{Value as Json, json};
use std::sync::Arc;

type Route = (&'static str, &'static str, &'static str, MethodRouter<Arc<Web>>);

fn all() -> Vec<Route> {
    [looks(), actions()].into_iter().flatten().collect()
}

#[rustfmt::skip]
fn looks() -> Vec<Route> {
    vec![
        ("GET", "/healthz", "200 while the hub can write, 503 with the reason while it cannot.", get(read::alive)),
        ("GET", "/readyz", "200 when the writer answers and the database can be read.", get(read::ready)),
        ("GET", "/metrics", "Numbers for Prometheus.", get(metrics::tell)),
        ("GET", "/", "The operator's page.", get(page::html)),
        ("GET", "/page.css", "How it looks.", get(page::css)),
        ("GET", "/page.js", "What it does.", get(page::js)),
        ("GET", "/api", "This list.", get(list)),
        ("GET", "/api/overview", "The verdict and the numbers behind it.", get(read::overview)),
        ("GET", "/api/events", "The overview again at every change, as server-sent events.", get(events::listen)),
        ("GET", "/api/status", "What `tt-hub status` shows; rows and digests are those of `tables_of`.", get(status::tell)),
        ("GET", "/api/edges", "Devices, in pages: offset, limit, filter (part of a name or role), state.", get(read::edges)),
        ("GET", "/api/conflicts", "Conflicts, in pages by number: after, limit, table, device, kind, all=1.", get(read::conflicts)),
        ("GET", "/api/conflicts/{id}", "One conflict with both values.", get(read::conflict)),
        ("GET", "/api/history", "Who changed a row: table, and key once for each column of the key.", get(read::history)),
        ("GET", "/api/backups", "All backups, oldest first.", get(read::backups)),
        ("GET", "/api/calendar", "Backups by tier and day: days (at most 400).", get(read::calendar)),
        ("GET", "/api/health", "Every check of `tt-hub health`, with the whole reading of the database.", get(read::health)),
    ]
}

#[rustfmt::skip]
fn actions() -> Vec<Route> {
    vec![
        ("POST", "/login", "Gives a browser its cookie for {\"token\"}.", post(act::login)),
        ("POST", "/api/decide", "Decides about conflicts: {\"ids\": [..], \"decision\": winner|loser|dismiss}.", post(act::decide)),
        ("POST", "/api/conflicts/{id}/edit", "Writes other values: {\"values\": [\"column=value\"]}.", post(act::edit)),
        ("POST", "/api/backup", "Makes a backup now: {} or {\"tier\"}.", post(act::backup)),
        ("POST", "/api/verify", "Reads copies back: {} or {\"id\"}.", post(act::verify)),
        ("POST", "/api/restore/preview", "What a restore would change, and nothing is restored: {\"what\"} or {\"at\"}.", post(act::preview)),
        ("POST", "/api/reseed", "Orders a device to take all rows anew: {\"name\"}.", post(act::reseed)),
        ("POST", "/api/revoke", "Cuts a device off, for ever: {\"name\"}.", post(act::revoke)),
        ("POST", "/api/invite", "Makes a token: {\"name\"}, and role, ttl_s, replace.", post(act::invite)),
    ]
}

pub(super) fn router(web: &Arc<Web>) -> Router {
    let routes = all().into_iter();
    let router = routes.fold(Router::new(), |router, (_, path, _, method)| router.route(path, method));
    let nothing = || async {
        Refusal::new(StatusCode::NOT_FOUND, "there is nothing here: GET /api lists what there is")
    };
    router
        .fallback(nothing)
        .layer(from_fn_with_state(Arc::clone(web), gate::guard))
        .with_state(Arc::clone(web))
}

async fn list(State(_): State<Arc<Web>>) -> Response {
    let line = |(method, path, what, _): Route| json!({ "method": method, "path": path, "what": what });
    told(Json::Array(all().into_iter().map(line).collect()))
}

#[cfg(test)]
mod tests {
    use super::all;

    #[test]
    fn the_readme_of_http_names_every_route_and_no_other() {
        let text = include_str!("README.md");
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        let written: Vec<(String, String)> = rows
            .map(|(route, what)| (route.to_owned(), what.trim_end_matches(" |").replace("\\|", "|")))
            .collect();
        let served: Vec<(String, String)> = all()
            .into_iter()
            .map(|(method, path, what, _)| (format!("{method} {path}"), what.to_owned()))
            .collect();
        assert_eq!(written, served);
    }
}

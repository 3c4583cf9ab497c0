//! Numbers for Prometheus: a registry made for each scrape from what is so now, so that nothing is kept twice.
//!
//! Labels are states, kinds, tiers and vaults, and the names of devices in use up to a bound.

use super::answer::{Refusal, text};
use super::overview::{Quick, Slow, quick, slow};
use super::read::At;
use crate::backup::calendar::moment;
use crate::clock;
use crate::view::{self, ViewError};
use axum::extract::State;
use axum::response::Response;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use rusqlite::Connection;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use tt_protocol::number::EdgeId;

/// Devices that have numbers of their own; the others are in the sums.
const DEVICES_MAX: usize = 1_000;

type Number = Gauge<f64, AtomicU64>;
type Labels = Vec<(&'static str, String)>;

struct Numbers(Registry);

impl Numbers {
    fn one(&mut self, name: &str, help: &str, unit: Option<Unit>, value: Option<f64>) {
        self.many(name, help, unit, value.map(|value| (Vec::new(), value)));
    }

    fn many(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        values: impl IntoIterator<Item = (Labels, f64)>,
    ) {
        let family = Family::<Labels, Number>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).set(value);
        }
        match unit {
            Some(unit) => self.0.register_with_unit(name, help, unit, family),
            None => self.0.register(name, help, family),
        }
    }
}

/// Where ids stand: of the whole space, and of each device's block.
struct Ids {
    space: f64,
    blocks: BTreeMap<EdgeId, f64>,
}

impl Ids {
    fn read(conn: &Connection) -> Result<Self, ViewError> {
        let replica = view::status::replica(conn)?;
        let space = view::status::id_space_used(conn, &replica)?;
        Ok(Self { space, blocks: view::blocks::used(conn, &replica)? })
    }
}

pub(super) async fn tell(State(web): At) -> Result<Response, Refusal> {
    let (quick, edges, ids) = web
        .read(|web, conn| {
            let edges = view::devices::all(conn, &web.line.linked(), clock::now().0)?;
            Ok((quick(web, conn)?, edges, Ids::read(conn)?))
        })
        .await?;
    let slow = slow(&web).await?;
    let mut numbers = Numbers(Registry::with_prefix("tt_hub"));
    let build = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    numbers.many("build", "The program, always 1", None, [(build, 1.0)]);
    numbers.one(
        "failing",
        "1 while the hub cannot write",
        None,
        Some(f64::from(web.line.failing().is_some())),
    );
    hub(&mut numbers, &quick);
    let help = "Rows of devices that were merged since the start, whatever became of each";
    numbers.0.register("merged_rows", help, ConstCounter::new(web.line.merged_rows()));
    let help = "Share of the ids below 2^53 that is behind the fullest table";
    numbers.one("id_space_used", help, Some(Unit::Other("ratio".to_owned())), Some(ids.space));
    numbers.one(
        "watermark_version",
        "Version that two vaults have safe",
        None,
        Some(web.line.watermark() as f64),
    );
    let (sent, received) = web.line.traffic().totals();
    numbers.one("link_sent", "Frames sent to devices since the start", Some(Unit::Bytes), Some(sent as f64));
    numbers.one("link_received", "Frames received since the start", Some(Unit::Bytes), Some(received as f64));
    let checks = slow
        .checks
        .iter()
        .map(|check| (vec![("check", check.name.to_owned())], f64::from(check.state as u8)));
    let help = "Checks of tt-hub health: 0 healthy, 1 warning, 2 critical";
    numbers.many("check_state", help, None, checks);
    devices(&mut numbers, &edges, &ids.blocks);
    vaults(&mut numbers, &slow);
    let mut out = String::new();
    encode(&mut out, &numbers.0).map_err(Refusal::trouble)?;
    Ok(text("application/openmetrics-text; version=1.0.0; charset=utf-8", out))
}

fn hub(numbers: &mut Numbers, quick: &Quick) {
    numbers.one("version", "Merged changesets since the hub was made", None, Some(quick.version as f64));
    numbers.one("epoch", "The hub's incarnation", None, Some(quick.epoch as f64));
    let states =
        quick.states.iter().map(|(state, count)| (vec![("state", (*state).to_owned())], *count as f64));
    numbers.many("devices", "Devices by state", None, states);
    let kinds = quick.conflicts.iter().map(|(kind, count)| (vec![("kind", kind.clone())], *count as f64));
    numbers.many("conflicts_open", "Open conflicts by kind", None, kinds);
}

fn devices(numbers: &mut Numbers, edges: &[Json], blocks: &BTreeMap<EdgeId, f64>) {
    let in_use: Vec<&Json> =
        edges.iter().filter(|edge| edge["state"] != "revoked").take(DEVICES_MAX).collect();
    let label = |edge: &Json| vec![("device", edge["name"].as_str().unwrap_or_default().to_owned())];
    let of = |field: &'static str, scale: f64| -> Vec<(Labels, f64)> {
        let found = in_use.iter().filter_map(|edge| Some((label(edge), edge[field].as_f64()? * scale)));
        found.collect()
    };
    numbers.many("device_behind_versions", "Versions that a device has not applied", None, of("behind", 1.0));
    numbers.many(
        "device_unsent_rows",
        "Rows that a device has not got acknowledged",
        None,
        of("unsent", 1.0),
    );
    let oldest = of("oldest_unsent_s", 1.0);
    numbers.many("device_oldest_unsent", "Age of the oldest such row", Some(Unit::Seconds), oldest);
    let block = |edge: &Json| {
        let number = u16::try_from(edge["device"].as_u64()?).ok()?;
        Some((label(edge), *blocks.get(&EdgeId(number))?))
    };
    let help = "Share of a device's newest block of ids that is used, in the table where it is most";
    let blocks = in_use.iter().filter_map(|edge| block(edge));
    numbers.many("device_id_block_used", help, Some(Unit::Other("ratio".to_owned())), blocks);
    let clock = of("clock_offset_ms", 0.001);
    numbers.many("device_clock_offset", "Clock of a device minus the hub's", Some(Unit::Seconds), clock);
}

fn vaults(numbers: &mut Numbers, slow: &Slow) {
    let of = |value: fn(&(crate::backup::Tier, String, i64, i64)) -> i64| -> Vec<(Labels, f64)> {
        let one = |last: &(crate::backup::Tier, String, i64, i64)| {
            (vec![("tier", last.0.to_string()), ("vault", last.1.clone())], value(last) as f64)
        };
        slow.last.iter().map(one).collect()
    };
    let taken = of(|last| last.2);
    numbers.many("backup_taken_timestamp", "When the newest backup was taken", Some(Unit::Seconds), taken);
    let read = of(|last| last.3);
    numbers.many("backup_verified_timestamp", "When it was last read back", Some(Unit::Seconds), read);
    numbers.one("backup_due_runs", "Tiers whose backup is due and not made", None, Some(slow.due as f64));
    let label = |name: &str| vec![("vault", name.to_owned())];
    let free = slow.vaults.iter().filter_map(|vault| Some((label(&vault.name), vault.free? as f64)));
    numbers.many("vault_free", "Room on a vault's disk", Some(Unit::Bytes), free);
    let scrubbed = slow.vaults.iter().filter_map(|vault| Some((label(&vault.name), vault.scrubbed? as f64)));
    numbers.many(
        "vault_scrubbed_timestamp",
        "When its longest unread copy was read",
        Some(Unit::Seconds),
        scrubbed,
    );
    let lag = |field: &'static str| -> Vec<(Labels, f64)> {
        let lags = slow.journal["lag"].as_array().into_iter().flatten();
        lags.filter_map(|lag| Some((label(lag["vault"].as_str()?), lag[field].as_f64()?))).collect()
    };
    numbers.many(
        "journal_lag",
        "Age of the oldest entry that a vault lacks",
        Some(Unit::Seconds),
        lag("seconds"),
    );
    numbers.many("journal_lag_versions", "Versions that a vault lacks", None, lag("versions"));
    numbers.one(
        "journal_size",
        "The journal in the hub's folder",
        Some(Unit::Bytes),
        slow.journal["bytes"].as_f64(),
    );
    let drill = slow.drill.as_ref();
    let at = drill.and_then(|drill| moment(&drill.at)).map(|at| at as f64);
    numbers.one("drill_timestamp", "When a restore was last rehearsed", Some(Unit::Seconds), at);
    let fine = drill.map(|drill| f64::from(drill.failed.is_none()));
    numbers.one("drill_success", "1 when it went well", None, fine);
}

//! What the writer decides about devices: who may link, who may join, who is cut off, and what is kept
//! of how they are doing.

use super::Writer;
use crate::clock;
use crate::control::{self, Reply, Request, State};
use crate::daemon::event::{Goodbye, Newcomer};
use crate::devices::{self, Device};
use crate::engine::{Action, Engine};
use crate::link::admit;
use crate::store::migrate;
use std::path::Path;
use tt_protocol::enrol::{EnrolReply, EnrolRequest};
use tt_protocol::frame::Report;
use tt_protocol::number::{EdgeId, Version};

/// Applies what waits. What the operator reads, the log has as well: devices will change.
fn migrate(engine: &mut Engine, folder: &Path) -> Reply {
    let waiting = match migrate::waiting(engine.store_mut().connection(), folder) {
        Ok(waiting) => waiting,
        Err(error) => return Reply::Failed { reason: error.to_string() },
    };
    let migrated = control::migrate(waiting, |migration| engine.migrate(migration, clock::now()));
    for (number, name) in &migrated.applied {
        tracing::info!(number, %name, "a migration was applied; devices follow");
    }
    Reply::Migrated(migrated)
}

const REVOKED: &str = "this device was revoked at the hub; to use it again, enrol it with a new token";

const LEFT: &str = "this device has left the hub; to use it again, enrol it with a new token";

fn revoked(name: &str) -> String {
    format!("the device `{name}` was revoked at the hub; to use it again, enrol it with a new token")
}

impl Writer {
    pub(super) fn up(&mut self, newcomer: Newcomer) {
        let Newcomer { link, cert_sha256, address, outlet, answer } = newcomer;
        let decision = self.welcome(&cert_sha256);
        if let Ok(device) = &decision {
            let edge = device.device;
            self.recorder.linked(device, &address.to_string());
            self.links.insert(link, (edge, outlet));
            self.tell_linked();
            let actions = self.engine.as_mut().map(|engine| engine.link_up(link, edge));
            for action in actions.into_iter().flatten() {
                if let Action::Close(old, reason) = action {
                    self.close(old, Goodbye::Later(reason));
                }
            }
            tracing::info!(device = %device.name, %address, "linked");
        }
        // A link that has gone meanwhile says so by itself.
        let _ = answer.send(decision.map(|device| device.device));
    }

    fn welcome(&mut self, cert_sha256: &[u8; 32]) -> Result<Device, Goodbye> {
        let Some(engine) = &mut self.engine else {
            let reason = self.shared.failing().unwrap_or_default();
            return Err(Goodbye::Later(reason));
        };
        match devices::by_certificate(engine.store_mut().connection(), cert_sha256) {
            Ok(Some(device)) if device.revoked_at.is_none() => Ok(device),
            Ok(Some(device)) => Err(Goodbye::Refused(revoked(&device.name))),
            Ok(None) => Err(Goodbye::Refused(
                "the hub does not know this device: enrol it anew with `tt-edge join TOKEN`".into(),
            )),
            Err(error) => {
                tracing::error!(%error, "a device cannot be looked up");
                Err(Goodbye::Later(error.to_string()))
            }
        }
    }

    pub(super) fn enrol(&mut self, request: &EnrolRequest) -> EnrolReply {
        let refused = |reason: String| EnrolReply::Refused { reason };
        let Some(engine) = &mut self.engine else {
            return refused(self.shared.failing().unwrap_or_default());
        };
        let conn = engine.store_mut().connection();
        let admitted = admit(conn, &self.authority, request, &self.host.addresses, clock::now());
        if let Err(error) = engine.store_mut().flush() {
            // It may join again with the same token when the journal can be written.
            self.fail(&error);
            return refused(self.shared.failing().unwrap_or_default());
        }
        match admitted {
            Ok(reply) => {
                match &reply {
                    EnrolReply::Enrolled(device) => {
                        tracing::info!(device = %device.name, number = %device.device, "a device has joined");
                    }
                    EnrolReply::Refused { reason } => tracing::warn!(%reason, "a device may not join"),
                }
                reply
            }
            Err(error) => {
                tracing::error!(%error, "the hub cannot decide over a device that wants to join");
                refused("the hub is in trouble and cannot decide now; try again, and ask its operator".into())
            }
        }
    }

    pub(super) fn answer(&mut self, request: Request) -> Reply {
        if matches!(request, Request::State) {
            self.record();
            let mut linked: Vec<u16> = self.links.values().map(|(edge, _)| edge.0).collect();
            linked.sort_unstable();
            return Reply::State(State { pid: std::process::id(), linked, failing: self.shared.failing() });
        }
        let Some(engine) = &mut self.engine else {
            let reason = self.shared.failing().unwrap_or_default();
            return Reply::Failed { reason };
        };
        if matches!(request, Request::Migrate) {
            return migrate(engine, &self.path.with_file_name("migrations"));
        }
        if let Request::Decide { ids, decision } = request {
            let answer = control::decision::decide(&ids, &decision, |ids, decision| {
                engine.decide(ids, decision, clock::now())
            });
            return answer.unwrap_or_else(|error| {
                self.fail(&error);
                Reply::Failed { reason: self.shared.failing().unwrap_or_default() }
            });
        }
        if let Request::Rescue { copy, of, dry_run } = request {
            return self.rescue(&copy, &of, dry_run);
        }
        if let Request::Forget { before } = request {
            return self.forget(before);
        }
        let performed = control::perform(engine.store_mut().connection(), &self.host, request, clock::now());
        if let Err(error) = engine.store_mut().flush() {
            self.fail(&error);
            return Reply::Failed { reason: self.shared.failing().unwrap_or_default() };
        }
        match performed {
            Ok((Reply::Ordered { device }, _)) => {
                self.greet_anew(EdgeId(device), "the operator has ordered a reseed");
                Reply::Ordered { device }
            }
            Ok((reply, cut)) => {
                if let Some(edge) = cut {
                    engine.refuse(edge, REVOKED);
                }
                reply
            }
            Err(error) => Reply::Failed { reason: error.to_string() },
        }
    }

    /// A device leaves for good. It hears of it only when that is on disk; otherwise it says it again.
    pub(super) fn leave(&mut self, edge: EdgeId) {
        let Some(engine) = &mut self.engine else { return };
        let left = devices::leave(engine.store_mut().connection(), edge, clock::now());
        if let Err(error) = engine.store_mut().flush() {
            return self.fail(&error);
        }
        match left {
            Ok(()) => {
                tracing::info!(device = %edge, "a device has left");
                engine.refuse(edge, LEFT);
            }
            Err(error) => {
                tracing::error!(device = %edge, %error, "a device that leaves was not written down")
            }
        }
    }

    /// Ends the link of a device that should hear something new with its next greeting.
    pub(super) fn greet_anew(&mut self, device: EdgeId, reason: &str) {
        let links: Vec<_> =
            self.links.iter().filter(|(_, (edge, _))| *edge == device).map(|(link, _)| *link).collect();
        for link in links {
            self.close(link, Goodbye::Later(reason.to_owned()));
        }
    }

    /// Writes down how the devices are doing, and cuts off those that were revoked behind our back.
    /// Takes in how a device is doing. The first that it says on a link is written down at once, so that whoever looks
    /// at the list sees numbers.
    pub(super) fn report(&mut self, edge: EdgeId, cursor: Version, report: Report) {
        self.recorder.report(edge, cursor, report);
        if self.recorder.is_due(clock::now()) {
            self.record();
        }
    }

    pub(super) fn record(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        let linked: Vec<EdgeId> = self.links.values().map(|(edge, _)| *edge).collect();
        for (edge, cursor) in engine.cursors() {
            self.recorder.cursor(edge, cursor);
        }
        let conn = engine.store_mut().connection();
        let recorded = self.recorder.write(conn, &linked, clock::now()).and_then(|()| devices::list(conn));
        match recorded {
            Ok(devices) => {
                self.shared.tell_changed();
                for device in devices {
                    if device.revoked_at.is_some() && linked.contains(&device.device) {
                        engine.refuse(device.device, REVOKED);
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "the state of the devices was not written down"),
        }
    }
}

//! Takes in the work of a lost device, which a command has laid ready in the hub's folder.

use super::Writer;
use crate::clock;
use crate::control::Reply;
use crate::rescue::{RescueError, Work};
use std::path::Path;

impl Writer {
    pub(super) fn rescue(&mut self, copy: &Path, of: &Path, only_look: bool) -> Reply {
        let Some(engine) = &mut self.engine else {
            return Reply::Failed { reason: self.shared.failing().unwrap_or_default() };
        };
        let authority = self.host.fingerprint;
        let rescued =
            Work::read(copy).and_then(|work| engine.rescue(work, of, (&authority, only_look), clock::now()));
        match rescued {
            Ok(report) => {
                if !only_look && report.changesets > 0 {
                    let (device, rows, unclear) = (&report.name, report.rows, report.unclear);
                    tracing::info!(%device, rows, unclear, file = %of.display(), "the work of a lost device was taken in");
                }
                Reply::Rescued(report)
            }
            Err(RescueError::Store(error)) => {
                self.fail(&error);
                Reply::Failed { reason: self.shared.failing().unwrap_or_default() }
            }
            Err(error) => Reply::Failed { reason: error.to_string() },
        }
    }
}

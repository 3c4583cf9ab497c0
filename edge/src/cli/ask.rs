//! Asks the running daemon, if there is one.

use crate::daemon::broadcast::Retelling;
use crate::daemon::control::{Reply, Request};
use crate::place::Place;
use anyhow::Context as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use tt_migrations::progress::{Progress, Unwatched};

/// The daemon's answer; None when no daemon listens in this folder.
pub(super) fn daemon(place: &Place, request: &Request, patience: Duration) -> anyhow::Result<Option<Reply>> {
    daemon_watched(place, request, patience, &Unwatched)
}

/// As [`daemon`], and hears how far it is.
pub(super) fn daemon_watched(
    place: &Place,
    request: &Request,
    patience: Duration,
    progress: &dyn Progress,
) -> anyhow::Result<Option<Reply>> {
    let Ok(mut stream) = UnixStream::connect(place.control()) else {
        return Ok(None);
    };
    stream.set_read_timeout(Some(patience))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let (mut lines, mut retelling) = (BufReader::new(stream), Retelling::default());
    loop {
        let mut answer = String::new();
        lines.read_line(&mut answer).context("the daemon does not answer; see its log")?;
        match serde_json::from_str(&answer).context("the daemon answers in another version: restart it")? {
            Reply::Progress(standing) => retelling.tell(standing, progress),
            reply => return Ok(Some(reply)),
        }
    }
}

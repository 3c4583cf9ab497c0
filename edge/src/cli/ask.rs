//! Asks the running daemon, if there is one.

use crate::daemon::control::{Reply, Request};
use crate::place::Place;
use anyhow::Context as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The daemon's answer; None when no daemon listens in this folder.
pub(super) fn daemon(place: &Place, request: &Request, patience: Duration) -> anyhow::Result<Option<Reply>> {
    let Ok(mut stream) = UnixStream::connect(place.control()) else {
        return Ok(None);
    };
    stream.set_read_timeout(Some(patience))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).context("the daemon does not answer; see its log")?;
    Ok(Some(serde_json::from_str(&answer).context("the daemon answers in another version: restart it")?))
}

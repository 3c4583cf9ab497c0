//! A command that holds the daemon off the database for a while, over one connection of the control socket.
//!
//! * The command asks for a pause; the daemon finishes what it has, closes its links and the database, and says so.
//! * It goes on when the command says so, or when the connection ends: a command that dies leaves no hub behind
//!   that waits for ever.

use super::{ControlError, LINE_BYTES_MAX, Reply, Request};
use crate::folder::Folder;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The daemon finishes one commit before it answers; opening the database again may write all of its triggers.
const DEADLINE: Duration = Duration::from_secs(120);
/// The line that ends a pause. Any other asks whether it still holds.
pub(crate) const GO_ON: &str = "go on";
const STILL: &str = "still?";

/// A daemon that waits.
pub(crate) struct Paused {
    stream: BufReader<UnixStream>,
}

/// Asks the running daemon to wait. `None`: none runs. The inner error is the daemon's reason not to.
pub(crate) fn ask(folder: &Folder) -> Result<Option<Result<Paused, String>>, ControlError> {
    let socket = folder.control();
    let failed = |source| ControlError::Socket { path: folder.path().join("control.sock"), source };
    let stream = match UnixStream::connect(&socket.path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    stream.set_read_timeout(Some(DEADLINE)).map_err(failed)?;
    let mut paused = Paused { stream: BufReader::new(stream) };
    let reply = paused.say(&serde_json::to_string(&Request::Pause)?).map_err(failed)?;
    Ok(Some(match reply {
        Reply::Paused => Ok(paused),
        Reply::Failed { reason } => Err(reason),
        other => Err(format!("the running hub answered something else: {other:?}; restart it")),
    }))
}

impl Paused {
    fn say(&mut self, line: &str) -> io::Result<Reply> {
        self.stream.get_mut().write_all(format!("{line}\n").as_bytes())?;
        let mut answer = String::new();
        self.stream.by_ref().take(LINE_BYTES_MAX).read_line(&mut answer)?;
        if answer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&answer)?)
    }

    /// Whether it still waits.
    pub(crate) fn confirm(&mut self) -> io::Result<()> {
        match self.say(STILL)? {
            Reply::Paused => Ok(()),
            other => Err(io::Error::other(format!("it answered {other:?}"))),
        }
    }

    /// Lets it go on. The error is why it cannot work.
    pub(crate) fn resume(mut self) -> Result<(), String> {
        match self.say(GO_ON) {
            Ok(Reply::Failed { reason }) => Err(reason),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("the running hub does not answer: {error}; restart it")),
        }
    }
}

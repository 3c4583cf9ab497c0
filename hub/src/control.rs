//! How a command reaches a running daemon, and what both do in the same way when none runs.
//!
//! * One connection to `control.sock`, one JSON line each way. Whoever may open the socket is the hub's
//!   own user, and so nothing else is asked.
//! * [`perform`] is the one place where devices are invited and revoked: the daemon's writer thread
//!   calls it on its connection, a command without a daemon on its own.

pub(crate) mod decision;
pub(crate) mod pause;

use crate::devices::{self, DevicesError};
use crate::folder::Folder;
use crate::rescue::Rescued as RescuedFile;
use crate::store::migrate::MigrateError;
use decision::{Outcome, Wish};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;
use tt_migrations::runner::Migration;
use tt_protocol::number::{EdgeId, Millis};
use tt_protocol::token::Token;

/// A line on the socket.
pub(crate) const LINE_BYTES_MAX: u64 = 1024 * 1024;
/// Longer than the daemon's slowest commit should take.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);
/// A migration may write every row of a large table; a device may have been away for months.
const LONG_DEADLINE: Duration = Duration::from_secs(3_600);

/// What a command asks of the hub.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Request {
    /// How the daemon is doing; it writes down first what it knows of the devices.
    State,
    /// Make a token.
    Invite {
        /// Name of the device.
        name: String,
        /// What it may write.
        role: String,
        /// How long the token lives.
        ttl_ms: i64,
        /// Cut off a device of that name.
        replace: bool,
    },
    /// Cut a device off.
    Revoke {
        /// Name of the device.
        name: String,
    },
    /// Order a device to take a snapshot in place of feeds.
    Reseed {
        /// Name of the device.
        name: String,
    },
    /// Cut the history.
    Forget {
        /// Versions below this one; None: what is older than the settings say.
        before: Option<u64>,
    },
    /// Decide about entries of the conflict list.
    Decide {
        /// Their numbers, at most [`decision::DECISIONS_MAX`].
        ids: Vec<i64>,
        /// The same for all of them.
        decision: Wish,
    },
    /// Apply the numbered SQL files that wait in the hub's folder.
    Migrate,
    /// Take in the work of a lost device, from a sound copy of its file in the hub's folder.
    Rescue {
        /// The copy.
        copy: PathBuf,
        /// The device's own file, for messages.
        of: PathBuf,
        /// Only say what would go in.
        dry_run: bool,
    },
    /// Let go of the database until this connection says otherwise or ends ([`pause`]).
    Pause,
}

/// What the hub answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum Reply {
    /// The daemon's state.
    State(State),
    /// A token was made.
    Invited(Invited),
    /// A device, an invitation or both are gone.
    Revoked {
        /// The device's number; none when there was only an invitation.
        device: Option<u16>,
    },
    /// The order is written down; the device carries it out when it is here.
    Ordered {
        /// The device's number.
        device: u16,
    },
    /// The history was cut.
    Forgotten {
        /// Versions up to this one are not in it any more.
        forgotten: u64,
        /// Versions that went now.
        versions: u64,
        /// Images of deleted rows that went now.
        images: u64,
    },
    /// What became of each decision.
    Decided {
        /// In the order of the numbers.
        outcomes: Vec<Outcome>,
    },
    /// Migrations were applied, all that waited or those before the one that failed.
    Migrated(Migrated),
    /// The work of a lost device was taken in.
    Rescued(RescuedFile),
    /// The daemon has let go of the database.
    Paused,
    /// It goes on.
    WentOn,
    /// It was not done, and why.
    Failed {
        /// For a person.
        reason: String,
    },
}

/// State of a running daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Its process.
    pub(crate) pid: u32,
    /// Devices that are linked now, by number.
    pub(crate) linked: Vec<u16>,
    /// Why it cannot work at the moment.
    pub(crate) failing: Option<String>,
}

/// What applying migrations came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Migrated {
    /// Numbers and names of those that were applied.
    pub(crate) applied: Vec<(u32, String)>,
    /// Why the next one was not.
    pub(crate) failed: Option<String>,
}

/// A new invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Invited {
    /// The token's text.
    pub(crate) token: String,
    /// Name of the device.
    pub(crate) name: String,
    /// What it may write.
    pub(crate) role: String,
    /// When the token ends, in milliseconds since 1970.
    pub(crate) expires_at: i64,
    /// Where the token sends the device.
    pub(crate) addresses: Vec<String>,
}

/// What a token says about the hub.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// SHA-256 of the hub's CA certificate.
    pub(crate) fingerprint: [u8; 32],
    /// Where devices reach it.
    pub(crate) addresses: Vec<String>,
}

/// Why a running daemon did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    /// The socket does not work.
    #[error("cannot reach the running hub through {path}: {source}; if no tt-hub runs, remove that file", path = .path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The line cannot be read.
    #[error("the running hub answers something else ({0}): it is of another version; restart it")]
    Shape(#[from] serde_json::Error),
}

/// Invites or revokes. Gives the reply and the device whose link must be closed.
pub(crate) fn perform(
    conn: &Connection,
    host: &Host,
    request: Request,
    now: Millis,
) -> Result<(Reply, Option<EdgeId>), DevicesError> {
    match request {
        Request::State => Ok((Reply::Failed { reason: "only a running hub has a state".into() }, None)),
        Request::Decide { .. } => Ok((Reply::Failed { reason: "the store decides".into() }, None)),
        Request::Pause => Ok((Reply::Failed { reason: "only a running hub can wait".into() }, None)),
        Request::Rescue { .. } => {
            Ok((Reply::Failed { reason: "a rescue needs the whole store".into() }, None))
        }
        Request::Migrate => Ok((Reply::Failed { reason: "migrations need the whole store".into() }, None)),
        Request::Forget { .. } => Ok((Reply::Failed { reason: "the store forgets".into() }, None)),
        Request::Reseed { name } => {
            let device = devices::order_reseed(conn, &name, now)?.0;
            Ok((Reply::Ordered { device }, None))
        }
        Request::Revoke { name } => {
            let cut = devices::revoke(conn, &name, now)?;
            let device = cut.map(|edge| edge.0);
            Ok((Reply::Revoked { device }, cut))
        }
        Request::Invite { name, role, ttl_ms, replace } => {
            let invitation = devices::invite(conn, &name, &role, ttl_ms, replace, now)?;
            let token = Token {
                addresses: host.addresses.clone(),
                ca_sha256: host.fingerprint,
                secret: invitation.secret,
                name: name.clone(),
            };
            let invited = Invited {
                token: token.encode(),
                name,
                role,
                expires_at: now.0.saturating_add(ttl_ms),
                addresses: token.addresses,
            };
            Ok((Reply::Invited(invited), invitation.replaced))
        }
    }
}

/// Applies migrations one after the other, up to the first that fails.
pub(crate) fn migrate(
    waiting: Vec<Migration>,
    mut apply: impl FnMut(&Migration) -> Result<bool, MigrateError>,
) -> Migrated {
    let mut migrated = Migrated::default();
    for migration in waiting {
        match apply(&migration) {
            Ok(true) => migrated.applied.push((migration.number, migration.name.into_owned())),
            Ok(false) => {}
            Err(error) => {
                migrated.failed = Some(error.to_string());
                break;
            }
        }
    }
    migrated
}

/// Asks the running daemon. `None`: no daemon runs.
pub(crate) fn ask(folder: &Folder, request: &Request) -> Result<Option<Reply>, ControlError> {
    let socket = folder.control();
    let failed = |source| ControlError::Socket { path: folder.path().join("control.sock"), source };
    let mut stream = match UnixStream::connect(&socket.path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    let mut talk = || {
        let is_long = matches!(request, Request::Migrate | Request::Rescue { .. });
        let deadline = if is_long { LONG_DEADLINE } else { ANSWER_DEADLINE };
        stream.set_read_timeout(Some(deadline))?;
        stream.write_all(line.as_bytes())?;
        let mut answer = String::new();
        BufReader::new(&stream).take(LINE_BYTES_MAX).read_line(&mut answer)?;
        Ok(answer)
    };
    let answer: String = talk().map_err(failed)?;
    Ok(Some(serde_json::from_str(&answer)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host { fingerprint: [1; 32], addresses: vec!["h:1".into()] }
    }

    #[test]
    fn a_token_carries_the_host_and_a_second_one_is_refused() {
        let conn = Connection::open_in_memory().unwrap();
        devices::create_tables(&conn).unwrap();
        let invite =
            |replace| Request::Invite { name: "a".into(), role: "station".into(), ttl_ms: 1000, replace };
        let (reply, cut) = perform(&conn, &host(), invite(false), Millis(5)).unwrap();
        let Reply::Invited(invited) = reply else { panic!("{reply:?}") };
        let token = Token::decode(&invited.token).unwrap();
        assert_eq!((token.ca_sha256, token.name.as_str()), ([1; 32], "a"));
        assert_eq!((invited.expires_at, cut), (1005, None));
        devices::redeem(&conn, &token.secret, &[1; 32], Millis(6)).unwrap();
        assert!(matches!(perform(&conn, &host(), invite(false), Millis(7)), Err(DevicesError::Exists(_))));
        let (_, cut) = perform(&conn, &host(), invite(true), Millis(8)).unwrap();
        assert_eq!(cut, Some(EdgeId(1)));
    }

    #[test]
    fn nobody_listens_means_no_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        assert!(ask(&folder, &Request::State).unwrap().is_none());
        drop(std::os::unix::net::UnixListener::bind(folder.control().path).unwrap());
        assert!(ask(&folder, &Request::State).unwrap().is_none());
    }

    #[test]
    fn a_folder_with_a_long_name_has_a_socket_too() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("x".repeat(200));
        std::fs::create_dir(&long).unwrap();
        let socket = Folder::new(&long).control();
        let _listener = std::os::unix::net::UnixListener::bind(&socket.path).unwrap();
        assert!(long.join("control.sock").exists());
        UnixStream::connect(&socket.path).unwrap();
    }
}

//! The hub's end of the links: it listens, tells enrolled devices from strangers, enrols new ones,
//! and carries frames and snapshots.
//!
//! * Nothing here reads the list of devices. A [`Arrival::Device`] has shown a certificate of this
//!   hub's authority; whether it is still welcome is for the caller to look up, who then calls
//!   [`refuse`] or goes on. The same call cuts off a device that is revoked later.
//! * Whoever has no certificate can do one thing: enrol.

mod config;
mod enrol;
mod listen;
mod restart;
mod snapshot;
mod stream;

pub use enrol::{EnrolError, admit, serve_enrolment};
pub use listen::{Arrival, Listener};
pub use snapshot::{Prepared, Questions, requested, send_prepared};
pub use stream::{FrameReceiver, FrameSender};

use quinn::{Connection, ConnectionError, ReadError, VarInt, WriteError};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use tt_protocol::frame::FrameError;
use tt_protocol::link::{CLOSE_DONE, CLOSE_REFUSED, IDLE_TIMEOUT, close_reason};
use tt_protocol::prefix::PrefixError;

/// Why the hub cannot listen, or a link came to an end.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Somebody else listens there.
    #[error(
        "UDP address {0} is in use: is another tt-hub running? Stop it, or choose another address with --listen"
    )]
    InUse(SocketAddr),
    /// The address belongs to another machine.
    #[error("{0} is no address of this machine: choose one with --listen, or 0.0.0.0 for all")]
    NotHere(SocketAddr),
    /// Any other trouble with the socket.
    #[error("cannot listen on UDP address {address}: {source}; choose another with --listen")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The authority's keys and certificates do not work for TLS.
    #[error("cannot use the hub's certificate: {0}; run `tt-hub health`")]
    Tls(#[from] rustls::Error),
    /// An end in order.
    #[error("the link was closed: {0}")]
    Closed(String),
    /// An end out of order; the device will come back by itself.
    #[error("the link to the device was lost: {0}")]
    Lost(String),
    /// The device does not want the rest of a stream.
    #[error("the device broke off the transfer; it goes on where it stopped when it asks again")]
    BrokenOff,
    /// The device took too long.
    #[error("the device said nothing for {0} s while it was its turn; it will try again by itself")]
    Silent(u64),
    /// The bytes are no frames.
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    /// A frame is no message.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A snapshot file cannot be read.
    #[error("cannot read the snapshot {path}: {source}", path = .path.display())]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Closes a connection because its device is not welcome. The device shows the reason to a person.
pub fn refuse(connection: &Connection, reason: &str) {
    connection.close(VarInt::from_u32(CLOSE_REFUSED), close_reason(reason));
}

/// Closes a connection on which nothing is left to do.
pub fn close(connection: &Connection, reason: &str) {
    connection.close(VarInt::from_u32(CLOSE_DONE), close_reason(reason));
}

impl From<ConnectionError> for LinkError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(closed) => {
                Self::Closed(String::from_utf8_lossy(&closed.reason).into_owned())
            }
            ConnectionError::LocallyClosed => Self::Closed("by the hub".into()),
            ConnectionError::TimedOut => {
                Self::Lost(format!("no sign of life for {} s", IDLE_TIMEOUT.as_secs()))
            }
            other => Self::Lost(other.to_string()),
        }
    }
}

impl From<ReadError> for LinkError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::ConnectionLost(error) => error.into(),
            ReadError::Reset(_) => Self::BrokenOff,
            other => Self::Lost(other.to_string()),
        }
    }
}

impl From<WriteError> for LinkError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::ConnectionLost(error) => error.into(),
            WriteError::Stopped(_) => Self::BrokenOff,
            other => Self::Lost(other.to_string()),
        }
    }
}

//! The edge's end of a link: it finds the hub, checks that it is the right one, and carries frames and
//! snapshots.
//!
//! * The hub is known by its authority alone: never by an address, a name in DNS or the time of day.
//! * A refused device believes that it is connected until its first read. So a link counts as up only
//!   after the hub's Welcome, and the hub's reason comes out of the first `recv` that fails.

#[cfg(target_os = "linux")]
mod alarm;
mod config;
mod connect;
mod join;
mod leave;
mod snapshot;
mod stream;

pub use connect::{Link, connect};
pub use join::{Joined, join};
pub use leave::leave;
pub use snapshot::{Progress, Questions, fetch_head, fetch_seed, fetch_snapshot, told};
pub use stream::{FrameReceiver, FrameSender};

use quinn::{ApplicationClose, ConnectionClose, ConnectionError, ReadError, WriteError};
use std::io;
use std::path::PathBuf;
use tt_protocol::frame::FrameError;
use tt_protocol::link::{CLOSE_REFUSED, CLOSE_STOPPING, IDLE_TIMEOUT};
use tt_protocol::prefix::PrefixError;

/// TLS alerts arrive as QUIC errors from here on.
const TLS_ALERTS: std::ops::Range<u64> = 0x100..0x200;
/// The alert "no protocol in common".
const NO_PROTOCOL: u64 = 0x100 + 120;

/// Why there is no link, or it came to an end.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Nowhere to go.
    #[error("no address of the hub is known: give one with --hub HOST:PORT")]
    NoAddress,
    /// Nobody answered anywhere.
    #[error(
        "the hub cannot be reached: {0}; check that tt-hub serves there and that UDP gets through, or give another address with --hub"
    )]
    Unreachable(String),
    /// It took too long in all.
    #[error("the hub did not answer within {0} s; check that tt-hub serves and that UDP gets through")]
    Silent(u64),
    /// The hub says no, in its own words.
    #[error("the hub refuses: {0}")]
    Refused(String),
    /// The hub does not know the certificate's authority.
    #[error(
        "the hub does not accept this device's certificate ({0}): it was made by another hub; join this one with a token from it"
    )]
    CertificateRefused(String),
    /// Not the hub of the token.
    #[error(
        "whoever answers at {0} is not the hub that made the token: check the address, and that the token is from this hub"
    )]
    WrongHub(String),
    /// Not the hub that this device has joined.
    #[error(
        "whoever answers is not the hub that this device has joined ({0}): check the address; if the hub was made anew, join it again"
    )]
    Untrusted(String),
    /// Too far apart.
    #[error("the hub does not speak this device's protocol: bring tt-edge and tt-hub to the same version")]
    Version,
    /// The hub goes down for a while.
    #[error("the hub is stopping; the device will try again by itself")]
    Stopping,
    /// An end in order.
    #[error("the link was closed: {0}")]
    Closed(String),
    /// An end out of order.
    #[error("the link to the hub was lost: {0}; the device will try again by itself")]
    Lost(String),
    /// The device's own key and certificate do not work for TLS.
    #[error(
        "cannot use this device's identity: {0}; join again with a new token (`tt-hub invite NAME --replace`)"
    )]
    Tls(#[from] rustls::Error),
    /// No socket.
    #[error("cannot open a UDP socket: {0}")]
    Socket(io::Error),
    /// The bytes are no frames.
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    /// A frame is no message.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The conversation ended too early.
    #[error("the hub closed the stream without an answer: bring tt-edge and tt-hub to the same version")]
    NoAnswer,
    /// A snapshot cannot be kept.
    #[error("cannot keep the snapshot in {path}: {source}; check the folder's owner and the free space", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A snapshot arrived damaged, twice.
    #[error("the snapshot in {path} differs from what the hub announced, also after a fresh start: run `tt-hub health`", path = .0.display())]
    Damaged(PathBuf),
}

impl LinkError {
    /// True when trying again without a person's help may succeed.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Unreachable(_)
                | Self::Silent(_)
                | Self::Stopping
                | Self::Closed(_)
                | Self::Lost(_)
                | Self::Socket(_)
        )
    }
}

impl From<ConnectionError> for LinkError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(closed) => closed_by_hub(&closed),
            ConnectionError::ConnectionClosed(closed) => broken_by_hub(&closed),
            ConnectionError::TransportError(error) if TLS_ALERTS.contains(&error.code.into()) => {
                Self::Untrusted(error.reason)
            }
            ConnectionError::Reset => Self::Lost("the hub was started again".into()),
            ConnectionError::LocallyClosed => Self::Closed("by this device".into()),
            ConnectionError::TimedOut => {
                Self::Lost(format!("no sign of life for {} s", IDLE_TIMEOUT.as_secs()))
            }
            other => Self::Lost(other.to_string()),
        }
    }
}

fn closed_by_hub(closed: &ApplicationClose) -> LinkError {
    let reason = String::from_utf8_lossy(&closed.reason).into_owned();
    match u32::try_from(closed.error_code.into_inner()) {
        Ok(CLOSE_REFUSED) => LinkError::Refused(reason),
        Ok(CLOSE_STOPPING) => LinkError::Stopping,
        _ => LinkError::Closed(reason),
    }
}

fn broken_by_hub(closed: &ConnectionClose) -> LinkError {
    match u64::from(closed.error_code) {
        NO_PROTOCOL => LinkError::Version,
        code if TLS_ALERTS.contains(&code) => {
            LinkError::CertificateRefused(String::from_utf8_lossy(&closed.reason).into_owned())
        }
        _ => LinkError::Lost(closed.to_string()),
    }
}

impl From<ReadError> for LinkError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::ConnectionLost(error) => error.into(),
            other => Self::Lost(other.to_string()),
        }
    }
}

impl From<WriteError> for LinkError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::ConnectionLost(error) => error.into(),
            other => Self::Lost(other.to_string()),
        }
    }
}

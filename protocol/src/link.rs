//! What both ends of a link must agree on before the first frame: names, deadlines, closing codes,
//! and what an address looks like.
//!
//! A link is one QUIC connection with TLS 1.3. Devices use [`ALPN_SYNC`] and show their certificate;
//! a device that has none yet uses [`ALPN_JOIN`], on which nothing but the enrolment is spoken.

use core::time::Duration;

/// Protocol name of a link between an enrolled device and the hub.
pub const ALPN_SYNC: &[u8] = b"tt-sync/1";
/// Protocol name of the enrolment of a new device.
pub const ALPN_JOIN: &[u8] = b"tt-join/1";
/// Name in the hub's certificate. Fixed, so that a hub may move to any address.
pub const SERVER_NAME: &str = "tt-hub";
/// A device that has nothing to say sends a sign of life this often: below the 30 s after which many routers
/// forget a UDP flow (RFC 9308, section 3.2). The hub sends none: it could not open the way again, and it answers.
pub const KEEP_ALIVE: Duration = Duration::from_secs(25);
/// A link without any sign of life for this long is gone: two keep-alives may be lost.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The time at which certificates are checked, in seconds since 1970: the beginning of 2026, always.
/// The clock of a device may stand at 1970, and who may connect is not a question of time here.
pub const CHECK_TIME_S: u64 = 1_767_225_600;
/// Bytes that may be on their way on one stream. With 100 ms of delay this carries 10 MB/s.
pub const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// Bytes that may be on their way on one connection, each way: the most that a slow peer can pin.
pub const LINK_WINDOW_BYTES: u32 = 2 * 1024 * 1024;

/// Closing code: the closing side is done; nothing is wrong.
pub const CLOSE_DONE: u32 = 0;
/// Closing code: the closing side will not talk to this peer. The reason is for a person.
pub const CLOSE_REFUSED: u32 = 1;
/// Closing code: the hub is stopping or restarting; try again later.
pub const CLOSE_STOPPING: u32 = 2;

/// Longest reason that is sent with a closing code, so that it fits the one packet it travels in.
pub const CLOSE_REASON_BYTES_MAX: usize = 512;

/// The reason as bytes for the wire, shortened at a character when it is too long.
#[must_use]
pub fn close_reason(reason: &str) -> &[u8] {
    &reason.as_bytes()[..reason.floor_char_boundary(CLOSE_REASON_BYTES_MAX)]
}

/// Why a text is not the address of a hub.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address: write HOST:PORT, for example hub.example.com:4747 or [2001:db8::7]:4747")]
pub struct AddressError(pub String);

/// Checks the shape of an address, `HOST:PORT` with a port other than 0. Looks nothing up.
///
/// # Errors
/// When the text has another shape.
pub fn check_address(text: &str) -> Result<(), AddressError> {
    let damaged = || AddressError(text.to_owned());
    let (host, port) = text.rsplit_once(':').ok_or_else(damaged)?;
    let bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
    let plain = !host.is_empty() && !host.contains([':', '[', ']', '/', ' ', '\t', '\n']);
    let port_is_good =
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    if (bracketed || plain) && port_is_good { Ok(()) } else { Err(damaged()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_need_a_host_and_a_port() {
        for good in ["hub:4747", "hub.example.com:1", "10.0.0.7:65535", "[::1]:4747"] {
            assert_eq!(check_address(good), Ok(()), "{good}");
        }
        for bad in
            ["", "hub", "hub:", ":4747", "hub:0", "hub:65536", "hub:+1", "::1:4747", "[]:1", "http://hub:1"]
        {
            assert!(check_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        assert_eq!(close_reason("revoked"), b"revoked");
        let long = "ü".repeat(CLOSE_REASON_BYTES_MAX);
        let cut = close_reason(&format!("x{long}")).to_vec();
        assert!(cut.len() <= CLOSE_REASON_BYTES_MAX);
        assert!(String::from_utf8(cut).is_ok());
    }
}

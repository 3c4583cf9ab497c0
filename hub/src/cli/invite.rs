//! `invite` and `revoke`: who may come in and who is put out, with and without the daemon.

use super::{CliError, Place, output};
use crate::ca::Authority;
use crate::clock;
use crate::config::Config;
use crate::control::{self, Host, Invited, Reply, Request};
use crate::database;
use crate::folder::Folder;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use serde_json::json;
use std::io::IsTerminal as _;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Name of the device: a-z, 0-9 and -.
    name: String,
    /// What the device may write, as the policy names it.
    #[arg(long, default_value = "station")]
    role: String,
    /// How long the token can be used: 30m, 24h, 7d.
    #[arg(long, default_value = "24h", value_parser = span_ms)]
    ttl: i64,
    /// Cut off the device that has this name now.
    #[arg(long)]
    replace: bool,
}

pub(super) fn invite(place: &Place, arguments: Arguments) -> Result<(), CliError> {
    let Arguments { name, role, ttl, replace } = arguments;
    let request = Request::Invite { name, role, ttl_ms: ttl, replace };
    match perform(place, request)? {
        Reply::Invited(invited) => print(place, &invited),
        other => Err(unexpected(other)),
    }
}

pub(super) fn revoke(place: &Place, name: String) -> Result<(), CliError> {
    let request = Request::Revoke { name: name.clone() };
    match perform(place, request)? {
        Reply::Revoked { device } if place.json => {
            Ok(output::json(&json!({ "name": name, "device": device }))?)
        }
        Reply::Revoked { device: Some(device) } => Ok(output::text(&format!(
            "{name} (device {device}) is revoked; the hub does not talk to it any more\n"
        ))?),
        Reply::Revoked { device: None } => {
            Ok(output::text(&format!("the open invitation of {name} is withdrawn\n"))?)
        }
        other => Err(unexpected(other)),
    }
}

/// Through the daemon when one runs, else on the file itself.
pub(super) fn perform(place: &Place, request: Request) -> Result<Reply, CliError> {
    let folder = Folder::of_hub(&place.data)?;
    if let Some(reply) = control::ask(&folder, &request)? {
        return Ok(reply);
    }
    let config = Config::read(&folder)?;
    let host = Host {
        fingerprint: Authority::load(folder.path())?.fingerprint(),
        addresses: config.addresses(config.listen),
    };
    let conn = database::open(&folder.database())?;
    let (reply, _) = control::perform(&conn, &host, request, clock::now())?;
    Ok(reply)
}

pub(super) fn unexpected(reply: Reply) -> CliError {
    match reply {
        Reply::Failed { reason } => CliError::Refused(reason),
        other => CliError::Refused(format!("it answered something else: {other:?}")),
    }
}

fn print(place: &Place, invited: &Invited) -> Result<(), CliError> {
    if let Some(address) = invited.addresses.iter().find(|address| is_nowhere(address)) {
        eprintln!(
            "tt-hub: warning: the token sends the device to {address}, which no other machine can reach; \
             start the hub with --advertise HOST:PORT, or give `tt-edge join` its address with --hub"
        );
    }
    if place.json {
        let Invited { token, name, role, expires_at, addresses } = invited;
        return Ok(output::json(&json!({
            "token": token,
            "name": name,
            "role": role,
            "expires_at": expires_at,
            "addresses": addresses,
        }))?);
    }
    // For the camera of a device whose screen cannot be typed on comfortably; a script has no use for it.
    let picture = if std::io::stdout().is_terminal() { picture(&invited.token) } else { String::new() };
    let lives_s = (invited.expires_at - clock::now().0 + 999) / 1000;
    Ok(output::text(&format!(
        "{token}\n\nType this on the device {name} (role {role}) within {lives}; the token works once:\n\n    \
         tt-edge join {token}\n{picture}",
        token = invited.token,
        name = invited.name,
        role = invited.role,
        lives = output::span(lives_s),
    ))?)
}

/// The token as a QR code of half blocks; nothing when it has no place in one.
fn picture(token: &str) -> String {
    let code = QrCode::with_error_correction_level(token, EcLevel::L);
    code.map_or_else(|_| String::new(), |code| format!("\n{}\n", code.render::<Dense1x2>().build()))
}

/// An address that means only the machine that uses it, or a port that nobody can have.
fn is_nowhere(address: &str) -> bool {
    address.parse::<std::net::SocketAddr>().is_ok_and(|address| {
        address.ip().is_loopback() || address.ip().is_unspecified() || address.port() == 0
    })
}

/// Reads a span of time: a number with s, m, h or d.
fn span_ms(text: &str) -> Result<i64, String> {
    let wrong = || format!("`{text}` is not a span of time: write 30m, 24h or 7d");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let unit_ms = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    match i64::from(number).checked_mul(unit_ms) {
        Some(span) if span > 0 => Ok(span),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit() {
        assert_eq!(span_ms("90s"), Ok(90_000));
        assert_eq!(span_ms("24h"), Ok(86_400_000));
        for wrong in ["", "h", "24", "0h", "-1h", "1.5h", "24 hours", "1ü"] {
            assert!(span_ms(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_token_has_a_picture_that_fits_a_terminal() {
        let token = "TT1-".to_owned() + &"A7".repeat(120);
        let picture = picture(&token);
        let lines: Vec<&str> = picture.trim_matches('\n').lines().collect();
        let width = lines.iter().map(|line| line.chars().count()).max().unwrap();
        assert!((30..=80).contains(&width) && lines.len() * 2 <= width + 1, "{width} x {}", lines.len());
        assert!(picture.chars().all(|c| " █▀▄\n".contains(c)), "{picture}");
        assert_eq!(super::picture(&"x".repeat(5_000)), "", "too long for any");
    }

    #[test]
    fn addresses_that_lead_nowhere_are_told() {
        assert!(is_nowhere("127.0.0.1:4747") && is_nowhere("0.0.0.0:4747") && is_nowhere("10.0.0.1:0"));
        assert!(!is_nowhere("hub.example.com:4747") && !is_nowhere("10.0.0.1:4747"));
    }
}

//! The token that a station page wants when it can be reached from other machines.

use super::StationError;
use crate::place::Place;
use data_encoding::BASE32_NOPAD;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use tt_migrations::durable;

const TOKEN_BYTES: usize = 20;

/// The token in `station.token`, made if there is none. Only the owner of the folder can read it.
pub(super) fn of(place: &Place) -> Result<String, StationError> {
    let path = place.dir().join("station.token");
    let failed = |source| StationError::File { path: path.clone(), source };
    if let Ok(text) = fs::read_to_string(&path) {
        let token = text.trim();
        if token.len() >= TOKEN_BYTES {
            fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(failed)?;
            return Ok(token.to_owned());
        }
    }
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| failed(std::io::Error::other(error.to_string())))?;
    let token = BASE32_NOPAD.encode(&bytes).to_ascii_lowercase();
    durable::write(&path, format!("{token}\n").as_bytes()).map_err(failed)?;
    Ok(token)
}

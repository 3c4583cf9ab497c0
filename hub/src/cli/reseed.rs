//! `reseed NAME`: orders a device to make its file anew from the hub's rows.

use super::invite::{perform, unexpected};
use super::{CliError, Place, output};
use crate::control::{Reply, Request};
use serde_json::json;

pub(super) fn order(place: &Place, name: String) -> Result<(), CliError> {
    match perform(place, Request::Reseed { name: name.clone() })? {
        Reply::Ordered { device } if place.json => {
            Ok(output::json(&json!({ "name": name, "device": device, "ordered": true }))?)
        }
        Reply::Ordered { device } => Ok(output::text(&format!(
            "{name} (device {device}) hands in what it has and then takes the hub's rows anew, now or when it comes back; \
             `tt-hub edges` shows the order until it is done\n"
        ))?),
        other => Err(unexpected(other)),
    }
}

//! Names of devices by their numbers, in both directions.

use super::ViewError;
use crate::devices;
use rusqlite::Connection;
use std::collections::BTreeMap;

/// Names of the devices by number.
pub(crate) struct Names(BTreeMap<u16, String>);

impl Names {
    pub(crate) fn read(conn: &Connection) -> Result<Self, ViewError> {
        let devices = devices::list(conn)?.into_iter();
        Ok(Self(devices.map(|device| (device.device.0, device.name)).collect()))
    }

    pub(crate) fn of(&self, device: u16) -> String {
        match self.0.get(&device) {
            Some(name) => name.clone(),
            None if device == 0 => "hub".to_owned(),
            None => format!("device {device}"),
        }
    }

    /// All devices that have or had this name.
    pub(crate) fn numbers(&self, name: &str) -> Result<Vec<u16>, ViewError> {
        let known = self.0.keys().copied().filter(|device| self.of(*device) == name);
        let mut numbers: Vec<u16> = known.chain((name == "hub").then_some(0)).collect();
        numbers.extend(name.strip_prefix("device ").and_then(|number| number.parse::<u16>().ok()));
        if numbers.is_empty() {
            return Err(ViewError::NoDevice(name.to_owned()));
        }
        Ok(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_every_device_that_has_had_it() {
        let names =
            Names([(1, "a"), (2, "b"), (3, "a")].map(|(device, name)| (device, name.to_owned())).into());
        assert_eq!(names.numbers("a").unwrap(), [1, 3]);
        assert_eq!(names.numbers("hub").unwrap(), [0]);
        assert_eq!(names.numbers("device 9").unwrap(), [9]);
        assert!(names.numbers("c").unwrap_err().to_string().contains("no device `c`"));
    }
}

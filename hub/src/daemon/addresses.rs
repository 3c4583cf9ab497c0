//! `hub.addr.json`: where the running hub listens, for scripts that chose port 0.

use super::DaemonError;
use crate::folder::Folder;
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use tt_migrations::durable;

/// The file; a clean exit removes it.
pub(super) struct AddressFile(PathBuf);

impl AddressFile {
    pub(super) fn write(folder: &Folder, quic: SocketAddr, http: SocketAddr) -> Result<Self, DaemonError> {
        let path = folder.addresses();
        let text = json!({
            "quic": quic.to_string(),
            "http": http.to_string(),
            "pid": std::process::id(),
        });
        match durable::write(&path, format!("{text}\n").as_bytes()) {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(DaemonError::File { what: "write", path, source }),
        }
    }
}

impl Drop for AddressFile {
    fn drop(&mut self) {
        // What is left behind names a process that is gone; the next start replaces it.
        let _ = std::fs::remove_file(&self.0);
    }
}

//! Who this device is: its key, its certificate, the hub's authority and where the hub listens.
//!
//! * `DIR/identity` holds `device.key` (for this user alone), `device.crt`, `ca.crt`, `link.json`.
//! * A new identity grows in `DIR/identity.joining`, its key first, so that a join whose reply was
//!   lost is repeated with the same key; `link.json` is written last, and then the folders swap. So
//!   there is always one whole identity or none.
//! * Sequence and device numbers that must agree with rows live in the database file, not here.

mod files;

use rcgen::KeyPair;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use tt_protocol::enrol::{Enrolled, KeyAlgorithm, PublicKey};
use tt_protocol::link::{AddressError, check_address};
use tt_protocol::number::EdgeId;

const FOLDER: &str = "identity";
const JOINING: &str = "identity.joining";
const OLD: &str = "identity.old";
const LINK: &str = "link.json";

/// Why the identity cannot be loaded or kept.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is none.
    #[error(
        "this device has not joined a hub ({0} is missing): run `tt-edge join TOKEN` with a token from `tt-hub invite NAME`"
    )]
    NotJoined(PathBuf),
    /// A file of it is gone.
    #[error(
        "{0} is missing although this device has joined: bring the file back, or join again with a new token (`tt-hub invite NAME --replace`)"
    )]
    Missing(PathBuf),
    /// A file of it holds something else.
    #[error("{path} is damaged ({what}): join again with a new token (`tt-hub invite NAME --replace`)", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The key is readable by others.
    #[error("{path} can be read by others (mode {mode:03o}): run `chmod 600 {path}`", path = .path.display())]
    Permissions {
        /// The key.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {source}; check that tt-edge runs as the owner of its folder", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: {source}; check the folder's owner and the free space", path = .path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The machine gave no randomness.
    #[error("cannot make a key: {0}")]
    Key(#[from] rcgen::Error),
    /// An address that is none.
    #[error(transparent)]
    Address(#[from] AddressError),
}

/// The device's key pair. The private half never leaves the device.
pub struct DeviceKey(KeyPair);

/// A whole identity.
#[derive(Debug)]
pub struct Identity {
    /// The device's name.
    pub name: String,
    /// What it may write.
    pub role: String,
    /// Its number at the hub.
    pub device: EdgeId,
    /// Where the hub listens, each `HOST:PORT`, the first to try first.
    pub addresses: Vec<String>,
    /// What it shows to the hub.
    pub certificate: CertificateDer<'static>,
    /// The only authority that it trusts.
    pub ca: CertificateDer<'static>,
    /// Its key.
    pub key: DeviceKey,
}

/// `link.json`.
#[derive(Serialize, Deserialize)]
struct Link {
    name: String,
    role: String,
    device: EdgeId,
    addresses: Vec<String>,
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("DeviceKey(hidden)")
    }
}

impl DeviceKey {
    /// The key for a join: the one of an earlier attempt that was not finished, or a new one, on disk
    /// before it is used.
    ///
    /// # Errors
    /// When it cannot be read, made or written.
    pub fn for_joining(dir: &Path) -> Result<Self, IdentityError> {
        files::finish_swap(dir)?;
        let path = dir.join(JOINING).join("device.key");
        match load_key(&path) {
            Err(IdentityError::Missing(_)) => {}
            loaded => return loaded,
        }
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
        files::make_folder(&dir.join(JOINING))?;
        files::write_durably(&path, key.serialize_pem().as_bytes())?;
        Ok(Self(key))
    }

    /// The half that the hub signs.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey { algorithm: KeyAlgorithm::Ed25519, bytes: self.0.public_key_raw().to_vec() }
    }

    /// The key in the form that TLS takes.
    #[must_use]
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.0.serialize_der().into())
    }
}

impl Identity {
    /// Loads the identity in `dir`.
    ///
    /// # Errors
    /// When the device has not joined, or a file is missing or damaged.
    pub fn load(dir: &Path) -> Result<Self, IdentityError> {
        files::finish_swap(dir)?;
        let folder = dir.join(FOLDER);
        if !folder.is_dir() {
            return Err(IdentityError::NotJoined(folder));
        }
        let path = folder.join(LINK);
        let link: Link = serde_json::from_str(&files::read(&path)?)
            .map_err(|error| IdentityError::Damaged { path, what: error.to_string() })?;
        Ok(Self {
            name: link.name,
            role: link.role,
            device: link.device,
            addresses: link.addresses,
            certificate: load_certificate(&folder.join("device.crt"))?,
            ca: load_certificate(&folder.join("ca.crt"))?,
            key: load_key(&folder.join("device.key"))?,
        })
    }

    /// Makes what the hub answered the identity in `dir`, in place of an older one. The key is the
    /// one of [`DeviceKey::for_joining`].
    ///
    /// # Errors
    /// When a file cannot be written; the older identity is then still whole.
    pub fn adopt(dir: &Path, enrolled: &Enrolled, ca: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let folder = dir.join(JOINING);
        let link = Link {
            name: enrolled.name.clone(),
            role: enrolled.role.clone(),
            device: enrolled.device,
            addresses: enrolled.addresses.clone(),
        };
        files::write_durably(&folder.join("device.crt"), pem(&enrolled.certificate).as_bytes())?;
        files::write_durably(&folder.join("ca.crt"), pem(ca).as_bytes())?;
        link.write(&folder)?;
        files::swap(dir)?;
        Self::load(dir)
    }

    /// Adds an address to try, as the first, and keeps it. Gives false when it is there already.
    ///
    /// # Errors
    /// When it is no address, or cannot be written.
    pub fn add_address(&mut self, dir: &Path, address: &str) -> Result<bool, IdentityError> {
        check_address(address)?;
        if self.addresses.iter().any(|known| known == address) {
            return Ok(false);
        }
        self.addresses.insert(0, address.to_owned());
        let Self { name, role, device, addresses, .. } = self;
        let (name, role, addresses) = (name.clone(), role.clone(), addresses.clone());
        Link { name, role, device: *device, addresses }.write(&dir.join(FOLDER))?;
        Ok(true)
    }
}

impl Link {
    fn write(&self, folder: &Path) -> Result<(), IdentityError> {
        let mut text = serde_json::to_string_pretty(self).expect("plain data can always be written");
        text.push('\n');
        files::write_durably(&folder.join(LINK), text.as_bytes())
    }
}

fn load_key(path: &Path) -> Result<DeviceKey, IdentityError> {
    let pem = files::read_private(path)?;
    let key = KeyPair::from_pem(&pem).map_err(|error| damaged(path, &error))?;
    Ok(DeviceKey(key))
}

fn load_certificate(path: &Path) -> Result<CertificateDer<'static>, IdentityError> {
    CertificateDer::from_pem_slice(files::read(path)?.as_bytes()).map_err(|error| damaged(path, &error))
}

fn damaged(path: &Path, what: &impl ToString) -> IdentityError {
    IdentityError::Damaged { path: path.to_owned(), what: what.to_string() }
}

fn pem(der: &[u8]) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    let encoded = data_encoding::BASE64.encode(der);
    for line in encoded.as_bytes().chunks(64) {
        text.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}

#[cfg(test)]
mod tests;

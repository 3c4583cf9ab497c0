//! The hub's own certificate authority: it says who the hub is and which devices are enrolled.
//!
//! * `DIR/ca` holds `ca.key`, `ca.crt`, `hub.key`, `hub.crt`; the keys are for the hub's user alone.
//! * Certificates are valid from 1975 to 4096, because the clock of a device is not trusted: who is
//!   cut off is decided by the list of devices, never by time.
//! * `ca.crt` is written last, so it exists only when everything else does.
//!
//! Whoever has `ca.key` can pose as any device. It never leaves this folder and never reaches a log.

mod files;
mod issue;

use data_encoding::HEXLOWER;
use rcgen::{Issuer, KeyPair, PublicKeyData};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::{Path, PathBuf};
use tt_protocol::enrol::PublicKey;
use tt_protocol::number::EdgeId;

/// Why the authority cannot be made, loaded or used.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// There is one already.
    #[error(
        "{0} exists already: this hub has its own authority, and a new one would lock out all its devices; \
         remove the folder only if no device was ever enrolled"
    )]
    Exists(PathBuf),
    /// A file is not there.
    #[error("{0} is missing: run `tt-hub init`, or bring the `ca` folder back from where the hub came from")]
    Missing(PathBuf),
    /// A key is readable by others.
    #[error("{path} can be read by others (mode {mode:03o}): run `chmod 600 {path}`; if strangers could log in here, make a new hub", path = .path.display())]
    Permissions {
        /// The key.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {source}; check that the hub runs as the owner of its folder", path = .path.display())]
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
    /// A file holds something else.
    #[error("{path} is damaged ({what}): bring the `ca` folder back from where it was last whole", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A device offers a key that is none.
    #[error(
        "the device's public key has {0} bytes where an Ed25519 key has 32: the device runs another version"
    )]
    PublicKey(usize),
    /// The machine gave no randomness, or the signature failed.
    #[error("cannot make a key or certificate: {0}")]
    Issue(#[from] rcgen::Error),
}

/// The authority with its key, and the hub's own certificate.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    ca: CertificateDer<'static>,
    hub: CertificateDer<'static>,
    hub_key: PrivateKeyDer<'static>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// By what a hub is known: the SHA-256 of its CA certificate, in hexadecimal digits. None where there is none yet.
pub(crate) fn identity(dir: &Path) -> Option<String> {
    let ca = CertificateDer::from_pem_file(dir.join("ca").join("ca.crt")).ok()?;
    Some(HEXLOWER.encode(&Sha256::digest(&ca)))
}

impl Authority {
    /// Makes a new authority and the hub's certificate in `dir/ca`.
    ///
    /// # Errors
    /// When there is one already, or a file cannot be written.
    pub fn create(dir: &Path) -> Result<Self, CaError> {
        let folder = dir.join("ca");
        let ca_path = folder.join("ca.crt");
        if ca_path.exists() {
            return Err(CaError::Exists(folder));
        }
        files::make_folder(&folder)?;
        let (ca_key, hub_key) = (issue::new_key()?, issue::new_key()?);
        let ca = issue::authority(&ca_key)?;
        let issuer = issue::issuer(ca_key);
        let hub = issue::hub(&issuer, &hub_key)?;
        files::write_durably(&folder.join("ca.key"), issuer.key().serialize_pem().as_bytes())?;
        files::write_durably(&folder.join("hub.key"), hub_key.serialize_pem().as_bytes())?;
        files::write_durably(&folder.join("hub.crt"), hub.pem().as_bytes())?;
        files::write_durably(&ca_path, ca.pem().as_bytes())?;
        Self::load(dir)
    }

    /// Loads the authority from `dir/ca`.
    ///
    /// # Errors
    /// When a file is missing, cannot be read, is damaged or does not belong to the others, or when
    /// a key can be read by others.
    pub fn load(dir: &Path) -> Result<Self, CaError> {
        let folder = dir.join("ca");
        let ca_key = load_key(&folder.join("ca.key"))?;
        let hub_key = load_key(&folder.join("hub.key"))?;
        let ca = load_certificate(&folder.join("ca.crt"), &ca_key)?;
        let hub = load_certificate(&folder.join("hub.crt"), &hub_key)?;
        let hub_key = PrivateKeyDer::Pkcs8(hub_key.into());
        Ok(Self { issuer: issue::issuer(ca_key), ca, hub, hub_key })
    }

    /// SHA-256 of the CA certificate in DER: what a token carries.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(&self.ca).into()
    }

    /// The CA certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.ca
    }

    /// What the hub shows to a device: its certificate, then the CA's, whose fingerprint a device that
    /// joins compares with its token.
    #[must_use]
    pub fn hub_chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.hub.clone(), self.ca.clone()]
    }

    /// The key of the hub's certificate.
    #[must_use]
    pub fn hub_key(&self) -> PrivateKeyDer<'static> {
        self.hub_key.clone_key()
    }

    /// Signs a device's certificate. The same device, name and key always give the same bytes, so a
    /// reply that was lost can be sent again.
    ///
    /// # Errors
    /// When the key is none.
    pub fn sign_device(
        &self,
        public_key: &PublicKey,
        device: EdgeId,
        name: &str,
    ) -> Result<CertificateDer<'static>, CaError> {
        issue::device(&self.issuer, public_key, device, name)
    }
}

fn load_key(path: &Path) -> Result<KeyPair, CaError> {
    let pem = files::read_private(path)?;
    KeyPair::from_pem(&pem).map_err(|error| CaError::Damaged {
        path: path.to_owned(),
        what: format!("not a private key: {error}"),
    })
}

/// Loads a certificate and checks that it belongs to the key beside it.
fn load_certificate(path: &Path, key: &KeyPair) -> Result<CertificateDer<'static>, CaError> {
    let damaged = |what: String| CaError::Damaged { path: path.to_owned(), what };
    let pem = files::read(path)?;
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| damaged(format!("not a certificate: {error}")))?;
    let parsed = ParsedCertificate::try_from(&certificate).map_err(|error| damaged(error.to_string()))?;
    if parsed.subject_public_key_info().as_ref() != key.subject_public_key_info().as_slice() {
        return Err(damaged("it does not belong to the key of the same name".into()));
    }
    Ok(certificate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use tt_protocol::enrol::KeyAlgorithm;

    fn public_key() -> PublicKey {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        PublicKey { algorithm: KeyAlgorithm::Ed25519, bytes: key.public_key_raw().to_vec() }
    }

    #[test]
    fn created_once_loaded_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let made = Authority::create(dir.path()).unwrap();
        let loaded = Authority::load(dir.path()).unwrap();
        assert_eq!(made.fingerprint(), loaded.fingerprint());
        assert_eq!(identity(dir.path()), Some(HEXLOWER.encode(&made.fingerprint())));
        assert_eq!(made.hub_chain(), loaded.hub_chain());
        assert!(matches!(Authority::create(dir.path()), Err(CaError::Exists(_))));
        for key in ["ca.key", "hub.key"] {
            let mode = fs::metadata(dir.path().join("ca").join(key)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{key}");
        }
        let left: Vec<_> = fs::read_dir(dir.path().join("ca")).unwrap().collect();
        assert_eq!(left.len(), 4, "no temporary file stays: {left:?}");
    }

    #[test]
    fn a_creation_cut_short_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        Authority::create(dir.path()).unwrap();
        fs::remove_file(dir.path().join("ca/ca.crt")).unwrap();
        assert!(matches!(Authority::load(dir.path()), Err(CaError::Missing(_))));
        Authority::create(dir.path()).unwrap();
    }

    #[test]
    fn certificates_repeat_for_one_device_and_differ_between_two() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(dir.path()).unwrap();
        let key = public_key();
        let first = authority.sign_device(&key, EdgeId(1), "station-1").unwrap();
        let again = Authority::load(dir.path()).unwrap().sign_device(&key, EdgeId(1), "station-1").unwrap();
        assert_eq!(first, again);
        assert_ne!(first, authority.sign_device(&key, EdgeId(2), "station-1").unwrap());
        let short = PublicKey { algorithm: KeyAlgorithm::Ed25519, bytes: vec![1; 31] };
        assert!(matches!(authority.sign_device(&short, EdgeId(3), "x"), Err(CaError::PublicKey(31))));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let dir = tempfile::tempdir().unwrap();
        Authority::create(dir.path()).unwrap();
        let (key, certificate) = (dir.path().join("ca/ca.key"), dir.path().join("ca/hub.crt"));
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Authority::load(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("ca.key") && error.contains("mode 640") && error.contains("chmod 600"),
            "{error}"
        );
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        fs::copy(dir.path().join("ca/ca.crt"), &certificate).unwrap();
        assert!(
            matches!(Authority::load(dir.path()), Err(CaError::Damaged { path, .. }) if path == certificate)
        );
        fs::write(&key, "nothing").unwrap();
        assert!(matches!(Authority::load(dir.path()), Err(CaError::Damaged { path, .. }) if path == key));
        fs::remove_file(&key).unwrap();
        assert!(Authority::load(dir.path()).unwrap_err().to_string().contains("tt-hub init"));
    }
}

//! Which fields each certificate has. All keys are Ed25519, all validity is 1975 to 4096.
//!
//! The extended key usages keep the kinds apart: a device's certificate cannot pose as the hub, and
//! the hub's cannot pose as a device.

use super::CaError;
use data_encoding::HEXLOWER;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use tt_protocol::enrol::{KeyAlgorithm, PublicKey};
use tt_protocol::link::SERVER_NAME;
use tt_protocol::number::EdgeId;

const ED25519_BYTES: usize = 32;

pub(super) fn new_key() -> Result<KeyPair, CaError> {
    Ok(KeyPair::generate_for(&PKCS_ED25519)?)
}

pub(super) fn authority(key: &KeyPair) -> Result<Certificate, CaError> {
    Ok(authority_fields(key).self_signed(key)?)
}

/// Whoever holds the key signs under the name that [`authority`] gave it.
pub(super) fn issuer(key: KeyPair) -> Issuer<'static, KeyPair> {
    Issuer::new(authority_fields(&key), key)
}

pub(super) fn hub(issuer: &Issuer<'static, KeyPair>, key: &KeyPair) -> Result<Certificate, CaError> {
    let mut fields = fields(SERVER_NAME);
    fields.subject_alt_names = CertificateParams::new([SERVER_NAME.to_owned()])?.subject_alt_names;
    fields.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(fields.signed_by(key, issuer)?)
}

pub(super) fn device(
    issuer: &Issuer<'static, KeyPair>,
    public_key: &PublicKey,
    device: EdgeId,
    name: &str,
) -> Result<CertificateDer<'static>, CaError> {
    let key = match public_key.algorithm {
        KeyAlgorithm::Ed25519 => DeviceKey(&public_key.bytes),
    };
    if key.0.len() != ED25519_BYTES {
        return Err(CaError::PublicKey(key.0.len()));
    }
    let mut fields = fields(name);
    // The device number makes the certificate unique, also when a device keeps its key under a new number.
    fields.serial_number = Some(SerialNumber::from(u64::from(device.0) + 1));
    fields.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(fields.signed_by(&key, issuer)?.into())
}

/// A name that follows from the key alone, so that the key file is all that signing needs, and that
/// differs between hubs, so that a certificate of another hub is told apart at once.
fn authority_fields(key: &KeyPair) -> CertificateParams {
    let digest = Sha256::digest(key.public_key_raw());
    let mut fields = fields(&format!("TabletTracker Sync {}", HEXLOWER.encode(&digest[..8])));
    fields.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    fields.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    fields
}

fn fields(common_name: &str) -> CertificateParams {
    let mut fields = CertificateParams::default();
    fields.not_before = date_time_ymd(1975, 1, 1);
    fields.not_after = date_time_ymd(4096, 1, 1);
    fields.distinguished_name = rcgen::DistinguishedName::new();
    fields.distinguished_name.push(DnType::CommonName, common_name);
    fields
}

/// A public key that came over the wire, for signing.
struct DeviceKey<'a>(&'a [u8]);

impl PublicKeyData for DeviceKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

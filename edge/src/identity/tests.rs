//! The life of an identity: joining, loading, an address more, joining again, and crashes between.

use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn enrolled(name: &str, device: u16) -> Enrolled {
    Enrolled {
        device: EdgeId(device),
        name: name.into(),
        role: "station".into(),
        certificate: vec![device.to_be_bytes()[1]; 100],
        addresses: vec!["hub:4747".into()],
    }
}

fn joined(dir: &Path, name: &str, device: u16) -> Identity {
    DeviceKey::for_joining(dir).unwrap();
    Identity::adopt(dir, &enrolled(name, device), &CertificateDer::from(vec![9; 70])).unwrap()
}

#[test]
fn not_joined_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let error = Identity::load(dir.path()).unwrap_err().to_string();
    assert!(error.starts_with("this device has not joined a hub"), "{error}");
    assert!(error.contains("tt-edge join TOKEN"), "{error}");
}

#[test]
fn an_adopted_identity_is_loaded_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let key = DeviceKey::for_joining(dir.path()).unwrap().public_key();
    assert_eq!(key.bytes.len(), 32);
    assert_eq!(DeviceKey::for_joining(dir.path()).unwrap().public_key(), key, "kept until the join is done");
    joined(dir.path(), "station-1", 7);
    let identity = Identity::load(dir.path()).unwrap();
    assert_eq!((identity.name.as_str(), identity.device), ("station-1", EdgeId(7)));
    assert_eq!(
        (identity.certificate.as_ref(), identity.ca.as_ref()),
        ([7; 100].as_slice(), [9; 70].as_slice())
    );
    assert_eq!(identity.key.public_key(), key);
    let mode = fs::metadata(dir.path().join("identity/device.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_ne!(DeviceKey::for_joining(dir.path()).unwrap().public_key(), key, "the next join has a new key");
}

#[test]
fn joining_again_replaces_all_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let first = joined(dir.path(), "a", 1);
    let second = joined(dir.path(), "b", 2);
    assert_ne!(first.key.public_key(), second.key.public_key());
    assert_eq!(Identity::load(dir.path()).unwrap().name, "b");
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["identity"]);
}

#[test]
fn a_crash_between_the_renames_is_mended() {
    let dir = tempfile::tempdir().unwrap();
    joined(dir.path(), "a", 1);
    fs::create_dir(dir.path().join("identity.old")).unwrap();
    let status =
        std::process::Command::new("mv").current_dir(&dir).args(["identity", "identity.joining"]).status();
    assert!(status.unwrap().success());
    assert_eq!(Identity::load(dir.path()).unwrap().name, "a");
    assert!(!dir.path().join("identity.old").exists());
}

#[test]
fn an_address_is_added_once_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut identity = joined(dir.path(), "a", 1);
    assert!(identity.add_address(dir.path(), "10.0.0.7:4747").unwrap());
    assert!(!identity.add_address(dir.path(), "10.0.0.7:4747").unwrap());
    assert!(identity.add_address(dir.path(), "nonsense").is_err());
    assert_eq!(Identity::load(dir.path()).unwrap().addresses, ["10.0.0.7:4747", "hub:4747"]);
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let dir = tempfile::tempdir().unwrap();
    joined(dir.path(), "a", 1);
    let file = |name: &str| dir.path().join("identity").join(name);
    fs::set_permissions(file("device.key"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(Identity::load(dir.path()).unwrap_err().to_string().contains("chmod 600"));
    fs::set_permissions(file("device.key"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(file("ca.crt"), "nothing").unwrap();
    assert!(
        matches!(Identity::load(dir.path()), Err(IdentityError::Damaged { path, .. }) if path == file("ca.crt"))
    );
    fs::remove_file(file("ca.crt")).unwrap();
    assert!(
        matches!(Identity::load(dir.path()), Err(IdentityError::Missing(path)) if path == file("ca.crt"))
    );
    fs::write(file("link.json"), "{}").unwrap();
    assert!(matches!(Identity::load(dir.path()), Err(IdentityError::Damaged { .. })));
}

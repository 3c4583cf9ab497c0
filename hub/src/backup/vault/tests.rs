//! One conformance test for all vaults, and a vault in memory for worlds with faults.

use super::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A vault in memory. Clones share what they hold.
#[derive(Clone, Default)]
pub(crate) struct MemoryVault {
    pub(crate) name: String,
    pub(crate) files: Files,
    pub(crate) parts: Arc<Mutex<BTreeMap<String, Files>>>,
    /// It lets nothing be removed.
    pub(crate) keeps: bool,
}

struct MemoryUpload {
    files: Files,
    name: String,
    bytes: Vec<u8>,
}

impl Vault for MemoryVault {
    fn name(&self) -> &str {
        &self.name
    }

    fn place(&self) -> String {
        format!("memory of {}", self.name)
    }

    fn part(&self, name: &str) -> Box<dyn Vault> {
        let files = Arc::clone(self.parts.lock().unwrap().entry(name.to_owned()).or_default());
        Box::new(MemoryVault { name: self.name.clone(), files, keeps: self.keeps, ..MemoryVault::default() })
    }

    fn begin(&self, file: &str) -> io::Result<Box<dyn Upload + '_>> {
        if file.contains('/') || file.starts_with('.') || file.is_empty() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Box::new(MemoryUpload {
            files: Arc::clone(&self.files),
            name: file.to_owned(),
            bytes: Vec::new(),
        }))
    }

    fn read(&self, file: &str) -> io::Result<Box<dyn Read + '_>> {
        let bytes = self.files.lock().unwrap().get(file).cloned();
        Ok(Box::new(io::Cursor::new(bytes.ok_or(io::ErrorKind::NotFound)?)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files.lock().unwrap().keys().cloned().collect())
    }

    fn remove(&self, file: &str) -> io::Result<()> {
        if self.keeps {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.files.lock().unwrap().remove(file);
        Ok(())
    }

    fn space(&self) -> io::Result<Option<Space>> {
        Ok(None)
    }

    fn tidy(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for MemoryUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for MemoryUpload {
    fn commit(self: Box<Self>) -> io::Result<()> {
        self.files.lock().unwrap().insert(self.name, self.bytes);
        Ok(())
    }
}

/// What every vault must do.
pub(crate) fn conforms(vault: &dyn Vault) {
    assert_eq!(vault.list().unwrap(), [""; 0], "it begins empty");
    vault.tidy().unwrap();
    put(vault, "b", b"two").unwrap();
    put(vault, "a", b"one").unwrap();
    assert_eq!(vault.list().unwrap(), ["a", "b"]);
    let mut upload = vault.begin("c").unwrap();
    upload.write_all(b"thr").unwrap();
    assert_eq!(vault.list().unwrap(), ["a", "b"], "not before it is committed");
    assert_eq!(vault.read("c").err().unwrap().kind(), io::ErrorKind::NotFound);
    upload.write_all(b"ee").unwrap();
    upload.commit().unwrap();
    assert_eq!(get(vault, "c", 5).unwrap(), b"three");
    assert!(get(vault, "c", 4).is_err(), "longer than it can be");
    let mut dropped = vault.begin("a").unwrap();
    dropped.write_all(b"never").unwrap();
    drop(dropped);
    assert_eq!(get(vault, "a", 9).unwrap(), b"one", "a writer that gave up changed nothing");
    put(vault, "a", b"again").unwrap();
    assert_eq!(get(vault, "a", 9).unwrap(), b"again", "a commit replaces");
    let two: Vec<_> = ["d", "e"].map(|name| vault.begin(name).unwrap()).into_iter().collect();
    for mut upload in two {
        upload.write_all(&vec![7; 1 << 20]).unwrap();
        upload.commit().unwrap();
    }
    assert_eq!(get(vault, "e", 1 << 20).unwrap().len(), 1 << 20);
    vault.remove("b").unwrap();
    vault.remove("b").unwrap();
    vault.tidy().unwrap();
    assert_eq!(vault.list().unwrap(), ["a", "c", "d", "e"]);
    for name in ["", "../x", "a/b", ".hidden"] {
        assert!(vault.begin(name).is_err(), "{name:?}");
    }
    let part = vault.part("journal");
    assert_eq!(part.list().unwrap(), [""; 0], "a part of it begins empty");
    put(part.as_ref(), "a", b"another").unwrap();
    assert_eq!(get(vault.part("journal").as_ref(), "a", 9).unwrap(), b"another");
    assert_eq!(vault.list().unwrap(), ["a", "c", "d", "e"], "and is in no other list");
    assert!(!vault.name().is_empty() && !vault.place().is_empty());
}

#[test]
fn a_folder_is_a_vault() {
    let dir = tempfile::tempdir().unwrap();
    conforms(&FolderVault::new("own", &dir.path().join("not/there/yet"), true));
    std::fs::create_dir(dir.path().join("mounted")).unwrap();
    conforms(&FolderVault::new("disk", &dir.path().join("mounted"), false));
}

#[test]
fn memory_is_a_vault() {
    conforms(&MemoryVault { name: "memory".into(), ..MemoryVault::default() });
}

#[test]
fn a_disk_that_is_not_mounted_is_an_error_and_not_a_new_folder() {
    let dir = tempfile::tempdir().unwrap();
    let vault = FolderVault::new("disk", &dir.path().join("absent"), false);
    assert!(vault.list().is_err() && put(&vault, "a", b"x").is_err());
    assert!(!dir.path().join("absent").exists());
}

#[test]
fn what_a_crash_leaves_in_a_folder_is_not_listed_and_goes() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let vault = FolderVault::new("own", dir.path(), true);
    std::fs::write(dir.path().join(".a.db.gz.new"), "half").unwrap();
    std::fs::write(dir.path().join(".keep"), "not ours").unwrap();
    put(&vault, "a", b"one").unwrap();
    assert_eq!(vault.list().unwrap(), ["a"]);
    vault.tidy().unwrap();
    assert!(!dir.path().join(".a.db.gz.new").exists() && dir.path().join(".keep").exists());
    let mode = std::fs::metadata(dir.path().join("a")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

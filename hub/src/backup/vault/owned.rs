//! A vault that belongs to one hub, and says so in a small file of its own.
//!
//! * Two hubs in one vault would take each other's backups for their own: slots filled by the other, its copies restored,
//!   its journal overwritten. The second hub is refused.
//! * A folder outside the hub's own is often a mount point, which is there with and without its disk. Once it was
//!   written, the hub remembers it; where the mark is missing then, the disk is, and nothing is written below it.
//! * Reading is free: whoever has lost a hub reads any file of its vaults by name.

use super::{Upload, Vault, get, put};
use crate::space::Space;
use std::io::{self, ErrorKind, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tt_migrations::durable;

/// The file that says whose vault it is.
const MARK: &str = "tt-hub.id";
const MARK_BYTES_MAX: u64 = 4_096;

/// Who a vault belongs to, and whether it was here before.
pub(super) struct Owner {
    /// The SHA-256 of the hub's authority, in hexadecimal digits.
    hub: String,
    /// Where the hub remembers that it marked the vault; None where a missing mark means nothing.
    known: Option<PathBuf>,
    /// It is marked as ours. Of a far vault that is asked once.
    is_sure: AtomicBool,
}

/// A vault, or a part of one, of a hub.
pub(super) struct Owned {
    root: Arc<dyn Vault>,
    inner: Arc<dyn Vault>,
    owner: Arc<Owner>,
}

impl Owner {
    pub(super) const fn new(hub: String, known: Option<PathBuf>) -> Self {
        Self { hub, known, is_sure: AtomicBool::new(false) }
    }

    /// Whether it is marked; an error where it must not be used.
    fn is_marked(&self, root: &dyn Vault) -> io::Result<bool> {
        if root.is_far() && self.is_sure.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let mark = match get(root, MARK, MARK_BYTES_MAX) {
            Ok(mark) => mark,
            Err(error) if error.kind() == ErrorKind::NotFound => return self.may_be_marked(root),
            Err(error) => return Err(error),
        };
        if mark.split(|byte| *byte == b'\n').next() != Some(self.hub.as_bytes()) {
            return Err(io::Error::other(format!(
                "it belongs to another hub: give each hub a folder of its own, or, if that hub is gone for good, remove {MARK} there"
            )));
        }
        self.is_sure.store(true, Ordering::Relaxed);
        Ok(true)
    }

    fn may_be_marked(&self, root: &dyn Vault) -> io::Result<bool> {
        let Some(known) = &self.known else { return Ok(false) };
        match std::fs::read_to_string(known) {
            Ok(place) if place == root.place() => Err(io::Error::new(
                ErrorKind::NotFound,
                format!(
                    "{MARK} is not there, so this is not the disk that was: mount that one, or, if another takes its place, remove {}",
                    known.display()
                ),
            )),
            Ok(_) => Ok(false),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Marks it. Another thread of this hub may do so in the same moment.
    fn mark(&self, root: &dyn Vault) -> io::Result<()> {
        let text = format!(
            "{}\nThis vault belongs to the hub whose ca/ca.crt has this SHA-256. Another hub does not write here.\n",
            self.hub
        );
        if let Err(error) = put(root, MARK, text.as_bytes())
            && error.kind() != ErrorKind::AlreadyExists
            && !self.is_marked(root)?
        {
            return Err(error);
        }
        let Some(known) = &self.known else { return Ok(()) };
        known.parent().map_or(Ok(()), durable::make_folder)?;
        durable::write(known, root.place().as_bytes())
    }
}

impl Owned {
    pub(super) fn new(vault: Box<dyn Vault>, owner: Owner) -> Self {
        let root: Arc<dyn Vault> = vault.into();
        Self { inner: Arc::clone(&root), root, owner: Arc::new(owner) }
    }

    fn expect_ours(&self) -> io::Result<bool> {
        self.owner.is_marked(self.root.as_ref())
    }
}

impl Vault for Owned {
    fn name(&self) -> &str {
        self.root.name()
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn part(&self, name: &str) -> Box<dyn Vault> {
        let (root, owner) = (Arc::clone(&self.root), Arc::clone(&self.owner));
        Box::new(Self { root, inner: self.inner.part(name).into(), owner })
    }

    fn begin(&self, file: &str) -> io::Result<Box<dyn Upload + '_>> {
        if !self.expect_ours()? {
            self.owner.mark(self.root.as_ref())?;
        }
        self.inner.begin(file)
    }

    fn read(&self, file: &str) -> io::Result<Box<dyn Read + '_>> {
        self.inner.read(file)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let names = self.inner.list()?;
        self.expect_ours()?;
        Ok(names.into_iter().filter(|name| name != MARK).collect())
    }

    fn remove(&self, file: &str) -> io::Result<()> {
        self.expect_ours()?;
        self.inner.remove(file)
    }

    fn space(&self) -> io::Result<Option<Space>> {
        self.inner.space()
    }

    fn tidy(&self) -> io::Result<()> {
        self.expect_ours()?;
        self.inner.tidy()
    }

    fn is_far(&self) -> bool {
        self.inner.is_far()
    }
}

#[cfg(test)]
mod tests {
    use super::super::FolderVault;
    use super::super::tests::{MemoryVault, conforms};
    use super::*;
    use std::fs;
    use std::path::Path;

    fn owned(vault: impl Vault + 'static, hub: &str, known: Option<PathBuf>) -> Owned {
        Owned::new(Box::new(vault), Owner::new(hub.to_owned(), known))
    }

    fn disk(path: &Path) -> FolderVault {
        FolderVault::new("disk", path, false)
    }

    #[test]
    fn a_vault_of_a_hub_is_a_vault() {
        let memory = MemoryVault { name: "memory".into(), ..MemoryVault::default() };
        conforms(&owned(memory, "ours", None));
    }

    #[test]
    fn a_second_hub_neither_lists_nor_writes_nor_removes() {
        let memory = MemoryVault::default();
        let (one, two) = (owned(memory.clone(), "one", None), owned(memory.clone(), "two", None));
        assert_eq!(two.list().unwrap(), [""; 0], "nobody has written yet");
        put(one.part("journal").as_ref(), "first", b"1").unwrap();
        put(&one, "backup", b"2").unwrap();
        let refused = |outcome: io::Result<()>| {
            assert!(outcome.unwrap_err().to_string().contains("another hub"));
        };
        refused(two.list().map(drop));
        refused(two.part("journal").list().map(drop));
        refused(put(&two, "backup", b"3"));
        refused(put(two.part("journal").as_ref(), "first", b"3"));
        refused(two.remove("backup"));
        assert_eq!(get(&two, "backup", 9).unwrap(), b"2", "reading is free");
        assert_eq!(one.list().unwrap(), ["backup"]);
        memory.remove(MARK).unwrap();
        put(&two, "backup", b"3").unwrap();
        refused(one.list().map(drop));
    }

    #[test]
    fn below_a_mount_point_without_its_disk_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let (point, away) = (dir.path().join("mnt"), dir.path().join("away"));
        let known = dir.path().join("known/disk");
        let vault = owned(disk(&point), "ours", Some(known.clone()));
        fs::create_dir(&point).unwrap();
        put(&vault, "backup", b"1").unwrap();
        durable::put_in_place(&point, &away).unwrap();
        fs::create_dir(&point).unwrap();
        assert!(vault.list().unwrap_err().to_string().contains("not the disk that was"));
        assert!(put(&vault, "backup", b"2").is_err());
        assert!(put(vault.part("journal").as_ref(), "first", b"2").is_err());
        assert_eq!(fs::read_dir(&point).unwrap().count(), 0);
        let elsewhere = owned(disk(&away), "ours", Some(known.clone()));
        assert_eq!(elsewhere.list().unwrap(), ["backup"], "the same disk in another place");
        fs::remove_file(&known).unwrap();
        put(&vault, "backup", b"2").unwrap();
        assert_eq!(vault.list().unwrap(), ["backup"], "another disk takes its place");
    }
}

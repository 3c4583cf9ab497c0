//! A vault: one storage location for backups, and all that the pipeline asks of one.
//!
//! * A file is there whole or not at all: what was not committed is never in the list.
//! * Committing replaces what had the name.
//! * A vault knows nothing of backups; names and order are the pipeline's.

mod folder;
mod owned;
#[cfg(feature = "s3")]
mod s3;

#[cfg(test)]
pub(crate) mod tests;

use super::KNOWN;
use super::settings::{Place, VaultSettings};
use crate::ca;
use crate::folder::Folder;
use crate::space::Space;
pub(crate) use folder::FolderVault;
use owned::{Owned, Owner};
use std::io::{self, Read, Write};

/// A storage location.
pub(crate) trait Vault: Send + Sync {
    /// Its name in settings and messages.
    fn name(&self) -> &str;

    /// Where it is, for people.
    fn place(&self) -> String;

    /// A part of it with names of its own, which are in no other list.
    fn part(&self, name: &str) -> Box<dyn Vault>;

    /// Begins to write a file.
    fn begin(&self, file: &str) -> io::Result<Box<dyn Upload + '_>>;

    /// Opens a file to read it from its beginning.
    fn read(&self, file: &str) -> io::Result<Box<dyn Read + '_>>;

    /// Names of all files that are whole.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Removes a file; one that is not there is fine. Afterwards it stays removed.
    fn remove(&self, file: &str) -> io::Result<()>;

    /// Room on its disk; None where nobody can say.
    fn space(&self) -> io::Result<Option<Space>>;

    /// Removes what writers that never committed have left behind. Nobody else may be writing.
    fn tidy(&self) -> io::Result<()>;

    /// Whether it is on another machine, so that near ones are asked first and this one no oftener than it must.
    fn is_far(&self) -> bool {
        false
    }
}

/// A file that is being written. Dropped without a commit it never was.
pub(crate) trait Upload: Write {
    /// Puts the file under its name; after that it survives a crash.
    fn commit(self: Box<Self>) -> io::Result<()>;
}

/// A vault as the settings say, of the hub whose authority is in its folder. Nothing is read or written in it yet.
pub(crate) fn open(folder: &Folder, settings: &VaultSettings) -> Result<Box<dyn Vault>, String> {
    let (vault, is_elsewhere): (Box<dyn Vault>, bool) = match settings.place()? {
        // Only what is below our own folder may be made; a missing disk must stay missing.
        Place::Folder(path) => {
            let own = path.is_relative();
            (Box::new(FolderVault::new(&settings.name, &folder.path().join(path), own)), !own)
        }
        #[cfg(feature = "s3")]
        Place::Bucket(bucket) => (Box::new(s3::S3Vault::new(&settings.name, bucket, folder.path())), false),
        #[cfg(not(feature = "s3"))]
        Place::Bucket(_) => return Err(super::settings::NOT_BUILT_IN.to_owned()),
    };
    // Before there is an authority there is nobody to belong to.
    let Some(hub) = ca::identity(folder.path()) else { return Ok(vault) };
    let known = is_elsewhere.then(|| folder.backups().join(KNOWN).join(&settings.name));
    Ok(Box::new(Owned::new(vault, Owner::new(hub, known))))
}

/// Writes a small file whole.
pub(crate) fn put(vault: &dyn Vault, file: &str, bytes: &[u8]) -> io::Result<()> {
    let mut upload = vault.begin(file)?;
    upload.write_all(bytes)?;
    upload.commit()
}

/// Reads a small file whole; a longer one is an error.
pub(crate) fn get(vault: &dyn Vault, file: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    vault.read(file)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{file} is longer than it can be")));
    }
    Ok(bytes)
}

//! A vault that is a folder: a disk of this machine, or one that is mounted.
//!
//! Temporary name in the same folder, write, fsync, rename, fsync the folder. A folder below the hub's own is
//! made when it is not there; any other must be there, because what is missing then is a disk that nobody has
//! mounted, and a backup on the disk below its mount point is none.

use super::{Upload, Vault};
use crate::space::Space;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use tt_migrations::durable;

/// Names of files that are not whole begin and end so.
const UNFINISHED: (&str, &str) = (".", ".new");
const BUFFER_BYTES: usize = 256 << 10;
/// Handed to the disk at a time. With a whole backup at its end, a station's commit could wait for all of it.
const PIECE_BYTES: u64 = 4 << 20;

/// A folder as a vault.
#[derive(Clone, Debug)]
pub(crate) struct FolderVault {
    name: String,
    path: PathBuf,
    /// May be made when it is not there.
    own: bool,
    /// The folder that must be there when this one is made in it.
    above: Option<PathBuf>,
}

struct FolderUpload {
    file: Option<BufWriter<File>>,
    written: u64,
    /// Of those, what the disk has begun to write.
    begun: u64,
    temporary: PathBuf,
    path: PathBuf,
}

impl FolderVault {
    pub(crate) fn new(name: &str, path: &Path, own: bool) -> Self {
        Self { name: name.to_owned(), path: path.to_owned(), own, above: None }
    }

    fn file(&self, name: &str) -> io::Result<PathBuf> {
        if name.is_empty() || name.starts_with('.') || name.contains('/') {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{name:?} is no name for a file"),
            ));
        }
        Ok(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn may_be_made(&self) -> bool {
        self.own || self.above.as_ref().is_some_and(|above| above.is_dir())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        let entries = match fs::read_dir(&self.path) {
            // It is made when the first file is written.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.may_be_made() => return Ok(names),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            if let (Ok(name), true) = (entry.file_name().into_string(), entry.file_type()?.is_file()) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}

impl Vault for FolderVault {
    fn name(&self) -> &str {
        &self.name
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn part(&self, name: &str) -> Box<dyn Vault> {
        let Self { path, own, .. } = self;
        let above = Some(path.clone());
        Box::new(Self { name: self.name.clone(), path: path.join(name), own: *own, above })
    }

    fn begin(&self, file: &str) -> io::Result<Box<dyn Upload + '_>> {
        let path = self.file(file)?;
        if self.may_be_made() {
            durable::make_folder(&self.path)?;
        }
        let temporary = self.path.join(format!("{}{file}{}", UNFINISHED.0, UNFINISHED.1));
        // What an earlier attempt left may have another mode, or be a link to somewhere else.
        remove(&temporary)?;
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        let file = Some(BufWriter::with_capacity(BUFFER_BYTES, opened));
        Ok(Box::new(FolderUpload { file, written: 0, begun: 0, temporary, path }))
    }

    fn read(&self, file: &str) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(File::open(self.file(file)?)?))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names()?.into_iter().filter(|name| !name.starts_with('.')).collect())
    }

    fn remove(&self, file: &str) -> io::Result<()> {
        remove(&self.file(file)?)?;
        self.sync()
    }

    fn space(&self) -> io::Result<Option<Space>> {
        if !self.own && !self.path.is_dir() {
            // The disk below a mount point says nothing of the one that is not mounted.
            return Ok(None);
        }
        Space::of(&self.path).map(Some)
    }

    fn tidy(&self) -> io::Result<()> {
        for name in self.names()? {
            if name.starts_with(UNFINISHED.0) && name.ends_with(UNFINISHED.1) {
                remove(&self.path.join(name))?;
            }
        }
        Ok(())
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Write for FolderUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = self.file.as_mut().ok_or_else(closed)?;
        let written = file.write(bytes)?;
        self.written += written as u64;
        if self.written - self.begun >= PIECE_BYTES {
            file.flush()?;
            begin_writing(file.get_ref(), self.begun);
            self.begun = self.written;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or_else(|| Err(closed()), Write::flush)
    }
}

/// The system begins to write what it has of the file from there on, and does not wait for it. What the disk has already
/// it forgets, so that whoever reads it back asks the disk (`posix_fadvise(2)`).
fn begin_writing(file: &File, from: u64) {
    // It is advice: where it is not taken, the file is written all the same.
    let _ = rustix::fs::fadvise(file, from, None, rustix::fs::Advice::DontNeed);
}

fn closed() -> io::Error {
    io::Error::other("the file was committed already")
}

impl Upload for FolderUpload {
    fn commit(mut self: Box<Self>) -> io::Result<()> {
        let file = self.file.take().ok_or_else(closed)?;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        begin_writing(&file, 0);
        durable::put_in_place(&self.temporary, &self.path)
    }
}

impl Drop for FolderUpload {
    fn drop(&mut self) {
        // After a commit nothing has this name any more; what cannot be removed goes with the next tidy.
        let _ = remove(&self.temporary);
    }
}

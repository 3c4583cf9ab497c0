//! A vault that is a bucket of an S3-compatible store, or a part of one.
//!
//! * A small file is one PUT. A larger one is an upload in parts, which is nothing until it is completed.
//! * No more of a file than one part is in memory, when it is written as when it is read.
//! * Nothing is asked of the store before the first file: it may be away when the hub starts.
//! * The layout is that of a folder: `prefix/file`, and `prefix/part/file` for a part of the vault.

mod answer;
mod client;
mod credentials;
mod reading;
mod sign;
#[cfg(test)]
mod tests;
mod upload;

use super::{Upload, Vault};
use crate::backup::settings::S3Settings;
use crate::space::Space;
use answer::Page;
use client::{Answer, Ask, Client};
use credentials::Origin;
use reading::S3Reading;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use upload::S3Upload;
use ureq::http::Method;

/// A bucket as a vault.
#[derive(Clone)]
pub(crate) struct S3Vault {
    name: String,
    bucket: String,
    /// Empty, or with a slash at its end.
    prefix: String,
    client: Arc<Client>,
}

impl S3Vault {
    /// Relative paths of the settings are below `folder`.
    pub(crate) fn new(name: &str, settings: &S3Settings, folder: &Path) -> Self {
        Self::patient(name, settings, folder, client::PATIENCE)
    }

    fn patient(name: &str, settings: &S3Settings, folder: &Path, patience: client::Patience) -> Self {
        let origin = settings.credentials.as_ref().map(|path| Origin::File(folder.join(path)));
        let ca = settings.ca.as_ref().map(|path| folder.join(path));
        let settings = S3Settings { ca, ..settings.clone() };
        let prefix = if settings.prefix.is_empty() { String::new() } else { format!("{}/", settings.prefix) };
        let bucket = settings.bucket.clone();
        let client = Arc::new(Client::new(settings, origin.unwrap_or(Origin::Environment), patience));
        Self { name: name.to_owned(), bucket, prefix, client }
    }

    fn key(&self, file: &str) -> io::Result<String> {
        if file.is_empty() || file.starts_with('.') || file.contains('/') {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{file:?} is no name for a file"),
            ));
        }
        Ok(format!("{}{file}", self.prefix))
    }

    /// The name of a file of this part by its key; None for what is in another part, or is not ours.
    fn file<'k>(&self, key: &'k str) -> Option<&'k str> {
        let file = key.strip_prefix(&self.prefix)?;
        (!file.is_empty() && !file.contains('/') && !file.starts_with('.')).then_some(file)
    }

    /// All pages of a list.
    fn pages<T>(
        &self,
        what: &[(&'static str, &str)],
        read: impl Fn(&str) -> io::Result<Page<T>>,
    ) -> io::Result<Vec<T>> {
        let (mut found, mut next) = (Vec::new(), Vec::new());
        loop {
            let mut ask = Ask::new(Method::GET, "").with("prefix", &self.prefix).with("delimiter", "/");
            for (name, value) in what {
                ask = ask.with(name, *value);
            }
            ask.query.append(&mut next);
            let page = read(self.client.ask(&ask)?.text()?)?;
            found.extend(page.found);
            match page.next {
                Some(more) => next = more,
                None => return Ok(found),
            }
        }
    }

    fn abort(&self, key: &str, id: &str) -> io::Result<()> {
        gone(self.client.ask(&Ask::new(Method::DELETE, key).with("uploadId", id)))
    }
}

/// What is not there is removed.
fn gone(answer: io::Result<Answer>) -> io::Result<()> {
    match answer {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Vault for S3Vault {
    fn name(&self) -> &str {
        &self.name
    }

    fn place(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix.trim_end_matches('/'))
    }

    fn part(&self, name: &str) -> Box<dyn Vault> {
        Box::new(Self { prefix: format!("{}{name}/", self.prefix), ..self.clone() })
    }

    fn begin(&self, file: &str) -> io::Result<Box<dyn Upload + '_>> {
        Ok(Box::new(S3Upload::new(self, self.key(file)?)))
    }

    fn read(&self, file: &str) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(S3Reading::open(&self.client, self.key(file)?)?))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let keys = self.pages(&[("list-type", "2")], answer::keys)?;
        let mut names: Vec<String> =
            keys.iter().filter_map(|key| self.file(key)).map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    fn remove(&self, file: &str) -> io::Result<()> {
        gone(self.client.ask(&Ask::new(Method::DELETE, &self.key(file)?)))
    }

    fn space(&self) -> io::Result<Option<Space>> {
        Ok(None)
    }

    fn tidy(&self) -> io::Result<()> {
        let uploads = match self.pages(&[("uploads", "")], answer::uploads) {
            // A store that cannot list them has rules of its own for what was never completed.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(()),
            uploads => uploads?,
        };
        for (key, id) in &uploads {
            if self.file(key).is_some() {
                self.abort(key, id)?;
            }
        }
        Ok(())
    }

    fn is_far(&self) -> bool {
        true
    }
}

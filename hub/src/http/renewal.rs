//! Follows the files of HTTPS: whoever renews certificates need not start the hub again.
//!
//! * What the paths lead to is looked at every few seconds, and read again when it is another file or was written.
//!   Links are followed: who renews often moves a link.
//! * Certificate and key are two files, replaced one after the other. What cannot be used together is therefore told
//!   only when it is still so at the next look, once; connections have the old ones all the while.
//! * A connection keeps what it began with.

use super::tls::{TlsError, acceptor};
use crate::config::HttpTls;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

/// Between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// What tells one state of a file from another; None while it cannot be looked at.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// The files, and what connections get.
pub(crate) struct Renewal {
    folder: PathBuf,
    settings: HttpTls,
    newest: watch::Sender<TlsAcceptor>,
    /// Of the files that are in use.
    used: Vec<Stamp>,
    unfit: Option<Unfit>,
}

/// Files that cannot be used.
struct Unfit {
    stamps: Vec<Stamp>,
    is_told: bool,
}

/// What a look at the files came to.
#[derive(Debug)]
enum Found {
    /// Nothing to tell.
    Nothing,
    /// Connections get the new ones from now on.
    Renewed,
    /// They have been as they are for a while, and cannot be used.
    Unfit(TlsError),
}

impl Renewal {
    /// Reads the files for the first time.
    pub(crate) fn begin(folder: &Path, settings: &HttpTls) -> Result<Self, TlsError> {
        let used = stamps(folder, settings);
        let newest = watch::Sender::new(acceptor(folder, settings)?);
        Ok(Self { folder: folder.to_owned(), settings: settings.clone(), newest, used, unfit: None })
    }

    /// Goes on looking until the daemon ends. Gives what holds the newest that can be used.
    pub(super) fn follow(mut self) -> watch::Receiver<TlsAcceptor> {
        let newest = self.newest.subscribe();
        tokio::spawn(async move {
            loop {
                sleep(LOOK_EVERY).await;
                // A disk that does not answer holds up this task and no connection.
                let Ok((looked, found)) = spawn_blocking(move || {
                    let found = self.look();
                    (self, found)
                })
                .await
                else {
                    return;
                };
                self = looked;
                match found {
                    Found::Nothing => {}
                    Found::Renewed => tracing::info!("the page has a new certificate"),
                    Found::Unfit(error) => {
                        tracing::warn!(%error, "the page goes on with the certificate that it had");
                    }
                }
            }
        });
        newest
    }

    fn look(&mut self) -> Found {
        let stamps = stamps(&self.folder, &self.settings);
        if stamps == self.used {
            self.unfit = None;
            return Found::Nothing;
        }
        let known = self.unfit.take_if(|unfit| unfit.stamps == stamps);
        if known.as_ref().is_some_and(|unfit| unfit.is_told) {
            self.unfit = known;
            return Found::Nothing;
        }
        match acceptor(&self.folder, &self.settings) {
            Ok(acceptor) => {
                self.newest.send_replace(acceptor);
                (self.used, self.unfit) = (stamps, None);
                Found::Renewed
            }
            Err(error) => {
                self.unfit = Some(Unfit { stamps, is_told: known.is_some() });
                if known.is_some() { Found::Unfit(error) } else { Found::Nothing }
            }
        }
    }
}

/// Whether what the files hold now can be used.
pub(crate) fn fit(folder: &Path, settings: &HttpTls) -> Result<(), TlsError> {
    acceptor(folder, settings).map(|_| ())
}

fn stamps(folder: &Path, settings: &HttpTls) -> Vec<Stamp> {
    let files = [Some(&settings.certificate), Some(&settings.key), settings.client_ca.as_ref()];
    files.into_iter().flatten().map(|file| stamp(&folder.join(file))).collect()
}

fn stamp(path: &Path) -> Stamp {
    let of = fs::metadata(path).ok()?;
    Some((of.dev(), of.ino(), of.len(), of.ctime(), of.ctime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    fn write(folder: &Path) -> String {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["hub".to_owned()]).unwrap().self_signed(&key).unwrap();
        fs::write(folder.join("certificate"), certificate.pem()).unwrap();
        key.serialize_pem()
    }

    fn begun() -> (tempfile::TempDir, Renewal) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("key"), write(dir.path())).unwrap();
        let settings = HttpTls { certificate: "certificate".into(), key: "key".into(), client_ca: None };
        let renewal = Renewal::begin(dir.path(), &settings).unwrap();
        (dir, renewal)
    }

    #[test]
    fn new_files_are_taken_over_once_they_belong_together() {
        let (dir, mut renewal) = begun();
        let newest = renewal.newest.subscribe();
        assert!(matches!(renewal.look(), Found::Nothing), "nothing has changed");
        let key = write(dir.path());
        assert!(matches!(renewal.look(), Found::Nothing), "the key may be on its way");
        assert!(!newest.has_changed().unwrap());
        fs::write(dir.path().join("key"), key).unwrap();
        assert!(matches!(renewal.look(), Found::Renewed) && newest.has_changed().unwrap());
        assert!(matches!(renewal.look(), Found::Nothing));
    }

    #[test]
    fn files_that_stay_unfit_are_told_once_and_a_new_fault_again() {
        let (dir, mut renewal) = begun();
        fs::remove_file(dir.path().join("key")).unwrap();
        assert!(matches!(renewal.look(), Found::Nothing));
        assert!(matches!(renewal.look(), Found::Unfit(TlsError::File { .. })));
        assert!(matches!(renewal.look(), Found::Nothing), "it is told");
        fs::write(dir.path().join("key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
        assert!(matches!(renewal.look(), Found::Nothing));
        assert!(matches!(renewal.look(), Found::Unfit(TlsError::Pair(_))));
        let key = write(dir.path());
        fs::write(dir.path().join("key"), key).unwrap();
        assert!(matches!(renewal.look(), Found::Renewed));
    }
}

//! The daemon's settings in `hub.toml`: read when it starts, and kept up to date by `--advertise`.
//!
//! The file belongs to the operator: a change of ours touches one value and leaves comments alone.

use crate::backup;
use crate::folder::Folder;
use crate::store::history::Keep;
use crate::upkeep;
use serde::Deserialize;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use toml::Spanned;
use tt_migrations::durable;
use tt_protocol::link::{AddressError, check_address};

/// What `init` writes: every key with its default.
pub(crate) const DEFAULT: &str = include_str!("config/hub.toml");

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4747);
const HTTP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8787);

/// Settings of a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// Where devices connect.
    pub(crate) listen: SocketAddr,
    /// Where the operator's page, the API and the metrics are.
    pub(crate) http: SocketAddr,
    /// Names under which they may be asked besides this machine's own.
    pub(crate) http_names: Vec<String>,
    /// The certificate of the page; None: plain HTTP.
    pub(crate) http_tls: Option<HttpTls>,
    /// What tokens carry; empty: the listening address.
    pub(crate) advertise: Vec<String>,
    /// Tiers and vaults.
    pub(crate) backup: backup::Settings,
    /// How long the past is kept.
    pub(crate) retention: Keep,
    /// How long the journal is kept.
    pub(crate) journal: Journal,
    /// When statistics are made and free pages given back.
    pub(crate) maintenance: upkeep::Settings,
}

/// The `[http_tls]` part. Paths are relative to the hub's folder.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpTls {
    /// Its own certificate first, then those that lead to its authority.
    pub(crate) certificate: PathBuf,
    /// The private key.
    pub(crate) key: PathBuf,
    /// The authorities whose clients need no token.
    pub(crate) client_ca: Option<PathBuf>,
}

/// The `[journal]` part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Journal {
    /// Any moment of so many days can be brought back.
    pub(crate) keep_days: u32,
}

impl Default for Journal {
    fn default() -> Self {
        Self { keep_days: 35 }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    listen: Option<SocketAddr>,
    http: Option<SocketAddr>,
    #[serde(default)]
    http_names: Vec<String>,
    http_tls: Option<HttpTls>,
    advertise: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    backup: backup::Settings,
    #[serde(default)]
    journal: Journal,
    #[serde(default)]
    retention: Keep,
    #[serde(default)]
    maintenance: upkeep::Settings,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read or written.
    #[error("cannot use the settings {path}: {source}; check the file's owner and mode", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A line is wrong.
    #[error("{path}:{line}: {problem}; correct this line of the settings", path = .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The part about backups cannot work.
    #[error("{path}, [backup]: {problem}; correct the settings", path = .path.display())]
    Backup {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// An advertised address is none.
    #[error("--advertise and `advertise` in hub.toml: {0}")]
    Address(#[from] AddressError),
}

impl Config {
    /// Reads the settings; what is not there has its default.
    pub(crate) fn read(folder: &Folder) -> Result<Self, ConfigError> {
        let written = parse(folder, &text(folder)?)?;
        let config = Self {
            listen: written.listen.unwrap_or(LISTEN),
            http: written.http.unwrap_or(HTTP),
            http_names: written.http_names,
            http_tls: written.http_tls,
            advertise: written.advertise.map(Spanned::into_inner).unwrap_or_default(),
            backup: written.backup,
            journal: written.journal,
            retention: written.retention,
            maintenance: written.maintenance,
        };
        let refused = |problem| ConfigError::Backup { path: folder.config(), problem };
        config.backup.check().map_err(refused)?;
        for address in &config.advertise {
            check_address(address)?;
        }
        Ok(config)
    }

    /// Keeps the addresses that tokens carry.
    pub(crate) fn keep_advertised(
        &mut self,
        folder: &Folder,
        advertise: Vec<String>,
    ) -> Result<(), ConfigError> {
        for address in &advertise {
            check_address(address)?;
        }
        if advertise != self.advertise {
            let old = text(folder)?;
            let new = with_advertise(&old, &parse(folder, &old)?, &advertise);
            let path = folder.config();
            durable::write(&path, new.as_bytes()).map_err(|source| ConfigError::File { path, source })?;
            self.advertise = advertise;
        }
        Ok(())
    }

    /// What tokens carry when the daemon listens on `listening`.
    pub(crate) fn addresses(&self, listening: SocketAddr) -> Vec<String> {
        if self.advertise.is_empty() { vec![listening.to_string()] } else { self.advertise.clone() }
    }
}

fn text(folder: &Folder) -> Result<String, ConfigError> {
    let path = folder.config();
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(ConfigError::File { path, source }),
    }
}

fn parse(folder: &Folder, text: &str) -> Result<Written, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        ConfigError::Line {
            path: folder.config(),
            line: 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count(),
            problem: error.message().trim().replace('\n', ", "),
        }
    })
}

/// The same text with another list of addresses.
fn with_advertise(text: &str, written: &Written, advertise: &[String]) -> String {
    let quoted: Vec<String> = advertise.iter().map(|address| format!("{address:?}")).collect();
    let list = format!("[{}]", quoted.join(", "));
    let place = written.advertise.as_ref().map(Spanned::span);
    match place.and_then(|span| Some((text.get(..span.start)?, text.get(span.end..)?))) {
        Some((before, after)) => format!("{before}{list}{after}"),
        // Before all else: after a heading it would belong to that part.
        None => format!("advertise = {list}\n{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(text: &str) -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        std::fs::write(folder.config(), text).unwrap();
        (dir, folder)
    }

    #[test]
    fn the_written_defaults_are_the_defaults() {
        let (_dir, folder) = folder(DEFAULT);
        let written = Config::read(&folder).unwrap();
        std::fs::remove_file(folder.config()).unwrap();
        assert_eq!(written, Config::read(&folder).unwrap());
        assert_eq!(written.addresses(LISTEN), ["127.0.0.1:4747"], "without an advertised one");
    }

    #[test]
    fn an_advertised_address_is_kept_and_comments_stay() {
        for text in [DEFAULT, "# mine\nlisten = \"[::1]:1\" # here\n[backup] # ours\nzone = \"UTC\"", ""] {
            let (_dir, folder) = folder(text);
            let mut config = Config::read(&folder).unwrap();
            let listen = config.listen;
            config.keep_advertised(&folder, vec!["a:1".into(), "[::1]:2".into()]).unwrap();
            config.keep_advertised(&folder, vec!["b:3".into()]).unwrap();
            let read = Config::read(&folder).unwrap();
            assert_eq!((read.listen, read.advertise), (listen, vec!["b:3".to_owned()]));
            let kept = std::fs::read_to_string(folder.config()).unwrap();
            for comment in text.lines().filter(|line| line.contains('#')) {
                assert!(kept.contains(comment), "{comment}");
            }
        }
    }

    #[test]
    fn a_wrong_line_is_named() {
        let (_dir, folder) = folder("listen = \"127.0.0.1:1\"\n\nhtpp = \"x\"\n");
        let error = Config::read(&folder).unwrap_err().to_string();
        assert!(error.contains("hub.toml:3") && error.contains("htpp"), "{error}");
        std::fs::write(folder.config(), "advertise = [\"hub\"]").unwrap();
        assert!(Config::read(&folder).unwrap_err().to_string().contains("HOST:PORT"));
    }
}

//! Who may ask: everybody on this machine, or whoever has the token.
//!
//! * On a loopback address under a loopback name, no token is asked for.
//! * Else there is one, in `DIR/http.token`, made at the first start. A browser gets a cookie for it, from which
//!   the token cannot be told.
//! * Comparisons are between SHA-256 values and look at every byte, so that their time says nothing.

use crate::folder::Folder;
use axum::http::{HeaderMap, header};
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use tt_migrations::durable;

const COOKIE: &str = "tt_hub";
const TOKEN_BYTES_MAX: u64 = 1_024;

/// Why the token cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// The file cannot be read or made.
    #[error("cannot use {path}: {source}; check the owner and mode of the hub's folder", path = .path.display())]
    File { path: PathBuf, source: io::Error },
    /// Others may read it.
    #[error("others may read {path}: `chmod 600` it, or remove it so that a new one is made", path = .path.display())]
    Open { path: PathBuf },
    /// It is too short to keep anybody out.
    #[error("the token in {path} has less than 32 characters: remove the file, and a new one is made", path = .path.display())]
    Short { path: PathBuf },
    /// No randomness.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

/// Who may ask.
pub(crate) struct Access {
    /// SHA-256 of the token; none is needed without.
    token: Option<[u8; 32]>,
    cookie: String,
    /// Names under which the page may be asked besides those of this machine itself.
    names: Vec<String>,
    /// A browser is told to send the cookie over TLS alone.
    is_secret: bool,
}

impl Access {
    /// As the address and the settings demand it.
    pub(crate) fn open(folder: &Folder, address: SocketAddr, names: &[String]) -> Result<Self, TokenError> {
        let names: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        if address.ip().is_loopback() && names.is_empty() {
            return Ok(Self { token: None, cookie: String::new(), names, is_secret: false });
        }
        let token = token(folder.path().join("http.token"))?;
        let cookie = HEXLOWER.encode(&Sha256::digest(format!("cookie of {token}")));
        Ok(Self { token: Some(Sha256::digest(token).into()), cookie, names, is_secret: false })
    }

    /// The same over TLS, or not.
    pub(crate) const fn in_secret(mut self, is_secret: bool) -> Self {
        self.is_secret = is_secret;
        self
    }

    pub(super) const fn needs_token(&self) -> bool {
        self.token.is_some()
    }

    /// Whether this host may be asked: without a token only names of this machine, or a page elsewhere could make
    /// its own name lead here.
    pub(super) fn knows_host(&self, host: &str) -> bool {
        let name = host_name(host).to_ascii_lowercase();
        let own = name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        own || self.names.contains(&name) || (self.needs_token() && self.names.is_empty())
    }

    pub(super) fn is_token(&self, given: &str) -> bool {
        self.token.is_none_or(|token| equal(&token, &Sha256::digest(given.trim()).into()))
    }

    /// Whether the request carries the token or the cookie that was given for it.
    pub(super) fn lets_in(&self, headers: &HeaderMap) -> bool {
        if self.token.is_none() {
            return true;
        }
        let text = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
        let bearer = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs =
            cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let is_ours =
            |given: &str| equal(&Sha256::digest(given).into(), &Sha256::digest(&self.cookie).into());
        bearer.is_some_and(|given| self.is_token(given))
            || pairs.any(|(name, value)| name == COOKIE && is_ours(value))
    }

    /// The header that gives a browser its cookie.
    pub(super) fn set_cookie(&self) -> String {
        let secret = if self.is_secret { "; Secure" } else { "" };
        format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000{secret}", self.cookie)
    }
}

/// The host without its port.
fn host_name(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

fn equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |seen, (a, b)| seen | (a ^ b)) == 0
}

/// Reads the token, or makes one.
fn token(path: PathBuf) -> Result<String, TokenError> {
    use std::os::unix::fs::PermissionsExt as _;
    match std::fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return made(path),
        Err(source) => return Err(TokenError::File { path, source }),
        Ok(found) if found.permissions().mode() & 0o077 != 0 => return Err(TokenError::Open { path }),
        Ok(found) if found.len() > TOKEN_BYTES_MAX => return Err(TokenError::Short { path }),
        Ok(_) => {}
    }
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().to_owned(),
        Err(source) => return Err(TokenError::File { path, source }),
    };
    if text.len() < 32 { Err(TokenError::Short { path }) } else { Ok(text) }
}

fn made(path: PathBuf) -> Result<String, TokenError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(TokenError::Random)?;
    let text = HEXLOWER.encode(&bytes);
    match durable::write(&path, format!("{text}\n").as_bytes()) {
        Ok(()) => Ok(text),
        Err(source) => Err(TokenError::File { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_address_needs_no_token_and_knows_only_its_own_names() {
        let dir = tempfile::tempdir().unwrap();
        let access = Access::open(&Folder::new(dir.path()), "127.0.0.1:1".parse().unwrap(), &[]).unwrap();
        assert!(!access.needs_token() && access.lets_in(&HeaderMap::new()));
        for (host, known) in [
            ("localhost:8787", true),
            ("127.0.0.1", true),
            ("[::1]:8787", true),
            ("evil.example.com", false),
            ("127.0.0.1.evil.example.com:8787", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(access.knows_host(host), known, "{host}");
        }
        assert!(!dir.path().join("http.token").exists());
    }

    #[test]
    fn elsewhere_the_token_or_its_cookie_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Access::open(&Folder::new(dir.path()), "0.0.0.0:1".parse().unwrap(), &[]);
        let access = open().unwrap();
        let path = dir.path().join("http.token");
        let token = std::fs::read_to_string(&path).unwrap();
        assert!(!access.lets_in(&HeaderMap::new()) && access.is_token(&token) && !access.is_token("x"));
        let with = |name: &'static str, value: String| {
            HeaderMap::from_iter([(axum::http::HeaderName::from_static(name), value.parse().unwrap())])
        };
        assert!(access.lets_in(&with("authorization", format!("Bearer {}", token.trim()))));
        assert!(!access.lets_in(&with("authorization", "Bearer x".into())));
        let cookie = access.set_cookie().split(';').next().unwrap().to_owned();
        assert!(!cookie.contains(token.trim()));
        assert!(open().unwrap().lets_in(&with("cookie", format!("a=b; {cookie}"))), "after a start, too");
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(open(), Err(TokenError::Open { .. })));
    }
}

//! The two keys with which requests are signed: from a file that only its owner may read, or from the environment.
//!
//! They are read for each request, so that new keys need no new start. No error and no `Debug` shows what is in the
//! file; not even the parser's own words, which would quote it.

use serde::Deserialize;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Keys of a store.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: String,
    pub(super) session_token: Option<String>,
}

/// Where they are.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    File(PathBuf),
    Environment,
}

impl Origin {
    pub(super) fn read(&self) -> io::Result<Credentials> {
        let credentials = match self {
            Self::File(path) => from_file(path)?,
            Self::Environment => from_environment(|name| env::var(name).ok())?,
        };
        let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let Credentials { access_key_id, secret_access_key, session_token } = &credentials;
        if [Some(access_key_id), Some(secret_access_key), session_token.as_ref()]
            .iter()
            .flatten()
            .all(|text| is_plain(text))
        {
            Ok(credentials)
        } else {
            Err(refused("the keys of the store have blanks or nothing in them: copy them again".to_owned()))
        }
    }
}

fn refused(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, what)
}

fn from_file(path: &Path) -> io::Result<Credentials> {
    let shown = path.display();
    let failed = |error: io::Error| refused(format!("the credentials in {shown} cannot be read: {error}"));
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(refused(format!(
            "the credentials in {shown} can be read by others: chmod 600 {shown}, and change the keys if others may have"
        )));
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    toml::from_str(&text).map_err(|_| {
        refused(format!(
            "{shown} is not of the form: access_key_id = \"...\", and on a line of its own secret_access_key = \"...\""
        ))
    })
}

fn from_environment(get: impl Fn(&str) -> Option<String>) -> io::Result<Credentials> {
    let must = |name: &str| {
        get(name).ok_or_else(|| {
            refused(format!(
                "{name} is not in the environment of tt-hub: set it, or name a file with `credentials`"
            ))
        })
    };
    Ok(Credentials {
        access_key_id: must("AWS_ACCESS_KEY_ID")?,
        secret_access_key: must("AWS_SECRET_ACCESS_KEY")?,
        session_token: get("AWS_SESSION_TOKEN").filter(|token| !token.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_others_may_read_is_refused_and_nothing_quotes_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let origin = Origin::File(path.clone());
        let error = || origin.read().err().unwrap().to_string();
        assert!(error().contains("cannot be read"));
        fs::write(&path, "access_key_id = \"id\"\nsecret_access_key = \"hidden\"\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(error().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(origin.read().unwrap().secret_access_key, "hidden");
        for bad in [
            "secret_access_key = \"hidden",
            "hidden = \"hidden\"",
            "access_key_id = \"a\"\nsecret_access_key = \"hid den\"",
        ] {
            fs::write(&path, bad).unwrap();
            assert!(!error().contains("hid"), "{}", error());
        }
    }

    #[test]
    fn the_environment_is_the_other_place() {
        let set = |name: &str| name.starts_with("AWS_S").then(|| "value".to_owned());
        assert!(from_environment(set).err().unwrap().to_string().contains("AWS_ACCESS_KEY_ID"));
        let token = from_environment(|_| Some("value".to_owned())).unwrap().session_token;
        assert_eq!(token.as_deref(), Some("value"));
    }
}

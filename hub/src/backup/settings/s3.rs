//! What `hub.toml` says of a bucket of an S3-compatible store.
//!
//! It is read and checked by every hub, also by one that was built without the client, so that such a hub can say
//! how to build it in. Secrets are never here: only the name of the file that has them.

use serde::Deserialize;
use std::path::PathBuf;

/// Of hubs that were built without the client.
pub(crate) const NOT_BUILT_IN: &str = "this tt-hub was built without object stores: build it with `cargo build --release -p tt-hub --features s3`, or leave `s3` out";

/// A bucket, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct S3Settings {
    pub(crate) endpoint: String,
    pub(crate) bucket: String,
    #[serde(default)]
    pub(crate) prefix: String,
    #[serde(default = "region")]
    pub(crate) region: String,
    #[serde(default = "yes")]
    pub(crate) path_style: bool,
    /// A file with the two keys; without it they come from the environment. Relative ones are below the hub's folder.
    pub(crate) credentials: Option<PathBuf>,
    /// A file with the certificates that are trusted; without it those that the machine trusts.
    pub(crate) ca: Option<PathBuf>,
    /// Lets an endpoint that is not of this machine be without TLS.
    #[serde(default)]
    pub(crate) plain_http: bool,
}

fn region() -> String {
    "us-east-1".to_owned()
}

const fn yes() -> bool {
    true
}

impl S3Settings {
    /// What is wrong with the values, if anything.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.check_values()?;
        built_in(cfg!(feature = "s3"))
    }

    fn check_values(&self) -> Result<(), String> {
        let Self { endpoint, bucket, prefix, region, .. } = self;
        let (tls, authority) = self.authority().ok_or_else(|| {
            format!("endpoint = {endpoint:?} cannot be: write \"https://HOST\" or \"https://HOST:PORT\"")
        })?;
        if !tls && !self.plain_http && !is_loopback(authority) {
            return Err(format!(
                "endpoint = {endpoint:?} has no TLS: write https, or `plain_http = true` where the network itself is safe"
            ));
        }
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        if bucket.is_empty() || !bucket.chars().all(is_plain) {
            return Err(format!("bucket = {bucket:?} is no name for a bucket"));
        }
        let is_step =
            |step: &str| !step.is_empty() && step.chars().all(is_plain) && !step.trim_matches('.').is_empty();
        if !prefix.is_empty() && !prefix.split('/').all(is_step) {
            return Err(format!(
                "prefix = {prefix:?} cannot be: write it as \"site/hub\", with letters and digits"
            ));
        }
        if region.is_empty() || !region.chars().all(is_plain) {
            return Err(format!("region = {region:?} is no name for a region"));
        }
        Ok(())
    }

    /// Whether the endpoint has TLS, and its host with the port, if that is not the usual one.
    pub(crate) fn authority(&self) -> Option<(bool, &str)> {
        let (scheme, rest) = self.endpoint.split_once("://")?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (tls, usual) = match scheme {
            "https" => (true, ":443"),
            "http" => (false, ":80"),
            _ => return None,
        };
        let is_host = |letter: char| letter.is_ascii_alphanumeric() || "-_.:[]".contains(letter);
        let authority = authority.strip_suffix(usual).unwrap_or(authority);
        (!authority.is_empty() && authority.chars().all(is_host)).then_some((tls, authority))
    }
}

fn built_in(is: bool) -> Result<(), String> {
    if is { Ok(()) } else { Err(NOT_BUILT_IN.to_owned()) }
}

/// Whether this host is this machine.
pub(crate) fn is_loopback(authority: &str) -> bool {
    let port = |end: &str| end.is_empty() || end.starts_with(':');
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let is_v4 = host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    host == "localhost" || is_v4 || authority.strip_prefix("[::1]").is_some_and(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &str) -> S3Settings {
        toml::from_str(&format!("bucket = \"b\"\n{more}")).unwrap()
    }

    #[test]
    fn a_bucket_that_cannot_be_is_refused_with_a_reason() {
        for good in [
            "endpoint = \"https://s3.eu-central-1.amazonaws.com\"",
            "endpoint = \"http://127.0.0.1:9000/\"",
            "endpoint = \"http://[::1]:9000\"\nprefix = \"a/b\"",
            "endpoint = \"http://store.lan\"\nplain_http = true",
        ] {
            assert_eq!(read(good).check_values(), Ok(()), "{good}");
        }
        for (bad, said) in [
            ("endpoint = \"store.lan\"", "https://HOST"),
            ("endpoint = \"https://key:secret@store.lan\"", "https://HOST"),
            ("endpoint = \"https://store.lan/bucket\"", "https://HOST"),
            ("endpoint = \"http://store.lan\"", "plain_http"),
            ("endpoint = \"http://127.0.0.1.evil.example\"", "plain_http"),
            ("endpoint = \"https://store.lan\"\nprefix = \"a/../b\"", "prefix"),
            ("endpoint = \"https://store.lan\"\nprefix = \"/a\"", "prefix"),
            ("endpoint = \"https://store.lan\"\nregion = \"\"", "region"),
        ] {
            let error = read(bad).check_values().unwrap_err();
            assert!(error.contains(said), "{bad}: {error}");
        }
        let mut nameless = read("endpoint = \"https://store.lan\"");
        nameless.bucket = "a/b".to_owned();
        assert!(nameless.check_values().unwrap_err().contains("bucket"));
    }

    #[test]
    fn the_usual_port_is_left_out_as_it_is_signed() {
        assert_eq!(read("endpoint = \"https://store.lan:443\"").authority(), Some((true, "store.lan")));
        assert_eq!(read("endpoint = \"http://store.lan:9000\"").authority(), Some((false, "store.lan:9000")));
    }

    #[test]
    fn a_hub_without_the_client_says_how_to_build_it_in() {
        assert!(built_in(false).unwrap_err().contains("--features s3"));
        assert_eq!(built_in(true), Ok(()));
    }
}

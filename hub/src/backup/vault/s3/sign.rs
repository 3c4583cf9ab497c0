//! Signatures of requests, version 4, as Amazon describes them under "Signature Version 4 signing process". Pure: the
//! time and the keys are arguments.
//!
//! The hash of the body is signed with it, so that a store that gets other bytes refuses them.

use super::credentials::Credentials;
use data_encoding::HEXLOWER;
use ring::hmac;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// A request that is to be signed.
pub(super) struct Request<'r> {
    pub(super) method: &'r str,
    pub(super) host: &'r str,
    /// From the first slash on, encoded.
    pub(super) path: &'r str,
    /// Names and values, encoded, in the order of their names.
    pub(super) query: &'r str,
    /// Those that are signed besides the usual ones, by their names in small letters.
    pub(super) headers: &'r [(&'static str, String)],
    /// SHA-256 of the body in hexadecimal.
    pub(super) body: &'r str,
}

/// `YYYYMMDD'T'HHMMSS'Z'`.
pub(super) struct Moment(pub(super) String);

/// Every header that the request needs besides `host`, the signature last.
pub(super) fn headers(
    request: &Request<'_>,
    region: &str,
    credentials: &Credentials,
    at: &Moment,
) -> Vec<(&'static str, String)> {
    let mut headers = request.headers.to_vec();
    headers.push(("x-amz-content-sha256", request.body.to_owned()));
    headers.push(("x-amz-date", at.0.clone()));
    if let Some(token) = &credentials.session_token {
        headers.push(("x-amz-security-token", token.clone()));
    }
    let mut signed = headers.clone();
    signed.push(("host", request.host.to_owned()));
    signed.sort();
    let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let mut canonical = format!("{}\n{}\n{}\n", request.method, request.path, request.query);
    for (name, value) in &signed {
        let _ = writeln!(canonical, "{name}:{}", value.trim());
    }
    let _ = write!(canonical, "\n{names}\n{}", request.body);
    let day = at.0.split('T').next().unwrap_or_default();
    let scope = format!("{day}/{region}/s3/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", at.0, sha256(canonical.as_bytes()));
    let secret = format!("AWS4{}", credentials.secret_access_key);
    let key = [day, region, "s3", "aws4_request"]
        .iter()
        .fold(secret.into_bytes(), |key, part| mac(&key, part.as_bytes()));
    let signature = HEXLOWER.encode(&mac(&key, text.as_bytes()));
    let id = &credentials.access_key_id;
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}");
    headers.push(("authorization", authorization));
    headers
}

fn mac(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), bytes).as_ref().to_vec()
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

/// As a part of a path or a query; a slash stays one in a path.
pub(super) fn encoded(text: &str, slash: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (slash && byte == b'/') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples that Amazon gives with the description of the signature.
    fn signature(
        method: &str,
        path: &str,
        query: &str,
        headers: &[(&'static str, String)],
        body: &[u8],
    ) -> String {
        let credentials = Credentials {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            session_token: None,
        };
        let (host, body) = ("examplebucket.s3.amazonaws.com", sha256(body));
        let request = Request { method, host, path, query, headers, body: &body };
        let headers = super::headers(&request, "us-east-1", &credentials, &Moment("20130524T000000Z".into()));
        let (name, value) = headers.last().unwrap();
        assert_eq!(*name, "authorization");
        value.rsplit('=').next().unwrap().to_owned()
    }

    #[test]
    fn signatures_are_those_of_the_description() {
        let range = [("range", "bytes=0-9".to_owned())];
        assert_eq!(
            signature("GET", "/test.txt", "", &range, b""),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        let put = [
            ("date", "Fri, 24 May 2013 00:00:00 GMT".to_owned()),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY".to_owned()),
        ];
        assert_eq!(
            signature("PUT", "/test%24file.text", "", &put, b"Welcome to Amazon S3."),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
        assert_eq!(
            signature("GET", "/", "max-keys=2&prefix=J", &[], b""),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
        assert_eq!(encoded("a b/ü$~", true), "a%20b/%C3%BC%24~");
        assert_eq!(encoded("a/b", false), "a%2Fb");
    }
}

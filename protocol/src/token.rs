//! The join token: what the operator hands to a new device, as text or QR.
//!
//! * Text form: `tt1-`, then base32 without padding of the encoded token and the first four
//!   bytes of its SHA-256. Case and white space do not matter, because people copy
//!   it out of wrapped lines.
//! * It carries the fingerprint of the hub's own CA, so that the device needs to trust nothing else.
//! * The secret opens the hub once. It must never reach a log: its `Debug` form hides it.

use crate::frame::{from_bytes, to_bytes};
use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

const PREFIX: &str = "tt1-";
const CHECK_BYTES: usize = 4;

/// The one-time secret inside a token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(pub [u8; 16]);

impl Secret {
    /// What the hub stores instead of the secret.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(hidden)")
    }
}

/// What a device needs to enrol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Where the hub listens, each `HOST:PORT`, the most useful first.
    pub addresses: Vec<String>,
    /// SHA-256 of the hub's CA certificate in DER.
    pub ca_sha256: [u8; 32],
    /// Opens the hub once.
    pub secret: Secret,
    /// The name that the device will have.
    pub name: String,
}

/// Appended, never reordered: the bytes inside a token's text.
#[derive(Serialize, Deserialize)]
enum Versioned {
    V1(Token),
}

/// Why a text is not a join token.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Something else altogether.
    #[error("this is not a join token: it must begin with `{PREFIX}`, as `tt-hub invite NAME` prints it")]
    NotAToken,
    /// A character is wrong or missing.
    #[error("the token is damaged: check that all of it was copied")]
    Damaged,
    /// A hub of a later version made it.
    #[error("the token was made by a newer hub: update tt-edge on this device and try again")]
    Newer,
}

impl Token {
    /// The token as text, in lower case.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut bytes = to_bytes(&Versioned::V1(self.clone()));
        let check = Sha256::digest(&bytes);
        bytes.extend_from_slice(&check[..CHECK_BYTES]);
        format!("{PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }

    /// Reads a token from text that a person copied.
    ///
    /// # Errors
    /// When it is something else, damaged, or of a later version.
    pub fn decode(text: &str) -> Result<Self, TokenError> {
        let text: String = text.split_whitespace().collect::<String>().to_ascii_lowercase();
        let body = text.strip_prefix(PREFIX).ok_or_else(|| not_a_token(&text))?;
        let bytes =
            BASE32_NOPAD.decode(body.to_ascii_uppercase().as_bytes()).map_err(|_| TokenError::Damaged)?;
        let (content, check) = bytes.split_last_chunk::<CHECK_BYTES>().ok_or(TokenError::Damaged)?;
        if Sha256::digest(content)[..CHECK_BYTES] != *check {
            return Err(TokenError::Damaged);
        }
        // The checksum holds, so what cannot be read was written by somebody who knows more.
        let Versioned::V1(token) = from_bytes(content).map_err(|_| TokenError::Newer)?;
        Ok(token)
    }
}

/// A later text form would begin with `tt2-` and so on.
fn not_a_token(text: &str) -> TokenError {
    let number = text.strip_prefix("tt").and_then(|rest| rest.split_once('-')).map(|(number, _)| number);
    match number.and_then(|number| number.parse::<u16>().ok()) {
        Some(2..) => TokenError::Newer,
        _ => TokenError::NotAToken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token {
            addresses: vec!["hub.example.com:4747".into(), "10.0.0.7:4747".into()],
            ca_sha256: [7; 32],
            secret: Secret([9; 16]),
            name: "station-1".into(),
        }
    }

    #[test]
    fn survives_the_way_through_a_person() {
        let text = token().encode();
        assert!(
            text.starts_with(PREFIX) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        );
        let (front, back) = text.split_at(40);
        for copied in [text.clone(), text.to_uppercase(), format!("  {front}\n {back}\r\n")] {
            assert_eq!(Token::decode(&copied), Ok(token()));
        }
    }

    #[test]
    fn every_single_mistake_is_noticed() {
        let text = token().encode();
        for place in PREFIX.len()..text.len() {
            let mut other = text.clone().into_bytes();
            other[place] = if other[place] == b'a' { b'b' } else { b'a' };
            assert_eq!(
                Token::decode(&String::from_utf8(other).unwrap()),
                Err(TokenError::Damaged),
                "at {place}"
            );
            assert_eq!(Token::decode(&text[..place]), Err(TokenError::Damaged), "cut at {place}");
        }
    }

    #[test]
    fn other_texts_are_named_as_what_they_are() {
        assert_eq!(Token::decode("hello"), Err(TokenError::NotAToken));
        assert_eq!(Token::decode(""), Err(TokenError::NotAToken));
        assert_eq!(Token::decode("tt2-aaaa"), Err(TokenError::Newer));
        assert_eq!(Token::decode("tt1-"), Err(TokenError::Damaged));
        assert!(TokenError::Damaged.to_string().contains("check that all of it was copied"));
    }

    #[test]
    fn the_secret_does_not_show() {
        assert!(format!("{:?}", token()).contains("Secret(hidden)"));
    }

    #[test]
    fn golden_text() {
        let small = Token {
            addresses: vec!["h:1".into()],
            ca_sha256: [0; 32],
            secret: Secret([1; 16]),
            name: "a".into(),
        };
        let golden = "tt1-aaaqg2b2geaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaibaeaqcaibaeaqcaibaeaqcaibme42iawd";
        assert_eq!(small.encode(), golden);
        assert_eq!(Token::decode(golden), Ok(small));
    }
}

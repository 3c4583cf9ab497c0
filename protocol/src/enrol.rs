//! The conversation in which a new device becomes known: one request, one reply.
//!
//! * The device makes its key pair itself; only the public half travels.
//! * Versioned at the outermost enums: variants are appended, never reordered, and golden bytes in
//!   the tests hold them still.
//! * The same request may come again when the reply was lost: the hub answers it as before.

use crate::frame::{FrameError, from_bytes, to_bytes};
use crate::number::EdgeId;
use crate::token::Secret;
use serde::{Deserialize, Serialize};

/// Kind of a device's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyAlgorithm {
    /// Ed25519: the public key has 32 bytes.
    Ed25519,
}

/// The public half of a device's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey {
    /// What kind of key.
    pub algorithm: KeyAlgorithm,
    /// The raw key, without any wrapping.
    pub bytes: Vec<u8>,
}

/// "I was invited; this is my key."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// From the token.
    pub secret: Secret,
    /// From the token. The hub's own record of the invitation decides.
    pub name: String,
    /// The device's key.
    pub public_key: PublicKey,
}

/// What a device says on an enrolment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnrolRequest {
    /// The first and only form so far.
    V1(Application),
}

/// The device is known from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// The device's number.
    pub device: EdgeId,
    /// The device's name.
    pub name: String,
    /// What the device may write.
    pub role: String,
    /// The device's certificate in DER, signed by the hub's CA.
    pub certificate: Vec<u8>,
    /// Where the hub listens, each `HOST:PORT`. May differ from the token's.
    pub addresses: Vec<String>,
}

/// What the hub answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnrolReply {
    /// Welcome.
    Enrolled(Enrolled),
    /// No, and why, in a sentence for a person.
    Refused {
        /// The sentence.
        reason: String,
    },
}

impl EnrolRequest {
    /// The request as one frame.
    #[must_use]
    pub fn to_frame(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// Reads a request.
    ///
    /// # Errors
    /// When the bytes are something else.
    pub fn from_frame(bytes: &[u8]) -> Result<Self, FrameError> {
        from_bytes(bytes)
    }
}

impl EnrolReply {
    /// The reply as one frame.
    #[must_use]
    pub fn to_frame(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// Reads a reply.
    ///
    /// # Errors
    /// When the bytes are something else.
    pub fn from_frame(bytes: &[u8]) -> Result<Self, FrameError> {
        from_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_hold_the_request_still() {
        let public_key = PublicKey { algorithm: KeyAlgorithm::Ed25519, bytes: vec![5, 6] };
        let request =
            EnrolRequest::V1(Application { secret: Secret([1; 16]), name: "ab".into(), public_key });
        let mut golden = vec![0];
        golden.extend([1; 16]);
        golden.extend([2, b'a', b'b', 0, 2, 5, 6]);
        assert_eq!(request.to_frame(), golden);
        assert_eq!(EnrolRequest::from_frame(&golden).unwrap(), request);
        golden.push(0);
        assert!(EnrolRequest::from_frame(&golden).is_err(), "bytes left over are refused");
    }

    #[test]
    fn golden_bytes_hold_the_reply_still() {
        let refused = EnrolReply::Refused { reason: "no".into() };
        assert_eq!(refused.to_frame(), [1, 2, b'n', b'o']);
        let enrolled = EnrolReply::Enrolled(Enrolled {
            device: EdgeId(3),
            name: "a".into(),
            role: "r".into(),
            certificate: vec![9],
            addresses: vec!["h:1".into()],
        });
        assert_eq!(enrolled.to_frame(), [0, 3, 1, b'a', 1, b'r', 1, 9, 1, 3, b'h', b':', b'1']);
        assert_eq!(EnrolReply::from_frame(&enrolled.to_frame()).unwrap(), enrolled);
    }
}

//! How frames are told apart on a byte stream: four bytes of length, little-endian, then the frame.
//!
//! [`FrameBuffer`] collects bytes as they come and hands out whole frames. It never reserves memory
//! for what a peer only announces: a length above [`FRAME_BYTES_MAX`] is refused by its four bytes,
//! and below that the buffer grows with the bytes that really arrived.

use crate::limits::FRAME_BYTES_MAX;

/// Bytes in front of every frame.
pub const HEADER_BYTES: usize = 4;

/// Why bytes on a stream cannot be cut into frames.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// The length is above the limit.
    #[error(
        "a frame of {bytes} bytes is larger than the limit of {limit}: the peer is damaged or of another version"
    )]
    TooLarge {
        /// Announced length.
        bytes: usize,
        /// The limit at this place.
        limit: usize,
    },
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame ({got} of {wanted} bytes came): the peer stopped in the middle")]
    Truncated {
        /// Bytes that came, header included.
        got: usize,
        /// Bytes that the frame has, as far as known, header included.
        wanted: usize,
    },
}

/// The header of a frame of `frame_bytes` bytes.
///
/// # Errors
/// When the frame is larger than the limit.
pub fn header(frame_bytes: usize) -> Result<[u8; HEADER_BYTES], PrefixError> {
    match u32::try_from(frame_bytes) {
        Ok(length) if frame_bytes <= FRAME_BYTES_MAX => Ok(length.to_le_bytes()),
        _ => Err(PrefixError::TooLarge { bytes: frame_bytes, limit: FRAME_BYTES_MAX }),
    }
}

/// Puts one frame after the other together. Ask for [`wanted`](Self::wanted) bytes, read at most so
/// many, [`push`](Self::push) them, repeat.
#[derive(Debug)]
pub struct FrameBuffer {
    limit: usize,
    header: [u8; HEADER_BYTES],
    header_filled: usize,
    frame_bytes: usize,
    frame: Vec<u8>,
}

impl Default for FrameBuffer {
    fn default() -> Self {
        Self::limited(FRAME_BYTES_MAX)
    }
}

impl FrameBuffer {
    /// For a peer that has no reason to send frames of more than `limit` bytes.
    #[must_use]
    pub fn limited(limit: usize) -> Self {
        let limit = limit.min(FRAME_BYTES_MAX);
        Self { limit, header: [0; HEADER_BYTES], header_filled: 0, frame_bytes: 0, frame: Vec::new() }
    }

    /// Bytes that may be read next without touching the frame after this one. Never 0.
    #[must_use]
    pub fn wanted(&self) -> usize {
        if self.header_filled < HEADER_BYTES {
            HEADER_BYTES - self.header_filled
        } else {
            self.frame_bytes - self.frame.len()
        }
    }

    /// Takes the next bytes, at most [`wanted`](Self::wanted) of them, and gives the frame if they
    /// complete one.
    ///
    /// # Errors
    /// When the header announces too large a frame. The stream is of no use after that.
    ///
    /// # Panics
    /// When there are more bytes than wanted.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, PrefixError> {
        assert!(bytes.len() <= self.wanted(), "the caller reads at most as many bytes as are wanted");
        if self.header_filled < HEADER_BYTES {
            let end = self.header_filled + bytes.len();
            self.header[self.header_filled..end].copy_from_slice(bytes);
            self.header_filled = end;
            if end < HEADER_BYTES {
                return Ok(None);
            }
            self.frame_bytes = self.announced()?;
        } else {
            self.frame.extend_from_slice(bytes);
        }
        if self.frame.len() < self.frame_bytes {
            return Ok(None);
        }
        self.header_filled = 0;
        self.frame_bytes = 0;
        Ok(Some(std::mem::take(&mut self.frame)))
    }

    fn announced(&self) -> Result<usize, PrefixError> {
        let bytes = usize::try_from(u32::from_le_bytes(self.header)).unwrap_or(usize::MAX);
        if bytes > self.limit {
            return Err(PrefixError::TooLarge { bytes, limit: self.limit });
        }
        Ok(bytes)
    }

    /// The stream ended: fine between two frames.
    ///
    /// # Errors
    /// When a frame had begun.
    pub fn end(&self) -> Result<(), PrefixError> {
        match self.header_filled {
            0 => Ok(()),
            HEADER_BYTES => Err(PrefixError::Truncated {
                got: HEADER_BYTES + self.frame.len(),
                wanted: HEADER_BYTES + self.frame_bytes,
            }),
            got => Err(PrefixError::Truncated { got, wanted: HEADER_BYTES }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(stream: &[u8], step: usize) -> Result<Vec<Vec<u8>>, PrefixError> {
        let (mut buffer, mut rest, mut found) = (FrameBuffer::default(), stream, Vec::new());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(step.min(buffer.wanted()).min(rest.len()));
            found.extend(buffer.push(now)?);
            rest = later;
        }
        buffer.end()?;
        Ok(found)
    }

    #[test]
    fn frames_come_out_however_the_bytes_arrive() {
        let mut stream = Vec::new();
        for frame in [b"count".as_slice(), b"", b"tablet"] {
            stream.extend(header(frame.len()).unwrap());
            stream.extend(frame);
        }
        for step in [1, 2, 3, 5, 100] {
            assert_eq!(frames(&stream, step).unwrap(), [b"count".to_vec(), vec![], b"tablet".to_vec()]);
        }
    }

    #[test]
    fn too_large_is_refused_by_the_header_alone() {
        let (limit, bytes) = (FRAME_BYTES_MAX, FRAME_BYTES_MAX + 1);
        assert!(header(limit).is_ok());
        assert_eq!(header(bytes), Err(PrefixError::TooLarge { bytes, limit }));
        let lie = FrameBuffer::default().push(&u32::MAX.to_le_bytes());
        assert_eq!(lie, Err(PrefixError::TooLarge { bytes: 4_294_967_295, limit }));
        let small = FrameBuffer::limited(100).push(&[101, 0, 0, 0]);
        assert_eq!(small, Err(PrefixError::TooLarge { bytes: 101, limit: 100 }));
    }

    #[test]
    fn an_end_inside_a_frame_is_an_error() {
        assert_eq!(frames(&[3, 0, 0], 9), Err(PrefixError::Truncated { got: 3, wanted: 4 }));
        assert_eq!(frames(&[3, 0, 0, 0, 1], 9), Err(PrefixError::Truncated { got: 5, wanted: 7 }));
    }
}

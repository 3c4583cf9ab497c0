//! Frames over one QUIC stream: the glue between `tt_protocol::prefix` and quinn.
//!
//! The hub has the same two types. Rules of the prefix belong into `protocol`, not here.

use super::LinkError;
use quinn::{RecvStream, SendStream};
use tt_protocol::prefix::{self, FrameBuffer};

/// Sends frames.
#[derive(Debug)]
pub struct FrameSender {
    stream: SendStream,
}

/// Receives frames.
#[derive(Debug)]
pub struct FrameReceiver {
    stream: RecvStream,
    buffer: FrameBuffer,
}

impl FrameSender {
    /// Frames over this stream.
    #[must_use]
    pub fn new(stream: SendStream) -> Self {
        Self { stream }
    }

    /// Sends one frame; waits while the other side is slow. Not to be cancelled: after that the
    /// stream may end inside a frame.
    ///
    /// # Errors
    /// When the frame is too large or the link is gone.
    pub async fn send(&mut self, frame: &[u8]) -> Result<(), LinkError> {
        self.stream.write_all(&prefix::header(frame.len())?).await?;
        self.stream.write_all(frame).await?;
        Ok(())
    }

    /// Says that no more frames follow.
    pub fn finish(&mut self) {
        // An error means that it was finished or reset before: it is over in any case.
        let _ = self.stream.finish();
    }

    /// The bare stream, for what follows the last frame.
    #[must_use]
    pub fn into_stream(self) -> SendStream {
        self.stream
    }
}

impl FrameReceiver {
    /// Frames over this stream.
    #[must_use]
    pub fn new(stream: RecvStream) -> Self {
        Self { stream, buffer: FrameBuffer::default() }
    }

    /// The bare stream, for what follows the last frame.
    #[must_use]
    pub fn into_stream(self) -> RecvStream {
        self.stream
    }

    /// The next frame, or `None` when the other side has finished. May be cancelled: what came of a
    /// frame is kept for the next call.
    ///
    /// # Errors
    /// When the link is gone, a frame is too large, or the stream ends inside one.
    pub async fn recv(&mut self) -> Result<Option<Vec<u8>>, LinkError> {
        loop {
            let Some(chunk) = self.stream.read_chunk(self.buffer.wanted(), true).await? else {
                self.buffer.end()?;
                return Ok(None);
            };
            if let Some(frame) = self.buffer.push(&chunk.bytes)? {
                return Ok(Some(frame));
            }
        }
    }
}

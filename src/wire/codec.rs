//! Bytes to frames and back: tokio-util's length-delimited codec with a limit that follows the phase of the link.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec};

use super::frame::Frame;
use crate::model::{RecvError, limits};

/// A frame that could not be read: the stream failed, or the peer sent what is no frame.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The stream failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer's fault.
    #[error(transparent)]
    Frame(#[from] RecvError),
}

/// Cuts a stream into frames and decodes them.
#[derive(Debug)]
pub struct FrameCodec {
    lengths: LengthDelimitedCodec,
}

impl FrameCodec {
    /// A codec that takes frames of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let lengths = LengthDelimitedCodec::builder().max_frame_length(limit).new_codec();
        Self { lengths }
    }

    /// Takes frames of at most `limit` bytes from now on.
    pub fn set_limit(&mut self, limit: usize) {
        if self.lengths.max_frame_length() != limit {
            self.lengths.set_max_frame_length(limit);
        }
    }
}

impl Default for FrameCodec {
    fn default() -> Self {
        Self::new(limits::FRAME_BEFORE)
    }
}

impl Decoder for FrameCodec {
    type Item = Frame;
    type Error = DecodeError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
        // The codec only says that a length is too great while it still stands at the front of `src`.
        let head = src.get(..4).and_then(|head| <[u8; 4]>::try_from(head).ok());
        let frame = self.lengths.decode(src).map_err(|error| match head {
            Some(head) if error.kind() == io::ErrorKind::InvalidData => DecodeError::Frame(RecvError::TooLong {
                found: usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX),
                limit: self.lengths.max_frame_length(),
            }),
            _ => DecodeError::Io(error),
        })?;
        match frame {
            Some(bytes) => Ok(Some(Frame::decode(&bytes)?)),
            None => Ok(None),
        }
    }
}

impl Encoder<Bytes> for FrameCodec {
    type Error = io::Error;

    fn encode(&mut self, frame: Bytes, dst: &mut BytesMut) -> io::Result<()> {
        self.lengths.encode(frame, dst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(codec: &mut FrameCodec, bytes: &[u8]) -> Result<Option<Frame>, DecodeError> {
        codec.decode(&mut BytesMut::from(bytes))
    }

    #[test]
    fn a_giant_length_is_refused_before_it_costs_memory() {
        let mut codec = FrameCodec::default();
        let mut buffer = BytesMut::from(&u32::MAX.to_be_bytes()[..]);
        let error = codec.decode(&mut buffer).unwrap_err().to_string();
        assert_eq!(error, "a frame of 4294967295 bytes, at most 1024 are allowed here");
        assert!(buffer.capacity() < 4096);
    }

    #[test]
    fn one_byte_at_a_time() {
        let mut bytes = BytesMut::new();
        let mut codec = FrameCodec::default();
        codec.encode(Frame::Beat(300).encode(), &mut bytes).unwrap();
        let mut buffer = BytesMut::new();
        let (last, first) = bytes.split_last().unwrap();
        for byte in first {
            buffer.extend_from_slice(&[*byte]);
            assert!(codec.decode(&mut buffer).unwrap().is_none());
        }
        buffer.extend_from_slice(&[*last]);
        assert_eq!(codec.decode(&mut buffer).unwrap(), Some(Frame::Beat(300)));
    }

    #[test]
    fn the_limit_follows_the_phase() {
        let frame = vec![99; 2000];
        let mut bytes = 2000_u32.to_be_bytes().to_vec();
        bytes.extend(frame);
        let mut codec = FrameCodec::default();
        assert!(matches!(
            decode(&mut codec, &bytes),
            Err(DecodeError::Frame(RecvError::TooLong { found: 2000, limit: limits::FRAME_BEFORE }))
        ));
        codec.set_limit(limits::FRAME_AFTER);
        assert!(matches!(decode(&mut codec, &bytes), Err(DecodeError::Frame(RecvError::UnknownTag(99)))));
    }
}

//! Bytes to frames and back: tokio-util's length-delimited codec with a limit that follows the phase of the link.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

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

/// How many bytes a frame may have now. Shared, so that it takes effect in the middle of reading.
#[derive(Debug, Clone)]
pub struct FrameLimit(Arc<AtomicUsize>);

impl FrameLimit {
    /// For a link whose other end is not authenticated.
    #[must_use]
    pub fn before() -> Self {
        Self(Arc::new(AtomicUsize::new(limits::FRAME_BEFORE)))
    }

    /// For a link to a peer that this side has chosen.
    #[must_use]
    pub fn after() -> Self {
        let limit = Self::before();
        limit.authenticated();
        limit
    }

    /// The other end is authenticated now.
    pub fn authenticated(&self) {
        self.0.store(limits::FRAME_AFTER, Ordering::Release);
    }
}

/// Cuts a stream into frames and decodes them.
#[derive(Debug)]
pub struct FrameCodec {
    lengths: LengthDelimitedCodec,
    limit: FrameLimit,
}

impl FrameCodec {
    /// A codec that follows `limit`.
    #[must_use]
    pub fn new(limit: FrameLimit) -> Self {
        Self { lengths: LengthDelimitedCodec::new(), limit }
    }
}

impl Decoder for FrameCodec {
    type Item = Frame;
    type Error = DecodeError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
        self.lengths.set_max_frame_length(self.limit.0.load(Ordering::Acquire));
        // The codec only says that a length is too great while it still stands at the front of `src`.
        let head = src.get(..4).and_then(|head| <[u8; 4]>::try_from(head).ok());
        let frame = self.lengths.decode(src).map_err(|error| match head {
            Some(head) if error.kind() == io::ErrorKind::InvalidData => {
                DecodeError::Frame(RecvError::TooLong {
                    found: usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX),
                    limit: self.lengths.max_frame_length(),
                })
            }
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
        self.lengths.set_max_frame_length(limits::FRAME_AFTER);
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
        let mut codec = FrameCodec::new(FrameLimit::before());
        let mut buffer = BytesMut::from(&u32::MAX.to_be_bytes()[..]);
        let error = codec.decode(&mut buffer).unwrap_err().to_string();
        assert_eq!(error, "a frame of 4294967295 bytes, at most 1024 are allowed here");
        assert!(buffer.capacity() < 4096);
    }

    #[test]
    fn one_byte_at_a_time() {
        let mut bytes = BytesMut::new();
        let mut codec = FrameCodec::new(FrameLimit::before());
        codec.encode(Frame::BeatReply(300).encode(), &mut bytes).unwrap();
        let mut buffer = BytesMut::new();
        let (last, first) = bytes.split_last().unwrap();
        for byte in first {
            buffer.extend_from_slice(&[*byte]);
            assert!(codec.decode(&mut buffer).unwrap().is_none());
        }
        buffer.extend_from_slice(&[*last]);
        assert_eq!(codec.decode(&mut buffer).unwrap(), Some(Frame::BeatReply(300)));
    }

    #[test]
    fn the_limit_follows_the_phase() {
        let frame = vec![99; 2000];
        let mut bytes = 2000_u32.to_be_bytes().to_vec();
        bytes.extend(frame);
        let mut codec = FrameCodec::new(FrameLimit::before());
        assert!(matches!(
            decode(&mut codec, &bytes),
            Err(DecodeError::Frame(RecvError::TooLong { found: 2000, limit: limits::FRAME_BEFORE }))
        ));
        codec.limit.authenticated();
        assert!(matches!(decode(&mut codec, &bytes), Err(DecodeError::Frame(RecvError::UnknownTag(99)))));
    }
}

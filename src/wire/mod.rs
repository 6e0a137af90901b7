//! The native wire: its frames and their codec.
//!
//! It must never panic on bytes, keep a byte that it cannot explain, or let a claimed length cost memory before it is
//! checked. What the Python program speaks instead is in [`classic`].
//!
#![doc = include_str!("../../docs/protocol.md")]

pub mod classic;
pub mod codec;
pub mod frame;

pub use codec::{DecodeError, FrameCodec, FrameLimit};
pub use frame::{
    Ack, Addressed, Authenticated, BannedStatus, Beat, ByteBuf, Conflict, Frame, HandedOn, HandoverPart,
    HandoverProbe, HandoverProbed, HandoverStatement, Hello, InviteMade, InviteRequest, Invited, PeerHello,
    Presence, ReachabilityPart, Refusal, RelayBytes, RelayClosed, RelayTaken, RelayedLink, Removal,
    RosterDelta, RosterPage, Tried, Wanted,
};

/// The version of this wire: it stands in both ALPNs, and is announced.
pub const WIRE_VERSION: u32 = 1;
/// ALPN of the join link, version 1.
pub const JOIN_ALPN: &[u8] = b"pyile-join/1";
/// ALPN of the peer link, version 1.
pub const PEER_ALPN: &[u8] = b"pyile-peer/1";

//! The native wire, version 1: what peers say to each other inside their TLS links.
//!
//! This module is the specification. It must never panic on bytes, keep a byte that it cannot explain, or let a
//! claimed length cost memory before it is checked.
//!
//! # Frames
//! Each frame is a length of 4 bytes (big endian, the length itself not counted), a tag of 1 byte, and the
//! tag's payload in [postcard](https://postcard.jamesmunns.com/wire-format). A payload that is too short, too
//! long or does not fit its tag ends the link. Before admission a frame has at most
//! [`limits::FRAME_BEFORE`](crate::model::limits::FRAME_BEFORE) bytes, afterwards
//! [`limits::FRAME_AFTER`](crate::model::limits::FRAME_AFTER).
//!
//! # Links
//! ALPN names the kind of link and the version: [`JOIN_ALPN`] on the host's join port, [`PEER_ALPN`] on a
//! member's peer listener. Another version has another name; nothing is negotiated.
//!
//! # Sequence on a join link (seed, "Protocol Flow")
//! ```text
//!  joiner                                              host
//!    |<- BannedStatus { banned | known | password, left } -|
//!    |-- Hello { alias, addresses, Ke1 } ----------------->|
//!    |<- Challenge { Ke2 } --------------------------------|  not for a known key
//!    |-- Proof { Ke3 } ----------------------------------->|
//!    |<- Authenticated { network, policy, … } or Refused --|
//!    |<- RosterPage … -------------------------------------|
//!    |<- Beat ------------------------------- BeatReply -->|  every 2 s
//!    |<- RosterDelta --------------------------------------|
//! ```
//! # Handover
//! The host offers (`HandoverOffer`), the member opens a join port (`HandoverReady`), all members try it
//! (`HandoverProbe`, `HandoverProbed`), the member gets what a host needs (`HandoverPart`) and keeps it
//! (`HandoverTaken`). Then the old host signs `Handover`; whoever gets it goes to the new host, whose key it trusts
//! by that signature. `HandoverRefused` calls it off at any point before.
//!
//! # Sequence on a peer link
//! Both sides send `PeerHello` first. Then `Batch` in either direction: messages `first..` of one stream, what one author
//! says to one audience in one epoch, numbered from 1 without holes, and the version of the roster by which they are
//! addressed. `Ack` says how far the receiver has come in a stream,
//! with everything that is addressed to it before: what it has at all, and what it has on its disk. It goes back over the
//! link over which the batch came. After a new link the sender goes on from what is on the disk there, and the receiver
//! drops what it has word for word. Where it has something else under those numbers it answers `Conflict`, and takes no
//! more of that stream over that link; an author that is shown its own signature over it begins a new epoch. At most
//! [`limits::WINDOW_BYTES`](crate::model::limits::WINDOW_BYTES) and
//! [`limits::WINDOW_MESSAGES`](crate::model::limits::WINDOW_MESSAGES) are on their way to one peer at a time. Whoever
//! waits for an answer and hears nothing for [`limits::SUSPECT_AFTER`](crate::model::limits::SUSPECT_AFTER) sends
//! `Beat`, to be answered by `BeatReply`, and gives the link up after
//! [`limits::DEAD_AFTER`](crate::model::limits::DEAD_AFTER).
//!
//! Whoever was away asks with `CatchUp`, is told with `Held`, and asks for what it lacks with `Wanted`, again and
//! again while `HandedOn` says that there is more. Each question waits for its answer before the next. Batches are handed on
//! whole, by somebody else than their author with its signature only: Ed25519 over the label, the network, the stream, the
//! first number, the time and the texts, with a byte 0xFF between each two. Those to one peer are handed on only by their
//! author to that peer.
//!
//! # What comes late
//! Somebody who comes back may ask before everything has arrived that was said meanwhile. Whatever is said to everyone goes
//! to the host too. What the host takes on that is addressed by an earlier roster (its version is with the batch), or
//! is handed on to it, it names with `Held`, over the join link, to all who were admitted since that version. They ask for
//! what they lack.
//!
//! # Members of the past
//! The roster says of everybody who is gone up to which number of each epoch its words to everyone count: as far as the
//! host has them. What goes beyond is refused by everyone, from anyone; of somebody of whom it says nothing everything is.
//! Whoever lacks something of it asks the host: it may be that its author never sends it any more.
//!
//! # Reachability
//! Whoever cannot open a peer link asks for one from the other side (`Call`, over the join links). The host
//! collects what everybody finds out (`Tried`), and tells all who cannot reach whom (`Unreachable`). Who has reached whom is
//! told on request (`ReachabilityRequest`, `ReachabilityPart`); with the first one the host also has some members try whoever asks
//! (`TryPeers`).
//!
//! Where neither of two members reaches the other, a third one relays their link: `RelayOpen` on the link to it,
//! `RelayOpened` on its link to the far end, and from then on `RelayBytes` in both directions, each frame answered by
//! `RelayTaken`, until `RelayClosed`. Inside runs the same TLS, between the same two keys, as on a link of their own.
//! At most [`limits::RELAYED_WINDOW`](crate::model::limits::RELAYED_WINDOW) frames are on their way at a time.
//!
//! On any link `Goodbye` says why the sender closes it.
//!
//! What the Python program speaks instead is in [`classic`].

pub mod classic;
pub mod codec;
pub mod frame;

pub use codec::{DecodeError, FrameCodec, FrameLimit};
pub use frame::{
    Ack, Addressed, Authenticated, BannedStatus, Beat, ByteBuf, Conflict, Frame, HandedOn, HandoverPart,
    HandoverProbe, HandoverProbed, HandoverStatement, Hello, PeerHello, ReachabilityPart, Refusal,
    RelayBytes, RelayClosed, RelayTaken, RelayedLink, Removal, RosterDelta, RosterPage, Tried, Wanted,
};

/// ALPN of the join link, version 1.
pub const JOIN_ALPN: &[u8] = b"pyile-join/1";
/// ALPN of the peer link, version 1.
pub const PEER_ALPN: &[u8] = b"pyile-peer/1";

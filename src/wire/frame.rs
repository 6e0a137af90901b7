//! The frames, their tags and their payloads.
//!
//! A tag never changes its meaning and is never used again; a payload never changes its fields within a version:
//! the golden bytes in the tests hold both.

use std::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::model::{
    AtMost, Batch, CloseReason, Departed, DeputyStatement, Held, Network, NetworkId, Notes, Pass, PeerId,
    Policy, RecvError, RosterEntry, Signature, Status, Timestamp, Unreachable, at_most, limits,
};

/// Payload of [`Frame::BannedStatus`]: what the host says before anything else (seed, "Banned status").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BannedStatus {
    /// Refused; the link closes.
    Banned {
        /// Why, in the host's words.
        reason: String,
    },
    /// The key was admitted before: no password is needed.
    Known,
    /// The password must be proven.
    Password {
        /// Attempts left for this address.
        left: u32,
    },
}

/// Payload of [`Frame::Hello`]: who asks for admission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The alias wanted.
    pub alias: String,
    /// Where the joiner's peer listener may be reached, best first.
    #[serde(deserialize_with = "at_most::<{ limits::CANDIDATES }, _, _>")]
    pub addrs: Vec<SocketAddr>,
    /// The first message of OPAQUE; empty for a known key.
    #[serde(with = "serde_bytes")]
    pub ke1: Vec<u8>,
}

/// Payload of [`Frame::Invited`]: who asks for admission by an invite. It is said only to the host whose key the invite
/// has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invited {
    /// Who, without a proof of the password.
    pub hello: Hello,
    /// The pass of the invite.
    pub pass: Pass,
}

/// Payload of [`Frame::InviteRequest`]: a member wants an invite to give away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteRequest {
    /// How many may come in by it.
    pub uses: u32,
    /// For how many hours.
    pub hours: u32,
}

/// Payload of [`Frame::InviteMade`]: it is kept, and lets somebody in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteMade {
    /// Its pass.
    pub pass: Pass,
    /// How many may come in by it.
    pub uses: u32,
    /// Until when, by the host's clock.
    pub until: Timestamp,
    /// Where the host is, as it knows itself, best first.
    #[serde(deserialize_with = "at_most::<{ limits::CANDIDATES }, _, _>")]
    pub addrs: Vec<SocketAddr>,
}

/// Payload of [`Frame::Presence`]: what a member wants to be called, and what it says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// The alias wanted.
    pub alias: String,
    /// What it says of itself.
    pub status: Option<Status>,
}

/// Payload of [`Frame::Authenticated`]: the joiner is a member (seed, "Authenticated").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authenticated {
    /// The network.
    pub network: Network,
    /// What the host sets for all.
    pub policy: Policy,
    /// Version of the roster that follows in pages.
    pub version: u64,
    /// Entries in it.
    pub entries: u32,
    /// Members of the past in it.
    pub departed: u32,
    /// The host's signature over it.
    pub signature: Signature,
}

/// Payload of [`Frame::RosterPage`]: a part of a whole roster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterPage {
    /// The roster's version.
    pub version: u64,
    /// Its next entries, in the order of their keys.
    #[serde(deserialize_with = "at_most::<{ limits::ROSTER_PAGE }, _, _>")]
    pub entries: Vec<RosterEntry>,
    /// Its next members of the past, in the order of their keys.
    #[serde(deserialize_with = "at_most::<{ limits::ROSTER_PAGE }, _, _>")]
    pub departed: Vec<Departed>,
}

/// A peer that is no longer a member, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// Who.
    pub peer: PeerId,
    /// Why.
    pub reason: CloseReason,
}

/// Payload of [`Frame::RosterDelta`]: what changed (seed, "Set Distributions").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterDelta {
    /// The version that this builds on.
    pub from: u64,
    /// The version that it makes.
    pub to: u64,
    /// Who is gone.
    #[serde(deserialize_with = "at_most::<{ limits::ROSTER_PAGE }, _, _>")]
    pub removed: Vec<Removal>,
    /// Who is new or changed, and no member of the past any more.
    #[serde(deserialize_with = "at_most::<{ limits::ROSTER_PAGE }, _, _>")]
    pub updated: Vec<RosterEntry>,
    /// How far the words of those count who are gone.
    #[serde(deserialize_with = "at_most::<{ limits::ROSTER_PAGE }, _, _>")]
    pub departed: Vec<Departed>,
    /// The host's signature over all this.
    pub signature: Signature,
}

impl RosterDelta {
    /// What the host signs.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        let Self { from, to, removed, updated, departed, .. } = self;
        postcard::to_stdvec(&(from, to, removed, updated, departed)).unwrap_or_default()
    }
}

/// Payload of [`Frame::Batch`]: messages, and by which roster they are addressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addressed {
    /// What is for everyone is for those in this version of the roster; 0 when its author does not know any more. By
    /// that the host sees who has come since then.
    pub roster: u64,
    /// The messages.
    pub batch: Batch,
}

/// Nobody knows by which roster.
impl From<Batch> for Addressed {
    fn from(batch: Batch) -> Self {
        Self { roster: 0, batch }
    }
}

/// Payload of [`Frame::Ack`]: how far the receiver has come in a stream of the one who is told. It says so of all that
/// is addressed to it up to there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The stream to everyone; otherwise the one to the receiver alone.
    pub everyone: bool,
    /// Its epoch.
    pub epoch: u64,
    /// The last message that it has, at least until its program ends.
    pub received: u64,
    /// The last message that it has for good, word for word.
    pub kept: u64,
}

/// Payload of [`Frame::Conflict`]: the receiver has something else under these numbers, and takes no more of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The stream to everyone; otherwise the one to the receiver alone.
    pub everyone: bool,
    /// Its epoch.
    pub epoch: u64,
    /// What the receiver has. Of a stream to everyone its signature proves it.
    pub proof: Option<Box<Batch>>,
}

/// Payload of [`Frame::Wanted`]: messages that the sender of this frame has missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Those that its recipient wrote to the sender alone; otherwise those that somebody wrote to everyone.
    pub direct: bool,
    /// Whose, of which epoch, which numbers.
    pub range: Held,
}

/// Payload of [`Frame::HandedOn`]: the answer to [`Wanted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedOn {
    /// What was wanted.
    pub wanted: Wanted,
    /// The author's label as it is known there; for those who never met it.
    pub label: String,
    /// As many of the batches as are there and fit a frame, in order.
    #[serde(deserialize_with = "at_most::<{ limits::RANGE_MESSAGES }, _, _>")]
    pub batches: Vec<Batch>,
    /// Where the next part begins; nothing when this was all that is there.
    pub next: Option<u64>,
}

/// Payload of [`Frame::Beat`]: one exchange serves both ends, which both have heard each other by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Beat {
    /// Its number, which comes back.
    pub number: u32,
    /// The last round trip in microseconds, as its sender has measured it.
    pub rtt: Option<u32>,
}

/// Payload of [`Frame::PeerHello`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerHello {
    /// The network that the link belongs to.
    pub network: NetworkId,
    /// The sender's clock: what it says of the times of its messages is read by it.
    pub now: Timestamp,
}

/// Payload of [`Frame::HandoverProbe`]: the member that may become the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoverProbe {
    /// Who.
    pub peer: PeerId,
    /// Where it listens for joiners, best first.
    #[serde(deserialize_with = "at_most::<{ limits::CANDIDATES }, _, _>")]
    pub addrs: Vec<SocketAddr>,
}

/// Payload of [`Frame::HandoverProbed`]: whether that member can be reached from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoverProbed {
    /// Who.
    pub peer: PeerId,
    /// Why it cannot be reached; nothing when it can.
    pub why_not: Option<String>,
}

/// Payload of [`Frame::HandoverPart`]: a part of [`crate::model::HostPackage`] as JSON.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoverPart {
    /// Its bytes. They hold the password's record.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    /// Nothing more follows.
    pub is_last: bool,
}

impl std::fmt::Debug for HandoverPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HandoverPart({} bytes)", self.bytes.len())
    }
}

/// Payload of [`Frame::Handover`]: the old host's word on the new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoverStatement {
    /// Of which network.
    pub network: NetworkId,
    /// The version of the roster with which the old host ends its office: a statement from before a version that is known
    /// to have been its own is worth nothing any more.
    pub version: u64,
    /// The new host.
    pub to: PeerId,
    /// Where it listens for joiners, best first.
    #[serde(deserialize_with = "at_most::<{ limits::CANDIDATES }, _, _>")]
    pub addrs: Vec<SocketAddr>,
    /// The old host's signature over all this.
    pub signature: Signature,
}

impl HandoverStatement {
    /// What the old host signs, beside the network.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        let Self { version, to, addrs, .. } = self;
        postcard::to_stdvec(&(version, to, addrs)).unwrap_or_default()
    }
}

/// What came of trying to reach a peer at its peer listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Whom.
    pub peer: PeerId,
    /// Why it was not reached; nothing when it was.
    pub why_not: Option<CloseReason>,
}

/// Payload of [`Frame::ReachabilityPart`]: who has reached whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReachabilityPart {
    /// The version of the roster by which members are counted here.
    pub version: u64,
    /// Members by their place in it, and of each which others it has reached: bit n of byte m is member 8m + n.
    #[serde(deserialize_with = "at_most::<{ limits::MEMBERS_MAX }, _, _>")]
    pub rows: Vec<(u16, ByteBuf)>,
    /// Nothing more follows.
    pub is_last: bool,
}

/// Payload of [`Frame::RelayOpen`] and [`Frame::RelayOpened`]: a peer link inside peer links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayedLink {
    /// Its number on this link: even if the side that dialled the link opens it, else odd.
    pub number: u32,
    /// The far end.
    pub peer: PeerId,
}

/// Payload of [`Frame::RelayBytes`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayBytes {
    /// Of which relayed link.
    pub number: u32,
    /// At most [`crate::model::limits::RELAYED_BYTES`]: TLS of the two ends, which the relay cannot read.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// Payload of [`Frame::RelayTaken`]: the far end has taken so many frames, and more may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayTaken {
    /// Of which relayed link.
    pub number: u32,
    /// How many.
    pub frames: u32,
}

/// Payload of [`Frame::RelayClosed`]: a relayed link is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayClosed {
    /// Which.
    pub number: u32,
    /// Why.
    pub reason: CloseReason,
}

macro_rules! frames {
    ($($(#[$doc:meta])* $tag:literal $name:ident $(($payload:ty))?,)*) => {
        /// Everything that travels on a link.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Frame { $($(#[$doc])* $name $(($payload))?,)* }

        impl Frame {
            /// Every tag in use.
            pub const TAGS: &[u8] = &[$($tag,)*];

            /// The frame as it travels, without the length before it. One encoding may go to many links.
            #[must_use]
            pub fn encode(&self) -> Bytes {
                match self {
                    $(frames!(@pattern $name payload $(($payload))?) =>
                        encode_payload($tag, frames!(@payload payload $(($payload))?)),)*
                }
            }

            /// Reads a frame without the length before it.
            pub fn decode(bytes: &[u8]) -> Result<Self, RecvError> {
                let (&tag, payload) = bytes.split_first().ok_or(RecvError::Empty)?;
                match tag {
                    $($tag => frames!(@decode tag payload $name $(($payload))?),)*
                    tag => Err(RecvError::UnknownTag(tag)),
                }
            }
        }
    };
    (@pattern $name:ident $bind:ident ($payload:ty)) => { Self::$name($bind) };
    (@pattern $name:ident $bind:ident) => { Self::$name };
    (@payload $bind:ident ($payload:ty)) => { $bind };
    (@payload $bind:ident) => { &() };
    (@decode $tag:ident $bytes:ident $name:ident ($payload:ty)) => {
        decode_payload::<$payload>($tag, $bytes).map(Self::$name)
    };
    (@decode $tag:ident $bytes:ident $name:ident) => {
        decode_payload::<()>($tag, $bytes).map(|()| Self::$name)
    };
}

frames! {
    /// Host to joiner: the ban is checked before anything else.
    1 BannedStatus(BannedStatus),
    /// Joiner to host: who asks.
    2 Hello(Hello),
    /// Host to joiner: the second message of OPAQUE.
    3 Challenge(ByteBuf),
    /// Joiner to host: the third message of OPAQUE.
    4 Proof(ByteBuf),
    /// Host to joiner: admitted.
    5 Authenticated(Box<Authenticated>),
    /// Host to joiner: not admitted, and why.
    6 Refused(Refusal),
    /// Joiner to host, at most [`crate::model::limits::ECHOES`] before anything else: send these bytes back. Host to
    /// joiner: here they are.
    7 Echo(ByteBuf),
    /// Joiner to host, in place of [`Frame::Hello`]: who asks, with the pass of an invite.
    8 Invited(Invited),
    /// Host to joiner: the person there is asked whether it may come in, for at most so many seconds.
    9 AwaitApproval(u32),
    /// Host to member, and on a peer link whoever waits for an answer: are you there (seed, "Heartbeat")?
    10 Beat(Beat),
    /// Yes, with the number of the beat.
    11 BeatReply(u32),
    /// Host to member: a part of the whole roster.
    12 RosterPage(RosterPage),
    /// Host to member: what changed in it.
    13 RosterDelta(RosterDelta),
    /// Member to host: a version is missing, please send the whole.
    14 RosterRequest,
    /// Host to member: the whole roster follows.
    15 RosterWhole(Box<Authenticated>),
    /// Member to host: this version is in force here; links to those it removed are cut.
    16 RosterApplied(u64),
    /// Member to host: what it wants to be called, and what it says of itself. The answer is a roster that says so.
    17 Presence(Presence),
    /// Host to member: not so, and why.
    18 PresenceRefused(Refusal),
    /// Host to a joiner that it knows, before anything else: it has opened the network again as the deputy of another host.
    19 OpenedAgain(Box<DeputyStatement>),
    /// First on a peer link, both ways: the network it belongs to, and what time it is.
    20 PeerHello(PeerHello),
    /// Messages (seed, "Communication").
    21 Batch(Addressed),
    /// So far they have arrived.
    22 Ack(Ack),
    /// Which messages to everyone have you got that came since then and that I may read?
    23 CatchUp(Timestamp),
    /// These. Host to member, unasked: something of these came too late for it.
    24 Held(AtMost<Held, { limits::HELD }>),
    /// Please hand these on.
    25 Wanted(Wanted),
    /// Here they are.
    26 HandedOn(HandedOn),
    /// They are not what the receiver has under their numbers.
    27 Conflict(Conflict),
    /// Joiner to a deputy that hosts: the host before is host still, with members, and takes joiners there.
    29 StillHost(AtMost<SocketAddr, { limits::CANDIDATES }>),
    /// Last on any link: why the sender closes it, and the reason in words.
    30 Goodbye(Refusal),
    /// Member to host: please make an invite.
    31 InviteRequest(InviteRequest),
    /// Host to member: here it is.
    32 InviteMade(InviteMade),
    /// Host to member: no, and why.
    33 InviteNotMade(Refusal),
    /// Host to member, after its first roster: what it tells everybody who comes in.
    34 Notes(Box<Notes>),
    /// Member to host, from the host before it: bans that it may not have been told of, as JSON.
    35 FormerBans(ByteBuf),
    /// Host to member: please take over; the host's own join port is this one.
    40 HandoverOffer(u16),
    /// Member to host: it listens for joiners there.
    41 HandoverReady(AtMost<SocketAddr, { limits::CANDIDATES }>),
    /// Host to members: can you reach it there?
    42 HandoverProbe(HandoverProbe),
    /// Member to host: yes, or why not.
    43 HandoverProbed(HandoverProbed),
    /// Host to member: a part of what a host needs.
    44 HandoverPart(HandoverPart),
    /// Member to host: all of it is kept.
    45 HandoverTaken,
    /// Host to members, or to whoever still takes it for the host: who is the host from now on.
    46 Handover(HandoverStatement),
    /// Both ways: nothing comes of the handover, and why.
    47 HandoverRefused(Refusal),
    /// Host to member: who may open the network again when the host is gone for too long; nobody when there is nothing.
    48 Deputy(Option<Box<DeputyStatement>>),
    /// Host to deputy: a part of what a host needs, as [`Frame::HandoverPart`].
    49 DeputyPart(HandoverPart),
    /// Member to host: please ask this peer to open a link to me. Host to member: this peer asks for a link from you.
    50 Call(PeerId),
    /// Host to member: see whether you reach these.
    51 TryPeers(AtMost<PeerId, { limits::TRIED_AT_ONCE }>),
    /// Member to host: what came of trying.
    52 Tried(AtMost<Tried, { limits::MEMBERS_MAX }>),
    /// Host to member: who is known not to reach whom.
    53 Unreachable(AtMost<Unreachable, { limits::UNREACHABLE }>),
    /// Member to host: who has reached whom?
    54 ReachabilityRequest,
    /// Host to member: these.
    55 ReachabilityPart(ReachabilityPart),
    /// On a peer link, to the relay: open a relayed link to this peer.
    60 RelayOpen(RelayedLink),
    /// On a peer link, from the relay: this peer has opened a relayed link to you.
    61 RelayOpened(RelayedLink),
    /// Both ways: a part of what goes over a relayed link.
    62 RelayBytes(RelayBytes),
    /// Both ways: it was taken.
    63 RelayTaken(RelayTaken),
    /// Both ways: the relayed link is no more.
    64 RelayClosed(RelayClosed),
    /// On a peer link: the person here wants to compare words. A commitment to the random part that follows.
    70 VerifyCommit([u8; 32]),
    /// On a peer link, the answer: a random part.
    71 VerifyNonce([u8; 16]),
    /// On a peer link: the random part that was committed to.
    72 VerifyReveal([u8; 16]),
    /// On a peer link: whether the person here says that the words are the same.
    73 VerifyAnswer(bool),
}

/// The tag of [`Frame::Batch`].
const BATCH: u8 = 21;

impl Frame {
    /// A batch as it travels, as [`Self::encode`] has it.
    #[must_use]
    pub fn encode_batch(roster: u64, batch: &Batch) -> Bytes {
        encode_payload(BATCH, &(roster, batch))
    }
}

/// A reason and its circumstances in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why.
    pub reason: CloseReason,
    /// In words, for people; cleaned before it is shown.
    pub detail: String,
}

/// Bytes that this layer does not look into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByteBuf(#[serde(with = "serde_bytes")] pub Vec<u8>);

/// postcard writes a `u8` as itself, so that the tag comes first. Writing these types to memory cannot fail; an
/// empty frame, which no peer accepts, would stand for it.
fn encode_payload<T: Serialize>(tag: u8, payload: &T) -> Bytes {
    postcard::to_stdvec(&(tag, payload)).unwrap_or_default().into()
}

fn decode_payload<T: DeserializeOwned>(tag: u8, bytes: &[u8]) -> Result<T, RecvError> {
    match postcard::take_from_bytes(bytes) {
        Ok((payload, [])) => Ok(payload),
        Ok((_, rest)) => Err(RecvError::TrailingBytes { tag, bytes: rest.len() }),
        Err(_) => Err(RecvError::Malformed(tag)),
    }
}

#[cfg(test)]
mod tests;

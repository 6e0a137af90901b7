//! All that front ends and core share: commands go down, events come up, as plain data.
//!
//! The `--json` contract is the serialised form of these types: a field may be added, none renamed.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub mod batch;
pub mod finding;
pub mod history;
pub mod invite;
pub mod name;
pub mod store;

pub use batch::{Progress, Said};
pub use finding::{Check, Finding, Verdict};
pub use history::{Audience, Compared, HistoryCommand, HistoryEvent, Hit, OpenedHistory, Part, Receipt};
pub use invite::{InviteInfo, InviteLink};
pub use name::{PeerName, Target};
pub use store::{StoreCommand, StoreEvent};

use crate::model::{
    Alias, Applicant, Attempt, Ban, CloseReason, DeliveryStatus, ErrorKind, FailReason, HistoryState,
    Liveness, MappingProtocol, MessageId, NetworkId, Notes, Password, Peer, PeerId, Penalty, Place, Reached,
    Recipient, Role, SafeText, Summary, Timestamp, Unreachable,
};

/// An address as a person or program writes it: with or without a port, which does not matter.
fn ip_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpAddr>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let ip = text.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|addr| addr.ip()));
    ip.map(Some).map_err(|_| serde::de::Error::custom(format!("\"addr\" is an IP address, not {text:?}")))
}

fn yes() -> bool {
    true
}

/// What a front end may ask of the node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "cmd", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum NodeCommand {
    /// Sends a text.
    Send {
        /// To everyone or to one.
        to: Target,
        /// The text, at most [`crate::model::limits::TEXT_BYTES`] bytes; cleaned before it is sent.
        text: String,
        /// The program's own name for the message, echoed in `delivery`.
        #[serde(default, rename = "ref")]
        reference: Option<String>,
    },
    /// Host: refuses a peer by key, by address, or both, and cuts it off.
    Ban {
        /// By key.
        #[serde(default)]
        peer: Option<PeerName>,
        /// By address.
        #[serde(default, deserialize_with = "ip_address")]
        addr: Option<IpAddr>,
        /// Told to the banned peer.
        #[serde(default)]
        reason: Option<String>,
    },
    /// Host: lifts every ban on a key or an address.
    Unban {
        /// By key or alias.
        #[serde(default)]
        peer: Option<PeerName>,
        /// By address.
        #[serde(default, deserialize_with = "ip_address")]
        addr: Option<IpAddr>,
        /// Not used; accepted so that the three commands look alike.
        #[serde(default)]
        reason: Option<String>,
    },
    /// Host: removes a member, or one that is away, which may join again with the password. Its name is free then.
    Kick {
        /// By key or alias.
        #[serde(default)]
        peer: Option<PeerName>,
        /// By address: every member that comes from it.
        #[serde(default, deserialize_with = "ip_address")]
        addr: Option<IpAddr>,
        /// Told to the member.
        #[serde(default)]
        reason: Option<String>,
    },
    /// Host: sets another password for those who join from now on; members stay in by their keys.
    #[serde(skip)]
    SetPassword(Password),
    /// Member: asks for admission now instead of at the next planned time.
    #[serde(skip)]
    Rejoin,
    /// Host: makes a member the host; this one stays as a member.
    Handover {
        /// By key or alias.
        peer: PeerName,
    },
    /// Host: names the member that may open the network again when the host is gone for too long; answered by a `deputy`
    /// event.
    Deputy {
        /// By key or alias; nothing = nobody.
        #[serde(default)]
        peer: Option<PeerName>,
    },
    /// Deputy: opens the network again, once the host has been gone for longer than its grace; answered by a `handover`
    /// event.
    TakeOver,
    /// Host, and members where the host lets them: makes an invite; answered by an `invite` event that has it.
    Invite {
        /// How many may come in by it, 1 to [`crate::model::limits::PASS_USES`]; nothing = one.
        #[serde(default)]
        uses: Option<u32>,
        /// Hours for which it is good, 1 to [`crate::model::limits::PASS_HOURS_MAX`]; nothing = a day.
        #[serde(default)]
        hours: Option<u32>,
        /// It has a pass; without one it says whose key the host has, and the password is asked for.
        #[serde(default = "yes")]
        pass: bool,
        /// Where joiners connect to, best first: not the front end's to say.
        #[serde(skip)]
        addrs: Vec<SocketAddr>,
    },
    /// Host: lets in who waits at the door; answered by a `applicants` event without it, or by an `error`.
    Approve {
        /// By key, or by the name that it wants, if nobody else there wants it.
        peer: PeerName,
    },
    /// Host: turns away who waits at the door; answered as `approve`.
    Refuse {
        /// By key, or by the name that it wants, if nobody else there wants it.
        peer: PeerName,
        /// Told to it.
        #[serde(default)]
        reason: Option<String>,
    },
    /// Host: takes an invite back; answered by an `invites` event without it.
    Revoke {
        /// By its id; nothing = all.
        #[serde(default)]
        invite: Option<String>,
    },
    /// Whether messages may go to classic peers, in clear; answered by a `cleartext` event where there can be any.
    Cleartext {
        /// They may.
        allow: bool,
    },
    /// Has words made that two people compare; answered by a `verify` event that has them, or by `not_verified`.
    Verify {
        /// With whom: by key or alias.
        peer: PeerName,
    },
    /// Says that these words are the same at both ends, or that they are not; answered by `verified` once both have said the
    /// same ones.
    Compared {
        /// With whom: by key or alias.
        peer: PeerName,
        /// The words that were compared; nothing = they differ.
        #[serde(default)]
        words: Option<Vec<String>>,
    },
    /// Who has reached whom; answered by a `ways` event.
    Ways,
    /// Asks for another alias; answered by a `roster` event that has it, or by an `error`.
    Nick {
        /// The alias wanted.
        alias: String,
    },
    /// Says something of oneself, such as that one is away; answered by a `roster` event that has it, or by an `error`.
    Away {
        /// What, at most [`crate::model::limits::STATUS_CHARACTERS`] characters; nothing = one is here.
        #[serde(default)]
        text: Option<String>,
    },
    /// Answers with a `roster` event.
    Peers,
    /// Says goodbye, flushes, ends.
    Leave,
}

/// What happened in the node.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum NodeEvent {
    /// This node takes connections.
    Listening {
        /// Host or member.
        role: Role,
        /// Host: the join address.
        #[serde(skip_serializing_if = "Option::is_none")]
        join_addr: Option<SocketAddr>,
        /// Where peers talk to this one.
        peer_addr: SocketAddr,
        /// This node's key.
        peer_id: PeerId,
        /// This node's label.
        alias: Alias,
        /// The network's name.
        network: SafeText,
        /// The network's identity, by which its history is kept.
        #[serde(serialize_with = "display")]
        network_id: NetworkId,
    },
    /// Member: the way into the network changed.
    Link {
        /// What it is now.
        state: LinkState,
        /// Why, for people.
        message: SafeText,
        /// When admission is asked for again.
        #[serde(skip_serializing_if = "Option::is_none", rename = "retry_in_ms", serialize_with = "millis")]
        retry_in: Option<Duration>,
        /// The host is away: until when the members go on under its last roster.
        #[serde(skip_serializing_if = "Option::is_none")]
        alone_until: Option<Timestamp>,
    },
    /// Member: admitted.
    Authenticated {
        /// The host.
        host: Arc<Peer>,
        /// The network's name.
        network: SafeText,
    },
    /// The members, this node included.
    Roster {
        /// Counts changes.
        version: u64,
        /// All, the host first, then by alias.
        peers: Vec<Arc<Peer>>,
    },
    /// A peer became a member.
    PeerUp {
        /// Who.
        peer: Arc<Peer>,
    },
    /// A peer is no longer a member, or is banned or kicked while it is away.
    PeerDown {
        /// Who.
        peer: Arc<Peer>,
        /// Why.
        reason: CloseReason,
    },
    /// Messages of one batch were received, or taken for sending. [`Self::expand`] makes a [`Self::Message`] of each.
    #[serde(skip)]
    Batch(Box<Said>),
    /// What became of own messages, for one recipient. [`Self::expand`] makes a [`Self::Delivery`] of each.
    #[serde(skip)]
    Progress(Box<Progress>),
    /// A message was received, or taken for sending.
    Message {
        /// Its identity.
        #[serde(serialize_with = "display")]
        id: MessageId,
        /// Who wrote it.
        from: Arc<Peer>,
        /// For everyone or for one.
        to: Recipient,
        /// What it says.
        text: SafeText,
        /// When its author says it was sent.
        sent_at: Timestamp,
        /// Written here.
        own: bool,
        /// Messages of this stream that were not received just before this one.
        #[serde(skip_serializing_if = "is_zero")]
        missed: u64,
        /// Own messages: the program's own name for it.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<Arc<str>>,
        /// It was missed, and handed on later.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        late: bool,
        /// What a classic peer calls itself in it, when that is not its alias: nobody checks it.
        #[serde(skip_serializing_if = "Option::is_none")]
        claims: Option<SafeText>,
        /// When it came or went; for a late one about when it would have come.
        #[serde(skip)]
        came_at: Timestamp,
        /// Where it stands in its conversation.
        #[serde(skip)]
        place: Place,
    },
    /// Events were not read in time, and these were left out before this one. The messages are in the history; of what
    /// changes, the newest state follows.
    Skipped {
        /// Messages, received and sent.
        messages: u64,
        /// Deliveries.
        deliveries: u64,
    },
    /// Messages that were missing just before a message have come meanwhile.
    Gap {
        /// The message after them.
        #[serde(serialize_with = "display")]
        before: MessageId,
        /// Who wrote them.
        from: Arc<Peer>,
        /// How many are still missing; 0 when the gap is closed.
        missing: u64,
    },
    /// What became of an own message, for one recipient.
    Delivery {
        /// The message.
        #[serde(serialize_with = "display")]
        id: MessageId,
        /// The sender's own name for it.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<Arc<str>>,
        /// The recipient.
        peer: Arc<Peer>,
        /// How far it came.
        status: DeliveryStatus,
        /// Why it failed.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<FailReason>,
        /// How many recipients have it.
        summary: Summary,
    },
    /// What the heartbeat says of a peer: the host's view of each member, a member's view of its host.
    Heartbeat {
        /// Who.
        peer: Arc<Peer>,
        /// Alive, suspect or dead.
        state: Liveness,
        /// The last round trip in microseconds; null before the first.
        #[serde(rename = "rtt_us", serialize_with = "micros")]
        rtt: Option<Duration>,
        /// Heartbeats in a row without an answer.
        missed: u32,
    },
    /// Host: an address did not prove the password.
    Attempt {
        /// Which.
        addr: IpAddr,
        /// How many are left before it is banned.
        left: u32,
    },
    /// Host: the bans and wrong passwords now in force.
    Admission {
        /// Whom the host refuses.
        bans: Vec<Ban>,
        /// Wrong passwords by address.
        attempts: Vec<Attempt>,
        /// Addresses that are held back for handshakes that they have wasted.
        penalties: Vec<Penalty>,
    },
    /// An invite was made, and is kept. Whoever has the link may get in.
    Invite {
        /// What is given to others.
        link: InviteLink,
        /// What the host knows of its pass; nothing where it has none.
        #[serde(flatten)]
        info: Option<InviteInfo>,
    },
    /// Host: the invites that let somebody in, each time that they change.
    Invites {
        /// All of them, oldest first.
        invites: Vec<InviteInfo>,
    },
    /// Host: who waits at the door for its yes, each time that it changes.
    Applicants {
        /// All of them, who came first.
        applicants: Vec<Applicant>,
    },
    /// Member: what the host tells everybody who comes in.
    Notes(Notes),
    /// The words that two people compare: the same at both ends, unless somebody is between them.
    Verify {
        /// With whom.
        peer: Arc<Peer>,
        /// The words.
        words: Vec<String>,
        /// The person here has asked for them.
        own: bool,
    },
    /// Both have said that the words are the same: the key is its owner's, for good.
    Verified {
        /// Whose.
        peer: Arc<Peer>,
    },
    /// Nothing came of comparing words.
    NotVerified {
        /// With whom.
        peer: Arc<Peer>,
        /// Why not, for people.
        message: SafeText,
    },
    /// A ban is in force and kept (host), or is the reason for being refused (the banned peer).
    Banned {
        /// By key.
        #[serde(skip_serializing_if = "Option::is_none")]
        peer_id: Option<PeerId>,
        /// By address.
        #[serde(skip_serializing_if = "Option::is_none")]
        addr: Option<IpAddr>,
        /// Why.
        reason: SafeText,
    },
    /// A ban was lifted.
    Unbanned {
        /// By key.
        #[serde(skip_serializing_if = "Option::is_none")]
        peer_id: Option<PeerId>,
        /// By address.
        #[serde(skip_serializing_if = "Option::is_none")]
        addr: Option<IpAddr>,
        /// Why it had been set.
        reason: SafeText,
    },
    /// Host: members that have cut their links to a removed peer.
    CutOff {
        /// The removed peer.
        peer_id: PeerId,
        /// Members that cut it off so far.
        by: u32,
        /// Members that were asked to.
        of: u32,
    },
    /// Members that cannot open a link to others: all that is known, each time that it changes.
    NoWays {
        /// Who, to whom, and why not.
        ways: Vec<Unreachable>,
    },
    /// Who has reached whom the last time that it tried. What is not here was not tried, or is among the ways that do
    /// not exist.
    Ways {
        /// By who tried.
        rows: Vec<Reached>,
    },
    /// The link to a peer goes another way than before.
    Route {
        /// To whom.
        peer: Arc<Peer>,
        /// Who carries it; nothing when it is direct.
        via: Option<Arc<Peer>>,
    },
    /// A peer's clock is more than a minute ahead of this machine's, or behind it.
    Clock {
        /// Whose.
        peer: Arc<Peer>,
        /// By how much, in milliseconds; negative when it is behind.
        ahead_ms: i64,
    },
    /// Somebody else is the host from now on.
    Handover {
        /// Who.
        host: Arc<Peer>,
        /// The join address from now on.
        join_addr: SocketAddr,
    },
    /// Host: what came of asking the router for its port; told when it changes.
    PortMapping {
        /// Where joiners reach the host from the internet; nothing when they do not.
        addr: Option<SocketAddr>,
        /// How the router was asked; nothing when it opened nothing.
        protocol: Option<MappingProtocol>,
        /// The same for people, with the cause where it failed.
        message: SafeText,
    },
    /// Who may open the network again when the host is gone for too long.
    Deputy {
        /// Who; nothing = nobody.
        peer: Option<Arc<Peer>>,
    },
    /// The password was changed.
    PasswordChanged,
    /// Where the history of this network is kept; told at the beginning and when it changes.
    History {
        /// Where.
        state: HistoryState,
        /// Cause and remedy; empty when all is as configured.
        message: SafeText,
    },
    /// The network lets classic peers in: whether messages go to them, in clear.
    Cleartext {
        /// They do.
        allowed: bool,
        /// They do not, since this network was without classic peers before: somebody has to say so.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        asked: bool,
    },
    /// This machine slept, or this program was stopped.
    Suspended {
        /// For how long.
        #[serde(rename = "for_ms", serialize_with = "whole_millis")]
        time: Duration,
    },
    /// Something went wrong; the session goes on unless `left` follows.
    Error {
        /// What kind of thing.
        kind: ErrorKind,
        /// Cause and remedy.
        message: SafeText,
        /// The program's own name for the message that was not taken.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<Arc<str>>,
        /// The message that was not taken, for whoever typed it.
        #[serde(skip)]
        refused: Option<Box<(Target, String)>>,
    },
    /// The session ended; nothing follows.
    Left {
        /// Why.
        reason: CloseReason,
        /// Cause and remedy.
        message: SafeText,
        /// Own messages of this session that somebody does not have for whom they are.
        #[serde(skip_serializing_if = "is_zero")]
        undelivered: u64,
    },
}

impl NodeEvent {
    /// An error for people.
    #[must_use]
    pub fn error(kind: ErrorKind, message: &(impl fmt::Display + ?Sized)) -> Self {
        Self::Error { kind, message: SafeText::line(&message.to_string()), reference: None, refused: None }
    }
}

/// A member's way into the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LinkState {
    /// Reaching the host.
    Connecting,
    /// Proving the password or the key.
    Authenticating,
    /// Waiting before the next try.
    Waiting,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn display<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn whole_millis<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    u64::try_from(value.as_millis()).unwrap_or(u64::MAX).serialize(serializer)
}

#[allow(clippy::ref_option, reason = "serde's signature")]
fn millis<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    value.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).serialize(serializer)
}

#[allow(clippy::ref_option, reason = "serde's signature")]
fn micros<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    value.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)).serialize(serializer)
}

#[cfg(test)]
mod tests;

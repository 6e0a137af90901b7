//! Messages to and from classic peers (the Python program): each over a connection of its own (seed, "Temporary Socket"), in clear, and
//! known to have arrived only where a reply says so.
//!
//! Who said something is told by where it came from; what a classic peer calls itself is only what it says. Nothing here
//! may send anything in clear where the network or the person here does not want it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, SocketAddrV4},
};

use bytes::Bytes;

use rand_chacha::ChaCha20Rng;

use super::{
    ConnId, Output,
    group::Group,
    messaging::{LogKey, Messaging},
    roster::Changes,
    turn::Turn,
};
use crate::{
    api::NodeEvent,
    model::{
        Alias, Batch, CloseReason, Closed, ErrorKind, FailReason, MessageId, Moment, PeerId, Recipient,
        Resolution, SafeText, SendError, Wire, limits,
    },
    wire::classic::{Message, Object, Reply, To},
};

/// A connection that is to bring a message has had its time.
pub(super) type Timer = ConnId;

/// What this part asks for.
#[derive(Debug)]
pub(super) enum Ask {
    Output(Output),
    /// A classic peer could not be reached.
    Failed(PeerId, Closed),
    /// What was sent to a classic peer has arrived.
    Arrived(PeerId),
}

impl From<Output> for Ask {
    fn from(output: Output) -> Self {
        Self::Output(output)
    }
}

/// A message of a classic peer, until it is kept.
#[derive(Debug)]
struct Received {
    conn: ConnId,
    /// What says that it is here.
    reply: Object,
}

/// What is said over classic connections.
#[derive(Debug)]
pub(super) struct ClassicMessaging {
    pub(super) turn: Turn<Timer, Ask>,
    /// Connections that are to bring a message, and where they come from.
    receiving: BTreeMap<ConnId, IpAddr>,
    received: BTreeMap<MessageId, Received>,
    /// What is being said to whom.
    sending: BTreeMap<PeerId, (LogKey, u64)>,
    /// Messages so far, by author, for everyone or for this peer.
    counts: BTreeMap<(PeerId, bool), u64>,
}

/// Classic members that something from this address may come from. On one machine all addresses are one.
fn near(group: &Group, from: IpAddr) -> impl Iterator<Item = SocketAddrV4> {
    let is_from = move |addr: &SocketAddrV4| {
        IpAddr::V4(*addr.ip()) == from || (addr.ip().is_loopback() && from.is_loopback())
    };
    group.roster.entries().filter_map(|entry| entry.peer_id.address()).filter(is_from)
}

/// The member that a message comes from: the only one there, or the one of those there that it says.
fn author(group: &Group, from: IpAddr, says: Option<SocketAddrV4>) -> Option<PeerId> {
    let near: Vec<SocketAddrV4> = near(group, from).collect();
    let said = says.filter(|addr| near.contains(addr));
    let only = near.first().copied().filter(|_| near.len() == 1);
    said.or(only).map(PeerId::of_address)
}

/// What somebody calls itself, when that is not its label.
fn claims(says: &str, label: &Alias) -> Option<SafeText> {
    let start = || says.chars().take(limits::ALIAS_CHARACTERS).collect::<String>();
    (Alias::claimed(says).as_ref() != Some(label)).then(|| SafeText::line(&start()))
}

impl ClassicMessaging {
    pub(super) fn new(now: Moment, rng: &mut ChaCha20Rng) -> Self {
        Self {
            turn: Turn::new(now, rng),
            receiving: BTreeMap::new(),
            received: BTreeMap::new(),
            sending: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    /// Somebody wants to say something in clear, and has a while for it. Strangers are not listened to.
    pub(super) fn connected(&mut self, group: &Group, conn: ConnId, remote: SocketAddr) {
        let from = remote.ip().to_canonical();
        if near(group, from).next().is_none() {
            return self.turn.close(conn, CloseReason::NotAMember);
        }
        self.receiving.insert(conn, from);
        self.turn.set(conn, limits::CLASSIC_REPLY);
    }

    /// True for a connection that brings a message.
    pub(super) fn has(&self, conn: ConnId) -> bool {
        self.receiving.contains_key(&conn)
    }

    /// Who says something over this connection, and what it calls itself, if that can be a label.
    pub(super) fn label_in(&self, group: &Group, conn: ConnId, object: &Object) -> Option<(PeerId, Alias)> {
        let (Object::Message(message), Some(from)) = (object, self.receiving.get(&conn)) else {
            return None;
        };
        Some((author(group, *from, message.from.socket())?, Alias::claimed(&message.alias)?))
    }

    /// A classic peer says something.
    pub(super) fn object(&mut self, group: &Group, messaging: &mut Messaging, conn: ConnId, object: Object) {
        let Some(from) = self.receiving.remove(&conn) else { return };
        let Object::Message(message) = object else { return self.hang_up(conn) };
        let Some(peer) = author(group, from, message.from.socket()) else { return self.hang_up(conn) };
        let Some(entry) = group.roster.get(&peer) else { return self.hang_up(conn) };
        self.turn.authenticated(conn);
        // A classic peer does not count what it says: whoever hears it does, from its admission on.
        let everyone = message.to == To::Everyone;
        let to = if everyone { Recipient::Everyone } else { Recipient::Peer(group.me()) };
        let epoch = u64::try_from(entry.since.0).unwrap_or(1).max(1);
        let count = self.counts.get(&(peer, everyone)).copied().unwrap_or(0);
        let sequence = count.max(messaging.last_from(&peer, everyone, epoch)) + 1;
        let id = MessageId { author: peer, epoch, to, sequence };
        let (sent_at, texts) = (self.turn.now.wall, vec![SafeText::clean(&message.data)]);
        let said = Batch { stream: id.stream(), first: sequence, sent_at, texts, signature: None };
        if !said.is_lawful() {
            let message = format!(
                "{} sent a message of 0 or more than {} bytes; it was not taken",
                entry.alias,
                limits::TEXT_BYTES
            );
            self.turn.event(NodeEvent::error(ErrorKind::Recv, &message));
            return self.hang_up(conn);
        }
        if !messaging.has_room() {
            return self.hang_up(conn);
        }
        let waiting = self.received.keys().filter(|id| id.author == peer).count();
        let claims = claims(&message.alias, &entry.alias);
        if waiting >= limits::CLASSIC_WAITING || !messaging.take_in_classic(group, conn, said, claims) {
            // Nothing holds a classic peer back but that nobody answers.
            self.turn.events(group.blame(&peer, "more than it may"));
            return self.hang_up(conn);
        }
        self.counts.insert((peer, everyone), sequence);
        let reply = Object::Reply(Reply { data: message, alias: group.alias.to_string() });
        self.received.insert(id, Received { conn, reply });
        messaging.release(group, peer);
    }

    fn hang_up(&mut self, conn: ConnId) {
        self.receiving.remove(&conn);
        self.turn.timers.cancel(conn);
        self.turn.close(conn, CloseReason::ProtocolError);
    }

    /// A connection has had its time.
    pub(super) fn timer(&mut self, conn: Timer) {
        self.receiving.remove(&conn);
        self.turn.close(conn, CloseReason::TimedOut);
    }

    /// A connection that brought a message is gone.
    pub(super) fn closed(&mut self, group: &Group, conn: ConnId, closed: &Closed) {
        self.turn.timers.cancel(conn);
        let Some(from) = self.receiving.remove(&conn) else { return };
        if let (CloseReason::ProtocolError, Some(peer)) = (closed.reason, author(group, from, None)) {
            self.turn.events(group.blame(&peer, &closed.detail));
        }
    }

    /// A message of a classic peer is kept: it is told so, once and for good.
    pub(super) fn kept(&mut self, group: &Group, id: &MessageId) {
        let Some(Received { conn, reply }) = self.received.remove(id) else { return };
        if group.cleartext.is_allowed {
            self.turn.send_object(conn, &reply);
        }
        self.turn.timers.cancel(conn);
        self.turn.close(conn, CloseReason::Left);
    }

    /// What is forgotten of classic peers that are gone.
    pub(super) fn roster_changed(&mut self, changes: &Changes) {
        for (entry, _) in changes.removed.iter().filter(|(entry, _)| entry.peer_id.wire() == Wire::Classic) {
            let peer = entry.peer_id;
            for (_, received) in self.received.extract_if(.., |id, _| id.author == peer) {
                self.turn.close(received.conn, CloseReason::NotAMember);
            }
            self.counts.retain(|(author, _), _| *author != peer);
        }
    }

    /// Says the next message to a classic peer: one at a time.
    pub(super) fn send(&mut self, group: &Group, messaging: &mut Messaging, peer: PeerId) {
        if self.sending.contains_key(&peer) {
            // What is on its way cannot be called back; what becomes of it is told when that is known.
            return;
        }
        if !group.speaks_clear() {
            return messaging.fail_all(group, peer, FailReason::NotInClear);
        }
        let from = group.own_address(&peer).map(|addr| *addr.ip());
        let Some(addr) = peer.address().filter(|_| group.is_member(&peer)) else { return };
        while let Some((key, sequence, text)) = messaging.next_text(group, &peer) {
            match object_for(group, &peer, key.0, text.as_str()) {
                Ok(bytes) => {
                    self.sending.insert(peer, (key, sequence));
                    return self.turn.ask(Output::SendClassic(peer, addr, from, bytes));
                }
                Err(error) => {
                    messaging.resolve(group, key, &peer, sequence, Resolution::Failed(error.reason()));
                }
            }
        }
    }

    /// What became of a message to a classic peer: it has said that it has it, or has said nothing.
    pub(super) fn sent(
        &mut self,
        group: &Group,
        messaging: &mut Messaging,
        peer: PeerId,
        result: Result<bool, Closed>,
    ) {
        let said = self.sending.remove(&peer);
        match (result, said) {
            (Ok(true), Some((key, sequence))) => {
                messaging.classic_acknowledged(group, key, peer, sequence);
                self.turn.ask(Ask::Arrived(peer));
            }
            (Ok(false), Some((key, sequence))) => {
                messaging.resolve(group, key, &peer, sequence, Resolution::Sent);
            }
            (Ok(_), None) => {}
            (Err(closed), _) => return self.turn.ask(Ask::Failed(peer, closed)),
        }
        self.send(group, messaging, peer);
    }
}

/// A message as it is said to a classic peer; or why it is not.
pub(super) fn object_for(
    group: &Group,
    peer: &PeerId,
    to: Recipient,
    text: &str,
) -> Result<Bytes, SendError> {
    let name = || group.person(peer).map_or_else(|| peer.short(), |peer| peer.alias.to_string());
    let (Some(addr), Some(from), true) = (peer.address(), group.own_address(peer), group.is_member(peer))
    else {
        return Err(SendError::ClassicAway(name()));
    };
    if !group.speaks_clear() {
        return Err(SendError::NotInClear(name()));
    }
    let to = if to == Recipient::Everyone { To::Everyone } else { To::Peer(addr.into()) };
    let (data, alias) = (text.to_owned(), group.alias.to_string());
    let bytes = Object::Message(Message { data, alias, to, from: from.into() }).encode();
    if bytes.len() > limits::CLASSIC_OBJECT {
        return Err(SendError::TooLongForClassic { name: name(), bytes: bytes.len() });
    }
    Ok(bytes)
}

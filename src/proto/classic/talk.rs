//! Messages to and from classic peers: each over a connection of its own (seed, "Temporary Socket"), in clear, and
//! known to have arrived only where a reply says so.
//!
//! Who said something is told by where it came from; what a classic peer calls itself is only what it says.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, SocketAddrV4},
};

use bytes::Bytes;

use crate::{
    api::NodeEvent,
    model::{
        Alias, CloseReason, Closed, DeliveryStatus, ErrorKind, MessageId, Moment, PeerId, Recipient,
        RosterEntry, SafeText, SendError, Wire, limits,
    },
    proto::{
        ConnId, Output,
        core::{Core, Timer},
        mesh::Mesh,
    },
    wire::{
        Communication,
        classic::{Message, Object, To},
    },
};

/// A message of a classic peer, until it is kept.
#[derive(Debug)]
struct Heard {
    conn: ConnId,
    /// What says that it is here.
    reply: Bytes,
    /// What its sender calls itself, when that is not its label.
    claims: Option<SafeText>,
}

/// What is said over classic connections.
#[derive(Debug, Default)]
pub(in crate::proto) struct Talk {
    /// Connections that bring a message, and where they come from.
    talking: BTreeMap<ConnId, IpAddr>,
    heard: BTreeMap<MessageId, Heard>,
    /// Messages so far, by author, for everyone or for this peer.
    counts: BTreeMap<(PeerId, bool), u64>,
}

impl Talk {
    /// What the sender of a message calls itself, when that is not its label.
    pub(in crate::proto) fn claimed_in(&self, id: &MessageId) -> Option<SafeText> {
        self.heard.get(id).and_then(|heard| heard.claims.clone())
    }
}

/// True for a classic peer that has not said yet what it is called.
pub(super) fn is_unnamed(entry: &RosterEntry) -> bool {
    let by_ip = entry.peer_id.address().is_some_and(|addr| entry.alias.as_str() == addr.ip().to_string());
    entry.wire == Wire::Classic && (by_ip || entry.alias == Alias::of_key(&entry.peer_id))
}

/// The member that a message comes from. On one machine all addresses are one, so that only the message tells.
fn author(core: &Core, from: IpAddr, says: Option<SocketAddrV4>) -> Option<PeerId> {
    let is_from = |addr: SocketAddrV4| {
        IpAddr::V4(*addr.ip()) == from || (addr.ip().is_loopback() && from.is_loopback())
    };
    let classic = core.roster.entries().filter_map(|entry| entry.peer_id.address());
    let near: Vec<SocketAddrV4> = classic.filter(|addr| is_from(*addr)).collect();
    let said = says.filter(|addr| near.contains(addr));
    let only = near.first().copied().filter(|_| near.len() == 1);
    said.or(only).map(PeerId::of_address)
}

impl Mesh {
    /// Somebody wants to say something in clear. Strangers are not listened to.
    pub(in crate::proto) fn classic_connected(&mut self, core: &mut Core, conn: ConnId, remote: SocketAddr) {
        core.opened_classic(conn);
        let from = remote.ip().to_canonical();
        let is_near = |entry: &RosterEntry| {
            let addr = entry.peer_id.address();
            addr.is_some_and(|addr| {
                IpAddr::V4(*addr.ip()) == from || (addr.ip().is_loopback() && from.is_loopback())
            })
        };
        if core.roster.entries().any(is_near) {
            self.talk.talking.insert(conn, from);
        } else {
            core.close(conn, CloseReason::NotAMember);
        }
    }

    /// True for a connection that brings a message.
    pub(in crate::proto) fn is_talking(&self, conn: ConnId) -> bool {
        self.talk.talking.contains_key(&conn)
    }

    /// Who says something over this connection, and what it calls itself, if that can be a label.
    pub(in crate::proto) fn label_in(
        &self,
        core: &Core,
        conn: ConnId,
        object: &Object,
    ) -> Option<(PeerId, Alias)> {
        let (Object::Message(message), Some(from)) = (object, self.talk.talking.get(&conn)) else {
            return None;
        };
        Some((author(core, *from, message.from.socket())?, Alias::claimed(&message.alias)?))
    }

    /// A classic peer says something.
    pub(in crate::proto) fn object(&mut self, core: &mut Core, conn: ConnId, object: Object, now: Moment) {
        let Some(from) = self.talk.talking.get(&conn).copied() else { return };
        let Object::Message(message) = object else { return self.stop_talking(core, conn) };
        let Some(peer) = author(core, from, message.from.socket()) else {
            return self.stop_talking(core, conn);
        };
        let Some(entry) = core.roster.get(&peer).cloned() else { return self.stop_talking(core, conn) };
        core.authenticated(conn, now);
        let everyone = message.to == To::Everyone;
        let to = if everyone { Recipient::Everyone } else { Recipient::Peer(core.me()) };
        let epoch = u64::try_from(entry.since.0).unwrap_or(1).max(1);
        let state = self.peer(peer, &core.policy, now.instant);
        let here = state.inbox.spans(everyone, epoch).last().map_or(0, |span| span.to);
        let count = self.talk.counts.entry((peer, everyone)).or_default();
        let sequence = (*count).max(here) + 1;
        let id = MessageId { author: peer, epoch, to, sequence };
        let said = Communication { id, sent_at: now.wall, text: message.data.clone(), signature: None };
        if !Self::is_lawful(&said, true) {
            let message = format!(
                "{} sent a message of 0 or more than {} bytes; it was not taken",
                entry.alias,
                limits::TEXT_BYTES
            );
            core.event(NodeEvent::error(ErrorKind::Recv, &message));
            return self.stop_talking(core, conn);
        }
        let state = self.peer(peer, &core.policy, now.instant);
        if state.inbox.take_in(said).is_err() {
            // Nothing holds a classic peer back but that nobody answers.
            core.blame(&peer, "more than it may");
            return self.stop_talking(core, conn);
        }
        self.talk.counts.insert((peer, everyone), sequence);
        let label = Alias::claimed(&message.alias);
        let claims = (label.as_ref() != Some(&entry.alias)).then(|| {
            let start: String = message.alias.chars().take(limits::ALIAS_CHARACTERS).collect();
            SafeText::line(&start)
        });
        let reply = Object::reply(&message, core.alias.as_str());
        self.talk.heard.insert(id, Heard { conn, reply, claims });
        self.release(core, peer, now);
    }

    fn stop_talking(&mut self, core: &mut Core, conn: ConnId) {
        self.talk.talking.remove(&conn);
        core.close(conn, CloseReason::ProtocolError);
    }

    /// A connection that brought a message is gone.
    pub(in crate::proto) fn stopped_talking(&mut self, core: &mut Core, conn: ConnId, closed: &Closed) {
        let Some(from) = self.talk.talking.remove(&conn) else { return };
        if let (CloseReason::ProtocolError, Some(peer)) = (closed.reason, author(core, from, None)) {
            core.blame(&peer, &closed.detail);
        }
    }

    /// A message of a classic peer is kept, or at least here: it is told so, once and for good.
    pub(in crate::proto) fn reply(&mut self, core: &mut Core, id: &MessageId, for_good: bool) {
        if !for_good {
            return;
        }
        let Some(Heard { conn, reply, .. }) = self.talk.heard.remove(id) else { return };
        if core.is_clear_allowed {
            core.send_object_bytes(conn, reply);
        }
        core.close(conn, CloseReason::Left);
    }

    /// What is forgotten of a classic peer that is gone.
    pub(in crate::proto) fn forget_talk(&mut self, core: &mut Core, peer: &PeerId) {
        let gone: Vec<MessageId> = self.talk.heard.keys().filter(|id| id.author == *peer).copied().collect();
        for id in gone {
            if let Some(heard) = self.talk.heard.remove(&id) {
                core.close(heard.conn, CloseReason::NotAMember);
            }
        }
        self.talk.counts.retain(|(author, _), _| author != peer);
    }

    /// A message as it is said to a classic peer; or why it is not.
    pub(in crate::proto) fn object_for(
        core: &Core,
        peer: &PeerId,
        to: Recipient,
        text: &str,
    ) -> Result<Bytes, SendError> {
        let name = || core.person(peer).map_or_else(|| peer.short(), |peer| peer.alias.to_string());
        let (Some(addr), Some(from), true) = (peer.address(), core.own_address(peer), core.is_member(peer))
        else {
            return Err(SendError::ClassicAway(name()));
        };
        if !core.policy.classic || !core.is_clear_allowed {
            return Err(SendError::NotInClear(name()));
        }
        let to = if to == Recipient::Everyone { To::Everyone } else { To::Peer(addr.into()) };
        let (data, alias) = (text.to_owned(), core.alias.to_string());
        let bytes = Object::Message(Message { data, alias, to, from: from.into() }).encode();
        if bytes.len() > limits::CLASSIC_OBJECT {
            return Err(SendError::TooLongForClassic { name: name(), bytes: bytes.len() });
        }
        Ok(bytes)
    }

    /// Says the next message to a classic peer: one at a time. True when nothing waits any more.
    pub(in crate::proto) fn say(&mut self, core: &mut Core, peer: PeerId) -> bool {
        let from = core.own_address(&peer).map(|addr| *addr.ip());
        let Some(state) = self.peers.get_mut(&peer) else { return true };
        if state.dialling || core.timers.is_set(Timer::Dial(peer)) {
            return state.outbox.is_all_sent();
        }
        let Some(addr) = peer.address().filter(|_| core.is_member(&peer)) else { return false };
        let Some(bytes) = state.outbox.next_frame() else { return state.outbox.is_empty() };
        state.dialling = true;
        core.outputs.push_back(Output::Say(peer, addr, from, bytes));
        state.outbox.is_all_sent()
    }

    /// What became of a message to a classic peer.
    pub(in crate::proto) fn said(
        &mut self,
        core: &mut Core,
        peer: PeerId,
        result: Result<bool, Closed>,
        now: Moment,
    ) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.dialling = false;
        match result {
            Ok(is_answered) => {
                let status = if is_answered { DeliveryStatus::Delivered } else { DeliveryStatus::Sent };
                if let Some((everyone, epoch, sequence)) = state.outbox.first_sent() {
                    let to = if everyone { Recipient::Everyone } else { Recipient::Peer(peer) };
                    let first = MessageId { author: core.me(), epoch, to, sequence };
                    self.arrived(core, peer, &first, sequence, status, now);
                }
                self.say(core, peer);
            }
            Err(closed) => {
                state.outbox.link_lost();
                self.dial_failed(core, peer, &closed, now);
            }
        }
    }
}

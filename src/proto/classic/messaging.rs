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
        Alias, Batch, CloseReason, Closed, ErrorKind, MessageId, PeerId, Recipient, Resolution, RosterEntry,
        SafeText, SendError, Wire, limits,
    },
    proto::{
        ConnId, Output,
        core::{Core, Timer},
        mesh::{LogKey, Mesh},
    },
    wire::classic::{Message, Object, Reply, To},
};

/// A message of a classic peer, until it is kept.
#[derive(Debug)]
struct Received {
    conn: ConnId,
    /// What says that it is here.
    reply: Bytes,
    /// What its sender calls itself, when that is not its label.
    claims: Option<SafeText>,
}

/// What is said over classic connections.
#[derive(Debug, Default)]
pub(in crate::proto) struct ClassicMessaging {
    /// Connections that are to bring a message, and where they come from.
    receiving: BTreeMap<ConnId, IpAddr>,
    received: BTreeMap<MessageId, Received>,
    /// What is being said to whom.
    sending: BTreeMap<PeerId, (LogKey, u64)>,
    /// Messages so far, by author, for everyone or for this peer.
    counts: BTreeMap<(PeerId, bool), u64>,
}

impl ClassicMessaging {
    /// What the sender of a message calls itself, when that is not its label.
    pub(in crate::proto) fn claimed_in(&self, id: &MessageId) -> Option<SafeText> {
        self.received.get(id).and_then(|received| received.claims.clone())
    }
}

/// True for a classic peer that has not said yet what it is called.
pub(super) fn is_unnamed(entry: &RosterEntry) -> bool {
    let by_ip = entry.peer_id.address().is_some_and(|addr| entry.alias.as_str() == addr.ip().to_string());
    entry.wire == Wire::Classic && (by_ip || entry.alias == Alias::of_key(&entry.peer_id))
}

/// Classic members that something from this address may come from. On one machine all addresses are one.
fn near(core: &Core, from: IpAddr) -> impl Iterator<Item = SocketAddrV4> {
    let is_from = move |addr: &SocketAddrV4| {
        IpAddr::V4(*addr.ip()) == from || (addr.ip().is_loopback() && from.is_loopback())
    };
    core.roster.entries().filter_map(|entry| entry.peer_id.address()).filter(is_from)
}

/// The member that a message comes from: the only one there, or the one of those there that it says.
fn author(core: &Core, from: IpAddr, says: Option<SocketAddrV4>) -> Option<PeerId> {
    let near: Vec<SocketAddrV4> = near(core, from).collect();
    let said = says.filter(|addr| near.contains(addr));
    let only = near.first().copied().filter(|_| near.len() == 1);
    said.or(only).map(PeerId::of_address)
}

/// What somebody calls itself, when that is not its label.
fn claims(says: &str, label: &Alias) -> Option<SafeText> {
    let start = || says.chars().take(limits::ALIAS_CHARACTERS).collect::<String>();
    (Alias::claimed(says).as_ref() != Some(label)).then(|| SafeText::line(&start()))
}

impl Mesh {
    /// Somebody wants to say something in clear, and has a while for it. Strangers are not listened to.
    pub(in crate::proto) fn classic_connected(&mut self, core: &mut Core, conn: ConnId, remote: SocketAddr) {
        core.opened_classic(conn);
        let from = remote.ip().to_canonical();
        if near(core, from).next().is_none() {
            return core.close(conn, CloseReason::NotAMember);
        }
        self.classic.receiving.insert(conn, from);
        core.timers.set(Timer::Patience(conn), core.now.instant + limits::CLASSIC_REPLY);
    }

    /// True for a connection that brings a message.
    pub(in crate::proto) fn is_classic(&self, conn: ConnId) -> bool {
        self.classic.receiving.contains_key(&conn)
    }

    /// Who says something over this connection, and what it calls itself, if that can be a label.
    pub(in crate::proto) fn label_in(
        &self,
        core: &Core,
        conn: ConnId,
        object: &Object,
    ) -> Option<(PeerId, Alias)> {
        let (Object::Message(message), Some(from)) = (object, self.classic.receiving.get(&conn)) else {
            return None;
        };
        Some((author(core, *from, message.from.socket())?, Alias::claimed(&message.alias)?))
    }

    /// A classic peer says something.
    pub(in crate::proto) fn object(&mut self, core: &mut Core, conn: ConnId, object: Object) {
        let Some(from) = self.classic.receiving.remove(&conn) else { return };
        let Object::Message(message) = object else { return self.stop_talking(core, conn) };
        let Some(peer) = author(core, from, message.from.socket()) else {
            return self.stop_talking(core, conn);
        };
        let Some(entry) = core.roster.get(&peer).cloned() else { return self.stop_talking(core, conn) };
        core.authenticated(conn);
        let id = self.number(core, &entry, message.to == To::Everyone);
        let texts = vec![SafeText::clean(&message.data)];
        let said =
            Batch { stream: id.stream(), first: id.sequence, sent_at: core.now.wall, texts, signature: None };
        if !said.is_lawful() {
            let message = format!(
                "{} sent a message of 0 or more than {} bytes; it was not taken",
                entry.alias,
                limits::TEXT_BYTES
            );
            core.event(NodeEvent::error(ErrorKind::Recv, &message));
            return self.stop_talking(core, conn);
        }
        if !self.has_room() {
            return self.stop_talking(core, conn);
        }
        let waiting = self.classic.received.keys().filter(|id| id.author == peer).count();
        let state = self.peer(peer, &core.policy, core.now.instant);
        if waiting >= limits::CLASSIC_WAITING || state.inbox.take_in(conn, said.into()).is_err() {
            // Nothing holds a classic peer back but that nobody answers.
            core.blame(&peer, "more than it may");
            return self.stop_talking(core, conn);
        }
        self.classic.counts.insert((peer, id.to == Recipient::Everyone), id.sequence);
        let (claims, alias) = (claims(&message.alias, &entry.alias), core.alias.to_string());
        let reply = Object::Reply(Reply { data: message, alias }).encode();
        self.classic.received.insert(id, Received { conn, reply, claims });
        self.release(core, peer);
    }

    /// A classic peer does not count what it says: whoever hears it does, from its admission on.
    fn number(&mut self, core: &Core, author: &RosterEntry, everyone: bool) -> MessageId {
        let peer = author.peer_id;
        let to = if everyone { Recipient::Everyone } else { Recipient::Peer(core.me()) };
        let epoch = u64::try_from(author.since.0).unwrap_or(1).max(1);
        let inbox = &self.peer(peer, &core.policy, core.now.instant).inbox;
        let here = inbox.spans(everyone, epoch).last().map_or(0, |span| span.to);
        let count = self.classic.counts.get(&(peer, everyone)).copied().unwrap_or(0);
        MessageId { author: peer, epoch, to, sequence: count.max(here) + 1 }
    }

    fn stop_talking(&mut self, core: &mut Core, conn: ConnId) {
        self.classic.receiving.remove(&conn);
        core.timers.cancel(Timer::Patience(conn));
        core.close(conn, CloseReason::ProtocolError);
    }

    /// A classic connection has had its time.
    pub(in crate::proto) fn classic_timed_out(&mut self, core: &mut Core, conn: ConnId) {
        self.classic.receiving.remove(&conn);
        core.close(conn, CloseReason::TimedOut);
    }

    /// A connection that brought a message is gone.
    pub(in crate::proto) fn stopped_talking(&mut self, core: &mut Core, conn: ConnId, closed: &Closed) {
        core.timers.cancel(Timer::Patience(conn));
        let Some(from) = self.classic.receiving.remove(&conn) else { return };
        if let (CloseReason::ProtocolError, Some(peer)) = (closed.reason, author(core, from, None)) {
            core.blame(&peer, &closed.detail);
        }
    }

    /// A message of a classic peer is kept, or at least here: it is told so, once and for good.
    pub(in crate::proto) fn reply(&mut self, core: &mut Core, id: &MessageId, for_good: bool) {
        if !for_good {
            return;
        }
        let Some(Received { conn, reply, .. }) = self.classic.received.remove(id) else { return };
        if core.is_clear_allowed {
            core.send_object_bytes(conn, reply);
        }
        core.timers.cancel(Timer::Patience(conn));
        core.close(conn, CloseReason::Left);
    }

    /// What is forgotten of a classic peer that is gone.
    pub(in crate::proto) fn forget_classic(&mut self, core: &mut Core, peer: &PeerId) {
        let gone: Vec<MessageId> =
            self.classic.received.keys().filter(|id| id.author == *peer).copied().collect();
        for id in gone {
            if let Some(received) = self.classic.received.remove(&id) {
                core.close(received.conn, CloseReason::NotAMember);
            }
        }
        self.classic.counts.retain(|(author, _), _| author != peer);
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

    /// Whether messages may go in clear has changed: what waits goes, or never will.
    pub(in crate::proto) fn clear_changed(&mut self, core: &mut Core) {
        let classic = self.peers.keys().filter(|peer| peer.wire() == Wire::Classic).copied();
        for peer in classic.collect::<Vec<_>>() {
            self.send_classic(core, peer);
        }
    }

    /// Says the next message to a classic peer: one at a time.
    pub(in crate::proto) fn send_classic(&mut self, core: &mut Core, peer: PeerId) {
        let is_sending = self.peers.get(&peer).is_some_and(|state| state.dialling);
        // What is on its way cannot be called back; what becomes of it is told when that is known.
        if !is_sending && (!core.policy.classic || !core.is_clear_allowed) {
            return self.fail_all(core, peer, CloseReason::NotInClear);
        }
        let from = core.own_address(&peer).map(|addr| *addr.ip());
        if is_sending || core.timers.is_set(Timer::Dial(peer)) {
            return;
        }
        let Some(addr) = peer.address().filter(|_| core.is_member(&peer)) else { return };
        while let Some((key, sequence, text)) = self.next_text(core, &peer) {
            match Self::object_for(core, &peer, key.0, text.as_str()) {
                Ok(bytes) => {
                    let state = self.peer(peer, &core.policy, core.now.instant);
                    state.dialling = true;
                    self.classic.sending.insert(peer, (key, sequence));
                    core.outputs.push_back(Output::SendClassic(peer, addr, from, bytes));
                    return;
                }
                Err(error) => {
                    self.resolve(core, key, &peer, sequence, Resolution::Failed(error.reason()));
                }
            }
        }
    }

    /// The next message for a classic peer, of the oldest stream that has one.
    fn next_text(&mut self, core: &mut Core, peer: &PeerId) -> Option<(LogKey, u64, SafeText)> {
        self.logs_for(peer).into_iter().find_map(|key| {
            let entry = self.next_entry(core, key, peer)?;
            let sequence = self.next_number(key, peer)?;
            Some((key, sequence, entry.batch.batch.text(sequence)?.clone()))
        })
    }

    /// What became of a message to a classic peer.
    pub(in crate::proto) fn classic_sent(
        &mut self,
        core: &mut Core,
        peer: PeerId,
        result: Result<bool, Closed>,
    ) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.dialling = false;
        let said = self.classic.sending.remove(&peer);
        match (result, said) {
            (Ok(true), Some((key, sequence))) => self.classic_acknowledged(core, key, peer, sequence),
            (Ok(false), Some((key, sequence))) => {
                self.resolve(core, key, &peer, sequence, Resolution::Sent);
            }
            (Ok(_), None) => {}
            (Err(closed), _) => return self.dial_failed(core, peer, &closed),
        }
        self.send_classic(core, peer);
    }
}

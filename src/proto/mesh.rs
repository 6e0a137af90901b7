//! Talking to every other member directly (seed, "Communication"): peer links, and what goes over them.
//!
//! A peer link is opened when there is something to say and closed when nothing has been said for a while. It must
//! never carry anything to or from a key that the roster does not name, or a message under another's name.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};

use super::{
    ConnId, Connected, LinkKind, Output,
    backoff::Backoff,
    core::{Core, Timer},
    inbox::{Arrival, Inbox},
    outbox::{Outbox, Outgoing},
    roster::Changes,
};
use crate::{
    api::{NodeEvent, Target},
    model::{
        CloseReason, Closed, DeliveryStatus, ErrorKind, MessageId, Moment, NetworkId, PeerId, Policy,
        Recipient, SafeText, SendError, Summary, limits,
    },
    security::sign,
    wire::{Ack, Communication, Frame},
};

#[derive(Debug)]
struct PeerState {
    outbox: Outbox,
    inbox: Inbox,
    sequence: u64,
    /// Links that are up; the first is the one that is used.
    links: Vec<ConnId>,
    dialling: bool,
    backoff: Backoff,
    /// Consecutive failures are told once.
    told: bool,
    answered_at: Option<SocketAddr>,
}

#[derive(Debug)]
struct PeerLink {
    peer: PeerId,
    kind: LinkKind,
    hello_sent: bool,
    /// The network that the other end says the link belongs to.
    hello: Option<NetworkId>,
    used: Instant,
}

/// What became of one of our messages so far.
#[derive(Debug)]
struct Tally {
    id: MessageId,
    reference: Option<Arc<str>>,
    summary: Summary,
    open: u32,
}

#[derive(Debug)]
pub(super) struct Mesh {
    epoch: u64,
    sequence: u64,
    peers: BTreeMap<PeerId, PeerState>,
    links: BTreeMap<ConnId, PeerLink>,
    tallies: BTreeMap<u64, Tally>,
    next_tally: u64,
    acks: BTreeMap<(PeerId, bool), Ack>,
}

impl Mesh {
    pub(super) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            sequence: 0,
            peers: BTreeMap::new(),
            links: BTreeMap::new(),
            tallies: BTreeMap::new(),
            next_tally: 0,
            acks: BTreeMap::new(),
        }
    }

    pub(super) fn has(&self, conn: ConnId) -> bool {
        self.links.contains_key(&conn)
    }

    fn peer(&mut self, peer: PeerId, policy: &Policy, now: Instant) -> &mut PeerState {
        match self.peers.entry(peer) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(PeerState {
                outbox: Outbox::default(),
                inbox: Inbox::new(policy, now),
                sequence: 0,
                links: Vec::new(),
                dialling: false,
                backoff: Backoff::default(),
                told: false,
                answered_at: None,
            }),
        }
    }

    /// Takes a text for sending, or says why not.
    pub(super) fn send(
        &mut self,
        core: &mut Core,
        to: &Target,
        text: &str,
        reference: Option<&str>,
        now: Moment,
    ) {
        let reference: Option<Arc<str>> = reference.map(Into::into);
        if let Err(error) = self.try_send(core, to, text, reference.clone(), now) {
            let message = SafeText::line(&error.to_string());
            core.event(NodeEvent::Error { kind: ErrorKind::Send, message, reference });
        }
    }

    fn try_send(
        &mut self,
        core: &mut Core,
        to: &Target,
        text: &str,
        reference: Option<Arc<str>>,
        now: Moment,
    ) -> Result<(), SendError> {
        let text = SafeText::clean(text);
        match text.as_str().len() {
            0 => return Err(SendError::Empty),
            bytes if bytes > limits::TEXT_BYTES => return Err(SendError::TooLong(bytes)),
            _ => {}
        }
        let me = core.me();
        let (Some(network), Some(from)) = (core.network.as_ref().map(|network| network.id), core.person(&me))
        else {
            return Err(SendError::NotConnected);
        };
        let (to, recipients) = match to {
            Target::Everyone => {
                let others = core.roster.entries().map(|entry| entry.peer_id).filter(|peer| *peer != me);
                (Recipient::Everyone, others.collect::<Vec<_>>())
            }
            Target::Peer(name) => match core.member_named(name) {
                Some(peer) if peer == me => return Err(SendError::Yourself),
                Some(peer) => (Recipient::Peer(peer), vec![peer]),
                None => return Err(SendError::NoSuchMember(name.to_string())),
            },
        };
        let sequence = match to {
            Recipient::Everyone => &mut self.sequence,
            Recipient::Peer(peer) => &mut self.peer(peer, &core.policy, now.instant).sequence,
        };
        *sequence += 1;
        let sequence = *sequence;
        let id = MessageId { author: me, epoch: self.epoch, to, sequence };
        let everyone = to == Recipient::Everyone;
        let signature =
            everyone.then(|| sign::message(&core.identity, &network, &id, now.wall, text.as_str()));
        let communication =
            Communication { id, sent_at: now.wall, text: text.as_str().to_owned(), signature };
        let frame = Frame::Communication(communication).encode();
        core.event(NodeEvent::Message { id, from, to, text, sent_at: now.wall, own: true, missed: 0 });

        let total = u32::try_from(recipients.len()).unwrap_or(u32::MAX);
        let tally = self.next_tally;
        self.next_tally += 1;
        if total > 0 {
            let summary = Summary { delivered: 0, total };
            self.tallies.insert(tally, Tally { id, reference, summary, open: total });
        }
        for peer in recipients {
            let state = self.peer(peer, &core.policy, now.instant);
            let outgoing = Outgoing { tally, everyone, sequence, frame: frame.clone(), since: now.instant };
            if state.outbox.push(outgoing).is_err() {
                self.settle(core, tally, peer, Err(CloseReason::QueueFull));
                continue;
            }
            if !self.pump_all(core, peer, now) {
                self.tell(core, tally, peer, DeliveryStatus::Queued, None);
            }
        }
        if !core.timers.is_set(Timer::Expire) {
            core.timers.set(Timer::Expire, now.instant + limits::UNDELIVERED_FOR);
        }
        Ok(())
    }

    /// Sends what the peer's window has room for, or sees to a link.
    pub(super) fn pump(&mut self, core: &mut Core, peer: PeerId, now: Moment) {
        self.pump_all(core, peer, now);
    }

    /// As [`Self::pump`]. True when everything that waited is on its way.
    fn pump_all(&mut self, core: &mut Core, peer: PeerId, now: Moment) -> bool {
        let Some(state) = self.peers.get_mut(&peer) else { return true };
        if state.outbox.is_empty() {
            return true;
        }
        if !core.is_member(&peer) {
            return false;
        }
        let Some(conn) = state.links.first().copied() else {
            if !state.dialling && !core.timers.is_set(Timer::Dial(peer)) {
                state.dialling = true;
                let mut addrs = core.candidates(&peer);
                if let Some(at) =
                    state.answered_at.and_then(|best| addrs.iter().position(|addr| *addr == best))
                {
                    addrs.swap(0, at);
                }
                core.outputs.push_back(Output::Dial(peer, addrs));
            }
            return false;
        };
        while let Some(frame) = state.outbox.next_frame() {
            core.send_bytes(conn, frame);
        }
        if let Some(link) = self.links.get_mut(&conn) {
            link.used = now.instant;
        }
        state.outbox.all_on_the_way()
    }

    pub(super) fn connected(&mut self, core: &mut Core, conn: ConnId, connected: &Connected, now: Moment) {
        let peer = connected.secured.peer;
        core.opened(conn);
        if connected.link == LinkKind::PeerOut {
            self.peer(peer, &core.policy, now.instant).answered_at = Some(connected.remote);
        } else if self.links.values().filter(|link| link.peer == peer).count() >= limits::LINKS_PER_PEER {
            return core.close(conn, CloseReason::Busy);
        }
        let link = PeerLink { peer, kind: connected.link, hello_sent: false, hello: None, used: now.instant };
        self.links.insert(conn, link);
        // The other end may itself be waiting for the roster that names this one.
        let patience = if connected.link == LinkKind::PeerOut { 2 } else { 1 } * limits::ROSTER_PATIENCE;
        core.timers.set(Timer::Patience(conn), now.instant + patience);
        if core.is_member(&peer) {
            self.greet(core, conn, now);
        }
    }

    fn greet(&mut self, core: &mut Core, conn: ConnId, now: Moment) {
        let (Some(link), Some(network)) = (self.links.get_mut(&conn), &core.network) else { return };
        if std::mem::replace(&mut link.hello_sent, true) {
            return;
        }
        let hello = Frame::PeerHello(network.id);
        if link.kind == LinkKind::PeerIn {
            core.authenticated(conn, now);
        }
        core.send(conn, &hello);
        core.timers.set(Timer::Idle(conn), now.instant + limits::PEER_LINK_IDLE);
        self.up(core, conn, now);
    }

    fn up(&mut self, core: &mut Core, conn: ConnId, now: Moment) {
        let Some(PeerLink { peer, kind, hello_sent: true, hello: Some(network), .. }) = self.links.get(&conn)
        else {
            return;
        };
        if core.network.as_ref().map(|network| &network.id) != Some(network) {
            self.drop_link(core, conn, CloseReason::NotAMember, now);
            return;
        }
        let (peer, kind) = (*peer, *kind);
        core.timers.cancel(Timer::Patience(conn));
        core.timers.cancel(Timer::Dial(peer));
        let state = self.peer(peer, &core.policy, now.instant);
        if kind == LinkKind::PeerOut {
            state.dialling = false;
        }
        state.links.push(conn);
        if state.links.len() > limits::LINKS_PER_PEER {
            let oldest = state.links.remove(1);
            self.links.remove(&oldest);
            core.goodbye(oldest, CloseReason::Superseded, "");
        }
        self.pump(core, peer, now);
    }

    pub(super) fn dial_failed(&mut self, core: &mut Core, peer: PeerId, closed: &Closed, now: Moment) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.dialling = false;
        if state.outbox.is_empty() || !state.links.is_empty() || !core.is_member(&peer) {
            return;
        }
        let wait = state.backoff.next(&mut core.rng);
        core.timers.set(Timer::Dial(peer), now.instant + wait);
        if !std::mem::replace(&mut state.told, true)
            && let Some(person) = core.person(&peer)
        {
            let message = format!("{} cannot be reached now ({closed}); its messages wait", person.alias);
            core.event(NodeEvent::error(ErrorKind::Connection, &message));
        }
    }

    pub(super) fn frame(&mut self, core: &mut Core, conn: ConnId, frame: Frame, now: Moment) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        let peer = link.peer;
        let is_up = link.hello_sent && link.hello.is_some();
        match frame {
            Frame::PeerHello(network) if link.hello.is_none() => {
                link.hello = Some(network);
                self.up(core, conn, now);
            }
            Frame::Communication(message) if is_up => {
                link.used = now.instant;
                let id = message.id;
                let for_me = id.to == Recipient::Everyone || id.to == Recipient::Peer(core.me());
                let lawful = id.author == peer
                    && for_me
                    && (1..u64::MAX).contains(&id.sequence)
                    && (1..=limits::TEXT_BYTES).contains(&message.text.len());
                let state = self.peer(peer, &core.policy, now.instant);
                if !lawful || state.inbox.take_in(message).is_err() {
                    self.drop_link(core, conn, CloseReason::ProtocolError, now);
                    return;
                }
                self.release(core, peer, now);
            }
            Frame::Ack(ack) if is_up => {
                link.used = now.instant;
                let (first, everyone) = (ack.first, ack.first.to == Recipient::Everyone);
                if first.author != core.me() || first.epoch != self.epoch {
                    return;
                }
                let state = self.peer(peer, &core.policy, now.instant);
                let done = state.outbox.acknowledged(everyone, first.sequence, ack.last, now.instant);
                if !done.is_empty() {
                    // Only what arrives proves that a link is of use.
                    state.backoff.reset();
                    state.told = false;
                }
                for tally in done {
                    self.settle(core, tally, peer, Ok(()));
                }
                self.pump(core, peer, now);
            }
            Frame::Goodbye(_) => self.drop_link(core, conn, CloseReason::Left, now),
            _ => self.drop_link(core, conn, CloseReason::ProtocolError, now),
        }
    }

    /// Takes on what a peer has sent, as fast as the policy allows.
    pub(super) fn release(&mut self, core: &mut Core, peer: PeerId, now: Moment) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        loop {
            match state.inbox.release(now.instant) {
                Ok(Some(message)) => {
                    let id = message.id;
                    if let (Arrival::New { missed }, Some(from)) =
                        (state.inbox.arrive(&id), core.person(&peer))
                    {
                        let text = SafeText::clean(&message.text);
                        let sent_at = message.sent_at;
                        core.event(NodeEvent::Message {
                            id,
                            from,
                            to: id.to,
                            text,
                            sent_at,
                            own: false,
                            missed,
                        });
                    }
                    let key = (peer, id.to == Recipient::Everyone);
                    match self.acks.get_mut(&key) {
                        Some(ack)
                            if ack.first.epoch == id.epoch
                                && ack.last.checked_add(1) == Some(id.sequence) =>
                        {
                            ack.last = id.sequence;
                        }
                        _ => {
                            let ack = Ack { first: id, last: id.sequence };
                            if let (Some(before), Some(conn)) =
                                (self.acks.insert(key, ack), state.links.first())
                            {
                                core.send(*conn, &Frame::Ack(before));
                            }
                        }
                    }
                }
                Ok(None) => return,
                Err(wait) => {
                    core.timers.set(Timer::Throttle(peer), now.instant + wait);
                    return;
                }
            }
        }
    }

    /// Acknowledges everything taken on since the last time: one frame for a whole range.
    pub(super) fn flush_acks(&mut self, core: &mut Core) {
        for ((peer, _), ack) in std::mem::take(&mut self.acks) {
            if let Some(conn) = self.peers.get(&peer).and_then(|state| state.links.first()) {
                core.send(*conn, &Frame::Ack(ack));
            }
        }
    }

    /// One recipient has the message, or will not have it.
    fn settle(&mut self, core: &mut Core, tally: u64, peer: PeerId, outcome: Result<(), CloseReason>) {
        if let Some(record) = self.tallies.get_mut(&tally) {
            record.open = record.open.saturating_sub(1);
            if outcome.is_ok() {
                record.summary.delivered += 1;
            }
        }
        match outcome {
            Ok(()) => self.tell(core, tally, peer, DeliveryStatus::Delivered, None),
            Err(reason) => self.tell(core, tally, peer, DeliveryStatus::Failed, Some(reason)),
        }
        if self.tallies.get(&tally).is_some_and(|record| record.open == 0) {
            self.tallies.remove(&tally);
        }
    }

    fn tell(
        &self,
        core: &mut Core,
        tally: u64,
        peer: PeerId,
        status: DeliveryStatus,
        reason: Option<CloseReason>,
    ) {
        let (Some(record), Some(peer)) = (self.tallies.get(&tally), core.person(&peer)) else { return };
        let (id, reference, summary) = (record.id, record.reference.clone(), record.summary);
        core.event(NodeEvent::Delivery { id, reference, peer, status, reason, summary });
    }

    /// The roster changed: cuts links to those who went, and looks after those who came.
    pub(super) fn roster_changed(&mut self, core: &mut Core, changes: &Changes, now: Moment) {
        for (entry, reason) in &changes.removed {
            self.cut(core, entry.peer_id, *reason, now);
        }
        let members: Vec<ConnId> = self
            .links
            .iter()
            .filter(|(_, link)| !link.hello_sent && core.is_member(&link.peer))
            .map(|(conn, _)| *conn)
            .collect();
        for conn in members {
            self.greet(core, conn, now);
        }
        for entry in &changes.updated {
            core.timers.cancel(Timer::Dial(entry.peer_id));
            self.pump(core, entry.peer_id, now);
        }
    }

    /// A peer is no longer a member. What waits for it is kept when it only fell silent.
    fn cut(&mut self, core: &mut Core, peer: PeerId, reason: CloseReason, now: Moment) {
        let open: Vec<ConnId> =
            self.links.iter().filter(|(_, link)| link.peer == peer).map(|(conn, _)| *conn).collect();
        for conn in open {
            self.drop_link(core, conn, CloseReason::NotAMember, now);
        }
        core.timers.cancel(Timer::Dial(peer));
        core.timers.cancel(Timer::Throttle(peer));
        self.acks.retain(|(from, _), _| *from != peer);
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.inbox.forget_held();
        state.dialling = false;
        state.backoff.reset();
        let comes_back = matches!(reason, CloseReason::HeartbeatTimeout | CloseReason::ConnectionLost);
        if !comes_back {
            for tally in state.outbox.drain() {
                self.settle(core, tally, peer, Err(reason));
            }
        }
    }

    /// Whom a link belongs to.
    pub(super) fn peer_of(&self, conn: ConnId) -> Option<PeerId> {
        self.links.get(&conn).map(|link| link.peer)
    }

    fn drop_link(&mut self, core: &mut Core, conn: ConnId, reason: CloseReason, now: Moment) {
        if let (CloseReason::ProtocolError, Some(peer)) = (reason, self.peer_of(conn)) {
            core.blame(&peer, "a frame that has no place there");
        }
        core.goodbye(conn, reason, "");
        self.closed(core, conn, now);
    }

    pub(super) fn closed(&mut self, core: &mut Core, conn: ConnId, now: Moment) {
        let Some(link) = self.links.remove(&conn) else { return };
        core.timers.cancel(Timer::Idle(conn));
        core.timers.cancel(Timer::Patience(conn));
        let Some(state) = self.peers.get_mut(&link.peer) else { return };
        let was_used = state.links.first() == Some(&conn);
        let was_up = state.links.contains(&conn);
        state.links.retain(|other| *other != conn);
        if was_used {
            state.outbox.link_lost();
        }
        if !state.links.is_empty() {
            return self.pump(core, link.peer, now);
        }
        // What was held is not acknowledged, so that it comes again over another link.
        state.inbox.forget_held();
        if was_up || link.kind == LinkKind::PeerOut {
            let reason = CloseReason::ConnectionLost.into();
            self.dial_failed(core, link.peer, &reason, now);
        }
    }

    pub(super) fn idle(&mut self, core: &mut Core, conn: ConnId, now: Moment) {
        let Some(link) = self.links.get(&conn) else { return };
        let until = link.used + limits::PEER_LINK_IDLE;
        let waiting = self.peers.get(&link.peer).is_some_and(|state| !state.outbox.is_empty());
        if until > now.instant {
            core.timers.set(Timer::Idle(conn), until);
        } else if waiting {
            core.timers.set(Timer::Idle(conn), now.instant + limits::PEER_LINK_IDLE);
        } else {
            self.drop_link(core, conn, CloseReason::Idle, now);
        }
    }

    pub(super) fn patience_ended(&mut self, core: &mut Core, conn: ConnId, now: Moment) {
        self.drop_link(core, conn, CloseReason::NotAMember, now);
    }

    pub(super) fn expire(&mut self, core: &mut Core, now: Moment) {
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        let mut next: Option<Instant> = None;
        for peer in peers {
            let Some(state) = self.peers.get_mut(&peer) else { continue };
            let expired = state.outbox.expire(now.instant);
            next = [next, state.outbox.expires_at()].into_iter().flatten().min();
            for tally in expired {
                self.settle(core, tally, peer, Err(CloseReason::Expired));
            }
        }
        if let Some(at) = next {
            core.timers.set(Timer::Expire, at);
        }
    }

    /// The policy of the network is known, or is another.
    pub(super) fn policy_changed(&mut self, policy: &Policy, now: Instant) {
        for state in self.peers.values_mut() {
            state.inbox.set_policy(policy, now);
        }
    }

    pub(super) fn is_pressed(&self, core: &mut Core, now: Moment) -> bool {
        let pressing = self.peers.values().filter(|state| state.outbox.is_pressed(now.instant));
        let until = pressing.filter_map(|state| state.outbox.pressed_until()).max();
        if let Some(until) = until {
            core.timers.set(Timer::Pressed, until);
        }
        until.is_some()
    }

    /// True while something could still reach a member.
    pub(super) fn has_deliverable(&self, core: &Core) -> bool {
        self.peers.iter().any(|(peer, state)| !state.outbox.is_empty() && core.is_member(peer))
    }

    /// The session ends: says of every message that still waits that it will not arrive.
    pub(super) fn give_up(&mut self, core: &mut Core, reason: CloseReason) {
        self.flush_acks(core);
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        for peer in peers {
            let waiting = self.peers.get_mut(&peer).map(|state| state.outbox.drain()).unwrap_or_default();
            for tally in waiting {
                self.settle(core, tally, peer, Err(reason));
            }
        }
    }
}

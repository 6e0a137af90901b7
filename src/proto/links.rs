//! Peer links: which link there is to whom, how one is opened, and when it is given up.
//!
//! A peer link is opened when there is something to say and closed when nothing has been said for a while. This part knows
//! no message; it must never open or keep a link to a key that the roster does not name.

mod dials;
mod paths;
mod relay;
mod silence;

use std::{collections::BTreeMap, net::SocketAddr, time::Instant};

use rand_chacha::ChaCha20Rng;

use self::{
    dials::{Dials, Targets},
    paths::Paths,
    relay::{Relays, Waiting},
};
use super::{
    ConnId, Connected, LinkKind, Output, backoff::Backoff, group::Group, roster::Changes, turn::Turn,
};
use crate::{
    api::NodeEvent,
    model::{CloseReason, Closed, Moment, NetworkId, PeerId, limits},
    wire::{Frame, PeerHello, Tried},
};

/// When this part is wanted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Dial this peer again.
    Dial(PeerId),
    /// Close this link if it carries nothing.
    Idle(ConnId),
    /// Dialling this peer takes long: ask it to dial this node.
    Call(PeerId),
    /// Try another path to this peer; while its link is relayed, the direct one.
    Direct(PeerId),
    /// Check how long this link has been silent although an answer is due.
    Silence(ConnId),
    /// The roster has not named the key of this link in time.
    Patience(ConnId),
}

/// What this part asks for.
#[derive(Debug)]
pub(super) enum Ask {
    Output(Output),
    /// The link that is used to a peer is another one, or there is none any more.
    Used(PeerId, Option<ConnId>),
    /// A link to a peer is gone, used or not.
    Gone(PeerId, ConnId),
    /// There is no link to a peer, and dialling it has failed or its link is lost: is one wanted still?
    Lost(PeerId, Closed),
    /// A link to a peer may be opened again: is one wanted still?
    Again(PeerId),
    /// No path to a peer is known now.
    Unreachable(PeerId, Closed),
    /// A frame about messages came.
    Frame(PeerId, ConnId, Frame),
    /// A peer's clock is behind this one, in microseconds.
    Behind(PeerId, i64),
    /// This node has tried to reach a peer.
    Tried(Tried),
}

impl From<Output> for Ask {
    fn from(output: Output) -> Self {
        Self::Output(output)
    }
}

/// What links are wanted for.
pub(super) trait Demand {
    /// True when something is to go to a peer.
    fn wants_link(&self, peer: &PeerId) -> bool;
    /// True when a peer has been sent something that it has to answer.
    fn awaits_answer(&self, peer: &PeerId) -> bool;
}

/// What is known of the links to one peer.
#[derive(Debug, Default)]
struct State {
    /// Links that are up; the first is the one that is used.
    links: Vec<ConnId>,
    /// A link is being opened.
    dialling: bool,
    dials: Dials,
    backoff: Backoff,
    answered_at: Option<SocketAddr>,
    /// It was told that its clock is off.
    is_clock_off: bool,
    /// How it can be reached.
    paths: Paths,
    /// Relayed links that wait for a link to it.
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct PeerLink {
    peer: PeerId,
    kind: LinkKind,
    remote: SocketAddr,
    /// Who relays it.
    via: Option<PeerId>,
    hello_sent: bool,
    /// The network that the other end says the link belongs to.
    hello: Option<NetworkId>,
    used: Instant,
    /// When anything came over it, or an answer became due.
    heard: Instant,
    /// When its silence was looked at last.
    looked: Instant,
    /// It was asked whether anybody is there.
    is_asked: bool,
}

impl PeerLink {
    fn is_up(&self) -> bool {
        self.hello_sent && self.hello.is_some()
    }
}

/// The links to all peers.
#[derive(Debug)]
pub(super) struct Links {
    pub(super) turn: Turn<Timer, Ask>,
    peers: BTreeMap<PeerId, State>,
    by_conn: BTreeMap<ConnId, PeerLink>,
    relays: Relays,
    targets: Targets,
}

impl Links {
    pub(super) fn new(now: Moment, rng: &mut ChaCha20Rng) -> Self {
        let turn = Turn::new(now, rng);
        Self {
            turn,
            peers: BTreeMap::new(),
            by_conn: BTreeMap::new(),
            relays: Relays::default(),
            targets: Targets::default(),
        }
    }

    pub(super) fn has(&self, conn: ConnId) -> bool {
        self.by_conn.contains_key(&conn)
    }

    /// Whom a link belongs to.
    pub(super) fn peer_of(&self, conn: ConnId) -> Option<PeerId> {
        self.by_conn.get(&conn).map(|link| link.peer)
    }

    /// The link that is used to a peer.
    fn used(&self, peer: &PeerId) -> Option<ConnId> {
        self.peers.get(peer).and_then(|state| state.links.first().copied())
    }

    /// A handshake is finished.
    pub(super) fn connected(&mut self, group: &Group, conn: ConnId, connected: &Connected) {
        let peer = connected.secured.peer;
        if connected.link == LinkKind::PeerOut && connected.via.is_none() {
            self.peers.entry(peer).or_default().answered_at = Some(connected.remote);
            self.tried(peer, None);
        } else if self.by_conn.values().filter(|link| link.peer == peer).count() >= limits::LINKS_PER_PEER {
            return self.turn.close(conn, CloseReason::Busy);
        }
        let now = self.turn.now.instant;
        let link = PeerLink {
            peer,
            kind: connected.link,
            remote: connected.remote,
            via: connected.via,
            hello_sent: false,
            hello: None,
            used: now,
            heard: now,
            looked: now,
            is_asked: false,
        };
        self.by_conn.insert(conn, link);
        // The other end may itself be waiting for the roster that names this one.
        let patience = if connected.link == LinkKind::PeerOut { 2 } else { 1 } * limits::ROSTER_PATIENCE;
        self.turn.set(Timer::Patience(conn), patience);
        if group.is_member(&peer) {
            self.greet(group, conn);
        }
    }

    fn greet(&mut self, group: &Group, conn: ConnId) {
        let (Some(link), Some(network)) = (self.by_conn.get_mut(&conn), group.network_id()) else { return };
        if std::mem::replace(&mut link.hello_sent, true) {
            return;
        }
        if link.kind == LinkKind::PeerIn {
            self.turn.authenticated(conn);
        }
        self.turn.send(conn, &Frame::PeerHello(PeerHello { network, now: self.turn.now.wall }));
        self.turn.set(Timer::Idle(conn), limits::PEER_LINK_IDLE);
        self.up(group, conn);
    }

    fn up(&mut self, group: &Group, conn: ConnId) {
        let Some(PeerLink { peer, kind, via, hello_sent: true, hello: Some(network), .. }) =
            self.by_conn.get(&conn)
        else {
            return;
        };
        if group.network_id().as_ref() != Some(network) {
            return self.drop_link(group, conn, CloseReason::NotAMember);
        }
        let (peer, kind, via) = (*peer, *kind, *via);
        self.turn.timers.cancel(Timer::Patience(conn));
        self.turn.timers.cancel(Timer::Dial(peer));
        let before = self.used(&peer);
        let state = self.peers.entry(peer).or_default();
        if kind == LinkKind::PeerOut && via.is_none() {
            state.dialling = false;
        }
        state.links.push(conn);
        self.forget_relays(&peer);
        if via.is_some() {
            self.turn.set(Timer::Direct(peer), limits::DIRECT_AGAIN);
        } else {
            self.prefer_direct(group, peer);
        }
        let state = self.peers.entry(peer).or_default();
        if state.links.len() > limits::LINKS_PER_PEER {
            let oldest = state.links.remove(1);
            self.by_conn.remove(&oldest);
            self.turn.timers.cancel(Timer::Idle(oldest));
            self.turn.timers.cancel(Timer::Silence(oldest));
            self.end_relayed(oldest);
            self.turn.ask(Ask::Gone(peer, oldest));
            self.turn.goodbye(oldest, CloseReason::Superseded, "");
        }
        self.tell_route(group, peer);
        self.open_waiting(peer);
        if before.is_none() {
            self.turn.ask(Ask::Used(peer, Some(conn)));
        }
    }

    /// The two have a direct link now and need no relay. What was on its way goes over this one.
    fn prefer_direct(&mut self, group: &Group, peer: PeerId) {
        let Some(state) = self.peers.get(&peer) else { return };
        let is_carried = |conn: &&ConnId| self.by_conn.get(conn).is_some_and(|link| link.via.is_some());
        let carried: Vec<ConnId> = state.links.iter().filter(is_carried).copied().collect();
        for conn in carried {
            self.drop_link(group, conn, CloseReason::Superseded);
        }
    }

    /// Something is to go to a peer to which there is no link.
    pub(super) fn want(&mut self, group: &Group, peer: PeerId) {
        if !self.waits_to_dial(&peer) {
            self.dial(group, peer);
        }
    }

    /// A peer may be dialled again: it is, where relayed links wait for that.
    fn again(&mut self, group: &Group, peer: PeerId) {
        let state = self.peers.get(&peer);
        if state.is_some_and(|state| state.links.is_empty() && !state.waiting.is_empty()) {
            self.want(group, peer);
        }
    }

    /// True until this peer is dialled again.
    pub(super) fn waits_to_dial(&self, peer: &PeerId) -> bool {
        self.turn.timers.is_set(Timer::Dial(*peer))
    }

    /// Dials a peer, unless that is under way.
    fn dial(&mut self, group: &Group, peer: PeerId) {
        let state = self.peers.entry(peer).or_default();
        if state.dialling {
            return;
        }
        let mut addrs = group.candidates(&peer);
        if let Err(wait) = state
            .dials
            .take(self.turn.now.instant)
            .and_then(|()| self.targets.take(&mut addrs, self.turn.now.instant))
        {
            return self.turn.set(Timer::Dial(peer), wait);
        }
        state.dialling = true;
        if let Some(at) = state.answered_at.and_then(|best| addrs.iter().position(|addr| *addr == best)) {
            addrs.swap(0, at);
        }
        self.turn.set(Timer::Call(peer), limits::CALL_AFTER);
        self.turn.ask(Output::Dial(peer, addrs));
    }

    /// Something that was sent over the links to a peer has arrived.
    pub(super) fn is_of_use(&mut self, peer: &PeerId) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.backoff.reset();
        }
    }

    /// A peer could not be reached.
    pub(super) fn dial_failed(&mut self, peer: PeerId, closed: Closed) {
        self.peers.entry(peer).or_default().dialling = false;
        self.tried(peer, Some(closed.reason));
        self.turn.ask(Ask::Lost(peer, closed));
    }

    /// There is no link to a peer: another one is opened after a while, if one is wanted.
    pub(super) fn lost(&mut self, group: &Group, demand: &impl Demand, peer: PeerId, closed: &Closed) {
        let is_wanted = self.is_wanted(demand, &peer);
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if !is_wanted || !state.links.is_empty() || !group.is_member(&peer) {
            return;
        }
        let wait = state.backoff.next(&mut self.turn.rng);
        self.turn.set(Timer::Dial(peer), wait);
        self.other_paths(group, demand, peer, closed);
    }

    /// True when a link to a peer is wanted: for messages, or for relayed links.
    fn is_wanted(&self, demand: &impl Demand, peer: &PeerId) -> bool {
        demand.wants_link(peer) || self.peers.get(peer).is_some_and(|state| !state.waiting.is_empty())
    }

    /// A frame came over a link.
    pub(super) fn frame(&mut self, group: &Group, conn: ConnId, frame: Frame) {
        let Some(link) = self.by_conn.get_mut(&conn) else { return };
        let now = self.turn.now;
        let (peer, is_up) = (link.peer, link.is_up());
        (link.heard, link.is_asked) = (now.instant, false);
        match frame {
            Frame::PeerHello(hello) if link.hello.is_none() => {
                link.hello = Some(hello.network);
                self.compare_clocks(group, peer, now.wall.0.saturating_sub(hello.now.0));
                self.up(group, conn);
            }
            Frame::Batch(_)
            | Frame::Ack(_)
            | Frame::VerifyCommit(_)
            | Frame::VerifyNonce(_)
            | Frame::VerifyReveal(_)
            | Frame::VerifyAnswer(_)
                if is_up =>
            {
                link.used = now.instant;
                self.turn.ask(Ask::Frame(peer, conn, frame));
            }
            Frame::Conflict(_)
            | Frame::CatchUp(_)
            | Frame::Wanted(_)
            | Frame::Held(_)
            | Frame::HandedOn(_)
                if is_up =>
            {
                self.turn.ask(Ask::Frame(peer, conn, frame));
            }
            Frame::RelayOpen(_)
            | Frame::RelayOpened(_)
            | Frame::RelayBytes(_)
            | Frame::RelayTaken(_)
            | Frame::RelayClosed(_)
                if is_up && link.via.is_none() =>
            {
                self.relayed_frame(group, conn, frame);
            }
            Frame::Beat(beat) if is_up => self.turn.send(conn, &Frame::BeatReply(beat.number)),
            Frame::BeatReply(_) if is_up => {}
            Frame::Goodbye(_) => self.drop_link(group, conn, CloseReason::Left),
            _ => self.drop_link(group, conn, CloseReason::ProtocolError),
        }
    }

    /// A peer has said what time it is.
    fn compare_clocks(&mut self, group: &Group, peer: PeerId, behind: i64) {
        self.turn.ask(Ask::Behind(peer, behind));
        let state = self.peers.entry(peer).or_default();
        let is_off = behind.unsigned_abs() > u64::try_from(limits::CLOCK_OFF.as_micros()).unwrap_or(0);
        if std::mem::replace(&mut state.is_clock_off, is_off) != is_off
            && is_off
            && let Some(peer) = group.person(&peer)
        {
            self.turn.event(NodeEvent::Clock { peer, ahead_ms: behind.saturating_neg() / 1000 });
        }
    }

    /// The roster changed: cuts links to those who went, and looks after those who came.
    pub(super) fn roster_changed(&mut self, group: &Group, changes: &Changes) {
        for (entry, _) in &changes.removed {
            self.cut(group, entry.peer_id);
        }
        let is_new = |(_, link): &(&ConnId, &PeerLink)| !link.hello_sent && group.is_member(&link.peer);
        let members: Vec<ConnId> = self.by_conn.iter().filter(is_new).map(|(conn, _)| *conn).collect();
        for conn in members {
            self.greet(group, conn);
        }
        for entry in &changes.updated {
            // It may be somewhere else now.
            self.forget_paths(entry.peer_id);
            self.turn.timers.cancel(Timer::Dial(entry.peer_id));
            self.again(group, entry.peer_id);
        }
    }

    /// A peer is no longer a member.
    fn cut(&mut self, group: &Group, peer: PeerId) {
        let open: Vec<ConnId> =
            self.by_conn.iter().filter(|(_, link)| link.peer == peer).map(|(conn, _)| *conn).collect();
        for conn in open {
            self.drop_link(group, conn, CloseReason::NotAMember);
        }
        self.turn.timers.cancel(Timer::Dial(peer));
        self.forget_paths(peer);
        self.refuse_waiting(peer);
        if let Some(state) = self.peers.get_mut(&peer) {
            state.dialling = false;
            state.backoff.reset();
        }
    }

    /// Gives a link up, and says why.
    pub(super) fn drop_link(&mut self, group: &Group, conn: ConnId, reason: CloseReason) {
        if !self.by_conn.contains_key(&conn) {
            return;
        }
        if let (CloseReason::ProtocolError, Some(peer)) = (reason, self.peer_of(conn)) {
            self.turn.events(group.blame(&peer, "a frame that has no place there"));
        }
        self.turn.goodbye(conn, reason, "");
        self.closed(conn);
    }

    /// A link is gone.
    pub(super) fn closed(&mut self, conn: ConnId) {
        let Some(link) = self.by_conn.remove(&conn) else { return };
        self.turn.timers.cancel(Timer::Idle(conn));
        self.turn.timers.cancel(Timer::Patience(conn));
        self.turn.timers.cancel(Timer::Silence(conn));
        self.end_relayed(conn);
        let Some(state) = self.peers.get_mut(&link.peer) else { return };
        let was_used = state.links.first() == Some(&conn);
        let was_up = state.links.contains(&conn);
        state.links.retain(|other| *other != conn);
        let next = state.links.first().copied();
        let is_ours = link.kind == LinkKind::PeerOut && link.via.is_none();
        if next.is_none() && is_ours {
            state.dialling = false;
        }
        self.turn.ask(Ask::Gone(link.peer, conn));
        if was_used {
            self.turn.ask(Ask::Used(link.peer, next));
        }
        if next.is_none() && (was_up || is_ours) {
            self.turn.ask(Ask::Lost(link.peer, CloseReason::ConnectionLost.into()));
        }
    }

    /// Something was sent that is to be answered.
    pub(super) fn sent(&mut self, conn: ConnId) {
        if let Some(link) = self.by_conn.get_mut(&conn) {
            link.used = self.turn.now.instant;
            self.expect_answer(conn);
        }
    }

    /// Lets a timer of this part do what it is for.
    pub(super) fn timer(&mut self, group: &Group, demand: &impl Demand, timer: Timer) {
        match timer {
            Timer::Dial(peer) => {
                self.again(group, peer);
                self.turn.ask(Ask::Again(peer));
            }
            Timer::Idle(conn) => self.idle(group, demand, conn),
            Timer::Call(peer) => {
                if self.used(&peer).is_none() && self.is_wanted(demand, &peer) {
                    self.call(group, peer);
                }
            }
            Timer::Direct(peer) => self.try_direct(group, demand, peer),
            Timer::Silence(conn) => self.silence(group, demand, conn),
            Timer::Patience(conn) => self.drop_link(group, conn, CloseReason::NotAMember),
        }
    }

    fn idle(&mut self, group: &Group, demand: &impl Demand, conn: ConnId) {
        let Some(link) = self.by_conn.get(&conn) else { return };
        let until = link.used + limits::PEER_LINK_IDLE;
        if until > self.turn.now.instant {
            self.turn.timers.set(Timer::Idle(conn), until);
        } else if demand.wants_link(&link.peer) {
            self.turn.set(Timer::Idle(conn), limits::PEER_LINK_IDLE);
        } else {
            self.drop_link(group, conn, CloseReason::Idle);
        }
    }
}

#[cfg(test)]
mod tests;

//! Talking to every other member directly (seed, "Communication"): peer links, and what goes over them.
//!
//! A peer link is opened when there is something to say and closed when nothing has been said for a while. It must
//! never send or take anything to or from a key that the roster does not name, or a message under another's name.

mod catch_up;
mod conflict;
mod feeding;
mod journal;
mod paths;
mod receiving;
mod relay;
mod sending;
mod silence;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::SocketAddr,
    time::Instant,
};

use self::{
    catch_up::{CatchUp, Question},
    conflict::{Comparing, Renewing},
    feeding::Lacking,
    journal::Journal,
    paths::Paths,
    relay::{Relays, Waiting},
    sending::Growing,
};
use super::{
    ConnId, Connected, LinkKind,
    backoff::Backoff,
    classic::ClassicMessaging,
    core::{Core, Timer},
    inbox::Inbox,
    log::{Log, Range},
    roster::Changes,
    window::Window,
};
use crate::{
    api::{HistoryEvent, NodeEvent},
    model::{
        CloseReason, Closed, ErrorKind, Held, HistoryState, Moment, NetworkId, PeerId, Policy, Recalled,
        Recipient, SafeText, StreamId, Timestamp, Wire, limits,
    },
    wire::{Frame, PeerHello},
};

/// One own stream among those of this node: whom it is for, and its epoch.
pub(super) type LogKey = (Recipient, u64);

#[derive(Debug)]
pub(super) struct PeerState {
    /// What is on its way to it.
    window: Window,
    /// What it lacks and the log has no more in memory.
    lacking: Lacking,
    /// When it last said to have something.
    progressed: Option<Instant>,
    /// When the last link to it was lost.
    lost_at: Option<Timestamp>,
    pub(super) inbox: Inbox,
    /// The history is looking up whether it said something else before under the same numbers.
    comparing: Option<u64>,
    /// How often it had something else under numbers of what was said to it alone.
    conflicts: u32,
    question: Option<Question>,
    /// Links that are up; the first is the one that is used.
    links: Vec<ConnId>,
    /// A link is being opened; to a classic peer something is being said.
    pub(super) dialling: bool,
    backoff: Backoff,
    /// Consecutive failures are told once.
    notified: bool,
    answered_at: Option<SocketAddr>,
    /// How far its clock is behind this one, in microseconds.
    behind: i64,
    /// That was told.
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
    /// Streams of which the other end was told that something else is here under their numbers.
    refused: BTreeSet<StreamId>,
}

/// When this node began: by that its time only goes forward, whatever is done to the clock.
#[derive(Debug, Clone, Copy)]
struct Begun(Moment);

impl Begun {
    fn steady(self, now: Moment) -> Timestamp {
        self.0.wall.plus(now.instant.saturating_duration_since(self.0.instant))
    }
}

#[derive(Debug)]
pub(super) struct Mesh {
    begun: Begun,
    /// Of own streams that begin now.
    epoch: u64,
    /// Own streams in which something may be said, or of which somebody lacks something.
    logs: BTreeMap<(Recipient, u64), Log>,
    /// What is said in this turn.
    growing: BTreeMap<Recipient, Growing>,
    journal: Journal,
    /// Questions to the history: who lacks what of which own stream.
    reading: BTreeMap<u64, (PeerId, (Recipient, u64), Range)>,
    comparing: BTreeMap<u64, Comparing>,
    renewing: BTreeMap<u64, Renewing>,
    pub(super) peers: BTreeMap<PeerId, PeerState>,
    pub(super) classic: ClassicMessaging,
    links: BTreeMap<ConnId, PeerLink>,
    /// Acknowledgements of this turn, by link and stream.
    acks: BTreeMap<(ConnId, bool, u64), crate::wire::Ack>,
    pub(super) catch_up: CatchUp,
    /// Host: what was taken on in this turn, and the roster by which it is addressed: an earlier one than that of now.
    late: Vec<(u64, Held)>,
    relays: Relays,
}

impl Mesh {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            begun: Begun(now),
            epoch: u64::try_from(now.wall.0).unwrap_or(0).max(1),
            logs: BTreeMap::new(),
            growing: BTreeMap::new(),
            journal: Journal::default(),
            reading: BTreeMap::new(),
            comparing: BTreeMap::new(),
            renewing: BTreeMap::new(),
            peers: BTreeMap::new(),
            classic: ClassicMessaging::default(),
            links: BTreeMap::new(),
            acks: BTreeMap::new(),
            catch_up: CatchUp::default(),
            late: Vec::new(),
            relays: Relays::default(),
        }
    }

    /// Takes up what the history knows of this network. Comes before anything is said in it.
    pub(super) fn recall(&mut self, core: &mut Core, recalled: Recalled) {
        let me = core.me();
        self.journal.waits = recalled.state != HistoryState::Memory;
        // Every session counts anew: a profile that was put back from a copy never says two things under one number.
        let own = recalled.streams.iter().filter(|stream| stream.id.author == me);
        if let Some(newest) = own.map(|stream| stream.id.epoch).max() {
            self.epoch = self.epoch.max(newest.saturating_add(1));
        }
        let day_ago =
            core.now.wall.0.saturating_sub(i64::try_from(limits::UNDELIVERED_FOR.as_micros()).unwrap_or(0));
        for stream in recalled.streams {
            if let Some(span) = stream.spans.last() {
                core.recall_place(span.last);
            }
            let StreamId { author, epoch, to } = stream.id;
            if author == me {
                continue;
            }
            let everyone = to == Recipient::Everyone;
            // Holes of the last day may still be closed.
            let holes = stream.spans.iter().rev().skip(1).map(|span| span.last).filter(|at| *at > day_ago);
            if let (true, Some(hole)) = (everyone, holes.min()) {
                core.away_since(Timestamp(hole));
            }
            let state = self.peer(author, &core.policy, core.now.instant);
            state.inbox.recall(everyone, epoch, stream.spans);
        }
        for (peer, alias) in recalled.people {
            core.remember(peer, alias);
        }
        for stream in &recalled.own {
            for addressee in &stream.addressees {
                core.remember(addressee.peer, addressee.alias.clone());
            }
            self.logs.insert((stream.id.to, stream.id.epoch), Log::recalled(stream));
        }
        let waiting: BTreeSet<PeerId> = self.logs.values().flat_map(Log::readers).collect();
        for peer in waiting {
            self.tell_waiting(core, &peer);
            self.pump(core, peer);
        }
        self.expire_later(core);
        let message = SafeText::line(&recalled.message);
        if !message.as_str().is_empty() {
            core.event(NodeEvent::error(ErrorKind::Storage, &message));
        }
        core.event(NodeEvent::History { state: recalled.state, message });
    }

    /// True when something is to go to a peer over a link.
    fn needs_link(&self, peer: &PeerId) -> bool {
        let wants = |state: &PeerState| state.question.is_some() || !state.waiting.is_empty();
        self.peers.get(peer).is_some_and(wants) || self.is_pending(peer)
    }

    /// The history did something.
    pub(super) fn history(&mut self, core: &mut Core, event: HistoryEvent) {
        match event {
            HistoryEvent::Kept { token, for_good } => self.kept(core, token, for_good),
            HistoryEvent::State { state, message } => {
                let message = SafeText::line(&message);
                if state != HistoryState::Saved || !message.as_str().is_empty() {
                    core.event(NodeEvent::error(ErrorKind::Storage, &message));
                }
                core.event(NodeEvent::History { state, message });
            }
            HistoryEvent::Held { token, held } => self.answer_held(core, token, held),
            HistoryEvent::Range { token, batches, next } => {
                if self.reading.contains_key(&token) {
                    self.read(core, token, batches, next);
                } else if !self.say_again(core, token, &batches, next) {
                    self.answer_range(core, token, &batches, next);
                }
            }
            HistoryEvent::Compared { token, compared } => self.compared(core, token, Some(compared)),
            HistoryEvent::NotRead { token } => self.not_read(core, token),
            _ => {}
        }
    }

    /// All that decides how the streams go on, for tests that compare states.
    #[cfg(test)]
    pub(super) fn state_of_streams(&self) -> impl std::fmt::Debug {
        let peers: Vec<_> = self
            .peers
            .iter()
            .map(|(peer, state)| {
                (
                    *peer,
                    format!("{:?}{:?}", state.window, state.links),
                    state.comparing,
                    format!("{:?}", state.inbox),
                )
            })
            .collect();
        (format!("{:?}{:?}{:?}", self.logs, self.journal, self.growing), peers)
    }

    pub(super) fn has(&self, conn: ConnId) -> bool {
        self.links.contains_key(&conn)
    }

    pub(super) fn peer(&mut self, peer: PeerId, policy: &Policy, now: Instant) -> &mut PeerState {
        match self.peers.entry(peer) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(PeerState {
                window: Window::default(),
                lacking: Lacking::default(),
                progressed: None,
                lost_at: None,
                inbox: Inbox::new(policy, now),
                comparing: None,
                conflicts: 0,
                question: None,
                links: Vec::new(),
                dialling: false,
                backoff: Backoff::default(),
                notified: false,
                answered_at: None,
                behind: 0,
                is_clock_off: false,
                paths: Paths::default(),
                waiting: Vec::new(),
            }),
        }
    }

    pub(super) fn connected(&mut self, core: &mut Core, conn: ConnId, connected: &Connected) {
        let peer = connected.secured.peer;
        core.opened(conn);
        if connected.link == LinkKind::PeerOut && connected.via.is_none() {
            self.peer(peer, &core.policy, core.now.instant).answered_at = Some(connected.remote);
            self.tried(core, peer, None);
        } else if self.links.values().filter(|link| link.peer == peer).count() >= limits::LINKS_PER_PEER {
            return core.close(conn, CloseReason::Busy);
        }
        let link = PeerLink {
            peer,
            kind: connected.link,
            remote: connected.remote,
            via: connected.via,
            hello_sent: false,
            hello: None,
            used: core.now.instant,
            heard: core.now.instant,
            looked: core.now.instant,
            is_asked: false,
            refused: BTreeSet::new(),
        };
        self.links.insert(conn, link);
        // The other end may itself be waiting for the roster that names this one.
        let patience = if connected.link == LinkKind::PeerOut { 2 } else { 1 } * limits::ROSTER_PATIENCE;
        core.timers.set(Timer::Patience(conn), core.now.instant + patience);
        if core.is_member(&peer) {
            self.greet(core, conn);
        }
    }

    fn greet(&mut self, core: &mut Core, conn: ConnId) {
        let (Some(link), Some(network)) = (self.links.get_mut(&conn), &core.network) else { return };
        if std::mem::replace(&mut link.hello_sent, true) {
            return;
        }
        let hello = Frame::PeerHello(PeerHello { network: network.id, now: core.now.wall });
        if link.kind == LinkKind::PeerIn {
            core.authenticated(conn);
        }
        core.send(conn, &hello);
        core.timers.set(Timer::Idle(conn), core.now.instant + limits::PEER_LINK_IDLE);
        self.up(core, conn);
    }

    fn up(&mut self, core: &mut Core, conn: ConnId) {
        let Some(PeerLink { peer, kind, via, hello_sent: true, hello: Some(network), .. }) =
            self.links.get(&conn)
        else {
            return;
        };
        if core.network.as_ref().map(|network| &network.id) != Some(network) {
            self.drop_link(core, conn, CloseReason::NotAMember);
            return;
        }
        let (peer, kind, via) = (*peer, *kind, *via);
        core.timers.cancel(Timer::Patience(conn));
        core.timers.cancel(Timer::Dial(peer));
        let state = self.peer(peer, &core.policy, core.now.instant);
        if kind == LinkKind::PeerOut && via.is_none() {
            state.dialling = false;
        }
        state.links.push(conn);
        self.forget_relays(&peer);
        if via.is_some() {
            core.timers.set(Timer::Direct(peer), core.now.instant + limits::DIRECT_AGAIN);
        } else {
            self.prefer_direct(core, peer);
        }
        let state = self.peer(peer, &core.policy, core.now.instant);
        if state.links.len() > limits::LINKS_PER_PEER {
            let oldest = state.links.remove(1);
            self.links.remove(&oldest);
            self.end_relayed(core, oldest);
            core.goodbye(oldest, CloseReason::Superseded, "");
        }
        self.tell_route(core, peer);
        self.open_waiting(core, peer);
        self.pump(core, peer);
    }

    /// The two have a direct link now and need no relay. What was on its way goes over this one.
    fn prefer_direct(&mut self, core: &mut Core, peer: PeerId) {
        let Some(state) = self.peers.get(&peer) else { return };
        let is_carried = |conn: &&ConnId| self.links.get(conn).is_some_and(|link| link.via.is_some());
        let carried: Vec<ConnId> = state.links.iter().filter(is_carried).copied().collect();
        for conn in carried {
            self.drop_link(core, conn, CloseReason::Superseded);
        }
    }

    pub(super) fn dial_failed(&mut self, core: &mut Core, peer: PeerId, closed: &Closed) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.dialling = false;
        self.tried(core, peer, Some(closed.reason));
        self.link_wanted(core, peer, closed);
    }

    /// There is no link to a peer: another one is opened after a while, if one is needed.
    fn link_wanted(&mut self, core: &mut Core, peer: PeerId, closed: &Closed) {
        let needs_link = self.needs_link(&peer);
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if !needs_link || !state.links.is_empty() || !core.is_member(&peer) {
            return;
        }
        let wait = state.backoff.next(&mut core.rng);
        core.timers.set(Timer::Dial(peer), core.now.instant + wait);
        self.other_paths(core, peer, closed);
    }

    pub(super) fn frame(&mut self, core: &mut Core, conn: ConnId, frame: Frame) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        let peer = link.peer;
        let is_up = link.hello_sent && link.hello.is_some();
        (link.heard, link.is_asked) = (core.now.instant, false);
        match frame {
            Frame::PeerHello(hello) if link.hello.is_none() => {
                link.hello = Some(hello.network);
                self.compare_clocks(core, peer, core.now.wall.0.saturating_sub(hello.now.0));
                self.up(core, conn);
            }
            Frame::Batch(addressed) if is_up => {
                link.used = core.now.instant;
                self.batch(core, conn, peer, addressed);
            }
            Frame::Ack(ack) if is_up => {
                link.used = core.now.instant;
                self.acknowledged(core, peer, &ack);
                self.pump(core, peer);
            }
            Frame::Conflict(conflict) if is_up => self.in_conflict(core, conn, peer, conflict),
            Frame::CatchUp(since) if is_up => self.asked(core, conn, peer, since),
            Frame::Wanted(wanted) if is_up => self.wanted(core, conn, peer, wanted),
            Frame::Held(held) if is_up => self.held(core, conn, peer, held),
            Frame::HandedOn(handed) if is_up => self.handed_on(core, conn, peer, handed),
            frame @ (Frame::RelayOpen(_)
            | Frame::RelayOpened(_)
            | Frame::RelayBytes(_)
            | Frame::RelayTaken(_)
            | Frame::RelayClosed(_))
                if is_up && link.via.is_none() =>
            {
                self.relayed_frame(core, conn, frame);
            }
            Frame::Beat(beat) if is_up => core.send(conn, &Frame::BeatReply(beat.number)),
            Frame::BeatReply(_) if is_up => {}
            Frame::Goodbye(_) => self.drop_link(core, conn, CloseReason::Left),
            _ => self.drop_link(core, conn, CloseReason::ProtocolError),
        }
    }

    /// A peer has said what time it is.
    fn compare_clocks(&mut self, core: &mut Core, peer: PeerId, behind: i64) {
        let state = self.peer(peer, &core.policy, core.now.instant);
        state.behind = behind;
        let is_off = behind.unsigned_abs() > u64::try_from(limits::CLOCK_OFF.as_micros()).unwrap_or(0);
        if std::mem::replace(&mut state.is_clock_off, is_off) != is_off
            && is_off
            && let Some(peer) = core.person(&peer)
        {
            core.event(NodeEvent::Clock { peer, ahead_ms: behind.saturating_neg() / 1000 });
        }
    }

    /// The roster changed: cuts links to those who went, and looks after those who came.
    pub(super) fn roster_changed(&mut self, core: &mut Core, changes: &Changes) {
        self.close_batches(core);
        let everyone = self.current(Recipient::Everyone);
        if let Some(log) = self.logs.get_mut(&everyone) {
            for (entry, _) in &changes.removed {
                log.dismiss(&entry.peer_id);
            }
            let me = core.me();
            for entry in changes.updated.iter().filter(|entry| entry.peer_id != me) {
                log.address(entry.peer_id, core.now.wall);
            }
        }
        self.keep_audience(core, everyone);
        for (entry, reason) in &changes.removed {
            self.cut(core, entry.peer_id, *reason);
            self.want_last_words(core, &entry.peer_id);
        }
        let members: Vec<ConnId> = self
            .links
            .iter()
            .filter(|(_, link)| !link.hello_sent && core.is_member(&link.peer))
            .map(|(conn, _)| *conn)
            .collect();
        for conn in members {
            self.greet(core, conn);
        }
        for entry in &changes.updated {
            // It may be somewhere else now.
            self.forget_paths(core, entry.peer_id);
            core.timers.cancel(Timer::Dial(entry.peer_id));
            self.pump(core, entry.peer_id);
        }
        self.next_source(core);
    }

    /// A peer is no longer a member. What waits for it is kept, unless the host has removed it.
    fn cut(&mut self, core: &mut Core, peer: PeerId, reason: CloseReason) {
        let open: Vec<ConnId> =
            self.links.iter().filter(|(_, link)| link.peer == peer).map(|(conn, _)| *conn).collect();
        for conn in open {
            self.drop_link(core, conn, CloseReason::NotAMember);
        }
        core.timers.cancel(Timer::Dial(peer));
        core.timers.cancel(Timer::Throttle(peer));
        self.forget_paths(core, peer);
        self.refuse_waiting(core, peer);
        // What was on the way waits again, and says so.
        self.tell_waiting(core, &peer);
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.dialling = false;
        state.backoff.reset();
        let is_classic = peer.wire() == Wire::Classic;
        if is_classic {
            // It has no link that would be closed.
            state.inbox.retain_held(|_, _| false);
            self.forget_classic(core, &peer);
        }
        // Whoever comes to a classic peer's address next may be somebody else.
        if is_classic || matches!(reason, CloseReason::Kicked | CloseReason::Banned) {
            self.fail_all(core, peer, reason);
        }
        self.no_answer(core, peer);
    }

    /// Whom a link belongs to.
    pub(super) fn peer_of(&self, conn: ConnId) -> Option<PeerId> {
        self.links.get(&conn).map(|link| link.peer)
    }

    fn drop_link(&mut self, core: &mut Core, conn: ConnId, reason: CloseReason) {
        if let (CloseReason::ProtocolError, Some(peer)) = (reason, self.peer_of(conn)) {
            core.blame(&peer, "a frame that has no place there");
        }
        core.goodbye(conn, reason, "");
        self.closed(core, conn);
    }

    pub(super) fn closed(&mut self, core: &mut Core, conn: ConnId) {
        let Some(link) = self.links.remove(&conn) else { return };
        core.timers.cancel(Timer::Idle(conn));
        core.timers.cancel(Timer::Patience(conn));
        core.timers.cancel(Timer::Silence(conn));
        self.end_relayed(core, conn);
        self.acks.retain(|(over, ..), _| *over != conn);
        self.forget_questions(link.peer);
        let keys = self.logs_for(&link.peer);
        let Some(state) = self.peers.get_mut(&link.peer) else { return };
        let was_used = state.links.first() == Some(&conn);
        let was_up = state.links.contains(&conn);
        state.links.retain(|other| *other != conn);
        state.inbox.retain_held(|over, _| over != conn);
        if was_used {
            state.window.clear();
            for key in keys {
                if let Some(log) = self.logs.get_mut(&key) {
                    log.link_lost(&link.peer);
                }
            }
        }
        if !state.links.is_empty() {
            return self.pump(core, link.peer);
        }
        if was_up {
            state.lost_at = Some(core.now.wall);
        }
        let is_ours = link.kind == LinkKind::PeerOut && link.via.is_none();
        if is_ours {
            state.dialling = false;
        }
        if was_up || is_ours {
            self.link_wanted(core, link.peer, &CloseReason::ConnectionLost.into());
        }
    }

    pub(super) fn idle(&mut self, core: &mut Core, conn: ConnId) {
        let Some(link) = self.links.get(&conn) else { return };
        let until = link.used + limits::PEER_LINK_IDLE;
        let is_asked = |state: &PeerState| state.question.is_some();
        let waiting = self.is_pending(&link.peer) || self.peers.get(&link.peer).is_some_and(is_asked);
        if until > core.now.instant {
            core.timers.set(Timer::Idle(conn), until);
        } else if waiting {
            core.timers.set(Timer::Idle(conn), core.now.instant + limits::PEER_LINK_IDLE);
        } else {
            self.drop_link(core, conn, CloseReason::Idle);
        }
    }

    pub(super) fn patience_ended(&mut self, core: &mut Core, conn: ConnId) {
        if !self.has(conn) {
            return self.classic_timed_out(core, conn);
        }
        self.drop_link(core, conn, CloseReason::NotAMember);
    }

    /// The policy of the network is known, or is another.
    pub(super) fn policy_changed(&mut self, policy: &Policy, now: Instant) {
        for state in self.peers.values_mut() {
            state.inbox.set_policy(policy, now);
        }
    }
}

//! What host, member and mesh share: who this node is, whom it knows, and what is to be done next.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore as _, SeedableRng as _};

use super::{
    ConnId, NodeConfig, Output,
    limiter::{Entry, Limiter},
    reachability::Reachability,
    roster::{Changes, Roster},
    timers::Timers,
};
use crate::{
    api::{NodeEvent, PeerName},
    model::{
        Alias, CloseReason, ErrorKind, Liveness, Moment, Network, Peer, PeerId, Place, Policy, Role,
        RosterEntry, Timestamp, Wire, limits,
    },
    security::{Identity, PasswordCost},
    wire::{Frame, Refusal, Tried, classic::Object},
};

/// What happens at a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// An address may begin another handshake.
    Limiter,
    /// The admission on this link has taken too long.
    Admission(ConnId),
    /// Look at the heartbeat of this link.
    Beat(ConnId),
    /// Distribute roster changes.
    Roster,
    /// Distribute the roster to classic members.
    ClassicRoster,
    /// Forget attempts of quiet addresses.
    Attempts,
    /// Dial this peer again.
    Dial(PeerId),
    /// Close this peer link if it carries nothing.
    Idle(ConnId),
    /// Dialling this peer takes long: ask it to dial this node.
    Call(PeerId),
    /// Try another path to this peer; while its link is relayed, the direct one.
    Direct(PeerId),
    /// Name late messages to the members that lack them.
    Late,
    /// Report who was reached and who was not.
    Reachability,
    /// Check how long this peer link has been silent although an answer is due.
    Silence(ConnId),
    /// The roster has not named the key of this peer link in time.
    Patience(ConnId),
    /// Take more messages of this peer, which is over its rate.
    Throttle(PeerId),
    /// Give up on messages that waited too long.
    Expire,
    /// This peer has not answered a question.
    Answer(PeerId),
    /// Ask this peer the next question.
    Ask(PeerId),
    /// Read the messages that this peer lacks from the history again.
    Read(PeerId),
    /// A handover takes too long.
    Handover,
    /// Remove members of the old host that have not come to the new one.
    Expected,
    /// Stop going on without the host: the grace time is over.
    Grace,
    /// Ask for admission again.
    Rejoin,
    /// Give up on the host.
    HostLost,
    /// A recipient without progress no longer slows its sender down.
    Pressed,
    /// Leave although something is still on its way.
    Leave,
}

pub(super) struct Core {
    /// The time of this turn.
    pub(super) now: Moment,
    pub(super) alias: Alias,
    pub(super) identity: Arc<Identity>,
    pub(super) cost: PasswordCost,
    pub(super) rng: ChaCha20Rng,
    pub(super) outputs: VecDeque<Output>,
    pub(super) timers: Timers<Timer>,
    pub(super) limiter: Limiter,
    pub(super) network: Option<Network>,
    pub(super) policy: Policy,
    pub(super) roster: Roster,
    /// Everybody who is or was a member, as last known.
    people: BTreeMap<PeerId, Arc<Peer>>,
    /// Those of whom the front end was notified as members.
    notified: BTreeSet<PeerId>,
    /// Why each peer that is gone went.
    gone: BTreeMap<PeerId, CloseReason>,
    /// The place of the last message in this history.
    last_place: Place,
    /// Messages may have been missed since this time.
    away: Option<Timestamp>,
    /// Links whose handshake is finished and that are not closed.
    open: BTreeSet<ConnId>,
    /// Classic links that are not closed: no frame ever goes over them.
    open_classic: BTreeSet<ConnId>,
    /// The person's decision whether messages may go to classic peers, in clear.
    pub(super) cleartext: Option<bool>,
    /// Messages may go to classic peers now.
    pub(super) is_clear_allowed: bool,
    /// Host: this machine's address on the way to a classic member.
    pub(super) seen_as: BTreeMap<PeerId, Ipv4Addr>,
    /// This node is out of the network until the host admits it again.
    pub(super) is_out: bool,
    /// Who reaches whom, as far as this node knows.
    pub(super) reachability: Reachability,
    /// Member: results of dialling that the host was not told yet.
    to_report: BTreeMap<PeerId, Option<CloseReason>>,
    /// Join links: the host's to every member, a member's to its host.
    pub(super) join_links: BTreeMap<PeerId, ConnId>,
    /// The address at which this member reached its host.
    pub(super) host_ip: Option<IpAddr>,
    /// Counts the host packages that were given to the store.
    pub(super) packages: u64,
}

impl Core {
    pub(super) fn new(config: &NodeConfig, now: Moment) -> Self {
        Self {
            now,
            alias: config.alias.clone(),
            identity: config.identity.clone(),
            cost: config.cost,
            rng: ChaCha20Rng::from_seed(config.seed),
            outputs: VecDeque::new(),
            timers: Timers::new(),
            limiter: Limiter::new(config.descriptors),
            network: None,
            policy: Policy::default(),
            roster: Roster::default(),
            people: BTreeMap::new(),
            notified: BTreeSet::new(),
            gone: BTreeMap::new(),
            last_place: Place::MIN,
            away: None,
            open: BTreeSet::new(),
            open_classic: BTreeSet::new(),
            cleartext: config.cleartext,
            is_clear_allowed: true,
            seen_as: BTreeMap::new(),
            is_out: false,
            reachability: Reachability::default(),
            to_report: BTreeMap::new(),
            join_links: BTreeMap::new(),
            host_ip: None,
            packages: 0,
        }
    }

    pub(super) fn me(&self) -> PeerId {
        self.identity.peer_id()
    }

    pub(super) fn event(&mut self, event: NodeEvent) {
        self.outputs.push_back(Output::Event(event));
    }

    pub(super) fn send(&mut self, conn: ConnId, frame: &Frame) {
        self.send_bytes(conn, frame.encode());
    }

    pub(super) fn send_bytes(&mut self, conn: ConnId, frame: Bytes) {
        if self.open.contains(&conn) {
            self.outputs.push_back(Output::Send(conn, frame));
        }
    }

    pub(super) fn close(&mut self, conn: ConnId, reason: CloseReason) {
        self.open.remove(&conn);
        self.open_classic.remove(&conn);
        self.outputs.push_back(Output::Close(conn, reason));
    }

    /// Sends the reason, then closes the link.
    pub(super) fn goodbye(&mut self, conn: ConnId, reason: CloseReason, detail: &str) {
        self.send(conn, &Frame::Goodbye(Refusal { reason, detail: detail.to_owned() }));
        self.close(conn, reason);
    }

    pub(super) fn opened(&mut self, conn: ConnId) {
        self.open.insert(conn);
    }

    pub(super) fn opened_classic(&mut self, conn: ConnId) {
        self.open_classic.insert(conn);
    }

    pub(super) fn send_object(&mut self, conn: ConnId, object: &Object) {
        self.send_object_bytes(conn, object.encode());
    }

    pub(super) fn send_object_bytes(&mut self, conn: ConnId, object: Bytes) {
        if self.open_classic.contains(&conn) {
            self.outputs.push_back(Output::Send(conn, object));
        }
    }

    pub(super) fn open_connections(&self) -> Vec<ConnId> {
        self.open.union(&self.open_classic).copied().collect()
    }

    /// Whether messages may go in clear from now on; `is_asked` when somebody has to decide.
    pub(super) fn set_clear(&mut self, allow: bool, is_asked: bool) {
        self.is_clear_allowed = allow;
        if self.policy.classic {
            self.event(NodeEvent::Cleartext { allowed: allow, asked: is_asked });
        }
    }

    /// Where this peer listens, as classic peers know it.
    pub(super) fn own_address(&self, reader: &PeerId) -> Option<SocketAddrV4> {
        let entry = self.roster.get(&self.me())?;
        if let (Some(ip), Some(first)) = (self.seen_as.get(reader), entry.addrs.first()) {
            return Some(SocketAddrV4::new(*ip, first.port()));
        }
        entry.addrs.iter().find_map(usable_v4)
    }

    pub(super) fn incoming(&mut self, conn: ConnId, ip: IpAddr) {
        match self.limiter.incoming(conn, ip, &mut self.rng) {
            Entry::Taken => {}
            Entry::TakenInsteadOf(other) => self.close(other, CloseReason::Busy),
            Entry::Dropped => self.close(conn, CloseReason::Busy),
        }
    }

    pub(super) fn spoke(&mut self, conn: ConnId) {
        let released = self.limiter.spoke(conn, self.now.instant);
        self.proceed(released);
    }

    /// A link is authenticated: it no longer counts as a stranger's.
    pub(super) fn authenticated(&mut self, conn: ConnId) {
        self.outputs.push_back(Output::Authenticated(conn));
        let released = self.limiter.authenticated(conn, self.now.instant);
        self.proceed(released);
    }

    pub(super) fn gone(&mut self, conn: ConnId) {
        self.open.remove(&conn);
        self.open_classic.remove(&conn);
        let released = self.limiter.closed(conn, self.now.instant);
        self.proceed(released);
    }

    pub(super) fn poll_limiter(&mut self) {
        let released = self.limiter.poll(self.now.instant);
        self.proceed(released);
    }

    /// Lifts what holds an address back. False when nothing did.
    pub(super) fn forgive(&mut self, ip: IpAddr) -> bool {
        let Some(released) = self.limiter.forgive(ip, self.now.instant) else { return false };
        self.proceed(released);
        true
    }

    fn proceed(&mut self, released: Vec<ConnId>) {
        self.outputs.extend(released.into_iter().map(Output::Proceed));
        if self.limiter.is_waiting() && !self.timers.is_set(Timer::Limiter) {
            self.timers.set(Timer::Limiter, self.now.instant + limits::LIMITER_POLL);
        }
    }

    /// This node has tried to reach a peer.
    pub(super) fn report(&mut self, tried: Tried) {
        let me = self.me();
        self.reachability.note(me, tried);
        self.to_report.insert(tried.peer, tried.why_not);
        if !self.timers.is_set(Timer::Reachability) {
            self.timers.set(Timer::Reachability, self.now.instant + limits::REACHABILITY_TICK);
        }
    }

    /// What the host was not told yet.
    pub(super) fn take_report(&mut self) -> Vec<Tried> {
        let report = std::mem::take(&mut self.to_report);
        report.into_iter().map(|(peer, why_not)| Tried { peer, why_not }).collect()
    }

    /// A percentage for the next heartbeat.
    pub(super) fn jitter(&mut self) -> i32 {
        let span = 2 * limits::BEAT_JITTER_PERCENT + 1;
        let draw = i32::try_from(self.rng.next_u32() % span).unwrap_or(0);
        draw - i32::try_from(limits::BEAT_JITTER_PERCENT).unwrap_or(0)
    }

    pub(super) fn person(&self, peer: &PeerId) -> Option<Arc<Peer>> {
        self.people.get(peer).cloned()
    }

    /// The member with this name.
    pub(super) fn member_named(&self, name: &PeerName) -> Option<PeerId> {
        match name {
            PeerName::Id(peer) => self.roster.get(peer).map(|entry| entry.peer_id),
            PeerName::Alias(alias) => {
                let same = |entry: &&RosterEntry| entry.alias.as_str() == alias;
                self.roster.entries().find(same).map(|entry| entry.peer_id)
            }
        }
    }

    /// The peer with this name to whom a message may be sent: a member, or a former one that may come back.
    pub(super) fn correspondent(&self, name: &PeerName) -> Option<PeerId> {
        let is_meant = |peer: &&Arc<Peer>| match name {
            PeerName::Id(id) => peer.peer_id == *id,
            PeerName::Alias(alias) => peer.alias.as_str() == alias,
        };
        // A classic peer that is gone does not come back, and its label is free.
        let is_lasting = |peer: &Peer| peer.wire == Wire::Native || matches!(name, PeerName::Id(_));
        let was_here = |peer: &&Arc<Peer>| self.shut_out(&peer.peer_id).is_none() && is_lasting(peer);
        self.member_named(name)
            .or_else(|| self.people.values().filter(was_here).find(is_meant).map(|peer| peer.peer_id))
    }

    /// Why a former member cannot come back by itself; nothing when it can.
    pub(super) fn shut_out(&self, peer: &PeerId) -> Option<CloseReason> {
        let reason = self.gone.get(peer).copied();
        reason.filter(|reason| matches!(reason, CloseReason::Kicked | CloseReason::Banned))
    }

    /// Remembers a peer that is not a member now.
    pub(super) fn remember(&mut self, peer_id: PeerId, alias: Alias) {
        let addr = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let (role, wire) = (Role::Member, peer_id.wire());
        self.people.entry(peer_id).or_insert_with(|| Arc::new(Peer { peer_id, alias, addr, role, wire }));
    }

    /// Learns of the author of a message that is handed on, under the label that it had, if that is known.
    pub(super) fn meet(&mut self, peer: &PeerId, label: &str) {
        let is_new = self.people.get(peer).is_none_or(|known| known.alias == Alias::of_key(peer));
        if is_new {
            self.people.remove(peer);
            self.remember(*peer, Alias::new(label).unwrap_or_else(|_| Alias::of_key(peer)));
        }
    }

    /// The place of a message that comes now: after all that are here, whatever the clock says.
    pub(super) fn place_for(&self) -> Place {
        self.now.wall.0.max(self.last_place.saturating_add(1))
    }

    /// A message stands at `place`.
    pub(super) fn stood_at(&mut self, place: Place) {
        // A gap that is said to be enormous must not drive all later places into the future.
        let most = self.now.wall.0.max(self.last_place).saturating_add(2 * limits::GAP_ROOM.cast_signed());
        self.last_place = self.last_place.max(place.min(most));
    }

    /// A message of an earlier run stands at `place`.
    pub(super) fn recall_place(&mut self, place: Place) {
        self.last_place = self.last_place.max(place);
    }

    /// Takes the next places for so many own messages. Gives the first.
    pub(super) fn next_places(&mut self, count: u64) -> Place {
        let place = self.place_for();
        self.last_place = place.saturating_add(count.cast_signed() - 1);
        place
    }

    /// The label of a peer, or what stands for it.
    pub(super) fn alias_of(&self, peer: &PeerId) -> Alias {
        self.people.get(peer).map_or_else(|| Alias::of_key(peer), |peer| peer.alias.clone())
    }

    /// True when messages of an earlier run are here.
    pub(super) fn was_here_before(&self) -> bool {
        self.last_place > Place::MIN
    }

    /// Messages may have been missed since then.
    pub(super) fn away_since(&mut self, since: Timestamp) {
        self.away = Some(self.away.map_or(since, |before| before.min(since)));
    }

    /// Since when messages may have been missed, or else since the last one that is here.
    pub(super) fn take_away(&mut self) -> Timestamp {
        self.away.take().unwrap_or(Timestamp(self.last_place.min(self.now.wall.0)))
    }

    /// The time from which a member may read what was said to everyone.
    pub(super) fn readable_since(&self, peer: &PeerId) -> Timestamp {
        let back = i64::from(self.policy.read_back).saturating_mul(1_000_000);
        let since = self.roster.get(peer).map_or(Timestamp(i64::MAX), |entry| entry.since);
        Timestamp(since.0.saturating_sub(back))
    }

    /// The host of the network.
    pub(super) fn host(&self) -> Option<PeerId> {
        self.roster.entries().find(|entry| entry.role == Role::Host).map(|entry| entry.peer_id)
    }

    pub(super) fn is_member(&self, peer: &PeerId) -> bool {
        self.roster.get(peer).is_some()
    }

    /// Where a member may be reached, best first: what the host says, and for the host itself the address at which
    /// it answered.
    pub(super) fn candidates(&self, peer: &PeerId) -> Vec<SocketAddr> {
        let Some(entry) = self.roster.get(peer) else { return Vec::new() };
        let mut addrs = Vec::new();
        if let (Role::Host, Some(ip)) = (entry.role, self.host_ip) {
            addrs.extend(entry.addrs.first().map(|addr| SocketAddr::new(ip, addr.port())));
        }
        for addr in &entry.addrs {
            if !addr.ip().is_unspecified() && addr.port() != 0 && !addrs.contains(addr) {
                addrs.push(*addr);
            }
        }
        addrs
    }

    /// Learns the people of a changed roster and tells the front end who came and went.
    pub(super) fn tell_changes(&mut self, changes: &Changes, announce: bool) {
        let me = self.me();
        for (entry, reason) in &changes.removed {
            let was_notified = self.notified.remove(&entry.peer_id);
            self.gone.insert(entry.peer_id, *reason);
            if let Some(peer) = self.person(&entry.peer_id)
                && announce
                && was_notified
                && entry.peer_id != me
            {
                self.event(NodeEvent::PeerDown { peer, reason: reason.departure() });
            }
        }
        for entry in &changes.updated {
            let addr = self.candidates(&entry.peer_id).first().copied();
            let known = self.people.get(&entry.peer_id).map(|peer| peer.addr);
            let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
            let peer = Arc::new(Peer {
                peer_id: entry.peer_id,
                alias: entry.alias.clone(),
                addr: addr.or(entry.addrs.first().copied()).or(known).unwrap_or(unknown),
                role: entry.role,
                // The id tells how one speaks to it, whatever the host calls it.
                wire: if entry.peer_id == me { entry.wire } else { entry.peer_id.wire() },
            });
            self.people.insert(entry.peer_id, peer.clone());
            self.gone.remove(&entry.peer_id);
            let is_new = self.notified.insert(entry.peer_id);
            if announce && entry.peer_id != me && is_new {
                self.event(NodeEvent::PeerUp { peer });
            }
        }
        self.emit_roster();
    }

    /// A member sent what cannot be understood, and its link is closed. Strangers are not worth an event.
    pub(super) fn blame(&mut self, peer: &PeerId, what: &str) {
        if let (true, Some(peer)) = (self.is_member(peer), self.person(peer)) {
            let message = format!("{} sent {what}; its link is closed", peer.alias);
            self.event(NodeEvent::error(ErrorKind::Recv, &message));
        }
    }

    /// Tells the front end that a peer is gone although the roster still has it.
    pub(super) fn tell_gone(&mut self, peer: &PeerId, reason: CloseReason) {
        if self.notified.remove(peer)
            && let Some(peer) = self.person(peer)
        {
            self.event(NodeEvent::PeerDown { peer, reason: reason.departure() });
        }
    }

    /// Tells the front end of everybody in the roster who was taken for gone.
    pub(super) fn tell_present(&mut self) {
        let me = self.me();
        let back: Vec<PeerId> =
            self.roster.entries().map(|entry| entry.peer_id).filter(|peer| *peer != me).collect();
        for peer in back {
            if self.notified.insert(peer)
                && let Some(peer) = self.person(&peer)
            {
                self.event(NodeEvent::PeerUp { peer });
            }
        }
    }

    /// The members: the host first, then by alias.
    pub(super) fn members(&self) -> Vec<Arc<Peer>> {
        let mut peers: Vec<Arc<Peer>> =
            self.roster.entries().filter_map(|entry| self.person(&entry.peer_id)).collect();
        peers.sort_by(|a, b| (a.role, &a.alias).cmp(&(b.role, &b.alias)));
        peers
    }

    pub(super) fn emit_roster(&mut self) {
        let peers = self.members();
        self.event(NodeEvent::Roster { version: self.roster.version(), peers });
    }

    pub(super) fn emit_heartbeat(
        &mut self,
        peer: &PeerId,
        state: Liveness,
        rtt: Option<Duration>,
        missed: u32,
    ) {
        if let Some(peer) = self.person(peer) {
            self.event(NodeEvent::Heartbeat { peer, state, rtt, missed });
        }
    }
}

/// An address that a classic peer can reach.
pub(super) fn usable_v4(addr: &SocketAddr) -> Option<SocketAddrV4> {
    let SocketAddr::V4(addr) = SocketAddr::new(addr.ip().to_canonical(), addr.port()) else { return None };
    Some(addr).filter(|addr| !addr.ip().is_unspecified() && addr.port() != 0)
}

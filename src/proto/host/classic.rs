//! The host's side: a classic joiner is admitted by the same rules, counted in the same lists and banned by the same
//! word as any other; only its password comes in clear, and its identity is its address.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Instant,
};

use super::{Ask, Host, Joiner, Step as JoinStep, Timer};
use crate::{
    api::NodeEvent,
    model::{Alias, CloseReason, ErrorKind, Liveness, Password, PeerId, Role, RosterEntry, Wire, limits},
    proto::{
        ConnId, Connected, LinkKind, Output,
        detector::Detector,
        group::{Group, is_unnamed, usable_v4},
    },
    security::{
        JoinProof,
        password::{Challenged, join_context},
    },
    wire::{
        BannedStatus,
        classic::{Address, Object},
    },
};

/// How far a classic joiner has come.
#[derive(Debug)]
pub(in crate::proto) enum Step {
    /// It is to say the password.
    Password,
    /// It has, and waits for its address's turn.
    Turn(Password),
    /// One attempt is charged; it waits until it can be compared.
    Charged(Password),
    /// The password is being compared.
    Checking(Box<Challenged>),
    /// It is to say where it listens.
    Address,
    /// It is to open its second link.
    Distribution,
}

/// A classic member's links.
#[derive(Debug)]
struct Link {
    conn: ConnId,
    distribution: ConnId,
    /// This host's address, as that member reached it.
    local: Ipv4Addr,
    detector: Detector,
    /// The last beat.
    beat: u32,
}

/// The members that are classic.
#[derive(Debug)]
pub(in crate::proto) struct ClassicMembers {
    /// The port on which they are given the roster.
    port: Option<u16>,
    links: BTreeMap<PeerId, Link>,
    /// When the roster was sent last.
    sent: Option<Instant>,
    /// It is another since then.
    is_changed: bool,
    /// So many members did not fit it then.
    left_out: usize,
    /// Passwords that are being compared although whoever said them is gone.
    unattended: BTreeMap<ConnId, (IpAddr, Box<Challenged>)>,
    /// Passwords that are being compared.
    checking: usize,
    /// Those that wait for that.
    waiting: VecDeque<ConnId>,
}

impl ClassicMembers {
    /// None so far. Without a port there never will be.
    pub(in crate::proto) fn new(port: Option<u16>) -> Self {
        Self {
            port,
            links: BTreeMap::new(),
            sent: None,
            is_changed: false,
            left_out: 0,
            unattended: BTreeMap::new(),
            checking: 0,
            waiting: VecDeque::new(),
        }
    }

    /// A joiner is gone while its password is being compared.
    pub(in crate::proto) fn gone_while_checking(
        &mut self,
        conn: ConnId,
        ip: IpAddr,
        challenged: Box<Challenged>,
    ) {
        self.unattended.insert(conn, (ip, challenged));
    }

    /// Members that came from an address, with their ids.
    pub(in crate::proto) fn from(&self, ip: IpAddr) -> Vec<PeerId> {
        let is_from = |peer: &&PeerId| peer.address().is_some_and(|addr| IpAddr::V4(*addr.ip()) == ip);
        self.links.keys().filter(is_from).copied().collect()
    }

    /// True for a member that is here.
    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    pub(in crate::proto) fn has(&self, peer: &PeerId) -> bool {
        self.links.contains_key(peer)
    }
}

fn v4(addr: SocketAddr) -> Option<Ipv4Addr> {
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

/// The joiner is told no more than that it may not; the host hears why.
fn not_admitted(ip: IpAddr, why_not: &str) -> NodeEvent {
    let message = format!("a classic peer from {ip} was not admitted: {why_not}");
    NodeEvent::error(ErrorKind::Authentication, &message)
}

impl Host {
    /// A classic joiner has come, or one that was let in has opened its second link.
    pub(in crate::proto) fn classic_connected(&mut self, conn: ConnId, connected: &Connected) {
        let (remote, local) = (connected.remote, connected.local);
        if connected.link == LinkKind::DistributionIn {
            return self.distribution_opened(conn, remote.ip());
        }
        let peer = connected.secured.peer;
        let is_banned = matches!(self.admission.status(&peer, remote.ip()), BannedStatus::Banned { .. });
        self.turn.send_object(conn, &Object::BannedStatus(is_banned));
        if is_banned {
            return self.turn.close(conn, CloseReason::Banned);
        }
        let step = JoinStep::Classic(Step::Password);
        self.joiners.insert(conn, Joiner { peer, remote, local, binding: [0; 32], step });
        self.turn.set(Timer::Admission(conn), limits::TLS_TIMEOUT);
    }

    /// A classic joiner or member says something.
    pub(in crate::proto) fn object(&mut self, conn: ConnId, object: Object) {
        if let Some(peer) = self.by_conn.get(&conn).copied() {
            return self.classic_member(peer, conn, &object);
        }
        let Some(joiner) = self.joiners.get_mut(&conn) else { return };
        match (object, &joiner.step) {
            (Object::Password(password), JoinStep::Classic(Step::Password)) => {
                let ip = joiner.remote.ip();
                joiner.step = JoinStep::Classic(Step::Turn(password));
                // Whoever is silent makes room for others; this one is not any more.
                self.turn.ask(Ask::Spoke(conn));
                self.turn.set(Timer::Admission(conn), limits::ADMISSION_TIMEOUT);
                self.charge(conn, ip);
            }
            (Object::PeerAddress(Address(_, port)), JoinStep::Classic(Step::Address)) if port != 0 => {
                self.address_told(conn, port);
            }
            _ => {
                self.turn.close(conn, CloseReason::ProtocolError);
                self.joiner_gone(conn);
            }
        }
    }

    /// Has the password of a classic joiner compared, a few at a time: whoever is gone before its turn costs nothing.
    pub(in crate::proto) fn check_password(&mut self, conn: ConnId) {
        self.classic.waiting.push_back(conn);
        self.check_next();
    }

    fn check_next(&mut self) {
        while self.classic.checking < limits::HASHES_AT_ONCE {
            let Some(conn) = self.classic.waiting.pop_front() else { return };
            let Some(joiner) = self.joiners.remove(&conn) else { continue };
            self.check(conn, joiner);
        }
    }

    /// Compares the password that a classic joiner has said: this host plays both sides of the proof, off the async
    /// threads, since all that it keeps is the record.
    fn check(&mut self, conn: ConnId, joiner: Joiner) {
        let JoinStep::Classic(Step::Charged(password)) = joiner.step else { return };
        let context = join_context(&joiner.binding, &self.group.me(), &joiner.peer);
        let started = JoinProof::start(&mut self.turn.rng, password, context.clone(), self.group.cost);
        let checking = started.and_then(|(ke1, proof)| {
            let (ke2, challenged) = self.password.record.challenge(&mut self.turn.rng, context, &ke1)?;
            Ok((proof, ke2, challenged))
        });
        let Ok((proof, ke2, challenged)) = checking else {
            self.turn.timers.cancel(Timer::Admission(conn));
            self.turn.close(conn, CloseReason::Internal);
            for next in self.admission.withdraw(joiner.remote.ip()) {
                self.challenge(next);
            }
            return;
        };
        self.classic.checking += 1;
        let step = JoinStep::Classic(Step::Checking(Box::new(challenged)));
        self.joiners.insert(conn, Joiner { step, ..joiner });
        self.turn.set(Timer::Admission(conn), limits::ADMISSION_TIMEOUT);
        self.turn.ask(Output::Prove(conn, Box::new(proof), ke2));
    }

    /// The password was compared.
    pub(in crate::proto) fn password_checked(&mut self, conn: ConnId, answer: Option<&[u8]>) {
        self.classic.checking = self.classic.checking.saturating_sub(1);
        if let Some((ip, challenged)) = self.classic.unattended.remove(&conn) {
            let is_right = answer.is_some_and(|ke3| challenged.is_proven_by(ke3));
            self.settle_attempt(ip, is_right);
            return self.check_next();
        }
        self.check_next();
        let Some(joiner) = self.joiners.remove(&conn) else { return };
        let JoinStep::Classic(Step::Checking(challenged)) = joiner.step else { return };
        let is_right = answer.is_some_and(|ke3| challenged.is_proven_by(ke3));
        let ip = joiner.remote.ip();
        self.settle_attempt(ip, is_right);
        let why_not = self.why_not(&joiner.peer, ip);
        self.turn.send_object(conn, &Object::Authenticated(is_right && why_not.is_none()));
        if let (true, Some(why_not)) = (is_right, &why_not) {
            self.turn.event(not_admitted(ip, why_not));
        }
        if !is_right || why_not.is_some() {
            self.turn.timers.cancel(Timer::Admission(conn));
            return self.turn.close(conn, CloseReason::WrongPassword);
        }
        self.joiners.insert(conn, Joiner { step: JoinStep::Classic(Step::Address), ..joiner });
        self.turn.set(Timer::Admission(conn), limits::ADMISSION_TIMEOUT);
    }

    /// Why somebody with the right password still does not come in.
    fn why_not(&self, peer: &PeerId, ip: IpAddr) -> Option<String> {
        if self.admission.ban_of(peer, ip).is_some() {
            return Some("its address was banned meanwhile".to_owned());
        }
        if self.group.roster.will_have(peer) {
            return None;
        }
        self.admission.check_room(self.group.roster.members_to_be()).err().map(|error| error.to_string())
    }

    /// A joiner has said where it listens: it is given the roster, and where to get the next ones.
    fn address_told(&mut self, conn: ConnId, port: u16) {
        let Some(joiner) = self.joiners.get_mut(&conn) else { return };
        let (Some(ip), Some(local)) = (v4(joiner.remote), v4(joiner.local)) else { return };
        let (Some(distribution), Some(peer_port)) =
            (self.classic.port, self.listening.peer_addrs.first().map(SocketAddr::port))
        else {
            return;
        };
        // Whatever address it says: others go to where it comes from.
        let addr = SocketAddrV4::new(ip, port);
        joiner.peer = PeerId::of_address(addr);
        joiner.step = JoinStep::Classic(Step::Distribution);
        self.turn.set(Timer::Admission(conn), limits::ADMISSION_TIMEOUT);
        let host = SocketAddrV4::new(local, peer_port);
        let (roster, left_out) = roster_for(&self.group, host, Some(addr), limits::CLASSIC_OBJECT);
        self.turn.send_object(conn, &roster);
        if left_out > 0 {
            let message = format!(
                "the roster is longer than what the classic peer at {ip} reads at first: {left_out} members were \
                 left out, and follow once it is in"
            );
            self.turn.event(NodeEvent::error(ErrorKind::Connection, &message));
        }
        let at = SocketAddrV4::new(local, distribution).into();
        self.turn.send_object(conn, &Object::DistributionAddress(at));
    }

    /// The second link of a joiner: with it, it is a member.
    fn distribution_opened(&mut self, distribution: ConnId, ip: IpAddr) {
        let is_waiting = |joiner: &Joiner| {
            matches!(joiner.step, JoinStep::Classic(Step::Distribution)) && joiner.remote.ip() == ip
        };
        let waiting = self.joiners.iter().find(|(_, joiner)| is_waiting(joiner)).map(|(conn, _)| *conn);
        let Some((conn, joiner)) = waiting.and_then(|conn| self.joiners.remove_entry(&conn)) else {
            return self.turn.close(distribution, CloseReason::NotAMember);
        };
        self.turn.timers.cancel(Timer::Admission(conn));
        let (peer, why_not) = (joiner.peer, self.why_not(&joiner.peer, ip));
        let addr = peer.address().zip(v4(joiner.local));
        let Some((addr, local)) = addr.filter(|_| why_not.is_none()) else {
            self.turn.event(not_admitted(ip, &why_not.unwrap_or_default()));
            self.turn.close(distribution, CloseReason::Busy);
            return self.turn.close(conn, CloseReason::Busy);
        };
        if self.classic.has(&peer) {
            self.remove(peer, CloseReason::Superseded);
        }
        self.turn.authenticated(conn);
        self.turn.authenticated(distribution);
        // It takes a moment until it listens for that.
        let mut detector = Detector::new(self.turn.now.instant);
        detector.beat_at(self.turn.now.instant + 2 * limits::CLASSIC_PACE);
        self.turn.timers.set(Timer::Beat(conn), detector.deadline());
        let link = Link { conn, distribution, local, detector, beat: 0 };
        self.classic.links.insert(peer, link);
        self.by_conn.insert(conn, peer);
        self.by_conn.insert(distribution, peer);
        self.group.seen_as.insert(peer, local);
        self.group.roster.update(RosterEntry {
            peer_id: peer,
            alias: self.first_alias(&peer, addr),
            role: Role::Member,
            wire: Wire::Classic,
            addrs: vec![addr.into()],
            since: self.turn.now.wall,
            status: None,
        });
        self.distribute_soon();
    }

    /// Before it has said what it is called, a classic peer is called by its address.
    fn first_alias(&self, peer: &PeerId, addr: SocketAddrV4) -> Alias {
        let others = self.group.roster.entries_to_be().map(|entry| (&entry.peer_id, &entry.alias));
        let alias = self.admission.check_alias(peer, &addr.ip().to_string(), Some(&self.group.alias), others);
        alias.unwrap_or_else(|_| Alias::of_key(peer))
    }

    /// A classic peer has said what it is called. The first time it is believed, if nobody else is called so.
    pub(in crate::proto) fn bind_alias(&mut self, peer: PeerId, label: &Alias) {
        let entry = self.group.roster.get(&peer).filter(|entry| is_unnamed(entry)).cloned();
        let Some(entry) = entry.filter(|_| self.classic.has(&peer)) else { return };
        let others = self.group.roster.entries_to_be().map(|entry| (&entry.peer_id, &entry.alias));
        if let Ok(alias) = self.admission.check_alias(&peer, label.as_str(), Some(&self.group.alias), others)
        {
            self.group.roster.update(RosterEntry { alias, ..entry });
            self.turn.ask(Ask::Distribute);
        }
    }

    fn classic_member(&mut self, peer: PeerId, conn: ConnId, object: &Object) {
        let Some(link) = self.classic.links.get_mut(&peer) else { return };
        if *object != Object::Beat || conn != link.conn {
            self.turn.events(self.group.blame(&peer, "an object that has no place there"));
            return self.remove(peer, CloseReason::ProtocolError);
        }
        link.detector.heard(self.turn.now.instant);
        let rtt = link.detector.answered(link.beat, self.turn.now.instant);
        link.detector.beat_at(self.turn.now.instant + limits::BEAT_EVERY + limits::CLASSIC_SLACK);
        self.turn.timers.set(Timer::Beat(conn), link.detector.deadline());
        if rtt.is_some() {
            let missed = link.detector.missed();
            self.turn.events(self.group.heartbeat(&peer, Liveness::Alive, rtt, missed));
        }
    }

    /// The heartbeat of a classic member.
    pub(in crate::proto) fn classic_beat(&mut self, conn: ConnId) {
        let Some(peer) = self.by_conn.get(&conn).copied() else { return };
        let Some(link) = self.classic.links.get_mut(&peer) else { return };
        let step = link.detector.poll(self.turn.now.instant, 0);
        self.turn.timers.set(Timer::Beat(conn), link.detector.deadline());
        if let Some(number) = step.beat {
            link.beat = number;
            self.turn.send_object(conn, &Object::Beat);
        }
        match step.changed {
            Some(Liveness::Dead) => {
                self.remove(peer, CloseReason::HeartbeatTimeout);
            }
            Some(state) => {
                self.turn.events(self.group.heartbeat_of(&peer, state, &link.detector));
            }
            None => {}
        }
    }

    /// The roster is another: classic members are given it.
    pub(in crate::proto) fn distribute_classic(&mut self) {
        self.classic.is_changed = true;
        self.send_rosters();
    }

    /// Gives classic members the roster, at most once a second, since only the newest matters; and once more a little
    /// later, since they forget what does not come in one piece.
    pub(in crate::proto) fn send_rosters(&mut self) {
        if self.classic.links.is_empty() {
            return;
        }
        if let Some(at) = self.classic.sent.map(|at| at + limits::CLASSIC_ROSTER_TICK)
            && at > self.turn.now.instant
        {
            return self.turn.timers.set(Timer::ClassicRoster, at);
        }
        self.classic.sent = Some(self.turn.now.instant);
        if std::mem::take(&mut self.classic.is_changed) {
            self.turn.set(Timer::ClassicRoster, limits::CLASSIC_ROSTER_AGAIN);
        }
        let Some(port) = self.listening.peer_addrs.first().map(SocketAddr::port) else { return };
        let mut left_out = 0;
        for link in self.classic.links.values() {
            let host = SocketAddrV4::new(link.local, port);
            let (roster, without) = roster_for(&self.group, host, None, limits::CLASSIC_ROSTER);
            self.turn.send_object(link.distribution, &roster);
            left_out = without;
        }
        if left_out > 0 && self.classic.left_out == 0 {
            let message = format!(
                "the roster is longer than what classic peers read: they do not know of {left_out} members"
            );
            self.turn.event(NodeEvent::error(ErrorKind::Connection, &message));
        }
        self.classic.left_out = left_out;
    }

    /// Tells a classic member that it is banned; its links are closed with its removal.
    pub(in crate::proto) fn tell_banned(&mut self, peer: &PeerId) {
        if let Some(link) = self.classic.links.get(peer) {
            self.turn.send_object(link.conn, &Object::BannedStatus(true));
        }
    }

    /// A member is taken out: its links go with it.
    pub(in crate::proto) fn classic_removed(&mut self, peer: &PeerId, reason: CloseReason) {
        let Some(link) = self.classic.links.remove(peer) else { return };
        if reason == CloseReason::HeartbeatTimeout {
            self.turn.events(self.group.heartbeat_of(peer, Liveness::Dead, &link.detector));
        }
        self.group.seen_as.remove(peer);
        self.turn.timers.cancel(Timer::Beat(link.conn));
        for conn in [link.conn, link.distribution] {
            self.by_conn.remove(&conn);
            self.turn.close(conn, reason);
        }
    }

    /// This host is the host no longer: classic members know no other.
    pub(in crate::proto) fn let_classic_go(&mut self) {
        self.turn.timers.cancel(Timer::ClassicRoster);
        let peers: Vec<PeerId> = self.classic.links.keys().copied().collect();
        for peer in peers {
            self.classic_removed(&peer, CloseReason::HostLeft);
        }
    }
}

/// Everybody as a classic peer reads it, the host first: as many as fit `limit` bytes. Gives how many do not.
fn roster_for(
    group: &Group,
    host: SocketAddrV4,
    newcomer: Option<SocketAddrV4>,
    limit: usize,
) -> (Object, usize) {
    let reachable = |entry: &RosterEntry| match entry.peer_id.address() {
        Some(addr) => Some(addr),
        // Elsewhere 127.0.0.1 is somebody else.
        None => group
            .candidates(&entry.peer_id)
            .iter()
            .filter_map(usable_v4)
            .find(|addr| host.ip().is_loopback() || !addr.ip().is_loopback()),
    };
    let others = group.roster.entries().filter(|entry| entry.role != Role::Host).filter_map(reachable);
    let mut all: Vec<SocketAddrV4> = std::iter::once(host).chain(newcomer).collect();
    all.extend(others.filter(|addr| Some(*addr) != newcomer));
    let total = all.len();
    loop {
        let object = Object::Roster(all.iter().copied().map(Address::from).collect());
        let bytes = object.encode().len();
        if bytes <= limit || all.len() <= 1 {
            return (object, total - all.len());
        }
        // Entries have about the same length.
        let fitting = (all.len() * limit / bytes).min(all.len() - 1);
        all.truncate(fitting.max(1));
    }
}

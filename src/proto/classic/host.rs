//! The host's side: a classic joiner is admitted by the same rules, counted in the same lists and banned by the same
//! word as any other; only its password comes in clear, and its identity is its address.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Instant,
};

use super::roster_for;
use crate::{
    api::NodeEvent,
    model::{Alias, CloseReason, ErrorKind, Liveness, Password, PeerId, Role, RosterEntry, Wire, limits},
    proto::{
        ConnId, Connected, LinkKind, Output,
        admission::Charge,
        core::{Core, Timer},
        detector::Detector,
        host::{Host, Joiner, Step as JoinStep},
        mesh::Mesh,
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
fn tell_not_admitted(core: &mut Core, ip: IpAddr, why_not: &str) {
    let message = format!("a classic peer from {ip} was not admitted: {why_not}");
    core.event(NodeEvent::error(ErrorKind::Authentication, &message));
}

impl Host {
    /// A classic joiner has come, or one that was let in has opened its second link.
    pub(in crate::proto) fn classic_connected(
        &mut self,
        core: &mut Core,
        mesh: &mut Mesh,
        conn: ConnId,
        connected: &Connected,
    ) {
        let (remote, local) = (connected.remote, connected.local);
        core.opened_classic(conn);
        if connected.link == LinkKind::DistributionIn {
            return self.distribution_opened(core, mesh, conn, remote.ip());
        }
        let peer = connected.secured.peer;
        let is_banned = matches!(self.admission.status(&peer, remote.ip()), BannedStatus::Banned { .. });
        core.send_object(conn, &Object::BannedStatus(is_banned));
        if is_banned {
            return core.close(conn, CloseReason::Banned);
        }
        let step = JoinStep::Classic(Step::Password);
        self.joiners.insert(conn, Joiner { peer, remote, local, binding: [0; 32], step });
        core.timers.set(Timer::Admission(conn), core.now.instant + limits::TLS_TIMEOUT);
    }

    /// A classic joiner or member says something.
    pub(in crate::proto) fn object(
        &mut self,
        core: &mut Core,
        mesh: &mut Mesh,
        conn: ConnId,
        object: Object,
    ) {
        if let Some(peer) = self.by_conn.get(&conn).copied() {
            return self.classic_member(core, mesh, peer, conn, &object);
        }
        let Some(joiner) = self.joiners.get_mut(&conn) else { return };
        match (object, &joiner.step) {
            (Object::Password(password), JoinStep::Classic(Step::Password)) => {
                let ip = joiner.remote.ip();
                joiner.step = JoinStep::Classic(Step::Turn(password));
                // Whoever is silent makes room for others; this one is not any more.
                core.spoke(conn);
                core.timers.set(Timer::Admission(conn), core.now.instant + limits::ADMISSION_TIMEOUT);
                if self.admission.charge(conn, ip, core.now.instant) == Charge::Challenge {
                    self.challenge(core, conn);
                }
            }
            (Object::PeerAddress(Address(_, port)), JoinStep::Classic(Step::Address)) if port != 0 => {
                self.address_told(core, conn, port);
            }
            _ => {
                core.close(conn, CloseReason::ProtocolError);
                self.joiner_gone(core, conn);
            }
        }
    }

    /// Has the password of a classic joiner compared, a few at a time: whoever is gone before its turn costs nothing.
    pub(in crate::proto) fn check_password(&mut self, core: &mut Core, conn: ConnId) {
        self.classic.waiting.push_back(conn);
        self.check_next(core);
    }

    fn check_next(&mut self, core: &mut Core) {
        while self.classic.checking < limits::HASHES_AT_ONCE {
            let Some(conn) = self.classic.waiting.pop_front() else { return };
            let Some(joiner) = self.joiners.remove(&conn) else { continue };
            self.check(core, conn, joiner);
        }
    }

    /// Compares the password that a classic joiner has said: this host plays both sides of the proof, off the async
    /// threads, since all that it keeps is the record.
    fn check(&mut self, core: &mut Core, conn: ConnId, joiner: Joiner) {
        let JoinStep::Classic(Step::Charged(password)) = joiner.step else { return };
        let context = join_context(&joiner.binding, &core.me(), &joiner.peer);
        let started = JoinProof::start(&mut core.rng, password, context.clone(), core.cost);
        let checking = started.and_then(|(ke1, proof)| {
            let (ke2, challenged) = self.record.challenge(&mut core.rng, context, &ke1)?;
            Ok((proof, ke2, challenged))
        });
        let Ok((proof, ke2, challenged)) = checking else {
            core.timers.cancel(Timer::Admission(conn));
            core.close(conn, CloseReason::Internal);
            for next in self.admission.withdraw(joiner.remote.ip()) {
                self.challenge(core, next);
            }
            return;
        };
        self.classic.checking += 1;
        let step = JoinStep::Classic(Step::Checking(Box::new(challenged)));
        self.joiners.insert(conn, Joiner { step, ..joiner });
        core.timers.set(Timer::Admission(conn), core.now.instant + limits::ADMISSION_TIMEOUT);
        core.outputs.push_back(Output::Prove(conn, Box::new(proof), ke2));
    }

    /// The password was compared.
    pub(in crate::proto) fn password_checked(
        &mut self,
        core: &mut Core,
        conn: ConnId,
        answer: Option<&[u8]>,
    ) {
        self.classic.checking = self.classic.checking.saturating_sub(1);
        if let Some((ip, challenged)) = self.classic.unattended.remove(&conn) {
            let is_right = answer.is_some_and(|ke3| challenged.is_proven_by(ke3));
            self.settle_attempt(core, ip, is_right);
            return self.check_next(core);
        }
        self.check_next(core);
        let Some(joiner) = self.joiners.remove(&conn) else { return };
        let JoinStep::Classic(Step::Checking(challenged)) = joiner.step else { return };
        let is_right = answer.is_some_and(|ke3| challenged.is_proven_by(ke3));
        let ip = joiner.remote.ip();
        self.settle_attempt(core, ip, is_right);
        let why_not = self.why_not(core, &joiner.peer, ip);
        core.send_object(conn, &Object::Authenticated(is_right && why_not.is_none()));
        if let (true, Some(why_not)) = (is_right, &why_not) {
            tell_not_admitted(core, ip, why_not);
        }
        if !is_right || why_not.is_some() {
            core.timers.cancel(Timer::Admission(conn));
            return core.close(conn, CloseReason::WrongPassword);
        }
        self.joiners.insert(conn, Joiner { step: JoinStep::Classic(Step::Address), ..joiner });
        core.timers.set(Timer::Admission(conn), core.now.instant + limits::ADMISSION_TIMEOUT);
    }

    /// Why somebody with the right password still does not come in.
    fn why_not(&self, core: &Core, peer: &PeerId, ip: IpAddr) -> Option<String> {
        if self.admission.ban_of(peer, ip).is_some() {
            return Some("its address was banned meanwhile".to_owned());
        }
        if core.roster.will_have(peer) {
            return None;
        }
        self.admission.check_room(core.roster.members_to_be()).err().map(|error| error.to_string())
    }

    /// A joiner has said where it listens: it is given the roster, and where to get the next ones.
    fn address_told(&mut self, core: &mut Core, conn: ConnId, port: u16) {
        let Some(joiner) = self.joiners.get_mut(&conn) else { return };
        let (Some(ip), Some(local)) = (v4(joiner.remote), v4(joiner.local)) else { return };
        let (Some(distribution), Some(peer_port)) =
            (self.classic.port, self.peer_addrs.first().map(SocketAddr::port))
        else {
            return;
        };
        // Whatever address it says: others go to where it comes from.
        let addr = SocketAddrV4::new(ip, port);
        joiner.peer = PeerId::of_address(addr);
        joiner.step = JoinStep::Classic(Step::Distribution);
        core.timers.set(Timer::Admission(conn), core.now.instant + limits::ADMISSION_TIMEOUT);
        let host = SocketAddrV4::new(local, peer_port);
        let (roster, left_out) = roster_for(core, host, Some(addr), limits::CLASSIC_OBJECT);
        core.send_object(conn, &roster);
        if left_out > 0 {
            let message = format!(
                "the roster is longer than what the classic peer at {ip} reads at first: {left_out} members were \
                 left out, and follow once it is in"
            );
            core.event(NodeEvent::error(ErrorKind::Connection, &message));
        }
        let at = SocketAddrV4::new(local, distribution).into();
        core.send_object(conn, &Object::DistributionAddress(at));
    }

    /// The second link of a joiner: with it, it is a member.
    fn distribution_opened(&mut self, core: &mut Core, mesh: &mut Mesh, distribution: ConnId, ip: IpAddr) {
        let is_waiting = |joiner: &Joiner| {
            matches!(joiner.step, JoinStep::Classic(Step::Distribution)) && joiner.remote.ip() == ip
        };
        let waiting = self.joiners.iter().find(|(_, joiner)| is_waiting(joiner)).map(|(conn, _)| *conn);
        let Some((conn, joiner)) = waiting.and_then(|conn| self.joiners.remove_entry(&conn)) else {
            return core.close(distribution, CloseReason::NotAMember);
        };
        core.timers.cancel(Timer::Admission(conn));
        let (peer, why_not) = (joiner.peer, self.why_not(core, &joiner.peer, ip));
        let addr = peer.address().zip(v4(joiner.local));
        let Some((addr, local)) = addr.filter(|_| why_not.is_none()) else {
            tell_not_admitted(core, ip, &why_not.unwrap_or_default());
            core.close(distribution, CloseReason::Busy);
            return core.close(conn, CloseReason::Busy);
        };
        if self.classic.has(&peer) {
            self.remove(core, mesh, peer, CloseReason::Superseded);
        }
        core.authenticated(conn);
        core.authenticated(distribution);
        // It takes a moment until it listens for that.
        let mut detector = Detector::new(core.now.instant);
        detector.beat_at(core.now.instant + 2 * limits::CLASSIC_PACE);
        core.timers.set(Timer::Beat(conn), detector.deadline());
        let link = Link { conn, distribution, local, detector, beat: 0 };
        self.classic.links.insert(peer, link);
        self.by_conn.insert(conn, peer);
        self.by_conn.insert(distribution, peer);
        core.seen_as.insert(peer, local);
        core.roster.update(RosterEntry {
            peer_id: peer,
            alias: self.first_alias(core, &peer, addr),
            role: Role::Member,
            wire: Wire::Classic,
            addrs: vec![addr.into()],
            since: core.now.wall,
        });
        self.distribute_soon(core, mesh);
    }

    /// Before it has said what it is called, a classic peer is called by its address.
    fn first_alias(&self, core: &Core, peer: &PeerId, addr: SocketAddrV4) -> Alias {
        let others = core.roster.entries_to_be().map(|entry| (&entry.peer_id, &entry.alias));
        let alias = self.admission.check_alias(peer, &addr.ip().to_string(), &core.alias, others);
        alias.unwrap_or_else(|_| Alias::of_key(peer))
    }

    /// A classic peer has said what it is called. The first time it is believed, if nobody else is called so.
    pub(in crate::proto) fn bind_alias(
        &mut self,
        core: &mut Core,
        mesh: &mut Mesh,
        peer: PeerId,
        label: &Alias,
    ) {
        let entry = core.roster.get(&peer).filter(|entry| super::messaging::is_unnamed(entry)).cloned();
        let Some(entry) = entry.filter(|_| self.classic.has(&peer)) else { return };
        let others = core.roster.entries_to_be().map(|entry| (&entry.peer_id, &entry.alias));
        if let Ok(alias) = self.admission.check_alias(&peer, label.as_str(), &core.alias, others) {
            core.roster.update(RosterEntry { alias, ..entry });
            self.distribute(core, mesh);
        }
    }

    fn classic_member(
        &mut self,
        core: &mut Core,
        mesh: &mut Mesh,
        peer: PeerId,
        conn: ConnId,
        object: &Object,
    ) {
        let Some(link) = self.classic.links.get_mut(&peer) else { return };
        if *object != Object::Beat || conn != link.conn {
            core.blame(&peer, "an object that has no place there");
            return self.remove(core, mesh, peer, CloseReason::ProtocolError);
        }
        link.detector.heard(core.now.instant);
        let rtt = link.detector.answered(link.beat, core.now.instant);
        link.detector.beat_at(core.now.instant + limits::BEAT_EVERY + limits::CLASSIC_SLACK);
        core.timers.set(Timer::Beat(conn), link.detector.deadline());
        if rtt.is_some() {
            let missed = link.detector.missed();
            core.emit_heartbeat(&peer, Liveness::Alive, rtt, missed);
        }
    }

    /// The heartbeat of a classic member.
    pub(in crate::proto) fn classic_beat(&mut self, core: &mut Core, mesh: &mut Mesh, conn: ConnId) {
        let Some(peer) = self.by_conn.get(&conn).copied() else { return };
        let Some(link) = self.classic.links.get_mut(&peer) else { return };
        let step = link.detector.poll(core.now.instant, 0);
        core.timers.set(Timer::Beat(conn), link.detector.deadline());
        if let Some(number) = step.beat {
            link.beat = number;
            core.send_object(conn, &Object::Beat);
        }
        match step.changed {
            Some(Liveness::Dead) => {
                self.remove(core, mesh, peer, CloseReason::HeartbeatTimeout);
            }
            Some(state) => {
                core.emit_heartbeat(&peer, state, link.detector.rtt(), link.detector.missed());
            }
            None => {}
        }
    }

    /// The roster is another: classic members are given it.
    pub(in crate::proto) fn distribute_classic(&mut self, core: &mut Core) {
        self.classic.is_changed = true;
        self.send_rosters(core);
    }

    /// Gives classic members the roster, at most once a second, since only the newest matters; and once more a little
    /// later, since they forget what does not come in one piece.
    pub(in crate::proto) fn send_rosters(&mut self, core: &mut Core) {
        if self.classic.links.is_empty() {
            return;
        }
        if let Some(at) = self.classic.sent.map(|at| at + limits::CLASSIC_ROSTER_TICK)
            && at > core.now.instant
        {
            return core.timers.set(Timer::ClassicRoster, at);
        }
        self.classic.sent = Some(core.now.instant);
        if std::mem::take(&mut self.classic.is_changed) {
            core.timers.set(Timer::ClassicRoster, core.now.instant + limits::CLASSIC_ROSTER_AGAIN);
        }
        let Some(port) = self.peer_addrs.first().map(SocketAddr::port) else { return };
        let mut left_out = 0;
        for link in self.classic.links.values() {
            let host = SocketAddrV4::new(link.local, port);
            let (roster, without) = roster_for(core, host, None, limits::CLASSIC_ROSTER);
            core.send_object(link.distribution, &roster);
            left_out = without;
        }
        if left_out > 0 && self.classic.left_out == 0 {
            let message = format!(
                "the roster is longer than what classic peers read: they do not know of {left_out} members"
            );
            core.event(NodeEvent::error(ErrorKind::Connection, &message));
        }
        self.classic.left_out = left_out;
    }

    /// Tells a classic member that it is banned; its links are closed with its removal.
    pub(in crate::proto) fn tell_banned(&self, core: &mut Core, peer: &PeerId) {
        if let Some(link) = self.classic.links.get(peer) {
            core.send_object(link.conn, &Object::BannedStatus(true));
        }
    }

    /// A member is taken out: its links go with it.
    pub(in crate::proto) fn classic_removed(&mut self, core: &mut Core, peer: &PeerId, reason: CloseReason) {
        let Some(link) = self.classic.links.remove(peer) else { return };
        if reason == CloseReason::HeartbeatTimeout {
            core.emit_heartbeat(peer, Liveness::Dead, link.detector.rtt(), link.detector.missed());
        }
        core.seen_as.remove(peer);
        core.timers.cancel(Timer::Beat(link.conn));
        for conn in [link.conn, link.distribution] {
            self.by_conn.remove(&conn);
            core.close(conn, reason);
        }
    }

    /// This host is the host no longer: classic members know no other.
    pub(in crate::proto) fn let_classic_go(&mut self, core: &mut Core) {
        core.timers.cancel(Timer::ClassicRoster);
        let peers: Vec<PeerId> = self.classic.links.keys().copied().collect();
        for peer in peers {
            self.classic_removed(core, &peer, CloseReason::HostLeft);
        }
    }
}

//! A member of a network that the Python program hosts: it says the password in clear, because somebody here has asked
//! for that, and then takes part as any other member does.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr, SocketAddrV4},
};

use ring::digest::{SHA256, digest};

use super::{Joining, Member, Step as JoinStep, Timer};
use crate::{
    api::{LinkState, NodeEvent},
    model::{
        Alias, AuthenticationError, CloseReason, Closed, ErrorKind, Liveness, Network, NetworkId, PeerId,
        Policy, Role, RosterEntry, SafeText, Signature, Timestamp, Wire, limits,
    },
    proto::{
        ConnId, Connected, LinkKind, Output,
        group::{Group, is_unnamed, usable_v4},
        roster::Roster,
    },
    wire::{
        Authenticated,
        classic::{Address, Object},
    },
};

/// How far the admission by a classic host has come.
#[derive(Debug)]
pub(in crate::proto) enum Step {
    /// Waiting for the host's first word.
    Status,
    /// Waiting for what it says of the password.
    Verdict,
    /// Waiting for the roster.
    Roster,
    /// Waiting for where the next ones are to be had.
    Distribution(Vec<Address>),
    /// Opening the second link.
    Opening(Vec<Address>),
}

/// What a member of a classic network has beside its join link.
#[derive(Debug, Default)]
pub(in crate::proto) struct ClassicHost {
    /// Over this link rosters come.
    distribution: Option<ConnId>,
    /// Rosters so far.
    version: u64,
}

impl Member {
    /// How this member speaks to its host.
    pub(in crate::proto) fn wire(&self) -> Wire {
        if self.classic.is_some() { Wire::Classic } else { Wire::Native }
    }

    /// A link to a classic host is there.
    pub(in crate::proto) fn classic_connected(&mut self, conn: ConnId, connected: &Connected) {
        let Some(classic) = &mut self.classic else { return self.turn.close(conn, CloseReason::Internal) };
        if connected.link == LinkKind::DistributionOut {
            if let Some(before) = classic.distribution.replace(conn) {
                self.turn.close(before, CloseReason::Superseded);
            }
            return self.distribution_opened();
        }
        self.dialling = false;
        let host = connected.secured.peer;
        let (step, connected) = (JoinStep::Classic(Step::Status), connected.clone());
        self.joining = Some(Joining { conn, host, step, left: 0, known: false, connected });
        self.turn.set(Timer::Admission(conn), limits::ADMISSION_TIMEOUT);
        self.tell_link(LinkState::Authenticating, "waiting for the host to speak first", None);
    }

    /// A classic host says something.
    pub(in crate::proto) fn object(&mut self, conn: ConnId, object: Object) {
        let is_distribution = self.classic.as_ref().is_some_and(|classic| classic.distribution == Some(conn));
        match object {
            Object::Beat => self.beat_came(conn),
            Object::Roster(addrs) if is_distribution => self.roster_came(&addrs),
            Object::BannedStatus(true) if self.link.is_some() => self.banned(""),
            object => self.admission_goes_on(conn, object),
        }
    }

    /// Answered whatever else is going on: the host waits for it.
    fn beat_came(&mut self, conn: ConnId) {
        self.turn.send_object(conn, &Object::Beat);
        let Some(link) = self.link.as_mut().filter(|link| link.conn == conn) else { return };
        link.detector.heard(self.turn.now.instant);
        self.turn.timers.cancel(Timer::Rejoin);
        self.turn.timers.set(Timer::Beat(conn), link.detector.deadline());
        if let Some(host) = self.host.key {
            self.turn.events(self.group.heartbeat(&host, Liveness::Alive, None, 0));
        }
    }

    fn admission_goes_on(&mut self, conn: ConnId, object: Object) {
        let Some(joining) = self.joining.as_mut().filter(|joining| joining.conn == conn) else { return };
        let JoinStep::Classic(step) = &mut joining.step else { return };
        match (object, step) {
            (Object::BannedStatus(true), _) => self.banned(""),
            (Object::BannedStatus(false), step @ Step::Status) => {
                let Some(password) = self.password.clone() else {
                    let message = "a classic host knows nobody: the network's password is needed";
                    return self.refused(Closed::new(CloseReason::WrongPassword, message));
                };
                *step = Step::Verdict;
                self.turn.send_object(conn, &Object::Password(password));
                self.tell_link(LinkState::Authenticating, "saying the password, in clear", None);
            }
            (Object::Authenticated(true), step @ Step::Verdict) => {
                let Some(addr) = listening(&joining.connected) else {
                    let message = "a classic host needs an IPv4 address of this machine, and there is none";
                    return self.finish(Closed::new(CloseReason::CannotListen, message));
                };
                *step = Step::Roster;
                self.turn.send_object(conn, &Object::PeerAddress(addr.into()));
            }
            (Object::Authenticated(false), Step::Verdict) => {
                // How many are left a classic host does not say.
                self.turn.close(conn, CloseReason::WrongPassword);
                let error = AuthenticationError::NotTaken;
                self.refused(Closed::new(CloseReason::WrongPassword, error.to_string()));
            }
            (Object::Roster(addrs), step @ Step::Roster) => *step = Step::Distribution(addrs),
            (Object::DistributionAddress(addr), step @ Step::Distribution(_)) => {
                let Step::Distribution(addrs) = std::mem::replace(step, Step::Status) else { return };
                *step = Step::Opening(addrs);
                // It is the host's, whatever it calls it.
                let IpAddr::V4(ip) = joining.connected.remote.ip().to_canonical() else { return };
                self.turn.ask(Output::Distribution(SocketAddrV4::new(ip, addr.1)));
            }
            _ => {
                self.turn.close(conn, CloseReason::ProtocolError);
                self.joining = None;
                let message =
                    format!("{} is no classic host: it does not keep to that protocol", self.host.target);
                self.finish(Closed::new(CloseReason::NotPyile, message));
            }
        }
    }

    /// Both links are there: a member.
    fn distribution_opened(&mut self) {
        let Some(joining) = &mut self.joining else { return };
        let JoinStep::Classic(Step::Opening(addrs)) = &mut joining.step else { return };
        let addrs = std::mem::take(addrs);
        let at = joining.connected.remote.ip();
        let Some(host) = addresses(&addrs, at).first().copied() else {
            let message = format!("{} says nothing of itself in its roster", self.host.target);
            return self.finish(Closed::new(CloseReason::NotPyile, message));
        };
        joining.host = PeerId::of_address(host);
        let own = listening(&joining.connected).map(SocketAddr::V4).into_iter().collect();
        let version = self.next_version();
        let roster = roster_of(&self.group, version, &addresses(&addrs, at), own, self.turn.now.wall);
        let header = Authenticated {
            departed: 0,
            network: Network { id: network_id(&self.host.target), name: "Python network".to_owned() },
            policy: Policy { classic: true, grace: 0, ..Policy::default() },
            version: roster.version(),
            entries: u32::try_from(roster.entries().len()).unwrap_or(u32::MAX),
            signature: Signature([0; 64]),
        };
        self.recall(roster, header);
    }

    /// Another roster, of which nobody says why it is another.
    fn roster_came(&mut self, addrs: &[Address]) {
        let at = self
            .joining
            .as_ref()
            .map(|joining| joining.connected.remote.ip())
            .or(self.group.host_addr.map(|addr| addr.ip()));
        let Some(at) = at else { return };
        let addrs = &addresses(addrs, at);
        if self.link.is_none() {
            // It is taken on as soon as the history has told what it knows.
            let version = self.next_version();
            if let Some(Joining { step: JoinStep::Recalling(admitted, _), connected, .. }) = &mut self.joining
            {
                let own = listening(connected).map(SocketAddr::V4).into_iter().collect();
                admitted.0 = roster_of(&self.group, version, addrs, own, self.turn.now.wall);
            }
            return;
        }
        let own =
            self.group.roster.get(&self.group.me()).map(|entry| entry.addrs.clone()).unwrap_or_default();
        let version = self.next_version();
        let roster = roster_of(&self.group, version, addrs, own, self.turn.now.wall);
        let mut changes = self.group.roster.replace(roster);
        for (_, reason) in &mut changes.removed {
            *reason = CloseReason::Left;
        }
        self.roster_changed(changes);
    }

    fn next_version(&mut self) -> u64 {
        let Some(classic) = &mut self.classic else { return 0 };
        classic.version += 1;
        classic.version
    }

    /// A peer of a classic network has said what it is called. The first time it is believed, if nobody else is called
    /// so. In other networks the host decides that.
    pub(in crate::proto) fn bind_alias(&mut self, peer: PeerId, label: &Alias) {
        let Some(classic) = &mut self.classic else { return };
        let is_free =
            self.group.roster.entries().all(|entry| entry.peer_id == peer || !entry.alias.looks_like(label));
        let Some(entry) = self.group.roster.get(&peer).filter(|entry| is_free && is_unnamed(entry)).cloned()
        else {
            return;
        };
        classic.version += 1;
        let others = self.group.roster.entries().filter(|other| other.peer_id != peer).cloned();
        let entries = others.chain([RosterEntry { alias: label.clone(), ..entry }]).collect();
        let changes = self.group.roster.replace(Roster::unsigned(classic.version, entries));
        let events = self.group.learn(&changes, true);
        self.turn.events(events);
    }

    /// Gives up an admission of which only one link is left.
    pub(in crate::proto) fn give_up_asking(&mut self) {
        if let Some(joining) = self.joining.take_if(|joining| {
            matches!(joining.step, JoinStep::Classic(_)) || matches!(joining.step, JoinStep::Recalling(..))
        }) {
            self.turn.timers.cancel(Timer::Admission(joining.conn));
            self.turn.close(joining.conn, CloseReason::ConnectionLost);
        }
        self.close_distribution();
    }

    /// The host hung up before this member was admitted.
    pub(in crate::proto) fn hung_up(&self) -> Closed {
        let message = format!(
            "{} takes the connection and hangs up without admitting anybody: it is no classic host, or not now; a \
             pyile host is joined without --classic",
            self.host.target
        );
        Closed::new(CloseReason::NotPyile, message)
    }

    /// A link to a classic host is gone. True when it was the second one, without which no roster comes any more.
    pub(in crate::proto) fn distribution_closed(&mut self, conn: ConnId) -> bool {
        let Some(classic) = &mut self.classic else { return false };
        classic.distribution.take_if(|distribution| *distribution == conn).is_some()
    }

    /// The link to the host is gone: so is the second one.
    pub(in crate::proto) fn close_distribution(&mut self) {
        if let Some(conn) = self.classic.as_mut().and_then(|classic| classic.distribution.take()) {
            self.turn.close(conn, CloseReason::ConnectionLost);
        }
    }

    /// Whether messages may go to classic peers in a network that this member has just joined.
    pub(in crate::proto) fn decide_cleartext(&mut self) {
        // A network that was without classic peers does not become a classic one in silence.
        let needs_consent = self.group.policy.classic
            && self.consent.was_classic == Some(false)
            && self.wire() == Wire::Native;
        let decided = self.group.cleartext.decided;
        let is_asked = needs_consent && decided.is_none();
        let event = self.group.set_clear(decided.unwrap_or(!needs_consent), is_asked);
        self.turn.events(event);
        if is_asked && !std::mem::replace(&mut self.consent.was_asked, true) {
            let message = "this network now lets classic peers in: what is said to them goes in clear. Nothing of \
                           yours does until you allow it with /cleartext on (--cleartext)";
            self.turn.event(NodeEvent::error(ErrorKind::Status, message));
        }
        self.consent.was_classic = Some(self.group.speaks_clear());
    }

    /// Somebody has decided whether messages may go in clear.
    pub(in crate::proto) fn decided(&mut self) {
        self.consent.was_classic = Some(self.group.speaks_clear());
        self.remember();
    }
}

/// A roster of addresses, with the names that are known.
fn roster_of(
    group: &Group,
    version: u64,
    addrs: &[SocketAddrV4],
    own_addrs: Vec<SocketAddr>,
    now: Timestamp,
) -> Roster {
    let me = group.me();
    let own = own_addrs.iter().find_map(usable_v4);
    let mut entries = vec![RosterEntry {
        peer_id: me,
        alias: group.alias.clone(),
        role: Role::Member,
        wire: Wire::Classic,
        addrs: own_addrs,
        since: now,
        status: None,
    }];
    let mut ips = BTreeSet::new();
    let others = addrs.iter().copied().filter(|addr| Some(*addr) != own);
    for (at, addr) in others.take(limits::MEMBERS_MAX).enumerate() {
        let peer_id = PeerId::of_address(addr);
        let role = if at == 0 { Role::Host } else { Role::Member };
        let by_ip = Alias::new(&addr.ip().to_string()).ok().filter(|_| ips.insert(*addr.ip()));
        let known = group.roster.get(&peer_id).map(|known| RosterEntry { role, ..known.clone() });
        entries.push(known.unwrap_or_else(|| RosterEntry {
            peer_id,
            alias: by_ip.unwrap_or_else(|| Alias::of_key(&peer_id)),
            role,
            wire: Wire::Classic,
            addrs: vec![addr.into()],
            since: now,
            status: None,
        }));
    }
    Roster::unsigned(version, entries)
}

/// Whoever is in a roster, the host first: it is where it was reached, whatever it calls itself.
fn addresses(roster: &[Address], host: IpAddr) -> Vec<SocketAddrV4> {
    let IpAddr::V4(host) = host.to_canonical() else { return Vec::new() };
    let first = roster.first().map(|first| SocketAddrV4::new(host, first.1));
    let others = roster.iter().skip(1).filter_map(Address::socket);
    first.into_iter().chain(others).filter(|addr| !addr.ip().is_unspecified() && addr.port() != 0).collect()
}

/// Where this member listens, as it tells a classic host: where that host sees it, if it listens there.
fn listening(connected: &Connected) -> Option<SocketAddrV4> {
    let mut addrs = connected.listening.iter().filter_map(usable_v4);
    let seen = addrs.clone().find(|addr| IpAddr::V4(*addr.ip()) == connected.local.ip().to_canonical());
    seen.or_else(|| addrs.next())
}

/// A classic network has no identity but where its host is.
fn network_id(target: &str) -> NetworkId {
    let place = format!("pyile classic network at {}", SafeText::line(target));
    let digest = digest(&SHA256, place.as_bytes());
    NetworkId(*digest.as_ref().first_chunk().unwrap_or(&[0; 16]))
}

//! What a node knows of its network: who it is itself, who is a member, who was, and who reaches whom.
//!
//! The role writes it, every other part reads it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use super::{
    ConnId, Limits, NodeConfig,
    detector::Detector,
    reachability::Reachability,
    roster::{Changes, Roster},
};
use crate::{
    api::{NodeEvent, PeerName, Target},
    model::{
        Alias, CloseReason, CommandError, Departed, ErrorKind, Liveness, Network, NetworkId, Peer, PeerId,
        Policy, Recipient, Role, RosterEntry, SendError, Status, Timestamp, Wire, limits,
    },
    security::{Identity, PasswordCost},
};

/// A node's knowledge of its network.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) alias: Alias,
    pub(super) identity: Arc<Identity>,
    /// How costly a guess at the password is.
    pub(super) cost: PasswordCost,
    /// How much room it gives.
    pub(super) limits: Limits,
    pub(super) network: Option<Network>,
    pub(super) policy: Policy,
    pub(super) roster: Roster,
    people: People,
    /// Who reaches whom, as far as this node knows.
    pub(super) reachability: Reachability,
    /// Join links: the host's to every member, a member's to its host.
    pub(super) join_links: BTreeMap<PeerId, ConnId>,
    /// The address at which this member reached its host.
    pub(super) host_addr: Option<SocketAddr>,
    /// This node is out of the network until the host admits it again.
    pub(super) is_out: bool,
    /// Whether messages may go to classic peers, in clear.
    pub(super) cleartext: Cleartext,
    /// Host: this machine's address on the way to a classic member.
    pub(super) seen_as: BTreeMap<PeerId, Ipv4Addr>,
}

/// Whether messages may go to classic peers, in clear.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cleartext {
    /// What the person here has decided.
    pub(super) decided: Option<bool>,
    /// They may go now.
    pub(super) is_allowed: bool,
}

/// Everybody who is or was a member.
#[derive(Debug, Clone, Default)]
struct People {
    /// As last known.
    known: BTreeMap<PeerId, Arc<Peer>>,
    /// Those of whom the front end was notified as members.
    notified: BTreeSet<PeerId>,
    /// Why each peer that is gone went.
    gone: BTreeMap<PeerId, CloseReason>,
}

impl Group {
    /// Nobody is known yet.
    pub(super) fn new(config: &NodeConfig) -> Self {
        Self {
            alias: config.alias.clone(),
            identity: config.identity.clone(),
            cost: config.cost,
            limits: config.limits,
            network: None,
            policy: Policy::default(),
            roster: Roster::default(),
            people: People::default(),
            reachability: Reachability::default(),
            join_links: BTreeMap::new(),
            host_addr: None,
            is_out: false,
            cleartext: Cleartext { decided: config.cleartext, is_allowed: true },
            seen_as: BTreeMap::new(),
        }
    }

    pub(super) fn me(&self) -> PeerId {
        self.identity.peer_id()
    }

    pub(super) fn network_id(&self) -> Option<NetworkId> {
        self.network.as_ref().map(|network| network.id)
    }

    /// Whether messages may go in clear from now on; `is_asked` when somebody has to decide. Gives what is told of it.
    pub(super) fn set_clear(&mut self, allow: bool, is_asked: bool) -> Option<NodeEvent> {
        self.cleartext.is_allowed = allow;
        self.policy.classic.then_some(NodeEvent::Cleartext { allowed: allow, asked: is_asked })
    }

    /// True when messages go to classic peers.
    pub(super) fn speaks_clear(&self) -> bool {
        self.policy.classic && self.cleartext.is_allowed
    }

    /// Where this peer listens, as classic peers know it.
    pub(super) fn own_address(&self, reader: &PeerId) -> Option<SocketAddrV4> {
        let entry = self.roster.get(&self.me())?;
        if let (Some(ip), Some(first)) = (self.seen_as.get(reader), entry.addrs.first()) {
            return Some(SocketAddrV4::new(*ip, first.port()));
        }
        entry.addrs.iter().find_map(usable_v4)
    }

    pub(super) fn person(&self, peer: &PeerId) -> Option<Arc<Peer>> {
        self.people.known.get(peer).cloned()
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

    /// The member with this name, or that there is none.
    pub(super) fn named(&self, name: &PeerName) -> Result<PeerId, CommandError> {
        self.member_named(name).ok_or_else(|| CommandError::NoSuchMember(name.to_string()))
    }

    /// The peer with this name to whom a message may be sent: a member, or a former one that may come back.
    fn correspondent(&self, name: &PeerName) -> Option<PeerId> {
        let is_meant = |peer: &&Arc<Peer>| match name {
            PeerName::Id(id) => peer.peer_id == *id,
            PeerName::Alias(alias) => peer.alias.as_str() == alias,
        };
        // A classic peer that is gone does not come back, and its label is free.
        let is_lasting = |peer: &Peer| peer.wire == Wire::Native || matches!(name, PeerName::Id(_));
        let was_here = |peer: &&Arc<Peer>| !self.is_shut_out(&peer.peer_id) && is_lasting(peer);
        self.member_named(name)
            .or_else(|| self.people.known.values().filter(was_here).find(is_meant).map(|peer| peer.peer_id))
    }

    /// True for a former member that was banned or kicked.
    pub(super) fn is_shut_out(&self, peer: &PeerId) -> bool {
        self.people.gone.get(peer).is_some_and(|reason| reason.is_removal())
            || self.roster.departed(peer).is_some_and(|departed| departed.is_out)
    }

    /// True for a peer that is away, and for whom what is said to everyone waits: the host has not removed it, and it was
    /// here within the last day.
    pub(super) fn awaits(&self, peer: &PeerId, now: Timestamp) -> bool {
        let Some(departed) = self.roster.departed(peer) else { return false };
        !self.is_shut_out(peer)
            && now.since(departed.at) < limits::UNDELIVERED_FOR
            && self.people.known.contains_key(peer)
    }

    /// Everybody for whom what is said to everyone waits.
    pub(super) fn awaited(&self, now: Timestamp) -> impl Iterator<Item = PeerId> {
        let departed = self.roster.all_departed().map(|departed| departed.peer);
        departed.filter(move |peer| *peer != self.me() && self.awaits(peer, now))
    }

    /// Remembers a peer that is not a member now.
    pub(super) fn remember(&mut self, peer_id: PeerId, alias: Alias) {
        let addr = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let (role, wire) = (Role::Member, peer_id.wire());
        self.people
            .known
            .entry(peer_id)
            .or_insert_with(|| Arc::new(Peer { peer_id, alias, addr, role, wire, status: None }));
    }

    /// Learns of the author of a message that is handed on, under the label that it had, if that is known.
    pub(super) fn meet(&mut self, peer: &PeerId, label: &str) {
        let is_new = self.people.known.get(peer).is_none_or(|known| known.alias == Alias::of_key(peer));
        if is_new {
            self.people.known.remove(peer);
            self.remember(*peer, Alias::new(label).unwrap_or_else(|_| Alias::of_key(peer)));
        }
    }

    /// The label of a peer, or what stands for it.
    pub(super) fn alias_of(&self, peer: &PeerId) -> Alias {
        self.people.known.get(peer).map_or_else(|| Alias::of_key(peer), |peer| peer.alias.clone())
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
        if let (Role::Host, Some(mut reached), Some(addr)) = (entry.role, self.host_addr, entry.addrs.first())
        {
            // With its zone, where it has one.
            reached.set_port(addr.port());
            addrs.push(reached);
        }
        for addr in &entry.addrs {
            if !addr.ip().is_unspecified() && addr.port() != 0 && !addrs.contains(addr) {
                addrs.push(*addr);
            }
        }
        addrs
    }

    /// Learns the people of a changed roster. Gives what the front end is told: who came and went, and the roster.
    pub(super) fn learn(&mut self, changes: &Changes, announce: bool) -> Vec<NodeEvent> {
        let me = self.me();
        let mut events = Vec::new();
        // Whoever went, or came again, may be somewhere else now.
        let moved = changes.removed.iter().map(|(entry, _)| entry).chain(&changes.updated);
        moved.for_each(|entry| self.reachability.forget(&entry.peer_id));
        for (entry, reason) in &changes.removed {
            let was_notified = self.people.notified.remove(&entry.peer_id);
            self.people.gone.insert(entry.peer_id, *reason);
            if let Some(peer) = self.person(&entry.peer_id)
                && announce
                && was_notified
                && entry.peer_id != me
            {
                events.push(NodeEvent::PeerDown { peer, reason: reason.departure() });
            }
        }
        for (peer, reason) in &changes.shut_out {
            self.people.gone.insert(*peer, *reason);
            if let Some(peer) = self.person(peer).filter(|_| announce) {
                events.push(NodeEvent::PeerDown { peer, reason: *reason });
            }
        }
        for entry in changes.updated.iter().chain(&changes.relabelled) {
            let addr = self.candidates(&entry.peer_id).first().copied();
            let known = self.people.known.get(&entry.peer_id).map(|peer| peer.addr);
            let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
            let peer = Arc::new(Peer {
                peer_id: entry.peer_id,
                alias: entry.alias.clone(),
                addr: addr.or(entry.addrs.first().copied()).or(known).unwrap_or(unknown),
                role: entry.role,
                // The id tells how one speaks to it, whatever the host calls it.
                wire: if entry.peer_id == me { entry.wire } else { entry.peer_id.wire() },
                status: entry.status.clone(),
            });
            self.people.known.insert(entry.peer_id, peer.clone());
            self.people.gone.remove(&entry.peer_id);
            let is_new = self.people.notified.insert(entry.peer_id);
            if announce && entry.peer_id != me && is_new {
                events.push(NodeEvent::PeerUp { peer });
            }
        }
        let label = |departed: &Departed| Some((departed.peer, departed.alias.clone()?));
        for (peer, alias) in self.roster.all_departed().filter_map(label).collect::<Vec<_>>() {
            self.remember(peer, alias);
        }
        events.push(self.roster_event());
        events
    }

    /// A member sent what cannot be understood, and its link is closed. Strangers are not worth an event.
    pub(super) fn blame(&self, peer: &PeerId, what: &str) -> Option<NodeEvent> {
        let peer = self.person(peer).filter(|peer| self.is_member(&peer.peer_id))?;
        let message = format!("{} sent {what}; its link is closed", peer.alias);
        Some(NodeEvent::error(ErrorKind::Recv, &message))
    }

    /// A peer is taken for gone although the roster still has it. Gives what the front end is told.
    pub(super) fn take_for_gone(&mut self, peer: &PeerId, reason: CloseReason) -> Option<NodeEvent> {
        let peer = self.person(peer).filter(|peer| self.people.notified.remove(&peer.peer_id))?;
        Some(NodeEvent::PeerDown { peer, reason: reason.departure() })
    }

    /// Everybody in the roster who was taken for gone is here. Gives what the front end is told.
    pub(super) fn take_for_present(&mut self) -> Vec<NodeEvent> {
        let me = self.me();
        let mut events = Vec::new();
        let back: Vec<PeerId> =
            self.roster.entries().map(|entry| entry.peer_id).filter(|peer| *peer != me).collect();
        for peer in back {
            if self.people.notified.insert(peer)
                && let Some(peer) = self.person(&peer)
            {
                events.push(NodeEvent::PeerUp { peer });
            }
        }
        events
    }

    /// What this node says of itself.
    pub(super) fn own_status(&self) -> Option<Status> {
        self.roster.get(&self.me()).and_then(|entry| entry.status.clone())
    }

    /// This node itself has another name from now on. True when it has.
    pub(super) fn rename_self(&mut self, changes: &Changes) -> bool {
        let me = self.me();
        let own = changes.relabelled.iter().find(|entry| entry.peer_id == me);
        match own.filter(|entry| entry.alias != self.alias) {
            Some(entry) => {
                self.alias = entry.alias.clone();
                true
            }
            None => false,
        }
    }

    /// The members: the host first, then by alias.
    pub(super) fn members(&self) -> Vec<Arc<Peer>> {
        let mut peers: Vec<Arc<Peer>> =
            self.roster.entries().filter_map(|entry| self.person(&entry.peer_id)).collect();
        peers.sort_by(|a, b| (a.role, &a.alias).cmp(&(b.role, &b.alias)));
        peers
    }

    pub(super) fn roster_event(&self) -> NodeEvent {
        NodeEvent::Roster { version: self.roster.version(), peers: self.members() }
    }

    pub(super) fn heartbeat(
        &self,
        peer: &PeerId,
        state: Liveness,
        rtt: Option<Duration>,
        missed: u32,
    ) -> Option<NodeEvent> {
        Some(NodeEvent::Heartbeat { peer: self.person(peer)?, state, rtt, missed })
    }

    pub(super) fn heartbeat_of(&self, peer: &PeerId, state: Liveness, by: &Detector) -> Option<NodeEvent> {
        self.heartbeat(peer, state, by.rtt(), by.missed())
    }

    /// To whom a message goes that is for `target`.
    pub(super) fn recipient(&self, target: &Target) -> Result<Recipient, SendError> {
        if self.network.is_none() {
            return Err(SendError::NotConnected);
        }
        match target {
            Target::Everyone if self.is_out => Err(SendError::NotConnected),
            Target::Everyone => Ok(Recipient::Everyone),
            Target::Peer(name) => match self.correspondent(name) {
                Some(peer) if peer == self.me() => Err(SendError::Yourself),
                Some(peer) => Ok(Recipient::Peer(peer)),
                None => Err(SendError::NoSuchMember(name.to_string())),
            },
        }
    }
}

/// An address that a classic peer can reach.
pub(super) fn usable_v4(addr: &SocketAddr) -> Option<SocketAddrV4> {
    let SocketAddr::V4(addr) = SocketAddr::new(addr.ip().to_canonical(), addr.port()) else { return None };
    Some(addr).filter(|addr| !addr.ip().is_unspecified() && addr.port() != 0)
}

/// True for a classic peer that has not said yet what it is called.
pub(super) fn is_unnamed(entry: &RosterEntry) -> bool {
    let by_ip = entry.peer_id.address().is_some_and(|addr| entry.alias.as_str() == addr.ip().to_string());
    entry.wire == Wire::Classic && (by_ip || entry.alias == Alias::of_key(&entry.peer_id))
}

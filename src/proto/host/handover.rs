//! Handing the network over: a member opens a join port, everybody sees whether it can be reached there, it gets what
//! a host needs, and the old host signs that the new one is the host from now on.
//!
//! Until that signature nothing has changed for anybody, and whatever fails calls it off.

use std::{collections::BTreeSet, net::SocketAddr, time::Instant};

use super::{Ask, Host, Timer, candidates, deputy::parts_of};
use crate::{
    api::{NodeEvent, PeerName, StoreCommand},
    model::{
        Admitted, CloseReason, Closed, CommandError, ErrorKind, HostPackage, PeerId, Role, RosterEntry,
        SafeText, Signature, Timestamp, Wire, limits,
    },
    proto::{Output, group::Group},
    security::sign,
    wire::{Frame, HandoverProbe, HandoverStatement, Refusal},
};

/// A handover under way.
#[derive(Debug)]
pub(super) struct Handover {
    to: PeerId,
    deadline: Instant,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// The member opens its join port.
    Offered,
    /// Everybody tries to reach it.
    Probing(Probing),
    /// The member keeps what a host needs, as it was at this save.
    Sent { addrs: Vec<SocketAddr>, token: u64 },
    /// The member has kept it. What this host kept is set aside before anybody is told.
    Retiring { addrs: Vec<SocketAddr> },
}

/// What is known of whether a member can be reached where it would host.
#[derive(Debug)]
struct Probing {
    addrs: Vec<SocketAddr>,
    /// How many were asked, this host not counted.
    asked: usize,
    waiting: BTreeSet<PeerId>,
    failed: Vec<String>,
    /// This host itself does not reach it.
    is_out_of_reach: bool,
}

impl Host {
    /// Asks a member to take over.
    pub(in crate::proto) fn hand_over(&mut self, name: &PeerName) -> Result<(), CommandError> {
        if self.handing.handover.is_some() {
            return Err(CommandError::HandoverUnderWay);
        }
        let to = self.group.member_named(name).ok_or_else(|| CommandError::NoSuchMember(name.to_string()))?;
        if to == self.group.me() {
            return Err(CommandError::Yourself("you are the host already"));
        }
        let label = self.group.person(&to).map_or_else(|| to.short(), |peer| peer.alias.to_string());
        if to.wire() == Wire::Classic {
            return Err(CommandError::ClassicSuccessor(label));
        }
        let link = self.members.get(&to).ok_or(CommandError::NotLinked(label))?;
        self.turn.send(link.conn, &Frame::HandoverOffer(self.listening.join_addr.port()));
        let deadline = self.turn.now.instant + limits::HANDOVER_TIMEOUT;
        self.handing.handover = Some(Handover { to, deadline, step: Step::Offered });
        self.turn.timers.set(Timer::Handover, deadline);
        Ok(())
    }

    /// The member listens at these addresses: can everybody reach it there?
    pub(in crate::proto) fn handover_ready(&mut self, peer: PeerId, announced: &[SocketAddr]) {
        let is_asked =
            |handover: &&mut Handover| handover.to == peer && matches!(handover.step, Step::Offered);
        let Some(handover) = self.handing.handover.as_mut().filter(is_asked) else { return };
        let Some(link) = self.members.get(&peer) else { return };
        let addrs = candidates(SocketAddr::new(link.ip, 0), announced);
        if addrs.is_empty() {
            return;
        }
        // Those who are just being admitted are not asked, and follow later.
        let served = self.members.iter().filter(|(other, link)| link.since.is_some() && **other != peer);
        let waiting: BTreeSet<PeerId> = served.map(|(other, _)| *other).chain([self.group.me()]).collect();
        let probe = Frame::HandoverProbe(HandoverProbe { peer, addrs: addrs.clone() });
        for (other, link) in &self.members {
            if waiting.contains(other) {
                self.turn.send(link.conn, &probe);
            }
        }
        self.turn.ask(Output::Probe(peer, addrs.clone()));
        let asked = waiting.len() - 1;
        let probing = Probing { addrs, asked, waiting, failed: Vec::new(), is_out_of_reach: false };
        handover.step = Step::Probing(probing);
    }

    /// Somebody, or this host itself, has tried to reach the member's join port. No reason means that it did.
    pub(in crate::proto) fn handover_probed(
        &mut self,
        by: PeerId,
        probed: Option<&PeerId>,
        why_not: Option<&str>,
    ) {
        let name = self.group.person(&by).map_or_else(|| by.short(), |peer| peer.alias.to_string());
        let is_me = by == self.group.me();
        let Some(Handover { to, step: Step::Probing(probing), .. }) = &mut self.handing.handover else {
            return;
        };
        // An answer about somebody else belongs to a handover that was called off.
        if probed.is_some_and(|probed| probed != to) || !probing.waiting.remove(&by) {
            return;
        }
        if let Some(why) = why_not {
            let who = if is_me { "you".to_owned() } else { name };
            let at = probing.addrs.first().map(ToString::to_string).unwrap_or_default();
            probing.failed.push(format!("{who} cannot reach its join port {at} ({})", SafeText::line(why)));
            probing.is_out_of_reach |= is_me;
        }
        if probing.waiting.is_empty() {
            self.decide();
        }
    }

    /// All have said whether they reach the member, or the time for it is over. The host itself must; of the others most,
    /// unless the person at the host asks again: no member keeps the network from changing hands by saying no, or nothing.
    fn decide(&mut self) {
        let Some(Handover { to, deadline, step: Step::Probing(probing) }) = &mut self.handing.handover else {
            return;
        };
        let to = *to;
        // The rest has as long again.
        *deadline = self.turn.now.instant + limits::HANDOVER_TIMEOUT;
        self.turn.timers.set(Timer::Handover, *deadline);
        let mut doubts = std::mem::take(&mut probing.failed);
        let silent = probing.waiting.iter().filter_map(|peer| self.group.person(peer));
        doubts.extend(
            silent.map(|peer| format!("{} did not say in time whether it can be reached", peer.alias)),
        );
        let is_insisted = self
            .handing
            .insisted
            .take()
            .is_some_and(|(peer, until)| peer == to && self.turn.now.instant < until);
        let is_reached = !probing.is_out_of_reach && !probing.waiting.contains(&self.group.me());
        let addrs = std::mem::take(&mut probing.addrs);
        if is_reached && (is_insisted || 2 * doubts.len() < probing.asked.max(1)) {
            if !doubts.is_empty() {
                let message = format!("the handover goes on, though {}", doubts.join("; "));
                self.turn.event(NodeEvent::error(ErrorKind::Command, &message));
            }
            self.send_package(to, addrs);
        } else {
            self.call_off(&doubts.join("; "));
            if is_reached {
                self.handing.insisted = Some((to, self.turn.now.instant + limits::INSIST_WITHIN));
                let message = "to hand over all the same, give the command again";
                self.turn.event(NodeEvent::error(ErrorKind::Command, message));
            }
        }
    }

    fn send_package(&mut self, to: PeerId, addrs: Vec<SocketAddr>) {
        let parts = match parts_of(&self.package()) {
            Ok(parts) => parts,
            Err(why) => return self.call_off(&why),
        };
        let Some(link) = self.members.get(&to) else { return };
        for part in parts {
            self.turn.send(link.conn, &Frame::HandoverPart(part));
        }
        if let Some(handover) = &mut self.handing.handover {
            handover.step = Step::Sent { addrs, token: self.saves.token };
        }
    }

    /// What another host of this network needs.
    pub(super) fn package(&self) -> HostPackage {
        let mut state = self.state();
        // Each host has a deputy of its own.
        (state.deputy, state.opened_by) = (None, None);
        let own = state.admitted.iter().find(|admitted| admitted.peer_id == self.group.me());
        let me = Admitted {
            peer_id: self.group.me(),
            alias: self.group.alias.clone(),
            since: Timestamp(0),
            seen: self.turn.now.wall,
            earlier: own.map(|own| own.earlier.clone()).unwrap_or_default(),
        };
        state.admitted.retain(|admitted| admitted.peer_id != me.peer_id);
        state.admitted.push(me);
        // There they are this peer's, which answers for them like any member.
        for pass in state.passes.iter_mut().filter(|pass| pass.by.is_none()) {
            pass.by = Some(self.group.me());
        }
        let (attempts, members) = self.admission.limits();
        HostPackage {
            state,
            policy: self.group.policy,
            attempts,
            members,
            key_age: self.key_age,
            announce: self.announce,
            approve: self.door.asks,
            notes: self.notes.clone(),
            at: self.turn.now.wall,
        }
    }

    /// The member has kept everything.
    pub(in crate::proto) fn handover_taken(&mut self, peer: PeerId) {
        let Some(Handover { to, deadline, step: Step::Sent { addrs, token } }) = &mut self.handing.handover
        else {
            return;
        };
        let (to, addrs, token) = (*to, std::mem::take(addrs), *token);
        if to != peer {
            return;
        }
        if self.turn.now.instant >= *deadline {
            // This machine slept meanwhile: nobody knows what became of the member.
            return self.call_off("it took too long");
        }
        if token != self.saves.token {
            // Somebody was banned or admitted meanwhile.
            return self.send_package(to, addrs);
        }
        self.turn.timers.cancel(Timer::Handover);
        self.retire_for(to, addrs);
    }

    /// What this host kept is set aside, since another one is the host: at these addresses.
    pub(super) fn retire_for(&mut self, to: PeerId, addrs: Vec<SocketAddr>) {
        if self.handing.handover.as_ref().is_some_and(|handover| handover.to != to) {
            self.call_off("the deputy is the host");
        }
        let deadline = self.turn.now.instant;
        self.handing.handover = Some(Handover { to, deadline, step: Step::Retiring { addrs } });
        self.turn.store(StoreCommand::RetireHost);
    }

    /// What this host kept is being set aside, or is: nothing that happens here now is the network's.
    pub(in crate::proto) fn is_retiring(&self) -> bool {
        let is_retiring = |handover: &Handover| matches!(handover.step, Step::Retiring { .. });
        self.handing.successor.is_some() || self.handing.handover.as_ref().is_some_and(is_retiring)
    }

    /// What this host kept is set aside: from now on the member is the host.
    pub(in crate::proto) fn retired(&mut self) {
        let Some(Handover { to, step: Step::Retiring { addrs }, .. }) = self.handing.handover.take() else {
            return;
        };
        let (network, version) = (self.network.id, self.group.roster.version());
        let mut statement = HandoverStatement { network, version, to, addrs, signature: Signature([0; 64]) };
        statement.signature = sign::handover(&self.group.identity, &network, &statement.signed_bytes());
        let frame = Frame::Handover(statement.clone()).encode();
        if let Some(link) = self.members.get(&to) {
            self.turn.send_bytes(link.conn, frame.clone());
        }
        for (_, link) in self.members.iter().filter(|(member, link)| **member != to && link.since.is_some()) {
            self.turn.send_bytes(link.conn, frame.clone());
        }
        self.handing.successor = Some(statement);
    }

    /// The member cannot, or does not want to.
    pub(in crate::proto) fn handover_refused(&mut self, peer: PeerId, refusal: &Refusal) {
        if self.handing.handover.as_ref().is_some_and(|handover| handover.to == peer) {
            let closed = Closed::new(refusal.reason, SafeText::line(&refusal.detail).to_string());
            self.call_off(&closed.to_string());
        }
    }

    /// A member is gone in the middle of the handover.
    pub(in crate::proto) fn handover_without(&mut self, peer: PeerId) {
        match &self.handing.handover {
            // Too late: it is the host as soon as it is back.
            Some(Handover { step: Step::Retiring { .. }, .. }) => {}
            Some(Handover { to, .. }) if *to == peer => self.call_off("it is gone"),
            Some(Handover { step: Step::Probing(probing), .. }) if probing.waiting.contains(&peer) => {
                self.handover_probed(peer, None, None);
            }
            _ => {}
        }
    }

    /// The handover takes too long.
    pub(in crate::proto) fn handover_timed_out(&mut self) {
        if matches!(&self.handing.handover, Some(Handover { step: Step::Probing(_), .. })) {
            return self.decide();
        }
        self.call_off("it did not answer in time");
    }

    fn call_off(&mut self, why: &str) {
        let Some(Handover { to, .. }) = self.handing.handover.take() else { return };
        self.turn.timers.cancel(Timer::Handover);
        if let Some(link) = self.members.get(&to) {
            let refusal = Refusal { reason: CloseReason::Unreachable, detail: why.to_owned() };
            self.turn.send(link.conn, &Frame::HandoverRefused(refusal));
        }
        let name = self.group.person(&to).map_or_else(|| to.short(), |peer| peer.alias.to_string());
        let message = format!("{name} cannot take over: {why}; you are still the host");
        self.turn.event(NodeEvent::error(ErrorKind::Command, &message));
    }

    /// The host from now on, once this node is no longer the host.
    pub(in crate::proto) fn take_successor(&mut self) -> Option<HandoverStatement> {
        self.handing.successor.take()
    }

    /// Lets go of everything that a host has, since the members follow the new one. Gives what this node knows of them.
    pub(in crate::proto) fn step_down(&mut self) -> Group {
        self.turn.ask(Output::Withdraw);
        self.turn.ask(Output::ReleasePorts);
        if self.deputy.statement.is_some() {
            self.turn.event(NodeEvent::Deputy { peer: None });
        }
        for conn in self.joiners.keys().copied().collect::<Vec<_>>() {
            self.turn.goodbye(conn, CloseReason::Busy, "");
        }
        self.let_classic_go();
        for link in self.members.values() {
            self.turn.close(link.conn, CloseReason::Left);
        }
        self.group.clone()
    }

    /// This host has probed whether it reaches the member that is to take over.
    pub(in crate::proto) fn has_probed(&mut self, why_not: Option<&str>) {
        self.handover_probed(self.group.me(), None, why_not);
    }

    /// Takes the old host's place; its members come one after the other.
    pub(in crate::proto) fn take_over(&mut self) {
        let me = self.group.me();
        self.group.is_out = false;
        self.group.join_links.clear();
        let before: Vec<RosterEntry> = self.group.roster.entries().cloned().collect();
        for entry in before {
            let addrs = self.group.candidates(&entry.peer_id);
            match entry.role {
                _ if entry.peer_id == me => {
                    self.group.roster.update(RosterEntry { role: Role::Host, ..entry });
                }
                Role::Host => self.group.roster.update(RosterEntry { role: Role::Member, addrs, ..entry }),
                // They knew no other host.
                Role::Member if entry.wire == Wire::Classic => {
                    self.group.roster.remove(entry.peer_id, CloseReason::HostLeft);
                }
                Role::Member => {}
            }
        }
        self.group.host_addr = None;
        self.begins_to_host();
    }

    /// This node is the host from now on, after another one.
    pub(super) fn begins_to_host(&mut self) {
        let me = self.group.me();
        let peer_addr = self.listening.peer_addrs.first().copied().unwrap_or(self.listening.join_addr);
        self.turn.event(NodeEvent::Listening {
            role: Role::Host,
            join_addr: Some(self.listening.join_addr),
            peer_addr,
            peer_id: me,
            alias: self.group.alias.clone(),
            network: SafeText::line(&self.network.name),
            network_id: self.network.id,
        });
        if let Some(host) = self.group.person(&me) {
            self.turn.event(NodeEvent::Handover { host, join_addr: self.listening.join_addr });
        }
        self.turn.ask(Ask::Distribute);
        self.turn.set(Timer::Attempts, limits::ATTEMPTS_FORGOTTEN / 10);
        self.tell_admission();
        self.tell_invites();
        self.announce();
        self.map_ports();
        self.save(Vec::new());
        self.turn.set(Timer::Expected, limits::DEAD_AFTER);
    }
}

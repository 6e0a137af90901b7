//! Handing the network over: a member opens a join port, everybody sees whether it can be reached there, it gets what
//! a host needs, and the old host signs that the new one is the host from now on.
//!
//! Until that signature nothing has changed for anybody, and whatever fails calls it off.

use std::{collections::BTreeSet, net::SocketAddr, time::Instant};

use super::{Host, Timer, candidates};
use crate::{
    api::{NodeEvent, PeerName, StoreCommand},
    model::{
        Admitted, CloseReason, Closed, CommandError, ErrorKind, HostPackage, PeerId, SafeText, Timestamp,
        Wire, limits,
    },
    proto::{Output, group::Group},
    security::sign,
    wire::{Frame, HandoverPart, HandoverProbe, HandoverStatement, Refusal},
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
    Probing { addrs: Vec<SocketAddr>, waiting: BTreeSet<PeerId>, failed: Vec<String> },
    /// The member keeps what a host needs, as it was at this save.
    Sent { addrs: Vec<SocketAddr>, token: u64 },
    /// The member has kept it. What this host kept is set aside before anybody is told.
    Retiring { addrs: Vec<SocketAddr> },
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
        let is_asked = |handover: &&mut Handover| handover.to == peer && matches!(handover.step, Step::Offered);
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
        handover.step = Step::Probing { addrs, waiting, failed: Vec::new() };
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
        let Some(Handover { to, step: Step::Probing { addrs, waiting, failed }, .. }) =
            &mut self.handing.handover
        else {
            return;
        };
        // An answer about somebody else belongs to a handover that was called off.
        if probed.is_some_and(|probed| probed != to) || !waiting.remove(&by) {
            return;
        }
        if let Some(why) = why_not {
            let who = if is_me { "you".to_owned() } else { name };
            let at = addrs.first().map(ToString::to_string).unwrap_or_default();
            failed.push(format!("{who} cannot reach its join port {at} ({})", SafeText::line(why)));
        }
        if !waiting.is_empty() {
            return;
        }
        if failed.is_empty() {
            let (to, addrs) = (*to, std::mem::take(addrs));
            self.send_package(to, addrs);
        } else {
            let why = failed.join("; ");
            self.call_off(&why);
        }
    }

    fn send_package(&mut self, to: PeerId, addrs: Vec<SocketAddr>) {
        let mut state = self.state();
        let me = Admitted {
            peer_id: self.group.me(),
            alias: self.group.alias.clone(),
            since: Timestamp(0),
            seen: self.turn.now.wall,
            earlier: Vec::new(),
        };
        state.admitted.retain(|admitted| admitted.peer_id != me.peer_id);
        state.admitted.push(me);
        let (attempts, members) = self.admission.limits();
        let package =
            HostPackage { state, policy: self.group.policy, attempts, members, key_age: self.key_age };
        let Some(link) = self.members.get(&to) else { return };
        let bytes = serde_json::to_vec(&package).unwrap_or_default();
        if bytes.is_empty() || bytes.len() > limits::HANDOVER_BYTES {
            return self.call_off("there is too much to hand over");
        }
        let mut parts = bytes.chunks(limits::HANDOVER_PART).peekable();
        while let Some(part) = parts.next() {
            let part = HandoverPart { bytes: part.to_vec(), is_last: parts.peek().is_none() };
            self.turn.send(link.conn, &Frame::HandoverPart(part));
        }
        if let Some(handover) = &mut self.handing.handover {
            handover.step = Step::Sent { addrs, token: self.saves.token };
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
        self.turn.store(StoreCommand::RetireHost);
        if let Some(handover) = &mut self.handing.handover {
            handover.step = Step::Retiring { addrs };
        }
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
        let signature = sign::handover(&self.group.identity, &self.network.id, &to, &addrs);
        let statement = HandoverStatement { network: self.network.id, to, addrs, signature };
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
            Some(Handover { step: Step::Probing { waiting, .. }, .. }) if waiting.contains(&peer) => {
                self.handover_probed(peer, None, None);
            }
            _ => {}
        }
    }

    /// The handover takes too long.
    pub(in crate::proto) fn handover_timed_out(&mut self) {
        let why = match &self.handing.handover {
            Some(Handover { step: Step::Probing { waiting, .. }, .. }) => {
                let names = waiting.iter().filter_map(|peer| self.group.person(peer));
                let names: Vec<String> = names.map(|peer| peer.alias.to_string()).collect();
                format!("{} did not say in time whether it can be reached", names.join(", "))
            }
            _ => "it did not answer in time".to_owned(),
        };
        self.call_off(&why);
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
}

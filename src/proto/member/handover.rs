//! A member's part in a handover: trying to reach the next host, following it, or becoming it.

use super::{Member, Timer};
use crate::{
    api::{LinkState, NodeEvent, StoreCommand},
    model::{Ban, CloseReason, Closed, DeputyStatement, HostPackage, OpenedBy, PeerId, limits},
    proto::{ConnId, EarlierRun, HostConfig, JoinPort, KeptState, Output, group::Group},
    security::{HostRecord, sign},
    wire::{ByteBuf, Frame, HandoverPart, HandoverProbe, HandoverProbed, HandoverStatement, Refusal},
};

/// What this member has been given to become the host.
#[derive(Default)]
pub(super) struct PendingHandover {
    /// Where it listens for joiners.
    join_port: Option<JoinPort>,
    bytes: Vec<u8>,
    package: Option<Box<HostPackage>>,
    /// The package is on its way to the disk, under this token.
    saving: Option<u64>,
    /// The host was told that it is there: only the host can call it off now.
    taken: bool,
}

impl std::fmt::Debug for PendingHandover {
    /// What was given holds the password's record.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingHandover").field("join_port", &self.join_port).finish_non_exhaustive()
    }
}

impl Member {
    /// The host asks this member to take over.
    pub(super) fn offered(&mut self, port: u16) {
        if self.succession.pending.is_some() {
            let detail = "another handover is under way there".to_owned();
            let refusal = Refusal { reason: CloseReason::Busy, detail };
            return self.answer(&Frame::HandoverRefused(refusal));
        }
        self.succession.pending = Some(PendingHandover::default());
        self.turn.set(Timer::Handover, 2 * limits::HANDOVER_TIMEOUT);
        self.turn.ask(Output::OpenJoin(port));
    }

    /// The join port is open, or cannot be opened.
    pub(in crate::proto) fn join_opened(&mut self, opened: Result<JoinPort, Closed>) {
        if self.opens_network(&opened) {
            return;
        }
        let Some(pending) = &mut self.succession.pending else { return };
        let frame = match opened {
            Ok(port) => {
                let frame = Frame::HandoverReady(port.addrs.clone().into());
                pending.join_port = Some(port);
                frame
            }
            Err(closed) => {
                self.succession.pending = None;
                Frame::HandoverRefused(Refusal { reason: closed.reason, detail: closed.detail })
            }
        };
        self.answer(&frame);
    }

    fn answer(&mut self, frame: &Frame) {
        if let Some(link) = &self.link {
            self.turn.send(link.conn, frame);
        }
    }

    /// The host wants to know whether this member can reach the next one.
    pub(super) fn probe(&mut self, probe: HandoverProbe) {
        if self.group.is_member(&probe.peer) && self.succession.probing.is_none() {
            self.succession.probing = Some(probe.peer);
            let addrs = probe.addrs.into_iter().take(limits::CANDIDATES).collect();
            self.turn.ask(Output::Probe(probe.peer, addrs));
        }
    }

    /// The probe of the next host succeeded, or says why not.
    pub(in crate::proto) fn probed(&mut self, why_not: Option<String>) {
        if let Some(peer) = self.succession.probing.take() {
            self.answer(&Frame::HandoverProbed(HandoverProbed { peer, why_not }));
        }
    }

    /// A part of what a host needs.
    pub(super) fn package(&mut self, part: HandoverPart) {
        let Some(pending) = self.succession.pending.as_mut().filter(|pending| pending.join_port.is_some())
        else {
            return;
        };
        if pending.bytes.len() + part.bytes.len() > limits::HANDOVER_BYTES {
            return self.decline("there is too much to take over");
        }
        pending.bytes.extend(part.bytes);
        if !part.is_last {
            return;
        }
        let bytes = std::mem::take(&mut pending.bytes);
        let Ok(package) = serde_json::from_slice::<HostPackage>(&bytes) else {
            return self.decline("what the host sent cannot be understood");
        };
        let is_this_network = self.group.network.as_ref() == Some(&package.state.network);
        if !is_this_network || HostRecord::from_bytes(&package.state.record).is_err() {
            return self.decline("what the host sent is not of this network");
        }
        let listen = pending.join_port.as_ref().map(|port| port.addr);
        let (listen, alias) = (listen, Some(self.group.alias.clone()));
        let state = Box::new(crate::model::HostState { alias, listen, ..package.state.clone() });
        pending.package = Some(Box::new(package));
        // No token of a host's own saves, or of another package.
        self.succession.packages += 1;
        let token = u64::MAX - self.succession.packages;
        pending.saving = Some(token);
        self.turn.store(StoreCommand::KeepPackage { token, state });
    }

    fn decline(&mut self, why: &str) {
        let refusal = Refusal { reason: CloseReason::Internal, detail: why.to_owned() };
        self.answer(&Frame::HandoverRefused(refusal));
        self.called_off();
    }

    /// What a host needs is on disk, or cannot be kept.
    pub(in crate::proto) fn package_saved(&mut self, token: u64, result: Result<(), String>) {
        let is_meant = |pending: &&mut PendingHandover| pending.saving == Some(token);
        let Some(pending) = self.succession.pending.as_mut().filter(is_meant) else { return };
        match result {
            Ok(()) => {
                pending.taken = true;
                self.answer(&Frame::HandoverTaken);
            }
            Err(why) => self.decline(&why),
        }
    }

    /// The handover is called off.
    pub(in crate::proto) fn called_off(&mut self) {
        let Some(pending) = self.succession.pending.take() else { return };
        self.turn.timers.cancel(Timer::Handover);
        if pending.saving.is_some() {
            self.turn.store(StoreCommand::DropPackage);
        }
        self.turn.ask(Output::CloseJoin);
    }

    /// The host is lost, or the handover takes too long. A member that has told the host that it is ready stays ready: the
    /// host may have signed already.
    pub(super) fn handover_in_doubt(&mut self) {
        if self.succession.pending.as_ref().is_some_and(|pending| !pending.taken) {
            self.called_off();
        }
    }

    /// The host has signed who is the host from now on.
    pub(super) fn handed_over(&mut self, by: &PeerId, statement: HandoverStatement) {
        let HandoverStatement { network, version, to, addrs, signature } = &statement;
        let is_ours = self.group.network.as_ref().is_none_or(|ours| ours.id == *network);
        // Of a host that was put back to before it became the host again.
        let before =
            self.host.before.filter(|(before, _)| before == network).map_or(0, |(_, version)| version);
        let is_old = *version < self.group.roster.version().max(before);
        let holds = sign::handover_holds(by, network, &statement.signed_bytes(), signature);
        if !is_ours || is_old || !holds || addrs.is_empty() {
            self.turn.events(self.group.blame(by, "a handover that it has not signed, or long ago"));
            return;
        }
        if *to == self.group.me() {
            self.take_office();
        } else {
            self.follow(statement);
        }
    }

    fn take_office(&mut self) {
        let Some(PendingHandover { join_port: Some(port), package: Some(package), .. }) =
            self.succession.pending.take()
        else {
            return;
        };
        self.deputy_named(None);
        self.elect(*package, &port, EarlierRun::none(), None);
    }

    /// Becomes the host: of what it was given, where it listens now, and by which word, if it is a deputy.
    pub(super) fn elect(
        &mut self,
        package: HostPackage,
        port: &JoinPort,
        earlier: EarlierRun,
        opened_by: Option<OpenedBy>,
    ) {
        let HostPackage { state, policy, attempts, members, key_age, announce, approve, notes, .. } = package;
        let Ok(record) = HostRecord::from_bytes(&state.record) else { return };
        for timer in [Timer::Handover, Timer::Rejoin, Timer::HostLost, Timer::Grace] {
            self.turn.timers.cancel(timer);
        }
        if let Some(link) = self.link.take() {
            self.turn.timers.cancel(Timer::Beat(link.conn));
            self.turn.close(link.conn, CloseReason::Left);
        }
        self.turn.store(StoreCommand::DropPackage);
        let own = self.group.roster.get(&self.group.me()).map(|entry| entry.addrs.clone());
        self.succession.elected = Some(Box::new(HostConfig {
            network: state.network,
            // Whether classic peers are let in is for each host to say.
            policy: crate::model::Policy { classic: false, ..policy },
            distribution: None,
            record,
            password: None,
            attempts,
            members,
            // Only where both want that.
            announce: self.as_host.announce && announce,
            map_port: self.as_host.map_port,
            approve,
            notes,
            kept: KeptState {
                admitted: state.admitted,
                bans: state.bans,
                passes: state.passes,
                attempts: state.attempts,
                alive: self.turn.now.wall,
                deputy: None,
                opened_by,
            },
            key_age,
            earlier,
            join_addr: port.addr,
            peer_addrs: own.unwrap_or_else(|| port.peer_addrs.clone()),
        }));
    }

    /// How this member is to host from now on, once it is the host.
    pub(in crate::proto) fn take_elected(&mut self) -> Option<Box<HostConfig>> {
        self.succession.elected.take()
    }

    /// What this node knows of its network, for the host that it is from now on.
    pub(in crate::proto) fn take_group(&mut self) -> Group {
        self.group.clone()
    }

    /// Goes to the new host, and trusts its key because the old one has signed it.
    pub(super) fn follow(&mut self, statement: HandoverStatement) {
        self.called_off();
        let name = self
            .group
            .person(&statement.to)
            .map_or_else(|| statement.to.short(), |peer| peer.alias.to_string());
        let Some(join_addr) = statement.addrs.first().copied() else { return };
        if let Some(host) = self.group.person(&statement.to) {
            self.turn.event(NodeEvent::Handover { host, join_addr });
        }
        self.host.key = Some(statement.to);
        self.host.target = join_addr.to_string();
        self.host.is_handed_over = true;
        self.host.is_invited = false;
        self.host.addrs = statement.addrs;
        // The new host names its own.
        self.deputy_named(None);
        self.moves_on();
        let is_told_by_host = self.joining.is_none();
        if let Some(joining) = self.joining.take() {
            self.turn.timers.cancel(Timer::Admission(joining.conn));
            self.turn.close(joining.conn, CloseReason::Left);
        }
        if let Some(link) = self.link.take() {
            self.turn.timers.cancel(Timer::Beat(link.conn));
            self.turn.close(link.conn, CloseReason::Left);
            self.wait_for_host();
        }
        self.tell_link(LinkState::Connecting, &format!("following the new host {name}"), None);
        if is_told_by_host {
            self.join();
        } else {
            // Two retired hosts that name each other must not send a member back and forth.
            let wait = self.rejoining.backoff.next(&mut self.turn.rng);
            self.turn.set(Timer::Rejoin, wait);
        }
    }

    /// A joiner takes this peer for the host, or a member probes whether it could be one.
    pub(in crate::proto) fn join_link(&mut self, conn: ConnId, peer: &PeerId) {
        if self.group.is_member(peer) {
            // Not a stranger: it has wasted nothing.
            self.turn.authenticated(conn);
        }
        // For whoever knows only the host before this one.
        if let Some(statement) = &self.succession.opened_by {
            self.turn.send(conn, &Frame::OpenedAgain(Box::new(statement.clone())));
        }
        if let Some(statement) = &self.succession.moved {
            self.turn.send(conn, &Frame::Handover(statement.clone()));
        }
        self.turn.close(conn, CloseReason::Left);
    }

    #[cfg(test)]
    pub(in crate::proto) fn opened_by(&self) -> Option<&DeputyStatement> {
        self.succession.opened_by.as_ref()
    }

    /// This member was the host: by which word, if it was a deputy, and whom it has banned.
    pub(in crate::proto) fn was_host(&mut self, opened_by: Option<DeputyStatement>, bans: Vec<Ban>) {
        self.succession.opened_by = opened_by;
        self.succession.bans = bans;
    }

    /// Tells the new host, once, whom this one has banned.
    pub(super) fn tell_bans(&mut self) {
        let bans = std::mem::take(&mut self.succession.bans);
        if let Some(link) = self.link.as_ref().filter(|_| !bans.is_empty()) {
            let bytes = serde_json::to_vec(&bans).unwrap_or_default();
            self.turn.send(link.conn, &Frame::FormerBans(ByteBuf(bytes)));
        }
    }

    /// Where a host has become a member of its successor's network.
    pub(in crate::proto) fn succeed(&mut self, statement: HandoverStatement) {
        self.succession.moved = Some(statement.clone());
        self.joined_before = true;
        self.recalled = self.group.network.as_ref().map(|network| network.id);
        self.wait_for_host();
        self.follow(statement);
    }
}

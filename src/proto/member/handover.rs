//! A member's part in a handover: trying to reach the next host, following it, or becoming it.

use std::net::SocketAddr;

use super::{Core, Member};
use crate::{
    api::{LinkState, NodeEvent, StoreCommand},
    model::{CloseReason, Closed, HostPackage, PeerId, limits},
    proto::{ConnId, HostConfig, Output, core::Timer},
    security::{HostRecord, sign},
    wire::{Frame, HandoverPart, HandoverProbe, HandoverProbed, HandoverStatement, Refusal},
};

/// What this member has been given to become the host.
#[derive(Default)]
pub(super) struct PendingHandover {
    /// Where it listens for joiners.
    join_addr: Option<SocketAddr>,
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
        f.debug_struct("PendingHandover").field("join_addr", &self.join_addr).finish_non_exhaustive()
    }
}

impl Member {
    /// The host asks this member to take over.
    pub(super) fn offered(&mut self, core: &mut Core, port: u16) {
        if self.handover.is_some() {
            let detail = "another handover is under way there".to_owned();
            let refusal = Refusal { reason: CloseReason::Busy, detail };
            return self.answer(core, &Frame::HandoverRefused(refusal));
        }
        self.handover = Some(PendingHandover::default());
        core.timers.set(Timer::Handover, core.now.instant + 2 * limits::HANDOVER_TIMEOUT);
        core.outputs.push_back(Output::OpenJoin(port));
    }

    /// The join port is open, or cannot be opened.
    pub(in crate::proto) fn join_opened(
        &mut self,
        core: &mut Core,
        opened: Result<(SocketAddr, Vec<SocketAddr>), Closed>,
    ) {
        let Some(pending) = &mut self.handover else { return };
        let frame = match opened {
            Ok((addr, announced)) => {
                pending.join_addr = Some(addr);
                Frame::HandoverReady(announced)
            }
            Err(closed) => {
                self.handover = None;
                Frame::HandoverRefused(Refusal { reason: closed.reason, detail: closed.detail })
            }
        };
        self.answer(core, &frame);
    }

    fn answer(&self, core: &mut Core, frame: &Frame) {
        if let Some(link) = &self.link {
            core.send(link.conn, frame);
        }
    }

    /// The host wants to know whether this member can reach the next one.
    pub(super) fn probe(&mut self, core: &mut Core, probe: HandoverProbe) {
        if core.is_member(&probe.peer) && self.probing.is_none() {
            self.probing = Some(probe.peer);
            let addrs = probe.addrs.into_iter().take(limits::CANDIDATES).collect();
            core.outputs.push_back(Output::Probe(probe.peer, addrs));
        }
    }

    /// The probe of the next host succeeded, or says why not.
    pub(in crate::proto) fn probed(&mut self, core: &mut Core, why_not: Option<String>) {
        if let Some(peer) = self.probing.take() {
            self.answer(core, &Frame::HandoverProbed(HandoverProbed { peer, why_not }));
        }
    }

    /// A part of what a host needs.
    pub(super) fn package(&mut self, core: &mut Core, part: HandoverPart) {
        let Some(pending) = self.handover.as_mut().filter(|pending| pending.join_addr.is_some()) else {
            return;
        };
        if pending.bytes.len() + part.bytes.len() > limits::HANDOVER_BYTES {
            return self.decline(core, "there is too much to take over");
        }
        pending.bytes.extend(part.bytes);
        if !part.is_last {
            return;
        }
        let bytes = std::mem::take(&mut pending.bytes);
        let Ok(package) = serde_json::from_slice::<HostPackage>(&bytes) else {
            return self.decline(core, "what the host sent cannot be understood");
        };
        let is_this_network = core.network.as_ref() == Some(&package.state.network);
        if !is_this_network || HostRecord::from_bytes(&package.state.record).is_err() {
            return self.decline(core, "what the host sent is not of this network");
        }
        let (listen, alias) = (pending.join_addr, Some(core.alias.clone()));
        let state = Box::new(crate::model::HostState { alias, listen, ..package.state.clone() });
        pending.package = Some(Box::new(package));
        // No token of a host's own saves, or of another package.
        core.packages += 1;
        let token = u64::MAX - core.packages;
        pending.saving = Some(token);
        core.outputs.push_back(Output::Store(StoreCommand::KeepPackage { token, state }));
    }

    fn decline(&mut self, core: &mut Core, why: &str) {
        let refusal = Refusal { reason: CloseReason::Internal, detail: why.to_owned() };
        self.answer(core, &Frame::HandoverRefused(refusal));
        self.called_off(core);
    }

    /// What a host needs is on disk, or cannot be kept.
    pub(in crate::proto) fn package_saved(
        &mut self,
        core: &mut Core,
        token: u64,
        result: Result<(), String>,
    ) {
        let is_meant = |pending: &&mut PendingHandover| pending.saving == Some(token);
        let Some(pending) = self.handover.as_mut().filter(is_meant) else { return };
        match result {
            Ok(()) => {
                pending.taken = true;
                self.answer(core, &Frame::HandoverTaken);
            }
            Err(why) => self.decline(core, &why),
        }
    }

    /// The handover is called off.
    pub(in crate::proto) fn called_off(&mut self, core: &mut Core) {
        let Some(pending) = self.handover.take() else { return };
        core.timers.cancel(Timer::Handover);
        if pending.saving.is_some() {
            core.outputs.push_back(Output::Store(StoreCommand::DropPackage));
        }
        core.outputs.push_back(Output::CloseJoin);
    }

    /// The host is lost, or the handover takes too long. A member that has told the host that it is ready stays ready: the
    /// host may have signed already.
    pub(super) fn handover_in_doubt(&mut self, core: &mut Core) {
        if self.handover.as_ref().is_some_and(|pending| !pending.taken) {
            self.called_off(core);
        }
    }

    /// The host has signed who is the host from now on.
    pub(super) fn handed_over(&mut self, core: &mut Core, by: &PeerId, statement: HandoverStatement) {
        let HandoverStatement { network, to, addrs, signature } = &statement;
        let is_ours = core.network.as_ref().is_none_or(|ours| ours.id == *network);
        if !is_ours || !sign::handover_holds(by, network, to, addrs, signature) || addrs.is_empty() {
            core.blame(by, "a handover that it has not signed");
            return;
        }
        if *to == core.me() {
            self.take_office(core);
        } else {
            self.follow(core, statement);
        }
    }

    fn take_office(&mut self, core: &mut Core) {
        let Some(PendingHandover { join_addr: Some(join_addr), package: Some(package), .. }) =
            self.handover.take()
        else {
            return;
        };
        let HostPackage { state, policy, attempts, members } = *package;
        let Ok(record) = HostRecord::from_bytes(&state.record) else { return };
        for timer in [Timer::Handover, Timer::Rejoin, Timer::HostLost, Timer::Grace] {
            core.timers.cancel(timer);
        }
        if let Some(link) = self.link.take() {
            core.timers.cancel(Timer::Beat(link.conn));
            core.close(link.conn, CloseReason::Left);
        }
        core.outputs.push_back(Output::Store(StoreCommand::DropPackage));
        let own = core.roster.get(&core.me()).map(|entry| entry.addrs.clone()).unwrap_or_default();
        self.elected = Some(Box::new(HostConfig {
            network: state.network,
            // Whether classic peers are let in is for each host to say.
            policy: crate::model::Policy { classic: false, ..policy },
            distribution: None,
            record,
            attempts,
            members,
            bans: state.bans,
            admitted: state.admitted,
            kept_attempts: state.attempts,
            expected: Vec::new(),
            departed: Vec::new(),
            version: state.version,
            recalled: crate::model::Recalled::nothing(),
            join_addr,
            peer_addrs: own,
        }));
    }

    /// How this member is to host from now on, once it is the host.
    pub(in crate::proto) fn take_elected(&mut self) -> Option<Box<HostConfig>> {
        self.elected.take()
    }

    /// Goes to the new host, and trusts its key because the old one has signed it.
    pub(super) fn follow(&mut self, core: &mut Core, statement: HandoverStatement) {
        self.called_off(core);
        let name =
            core.person(&statement.to).map_or_else(|| statement.to.short(), |peer| peer.alias.to_string());
        let Some(join_addr) = statement.addrs.first().copied() else { return };
        if let Some(host) = core.person(&statement.to) {
            core.event(NodeEvent::Handover { host, join_addr });
        }
        self.pin = Some(statement.to);
        self.target = join_addr.to_string();
        self.addrs = statement.addrs;
        let is_told_by_host = self.joining.is_none();
        if let Some(joining) = self.joining.take() {
            core.timers.cancel(Timer::Admission(joining.conn));
            core.close(joining.conn, CloseReason::Left);
        }
        if let Some(link) = self.link.take() {
            core.timers.cancel(Timer::Beat(link.conn));
            core.close(link.conn, CloseReason::Left);
            self.wait_for_host(core);
        }
        self.tell_link(core, LinkState::Connecting, &format!("following the new host {name}"), None);
        if is_told_by_host {
            self.join(core);
        } else {
            // Two retired hosts that name each other must not send a member back and forth.
            let wait = self.backoff.next(&mut core.rng);
            core.timers.set(Timer::Rejoin, core.now.instant + wait);
        }
    }

    /// A joiner takes this peer for the host, or a member probes whether it could be one.
    pub(in crate::proto) fn join_link(&mut self, core: &mut Core, conn: ConnId, peer: &PeerId) {
        core.opened(conn);
        if core.is_member(peer) {
            // Not a stranger: it has wasted nothing.
            core.authenticated(conn);
        }
        if let Some(statement) = &self.moved {
            core.send(conn, &Frame::Handover(statement.clone()));
        }
        core.close(conn, CloseReason::Left);
    }

    /// Where a host has become a member of its successor's network.
    pub(in crate::proto) fn succeed(&mut self, core: &mut Core, statement: HandoverStatement) {
        self.moved = Some(statement.clone());
        self.joined_before = true;
        self.recalled = core.network.as_ref().map(|network| network.id);
        self.wait_for_host(core);
        self.follow(core, statement);
    }
}

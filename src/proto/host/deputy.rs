//! The deputy: a member that may open the network again when this host has been gone for too long. It is given the host's
//! word, and what a host needs, beforehand; everybody is told.
//!
//! A host that comes back looks first whether its deputy has opened the network meanwhile, and is a member there then.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{Host, Timer, candidates};
use crate::{
    api::{NodeEvent, PeerName, StoreCommand},
    model::{
        Ban, CloseReason, CommandError, DeputyStatement, ErrorKind, HostPackage, OpenedBy, PeerId, Role,
        RosterEntry, Signature, Timestamp, Wire, limits,
    },
    proto::{ConnId, EarlierRun, Output, roster::Roster},
    security::sign,
    wire::{Frame, HandoverPart},
};

/// Whether the deputy has opened the network.
#[derive(Debug, Default)]
struct Looks {
    /// It is known whether the deputy had opened the network before this host began.
    has_looked: bool,
    /// This host was gone for longer than its time of grace, and has not looked since.
    is_after_grace: bool,
    /// The look under way tells the deputy that this host is host still.
    says_still: bool,
}

/// Who may open the network again, and by whose word this host has opened it.
#[derive(Debug, Default)]
pub(super) struct Deputy {
    pub(super) statement: Option<DeputyStatement>,
    /// This host was a deputy, and has opened the network again by this.
    pub(super) opened_by: Option<OpenedBy>,
    /// Where the deputy would be by words that this host gave it before it was somewhere else itself.
    before: Vec<SocketAddr>,
    /// The link and the state of the last package.
    given: Option<(ConnId, u64)>,
    /// When the next package may go.
    next: Option<Instant>,
    looks: Looks,
    /// The save that keeps the statement, which the members are told then.
    unsaved: Option<u64>,
    /// What this host was given as a deputy is in a file still.
    has_given_file: bool,
    /// When the host before was first here, which may tell of bans then.
    before_came: Option<Instant>,
    /// The person here was told that the network is open at the deputy's too.
    is_told: bool,
}

impl Deputy {
    pub(super) fn new(
        statement: Option<DeputyStatement>,
        opened_by: Option<OpenedBy>,
        is_after_grace: bool,
    ) -> Self {
        let looks = Looks { is_after_grace, ..Looks::default() };
        Self { statement, opened_by, looks, ..Self::default() }
    }

    fn is(&self, peer: &PeerId) -> bool {
        self.statement.as_ref().is_some_and(|statement| statement.to == *peer)
    }
}

impl Host {
    /// Names the member that may open the network again, or nobody.
    pub(super) fn name_deputy(&mut self, name: Option<&PeerName>) -> Result<(), CommandError> {
        let to = name.map(|name| {
            let unknown = || CommandError::NoSuchMember(name.to_string());
            self.group.member_named(name).ok_or_else(unknown)
        });
        let to = to.transpose()?;
        if to == Some(self.group.me()) {
            return Err(CommandError::Yourself("a deputy is for when you are gone"));
        }
        if let Some(classic) = to.filter(|to| to.wire() == Wire::Classic) {
            let label = self.group.alias_of(&classic).to_string();
            return Err(CommandError::ClassicSuccessor(label));
        }
        // Whether it has opened the network before it was named is no question.
        self.deputy.looks.has_looked = true;
        self.deputy.is_told = false;
        self.deputy.before.clear();
        let statement = to.and_then(|to| self.sign_deputy(to));
        self.set_deputy(statement);
        Ok(())
    }

    fn set_deputy(&mut self, statement: Option<DeputyStatement>) {
        self.deputy.given = None;
        self.deputy.statement = statement;
        if self.deputy.statement.is_some() {
            self.turn.set(Timer::Look, limits::DEPUTY_LOOK);
        }
        self.tell_deputy();
        self.save(Vec::new());
        self.deputy.unsaved = Some(self.saves.token);
    }

    /// The statement is on disk: a host that forgot it would not look for its deputy.
    pub(super) fn announce_deputy(&mut self, saved: u64) {
        if self.deputy.unsaved.take_if(|unsaved| *unsaved <= saved).is_none() {
            return;
        }
        let frame = Frame::Deputy(self.deputy.statement.clone().map(Box::new)).encode();
        for link in self.members.values().filter(|link| link.since.is_some()) {
            self.turn.send_bytes(link.conn, frame.clone());
        }
    }

    /// What this host keeps is on disk: what it was given as a deputy is of no more use.
    pub(super) fn has_own_file(&mut self) {
        if std::mem::take(&mut self.deputy.has_given_file) {
            self.turn.store(StoreCommand::KeepDeputyship(None));
        }
    }

    pub(super) fn tell_deputy(&mut self) {
        let to = self.deputy.statement.as_ref().map(|statement| statement.to);
        // It may not have come back since this host began.
        if let Some((to, alias)) = to.and_then(|to| Some((to, self.admission.alias_of(&to)?.clone()))) {
            self.group.remember(to, alias);
        }
        let peer = to.and_then(|to| self.group.person(&to));
        self.turn.event(NodeEvent::Deputy { peer });
    }

    /// This host's word for a member. Nothing when nobody knows where that is.
    fn sign_deputy(&self, to: PeerId) -> Option<DeputyStatement> {
        let addrs = self.deputy_addrs(&to)?;
        let mut statement =
            DeputyStatement { network: self.network.id, to, addrs, signature: Signature([0; 64]) };
        statement.signature = sign::deputy(&self.group.identity, &statement);
        Some(statement)
    }

    /// Where a member would listen for joiners: where it is, at the port of this host.
    fn deputy_addrs(&self, to: &PeerId) -> Option<Vec<SocketAddr>> {
        let port = self.listening.join_addr.port();
        let mut addrs: Vec<SocketAddr> = Vec::new();
        for mut addr in self.group.roster.get(to)?.addrs.iter().copied() {
            addr.set_port(port);
            if !addr.ip().is_unspecified() && !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
        addrs.truncate(limits::CANDIDATES);
        Some(addrs).filter(|addrs| !addrs.is_empty())
    }

    /// The deputy, or this host, may be somewhere else now: everybody has to know.
    pub(super) fn renew_deputy(&mut self) {
        // By the word that it has it may have opened the network.
        if !self.deputy.looks.has_looked {
            return;
        }
        let Some(DeputyStatement { to, addrs, .. }) = &self.deputy.statement else { return };
        if self.deputy_addrs(to).is_some_and(|now| now != *addrs) {
            let (before, statement) = (addrs.clone(), self.sign_deputy(*to));
            // It may have opened the network by the word that it had.
            self.deputy.before.splice(..0, before);
            self.deputy.before.truncate(limits::CANDIDATES);
            self.set_deputy(statement);
        }
    }

    /// Whom the host does not want any more does not stand in for it.
    pub(super) fn withdraw_deputy(&mut self, peer: &PeerId) {
        if self.deputy.is(peer) {
            self.set_deputy(None);
        }
    }

    /// Gives the deputy what a host needs, as it is now.
    pub(super) fn feed_deputy(&mut self) {
        let Some(to) = self.deputy.statement.as_ref().map(|statement| statement.to) else { return };
        let Some(link) = self.members.get(&to).filter(|link| link.since.is_some()) else { return };
        let (conn, given) = (link.conn, (link.conn, self.saves.token));
        // It has to know first that it is the deputy.
        let is_told = self.deputy.unsaved.is_none();
        if self.has_left || self.is_retiring() || !is_told || self.deputy.given == Some(given) {
            return;
        }
        if let Some(next) = self.deputy.next.filter(|next| *next > self.turn.now.instant) {
            return self.turn.timers.set(Timer::Deputy, next);
        }
        let mut package = self.package();
        // What it has said until now counts.
        let own = self.group.roster.get(&self.group.me()).cloned();
        package.state.roster.extend(own.map(|own| RosterEntry { role: Role::Member, ..own }));
        self.deputy.given = Some(given);
        match parts_of(&package) {
            Ok(parts) => {
                let bytes: usize = parts.iter().map(|part| part.bytes.len()).sum();
                let times = u32::try_from(1 + bytes / limits::DEPUTY_PACE_BYTES).unwrap_or(u32::MAX);
                self.deputy.next = Some(self.turn.now.instant + limits::DEPUTY_PACE * times);
                for part in parts {
                    self.turn.send(conn, &Frame::DeputyPart(part));
                }
            }
            Err(why) => {
                let message = format!("your deputy cannot be told what a host needs: {why}");
                self.turn.event(NodeEvent::error(ErrorKind::Command, &message));
            }
        }
    }

    /// Looks whether the deputy has opened the network, if it is not here.
    pub(super) fn look_for_deputy(&mut self) {
        let Some(DeputyStatement { to, addrs, .. }) = &self.deputy.statement else { return };
        if self.members.contains_key(to) {
            self.turn.set(Timer::Look, limits::DEPUTY_LOOK);
            self.deputy.looks.is_after_grace = false;
            if !std::mem::replace(&mut self.deputy.looks.has_looked, true) {
                self.renew_deputy();
            }
            self.save_again();
        } else {
            self.deputy.looks.says_still = !self.deputy.looks.is_after_grace && self.has_members();
            let says =
                self.deputy.looks.says_still.then(|| Frame::StillHost(self.join_addrs().into()).encode());
            let addrs = addrs.iter().chain(&self.deputy.before).copied().collect();
            self.turn.ask(Output::LookForDeputy(*to, addrs, says));
        }
    }

    /// What the deputy shows to whoever takes it for a host; nothing when it is none.
    pub(in crate::proto) fn looked_for_deputy(&mut self, shown: Option<&DeputyStatement>) {
        self.deputy.looks.has_looked = true;
        let was_gone = std::mem::take(&mut self.deputy.looks.is_after_grace);
        let Some(statement) = self.deputy.statement.clone() else { return };
        self.turn.set(Timer::Look, limits::DEPUTY_LOOK);
        self.renew_deputy();
        // Any of its words for this deputy: it may have given it one anew just before it was gone.
        let is_its = |shown: &DeputyStatement| {
            shown.to == statement.to
                && shown.network == self.network.id
                && sign::deputy_holds(&self.group.me(), shown)
        };
        let Some(shown) = shown.filter(|shown| is_its(shown) && !self.is_retiring()) else {
            return self.save_again();
        };
        let deputy = self.group.alias_of(&statement.to);
        let at = shown.addrs.first().map(ToString::to_string).unwrap_or_default();
        // While others are here, only a deputy that opened it while this host was gone takes its place.
        if self.deputy.looks.says_still || !was_gone && self.has_members() {
            if !std::mem::replace(&mut self.deputy.is_told, true) {
                let message = format!(
                    "{deputy}, your deputy, has opened the network at {at} too, as if you were gone: those here stay with \
                     you. Leave and join it there, or ban {deputy} to keep this one"
                );
                self.turn.event(NodeEvent::error(ErrorKind::Status, &message));
            }
            return;
        }
        let message = format!(
            "{deputy}, your deputy, has opened the network at {at} while you were gone: you are a member there. Bans of yours that \
             it does not know go to it, if it hosts still; invites do not"
        );
        self.turn.event(NodeEvent::error(ErrorKind::Status, &message));
        self.retire_for(statement.to, shown.addrs.clone());
    }

    /// This machine slept. After a long time the deputy may be the host.
    pub(super) fn deputy_after(&mut self, time: Duration) {
        if self.deputy.statement.is_some() && time.as_secs() >= self.group.policy.grace.into() {
            (self.deputy.looks.has_looked, self.deputy.looks.is_after_grace) = (false, true);
            // Links that died meanwhile have to be seen as dead first.
            self.turn.set(Timer::Look, limits::DEAD_AFTER + limits::STALL);
        }
    }

    fn has_members(&self) -> bool {
        !self.members.is_empty() || !self.classic.is_empty()
    }

    // ---- As a deputy that hosts ----

    /// A host that is gone has given this one its word: is it this peer?
    fn is_before(&self, peer: &PeerId) -> bool {
        self.deputy.opened_by.as_ref().is_some_and(|opened| sign::deputy_holds(peer, &opened.statement))
    }

    /// The host before is host still, and has members. Whoever is alone gives way.
    pub(super) fn host_before_stays(&mut self, peer: PeerId, remote: SocketAddr, announced: &[SocketAddr]) {
        let addrs = candidates(SocketAddr::new(remote.ip(), 0), announced);
        let Some(at) = addrs.first().copied().filter(|_| self.is_before(&peer) && !self.is_retiring()) else {
            return;
        };
        let name = self.admission.alias_of(&peer).map_or_else(|| peer.short(), ToString::to_string);
        if !self.has_members() {
            let message = format!("{name}, the host before you, is there at {at}, and so are the others");
            self.turn.event(NodeEvent::error(ErrorKind::Status, &message));
            return self.retire_for(peer, addrs);
        }
        if !std::mem::replace(&mut self.deputy.is_told, true) {
            let message = format!(
                "{name}, the host before you, hosts this network at {at} too, and has members: those here stay with you. \
                 Leave and join it there, or ban {name} to keep this one"
            );
            self.turn.event(NodeEvent::error(ErrorKind::Status, &message));
        }
    }

    /// The host before comes in: it may tell of bans now, and at no other time.
    pub(super) fn notes_host_before(&mut self, peer: &PeerId) {
        if self.deputy.before_came.is_none() && self.is_before(peer) {
            self.deputy.before_came = Some(self.turn.now.instant);
        }
    }

    /// Bans of the host before, which is a member now: those that this host was not told of are in force. A member has no
    /// such power: it is heard once, when it comes in first.
    pub(super) fn former_bans(&mut self, peer: &PeerId, bytes: &[u8]) {
        let is_new = |at: &Instant| self.turn.now.instant - *at < limits::HANDOVER_TIMEOUT;
        let is_heard = self.is_before(peer) && self.deputy.before_came.as_ref().is_some_and(is_new);
        let Some(opened) = self.deputy.opened_by.as_mut() else { return };
        let Some(told) = opened.told.take_if(|_| is_heard) else { return };
        let bans: Vec<Ban> = serde_json::from_slice(bytes).unwrap_or_default();
        for ban in bans.into_iter().take(limits::FORMER_BANS) {
            let is_mine = ban.peer_id == Some(self.group.me());
            let is_by_hand = !ban.automatic && ban.prefix.is_none();
            let is_of_somebody = ban.peer_id.is_some() || ban.addr.is_some_and(|addr| !addr.is_unspecified());
            // Any from before that is not in force was lifted here.
            let is_unknown = ban.since > told && !self.admission.bans().contains(&ban);
            if is_unknown && is_by_hand && is_of_somebody && !is_mine {
                let reason = super::command::clean(Some(&ban.reason));
                super::command::impose(self, Ban { reason, ..ban });
            }
        }
        self.save(Vec::new());
    }

    #[cfg(test)]
    pub(in crate::proto) fn opened_by(&self) -> Option<&DeputyStatement> {
        self.deputy.opened_by.as_ref().map(|opened| &opened.statement)
    }

    /// By which word this host hosts, for the member that it is from now on; and its bans, for the next host.
    pub(in crate::proto) fn take_former(&mut self) -> (Option<DeputyStatement>, Vec<Ban>) {
        let bans = self.admission.bans();
        let newest = bans.len().saturating_sub(limits::FORMER_BANS);
        let bans = bans.iter().skip(newest).cloned().collect();
        (self.deputy.opened_by.take().map(|opened| opened.statement), bans)
    }

    /// Opens the network again as the deputy of a host that is gone. Its members come one after the other.
    pub(in crate::proto) fn open_again(&mut self, earlier: EarlierRun) {
        let me = self.group.me();
        self.deputy.has_given_file = true;
        self.group.is_out = false;
        self.group.join_links.clear();
        self.group.host_addr = None;
        let own = earlier.expected.iter().find(|entry| entry.peer_id == me);
        let since = own.or_else(|| self.group.roster.get(&me)).map_or(Timestamp(0), |entry| entry.since);
        let (before, expected): (Vec<RosterEntry>, Vec<RosterEntry>) =
            earlier.expected.into_iter().partition(|entry| self.is_before(&entry.peer_id));
        let gone: Vec<PeerId> = before.iter().map(|entry| entry.peer_id).collect();
        self.group.roster = Roster::begun_with(earlier.version, before, earlier.departed);
        // What it has said counts, and it is not here.
        for peer in gone {
            self.group.roster.remove(peer, CloseReason::HeartbeatTimeout);
        }
        self.group.roster.update(RosterEntry {
            peer_id: me,
            alias: self.group.alias.clone(),
            role: Role::Host,
            wire: Wire::Native,
            addrs: self.listening.peer_addrs.clone(),
            since,
            status: None,
        });
        for entry in expected {
            if entry.peer_id != me && self.admission.is_admitted(&entry.peer_id) {
                self.group.roster.update(entry);
            }
        }
        self.begins_to_host();
        self.turn.ask(super::Ask::CatchUp);
    }
}

/// A package as it travels. Why not, when there is too much of it.
pub(super) fn parts_of(package: &HostPackage) -> Result<Vec<HandoverPart>, String> {
    let bytes = serde_json::to_vec(package).unwrap_or_default();
    if bytes.is_empty() || bytes.len() > limits::HANDOVER_BYTES {
        let keys = package.state.admitted.len();
        return Err(format!(
            "{keys} keys and what else a host needs are {} KiB, and at most {} KiB can be handed over; let keys end \
             sooner (--key-days), or lift bans",
            bytes.len() / 1024,
            limits::HANDOVER_BYTES / 1024
        ));
    }
    let mut parts: Vec<HandoverPart> = bytes
        .chunks(limits::HANDOVER_PART)
        .map(|part| HandoverPart { bytes: part.to_vec(), is_last: false })
        .collect();
    if let Some(last) = parts.last_mut() {
        last.is_last = true;
    }
    Ok(parts)
}

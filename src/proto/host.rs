//! The host: admits joiners, watches over members, bans, and distributes the roster.
//!
//! Its word is final: what it decides is enforced here at once, kept on disk before it is acknowledged, and
//! distributed to every member.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use super::{
    ConnId, HostConfig, Output,
    admission::Admission,
    classic::{self, ClassicMembers},
    core::{Core, Timer},
    detector::Detector,
    mesh::Mesh,
    roster::Roster,
};
use crate::{
    api::{NodeCommand, NodeEvent, StoreCommand},
    model::{
        CloseReason, CommandError, Departed, ErrorKind, Held, HostState, Liveness, Moment, Network, PeerId,
        Penalty, Recalled, Role, RosterEntry, SafeText, Timestamp, Wire, limits,
    },
    security::{HostRecord, password::Challenged},
    wire::{Beat, Frame, HandoverProbed, HandoverStatement, Hello},
};

mod admitting;
mod command;
mod distribution;
mod handover;
mod reachability;

/// Somebody who asks for admission.
#[derive(Debug)]
pub(super) struct Joiner {
    pub(super) peer: PeerId,
    pub(super) remote: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) binding: [u8; 32],
    pub(super) step: Step,
}

#[derive(Debug)]
pub(super) enum Step {
    Status { known: bool },
    Turn(Hello),
    Challenged(Hello, Box<Challenged>),
    Classic(classic::HostStep),
}

/// A member's join link.
#[derive(Debug)]
struct MemberLink {
    conn: ConnId,
    ip: IpAddr,
    detector: Detector,
    /// The version of the roster that it was sent at first; nothing while that is still to be sent.
    since: Option<u64>,
    /// The save that keeps its admission. The member is told only after it, since a host that forgot the admission would
    /// ask for the password again.
    saved_with: u64,
    /// It has asked for the whole roster again.
    roster_wanted: bool,
    reachability: ReachabilityAsked,
    /// The members that it has lately asked for a link, and when.
    called: BTreeMap<PeerId, Instant>,
}

/// Whether a member has asked who reaches whom. With the first time its peer listener is tried for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReachabilityAsked {
    Never,
    Before,
    Now,
}

/// A removed peer that members are asked to cut off.
#[derive(Debug)]
struct Cut {
    peer: PeerId,
    version: u64,
    waiting: BTreeSet<PeerId>,
    of: u32,
}

impl Cut {
    fn event(&self) -> NodeEvent {
        let by = self.of - u32::try_from(self.waiting.len()).unwrap_or(self.of);
        NodeEvent::CutOff { peer_id: self.peer, by, of: self.of }
    }
}

#[derive(Debug)]
pub(super) struct Host {
    network: Network,
    pub(super) record: HostRecord,
    pub(super) admission: Admission,
    config_policy: crate::model::Policy,
    join_addr: SocketAddr,
    pub(super) peer_addrs: Vec<SocketAddr>,
    pub(super) joiners: BTreeMap<ConnId, Joiner>,
    members: BTreeMap<PeerId, MemberLink>,
    pub(super) classic: ClassicMembers,
    pub(super) by_conn: BTreeMap<ConnId, PeerId>,
    cuts: Vec<Cut>,
    distributed: Option<Instant>,
    /// When it began.
    begun: Instant,
    /// Events to give out once a save is on disk.
    saving: BTreeMap<u64, Vec<NodeEvent>>,
    token: u64,
    /// Members of an earlier run that are not here yet.
    expected: Vec<RosterEntry>,
    /// Members of the past, and the version of the roster, of an earlier run.
    departed: Vec<Departed>,
    version: u64,
    /// Messages that came late, and the version of the roster by which each is addressed.
    late: Vec<(u64, Held)>,
    /// The state changed and is to be saved at the end of the turn.
    is_unsaved: bool,
    /// The host has left: nobody is expected back.
    has_left: bool,
    handover: Option<handover::Handover>,
    /// Addresses that are held back, as the front end was last notified.
    penalties: Vec<Penalty>,
    penalties_notified: Option<Instant>,
    /// Who is the host from now on.
    successor: Option<HandoverStatement>,
}

impl Host {
    pub(super) fn new(config: HostConfig, now: Moment) -> Self {
        let mut admission = Admission::new(config.attempts, config.members, config.bans, config.admitted);
        admission.recall_attempts(config.kept_attempts, now);
        Self {
            admission,
            network: config.network,
            record: config.record,
            config_policy: config.policy,
            join_addr: config.join_addr,
            peer_addrs: config.peer_addrs,
            joiners: BTreeMap::new(),
            members: BTreeMap::new(),
            classic: ClassicMembers::new(config.distribution),
            by_conn: BTreeMap::new(),
            cuts: Vec::new(),
            distributed: None,
            begun: now.instant,
            saving: BTreeMap::new(),
            token: 0,
            expected: config.expected,
            departed: config.departed,
            version: config.version,
            late: Vec::new(),
            is_unsaved: false,
            has_left: false,
            handover: None,
            penalties: Vec::new(),
            penalties_notified: None,
            successor: None,
        }
    }

    pub(super) fn start(&mut self, core: &mut Core, mesh: &mut Mesh, recalled: Recalled) {
        core.network = Some(self.network.clone());
        core.policy = self.config_policy;
        core.roster = Roster::begun(self.version, std::mem::take(&mut self.departed));
        core.roster.update(RosterEntry {
            peer_id: core.me(),
            alias: core.alias.clone(),
            role: Role::Host,
            wire: Wire::Native,
            addrs: self.peer_addrs.clone(),
            since: Timestamp(0),
        });
        for entry in std::mem::take(&mut self.expected) {
            if entry.peer_id != core.me() && self.admission.is_admitted(&entry.peer_id) {
                core.roster.update(RosterEntry { role: Role::Member, ..entry });
            }
        }
        core.timers.set(Timer::Expected, core.now.instant + limits::DEAD_AFTER);
        let peer_addr = self.peer_addrs.first().copied().unwrap_or(self.join_addr);
        core.event(NodeEvent::Listening {
            role: Role::Host,
            join_addr: Some(self.join_addr),
            peer_addr,
            peer_id: core.me(),
            alias: core.alias.clone(),
            network: SafeText::line(&self.network.name),
            network_id: self.network.id,
        });
        core.set_clear(core.cleartext.unwrap_or(true), false);
        self.distribute(core, mesh);
        self.tell_admission(core);
        if !self.admission.attempts().is_empty() {
            core.timers.set(Timer::Attempts, core.now.instant + limits::ATTEMPTS_FORGOTTEN / 10);
        }
        mesh.recall(core, recalled);
        if core.was_here_before() {
            let since = core.take_away();
            mesh.catch_up(core, since);
        }
        self.save(core, Vec::new());
    }

    /// Takes the old host's place; its members come one after the other.
    pub(super) fn take_over(&mut self, core: &mut Core, mesh: &mut Mesh) {
        let me = core.me();
        core.is_out = false;
        core.join_links.clear();
        core.policy = self.config_policy;
        let before: Vec<RosterEntry> = core.roster.entries().cloned().collect();
        for entry in before {
            let addrs = core.candidates(&entry.peer_id);
            match entry.role {
                _ if entry.peer_id == me => core.roster.update(RosterEntry { role: Role::Host, ..entry }),
                Role::Host => core.roster.update(RosterEntry { role: Role::Member, addrs, ..entry }),
                // They knew no other host.
                Role::Member if entry.wire == Wire::Classic => {
                    core.roster.remove(entry.peer_id, CloseReason::HostLeft);
                }
                Role::Member => {}
            }
        }
        core.host_ip = None;
        let peer_addr = self.peer_addrs.first().copied().unwrap_or(self.join_addr);
        core.event(NodeEvent::Listening {
            role: Role::Host,
            join_addr: Some(self.join_addr),
            peer_addr,
            peer_id: me,
            alias: core.alias.clone(),
            network: SafeText::line(&self.network.name),
            network_id: self.network.id,
        });
        if let Some(host) = core.person(&me) {
            core.event(NodeEvent::Handover { host, join_addr: self.join_addr });
        }
        self.distribute(core, mesh);
        self.tell_admission(core);
        self.save(core, Vec::new());
        core.timers.set(Timer::Expected, core.now.instant + limits::DEAD_AFTER);
    }

    // ---- Members ----

    fn member_frame(&mut self, core: &mut Core, mesh: &mut Mesh, peer: PeerId, conn: ConnId, frame: &Frame) {
        let Some(link) = self.members.get_mut(&peer) else { return };
        if link.detector.heard(core.now.instant) {
            let (rtt, missed) = (link.detector.rtt(), link.detector.missed());
            core.emit_heartbeat(&peer, Liveness::Alive, rtt, missed);
        }
        match frame {
            Frame::BeatReply(number) => {
                if let Some(rtt) = link.detector.answered(*number, core.now.instant) {
                    let missed = link.detector.missed();
                    core.emit_heartbeat(&peer, Liveness::Alive, Some(rtt), missed);
                }
            }
            Frame::RosterRequest => {
                // However often it is asked for.
                if !std::mem::replace(&mut link.roster_wanted, true) {
                    core.timers.set(Timer::Beat(conn), core.now.instant + limits::ROSTER_REQUEST_EVERY);
                }
            }
            Frame::Call(to) => self.call(core, mesh, peer, *to),
            Frame::Tried(tried) => Self::tried(core, peer, tried),
            Frame::ReachabilityRequest => {
                let before = std::mem::replace(&mut link.reachability, ReachabilityAsked::Now);
                if before != ReachabilityAsked::Now {
                    core.timers.set(Timer::Beat(conn), core.now.instant + limits::ROSTER_REQUEST_EVERY);
                }
                if before == ReachabilityAsked::Never {
                    self.have_tried(core, mesh, peer);
                }
            }
            Frame::RosterApplied(version) => self.applied(core, peer, *version),
            Frame::HandoverReady(addrs) => self.handover_ready(core, peer, addrs),
            Frame::HandoverProbed(HandoverProbed { peer: to, why_not }) => {
                self.handover_probed(core, peer, Some(to), why_not.as_deref());
            }
            Frame::HandoverTaken => self.handover_taken(core, peer),
            Frame::HandoverRefused(refusal) => self.handover_refused(core, peer, refusal),
            Frame::Goodbye(refusal) => {
                // Whoever goes for another reason than its own wish may be back in a moment.
                let has_left = refusal.reason == CloseReason::Left;
                let reason = if has_left { CloseReason::Left } else { CloseReason::ConnectionLost };
                core.close(conn, reason);
                self.remove(core, mesh, peer, reason);
            }
            _ => {
                core.blame(&peer, "a frame that has no place there");
                core.goodbye(conn, CloseReason::ProtocolError, "");
                self.remove(core, mesh, peer, CloseReason::ProtocolError);
            }
        }
    }

    /// Takes a member out; its link is closed already or is about to be.
    pub(super) fn remove(&mut self, core: &mut Core, mesh: &mut Mesh, peer: PeerId, reason: CloseReason) {
        self.classic_removed(core, &peer, reason);
        if let Some(link) = self.members.remove(&peer) {
            self.by_conn.remove(&link.conn);
            core.join_links.remove(&peer);
            core.timers.cancel(Timer::Beat(link.conn));
            if reason == CloseReason::HeartbeatTimeout {
                core.emit_heartbeat(&peer, Liveness::Dead, link.detector.rtt(), link.detector.missed());
            }
        }
        for cut in &mut self.cuts {
            if cut.waiting.remove(&peer) {
                cut.of -= 1;
                core.event(cut.event());
            }
        }
        self.cuts.retain(|cut| !cut.waiting.is_empty());
        self.handover_without(core, peer);
        core.roster.remove(peer, reason);
        if matches!(reason, CloseReason::Banned | CloseReason::Kicked) {
            self.distribute(core, mesh);
        } else {
            self.distribute_soon(core, mesh);
        }
    }

    /// The member that a link belongs to.
    pub(super) fn peer_of(&self, conn: ConnId) -> Option<PeerId> {
        self.by_conn.get(&conn).copied()
    }

    pub(super) fn closed(&mut self, core: &mut Core, mesh: &mut Mesh, conn: ConnId) {
        match self.by_conn.get(&conn).copied() {
            // A classic peer that leaves has no other way to say so.
            Some(peer) if self.classic.has(&peer) => self.remove(core, mesh, peer, CloseReason::Left),
            Some(peer) => self.remove(core, mesh, peer, CloseReason::ConnectionLost),
            None => self.joiner_gone(core, conn),
        }
    }

    pub(super) fn timer(&mut self, core: &mut Core, mesh: &mut Mesh, timer: Timer) {
        match timer {
            Timer::Admission(conn) => {
                core.goodbye(conn, CloseReason::TimedOut, "");
                self.joiner_gone(core, conn);
            }
            Timer::Beat(conn) => self.beat(core, mesh, conn),
            Timer::Roster => self.distribute(core, mesh),
            Timer::Reachability => Self::notify_unreachable(core, mesh),
            Timer::Late => self.tell_late(core),
            Timer::ClassicRoster => self.send_rosters(core),
            Timer::Handover => self.handover_timed_out(core),
            Timer::Expected => {
                let me = core.me();
                let missing: Vec<PeerId> = core
                    .roster
                    .entries()
                    .map(|entry| entry.peer_id)
                    .filter(|peer| *peer != me && !self.members.contains_key(peer) && !self.classic.has(peer))
                    .collect();
                for peer in missing {
                    self.remove(core, mesh, peer, CloseReason::HeartbeatTimeout);
                }
            }
            Timer::Attempts => {
                if self.admission.forget_quiet(core.now.instant) {
                    self.tell_admission(core);
                }
                if !self.admission.attempts().is_empty() {
                    core.timers.set(Timer::Attempts, core.now.instant + limits::ATTEMPTS_FORGOTTEN / 10);
                }
            }
            _ => {}
        }
    }

    fn beat(&mut self, core: &mut Core, mesh: &mut Mesh, conn: ConnId) {
        let Some(peer) = self.by_conn.get(&conn).copied() else { return };
        let Some(link) = self.members.get_mut(&peer) else {
            return self.classic_beat(core, mesh, conn);
        };
        let step = link.detector.poll(core.now.instant, core.jitter());
        if step.beat.is_some() {
            // The beats of many leave together.
            let slot = limits::BEAT_SLOT.as_nanos();
            let after = (link.detector.next_beat() - self.begun).as_nanos();
            let late = Duration::from_nanos(u64::try_from(slot - after % slot).unwrap_or(0));
            link.detector.beat_at(link.detector.next_beat() + late);
        }
        core.timers.set(Timer::Beat(conn), link.detector.deadline());
        if std::mem::take(&mut link.roster_wanted) {
            for frame in self.whole(core, Frame::RosterWhole) {
                core.send_bytes(conn, frame);
            }
        }
        let Some(link) = self.members.get_mut(&peer) else { return };
        if link.reachability == ReachabilityAsked::Now {
            link.reachability = ReachabilityAsked::Before;
            Self::send_reachability(core, conn);
        }
        let Some(link) = self.members.get_mut(&peer) else { return };
        if let Some(number) = step.beat {
            let micros = |rtt: Duration| u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX);
            let beat = Beat { number, rtt: link.detector.rtt().map(micros) };
            core.send(conn, &Frame::Beat(beat));
        }
        match step.changed {
            Some(Liveness::Dead) => {
                core.goodbye(conn, CloseReason::HeartbeatTimeout, "");
                self.remove(core, mesh, peer, CloseReason::HeartbeatTimeout);
            }
            Some(state) => {
                core.emit_heartbeat(&peer, state, link.detector.rtt(), link.detector.missed());
            }
            None => {}
        }
    }

    // ---- What is kept ----

    /// Has the state saved at the end of the turn, and gives `then` out once that is on disk. A network that is being set
    /// aside is not saved again.
    fn save(&mut self, core: &mut Core, then: Vec<NodeEvent>) {
        if self.is_retiring() {
            return then.into_iter().for_each(|event| core.event(event));
        }
        self.token += 1;
        self.saving.insert(self.token, then);
        self.is_unsaved = true;
    }

    /// Ends a turn: late messages are named to the members, and a changed state is saved once.
    pub(super) fn end_turn(&mut self, core: &mut Core, mesh: &mut Mesh) {
        self.note_late(core, mesh.take_late());
        if std::mem::take(&mut self.is_unsaved) && !self.is_retiring() {
            let state = Box::new(self.state(core));
            core.outputs.push_back(Output::Store(StoreCommand::SaveHost { token: self.token, state }));
        }
    }

    /// The host leaves: the next one that it opens begins without members.
    pub(super) fn leave(&mut self, core: &mut Core) {
        self.has_left = true;
        self.save(core, Vec::new());
    }

    fn state(&self, core: &Core) -> HostState {
        let me = core.me();
        HostState {
            network: self.network.clone(),
            alias: Some(core.alias.clone()),
            record: self.record.to_bytes(),
            listen: Some(self.join_addr),
            admitted: self.admission.admitted().cloned().collect(),
            bans: self.admission.bans().to_vec(),
            attempts: self.admission.kept_attempts(),
            roster: core
                .roster
                .entries()
                .filter(|entry| entry.peer_id != me && entry.wire == Wire::Native && !self.has_left)
                .cloned()
                .collect(),
            departed: core.roster.all_departed().cloned().collect(),
            version: core.roster.version(),
            classic: core.policy.classic,
        }
    }

    pub(super) fn saved(&mut self, core: &mut Core, token: u64) {
        let later = self.saving.split_off(&(token + 1));
        for events in std::mem::replace(&mut self.saving, later).into_values() {
            for event in events {
                core.event(event);
            }
        }
        self.welcome(core);
    }

    pub(super) fn not_saved(&mut self, core: &mut Core, token: u64, message: &str) {
        let message = format!("{message}; it is in force now, but a restart of the host will forget it");
        core.event(NodeEvent::error(ErrorKind::Storage, &message));
        self.saved(core, token);
    }

    pub(super) fn registered(&mut self, core: &mut Core, record: HostRecord) {
        self.record = record;
        // A challenge from the old password must not be answered any more; nobody is charged for it.
        let challenged = |(conn, joiner): (&ConnId, &Joiner)| {
            let is_challenged =
                matches!(joiner.step, Step::Challenged(..) | Step::Classic(classic::HostStep::Checking(_)));
            is_challenged.then_some((*conn, joiner.remote.ip()))
        };
        let old: Vec<(ConnId, IpAddr)> = self.joiners.iter().filter_map(challenged).collect();
        for (conn, ip) in old {
            self.joiners.remove(&conn);
            core.timers.cancel(Timer::Admission(conn));
            core.goodbye(conn, CloseReason::Busy, "");
            for next in self.admission.withdraw(ip) {
                self.challenge(core, next);
            }
        }
        self.save(core, vec![NodeEvent::PasswordChanged]);
    }

    fn tell_admission(&mut self, core: &mut Core) {
        let (bans, attempts) = (self.admission.bans().to_vec(), self.admission.attempts());
        core.event(NodeEvent::Admission { bans, attempts, penalties: self.penalties.clone() });
    }

    /// Notifies the front end from time to time which addresses are held back, however fast they change.
    pub(super) fn penalties_changed(&mut self, core: &mut Core) {
        let is_recent =
            |at: Instant| core.now.instant.saturating_duration_since(at) < limits::PENALTIES_EVERY;
        let penalties = core.limiter.penalties(core.now.instant);
        if penalties == self.penalties {
            return;
        }
        if self.penalties_notified.is_some_and(is_recent) {
            return core.timers.set(Timer::Limiter, core.now.instant + limits::LIMITER_POLL);
        }
        self.penalties_notified = Some(core.now.instant);
        self.penalties = penalties;
        self.tell_admission(core);
    }

    pub(super) fn command(
        &mut self,
        core: &mut Core,
        mesh: &mut Mesh,
        command: NodeCommand,
    ) -> Result<(), CommandError> {
        command::run(self, core, mesh, command)
    }
}

/// Where a member may be reached: where the host sees it, with its announced port, then what it says of itself.
fn candidates(remote: SocketAddr, announced: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut addrs = Vec::new();
    if let Some(first) = announced.first() {
        addrs.push(SocketAddr::new(remote.ip().to_canonical(), first.port()));
    }
    for addr in announced {
        if !addr.ip().is_unspecified() && addr.port() != 0 && !addrs.contains(addr) {
            addrs.push(*addr);
        }
    }
    addrs.truncate(limits::CANDIDATES);
    addrs
}

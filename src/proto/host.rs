//! The host: admits joiners, watches over members, bans, and distributes the roster.
//!
//! Its word is final: what it decides is enforced here at once, kept on disk before it is acknowledged, and
//! distributed to every member.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use rand_chacha::ChaCha20Rng;
use rand_core::RngCore as _;

use self::{
    addresses::candidates, classic::ClassicMembers, deputy::Deputy, door::Door, mapping::Mapping,
    password::PasswordRecord, saving::Saves,
};
use super::{
    ConnId, EarlierRun, HostConfig,
    admission::{Admission, passes::Passes},
    detector::Detector,
    group::Group,
    limiter::Limiter,
    role::Ask,
    roster::Roster,
    turn::Turn,
};
use crate::{
    api::{InviteInfo, NodeCommand, NodeEvent},
    model::{
        Applicant, CloseReason, CommandError, Held, Liveness, Moment, Network, Notes, PeerId, Penalty, Role,
        RosterEntry, SafeText, Timestamp, Wire, limits,
    },
    security::password::Challenged,
    wire::{Beat, Frame, HandoverProbed, HandoverStatement, Hello},
};

mod addresses;
mod admitting;
mod classic;
mod command;
mod deputy;
mod distribution;
mod door;
mod handover;
mod inviting;
mod mapping;
mod password;
mod presence;
mod reachability;
mod saving;

/// When the host is wanted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The admission on this link has taken too long.
    Admission(ConnId),
    /// Look at the heartbeat of this link.
    Beat(ConnId),
    /// Distribute roster changes.
    Roster,
    /// Distribute the roster to classic members.
    ClassicRoster,
    /// Forget attempts of quiet addresses.
    Attempts,
    /// Tell the front end of bans and wrong passwords.
    TellAdmission,
    /// Save the state that the disk did not take.
    Save,
    /// Name late messages to the members that lack them.
    Late,
    /// Tell the members who cannot reach whom.
    Reachability,
    /// A handover takes too long.
    Handover,
    /// Remove members of the old host that have not come to the new one.
    Expected,
    /// The router is to be asked again.
    MapPorts,
    /// The deputy may be given a newer state.
    Deputy,
    /// See whether the deputy has opened the network.
    Look,
}

/// Somebody who asks for admission.
#[derive(Debug)]
struct Joiner {
    peer: PeerId,
    remote: SocketAddr,
    local: SocketAddr,
    binding: [u8; 32],
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// It was told how it stands, and had this many bytes sent back.
    Status {
        known: bool,
        echoes: u32,
    },
    Turn(Hello),
    Challenged(Hello, Box<Challenged>),
    /// It waits at the door: with what it has said, and the hash of the pass that it has shown.
    Applying(Box<(Hello, Option<[u8; 32]>, Applicant)>),
    Classic(classic::Step),
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
    /// When it last asked for another name or status.
    presence_at: Option<Instant>,
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

/// The node that holds the door.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) turn: Turn<Timer, Ask>,
    pub(super) group: Group,
    network: Network,
    /// How long a key is known that is not here; zero for ever.
    key_age: Duration,
    password: PasswordRecord,
    admission: Admission,
    /// The passes of invites.
    passes: Passes,
    /// Those around are told of the network.
    announce: bool,
    door: Door,
    /// What whoever comes in is told.
    notes: Notes,
    /// Invites as the front end was told last.
    told_invites: Vec<InviteInfo>,
    listening: Listening,
    joiners: BTreeMap<ConnId, Joiner>,
    members: BTreeMap<PeerId, MemberLink>,
    classic: ClassicMembers,
    by_conn: BTreeMap<ConnId, PeerId>,
    distribution: Distribution,
    /// When it began.
    begun: Instant,
    saves: Saves,
    /// The host has left: nobody is expected back.
    has_left: bool,
    handing: Handing,
    deputy: Deputy,
    mapping: Mapping,
    penalties: Penalties,
}

/// Where this host listens.
#[derive(Debug)]
struct Listening {
    join_addr: SocketAddr,
    /// Its own peer listener, best first.
    peer_addrs: Vec<SocketAddr>,
}

/// What the members were told last, and have to be told.
#[derive(Debug, Default)]
struct Distribution {
    /// When they were told last.
    at: Option<Instant>,
    cuts: Vec<Cut>,
    /// Messages that came late, and the version of the roster by which each is addressed.
    late: Vec<(u64, Held)>,
}

/// The network is being handed over.
#[derive(Debug, Default)]
struct Handing {
    handover: Option<handover::Handover>,
    /// Whom not all reached when it was asked: asked again, it becomes the host all the same.
    insisted: Option<(PeerId, Instant)>,
    /// Who is the host from now on.
    successor: Option<HandoverStatement>,
}

/// Addresses that are held back, as the front end was last notified.
#[derive(Debug, Default)]
struct Penalties {
    known: Vec<Penalty>,
    notified: Option<Instant>,
}

impl Host {
    pub(super) fn new(config: HostConfig, mut group: Group, now: Moment, rng: &mut ChaCha20Rng) -> Self {
        let kept = config.kept;
        let mut admission =
            Admission::new(group.limits.strangers, config.attempts, config.members, kept.bans, kept.admitted);
        admission.recall_attempts(kept.attempts, now);
        group.network = Some(config.network.clone());
        group.policy = config.policy;
        let gone = now.wall.since(kept.alive);
        let is_after_grace = kept.deputy.is_some() && gone >= Duration::from_secs(config.policy.grace.into());
        Self {
            turn: Turn::new(now, rng),
            group,
            network: config.network,
            key_age: config.key_age,
            password: PasswordRecord::new(config.record, config.password),
            admission,
            passes: Passes::new(kept.passes),
            announce: config.announce,
            door: Door::new(config.approve),
            // They may come from a package of the host before, which nobody has bounded.
            notes: Notes::new(config.notes.topic.as_str(), config.notes.rules.as_str()),
            told_invites: Vec::new(),
            listening: Listening { join_addr: config.join_addr, peer_addrs: config.peer_addrs },
            joiners: BTreeMap::new(),
            members: BTreeMap::new(),
            classic: ClassicMembers::new(config.distribution),
            by_conn: BTreeMap::new(),
            distribution: Distribution::default(),
            begun: now.instant,
            saves: Saves::default(),
            has_left: false,
            handing: Handing::default(),
            deputy: Deputy::new(kept.deputy, kept.opened_by, is_after_grace),
            mapping: Mapping::new(config.map_port),
            penalties: Penalties::default(),
        }
    }

    /// Opens the network, or opens it again.
    pub(super) fn start(&mut self, earlier: EarlierRun) {
        self.group.roster = Roster::begun(earlier.version, earlier.departed);
        self.group.roster.update(RosterEntry {
            peer_id: self.group.me(),
            alias: self.group.alias.clone(),
            role: Role::Host,
            wire: Wire::Native,
            addrs: self.listening.peer_addrs.clone(),
            since: Timestamp(0),
            status: None,
        });
        for entry in earlier.expected {
            if entry.peer_id != self.group.me() && self.admission.is_admitted(&entry.peer_id) {
                self.group.roster.update(RosterEntry { role: Role::Member, ..entry });
            }
        }
        self.turn.set(Timer::Expected, limits::DEAD_AFTER);
        let peer_addr = self.listening.peer_addrs.first().copied().unwrap_or(self.listening.join_addr);
        self.turn.event(NodeEvent::Listening {
            role: Role::Host,
            join_addr: Some(self.listening.join_addr),
            peer_addr,
            peer_id: self.group.me(),
            alias: self.group.alias.clone(),
            network: SafeText::line(&self.network.name),
            network_id: self.network.id,
        });
        let is_allowed = self.group.cleartext.decided.unwrap_or(true);
        self.turn.events(self.group.set_clear(is_allowed, false));
        self.turn.ask(Ask::Distribute);
        self.tell_admission();
        self.tell_invites();
        self.announce();
        self.map_ports();
        if self.deputy.statement.is_some() {
            self.tell_deputy();
            self.look_for_deputy();
        }
        self.forget_unseen();
        self.turn.set(Timer::Attempts, limits::ATTEMPTS_FORGOTTEN / 10);
        self.register_next();
        self.turn.ask(Ask::Recall(Box::new(earlier.recalled)));
        self.turn.ask(Ask::CatchUp);
        self.save(Vec::new());
    }

    // ---- Members ----

    fn member_frame(&mut self, peer: PeerId, conn: ConnId, frame: &Frame) {
        let Some(link) = self.members.get_mut(&peer) else { return };
        if link.detector.heard(self.turn.now.instant) {
            let (rtt, missed) = (link.detector.rtt(), link.detector.missed());
            self.turn.events(self.group.heartbeat(&peer, Liveness::Alive, rtt, missed));
        }
        match frame {
            Frame::BeatReply(number) => {
                if let Some(rtt) = link.detector.answered(*number, self.turn.now.instant) {
                    let missed = link.detector.missed();
                    self.turn.events(self.group.heartbeat(&peer, Liveness::Alive, Some(rtt), missed));
                }
            }
            Frame::RosterRequest => {
                // However often it is asked for.
                if !std::mem::replace(&mut link.roster_wanted, true) {
                    self.turn.set(Timer::Beat(conn), limits::ROSTER_REQUEST_EVERY);
                }
            }
            Frame::Call(to) => self.call(peer, *to),
            Frame::Tried(tried) => self.tried(peer, tried),
            Frame::ReachabilityRequest => {
                let before = std::mem::replace(&mut link.reachability, ReachabilityAsked::Now);
                if before != ReachabilityAsked::Now {
                    self.turn.set(Timer::Beat(conn), limits::ROSTER_REQUEST_EVERY);
                }
                if before == ReachabilityAsked::Never {
                    self.have_tried(peer);
                }
            }
            Frame::RosterApplied(version) => self.applied(peer, *version),
            Frame::InviteRequest(wanted) => self.invite_for(peer, *wanted),
            Frame::Presence(wanted) => self.presence(peer, wanted.clone()),
            Frame::FormerBans(bans) => self.former_bans(&peer, &bans.0),
            Frame::HandoverReady(addrs) => self.handover_ready(peer, addrs),
            Frame::HandoverProbed(HandoverProbed { peer: to, why_not }) => {
                self.handover_probed(peer, Some(to), why_not.as_deref());
            }
            Frame::HandoverTaken => self.handover_taken(peer),
            Frame::HandoverRefused(refusal) => self.handover_refused(peer, refusal),
            Frame::Goodbye(refusal) => {
                // Whoever goes for another reason than its own wish may be back in a moment.
                let has_left = refusal.reason == CloseReason::Left;
                let reason = if has_left { CloseReason::Left } else { CloseReason::ConnectionLost };
                self.turn.close(conn, reason);
                self.remove(peer, reason);
            }
            _ => {
                self.turn.events(self.group.blame(&peer, "a frame that has no place there"));
                self.turn.goodbye(conn, CloseReason::ProtocolError, "");
                self.remove(peer, CloseReason::ProtocolError);
            }
        }
    }

    /// Takes a member out; its link is closed already or is about to be.
    pub(super) fn remove(&mut self, peer: PeerId, reason: CloseReason) {
        self.classic_removed(&peer, reason);
        if let Some(link) = self.members.remove(&peer) {
            self.admission.seen(&peer, self.turn.now.wall);
            self.by_conn.remove(&link.conn);
            self.group.join_links.remove(&peer);
            self.turn.timers.cancel(Timer::Beat(link.conn));
            if reason == CloseReason::HeartbeatTimeout {
                self.turn.events(self.group.heartbeat_of(&peer, Liveness::Dead, &link.detector));
            }
        }
        for cut in &mut self.distribution.cuts {
            if cut.waiting.remove(&peer) {
                cut.of -= 1;
                self.turn.event(cut.event());
            }
        }
        self.distribution.cuts.retain(|cut| !cut.waiting.is_empty());
        self.handover_without(peer);
        self.group.roster.remove(peer, reason);
        if reason.is_removal() {
            self.revoke_invites_of(&peer);
            self.withdraw_deputy(&peer);
            self.turn.ask(Ask::Distribute);
        } else {
            self.distribute_soon();
        }
    }

    /// The member that a link belongs to.
    pub(super) fn peer_of(&self, conn: ConnId) -> Option<PeerId> {
        self.by_conn.get(&conn).copied()
    }

    pub(super) fn closed(&mut self, conn: ConnId) {
        match self.by_conn.get(&conn).copied() {
            // A classic peer that leaves has no other way to say so.
            Some(peer) if self.classic.has(&peer) => self.remove(peer, CloseReason::Left),
            Some(peer) => self.remove(peer, CloseReason::ConnectionLost),
            None => self.joiner_gone(conn),
        }
    }

    pub(super) fn timer(&mut self, timer: Timer) {
        match timer {
            Timer::Admission(conn) if self.is_applying(conn) => self.nobody_opens(conn),
            Timer::Admission(conn) => {
                self.turn.goodbye(conn, CloseReason::TimedOut, "");
                self.joiner_gone(conn);
            }
            Timer::Beat(conn) => self.beat(conn),
            Timer::Roster => self.turn.ask(Ask::Distribute),
            Timer::Reachability => self.notify_unreachable(),
            Timer::Late => self.tell_late(),
            Timer::ClassicRoster => self.send_rosters(),
            Timer::Handover => self.handover_timed_out(),
            Timer::Expected => {
                let me = self.group.me();
                let missing: Vec<PeerId> = self
                    .group
                    .roster
                    .entries()
                    .map(|entry| entry.peer_id)
                    .filter(|peer| *peer != me && !self.members.contains_key(peer) && !self.classic.has(peer))
                    .collect();
                for peer in missing {
                    self.remove(peer, CloseReason::HeartbeatTimeout);
                }
            }
            Timer::Save => self.save(Vec::new()),
            Timer::MapPorts => self.map_ports(),
            // At the end of the turn.
            Timer::Deputy => {}
            Timer::Look => self.look_for_deputy(),
            Timer::TellAdmission => self.tell_admission(),
            Timer::Attempts => {
                self.tidy_admission();
                self.turn.set(Timer::Attempts, limits::ATTEMPTS_FORGOTTEN / 10);
            }
        }
    }

    fn beat(&mut self, conn: ConnId) {
        let Some(peer) = self.by_conn.get(&conn).copied() else { return };
        let Some(link) = self.members.get_mut(&peer) else {
            return self.classic_beat(conn);
        };
        let step = link.detector.poll(self.turn.now.instant, jitter(&mut self.turn.rng));
        if step.beat.is_some() {
            // The beats of many leave together.
            let slot = limits::BEAT_SLOT.as_nanos();
            let after = (link.detector.next_beat() - self.begun).as_nanos();
            let late = Duration::from_nanos(u64::try_from(slot - after % slot).unwrap_or(0));
            link.detector.beat_at(link.detector.next_beat() + late);
        }
        self.turn.timers.set(Timer::Beat(conn), link.detector.deadline());
        if std::mem::take(&mut link.roster_wanted) {
            for frame in self.whole(Frame::RosterWhole) {
                self.turn.send_bytes(conn, frame);
            }
        }
        let Some(link) = self.members.get_mut(&peer) else { return };
        if link.reachability == ReachabilityAsked::Now {
            link.reachability = ReachabilityAsked::Before;
            self.send_reachability(conn);
        }
        let Some(link) = self.members.get_mut(&peer) else { return };
        if let Some(number) = step.beat {
            let micros = |rtt: Duration| u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX);
            let beat = Beat { number, rtt: link.detector.rtt().map(micros) };
            self.turn.send(conn, &Frame::Beat(beat));
        }
        match step.changed {
            Some(Liveness::Dead) => {
                self.turn.goodbye(conn, CloseReason::HeartbeatTimeout, "");
                self.remove(peer, CloseReason::HeartbeatTimeout);
            }
            Some(state) => {
                self.turn.events(self.group.heartbeat_of(&peer, state, &link.detector));
            }
            None => {}
        }
    }

    /// Lets go of what has had its time: wrong passwords, bans for them, and keys that were not here for long.
    fn tidy_admission(&mut self) {
        self.tell_invites();
        let is_tidied = self.admission.tidy(self.turn.now);
        if self.forget_unseen() || is_tidied {
            self.save(Vec::new());
            self.tell_admission_soon();
        }
    }

    /// Forgets keys that have not been here for as long as the host wants to know them. True when there were any.
    fn forget_unseen(&mut self) -> bool {
        for peer in self.members.keys() {
            self.admission.seen(peer, self.turn.now.wall);
        }
        let is_present = |peer: &PeerId| self.members.contains_key(peer) || self.group.roster.will_have(peer);
        self.admission.forget_unseen(self.key_age, &is_present, self.turn.now.wall)
    }

    /// The same as [`Self::tell_admission`], and not more often than once a second, however much strangers do.
    pub(super) fn tell_admission_soon(&mut self) {
        let since = |at: Instant| self.turn.now.instant.saturating_duration_since(at);
        match self.penalties.notified.map(since).filter(|since| *since < limits::ADMISSION_EVERY) {
            Some(since) => self.turn.set(Timer::TellAdmission, limits::ADMISSION_EVERY.saturating_sub(since)),
            None => self.tell_admission(),
        }
    }

    fn tell_admission(&mut self) {
        self.turn.timers.cancel(Timer::TellAdmission);
        self.penalties.notified = Some(self.turn.now.instant);
        let (bans, attempts) = (self.admission.bans().to_vec(), self.admission.attempts());
        self.turn.event(NodeEvent::Admission { bans, attempts, penalties: self.penalties.known.clone() });
    }

    /// Notifies the front end from time to time which addresses are held back, however fast they change. False when it is
    /// too early for that.
    pub(super) fn penalties_changed(&mut self, penalties: Vec<Penalty>) -> bool {
        let now = self.turn.now.instant;
        let is_recent = |at: Instant| now.saturating_duration_since(at) < limits::ADMISSION_EVERY;
        if penalties == self.penalties.known {
            return true;
        }
        if self.penalties.notified.is_some_and(is_recent) {
            return false;
        }
        self.penalties.known = penalties;
        self.tell_admission();
        true
    }

    /// Those around are told of the network; the router is asked for its ports.
    pub(super) fn announces_and_maps(&self) -> (bool, bool) {
        (self.announce, self.mapping.is_wanted())
    }

    /// Where joiners connect to.
    pub(super) fn join_addr(&self) -> SocketAddr {
        self.listening.join_addr
    }

    /// Does what the person here asks for.
    pub(super) fn command(
        &mut self,
        limiter: &mut Limiter,
        command: NodeCommand,
    ) -> Result<(), CommandError> {
        command::run(self, limiter, command)
    }
}

/// A percentage for the next heartbeat.
fn jitter(rng: &mut ChaCha20Rng) -> i32 {
    let span = 2 * limits::BEAT_JITTER_PERCENT + 1;
    let draw = i32::try_from(rng.next_u32() % span).unwrap_or(0);
    draw - i32::try_from(limits::BEAT_JITTER_PERCENT).unwrap_or(0)
}

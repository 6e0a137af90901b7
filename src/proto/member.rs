//! A member: asks to be admitted, keeps the link to its host, and comes back by itself when it was lost.
//!
//! It must never show its password to anybody, say more to a host whose key is not the pinned one, or take on a
//! roster that the host has not signed.

mod away;
mod classic;
mod deputy;
mod handover;
mod inviting;
mod joining;
mod presence;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    ConnId, Connected, HostConfig, MemberConfig, Output,
    backoff::Backoff,
    detector::Detector,
    group::Group,
    reachability,
    role::Ask,
    roster::{Assembly, Changes, Roster},
    turn::Turn,
};
use rand_chacha::ChaCha20Rng;

use self::{classic::ClassicHost, deputy::Deputy};
use crate::{
    api::{LinkState, NodeEvent},
    model::{
        Ban, CloseReason, Closed, DeputyStatement, ErrorKind, KnownHost, Liveness, Moment, NetworkId, Notes,
        Pass, Password, PeerId, Reached, SafeText, Status, Timestamp, Wire, limits,
    },
    security::JoinProof,
    wire::{Authenticated, BannedStatus, Frame, HandoverStatement, ReachabilityPart, RosterDelta, Tried},
};

/// When the member is wanted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The admission on this link has taken too long.
    Admission(ConnId),
    /// Look at the heartbeat of this link.
    Beat(ConnId),
    /// Report who was reached and who was not.
    Reachability,
    /// A handover takes too long.
    Handover,
    /// Stop going on without the host: the grace time is over.
    Grace,
    /// The host takes long to say anything.
    Slow,
    /// Ask for admission again.
    Rejoin,
    /// Give up on the host.
    HostLost,
}

/// A link over which admission is asked for.
#[derive(Debug)]
pub(super) struct Joining {
    pub(super) conn: ConnId,
    pub(super) host: PeerId,
    pub(super) step: Step,
    /// Attempts left, as the host said.
    pub(super) left: u32,
    /// The host knows this key.
    pub(super) known: bool,
    pub(super) connected: Connected,
}

#[derive(Debug)]
pub(super) enum Step {
    /// Waiting for the word of the host before, by which a deputy hosts.
    Word,
    /// Waiting for the host's first word.
    Status,
    /// Waiting for the challenge.
    Challenge(Box<JoinProof>),
    /// Working out the answer.
    Working,
    /// Waiting for the host's decision.
    Decision,
    /// Taking in the roster.
    Roster(Box<Assembly>),
    /// Waiting for what the history knows of this network; what the host says meanwhile comes after it.
    Recalling(Box<(Roster, Authenticated)>, Vec<Frame>),
    /// The host is a classic one.
    Classic(classic::Step),
}

/// The join link of an admitted member.
#[derive(Debug)]
pub(super) struct HostLink {
    pub(super) conn: ConnId,
    pub(super) detector: Detector,
    /// It has told what it tells everybody who comes in.
    has_told: bool,
    /// A whole roster that was asked for.
    assembly: Option<Assembly>,
    asked: bool,
}

/// Where the host is, and who.
#[derive(Debug)]
struct HostPlace {
    /// As typed, or as an earlier host has signed it.
    target: String,
    is_handed_over: bool,
    /// An invite has told where it is: what answers there is remembered.
    is_invited: bool,
    /// The network that it hosted when it was joined last, and the version of its roster then.
    before: Option<(NetworkId, u64)>,
    /// Where it is, when that was signed or stands in an invite; else the target tells.
    addrs: Vec<SocketAddr>,
    key: Option<PeerId>,
    /// Another host of the network, as this profile knows it, and where.
    moved: Option<(PeerId, String)>,
    /// What is kept of the network.
    known: Option<KnownHost>,
}

/// Whether messages may go in clear in this network.
#[derive(Debug)]
struct Consent {
    /// The network was joined before: whether messages could go to classic peers then.
    was_classic: Option<bool>,
    /// The person here was asked.
    was_asked: bool,
}

/// This member's part in a handover.
#[derive(Debug, Default)]
struct Succession {
    /// What was given to this member to become the host.
    pending: Option<handover::PendingHandover>,
    /// Whom this member tries to reach for the host.
    probing: Option<PeerId>,
    /// How to host from now on.
    elected: Option<Box<HostConfig>>,
    /// The statement by which this peer handed its network over.
    moved: Option<HandoverStatement>,
    /// The word by which it had opened it, as a deputy.
    opened_by: Option<DeputyStatement>,
    /// Whom it has banned, which the next host is told.
    bans: Vec<Ban>,
    /// Counts the packages of a host that were given to the store.
    packages: u64,
}

/// What the person here wants, should this member become the host.
#[derive(Debug)]
struct AsHost {
    /// Those around are told of the network.
    announce: bool,
    /// The router is asked for its ports.
    map_port: bool,
}

/// Coming back to a host that is away.
#[derive(Debug, Default)]
struct Rejoining {
    rejoin_for: Duration,
    /// Until when the members go on without it.
    alone_until: Option<Timestamp>,
    /// When the first admission was asked for first.
    began: Option<Instant>,
    backoff: Backoff,
    last_failure: Option<Closed>,
}

/// What this member and its host tell each other of who reaches whom.
#[derive(Debug, Default)]
struct Reports {
    /// Who has reached whom, as it comes in.
    reached: Vec<Reached>,
    /// Results of dialling that the host was not told yet.
    tried: BTreeMap<PeerId, Option<CloseReason>>,
}

/// Why the session is over.
#[derive(Debug, Default)]
struct End {
    verdict: Option<Closed>,
    /// The front end was told.
    is_notified: bool,
}

/// A member of somebody else's network, or somebody who wants to be one.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) turn: Turn<Timer, Ask>,
    pub(super) group: Group,
    host: HostPlace,
    /// The host is a classic one.
    classic: Option<ClassicHost>,
    consent: Consent,
    password: Option<Password>,
    /// The pass of an invite, for the host with the pinned key.
    pass: Option<Pass>,
    /// Invites that the host was asked for and has not made yet: it makes nobody look at others.
    invites_asked: u32,
    /// What the host has told.
    notes: Option<Notes>,
    as_host: AsHost,
    joining: Option<Joining>,
    dialling: bool,
    link: Option<HostLink>,
    joined_before: bool,
    /// What this member says of itself.
    status: Option<Status>,
    /// The network whose history was taken up.
    recalled: Option<NetworkId>,
    succession: Succession,
    /// Who may open the network again.
    deputy: Deputy,
    rejoining: Rejoining,
    reports: Reports,
    end: End,
}

impl Member {
    pub(super) fn new(config: MemberConfig, group: Group, now: Moment, rng: &mut ChaCha20Rng) -> Self {
        let MemberConfig { target, pin: key, addrs, .. } = config;
        Self {
            turn: Turn::new(now, rng),
            group,
            host: HostPlace {
                target,
                is_handed_over: false,
                before: config.known,
                is_invited: !addrs.is_empty(),
                addrs,
                key,
                moved: config.moved,
                known: None,
            },
            classic: (config.wire == Wire::Classic).then(ClassicHost::default),
            consent: Consent { was_classic: config.was_classic, was_asked: false },
            password: config.password,
            pass: config.pass,
            invites_asked: 0,
            notes: None,
            as_host: AsHost { announce: config.announce, map_port: config.map_port },
            joining: None,
            dialling: false,
            link: None,
            joined_before: false,
            status: None,
            recalled: None,
            succession: Succession::default(),
            deputy: Deputy::new(config.deputy, config.deputyship),
            rejoining: Rejoining { rejoin_for: config.rejoin_for, ..Rejoining::default() },
            reports: Reports::default(),
            end: End::default(),
        }
    }

    pub(super) fn start(&mut self) {
        self.join();
    }

    /// Why the session is over; nothing while it goes on.
    pub(super) fn take_final(&mut self) -> Option<Closed> {
        let closed = self.end.verdict.take()?;
        if !self.end.is_notified {
            self.turn.event(NodeEvent::error(ErrorKind::Connection, &closed));
        }
        Some(closed)
    }

    pub(super) fn tell_link(&mut self, state: LinkState, message: &str, retry_in: Option<Duration>) {
        if self.link.is_none() {
            let message = SafeText::line(message);
            self.turn.event(NodeEvent::Link {
                state,
                message,
                retry_in,
                alone_until: self.rejoining.alone_until,
            });
        }
    }

    pub(super) fn join(&mut self) {
        if self.dialling || self.joining.is_some() {
            return;
        }
        self.dialling = true;
        self.turn.timers.cancel(Timer::Rejoin);
        self.turn.set(Timer::Slow, limits::HOST_SLOW);
        let (target, addrs) = self.next_place();
        self.tell_link(LinkState::Connecting, &format!("connecting to {target}"), None);
        self.turn.ask(Output::Join(target, addrs));
    }

    fn host_frame(&mut self, frame: Frame) {
        let (Some(link), Some(host)) = (&mut self.link, self.host.key) else { return };
        let conn = link.conn;
        if link.detector.heard(self.turn.now.instant) {
            self.turn.timers.cancel(Timer::Rejoin);
            self.turn.events(self.group.heartbeat(&host, Liveness::Alive, link.detector.rtt(), 0));
        }
        match frame {
            Frame::Beat(beat) => {
                self.turn.send(conn, &Frame::BeatReply(beat.number));
                if let Some(rtt) = beat.rtt {
                    link.detector.measured(Duration::from_micros(rtt.into()));
                }
                self.turn.events(self.group.heartbeat(&host, Liveness::Alive, link.detector.rtt(), 0));
            }
            Frame::Call(peer) => self.turn.ask(Ask::Reach(peer)),
            Frame::TryPeers(peers) => {
                for peer in peers.into_iter().take(limits::TRIED_AT_ONCE) {
                    self.turn.ask(Ask::Reach(peer));
                }
            }
            Frame::Unreachable(pairs) => {
                self.group.reachability.replace(pairs.0);
                self.turn.event(NodeEvent::NoWays { ways: self.group.reachability.unreachable() });
                self.turn.ask(Ask::PathsChanged);
            }
            Frame::ReachabilityPart(part) => self.reachability_part(&part),
            Frame::RosterDelta(delta) => self.delta(&delta),
            Frame::Notes(notes) => self.notes(&notes),
            Frame::InviteMade(made) => self.invite_made(made),
            Frame::InviteNotMade(refusal) => self.invite_not_made(&refusal),
            Frame::PresenceRefused(refusal) => self.presence_refused(&refusal),
            Frame::Held(held) if held.len() <= limits::HELD => {
                self.turn.ask(Ask::WantOf(host, held.0));
            }
            Frame::RosterWhole(header) => {
                link.assembly = Assembly::new(*header).ok();
            }
            Frame::RosterPage(page) => {
                let Some(assembly) = &mut link.assembly else { return };
                match assembly.page(page, &host) {
                    Ok(None) => {}
                    Ok(Some(roster)) => {
                        link.assembly = None;
                        link.asked = false;
                        let changes = self.group.roster.replace(roster);
                        self.roster_changed(changes);
                        self.turn.send(conn, &Frame::RosterApplied(self.group.roster.version()));
                    }
                    Err(error) => {
                        self.misled(conn, &format!("a roster that cannot be taken on ({error})"));
                    }
                }
            }
            Frame::BannedStatus(BannedStatus::Banned { reason }) => self.banned(&reason),
            Frame::HandoverOffer(port) => self.offered(port),
            Frame::HandoverProbe(probe) => self.probe(probe),
            Frame::HandoverPart(part) => self.package(part),
            Frame::HandoverRefused(_) => self.called_off(),
            Frame::Handover(statement) => self.handed_over(&host, statement),
            Frame::Deputy(statement) => self.deputy_named(statement.map(|statement| *statement)),
            Frame::DeputyPart(part) => self.deputy_part(part),
            Frame::Goodbye(refusal) => self.goodbye(&refusal),
            _ => {
                self.misled(conn, "a frame that has no place there");
            }
        }
    }

    /// Leaves a host that does not keep to the protocol, and tells it so.
    fn misled(&mut self, conn: ConnId, by: &str) {
        if let Some(host) = self.host.key {
            self.turn.events(self.group.blame(&host, by));
        }
        self.turn.goodbye(conn, CloseReason::ProtocolError, by);
        self.lost(&CloseReason::ProtocolError.into());
    }

    fn delta(&mut self, delta: &RosterDelta) {
        let (Some(link), Some(host)) = (&mut self.link, self.host.key) else { return };
        let Some(network) = self.group.network.as_ref().map(|network| network.id) else { return };
        if link.asked || delta.to <= self.group.roster.version() {
            return;
        }
        match self.group.roster.apply(delta, &host, &network) {
            Ok(changes) => {
                let (conn, has_removed) = (link.conn, !changes.removed.is_empty());
                self.roster_changed(changes);
                if has_removed {
                    self.turn.send(conn, &Frame::RosterApplied(delta.to));
                }
            }
            Err(_) => {
                link.asked = true;
                self.turn.send(link.conn, &Frame::RosterRequest);
            }
        }
    }

    /// This node has tried to reach a peer.
    pub(super) fn has_tried(&mut self, tried: Tried) {
        let me = self.group.me();
        self.group.reachability.note(me, tried);
        self.reports.tried.insert(tried.peer, tried.why_not);
        if !self.turn.timers.is_set(Timer::Reachability) {
            self.turn.set(Timer::Reachability, limits::REACHABILITY_TICK);
        }
    }

    /// Tells the host what was found out.
    fn tell_tried(&mut self) {
        // Without a host it is told all when it is back.
        let report: Vec<Tried> = std::mem::take(&mut self.reports.tried)
            .into_iter()
            .map(|(peer, why_not)| Tried { peer, why_not })
            .collect();
        if let Some(link) = self.link.as_ref().filter(|_| self.classic.is_none() && !report.is_empty()) {
            self.turn.send(link.conn, &Frame::Tried(report.into()));
        }
    }

    /// Who has reached whom, as far as the host knows; nothing when the roster has changed meanwhile.
    fn reachability_part(&mut self, part: &ReachabilityPart) {
        if part.version != self.group.roster.version() {
            self.reports.reached.clear();
            return;
        }
        let members: Vec<PeerId> = self.group.roster.entries().map(|entry| entry.peer_id).collect();
        self.reports.reached.extend(reachability::read(&part.rows, &members));
        self.reports.reached.truncate(limits::MEMBERS_MAX);
        if part.is_last {
            self.turn.event(NodeEvent::Ways { rows: std::mem::take(&mut self.reports.reached) });
        }
    }

    pub(super) fn ask_reachability(&mut self) {
        if let Some(link) = self.link.as_ref().filter(|_| self.classic.is_none()) {
            self.turn.send(link.conn, &Frame::ReachabilityRequest);
        }
    }

    fn roster_changed(&mut self, changes: Changes) {
        self.relabelled(&changes);
        let events = self.group.learn(&changes, true);
        self.turn.events(events);
        self.turn.ask(Ask::RosterChanged(changes));
    }

    /// The host, when this is the link to it.
    pub(super) fn peer_of(&self, conn: ConnId) -> Option<PeerId> {
        self.host.key.filter(|_| self.link.as_ref().is_some_and(|link| link.conn == conn))
    }

    pub(super) fn closed(&mut self, conn: ConnId, closed: &Closed) {
        let is_distribution = self.distribution_closed(conn);
        if is_distribution && self.link.is_none() {
            self.give_up_asking();
            if !self.joined_before {
                return self.finish(self.hung_up());
            }
            self.retry(closed.clone());
        } else if is_distribution || self.link.as_ref().is_some_and(|link| link.conn == conn) {
            self.lost(closed);
        } else if self.joining.as_ref().is_some_and(|joining| joining.conn == conn) {
            self.turn.timers.cancel(Timer::Admission(conn));
            let joining = self.joining.take();
            if let (Wire::Classic, false) = (self.wire(), self.joined_before) {
                return self.finish(self.hung_up());
            }
            if let Some(closed) = joining.and_then(|joining| self.cost_an_attempt(&joining)) {
                return self.finish(closed);
            }
            self.retry(closed.clone());
        }
    }

    /// Why nobody tries again by itself after this admission came to nothing: it may have cost an attempt, and so could
    /// another one.
    fn cost_an_attempt(&self, joining: &Joining) -> Option<Closed> {
        let was_proving = matches!(joining.step, Step::Working | Step::Decision) && joining.left > 0;
        let message = format!(
            "the connection to {} was lost while the password was being proven, which may count as a wrong attempt; \
             try again when the network is steady",
            self.host.target
        );
        (was_proving && !self.joined_before).then(|| Closed::new(CloseReason::Unreachable, message))
    }

    pub(super) fn timer(&mut self, timer: Timer) {
        match timer {
            Timer::Admission(conn) => {
                let joining = self.joining.take();
                self.turn.close(conn, CloseReason::TimedOut);
                if let Some(closed) = joining.and_then(|joining| self.cost_an_attempt(&joining)) {
                    return self.finish(closed);
                }
                let message = format!("{} has not admitted you in time", self.host.target);
                self.retry(Closed::new(CloseReason::TimedOut, message));
            }
            Timer::Beat(conn) => self.beat(conn),
            Timer::Slow => {
                let message = format!("{} is slow; still waiting for its answer", self.host.target);
                self.tell_link(LinkState::Connecting, &message, None);
            }
            Timer::Rejoin => self.join(),
            Timer::Reachability => self.tell_tried(),
            Timer::Grace => self.part(),
            Timer::Handover => self.handover_in_doubt(),
            Timer::HostLost => {
                let why =
                    self.rejoining.last_failure.take().map(|closed| closed.to_string()).unwrap_or_default();
                let seconds = self.rejoining.rejoin_for.as_secs();
                let time =
                    if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds / 60) };
                let message = format!("the host was lost ({why}) and has not come back for {time}");
                self.finish(Closed::new(CloseReason::HostLost, message));
            }
        }
    }

    fn beat(&mut self, conn: ConnId) {
        let (Some(link), Some(host)) = (&mut self.link, self.host.key) else { return };
        if link.conn != conn {
            return;
        }
        // The host beats. Here the clock is only looked at, as often as that: a look that comes late tells that this
        // process was stopped, and that the host was not silent.
        let step = link.detector.poll(self.turn.now.instant, 0);
        self.turn.timers.set(Timer::Beat(conn), link.detector.deadline());
        let (rtt, missed) = (link.detector.rtt(), link.detector.missed_by(self.turn.now.instant));
        match step.changed {
            Some(Liveness::Dead) => self.lost(&CloseReason::HeartbeatTimeout.into()),
            Some(Liveness::Suspect) => {
                self.turn.events(self.group.heartbeat(&host, Liveness::Suspect, rtt, missed));
                // Another link may get through where this one is stuck.
                if !self.rejoining.rejoin_for.is_zero() {
                    self.turn.timers.set(Timer::Rejoin, self.turn.now.instant);
                }
            }
            Some(Liveness::Alive) => {
                self.turn.events(self.group.heartbeat(&host, Liveness::Alive, rtt, missed));
            }
            None => {}
        }
    }
}

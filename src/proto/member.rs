//! A member: asks to be admitted, keeps the link to its host, and comes back by itself when it was lost.
//!
//! It must never show its password to anybody, say more to a host whose key is not the pinned one, or take on a
//! roster that the host has not signed.

mod handover;
mod joining;

use std::{net::SocketAddr, time::Duration};

use super::{
    ConnId, Connected, HostConfig, MemberConfig, Output,
    backoff::Backoff,
    classic::{ClassicHost, MemberStep},
    core::{Core, Timer},
    detector::Detector,
    mesh::Mesh,
    reachability,
    roster::{Assembly, Changes, Roster},
};
use crate::{
    api::{LinkState, NodeEvent},
    model::{
        CloseReason, Closed, ErrorKind, KnownHost, Liveness, NetworkId, Password, PeerId, Reached, SafeText,
        StatusError, Timestamp, Wire, limits,
    },
    security::JoinProof,
    wire::{Authenticated, BannedStatus, Frame, HandoverStatement, ReachabilityPart, Refusal, RosterDelta},
};

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
    Classic(MemberStep),
}

/// The join link of an admitted member.
#[derive(Debug)]
pub(super) struct HostLink {
    pub(super) conn: ConnId,
    pub(super) detector: Detector,
    /// A whole roster that was asked for.
    assembly: Option<Assembly>,
    asked: bool,
}

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Member {
    pub(super) target: String,
    /// The host is a classic one.
    pub(super) classic: Option<ClassicHost>,
    /// The network was joined before: whether messages could go to classic peers then.
    pub(super) was_classic: Option<bool>,
    /// It was asked whether messages may go in clear.
    pub(super) was_asked: bool,
    /// What is kept of the network.
    known: Option<KnownHost>,
    /// Where the host is, when that was signed; else the target tells.
    addrs: Vec<SocketAddr>,
    pub(super) password: Option<Password>,
    pub(super) pin: Option<PeerId>,
    rejoin_for: Duration,
    /// What was given to this member to become the host.
    handover: Option<handover::PendingHandover>,
    /// Whom this member tries to reach for the host.
    probing: Option<PeerId>,
    /// How to host from now on.
    elected: Option<Box<HostConfig>>,
    /// The statement by which this peer handed its network over.
    moved: Option<HandoverStatement>,
    pub(super) joining: Option<Joining>,
    pub(super) dialling: bool,
    pub(super) link: Option<HostLink>,
    joined_before: bool,
    /// While the host is away: until when the members go on without it.
    alone_until: Option<Timestamp>,
    busy: u32,
    backoff: Backoff,
    last_failure: Option<Closed>,
    verdict: Option<Closed>,
    /// The network whose history was taken up.
    recalled: Option<NetworkId>,
    /// Who has reached whom, as it comes in.
    reached: Vec<Reached>,
    /// The front end was notified why the session is over.
    notified: bool,
}

impl Member {
    pub(super) fn new(config: MemberConfig) -> Self {
        Self {
            target: config.target,
            classic: (config.wire == Wire::Classic).then(ClassicHost::default),
            was_classic: config.was_classic,
            was_asked: false,
            known: None,
            addrs: Vec::new(),
            handover: None,
            probing: None,
            elected: None,
            moved: None,
            password: config.password,
            pin: config.pin,
            rejoin_for: config.rejoin_for,
            joining: None,
            dialling: false,
            link: None,
            joined_before: false,
            alone_until: None,
            busy: 0,
            backoff: Backoff::default(),
            last_failure: None,
            verdict: None,
            recalled: None,
            reached: Vec::new(),
            notified: false,
        }
    }

    pub(super) fn start(&mut self, core: &mut Core) {
        self.join(core);
    }

    /// Why the session is over; nothing while it goes on.
    pub(super) fn take_final(&mut self, core: &mut Core) -> Option<Closed> {
        let closed = self.verdict.take()?;
        if !self.notified {
            core.event(NodeEvent::error(ErrorKind::Connection, &closed));
        }
        Some(closed)
    }

    pub(super) fn tell_link(
        &self,
        core: &mut Core,
        state: LinkState,
        message: &str,
        retry_in: Option<Duration>,
    ) {
        if self.link.is_none() {
            let message = SafeText::line(message);
            core.event(NodeEvent::Link { state, message, retry_in, alone_until: self.alone_until });
        }
    }

    fn join(&mut self, core: &mut Core) {
        if self.dialling || self.joining.is_some() {
            return;
        }
        self.dialling = true;
        core.timers.cancel(Timer::Rejoin);
        self.tell_link(core, LinkState::Connecting, &format!("connecting to {}", self.target), None);
        core.outputs.push_back(Output::Join(self.target.clone(), self.addrs.clone()));
    }

    pub(super) fn rejoin_now(&mut self, core: &mut Core) {
        if core.timers.is_set(Timer::Rejoin) {
            self.join(core);
        }
    }

    fn host_frame(&mut self, core: &mut Core, mesh: &mut Mesh, frame: Frame) {
        let (Some(link), Some(host)) = (&mut self.link, self.pin) else { return };
        let conn = link.conn;
        if link.detector.heard(core.now.instant) {
            core.timers.cancel(Timer::Rejoin);
            core.emit_heartbeat(&host, Liveness::Alive, link.detector.rtt(), 0);
        }
        match frame {
            Frame::Beat(beat) => {
                core.send(conn, &Frame::BeatReply(beat.number));
                if let Some(rtt) = beat.rtt {
                    link.detector.measured(Duration::from_micros(rtt.into()));
                }
                core.emit_heartbeat(&host, Liveness::Alive, link.detector.rtt(), 0);
            }
            Frame::Call(peer) => mesh.reach(core, peer),
            Frame::TryPeers(peers) => {
                for peer in peers.into_iter().take(limits::TRIED_AT_ONCE) {
                    mesh.reach(core, peer);
                }
            }
            Frame::Unreachable(pairs) => {
                core.reachability.replace(pairs);
                core.event(NodeEvent::NoWays { ways: core.reachability.unreachable() });
                mesh.paths_changed(core);
            }
            Frame::ReachabilityPart(part) => self.reachability_part(core, &part),
            Frame::RosterDelta(delta) => self.delta(core, mesh, &delta),
            Frame::Held(held) if held.len() <= limits::HELD => mesh.want_of(core, host, held),
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
                        let changes = core.roster.replace(roster);
                        Self::roster_changed(core, mesh, &changes);
                        core.send(conn, &Frame::RosterApplied(core.roster.version()));
                    }
                    Err(error) => {
                        self.misled(core, conn, &format!("a roster that cannot be taken on ({error})"));
                    }
                }
            }
            Frame::BannedStatus(BannedStatus::Banned { reason }) => self.banned(core, &reason),
            Frame::HandoverOffer(port) => self.offered(core, port),
            Frame::HandoverProbe(probe) => self.probe(core, probe),
            Frame::HandoverPart(part) => self.package(core, part),
            Frame::HandoverRefused(_) => self.called_off(core),
            Frame::Handover(statement) => self.handed_over(core, &host, statement),
            Frame::Goodbye(refusal) => self.goodbye(core, &refusal),
            _ => {
                self.misled(core, conn, "a frame that has no place there");
            }
        }
    }

    /// Leaves a host that does not keep to the protocol, and tells it so.
    fn misled(&mut self, core: &mut Core, conn: ConnId, by: &str) {
        if let Some(host) = self.pin {
            core.blame(&host, by);
        }
        core.goodbye(conn, CloseReason::ProtocolError, by);
        self.lost(core, &CloseReason::ProtocolError.into());
    }

    fn delta(&mut self, core: &mut Core, mesh: &mut Mesh, delta: &RosterDelta) {
        let (Some(link), Some(host)) = (&mut self.link, self.pin) else { return };
        let Some(network) = core.network.as_ref().map(|network| network.id) else { return };
        if link.asked || delta.to <= core.roster.version() {
            return;
        }
        match core.roster.apply(delta, &host, &network) {
            Ok(changes) => {
                let conn = link.conn;
                Self::roster_changed(core, mesh, &changes);
                if !changes.removed.is_empty() {
                    core.send(conn, &Frame::RosterApplied(delta.to));
                }
            }
            Err(_) => {
                link.asked = true;
                core.send(link.conn, &Frame::RosterRequest);
            }
        }
    }

    /// Tells the host what was found out.
    fn tell_tried(&self, core: &mut Core) {
        // Without a host it is told all when it is back.
        let report = core.take_report();
        if let Some(link) = self.link.as_ref().filter(|_| self.classic.is_none() && !report.is_empty()) {
            core.send(link.conn, &Frame::Tried(report));
        }
    }

    /// Who has reached whom, as far as the host knows; nothing when the roster has changed meanwhile.
    fn reachability_part(&mut self, core: &mut Core, part: &ReachabilityPart) {
        if part.version != core.roster.version() {
            self.reached.clear();
            return;
        }
        let members: Vec<PeerId> = core.roster.entries().map(|entry| entry.peer_id).collect();
        self.reached.extend(reachability::read(&part.rows, &members));
        self.reached.truncate(limits::MEMBERS_MAX);
        if part.is_last {
            core.event(NodeEvent::Ways { rows: std::mem::take(&mut self.reached) });
        }
    }

    pub(super) fn ask_reachability(&self, core: &mut Core) {
        if let Some(link) = self.link.as_ref().filter(|_| self.classic.is_none()) {
            core.send(link.conn, &Frame::ReachabilityRequest);
        }
    }

    pub(super) fn roster_changed(core: &mut Core, mesh: &mut Mesh, changes: &Changes) {
        core.tell_changes(changes, true);
        mesh.roster_changed(core, changes);
    }

    fn goodbye(&mut self, core: &mut Core, refusal: &Refusal) {
        let detail = SafeText::line(&refusal.detail).to_string();
        match refusal.reason {
            CloseReason::Kicked => {
                let closed = Closed::new(CloseReason::Kicked, StatusError::Kicked(detail).to_string());
                core.event(NodeEvent::error(ErrorKind::Status, &closed));
                self.notified = true;
                self.finish(closed);
            }
            // A new link of ours has taken over: not the end.
            CloseReason::Superseded if self.joining.is_none() => {
                let message = "another pyile with the same key has joined and taken your place";
                self.finish(Closed::new(CloseReason::Superseded, message));
            }
            reason => self.lost(core, &reason.into()),
        }
    }

    /// The host, when this is the link to it.
    pub(super) fn peer_of(&self, conn: ConnId) -> Option<PeerId> {
        self.pin.filter(|_| self.link.as_ref().is_some_and(|link| link.conn == conn))
    }

    /// The link to the host is gone. The member tries to come back for as long as it may.
    fn lost(&mut self, core: &mut Core, closed: &Closed) {
        let Some(link) = self.link.take() else { return };
        core.join_links.clear();
        core.timers.cancel(Timer::Beat(link.conn));
        core.close(link.conn, closed.reason);
        self.close_distribution(core);
        if let Some(host) = self.pin {
            let missed = link.detector.missed_by(core.now.instant);
            core.emit_heartbeat(&host, Liveness::Dead, link.detector.rtt(), missed);
            core.tell_gone(&host, closed.reason);
        }
        core.event(NodeEvent::error(ErrorKind::Connection, &format!("the host is lost: {closed}")));
        self.handover_in_doubt(core);
        self.last_failure = Some(closed.clone());
        if self.rejoin_for.is_zero() {
            let message = format!("the host was lost ({closed}) and rejoining is switched off");
            return self.finish(Closed::new(CloseReason::HostLost, message));
        }
        self.wait_for_host(core);
        if self.joining.is_none() && !self.dialling {
            let wait = self.backoff.next(&mut core.rng);
            core.timers.set(Timer::Rejoin, core.now.instant + wait);
            self.tell_link(core, LinkState::Waiting, &format!("{closed}; trying again"), Some(wait));
        }
    }

    /// The members go on under the last roster for a while.
    fn wait_for_host(&mut self, core: &mut Core) {
        core.away_since(core.now.wall);
        core.timers.set(Timer::HostLost, core.now.instant + self.rejoin_for);
        let grace = Duration::from_secs(core.policy.grace.into());
        core.timers.set(Timer::Grace, core.now.instant + grace);
        self.alone_until = Some(core.now.wall.plus(grace)).filter(|_| !grace.is_zero());
    }

    pub(super) fn closed(&mut self, core: &mut Core, conn: ConnId, closed: &Closed) {
        let is_distribution = self.distribution_closed(conn);
        if is_distribution && self.link.is_none() {
            self.give_up_asking(core);
            if !self.joined_before {
                return self.finish(self.hung_up());
            }
            self.retry(core, closed.clone());
        } else if is_distribution || self.link.as_ref().is_some_and(|link| link.conn == conn) {
            self.lost(core, closed);
        } else if self.joining.as_ref().is_some_and(|joining| joining.conn == conn) {
            core.timers.cancel(Timer::Admission(conn));
            let joining = self.joining.take();
            if let (Wire::Classic, false) = (self.wire(), self.joined_before) {
                return self.finish(self.hung_up());
            }
            let was_proving = joining.is_some_and(|joining| {
                matches!(joining.step, Step::Working | Step::Decision) && joining.left > 0
            });
            if was_proving && !self.joined_before {
                // Another try by itself could cost another attempt.
                let message = format!(
                    "the connection to {} was lost while the password was being proven, which may count as a \
                     wrong attempt; try again when the network is steady",
                    self.target
                );
                return self.finish(Closed::new(CloseReason::Unreachable, message));
            }
            self.retry(core, closed.clone());
        }
    }

    pub(super) fn timer(&mut self, core: &mut Core, mesh: &mut Mesh, timer: Timer) {
        match timer {
            Timer::Admission(conn) => {
                self.joining = None;
                core.close(conn, CloseReason::TimedOut);
                let limit = limits::ADMISSION_TIMEOUT.as_secs();
                let message = format!("{} has not admitted you within {limit} s", self.target);
                self.retry(core, Closed::new(CloseReason::TimedOut, message));
            }
            Timer::Beat(conn) => self.beat(core, conn),
            Timer::Rejoin => self.join(core),
            Timer::Reachability => self.tell_tried(core),
            Timer::Grace => self.part(core, mesh),
            Timer::Handover => self.handover_in_doubt(core),
            Timer::HostLost => {
                let why = self.last_failure.take().map(|closed| closed.to_string()).unwrap_or_default();
                let seconds = self.rejoin_for.as_secs();
                let time =
                    if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds / 60) };
                let message = format!("the host was lost ({why}) and has not come back for {time}");
                self.finish(Closed::new(CloseReason::HostLost, message));
            }
            _ => {}
        }
    }

    /// The host has been away for too long: without it nobody knows who is a member.
    fn part(&mut self, core: &mut Core, mesh: &mut Mesh) {
        self.alone_until = None;
        core.is_out = true;
        let alone = core.roster.alone(&core.me());
        let changes = core.roster.replace(alone);
        core.tell_changes(&changes, true);
        mesh.roster_changed(core, &changes);
        let message = match core.policy.grace {
            0 => "without the host nobody is a member here: you are out until it is back".to_owned(),
            _ => "the host has been away for too long: you are out until it is back".to_owned(),
        };
        core.event(NodeEvent::error(ErrorKind::Connection, &message));
    }

    /// This machine slept: the host has long removed this member.
    pub(super) fn suspended(&mut self, core: &mut Core, time: Duration) {
        core.away_since(Timestamp(
            core.now.wall.0.saturating_sub(i64::try_from(time.as_micros()).unwrap_or(0)),
        ));
        if self.link.is_some() && time >= limits::DEAD_AFTER && !self.rejoin_for.is_zero() {
            self.backoff.reset();
            core.timers.set(Timer::Rejoin, core.now.instant);
        }
    }

    fn beat(&mut self, core: &mut Core, conn: ConnId) {
        let (Some(link), Some(host)) = (&mut self.link, self.pin) else { return };
        if link.conn != conn {
            return;
        }
        // The host beats. Here the clock is only looked at, as often as that: a look that comes late tells that this
        // process was stopped, and that the host was not silent.
        let step = link.detector.poll(core.now.instant, 0);
        core.timers.set(Timer::Beat(conn), link.detector.deadline());
        let (rtt, missed) = (link.detector.rtt(), link.detector.missed_by(core.now.instant));
        match step.changed {
            Some(Liveness::Dead) => self.lost(core, &CloseReason::HeartbeatTimeout.into()),
            Some(Liveness::Suspect) => {
                core.emit_heartbeat(&host, Liveness::Suspect, rtt, missed);
                // Another link may get through where this one is stuck.
                if !self.rejoin_for.is_zero() {
                    core.timers.set(Timer::Rejoin, core.now.instant);
                }
            }
            Some(Liveness::Alive) => core.emit_heartbeat(&host, Liveness::Alive, rtt, missed),
            None => {}
        }
    }
}

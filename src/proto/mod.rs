//! The protocol without I/O: everything that decides, for host and member alike.
//!
//! A [`Node`] is told what happened ([`Input`]) and what time it is, and says what is to be done ([`Output`]). It
//! must never open a socket, read a clock, draw randomness that it was not seeded with, or wait: all of it can
//! therefore be tested by plain calls and simulated by the thousand.
//!
//! `poll_timeout` says when `handle_timeout` is wanted next; calling it earlier is harmless.

pub mod admission;
pub mod backoff;
pub mod detector;
pub mod inbox;
pub mod limiter;
pub mod log;
pub mod rate;
pub mod roster;
pub mod window;

mod classic;
mod core;
mod host;
mod io;
mod member;
mod mesh;
mod reachability;
mod timers;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

pub use self::io::{ConnId, Connected, Input, LinkKind, Output, RelayedId};
use self::{
    core::{Core, Timer},
    host::Host,
    member::Member,
    mesh::Mesh,
};
use crate::{
    api::{HistoryEvent, NodeCommand, NodeEvent, StoreEvent, Target},
    model::{
        Admitted, Alias, Ban, CloseReason, Closed, CommandError, Departed, ErrorKind, KeptAttempts,
        MessageId, Moment, Network, Password, Peer, PeerId, Policy, Recalled, RosterEntry, SafeText,
        SendError, Wire, limits,
    },
    security::{HostRecord, Identity, PasswordCost},
    wire::{Frame, classic::Object},
};

/// What a node is.
#[derive(Debug)]
pub struct NodeConfig {
    /// Its label.
    pub alias: Alias,
    /// Its key.
    pub identity: Arc<Identity>,
    /// Seeds its randomness.
    pub seed: [u8; 32],
    /// How costly a guess at the password is.
    pub cost: PasswordCost,
    /// How many descriptors the process may have open.
    pub descriptors: usize,
    /// Whether messages may go to classic peers, in clear, when somebody has said so.
    pub cleartext: Option<bool>,
    /// Host or member.
    pub role: RoleConfig,
}

/// What a node does.
#[derive(Debug)]
pub enum RoleConfig {
    /// Opens a network.
    Host(Box<HostConfig>),
    /// Joins one.
    Member(Box<MemberConfig>),
}

/// How to host.
#[derive(Debug)]
pub struct HostConfig {
    /// The network.
    pub network: Network,
    /// What the host sets for all.
    pub policy: Policy,
    /// The password's record.
    pub record: HostRecord,
    /// Wrong passwords from one address before it is banned, at least 1.
    pub attempts: u32,
    /// Members at most, the host included; at most [`limits::MEMBERS_MAX`].
    pub members: usize,
    /// Whom to refuse.
    pub bans: Vec<Ban>,
    /// Wrong passwords that were counted before.
    pub kept_attempts: Vec<KeptAttempts>,
    /// Members that are expected back: they stay in the roster for a while.
    pub expected: Vec<RosterEntry>,
    /// Members of the past, and how far their words count.
    pub departed: Vec<Departed>,
    /// The last version of the roster.
    pub version: u64,
    /// What the history knows of the network.
    pub recalled: Recalled,
    /// Who needs no password.
    pub admitted: Vec<Admitted>,
    /// The join address.
    pub join_addr: SocketAddr,
    /// The port on which classic members are given the roster, where they are let in.
    pub distribution: Option<u16>,
    /// Where this peer's own listener may be reached, best first; at least one.
    pub peer_addrs: Vec<SocketAddr>,
}

/// How to join.
#[derive(Debug)]
pub struct MemberConfig {
    /// The host as typed, `host:port`.
    pub target: String,
    /// The network's password; not needed by a key that was admitted before.
    pub password: Option<Password>,
    /// The host's key, when it was met before.
    pub pin: Option<PeerId>,
    /// How long to try to come back to a lost host; zero = not at all.
    pub rejoin_for: Duration,
    /// How the host speaks.
    pub wire: Wire,
    /// The network was joined before: whether it let classic peers in then.
    pub was_classic: Option<bool>,
}

/// A host or a member.
pub struct Node {
    core: Core,
    mesh: Mesh,
    role: RoleState,
    leaving: bool,
    finished: bool,
}

enum RoleState {
    Host(Box<Host>),
    Member(Box<Member>),
}

impl Node {
    /// A node that is about to begin: its first outputs are waiting.
    #[must_use]
    pub fn new(config: NodeConfig, now: Moment) -> Self {
        let mut core = Core::new(&config, now);
        let mut mesh = Mesh::new(now);
        let role = match config.role {
            RoleConfig::Host(mut config) => {
                let recalled = std::mem::replace(&mut config.recalled, Recalled::nothing());
                let mut host = Host::new(*config, now);
                host.start(&mut core, &mut mesh, recalled);
                RoleState::Host(Box::new(host))
            }
            RoleConfig::Member(config) => {
                let mut member = Member::new(*config);
                member.start(&mut core);
                RoleState::Member(Box::new(member))
            }
        };
        Self { core, mesh, role, leaving: false, finished: false }
    }

    /// Takes in what happened. Never fails: what makes no sense is answered or ignored.
    pub fn handle(&mut self, now: Moment, input: Input) {
        self.core.now = now;
        if self.finished {
            return;
        }
        match input {
            Input::Command(command) => self.commanded(command),
            Input::Incoming(conn, ip) => self.core.incoming(conn, ip),
            Input::Spoke(conn) => self.core.spoke(conn),
            Input::Connected(conn, connected) => self.connected(conn, connected),
            Input::JoinFailed(closed) => {
                if let RoleState::Member(member) = &mut self.role {
                    member.join_failed(&mut self.core, closed);
                }
            }
            Input::DialFailed(peer, closed) => self.mesh.dial_failed(&mut self.core, peer, &closed),
            Input::Frame(conn, frame) => self.frame(conn, frame),
            Input::Object(conn, object) => self.object(conn, object),
            Input::ClassicSent(peer, result) => {
                if let Some(label) = result.as_ref().ok().and_then(Option::as_deref).and_then(Alias::claimed)
                {
                    self.bind_alias(peer, &label);
                }
                let is_answered = result.map(|label| label.is_some());
                self.mesh.classic_sent(&mut self.core, peer, is_answered);
            }
            Input::Closed(conn, closed) => self.closed(conn, &closed),
            Input::RelayedBytes(relayed, bytes) => {
                self.mesh.relayed_bytes(&mut self.core, relayed, &bytes);
            }
            Input::RelayedTaken(relayed, frames) => {
                self.mesh.relayed_taken(&mut self.core, relayed, frames);
            }
            Input::RelayedEnded(relayed) => self.mesh.relayed_ended(&mut self.core, relayed),
            Input::Proven(conn, answer) => match &mut self.role {
                RoleState::Member(member) => member.proven(&mut self.core, conn, answer),
                RoleState::Host(host) => {
                    host.password_checked(&mut self.core, conn, answer.as_deref());
                }
            },
            Input::Registered(record) => {
                if let RoleState::Host(host) = &mut self.role {
                    host.registered(&mut self.core, *record);
                }
            }
            Input::Store(event) => self.stored(event),
            Input::JoinOpened(opened) => {
                if let RoleState::Member(member) = &mut self.role {
                    member.join_opened(&mut self.core, opened);
                }
            }
            Input::Probed(result) => {
                let why_not = result.err().map(|closed| closed.to_string());
                match &mut self.role {
                    RoleState::Member(member) => member.probed(&mut self.core, why_not),
                    RoleState::Host(host) => {
                        let me = self.core.me();
                        host.handover_probed(&mut self.core, me, None, why_not.as_deref());
                    }
                }
            }
            Input::Suspended(time) => {
                self.core.event(NodeEvent::Suspended { time });
                if let RoleState::Member(member) = &mut self.role {
                    member.suspended(&mut self.core, time);
                }
            }
        }
        self.settle();
    }

    /// What is to be done next; nothing when there is nothing.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.core.outputs.pop_front() {
            return Some(output);
        }
        if self.finished {
            return None;
        }
        self.mesh.end_turn(&mut self.core);
        if let RoleState::Host(host) = &mut self.role {
            host.end_turn(&mut self.core, &mut self.mesh);
        }
        self.core.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] is wanted next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.finished { None } else { self.core.timers.next() }
    }

    /// Looks at the clock.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.core.now = now;
        while let Some(timer) = self.core.timers.pop_due(now.instant) {
            if self.finished {
                return;
            }
            self.timer(timer);
            self.settle();
        }
    }

    /// True when classic peers may come in over such a link.
    #[must_use]
    pub fn takes_classic(&self, link: LinkKind) -> bool {
        let is_host = matches!(self.role, RoleState::Host(_));
        self.core.policy.classic && (link == LinkKind::PeerIn || is_host)
    }

    /// How this node speaks to its host.
    #[must_use]
    pub fn wire_to_host(&self) -> Wire {
        match &self.role {
            RoleState::Host(_) => Wire::Native,
            RoleState::Member(member) => member.wire(),
        }
    }

    /// False while a recipient takes messages more slowly than they are sent: whoever sends had better wait.
    pub fn wants_commands(&mut self, now: Moment) -> bool {
        self.core.now = now;
        !self.mesh.is_pressed(&mut self.core)
    }

    /// True when somebody waits until the store has what it is given: nothing leaves, or is acknowledged, before that.
    #[must_use]
    pub fn waits_for_store(&self) -> bool {
        self.mesh.waits_for_store()
    }

    /// Connections turned away at the door since this was last asked.
    pub fn take_dropped(&mut self) -> u64 {
        self.core.limiter.take_dropped()
    }

    /// Takes a text for sending, and says under which number, or why not.
    pub fn send(
        &mut self,
        now: Moment,
        to: &Target,
        text: &str,
        reference: Option<Arc<str>>,
    ) -> Result<MessageId, SendError> {
        self.core.now = now;
        if self.finished {
            return Err(SendError::NotConnected);
        }
        self.mesh.send(&mut self.core, to, text, reference)
    }

    /// Carries out a command. A message that is not taken for sending is told as an event.
    pub fn command(&mut self, now: Moment, command: NodeCommand) -> Result<(), CommandError> {
        self.core.now = now;
        if self.finished {
            return Err(CommandError::Ended);
        }
        let outcome = self.carry_out(command);
        self.settle();
        outcome
    }

    /// The members, this node included: the host first, then by alias.
    #[must_use]
    pub fn members(&self) -> Vec<Arc<Peer>> {
        self.core.members()
    }

    /// A front end that gave a command is told by an event what became of it.
    fn commanded(&mut self, command: NodeCommand) {
        if let Err(error) = self.carry_out(command) {
            self.core.event(NodeEvent::error(ErrorKind::Command, &error));
        }
    }

    fn carry_out(&mut self, command: NodeCommand) -> Result<(), CommandError> {
        match (command, &mut self.role) {
            (NodeCommand::Leave, _) => self.leave(),
            (NodeCommand::Peers, _) => self.core.emit_roster(),
            (NodeCommand::Send { to, text, reference }, _) => {
                let reference: Option<Arc<str>> = reference.map(Into::into);
                if let Err(error) = self.mesh.send(&mut self.core, &to, &text, reference.clone()) {
                    let message = SafeText::line(&error.to_string());
                    let refused = Some(Box::new((to, text)));
                    self.core.event(NodeEvent::Error { kind: ErrorKind::Send, message, reference, refused });
                }
            }
            (NodeCommand::Ways, RoleState::Host(_)) => {
                self.core.event(NodeEvent::Ways { rows: self.core.reachability.reached() });
            }
            (NodeCommand::Ways, RoleState::Member(member)) => member.ask_reachability(&mut self.core),
            (NodeCommand::Rejoin, RoleState::Member(member)) => member.rejoin_now(&mut self.core),
            (NodeCommand::Rejoin, RoleState::Host(_)) => {}
            (NodeCommand::Cleartext { allow }, role) => {
                self.core.cleartext = Some(allow);
                self.core.set_clear(allow, false);
                self.mesh.clear_changed(&mut self.core);
                if let RoleState::Member(member) = role {
                    member.decided(&mut self.core);
                }
            }
            (command, RoleState::Host(host)) => {
                return host.command(&mut self.core, &mut self.mesh, command);
            }
            (_, RoleState::Member(_)) => return Err(CommandError::NotTheHost),
        }
        Ok(())
    }

    fn connected(&mut self, conn: ConnId, connected: Connected) {
        if connected.secured.peer.wire() == Wire::Classic {
            return self.classic_connected(conn, &connected);
        }
        match (connected.link, &mut self.role) {
            (LinkKind::JoinIn, RoleState::Host(host)) => {
                host.connected(&mut self.core, conn, &connected);
            }
            (LinkKind::JoinIn, RoleState::Member(member)) => {
                member.join_link(&mut self.core, conn, &connected.secured.peer);
            }
            (LinkKind::JoinOut, RoleState::Member(member)) => {
                member.connected(&mut self.core, conn, connected);
            }
            (LinkKind::PeerIn | LinkKind::PeerOut, _) => {
                self.mesh.connected(&mut self.core, conn, &connected);
            }
            _ => self.core.close(conn, CloseReason::Internal),
        }
    }

    /// A link without TLS is there.
    fn classic_connected(&mut self, conn: ConnId, connected: &Connected) {
        match (connected.link, &mut self.role) {
            (LinkKind::PeerIn, _) => {
                self.mesh.classic_connected(&mut self.core, conn, connected.remote);
            }
            (LinkKind::JoinIn | LinkKind::DistributionIn, RoleState::Host(host)) => {
                host.classic_connected(&mut self.core, &mut self.mesh, conn, connected);
            }
            (LinkKind::JoinOut | LinkKind::DistributionOut, RoleState::Member(member)) => {
                member.classic_connected(&mut self.core, &mut self.mesh, conn, connected);
            }
            _ => self.core.close(conn, CloseReason::Internal),
        }
    }

    /// A classic peer has said what it is called.
    fn bind_alias(&mut self, peer: PeerId, label: &Alias) {
        match &mut self.role {
            RoleState::Host(host) => host.bind_alias(&mut self.core, &mut self.mesh, peer, label),
            RoleState::Member(member) => member.bind_alias(&mut self.core, peer, label),
        }
    }

    fn object(&mut self, conn: ConnId, object: Object) {
        if self.mesh.is_classic(conn) {
            if let Some((author, label)) = self.mesh.label_in(&self.core, conn, &object) {
                self.bind_alias(author, &label);
            }
            return self.mesh.object(&mut self.core, conn, object);
        }
        match &mut self.role {
            RoleState::Host(host) => host.object(&mut self.core, &mut self.mesh, conn, object),
            RoleState::Member(member) => member.object(&mut self.core, &mut self.mesh, conn, object),
        }
    }

    fn frame(&mut self, conn: ConnId, frame: Frame) {
        if self.mesh.has(conn) {
            self.mesh.frame(&mut self.core, conn, frame);
            return;
        }
        match &mut self.role {
            RoleState::Host(host) => host.frame(&mut self.core, &mut self.mesh, conn, frame),
            RoleState::Member(member) => member.frame(&mut self.core, &mut self.mesh, conn, frame),
        }
    }

    fn closed(&mut self, conn: ConnId, closed: &Closed) {
        self.core.gone(conn);
        if closed.reason == CloseReason::ProtocolError {
            let peer = self.mesh.peer_of(conn).or_else(|| match &self.role {
                RoleState::Host(host) => host.peer_of(conn),
                RoleState::Member(member) => member.peer_of(conn),
            });
            if let Some(peer) = peer {
                self.core.blame(&peer, &closed.detail);
            }
        }
        if self.mesh.has(conn) {
            self.mesh.closed(&mut self.core, conn);
            return;
        }
        if self.mesh.is_classic(conn) {
            return self.mesh.stopped_talking(&mut self.core, conn, closed);
        }
        match &mut self.role {
            RoleState::Host(host) => host.closed(&mut self.core, &mut self.mesh, conn),
            RoleState::Member(member) => member.closed(&mut self.core, conn, closed),
        }
    }

    fn stored(&mut self, event: StoreEvent) {
        match (&mut self.role, event) {
            (RoleState::Member(member), StoreEvent::History(HistoryEvent::Recalled(recalled))) => {
                member.recalled(&mut self.core, &mut self.mesh, *recalled);
            }
            (RoleState::Member(member), StoreEvent::Saved(token)) => {
                member.package_saved(&mut self.core, token, Ok(()));
            }
            (RoleState::Member(member), StoreEvent::Failed { token: Some(token), message }) => {
                member.package_saved(&mut self.core, token, Err(message));
            }
            (_, StoreEvent::History(event)) => self.mesh.history(&mut self.core, event),
            (RoleState::Host(host), StoreEvent::Retired) => host.retired(&mut self.core),
            (RoleState::Host(host), StoreEvent::Saved(token)) => host.saved(&mut self.core, token),
            (RoleState::Host(host), StoreEvent::Failed { token: Some(token), message }) => {
                host.not_saved(&mut self.core, token, &message);
            }
            (_, StoreEvent::Failed { message, .. }) => {
                self.core.event(NodeEvent::error(ErrorKind::Storage, &message));
            }
            _ => {}
        }
    }

    fn timer(&mut self, timer: Timer) {
        match (timer, &mut self.role) {
            (Timer::Limiter, role) => {
                self.core.poll_limiter();
                if let RoleState::Host(host) = role {
                    host.penalties_changed(&mut self.core);
                }
            }
            (Timer::Leave, _) => self.finish(CloseReason::Left.into()),
            (Timer::Ask(peer), _) => self.mesh.next_question(&mut self.core, peer),
            (Timer::Answer(peer), _) => self.mesh.no_answer(&mut self.core, peer),
            (Timer::Pressed, _) => {}
            (Timer::Dial(peer) | Timer::Read(peer), _) => self.mesh.pump(&mut self.core, peer),
            (Timer::Idle(conn), _) => self.mesh.idle(&mut self.core, conn),
            (Timer::Call(peer), _) => self.mesh.call_now(&mut self.core, peer),
            (Timer::Direct(peer), _) => self.mesh.try_direct(&mut self.core, peer),
            (Timer::Silence(conn), _) => self.mesh.silence(&mut self.core, conn),
            (Timer::Patience(conn), _) => self.mesh.patience_ended(&mut self.core, conn),
            (Timer::Throttle(peer), _) => self.mesh.release(&mut self.core, peer),
            (Timer::Expire, _) => self.mesh.expire(&mut self.core),
            (timer, RoleState::Host(host)) => host.timer(&mut self.core, &mut self.mesh, timer),
            (timer, RoleState::Member(member)) => {
                member.timer(&mut self.core, &mut self.mesh, timer);
            }
        }
    }

    /// What follows from any input.
    fn settle(&mut self) {
        if self.leaving && !self.mesh.has_deliverable(&self.core) {
            self.finish(CloseReason::Left.into());
        }
        self.change_role();
        if let RoleState::Member(member) = &mut self.role
            && let Some(closed) = member.take_final(&mut self.core)
        {
            self.finish(closed);
        }
    }

    /// After a handover the host is a member, or a member the host.
    fn change_role(&mut self) {
        match &mut self.role {
            RoleState::Host(host) => {
                let Some(statement) = host.take_successor() else { return };
                host.step_down(&mut self.core);
                let mut member = Member::new(MemberConfig {
                    target: String::new(),
                    password: None,
                    pin: None,
                    rejoin_for: limits::REJOIN_FOR,
                    wire: Wire::Native,
                    was_classic: None,
                });
                member.succeed(&mut self.core, statement);
                self.role = RoleState::Member(Box::new(member));
            }
            RoleState::Member(member) => {
                let Some(config) = member.take_elected() else { return };
                let mut host = Host::new(*config, self.core.now);
                host.take_over(&mut self.core, &mut self.mesh);
                self.role = RoleState::Host(Box::new(host));
            }
        }
    }

    fn leave(&mut self) {
        self.leaving = true;
        self.core.timers.set(Timer::Leave, self.core.now.instant + limits::LEAVE_TIMEOUT);
    }

    fn finish(&mut self, closed: Closed) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let goodbye = match &self.role {
            RoleState::Host(_) => CloseReason::HostLeft,
            RoleState::Member(_) => CloseReason::Left,
        };
        match &mut self.role {
            RoleState::Host(host) => {
                host.leave(&mut self.core);
                host.end_turn(&mut self.core, &mut self.mesh);
            }
            RoleState::Member(member) => member.called_off(&mut self.core),
        }
        self.mesh.give_up(&mut self.core, closed.reason);
        for conn in self.core.open_connections() {
            self.core.goodbye(conn, goodbye, "");
        }
        let message = if closed.reason == CloseReason::Left { String::new() } else { closed.to_string() };
        let message = SafeText::line(&message);
        self.core.event(NodeEvent::Left { reason: closed.reason, message });
        self.core.outputs.push_back(Output::Finished(closed));
    }
}

#[cfg(test)]
mod tests;

//! The node: routes what happens to its parts, what they ask of each other, and what they want done.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use std::net::SocketAddr;

use super::{
    ConnId, EarlierRun, Input, LinkKind, MemberConfig, NodeConfig, Output, RoleConfig, classic,
    group::Group,
    host::Host,
    limiter::Limiter,
    member::Member,
    mesh::{self, Mesh},
    messaging, role,
    timers::Timers,
};
use crate::{
    api::{HistoryEvent, NodeCommand, NodeEvent, StoreEvent, Target},
    model::{
        Alias, CloseReason, Closed, CommandError, ErrorKind, MessageId, Moment, Peer, Recipient, SafeText,
        SendError, Status, Wire, limits,
    },
    wire::{Frame, Refusal},
};

mod commands;
mod connections;

/// When the node itself is wanted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// An address may begin another handshake.
    Limiter,
    /// Leave although something is still on its way.
    Leave,
}

/// A host or a member. It routes what happens to its parts, what they ask of each other, and what they want done.
pub struct Node {
    now: Moment,
    rng: ChaCha20Rng,
    timers: Timers<Timer>,
    outputs: VecDeque<Output>,
    /// Connections whose handshake is finished and that are not closed. Nothing is sent over any other.
    open: BTreeMap<ConnId, Wire>,
    limiter: Limiter,
    pub(super) mesh: Mesh,
    pub(super) role: Role,
    leaving: bool,
    finished: bool,
}

pub(super) enum Role {
    Host(Box<Host>),
    Member(Box<Member>),
}

impl Role {
    pub(super) fn group(&self) -> &Group {
        match self {
            Self::Host(host) => &host.group,
            Self::Member(member) => &member.group,
        }
    }

    pub(super) fn group_mut(&mut self) -> &mut Group {
        match self {
            Self::Host(host) => &mut host.group,
            Self::Member(member) => &mut member.group,
        }
    }

    /// Asks for another name (the one it has when nothing is given) or status of this node.
    fn present(&mut self, alias: Option<String>, status: Option<Status>) -> Result<(), CommandError> {
        match self {
            Self::Host(host) => {
                let alias = alias.unwrap_or_else(|| host.group.alias.to_string());
                host.present(host.group.me(), &alias, status)
            }
            Self::Member(member) => member.present(alias, status),
        }
    }

    fn take(&mut self) -> VecDeque<role::Ask> {
        match self {
            Self::Host(host) => host.turn.take(),
            Self::Member(member) => member.turn.take(),
        }
    }
}

impl Node {
    /// A node that is about to begin: its first outputs are waiting.
    #[must_use]
    pub fn new(config: NodeConfig, now: Moment) -> Self {
        let mut rng = ChaCha20Rng::from_seed(config.seed);
        let group = Group::new(&config);
        let mesh = Mesh::new(config.limits.memory, now, &mut rng);
        let limiter = Limiter::new(config.limits.strangers, config.descriptors);
        let role = match config.role {
            RoleConfig::Host(mut config) => {
                let earlier = std::mem::replace(&mut config.earlier, EarlierRun::none());
                let mut host = Host::new(*config, group, now, &mut rng);
                host.start(earlier);
                Role::Host(Box::new(host))
            }
            RoleConfig::Member(config) => {
                let mut member = Member::new(*config, group, now, &mut rng);
                member.start();
                Role::Member(Box::new(member))
            }
        };
        let mut node = Self {
            now,
            rng,
            timers: Timers::new(),
            outputs: VecDeque::new(),
            open: BTreeMap::new(),
            limiter,
            mesh,
            role,
            leaving: false,
            finished: false,
        };
        node.route();
        node
    }

    pub(super) fn begin_turn(&mut self, now: Moment) {
        self.now = now;
        self.mesh.begin_turn(now);
        match &mut self.role {
            Role::Host(host) => host.turn.now = now,
            Role::Member(member) => member.turn.now = now,
        }
    }

    /// Takes in what happened. Never fails: what makes no sense is answered or ignored.
    pub fn handle(&mut self, now: Moment, input: Input) {
        self.begin_turn(now);
        if self.finished {
            return;
        }
        match input {
            Input::Command(command) => self.commanded(command),
            Input::Incoming(conn, ip) => self.incoming(conn, ip),
            Input::Spoke(conn) => self.spoke(conn),
            Input::Connected(conn, connected) => self.connected(conn, connected),
            Input::JoinFailed(closed) => {
                if let Role::Member(member) = &mut self.role {
                    member.join_failed(closed);
                }
            }
            Input::DialFailed(peer, closed) => self.mesh.links.dial_failed(peer, closed),
            Input::Frame(conn, frame) => self.frame(conn, frame),
            Input::Object(conn, object) => self.object(conn, object),
            Input::ClassicSent(peer, result) => {
                let label = result.as_ref().ok().and_then(Option::as_deref).and_then(Alias::claimed);
                if let Some(label) = label {
                    self.bind_alias(peer, &label);
                }
                let is_answered = result.map(|label| label.is_some());
                let Mesh { classic, messaging, .. } = &mut self.mesh;
                classic.sent(self.role.group(), messaging, peer, is_answered);
            }
            Input::Closed(conn, closed) => self.closed(conn, &closed),
            Input::RelayedBytes(relayed, bytes) => self.mesh.links.relayed_bytes(relayed, &bytes),
            Input::RelayedTaken(relayed, frames) => self.mesh.links.relayed_taken(relayed, frames),
            Input::RelayedEnded(relayed) => self.mesh.links.relayed_ended(relayed),
            Input::Proven(conn, answer) => match &mut self.role {
                Role::Member(member) => member.proven(conn, answer),
                Role::Host(host) => host.password_checked(conn, answer.as_deref()),
            },
            Input::Registered(record) => {
                if let Role::Host(host) = &mut self.role {
                    host.registered(*record);
                }
            }
            Input::Store(event) => self.stored(event),
            Input::JoinOpened(opened) => {
                if let Role::Member(member) = &mut self.role {
                    member.join_opened(opened);
                }
            }
            Input::Probed(result) => {
                let why_not = result.err().map(|closed| closed.to_string());
                match &mut self.role {
                    Role::Member(member) => member.probed(why_not),
                    Role::Host(host) => host.has_probed(why_not.as_deref()),
                }
            }
            Input::LookedForDeputy(shown) => {
                if let Role::Host(host) = &mut self.role {
                    host.looked_for_deputy(shown.as_deref());
                }
            }
            Input::PortsMapped(mapped) => {
                if let Role::Host(host) = &mut self.role {
                    host.ports_mapped(&mapped);
                }
            }
            Input::Suspended(time) => {
                self.event(NodeEvent::Suspended { time });
                match &mut self.role {
                    Role::Member(member) => member.suspended(time),
                    Role::Host(host) => host.suspended(time),
                }
            }
        }
        self.settle();
    }

    /// What is to be done next; nothing when there is nothing.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.outputs.is_empty() && !self.finished {
            self.end_turn();
        }
        self.outputs.pop_front()
    }

    fn end_turn(&mut self) {
        self.mesh.messaging.end_turn(self.role.group());
        self.route();
        if let Role::Host(host) = &mut self.role {
            host.end_turn();
        }
        self.route();
    }

    /// When [`Self::handle_timeout`] is wanted next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.finished {
            return None;
        }
        let role = match &self.role {
            Role::Host(host) => host.turn.timers.next(),
            Role::Member(member) => member.turn.timers.next(),
        };
        [self.timers.next(), self.mesh.poll_timeout(), role].into_iter().flatten().min()
    }

    /// Looks at the clock.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.begin_turn(now);
        while !self.finished && self.next_timer() {
            self.settle();
        }
    }

    /// Lets the next timer that is due do what it is for. False when none is.
    fn next_timer(&mut self) -> bool {
        let now = self.now.instant;
        if let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Limiter => self.poll_limiter(),
                Timer::Leave => self.finish(CloseReason::Left.into()),
            }
            return true;
        }
        let is_due = match &mut self.role {
            Role::Host(host) => host.turn.timers.pop_due(now).map(|timer| host.timer(timer)),
            Role::Member(member) => member.turn.timers.pop_due(now).map(|timer| member.timer(timer)),
        };
        is_due.is_some() || self.mesh.handle_timeout(self.role.group())
    }

    /// True when classic peers may come in over such a link.
    #[must_use]
    pub fn takes_classic(&self, link: LinkKind) -> bool {
        let is_host = matches!(self.role, Role::Host(_));
        self.role.group().policy.classic && (link == LinkKind::PeerIn || is_host)
    }

    /// How this node speaks to its host.
    #[must_use]
    pub fn wire_to_host(&self) -> Wire {
        match &self.role {
            Role::Host(_) => Wire::Native,
            Role::Member(member) => member.wire(),
        }
    }

    /// False while a recipient takes messages more slowly than they are sent: whoever sends had better wait.
    pub fn wants_commands(&mut self, now: Moment) -> bool {
        self.begin_turn(now);
        !self.mesh.messaging.is_pressed()
    }

    /// True when somebody waits until the store has what it is given: nothing leaves, or is acknowledged, before that.
    #[must_use]
    pub fn waits_for_store(&self) -> bool {
        self.mesh.messaging.waits_for_store()
    }

    /// Connections turned away at the door since this was last asked.
    pub fn take_dropped(&mut self) -> u64 {
        self.limiter.take_dropped()
    }

    /// Takes a text for sending, and says under which number, or why not.
    pub fn send(
        &mut self,
        now: Moment,
        to: &Target,
        text: &str,
        reference: Option<Arc<str>>,
    ) -> Result<MessageId, SendError> {
        self.begin_turn(now);
        if self.finished {
            return Err(SendError::NotConnected);
        }
        let text = messaging::check_text(text)?;
        let group = self.role.group();
        let to = group.recipient(to)?;
        if let Recipient::Peer(peer) = to
            && peer.wire() == Wire::Classic
        {
            classic::object_for(group, &peer, to, text.as_str())?;
        }
        let sent = self.mesh.messaging.send(group, to, text, reference);
        self.route();
        sent
    }

    /// Carries out a command. A message that is not taken for sending is told as an event.
    pub fn command(&mut self, now: Moment, command: NodeCommand) -> Result<(), CommandError> {
        self.begin_turn(now);
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
        self.role.group().members()
    }

    /// Where joiners connect to, if this node is the host.
    #[must_use]
    pub fn join_addr(&self) -> Option<SocketAddr> {
        match &self.role {
            Role::Host(host) => Some(host.join_addr()),
            Role::Member(_) => None,
        }
    }

    /// A front end that gave a command is told by an event what became of it.
    fn commanded(&mut self, command: NodeCommand) {
        if let Err(error) = self.carry_out(command) {
            self.route();
            self.event(NodeEvent::error(ErrorKind::Command, &error));
        }
    }

    fn event(&mut self, event: NodeEvent) {
        self.outputs.push_back(Output::Event(event));
    }

    fn stored(&mut self, event: StoreEvent) {
        match (&mut self.role, event) {
            (Role::Member(member), StoreEvent::History(HistoryEvent::Recalled(recalled))) => {
                member.recalled(*recalled);
            }
            (Role::Member(member), StoreEvent::Saved(token)) => member.package_saved(token, Ok(())),
            (Role::Member(member), StoreEvent::Failed { token: Some(token), message }) => {
                member.package_saved(token, Err(message));
            }
            (role, StoreEvent::History(event)) => self.mesh.messaging.history(role.group(), event),
            (Role::Host(host), StoreEvent::Retired) => host.retired(),
            (Role::Host(host), StoreEvent::Saved(token)) => host.saved(token),
            (Role::Host(host), StoreEvent::Failed { token: Some(token), message }) => {
                host.not_saved(token, &message);
            }
            (_, StoreEvent::Failed { message, .. }) => {
                self.event(NodeEvent::error(ErrorKind::Storage, &message));
            }
            _ => {}
        }
    }

    // ---- Routing ----

    /// Does what the parts ask of each other, until none asks for anything. What a part asks for is done before what it asked
    /// for next, as if it had called.
    pub(super) fn route(&mut self) {
        loop {
            let (role, mesh) = (self.role.take(), self.mesh.take(self.role.group_mut()));
            if role.is_empty() && mesh.is_empty() {
                return;
            }
            for ask in role {
                self.role_asks(ask);
            }
            for ask in mesh {
                self.mesh_asks(ask);
            }
        }
    }

    fn mesh_asks(&mut self, ask: mesh::Ask) {
        match (ask, &mut self.role) {
            (mesh::Ask::Output(output), _) => return self.perform(output),
            (mesh::Ask::Tried(tried), Role::Host(host)) => host.has_tried(tried),
            (mesh::Ask::Tried(tried), Role::Member(member)) => member.has_tried(tried),
            (mesh::Ask::Late(late), Role::Host(host)) => host.note_late(late),
            (mesh::Ask::Late(_), Role::Member(_)) => {}
        }
        self.route();
    }

    fn role_asks(&mut self, ask: role::Ask) {
        let group = self.role.group_mut();
        match ask {
            role::Ask::Output(output) => return self.perform(output),
            role::Ask::Distribute => {
                if let Role::Host(host) = &mut self.role {
                    host.distribute(|peer| self.mesh.messaging.departed(peer));
                }
            }
            role::Ask::RosterChanged(changes) => self.mesh.roster_changed(group, &changes),
            role::Ask::PolicyChanged => self.mesh.messaging.policy_changed(&group.policy),
            role::Ask::Recall(recalled) => self.mesh.messaging.recall(group, *recalled),
            role::Ask::CatchUp => {
                let has_missed =
                    matches!(self.role, Role::Member(_)) || self.mesh.messaging.was_here_before();
                if has_missed {
                    self.mesh.messaging.catch_up(self.role.group());
                }
            }
            role::Ask::AwaySince(since) => self.mesh.messaging.away_since(since),
            role::Ask::HostIsBack => {
                self.mesh.messaging.forget_rosters();
                self.mesh.links.report_all();
            }
            role::Ask::WantOf(peer, held) => self.mesh.messaging.want_of(group, peer, held),
            role::Ask::Reach(peer) => self.mesh.links.reach(group, peer),
            role::Ask::PathsChanged => self.mesh.links.paths_changed(group, &self.mesh.messaging),
            role::Ask::Spoke(conn) => self.spoke(conn),
        }
        self.route();
    }

    /// Passes on what is to be done. Nothing goes over a link that is closed, or over one of the other wire.
    fn perform(&mut self, output: Output) {
        match &output {
            Output::Send(conn, _) if self.open.get(conn) != Some(&Wire::Native) => return,
            Output::SendObject(conn, _) if self.open.get(conn) != Some(&Wire::Classic) => return,
            Output::Close(conn, _) => _ = self.open.remove(conn),
            _ => {}
        }
        let authenticated = match &output {
            Output::Authenticated(conn) => Some(*conn),
            _ => None,
        };
        self.outputs.push_back(output);
        // It no longer counts as a stranger's.
        if let Some(conn) = authenticated {
            let released = self.limiter.authenticated(conn, self.now.instant);
            self.proceed(released);
        }
    }

    /// What follows from any input.
    fn settle(&mut self) {
        self.route();
        if self.leaving && !self.mesh.messaging.has_deliverable(self.role.group()) {
            self.finish(CloseReason::Left.into());
        }
        self.change_role();
        if let Role::Member(member) = &mut self.role
            && let Some(closed) = member.take_final()
        {
            self.finish(closed);
        }
        self.route();
    }

    /// After a handover the host is a member, or a member the host.
    fn change_role(&mut self) {
        match &mut self.role {
            Role::Host(host) => {
                let Some(statement) = host.take_successor() else { return };
                let (announce, map_port) = host.announces_and_maps();
                let (opened_by, bans) = host.take_former();
                let group = host.step_down();
                self.route();
                let config = MemberConfig {
                    target: String::new(),
                    password: None,
                    pin: None,
                    pass: None,
                    addrs: Vec::new(),
                    announce,
                    map_port,
                    rejoin_for: limits::REJOIN_FOR,
                    wire: Wire::Native,
                    known: None,
                    was_classic: None,
                    moved: None,
                    deputy: None,
                    deputyship: None,
                };
                let mut member = Member::new(config, group, self.now, &mut self.rng);
                member.keep_status();
                member.was_host(opened_by, bans);
                member.succeed(statement);
                self.role = Role::Member(Box::new(member));
            }
            Role::Member(member) => {
                let Some(mut config) = member.take_elected() else { return };
                let group = member.take_group();
                let is_deputy = config.kept.opened_by.is_some();
                let earlier = std::mem::replace(&mut config.earlier, EarlierRun::none());
                let mut host = Host::new(*config, group, self.now, &mut self.rng);
                if is_deputy {
                    host.open_again(earlier);
                } else {
                    host.take_over();
                }
                self.role = Role::Host(Box::new(host));
            }
        }
        self.route();
    }

    fn leave(&mut self) {
        self.leaving = true;
        self.timers.set(Timer::Leave, self.now.instant + limits::LEAVE_TIMEOUT);
    }

    fn finish(&mut self, closed: Closed) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        self.route();
        let goodbye = match &mut self.role {
            Role::Host(host) => {
                host.leave();
                host.end_turn();
                CloseReason::HostLeft
            }
            Role::Member(member) => {
                member.called_off();
                CloseReason::Left
            }
        };
        self.route();
        let undelivered = self.mesh.messaging.undelivered();
        self.mesh.messaging.give_up(self.role.group(), closed.reason);
        self.route();
        let refusal = Refusal { reason: goodbye, detail: String::new() };
        let frame = Frame::Goodbye(refusal).encode();
        for conn in self.open.keys().copied().collect::<Vec<_>>() {
            self.perform(Output::Send(conn, frame.clone()));
            self.perform(Output::Close(conn, goodbye));
        }
        let message = if closed.reason == CloseReason::Left { String::new() } else { closed.to_string() };
        let message = SafeText::line(&message);
        self.event(NodeEvent::Left { reason: closed.reason, message, undelivered });
        self.outputs.push_back(Output::Finished(closed));
    }
}

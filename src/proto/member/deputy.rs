//! A member's part when the host is gone for good: following its deputy, or being it.
//!
//! It must never take somebody for the host whom no host of this network has named, or leave a host that is here.

use std::{net::SocketAddr, sync::Arc};

use super::{Ask, Joining, Member, Step, Timer};
use crate::{
    api::{HistoryCommand, LinkState, NodeEvent, StoreCommand},
    model::{
        CloseReason, Closed, CommandError, DeputyStatement, Deputyship, ErrorKind, HostPackage, OpenedBy,
        Peer, PeerId, Recalled, Wire, limits,
    },
    proto::{EarlierRun, JoinPort, Output},
    security::{HostRecord, sign},
    wire::HandoverPart,
};

/// Who may open the network again, and what this member was given if it is the one.
#[derive(Default)]
pub(super) struct Deputy {
    /// The host's word on its deputy.
    pub(super) statement: Option<DeputyStatement>,
    /// What was given to this member, and is complete.
    given: Option<Box<Deputyship>>,
    /// The deputy, as the front end was told.
    told: Option<PeerId>,
    /// What is coming in.
    bytes: Vec<u8>,
    /// Who was asked last.
    asked: Asked,
    /// The deputy's places at which somebody else answers.
    others: Vec<SocketAddr>,
    /// The host by whose word the one of now hosts: it may be back when that one is gone.
    host_before: Option<HostBefore>,
    /// This member opens the network again.
    opening: Opening,
    /// Why the host itself could not be joined at first.
    at_first: Option<Closed>,
    /// This deputy waits for a host that it has not met since it began.
    pub(super) waits: bool,
}

/// Who is asked to let this member in: the host, and the others in turn once it has been gone for its time of grace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Asked {
    #[default]
    Host,
    Deputy,
    HostBefore,
}

/// A host whose deputy has opened the network, and where it was.
#[derive(Debug)]
struct HostBefore {
    key: PeerId,
    target: String,
    addrs: Vec<SocketAddr>,
    is_handed_over: bool,
}

/// How far a deputy is with opening the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Opening {
    #[default]
    No,
    /// The host is asked once more.
    AsksHost,
    /// It opens it.
    Opens,
}

impl Deputy {
    pub(super) fn new(statement: Option<DeputyStatement>, given: Option<Box<Deputyship>>) -> Self {
        Self { statement, given, ..Self::default() }
    }

    /// This member is in: what was begun without the host comes to nothing.
    pub(super) fn host_is_here(&mut self) {
        (self.opening, self.waits, self.at_first) = (Opening::No, false, None);
        self.asked = Asked::Host;
        self.bytes.clear();
        self.others.clear();
    }

    /// Somebody else answers at one of the deputy's places.
    pub(super) fn is_none_of_it(&mut self, addr: SocketAddr) {
        self.others.push(addr);
    }
}

impl std::fmt::Debug for Deputy {
    /// What was given holds the password's record.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deputy").field("statement", &self.statement).finish_non_exhaustive()
    }
}

impl Member {
    /// The host names its deputy.
    pub(super) fn deputy_named(&mut self, statement: Option<DeputyStatement>) {
        let to = statement.as_ref().map(|statement| statement.to);
        if to != Some(self.group.me()) {
            self.drop_deputyship();
        }
        if std::mem::replace(&mut self.deputy.told, to) != to {
            let peer = statement.as_ref().and_then(|statement| self.deputy_peer(statement));
            self.turn.event(NodeEvent::Deputy { peer });
        }
        if let (Some(given), Some(statement)) = (&mut self.deputy.given, &statement)
            && given.statement != *statement
        {
            given.statement = statement.clone();
            self.turn.store(StoreCommand::KeepDeputyship(Some(given.clone())));
        }
        if self.deputy.statement != statement {
            self.deputy.statement.clone_from(&statement);
            if let Some(known) = &mut self.host.known {
                known.deputy = statement;
            }
            self.remember();
        }
    }

    fn drop_deputyship(&mut self) {
        self.deputy.bytes.clear();
        if self.deputy.given.take().is_some() {
            self.turn.store(StoreCommand::KeepDeputyship(None));
        }
    }

    /// A part of what this member needs as the deputy.
    pub(super) fn deputy_part(&mut self, part: HandoverPart) {
        let me = self.group.me();
        let Some(statement) = self.deputy.statement.clone().filter(|statement| statement.to == me) else {
            return;
        };
        let bytes = &mut self.deputy.bytes;
        if bytes.len() + part.bytes.len() > limits::HANDOVER_BYTES {
            return bytes.clear();
        }
        bytes.extend(part.bytes);
        if !part.is_last {
            return;
        }
        let bytes = std::mem::take(bytes);
        let Ok(package) = serde_json::from_slice::<HostPackage>(&bytes) else { return };
        let is_this_network = self.group.network_id() == Some(package.state.network.id);
        if is_this_network && HostRecord::from_bytes(&package.state.record).is_ok() {
            let given = Box::new(Deputyship { statement, package });
            self.turn.store(StoreCommand::KeepDeputyship(Some(given.clone())));
            self.deputy.given = Some(given);
        }
    }

    // ---- Following the deputy ----

    /// Where to ask next: in turn where the host is, where its deputy would be, and where the host before was.
    pub(super) fn next_place(&mut self) -> (String, Vec<SocketAddr>) {
        self.deputy.asked = self.next_asked();
        let left = self.places_left();
        if left.is_empty() {
            // The next round begins anew.
            self.deputy.others.clear();
        }
        match (self.deputy.asked, left.first(), &self.deputy.host_before) {
            (Asked::Deputy, Some(first), _) => (first.to_string(), left),
            (Asked::HostBefore, _, Some(before)) => (before.target.clone(), before.addrs.clone()),
            _ => (self.host.target.clone(), self.host.addrs.clone()),
        }
    }

    fn next_asked(&self) -> Asked {
        let me = self.group.me();
        let has_deputy = self.deputy.statement.as_ref().is_some_and(|statement| statement.to != me)
            && !self.places_left().is_empty();
        // Whom the host of now has banned since is none.
        let before = self.deputy.host_before.as_ref().filter(|before| !self.group.is_shut_out(&before.key));
        match self.deputy.asked {
            _ if !self.group.is_out || self.deputy.opening == Opening::AsksHost => Asked::Host,
            Asked::Host if has_deputy => Asked::Deputy,
            Asked::Host | Asked::Deputy if before.is_some() => Asked::HostBefore,
            _ => Asked::Host,
        }
    }

    /// Its places at which nobody else has answered.
    fn places_left(&self) -> Vec<SocketAddr> {
        let places = self.deputy.statement.iter().flat_map(|statement| &statement.addrs);
        places.filter(|addr| !self.deputy.others.contains(addr)).copied().collect()
    }

    /// True for the key of the deputy, where it may be the host now: the host has been gone for its time of grace, or the
    /// deputy answers where a newcomer looks for the host.
    pub(super) fn is_deputy(&self, peer: &PeerId) -> bool {
        let is_named = |statement: &DeputyStatement| statement.to == *peer;
        let is_away = self.group.is_out || !self.joined_before;
        self.link.is_none() && is_away && self.deputy.statement.as_ref().is_some_and(is_named)
    }

    /// True for the key of the host before, where that is asked.
    pub(super) fn is_host_before(&self, peer: &PeerId) -> bool {
        let is_its = |before: &HostBefore| before.key == *peer;
        self.deputy.asked == Asked::HostBefore && self.deputy.host_before.as_ref().is_some_and(is_its)
    }

    /// True while somebody else is asked than the host.
    pub(super) fn asks_another(&self) -> bool {
        self.deputy.asked != Asked::Host
    }

    /// The host of now has named another one: the host before it is history.
    pub(super) fn moves_on(&mut self) {
        self.deputy.host_before = None;
    }

    /// The host before has let this member in again: the deputy is its host no more.
    pub(super) fn went_back(&mut self, to: &PeerId, remote: SocketAddr) {
        let Some(before) = self.deputy.host_before.take_if(|before| before.key == *to) else { return };
        if let Some(host) = self.group.person(to) {
            self.turn.event(NodeEvent::Handover { host, join_addr: remote });
        }
        (self.host.target, self.host.addrs) = (before.target, before.addrs);
        self.host.is_handed_over = before.is_handed_over;
    }

    /// The deputy shows that it has opened this network again by the host's word.
    pub(super) fn opened_again(&mut self, by: PeerId, statement: DeputyStatement) {
        let Some(host) = self.host.key else { return };
        let network = self.group.network_id().or(self.host.before.map(|(network, _)| network));
        let is_ours = network == Some(statement.network) && statement.to == by;
        if !is_ours || !sign::deputy_holds(&host, &statement) {
            return self.not_this_network();
        }
        let Some(Joining { step, connected, .. }) = &mut self.joining else { return };
        *step = Step::Status;
        let join_addr = connected.remote;
        if let Some(host) = self.group.person(&by) {
            self.turn.event(NodeEvent::Handover { host, join_addr });
        }
        let target = std::mem::replace(&mut self.host.target, join_addr.to_string());
        let addrs = std::mem::replace(&mut self.host.addrs, statement.addrs);
        let is_handed_over = std::mem::replace(&mut self.host.is_handed_over, true);
        self.host.key = Some(by);
        self.host.is_invited = false;
        // The new host names its own.
        self.deputy_named(None);
        self.deputy.host_before = Some(HostBefore { key: host, target, addrs, is_handed_over });
        (self.deputy.asked, self.deputy.at_first) = (Asked::Host, None);
    }

    /// Who answers where the deputy would be has not opened this network.
    pub(super) fn not_this_network(&mut self) {
        self.turn.timers.cancel(Timer::Slow);
        if let Some(joining) = self.joining.take() {
            self.turn.timers.cancel(Timer::Admission(joining.conn));
            self.turn.close(joining.conn, CloseReason::Left);
        }
        let message = match self.deputy.asked {
            Asked::HostBefore => "the host is away, and the one before it does not host",
            Asked::Host | Asked::Deputy => "the host is away, and its deputy does not host",
        };
        self.retry(Closed::new(CloseReason::Unreachable, message));
    }

    /// The host could not be joined at all, and this profile knows another one of the same network, which it has joined since.
    /// False when it knows none.
    pub(super) fn host_is_elsewhere(&mut self, closed: &Closed) -> bool {
        if !is_away(closed) {
            return false;
        }
        let Some((key, target)) = self.host.moved.take() else { return false };
        self.host.key = Some(key);
        self.host.target = target;
        self.host.addrs.clear();
        (self.host.is_handed_over, self.host.is_invited) = (true, false);
        self.deputy = Deputy::default();
        self.join();
        true
    }

    /// The host could not be joined at all: its deputy may have opened the network, or this member may do so. False when
    /// neither can be.
    pub(super) fn deputy_at_first(&mut self, closed: &Closed) -> bool {
        let me = self.group.me();
        let Some(statement) = &self.deputy.statement else { return false };
        if let Some(at_first) = self.deputy.at_first.take() {
            self.finish(at_first);
            return true;
        }
        if !is_away(closed) {
            return false;
        }
        if statement.to != me {
            self.deputy.at_first = Some(closed.clone());
            self.group.is_out = true;
            self.join();
            return true;
        }
        let Some(given) = self.deputy.given.as_ref().filter(|_| !self.rejoining.rejoin_for.is_zero()) else {
            return false;
        };
        // From now on as a member that waits for its host.
        self.group.network = Some(given.package.state.network.clone());
        self.group.policy = given.package.policy;
        self.deputy.waits = true;
        self.tell_link(LinkState::Waiting, "the host is away; trying again", None);
        self.wait_for_host();
        self.retry(closed.clone());
        true
    }

    // ---- Being the deputy ----

    /// The person here opens the network again.
    pub(in crate::proto) fn take_over(&mut self) -> Result<(), CommandError> {
        let me = self.group.me();
        if self.deputy.statement.as_ref().is_none_or(|statement| statement.to != me) {
            return Err(CommandError::NotTheDeputy);
        }
        if self.link.is_some() {
            return Err(CommandError::HostIsHere);
        }
        if !self.group.is_out {
            let until = self.rejoining.alone_until.unwrap_or(self.turn.now.wall);
            let left = u64::try_from(until.0.saturating_sub(self.turn.now.wall.0)).unwrap_or(0);
            return Err(CommandError::TooEarly(left.div_ceil(1_000_000)));
        }
        if self.deputy.given.is_none() {
            return Err(CommandError::NothingGiven);
        }
        if self.deputy.opening == Opening::No {
            // It may be back at this moment: nobody wants two.
            self.deputy.opening = Opening::AsksHost;
            self.join();
        }
        Ok(())
    }

    /// The host was asked once more: if it is not there, opens the network. False when that is not what it was asked for.
    pub(super) fn goes_on_opening(&mut self, closed: &Closed) -> bool {
        let network = self.deputy.given.as_ref().map(|given| given.package.state.network.clone());
        let Some(network) = network.filter(|_| self.deputy.opening == Opening::AsksHost) else {
            return false;
        };
        // Another key means that somebody else has its place now.
        if !is_away(closed) && closed.reason != CloseReason::KeyChanged {
            self.stops_opening(&format!(
                "the host answers ({closed}): nobody takes over from one that is there"
            ));
            return true;
        }
        self.deputy.opening = Opening::Opens;
        if self.recalled == Some(network.id) {
            self.open_join_port();
        } else {
            self.turn.store(StoreCommand::History(HistoryCommand::Recall(network)));
        }
        true
    }

    /// The network is not opened after all: the host is waited for as before.
    fn stops_opening(&mut self, why: &str) {
        self.deputy.opening = Opening::No;
        self.turn.event(NodeEvent::error(ErrorKind::Command, why));
        // Whoever was asked once is asked again.
        self.deputy.told = None;
        self.may_open();
        if self.link.is_none() {
            self.retry(Closed::new(CloseReason::Unreachable, "the host is away"));
        }
    }

    /// The history has told what it knows of the network that is to be opened. False when none is.
    pub(super) fn recalled_to_open(&mut self, recalled: &Recalled) -> bool {
        if self.deputy.opening != Opening::Opens {
            return false;
        }
        self.recalled = self.group.network_id();
        self.turn.ask(Ask::Recall(Box::new(recalled.clone())));
        self.open_join_port();
        true
    }

    fn open_join_port(&mut self) {
        if let Some(port) = self.join_port() {
            self.turn.ask(Output::OpenJoin(port));
        }
    }

    /// The port at which all look for the deputy.
    fn join_port(&self) -> Option<u16> {
        self.deputy.statement.as_ref()?.addrs.first().map(SocketAddr::port)
    }

    /// The join port is open, or cannot be opened. False when it was not opened to take over.
    pub(super) fn opens_network(&mut self, opened: &Result<JoinPort, Closed>) -> bool {
        if self.deputy.opening != Opening::Opens {
            return false;
        }
        match opened {
            // The host is back.
            _ if self.link.is_some() => {
                self.deputy.opening = Opening::No;
                self.turn.ask(Output::CloseJoin);
            }
            Ok(port) if self.join_port() == Some(port.addr.port()) => {
                self.warn_of_other_place(&port.addrs);
                self.open_as_deputy(port);
            }
            Ok(_) => {
                self.turn.ask(Output::CloseJoin);
                let port = self.join_port().unwrap_or(limits::JOIN_PORT);
                let why = format!(
                    "port {port}, at which the others look for you, cannot be opened here: another program has it, or the \
                     system does not allow it. Mend that, and take over again"
                );
                self.stops_opening(&why);
            }
            Err(closed) => self.stops_opening(&closed.to_string()),
        }
        true
    }

    /// The others look for the deputy where it was when it was named.
    fn warn_of_other_place(&mut self, here: &[SocketAddr]) {
        let Some(DeputyStatement { addrs, .. }) = &self.deputy.statement else { return };
        if addrs.iter().any(|addr| here.contains(addr)) {
            return;
        }
        let list = |addrs: &[SocketAddr]| {
            let texts: Vec<String> = addrs.iter().map(ToString::to_string).collect();
            texts.join(", ")
        };
        let message = format!(
            "the others look for you at {}, and this machine is at {}: nobody follows by itself; give them an invite",
            list(addrs),
            list(here)
        );
        self.turn.event(NodeEvent::error(ErrorKind::Command, &message));
    }

    fn open_as_deputy(&mut self, port: &JoinPort) {
        let Some(given) = self.deputy.given.take() else { return };
        let Deputyship { statement, package } = *given;
        let state = &package.state;
        let earlier = EarlierRun {
            expected: state.roster.clone(),
            departed: state.departed.clone(),
            version: state.version + limits::DEPUTY_LEAP,
            recalled: Recalled::nothing(),
        };
        self.turn.event(NodeEvent::Deputy { peer: None });
        let told = Some(package.at);
        self.elect(package, port, earlier, Some(OpenedBy { statement, told }));
    }

    /// The host has been gone for its time of grace. A deputy that has not met it since it began is told that it is the deputy.
    pub(super) fn may_open(&mut self) {
        let me = self.group.me();
        let Some(statement) = self.deputy.statement.clone().filter(|statement| statement.to == me) else {
            return;
        };
        let peer = self.deputy_peer(&statement);
        if self.deputy.told.replace(me) != Some(me) {
            self.turn.event(NodeEvent::Deputy { peer });
        }
    }

    /// The deputy, also if it has not been here since this member came.
    fn deputy_peer(&mut self, statement: &DeputyStatement) -> Option<Arc<Peer>> {
        let me = self.group.me();
        let alias =
            if statement.to == me { self.group.alias.clone() } else { self.group.alias_of(&statement.to) };
        self.group.remember(statement.to, alias);
        self.group.person(&statement.to)
    }

    /// What the person here can do when the host has been gone for too long.
    pub(super) fn choices(&self) -> String {
        let deputy = self.deputy.statement.as_ref().map(|statement| statement.to);
        match deputy {
            Some(deputy) if deputy == self.group.me() => {
                "you are its deputy, and /takeover opens the network again: the others follow you".to_owned()
            }
            Some(deputy) => {
                let deputy = self.group.alias_of(&deputy);
                format!("you are out until it is back, or {deputy}, its deputy, opens the network again")
            }
            None if self.wire() == Wire::Classic => "you are out until it is back".to_owned(),
            None => "you are out until it is back. To go on without it, one of you opens a network (pyile host) and invites \
                     the others"
                .to_owned(),
        }
    }
}

/// Nobody is there, which time may mend.
fn is_away(closed: &Closed) -> bool {
    matches!(
        closed.reason,
        CloseReason::Unreachable | CloseReason::NothingListens | CloseReason::NoAnswer | CloseReason::NoRoute
    )
}

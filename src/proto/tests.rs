//! Whole networks in virtual time: nodes, links that keep their order, and no I/O at all.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
    time::{Duration, Instant},
};

mod bounds;
mod classic;
mod deputy;
mod door;
mod explore;
mod handover;
mod history;
mod invites;
mod late;
mod mapping;
mod presence;
mod reachability;
mod streams;
mod verifying;

use self::{history::SimStore, reachability::SimRelays};
use super::*;
use crate::{
    api::{NodeCommand, NodeEvent, StoreCommand, StoreEvent, Target},
    model::{
        Alias, Batch, CloseReason, Closed, DeliveryStatus, Deputyship, KeptAttempts, Liveness, MessageId,
        Moment, Network, NetworkId, Password, PeerId, Policy, PortMapping, Recalled, Recipient, RosterEntry,
        SafeText, Signature, StreamId, Timestamp, Wire, limits,
    },
    security::{HostRecord, Identity, PasswordCost, tls::Secured},
    wire::{Ack, Frame, Hello, classic::Object},
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

const PASSWORD: &str = "open sesame";

/// What a member knows that stands in this roster, for tests of one part alone.
pub(super) fn group_of(
    alias: &str,
    identity: Arc<Identity>,
    entries: Vec<RosterEntry>,
) -> (group::Group, roster::Changes) {
    let config = NodeConfig {
        alias: Alias::new(alias).unwrap(),
        identity,
        seed: [7; 32],
        cost: PasswordCost::TEST,
        descriptors: 100,
        limits: Limits::default(),
        cleartext: None,
        role: RoleConfig::Member(Box::new(member_config(PASSWORD))),
    };
    let mut group = group::Group::new(&config);
    group.network = Some(Network { id: NetworkId([1; 16]), name: "lab".into() });
    let changes = group.roster.replace(roster::Roster::unsigned(1, entries));
    group.learn(&changes, false);
    (group, changes)
}

/// A network that nobody was in yet.
fn host_config() -> HostConfig {
    let record = HostRecord::register(&Password::new(PASSWORD.into()), PasswordCost::TEST, [1; 32]).unwrap();
    HostConfig {
        network: Network { id: NetworkId([1; 16]), name: "lab".into() },
        policy: Policy::default(),
        record,
        password: None,
        attempts: 3,
        members: 250,
        key_age: limits::KEY_AGE,
        announce: true,
        map_port: false,
        approve: false,
        notes: crate::model::Notes::default(),
        kept: KeptState::default(),
        earlier: EarlierRun::none(),
        join_addr: "10.0.0.1:4702".parse().unwrap(),
        distribution: None,
        peer_addrs: vec!["10.0.0.1:50000".parse().unwrap()],
    }
}

/// One end of a link.
type End = (usize, ConnId);

enum Delivery {
    Frame(End, Frame),
    Closed(End),
}

#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
struct Sim {
    now: Moment,
    nodes: Vec<Node>,
    ids: Vec<PeerId>,
    events: Vec<Vec<NodeEvent>>,
    finished: Vec<Option<Closed>>,
    /// The other end of each open link.
    links: BTreeMap<End, End>,
    /// Links that wait for the acceptor's leave to go on: the kind at the dialler.
    pending: BTreeMap<End, (End, LinkKind)>,
    frozen: BTreeSet<usize>,
    /// Ends of links that carry nothing more, and do not say so.
    dead: BTreeSet<End>,
    queue: VecDeque<Delivery>,
    next: u64,
    saved: Vec<crate::model::HostState>,
    stores: Vec<SimStore>,
    /// How much room new nodes give.
    limits: Limits,
    /// New nodes have a disk.
    on_disk: bool,
    /// Disks take their time to set a network aside.
    hold_retired: bool,
    /// Disks take their time to keep a package.
    hold_packages: bool,
    held_packages: Vec<u64>,
    /// The host's disk takes its time.
    hold_saves: bool,
    held_saves: Vec<u64>,
    /// The host's disk takes nothing.
    is_disk_full: bool,
    /// The records of passwords take their time.
    hold_records: bool,
    held_records: Vec<(usize, Password)>,
    /// Who cannot reach whose join port.
    blocked: Option<(usize, usize)>,
    /// Who cannot reach whose peer listener.
    closed: BTreeSet<(usize, usize)>,
    relays: SimRelays,
    /// What came over classic links, by their end here.
    classic: BTreeMap<End, Vec<Object>>,
    /// Classic links that were closed here.
    shut: BTreeSet<End>,
    /// What was said to classic peers: by whom, to whom, from where.
    said: Vec<(usize, PeerId, Option<Ipv4Addr>, Object)>,
    /// Answers to challenges wait.
    hold_proofs: bool,
    held_proofs: Vec<(usize, ConnId, Option<Vec<u8>>)>,
    compared: usize,
    /// Joins are opened by the test.
    plain_joins: bool,
    /// What the next node is told of clear text.
    cleartext: Option<bool>,
    /// Where a second link to a classic host is wanted.
    distribution: Option<SocketAddrV4>,
    /// What the next node's store has already.
    restored: Option<SimStore>,
    /// Who has announced which network to those around, or does so no longer.
    announced: Vec<(usize, Option<String>)>,
    /// Whose address all have who come to the host.
    one_address: Option<usize>,
    /// What the router opens the join port as, or why it does not.
    router: Result<SocketAddr, String>,
    /// What it was asked for, or to take back.
    mapped: Vec<Option<crate::model::HostPorts>>,
    /// Whom targets lead to, beside the first host.
    names: BTreeMap<String, usize>,
    /// Who is at whose address now.
    moved: Option<(usize, usize)>,
    /// What each has been given as a deputy.
    deputyships: BTreeMap<usize, Option<Box<Deputyship>>>,
}

fn member_config(password: &str) -> MemberConfig {
    MemberConfig {
        target: "10.0.0.1:4702".into(),
        password: Some(Password::new(password.into())),
        pin: None,
        pass: None,
        addrs: Vec::new(),
        announce: true,
        map_port: false,
        rejoin_for: limits::REJOIN_FOR,
        wire: Wire::Native,
        was_classic: None,
        known: None,
        moved: None,
        deputy: None,
        deputyship: None,
    }
}

impl Sim {
    fn host() -> Self {
        Self::host_with(|_| {})
    }

    fn host_with(change: impl FnOnce(&mut HostConfig)) -> Self {
        let mut config = host_config();
        change(&mut config);
        Self::host_as(Identity::generate().unwrap().0, config)
    }

    fn host_as(key: Identity, config: HostConfig) -> Self {
        let mut sim = Self::nobody();
        sim.hold_records = config.password.is_some();
        sim.add("host", key, RoleConfig::Host(Box::new(config)));
        sim
    }

    fn host_with_router(config: HostConfig, router: Result<SocketAddr, String>) -> Self {
        let mut sim = Self { router, ..Self::nobody() };
        sim.add("host", Identity::generate().unwrap().0, RoleConfig::Host(Box::new(config)));
        sim
    }

    fn nobody() -> Self {
        Self {
            now: Moment { instant: Instant::now(), wall: Timestamp(1_700_000_000_000_000) },
            nodes: Vec::new(),
            ids: Vec::new(),
            events: Vec::new(),
            finished: Vec::new(),
            links: BTreeMap::new(),
            pending: BTreeMap::new(),
            frozen: BTreeSet::new(),
            dead: BTreeSet::new(),
            queue: VecDeque::new(),
            next: 0,
            saved: Vec::new(),
            stores: Vec::new(),
            limits: Limits::default(),
            on_disk: false,
            hold_retired: false,
            hold_packages: false,
            held_packages: Vec::new(),
            hold_saves: false,
            held_saves: Vec::new(),
            is_disk_full: false,
            hold_records: false,
            held_records: Vec::new(),
            blocked: None,
            closed: BTreeSet::new(),
            relays: SimRelays::default(),
            classic: BTreeMap::new(),
            shut: BTreeSet::new(),
            said: Vec::new(),
            hold_proofs: false,
            held_proofs: Vec::new(),
            compared: 0,
            plain_joins: false,
            cleartext: None,
            distribution: None,
            restored: None,
            announced: Vec::new(),
            one_address: None,
            router: Err("there is none".to_owned()),
            mapped: Vec::new(),
            names: BTreeMap::new(),
            moved: None,
            deputyships: BTreeMap::new(),
        }
    }

    fn add(&mut self, alias: &str, identity: Identity, role: RoleConfig) -> usize {
        let index = self.nodes.len();
        self.ids.push(identity.peer_id());
        let config = NodeConfig {
            alias: Alias::new(alias).unwrap(),
            identity: Arc::new(identity),
            seed: [u8::try_from(index % 256).unwrap(); 32],
            cost: PasswordCost::TEST,
            descriptors: 10_000,
            limits: self.limits,
            cleartext: self.cleartext,
            role,
        };
        let store = SimStore::new(self.ids[index], self.on_disk);
        self.stores.push(self.restored.take().unwrap_or(store));
        self.nodes.push(Node::new(config, self.now));
        self.events.push(Vec::new());
        self.finished.push(None);
        self.run();
        index
    }

    fn join_as(&mut self, alias: &str, password: &str, identity: Identity) -> usize {
        self.add(alias, identity, RoleConfig::Member(Box::new(member_config(password))))
    }

    fn join(&mut self, alias: &str) -> usize {
        let index = self.join_as(alias, PASSWORD, Identity::generate().unwrap().0);
        self.wait(0.1);
        index
    }

    fn conn(&mut self) -> ConnId {
        self.next += 1;
        ConnId(self.next)
    }

    fn ip(index: usize) -> IpAddr {
        IpAddr::from([10, 0, 0, u8::try_from(index + 1).unwrap()])
    }

    /// Whose address it is.
    fn at(addr: &SocketAddr) -> usize {
        match addr.ip() {
            IpAddr::V4(ip) => usize::from(ip.octets()[3]) - 1,
            IpAddr::V6(_) => unreachable!(),
        }
    }

    /// Somebody answers there.
    fn is_there(&self, index: usize) -> bool {
        !self.frozen.contains(&index) && self.finished[index].is_none()
    }

    fn open(&mut self, from: usize, to: usize, kind: LinkKind) {
        let (near, far) = ((from, self.conn()), (to, self.conn()));
        self.pending.insert(far, (near, kind));
        let now = self.now;
        let ip = self.one_address.filter(|_| to == 0).unwrap_or(from);
        self.nodes[to].handle(now, Input::Incoming(far.1, Self::ip(ip)));
        self.nodes[to].handle(now, Input::Spoke(far.1));
        self.drain(to);
    }

    fn proceed(&mut self, far: End) {
        let Some((near, kind)) = self.pending.remove(&far) else { return };
        self.links.insert(near, far);
        self.links.insert(far, near);
        let at = |end: End| SocketAddr::new(Self::ip(end.0), 50_000);
        for (end, other, link) in [
            (
                far,
                near,
                match kind {
                    LinkKind::JoinOut => LinkKind::JoinIn,
                    _ => LinkKind::PeerIn,
                },
            ),
            (near, far, kind),
        ] {
            let secured = Secured { peer: self.ids[other.0], binding: [7; 32] };
            let (mut remote, local) = (at(other), at(end));
            if let (Some(one), 0) = (self.one_address, end.0) {
                remote = SocketAddr::new(Self::ip(one), 50_000);
            }
            let connected = Connected { link, secured, remote, local, listening: vec![at(end)], via: None };
            self.nodes[end.0].handle(self.now, Input::Connected(end.1, connected));
        }
    }

    #[allow(clippy::too_many_lines, reason = "one arm an output")]
    fn drain(&mut self, index: usize) {
        while let Some(output) = self.nodes[index].poll_output() {
            match output {
                Output::Proceed(conn) => {
                    let near = self.pending.get(&(index, conn)).map(|(near, _)| near.0);
                    self.proceed((index, conn));
                    if let Some(near) = near {
                        self.drain(near);
                    }
                }
                Output::SendObject(conn, bytes) => {
                    let object = Object::decode(&bytes).unwrap();
                    self.classic.get_mut(&(index, conn)).unwrap().push(object);
                }
                Output::SendClassic(peer, _, from, bytes) => {
                    self.said.push((index, peer, from, Object::decode(&bytes).unwrap()));
                }
                Output::Distribution(addr) => self.distribution = Some(addr),
                Output::Send(conn, _) if self.dead.contains(&(index, conn)) => {}
                Output::Send(conn, bytes) if self.relays.relays_over((index, conn)) => {
                    self.send_in_relayed((index, conn), bytes);
                }
                Output::Close(conn, _) if self.relays.relays_over((index, conn)) => {
                    self.close_in_relayed((index, conn));
                }
                Output::OpenRelayed { relayed, relay, to, .. } => {
                    self.open_relayed(index, relayed, relay, to);
                }
                Output::FeedRelayed(relayed, bytes) => self.feed_relayed(index, relayed, &bytes),
                Output::CloseRelayed(relayed) => self.close_relayed(index, relayed),
                Output::Send(conn, bytes) => {
                    assert!(bytes.len() <= limits::FRAME_AFTER, "a frame of {} bytes", bytes.len());
                    let frame = Frame::decode(&bytes).unwrap();
                    if let Some(other) = self.links.get(&(index, conn)) {
                        self.queue.push_back(Delivery::Frame(*other, frame));
                    }
                }
                Output::Close(conn, _) => {
                    if self.classic.contains_key(&(index, conn)) {
                        self.shut.insert((index, conn));
                    }
                    if let Some(other) =
                        self.links.remove(&(index, conn)).filter(|other| !self.dead.contains(other))
                    {
                        self.queue.push_back(Delivery::Closed(other));
                    }
                    if let Some((near, _)) = self.pending.remove(&(index, conn)) {
                        self.nodes[near.0].handle(self.now, Input::JoinFailed(CloseReason::Busy.into()));
                    }
                    self.nodes[index].handle(self.now, Input::Closed(conn, CloseReason::Left.into()));
                }
                // The test opens it.
                Output::Join(..) if self.plain_joins => {}
                Output::Join(target, addrs) => {
                    let named = self.names.get(&target).copied().unwrap_or(0);
                    let host = addrs.first().map_or(named, Self::at);
                    let host = self.moved.filter(|(from, _)| *from == host).map_or(host, |(_, to)| to);
                    if self.is_there(host) {
                        self.open(index, host, LinkKind::JoinOut);
                    } else {
                        let closed = CloseReason::Unreachable.into();
                        self.nodes[index].handle(self.now, Input::JoinFailed(closed));
                    }
                }
                Output::OpenJoin(port) => {
                    let addr = SocketAddr::new(Self::ip(index), port);
                    let peer_addrs = vec![SocketAddr::new(Self::ip(index), 50_000)];
                    let port = JoinPort { addr, addrs: vec![addr], peer_addrs };
                    self.nodes[index].handle(self.now, Input::JoinOpened(Ok(port)));
                }
                Output::LookForDeputy(_, addrs, says) => {
                    let listens = |addr: &&SocketAddr| {
                        let to = Self::at(addr);
                        self.is_there(to) && self.nodes[to].join_addr().is_none_or(|at| at == **addr)
                    };
                    let to = addrs.iter().find(listens).map(Self::at);
                    let shown = to.and_then(|to| match &self.nodes[to].role {
                        node::Role::Host(host) => host.opened_by().cloned().map(Box::new),
                        node::Role::Member(member) => member.opened_by().cloned().map(Box::new),
                    });
                    if let (Some(to), Some(_), Some(says)) = (to, &shown, says) {
                        let conn = self.conn();
                        let (remote, local) =
                            (SocketAddr::new(Self::ip(index), 9), SocketAddr::new(Self::ip(to), 4702));
                        let secured = Secured { peer: self.ids[index], binding: [0; 32] };
                        let link = LinkKind::JoinIn;
                        let connected =
                            Connected { link, secured, remote, local, listening: Vec::new(), via: None };
                        self.nodes[to].handle(self.now, Input::Connected(conn, connected));
                        self.nodes[to].handle(self.now, Input::Frame(conn, Frame::decode(&says).unwrap()));
                        self.drain(to);
                    }
                    self.nodes[index].handle(self.now, Input::LookedForDeputy(shown));
                }
                Output::Store(StoreCommand::KeepDeputyship(given)) => {
                    self.deputyships.insert(index, given);
                }
                Output::Probe(_, addrs) => {
                    let blocked = addrs.first().map(Self::at).filter(|to| self.blocked == Some((index, *to)));
                    let result = blocked.map_or(Ok(()), |_| Err(CloseReason::Unreachable.into()));
                    self.nodes[index].handle(self.now, Input::Probed(result));
                }
                Output::Dial(peer, addrs) => {
                    assert!(!addrs.is_empty());
                    let to = self.ids.iter().rposition(|id| *id == peer).unwrap();
                    let is_closed = self.closed.contains(&(index, to));
                    if is_closed || self.frozen.contains(&to) || self.finished[to].is_some() {
                        let closed = CloseReason::NothingListens.into();
                        self.nodes[index].handle(self.now, Input::DialFailed(peer, closed));
                    } else {
                        self.open(index, to, LinkKind::PeerOut);
                    }
                }
                Output::Prove(conn, proof, ke2) => {
                    let answer = proof.answer(&ke2).ok();
                    self.compared += 1;
                    if self.hold_proofs {
                        self.held_proofs.push((index, conn, answer));
                        continue;
                    }
                    self.nodes[index].handle(self.now, Input::Proven(conn, answer));
                }
                Output::Register(password) if self.hold_records => {
                    self.held_records.push((index, password));
                }
                Output::Register(password) => {
                    let record = HostRecord::register(&password, PasswordCost::TEST, [9; 32]).unwrap();
                    self.nodes[index].handle(self.now, Input::Registered(record.into()));
                }
                Output::Store(StoreCommand::SaveHost { token, .. }) if self.is_disk_full => {
                    let message = "cannot write host.json: the disk is full".to_owned();
                    let event = StoreEvent::Failed { token: Some(token), message };
                    self.nodes[index].handle(self.now, Input::Store(event));
                }
                Output::Store(StoreCommand::SaveHost { token, state }) if self.hold_saves => {
                    self.saved.push(*state);
                    self.held_saves.push(token);
                }
                Output::Store(StoreCommand::SaveHost { token, state }) => {
                    self.saved.push(*state);
                    self.nodes[index].handle(self.now, Input::Store(StoreEvent::Saved(token)));
                }
                Output::Store(StoreCommand::KeepPackage { token, .. }) if self.hold_packages => {
                    self.held_packages.push(token);
                }
                Output::Store(StoreCommand::KeepPackage { token, .. }) => {
                    self.nodes[index].handle(self.now, Input::Store(StoreEvent::Saved(token)));
                }
                Output::Store(StoreCommand::RetireHost) if self.hold_retired => {
                    self.stores[index].retired += 1;
                }
                Output::Store(StoreCommand::RetireHost) => {
                    self.stores[index].retired += 1;
                    self.nodes[index].handle(self.now, Input::Store(StoreEvent::Retired));
                }
                Output::Store(command) => {
                    for event in self.stores[index].command(command) {
                        self.nodes[index].handle(self.now, Input::Store(StoreEvent::History(event)));
                    }
                }
                Output::Event(event) => self.events[index].extend(event.expand()),
                Output::Finished(closed) => self.finished[index] = Some(closed),
                Output::MapPorts(ports) => {
                    let mapped = self.router.clone().map(|join| PortMapping {
                        join,
                        peer: Some(SocketAddr::new(join.ip(), ports.peer.port())),
                        protocol: crate::model::MappingProtocol::Pcp,
                        lifetime: Duration::from_secs(600),
                    });
                    self.mapped.push(Some(ports));
                    self.nodes[index].handle(self.now, Input::PortsMapped(mapped));
                }
                Output::ReleasePorts => self.mapped.push(None),
                Output::Announce { network, .. } => self.announced.push((index, Some(network))),
                Output::Withdraw => self.announced.push((index, None)),
                Output::Authenticated(_) | Output::CloseJoin | Output::CreditRelayed(..) => {}
            }
        }
    }

    /// Delivers everything that is on its way to somebody who is awake.
    fn run(&mut self) {
        loop {
            for index in 0..self.nodes.len() {
                if !self.frozen.contains(&index) {
                    self.drain(index);
                }
            }
            let end = |delivery: &Delivery| match delivery {
                Delivery::Frame(end, _) | Delivery::Closed(end) => end.0,
            };
            let Some(at) = self.queue.iter().position(|item| !self.frozen.contains(&end(item))) else {
                return;
            };
            match self.queue.remove(at).unwrap() {
                Delivery::Frame(end, frame) => {
                    self.nodes[end.0].handle(self.now, Input::Frame(end.1, frame));
                }
                Delivery::Closed(end) => {
                    if self.links.remove(&end).is_some() {
                        let closed = CloseReason::ConnectionLost.into();
                        self.nodes[end.0].handle(self.now, Input::Closed(end.1, closed));
                    }
                }
            }
        }
    }

    /// Lets time pass.
    fn wait(&mut self, seconds: f64) {
        let until = self.now.plus(Duration::from_secs_f64(seconds));
        loop {
            self.run();
            let awake = |index: &usize| !self.frozen.contains(index);
            let next = (0..self.nodes.len())
                .filter(awake)
                .filter_map(|index| self.nodes[index].poll_timeout())
                .min()
                .filter(|at| *at <= until.instant);
            let Some(at) = next else { break };
            self.now = self.now.plus(at.saturating_duration_since(self.now.instant));
            for index in 0..self.nodes.len() {
                if !self.frozen.contains(&index) {
                    self.nodes[index].handle_timeout(self.now);
                }
            }
        }
        self.now = until;
        self.run();
    }

    /// The peer link of a node to another one.
    fn peer_link(&self, near: usize, far: usize) -> ConnId {
        let is_meant = |(here, there): &(&End, &End)| {
            here.0 == near && there.0 == far && self.nodes[near].mesh.links.has(here.1)
        };
        self.links.iter().find(is_meant).map(|(here, _)| here.1).unwrap()
    }

    /// Another link of a member to its host, which nobody answers.
    fn knocks(&mut self, member: usize, link: LinkKind) -> ConnId {
        let conn = self.conn();
        let remote = SocketAddr::new(Self::ip(member), 2);
        let secured = Secured { peer: self.ids[member], binding: [0; 32] };
        let connected = Connected { link, secured, remote, local: remote, listening: Vec::new(), via: None };
        self.nodes[0].handle(self.now, Input::Connected(conn, connected));
        conn
    }

    fn outputs(&mut self, index: usize) -> Vec<Output> {
        std::iter::from_fn(|| self.nodes[index].poll_output()).collect()
    }

    fn command(&mut self, index: usize, command: NodeCommand) {
        self.nodes[index].handle(self.now, Input::Command(command));
        self.run();
    }

    fn say(&mut self, index: usize, to: &str, text: &str) {
        let line = serde_json::json!({"cmd": "send", "to": to, "text": text, "ref": text});
        self.command(index, serde_json::from_value(line).unwrap());
    }

    /// A batch of one, as a changed client might send it.
    fn batch_of(&self, stream: StreamId, sequence: u64, text: &str) -> Batch {
        let texts = vec![SafeText::clean(text)];
        Batch { stream, first: sequence, sent_at: self.now.wall, texts, signature: None }
    }

    fn ban(&mut self, peer: &str) {
        let line = serde_json::json!({"cmd": "ban", "peer": peer, "reason": "spam"});
        self.command(0, serde_json::from_value(line).unwrap());
    }

    /// Texts that arrived.
    fn heard(&self, index: usize) -> Vec<String> {
        let text = |event: &NodeEvent| match event {
            NodeEvent::Message { text, from, own: false, missed, .. } if *missed > 0 => {
                Some(format!("{}: {text} ({missed} missed)", from.alias))
            }
            NodeEvent::Message { text, from, own: false, .. } => Some(format!("{}: {text}", from.alias)),
            _ => None,
        };
        self.events[index].iter().filter_map(text).collect()
    }

    /// What became of our own messages: reference, recipient, status, summary.
    fn deliveries(&self, index: usize) -> Vec<String> {
        let line = |event: &NodeEvent| match event {
            NodeEvent::Delivery { reference, peer, status, reason, summary, .. } => {
                let reason = reason.map(|reason| format!(" {}", reason.code())).unwrap_or_default();
                let reference = reference.as_deref().unwrap_or_default();
                Some(format!("{reference} {} {status:?}{reason} {summary}", peer.alias))
            }
            _ => None,
        };
        self.events[index].iter().filter_map(line).collect()
    }

    fn roster(&self, index: usize) -> Vec<String> {
        let names = |event: &NodeEvent| match event {
            NodeEvent::Roster { peers, .. } => {
                Some(peers.iter().map(|peer| peer.alias.to_string()).collect::<Vec<_>>())
            }
            _ => None,
        };
        self.events[index].iter().rev().find_map(names).unwrap_or_default()
    }

    fn errors(&self, index: usize) -> Vec<String> {
        let message = |event: &NodeEvent| match event {
            NodeEvent::Error { message, .. } => Some(message.to_string()),
            _ => None,
        };
        self.events[index].iter().filter_map(message).collect()
    }

    fn end(&self, index: usize) -> Option<CloseReason> {
        self.finished[index].as_ref().map(|closed| closed.reason)
    }

    fn has(&self, index: usize, matches: impl Fn(&NodeEvent) -> bool) -> bool {
        self.events[index].iter().any(matches)
    }
}

#[test]
fn members_are_admitted_and_talk() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    for index in [0, ann, bob] {
        assert_eq!(sim.roster(index), ["host", "ann", "bob"]);
    }
    sim.say(ann, "everyone", "hello");
    sim.say(bob, "ann", "psst");
    assert_eq!(sim.heard(0), ["ann: hello"]);
    assert_eq!(sim.heard(bob), ["ann: hello"]);
    assert_eq!(sim.heard(ann), ["bob: psst"]);
    let deliveries = sim.deliveries(ann);
    assert!(deliveries.last().unwrap().ends_with("Delivered 2/2"), "{deliveries:?}");
    assert_eq!(sim.deliveries(bob).last().unwrap(), "psst ann Delivered 1/1");
}

#[test]
fn events_of_a_join_come_in_order() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    let names: Vec<&str> = sim.events[ann]
        .iter()
        .map(|event| match event {
            NodeEvent::Link { .. } => "link",
            NodeEvent::Listening { .. } => "listening",
            NodeEvent::Authenticated { .. } => "authenticated",
            NodeEvent::Roster { .. } => "roster",
            NodeEvent::Heartbeat { .. } => "heartbeat",
            NodeEvent::History { .. } => "history",
            _ => "other",
        })
        .collect();
    assert_eq!(names, ["link", "link", "listening", "authenticated", "roster", "history", "heartbeat"]);
}

#[test]
fn a_wrong_password_is_counted_and_the_third_bans_the_address() {
    let mut sim = Sim::host();
    let mut wrong = |expected: CloseReason, words: &str| {
        let index = sim.nodes.len();
        let identity = Identity::generate().unwrap().0;
        sim.ids.truncate(index);
        let at = sim.join_as("mallory", "guess", identity);
        sim.wait(0.1);
        let closed = sim.finished[at].clone().unwrap();
        assert_eq!(closed.reason, expected);
        assert!(closed.to_string().contains(words), "{closed}");
        // Take the node out again so that the next one has its address.
        sim.nodes.pop();
        sim.ids.pop();
        sim.events.pop();
        sim.finished.pop();
        sim.links.retain(|end, other| end.0 != at && other.0 != at);
        sim.queue.clear();
    };
    wrong(CloseReason::WrongPassword, "2 attempts are left");
    wrong(CloseReason::WrongPassword, "1 attempt is left");
    wrong(CloseReason::WrongPassword, "no attempts are left");
    wrong(CloseReason::Banned, "the host has banned you (3 wrong passwords)");
    let lefts: Vec<u32> = sim.events[0]
        .iter()
        .filter_map(|event| match event {
            NodeEvent::Attempt { left, .. } => Some(*left),
            _ => None,
        })
        .collect();
    assert_eq!(lefts, [2, 1, 0]);
    assert!(sim.has(0, |event| matches!(event, NodeEvent::Banned { addr: Some(_), peer_id: None, .. })));
    let lift = serde_json::json!({"cmd": "unban", "addr": "10.0.0.2"});
    sim.command(0, serde_json::from_value(lift).unwrap());
    let index = sim.join("mallory");
    assert_eq!(sim.end(index), None);
}

#[test]
fn a_ban_cuts_off_everywhere_and_lasts_until_it_is_lifted() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.say(ann, "everyone", "before");
    sim.ban("bob");
    sim.wait(0.1);
    assert_eq!(sim.end(bob), Some(CloseReason::Banned));
    assert!(sim.has(bob, |event| matches!(event, NodeEvent::Banned { .. })));
    assert_eq!(sim.roster(ann), ["host", "ann"]);
    assert!(sim.has(ann, |event| {
        matches!(event, NodeEvent::PeerDown { peer, reason: CloseReason::Banned } if peer.alias.as_str() == "bob")
    }));
    assert!(sim.has(0, |event| matches!(event, NodeEvent::CutOff { by: 1, of: 1, .. })));
    let open = |index: usize| sim.links.keys().filter(|end| end.0 == index).count();
    assert_eq!(open(bob), 0, "no link of the banned peer is left");
    assert_eq!(sim.saved.last().unwrap().bans.len(), 1, "kept");
    let lift = serde_json::json!({"cmd": "unban", "peer": "bob"});
    sim.command(0, serde_json::from_value(lift).unwrap());
    assert!(sim.has(0, |event| matches!(event, NodeEvent::Unbanned { .. })));
    assert!(sim.saved.last().unwrap().bans.is_empty());
    let again = sim.join("bob");
    assert_eq!(sim.end(again), None);
}

#[test]
fn a_banned_key_does_not_come_back_by_itself() {
    let mut sim = Sim::host();
    let (identity, bytes) = Identity::generate().unwrap();
    let bob = sim.join_as("bob", PASSWORD, identity);
    sim.wait(0.1);
    sim.ban("bob");
    sim.wait(1.0);
    assert_eq!(sim.end(bob), Some(CloseReason::Banned));
    let again = sim.join_as("rob", PASSWORD, Identity::from_pkcs8(&bytes).unwrap());
    sim.wait(0.1);
    assert_eq!(sim.end(again), Some(CloseReason::Banned));
}

#[test]
fn an_address_ban_stops_a_new_key_with_the_old_password() {
    let mut sim = Sim::host();
    let bob = sim.join("bob");
    let addr = Sim::ip(bob).to_string();
    let ban = serde_json::json!({"cmd": "ban", "peer": "bob", "addr": addr});
    sim.command(0, serde_json::from_value(ban).unwrap());
    assert_eq!(sim.end(bob), Some(CloseReason::Banned));
    assert!(
        sim.has(0, |event| { matches!(event, NodeEvent::Banned { peer_id: Some(_), addr: Some(_), .. }) })
    );
    // The next node has another address: a control that it is the address that is refused.
    let other = sim.join("other");
    assert_eq!(sim.end(other), None);
    let far = (0, sim.conn());
    sim.links.insert(far, (99, ConnId(0)));
    let secured = Secured { peer: Identity::generate().unwrap().0.peer_id(), binding: [0; 32] };
    let remote = SocketAddr::new(Sim::ip(bob), 1);
    let connected = Connected {
        link: LinkKind::JoinIn,
        secured,
        remote,
        local: remote,
        listening: Vec::new(),
        via: None,
    };
    sim.nodes[0].handle(sim.now, Input::Connected(far.1, connected));
    let first = std::iter::from_fn(|| sim.nodes[0].poll_output()).find_map(|output| match output {
        Output::Send(_, bytes) => Frame::decode(&bytes).ok(),
        _ => None,
    });
    assert!(matches!(first, Some(Frame::BannedStatus(crate::wire::BannedStatus::Banned { .. }))));
}

#[test]
fn a_kicked_member_may_join_again_with_the_password() {
    let mut sim = Sim::host();
    let (identity, bytes) = Identity::generate().unwrap();
    let bob = sim.join_as("bob", PASSWORD, identity);
    sim.wait(0.1);
    let kick = serde_json::json!({"cmd": "kick", "peer": "bob", "reason": "too loud"});
    sim.command(0, serde_json::from_value(kick).unwrap());
    assert_eq!(sim.end(bob), Some(CloseReason::Kicked));
    assert!(sim.errors(bob)[0].contains("too loud"));
    let wrong = sim.join_as("bob", "guess", Identity::from_pkcs8(&bytes).unwrap());
    sim.wait(0.1);
    assert_eq!(sim.end(wrong), Some(CloseReason::WrongPassword), "the key is forgotten");
    let again = sim.join_as("bob", PASSWORD, Identity::from_pkcs8(&bytes).unwrap());
    sim.wait(0.1);
    assert_eq!(sim.end(again), None);
}

#[test]
fn only_the_host_bans() {
    let mut sim = Sim::host();
    let (ann, _) = (sim.join("ann"), sim.join("bob"));
    let ban = serde_json::json!({"cmd": "ban", "peer": "bob"});
    sim.command(ann, serde_json::from_value(ban).unwrap());
    assert_eq!(sim.errors(ann), ["only the host can do that"]);
    assert_eq!(sim.roster(0).len(), 3);
    sim.ban("host");
    assert!(sim.errors(0)[0].contains("cannot ban itself"));
}

#[test]
fn a_silent_member_is_removed_and_comes_back_without_a_password() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.wait(3.0);
    sim.frozen.insert(bob);
    sim.wait(7.0);
    assert!(sim.has(0, |event| matches!(event, NodeEvent::Heartbeat { state: Liveness::Suspect, .. })));
    assert_eq!(sim.roster(ann), ["host", "ann", "bob"]);
    sim.say(ann, "everyone", "for bob too");
    sim.wait(6.0);
    assert_eq!(sim.roster(ann), ["host", "ann"]);
    assert!(sim.has(ann, |event| {
        matches!(event, NodeEvent::PeerDown { reason: CloseReason::HeartbeatTimeout, .. })
    }));
    sim.wait(20.0);
    sim.frozen.clear();
    sim.wait(2.0);
    for index in [0, ann, bob] {
        assert_eq!(sim.roster(index), ["host", "ann", "bob"]);
    }
    assert_eq!(sim.end(bob), None);
    assert_eq!(sim.heard(bob), ["ann: for bob too"], "what waited arrived");
    assert_eq!(sim.deliveries(ann).last().unwrap(), "for bob too bob Delivered 2/2");
}

#[test]
fn four_seconds_of_silence_change_nothing() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.wait(3.0);
    sim.frozen.insert(bob);
    sim.wait(4.0);
    sim.frozen.clear();
    sim.wait(10.0);
    let down = |event: &NodeEvent| matches!(event, NodeEvent::PeerDown { .. });
    for index in [0, ann, bob] {
        assert!(!sim.has(index, down));
    }
}

/// Stopped at any time between two beats, and the clock is looked at before what came meanwhile is read.
#[test]
fn a_member_that_was_stopped_does_not_take_its_host_for_silent() {
    for phase in 0..25 {
        let mut sim = Sim::host();
        let bob = sim.join("bob");
        sim.wait(3.0 + 0.1 * f64::from(phase));
        sim.frozen.insert(bob);
        sim.wait(5.5);
        sim.nodes[bob].handle_timeout(sim.now);
        sim.frozen.clear();
        sim.wait(10.0);
        for index in [0, bob] {
            assert!(!sim.has(index, |event| matches!(event, NodeEvent::PeerDown { .. })), "phase {phase}");
        }
    }
}

#[test]
fn a_host_that_slept_finds_its_members_again() {
    let mut sim = Sim::host();
    let (ann, _) = (sim.join("ann"), sim.join("bob"));
    sim.wait(3.0);
    sim.frozen.insert(0);
    sim.wait(30.0);
    assert!(
        sim.has(ann, |event| matches!(event, NodeEvent::Link { state: crate::api::LinkState::Waiting, .. }))
    );
    sim.frozen.clear();
    sim.wait(8.0);
    assert_eq!(sim.roster(0), ["host", "ann", "bob"]);
    assert_eq!(sim.roster(ann), ["host", "ann", "bob"]);
    sim.say(ann, "everyone", "back");
    assert_eq!(sim.heard(0), ["ann: back"]);
}

#[test]
fn a_member_gives_up_on_a_lost_host_in_the_end() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    sim.command(0, NodeCommand::Leave);
    assert_eq!(sim.end(0), Some(CloseReason::Left));
    assert!(sim.errors(ann)[0].contains("the host left and closed the network"));
    sim.wait(limits::REJOIN_FOR.as_secs_f64() - 1.0);
    assert_eq!(sim.end(ann), None);
    sim.wait(2.0);
    assert_eq!(sim.end(ann), Some(CloseReason::HostLost));
}

#[test]
fn without_the_host_members_go_on_for_a_while_and_then_are_out_until_it_is_back() {
    for grace in [0, 120] {
        let mut sim = Sim::host_with(|config| config.policy.grace = grace);
        let (ann, bob) = (sim.join("ann"), sim.join("bob"));
        sim.frozen.insert(0);
        // The host is noticed to be gone after a while.
        sim.wait(13.0);
        let alone = |event: &NodeEvent| matches!(event, NodeEvent::Link { alone_until: Some(_), .. });
        assert_eq!(sim.has(ann, alone), grace > 0);
        sim.say(ann, "everyone", "still here?");
        sim.wait(0.1);
        let heard = if grace == 0 { vec![] } else { vec!["ann: still here?".to_owned()] };
        assert_eq!(sim.heard(bob), heard, "grace {grace}");
        sim.wait(f64::from(grace) + 10.0);
        assert_eq!(sim.roster(ann), ["ann"], "out");
        sim.say(ann, "everyone", "anybody?");
        assert!(sim.errors(ann).last().unwrap().contains("not connected"));
        assert_eq!(sim.end(ann), None, "it waits for the host");
        sim.frozen.remove(&0);
        sim.wait(20.0);
        assert_eq!(sim.roster(ann), ["host", "ann", "bob"]);
        assert_eq!(sim.roster(bob), ["host", "ann", "bob"]);
        sim.say(ann, "everyone", "back");
        sim.wait(0.1);
        assert_eq!(sim.heard(bob).last().unwrap(), "ann: back");
    }
}

#[test]
fn a_newcomer_is_told_that_it_is_in_once_the_host_would_know_it_again() {
    let mut sim = Sim::host();
    let (key, again) = history::identity();
    let ann = sim.join_as("ann", PASSWORD, key);
    sim.hold_saves = true;
    let bob = sim.join("bob");
    sim.wait(1.0);
    assert_eq!(sim.roster(ann), ["host", "ann", "bob"]);
    assert!(!sim.has(bob, |event| matches!(event, NodeEvent::Authenticated { .. })));
    let token = *sim.held_saves.last().unwrap();
    sim.nodes[0].handle(sim.now, Input::Store(StoreEvent::Saved(token)));
    sim.run();
    assert_eq!(sim.roster(bob), ["host", "ann", "bob"]);
    // Whom it knows already needs to wait for no disk.
    sim.crash(ann);
    let ann = sim.join_as("ann", PASSWORD, again);
    sim.wait(1.0);
    assert!(sim.has(ann, |event| matches!(event, NodeEvent::Authenticated { .. })));
}

#[test]
fn members_of_a_host_that_crashed_are_expected_back() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    let kept = sim.saved.last().unwrap().clone();
    assert_eq!(
        kept.roster.iter().map(|entry| entry.peer_id).collect::<BTreeSet<_>>(),
        [ann, bob].map(|i| sim.ids[i]).into()
    );
    // A banned one is not, whatever was kept.
    let mut again = Sim::host_with(|config| {
        config.earlier.expected.clone_from(&kept.roster);
        config.kept.admitted =
            kept.admitted.iter().filter(|admitted| admitted.alias.as_str() == "ann").cloned().collect();
    });
    assert_eq!(again.roster(0), ["host", "ann"], "as if nothing had happened");
    again.wait(11.0);
    assert_eq!(again.roster(0), ["host", "ann"]);
    again.wait(2.0);
    assert_eq!(again.roster(0), ["host"], "but not for ever");
    assert!(
        again.has(0, |event| matches!(
            event,
            NodeEvent::PeerDown { reason: CloseReason::HeartbeatTimeout, .. }
        ))
    );
    // A host that leaves in order expects nobody.
    sim.command(0, NodeCommand::Leave);
    assert!(sim.saved.last().unwrap().roster.is_empty());
}

#[test]
fn who_slept_asks_to_be_admitted_again_at_once() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    sim.frozen.insert(ann);
    sim.wait(240.0);
    sim.frozen.remove(&ann);
    // The link is as dead as it would be after a change of network.
    sim.queue.retain(
        |delivery| !matches!(delivery, Delivery::Closed(end) | Delivery::Frame(end, _) if end.0 == ann),
    );
    sim.nodes[ann].handle(sim.now, Input::Suspended(Duration::from_secs(240)));
    sim.nodes[ann].handle_timeout(sim.now);
    sim.run();
    sim.wait(0.1);
    assert!(sim.has(ann, |event| *event == NodeEvent::Suspended { time: Duration::from_secs(240) }));
    assert_eq!(sim.roster(0), ["host", "ann"], "without waiting for the heartbeat");
}

#[test]
fn wrong_passwords_are_remembered_by_a_host_that_begins_again() {
    let mut sim = Sim::host();
    for _ in 0..2 {
        sim.join_as("guess", "wrong", Identity::generate().unwrap().0);
    }
    let kept = sim.saved.last().unwrap().attempts.clone();
    assert_eq!(kept.iter().map(|kept| kept.wrong).sum::<u32>(), 2);
    let one = KeptAttempts { wrong: 2, ..kept[0].clone() };
    let host = |last: Timestamp| {
        let one = KeptAttempts { last, ..one.clone() };
        Sim::host_with(|config| config.kept.attempts = vec![one])
    };
    let attempts = |sim: &Sim| {
        let left = |event: &NodeEvent| match event {
            NodeEvent::Admission { attempts, .. } => {
                Some(attempts.iter().map(|attempt| attempt.left).collect())
            }
            _ => None,
        };
        sim.events[0].iter().find_map(left).unwrap_or_else(Vec::new)
    };
    assert_eq!(attempts(&host(one.last)), [1]);
    let long_ago = Timestamp(one.last.0 - 700_000_000);
    assert_eq!(attempts(&host(long_ago)), Vec::<u32>::new(), "forgotten after ten quiet minutes");
}

#[test]
fn leaving_is_seen_and_what_is_on_its_way_arrives() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.say(ann, "everyone", "bye");
    sim.command(ann, NodeCommand::Leave);
    sim.wait(0.2);
    assert_eq!(sim.end(ann), Some(CloseReason::Left));
    assert!(matches!(sim.events[ann].last(), Some(NodeEvent::Left { reason: CloseReason::Left, .. })));
    assert_eq!(sim.heard(bob), ["ann: bye"]);
    assert!(sim.has(bob, |event| matches!(event, NodeEvent::PeerDown { reason: CloseReason::Left, .. })));
}

#[test]
fn leaving_does_not_wait_for_a_stalled_peer_and_says_what_did_not_arrive() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.frozen.insert(bob);
    sim.say(ann, "bob", "are you there");
    sim.command(ann, NodeCommand::Leave);
    assert_eq!(sim.end(ann), None);
    sim.wait(2.1);
    assert_eq!(sim.end(ann), Some(CloseReason::Left));
    assert_eq!(sim.deliveries(ann), ["are you there bob Queued 0/1", "are you there bob Failed left 0/1"]);
}

#[test]
fn aliases_are_unique_and_bound_to_keys() {
    let mut sim = Sim::host();
    sim.join("bob");
    for (alias, words) in
        [("bob", "belongs to another member"), ("b0b", "looks like \"bob\""), ("Host", "looks like")]
    {
        let index = sim.join(alias);
        assert_eq!(sim.end(index), Some(CloseReason::AliasTaken), "{alias}");
        assert!(sim.errors(index)[0].contains(words), "{:?}", sim.errors(index));
    }
}

#[test]
fn a_full_network_refuses() {
    let mut sim = Sim::host_with(|config| config.members = 2);
    sim.join("ann");
    let bob = sim.join("bob");
    assert_eq!(sim.end(bob), Some(CloseReason::NetworkFull));
}

#[test]
fn a_host_with_another_key_is_a_hard_stop() {
    let mut sim = Sim::host();
    let config = MemberConfig { pin: Some(PeerId([9; 32])), ..member_config(PASSWORD) };
    let identity = Identity::generate().unwrap().0;
    let ann = sim.add("ann", identity, RoleConfig::Member(Box::new(config)));
    assert_eq!(sim.end(ann), Some(CloseReason::KeyChanged));
    assert_eq!(sim.roster(0), ["host"]);
}

#[test]
fn a_stranger_at_the_address_of_a_host_that_is_away_is_not_the_host_and_no_end() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    let host = sim.ids[0];
    let link = sim.nodes[ann].role.group().join_links[&host];
    sim.plain_joins = true;
    sim.nodes[ann].handle(sim.now, Input::Closed(link, CloseReason::ConnectionLost.into()));
    sim.run();
    let stranger = |sim: &mut Sim, peer: PeerId| {
        let conn = sim.conn();
        let addr = "10.0.0.1:4702".parse().unwrap();
        let secured = Secured { peer, binding: [0; 32] };
        let link = LinkKind::JoinOut;
        let connected =
            Connected { link, secured, remote: addr, local: addr, listening: Vec::new(), via: None };
        sim.nodes[ann].handle(sim.now, Input::Connected(conn, connected));
        sim.run();
    };
    stranger(&mut sim, PeerId([9; 32]));
    // So is a program of another version, or of another kind.
    for reason in [CloseReason::IncompatibleVersion, CloseReason::NotPyile] {
        sim.wait(1.0);
        sim.nodes[ann].handle(sim.now, Input::JoinFailed(reason.into()));
        sim.run();
    }
    assert!(sim.finished[ann].is_none());
    let told = |event: &NodeEvent| match event {
        NodeEvent::Link { state: crate::api::LinkState::Waiting, message, .. } => {
            message.as_str().contains("the host is still away; a stranger")
        }
        _ => false,
    };
    assert!(sim.has(ann, told));
    sim.plain_joins = false;
    sim.wait(20.0);
    assert_eq!(sim.roster(ann), ["host", "ann"], "the host is back");
}

#[test]
fn the_newer_of_two_sessions_with_one_key_wins() {
    let mut sim = Sim::host();
    let (identity, bytes) = Identity::generate().unwrap();
    let first = sim.join_as("bob", PASSWORD, identity);
    sim.wait(0.1);
    let second = sim.join_as("bob", PASSWORD, Identity::from_pkcs8(&bytes).unwrap());
    sim.wait(0.1);
    assert_eq!(sim.end(first), Some(CloseReason::Superseded));
    assert_eq!(sim.end(second), None);
    assert_eq!(sim.roster(0), ["host", "bob"]);
}

#[test]
fn a_late_word_of_an_older_session_does_not_end_the_newer() {
    let mut sim = Sim::host();
    let bob = sim.join("bob");
    let (older, newer) = (sim.knocks(bob, LinkKind::JoinIn), sim.knocks(bob, LinkKind::JoinIn));
    // Both are known by their key; the newer one says so first.
    for conn in [newer, older] {
        let hello = Hello { alias: "bob".into(), addrs: Vec::new(), ke1: Vec::new() };
        sim.nodes[0].handle(sim.now, Input::Frame(conn, Frame::Hello(hello)));
    }
    let outputs = sim.outputs(0);
    let is_closed = |conn: ConnId| {
        outputs
            .iter()
            .any(|output| matches!(output, Output::Close(closed, CloseReason::Superseded) if *closed == conn))
    };
    assert!(is_closed(older) && !is_closed(newer));
}

#[test]
fn an_acknowledgement_goes_back_over_the_link_of_its_message() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    sim.say(ann, "host", "over the first link");
    let (_, second) = (sim.knocks(ann, LinkKind::PeerIn), sim.knocks(ann, LinkKind::PeerIn));
    let hello = crate::wire::PeerHello { network: NetworkId([1; 16]), now: Timestamp(0) };
    sim.nodes[0].handle(sim.now, Input::Frame(second, Frame::PeerHello(hello)));
    sim.outputs(0);
    for (sequence, over) in [(1, second), (2, sim.peer_link(0, ann)), (3, second)] {
        let stream = StreamId { author: sim.ids[ann], epoch: 99, to: Recipient::Peer(sim.ids[0]) };
        let said = sim.batch_of(stream, sequence, "hi");
        sim.nodes[0].handle(sim.now, Input::Frame(over, Frame::Batch(said.into())));
        let is_ack = |output: &&Output| matches!(output, Output::Send(_, bytes) if matches!(Frame::decode(bytes), Ok(Frame::Ack(_))));
        let outputs = sim.outputs(0);
        let links: Vec<ConnId> = outputs
            .iter()
            .filter(is_ack)
            .map(|output| match output {
                Output::Send(conn, _) => *conn,
                _ => unreachable!(),
            })
            .collect();
        assert_eq!(links, [over]);
    }
}

#[test]
fn texts_are_bounded_and_recipients_must_exist() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    sim.say(ann, "everyone", "");
    sim.say(ann, "everyone", &"x".repeat(limits::TEXT_BYTES + 1));
    sim.say(ann, "nobody", "hi");
    sim.say(ann, "ann", "hi");
    let errors = sim.errors(ann);
    assert_eq!(errors.len(), 4);
    assert!(errors[1].contains("16385 bytes, at most 16384"));
    sim.say(ann, "everyone", &"x".repeat(limits::TEXT_BYTES));
    assert_eq!(sim.heard(0).len(), 1);
}

#[test]
fn five_thousand_messages_arrive_in_order_and_once() {
    let policy = Policy { rate: 0, burst: 0, rate_bytes: 0, ..Policy::default() };
    let mut sim = Sim::host_with(|config| config.policy = policy);
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    for number in 0..5000 {
        sim.say(ann, "everyone", &number.to_string());
    }
    let expected: Vec<String> = (0..5000).map(|number| format!("ann: {number}")).collect();
    assert_eq!(sim.heard(0), expected);
    assert_eq!(sim.heard(bob), expected);
}

#[test]
fn a_flood_is_slowed_down_and_delays_only_its_author() {
    let policy = Policy { rate: 100, burst: 10, rate_bytes: 0, ..Policy::default() };
    let mut sim = Sim::host_with(|config| config.policy = policy);
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    for number in 0..200 {
        sim.say(ann, "bob", &number.to_string());
    }
    assert_eq!(sim.heard(bob).len(), 10, "the burst");
    sim.say(0, "bob", "prompt");
    assert_eq!(sim.heard(bob).last().unwrap(), "host: prompt");
    sim.wait(1.0);
    assert!((105..=115).contains(&sim.heard(bob).len()), "{}", sim.heard(bob).len());
    sim.wait(1.0);
    assert_eq!(sim.heard(bob).len(), 201, "nothing was dropped");
    assert_eq!(sim.deliveries(ann).iter().filter(|line| line.contains("Delivered")).count(), 200);
}

#[test]
fn what_waits_for_a_stalled_member_costs_a_cursor_and_nobody_else_waits() {
    let policy = Policy { rate: 0, burst: 0, rate_bytes: 0, ..Policy::default() };
    let mut sim = Sim::host_with(|config| config.policy = policy);
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.frozen.insert(bob);
    for number in 0..3000 {
        sim.say(ann, "everyone", &number.to_string());
    }
    assert_eq!(sim.heard(0).len(), 3000);
    assert!(!sim.deliveries(ann).iter().any(|line| line.contains("Failed")));
    sim.frozen.clear();
    sim.wait(1.0);
    let expected: Vec<String> = (0..3000).map(|number| format!("ann: {number}")).collect();
    assert_eq!(sim.heard(bob), expected);
    assert!(sim.deliveries(ann).last().unwrap().ends_with("Delivered 2/2"));
}

#[test]
fn a_member_that_acknowledges_one_message_at_a_time_holds_back_nobody() {
    let policy = Policy { rate: 0, burst: 0, rate_bytes: 0, ..Policy::default() };
    let mut sim = Sim::host_with(|config| config.policy = policy);
    let (slow, bob) = (sim.join("slow"), sim.join("bob"));
    sim.say(0, "everyone", "warm");
    let conn = sim.peer_link(0, slow);
    // What it says of itself over this link is not heard; the test says it in its place.
    sim.dead.insert(sim.links[&(0, conn)]);
    let epoch = sim.events[0].iter().find_map(|event| match event {
        NodeEvent::Delivery { id, .. } => Some(id.epoch),
        _ => None,
    });
    for number in 0..3000 {
        sim.say(0, "everyone", &number.to_string());
    }
    assert_eq!(sim.heard(bob).len(), 3001, "nobody else waits");
    for acknowledged in 2..100 {
        let ack = Ack { everyone: true, epoch: epoch.unwrap(), received: acknowledged, kept: 0 };
        sim.nodes[0].handle(sim.now, Input::Frame(conn, Frame::Ack(ack)));
        sim.wait(0.9);
        sim.say(0, "bob", "prompt");
        assert_eq!(sim.heard(bob).last().unwrap(), "host: prompt");
    }
    assert!(sim.links.contains_key(&(0, conn)), "who is slow is not cut off");
    assert!(!sim.deliveries(0).iter().any(|line| line.contains("Failed")));
    sim.ban("slow");
    sim.wait(0.1);
    assert!(sim.finished[slow].is_some(), "a ban does not wait either");
    let deliveries = sim.deliveries(0);
    let ends = [" slow Delivered", " slow Sent", " slow Failed"];
    let ended =
        deliveries.iter().filter_map(|line| ends.iter().find_map(|end| Some(line.split_once(end)?.0)));
    assert_eq!(ended.collect::<BTreeSet<_>>().len(), 3001, "everything ends");
}

#[test]
fn a_lost_delta_is_asked_for_again() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    let end = *sim.links.keys().find(|end| end.0 == ann).unwrap();
    let delta = crate::wire::RosterDelta {
        from: 90,
        to: 91,
        removed: Vec::new(),
        updated: Vec::new(),
        departed: Vec::new(),
        signature: Signature([0; 64]),
    };
    sim.wait(1.0);
    sim.queue.push_back(Delivery::Frame(end, Frame::RosterDelta(delta)));
    sim.run();
    sim.wait(0.6);
    let moved = |event: &NodeEvent| matches!(event, NodeEvent::PeerUp { .. } | NodeEvent::PeerDown { .. });
    assert!(!sim.has(ann, moved), "the whole came and changed nothing");
    sim.join("bob");
    assert_eq!(sim.roster(ann), ["host", "ann", "bob"], "and deltas are taken on again");
}

#[test]
fn a_kick_and_a_ban_reach_a_join_link_that_was_opened_before() {
    for (cmd, reason) in [("kick", CloseReason::Kicked), ("ban", CloseReason::Banned)] {
        let mut sim = Sim::host();
        let bob = sim.join("bob");
        let conn = sim.knocks(bob, LinkKind::JoinIn);
        let line = serde_json::json!({"cmd": cmd, "peer": "bob"});
        sim.command(0, serde_json::from_value(line).unwrap());
        let hello = Hello { alias: "bob".into(), addrs: Vec::new(), ke1: Vec::new() };
        sim.nodes[0].handle(sim.now, Input::Frame(conn, Frame::Hello(hello)));
        let told = |output: &Output| matches!(output, Output::Close(closed, why) if (*closed, *why) == (conn, reason));
        assert!(sim.outputs(0).iter().any(told), "{cmd}: it is told why");
        sim.wait(0.2);
        assert_eq!(sim.roster(0), ["host"]);
    }
}

#[test]
fn a_peer_that_takes_links_and_never_greets_costs_one_link_at_a_time() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.frozen.insert(bob);
    let dials = |node: &mut Node| {
        let outputs = std::iter::from_fn(|| node.poll_output());
        outputs.filter(|output| matches!(output, Output::Dial(..))).count()
    };
    let send = || NodeCommand::Send {
        to: Target::Peer(crate::api::PeerName::Alias("bob".into())),
        text: "hi".into(),
        reference: None,
    };
    sim.nodes[ann].handle(sim.now, Input::Command(send()));
    assert_eq!(dials(&mut sim.nodes[ann]), 1);
    let secured = Secured { peer: sim.ids[bob], binding: [0; 32] };
    let remote = SocketAddr::new(Sim::ip(bob), 50_000);
    let connected = Connected {
        link: LinkKind::PeerOut,
        secured,
        remote,
        local: remote,
        listening: Vec::new(),
        via: None,
    };
    sim.nodes[ann].handle(sim.now, Input::Connected(ConnId(5000), connected));
    for _ in 0..50 {
        sim.nodes[ann].handle(sim.now, Input::Command(send()));
    }
    assert_eq!(dials(&mut sim.nodes[ann]), 0, "the link that is being opened is waited for");
    sim.now = sim.now.plus(2 * limits::ROSTER_PATIENCE);
    sim.nodes[ann].handle_timeout(sim.now);
    let closed = std::iter::from_fn(|| sim.nodes[ann].poll_output())
        .any(|output| matches!(output, Output::Close(ConnId(5000), _)));
    assert!(closed, "but not for ever");
}

#[test]
fn another_authors_name_a_strangers_link_and_odd_frames_end_the_link() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.say(ann, "bob", "hi");
    let bob_end = *sim.links.keys().rfind(|end| end.0 == bob).unwrap();
    let stream = |author: PeerId| StreamId { author, epoch: 1, to: Recipient::Everyone };
    let host = sim.ids[0];
    let forged = Frame::Batch(sim.batch_of(stream(host), 1, "forged").into());
    sim.queue.push_back(Delivery::Frame(bob_end, forged));
    sim.run();
    assert_eq!(sim.heard(bob), ["ann: hi"]);
    assert!(sim.errors(bob)[0].contains("ann sent a frame that has no place there"));
    assert!(!sim.links.contains_key(&bob_end), "the link is cut");
    sim.say(ann, "bob", "again");
    assert_eq!(sim.heard(bob), ["ann: hi", "ann: again"], "a new one works");

    let stranger = Identity::generate().unwrap().0;
    let near = (99, sim.conn());
    let far = (bob, sim.conn());
    sim.links.insert(far, near);
    let secured = Secured { peer: stranger.peer_id(), binding: [0; 32] };
    let remote = "10.0.0.99:1".parse().unwrap();
    let connected = Connected {
        link: LinkKind::PeerIn,
        secured,
        remote,
        local: remote,
        listening: Vec::new(),
        via: None,
    };
    sim.nodes[bob].handle(sim.now, Input::Connected(far.1, connected));
    sim.nodes[bob].handle(
        sim.now,
        Input::Frame(
            far.1,
            Frame::PeerHello(crate::wire::PeerHello { network: NetworkId([1; 16]), now: Timestamp(0) }),
        ),
    );
    let forged = Frame::Batch(sim.batch_of(stream(stranger.peer_id()), 1, "forged").into());
    sim.nodes[bob].handle(sim.now, Input::Frame(far.1, forged));
    let answers: Vec<Frame> = std::iter::from_fn(|| sim.nodes[bob].poll_output())
        .filter_map(|output| match output {
            Output::Send(conn, bytes) if conn == far.1 => Frame::decode(&bytes).ok(),
            _ => None,
        })
        .collect();
    assert!(answers.iter().all(|frame| matches!(frame, Frame::Goodbye(_))), "{answers:?}");
    sim.wait(limits::ROSTER_PATIENCE.as_secs_f64());
    assert_eq!(sim.heard(bob).len(), 2, "nor heard");
}

#[test]
fn a_joiner_that_breaks_the_sequence_is_sent_away_and_charged_only_when_challenged() {
    let mut sim = Sim::host();
    let far = (0, sim.conn());
    let near = (99, sim.conn());
    sim.links.insert(far, near);
    let stranger = Identity::generate().unwrap().0;
    let secured = Secured { peer: stranger.peer_id(), binding: [0; 32] };
    let remote = "10.0.0.99:1".parse().unwrap();
    let connected = Connected {
        link: LinkKind::JoinIn,
        secured,
        remote,
        local: remote,
        listening: Vec::new(),
        via: None,
    };
    sim.nodes[0].handle(sim.now, Input::Connected(far.1, connected));
    sim.nodes[0].handle(sim.now, Input::Frame(far.1, Frame::Beat(crate::wire::Beat::default())));
    sim.queue.clear();
    while let Some(output) = sim.nodes[0].poll_output() {
        if let Output::Close(conn, reason) = output {
            assert_eq!((conn, reason), (far.1, CloseReason::ProtocolError));
        }
    }
    let hello = Hello { alias: "x".into(), addrs: Vec::new(), ke1: vec![0; 96] };
    sim.nodes[0].handle(sim.now, Input::Frame(far.1, Frame::Hello(hello)));
    assert!(sim.nodes[0].poll_output().is_none(), "nothing more is taken from it");
    assert!(!sim.has(0, |event| matches!(event, NodeEvent::Attempt { .. })));
}

#[test]
fn a_ban_on_a_full_disk_is_in_force_and_is_written_as_soon_as_there_is_room() {
    let mut sim = Sim::host();
    let bob = sim.join("bob");
    sim.wait(0.1);
    sim.is_disk_full = true;
    sim.ban("bob");
    assert_eq!(sim.end(bob), Some(CloseReason::Banned));
    sim.wait(60.0);
    let full = sim.errors(0).iter().filter(|error| error.contains("the disk is full")).count();
    assert_eq!(full, 1, "said once: {:?}", sim.errors(0));
    assert!(sim.saved.last().unwrap().bans.is_empty());
    sim.is_disk_full = false;
    sim.wait(10.0);
    assert_eq!(sim.saved.last().unwrap().bans.len(), 1);
    let saves = sim.saved.len();
    sim.wait(60.0);
    assert_eq!(sim.saved.len(), saves, "and that is all");
}

#[test]
fn the_host_changes_the_password_and_members_stay() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    sim.command(0, NodeCommand::SetPassword(Password::new("new one".into())));
    assert!(sim.has(0, |event| matches!(event, NodeEvent::PasswordChanged)));
    let bob = sim.join("bob");
    assert_eq!(sim.end(bob), Some(CloseReason::WrongPassword));
    let carol = sim.join_as("carol", "new one", Identity::generate().unwrap().0);
    sim.wait(0.1);
    assert_eq!(sim.end(carol), None);
    assert_eq!(sim.roster(ann), ["host", "ann", "carol"]);
}

#[test]
fn a_host_that_begins_again_with_a_password_is_there_at_once_and_takes_no_other_one_meanwhile() {
    let mut sim = Sim::host_with(|config| config.password = Some(Password::new("new one".into())));
    assert!(sim.has(0, |event| matches!(event, NodeEvent::Listening { .. })));
    let bob = sim.join("bob");
    let carol = sim.join_as("carol", "new one", Identity::generate().unwrap().0);
    sim.wait(0.1);
    assert_eq!((sim.end(bob), sim.end(carol)), (None, None), "they wait");
    assert_eq!(sim.roster(0), ["host"]);
    // Another one is set before that: it counts in the end.
    sim.command(0, NodeCommand::SetPassword(Password::new("newest".into())));
    assert_eq!(sim.held_records.len(), 1, "one after the other");
    for _ in 0..2 {
        let (index, password) = sim.held_records.pop().unwrap();
        let record = HostRecord::register(&password, PasswordCost::TEST, [9; 32]).unwrap();
        sim.nodes[index].handle(sim.now, Input::Registered(record.into()));
        sim.run();
        sim.wait(0.1);
    }
    assert_eq!(sim.end(bob), Some(CloseReason::WrongPassword));
    assert_eq!(sim.end(carol), None);
    assert_eq!(sim.roster(0), ["host", "carol"]);
    let dave = sim.join_as("dave", "newest", Identity::generate().unwrap().0);
    let erin = sim.join_as("erin", "new one", Identity::generate().unwrap().0);
    sim.wait(0.1);
    assert_eq!((sim.end(dave), sim.end(erin)), (None, Some(CloseReason::WrongPassword)));
}

#[test]
fn fifty_join_at_once_and_all_rosters_are_equal() {
    let mut sim = Sim::host();
    for number in 0..50 {
        sim.join_as(&format!("peer{number}"), PASSWORD, Identity::generate().unwrap().0);
    }
    sim.wait(1.0);
    let whole = sim.roster(0);
    assert_eq!(whole.len(), 51);
    for index in 0..=50 {
        assert_eq!(sim.roster(index), whole);
    }
    sim.say(7, "everyone", "hi all");
    assert!(sim.deliveries(7).last().unwrap().ends_with("Delivered 50/50"));
}

#[test]
fn an_idle_peer_link_is_closed_and_opened_again_when_needed() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.say(ann, "bob", "one");
    let links = |sim: &Sim| sim.links.keys().filter(|end| end.0 == bob).count();
    assert_eq!(links(&sim), 2);
    sim.wait(61.0);
    assert_eq!(links(&sim), 1, "only the join link is left");
    sim.say(ann, "bob", "two");
    assert_eq!(sim.heard(bob), ["ann: one", "ann: two"]);
}

/// The links that one node has to another.
fn links_between(sim: &Sim, one: usize, other: usize) -> Vec<End> {
    let is_meant = |(near, far): &(&End, &End)| near.0 == one && far.0 == other;
    sim.links.iter().filter(is_meant).flat_map(|(near, far)| [*near, *far]).collect()
}

/// Stopped at any time while an answer is due, and the clock is looked at before the answer is read.
#[test]
fn who_was_stopped_does_not_give_up_a_peer_link_for_silent() {
    for phase in 0..20 {
        let mut sim = Sim::host();
        let (ann, bob) = (sim.join("ann"), sim.join("bob"));
        sim.say(ann, "bob", "one");
        let links = links_between(&sim, ann, bob);
        sim.frozen.insert(bob);
        sim.say(ann, "bob", "two");
        sim.wait(1.0 + 0.5 * f64::from(phase));
        sim.frozen.insert(ann);
        sim.frozen.remove(&bob);
        sim.wait(6.5);
        sim.nodes[ann].handle_timeout(sim.now);
        sim.frozen.clear();
        sim.wait(3.0);
        assert_eq!(links_between(&sim, ann, bob), links, "phase {phase}");
        assert_eq!(sim.heard(bob), ["ann: one", "ann: two"]);
    }
}

#[test]
fn a_peer_link_that_dies_without_a_word_is_given_up_and_nothing_on_it_is_lost() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.say(ann, "bob", "one");
    let dead = links_between(&sim, ann, bob);
    sim.dead.extend(dead.iter().copied());
    sim.say(ann, "bob", "two");
    sim.wait(11.9);
    assert_eq!(sim.heard(bob), ["ann: one"]);
    assert_eq!(sim.roster(ann).len(), 3, "the host sees both");
    sim.wait(1.0);
    assert_eq!(sim.heard(bob), ["ann: one", "ann: two"]);
    assert_eq!(sim.deliveries(ann).last().unwrap(), "two bob Delivered 1/1");
}

#[test]
fn who_takes_messages_slowly_is_not_taken_for_gone() {
    let mut sim = Sim::host_with(|config| config.policy = Policy { rate_bytes: 100, ..Policy::default() });
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    for text in ["x".repeat(4000), "y".repeat(4000)] {
        sim.say(ann, "bob", &text);
    }
    let before = links_between(&sim, ann, bob);
    sim.wait(35.0);
    assert_eq!(sim.heard(bob).len(), 1, "40 s for the second");
    let after = links_between(&sim, ann, bob);
    assert!(before.iter().all(|end| after.contains(end)), "the link still stands");
    sim.wait(45.0);
    assert_eq!(sim.heard(bob).len(), 2);
    assert_eq!(sim.deliveries(ann).last().unwrap().split(' ').nth(2), Some("Delivered"));
}

#[test]
fn two_that_dial_each_other_at_once_lose_nothing() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    let send = |to: PeerId| NodeCommand::Send {
        to: Target::from(Recipient::Peer(to)),
        text: "hi".into(),
        reference: None,
    };
    let (ann_id, bob_id) = (sim.ids[ann], sim.ids[bob]);
    sim.nodes[ann].handle(sim.now, Input::Command(send(bob_id)));
    sim.nodes[bob].handle(sim.now, Input::Command(send(ann_id)));
    sim.run();
    assert_eq!(sim.heard(bob), ["ann: hi"]);
    assert_eq!(sim.heard(ann), ["bob: hi"]);
    for index in [ann, bob] {
        let delivered = |event: &NodeEvent| {
            matches!(event, NodeEvent::Delivery { status: DeliveryStatus::Delivered, .. })
        };
        assert!(sim.has(index, delivered));
    }
}

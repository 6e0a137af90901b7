//! A whole network in virtual time: nodes, and links that keep their order.

use super::{reachability::SimRelays, *};

/// One end of a link.
pub(super) type End = (usize, ConnId);

pub(super) enum Delivery {
    Frame(End, Frame),
    Closed(End),
}

#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(super) struct Sim {
    pub(super) now: Moment,
    pub(super) nodes: Vec<Node>,
    pub(super) ids: Vec<PeerId>,
    pub(super) events: Vec<Vec<NodeEvent>>,
    pub(super) finished: Vec<Option<Closed>>,
    /// The other end of each open link.
    pub(super) links: BTreeMap<End, End>,
    /// Links that wait for the acceptor's leave to go on: the kind at the dialler.
    pub(super) pending: BTreeMap<End, (End, LinkKind)>,
    pub(super) frozen: BTreeSet<usize>,
    /// Ends of links that carry nothing more, and do not say so.
    pub(super) dead: BTreeSet<End>,
    pub(super) queue: VecDeque<Delivery>,
    pub(super) next: u64,
    pub(super) saved: Vec<crate::model::HostState>,
    pub(super) stores: Vec<SimStore>,
    /// How much room new nodes give.
    pub(super) limits: Limits,
    /// New nodes have a disk.
    pub(super) on_disk: bool,
    /// Disks take their time to set a network aside.
    pub(super) hold_retired: bool,
    /// Disks take their time to keep a package.
    pub(super) hold_packages: bool,
    pub(super) held_packages: Vec<u64>,
    /// The host's disk takes its time.
    pub(super) hold_saves: bool,
    pub(super) held_saves: Vec<u64>,
    /// The host's disk takes nothing.
    pub(super) is_disk_full: bool,
    /// The records of passwords take their time.
    pub(super) hold_records: bool,
    pub(super) held_records: Vec<(usize, Password)>,
    /// Who cannot reach whose join port.
    pub(super) blocked: Option<(usize, usize)>,
    /// Who cannot reach whose peer listener.
    pub(super) closed: BTreeSet<(usize, usize)>,
    pub(super) relays: SimRelays,
    /// What came over classic links, by their end here.
    pub(super) classic: BTreeMap<End, Vec<Object>>,
    /// Classic links that were closed here.
    pub(super) shut: BTreeSet<End>,
    /// What was said to classic peers: by whom, to whom, from where.
    pub(super) said: Vec<(usize, PeerId, Option<Ipv4Addr>, Object)>,
    /// Answers to challenges wait.
    pub(super) hold_proofs: bool,
    pub(super) held_proofs: Vec<(usize, ConnId, Option<Vec<u8>>)>,
    pub(super) compared: usize,
    /// Joins are opened by the test.
    pub(super) plain_joins: bool,
    /// What the next node is told of clear text.
    pub(super) cleartext: Option<bool>,
    /// Where a second link to a classic host is wanted.
    pub(super) distribution: Option<SocketAddrV4>,
    /// What the next node's store has already.
    pub(super) restored: Option<SimStore>,
    /// Who has announced which network to those around, or does so no longer.
    pub(super) announced: Vec<(usize, Option<String>)>,
    /// Whose address all have who come to the host.
    pub(super) one_address: Option<usize>,
    /// What the router opens the join port as, or why it does not.
    pub(super) router: Result<SocketAddr, String>,
    /// What it was asked for, or to take back.
    pub(super) mapped: Vec<Option<crate::model::HostPorts>>,
    /// Whom targets lead to, beside the first host.
    pub(super) names: BTreeMap<String, usize>,
    /// Who is at whose address now.
    pub(super) moved: Option<(usize, usize)>,
    /// What each has been given as a deputy.
    pub(super) deputyships: BTreeMap<usize, Option<Box<Deputyship>>>,
}

impl Sim {
    pub(super) fn host() -> Self {
        Self::host_with(|_| {})
    }

    pub(super) fn host_with(change: impl FnOnce(&mut HostConfig)) -> Self {
        let mut config = host_config();
        change(&mut config);
        Self::host_as(Identity::generate().unwrap().0, config)
    }

    pub(super) fn host_as(key: Identity, config: HostConfig) -> Self {
        let mut sim = Self::nobody();
        sim.hold_records = config.password.is_some();
        sim.add("host", key, RoleConfig::Host(Box::new(config)));
        sim
    }

    pub(super) fn host_with_router(config: HostConfig, router: Result<SocketAddr, String>) -> Self {
        let mut sim = Self { router, ..Self::nobody() };
        sim.add("host", Identity::generate().unwrap().0, RoleConfig::Host(Box::new(config)));
        sim
    }

    pub(super) fn nobody() -> Self {
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

    pub(super) fn add(&mut self, alias: &str, identity: Identity, role: RoleConfig) -> usize {
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

    pub(super) fn join_as(&mut self, alias: &str, password: &str, identity: Identity) -> usize {
        self.add(alias, identity, RoleConfig::Member(Box::new(member_config(password))))
    }

    pub(super) fn join(&mut self, alias: &str) -> usize {
        let index = self.join_as(alias, PASSWORD, Identity::generate().unwrap().0);
        self.wait(0.1);
        index
    }

    pub(super) fn conn(&mut self) -> ConnId {
        self.next += 1;
        ConnId(self.next)
    }

    pub(super) fn ip(index: usize) -> IpAddr {
        IpAddr::from([10, 0, 0, u8::try_from(index + 1).unwrap()])
    }

    /// Whose address it is.
    pub(super) fn at(addr: &SocketAddr) -> usize {
        match addr.ip() {
            IpAddr::V4(ip) => usize::from(ip.octets()[3]) - 1,
            IpAddr::V6(_) => unreachable!(),
        }
    }

    /// Somebody answers there.
    pub(super) fn is_there(&self, index: usize) -> bool {
        !self.frozen.contains(&index) && self.finished[index].is_none()
    }

    pub(super) fn open(&mut self, from: usize, to: usize, kind: LinkKind) {
        let (near, far) = ((from, self.conn()), (to, self.conn()));
        self.pending.insert(far, (near, kind));
        let now = self.now;
        let ip = self.one_address.filter(|_| to == 0).unwrap_or(from);
        self.nodes[to].handle(now, Input::Incoming(far.1, Self::ip(ip)));
        self.nodes[to].handle(now, Input::Spoke(far.1));
        self.drain(to);
    }

    pub(super) fn proceed(&mut self, far: End) {
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
    pub(super) fn drain(&mut self, index: usize) {
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
    pub(super) fn run(&mut self) {
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
    pub(super) fn wait(&mut self, seconds: f64) {
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
    pub(super) fn peer_link(&self, near: usize, far: usize) -> ConnId {
        let is_meant = |(here, there): &(&End, &End)| {
            here.0 == near && there.0 == far && self.nodes[near].mesh.links.has(here.1)
        };
        self.links.iter().find(is_meant).map(|(here, _)| here.1).unwrap()
    }

    /// Another link of a member to its host, which nobody answers.
    pub(super) fn knocks(&mut self, member: usize, link: LinkKind) -> ConnId {
        let conn = self.conn();
        let remote = SocketAddr::new(Self::ip(member), 2);
        let secured = Secured { peer: self.ids[member], binding: [0; 32] };
        let connected = Connected { link, secured, remote, local: remote, listening: Vec::new(), via: None };
        self.nodes[0].handle(self.now, Input::Connected(conn, connected));
        conn
    }

    /// The links that one node has to another.
    pub(super) fn links_between(&self, one: usize, other: usize) -> Vec<End> {
        let is_meant = |(near, far): &(&End, &End)| near.0 == one && far.0 == other;
        self.links.iter().filter(is_meant).flat_map(|(near, far)| [*near, *far]).collect()
    }

    pub(super) fn outputs(&mut self, index: usize) -> Vec<Output> {
        std::iter::from_fn(|| self.nodes[index].poll_output()).collect()
    }

    pub(super) fn command(&mut self, index: usize, command: NodeCommand) {
        self.nodes[index].handle(self.now, Input::Command(command));
        self.run();
    }

    pub(super) fn say(&mut self, index: usize, to: &str, text: &str) {
        let line = serde_json::json!({"cmd": "send", "to": to, "text": text, "ref": text});
        self.command(index, serde_json::from_value(line).unwrap());
    }

    /// A batch of one, as a changed client might send it.
    pub(super) fn batch_of(&self, stream: StreamId, sequence: u64, text: &str) -> Batch {
        let texts = vec![SafeText::clean(text)];
        Batch { stream, first: sequence, sent_at: self.now.wall, texts, signature: None }
    }

    pub(super) fn ban(&mut self, peer: &str) {
        let line = serde_json::json!({"cmd": "ban", "peer": peer, "reason": "spam"});
        self.command(0, serde_json::from_value(line).unwrap());
    }

    /// Texts that arrived.
    pub(super) fn heard(&self, index: usize) -> Vec<String> {
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
    pub(super) fn deliveries(&self, index: usize) -> Vec<String> {
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

    pub(super) fn roster(&self, index: usize) -> Vec<String> {
        let names = |event: &NodeEvent| match event {
            NodeEvent::Roster { peers, .. } => {
                Some(peers.iter().map(|peer| peer.alias.to_string()).collect::<Vec<_>>())
            }
            _ => None,
        };
        self.events[index].iter().rev().find_map(names).unwrap_or_default()
    }

    pub(super) fn errors(&self, index: usize) -> Vec<String> {
        let message = |event: &NodeEvent| match event {
            NodeEvent::Error { message, .. } => Some(message.to_string()),
            _ => None,
        };
        self.events[index].iter().filter_map(message).collect()
    }

    pub(super) fn end(&self, index: usize) -> Option<CloseReason> {
        self.finished[index].as_ref().map(|closed| closed.reason)
    }

    pub(super) fn has(&self, index: usize, matches: impl Fn(&NodeEvent) -> bool) -> bool {
        self.events[index].iter().any(matches)
    }
}

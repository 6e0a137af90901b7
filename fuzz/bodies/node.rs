//! A node under events that come in any order: peers that say anything, commands, time, a disk that answers late or
//! never, connections that end.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use pyile::{
    api::{
        Compared, HistoryCommand, HistoryEvent, NodeCommand, NodeEvent, PeerName, StoreCommand, StoreEvent,
        Target,
    },
    model::{
        Admitted, Alias, Ban, Batch, CloseReason, Closed, Departed, Held, HistoryState, KeptPass,
        MappingProtocol, Moment, Network, NetworkId, Notes, Pass, Password, PeerId, Policy, PortMapping,
        Recalled, Recipient, Role, RosterEntry, SafeText, Signature, StreamId, Timestamp, Unreachable, Wire,
        limits,
    },
    proto::{
        ConnId, Connected, EarlierRun, HostConfig, Input, JoinPort, KeptState, Limits, LinkKind,
        MemberConfig, Node, NodeConfig, Output, RelayedId, RoleConfig,
    },
    security::{HostRecord, Identity, PasswordCost, pass, sign, tls::Secured},
    wire::{
        Ack, Addressed, Authenticated, BannedStatus, Beat, Frame, Hello, InviteRequest, Invited, PeerHello,
        Refusal, RelayBytes, RelayTaken, RelayedLink, Removal, RosterDelta, RosterPage, Tried,
        classic::Object,
    },
};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::Reader;

/// The node itself is the first; the host of a member's network is the second.
const PEOPLE: usize = 5;
const NETWORK: NetworkId = NetworkId([7; 16]);
/// Outputs that one input may have.
const OUTPUTS: usize = 5_000;
/// Timers that may be due at one moment.
const TIMERS: usize = 2_000;

struct World {
    people: Vec<Arc<Identity>>,
    record: Vec<u8>,
    began: Instant,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let people = (0..PEOPLE).map(|who| Arc::new(identity(u8::try_from(who).unwrap()))).collect();
        let password = Password::new("open sesame".to_owned());
        let record = HostRecord::register(&password, PasswordCost::TEST, [1; 32]).unwrap().to_bytes();
        World { people, record, began: Instant::now() }
    })
}

/// A key in PKCS#8, version 2 (RFC 5958, RFC 8410).
fn identity(who: u8) -> Identity {
    let seed = [who + 1; 32];
    let public = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
    let mut key = vec![0x30, 0x51, 2, 1, 1, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    key.extend(seed);
    key.extend([0x81, 0x21, 0]);
    key.extend(public.public_key().as_ref());
    Identity::from_pkcs8(&key).unwrap()
}

fn id(who: usize) -> PeerId {
    world().people[who].peer_id()
}

fn alias(who: usize) -> Alias {
    Alias::new(&format!("p{who}")).unwrap()
}

fn entry(who: usize, role: Role) -> RosterEntry {
    let addrs = vec![SocketAddr::from((ip(who), 50_000))];
    RosterEntry {
        peer_id: id(who),
        alias: alias(who),
        role,
        wire: Wire::Native,
        addrs,
        since: Timestamp(0),
        status: None,
    }
}

fn ip(who: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, u8::try_from(who).unwrap()).into()
}

/// A host with members that it knows and others that it does not.
pub fn host(data: &[u8]) {
    let mut reader = Reader(data);
    let classic = reader.byte() % 2 == 1;
    let role = RoleConfig::Host(Box::new(HostConfig {
        network: Network { id: NETWORK, name: "fuzz".to_owned() },
        policy: Policy { classic, members_invite: true, ..Policy::default() },
        record: HostRecord::from_bytes(&world().record).unwrap(),
        password: None,
        announce: true,
        map_port: true,
        approve: reader.byte() % 4 == 1,
        notes: Notes::default(),
        attempts: 3,
        members: 4,
        key_age: limits::KEY_AGE,
        kept: KeptState {
            passes: (0..3)
                .map(|number| KeptPass {
                    hash: pass::hash(&Pass::new([5 * number; 16])),
                    uses: number.into(),
                    until: Timestamp(i64::MAX),
                    since: Timestamp(0),
                    by: None,
                    is_revoked: false,
                })
                .collect(),
            admitted: (1..4)
                .map(|who| Admitted {
                    peer_id: id(who),
                    alias: alias(who),
                    since: Timestamp(0),
                    seen: Timestamp(0),
                    earlier: Vec::new(),
                })
                .collect(),
            ..KeptState::default()
        },
        earlier: EarlierRun {
            expected: vec![entry(1, Role::Member)],
            recalled: recalled(&mut reader),
            ..EarlierRun::none()
        },
        join_addr: (ip(0), limits::JOIN_PORT).into(),
        distribution: classic.then_some(50_001),
        peer_addrs: vec![(ip(0), 50_000).into()],
    }));
    Driver::new(role, reader).run();
}

/// A member of a network whose host signs what it says, and says anything beside.
pub fn member(data: &[u8]) {
    let mut reader = Reader(data);
    let kind = reader.byte();
    let role = RoleConfig::Member(Box::new(MemberConfig {
        target: "10.0.0.1:4702".to_owned(),
        password: (kind % 2 == 0).then(|| Password::new("open sesame".to_owned())),
        pin: (kind & 2 == 0).then(|| id(1)),
        pass: None,
        addrs: Vec::new(),
        announce: false,
        map_port: false,
        rejoin_for: Duration::from_secs(if kind & 4 == 0 { 3600 } else { 0 }),
        wire: if kind & 24 == 24 { Wire::Classic } else { Wire::Native },
        was_classic: None,
        known: None,
        moved: None,
        deputy: None,
        deputyship: None,
    }));
    Driver::new(role, reader).run();
}

fn recalled(reader: &mut Reader<'_>) -> Recalled {
    let state = if reader.byte() % 2 == 0 { HistoryState::Saved } else { HistoryState::Memory };
    Recalled { state, ..Recalled::nothing() }
}

struct Link {
    peer: PeerId,
    kind: LinkKind,
    /// The node was told of it and has not closed it.
    is_open: bool,
}

struct Driver<'a> {
    reader: Reader<'a>,
    node: Node,
    now: Moment,
    is_host: bool,
    next: u64,
    links: BTreeMap<ConnId, Link>,
    waiting: VecDeque<StoreEvent>,
    proofs: VecDeque<Input>,
    /// Links that are wanted: to the host, or to a peer.
    dials: VecDeque<Option<PeerId>>,
    bans: Vec<Ban>,
    /// Relays that end here, and whom they are to reach.
    relays: Vec<(RelayedId, Option<PeerId>)>,
    /// What the host of a member has distributed.
    version: u64,
    roster: BTreeSet<usize>,
    finished: bool,
}

impl<'a> Driver<'a> {
    fn new(role: RoleConfig, reader: Reader<'a>) -> Self {
        let now = Moment { instant: world().began, wall: Timestamp(1_700_000_000_000_000) };
        let is_host = matches!(role, RoleConfig::Host(_));
        let config = NodeConfig {
            alias: alias(0),
            identity: world().people[0].clone(),
            seed: [3; 32],
            cost: PasswordCost::TEST,
            descriptors: 1000,
            limits: Limits::default(),
            cleartext: None,
            role,
        };
        Self {
            reader,
            node: Node::new(config, now),
            now,
            is_host,
            next: 0,
            links: BTreeMap::new(),
            waiting: VecDeque::new(),
            proofs: VecDeque::new(),
            dials: VecDeque::new(),
            bans: Vec::new(),
            relays: Vec::new(),
            version: 0,
            roster: BTreeSet::new(),
            finished: false,
        }
    }

    fn run(mut self) {
        self.drain();
        while !self.reader.is_empty() && !self.finished {
            if let Some(input) = self.input() {
                self.node.handle(self.now, input);
                self.drain();
            }
        }
        // Time goes on, and the node comes to rest.
        for _ in 0..20 {
            self.wait(Duration::from_secs(3));
        }
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now.plus(time);
        let mut fired = 0;
        while let Some(at) = self.node.poll_timeout().filter(|at| *at <= until.instant) {
            fired += 1;
            assert!(fired < TIMERS, "timers that never end");
            self.now = self.now.plus(at.saturating_duration_since(self.now.instant));
            self.node.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    fn somebody(&mut self) -> usize {
        self.reader.below(PEOPLE)
    }

    fn link(&mut self) -> Option<ConnId> {
        let count = self.links.len().min(256);
        if count == 0 {
            return None;
        }
        let at = self.reader.below(count);
        self.links.keys().nth(at).copied()
    }

    fn input(&mut self) -> Option<Input> {
        match self.reader.below(16) {
            0 => {
                let time = Duration::from_millis(u64::from(self.reader.short()));
                self.wait(time);
                None
            }
            1 | 2 => self.come(),
            3 => self.reach(),
            4 => {
                let conn = self.link()?;
                let size = self.reader.short() % 600;
                let frame = Frame::decode(self.reader.bytes(usize::from(size))).ok()?;
                self.links[&conn].is_open.then_some(Input::Frame(conn, frame))
            }
            5..=8 => {
                let conn = self.link()?;
                let frame = self.frame(conn)?;
                self.links[&conn].is_open.then_some(Input::Frame(conn, frame))
            }
            9 => {
                let conn = self.link()?;
                self.links.remove(&conn);
                Some(Input::Closed(conn, Closed::from(CloseReason::ConnectionLost)))
            }
            10 | 11 => self.command().map(Input::Command),
            12 => self.waiting.pop_front().map(Input::Store),
            13 => self.proofs.pop_front(),
            14 => {
                let conn = self.link()?;
                let size = usize::from(self.reader.byte());
                let object = Object::decode(self.reader.bytes(size)).ok()?;
                Some(Input::Object(conn, object))
            }
            15 if !self.relays.is_empty() => {
                let at = self.reader.below(self.relays.len().min(256));
                let (relayed, _) = self.relays[at];
                match self.reader.below(3) {
                    0 => Some(Input::RelayedTaken(relayed, self.reader.byte().into())),
                    1 => Some(Input::RelayedBytes(relayed, vec![self.reader.byte()].into())),
                    _ => {
                        self.relays.remove(at);
                        Some(Input::RelayedEnded(relayed))
                    }
                }
            }
            _ => Some(match self.reader.below(4) {
                0 => Input::Suspended(Duration::from_secs(u64::from(self.reader.byte()))),
                1 => Input::Store(StoreEvent::Failed { token: None, message: "full".to_owned() }),
                2 => {
                    let (token, who) = (u64::from(self.reader.byte()), self.somebody());
                    let for_good = token.is_multiple_of(2);
                    let said = Input::ClassicSent(id(who), Ok(Some("somebody".to_owned())));
                    if who == 0 {
                        said
                    } else {
                        Input::Store(StoreEvent::History(HistoryEvent::Kept { token, for_good }))
                    }
                }
                _ => Input::Probed(Err(CloseReason::Unreachable.into())),
            }),
        }
    }

    /// Somebody comes to this node.
    fn come(&mut self) -> Option<Input> {
        let (who, kind) = (self.somebody(), self.reader.byte());
        self.next += 1;
        let conn = ConnId(self.next);
        // A session that the node turns away at the door says nothing more.
        self.links.insert(conn, Link { peer: id(who), kind: LinkKind::PeerIn, is_open: true });
        self.node.handle(self.now, Input::Incoming(conn, ip(who)));
        self.drain();
        if !self.links.remove(&conn).is_some_and(|link| link.is_open) {
            return Some(Input::Closed(conn, Closed::from(CloseReason::Busy)));
        }
        if kind & 1 == 0 {
            self.node.handle(self.now, Input::Spoke(conn));
        }
        let kind = match kind >> 1 & 3 {
            0 | 1 => LinkKind::PeerIn,
            2 => LinkKind::JoinIn,
            _ if self.is_host => LinkKind::DistributionIn,
            _ => LinkKind::PeerIn,
        };
        self.connect(conn, who, kind)
    }

    /// A link that the node wanted is there, or not.
    fn reach(&mut self) -> Option<Input> {
        let wanted = self.dials.pop_front()?;
        let is_there = self.reader.byte() % 4 != 0;
        let unreachable = || Closed::from(CloseReason::Unreachable);
        let who = match wanted {
            Some(peer) if !is_there => return Some(Input::DialFailed(peer, unreachable())),
            None if !is_there => return Some(Input::JoinFailed(unreachable())),
            Some(peer) => (0..PEOPLE).find(|who| id(*who) == peer)?,
            None => 1,
        };
        self.next += 1;
        let kind = if wanted.is_some() { LinkKind::PeerOut } else { LinkKind::JoinOut };
        self.connect(ConnId(self.next), who, kind)
    }

    fn connect(&mut self, conn: ConnId, who: usize, kind: LinkKind) -> Option<Input> {
        let is_classic = kind == LinkKind::DistributionIn || self.reader.byte() == 255;
        let remote = SocketAddr::from((ip(who), 40_000 + u16::try_from(conn.0 % 1000).unwrap()));
        let peer = match remote {
            SocketAddr::V4(addr) if is_classic => PeerId::of_address(addr),
            _ => id(who),
        };
        self.links.insert(conn, Link { peer, kind, is_open: true });
        let secured = Secured { peer, binding: [9; 32] };
        let local = SocketAddr::from((ip(0), 50_000));
        let listening = if kind == LinkKind::JoinOut { vec![local] } else { Vec::new() };
        Some(Input::Connected(conn, Connected { link: kind, secured, remote, local, listening, via: None }))
    }

    /// Something that makes sense on a link, at least in form.
    fn frame(&mut self, conn: ConnId) -> Option<Frame> {
        let (peer, kind) = (self.links[&conn].peer, self.links[&conn].kind);
        let number = self.reader.byte();
        Some(match (self.reader.below(14), kind) {
            (0, _) => Frame::Beat(Beat { number: number.into(), rtt: (number % 2 == 0).then_some(300) }),
            (1, _) => Frame::BeatReply(number.into()),
            (2, _) => {
                Frame::Goodbye(Refusal { reason: CloseReason::Kicked, detail: "\u{1b}[31m".to_owned() })
            }
            (3, LinkKind::JoinIn) => {
                let who = self.somebody();
                let addrs = vec![SocketAddr::from((ip(who), 50_000))];
                let ke1 = self.reader.bytes(96).to_vec();
                let hello = Hello { alias: format!("p{who}"), addrs, ke1 };
                match number % 5 {
                    0 => Frame::Invited(Invited { hello, pass: Pass::new([number; 16]) }),
                    _ => Frame::Hello(hello),
                }
            }
            (4, LinkKind::JoinIn) if number % 2 == 0 => {
                Frame::InviteRequest(InviteRequest { uses: number.into(), hours: 1 })
            }
            (4, LinkKind::JoinIn) => Frame::RosterRequest,
            (5, LinkKind::JoinIn) => Frame::RosterApplied(number.into()),
            (3, LinkKind::JoinOut) => Frame::BannedStatus(match number % 3 {
                0 => BannedStatus::Known,
                1 => BannedStatus::Password { left: 3 },
                _ => BannedStatus::Banned { reason: "\u{202e}".to_owned() },
            }),
            (4 | 5, LinkKind::JoinOut) => self.authenticated(),
            (6, LinkKind::JoinOut) => self.page(),
            (7 | 8, LinkKind::JoinOut) => self.delta(),
            (3 | 4, _) => {
                let network = if number == 255 { NetworkId([0; 16]) } else { NETWORK };
                Frame::PeerHello(PeerHello { network, now: self.now.wall })
            }
            (5..=8, _) => self.communication(peer, number),
            (9, _) => {
                let to = if number % 2 == 0 { Recipient::Everyone } else { Recipient::Peer(peer) };
                let epoch = u64::try_from(self.now.wall.0).ok()? - u64::from(self.reader.byte());
                let (received, kept) = (u64::from(self.reader.byte()), u64::from(number / 4));
                Frame::Ack(Ack { everyone: to == Recipient::Everyone, epoch, received, kept })
            }
            (11, LinkKind::JoinIn | LinkKind::JoinOut) => match number % 4 {
                0 => Frame::Call(id(usize::from(number / 4) % PEOPLE)),
                1 => Frame::TryPeers((0..PEOPLE).map(id).collect()),
                2 => Frame::ReachabilityRequest,
                _ => {
                    let reason = CloseReason::NoAnswer;
                    let way = |to| Unreachable { from: id(usize::from(number) % PEOPLE), to: id(to), reason };
                    Frame::Unreachable((0..PEOPLE).map(way).collect())
                }
            },
            (12, LinkKind::JoinIn) => {
                let tried = |to| Tried {
                    peer: id(to),
                    why_not: (number & 1 << to != 0).then_some(CloseReason::NoAnswer),
                };
                Frame::Tried((0..PEOPLE).map(tried).collect())
            }
            (11..=13, _) => {
                let relayed =
                    RelayedLink { number: self.reader.byte().into(), peer: id(usize::from(number) % PEOPLE) };
                match number % 5 {
                    0 | 1 => Frame::RelayOpen(relayed),
                    2 => Frame::RelayOpened(relayed),
                    3 => Frame::RelayBytes(RelayBytes { number: relayed.number, bytes: vec![number] }),
                    _ => Frame::RelayTaken(RelayTaken { number: relayed.number, frames: 1 }),
                }
            }
            (10, LinkKind::JoinOut) => {
                let author = id(usize::from(number) % PEOPLE);
                let from = u64::from(number % 7);
                Frame::Held(vec![Held { author, epoch: u64::from(number % 3), from, to: from + 3 }].into())
            }
            (10, _) => Frame::CatchUp(Timestamp(i64::from(number) << 48)),
            _ => return None,
        })
    }

    fn communication(&mut self, peer: PeerId, number: u8) -> Frame {
        let author = if self.reader.byte() == 255 { id(2) } else { peer };
        let to = match number % 4 {
            0 => Recipient::Peer(id(0)),
            1 => Recipient::Peer(id(3)),
            _ => Recipient::Everyone,
        };
        let epoch = u64::from(self.reader.byte() % 3);
        let sequence = u64::from(number >> 2) << (self.reader.byte() % 60);
        let size = usize::from(self.reader.byte());
        let text = String::from_utf8_lossy(self.reader.bytes(size)).into_owned();
        let texts = text.split('|').map(SafeText::clean).collect();
        let stream = StreamId { author, epoch, to };
        let mut batch = Batch { stream, first: sequence, sent_at: self.now.wall, texts, signature: None };
        let signer = world().people.iter().find(|identity| identity.peer_id() == author);
        if let Some(identity) = signer.filter(|_| to == Recipient::Everyone) {
            batch.signature = Some(sign::batch(identity, &NETWORK, &batch));
        }
        Frame::Batch(Addressed { roster: u64::from(number % 5), batch })
    }

    fn entries(&self) -> Vec<RosterEntry> {
        let role = |who| if who == 1 { Role::Host } else { Role::Member };
        let mut entries: Vec<RosterEntry> = self.roster.iter().map(|who| entry(*who, role(*who))).collect();
        entries.sort_by_key(|entry| entry.peer_id);
        entries
    }

    /// The host's signature over the roster, or something else.
    fn signature(&mut self) -> Signature {
        let entries = self.entries();
        let signer = if self.reader.byte() == 255 { 2 } else { 1 };
        let nobody = std::iter::empty();
        sign::roster(&world().people[signer], &NETWORK, self.version, entries.iter(), nobody)
    }

    fn authenticated(&mut self) -> Frame {
        self.version += 1;
        let chosen = self.reader.byte() | 3;
        self.roster = (0..PEOPLE).filter(|who| chosen >> who & 1 == 1).collect();
        let signature = self.signature();
        let header = Authenticated {
            network: Network { id: NETWORK, name: "fuzz".to_owned() },
            policy: Policy { classic: chosen > 127, ..Policy::default() },
            version: self.version,
            entries: u32::try_from(self.roster.len()).unwrap(),
            departed: 0,
            signature,
        };
        let header = Box::new(header);
        if self.reader.byte() % 2 == 0 { Frame::Authenticated(header) } else { Frame::RosterWhole(header) }
    }

    fn page(&mut self) -> Frame {
        Frame::RosterPage(RosterPage { version: self.version, entries: self.entries(), departed: Vec::new() })
    }

    fn delta(&mut self) -> Frame {
        let who = self.somebody();
        let role = if who == 1 { Role::Host } else { Role::Member };
        let (mut removed, mut updated) = (Vec::new(), Vec::new());
        if self.roster.remove(&who) {
            removed.push(Removal { peer: id(who), reason: CloseReason::Banned });
        } else {
            self.roster.insert(who);
            updated.push(entry(who, role));
        }
        let from = self.version;
        self.version += 1;
        let departed: Vec<Departed> = removed
            .iter()
            .map(|removal| {
                let (at, newest) = (self.now.wall, self.now.wall);
                Departed { peer: removal.peer, at, counts: vec![(1, 9)], newest, alias: None, is_out: false }
            })
            .collect();
        let mut delta =
            RosterDelta { from, to: self.version, removed, updated, departed, signature: Signature([0; 64]) };
        let signer = if self.reader.byte() == 255 { 2 } else { 1 };
        delta.signature = sign::roster_delta(&world().people[signer], &NETWORK, &delta.signed_bytes());
        Frame::RosterDelta(delta)
    }

    fn command(&mut self) -> Option<NodeCommand> {
        let who = self.somebody();
        let (peer, addr, reason) = (Some(PeerName::Id(id(who))), None, None);
        Some(match self.reader.below(14) {
            0 => NodeCommand::Ban { peer, addr, reason },
            1 => NodeCommand::Ban { peer: None, addr: Some(ip(who)), reason },
            2 => NodeCommand::Unban { peer, addr: Some(ip(who)), reason },
            3 => NodeCommand::Kick { peer, addr, reason },
            4 => NodeCommand::Handover { peer: PeerName::Alias(format!("p{who}")) },
            5 => NodeCommand::Cleartext { allow: who % 2 == 0 },
            6 => NodeCommand::Rejoin,
            7 => NodeCommand::Peers,
            8 if self.reader.byte() > 200 => NodeCommand::Leave,
            9 => NodeCommand::SetPassword(Password::new("another".to_owned())),
            10 => NodeCommand::Send {
                to: Target::Peer(PeerName::Id(id(who))),
                text: "hi".to_owned(),
                reference: None,
            },
            12 => NodeCommand::Deputy { peer: peer.filter(|_| who > 0) },
            13 => NodeCommand::TakeOver,
            11 => {
                let size = usize::from(self.reader.byte());
                let text = String::from_utf8_lossy(self.reader.bytes(size)).into_owned();
                NodeCommand::Send { to: Target::Everyone, text, reference: None }
            }
            _ => return None,
        })
    }

    /// Takes everything that the node says is to be done, and holds it to its laws.
    fn drain(&mut self) {
        let mut count = 0;
        while let Some(output) = self.node.poll_output() {
            count += 1;
            assert!(count < OUTPUTS, "an input has outputs without end");
            assert!(!self.finished, "nothing follows the end");
            self.output(output);
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Send(conn, bytes) => {
                let link = self.links.get(&conn).expect("a link that is there");
                assert!(
                    link.is_open,
                    "a frame on a closed link: {conn:?} {:?} of {:?}",
                    Frame::decode(&bytes),
                    link.peer
                );
                assert!(link.peer.wire() == Wire::Native, "a frame to a classic peer");
                assert!(bytes.len() <= limits::FRAME_AFTER && Frame::decode(&bytes).is_ok());
            }
            Output::SendObject(conn, bytes) => {
                let link = self.links.get(&conn).expect("a link that is there");
                assert!(link.is_open, "an object on a closed link");
                assert!(link.peer.wire() == Wire::Classic, "an object to a native peer");
                assert!(Object::decode(&bytes).is_ok());
            }
            Output::Close(conn, _) => {
                if let Some(link) = self.links.get_mut(&conn) {
                    link.is_open = false;
                }
            }
            Output::Join(..) => self.dials.push_back(None),
            Output::Dial(peer, addrs) => {
                assert!(!addrs.is_empty() && addrs.len() <= limits::CANDIDATES + 1);
                self.dials.push_back(Some(peer));
            }
            Output::SendClassic(peer, ..) => {
                let said =
                    if self.reader.byte() % 2 == 0 { Ok(None) } else { Err(CloseReason::Unreachable.into()) };
                self.proofs.push_back(Input::ClassicSent(peer, said));
            }
            Output::Prove(conn, proof, ke2) => {
                let answer = (self.reader.byte() % 2 == 0).then(|| proof.answer(&ke2).ok()).flatten();
                self.proofs.push_back(Input::Proven(conn, answer));
            }
            Output::Register(_) => {
                let record = HostRecord::from_bytes(&world().record).unwrap();
                self.proofs.push_back(Input::Registered(record.into()));
            }
            Output::OpenJoin(port) => {
                let addr = SocketAddr::from((ip(0), port));
                let port = JoinPort { addr, addrs: vec![addr], peer_addrs: vec![addr] };
                self.proofs.push_back(Input::JoinOpened(Ok(port)));
            }
            Output::MapPorts(ports) => {
                let lifetime = Duration::from_secs(self.reader.byte().into());
                let protocol = MappingProtocol::Upnp;
                let join = SocketAddr::from(([1, 2, 3, 7], ports.join.port()));
                let mapping = PortMapping { join, peer: Some(join), protocol, lifetime };
                let mapped = if lifetime.is_zero() { Err("no".to_owned()) } else { Ok(mapping) };
                self.proofs.push_back(Input::PortsMapped(mapped));
            }
            Output::LookForDeputy(..) => self.proofs.push_back(Input::LookedForDeputy(None)),
            Output::Probe(..) => self.proofs.push_back(Input::Probed(Ok(()))),
            Output::OpenRelayed { relayed, to, .. } => self.relays.push((relayed, to)),
            Output::FeedRelayed(relayed, bytes) => {
                assert!(!bytes.is_empty() && bytes.len() <= limits::RELAYED_BYTES);
                assert!(self.relays.iter().any(|(other, _)| *other == relayed));
            }
            Output::CloseRelayed(relayed) => self.relays.retain(|(other, _)| *other != relayed),
            Output::Store(command) => self.store(command),
            Output::Event(event) => self.event(&event),
            Output::Finished(_) => self.finished = true,
            Output::Proceed(_)
            | Output::Authenticated(_)
            | Output::CloseJoin
            | Output::ReleasePorts
            | Output::Announce { .. }
            | Output::Withdraw
            | Output::Distribution(_)
            | Output::CreditRelayed(..) => {}
        }
    }

    fn store(&mut self, command: StoreCommand) {
        let event = match command {
            StoreCommand::SaveHost { token, .. } | StoreCommand::KeepPackage { token, .. } => {
                StoreEvent::Saved(token)
            }
            StoreCommand::RetireHost => StoreEvent::Retired,
            StoreCommand::Keep { token, .. } => {
                StoreEvent::History(HistoryEvent::Kept { token, for_good: true })
            }
            StoreCommand::History(HistoryCommand::Recall(_)) => {
                let recalled = Box::new(recalled(&mut self.reader));
                StoreEvent::History(HistoryEvent::Recalled(recalled))
            }
            StoreCommand::History(HistoryCommand::Held { token, .. }) => {
                StoreEvent::History(HistoryEvent::Held { token, held: Vec::new() })
            }
            StoreCommand::History(HistoryCommand::Range { token, .. }) => {
                StoreEvent::History(HistoryEvent::Range { token, batches: Vec::new(), next: None })
            }
            StoreCommand::History(HistoryCommand::Compare { token, batch, .. }) => {
                let compared = match batch.first % 3 {
                    0 => Compared::Same,
                    1 => Compared::Lacks((batch.first..=batch.last()).collect()),
                    _ => Compared::Differs(None),
                };
                StoreEvent::History(HistoryEvent::Compared { token, compared })
            }
            _ => return,
        };
        self.waiting.push_back(event);
    }

    fn event(&mut self, event: &NodeEvent) {
        match event {
            NodeEvent::Admission { bans, .. } => self.bans.clone_from(bans),
            NodeEvent::Roster { peers, .. } => {
                let mut aliases: Vec<&str> = peers.iter().map(|peer| peer.alias.as_str()).collect();
                aliases.sort_unstable();
                aliases.dedup();
                assert_eq!(aliases.len(), peers.len(), "an alias twice");
                assert!(!self.is_host || peers.len() <= 4, "more members than there is room for");
            }
            NodeEvent::Batch(said) => {
                let StreamId { author, to, .. } = said.batch.batch.stream;
                assert_eq!(author, said.from.peer_id);
                let me = world().people[0].peer_id();
                assert!(said.own || to == Recipient::Everyone || to == Recipient::Peer(me));
            }
            _ => {}
        }
        // Lines of --json can be made of anything that happens.
        assert!(event.clone().expand().all(|line| serde_json::to_string(&line).is_ok()));
    }
}

//! The node actor: drives one node, and owns its sockets, sessions and timers.
//!
//! It must never decide what the node decides, wait for one peer, or let a failing session end another.

mod keeping;
mod links;

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Instant};

use rustls::ServerConfig;
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    task::JoinSet,
    time,
};
use tokio_util::task::JoinMap;

use self::links::Listening;
use super::{
    classic, dialer,
    events::{self, Events, Teller},
    handle::{NodeHandle, Opened, Request},
    link::{Context, Outbound},
    listener,
    platform::{self, Connection, Platform},
    relay::RelayedEnd,
    session, suspend,
};
use crate::{
    api::{NodeCommand, NodeEvent, StoreCommand, StoreEvent},
    model::{CloseReason, Closed, Moment, PeerId, limits},
    proto::{ConnId, Input, LinkKind, Node, NodeConfig, Output, RelayedId},
    security::{HostRecord, Identity, PasswordCost, tls},
    store::Profile,
    wire::{FrameLimit, JOIN_ALPN, PEER_ALPN},
};

/// Starts a node.
pub fn spawn(
    config: NodeConfig,
    opened: Opened,
    profile: Profile,
    platform: Arc<dyn Platform>,
) -> Result<(NodeHandle, Events), rustls::Error> {
    let (commands_tx, commands) = mpsc::channel(limits::COMMANDS_WAITING);
    let (sends_tx, sends) = mpsc::channel(limits::COMMANDS_WAITING);
    let (teller, events) = events::channel();
    let (ended_tx, ended) = watch::channel(None);
    let host_listens = opened.peer.as_ref().and_then(|listener| listener.local_addr().ok());
    let peer = host_listens.map(|addr| (addr.ip(), addr));
    let (identity, cost, now) = (config.identity.clone(), config.cost, platform.now());
    let mut actor = Actor {
        tls: TlsConfigs {
            join: tls::server_config(&identity, JOIN_ALPN)?,
            peer: tls::server_config(&identity, PEER_ALPN)?,
        },
        node: Node::new(config, now),
        reported: now.instant,
        identity,
        cost,
        platform,
        sessions: Sessions::default(),
        dialling: Dialling::default(),
        listening: Listening {
            tasks: JoinSet::new(),
            // A host's peer listener stays where it is, also once it is a member.
            wanted: peer.map(|(_, addr)| addr).or(opened.peer_listen),
            peer,
            join: None,
            announced: None,
            router: None,
            asking_router: None,
        },
        relays: HashMap::new(),
        hashes: Arc::new(Semaphore::new(limits::HASHES_AT_ONCE)),
        inputs: Queue::new(limits::FRAMES_TO_NODE),
        accepted: Queue::new(limits::CONNECTIONS_WAITING),
        store: Store { profile, answers: Queue::new(limits::STORE_EVENTS), waiting: Vec::new(), at: None },
        front: FrontEnd { sends, commands, teller, to_tell: Vec::new(), is_gone: false },
        turn: now,
        finished: None,
    };
    for (listener, link) in [
        (opened.join, LinkKind::JoinIn),
        (opened.peer, LinkKind::PeerIn),
        (opened.distribution, LinkKind::DistributionIn),
    ] {
        if let Some(listener) = listener {
            actor.listening.tasks.spawn(listener::accept(listener, link, actor.accepted.tx.clone()));
        }
    }
    tokio::spawn(async move { ended_tx.send_replace(Some(actor.run().await)) });
    Ok((NodeHandle { sends: sends_tx, commands: commands_tx, ended }, events))
}

/// To whom a connection is being made.
#[derive(Debug, Clone, Copy)]
enum Dialled {
    Nobody,
    Host,
    Peer(PeerId),
}

/// The actor's end of a session. The actor tries to send, and never waits.
struct Session {
    outbound: mpsc::Sender<Outbound>,
    limit: FrameLimit,
    proceed: Option<oneshot::Sender<()>>,
    dialled: Dialled,
    connected: bool,
}

/// A queue of which the actor holds both ends, since it gives the one to whatever it starts.
struct Queue<T> {
    tx: mpsc::Sender<T>,
    rx: mpsc::Receiver<T>,
}

impl<T> Queue<T> {
    fn new(room: usize) -> Self {
        let (tx, rx) = mpsc::channel(room);
        Self { tx, rx }
    }
}

/// How those who come prove this node's key.
struct TlsConfigs {
    join: Arc<ServerConfig>,
    peer: Arc<ServerConfig>,
}

/// Connections.
#[derive(Default)]
struct Sessions {
    running: JoinMap<ConnId, Closed>,
    ends: HashMap<ConnId, Session>,
    /// Frames for them, given to them at the end of a turn.
    to_send: Vec<(ConnId, Outbound)>,
    /// The number of the last one.
    next: u64,
}

/// Connections that are being made.
#[derive(Default)]
struct Dialling {
    /// To the host.
    host: JoinSet<(LinkKind, Result<Connection, Closed>)>,
    peers: JoinMap<PeerId, Result<Connection, Closed>>,
    /// To classic peers, each for one message.
    classic: JoinMap<PeerId, Result<Option<String>, Closed>>,
}

/// What goes to the store, and comes from it.
struct Store {
    profile: Profile,
    answers: Queue<StoreEvent>,
    /// Commands for it, as one bundle. The windows of the links bound it.
    waiting: Vec<StoreCommand>,
    /// When commands that nobody waits for are given to it; at once when somebody waits for one of them.
    at: Option<Instant>,
}

/// What comes from the front end, and goes to it.
struct FrontEnd {
    sends: mpsc::Receiver<Request>,
    commands: mpsc::Receiver<Request>,
    teller: Teller,
    /// Events for it, given to it at the end of a turn.
    to_tell: Vec<NodeEvent>,
    is_gone: bool,
}

struct Actor {
    node: Node,
    identity: Arc<Identity>,
    cost: PasswordCost,
    platform: Arc<dyn Platform>,
    tls: TlsConfigs,
    sessions: Sessions,
    dialling: Dialling,
    listening: Listening,
    /// The ends of relayed links.
    relays: HashMap<RelayedId, RelayedEnd>,
    hashes: Arc<Semaphore>,
    inputs: Queue<Input>,
    accepted: Queue<(LinkKind, Connection)>,
    store: Store,
    front: FrontEnd,
    /// The time of this turn: the clock is read once for all that came together.
    turn: Moment,
    /// Why the session is over.
    finished: Option<Closed>,
    reported: Instant,
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// What woke the actor.
enum Woken {
    Input(Option<Input>),
    Accepted(Option<(LinkKind, Connection)>),
    Request(Option<Request>),
    Stored(Option<StoreEvent>),
    Session(ConnId, Closed),
    Join(LinkKind, Result<Connection, Closed>),
    ClassicSent(PeerId, Result<Option<String>, Closed>),
    Dial(PeerId, Result<Connection, Closed>),
    /// The store is to be given what nobody waits for.
    StoreDue,
    Timer,
}

impl Actor {
    async fn run(mut self) -> Closed {
        let watch = tokio::spawn(suspend::watch(self.platform.clone(), self.inputs.tx.clone()));
        self.perform();
        while self.finished.is_none() {
            let woken = self.wake().await;
            self.turn = self.platform.now();
            // Frames come before timers: a peer that has spoken is not silent.
            self.take_in(woken);
            if self.node.poll_timeout().is_some_and(|at| at <= self.now().instant) {
                self.node.handle_timeout(self.now());
            }
            self.report_dropped();
            self.perform();
        }
        watch.abort();
        self.shut_down().await;
        self.finished.unwrap_or_else(|| CloseReason::Internal.into())
    }

    async fn wake(&mut self) -> Woken {
        let takes_sends = !self.front.is_gone && self.node.wants_commands(self.now());
        let deadline = self.node.poll_timeout();
        tokio::select! {
            biased;
            input = self.inputs.rx.recv() => Woken::Input(input),
            Some((conn, result)) = self.sessions.running.join_next() => Woken::Session(conn, session::ended(result)),
            request = self.front.commands.recv(), if !self.front.is_gone => Woken::Request(request),
            Some(send) = self.front.sends.recv(), if takes_sends => Woken::Request(Some(send)),
            stored = self.store.answers.rx.recv() => Woken::Stored(stored),
            Some((peer, result)) = self.dialling.peers.join_next() => {
                Woken::Dial(peer, result.unwrap_or_else(|_| Err(CloseReason::Internal.into())))
            }
            Some(result) = self.dialling.host.join_next() => {
                let (link, result) =
                    result.unwrap_or_else(|_| (LinkKind::JoinOut, Err(CloseReason::Internal.into())));
                Woken::Join(link, result)
            }
            Some((peer, result)) = self.dialling.classic.join_next() => {
                Woken::ClassicSent(peer, result.unwrap_or_else(|_| Err(CloseReason::Internal.into())))
            }
            accepted = self.accepted.rx.recv() => Woken::Accepted(accepted),
            () = until(self.store.at) => Woken::StoreDue,
            () = until(deadline) => Woken::Timer,
        }
    }

    fn take_in(&mut self, woken: Woken) {
        match woken {
            Woken::Input(Some(input)) => {
                self.input(input);
                self.take_waiting(limits::FRAMES_AT_ONCE);
            }
            Woken::Session(conn, closed) => {
                // The session's last frames are still waiting.
                self.take_waiting(limits::FRAMES_TO_NODE);
                self.session_ended(conn, closed);
            }
            Woken::Request(Some(request)) => {
                self.request(request);
                self.take_waiting(limits::FRAMES_AT_ONCE);
            }
            // The front end is gone.
            Woken::Request(None) => {
                self.front.is_gone = true;
                self.request(NodeCommand::Leave.into());
            }
            Woken::Stored(Some(event)) => {
                // It has room again.
                self.store.at = self.store.at.map(|_| self.turn.instant);
                self.node.handle(self.now(), Input::Store(event));
            }
            Woken::Accepted(Some((link, connection))) => self.accepted(link, connection, None),
            Woken::ClassicSent(peer, result) => {
                self.node.handle(self.now(), Input::ClassicSent(peer, result));
            }
            Woken::Join(link, Ok(connection)) => self.reached_host(link, connection),
            Woken::Join(_, Err(closed)) => self.node.handle(self.now(), Input::JoinFailed(closed)),
            Woken::Dial(peer, Ok(connection)) => self.reached_peer(peer, connection),
            Woken::Dial(peer, Err(closed)) => self.node.handle(self.now(), Input::DialFailed(peer, closed)),
            Woken::Timer => self.take_waiting(limits::FRAMES_AT_ONCE),
            // The actor holds a sender of each of these itself.
            Woken::Input(None) | Woken::Stored(None) | Woken::Accepted(None) | Woken::StoreDue => {}
        }
        // A person's commands must not wait behind a flood of frames.
        while let (None, Ok(request)) = (&self.finished, self.front.commands.try_recv()) {
            self.request(request);
            self.perform();
        }
        for _ in 0..limits::SENDS_AT_ONCE {
            if self.finished.is_some() || !self.node.wants_commands(self.now()) {
                return;
            }
            let Ok(send) = self.front.sends.try_recv() else { return };
            self.request(send);
        }
    }

    fn request(&mut self, request: Request) {
        let now = self.now();
        match request {
            Request::Command(NodeCommand::Leave) => {
                // Messages from before the goodbye are sent before it.
                while let Ok(send) = self.front.sends.try_recv() {
                    self.request(send);
                }
                self.node.handle(now, Input::Command(NodeCommand::Leave));
            }
            Request::Command(command) => self.node.handle(now, Input::Command(self.located(command))),
            // Whoever does not wait for the answer has dropped the other end.
            Request::Send(to, text, taken) => {
                let _ = taken.send(self.node.send(now, &to, &text, None));
            }
            Request::Ask(command, done) => {
                let _ = done.send(self.node.command(now, self.located(command)));
            }
            Request::Members(asked) => {
                let _ = asked.send(self.node.members());
            }
        }
    }

    /// Takes in the inputs that have come meanwhile.
    fn take_waiting(&mut self, most: usize) {
        for _ in 0..most {
            let Ok(input) = self.inputs.rx.try_recv() else { return };
            self.input(input);
        }
    }

    fn input(&mut self, input: Input) {
        if let Input::RelayedEnded(relayed) = &input {
            self.relays.remove(relayed);
        }
        if let Input::Connected(conn, _) = &input
            && let Some(session) = self.sessions.ends.get_mut(conn)
        {
            session.connected = true;
        }
        self.node.handle(self.now(), input);
    }

    fn session(
        &self,
        conn: ConnId,
        link: LinkKind,
        limit: FrameLimit,
        dialled: Dialled,
    ) -> (Context, Session) {
        let (outbound, from_node) = mpsc::channel(limits::OUTBOUND_FRAMES);
        let to_node = self.inputs.tx.clone();
        let context = Context {
            conn,
            link,
            to_node,
            outbound: from_node,
            limit: limit.clone(),
            takes_classic: false,
            via: None,
        };
        (context, Session { outbound, limit, proceed: None, dialled, connected: false })
    }

    fn session_ended(&mut self, conn: ConnId, closed: Closed) {
        let Some(session) = self.sessions.ends.remove(&conn) else {
            return self.node.handle(self.now(), Input::Closed(conn, closed));
        };
        tracing::debug!(conn = conn.0, reason = closed.reason.code(), detail = closed.detail, "closed");
        if !session.connected {
            self.failed(session.dialled, closed.clone());
        }
        self.node.handle(self.now(), Input::Closed(conn, closed));
    }

    /// Carries out all outputs of the node. Frames and events go out together at the end, so that each session and the front
    /// end wake up once. The front end gets received messages before they are acknowledged, and everything else after the
    /// sessions, since other peers wait for those.
    fn perform(&mut self) {
        loop {
            self.carry_out();
            // A front end that reads the history finds there what it was notified of.
            self.give_store();
            let is_received = |event: &NodeEvent| matches!(event, NodeEvent::Batch(said) if !said.own);
            if self.front.to_tell.iter().any(is_received) {
                self.front.teller.tell(&mut self.front.to_tell);
            }
            if self.send_all() {
                break;
            }
        }
        if !self.front.to_tell.is_empty() {
            self.front.teller.tell(&mut self.front.to_tell);
        }
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Proceed(conn) => {
                    if let Some(proceed) =
                        self.sessions.ends.get_mut(&conn).and_then(|session| session.proceed.take())
                    {
                        let _ = proceed.send(());
                    }
                }
                Output::Authenticated(conn) => {
                    if let Some(session) = self.sessions.ends.get(&conn) {
                        session.limit.authenticated();
                    }
                }
                Output::Send(conn, frame) | Output::SendObject(conn, frame) => {
                    self.sessions.to_send.push((conn, Outbound::Frame(frame)));
                }
                Output::Close(conn, _) => self.sessions.to_send.push((conn, Outbound::Close)),
                Output::Join(target, addrs) if addrs.is_empty() => {
                    let joining = dialer::join(self.platform.clone(), target);
                    self.dialling.host.spawn(async { (LinkKind::JoinOut, joining.await) });
                }
                Output::Join(_, addrs) => self.open_link(LinkKind::JoinOut, addrs),
                Output::Distribution(addr) => {
                    self.open_link(LinkKind::DistributionOut, vec![addr.into()]);
                }
                Output::SendClassic(peer, to, from, object) => {
                    self.dialling.classic.spawn(peer, classic::send(self.platform.clone(), to, from, object));
                }
                Output::Announce { network, join_addr } => self.announce(network, join_addr),
                Output::Withdraw => self.listening.announced = None,
                Output::MapPorts(ports) => self.map_ports(ports),
                Output::ReleasePorts => self.release_ports(),
                Output::OpenJoin(port) => self.open_join(port),
                Output::CloseJoin => {
                    if let Some(listener) = self.listening.join.take() {
                        listener.abort();
                    }
                }
                Output::Probe(peer, addrs) => self.probe(peer, addrs),
                Output::LookForDeputy(deputy, addrs, says) => self.look_for_deputy(deputy, addrs, says),
                Output::Dial(peer, addrs) => {
                    self.dialling.peers.spawn(peer, dialer::dial(self.platform.clone(), addrs, None));
                }
                Output::OpenRelayed { relayed, relay, remote, to } => {
                    self.open_relayed(relayed, relay, remote, to);
                }
                Output::FeedRelayed(relayed, bytes) => {
                    let end = self.relays.get(&relayed);
                    if end.is_some_and(|end| !end.feed(bytes)) {
                        self.relays.remove(&relayed);
                        self.node.handle(self.now(), Input::RelayedEnded(relayed));
                    }
                }
                Output::CreditRelayed(relayed, pieces) => {
                    if let Some(end) = self.relays.get(&relayed) {
                        end.credit(pieces);
                    }
                }
                Output::CloseRelayed(relayed) => _ = self.relays.remove(&relayed),
                Output::Prove(conn, proof, ke2) => {
                    self.hash(move || Some(Input::Proven(conn, proof.answer(&ke2).ok())));
                }
                Output::Register(password) => {
                    let (cost, seed) = (self.cost, self.platform.random());
                    self.hash(move || {
                        HostRecord::register(&password, cost, seed).ok().map(Box::new).map(Input::Registered)
                    });
                }
                Output::Store(command) => self.store(command),
                Output::Event(event) => {
                    tracing::trace!(?event);
                    self.front.to_tell.push(event);
                }
                Output::Finished(closed) => self.finished = Some(closed),
            }
        }
    }

    /// Opens a link to the host, at the first of these addresses that answers.
    fn open_link(&mut self, link: LinkKind, addrs: Vec<SocketAddr>) {
        let dialling = dialer::dial(self.platform.clone(), addrs, None);
        self.dialling.host.spawn(async move { (link, dialling.await) });
    }

    /// Runs password work beside the async threads, a few at a time: each takes 64 MiB.
    fn hash(&self, job: impl FnOnce() -> Option<Input> + Send + 'static) {
        let (hashes, platform, to_node) =
            (self.hashes.clone(), self.platform.clone(), self.inputs.tx.clone());
        tokio::spawn(async move {
            let _turn = hashes.acquire_owned().await;
            if let Some(Some(input)) = platform::work(&*platform, job).await {
                let _ = to_node.send(input).await;
            }
        });
    }

    /// Gives each session its frames. False when a session does not take them, which the node is told.
    fn send_all(&mut self) -> bool {
        let mut to_send = std::mem::take(&mut self.sessions.to_send);
        to_send.sort_by_key(|(conn, _)| *conn);
        let mut is_taken = true;
        for (conn, item) in to_send.drain(..) {
            match item {
                Outbound::Frame(frame) => is_taken &= self.send(conn, frame),
                Outbound::Close => self.close(conn),
            }
        }
        self.sessions.to_send = to_send;
        is_taken
    }

    fn send(&mut self, conn: ConnId, frame: bytes::Bytes) -> bool {
        let Some(session) = self.sessions.ends.get(&conn) else { return true };
        let is_full = matches!(
            session.outbound.try_send(Outbound::Frame(frame)),
            Err(mpsc::error::TrySendError::Full(_))
        );
        if is_full {
            tracing::warn!(conn = conn.0, "does not take what it is sent; closed");
            self.sessions.ends.remove(&conn);
            self.sessions.running.abort(&conn);
            self.node.handle(self.now(), Input::Closed(conn, CloseReason::SlowConsumer.into()));
        }
        !is_full
    }

    fn close(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.ends.remove(&conn) else { return };
        if !session.connected || session.outbound.try_send(Outbound::Close).is_err() {
            self.sessions.running.abort(&conn);
        }
    }

    fn now(&self) -> Moment {
        self.turn
    }

    fn new_conn(&mut self) -> ConnId {
        self.sessions.next += 1;
        ConnId(self.sessions.next)
    }

    /// One line a minute for a flood, however large.
    fn report_dropped(&mut self) {
        let now = self.now().instant;
        if now.saturating_duration_since(self.reported) > limits::FLOOD_REPORT {
            self.reported = now;
            match self.node.take_dropped() {
                0 => {}
                dropped => tracing::warn!(dropped, "connections of strangers turned away: too many at once"),
            }
        }
    }

    /// Stops accepting, lets the last frames out, closes everything.
    async fn shut_down(&mut self) {
        self.store.at = self.store.at.map(|_| self.now().instant);
        self.give_store();
        self.listening.tasks.abort_all();
        self.dialling.host.abort_all();
        self.dialling.classic.abort_all();
        self.dialling.peers.abort_all();
        self.inputs.rx.close();
        // Sessions that have nothing more to say end with this.
        self.sessions.ends.clear();
        let drained = async { while self.sessions.running.join_next().await.is_some() {} };
        let _ = time::timeout(limits::LEAVE_TIMEOUT, drained).await;
        self.sessions.running.abort_all();
        links::release(self.listening.router.take(), self.listening.asking_router.take()).await;
        while self.listening.tasks.join_next().await.is_some() {}
        self.flush_store().await;
    }
}

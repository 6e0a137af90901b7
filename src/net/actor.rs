//! The node actor: drives one node, and owns its sockets, sessions and timers.
//!
//! It must never decide what the node decides, wait for one peer, or let a failing session end another.

mod keeping;
mod links;

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Instant};

use rustls::ServerConfig;
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    task::{AbortHandle, JoinSet},
    time,
};
use tokio_util::task::JoinMap;

use super::{
    classic, dialer,
    events::{self, Events, Teller},
    handle::{NodeHandle, Opened, Request},
    link::{Context, Outbound},
    listener::{self, PeerListen},
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
    let (inputs_tx, inputs) = mpsc::channel(limits::FRAMES_TO_NODE);
    let (accepted_tx, accepted) = mpsc::channel(limits::CONNECTIONS_WAITING);
    let (stored_tx, stored) = mpsc::channel(limits::STORE_EVENTS);
    let host_listens = opened.peer.as_ref().and_then(|listener| listener.local_addr().ok());
    let listening = host_listens.map(|addr| (addr.ip(), addr));
    let (identity, cost) = (config.identity.clone(), config.cost);
    let platform_now = platform.now();
    let mut actor = Actor {
        join_config: tls::server_config(&identity, JOIN_ALPN)?,
        peer_config: tls::server_config(&identity, PEER_ALPN)?,
        node: Node::new(config, platform_now),
        reported: platform_now.instant,
        identity,
        cost,
        platform,
        profile,
        sessions: JoinMap::new(),
        handles: HashMap::new(),
        next_conn: 0,
        joins: JoinSet::new(),
        classic_sends: JoinMap::new(),
        dials: JoinMap::new(),
        listeners: JoinSet::new(),
        relays: HashMap::new(),
        hashes: Arc::new(Semaphore::new(limits::HASHES_AT_ONCE)),
        // A host's peer listener stays where it is, also once it is a member.
        peer_listen: listening.map(|(_, addr)| addr).or(opened.peer_listen),
        listening,
        join_listener: None,
        inputs_tx,
        inputs,
        accepted_tx,
        accepted,
        sends,
        commands,
        stored_tx,
        stored,
        to_store: Vec::new(),
        store_at: None,
        teller,
        to_tell: Vec::new(),
        to_send: Vec::new(),
        turn: platform_now,
        abandoned: false,
        finished: None,
    };
    for (listener, link) in [
        (opened.join, LinkKind::JoinIn),
        (opened.peer, LinkKind::PeerIn),
        (opened.distribution, LinkKind::DistributionIn),
    ] {
        if let Some(listener) = listener {
            actor.listeners.spawn(listener::accept(listener, link, actor.accepted_tx.clone()));
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

struct Actor {
    node: Node,
    identity: Arc<Identity>,
    cost: PasswordCost,
    platform: Arc<dyn Platform>,
    profile: Profile,
    join_config: Arc<ServerConfig>,
    peer_config: Arc<ServerConfig>,
    sessions: JoinMap<ConnId, Closed>,
    handles: HashMap<ConnId, Session>,
    next_conn: u64,
    /// Links to the host that are being opened.
    joins: JoinSet<(LinkKind, Result<Connection, Closed>)>,
    /// Messages that are being sent to classic peers.
    classic_sends: JoinMap<PeerId, Result<Option<String>, Closed>>,
    dials: JoinMap<PeerId, Result<Connection, Closed>>,
    listeners: JoinSet<()>,
    /// The ends of relayed links.
    relays: HashMap<RelayedId, RelayedEnd>,
    hashes: Arc<Semaphore>,
    peer_listen: PeerListen,
    /// The peer listener, and the address of the route for which it was opened.
    listening: Option<(std::net::IpAddr, SocketAddr)>,
    /// The join port of a member that is to be the host.
    join_listener: Option<AbortHandle>,
    inputs_tx: mpsc::Sender<Input>,
    inputs: mpsc::Receiver<Input>,
    accepted_tx: mpsc::Sender<(LinkKind, Connection)>,
    accepted: mpsc::Receiver<(LinkKind, Connection)>,
    sends: mpsc::Receiver<Request>,
    commands: mpsc::Receiver<Request>,
    stored_tx: mpsc::Sender<StoreEvent>,
    stored: mpsc::Receiver<StoreEvent>,
    /// Commands for the store, as one bundle. The windows of the links bound it.
    to_store: Vec<StoreCommand>,
    /// When commands that nobody waits for are given to the store; at once when somebody waits for one of them.
    store_at: Option<Instant>,
    teller: Teller,
    /// Events for the front end, given to it at the end of a turn.
    to_tell: Vec<NodeEvent>,
    /// Frames for the sessions, given to them at the end of a turn.
    to_send: Vec<(ConnId, Outbound)>,
    /// The time of this turn: the clock is read once for all that came together.
    turn: Moment,
    /// The front end is gone.
    abandoned: bool,
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
        let watch = tokio::spawn(suspend::watch(self.platform.clone(), self.inputs_tx.clone()));
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
        let takes_sends = !self.abandoned && self.node.wants_commands(self.now());
        let deadline = self.node.poll_timeout();
        tokio::select! {
            biased;
            input = self.inputs.recv() => Woken::Input(input),
            Some((conn, result)) = self.sessions.join_next() => Woken::Session(conn, session::ended(result)),
            request = self.commands.recv(), if !self.abandoned => Woken::Request(request),
            Some(send) = self.sends.recv(), if takes_sends => Woken::Request(Some(send)),
            stored = self.stored.recv() => Woken::Stored(stored),
            Some((peer, result)) = self.dials.join_next() => {
                Woken::Dial(peer, result.unwrap_or_else(|_| Err(CloseReason::Internal.into())))
            }
            Some(result) = self.joins.join_next() => {
                let (link, result) =
                    result.unwrap_or_else(|_| (LinkKind::JoinOut, Err(CloseReason::Internal.into())));
                Woken::Join(link, result)
            }
            Some((peer, result)) = self.classic_sends.join_next() => {
                Woken::ClassicSent(peer, result.unwrap_or_else(|_| Err(CloseReason::Internal.into())))
            }
            accepted = self.accepted.recv() => Woken::Accepted(accepted),
            () = until(self.store_at) => Woken::StoreDue,
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
                self.abandoned = true;
                self.request(NodeCommand::Leave.into());
            }
            Woken::Stored(Some(event)) => {
                // It has room again.
                self.store_at = self.store_at.map(|_| self.turn.instant);
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
        while let (None, Ok(request)) = (&self.finished, self.commands.try_recv()) {
            self.request(request);
            self.perform();
        }
        for _ in 0..limits::SENDS_AT_ONCE {
            if self.finished.is_some() || !self.node.wants_commands(self.now()) {
                return;
            }
            let Ok(send) = self.sends.try_recv() else { return };
            self.request(send);
        }
    }

    fn request(&mut self, request: Request) {
        let now = self.now();
        match request {
            Request::Command(NodeCommand::Leave) => {
                // Messages from before the goodbye are sent before it.
                while let Ok(send) = self.sends.try_recv() {
                    self.request(send);
                }
                self.node.handle(now, Input::Command(NodeCommand::Leave));
            }
            Request::Command(command) => self.node.handle(now, Input::Command(command)),
            // Whoever does not wait for the answer has dropped the other end.
            Request::Send(to, text, taken) => {
                let _ = taken.send(self.node.send(now, &to, &text, None));
            }
            Request::Ask(command, done) => {
                let _ = done.send(self.node.command(now, command));
            }
            Request::Members(asked) => {
                let _ = asked.send(self.node.members());
            }
        }
    }

    /// Takes in the inputs that have come meanwhile.
    fn take_waiting(&mut self, most: usize) {
        for _ in 0..most {
            let Ok(input) = self.inputs.try_recv() else { return };
            self.input(input);
        }
    }

    fn input(&mut self, input: Input) {
        if let Input::RelayedEnded(relayed) = &input {
            self.relays.remove(relayed);
        }
        if let Input::Connected(conn, _) = &input
            && let Some(session) = self.handles.get_mut(conn)
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
        let to_node = self.inputs_tx.clone();
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
        let Some(session) = self.handles.remove(&conn) else {
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
            if self.to_tell.iter().any(is_received) {
                self.teller.tell(&mut self.to_tell);
            }
            if self.send_all() {
                break;
            }
        }
        if !self.to_tell.is_empty() {
            self.teller.tell(&mut self.to_tell);
        }
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Proceed(conn) => {
                    if let Some(proceed) =
                        self.handles.get_mut(&conn).and_then(|session| session.proceed.take())
                    {
                        let _ = proceed.send(());
                    }
                }
                Output::Authenticated(conn) => {
                    if let Some(session) = self.handles.get(&conn) {
                        session.limit.authenticated();
                    }
                }
                Output::Send(conn, frame) | Output::SendObject(conn, frame) => {
                    self.to_send.push((conn, Outbound::Frame(frame)));
                }
                Output::Close(conn, _) => self.to_send.push((conn, Outbound::Close)),
                Output::Join(target, addrs) if addrs.is_empty() => {
                    let joining = dialer::join(self.platform.clone(), target);
                    self.joins.spawn(async { (LinkKind::JoinOut, joining.await) });
                }
                Output::Join(_, addrs) => self.open_link(LinkKind::JoinOut, addrs),
                Output::Distribution(addr) => {
                    self.open_link(LinkKind::DistributionOut, vec![addr.into()]);
                }
                Output::SendClassic(peer, to, from, object) => {
                    self.classic_sends.spawn(peer, classic::send(self.platform.clone(), to, from, object));
                }
                Output::OpenJoin(port) => self.open_join(port),
                Output::CloseJoin => {
                    if let Some(listener) = self.join_listener.take() {
                        listener.abort();
                    }
                }
                Output::Probe(peer, addrs) => self.probe(peer, addrs),
                Output::Dial(peer, addrs) => {
                    self.dials.spawn(peer, dialer::dial(self.platform.clone(), addrs, None));
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
                    self.to_tell.push(event);
                }
                Output::Finished(closed) => self.finished = Some(closed),
            }
        }
    }

    /// Opens a link to the host, at the first of these addresses that answers.
    fn open_link(&mut self, link: LinkKind, addrs: Vec<SocketAddr>) {
        let dialling = dialer::dial(self.platform.clone(), addrs, None);
        self.joins.spawn(async move { (link, dialling.await) });
    }

    /// Runs password work beside the async threads, a few at a time: each takes 64 MiB.
    fn hash(&self, job: impl FnOnce() -> Option<Input> + Send + 'static) {
        let (hashes, platform, to_node) =
            (self.hashes.clone(), self.platform.clone(), self.inputs_tx.clone());
        tokio::spawn(async move {
            let _turn = hashes.acquire_owned().await;
            if let Some(Some(input)) = platform::work(&*platform, job).await {
                let _ = to_node.send(input).await;
            }
        });
    }

    /// Gives each session its frames. False when a session does not take them, which the node is told.
    fn send_all(&mut self) -> bool {
        let mut to_send = std::mem::take(&mut self.to_send);
        to_send.sort_by_key(|(conn, _)| *conn);
        let mut is_taken = true;
        for (conn, item) in to_send.drain(..) {
            match item {
                Outbound::Frame(frame) => is_taken &= self.send(conn, frame),
                Outbound::Close => self.close(conn),
            }
        }
        self.to_send = to_send;
        is_taken
    }

    fn send(&mut self, conn: ConnId, frame: bytes::Bytes) -> bool {
        let Some(session) = self.handles.get(&conn) else { return true };
        let is_full = matches!(
            session.outbound.try_send(Outbound::Frame(frame)),
            Err(mpsc::error::TrySendError::Full(_))
        );
        if is_full {
            tracing::warn!(conn = conn.0, "does not take what it is sent; closed");
            self.handles.remove(&conn);
            self.sessions.abort(&conn);
            self.node.handle(self.now(), Input::Closed(conn, CloseReason::SlowConsumer.into()));
        }
        !is_full
    }

    fn close(&mut self, conn: ConnId) {
        let Some(session) = self.handles.remove(&conn) else { return };
        if !session.connected || session.outbound.try_send(Outbound::Close).is_err() {
            self.sessions.abort(&conn);
        }
    }

    fn now(&self) -> Moment {
        self.turn
    }

    fn new_conn(&mut self) -> ConnId {
        self.next_conn += 1;
        ConnId(self.next_conn)
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
        self.store_at = self.store_at.map(|_| self.now().instant);
        self.give_store();
        self.listeners.abort_all();
        self.joins.abort_all();
        self.classic_sends.abort_all();
        self.dials.abort_all();
        self.inputs.close();
        // Sessions that have nothing more to say end with this.
        self.handles.clear();
        let drained = async { while self.sessions.join_next().await.is_some() {} };
        let _ = time::timeout(limits::LEAVE_TIMEOUT, drained).await;
        self.sessions.abort_all();
        while self.listeners.join_next().await.is_some() {}
        self.flush_store().await;
    }
}

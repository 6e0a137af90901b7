//! How connections become sessions: those that came in, those that were made, and those that somebody relays; and the
//! listeners that take them.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    sync::{Mutex, oneshot},
    task::{AbortHandle, JoinSet},
    time,
};

use super::{Actor, Dialled, Session};
use crate::{
    api::NodeCommand,
    model::{CloseReason, Closed, HostPorts, PeerId, Wire, limits},
    net::{
        classic, discovery, listener,
        platform::{Connection, Router},
        relay::RelayedEnd,
        session,
    },
    proto::{Input, JoinPort, LinkKind, RelayedId},
    security::tls,
    wire::{FrameLimit, JOIN_ALPN, PEER_ALPN},
};

/// One of its uses at a time.
pub(super) type SharedRouter = Arc<Mutex<Box<dyn Router>>>;

/// Gives a router back what it has opened, which it has a while for. What is asked of it is of no use any more.
pub(super) async fn release(router: Option<SharedRouter>, question: Option<AbortHandle>) {
    if let Some(question) = question {
        question.abort();
    }
    if let Some(router) = router {
        let released = async { router.lock().await.release().await };
        let _ = time::timeout(limits::ROUTER_RELEASE, released).await;
    }
}

/// Where this node takes connections.
pub(super) struct Listening {
    pub(super) tasks: JoinSet<()>,
    /// Where the peer listener is to be.
    pub(super) wanted: listener::PeerListen,
    /// The peer listener, and the address of the route for which it was opened.
    pub(super) peer: Option<(std::net::IpAddr, SocketAddr)>,
    /// The join port of a member that is to be the host.
    pub(super) join: Option<AbortHandle>,
    /// Those around are told of the network.
    pub(super) announced: Option<discovery::Announced>,
    /// The router, once it was asked for ports.
    pub(super) router: Option<SharedRouter>,
    /// It is being asked.
    pub(super) asking_router: Option<AbortHandle>,
}

impl Actor {
    pub(super) fn accepted(&mut self, link: LinkKind, connection: Connection, via: Option<PeerId>) {
        let conn = self.new_conn();
        let ip = connection.remote.ip();
        let (mut context, session) = self.session(conn, link, FrameLimit::before(), Dialled::Nobody);
        if link == LinkKind::DistributionIn {
            let Connection { stream, local, remote } = connection;
            let Ok(connected) = classic::connected(link, remote, local, Vec::new()) else { return };
            self.sessions.ends.insert(conn, session);
            self.sessions.running.spawn(conn, classic::run(context, stream, connected));
            return self.node.handle(self.now(), Input::Incoming(conn, ip));
        }
        context.takes_classic = via.is_none() && self.node.takes_classic(link);
        context.via = via;
        let (config, alpn) = match link {
            LinkKind::JoinIn => (self.tls.join.clone(), JOIN_ALPN),
            _ => (self.tls.peer.clone(), PEER_ALPN),
        };
        let (proceed, go_on) = oneshot::channel();
        self.sessions.ends.insert(conn, Session { proceed: Some(proceed), ..session });
        self.sessions.running.spawn(conn, session::accepted(context, connection, config, alpn, go_on));
        self.node.handle(self.now(), Input::Incoming(conn, ip));
    }

    pub(super) fn reached_host(&mut self, link: LinkKind, connection: Connection) {
        let listening = match self.listen_at(connection.local) {
            Ok(listening) => listening,
            Err(closed) => return self.node.handle(self.now(), Input::JoinFailed(closed)),
        };
        let listening = listener::announced(listening);
        if self.node.wire_to_host() == Wire::Native {
            return self.dialled(connection, link, Dialled::Host, None, listening, None);
        }
        let Connection { stream, local, remote } = connection;
        let connected = match classic::connected(link, remote, local, listening) {
            Ok(connected) => connected,
            Err(closed) => return self.failed(Dialled::Host, closed),
        };
        let conn = self.new_conn();
        let (context, session) = self.session(conn, link, FrameLimit::after(), Dialled::Host);
        self.sessions.ends.insert(conn, session);
        self.sessions.running.spawn(conn, classic::run(context, stream, connected));
    }

    pub(super) fn reached_peer(&mut self, peer: PeerId, connection: Connection) {
        self.dialled(connection, LinkKind::PeerOut, Dialled::Peer(peer), Some(peer), Vec::new(), None);
    }

    /// Runs a peer link through a relay.
    pub(super) fn open_relayed(
        &mut self,
        relayed: RelayedId,
        via: PeerId,
        remote: SocketAddr,
        to: Option<PeerId>,
    ) {
        let (end, stream) = RelayedEnd::open(relayed, &self.inputs.tx);
        self.relays.insert(relayed, end);
        let local = self.listening.peer.map_or(remote, |(_, addr)| addr);
        let connection = Connection { stream: Box::new(stream), local, remote };
        let link = if to.is_some() { LinkKind::PeerOut } else { LinkKind::PeerIn };
        match to {
            // The relayed link reports what becomes of it.
            Some(_) => self.dialled(connection, link, Dialled::Nobody, to, Vec::new(), Some(via)),
            None => self.accepted(link, connection, Some(via)),
        }
    }

    fn dialled(
        &mut self,
        connection: Connection,
        link: LinkKind,
        dialled: Dialled,
        expected: Option<PeerId>,
        listening: Vec<SocketAddr>,
        via: Option<PeerId>,
    ) {
        let alpn = if link == LinkKind::JoinOut { JOIN_ALPN } else { PEER_ALPN };
        let config = match tls::client_config(&self.identity, alpn, expected) {
            Ok(config) => config,
            Err(error) => {
                let closed = Closed::new(CloseReason::Internal, error.to_string());
                return self.failed(dialled, closed);
            }
        };
        let conn = self.new_conn();
        let (mut context, session) = self.session(conn, link, FrameLimit::after(), dialled);
        context.via = via;
        self.sessions.ends.insert(conn, session);
        self.sessions.running.spawn(conn, session::dialled(context, connection, config, alpn, listening));
    }

    pub(super) fn failed(&mut self, dialled: Dialled, closed: Closed) {
        match dialled {
            Dialled::Nobody => {}
            Dialled::Host => self.node.handle(self.now(), Input::JoinFailed(closed)),
            Dialled::Peer(peer) => self.node.handle(self.now(), Input::DialFailed(peer, closed)),
        }
    }

    /// A member listens at the address of its route to the host; when the route changes, so does the listener.
    fn listen_at(&mut self, local: SocketAddr) -> Result<SocketAddr, Closed> {
        let ip = local.ip();
        match self.listening.peer {
            Some((route, addr)) if route == ip || self.listening.wanted.is_some() => return Ok(addr),
            _ => {}
        }
        let listener = listener::bind_peer(&*self.platform, self.listening.wanted, local)?;
        let addr = listener
            .local_addr()
            .map_err(|error| Closed::new(CloseReason::CannotListen, error.to_string()))?;
        self.listening.tasks.abort_all();
        self.listening.tasks.spawn(listener::accept(listener, LinkKind::PeerIn, self.accepted.tx.clone()));
        self.listening.peer = Some((ip, addr));
        Ok(addr)
    }

    /// An invite says where this machine is now.
    pub(super) fn located(&self, mut command: NodeCommand) -> NodeCommand {
        if let NodeCommand::Invite { addrs, .. } = &mut command {
            *addrs = self.node.join_addr().map(listener::announced).unwrap_or_default();
        }
        command
    }

    /// Tells those around of the network.
    pub(super) fn announce(&mut self, network: String, join_addr: SocketAddr) {
        let announcement = discovery::Announcement { network, key: self.identity.peer_id(), join_addr };
        self.listening.announced = None;
        self.listening.announced = self.platform.announce(&announcement);
    }

    /// Asks the router for the ports of this host.
    pub(super) fn map_ports(&mut self, ports: HostPorts) {
        if self.listening.router.is_none() {
            self.listening.router = self.platform.router().map(|router| Arc::new(Mutex::new(router)));
        }
        let (router, to_node) = (self.listening.router.clone(), self.inputs.tx.clone());
        let question = tokio::spawn(async move {
            let mapped = match router {
                Some(router) => router.lock().await.map(ports).await,
                None => Err("this program was built without that".to_owned()),
            };
            let _ = to_node.send(Input::PortsMapped(mapped)).await;
        });
        if let Some(before) = self.listening.asking_router.replace(question.abort_handle()) {
            before.abort();
        }
    }

    /// Gives the router back what it has opened.
    pub(super) fn release_ports(&mut self) {
        let (router, question) = (self.listening.router.take(), self.listening.asking_router.take());
        tokio::spawn(release(router, question));
    }

    /// Opens a join port beside the peer listener: the wanted one, or else any.
    pub(super) fn open_join(&mut self, port: u16) {
        if let Some(listener) = self.listening.join.take() {
            listener.abort();
        }
        let everywhere = SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, 0));
        // A deputy that has not reached its host since it began listens nowhere yet.
        let peer = self.listening.peer.map_or_else(|| self.listen_at(everywhere), |(_, addr)| Ok(addr));
        let peer = match peer {
            Ok(addr) => addr,
            Err(closed) => return self.node.handle(self.now(), Input::JoinOpened(Err(closed))),
        };
        let mut at = peer;
        at.set_port(port);
        let wanted = listener::bind_join(&*self.platform, at);
        let bound = wanted.or_else(|_| listener::bind_peer(&*self.platform, None, at));
        let opened = bound.and_then(|listener| {
            let addr = listener
                .local_addr()
                .map_err(|error| Closed::new(CloseReason::CannotListen, error.to_string()))?;
            let accept = listener::accept(listener, LinkKind::JoinIn, self.accepted.tx.clone());
            self.listening.join = Some(self.listening.tasks.spawn(accept));
            let (addrs, peer_addrs) = (listener::announced(addr), listener::announced(peer));
            Ok(JoinPort { addr, addrs, peer_addrs })
        });
        self.node.handle(self.now(), Input::JoinOpened(opened));
    }

    /// Sees what the deputy shows to whoever takes it for a host.
    pub(super) fn look_for_deputy(&self, deputy: PeerId, addrs: Vec<SocketAddr>, says: Option<bytes::Bytes>) {
        let (platform, to_node) = (self.platform.clone(), self.inputs.tx.clone());
        let config = tls::client_config(&self.identity, JOIN_ALPN, Some(deputy));
        tokio::spawn(async move {
            let shown = match config {
                Ok(config) => session::opened_by(platform, addrs, config, says).await,
                Err(_) => None,
            };
            let _ = to_node.send(Input::LookedForDeputy(shown)).await;
        });
    }

    /// Sees whether a peer listens for joiners at one of its addresses.
    pub(super) fn probe(&self, peer: PeerId, addrs: Vec<SocketAddr>) {
        let (platform, to_node) = (self.platform.clone(), self.inputs.tx.clone());
        let config = tls::client_config(&self.identity, JOIN_ALPN, Some(peer));
        tokio::spawn(async move {
            let result = match config {
                Ok(config) => session::probe(platform, addrs, config).await.map(drop),
                Err(error) => Err(Closed::new(CloseReason::Internal, error.to_string())),
            };
            let _ = to_node.send(Input::Probed(result)).await;
        });
    }
}

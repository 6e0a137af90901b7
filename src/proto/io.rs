//! The inputs and outputs of a node, as plain data: what happened, and what the shell is to do.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    api::{NodeCommand, NodeEvent, StoreCommand, StoreEvent},
    model::{CloseReason, Closed, DeputyStatement, HostPorts, Password, PeerId, PortMapping},
    security::{HostRecord, JoinProof, tls::Secured},
    wire::{Frame, classic::Object},
};

/// A connection, as numbered by the shell; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// This node's end of a relayed link, as numbered by the node; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayedId(pub u64);

/// What a connection is for and who made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// A joiner came to this host.
    JoinIn,
    /// This member went to its host.
    JoinOut,
    /// A peer came to this one.
    PeerIn,
    /// This peer went to another.
    PeerOut,
    /// A classic joiner came to the distribution port.
    DistributionIn,
    /// This member went to its classic host's distribution port.
    DistributionOut,
}

/// A link whose handshake is finished.
#[derive(Debug, Clone)]
pub struct Connected {
    /// What it is for.
    pub link: LinkKind,
    /// What the handshake proved.
    pub secured: Secured,
    /// The address of the other end.
    pub remote: SocketAddr,
    /// The address of this end.
    pub local: SocketAddr,
    /// [`LinkKind::JoinOut`] only: where this member's peer listener may be reached, best first.
    pub listening: Vec<SocketAddr>,
    /// The peer that relays the link, if one does.
    pub via: Option<PeerId>,
}

/// Where a host that is to be listens.
#[derive(Debug, Clone)]
pub struct JoinPort {
    /// For joiners.
    pub addr: SocketAddr,
    /// Where joiners can reach it, best first.
    pub addrs: Vec<SocketAddr>,
    /// Where peers can, best first.
    pub peer_addrs: Vec<SocketAddr>,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// A front end asks for something.
    Command(NodeCommand),
    /// A listener accepted a connection.
    Incoming(ConnId, IpAddr),
    /// An accepted connection began a handshake.
    Spoke(ConnId),
    /// A handshake is finished.
    Connected(ConnId, Connected),
    /// The host could not be reached.
    JoinFailed(Closed),
    /// A peer could not be reached.
    DialFailed(PeerId, Closed),
    /// A frame came.
    Frame(ConnId, Frame),
    /// An object came over a classic link.
    Object(ConnId, Object),
    /// A message went to a classic peer, which has said that it has it and what it calls itself, or has said nothing;
    /// or it did not go.
    ClassicSent(PeerId, Result<Option<String>, Closed>),
    /// The session over a relayed link has written something, at most [`crate::model::limits::RELAYED_BYTES`] and no more
    /// often than it has credit for.
    RelayedBytes(RelayedId, Bytes),
    /// The session over a relayed link has read so many pieces.
    RelayedTaken(RelayedId, u32),
    /// The session over a relayed link is over.
    RelayedEnded(RelayedId),
    /// A connection ended.
    Closed(ConnId, Closed),
    /// The answer to a challenge is worked out, or cannot be.
    Proven(ConnId, Option<Vec<u8>>),
    /// The record of a new password is worked out.
    Registered(Box<HostRecord>),
    /// The store did something.
    Store(StoreEvent),
    /// The join port of a host that is to be is open, or cannot be opened.
    JoinOpened(Result<JoinPort, Closed>),
    /// The join port of the peer that is to be the host can be reached, or why not.
    Probed(Result<(), Closed>),
    /// By which word the deputy has opened the network again; nothing when it has not, or does not answer.
    LookedForDeputy(Option<Box<DeputyStatement>>),
    /// What came of asking the router for this host's ports.
    PortsMapped(Result<PortMapping, String>),
    /// This machine slept, or this process was stopped, for so long.
    Suspended(Duration),
}

/// What is to be done.
#[derive(Debug)]
pub enum Output {
    /// Keep this connection's handshake going.
    Proceed(ConnId),
    /// This connection is authenticated: take larger frames from it.
    Authenticated(ConnId),
    /// Send a frame.
    Send(ConnId, Bytes),
    /// Send an object over a classic link.
    SendObject(ConnId, Bytes),
    /// Send what is queued, then close.
    Close(ConnId, CloseReason),
    /// Open a join link to the host at this target, as typed; at these addresses, where there are any.
    Join(String, Vec<SocketAddr>),
    /// Listen for joiners, at this port if possible; comes back as [`Input::JoinOpened`].
    OpenJoin(u16),
    /// Listen for joiners no longer.
    CloseJoin,
    /// Announce the network to those around; the last announcement counts.
    Announce {
        /// Its name.
        network: String,
        /// Where joiners connect to.
        join_addr: SocketAddr,
    },
    /// Announce the network no longer.
    Withdraw,
    /// Ask the router to open these ports, or to keep them open; comes back as [`Input::PortsMapped`].
    MapPorts(HostPorts),
    /// Give the router back what it has opened.
    ReleasePorts,
    /// See whether this peer listens for joiners at one of these addresses; comes back as [`Input::Probed`].
    Probe(PeerId, Vec<SocketAddr>),
    /// See what this peer shows to whoever takes it for a host at one of these addresses; comes back as
    /// [`Input::LookedForDeputy`]. If it hosts, it is told so much.
    LookForDeputy(PeerId, Vec<SocketAddr>, Option<Bytes>),
    /// Open a peer link: try these addresses in order.
    Dial(PeerId, Vec<SocketAddr>),
    /// Run a peer link through a relay: as the one who dials `to`, or else as the one who is called.
    OpenRelayed {
        /// Which.
        relayed: RelayedId,
        /// Who relays it.
        relay: PeerId,
        /// The relay's address.
        remote: SocketAddr,
        /// Who is to be reached.
        to: Option<PeerId>,
    },
    /// Something came for the session over a relayed link.
    FeedRelayed(RelayedId, Bytes),
    /// The session over a relayed link may write so many more pieces. It begins with
    /// [`crate::model::limits::RELAYED_WINDOW`].
    CreditRelayed(RelayedId, u32),
    /// End the session over a relayed link.
    CloseRelayed(RelayedId),
    /// Open a classic member's second link to its host.
    Distribution(SocketAddrV4),
    /// Send an object to a classic peer, over a connection of its own from this address; comes back as
    /// [`Input::ClassicSent`].
    SendClassic(PeerId, SocketAddrV4, Option<Ipv4Addr>, Bytes),
    /// Work out the answer to a challenge, off the async threads; comes back as [`Input::Proven`].
    Prove(ConnId, Box<JoinProof>, Vec<u8>),
    /// Work out the record of a new password, off the async threads; comes back as [`Input::Registered`].
    Register(Password),
    /// Keep something.
    Store(StoreCommand),
    /// Tell the front end.
    Event(NodeEvent),
    /// It is over: nothing follows.
    Finished(Closed),
}

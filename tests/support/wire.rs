//! A peer by hand: it speaks the native wire with real keys over real TLS, and says what no pyile would.
//!
//! Beats are answered, so that a test may take its time; everything else is the test's.

use std::{
    net::{IpAddr, SocketAddr, TcpListener},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use bytes::BytesMut;
use futures_util::StreamExt as _;
use pyile::{
    model::{
        Alias, Batch, Network, NetworkId, Password, PeerId, Policy, Recipient, Role, RosterEntry, SafeText,
        Signature, StreamId, Timestamp, Wire,
    },
    security::{HostRecord, Identity, JoinProof, PasswordCost, password::join_context, sign, tls},
    wire::{
        Authenticated, BannedStatus, ByteBuf, Frame, FrameCodec, FrameLimit, Hello, JOIN_ALPN, PEER_ALPN,
        PeerHello, Refusal, RosterDelta, RosterPage,
    },
};
use rand_core::OsRng;
use tokio::{
    io::{AsyncWriteExt as _, ReadHalf, WriteHalf, split},
    runtime::{Handle, Runtime},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use tokio_util::codec::{Encoder as _, FramedRead};

use super::DEADLINE;

type Tls = TlsStream<tokio::net::TcpStream>;

/// The password that all peers of the tests use.
pub fn password() -> Password {
    Password::new("open sesame".into())
}

fn identity() -> Identity {
    Identity::generate().unwrap().0
}

/// A frame with its length before it.
pub fn framed(frame: &Frame) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    FrameCodec::new(FrameLimit::after()).encode(frame.encode(), &mut bytes).unwrap();
    bytes.to_vec()
}

/// Bytes that claim to be a frame.
pub fn framed_bytes(payload: &[u8]) -> Vec<u8> {
    [&u32::try_from(payload.len()).unwrap().to_be_bytes()[..], payload].concat()
}

/// One link of it.
pub struct Link {
    /// The key at the other end.
    pub peer: PeerId,
    binding: [u8; 32],
    out: UnboundedSender<Vec<u8>>,
    frames: Receiver<Frame>,
    reading: tokio::task::AbortHandle,
    /// Writes that are done.
    written: Receiver<()>,
}

impl Link {
    fn run(handle: &Handle, stream: Tls, alpn: &[u8]) -> Self {
        let secured = match &stream {
            TlsStream::Client(stream) => tls::secured(stream.get_ref().1, alpn),
            TlsStream::Server(stream) => tls::secured(stream.get_ref().1, alpn),
        }
        .unwrap();
        let (reader, writer) = split(stream);
        let (out, to_write) = unbounded_channel();
        let (to_test, frames) = channel();
        let (done, written) = channel();
        handle.spawn(write(writer, to_write, done));
        let reading = handle.spawn(read(reader, out.clone(), to_test)).abort_handle();
        Self { peer: secured.peer, binding: secured.binding, out, frames, reading, written }
    }

    pub fn send(&self, frame: &Frame) {
        self.send_bytes(framed(frame));
    }

    /// One write, and one record of TLS.
    pub fn send_bytes(&self, bytes: Vec<u8>) {
        let _ = self.out.send(bytes);
    }

    /// Reads nothing any more.
    pub fn stop_reading(&self) {
        self.reading.abort();
    }

    /// Sends and waits until the system has taken it. False when the link is gone.
    pub fn send_and_wait(&self, bytes: Vec<u8>) -> bool {
        while self.written.try_recv().is_ok() {}
        self.send_bytes(bytes);
        match self.written.recv_timeout(DEADLINE) {
            Ok(()) => true,
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => false,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("it is neither taken nor refused"),
        }
    }

    /// The next frame that is no heartbeat; none when the link is closed.
    pub fn next(&self) -> Option<Frame> {
        match self.frames.recv_timeout(DEADLINE) {
            Ok(frame) => Some(frame),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("nothing came, and nothing was closed"),
        }
    }

    /// Waits for a frame that this makes something of.
    pub fn find<T>(&self, what: &str, mut matches: impl FnMut(Frame) -> Option<T>) -> T {
        let mut last = None;
        loop {
            let Some(frame) = self.next() else { panic!("closed without {what}, after {last:?}") };
            last = Some(frame.clone());
            if let Some(found) = matches(frame) {
                return found;
            }
        }
    }

    /// Waits until the other end has closed the link. Gives the last it said.
    pub fn closed(&self) -> Option<Frame> {
        let mut last = None;
        while let Some(frame) = self.next() {
            last = Some(frame);
        }
        last
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reading.abort();
        let _ = self.out.send(Vec::new());
    }
}

async fn write(
    mut writer: WriteHalf<Tls>,
    mut to_write: UnboundedReceiver<Vec<u8>>,
    done: std::sync::mpsc::Sender<()>,
) {
    while let Some(bytes) = to_write.recv().await {
        // An empty write is the end.
        if bytes.is_empty() || writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
            break;
        }
        let _ = done.send(());
    }
    let _ = writer.shutdown().await;
}

async fn read(reader: ReadHalf<Tls>, out: UnboundedSender<Vec<u8>>, to_test: std::sync::mpsc::Sender<Frame>) {
    let mut reader = FramedRead::new(reader, FrameCodec::new(FrameLimit::after()));
    while let Some(Ok(frame)) = reader.next().await {
        if let Frame::Beat(beat) = frame {
            let _ = out.send(framed(&Frame::BeatReply(beat.number)));
        } else if !matches!(frame, Frame::BeatReply(_)) && to_test.send(frame).is_err() {
            return;
        }
    }
    // The writer ends too, so that the socket is closed.
    let _ = out.send(Vec::new());
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn connect(runtime: &Runtime, who: &Identity, addr: SocketAddr, alpn: &[u8]) -> Link {
    connect_from(runtime, who, (None, addr), alpn)
}

fn connect_from(
    runtime: &Runtime,
    who: &Identity,
    (from, addr): (Option<IpAddr>, SocketAddr),
    alpn: &[u8],
) -> Link {
    let config = tls::client_config(who, alpn, None).unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        if let Some(from) = from {
            socket.bind((from, 0).into()).unwrap();
        }
        let tcp = socket.connect(addr).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let connecting = TlsConnector::from(config).connect(tls::server_name(), tcp);
        tokio::time::timeout(DEADLINE, connecting).await.unwrap().unwrap()
    });
    Link::run(runtime.handle(), stream.into(), alpn)
}

fn accept(runtime: &Runtime, who: &Identity, listener: &TcpListener, alpn: &[u8]) -> Link {
    let config = tls::server_config(who, alpn).unwrap();
    let (tcp, _) = listener.accept().unwrap();
    tcp.set_nonblocking(true).unwrap();
    let stream = runtime.block_on(async {
        let tcp = tokio::net::TcpStream::from_std(tcp).unwrap();
        tokio::time::timeout(DEADLINE, TlsAcceptor::from(config).accept(tcp)).await.unwrap().unwrap()
    });
    Link::run(runtime.handle(), stream.into(), alpn)
}

/// Somebody whom nobody has let in: a key, and a link to whoever listens.
pub struct Stranger {
    pub runtime: Runtime,
    pub identity: Identity,
}

impl Stranger {
    pub fn new() -> Self {
        Self { runtime: runtime(), identity: identity() }
    }

    pub fn join_link(&self, addr: &str) -> Link {
        connect(&self.runtime, &self.identity, addr.parse().unwrap(), JOIN_ALPN)
    }

    pub fn peer_link(&self, addr: &str) -> Link {
        connect(&self.runtime, &self.identity, addr.parse().unwrap(), PEER_ALPN)
    }

    /// A join link from an address of its own.
    pub fn join_link_from(&self, from: IpAddr, addr: &str) -> Link {
        connect_from(&self.runtime, &self.identity, (Some(from), addr.parse().unwrap()), JOIN_ALPN)
    }

    /// Guesses the password, wrongly. Gives the host's first word, and its last if it was asked for the password.
    pub fn guesses_wrong(&self, from: IpAddr, addr: &str) -> (BannedStatus, Option<Frame>) {
        let link = self.join_link_from(from, addr);
        let Some(Frame::BannedStatus(status)) = link.next() else { panic!("no first word") };
        if !matches!(status, BannedStatus::Password { .. }) {
            return (status, None);
        }
        let context = join_context(&link.binding, &link.peer, &self.identity.peer_id());
        let (ke1, _) = JoinProof::start(&mut OsRng, password(), context, PasswordCost::WIRE_1).unwrap();
        link.send(&Frame::Hello(Hello { alias: "guess".into(), addrs: Vec::new(), ke1 }));
        let last = link.find("a challenge, or the end", |frame| match frame {
            Frame::Challenge(_) => {
                link.send(&Frame::Proof(ByteBuf(vec![7; 64])));
                None
            }
            frame => Some(frame),
        });
        (status, Some(last))
    }
}

/// A member that was let in by its password.
pub struct Insider {
    pub stranger: Stranger,
    pub host: Link,
    pub network: Network,
    pub roster: Vec<RosterEntry>,
    listener: TcpListener,
}

impl Insider {
    pub fn join(addr: &str, alias: &str) -> Self {
        Self::try_join(addr, alias).unwrap_or_else(|refusal| panic!("{refusal:?}"))
    }

    /// As [`Self::join`], or why the host says no.
    pub fn try_join(addr: &str, alias: &str) -> Result<Self, Refusal> {
        let stranger = Stranger::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = stranger.join_link(addr);
        let Some(Frame::BannedStatus(BannedStatus::Password { .. })) = host.next() else {
            panic!("the password is asked for")
        };
        let context = join_context(&host.binding, &host.peer, &stranger.identity.peer_id());
        let (ke1, proof) = JoinProof::start(&mut OsRng, password(), context, PasswordCost::WIRE_1).unwrap();
        let addrs = vec![listener.local_addr().unwrap()];
        host.send(&Frame::Hello(Hello { alias: alias.into(), addrs, ke1 }));
        let Some(Frame::Challenge(ByteBuf(ke2))) = host.next() else { panic!("no challenge") };
        host.send(&Frame::Proof(ByteBuf(proof.answer(&ke2).unwrap())));
        let header = host.find("admission", |frame| match frame {
            Frame::Authenticated(header) => Some(Ok(header)),
            Frame::Refused(refusal) => Some(Err(refusal)),
            _ => None,
        })?;
        let mut roster = Vec::new();
        while roster.len() < header.entries as usize {
            roster.extend(host.find("the roster", |frame| match frame {
                Frame::RosterPage(page) => Some(page.entries),
                _ => None,
            }));
        }
        Ok(Self { stranger, host, network: header.network, roster, listener })
    }

    pub fn id(&self) -> PeerId {
        self.stranger.identity.peer_id()
    }

    /// A peer link to a member, with both greetings said.
    pub fn peer_link(&self, addr: SocketAddr) -> Link {
        let link = connect(&self.stranger.runtime, &self.stranger.identity, addr, PEER_ALPN);
        link.send(&self.peer_hello());
        link.find("its greeting", |frame| matches!(frame, Frame::PeerHello(_)).then_some(()));
        link
    }

    /// Takes the next peer link that somebody opens, and greets.
    pub fn accept(&self) -> Link {
        let link = accept(&self.stranger.runtime, &self.stranger.identity, &self.listener, PEER_ALPN);
        link.send(&self.peer_hello());
        link
    }

    pub fn peer_hello(&self) -> Frame {
        Frame::PeerHello(PeerHello { network: self.network.id, now: now() })
    }

    /// A message, signed as it should be.
    pub fn message(&self, to: Recipient, sequence: u64, text: &str) -> Batch {
        self.batch(to, sequence, &[text])
    }

    /// Messages of its own, signed where they are for everyone.
    pub fn batch(&self, to: Recipient, first: u64, texts: &[&str]) -> Batch {
        let author = &self.stranger.identity;
        let stream = StreamId { author: author.peer_id(), epoch: 1, to };
        let texts = texts.iter().map(|text| SafeText::clean(text)).collect();
        let mut batch = Batch { stream, first, sent_at: now(), texts, signature: None };
        if to == Recipient::Everyone {
            batch.signature = Some(sign::batch(author, &self.network.id, &batch));
        }
        batch
    }

    /// A message as no pyile writes it: whatever is in its text is sent as it is.
    pub fn raw_message(&self, to: Recipient, sequence: u64, text: &str) -> Vec<u8> {
        let author = self.stranger.identity.peer_id();
        let stream = StreamId { author, epoch: 1, to };
        let roster = 1_u64;
        let raw = (21_u8, (roster, stream, sequence, now(), vec![text], None::<()>));
        framed_bytes(&postcard::to_stdvec(&raw).unwrap())
    }
}

/// A host that distributes what it likes.
pub struct FalseHost {
    pub stranger: Stranger,
    pub network: Network,
    listener: TcpListener,
    record: HostRecord,
    version: u64,
    pub roster: Vec<RosterEntry>,
}

impl FalseHost {
    pub fn new() -> Self {
        let stranger = Stranger::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let record = HostRecord::register(&password(), PasswordCost::WIRE_1, [7; 32]).unwrap();
        let network = Network { id: NetworkId([7; 16]), name: "lab".into() };
        let addr = listener.local_addr().unwrap();
        let me = entry(stranger.identity.peer_id(), "host", Role::Host, addr);
        Self { stranger, network, listener, record, version: 1, roster: vec![me] }
    }

    pub fn addr(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    /// Lets the next joiner in, as a host does.
    pub fn admit(&mut self) -> Link {
        let link = accept(&self.stranger.runtime, &self.stranger.identity, &self.listener, JOIN_ALPN);
        link.send(&Frame::BannedStatus(BannedStatus::Password { left: 3 }));
        let Some(Frame::Hello(hello)) = link.next() else { panic!("no hello") };
        let context = join_context(&link.binding, &self.stranger.identity.peer_id(), &link.peer);
        let (ke2, challenged) = self.record.challenge(&mut OsRng, context, &hello.ke1).unwrap();
        link.send(&Frame::Challenge(ByteBuf(ke2)));
        let Some(Frame::Proof(ByteBuf(ke3))) = link.next() else { panic!("no proof") };
        assert!(challenged.is_proven_by(&ke3));
        self.add(entry(link.peer, &hello.alias, Role::Member, hello.addrs[0]));
        link.send(&Frame::Authenticated(Box::new(self.header())));
        link.send(&self.page());
        link
    }

    pub fn header(&self) -> Authenticated {
        let (network, version) = (self.network.clone(), self.version);
        let entries = u32::try_from(self.roster.len()).unwrap();
        let signature = sign::roster(
            &self.stranger.identity,
            &self.network.id,
            version,
            self.roster.iter(),
            std::iter::empty(),
        );
        Authenticated { network, policy: Policy::default(), version, entries, departed: 0, signature }
    }

    pub fn page(&self) -> Frame {
        Frame::RosterPage(RosterPage {
            version: self.version,
            entries: self.roster.clone(),
            departed: Vec::new(),
        })
    }

    /// Adds a member, or puts another entry in the place of its own.
    pub fn add(&mut self, entry: RosterEntry) {
        self.roster.retain(|other| other.peer_id != entry.peer_id);
        self.roster.push(entry);
        self.roster.sort_by_key(|entry| entry.peer_id);
        self.version += 1;
    }

    /// What tells of the last addition.
    pub fn delta(&self, added: PeerId) -> RosterDelta {
        let updated = self.roster.iter().filter(|entry| entry.peer_id == added).cloned().collect();
        let (from, to) = (self.version - 1, self.version);
        let (removed, departed) = (Vec::new(), Vec::new());
        let mut delta = RosterDelta { from, to, removed, updated, departed, signature: Signature([0; 64]) };
        delta.signature = self.sign(&delta);
        delta
    }

    /// This host's signature over what changed.
    pub fn sign(&self, delta: &RosterDelta) -> Signature {
        sign::roster_delta(&self.stranger.identity, &self.network.id, &delta.signed_bytes())
    }
}

pub fn entry(peer_id: PeerId, alias: &str, role: Role, addr: SocketAddr) -> RosterEntry {
    let alias = Alias::new(alias).unwrap();
    RosterEntry { peer_id, alias, role, wire: Wire::Native, addrs: vec![addr], since: now(), status: None }
}

pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp(i64::try_from(since.as_micros()).unwrap())
}

//! Probes of a host from outside, one step after the other: the sockets of `pyile doctor`.
//!
//! A probe never offers a password, so that the host charges no attempt for it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::codec::Framed;

use super::{
    platform::{BoxFuture, Connection, Platform, Stream},
    session::handshake_failed,
};
use crate::{
    model::{Answer, CloseReason, Closed, PeerId, limits},
    security::{Identity, tls},
    wire::{BannedStatus, ByteBuf, Frame, FrameCodec, FrameLimit, JOIN_ALPN},
};

/// A host's first answer to a joiner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// Its key.
    pub host: PeerId,
    /// The first thing that it says.
    pub status: BannedStatus,
}

/// The addresses of `host:port`.
pub async fn resolve(platform: &dyn Platform, target: &str) -> io::Result<Vec<SocketAddr>> {
    time::timeout(limits::CONNECT_TIMEOUT, platform.resolve(target)).await?
}

/// This machine's address on the way to another. Nothing is sent.
pub fn route(addr: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr =
        if addr.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(addr)?;
    Ok(socket.local_addr()?.ip())
}

/// Whether something takes connections there.
pub async fn connect(platform: &dyn Platform, addr: SocketAddr) -> io::Result<()> {
    open(platform, addr).await.map(drop)
}

/// Connects to the first of these addresses of a network around that answers. Nothing is said there.
pub async fn answer(platform: &dyn Platform, addrs: &[SocketAddr]) -> Answer {
    for addr in addrs {
        let begun = platform.now().instant;
        if let Ok(Ok(())) = time::timeout(limits::NEARBY_ANSWER, connect(platform, *addr)).await {
            return Answer::After(platform.now().instant.saturating_duration_since(begun));
        }
    }
    Answer::Nothing
}

async fn open(platform: &dyn Platform, addr: SocketAddr) -> io::Result<Connection> {
    time::timeout(limits::CONNECT_TIMEOUT, platform.connect(addr, None)).await?
}

type Frames = Framed<TlsStream<Box<dyn Stream>>, FrameCodec>;

/// Connects as a joiner does, and reads the host's first answer.
pub async fn greet(
    platform: &dyn Platform,
    addr: SocketAddr,
    identity: &Arc<Identity>,
) -> Result<Greeting, Closed> {
    let connection = open(platform, addr).await.map_err(|_| Closed::from(CloseReason::ConnectionLost))?;
    greet_on(connection, identity).await.map(|(greeting, _)| greeting)
}

/// What comes of packets to a host and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packets {
    /// Large ones get through.
    Through,
    /// Small ones do, large ones are lost on the way.
    OnlySmall,
    /// Neither were answered: it is not the packets.
    Neither,
}

/// Whether large packets get to a host and back. Silence alone says nothing: they are tried twice, and small ones
/// between.
pub async fn packets(platform: &dyn Platform, addr: SocketAddr, identity: &Arc<Identity>) -> Packets {
    let is_answered = async |connecting| echo(connecting, identity).await.is_ok();
    let large = || platform.connect(addr, None);
    if is_answered(large()).await {
        return Packets::Through;
    }
    if !is_answered(platform.connect_small(addr)).await {
        return Packets::Neither;
    }
    if is_answered(large()).await { Packets::Through } else { Packets::OnlySmall }
}

/// Has the host send back what fills several packets.
async fn echo(connecting: BoxFuture<'_, io::Result<Connection>>, identity: &Arc<Identity>) -> io::Result<()> {
    let connection = time::timeout(limits::CONNECT_TIMEOUT, connecting).await??;
    let (_, mut frames) = greet_on(connection, identity).await.map_err(io::Error::other)?;
    let echo = Frame::Echo(ByteBuf(vec![0; limits::ECHO_BYTES])).encode();
    let echoing = async {
        for _ in 0..limits::ECHOES {
            frames.feed(echo.clone()).await?;
        }
        frames.flush().await?;
        for _ in 0..limits::ECHOES {
            frames.next().await.ok_or(io::ErrorKind::UnexpectedEof)?.map_err(io::Error::other)?;
        }
        Ok(())
    };
    time::timeout(limits::TLS_TIMEOUT, echoing).await?
}

async fn greet_on(connection: Connection, identity: &Arc<Identity>) -> Result<(Greeting, Frames), Closed> {
    let config = tls::client_config(identity, JOIN_ALPN, None)
        .map_err(|error| Closed::new(CloseReason::Internal, error.to_string()))?;
    let connecting = TlsConnector::from(config).connect(tls::server_name(), connection.stream);
    let stream = time::timeout(limits::TLS_TIMEOUT, connecting)
        .await
        .map_err(|_| Closed::from(CloseReason::TimedOut))?
        .map_err(|error| handshake_failed(&error))?;
    let host = tls::secured(stream.get_ref().1, JOIN_ALPN)?.peer;
    let mut frames = Framed::new(stream, FrameCodec::new(FrameLimit::before()));
    let first = async {
        match frames.next().await {
            // By whose word it hosts is no question here.
            Some(Ok(Frame::OpenedAgain(_))) => frames.next().await,
            first => first,
        }
    };
    match time::timeout(limits::TLS_TIMEOUT, first).await {
        Ok(Some(Ok(Frame::BannedStatus(status)))) => Ok((Greeting { host, status }, frames)),
        Ok(Some(Ok(Frame::Handover(_)))) => {
            Err(Closed::new(CloseReason::NotAMember, "it has handed its network over to another host"))
        }
        Ok(Some(_)) => Err(CloseReason::NotPyile.into()),
        Ok(None) => Err(CloseReason::Busy.into()),
        Err(_) => Err(CloseReason::TimedOut.into()),
    }
}

/// What a server that is no pyile host says: by itself, or when it is asked as a browser would.
pub async fn banner(platform: &dyn Platform, addr: SocketAddr) -> Vec<u8> {
    for question in [&b""[..], b"GET / HTTP/1.0\r\n\r\n"] {
        let Ok(mut connection) = open(platform, addr).await else { continue };
        let mut answer = vec![0; limits::BANNER_BYTES];
        let reading = async {
            connection.stream.write_all(question).await?;
            connection.stream.read(&mut answer).await
        };
        if let Ok(Ok(count @ 1..)) = time::timeout(limits::BANNER_TIMEOUT, reading).await {
            answer.truncate(count);
            return answer;
        }
    }
    Vec::new()
}

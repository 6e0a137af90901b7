//! One connection: its handshake, its read loop and its write loop.
//!
//! It must never decide anything: frames go to the node as they come, and what the node sends goes out in batches.
//! Every wait has a limit.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, SinkExt, StreamExt as _};
use rustls::{ClientConfig, ServerConfig};
use tokio::{
    io::{AsyncWrite, ReadHalf},
    sync::{mpsc, oneshot},
    time,
};
use tokio_rustls::{LazyConfigAcceptor, TlsConnector, TlsStream, client};
use tokio_util::codec::{Framed, FramedRead, FramedWrite};

use super::{
    classic, dialer,
    link::{Context, Outbound, linger},
    platform::{Connection, Platform, Stream},
};
use crate::{
    model::{CloseReason, Closed, DeputyStatement, Wire, limits},
    proto::{ConnId, Connected, Input, LinkKind},
    security::tls::{self, Secured},
    wire::{DecodeError, Frame, FrameCodec, FrameLimit, JOIN_ALPN, Refusal},
};

type Tls = TlsStream<Box<dyn Stream>>;

/// A connection that came in, until it ends.
pub(super) async fn accepted(
    context: Context,
    connection: Connection,
    config: Arc<ServerConfig>,
    alpn: &'static [u8],
    proceed: oneshot::Receiver<()>,
) -> Closed {
    let (remote, local, mut stream) = (connection.remote, connection.local, connection.stream);
    if context.takes_classic {
        match classic::wire_of(stream, context.link).await {
            Ok((Wire::Native, native)) => stream = native,
            Ok((Wire::Classic, stream)) => {
                return accepted_classic(context, stream, remote, local, proceed).await;
            }
            Err(closed) => return closed,
        }
    }
    let handshake = Box::pin(async {
        let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
        let hello = time::timeout(limits::TLS_TIMEOUT, hello)
            .await
            .map_err(|_| Closed::from(CloseReason::TimedOut))?
            .map_err(|error| handshake_failed(&error))?;
        take_turn(&context, proceed).await?;
        let stream = time::timeout(limits::TLS_TIMEOUT, hello.into_stream(config))
            .await
            .map_err(|_| Closed::from(CloseReason::TimedOut))?
            .map_err(|error| handshake_failed(&error))?;
        let secured = tls::secured(stream.get_ref().1, alpn)?;
        Ok((TlsStream::from(stream), secured))
    });
    match handshake.await {
        Ok((stream, secured)) => {
            let (link, via, listening) = (context.link, context.via, Vec::new());
            let connected = Connected { link, secured, remote, local, listening, via };
            run(context, stream, connected).await
        }
        Err(closed) => closed,
    }
}

/// The node says when an address may go on.
async fn take_turn(context: &Context, proceed: oneshot::Receiver<()>) -> Result<(), Closed> {
    let spoke = context.to_node.send(Input::Spoke(context.conn)).await;
    let turn = time::timeout(limits::ADMISSION_TIMEOUT, proceed).await;
    if spoke.is_err() || !matches!(turn, Ok(Ok(()))) { Err(CloseReason::Busy.into()) } else { Ok(()) }
}

/// A connection that came in and is a classic one, until it ends.
async fn accepted_classic(
    context: Context,
    stream: Box<dyn Stream>,
    remote: SocketAddr,
    local: SocketAddr,
    proceed: oneshot::Receiver<()>,
) -> Closed {
    // Whoever only waits to be spoken to takes nobody's turn.
    if context.link == LinkKind::PeerIn
        && let Err(closed) = take_turn(&context, proceed).await
    {
        return closed;
    }
    match classic::connected(context.link, remote, local, Vec::new()) {
        Ok(connected) => classic::run(context, stream, connected).await,
        Err(closed) => closed,
    }
}

/// A connection that this side has made, until it ends.
pub(super) async fn dialled(
    context: Context,
    connection: Connection,
    config: Arc<ClientConfig>,
    alpn: &'static [u8],
    listening: Vec<SocketAddr>,
) -> Closed {
    let (remote, local) = (connection.remote, connection.local);
    let handshake = Box::pin(async {
        let connecting = TlsConnector::from(config).connect(tls::server_name(), connection.stream);
        // A host with many joiners takes one after the other: whoever hangs up goes to the end of the queue.
        let patience = match (context.link, context.via) {
            (LinkKind::JoinOut, _) => limits::JOIN_PATIENCE,
            (_, Some(_)) => limits::RELAYED_TIMEOUT,
            (_, None) => limits::TLS_TIMEOUT,
        };
        let stream = match time::timeout(patience, connecting).await {
            Ok(result) => result.map_err(|error| handshake_failed(&error))?,
            Err(_) => {
                let limit = patience.as_secs();
                let message = format!("{remote} takes the connection and has said nothing for {limit} s");
                return Err(Closed::new(CloseReason::TimedOut, message));
            }
        };
        let secured: Secured = tls::secured(stream.get_ref().1, alpn)?;
        Ok((TlsStream::from(stream), secured))
    });
    match handshake.await {
        Ok((stream, secured)) => {
            let (link, via) = (context.link, context.via);
            let connected = Connected { link, secured, remote, local, listening, via };
            run(context, stream, connected).await
        }
        Err(closed) => Closed { detail: explain(&closed, remote), ..closed },
    }
}

/// Reaches a join port and sees that the right key is there, and nothing more.
pub(super) async fn probe(
    platform: Arc<dyn Platform>,
    addrs: Vec<SocketAddr>,
    config: Arc<ClientConfig>,
) -> Result<client::TlsStream<Box<dyn Stream>>, Closed> {
    let connection = dialer::dial(platform, addrs, None).await?;
    let connecting = TlsConnector::from(config).connect(tls::server_name(), connection.stream);
    let stream = match time::timeout(limits::TLS_TIMEOUT, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(handshake_failed(&error)),
        Err(_) => return Err(CloseReason::TimedOut.into()),
    };
    tls::secured(stream.get_ref().1, JOIN_ALPN)?;
    Ok(stream)
}

/// By which word a deputy has opened the network again, as it says before anything else; nothing when it says something else.
/// It is told so much.
pub(super) async fn opened_by(
    platform: Arc<dyn Platform>,
    addrs: Vec<SocketAddr>,
    config: Arc<ClientConfig>,
    says: Option<Bytes>,
) -> Option<Box<DeputyStatement>> {
    // At one of them somebody else may answer.
    for addr in addrs {
        let Ok(stream) = probe(platform.clone(), vec![addr], config.clone()).await else { continue };
        let mut frames = Framed::new(stream, FrameCodec::new(FrameLimit::before()));
        let exchange = async {
            let Some(Ok(Frame::OpenedAgain(statement))) = frames.next().await else { return None };
            if let Some(says) = says.clone() {
                let _ = frames.send(says).await;
            }
            Some(statement)
        };
        if let Ok(Some(statement)) = time::timeout(limits::TLS_TIMEOUT, exchange).await {
            return Some(statement);
        }
    }
    None
}

fn explain(closed: &Closed, remote: SocketAddr) -> String {
    match closed.reason {
        CloseReason::NotPyile if closed.detail.is_empty() => {
            format!(
                "{remote} answers, but not as a pyile host; check the address and the port (a host that is the Python \
                 program is joined with --classic, all in clear)"
            )
        }
        CloseReason::IncompatibleVersion => format!(
            "{remote} speaks another version of pyile than this one ({}); both sides need the same",
            env!("CARGO_PKG_VERSION")
        ),
        _ => closed.detail.clone(),
    }
}

pub(super) fn handshake_failed(error: &io::Error) -> Closed {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => tls::why(error).into(),
        // Hung up without a word: dropped for load, or not a pyile host at all; trying again tells.
        None => CloseReason::Busy.into(),
    }
}

async fn run(mut context: Context, stream: Tls, connected: Connected) -> Closed {
    if context.to_node.send(Input::Connected(context.conn, connected)).await.is_err() {
        return CloseReason::Internal.into();
    }
    let (reader, writer) = tokio::io::split(stream);
    let codec = || FrameCodec::new(context.limit.clone());
    let mut reader = FramedRead::with_capacity(reader, codec(), limits::BUFFER_BYTES);
    let mut writer = FramedWrite::with_capacity(writer, codec(), limits::BUFFER_BYTES);
    writer.set_backpressure_boundary(limits::FRAME_AFTER);
    let closed = tokio::select! {
        biased;
        closed = read(&mut reader, context.conn, &context.to_node) => closed,
        closed = write(&mut writer, &mut context.outbound) => closed,
    };
    if closed.reason == CloseReason::ProtocolError {
        // Bytes that are no frame never reach the node. The other end is told here.
        let refusal = Refusal { reason: closed.reason, detail: closed.detail.clone() };
        let _ = time::timeout(limits::LINGER, writer.send(Frame::Goodbye(refusal).encode())).await;
    }
    if matches!(closed.reason, CloseReason::Left | CloseReason::ProtocolError) {
        linger(reader.into_inner(), writer.into_inner()).await;
    }
    closed
}

async fn read(
    reader: &mut FramedRead<ReadHalf<Tls>, FrameCodec>,
    conn: ConnId,
    to_node: &mpsc::Sender<Input>,
) -> Closed {
    loop {
        let mut next = reader.next().await;
        let mut frames = Vec::with_capacity(1);
        let closed = loop {
            match next {
                Some(Ok(frame)) => frames.push(frame),
                Some(Err(error)) => break Some(unreadable(conn, error)),
                None => break Some(CloseReason::ConnectionLost.into()),
            }
            // What has come already goes to the node together.
            if frames.len() == limits::FRAMES_TOGETHER {
                break None;
            }
            let Some(another) = reader.next().now_or_never() else { break None };
            next = another;
        };
        let Ok(places) = to_node.reserve_many(frames.len()).await else {
            // The node takes nothing more; its last words are still to be written.
            return std::future::pending().await;
        };
        for (place, frame) in places.zip(frames) {
            place.send(Input::Frame(conn, frame));
        }
        if let Some(closed) = closed {
            return closed;
        }
    }
}

fn unreadable(conn: ConnId, error: DecodeError) -> Closed {
    match error {
        DecodeError::Frame(error) => Closed::new(CloseReason::ProtocolError, error.to_string()),
        DecodeError::Io(error) => {
            // A peer that ends without a goodbye ends without TLS's too; that is no news to anybody.
            tracing::debug!(conn = conn.0, %error, "read");
            CloseReason::ConnectionLost.into()
        }
    }
}

/// Writes what is there in one go: a flush for each batch, not for each frame.
async fn write<W: AsyncWrite + Unpin>(
    writer: &mut FramedWrite<W, FrameCodec>,
    outbound: &mut mpsc::Receiver<Outbound>,
) -> Closed {
    while let Some(first) = outbound.recv().await {
        let batch = async {
            let mut next = Some(first);
            while let Some(item) = next {
                match item {
                    Outbound::Frame(frame) => writer.feed(frame).await?,
                    Outbound::Close => {
                        SinkExt::<Bytes>::flush(writer).await?;
                        return Ok(true);
                    }
                }
                next = outbound.try_recv().ok();
            }
            SinkExt::<Bytes>::flush(writer).await?;
            io::Result::Ok(false)
        };
        match time::timeout(limits::WRITE_TIMEOUT, batch).await {
            Ok(Ok(false)) => slim(writer.write_buffer_mut()),
            Ok(Ok(true)) => return CloseReason::Left.into(),
            Ok(Err(error)) => {
                tracing::debug!(%error, "write");
                return CloseReason::ConnectionLost.into();
            }
            Err(_) => return CloseReason::SlowConsumer.into(),
        }
    }
    CloseReason::Internal.into()
}

/// Lets go of buffers that have grown with a roster or a flood.
fn slim(buffer: &mut BytesMut) {
    if buffer.is_empty() && buffer.capacity() > 4 * limits::BUFFER_BYTES {
        *buffer = BytesMut::with_capacity(limits::BUFFER_BYTES);
    }
}

/// How a session ended, also one that failed.
pub(super) fn ended(result: Result<Closed, tokio::task::JoinError>) -> Closed {
    match result {
        Ok(closed) => closed,
        Err(error) if error.is_panic() => {
            tracing::error!(%error, "a session failed");
            CloseReason::Internal.into()
        }
        Err(_) => CloseReason::ConnectionLost.into(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::wire::FrameLimit;

    #[tokio::test(start_paused = true)]
    async fn a_write_that_stalls_ends_the_link_and_one_that_goes_on_slowly_does_not() {
        let (near, mut far) = tokio::io::duplex(1024);
        let mut writer = FramedWrite::new(near, FrameCodec::new(FrameLimit::after()));
        writer.set_backpressure_boundary(limits::FRAME_AFTER);
        let (tx, mut outbound) = mpsc::channel(8);
        let writing = tokio::spawn(async move { write(&mut writer, &mut outbound).await });
        let frame = || Outbound::Frame(Bytes::from(vec![0; 2 * 1024]));
        // Two pieces, the second one late but in time.
        tx.send(frame()).await.unwrap();
        let mut piece = [0; 1026];
        for _ in 0..2 {
            time::sleep(limits::WRITE_TIMEOUT / 3).await;
            far.read_exact(&mut piece).await.unwrap();
        }
        let begun = time::Instant::now();
        tx.send(frame()).await.unwrap();
        assert_eq!(writing.await.unwrap().reason, CloseReason::SlowConsumer);
        assert_eq!(begun.elapsed(), limits::WRITE_TIMEOUT);
    }
}

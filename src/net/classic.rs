//! Classic connections: objects in clear, one at a time, at a pace that the Python program can follow.
//!
//! It must never decide anything, or read more of an object than it may have. Every wait has a limit.

use std::{
    io::{self, Cursor},
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf},
    sync::mpsc,
    time,
};
use tokio_util::codec::FramedRead;

use super::{
    dialer,
    link::{self, Context, Outbound},
    platform::{Platform, Stream},
};
use crate::{
    model::{CloseReason, Closed, PeerId, Wire, limits},
    proto::{ConnId, Connected, Input, LinkKind},
    security::tls::Secured,
    wire::classic::{ClassicError, Object, ObjectCodec},
};

type Plain = Box<dyn Stream>;

/// Finds out how a connection that came in speaks. On the join port a native joiner speaks at once and a classic one
/// waits to be spoken to; elsewhere the first byte tells.
pub(super) async fn wire_of(mut stream: Plain, link: LinkKind) -> Result<(Wire, Plain), Closed> {
    let waits_to_be_spoken_to = link == LinkKind::JoinIn;
    let patience = if waits_to_be_spoken_to { limits::CLASSIC_SILENCE } else { limits::TLS_TIMEOUT };
    let mut first = [0];
    match time::timeout(patience, stream.read(&mut first)).await {
        Ok(Ok(1)) => {
            let wire = if !waits_to_be_spoken_to && first == *b"{" { Wire::Classic } else { Wire::Native };
            let (reader, writer) = tokio::io::split(stream);
            Ok((wire, Box::new(tokio::io::join(Cursor::new(first).chain(reader), writer))))
        }
        Ok(_) => Err(CloseReason::Busy.into()),
        Err(_) if waits_to_be_spoken_to => Ok((Wire::Classic, stream)),
        Err(_) => Err(CloseReason::TimedOut.into()),
    }
}

/// What is known of the other end of a classic connection. Its address stands for a key.
pub(super) fn connected(
    link: LinkKind,
    remote: SocketAddr,
    local: SocketAddr,
    listening: Vec<SocketAddr>,
) -> Result<Connected, Closed> {
    let IpAddr::V4(ip) = remote.ip().to_canonical() else {
        let message = format!("{remote} is no IPv4 address, and classic peers have no others");
        return Err(Closed::new(CloseReason::NotPyile, message));
    };
    let peer = PeerId::of_address(SocketAddrV4::new(ip, remote.port()));
    let secured = Secured { peer, binding: [0; 32] };
    Ok(Connected { link, secured, remote, local, listening, via: None })
}

/// A classic connection, until it ends.
pub(super) async fn run(mut context: Context, stream: Plain, connected: Connected) -> Closed {
    let limit = match connected.link {
        // A sender that is not known yet may send only small objects.
        LinkKind::JoinIn | LinkKind::DistributionIn => limits::CLASSIC_BEFORE,
        _ => limits::CLASSIC_AFTER,
    };
    if context.to_node.send(Input::Connected(context.conn, connected)).await.is_err() {
        return CloseReason::Internal.into();
    }
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = FramedRead::new(reader, ObjectCodec::new(limit));
    let closed = tokio::select! {
        biased;
        closed = read(&mut reader, context.conn, &context.to_node) => closed,
        closed = write(&mut writer, &mut context.outbound) => closed,
    };
    if closed.reason == CloseReason::Left {
        link::linger(reader.into_inner(), writer).await;
    }
    closed
}

async fn read(
    reader: &mut FramedRead<ReadHalf<Plain>, ObjectCodec>,
    conn: ConnId,
    to_node: &mpsc::Sender<Input>,
) -> Closed {
    loop {
        match reader.next().await {
            Some(Ok(object)) => {
                if to_node.send(Input::Object(conn, object)).await.is_err() {
                    return CloseReason::Internal.into();
                }
            }
            Some(Err(ClassicError::Object(error))) => {
                return Closed::new(CloseReason::ProtocolError, error.to_string());
            }
            Some(Err(ClassicError::Io(error))) => {
                tracing::debug!(conn = conn.0, %error, "read");
                return CloseReason::ConnectionLost.into();
            }
            None => return CloseReason::ConnectionLost.into(),
        }
    }
}

/// Writes one object, then leaves the other end time to read it before the next.
async fn write(writer: &mut WriteHalf<Plain>, outbound: &mut mpsc::Receiver<Outbound>) -> Closed {
    while let Some(item) = outbound.recv().await {
        let Outbound::Frame(object) = item else { return CloseReason::Left.into() };
        let written = async {
            writer.write_all(&object).await?;
            writer.flush().await
        };
        match time::timeout(limits::WRITE_TIMEOUT, written).await {
            Ok(Ok(())) => time::sleep(limits::CLASSIC_PACE).await,
            Ok(Err(error)) => {
                tracing::debug!(%error, "write");
                return CloseReason::ConnectionLost.into();
            }
            Err(_) => return CloseReason::SlowConsumer.into(),
        }
    }
    CloseReason::Internal.into()
}

/// Sends a message to a classic peer over a connection of its own. Gives what the peer calls itself, which is its
/// acknowledgement, or nothing when it does not answer.
pub(super) async fn send(
    platform: Arc<dyn Platform>,
    to: SocketAddrV4,
    from: Option<Ipv4Addr>,
    object: Bytes,
) -> Result<Option<String>, Closed> {
    let connection = dialer::dial(platform, vec![to.into()], from.map(IpAddr::V4)).await?;
    let mut stream = connection.stream;
    let written = async {
        stream.write_all(&object).await?;
        stream.flush().await
    };
    match time::timeout(limits::CLASSIC_REPLY, written).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(unsaid(&error)),
        Err(_) => return Err(CloseReason::TimedOut.into()),
    }
    let mut reader = FramedRead::new(stream, ObjectCodec::new(limits::CLASSIC_AFTER));
    let reply = time::timeout(limits::CLASSIC_REPLY, reader.next()).await;
    let (Ok(Some(Ok(Object::Reply(reply)))), Ok(Object::Message(said))) = (reply, Object::decode(&object))
    else {
        return Ok(None);
    };
    Ok((reply.data.data == said.data).then_some(reply.alias))
}

fn unsaid(error: &io::Error) -> Closed {
    Closed::new(CloseReason::ConnectionLost, error.to_string())
}

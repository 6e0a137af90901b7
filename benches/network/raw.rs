//! The limit: the same bytes over the same TLS with nothing around it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pyile::{
    security::{Identity, tls},
    wire::PEER_ALPN,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::{TEXT, median};

/// A text, its length and as much as a message has beside it.
const FRAME: usize = TEXT + 4 + 80;
/// Bytes that are written at once.
const BATCH: usize = 64 * 1024;

pub(super) struct Listener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener {
    pub(super) async fn open() -> Self {
        let config = tls::server_config(&Identity::generate().unwrap().0, PEER_ALPN).unwrap();
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), acceptor: config.into() }
    }

    pub(super) fn addr(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    /// Takes so many links, their handshakes at once.
    pub(super) async fn accept(&self, count: usize) -> Vec<server::TlsStream<TcpStream>> {
        let mut links = JoinSet::new();
        for _ in 0..count {
            let (stream, _) = self.listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            links.spawn(self.acceptor.accept(stream));
        }
        links.join_all().await.into_iter().map(Result::unwrap).collect()
    }
}

pub(super) async fn connect(target: &str) -> client::TlsStream<TcpStream> {
    let config = tls::client_config(&Identity::generate().unwrap().0, PEER_ALPN, None).unwrap();
    let stream = TcpStream::connect(target).await.unwrap();
    stream.set_nodelay(true).unwrap();
    TlsConnector::from(config).connect(tls::server_name(), stream).await.unwrap()
}

/// Half of the way there and back.
pub(super) async fn ping_pong(times: usize) -> Duration {
    let listener = Listener::open().await;
    let mut echo = super::Child::start(&["raw-echo", &listener.addr()]);
    let mut link = listener.accept(1).await.remove(0);
    let mut frame = vec![7; FRAME];
    let mut took = Vec::with_capacity(times);
    for _ in 0..times {
        let begun = Instant::now();
        link.write_all(&frame).await.unwrap();
        link.flush().await.unwrap();
        link.read_exact(&mut frame).await.unwrap();
        took.push(begun.elapsed() / 2);
    }
    echo.end();
    median(took)
}

pub(super) async fn echo(target: &str) {
    let mut link = connect(target).await;
    let mut frame = vec![0; FRAME];
    while link.read_exact(&mut frame).await.is_ok() {
        link.write_all(&frame).await.unwrap();
        link.flush().await.unwrap();
    }
}

/// Writes to all, until all have said that they have everything.
pub(super) async fn broadcast(links: Vec<server::TlsStream<TcpStream>>, messages: usize) {
    let mut sending = JoinSet::new();
    let batch: Arc<[u8]> = vec![7; BATCH / FRAME * FRAME].into();
    for link in links {
        let batch = batch.clone();
        let (mut reader, mut writer) = tokio::io::split(link);
        sending.spawn(async move {
            let mut left = messages * FRAME;
            while left > 0 {
                let part = left.min(batch.len());
                writer.write_all(&batch[..part]).await.unwrap();
                left -= part;
            }
            writer.flush().await.unwrap();
        });
        sending.spawn(async move {
            let mut acknowledged = 0;
            while acknowledged < (messages * FRAME) as u64 {
                acknowledged = reader.read_u64().await.unwrap();
            }
        });
    }
    sending.join_all().await;
}

/// Reads, and acknowledges what every read brings.
pub(super) async fn member(target: String, messages: usize) {
    let mut link = connect(&target).await;
    let (mut buffer, mut count) = (vec![0; BATCH], 0_u64);
    while count < (messages * FRAME) as u64 {
        let Ok(read @ 1..) = link.read(&mut buffer).await else { return };
        count += read as u64;
        link.write_u64(count).await.unwrap();
        link.flush().await.unwrap();
    }
    // The other end closes.
    let _ = link.read(&mut buffer).await;
}

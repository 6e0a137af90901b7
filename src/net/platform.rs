//! What a node has of the machine that it runs on: the network, the time, and randomness. The seam under all
//! sockets: this machine, or a simulated one.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
};

use super::{
    clock,
    discovery::{self, Announced, Announcement},
    zone,
};
use crate::model::{HostPorts, Moment, PortMapping, limits};

/// A future without a name.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection and the addresses at both of its ends.
pub struct Connection {
    /// Its bytes.
    pub stream: Box<dyn Stream>,
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
}

/// Takes connections.
pub trait Listener: Send {
    /// The next connection.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Connection>>;

    /// Where it listens.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A machine.
pub trait Platform: Send + Sync {
    /// Listens at `addr`; port 0 is any free one.
    fn bind(&self, addr: SocketAddr) -> io::Result<Box<dyn Listener>>;

    /// Connects to `addr`, from the address `from` if this machine has it.
    fn connect(&self, addr: SocketAddr, from: Option<IpAddr>) -> BoxFuture<'_, io::Result<Connection>>;

    /// Connects to `addr`, and has both ends send small packets only, where the system can do that.
    fn connect_small(&self, addr: SocketAddr) -> BoxFuture<'_, io::Result<Connection>>;

    /// The addresses of `host:port`.
    fn resolve<'a>(&'a self, target: &'a str) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;

    /// The time now, on both clocks. Timers go by tokio's, which stands still while a machine sleeps.
    fn now(&self) -> Moment;

    /// Time since the machine was started, its sleep included.
    fn since_start(&self) -> Duration;

    /// 32 bytes that nobody can guess.
    fn random(&self) -> [u8; 32];

    /// Tells those around of a network, for as long as the answer lives. Nothing where this machine does not.
    fn announce(&self, _: &Announcement) -> Option<Announced> {
        None
    }

    /// The router that can be asked for ports. Nothing where none can.
    fn router(&self) -> Option<Box<dyn Router>> {
        None
    }

    /// Does what takes long, beside the async threads.
    fn work(&self, job: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()>;
}

/// Opens ports to a machine from outside of its network.
pub trait Router: Send {
    /// Opens the ports of a host, or keeps them open. Why not, in words.
    fn map(&mut self, ports: HostPorts) -> BoxFuture<'_, Result<PortMapping, String>>;

    /// Gives back what is open.
    fn release(&mut self) -> BoxFuture<'_, ()>;
}

/// Has a machine do what takes long. Nothing comes of a job that panics.
pub(crate) async fn work<T: Send + 'static>(
    platform: &dyn Platform,
    job: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, result) = tokio::sync::oneshot::channel();
    platform.work(Box::new(move || drop(done.send(job())))).await;
    result.await.ok()
}

/// The machine that this process runs on.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemPlatform;

impl Platform for SystemPlatform {
    fn bind(&self, addr: SocketAddr) -> io::Result<Box<dyn Listener>> {
        let socket = socket(addr)?;
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        Ok(Box::new(socket.listen(limits::LISTEN_BACKLOG)?))
    }

    fn connect(&self, addr: SocketAddr, from: Option<IpAddr>) -> BoxFuture<'_, io::Result<Connection>> {
        Box::pin(async move {
            let socket = socket(addr)?;
            if let Some(from) = from {
                // Behind an address translation the address that others see is none of this machine's.
                let _ = socket.bind(SocketAddr::new(from, 0));
            }
            connection(socket.connect(addr).await?)
        })
    }

    fn connect_small(&self, addr: SocketAddr) -> BoxFuture<'_, io::Result<Connection>> {
        Box::pin(async move {
            let socket = socket(addr)?;
            #[cfg(unix)]
            socket2::SockRef::from(&socket).set_tcp_mss(limits::SMALL_SEGMENT)?;
            connection(socket.connect(addr).await?)
        })
    }

    fn resolve<'a>(&'a self, target: &'a str) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move {
            match zone::resolve(target) {
                Some(zoned) => Ok(vec![zoned?]),
                None => Ok(tokio::net::lookup_host(target).await?.collect()),
            }
        })
    }

    fn now(&self) -> Moment {
        clock::now()
    }

    fn since_start(&self) -> Duration {
        clock::since_start()
    }

    fn random(&self) -> [u8; 32] {
        super::seed()
    }

    fn announce(&self, announcement: &Announcement) -> Option<Announced> {
        discovery::announce(announcement)
    }

    #[cfg(feature = "map-port")]
    fn router(&self) -> Option<Box<dyn Router>> {
        Some(Box::<super::router::SystemRouter>::default())
    }

    fn work(&self, job: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        // A job that panics has no result.
        let working = tokio::task::spawn_blocking(job);
        Box::pin(async move { drop(working.await) })
    }
}

impl Listener for TcpListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Connection>> {
        Box::pin(async move { connection(TcpListener::accept(self).await?.0) })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpListener::local_addr(self)
    }
}

fn socket(addr: SocketAddr) -> io::Result<TcpSocket> {
    if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
}

fn connection(stream: TcpStream) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    let (local, remote) = (canonical(stream.local_addr()?), canonical(stream.peer_addr()?));
    Ok(Connection { stream: Box::new(stream), local, remote })
}

/// An IPv4 peer on a dual-stack listener has an IPv4 address.
fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        // With its zone, where it has one.
        ip if ip == addr.ip() => addr,
        ip => SocketAddr::new(ip, addr.port()),
    }
}

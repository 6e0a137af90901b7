//! A simulated machine: turmoil's network, its virtual time, and randomness by seed.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use pyile::{
    model::{Moment, Timestamp, limits::JOIN_PORT},
    net::platform::{BoxFuture, Connection, Listener, Platform},
};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use turmoil::net::{TcpListener, TcpStream};

/// The first day of every simulation, in microseconds.
const EPOCH: i64 = 1_790_000_000_000_000;

/// From where to where no peer listener can be reached: firewalls. Join ports always can.
pub(crate) type Outages = Arc<BTreeSet<(IpAddr, IpAddr)>>;

pub(crate) struct SimPlatform {
    ip: IpAddr,
    outages: Outages,
    rng: Mutex<ChaCha20Rng>,
}

impl SimPlatform {
    pub(crate) fn new(ip: IpAddr, outages: Outages, seed: [u8; 32]) -> Self {
        Self { ip, outages, rng: Mutex::new(ChaCha20Rng::from_seed(seed)) }
    }
}

impl Platform for SimPlatform {
    fn bind(&self, addr: SocketAddr) -> io::Result<Box<dyn Listener>> {
        // turmoil listens at every address of a machine, which has one.
        let any = SocketAddr::new(IpAddr::from([0, 0, 0, 0]), addr.port());
        let bound = futures_now(TcpListener::bind(any));
        let addr = SocketAddr::new(self.ip, addr.port());
        bound.map(|listener| Box::new(SimListener { listener, addr }) as Box<dyn Listener>)
    }

    fn connect(&self, addr: SocketAddr, _from: Option<IpAddr>) -> BoxFuture<'_, io::Result<Connection>> {
        Box::pin(async move {
            if addr.port() != JOIN_PORT && self.outages.contains(&(self.ip, addr.ip())) {
                // Some firewalls say no, others say nothing.
                if addr.port().is_multiple_of(2) {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                std::future::pending::<()>().await;
            }
            connection(TcpStream::connect(addr).await?)
        })
    }

    fn connect_small(&self, addr: SocketAddr) -> BoxFuture<'_, io::Result<Connection>> {
        self.connect(addr, None)
    }

    fn resolve<'a>(&'a self, target: &'a str) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(
            async move { target.parse().map(|addr| vec![addr]).map_err(|_| io::ErrorKind::NotFound.into()) },
        )
    }

    fn now(&self) -> Moment {
        let since = turmoil::sim_elapsed().expect("a machine of the simulation");
        let wall = Timestamp(EPOCH + i64::try_from(since.as_micros()).unwrap());
        Moment { instant: tokio::time::Instant::now().into_std(), wall }
    }

    fn since_start(&self) -> Duration {
        turmoil::elapsed()
    }

    fn random(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.rng.lock().unwrap().fill_bytes(&mut bytes);
        bytes
    }

    fn work(&self, job: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        // For the simulation no time passes.
        job();
        Box::pin(std::future::ready(()))
    }
}

struct SimListener {
    listener: TcpListener,
    addr: SocketAddr,
}

impl Listener for SimListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Connection>> {
        Box::pin(async move { connection(self.listener.accept().await?.0) })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }
}

fn connection(stream: TcpStream) -> io::Result<Connection> {
    let (local, remote) = (stream.local_addr()?, stream.peer_addr()?);
    Ok(Connection { stream: Box::new(stream), local, remote })
}

/// What is ready at once.
fn futures_now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("turmoil binds at once"),
    }
}

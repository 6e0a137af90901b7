//! Listening: binds ports with errors that say what to do, and hands over what comes in.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
};

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use tokio::{sync::mpsc, time};

use super::platform::{Connection, Listener, Platform};
use crate::{
    model::{CloseReason, Closed, limits},
    proto::LinkKind,
};

/// Where the peer listener is to be: nothing = the address of the route, any free port; port 0 = any free port.
pub type PeerListen = Option<SocketAddr>;

/// Listens for joiners at `addr`.
pub fn bind_join(platform: &dyn Platform, addr: SocketAddr) -> Result<Box<dyn Listener>, Closed> {
    platform.bind(addr).map_err(|error| cannot_listen(addr, &error))
}

/// Listens for peers: at `wanted`, or at `ip` on a free port of the dynamic range.
pub fn bind_peer(
    platform: &dyn Platform,
    wanted: PeerListen,
    ip: IpAddr,
) -> Result<Box<dyn Listener>, Closed> {
    let wanted = wanted.unwrap_or(SocketAddr::new(ip, 0));
    if wanted.port() != 0 {
        return platform.bind(wanted).map_err(|error| cannot_listen(wanted, &error));
    }
    bind_free(platform, wanted.ip(), &limits::PEER_PORTS)
}

/// Listens for the second links of classic members.
pub fn bind_distribution(platform: &dyn Platform, ip: IpAddr) -> Result<Box<dyn Listener>, Closed> {
    bind_free(platform, ip, &limits::CLASSIC_PORTS)
}

/// Listens at `ip` on a free port of a range.
fn bind_free(
    platform: &dyn Platform,
    ip: IpAddr,
    ports: &RangeInclusive<u16>,
) -> Result<Box<dyn Listener>, Closed> {
    let (first, last) = (*ports.start(), *ports.end());
    let mut rng = ChaCha20Rng::from_seed(platform.random());
    let mut last_error = None;
    for _ in 0..limits::PEER_PORT_TRIES {
        let offset = rng.next_u32() % u32::from(last - first + 1);
        let port = first + u16::try_from(offset).unwrap_or(0);
        let addr = SocketAddr::new(ip, port);
        match platform.bind(addr) {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last_error = Some((addr, error)),
            Err(error) => return Err(cannot_listen(addr, &error)),
        }
    }
    Err(last_error.map_or(CloseReason::CannotListen.into(), |(addr, error)| cannot_listen(addr, &error)))
}

fn cannot_listen(addr: SocketAddr, error: &io::Error) -> Closed {
    let (ip, port) = (addr.ip(), addr.port());
    let message = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "cannot listen on {addr}: port {port} is in use by another program, perhaps another pyile host; end \
             that one (`ss -ltnp 'sport = :{port}'` shows it), or choose another port with --listen {ip}:PORT"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!(
                "cannot listen on {addr}: this machine does not have the address {ip}; choose one that it has"
            )
        }
        io::ErrorKind::PermissionDenied => {
            format!("cannot listen on {addr}: the system does not allow port {port}; choose one from 1024 on")
        }
        _ => format!("cannot listen on {addr}: {error}"),
    };
    Closed::new(CloseReason::CannotListen, message)
}

/// The addresses under which a listener can be reached, best first: its own, or those of all interfaces.
#[must_use]
pub fn announced(listening: SocketAddr) -> Vec<SocketAddr> {
    if !listening.ip().is_unspecified() {
        return vec![listening];
    }
    let mut ips: Vec<IpAddr> = if_addrs::get_if_addrs()
        .unwrap_or_default()
        .into_iter()
        .map(|interface| interface.ip())
        .filter(|ip| !ip.is_loopback() && !is_link_local(*ip) && (ip.is_ipv4() || listening.is_ipv6()))
        .collect();
    // An IPv4 address is what people recognise.
    ips.sort_by_key(IpAddr::is_ipv6);
    ips.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    ips.truncate(limits::CANDIDATES);
    ips.into_iter().map(|ip| SocketAddr::new(ip, listening.port())).collect()
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// Hands over what comes in until the actor is gone. No error of `accept` ever ends it.
pub(super) async fn accept(
    mut listener: Box<dyn Listener>,
    link: LinkKind,
    accepted: mpsc::Sender<(LinkKind, Connection)>,
) {
    let mut failing = false;
    loop {
        match listener.accept().await {
            Ok(connection) => {
                failing = false;
                if accepted.send((link, connection)).await.is_err() {
                    return;
                }
            }
            // The other end gave up before it was accepted.
            Err(error) if is_their_fault(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "cannot accept connections now; trying again");
                }
                time::sleep(limits::ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_their_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NotConnected
    )
}

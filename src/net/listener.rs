//! Listening: binds ports with errors that say what to do, and hands over what comes in.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
};

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use tokio::{sync::mpsc, time};

use if_addrs::IfOperStatus;

use super::{
    platform::{Connection, Listener, Platform},
    probe,
};
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

/// Listens for peers: at `wanted`, or at the address of `route` on a free port of the dynamic range.
pub fn bind_peer(
    platform: &dyn Platform,
    wanted: PeerListen,
    route: SocketAddr,
) -> Result<Box<dyn Listener>, Closed> {
    let wanted = wanted.unwrap_or(with_port(route, 0));
    if wanted.port() != 0 {
        return platform.bind(wanted).map_err(|error| cannot_listen(wanted, &error));
    }
    bind_free(platform, wanted, &limits::PEER_PORTS)
}

/// Listens for the second links of classic members.
pub fn bind_distribution(platform: &dyn Platform, ip: IpAddr) -> Result<Box<dyn Listener>, Closed> {
    bind_free(platform, SocketAddr::new(ip, 0), &limits::CLASSIC_PORTS)
}

/// The same address, its zone included, with another port.
fn with_port(mut addr: SocketAddr, port: u16) -> SocketAddr {
    addr.set_port(port);
    addr
}

/// Listens at an address on a free port of a range.
fn bind_free(
    platform: &dyn Platform,
    at: SocketAddr,
    ports: &RangeInclusive<u16>,
) -> Result<Box<dyn Listener>, Closed> {
    let (first, last) = (*ports.start(), *ports.end());
    let mut rng = ChaCha20Rng::from_seed(platform.random());
    let mut last_error = None;
    for _ in 0..limits::PEER_PORT_TRIES {
        let offset = rng.next_u32() % u32::from(last - first + 1);
        let port = first + u16::try_from(offset).unwrap_or(0);
        let addr = with_port(at, port);
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
             that one (`ss -ltnp 'sport = :{port}'` shows it), or listen on another port, such as {}",
            with_port(addr, port.checked_add(1).unwrap_or(limits::JOIN_PORT)),
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
    let is_down = |interface: &if_addrs::Interface| matches!(interface.oper_status, IfOperStatus::Down);
    let mut ips: Vec<IpAddr> = if_addrs::get_if_addrs()
        .unwrap_or_default()
        .into_iter()
        .filter(|interface| !is_down(interface))
        .map(|interface| interface.ip())
        .filter(|ip| !ip.is_loopback() && !is_link_local(*ip) && (ip.is_ipv4() || listening.is_ipv6()))
        .collect();
    // The one that leads to the rest of the world is the best; an IPv4 address is what people recognise.
    let default = default_routes();
    ips.sort_by_key(|ip| (ip.is_ipv6(), !default.contains(ip)));
    ips.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    ips.truncate(limits::CANDIDATES);
    ips.into_iter().map(|ip| SocketAddr::new(ip, listening.port())).collect()
}

/// This machine's addresses on its default routes.
fn default_routes() -> Vec<IpAddr> {
    // Addresses for documentation, to which nothing but a default route leads.
    let anywhere =
        [SocketAddr::from(([192, 0, 2, 1], 9)), SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 9))];
    anywhere.into_iter().filter_map(|addr| probe::route(addr).ok()).collect()
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

//! Dialling: several addresses in order, the next one while the one before has not answered (RFC 8305), and
//! failures in words that say what to do.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use tokio::{task::JoinSet, time};

use super::platform::{Connection, Platform};
use crate::model::{CloseReason, Closed, limits};

/// Connects to the host at `target`.
pub(super) async fn join(platform: Arc<dyn Platform>, target: String) -> Result<Connection, Closed> {
    let addrs = match time::timeout(limits::CONNECT_TIMEOUT, platform.resolve(&target)).await {
        Ok(Ok(addrs)) if !addrs.is_empty() => addrs,
        // It says which interfaces there are.
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Closed::new(CloseReason::Unreachable, error.to_string()));
        }
        Ok(_) => {
            let name = target.rsplit_once(':').map_or(target.as_str(), |(name, _)| name);
            let message =
                format!("no machine called {name:?} is known here; check the name, or use its IP address");
            return Err(Closed::new(CloseReason::Unreachable, message));
        }
        Err(_) => {
            let message = format!("looking up {target:?} takes too long; use the IP address instead");
            return Err(Closed::new(CloseReason::Unreachable, message));
        }
    };
    connect(platform, addrs, None).await.map_err(|error| {
        let port = target.rsplit_once(':').map_or("", |(_, port)| port);
        let message = match error.kind() {
            io::ErrorKind::ConnectionRefused => format!(
                "nothing listens at {target}; is the host running there, and is the port {port} right?"
            ),
            io::ErrorKind::TimedOut => format!(
                "no answer from {target} within {} s; check the address, and that no firewall blocks port {port}",
                limits::CONNECT_TIMEOUT.as_secs()
            ),
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
                format!("there is no way from here to {target}; check the address and the network connection")
            }
            _ => format!("cannot reach {target}: {error}"),
        };
        Closed::new(CloseReason::Unreachable, message)
    })
}

/// Connects to a peer at the first of `addrs` that answers, from `from` if this machine has that address.
pub(super) async fn dial(
    platform: Arc<dyn Platform>,
    addrs: Vec<SocketAddr>,
    from: Option<IpAddr>,
) -> Result<Connection, Closed> {
    connect(platform, addrs, from).await.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => CloseReason::NothingListens.into(),
        io::ErrorKind::TimedOut => CloseReason::NoAnswer.into(),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => CloseReason::NoRoute.into(),
        _ => Closed::new(CloseReason::Unreachable, error.to_string()),
    })
}

async fn connect(
    platform: Arc<dyn Platform>,
    addrs: Vec<SocketAddr>,
    from: Option<IpAddr>,
) -> io::Result<Connection> {
    let mut tries = JoinSet::new();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let mut addrs = addrs.into_iter().take(limits::CANDIDATES);
    loop {
        let next = addrs.next();
        let is_last = next.is_none();
        if let Some(addr) = next {
            let platform = platform.clone();
            tries.spawn(async move {
                match time::timeout(limits::CONNECT_TIMEOUT, platform.connect(addr, from)).await {
                    Ok(result) => result,
                    Err(_) => Err(io::ErrorKind::TimedOut.into()),
                }
            });
        }
        loop {
            let finished = if is_last {
                tries.join_next().await
            } else {
                match time::timeout(limits::NEXT_CANDIDATE, tries.join_next()).await {
                    Ok(finished) => finished,
                    Err(_) => break,
                }
            };
            match finished {
                Some(Ok(Ok(connection))) => return Ok(connection),
                Some(Ok(Err(error))) => last = error,
                Some(Err(_)) => {}
                None if is_last => return Err(last),
                None => break,
            }
        }
    }
}

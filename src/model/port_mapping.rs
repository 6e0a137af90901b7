//! What a router has opened for this machine, so that it is reached from outside of its network.

use std::{net::SocketAddr, time::Duration};

use serde::Serialize;

/// How a router was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MappingProtocol {
    /// The Port Control Protocol (RFC 6887).
    Pcp,
    /// The NAT Port Mapping Protocol (RFC 6886).
    NatPmp,
    /// The Internet Gateway Device of UPnP.
    Upnp,
}

impl MappingProtocol {
    /// Its name, for people.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Pcp => "PCP",
            Self::NatPmp => "NAT-PMP",
            Self::Upnp => "UPnP",
        }
    }
}

/// The ports of a host that others are to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostPorts {
    /// Where it listens for joiners.
    pub join: SocketAddr,
    /// Its own peer listener.
    pub peer: SocketAddr,
}

/// What a router has opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortMapping {
    /// Where joiners reach the host from outside.
    pub join: SocketAddr,
    /// Where peers do; nothing when the router opened the join port alone.
    pub peer: Option<SocketAddr>,
    /// How it was asked.
    pub protocol: MappingProtocol,
    /// For how long: it is to be asked again before.
    pub lifetime: Duration,
}

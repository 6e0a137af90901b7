//! What a router has opened for this machine, so that it is reached from outside of its network.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use serde::Serialize;

use super::realm::Realm;

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

impl PortMapping {
    /// True when somebody on the internet can reach the host there: the address is one of a machine, and is nobody's behind
    /// another translator.
    #[must_use]
    pub fn is_of_the_internet(&self) -> bool {
        let is_of_machine = match self.join.ip() {
            // None of them is ever given to a machine (RFC 1112, section 4; RFC 6890, table 1).
            IpAddr::V4(ip) => (1..224).contains(&ip.octets()[0]) && !ip.is_documentation(),
            IpAddr::V6(ip) => !ip.is_multicast() && !ip.is_unspecified(),
        };
        is_of_machine && self.join.port() != 0 && Realm::of(self.join.ip()) == Realm::Global
    }
}

//! How far an address means the same.

use std::net::{IpAddr, Ipv4Addr};

/// How far an address means the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Realm {
    /// On its machine alone.
    Loopback,
    /// In its network, or behind its provider's translator.
    Private,
    /// Everywhere.
    Global,
}

impl Realm {
    /// That of an address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            ip if ip.is_loopback() => Self::Loopback,
            IpAddr::V4(ip) if ip.is_private() || ip.is_link_local() || is_shared(ip) => Self::Private,
            IpAddr::V6(ip) if ip.is_unique_local() || ip.is_unicast_link_local() => Self::Private,
            _ => Self::Global,
        }
    }
}

/// Addresses behind translators of whole providers, and of some private networks (RFC 6598).
fn is_shared(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    a == 100 && (64..128).contains(&b)
}

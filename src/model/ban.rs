//! Whom the host refuses: bans by key, by address or both, and the wrong passwords that lead to one.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{
    peer::{Alias, PeerId},
    time::Timestamp,
};

/// A refusal that lasts until the host lifts it. At least one of key and address is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// The key that is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_id: Option<PeerId>,
    /// The label that the key had, to recognise it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<Alias>,
    /// The address that is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addr: Option<IpAddr>,
    /// Why, in the host's words; told to the banned peer.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// It was set for wrong passwords: it refuses whoever has to prove the password, and nobody whose key is known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub automatic: bool,
}

impl Ban {
    /// True when this ban refuses a peer with `key` that comes from `addr`.
    #[must_use]
    pub fn refuses(&self, key: &PeerId, addr: IpAddr) -> bool {
        self.peer_id.as_ref() == Some(key) || self.covers(addr)
    }

    /// True when this ban refuses every peer that comes from `addr`.
    #[must_use]
    pub fn covers(&self, addr: IpAddr) -> bool {
        self.addr.is_some_and(|banned| address_block(banned) == address_block(addr))
    }
}

/// Wrong passwords counted for one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// Where they came from.
    pub addr: IpAddr,
    /// How many were wrong.
    pub wrong: u32,
    /// How many are left before the address is banned.
    pub left: u32,
}

/// An address that has wasted so many handshakes that its next ones have to wait, one a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Penalty {
    /// Which: an IPv4 address, or the first of an IPv6 /64.
    pub addr: IpAddr,
    /// Handshakes that wait.
    pub waiting: u32,
}

/// The addresses that one party is assumed to have: an IPv4 address alone, or an IPv6 /64. Limits, counts and bans
/// apply to the whole block.
#[must_use]
pub fn address_block(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V4(addr) => IpAddr::V4(addr),
        IpAddr::V6(addr) => IpAddr::V6((addr.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_ban_covers_the_block() {
        let ban = |addr: &str| Ban {
            peer_id: None,
            alias: None,
            addr: Some(addr.parse().unwrap()),
            reason: String::new(),
            since: Timestamp(0),
            automatic: false,
        };
        let refuses = |ban: &Ban, addr: &str| ban.refuses(&PeerId([0; 32]), addr.parse().unwrap());
        assert!(refuses(&ban("10.0.0.1"), "10.0.0.1"));
        assert!(
            refuses(&ban("10.0.0.1"), "::ffff:10.0.0.1"),
            "the same address, seen on a dual-stack socket"
        );
        assert!(!refuses(&ban("10.0.0.1"), "10.0.0.2"));
        assert!(refuses(&ban("2001:db8::1"), "2001:db8::2"));
        assert!(!refuses(&ban("2001:db8::1"), "2001:db8:0:1::1"));
    }
}

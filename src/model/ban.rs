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
    /// How many bits of it count, where it stands for its whole neighbourhood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<u8>,
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
        let Some((banned, bits)) = self.addr.zip(self.bits()) else { return false };
        neighbourhood(banned.to_canonical(), bits) == neighbourhood(addr.to_canonical(), bits)
    }

    /// How many bits of its address count; nothing when it is by key alone.
    #[must_use]
    pub fn bits(&self) -> Option<u8> {
        self.addr.map(|addr| self.prefix.unwrap_or(if addr.to_canonical().is_ipv4() { 32 } else { 64 }))
    }

    /// Its address as people write it, with its bits where it stands for more than one party.
    #[must_use]
    pub fn addr_text(&self) -> Option<String> {
        self.addr.map(|addr| self.prefix.map_or(addr.to_string(), |bits| format!("{addr}/{bits}")))
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
    let addr = addr.to_canonical();
    neighbourhood(addr, if addr.is_ipv4() { 32 } else { 64 })
}

/// The first address of those that have the first `bits` bits of `addr`.
#[must_use]
pub fn neighbourhood(addr: IpAddr, bits: u8) -> IpAddr {
    match addr {
        IpAddr::V4(addr) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits.into())).unwrap_or(0);
            IpAddr::V4((addr.to_bits() & mask).into())
        }
        IpAddr::V6(addr) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits.into())).unwrap_or(0);
            IpAddr::V6((addr.to_bits() & mask).into())
        }
    }
}

/// The next larger neighbourhood of an address, as networks are commonly given out.
#[must_use]
pub fn wider(bits: u8, addr: IpAddr) -> Option<u8> {
    let steps: &[u8] = if addr.is_ipv4() { &[24, 16] } else { &[56, 48, 32] };
    steps.iter().copied().find(|step| *step < bits)
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
            prefix: None,
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

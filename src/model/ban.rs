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
}

impl Ban {
    /// True when this ban refuses a peer with `key` that comes from `addr`.
    #[must_use]
    pub fn refuses(&self, key: &PeerId, addr: IpAddr) -> bool {
        self.peer_id.as_ref() == Some(key) || self.addr == Some(addr)
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

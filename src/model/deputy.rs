//! The deputy: the member that may open the network again when the host has been gone for too long.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{
    bounded::at_most,
    limits,
    network::{HostPackage, NetworkId},
    peer::{PeerId, Signature},
};

/// The host's word, given beforehand, on who may open its network again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeputyStatement {
    /// Of which network.
    pub network: NetworkId,
    /// Grows with every statement of a host: microseconds of its clock, and more than the one before.
    pub serial: u64,
    /// The deputy.
    pub to: PeerId,
    /// Where it would listen for joiners, best first: its own addresses, with the port of the host.
    #[serde(deserialize_with = "at_most::<{ limits::CANDIDATES }, _, _>")]
    pub addrs: Vec<SocketAddr>,
    /// The host's signature over all this.
    pub signature: Signature,
}

/// What a deputy has been given, and keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deputyship {
    /// By which it may open the network.
    pub statement: DeputyStatement,
    /// What a host needs, as it was when the host told it last.
    pub package: HostPackage,
}

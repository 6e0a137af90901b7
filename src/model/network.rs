//! The network itself and what a profile keeps of it on disk.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    applicant::Notes,
    ban::Ban,
    bounded::at_most,
    invite::KeptPass,
    limits,
    peer::{Alias, Departed, PeerId, RosterEntry, Signature},
    time::Timestamp,
};

/// The identity of a network, drawn at random when a profile first hosts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NetworkId(pub [u8; 16]);

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A network: its identity and the host's name for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its identity.
    pub id: NetworkId,
    /// Its name, at most [`limits::NETWORK_NAME_CHARACTERS`] characters; cleaned before it is shown.
    pub name: String,
}

/// What the host sets for all members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Messages a second that each member takes from each other in the long run; 0 = no limit.
    pub rate: u32,
    /// Messages that may come at once above the rate.
    pub burst: u32,
    /// Bytes of text a second that each member takes from each other; 0 = no limit.
    pub rate_bytes: u32,
    /// Seconds for which members go on under the last roster while the host is away; 0 = not at all.
    pub grace: u32,
    /// How many seconds before its admission a member may read; 0 = nothing.
    pub read_back: u32,
    /// Classic peers are let in: to them everything goes in clear.
    pub classic: bool,
    /// Members may invite others, as the host does.
    #[serde(default)]
    pub members_invite: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            rate: limits::RATE,
            burst: limits::RATE_BURST,
            rate_bytes: limits::RATE_BYTES,
            grace: limits::GRACE,
            read_back: 0,
            classic: false,
            members_invite: false,
        }
    }
}

/// A key that the host has admitted in this network's life: it comes back without a password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admitted {
    /// The key.
    pub peer_id: PeerId,
    /// The alias that is bound to it.
    pub alias: Alias,
    /// When it was first admitted.
    pub since: Timestamp,
    /// When it was last seen here, to about a day.
    #[serde(default)]
    pub seen: Timestamp,
    /// What it was called before, at most [`limits::EARLIER_ALIASES`], the newest last: nobody else may be called so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Alias>,
}

impl Admitted {
    /// All names that are its own.
    pub fn names(&self) -> impl Iterator<Item = &Alias> {
        std::iter::once(&self.alias).chain(&self.earlier)
    }
}

/// The host's word, given beforehand, on who may open its network again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeputyStatement {
    /// Of which network.
    pub network: NetworkId,
    /// The deputy.
    pub to: PeerId,
    /// Where it would listen for joiners, best first: its own addresses, with the port of the host.
    #[serde(deserialize_with = "at_most::<{ limits::CANDIDATES }, _, _>")]
    pub addrs: Vec<SocketAddr>,
    /// The host's signature over all this.
    pub signature: Signature,
}

/// All that a host needs after a restart. Holds the OPAQUE record, which is no password but still a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostState {
    /// The network.
    pub network: Network,
    /// What the host called itself.
    #[serde(default)]
    pub alias: Option<Alias>,
    /// The OPAQUE server set-up and record, opaque to everything but `security`.
    #[serde(with = "base64_bytes")]
    pub record: Vec<u8>,
    /// The join address of last time: members come back there.
    #[serde(default)]
    pub listen: Option<SocketAddr>,
    /// Keys that come back without a password.
    pub admitted: Vec<Admitted>,
    /// Whom the host refuses.
    pub bans: Vec<Ban>,
    /// What is known of the passes of invites.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passes: Vec<KeptPass>,
    /// Wrong passwords that are not forgotten yet.
    #[serde(default)]
    pub attempts: Vec<KeptAttempts>,
    /// The other members: after a crash they are expected back. Empty once the host has left.
    #[serde(default)]
    pub roster: Vec<RosterEntry>,
    /// Members of the past, and how far their words count.
    #[serde(default)]
    pub departed: Vec<Departed>,
    /// The version of the roster: it only grows.
    #[serde(default)]
    pub version: u64,
    /// Classic peers were let in: the person at the host knows what that means.
    #[serde(default)]
    pub classic: bool,
    /// When the host was last there.
    #[serde(default)]
    pub alive: Timestamp,
    /// Who may open the network again when this host is gone for too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deputy: Option<DeputyStatement>,
    /// The word of the host before, by which this one, its deputy, has opened the network again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_by: Option<OpenedBy>,
}

/// What a host hands to its successor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPackage {
    /// What it keeps.
    pub state: HostState,
    /// What it sets for all.
    pub policy: Policy,
    /// Wrong passwords from one address before it is banned.
    pub attempts: u32,
    /// Members at most.
    pub members: usize,
    /// How long a key that is not here comes back without a password; zero for ever.
    pub key_age: Duration,
    /// Those around may be told of the network.
    #[serde(default)]
    pub announce: bool,
    /// Whoever comes for the first time waits for the host's yes.
    #[serde(default)]
    pub approve: bool,
    /// What whoever comes in is told.
    #[serde(default)]
    pub notes: Notes,
    /// When this was so, by the host's clock.
    #[serde(default)]
    pub at: Timestamp,
}

/// How a deputy came to host a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenedBy {
    /// The word of the host before.
    pub statement: DeputyStatement,
    /// When that host told it last what a host needs, by its clock; nothing once it has been here since.
    pub told: Option<Timestamp>,
}

/// What a deputy has been given, and keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deputyship {
    /// By which it may open the network.
    pub statement: DeputyStatement,
    /// What a host needs, as it was when the host told it last.
    pub package: HostPackage,
}

/// Wrong passwords of one address, as they are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAttempts {
    /// Which address.
    pub addr: IpAddr,
    /// How many.
    pub wrong: u32,
    /// When the last one came.
    pub last: Timestamp,
}

impl fmt::Debug for HostState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostState")
            .field("network", &self.network)
            .field("admitted", &self.admitted)
            .field("bans", &self.bans)
            .finish_non_exhaustive()
    }
}

mod base64_bytes {
    use data_encoding::BASE64;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64.decode(text.as_bytes()).map_err(|_| D::Error::custom("not base64"))
    }
}

/// A host that this profile has joined: its pinned key, and what the launch screen shows under recent networks. Nobody but
/// the person here removes one that was typed, or others could push out the keys that are trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownHost {
    /// What was typed to reach it, as `host:port`.
    pub target: String,
    /// Its key: another one at the same place is refused.
    pub peer_id: PeerId,
    /// The network's name then.
    pub network: String,
    /// The alias used there.
    pub alias: Alias,
    /// When it was last joined.
    pub joined: Timestamp,
    /// It let classic peers in, and the person here was content with that.
    #[serde(default)]
    pub classic: bool,
    /// The network that it hosts.
    #[serde(default)]
    pub network_id: Option<NetworkId>,
    /// Nobody typed the target: an earlier host signed it. Of each network only the newest such place is kept.
    #[serde(default)]
    pub handed_over: bool,
    /// The version of its roster then.
    #[serde(default)]
    pub version: u64,
    /// Who may open the network again when the host is gone for too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deputy: Option<DeputyStatement>,
}

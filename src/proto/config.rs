//! What a node begins with, as plain data.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use crate::{
    model::{
        Admitted, Alias, Ban, Departed, DeputyStatement, Deputyship, KeptAttempts, KeptPass, Network,
        NetworkId, Notes, OpenedBy, Pass, Password, PeerId, Policy, Recalled, RosterEntry, Timestamp, Wire,
        limits,
    },
    security::{HostRecord, Identity, PasswordCost},
};

/// What a node is.
#[derive(Debug)]
pub struct NodeConfig {
    /// Its label.
    pub alias: Alias,
    /// Its key.
    pub identity: Arc<Identity>,
    /// Seeds its randomness.
    pub seed: [u8; 32],
    /// How costly a guess at the password is.
    pub cost: PasswordCost,
    /// How many descriptors the process may have open.
    pub descriptors: usize,
    /// How much room it gives.
    pub limits: Limits,
    /// Whether messages may go to classic peers, in clear, when somebody has said so.
    pub cleartext: Option<bool>,
    /// Host or member.
    pub role: RoleConfig,
}

/// How much room a node gives to others, and to what is not kept yet. The defaults suit a laptop and a network of
/// [`limits::MEMBERS`]; a bot on a small machine gives less.
///
/// Not among them are times, and what both ends of a link must agree on: those stand in [`limits`] alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// The room of those who are not admitted.
    pub strangers: StrangerLimits,
    /// The memory of messages.
    pub memory: MemoryLimits,
}

/// The room of those who are not admitted: connections, addresses, bans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StrangerLimits {
    /// Connections below which all are taken; at least one, and at most a quarter of [`Self::full`].
    pub free: usize,
    /// Connections at which a further one comes in only in the place of another; at most half of the process's descriptors.
    pub full: usize,
    /// Handshakes of one address that may wait for their turn; at least one may.
    pub handshakes_waiting: usize,
    /// Addresses whose handshakes are remembered; beyond that idle ones are forgotten.
    pub addresses: usize,
    /// Host: addresses that are shown as held back, those with the most waiting first.
    pub penalties: usize,
    /// Host: addresses whose wrong passwords are counted at once, at least one. With few, whoever guesses from more addresses
    /// than that is forgotten in between.
    pub counted: usize,
    /// Host: bans for wrong passwords at once; with more of them neighbours become one. There may be at least one.
    pub automatic_bans: usize,
}

impl Default for StrangerLimits {
    fn default() -> Self {
        Self {
            free: limits::STARTUPS_FREE,
            full: limits::STARTUPS_FULL,
            handshakes_waiting: limits::HANDSHAKES_WAITING,
            addresses: limits::ADDRESSES,
            penalties: limits::PENALTIES,
            counted: limits::COUNTED,
            automatic_bans: limits::AUTOMATIC_BANS,
        }
    }
}

/// The memory of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Bytes of an own stream's newest batches that stay in memory while somebody lacks them; the rest is read from the
    /// history. What the history does not have for good stays beyond that, up to [`Self::unsaved_bytes`].
    pub log_bytes: usize,
    /// Bytes of own messages that may wait to be kept before the next is taken.
    pub unkept_bytes: usize,
    /// Messages that are held for a disk that takes nothing; beyond them no more are taken. Receipts have a bound of their own.
    pub unsaved_messages: u64,
    /// Bytes of text that are held for it.
    pub unsaved_bytes: usize,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self {
            log_bytes: limits::LOG_BYTES,
            unkept_bytes: limits::UNKEPT_BYTES,
            unsaved_messages: limits::UNSAVED_MESSAGES,
            unsaved_bytes: limits::UNSAVED_BYTES,
        }
    }
}

/// What a node does.
#[derive(Debug)]
pub enum RoleConfig {
    /// Opens a network.
    Host(Box<HostConfig>),
    /// Joins one.
    Member(Box<MemberConfig>),
}

/// How to host.
#[derive(Debug)]
pub struct HostConfig {
    /// The network.
    pub network: Network,
    /// What the host sets for all.
    pub policy: Policy,
    /// The password's record.
    pub record: HostRecord,
    /// The password that was given this time, where the record is one that was kept: it takes the record's place as soon as
    /// it is worked out, and until then whoever wants to prove a password waits.
    pub password: Option<Password>,
    /// Those around are told of the network.
    pub announce: bool,
    /// The router is asked for the ports of this host.
    pub map_port: bool,
    /// Whoever comes for the first time waits for the host's yes.
    pub approve: bool,
    /// What whoever comes in is told.
    pub notes: Notes,
    /// Wrong passwords from one address before it is banned, at least 1.
    pub attempts: u32,
    /// How long a key that is not here comes back without a password; zero for ever.
    pub key_age: Duration,
    /// Members at most, the host included; at most [`crate::model::limits::MEMBERS_MAX`].
    pub members: usize,
    /// Whom it knows and refuses, and who may stand in for it.
    pub kept: KeptState,
    /// What is kept of the network since it was open last.
    pub earlier: EarlierRun,
    /// The join address.
    pub join_addr: SocketAddr,
    /// The port on which classic members are given the roster, where they are let in.
    pub distribution: Option<u16>,
    /// Where this peer's own listener may be reached, best first; at least one.
    pub peer_addrs: Vec<SocketAddr>,
}

/// Whom a host knows and refuses, and who may stand in for it.
#[derive(Debug, Default)]
pub struct KeptState {
    /// Who needs no password.
    pub admitted: Vec<Admitted>,
    /// Whom to refuse.
    pub bans: Vec<Ban>,
    /// What is known of the passes of invites.
    pub passes: Vec<KeptPass>,
    /// Wrong passwords that were counted before.
    pub attempts: Vec<KeptAttempts>,
    /// When this host was last there.
    pub alive: Timestamp,
    /// Who may open the network again when this host is gone for too long.
    pub deputy: Option<DeputyStatement>,
    /// The word of the host before, by which this one, its deputy, opens the network again.
    pub opened_by: Option<OpenedBy>,
}

/// What is kept of a network since it was open last.
#[derive(Debug)]
pub struct EarlierRun {
    /// Members that are expected back: they stay in the roster for a while.
    pub expected: Vec<RosterEntry>,
    /// Members of the past, and how far their words count.
    pub departed: Vec<Departed>,
    /// The last version of the roster.
    pub version: u64,
    /// What the history knows of the network.
    pub recalled: Recalled,
}

impl EarlierRun {
    /// A network that was never open.
    #[must_use]
    pub fn none() -> Self {
        Self { expected: Vec::new(), departed: Vec::new(), version: 0, recalled: Recalled::nothing() }
    }
}

/// How to join.
#[derive(Debug)]
pub struct MemberConfig {
    /// The host as typed, `host:port`.
    pub target: String,
    /// The network's password; not needed by a key that was admitted before.
    pub password: Option<Password>,
    /// The host's key, when it was met before, or stands in the invite.
    pub pin: Option<PeerId>,
    /// The pass of an invite, which is said only to the host with that key.
    pub pass: Option<Pass>,
    /// Those around are told of the network, should this member become its host.
    pub announce: bool,
    /// The router is asked for its ports, should this member become its host.
    pub map_port: bool,
    /// Where the host is by its invite, best first; else the target tells.
    pub addrs: Vec<SocketAddr>,
    /// How long to try to come back to a lost host; zero = not at all.
    pub rejoin_for: Duration,
    /// How the host speaks.
    pub wire: Wire,
    /// The network was joined before: whether it let classic peers in then.
    pub was_classic: Option<bool>,
    /// The network that was last joined there, and the version of its roster then.
    pub known: Option<(NetworkId, u64)>,
    /// That network has another host by now: its key, and where it was joined.
    pub moved: Option<(PeerId, String)>,
    /// Who may open that network again, as its host has said.
    pub deputy: Option<DeputyStatement>,
    /// This member is the deputy of that network: what it was given.
    pub deputyship: Option<Box<Deputyship>>,
}

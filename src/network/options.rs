//! How a network is opened, and how one is joined.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::with_port;
use crate::{
    model::{Alias, Invite, Notes, Password, PeerId, Policy, Wire, limits},
    net::PeerListen,
    proto::Limits,
    security::PasswordCost,
};

/// How to host.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// The join address.
    pub listen: SocketAddr,
    /// Where this peer's own listener is to be; nothing = the join listener's address, any free port.
    pub peer_listen: PeerListen,
    /// This peer's label.
    pub alias: Alias,
    /// The network's name, 1 to [`limits::NETWORK_NAME_CHARACTERS`] characters; nothing = the one it had, or one made from
    /// the alias.
    pub network: Option<String>,
    /// The network's password; nothing = the one that the profile keeps the record of.
    pub password: Option<Password>,
    /// Wrong passwords from one address before it is banned, at least 1.
    pub attempts: u32,
    /// Members at most, the host included: 1 to [`limits::MEMBERS_MAX`].
    pub members: usize,
    /// How long a key that is not here comes back without a password; zero for ever.
    pub key_age: Duration,
    /// What the host sets for all.
    pub policy: Policy,
    /// Whoever comes for the first time waits until [`crate::api::NodeCommand::Approve`] lets it in.
    pub approve: bool,
    /// What whoever comes in is told.
    pub notes: Notes,
    /// Those around are told of the network by mDNS, on networks of one's own alone.
    pub announce: bool,
    /// The router is asked to let others in from the internet, by PCP, NAT-PMP or UPnP: the event
    /// [`crate::api::NodeEvent::PortMapping`] tells what comes of it. Needs the feature `map-port`.
    pub map_port: bool,
    /// Whether messages may go to classic peers, in clear; nothing = they may where the policy lets such peers in.
    pub cleartext: Option<bool>,
    /// How costly a guess at the password is; the same on both sides.
    pub cost: PasswordCost,
    /// How much room this peer gives to others, and to what is not kept yet.
    pub limits: Limits,
}

impl HostOptions {
    /// The defaults: every interface, port 4702.
    #[must_use]
    pub fn new(alias: Alias, password: Password) -> Self {
        Self {
            listen: (Ipv4Addr::UNSPECIFIED, limits::JOIN_PORT).into(),
            peer_listen: None,
            alias,
            network: None,
            password: Some(password),
            attempts: limits::ATTEMPTS,
            members: limits::MEMBERS,
            key_age: limits::KEY_AGE,
            policy: Policy::default(),
            approve: false,
            notes: Notes::default(),
            announce: false,
            map_port: false,
            cleartext: None,
            cost: PasswordCost::WIRE_1,
            limits: Limits::default(),
        }
    }
}

/// How to join.
#[derive(Debug, Clone)]
pub struct JoinOptions {
    /// The host, as `host:port`.
    pub target: String,
    /// The host's key, where it is known from elsewhere: another one is refused. Nothing = the key that the profile
    /// remembers for this target; at a first join any key is taken and remembered.
    pub pin: Option<PeerId>,
    /// An invite: where the host is, its key, and mostly a pass that lets this peer in without the password. The target is
    /// not used then.
    pub invite: Option<Invite>,
    /// Those around are told of the network, should this peer become its host.
    pub announce: bool,
    /// The router is asked for its ports, should this peer become its host.
    pub map_port: bool,
    /// Where this peer's listener is to be; nothing = the address of the route, any free port.
    pub peer_listen: PeerListen,
    /// This peer's label.
    pub alias: Alias,
    /// The network's password; not needed by a key that was admitted before.
    pub password: Option<Password>,
    /// How long to try to come back to a lost host; zero = not at all.
    pub rejoin_for: Duration,
    /// How the host speaks. To a classic one the password and everything else goes in clear.
    pub wire: Wire,
    /// Whether messages may go to classic peers, in clear; nothing = they may, except in a network that was without
    /// such peers when it was joined before.
    pub cleartext: Option<bool>,
    /// How costly a guess at the password is; the same on both sides.
    pub cost: PasswordCost,
    /// How much room this peer gives to others, and to what is not kept yet.
    pub limits: Limits,
}

impl JoinOptions {
    /// The defaults, to the host at `target`: a name or an address, with or without a port.
    #[must_use]
    pub fn new(target: &str, alias: Alias, password: Password) -> Self {
        Self {
            target: with_port(target),
            pin: None,
            invite: None,
            announce: false,
            map_port: false,
            peer_listen: None,
            alias,
            password: Some(password),
            rejoin_for: limits::REJOIN_FOR,
            wire: Wire::Native,
            cleartext: None,
            cost: PasswordCost::WIRE_1,
            limits: Limits::default(),
        }
    }
}

impl JoinOptions {
    /// The defaults, by an invite. One without a pass needs the password too.
    #[must_use]
    pub fn invited(invite: Invite, alias: Alias, password: Option<Password>) -> Self {
        let target = invite.addrs.first().map(ToString::to_string).unwrap_or_default();
        let options = Self::new(&target, alias, Password::new(String::new()));
        Self { invite: Some(invite), password, ..options }
    }
}

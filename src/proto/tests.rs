//! Whole networks in virtual time: nodes, links that keep their order, and no I/O at all.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
    time::{Duration, Instant},
};

mod bans;
mod bounds;
mod classic;
mod deputy;
mod door;
mod explore;
mod handover;
mod history;
mod invites;
mod joining;
mod late;
mod links;
mod mapping;
mod messages;
mod outages;
mod presence;
mod reachability;
mod sim;
mod store;
mod streams;
mod verifying;

use self::{
    sim::{Delivery, End, Sim},
    store::{Disk, Kept, SimStore, identity},
};
use super::*;
use crate::{
    api::{NodeCommand, NodeEvent, StoreCommand, StoreEvent, Target},
    model::{
        Alias, Batch, CloseReason, Closed, DeliveryStatus, Deputyship, KeptAttempts, Liveness, MessageId,
        Moment, Network, NetworkId, Password, PeerId, Policy, PortMapping, Recalled, Recipient, RosterEntry,
        SafeText, Signature, StreamId, Timestamp, Wire, limits,
    },
    security::{HostRecord, Identity, PasswordCost, tls::Secured},
    wire::{Ack, Frame, Hello, classic::Object},
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

const PASSWORD: &str = "open sesame";

/// What a member knows that stands in this roster, for tests of one part alone.
pub(super) fn group_of(
    alias: &str,
    identity: Arc<Identity>,
    entries: Vec<RosterEntry>,
) -> (group::Group, roster::Changes) {
    let config = NodeConfig {
        alias: Alias::new(alias).unwrap(),
        identity,
        seed: [7; 32],
        cost: PasswordCost::TEST,
        descriptors: 100,
        limits: Limits::default(),
        cleartext: None,
        role: RoleConfig::Member(Box::new(member_config(PASSWORD))),
    };
    let mut group = group::Group::new(&config);
    group.network = Some(Network { id: NetworkId([1; 16]), name: "lab".into() });
    let changes = group.roster.replace(roster::Roster::unsigned(1, entries));
    group.learn(&changes, false);
    (group, changes)
}

/// A network that nobody was in yet.
fn host_config() -> HostConfig {
    let record = HostRecord::register(&Password::new(PASSWORD.into()), PasswordCost::TEST, [1; 32]).unwrap();
    HostConfig {
        network: Network { id: NetworkId([1; 16]), name: "lab".into() },
        policy: Policy::default(),
        record,
        password: None,
        attempts: 3,
        members: 250,
        key_age: limits::KEY_AGE,
        announce: true,
        map_port: false,
        approve: false,
        notes: crate::model::Notes::default(),
        kept: KeptState::default(),
        earlier: EarlierRun::none(),
        join_addr: "10.0.0.1:4702".parse().unwrap(),
        distribution: None,
        peer_addrs: vec!["10.0.0.1:50000".parse().unwrap()],
    }
}

fn member_config(password: &str) -> MemberConfig {
    MemberConfig {
        target: "10.0.0.1:4702".into(),
        password: Some(Password::new(password.into())),
        pin: None,
        pass: None,
        addrs: Vec::new(),
        announce: true,
        map_port: false,
        rejoin_for: limits::REJOIN_FOR,
        wire: Wire::Native,
        was_classic: None,
        known: None,
        moved: None,
        deputy: None,
        deputyship: None,
    }
}

//! Classic peers (the Python program) among the others: how they are let in, how they are spoken to, and how this peer
//! takes part where one of them is the host.
//!
//! All that the rest of the protocol knows of them is the mark on their ids. Nothing here may speak to a peer whose id
//! is a key, or send anything in clear where the network or the person here does not want it.

mod host;
mod member;
mod messaging;

use std::net::SocketAddrV4;

pub(super) use self::{
    host::{ClassicMembers, Step as HostStep},
    member::{ClassicHost, Step as MemberStep},
    messaging::ClassicMessaging,
};
use super::core::{Core, usable_v4};
use crate::{
    model::{Role, RosterEntry},
    wire::classic::{Address, Object},
};

/// Everybody as a classic peer reads it, the host first: as many as fit `limit` bytes. Gives how many do not.
fn roster_for(
    core: &Core,
    host: SocketAddrV4,
    newcomer: Option<SocketAddrV4>,
    limit: usize,
) -> (Object, usize) {
    let reachable = |entry: &RosterEntry| match entry.peer_id.address() {
        Some(addr) => Some(addr),
        // Elsewhere 127.0.0.1 is somebody else.
        None => core
            .candidates(&entry.peer_id)
            .iter()
            .filter_map(usable_v4)
            .find(|addr| host.ip().is_loopback() || !addr.ip().is_loopback()),
    };
    let others = core.roster.entries().filter(|entry| entry.role != Role::Host).filter_map(reachable);
    let mut all: Vec<SocketAddrV4> = std::iter::once(host).chain(newcomer).collect();
    all.extend(others.filter(|addr| Some(*addr) != newcomer));
    let total = all.len();
    loop {
        let object = Object::Roster(all.iter().copied().map(Address::from).collect());
        let bytes = object.encode().len();
        if bytes <= limit || all.len() <= 1 {
            return (object, total - all.len());
        }
        // Entries have about the same length.
        let fitting = (all.len() * limit / bytes).min(all.len() - 1);
        all.truncate(fitting.max(1));
    }
}

//! Ports that the router opens for this host: where it is reached from outside, which invites and the roster then say.

use std::{net::SocketAddr, time::Duration};

use super::{Host, Timer};
use crate::{
    api::NodeEvent,
    model::{HostPorts, PortMapping, RosterEntry, SafeText, limits},
    proto::Output,
};

/// What the router does for this host.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    /// It is to be asked.
    is_wanted: bool,
    /// Where joiners and peers come from the internet.
    outside: Option<(SocketAddr, Option<SocketAddr>)>,
    /// What the front end was told.
    told: Option<SafeText>,
}

impl Mapping {
    pub(super) fn new(is_wanted: bool) -> Self {
        Self { is_wanted, ..Self::default() }
    }

    /// The router is to be asked.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted
    }
}

impl Host {
    /// Asks the router for the ports, where that is wanted.
    pub(super) fn map_ports(&mut self) {
        let join = self.listening.join_addr;
        if let (true, Some(peer)) = (self.mapping.is_wanted, self.listening.peer_addrs.first().copied()) {
            self.turn.ask(Output::MapPorts(HostPorts { join, peer }));
        }
    }

    /// The router has opened them, or why not.
    pub(in crate::proto) fn ports_mapped(&mut self, mapped: &Result<PortMapping, String>) {
        if !self.mapping.is_wanted {
            return;
        }
        let again = mapped.as_ref().map_or(limits::MAPPING_RETRY, |mapped| {
            (mapped.lifetime / 2).clamp(limits::MAPPING_AGAIN, limits::MAPPING_LIFETIME / 2)
        });
        self.turn.set(Timer::MapPorts, again);
        let outside = mapped.as_ref().ok().filter(|mapped| mapped.is_of_the_internet());
        let protocol = mapped.as_ref().ok().map(|mapped| mapped.protocol);
        let addr = outside.map(|mapped| mapped.join);
        let outside = outside.map(|mapped| (mapped.join, mapped.peer));
        let message = match mapped {
            Ok(PortMapping { join, protocol, .. }) if addr.is_some() => {
                format!(
                    "the router has opened the port ({}): you are reached from the internet at {join}",
                    protocol.label()
                )
            }
            Ok(PortMapping { join, .. }) => format!(
                "the router has opened the port, and its own address {} is not one of the internet: another translator \
                 stands behind it, and nobody outside reaches you. Ask your provider for an address of your own, or use a VPN",
                join.ip()
            ),
            Err(why) => format!(
                "nobody outside of this network reaches you, since {why}. Switch it on in the router's settings, or forward \
                 port {} there by hand",
                self.listening.join_addr.port()
            ),
        };
        if std::mem::replace(&mut self.mapping.outside, outside) != outside {
            self.own_addrs_changed();
        }
        let message = SafeText::line(&message);
        if self.mapping.told.replace(message.clone()).as_ref() != Some(&message) {
            self.turn.event(NodeEvent::PortMapping { addr, protocol, message });
        }
    }

    /// Where joiners reach this host from the internet.
    pub(super) fn outside(&self) -> Option<SocketAddr> {
        self.mapping.outside.map(|(join, _)| join)
    }

    /// Peers from outside reach its listener where the router says.
    fn own_addrs_changed(&mut self) {
        let me = self.group.me();
        let own = self.group.roster.entries_to_be().find(|entry| entry.peer_id == me).cloned();
        let Some(own) = own else { return };
        let mut addrs = self.listening.peer_addrs.clone();
        addrs.truncate(limits::CANDIDATES - 1);
        addrs.extend(self.mapping.outside.and_then(|(_, peer)| peer));
        self.group.roster.update(RosterEntry { addrs, ..own });
        self.distribute_soon();
    }

    /// This machine slept: the router may have closed them.
    pub(in crate::proto) fn suspended(&mut self, time: Duration) {
        self.map_ports();
        self.deputy_after(time);
    }
}

//! The paths to a peer: this node dials it, or asks it to dial this node, or a third member relays the link.
//!
//! Members report to the host whom they reach. A member must never give up on the direct path for good.

use std::time::Instant;

use super::{Ask, Demand, Links, Timer};
use crate::{
    api::NodeEvent,
    model::{CloseReason, Closed, PeerId, Wire, limits},
    proto::group::Group,
    wire::{Frame, Tried},
};

/// What is known of the paths to one peer.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// The result of the last dial, if there was one.
    direct: Option<Direct>,
    called: Option<Instant>,
    /// The relay of the link in use, as the front end was last notified.
    pub(super) notified_via: Option<PeerId>,
}

/// The result of dialling a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direct {
    Reached,
    NotReached(CloseReason),
}

impl Direct {
    fn why_not(self) -> Option<CloseReason> {
        match self {
            Self::Reached => None,
            Self::NotReached(reason) => Some(reason),
        }
    }
}

impl Links {
    /// A peer's listener is to be tried, or a link is to be opened because the peer asks for one.
    pub(in crate::proto) fn reach(&mut self, group: &Group, peer: PeerId) {
        if group.is_member(&peer) && peer != group.me() && peer.wire() == Wire::Native {
            self.dial(group, peer);
        }
    }

    /// A peer was dialled, with this result.
    pub(super) fn tried(&mut self, peer: PeerId, why_not: Option<CloseReason>) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        self.turn.timers.cancel(Timer::Call(peer));
        let direct = why_not.map_or(Direct::Reached, Direct::NotReached);
        if state.paths.direct.replace(direct) != Some(direct) {
            self.turn.ask(Ask::Tried(Tried { peer, why_not }));
        }
    }

    /// The host came back, or is another: reports all results to it.
    pub(in crate::proto) fn report_all(&mut self) {
        let found =
            self.peers.iter().filter_map(|(peer, state)| Some((*peer, state.paths.direct?.why_not())));
        for (peer, why_not) in found.collect::<Vec<_>>() {
            self.turn.ask(Ask::Tried(Tried { peer, why_not }));
        }
    }

    /// A peer went, or has new addresses: what was known of the paths to it holds no more.
    pub(super) fn forget_paths(&mut self, peer: PeerId) {
        self.forget_relays(&peer);
        self.turn.timers.cancel(Timer::Call(peer));
        self.turn.timers.cancel(Timer::Direct(peer));
        if let Some(state) = self.peers.get_mut(&peer) {
            let notified_via = state.paths.notified_via;
            state.paths = Paths { notified_via, ..Paths::default() };
        }
    }

    /// Asks a peer to open a link, by way of the host.
    pub(super) fn call(&mut self, group: &Group, peer: PeerId) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let now = self.turn.now.instant;
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < limits::CALL_EVERY;
        if state.paths.called.as_ref().is_some_and(is_recent) {
            return;
        }
        let me = group.me();
        let (conn, whom) = if group.host() == Some(me) {
            (group.join_links.get(&peer), me)
        } else {
            (group.host().and_then(|host| group.join_links.get(&host)), peer)
        };
        if let Some(conn) = conn.copied() {
            state.paths.called = Some(now);
            self.turn.send(conn, &Frame::Call(whom));
            self.turn.set(Timer::Direct(peer), limits::CALL_PATIENCE);
        }
    }

    /// A peer cannot be dialled now: other paths are tried, one after the other.
    pub(super) fn other_paths(&mut self, group: &Group, demand: &impl Demand, peer: PeerId, closed: &Closed) {
        if self.used(&peer).is_some() || !self.is_wanted(demand, &peer) || !group.is_member(&peer) {
            return;
        }
        self.call(group, peer);
        let Some(state) = self.peers.get(&peer) else { return };
        let now = self.turn.now.instant;
        let waits = |at: Instant| now.saturating_duration_since(at) < limits::CALL_PATIENCE;
        let it_cannot = group.reachability.why_not(peer, group.me()).is_some();
        if state.paths.called.is_some_and(waits) && !it_cannot {
            return;
        }
        // A relayed link relays nothing itself.
        self.refuse_waiting(peer);
        if demand.wants_link(&peer) && !self.relay_to(group, peer) {
            self.turn.ask(Ask::Unreachable(peer, closed.clone()));
        }
    }

    /// The host has told who reaches whom: peers that wait for a path may have one now.
    pub(in crate::proto) fn paths_changed(&mut self, group: &Group, demand: &impl Demand) {
        let me = group.me();
        let waiting: Vec<(PeerId, CloseReason)> = self
            .peers
            .iter()
            .filter(|(peer, state)| state.links.is_empty() && self.is_wanted(demand, peer))
            .filter_map(|(peer, state)| Some((*peer, state.paths.direct?.why_not()?)))
            .filter(|(peer, _)| group.reachability.why_not(*peer, me).is_some())
            .collect();
        for (peer, reason) in waiting {
            self.other_paths(group, demand, peer, &reason.into());
        }
    }

    /// Tries another path: the direct one while the link is relayed, or another one while there is no link.
    pub(super) fn try_direct(&mut self, group: &Group, demand: &impl Demand, peer: PeerId) {
        let Some(state) = self.peers.get(&peer) else { return };
        let reason = state.paths.direct.and_then(Direct::why_not);
        match state.links.first() {
            Some(conn) if self.by_conn.get(conn).is_some_and(|link| link.via.is_some()) => {
                self.dial(group, peer);
                self.turn.set(Timer::Direct(peer), limits::DIRECT_AGAIN);
            }
            Some(_) => {}
            None => {
                let closed = reason.unwrap_or(CloseReason::Unreachable).into();
                self.other_paths(group, demand, peer, &closed);
            }
        }
    }

    /// Notifies the front end when the link in use takes another path.
    pub(super) fn tell_route(&mut self, group: &Group, peer: PeerId) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let Some(link) = state.links.first().and_then(|conn| self.by_conn.get(conn)) else { return };
        if std::mem::replace(&mut state.paths.notified_via, link.via) != link.via
            && let Some(person) = group.person(&peer)
        {
            let via = link.via.and_then(|via| group.person(&via));
            self.turn.event(NodeEvent::Route { peer: person, via });
        }
    }
}

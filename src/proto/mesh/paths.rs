//! The paths to a peer: this node dials it, or asks it to dial this node, or a third member relays the link.
//!
//! Members report to the host whom they reach. A member must never give up on the direct path for good.

use std::time::Instant;

use super::Mesh;
use crate::{
    api::NodeEvent,
    model::{CloseReason, Closed, ErrorKind, PeerId, Wire, limits},
    proto::core::{Core, Timer},
    wire::{Frame, Tried},
};

/// What is known of the paths to one peer.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// The result of the last dial, if there was one.
    direct: Option<Direct>,
    /// The peer is to be dialled although there is nothing to send.
    pub(super) is_wanted: bool,
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

impl Mesh {
    /// A peer's listener is to be tried, or a link is to be opened because the peer asks for one.
    pub(in crate::proto) fn reach(&mut self, core: &mut Core, peer: PeerId) {
        if !core.is_member(&peer) || peer == core.me() || peer.wire() == Wire::Classic {
            return;
        }
        self.peer(peer, &core.policy, core.now.instant).paths.is_wanted = true;
        self.dial(core, peer);
    }

    /// A peer was dialled, with this result.
    pub(super) fn tried(&mut self, core: &mut Core, peer: PeerId, why_not: Option<CloseReason>) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.paths.is_wanted = false;
        core.timers.cancel(Timer::Call(peer));
        let direct = why_not.map_or(Direct::Reached, Direct::NotReached);
        if state.paths.direct.replace(direct) != Some(direct) {
            core.report(Tried { peer, why_not });
        }
    }

    /// The host came back, or is another: reports all results to it.
    pub(in crate::proto) fn report_all(&mut self, core: &mut Core) {
        let found =
            self.peers.iter().filter_map(|(peer, state)| Some((*peer, state.paths.direct?.why_not())));
        for (peer, why_not) in found.collect::<Vec<_>>() {
            core.report(Tried { peer, why_not });
        }
    }

    /// A peer went, or has new addresses: what was known of the paths to it holds no more.
    pub(super) fn forget_paths(&mut self, core: &mut Core, peer: PeerId) {
        core.reachability.forget(&peer);
        self.forget_relays(&peer);
        core.timers.cancel(Timer::Call(peer));
        core.timers.cancel(Timer::Direct(peer));
        if let Some(state) = self.peers.get_mut(&peer) {
            let notified_via = state.paths.notified_via;
            state.paths = Paths { notified_via, ..Paths::default() };
        }
    }

    /// A peer that is being dialled takes long to answer: asks it to dial this node.
    pub(in crate::proto) fn call_now(&mut self, core: &mut Core, peer: PeerId) {
        if self.peers.get(&peer).is_some_and(|state| state.links.is_empty()) && self.needs_link(&peer) {
            self.call(core, peer);
        }
    }

    /// Asks a peer to open a link, by way of the host.
    fn call(&mut self, core: &mut Core, peer: PeerId) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let is_recent = |at: &Instant| core.now.instant.saturating_duration_since(*at) < limits::CALL_EVERY;
        if state.paths.called.as_ref().is_some_and(is_recent) {
            return;
        }
        let me = core.me();
        let (conn, whom) = if core.host() == Some(me) {
            (core.join_links.get(&peer), me)
        } else {
            (core.host().and_then(|host| core.join_links.get(&host)), peer)
        };
        if let Some(conn) = conn.copied() {
            state.paths.called = Some(core.now.instant);
            core.send(conn, &Frame::Call(whom));
            core.timers.set(Timer::Direct(peer), core.now.instant + limits::CALL_PATIENCE);
        }
    }

    /// A peer cannot be dialled now: other paths are tried, one after the other.
    pub(super) fn other_paths(&mut self, core: &mut Core, peer: PeerId, closed: &Closed) {
        let Some(state) = self.peers.get(&peer) else { return };
        if !state.links.is_empty() || !self.needs_link(&peer) || !core.is_member(&peer) {
            return;
        }
        self.call(core, peer);
        let Some(state) = self.peers.get(&peer) else { return };
        let waits = |at: Instant| core.now.instant.saturating_duration_since(at) < limits::CALL_PATIENCE;
        let it_cannot = core.reachability.why_not(peer, core.me()).is_some();
        if state.paths.called.is_some_and(waits) && !it_cannot {
            return;
        }
        // A relayed link relays nothing itself.
        self.refuse_waiting(core, peer);
        let is_asked = self.peers.get(&peer).is_some_and(|state| state.question.is_some());
        if (is_asked || self.is_pending(&peer)) && !self.relay_to(core, peer) {
            self.tell_unreachable(core, peer, closed);
        }
    }

    /// Says once that a peer is out of reach.
    fn tell_unreachable(&mut self, core: &mut Core, peer: PeerId, closed: &Closed) {
        let is_pending = self.is_pending(&peer);
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if is_pending
            && !std::mem::replace(&mut state.notified, true)
            && let Some(person) = core.person(&peer)
        {
            let message =
                format!("{} cannot be reached now ({closed}); what is said to it waits", person.alias);
            core.event(NodeEvent::error(ErrorKind::Connection, &message));
        }
    }

    /// The host has told who reaches whom: peers that wait for a path may have one now.
    pub(in crate::proto) fn paths_changed(&mut self, core: &mut Core) {
        let me = core.me();
        let waiting: Vec<(PeerId, CloseReason)> = self
            .peers
            .iter()
            .filter(|(peer, state)| state.links.is_empty() && self.needs_link(peer))
            .filter_map(|(peer, state)| Some((*peer, state.paths.direct?.why_not()?)))
            .filter(|(peer, _)| core.reachability.why_not(*peer, me).is_some())
            .collect();
        for (peer, reason) in waiting {
            self.other_paths(core, peer, &reason.into());
        }
    }

    /// Tries another path: the direct one while the link is relayed, or another one while there is no link.
    pub(in crate::proto) fn try_direct(&mut self, core: &mut Core, peer: PeerId) {
        let Some(state) = self.peers.get(&peer) else { return };
        let reason = state.paths.direct.and_then(Direct::why_not);
        match state.links.first() {
            Some(conn) if self.links.get(conn).is_some_and(|link| link.via.is_some()) => {
                self.dial(core, peer);
                core.timers.set(Timer::Direct(peer), core.now.instant + limits::DIRECT_AGAIN);
            }
            Some(_) => {}
            None => {
                let closed = reason.unwrap_or(CloseReason::Unreachable).into();
                self.other_paths(core, peer, &closed);
            }
        }
    }

    /// Notifies the front end when the link in use takes another path.
    pub(super) fn tell_route(&mut self, core: &mut Core, peer: PeerId) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let Some(link) = state.links.first().and_then(|conn| self.links.get(conn)) else { return };
        if std::mem::replace(&mut state.paths.notified_via, link.via) != link.via
            && let Some(person) = core.person(&peer)
        {
            let via = link.via.and_then(|via| core.person(&via));
            core.event(NodeEvent::Route { peer: person, via });
        }
    }
}

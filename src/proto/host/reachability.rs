//! Who reaches whom: the host has whoever asks tried, collects what members find out, and tells it.

use std::time::Instant;

use rand_core::RngCore as _;

use super::{Ask, Host, Timer};
use crate::{
    model::{CloseReason, PeerId, limits},
    proto::ConnId,
    wire::{Frame, Tried},
};

impl Host {
    /// Tries a member's peer listener from here, and has some members try it.
    pub(super) fn have_tried(&mut self, peer: PeerId) {
        self.turn.ask(Ask::Reach(peer));
        let mut others: Vec<PeerId> = self.members.keys().filter(|other| **other != peer).copied().collect();
        for _ in 0..limits::TRIED_BY {
            let count = u32::try_from(others.len()).unwrap_or(u32::MAX);
            let Some(at) = self.turn.rng.next_u32().checked_rem(count) else { return };
            let other = others.swap_remove(usize::try_from(at).unwrap_or(0));
            if let Some(conn) = self.group.join_links.get(&other).copied() {
                self.turn.send(conn, &Frame::TryPeers(vec![peer].into()));
            }
        }
    }

    /// This node has tried to reach a peer.
    pub(in crate::proto) fn has_tried(&mut self, tried: Tried) {
        let me = self.group.me();
        let tried = self.told(tried);
        self.group.reachability.note(me, tried);
        if !self.turn.timers.is_set(Timer::Reachability) {
            self.turn.set(Timer::Reachability, limits::REACHABILITY_TICK);
        }
    }

    /// What came of trying to reach a peer, as all are told of it. Why a place other than the one where this host sees the
    /// peer did not answer would tell which ports are open on the computer of somebody who is not even here.
    fn told(&self, mut tried: Tried) -> Tried {
        let seen_at = self.members.get(&tried.peer).map(|link| link.ip.to_canonical());
        let addrs = self.group.roster.get(&tried.peer).map(|entry| &entry.addrs);
        let is_its_own = |addrs: &Vec<std::net::SocketAddr>| {
            addrs.iter().all(|addr| Some(addr.ip().to_canonical()) == seen_at)
        };
        if tried.why_not.is_some() && !addrs.is_some_and(is_its_own) {
            tried.why_not = Some(CloseReason::Unreachable);
        }
        tried
    }

    /// A member has tried others.
    pub(super) fn tried(&mut self, from: PeerId, tried: &[Tried]) {
        for tried in tried.iter().take(limits::MEMBERS_MAX) {
            if self.group.is_member(&tried.peer) && tried.peer != from {
                let tried = self.told(*tried);
                self.group.reachability.note(from, tried);
            }
        }
        self.notify_unreachable_soon();
    }

    pub(super) fn notify_unreachable_soon(&mut self) {
        if self.group.reachability.is_changed() && !self.turn.timers.is_set(Timer::Reachability) {
            self.turn.set(Timer::Reachability, limits::REACHABILITY_TICK);
        }
    }

    /// A member asks another one to open a link to it. Its questions are passed on no faster than it should ask, or it
    /// could fill the other one's join link until that is cut.
    pub(super) fn call(&mut self, from: PeerId, to: PeerId) {
        let Some(link) = self.members.get_mut(&from) else { return };
        let is_recent =
            |at: &Instant| self.turn.now.instant.saturating_duration_since(*at) < limits::CALL_EVERY / 2;
        if to == self.group.me() {
            return self.turn.ask(Ask::Reach(from));
        }
        let Some(conn) = self.group.join_links.get(&to).copied() else { return };
        if link.called.get(&to).is_some_and(is_recent) {
            return;
        }
        link.called.retain(|_, at| is_recent(at));
        link.called.insert(to, self.turn.now.instant);
        self.turn.send(conn, &Frame::Call(from));
    }

    /// Tells every member who cannot reach whom.
    pub(super) fn notify_unreachable(&mut self) {
        if !self.group.reachability.take_changed() {
            return;
        }
        let ways = self.group.reachability.unreachable();
        let frame = Frame::Unreachable(ways.clone().into()).encode();
        let links: Vec<ConnId> = self.group.join_links.values().copied().collect();
        for conn in links {
            self.turn.send_bytes(conn, frame.clone());
        }
        self.turn.event(crate::api::NodeEvent::NoWays { ways });
        self.turn.ask(Ask::PathsChanged);
    }

    /// A member wants to see who reaches whom.
    pub(super) fn send_reachability(&mut self, conn: ConnId) {
        let members: Vec<PeerId> = self.group.roster.entries().map(|entry| entry.peer_id).collect();
        for part in self.group.reachability.parts(self.group.roster.version(), &members) {
            self.turn.send(conn, &Frame::ReachabilityPart(part));
        }
    }
}

//! Who reaches whom: the host has whoever asks tried, collects what members find out, and tells it.

use std::time::Instant;

use rand_core::RngCore as _;

use super::{Core, Host, Mesh};
use crate::{
    model::{PeerId, limits},
    proto::{ConnId, core::Timer},
    wire::{Frame, Tried},
};

impl Host {
    /// Tries a member's peer listener from here, and has some members try it.
    pub(super) fn have_tried(&self, core: &mut Core, mesh: &mut Mesh, peer: PeerId) {
        mesh.reach(core, peer);
        let mut others: Vec<PeerId> = self.members.keys().filter(|other| **other != peer).copied().collect();
        for _ in 0..limits::TRIED_BY {
            let count = u32::try_from(others.len()).unwrap_or(u32::MAX);
            let Some(at) = core.rng.next_u32().checked_rem(count) else { return };
            let other = others.swap_remove(usize::try_from(at).unwrap_or(0));
            if let Some(conn) = core.join_links.get(&other).copied() {
                core.send(conn, &Frame::TryPeers(vec![peer]));
            }
        }
    }

    /// A member has tried others.
    pub(super) fn tried(core: &mut Core, from: PeerId, tried: &[Tried]) {
        for tried in tried.iter().take(limits::MEMBERS_MAX) {
            if core.is_member(&tried.peer) && tried.peer != from {
                core.reachability.note(from, *tried);
            }
        }
        Self::notify_unreachable_soon(core);
    }

    pub(super) fn notify_unreachable_soon(core: &mut Core) {
        if core.reachability.is_changed() && !core.timers.is_set(Timer::Reachability) {
            core.timers.set(Timer::Reachability, core.now.instant + limits::REACHABILITY_TICK);
        }
    }

    /// A member asks another one to open a link to it. Its questions are passed on no faster than it should ask, or it
    /// could fill the other one's join link until that is cut.
    pub(super) fn call(&mut self, core: &mut Core, mesh: &mut Mesh, from: PeerId, to: PeerId) {
        let Some(link) = self.members.get_mut(&from) else { return };
        let is_recent =
            |at: &Instant| core.now.instant.saturating_duration_since(*at) < limits::CALL_EVERY / 2;
        if to == core.me() {
            return mesh.reach(core, from);
        }
        let Some(conn) = core.join_links.get(&to).copied() else { return };
        if link.called.get(&to).is_some_and(is_recent) {
            return;
        }
        link.called.retain(|_, at| is_recent(at));
        link.called.insert(to, core.now.instant);
        core.send(conn, &Frame::Call(from));
    }

    /// Tells every member who cannot reach whom.
    pub(super) fn notify_unreachable(core: &mut Core, mesh: &mut Mesh) {
        // What was found out here is in the book already.
        core.take_report();
        if !core.reachability.take_changed() {
            return;
        }
        let ways = core.reachability.unreachable();
        let frame = Frame::Unreachable(ways.clone()).encode();
        let links: Vec<ConnId> = core.join_links.values().copied().collect();
        for conn in links {
            core.send_bytes(conn, frame.clone());
        }
        core.event(crate::api::NodeEvent::NoWays { ways });
        mesh.paths_changed(core);
    }

    /// A member wants to see who reaches whom.
    pub(super) fn send_reachability(core: &mut Core, conn: ConnId) {
        let members: Vec<PeerId> = core.roster.entries().map(|entry| entry.peer_id).collect();
        for part in core.reachability.parts(core.roster.version(), &members) {
            core.send(conn, &Frame::ReachabilityPart(part));
        }
    }
}

//! Distribution (seed, "Set Distributions"): what changed goes to the members, the whole roster to new ones, and who
//! was removed is cut off by all.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Core, Cut, Host, MemberLink, Mesh};
use crate::{
    model::{CloseReason, Held, PeerId, limits},
    proto::{core::Timer, roster::Changes},
    wire::{Authenticated, Frame},
};

impl Host {
    pub(in crate::proto) fn distribute_soon(&mut self, core: &mut Core, mesh: &mut Mesh) {
        match self.distributed.map(|at| at + limits::ROSTER_TICK) {
            Some(at) if at > core.now.instant => core.timers.set(Timer::Roster, at),
            _ => self.distribute(core, mesh),
        }
    }

    /// Sends what changed to the members, and the whole roster to new ones.
    pub(in crate::proto) fn distribute(&mut self, core: &mut Core, mesh: &mut Mesh) {
        core.timers.cancel(Timer::Roster);
        self.distributed = Some(core.now.instant);
        if core.roster.is_changed() {
            let now = core.now.wall;
            let departed = |peer: &PeerId| mesh.departed(*peer, now);
            let (delta, changes) = core.roster.commit(&core.identity, &self.network.id, now, departed);
            let version = delta.to;
            let mut frames = vec![Frame::RosterDelta(delta).encode()];
            if frames.iter().any(|frame| frame.len() > limits::FRAME_AFTER) {
                frames = self.whole(core, Frame::RosterWhole);
            }
            for link in self.members.values().filter(|link| link.since.is_some()) {
                for frame in &frames {
                    core.send_bytes(link.conn, frame.clone());
                }
            }
            core.tell_changes(&changes, version > 1);
            mesh.roster_changed(core, &changes);
            Self::notify_unreachable_soon(core);
            self.expect_cuts(core, &changes, version);
            self.distribute_classic(core);
            self.save(core, Vec::new());
        }
        self.welcome(core);
    }

    /// Sends the whole roster to new members who stand in it and whose admission is kept.
    pub(super) fn welcome(&mut self, core: &mut Core) {
        let is_due = |(peer, link): &(&PeerId, &MemberLink)| {
            link.since.is_none() && core.is_member(peer) && !self.saving.contains_key(&link.saved_with)
        };
        let new: Vec<PeerId> = self.members.iter().filter(is_due).map(|(peer, _)| *peer).collect();
        if new.is_empty() {
            return;
        }
        let mut frames = self.whole(core, Frame::Authenticated);
        let unreachable = core.reachability.unreachable();
        if !unreachable.is_empty() {
            frames.push(Frame::Unreachable(unreachable).encode());
        }
        for peer in new {
            let Some(link) = self.members.get_mut(&peer) else { continue };
            link.since = Some(core.roster.version());
            core.join_links.insert(peer, link.conn);
            for frame in &frames {
                core.send_bytes(link.conn, frame.clone());
            }
            core.timers.set(Timer::Beat(link.conn), link.detector.deadline());
        }
    }

    /// Takes messages that came late. They are named together, however often an author claims not to know the roster.
    pub(super) fn note_late(&mut self, core: &mut Core, late: Vec<(u64, Held)>) {
        self.late.extend(late);
        if self.late.len() >= limits::HELD {
            self.tell_late(core);
        } else if !self.late.is_empty() && !core.timers.is_set(Timer::Late) {
            core.timers.set(Timer::Late, core.now.instant + limits::ROSTER_TICK);
        }
    }

    /// Names the messages that came late to the members whom their author did not know yet.
    pub(super) fn tell_late(&mut self, core: &mut Core) {
        let late = std::mem::take(&mut self.late);
        for link in self.members.values() {
            let lacks = |(roster, held): &(u64, Held)| {
                link.since.is_some_and(|since| *roster < since).then_some(*held)
            };
            let held: Vec<Held> = late.iter().filter_map(lacks).collect();
            for part in held.chunks(limits::HELD) {
                core.send(link.conn, &Frame::Held(part.to_vec()));
            }
        }
    }

    pub(super) fn whole(&self, core: &Core, header: fn(Box<Authenticated>) -> Frame) -> Vec<Bytes> {
        let authenticated = Authenticated {
            network: self.network.clone(),
            policy: core.policy,
            version: core.roster.version(),
            entries: u32::try_from(core.roster.entries().len()).unwrap_or(u32::MAX),
            departed: u32::try_from(core.roster.all_departed().len()).unwrap_or(u32::MAX),
            signature: core.roster.signature(&core.identity, &self.network.id),
        };
        let pages = core.roster.pages().into_iter().map(|page| Frame::RosterPage(page).encode());
        std::iter::once(header(Box::new(authenticated)).encode()).chain(pages).collect()
    }

    pub(super) fn expect_cuts(&mut self, core: &mut Core, changes: &Changes, version: u64) {
        for (entry, reason) in &changes.removed {
            if matches!(reason, CloseReason::Banned | CloseReason::Kicked) {
                let told = self.members.iter().filter(|(_, link)| link.since.is_some());
                let waiting: BTreeSet<PeerId> = told.map(|(peer, _)| *peer).collect();
                let of = u32::try_from(waiting.len()).unwrap_or(u32::MAX);
                let cut = Cut { peer: entry.peer_id, version, waiting, of };
                core.event(cut.event());
                self.cuts.push(cut);
            }
        }
    }

    pub(super) fn applied(&mut self, core: &mut Core, member: PeerId, version: u64) {
        for cut in &mut self.cuts {
            if cut.version <= version && cut.waiting.remove(&member) {
                core.event(cut.event());
            }
        }
        self.cuts.retain(|cut| !cut.waiting.is_empty());
    }
}

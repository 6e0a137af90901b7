//! Distribution (seed, "Set Distributions"): what changed goes to the members, the whole roster to new ones, and who
//! was removed is cut off by all.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Ask, Cut, Host, MemberLink, Timer};
use crate::{
    model::{Departed, Held, PeerId, limits},
    proto::roster::Changes,
    wire::{Authenticated, Frame},
};

impl Host {
    pub(super) fn distribute_soon(&mut self) {
        match self.distribution.at.map(|at| at + limits::ROSTER_TICK) {
            Some(at) if at > self.turn.now.instant => self.turn.timers.set(Timer::Roster, at),
            _ => self.turn.ask(Ask::Distribute),
        }
    }

    /// Sends what changed to the members, and the whole roster to new ones. `departed` tells how far the words of somebody
    /// who goes now count.
    pub(in crate::proto) fn distribute(&mut self, departed: impl Fn(&PeerId) -> Departed) {
        self.turn.timers.cancel(Timer::Roster);
        self.distribution.at = Some(self.turn.now.instant);
        if self.group.roster.is_changed() {
            let (identity, network) = (self.group.identity.clone(), self.network.id);
            let (delta, changes) =
                self.group.roster.commit(&identity, &network, self.turn.now.wall, departed);
            let version = delta.to;
            let mut frames = vec![Frame::RosterDelta(delta).encode()];
            if frames.iter().any(|frame| frame.len() > limits::FRAME_AFTER) {
                frames = self.whole(Frame::RosterWhole);
            }
            for link in self.members.values().filter(|link| link.since.is_some()) {
                for frame in &frames {
                    self.turn.send_bytes(link.conn, frame.clone());
                }
            }
            let events = self.group.learn(&changes, version > 1);
            self.turn.events(events);
            self.turn.ask(Ask::RosterChanged(changes.clone()));
            self.notify_unreachable_soon();
            self.expect_cuts(&changes, version);
            self.distribute_classic();
            self.renew_deputy();
            self.save(Vec::new());
        }
        self.welcome();
    }

    /// Sends the whole roster to new members who stand in it and whose admission is kept.
    pub(super) fn welcome(&mut self) {
        let is_due = |(peer, link): &(&PeerId, &MemberLink)| {
            link.since.is_none()
                && self.group.is_member(peer)
                && !self.saves.waiting.contains_key(&link.saved_with)
        };
        let new: Vec<PeerId> = self.members.iter().filter(is_due).map(|(peer, _)| *peer).collect();
        if new.is_empty() {
            return;
        }
        let mut frames = self.whole(Frame::Authenticated);
        let unreachable = self.group.reachability.unreachable();
        if !unreachable.is_empty() {
            frames.push(Frame::Unreachable(unreachable.into()).encode());
        }
        if !self.notes.is_empty() {
            frames.push(Frame::Notes(Box::new(self.notes.clone())).encode());
        }
        frames.push(Frame::Deputy(self.deputy.statement.clone().map(Box::new)).encode());
        for peer in new {
            let Some(link) = self.members.get_mut(&peer) else { continue };
            link.since = Some(self.group.roster.version());
            self.group.join_links.insert(peer, link.conn);
            for frame in &frames {
                self.turn.send_bytes(link.conn, frame.clone());
            }
            self.turn.timers.set(Timer::Beat(link.conn), link.detector.deadline());
            self.notes_host_before(&peer);
        }
    }

    /// Takes messages that came late. They are named together, however often an author claims not to know the roster.
    pub(in crate::proto) fn note_late(&mut self, late: Vec<(u64, Held)>) {
        self.distribution.late.extend(late);
        if self.distribution.late.len() >= limits::HELD {
            self.tell_late();
        } else if !self.distribution.late.is_empty() && !self.turn.timers.is_set(Timer::Late) {
            self.turn.set(Timer::Late, limits::ROSTER_TICK);
        }
    }

    /// Names the messages that came late to the members whom their author did not know yet.
    pub(super) fn tell_late(&mut self) {
        let late = std::mem::take(&mut self.distribution.late);
        for link in self.members.values() {
            let lacks = |(roster, held): &(u64, Held)| {
                link.since.is_some_and(|since| *roster < since).then_some(*held)
            };
            let held: Vec<Held> = late.iter().filter_map(lacks).collect();
            for part in held.chunks(limits::HELD) {
                self.turn.send(link.conn, &Frame::Held(part.to_vec().into()));
            }
        }
    }

    pub(super) fn whole(&self, header: fn(Box<Authenticated>) -> Frame) -> Vec<Bytes> {
        let authenticated = Authenticated {
            network: self.network.clone(),
            policy: self.group.policy,
            version: self.group.roster.version(),
            entries: u32::try_from(self.group.roster.entries().len()).unwrap_or(u32::MAX),
            departed: u32::try_from(self.group.roster.all_departed().len()).unwrap_or(u32::MAX),
            signature: self.group.roster.signature(&self.group.identity, &self.network.id),
        };
        let pages = self.group.roster.pages().into_iter().map(|page| Frame::RosterPage(page).encode());
        std::iter::once(header(Box::new(authenticated)).encode()).chain(pages).collect()
    }

    pub(super) fn expect_cuts(&mut self, changes: &Changes, version: u64) {
        for (entry, reason) in &changes.removed {
            if reason.is_removal() {
                let told = self.members.iter().filter(|(_, link)| link.since.is_some());
                let waiting: BTreeSet<PeerId> = told.map(|(peer, _)| *peer).collect();
                let of = u32::try_from(waiting.len()).unwrap_or(u32::MAX);
                let cut = Cut { peer: entry.peer_id, version, waiting, of };
                self.turn.event(cut.event());
                self.distribution.cuts.push(cut);
            }
        }
    }

    pub(super) fn applied(&mut self, member: PeerId, version: u64) {
        for cut in &mut self.distribution.cuts {
            if cut.version <= version && cut.waiting.remove(&member) {
                self.turn.event(cut.event());
            }
        }
        self.distribution.cuts.retain(|cut| !cut.waiting.is_empty());
    }
}

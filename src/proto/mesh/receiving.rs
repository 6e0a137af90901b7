//! Receiving: batches of a peer are taken on as fast as the policy allows, shown, kept, and only then acknowledged.
//!
//! It must never acknowledge a message that is not here word for word, whatever its number.

use std::sync::Arc;

use super::{Mesh, journal::Due};
use crate::{
    api::{NodeEvent, Said, StoreCommand},
    model::{
        Batch, CloseReason, Departed, Held, NetworkId, PeerId, Recipient, StoredBatch, StreamId, Timestamp,
        Wire, limits,
    },
    proto::{
        ConnId, Output,
        core::{Core, Timer},
        inbox::{Arrival, Arrived},
        log::Range,
    },
    wire::{Ack, Addressed, Frame},
};

/// How a batch came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Over its author's own link, in its turn, addressed by this version of the roster.
    Direct { roster: u64 },
    /// Later than it should, from a member that had it.
    HandedOn,
}

/// The result of taking a batch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is new, and so many are missing just before it.
    New(u64),
    /// A batch came under some of its numbers before.
    Known,
    /// It is not for this node now.
    Refused,
}

impl Mesh {
    /// A peer has sent a batch over a link.
    pub(super) fn batch(&mut self, core: &mut Core, conn: ConnId, peer: PeerId, addressed: Addressed) {
        let batch = &addressed.batch;
        let StreamId { author, to, .. } = batch.stream;
        let is_for_me = to == Recipient::Everyone || to == Recipient::Peer(core.me());
        if author != peer || !is_for_me || !batch.is_lawful() {
            return self.drop_link(core, conn, CloseReason::ProtocolError);
        }
        if self.links.get(&conn).is_some_and(|link| link.refused.contains(&batch.stream)) {
            return;
        }
        let state = self.peer(peer, &core.policy, core.now.instant);
        if state.inbox.take_in(conn, addressed).is_err() {
            return self.drop_link(core, conn, CloseReason::ProtocolError);
        }
        self.release(core, peer);
    }

    /// Takes on what a peer has sent, as fast as the policy allows.
    pub(in crate::proto) fn release(&mut self, core: &mut Core, peer: PeerId) {
        loop {
            let Some(state) = self.peers.get_mut(&peer) else { return };
            // Later batches wait for the comparison: it decides what they are.
            if state.comparing.is_some() {
                return;
            }
            match state.inbox.release(core.now.instant) {
                Ok(Some((conn, addressed))) => self.arrived(core, conn, addressed),
                Ok(None) => return,
                Err(wait) => {
                    core.timers.set(Timer::Throttle(peer), core.now.instant + wait);
                    return;
                }
            }
        }
    }

    fn arrived(&mut self, core: &mut Core, conn: ConnId, addressed: Addressed) {
        let Addressed { roster, batch } = addressed;
        let (stream, first, last) = (batch.stream, batch.first, batch.last());
        let batch = Arc::new(batch);
        match self.take_on(core, &batch, Way::Direct { roster }) {
            Taken::New(missed) => {
                self.acknowledge_when_kept(core, conn, stream, last);
                if missed > 0 {
                    self.ask_for_gap(core, &stream, first, missed);
                }
            }
            Taken::Known => self.compare_received(core, conn, batch),
            Taken::Refused => {}
        }
    }

    /// Shows a batch that is new, and has it kept.
    pub(super) fn take_on(&mut self, core: &mut Core, batch: &Batch, way: Way) -> Taken {
        let author = batch.stream.author;
        if batch.stream.to == Recipient::Everyone && !core.roster.counts(batch) {
            return Taken::Refused;
        }
        let here = core.place_for();
        let behind = self.peers.get(&author).map_or(0, |state| state.behind);
        let sent_at = Timestamp(batch.sent_at.0.saturating_add(behind));
        let delay = core.now.wall.since(sent_at);
        let when = match way {
            Way::HandedOn => Some(batch.sent_at.0),
            // A message that has waited stands where it was said, so that all members see the same order.
            Way::Direct { .. } if (limits::DELAYED..limits::UNDELIVERED_FOR).contains(&delay) => {
                Some(sent_at.0)
            }
            Way::Direct { .. } => None,
        };
        // No message stands before its author's admission.
        let when = when.map(|when| core.roster.get(&author).map_or(when, |entry| when.max(entry.since.0)));
        let state = self.peer(author, &core.policy, core.now.instant);
        let Arrival::New(Arrived { place, missed, next }) = state.inbox.arrive(batch, here, when) else {
            return Taken::Known;
        };
        // A message from before the last link was lost is late: it could have come over that link.
        let could_have_come = when.is_some_and(|when| state.lost_at.is_some_and(|lost| when < lost.0));
        let late = way == Way::HandedOn || next.is_some() || could_have_come;
        let at = if late || when.is_some() { Timestamp(place) } else { core.now.wall };
        self.show(core, batch, (batch.first, batch.last()), Shown { place, at, late, missed });
        if let (Some((sequence, missing)), Some(from)) = (next, core.person(&author)) {
            let before = batch.stream.message(sequence);
            core.event(NodeEvent::Gap { before, from, missing });
        }
        self.note_late(core, batch, way);
        Taken::New(missed)
    }

    /// Host: notes a batch that is addressed by an earlier roster, or may be. Members that were admitted since then lack it,
    /// and may have asked for what they missed before it came.
    fn note_late(&mut self, core: &Core, batch: &Batch, way: Way) {
        let roster = match way {
            Way::Direct { roster } => roster,
            Way::HandedOn => 0,
        };
        let StreamId { author, epoch, to } = batch.stream;
        let is_late = roster < core.roster.version() && to == Recipient::Everyone;
        if !is_late || author.wire() == Wire::Classic || core.host() != Some(core.me()) {
            return;
        }
        let follows = |(by, held): &&mut (u64, Held)| {
            *by == roster && (held.author, held.epoch, held.to + 1) == (author, epoch, batch.first)
        };
        match self.late.last_mut().filter(follows) {
            Some((_, held)) => held.to = batch.last(),
            None => {
                self.late.push((roster, Held { author, epoch, from: batch.first, to: batch.last() }));
            }
        }
    }

    /// Host: the batches of this turn that are addressed by an earlier roster, and the version of that roster.
    pub(in crate::proto) fn take_late(&mut self) -> Vec<(u64, Held)> {
        std::mem::take(&mut self.late)
    }

    /// Tells the front end of messages, and has them kept.
    pub(super) fn show(&mut self, core: &mut Core, batch: &Batch, range: Range, shown: Shown) {
        let (first, last) = range;
        let author = batch.stream.author;
        let (Some(network), Some(from)) = (Self::network(core), core.person(&author)) else { return };
        let Shown { place, at, late, missed } = shown;
        let everyone = batch.stream.to == Recipient::Everyone;
        let state = self.peer(author, &core.policy, core.now.instant);
        let spans = state.inbox.spans(everyone, batch.stream.epoch).to_vec();
        core.stood_at(place.saturating_add(batch.count().cast_signed() - 1));
        let stored = Arc::new(StoredBatch {
            batch: batch.clone(),
            alias: from.alias.clone(),
            at,
            place,
            references: Vec::new(),
            claims: self.classic.claimed_in(&batch.stream.message(batch.first)),
        });
        let token = self.journal.give(batch.count(), batch.bytes());
        let command = StoreCommand::Keep { token, network, batch: stored.clone(), spans };
        core.outputs.push_back(Output::Store(command));
        let said = Said { from, batch: stored, first, last, own: false, late, missed };
        core.event(NodeEvent::Batch(Box::new(said)));
    }

    /// Acknowledges everything of a stream up to `last` as soon as it, and all that came before it, is kept.
    pub(super) fn acknowledge_when_kept(
        &mut self,
        core: &mut Core,
        conn: ConnId,
        stream: StreamId,
        last: u64,
    ) {
        let due = Due::Acknowledge { conn, stream, last };
        if let Some(due) = self.journal.when_kept(due) {
            self.is_due(core, due, true);
        }
    }

    /// The history has everything up to a token, for good or until there is room on the disk.
    pub(in crate::proto) fn kept(&mut self, core: &mut Core, token: u64, for_good: bool) {
        for (due, for_good) in self.journal.has(token, for_good) {
            self.is_due(core, due, for_good);
        }
    }

    /// A batch is in the history.
    pub(super) fn is_due(&mut self, core: &mut Core, due: Due, for_good: bool) {
        match due {
            Due::Release { to, epoch, last, .. } => self.release_own(core, (to, epoch), last, for_good),
            // Without an acknowledgement the sender stops after a window.
            Due::Acknowledge { conn, stream, last } if for_good || self.journal.has_room() => {
                self.acknowledge(core, conn, &stream, last, for_good);
            }
            Due::Acknowledge { .. } => {}
        }
    }

    /// An acknowledgement goes over the link over which the batch came, or not at all: over another one it could be
    /// lost while its sender sees no reason to send again.
    fn acknowledge(&mut self, core: &mut Core, conn: ConnId, stream: &StreamId, last: u64, for_good: bool) {
        if stream.author.wire() == Wire::Classic {
            return self.reply(core, &stream.message(last), for_good);
        }
        let everyone = stream.to == Recipient::Everyone;
        let first = Ack { everyone, epoch: stream.epoch, received: 0, kept: 0 };
        let ack = self.acks.entry((conn, everyone, stream.epoch)).or_insert(first);
        ack.received = ack.received.max(last);
        if for_good {
            ack.kept = ack.kept.max(last);
        }
    }

    /// The turn is over: what was said in it goes, and everything taken on in it is acknowledged, once for each stream
    /// and link.
    pub(in crate::proto) fn end_turn(&mut self, core: &mut Core) {
        self.close_batches(core);
        for ((conn, ..), ack) in std::mem::take(&mut self.acks) {
            core.send(conn, &Frame::Ack(ack));
        }
    }

    /// How far the words of an author to everyone count when it goes now: as far as this node has them.
    pub(in crate::proto) fn departed(&self, author: PeerId, now: Timestamp) -> Departed {
        let (counts, newest) = self.peers.get(&author).map(|state| state.inbox.counts()).unwrap_or_default();
        Departed { peer: author, at: now, counts, newest: Timestamp(newest) }
    }

    pub(in crate::proto) fn waits_for_store(&self) -> bool {
        self.journal.waits
    }

    /// False when the messages that wait for room on the disk take all the memory that they may.
    pub(in crate::proto) fn has_room(&self) -> bool {
        self.journal.has_room()
    }

    pub(super) fn network(core: &Core) -> Option<NetworkId> {
        core.network.as_ref().map(|network| network.id)
    }
}

/// How messages are shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    /// Where the first of the batch stands.
    pub(super) place: i64,
    /// When they came, or about when they would have come.
    pub(super) at: Timestamp,
    pub(super) late: bool,
    /// How many are missing before.
    pub(super) missed: u64,
}

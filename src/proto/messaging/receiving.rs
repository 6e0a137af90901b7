//! Receiving: batches of a peer are taken on as fast as the policy allows, shown, kept, and only then acknowledged.
//!
//! It must never acknowledge a message that is not here word for word, whatever its number.

use std::sync::Arc;

use super::{Ask, Messaging, Timer, journal::Due};
use crate::{
    api::{NodeEvent, Said, StoreCommand},
    model::{
        Batch, CloseReason, Departed, Held, PeerId, Recipient, SafeText, StoredBatch, StreamId, Timestamp,
        Wire, limits,
    },
    proto::{
        ConnId,
        group::Group,
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

impl Messaging {
    /// A peer has sent a batch over a link.
    pub(super) fn batch(&mut self, group: &Group, conn: ConnId, peer: PeerId, addressed: Addressed) {
        let batch = &addressed.batch;
        let StreamId { author, to, .. } = batch.stream;
        let is_for_me = to == Recipient::Everyone || to == Recipient::Peer(group.me());
        if author != peer || !is_for_me || !batch.is_lawful() {
            return self.drop_link(conn, CloseReason::ProtocolError);
        }
        if self.refused.contains(&(conn, batch.stream)) {
            return;
        }
        let state = self.peer(group, peer);
        if state.inbox.take_in(conn, addressed).is_err() {
            return self.drop_link(conn, CloseReason::ProtocolError);
        }
        self.release(group, peer);
    }

    /// The last number of a peer's stream that is here.
    pub(in crate::proto) fn last_from(&self, peer: &PeerId, everyone: bool, epoch: u64) -> u64 {
        let spans = self.peers.get(peer).map(|state| state.inbox.spans(everyone, epoch));
        spans.and_then(<[_]>::last).map_or(0, |span| span.to)
    }

    /// A classic peer has sent a message, in which it calls itself so. False when it has sent too much.
    pub(in crate::proto) fn take_in_classic(
        &mut self,
        group: &Group,
        conn: ConnId,
        said: Batch,
        claims: Option<SafeText>,
    ) -> bool {
        let id = said.stream.message(said.first);
        let is_taken = self.peer(group, id.author).inbox.take_in(conn, said.into()).is_ok();
        if let Some(claims) = claims.filter(|_| is_taken) {
            self.claims.insert(id, claims);
        }
        is_taken
    }

    /// Takes on what a peer has sent, as fast as the policy allows.
    pub(in crate::proto) fn release(&mut self, group: &Group, peer: PeerId) {
        loop {
            let Some(state) = self.peers.get_mut(&peer) else { return };
            // Later batches wait for the comparison: it decides what they are.
            if state.comparing.is_some() {
                return;
            }
            match state.inbox.release(self.turn.now.instant) {
                Ok(Some((conn, addressed))) => self.arrived(group, conn, addressed),
                Ok(None) => return,
                Err(wait) => {
                    self.turn.timers.set(Timer::Throttle(peer), self.turn.now.instant + wait);
                    return;
                }
            }
        }
    }

    fn arrived(&mut self, group: &Group, conn: ConnId, addressed: Addressed) {
        let Addressed { roster, batch } = addressed;
        let (stream, first, last) = (batch.stream, batch.first, batch.last());
        let batch = Arc::new(batch);
        match self.take_on(group, &batch, Way::Direct { roster }) {
            Taken::New(missed) => {
                self.acknowledge_when_kept(group, conn, stream, last);
                if missed > 0 {
                    self.ask_for_gap(group, &stream, first, missed);
                }
            }
            Taken::Known => self.compare_received(group, conn, batch),
            Taken::Refused => {}
        }
    }

    /// Shows a batch that is new, and has it kept.
    pub(super) fn take_on(&mut self, group: &Group, batch: &Batch, way: Way) -> Taken {
        let author = batch.stream.author;
        if batch.stream.to == Recipient::Everyone && !group.roster.counts(batch) {
            return Taken::Refused;
        }
        let here = self.places.next(self.turn.now.wall);
        let behind = self.peers.get(&author).map_or(0, |state| state.behind);
        let sent_at = Timestamp(batch.sent_at.0.saturating_add(behind));
        let delay = self.turn.now.wall.since(sent_at);
        let when = match way {
            Way::HandedOn => Some(batch.sent_at.0),
            // A message that has waited stands where it was said, so that all members see the same order.
            Way::Direct { .. } if (limits::DELAYED..limits::UNDELIVERED_FOR).contains(&delay) => {
                Some(sent_at.0)
            }
            Way::Direct { .. } => None,
        };
        // No message stands before its author's admission.
        let when = when.map(|when| group.roster.get(&author).map_or(when, |entry| when.max(entry.since.0)));
        let state = self.peer(group, author);
        let Arrival::New(Arrived { place, missed, next }) = state.inbox.arrive(batch, here, when) else {
            return Taken::Known;
        };
        // A message that was said while there was a link to its author is late: it could have come at once. A link that
        // stalls for longer is given up.
        let could_have_come = when.is_some_and(|when| {
            state.lost_at.is_some_and(|lost| when < lost.0)
                || (delay >= limits::DEAD_AFTER && state.linked_at.is_some_and(|linked| when >= linked.0))
        });
        // What was said to everyone before this session was missed, as if somebody else handed it on.
        let was_missed =
            batch.stream.to == Recipient::Everyone && when.is_some_and(|when| when < self.begun.0.wall.0);
        let late = way == Way::HandedOn || next.is_some() || could_have_come || was_missed;
        let at = if late || when.is_some() { Timestamp(place) } else { self.turn.now.wall };
        self.show(group, batch, (batch.first, batch.last()), Shown { place, at, late, missed });
        if let (Some((sequence, missing)), Some(from)) = (next, group.person(&author)) {
            let before = batch.stream.message(sequence);
            self.turn.event(NodeEvent::Gap { before, from, missing });
        }
        self.note_late(group, batch, way);
        Taken::New(missed)
    }

    /// Host: notes a batch that is addressed by an earlier roster, or may be. Members that were admitted since then lack it,
    /// and may have asked for what they missed before it came.
    fn note_late(&mut self, group: &Group, batch: &Batch, way: Way) {
        let roster = match way {
            Way::Direct { roster } => roster,
            Way::HandedOn => 0,
        };
        let StreamId { author, epoch, to } = batch.stream;
        let is_late = roster < group.roster.version() && to == Recipient::Everyone;
        if !is_late || author.wire() == Wire::Classic || group.host() != Some(group.me()) {
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

    /// Tells the front end of messages, and has them kept.
    pub(super) fn show(&mut self, group: &Group, batch: &Batch, range: Range, shown: Shown) {
        let (first, last) = range;
        let author = batch.stream.author;
        let (Some(network), Some(from)) = (group.network_id(), group.person(&author)) else { return };
        let Shown { place, at, late, missed } = shown;
        let everyone = batch.stream.to == Recipient::Everyone;
        let state = self.peer(group, author);
        let spans = state.inbox.spans(everyone, batch.stream.epoch).to_vec();
        let last_place = place.saturating_add(batch.count().cast_signed() - 1);
        self.places.stood_at(last_place, self.turn.now.wall);
        let stored = Arc::new(StoredBatch {
            batch: batch.clone(),
            alias: from.alias.clone(),
            at,
            place,
            references: Vec::new(),
            claims: self.claims.remove(&batch.stream.message(batch.first)),
        });
        let token = self.journal.give(batch.count(), batch.bytes());
        let command = StoreCommand::Keep { token, network, batch: stored.clone(), spans };
        self.turn.store(command);
        let said = Said { from, batch: stored, first, last, own: false, late, missed };
        self.turn.event(NodeEvent::Batch(Box::new(said)));
    }

    /// Acknowledges everything of a stream up to `last` as soon as it, and all that came before it, is kept.
    pub(super) fn acknowledge_when_kept(&mut self, group: &Group, conn: ConnId, stream: StreamId, last: u64) {
        let due = Due::Acknowledge { conn, stream, last };
        if let Some(due) = self.journal.when_kept(due) {
            self.is_due(group, due, true);
        }
    }

    /// The history has everything up to a token, for good or until there is room on the disk.
    pub(in crate::proto) fn kept(&mut self, group: &Group, token: u64, for_good: bool) {
        for (due, for_good) in self.journal.has(token, for_good) {
            self.is_due(group, due, for_good);
        }
    }

    /// A batch is in the history.
    pub(super) fn is_due(&mut self, group: &Group, due: Due, for_good: bool) {
        match due {
            Due::Release { to, epoch, last, .. } => self.release_own(group, (to, epoch), last, for_good),
            // Without an acknowledgement the sender stops after a window.
            Due::Acknowledge { conn, stream, last } if for_good || self.journal.has_room() => {
                self.acknowledge(conn, &stream, last, for_good);
            }
            Due::Acknowledge { .. } => {}
        }
    }

    /// An acknowledgement goes over the link over which the batch came, or not at all: over another one it could be
    /// lost while its sender sees no reason to send again.
    fn acknowledge(&mut self, conn: ConnId, stream: &StreamId, last: u64, for_good: bool) {
        if stream.author.wire() == Wire::Classic {
            if for_good {
                self.turn.ask(Ask::Kept(stream.message(last)));
            }
            return;
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
    pub(in crate::proto) fn end_turn(&mut self, group: &Group) {
        self.close_batches(group);
        for ((conn, ..), ack) in std::mem::take(&mut self.acks) {
            self.turn.send(conn, &Frame::Ack(ack));
        }
        if !self.late.is_empty() {
            self.turn.ask(Ask::Late(std::mem::take(&mut self.late)));
        }
    }

    /// How far the words of an author to everyone count when it goes now: as far as this node has them.
    pub(in crate::proto) fn departed(&self, author: &PeerId) -> Departed {
        let (counts, newest) = self.peers.get(author).map(|state| state.inbox.counts()).unwrap_or_default();
        Departed {
            peer: *author,
            at: self.turn.now.wall,
            counts,
            newest: Timestamp(newest),
            alias: None,
            is_out: false,
        }
    }

    pub(in crate::proto) fn waits_for_store(&self) -> bool {
        self.journal.waits
    }

    /// False when the messages that wait for room on the disk take all the memory that they may.
    pub(in crate::proto) fn has_room(&self) -> bool {
        self.journal.has_room()
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

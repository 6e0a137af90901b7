//! Sending: the texts of a turn become one batch for each audience, the batch is kept, and then it goes to each
//! recipient until it has it for good.
//!
//! Nothing leaves before the history has it: what a crash forgets has been sent to nobody.

use std::sync::Arc;

use super::{Ask, LogKey, Messaging, Timer, feeding::Lacking, journal::Due};
use crate::{
    api::{Audience, NodeEvent, Progress, Receipt, Said, StoreCommand},
    model::{
        Batch, CloseReason, DeliveryStatus, FailReason, MessageId, Moment, PeerId, Recipient, Resolution,
        SafeText, SendError, StoredBatch, StreamId, Timestamp, Wire, limits,
    },
    proto::{
        group::Group,
        log::{Entry, Log, Next, Range},
    },
    security::sign,
    wire::{Ack, Frame},
};

/// Texts of this turn for one audience.
#[derive(Debug)]
pub(super) struct Growing {
    /// The roster by which they are addressed.
    pub(super) roster: u64,
    pub(super) at: Moment,
    pub(super) texts: Vec<SafeText>,
    pub(super) references: Vec<Option<Arc<str>>>,
    pub(super) bytes: usize,
}

/// What became of messages, for one recipient.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fate {
    status: DeliveryStatus,
    /// Why they failed.
    reason: Option<FailReason>,
}

impl From<DeliveryStatus> for Fate {
    fn from(status: DeliveryStatus) -> Self {
        Self { status, reason: None }
    }
}

/// A text as it is sent: cleaned, and not too long.
pub(in crate::proto) fn check_text(text: &str) -> Result<SafeText, SendError> {
    let text = SafeText::clean(text);
    match text.as_str().len() {
        0 => Err(SendError::Empty),
        bytes if bytes > limits::TEXT_BYTES => Err(SendError::TooLong(bytes)),
        _ => Ok(text),
    }
}

impl Messaging {
    /// Takes a text for sending, or says why not. The number that it gets is final.
    pub(in crate::proto) fn send(
        &mut self,
        group: &Group,
        to: Recipient,
        text: SafeText,
        reference: Option<Arc<str>>,
    ) -> Result<MessageId, SendError> {
        if !self.journal.has_room() {
            return Err(SendError::NoRoom);
        }
        let size = text.as_str().len();
        self.begin_stream(group, to);
        let is_full = self.growing.get(&to).is_some_and(|growing| {
            growing.bytes + size > limits::BATCH_BYTES || growing.texts.len() >= limits::BATCH_MESSAGES
        });
        if is_full {
            self.close_batch(group, to);
        }
        let growing = self.growing.entry(to).or_insert_with(|| Growing {
            roster: group.roster.version(),
            at: self.turn.now,
            texts: Vec::new(),
            references: Vec::new(),
            bytes: 0,
        });
        growing.bytes += size;
        growing.texts.push(text);
        growing.references.push(reference);
        let (count, (_, epoch)) = (growing.texts.len() as u64, self.current(to));
        let before = self.logs.get(&(to, epoch)).map_or(0, Log::last);
        Ok(MessageId { author: group.me(), epoch, to, sequence: before + count })
    }

    /// The stream in which the next message to this audience is said.
    pub(super) fn current(&self, to: Recipient) -> LogKey {
        let newest = self.logs.range((to, 0)..=(to, u64::MAX)).next_back().map(|((_, epoch), _)| *epoch);
        (to, newest.map_or(self.epoch, |newest| newest.max(self.epoch)))
    }

    /// Whom a stream is for is known from its beginning.
    fn begin_stream(&mut self, group: &Group, to: Recipient) {
        let key = self.current(to);
        if self.logs.contains_key(&key) {
            return;
        }
        let mut log = Log::new(StreamId { author: group.me(), epoch: key.1, to }, self.limits.log_bytes);
        Self::address_all(group, &mut log, self.turn.now.wall);
        self.logs.insert(key, log);
    }

    /// Addresses what is said next to the peer of a direct stream, or to everybody in the roster and those who are away.
    pub(super) fn address_all(group: &Group, log: &mut Log, at: Timestamp) {
        match log.id().to {
            Recipient::Peer(peer) => log.address(peer, at),
            Recipient::Everyone => {
                let me = group.me();
                for entry in group.roster.entries().filter(|entry| entry.peer_id != me) {
                    log.address(entry.peer_id, at);
                }
                for peer in group.awaited(at) {
                    log.let_wait(peer, at);
                }
            }
        }
    }

    /// The turn ends, or whom the messages are for is about to change: what was said goes.
    pub(in crate::proto) fn close_batches(&mut self, group: &Group) {
        let open: Vec<Recipient> = self.growing.keys().copied().collect();
        for to in open {
            self.close_batch(group, to);
        }
    }

    fn close_batch(&mut self, group: &Group, to: Recipient) {
        let Some(mut said) = self.growing.remove(&to) else { return };
        let key = self.current(to);
        if said.references.iter().all(Option::is_none) {
            said.references.clear();
        }
        let sent_at = said.at.wall;
        self.say_batch(group, key, said, sent_at);
    }

    /// Makes the next batch of a stream, and has it kept.
    pub(super) fn say_batch(&mut self, group: &Group, key: LogKey, said: Growing, sent_at: Timestamp) {
        let Growing { roster, at: now, texts, references, .. } = said;
        let (Some(network), Some(log)) = (group.network_id(), self.logs.get_mut(&key)) else { return };
        let mut batch = Batch { stream: log.id(), first: log.last() + 1, sent_at, texts, signature: None };
        if key.0 == Recipient::Everyone {
            batch.signature = Some(sign::batch(&group.identity, &network, &batch));
        }
        let (last, count) = (batch.last(), batch.count());
        let place = self.places.take(count, self.turn.now.wall);
        let frame = Frame::encode_batch(roster, &batch);
        let bytes = frame.len() + limits::BATCH_BESIDE;
        let alias = group.alias.clone();
        let batch = Arc::new(StoredBatch { batch, alias, at: now.wall, place, references, claims: None });
        log.push(Entry { batch: batch.clone(), frame }, self.begun.steady(now));
        let spans = vec![log.span()];
        self.keep_audience(group, key);
        let token = self.journal.give(count, bytes);
        self.turn.store(StoreCommand::Keep { token, network, batch, spans });
        let due = Due::Release { to: key.0, epoch: key.1, last, bytes };
        if let Some(due) = self.journal.when_kept(due) {
            self.is_due(group, due, true);
        }
    }

    /// This node comes back to its host, which may be a restarted one.
    pub(in crate::proto) fn forget_rosters(&mut self) {
        self.logs.values_mut().for_each(Log::forget_rosters);
    }

    /// The history is told whom a stream is for, where that has changed.
    pub(super) fn keep_audience(&mut self, group: &Group, key: LogKey) {
        let (Some(network), Some(log)) = (group.network_id(), self.logs.get_mut(&key)) else { return };
        let intervals = log.take_unsaved(|peer| group.alias_of(peer));
        if !intervals.is_empty() {
            let audience = Audience { network, stream: log.id(), intervals };
            self.turn.store(StoreCommand::Audience(Box::new(audience)));
        }
    }

    /// Own messages are in the history: now they may leave.
    pub(super) fn release_own(&mut self, group: &Group, key: LogKey, last: u64, for_good: bool) {
        let Some(log) = self.logs.get_mut(&key) else { return };
        let new = log.release(last, for_good);
        let (Some(from), false) = (group.person(&group.me()), new.is_empty()) else { return };
        for Entry { batch, .. } in &new {
            let (first, last) = (batch.batch.first, batch.batch.last());
            let (from, batch) = (from.clone(), batch.clone());
            let said = Said { from, batch, first, last, own: true, late: false, missed: 0 };
            self.turn.event(NodeEvent::Batch(Box::new(said)));
        }
        let readers: Vec<PeerId> = log.readers().collect();
        let first = new.first().map_or(last, |entry| entry.batch.batch.first);
        for peer in readers {
            self.pump(group, peer);
            let Some(log) = self.logs.get(&key) else { return };
            let sent = log.cursor(&peer).map_or(0, |cursor| cursor.sent);
            for range in log.waiting(&peer, (first.max(sent + 1), last)) {
                self.tell(group, key, &peer, range, DeliveryStatus::Queued.into());
            }
        }
        self.expire_later();
    }

    /// A recipient says how far it has come.
    pub(super) fn acknowledged(&mut self, group: &Group, peer: PeerId, ack: &Ack) {
        let to = if ack.everyone { Recipient::Everyone } else { Recipient::Peer(peer) };
        let key = (to, ack.epoch);
        let Some(log) = self.logs.get_mut(&key) else { return };
        let (for_good, for_now) = log.acknowledged(&peer, ack.received, ack.kept);
        let up_to = log.cursor(&peer).map_or(0, |cursor| cursor.kept);
        if let Some(state) = self.peers.get_mut(&peer) {
            state.window.acknowledged((ack.everyone, ack.epoch), ack.received.max(ack.kept));
            if !for_good.is_empty() {
                // Only what arrives proves that a link is of use.
                self.turn.ask(Ask::Arrived(peer));
                state.notified = false;
                // A classic peer takes one at a time: nobody waits for it.
                if peer.wire() == Wire::Native {
                    state.progressed = Some(self.turn.now.instant);
                }
            }
        }
        if !for_good.is_empty() {
            self.keep_receipt(group, key, peer, up_to);
        }
        for range in for_good {
            self.tell(group, key, &peer, range, DeliveryStatus::Delivered.into());
        }
        for range in for_now {
            self.tell(group, key, &peer, range, DeliveryStatus::Queued.into());
        }
        self.settle_log(key);
    }

    /// A classic peer has said that it has a message.
    pub(in crate::proto) fn classic_acknowledged(
        &mut self,
        group: &Group,
        (to, epoch): LogKey,
        peer: PeerId,
        sequence: u64,
    ) {
        if let Some(log) = self.logs.get_mut(&(to, epoch)) {
            log.sent(&peer, sequence);
            let ack = Ack { everyone: to == Recipient::Everyone, epoch, received: sequence, kept: sequence };
            self.acknowledged(group, peer, &ack);
        }
    }

    /// The next message for a classic peer, of the oldest stream that has one.
    pub(in crate::proto) fn next_text(
        &mut self,
        group: &Group,
        peer: &PeerId,
    ) -> Option<(LogKey, u64, SafeText)> {
        self.logs_for(peer).into_iter().find_map(|key| {
            let entry = self.next_entry(group, key, peer)?;
            let sequence = self.logs.get(&key)?.next_number(peer)?;
            Some((key, sequence, entry.batch.batch.text(sequence)?.clone()))
        })
    }

    pub(super) fn keep_receipt(&mut self, group: &Group, key: LogKey, peer: PeerId, up_to: u64) {
        let (Some(network), Some(log)) = (group.network_id(), self.logs.get(&key)) else { return };
        let receipt = Receipt { network, stream: log.id(), peer, up_to, at: self.turn.now.wall };
        self.turn.store(StoreCommand::Receipt(Box::new(receipt)));
    }

    /// A stream of which nobody needs anything is let go, unless something may still be said in it.
    pub(super) fn settle_log(&mut self, key: LogKey) {
        let Some(log) = self.logs.get_mut(&key) else { return };
        log.settle();
        if log.is_settled() && self.current(key.0) != key {
            self.logs.remove(&key);
        }
    }

    /// Nothing more up to a number goes to a peer: it is said that it will not arrive, where that is certain.
    pub(super) fn fail_up_to(
        &mut self,
        group: &Group,
        key: LogKey,
        peer: &PeerId,
        up_to: u64,
        reason: FailReason,
    ) {
        let is_final = matches!(reason, FailReason::Closed(closed) if closed.is_removal());
        if key.0 == Recipient::Everyone && peer.wire() == Wire::Native && !group.is_member(peer) && !is_final
        {
            // Whoever is away may still get it, from anybody who has it.
            return self.resolve(group, key, peer, up_to, Resolution::Sent);
        }
        let Some(log) = self.logs.get_mut(&key) else { return };
        let (sent, failed) = log.give_up(peer, up_to, reason, self.turn.now.wall);
        self.resolved(group, key, peer, sent, Resolution::Sent);
        self.resolved(group, key, peer, failed, Resolution::Failed(reason));
        self.settle_log(key);
    }

    /// The last word on everything up to a number that a peer has not got.
    pub(in crate::proto) fn resolve(
        &mut self,
        group: &Group,
        key: LogKey,
        peer: &PeerId,
        up_to: u64,
        resolution: Resolution,
    ) {
        let Some(log) = self.logs.get_mut(&key) else { return };
        let ranges = log.resolve(peer, up_to, resolution, self.turn.now.wall);
        self.resolved(group, key, peer, ranges, resolution);
        self.settle_log(key);
    }

    /// The last word on some messages is spoken: it is kept, and told.
    fn resolved(
        &mut self,
        group: &Group,
        key: LogKey,
        peer: &PeerId,
        ranges: Vec<Range>,
        resolution: Resolution,
    ) {
        if ranges.is_empty() {
            return;
        }
        let fate = match resolution {
            Resolution::Failed(reason) => Fate { status: DeliveryStatus::Failed, reason: Some(reason) },
            Resolution::Sent => DeliveryStatus::Sent.into(),
        };
        self.keep_audience(group, key);
        for range in ranges {
            self.tell(group, key, peer, range, fate);
        }
    }

    /// Nothing that waits for a peer will arrive.
    pub(in crate::proto) fn fail_all(&mut self, group: &Group, peer: PeerId, reason: FailReason) {
        for key in self.logs_for(&peer) {
            self.fail_up_to(group, key, &peer, u64::MAX, reason);
        }
        if let Some(state) = self.peers.get_mut(&peer) {
            state.window.clear();
            state.lacking = Lacking::default();
        }
    }

    /// Tells what became of some messages, for one recipient.
    pub(super) fn tell(&mut self, group: &Group, key: LogKey, peer: &PeerId, range: Range, fate: Fate) {
        let (Some(log), Some(peer)) = (self.logs.get(&key), group.person(peer)) else { return };
        let (first, last) = range;
        let (summaries, references) = (log.summaries(range), log.references(range));
        let stream = log.id();
        let Fate { status, reason } = fate;
        let progress = Progress { stream, first, last, peer, status, reason, summaries, references };
        self.turn.event(NodeEvent::Progress(Box::new(progress)));
    }

    /// Tells that everything that a peer has not got waits.
    pub(super) fn tell_waiting(&mut self, group: &Group, peer: &PeerId) {
        for key in self.logs_for(peer) {
            let Some(log) = self.logs.get(&key) else { continue };
            for range in log.pending(peer) {
                self.tell(group, key, peer, range, DeliveryStatus::Queued.into());
            }
        }
    }

    /// Nothing waits for longer than [`limits::UNDELIVERED_FOR`].
    pub(in crate::proto) fn expire(&mut self, group: &Group) {
        let oldest = Timestamp(self.begun.steady(self.turn.now).0.saturating_sub(undelivered_for()));
        for key in self.logs.keys().copied().collect::<Vec<_>>() {
            let Some(log) = self.logs.get_mut(&key) else { continue };
            let up_to = log.take_older(oldest);
            if up_to == 0 {
                continue;
            }
            for peer in log.readers().collect::<Vec<_>>() {
                self.fail_up_to(group, key, &peer, up_to, FailReason::Expired);
            }
        }
        self.expire_later();
    }

    pub(super) fn expire_later(&mut self) {
        let Some(oldest) = self.logs.values().filter_map(Log::oldest).min() else { return };
        if !self.turn.timers.is_set(Timer::Expire) {
            let due = Timestamp(oldest.0.saturating_add(undelivered_for()));
            self.turn
                .timers
                .set(Timer::Expire, self.turn.now.instant + due.since(self.begun.steady(self.turn.now)));
        }
    }

    /// True while whoever sends had better wait: for the disk; or, where the history is in memory and lets go of what
    /// is too much, for the quickest of the recipients that take anything.
    pub(in crate::proto) fn is_pressed(&mut self) -> bool {
        let growing: usize = self.growing.values().map(|growing| growing.bytes).sum();
        if self.journal.is_pressed() || growing > self.limits.unkept_bytes {
            return true;
        }
        if self.journal.waits {
            return false;
        }
        let until = self.logs.values().filter_map(|log| self.pressed_by(log, self.turn.now)).max();
        if let Some(until) = until {
            self.turn.timers.set(Timer::Pressed, until);
        }
        until.is_some()
    }

    /// Until when a stream presses if nobody makes progress.
    fn pressed_by(&self, log: &Log, now: Moment) -> Option<std::time::Instant> {
        if !log.is_long() {
            return None;
        }
        let mut until = None;
        for peer in log.readers() {
            let Some(progressed) = self.peers.get(&peer).and_then(|state| state.progressed) else { continue };
            let patience = progressed + limits::PROGRESS;
            if patience < now.instant {
                continue;
            }
            if !matches!(log.next_for(&peer), Next::History(..)) {
                return None;
            }
            until = until.max(Some(patience + std::time::Duration::from_millis(1)));
        }
        until
    }

    /// True while something could still reach a member.
    pub(in crate::proto) fn has_deliverable(&self, group: &Group) -> bool {
        let is_open = |log: &Log| log.readers().any(|peer| group.is_member(&peer) && log.is_pending(&peer));
        self.journal.has_own() || !self.growing.is_empty() || self.logs.values().any(is_open)
    }

    /// Own messages of this session that somebody does not have for whom they are, and may still get: not those to everyone
    /// that were said while it was away.
    pub(in crate::proto) fn undelivered(&self) -> u64 {
        let of_this_session = self.logs.iter().filter(|((_, epoch), _)| *epoch >= self.epoch);
        let waiting = |log: &Log| {
            let mut ranges: Vec<Range> = log.readers().flat_map(|peer| log.owed(&peer)).collect();
            ranges.sort_unstable();
            // What several recipients lack counts once.
            let (mut count, mut counted) = (0, 0);
            for (first, last) in ranges {
                count += (last + 1).saturating_sub(first.max(counted + 1));
                counted = counted.max(last);
            }
            count
        };
        let growing: usize = self.growing.values().map(|growing| growing.texts.len()).sum();
        of_this_session.map(|(_, log)| waiting(log)).sum::<u64>() + growing as u64
    }

    /// The session ends. What is on disk waits for the next one; of everything else it is said that it will not
    /// arrive.
    pub(in crate::proto) fn give_up(&mut self, group: &Group, reason: CloseReason) {
        self.end_turn(group);
        let is_final = reason.is_removal();
        if self.journal.waits && !is_final {
            return;
        }
        let peers: std::collections::BTreeSet<PeerId> = self.logs.values().flat_map(Log::readers).collect();
        for peer in peers {
            self.fail_all(group, peer, reason.into());
        }
    }
}

fn undelivered_for() -> i64 {
    i64::try_from(limits::UNDELIVERED_FOR.as_micros()).unwrap_or(i64::MAX)
}

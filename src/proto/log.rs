//! An own stream: its newest batches, whom they are for, and how far each recipient has come.
//!
//! There is no queue for a recipient: one that is away, slow or stalled costs a cursor, and is given what it lacks from
//! the history. This part knows no link and no clock; it must never give out what the history does not have yet, or
//! let go of what only it has.

pub mod audience;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;

pub use self::audience::Audience;
use crate::{
    model::{
        Addressee, Alias, DeliveryStatus, FailReason, Interval, OwnStream, PeerId, Resolution, Span,
        StoredBatch, StreamId, Summary, Timestamp, limits,
    },
    wire::Frame,
};

/// How far one recipient has come. Each number covers all messages before it that are addressed to the recipient.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The last number that was sent over the present link.
    pub sent: u64,
    /// The last number that was ever sent. What was sent may arrive, whatever happens.
    pub tried: u64,
    /// The last number that the recipient has, at least until its program ends.
    pub received: u64,
    /// The last number that the recipient has for good.
    pub kept: u64,
}

/// A recipient.
#[derive(Debug, Default)]
struct Reader {
    audience: Audience,
    cursor: Cursor,
    /// It is away: messages from this number on were said meanwhile.
    away_from: Option<u64>,
}

/// A batch in memory, as it is kept and as it travels.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What it says.
    pub batch: Arc<StoredBatch>,
    /// Its frame.
    pub frame: Bytes,
}

impl Entry {
    fn last(&self) -> u64 {
        self.batch.batch.last()
    }

    /// Bytes that it takes in memory, about.
    fn size(&self) -> usize {
        let batch = &self.batch.batch;
        self.frame.len() + batch.bytes() + limits::BATCH_BESIDE + limits::MESSAGE_BESIDE * batch.texts.len()
    }
}

/// What a recipient is to be sent next.
#[derive(Debug)]
pub enum Next {
    /// Nothing that may leave.
    Nothing,
    /// This batch.
    Batch(Entry),
    /// The messages with these numbers, which only the history has.
    History(u64, u64),
}

/// Numbers `first..=last`.
pub type Range = (u64, u64);

/// An own stream.
#[derive(Debug)]
pub struct Log {
    id: StreamId,
    /// The newest batches, in order.
    entries: VecDeque<Entry>,
    bytes: usize,
    /// How many of them may stay although the history has them too.
    most_bytes: usize,
    last: u64,
    /// Its numbers and their places.
    span: Span,
    /// The history has everything up to here, at least until the program ends: it may leave.
    released: u64,
    /// The history has everything up to here for good: it need not be here.
    kept: u64,
    readers: BTreeMap<PeerId, Reader>,
    /// When messages were said, in steps of [`limits::AGE_STEP`]: the last number of each, and its time.
    ages: VecDeque<(u64, Timestamp)>,
    /// When the newest step began.
    step: Timestamp,
    /// The sender's own names for messages that somebody has not got.
    references: BTreeMap<u64, Arc<str>>,
    references_bytes: usize,
}

impl Log {
    /// A stream in which nothing was said, and so many bytes that may stay in memory.
    #[must_use]
    pub fn new(id: StreamId, most_bytes: usize) -> Self {
        Self {
            id,
            most_bytes,
            entries: VecDeque::new(),
            bytes: 0,
            last: 0,
            span: Span { from: 1, to: 0, first: 0, last: 0 },
            released: 0,
            kept: 0,
            readers: BTreeMap::new(),
            ages: VecDeque::new(),
            step: Timestamp(0),
            references: BTreeMap::new(),
            references_bytes: 0,
        }
    }

    /// A stream of an earlier session: nothing is added to it, and all of it is in the history.
    #[must_use]
    pub fn recalled(stream: &OwnStream) -> Self {
        let mut log = Self::new(stream.id, 0);
        (log.last, log.released, log.kept) = (stream.last, stream.last, stream.last);
        for Addressee { peer, intervals, kept, .. } in &stream.addressees {
            let audience = Audience::recalled(intervals.clone(), stream.last);
            // What was sent before a crash is not known.
            let cursor = Cursor { sent: *kept, tried: stream.last, received: *kept, kept: *kept };
            log.readers.insert(*peer, Reader { audience, cursor, away_from: None });
        }
        log.ages = stream.ages.iter().copied().collect();
        for (sequence, reference) in &stream.references {
            log.name(*sequence, reference.clone());
        }
        log
    }

    /// Which stream it is.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// The last number; 0 when nothing was said.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Its numbers and their places.
    #[must_use]
    pub fn span(&self) -> Span {
        self.span
    }

    /// Addresses later messages to this peer too.
    pub fn address(&mut self, peer: PeerId, at: Timestamp) {
        let reader = self.readers.entry(peer).or_default();
        reader.audience.open(self.last + 1, at);
        reader.away_from = None;
    }

    /// The peer is away: later messages wait for it.
    pub fn let_wait(&mut self, peer: PeerId, at: Timestamp) {
        let next = self.last + 1;
        let reader = self.readers.entry(peer).or_default();
        reader.audience.open(next, at);
        reader.away_from.get_or_insert(next);
    }

    /// Addresses no later messages to this peer.
    pub fn dismiss(&mut self, peer: &PeerId) {
        if let Some(reader) = self.readers.get_mut(peer) {
            reader.audience.close(self.last);
        }
    }

    /// Addresses only these numbers to this peer.
    pub fn address_only(&mut self, peer: PeerId, (first, last): Range, at: Timestamp) {
        let audience = &mut self.readers.entry(peer).or_default().audience;
        audience.close(first.saturating_sub(1));
        audience.open(first, at);
        audience.close(last);
    }

    /// Takes the next batch, which begins where the one before ended and was said `at` that time of a clock that only
    /// goes forward.
    pub fn push(&mut self, entry: Entry, at: Timestamp) {
        let StoredBatch { batch, references, place, .. } = &*entry.batch;
        let first_place = if self.last == 0 { *place } else { self.span.first };
        self.last = batch.last();
        self.span =
            Span { from: 1, to: self.last, first: first_place, last: entry.batch.place_of(self.last) };
        match self.ages.back_mut() {
            Some(newest) if at.since(self.step) < limits::AGE_STEP => {
                *newest = (self.last, at);
            }
            _ => {
                self.step = at;
                self.ages.push_back((self.last, at));
            }
        }
        for (sequence, reference) in (batch.first..).zip(references) {
            if let Some(reference) = reference {
                self.name(sequence, reference.clone());
            }
        }
        self.bytes += entry.size();
        self.entries.push_back(entry);
    }

    fn name(&mut self, sequence: u64, reference: Arc<str>) {
        self.references_bytes += reference.len() + limits::REFERENCE_BYTES;
        self.references.insert(sequence, reference);
        while self.references_bytes > limits::REFERENCES_BYTES
            && let Some((_, oldest)) = self.references.pop_first()
        {
            self.references_bytes -= oldest.len() + limits::REFERENCE_BYTES;
        }
    }

    /// The history has everything up to `last`, for good or until the program ends. Gives the batches that may leave
    /// now and could not before.
    pub fn release(&mut self, last: u64, for_good: bool) -> Vec<Entry> {
        let from = self.entries.partition_point(|entry| entry.last() <= self.released);
        let new = self.entries.iter().skip(from).take_while(|entry| entry.last() <= last);
        let new = new.cloned().collect();
        self.released = self.released.max(last);
        if for_good {
            self.kept = self.kept.max(last);
            self.trim();
        }
        new
    }

    /// Lets go of batches that all recipients have, and of those beyond the memory's limit that the history has too.
    fn trim(&mut self) {
        let needed = self.needed();
        while let Some(oldest) = self.entries.front() {
            let last = oldest.last();
            if last > self.kept || (last >= needed && self.bytes <= self.most_bytes) {
                break;
            }
            self.bytes -= oldest.size();
            self.entries.pop_front();
        }
    }

    /// The first number that somebody has not got, as far as it may leave.
    fn needed(&self) -> u64 {
        let first = |reader: &Reader| reader.audience.pending(reader.cursor.kept, u64::MAX).next();
        let firsts = self.readers.values().filter_map(|reader| first(reader).map(|(first, _)| first));
        firsts.min().unwrap_or(u64::MAX)
    }

    /// What a peer is to be sent next.
    #[must_use]
    pub fn next_for(&self, peer: &PeerId) -> Next {
        let Some(reader) = self.readers.get(peer) else { return Next::Nothing };
        let Some((first, last)) = reader.audience.pending(reader.cursor.sent, self.released).next() else {
            return Next::Nothing;
        };
        let at = self.entries.partition_point(|entry| entry.last() < first);
        match self.entries.get(at).filter(|entry| entry.batch.batch.first <= first) {
            Some(entry) => Next::Batch(entry.clone()),
            None => Next::History(first, last),
        }
    }

    /// The first number that a peer was not sent and that may leave.
    #[must_use]
    pub fn next_number(&self, peer: &PeerId) -> Option<u64> {
        let reader = self.readers.get(peer)?;
        reader.audience.pending(reader.cursor.sent, self.released).next().map(|(first, _)| first)
    }

    /// A peer was sent everything up to `last`.
    pub fn sent(&mut self, peer: &PeerId, last: u64) {
        if let Some(reader) = self.readers.get_mut(peer) {
            reader.cursor.sent = reader.cursor.sent.max(last);
            reader.cursor.tried = reader.cursor.tried.max(last);
        }
    }

    /// The link to a peer is gone: what it has not acknowledged for good goes again.
    pub fn link_lost(&mut self, peer: &PeerId) {
        if let Some(Reader { cursor, .. }) = self.readers.get_mut(peer) {
            (cursor.sent, cursor.received) = (cursor.kept, cursor.kept);
        }
    }

    /// A peer has everything that was sent to it up to `received`, and for good up to `kept`. Gives the ranges that it
    /// has now and had not before: those for good, and those not for good.
    pub fn acknowledged(&mut self, peer: &PeerId, received: u64, kept: u64) -> (Vec<Range>, Vec<Range>) {
        let Some(Reader { audience, cursor, .. }) = self.readers.get_mut(peer) else {
            return Default::default();
        };
        // Nobody has what was not sent to it.
        let (received, kept) = (received.max(kept).min(cursor.sent), kept.min(cursor.sent));
        let for_good = audience.pending(cursor.kept, kept).collect();
        let for_now = audience.pending(cursor.received.max(kept), received).collect();
        cursor.kept = cursor.kept.max(kept);
        cursor.received = cursor.received.max(received);
        (for_good, for_now)
    }

    /// The host counts versions of the roster anew, and may have gone back: nobody knows any more by which one earlier
    /// messages are addressed.
    pub fn forget_rosters(&mut self) {
        for entry in &mut self.entries {
            entry.frame = Frame::encode_batch(0, &entry.batch.batch);
        }
        self.bytes = self.entries.iter().map(Entry::size).sum();
    }

    /// Lets go of what nobody needs any more after an acknowledgement or a resolution.
    pub fn settle(&mut self) {
        self.trim();
        if !self.references.is_empty() {
            let later = self.references.split_off(&self.needed());
            for done in std::mem::replace(&mut self.references, later).into_values() {
                self.references_bytes -= done.len() + limits::REFERENCE_BYTES;
            }
        }
    }

    /// Resolves everything up to `up_to` that a peer has not got. Gives the ranges that were pending.
    pub fn resolve(
        &mut self,
        peer: &PeerId,
        up_to: u64,
        resolution: Resolution,
        at: Timestamp,
    ) -> Vec<Range> {
        let Some(Reader { audience, cursor, .. }) = self.readers.get_mut(peer) else { return Vec::new() };
        let up_to = up_to.min(self.last);
        let pending: Vec<Range> = audience.pending(cursor.kept, up_to).collect();
        for (first, last) in &pending {
            audience.resolve(*first, *last, resolution, at);
        }
        if !pending.is_empty() {
            cursor.kept = cursor.kept.max(up_to);
            cursor.received = cursor.received.max(cursor.kept);
            cursor.sent = cursor.sent.max(cursor.kept);
        }
        pending
    }

    /// Gives up on a peer, up to a number: what was sent to it before stays `sent`, since it may have arrived, and the rest
    /// has failed. Gives the ranges of both.
    pub fn give_up(
        &mut self,
        peer: &PeerId,
        up_to: u64,
        reason: FailReason,
        at: Timestamp,
    ) -> (Vec<Range>, Vec<Range>) {
        let tried = self.readers.get(peer).map_or(0, |reader| reader.cursor.tried).min(up_to);
        let sent = self.resolve(peer, tried, Resolution::Sent, at);
        (sent, self.resolve(peer, up_to, Resolution::Failed(reason), at))
    }

    /// Everything that a peer has not got of what was said while it was here.
    #[must_use]
    pub fn owed(&self, peer: &PeerId) -> Vec<Range> {
        let away_from = self.readers.get(peer).and_then(|reader| reader.away_from);
        self.waiting(peer, (1, away_from.map_or(self.last, |from| from - 1)))
    }

    /// Everything that a peer has not got.
    #[must_use]
    pub fn pending(&self, peer: &PeerId) -> Vec<Range> {
        self.waiting(peer, (1, self.last))
    }

    /// True when a peer has not got everything.
    #[must_use]
    pub fn is_pending(&self, peer: &PeerId) -> bool {
        let pending =
            |reader: &Reader| reader.audience.pending(reader.cursor.kept, self.last).next().is_some();
        self.readers.get(peer).is_some_and(pending)
    }

    /// Everybody to whom messages of the stream are or were addressed.
    pub fn readers(&self) -> impl Iterator<Item = PeerId> {
        self.readers.keys().copied()
    }

    /// How far a peer has come.
    #[must_use]
    pub fn cursor(&self, peer: &PeerId) -> Option<Cursor> {
        self.readers.get(peer).map(|reader| reader.cursor)
    }

    /// True when nothing is pending for anybody.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.readers.keys().all(|peer| !self.is_pending(peer))
    }

    /// The last number that was said no later than `time`, by steps of [`limits::AGE_STEP`].
    pub fn take_older(&mut self, time: Timestamp) -> u64 {
        let mut up_to = 0;
        while let Some((last, _)) = self.ages.front().copied().filter(|(_, at)| *at <= time) {
            up_to = last;
            self.ages.pop_front();
        }
        up_to
    }

    /// When the oldest messages were said that may still be pending.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        self.ages.front().map(|(_, at)| *at)
    }

    /// How many recipients have the messages of a range. Each summary holds up to its number.
    #[must_use]
    pub fn summaries(&self, (first, last): Range) -> Vec<(u64, Summary)> {
        let mut ends = vec![last];
        let mut end = |number: u64| {
            if (first..last).contains(&number) {
                ends.push(number);
            }
        };
        for Reader { audience, cursor, .. } in self.readers.values() {
            end(cursor.kept);
            for interval in audience.intervals() {
                end(interval.first - 1);
                end(interval.last.unwrap_or(u64::MAX));
            }
        }
        ends.sort_unstable();
        ends.dedup();
        ends.into_iter().map(|number| (number, self.summary(number))).collect()
    }

    /// How many recipients have a message.
    #[must_use]
    pub fn summary(&self, sequence: u64) -> Summary {
        let mut summary = Summary::default();
        for peer in self.readers.keys() {
            if let Some((status, _)) = self.status(peer, sequence) {
                summary.total += 1;
                summary.delivered += u32::from(status == DeliveryStatus::Delivered);
            }
        }
        summary
    }

    /// How far a message has come on its way to a peer that it is addressed to.
    #[must_use]
    pub fn status(&self, peer: &PeerId, sequence: u64) -> Option<(DeliveryStatus, Option<FailReason>)> {
        let Reader { audience, cursor, .. } = self.readers.get(peer)?;
        Some(match audience.interval(sequence)?.resolution {
            Some(Resolution::Failed(reason)) => (DeliveryStatus::Failed, Some(reason)),
            Some(Resolution::Sent) => (DeliveryStatus::Sent, None),
            None if sequence <= cursor.kept => (DeliveryStatus::Delivered, None),
            None => (DeliveryStatus::Queued, None),
        })
    }

    /// The sender's own names for the messages of a range.
    #[must_use]
    pub fn references(&self, (first, last): Range) -> Vec<(u64, Arc<str>)> {
        self.references.range(first..=last).map(|(at, reference)| (*at, reference.clone())).collect()
    }

    /// The intervals that changed since the history was last told.
    pub fn take_unsaved(&mut self, alias: impl Fn(&PeerId) -> Alias) -> Vec<(PeerId, Alias, Interval)> {
        let mut unsaved = Vec::new();
        for (peer, reader) in &mut self.readers {
            for interval in reader.audience.take_unsaved(self.last) {
                unsaved.push((*peer, alias(peer), interval));
            }
        }
        unsaved
    }

    /// True when a recipient lacks messages that are not in memory.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.entries.front().map_or(self.last, |oldest| oldest.batch.batch.first - 1) >= self.needed()
    }

    /// The parts of a range that are pending for a peer.
    #[must_use]
    pub fn waiting(&self, peer: &PeerId, (first, last): Range) -> Vec<Range> {
        let Some(reader) = self.readers.get(peer) else { return Vec::new() };
        reader.audience.pending(reader.cursor.kept.max(first.saturating_sub(1)), last).collect()
    }
}

#[cfg(test)]
mod tests;

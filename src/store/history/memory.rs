//! A history in memory: a bounded queue of batches, searched by going over it. It ends with the program.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{
    Write,
    read::{excerpt, summary_of},
    streams::Batches,
    tokenizer,
};
use crate::{
    api::{Audience, Compared, Hit, Part, Receipt},
    model::{
        Alias, Batch, Delivery, DeliveryStatus, Held, Interval, NetworkId, Page, PeerId, Place, Recipient,
        Resolution, SafeText, StoredBatch, StoredMessage, StreamId, Timestamp, history::conversation_of,
        limits,
    },
};

/// What was said in one conversation.
#[derive(Debug, Default)]
struct Conversation {
    /// In the order of the screen; what shares a place stands in the order in which it came.
    by_place: BTreeMap<(Place, u64), Arc<StoredBatch>>,
    streams: BTreeMap<StreamId, BTreeMap<u64, Arc<StoredBatch>>>,
}

/// The audience and the receipts of one own stream for one recipient.
#[derive(Debug)]
struct Reader {
    alias: Alias,
    intervals: BTreeMap<u64, Interval>,
    receipts: BTreeMap<u64, Timestamp>,
}

/// A history in memory.
#[derive(Debug)]
pub(in crate::store) struct Memory {
    me: PeerId,
    /// Bytes that it may take; the oldest batches go first.
    most: u64,
    bytes: u64,
    /// In the order in which they came: the key of each in its conversation.
    queue: VecDeque<(NetworkId, Recipient, Place, u64)>,
    next: u64,
    conversations: BTreeMap<(NetworkId, Recipient), Conversation>,
    labels: BTreeMap<PeerId, Alias>,
    readers: BTreeMap<StreamId, BTreeMap<PeerId, Reader>>,
}

/// Places that a batch takes at most.
const BATCH_PLACES: Place = 512;
const _: () = assert!(BATCH_PLACES as u64 == limits::BATCH_MESSAGES as u64);

fn size(stored: &StoredBatch) -> u64 {
    (limits::BATCH_BESIDE + stored.batch.bytes() + limits::MESSAGE_BESIDE * stored.batch.texts.len()) as u64
}

impl Memory {
    /// Nothing was said.
    pub(super) fn new(me: PeerId, most: u64) -> Self {
        Self {
            me,
            most,
            bytes: 0,
            queue: VecDeque::new(),
            next: 0,
            conversations: BTreeMap::new(),
            labels: BTreeMap::new(),
            readers: BTreeMap::new(),
        }
    }

    pub(super) fn write(&mut self, write: Write) {
        match write {
            Write::Keep { network, batch, .. } => self.keep(network, batch),
            Write::Audience(audience) => self.audience(*audience),
            Write::Receipt(receipt) => self.receipt(&receipt),
            Write::Forget { network, conversation } => self.forget(network, conversation),
            // Drafts end with the program, as it does.
            Write::Drafts { .. } | Write::Muted(..) | Write::Name(_) | Write::Probe => {}
        }
    }

    fn keep(&mut self, network: NetworkId, stored: Arc<StoredBatch>) {
        let stream = stored.batch.stream;
        let with = conversation_of(&stream, &self.me);
        if self.labels.get(&stream.author) != Some(&stored.alias) {
            self.labels.insert(stream.author, stored.alias.clone());
        }
        let conversation = self.conversations.entry((network, with)).or_default();
        self.next += 1;
        let batches = conversation.streams.entry(stream).or_default();
        if batches.insert(stored.batch.first, stored.clone()).is_some_and(|before| before == stored) {
            return;
        }
        self.bytes += size(&stored);
        self.queue.push_back((network, with, stored.place, self.next));
        conversation.by_place.insert((stored.place, self.next), stored);
        while self.bytes > self.most && self.queue.len() > 1 {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((network, with, place, number)) = self.queue.pop_front() else { return };
        let Some(conversation) = self.conversations.get_mut(&(network, with)) else { return };
        let Some(stored) = conversation.by_place.remove(&(place, number)) else { return };
        self.bytes -= size(&stored);
        let stream = stored.batch.stream;
        if let Some(batches) = conversation.streams.get_mut(&stream) {
            batches.remove(&stored.batch.first);
            if batches.is_empty() {
                conversation.streams.remove(&stream);
            }
        }
        for reader in self.readers.get_mut(&stream).into_iter().flat_map(BTreeMap::values_mut) {
            reader.receipts = reader.receipts.split_off(&(stored.batch.last() + 1));
        }
    }

    fn audience(&mut self, audience: Audience) {
        let readers = self.readers.entry(audience.stream).or_default();
        for (peer, alias, interval) in audience.intervals {
            self.labels.entry(peer).or_insert_with(|| alias.clone());
            let reader = readers.entry(peer).or_insert_with(|| Reader {
                alias,
                intervals: BTreeMap::new(),
                receipts: BTreeMap::new(),
            });
            reader.intervals.insert(interval.first, interval);
        }
    }

    fn receipt(&mut self, receipt: &Receipt) {
        if let Some(reader) =
            self.readers.get_mut(&receipt.stream).and_then(|readers| readers.get_mut(&receipt.peer))
        {
            reader.receipts.entry(receipt.up_to).or_insert(receipt.at);
        }
    }

    fn forget(&mut self, network: NetworkId, with: Recipient) {
        if let Some(conversation) = self.conversations.remove(&(network, with)) {
            self.bytes -= conversation.by_place.values().map(|stored| size(stored)).sum::<u64>();
            for stream in conversation.streams.keys() {
                self.readers.remove(stream);
            }
        }
        self.queue.retain(|(of, other, ..)| (*of, *other) != (network, with));
    }

    fn deliveries(&self, message: &StoredMessage) -> Vec<Delivery> {
        let sequence = message.id.sequence;
        let Some(readers) = self.readers.get(&message.id.stream()) else { return Vec::new() };
        let delivery = |(peer, reader): (&PeerId, &Reader)| {
            let (_, interval) = reader.intervals.range(..=sequence).next_back()?;
            if interval.last.is_some_and(|last| last < sequence) {
                return None;
            }
            let receipt = reader.receipts.range(sequence..).next();
            let (status, reason, at) = match (interval.resolution, receipt) {
                (Some(Resolution::Failed(reason)), _) => (DeliveryStatus::Failed, Some(reason), interval.at),
                (Some(Resolution::Sent), _) => (DeliveryStatus::Sent, None, interval.at),
                (None, Some((_, at))) => (DeliveryStatus::Delivered, None, *at),
                (None, None) => (DeliveryStatus::Queued, None, message.at),
            };
            Some(Delivery { peer: *peer, alias: reader.alias.clone(), status, reason, at })
        };
        let mut deliveries: Vec<Delivery> = readers.iter().filter_map(delivery).collect();
        deliveries.sort_by(|one, other| one.alias.cmp(&other.alias));
        deliveries
    }

    /// One message of a batch as a reader sees it.
    fn message(
        &self,
        conversation: &Conversation,
        stored: &StoredBatch,
        sequence: u64,
    ) -> Option<StoredMessage> {
        let batch = &stored.batch;
        let is_first = sequence == batch.first;
        let before = conversation.streams.get(&batch.stream).filter(|_| is_first);
        let before = before.and_then(|batches| batches.range(..batch.first).next_back());
        let mut message = StoredMessage {
            id: batch.stream.message(sequence),
            alias: stored.alias.clone(),
            text: batch.text(sequence)?.clone(),
            sent_at: batch.sent_at,
            at: stored.at,
            place: stored.place_of(sequence),
            reference: stored.reference_of(sequence).cloned(),
            claims: stored.claims.clone(),
            missed: before.map_or(0, |(_, before)| batch.first.saturating_sub(before.batch.last() + 1)),
            summary: crate::model::Summary::default(),
            deliveries: Vec::new(),
        };
        if batch.stream.author == self.me {
            message.deliveries = self.deliveries(&message);
            message.summary = summary_of(&message.deliveries);
            message.deliveries.retain(|delivery| delivery.status != DeliveryStatus::Delivered);
        }
        Some(message)
    }

    pub(super) fn open(&self, network: &NetworkId) -> Vec<(Page, SafeText)> {
        let here = self.conversations.keys().filter(|(of, _)| of == network);
        let page = |(network, with): &(NetworkId, Recipient)| {
            let page = self.page(network, with, Part::Newest);
            (!page.messages.is_empty()).then(|| (page, SafeText::line(&self.label(with))))
        };
        here.filter_map(page).collect()
    }

    fn label(&self, with: &Recipient) -> String {
        match with {
            Recipient::Everyone => "everyone".to_owned(),
            Recipient::Peer(peer) => self.labels.get(peer).map_or_else(|| peer.short(), ToString::to_string),
        }
    }

    /// A part of a conversation. What stands at a place that was named is part of it.
    pub(super) fn page(&self, network: &NetworkId, with: &Recipient, part: Part) -> Page {
        let mut page = Page { conversation: *with, messages: Vec::new(), is_first: true, is_last: true };
        let Some(conversation) = self.conversations.get(&(*network, *with)) else { return page };
        let (older, newer) = match part {
            Part::Newest => (Some((Place::MAX, limits::PAGE)), None),
            Part::Before(place) => (Some((place, limits::PAGE)), None),
            Part::After(place) => (None, Some((place, limits::PAGE))),
            Part::Around(place) => (Some((place, limits::PAGE / 2)), Some((place, limits::PAGE / 2))),
        };
        let mut found: Vec<(Place, u64, StoredMessage)> = Vec::new();
        if let Some((place, most)) = older {
            let batches = conversation.by_place.range(..=(place, u64::MAX)).rev();
            let is_wanted = |at: Place| at <= place;
            // And the one that was named.
            let most = if place == Place::MAX { most } else { most + 1 };
            page.is_first = self.gather(conversation, batches, is_wanted, most, &mut found);
        } else {
            page.is_first = false;
        }
        if let Some((place, most)) = newer {
            // A batch that begins before may reach beyond.
            let from = place.saturating_sub(BATCH_PLACES);
            let batches = conversation.by_place.range((from, 0)..);
            let is_wanted = |at: Place| if older.is_some() { at > place } else { at >= place };
            page.is_last = self.gather(conversation, batches, is_wanted, most, &mut found);
        } else {
            page.is_last = part == Part::Newest;
        }
        found.sort_by_key(|(place, number, _)| (*place, *number));
        page.messages = found.into_iter().map(|(_, _, message)| message).collect();
        page
    }

    /// Gathers messages up to a number of them. True when there are no more.
    fn gather<'a>(
        &self,
        conversation: &Conversation,
        batches: impl Iterator<Item = (&'a (Place, u64), &'a Arc<StoredBatch>)>,
        is_wanted: impl Fn(Place) -> bool,
        most: usize,
        found: &mut Vec<(Place, u64, StoredMessage)>,
    ) -> bool {
        let before = found.len();
        let mut is_all = true;
        for ((_, number), stored) in batches {
            if found.len() - before >= most {
                is_all = false;
                break;
            }
            for sequence in stored.batch.first..=stored.batch.last() {
                if is_wanted(stored.place_of(sequence)) {
                    let message = self.message(conversation, stored, sequence);
                    found.extend(message.map(|message| (message.place, *number, message)));
                }
            }
        }
        is_all
    }

    /// Which signed batches are here and may be given to somebody who may read from `since` on.
    pub(super) fn held(&self, network: &NetworkId, since: Timestamp) -> Vec<Held> {
        let Some(conversation) = self.conversations.get(&(*network, Recipient::Everyone)) else {
            return Vec::new();
        };
        let mut held = Vec::new();
        for (stream, batches) in &conversation.streams {
            let is_readable = |stored: &&Arc<StoredBatch>| {
                stored.batch.signature.is_some() && stored.at.min(stored.batch.sent_at) >= since
            };
            let mut readable = batches.values().filter(is_readable);
            let Some(first) = readable.next() else { continue };
            let last = readable.next_back().unwrap_or(first);
            let (from, to) = (first.batch.first, last.batch.last());
            held.push((last.place, Held { author: stream.author, epoch: stream.epoch, from, to }));
        }
        held.sort_by_key(|(place, _)| std::cmp::Reverse(*place));
        held.into_iter().map(|(_, held)| held).take(limits::HELD).collect()
    }

    /// As many of the wanted batches as fit a frame, and where the next frame would begin.
    pub(super) fn range(
        &self,
        network: &NetworkId,
        with: &Recipient,
        wanted: &Held,
        since: Timestamp,
    ) -> Batches {
        let (author, epoch) = (wanted.author, wanted.epoch);
        let to = match with {
            Recipient::Peer(_) if author != self.me => Recipient::Peer(self.me),
            to => *to,
        };
        let batches = self
            .conversations
            .get(&(*network, *with))
            .and_then(|conversation| conversation.streams.get(&StreamId { author, epoch, to }));
        let Some(batches) = batches else { return (Vec::new(), None) };
        let before = batches.range(..wanted.from).next_back();
        let start = before.filter(|(_, stored)| stored.batch.last() >= wanted.from).map(|(first, _)| *first);
        let (mut found, mut bytes, mut messages) = (Vec::new(), 0, 0);
        for stored in batches.range(start.unwrap_or(wanted.from)..=wanted.to).map(|(_, stored)| stored) {
            if stored.at.min(stored.batch.sent_at) < since {
                continue;
            }
            if bytes > limits::RANGE_BYTES || messages >= limits::RANGE_MESSAGES {
                return (found, Some(stored.batch.first));
            }
            bytes += stored.batch.bytes();
            messages += stored.batch.texts.len();
            found.push(stored.clone());
        }
        (found, None)
    }

    /// Whether a batch is what is kept under its numbers.
    pub(super) fn compare(&self, network: &NetworkId, batch: &Batch) -> Compared {
        let with = conversation_of(&batch.stream, &self.me);
        let batches = self
            .conversations
            .get(&(*network, with))
            .and_then(|conversation| conversation.streams.get(&batch.stream));
        let mut lacks = Vec::new();
        for (id, text) in batch.messages() {
            let kept = batches.and_then(|batches| batches.range(..=id.sequence).next_back());
            match kept.and_then(|(_, stored)| Some((stored, stored.batch.text(id.sequence)?))) {
                Some((_, kept)) if kept == text => {}
                Some((stored, _)) => return Compared::Differs(Some(Box::new(stored.batch.clone()))),
                None => lacks.push(id.sequence),
            }
        }
        if lacks.is_empty() { Compared::Same } else { Compared::Lacks(lacks) }
    }

    /// Where all the words occur, the newest first.
    pub(super) fn search(&self, network: &NetworkId, typed: &str) -> Vec<Hit> {
        let words = tokenizer::words(typed);
        if words.is_empty() {
            return Vec::new();
        }
        let mut hits = Vec::new();
        for (of, with, place, number) in self.queue.iter().rev() {
            let conversation = self.conversations.get(&(*of, *with)).filter(|_| of == network);
            let stored = conversation.and_then(|conversation| conversation.by_place.get(&(*place, *number)));
            let Some(stored) = stored else { continue };
            for sequence in (stored.batch.first..=stored.batch.last()).rev() {
                let Some(text) = stored.batch.text(sequence) else { continue };
                if !tokenizer::has_all(text.as_str(), &words) {
                    continue;
                }
                let is_own = stored.batch.stream.author == self.me;
                hits.push(Hit {
                    conversation: *with,
                    with: self.label(with),
                    place: stored.place_of(sequence),
                    at: stored.at,
                    from: SafeText::line(if is_own { "you" } else { stored.alias.as_str() }),
                    excerpt: SafeText::line(&excerpt(text.as_str(), typed)),
                });
                if hits.len() >= limits::SEARCH_HITS {
                    return hits;
                }
            }
        }
        hits
    }

    /// For each recipient of an own message, what became of it.
    pub(super) fn info(&self, network: &NetworkId, with: &Recipient, place: Place) -> Vec<Delivery> {
        let Some(conversation) = self.conversations.get(&(*network, *with)) else { return Vec::new() };
        let from = place.saturating_sub(BATCH_PLACES);
        let own = conversation
            .by_place
            .range((from, 0)..=(place, u64::MAX))
            .map(|(_, stored)| stored)
            .filter(|stored| stored.batch.stream.author == self.me);
        for stored in own {
            let sequence = (stored.batch.first..=stored.batch.last())
                .find(|sequence| stored.place_of(*sequence) == place);
            if let Some(message) = sequence.and_then(|sequence| self.message(conversation, stored, sequence))
            {
                return self.deliveries(&message);
            }
        }
        Vec::new()
    }
}

//! A store as simple as possible, and a disk that is slow, full or broken.

use super::*;
use crate::{
    api::{Compared, HistoryCommand, HistoryEvent},
    model::{Addressee, Batch, Held, HistoryState, Interval, OwnStream, Span, StoredBatch, Stream, StreamId},
    proto::roster::{Changes, Roster},
};

/// How a disk behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disk {
    Works,
    Full,
    /// Answers nothing until it works again.
    Hangs,
}

/// Whom an own stream is for: intervals by their beginning, and receipts.
#[derive(Debug, Clone)]
struct Reader {
    alias: Alias,
    intervals: BTreeMap<u64, Interval>,
    kept: u64,
}

/// What a store has on its disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    pub(super) batches: Vec<Arc<StoredBatch>>,
    firsts: BTreeSet<(StreamId, u64)>,
    streams: BTreeMap<StreamId, Vec<Span>>,
    readers: BTreeMap<StreamId, BTreeMap<PeerId, Reader>>,
}

/// The store of one node, as simple as possible.
pub(super) struct SimStore {
    me: PeerId,
    on_disk: bool,
    pub(super) disk: Disk,
    pub(super) kept: Kept,
    waiting: Vec<StoreCommand>,
    pub(super) retired: usize,
    /// What is kept of the network that was joined.
    pub(super) known: Option<crate::model::KnownHost>,
    /// Keys that were verified.
    pub(super) verified: Vec<PeerId>,
    /// Questions wait until [`Self::answer`].
    pub(super) is_slow: bool,
    pub(super) questions: Vec<StoreCommand>,
}

/// A message that is kept.
pub(super) struct KeptMessage {
    pub(super) id: MessageId,
    pub(super) alias: Alias,
    pub(super) text: String,
    place: i64,
}

impl SimStore {
    pub(super) fn new(me: PeerId, on_disk: bool) -> Self {
        Self {
            me,
            on_disk,
            disk: Disk::Works,
            kept: Kept::default(),
            waiting: Vec::new(),
            retired: 0,
            known: None,
            verified: Vec::new(),
            is_slow: false,
            questions: Vec::new(),
        }
    }

    pub(super) fn messages(&self) -> Vec<KeptMessage> {
        let of_batch = |stored: &Arc<StoredBatch>| {
            let message = |(id, text): (MessageId, &crate::model::SafeText)| KeptMessage {
                id,
                alias: stored.alias.clone(),
                text: text.to_string(),
                place: stored.place_of(id.sequence),
            };
            stored.batch.messages().map(message).collect::<Vec<_>>()
        };
        self.kept.batches.iter().flat_map(of_batch).collect()
    }

    pub(super) fn command(&mut self, command: StoreCommand) -> Vec<HistoryEvent> {
        match command {
            StoreCommand::Keep { token, .. } if self.disk != Disk::Works => {
                self.waiting.push(command);
                let kept = HistoryEvent::Kept { token, for_good: false };
                if self.disk == Disk::Full { vec![kept] } else { Vec::new() }
            }
            StoreCommand::Audience(_) | StoreCommand::Receipt(_) if self.disk != Disk::Works => {
                self.waiting.push(command);
                Vec::new()
            }
            StoreCommand::Keep { token, batch, spans, .. } => {
                self.kept.streams.insert(batch.batch.stream, spans);
                if self.kept.firsts.insert((batch.batch.stream, batch.batch.first)) {
                    self.kept.batches.push(batch);
                }
                vec![HistoryEvent::Kept { token, for_good: true }]
            }
            StoreCommand::KeepVerified(verified) => {
                self.verified.push(verified.peer_id);
                Vec::new()
            }
            StoreCommand::RememberHost(known) => {
                self.known = Some(*known);
                Vec::new()
            }
            StoreCommand::Audience(audience) => {
                let readers = self.kept.readers.entry(audience.stream).or_default();
                for (peer, alias, interval) in audience.intervals {
                    let reader =
                        readers.entry(peer).or_insert(Reader { alias, intervals: BTreeMap::new(), kept: 0 });
                    reader.intervals.insert(interval.first, interval);
                }
                Vec::new()
            }
            StoreCommand::Receipt(receipt) => {
                let readers = self.kept.readers.entry(receipt.stream).or_default();
                if let Some(reader) = readers.get_mut(&receipt.peer) {
                    reader.kept = reader.kept.max(receipt.up_to);
                }
                Vec::new()
            }
            StoreCommand::History(HistoryCommand::Recall(_)) => {
                vec![HistoryEvent::Recalled(Box::new(self.recall()))]
            }
            StoreCommand::History(
                HistoryCommand::Held { .. } | HistoryCommand::Range { .. } | HistoryCommand::Compare { .. },
            ) if self.is_slow => {
                self.questions.push(command);
                Vec::new()
            }
            StoreCommand::History(
                HistoryCommand::Held { .. } | HistoryCommand::Range { .. } | HistoryCommand::Compare { .. },
            ) if self.disk == Disk::Hangs => {
                self.waiting.push(command);
                Vec::new()
            }
            StoreCommand::History(HistoryCommand::Held { token, since, .. }) => {
                vec![HistoryEvent::Held { token, held: self.held(since) }]
            }
            StoreCommand::History(HistoryCommand::Compare { token, batch, .. }) => {
                vec![HistoryEvent::Compared { token, compared: self.compare(&batch) }]
            }
            StoreCommand::History(HistoryCommand::Range { token, conversation, wanted, since, .. }) => {
                let is_wanted = |stored: &&Arc<StoredBatch>| {
                    let batch = &stored.batch;
                    crate::model::history::conversation_of(&batch.stream, &self.me) == conversation
                        && (batch.stream.author, batch.stream.epoch) == (wanted.author, wanted.epoch)
                        && batch.first <= wanted.to
                        && batch.last() >= wanted.from
                        && stored.at.min(batch.sent_at) >= since
                };
                let mut all: Vec<Arc<StoredBatch>> =
                    self.kept.batches.iter().filter(is_wanted).cloned().collect();
                all.sort_by_key(|stored| stored.batch.first);
                // Small parts, so that more than one is needed.
                let next = all.get(2).map(|stored| stored.batch.first);
                all.truncate(2);
                vec![HistoryEvent::Range { token, batches: all, next }]
            }
            _ => Vec::new(),
        }
    }

    fn compare(&self, batch: &Batch) -> Compared {
        let waiting = self.waiting.iter().filter_map(|command| match command {
            StoreCommand::Keep { batch, .. } => Some(batch),
            _ => None,
        });
        let here = self.kept.batches.iter().chain(waiting).find(|stored| {
            stored.batch.stream == batch.stream
                && stored.batch.first <= batch.last()
                && stored.batch.last() >= batch.first
        });
        match here {
            Some(stored) if stored.batch.first == batch.first && stored.batch.texts == batch.texts => {
                Compared::Same
            }
            Some(stored) => Compared::Differs(Some(Box::new(stored.batch.clone()))),
            None => Compared::Lacks((batch.first..=batch.last()).collect()),
        }
    }

    /// Answers the questions that waited.
    pub(super) fn answer(&mut self) -> Vec<HistoryEvent> {
        self.is_slow = false;
        std::mem::take(&mut self.questions).into_iter().flat_map(|command| self.command(command)).collect()
    }

    /// The disk works again.
    pub(super) fn mend(&mut self) -> Vec<HistoryEvent> {
        self.disk = Disk::Works;
        std::mem::take(&mut self.waiting).into_iter().flat_map(|command| self.command(command)).collect()
    }

    pub(super) fn recall(&self) -> Recalled {
        if !self.on_disk {
            return Recalled::nothing();
        }
        let streams = self.kept.streams.iter().map(|(id, spans)| Stream { id: *id, spans: spans.clone() });
        let own = self.kept.readers.iter().map(|(id, readers)| {
            let of_stream = || self.kept.batches.iter().filter(|stored| stored.batch.stream == *id);
            let addressee = |(peer, reader): (&PeerId, &Reader)| Addressee {
                peer: *peer,
                alias: reader.alias.clone(),
                intervals: reader.intervals.values().copied().collect(),
                kept: reader.kept,
            };
            let mut references = Vec::new();
            for stored in of_stream() {
                for (sequence, reference) in (stored.batch.first..).zip(&stored.references) {
                    references.extend(reference.clone().map(|reference| (sequence, reference)));
                }
            }
            OwnStream {
                id: *id,
                last: of_stream().map(|stored| stored.batch.last()).max().unwrap_or(0),
                addressees: readers.iter().map(addressee).collect(),
                ages: of_stream().map(|stored| (stored.batch.last(), stored.batch.sent_at)).collect(),
                references,
            }
        });
        let (streams, own) = (streams.collect(), own.collect());
        Recalled { state: HistoryState::Saved, message: String::new(), streams, own, people: Vec::new() }
    }

    fn held(&self, since: Timestamp) -> Vec<Held> {
        let mut held: BTreeMap<(PeerId, u64), Held> = BTreeMap::new();
        for stored in &self.kept.batches {
            let batch = &stored.batch;
            if batch.stream.to != Recipient::Everyone || stored.at.min(batch.sent_at) < since {
                continue;
            }
            let (author, epoch) = (batch.stream.author, batch.stream.epoch);
            let one = Held { author, epoch, from: batch.first, to: batch.last() };
            let range = held.entry((author, epoch)).or_insert(one);
            (range.from, range.to) = (range.from.min(batch.first), range.to.max(batch.last()));
        }
        held.into_values().collect()
    }

    /// What was said to everyone, in the order of the screen.
    pub(super) fn log(&self) -> Vec<String> {
        let mut all = self.messages();
        all.retain(|message| message.id.to == Recipient::Everyone);
        all.sort_by_key(|message| message.place);
        all.into_iter().map(|message| format!("{}: {}", message.alias, message.text)).collect()
    }
}

impl Sim {
    pub(super) fn host_on_disk() -> Self {
        let mut sim = Self::host_with(|config| {
            config.earlier.recalled = Recalled { state: HistoryState::Saved, ..Recalled::nothing() };
        });
        sim.on_disk = true;
        sim.stores[0].on_disk = true;
        sim
    }

    pub(super) fn mend(&mut self, index: usize) {
        for event in self.stores[index].mend() {
            self.nodes[index].handle(self.now, Input::Store(StoreEvent::History(event)));
        }
        self.run();
    }

    /// All peer links of a node are lost.
    pub(super) fn cut_peer_links(&mut self, index: usize) {
        let is_peer_link = |end: &&End| end.0 == index && self.nodes[index].mesh.links.has(end.1);
        let own: Vec<End> = self.links.keys().filter(is_peer_link).copied().collect();
        for end in own {
            let Some(other) = self.links.remove(&end) else { continue };
            self.links.remove(&other);
            for (index, conn) in [end, other] {
                let closed = CloseReason::ConnectionLost.into();
                self.nodes[index].handle(self.now, Input::Closed(conn, closed));
            }
        }
        self.run();
    }

    /// A node takes all others for gone.
    pub(super) fn leave_alone(&mut self, index: usize) -> Roster {
        let (now, me) = (self.now, self.ids[index]);
        let node = &mut self.nodes[index];
        node.begin_turn(now);
        let whole = node.role.group().roster.clone();
        node.role.group_mut().roster = whole.alone(&me);
        let others = whole.entries().filter(|entry| entry.peer_id != me);
        let removed = others.map(|entry| (entry.clone(), CloseReason::ConnectionLost)).collect();
        node.mesh.roster_changed(node.role.group_mut(), &Changes { removed, ..Changes::default() });
        node.route();
        self.run();
        whole
    }

    /// They are back.
    pub(super) fn bring_back(&mut self, index: usize, whole: Roster) {
        let now = self.now;
        let node = &mut self.nodes[index];
        node.begin_turn(now);
        let updated = whole.entries().cloned().collect();
        node.role.group_mut().roster = whole;
        node.mesh.roster_changed(node.role.group_mut(), &Changes { updated, ..Changes::default() });
        node.route();
        self.run();
    }

    /// How often a node's network was set aside.
    pub(super) fn stores_retired(&self, index: usize) -> usize {
        self.stores[index].retired
    }

    pub(super) fn own_epoch(&self, index: usize) -> u64 {
        let epoch = |event: &NodeEvent| match event {
            NodeEvent::Message { id, own: true, .. } => Some(id.epoch),
            _ => None,
        };
        self.events[index].iter().find_map(epoch).unwrap()
    }

    /// What a node answers to a frame over its link with another.
    pub(super) fn ask(&mut self, asker: usize, index: usize, frame: Frame) -> Option<Frame> {
        self.say(asker, &self.ids[index].to_string(), "hello");
        let conn = self.links.iter().find_map(|(end, other)| {
            (end.0 == index && other.0 == asker && self.nodes[index].mesh.links.has(end.1)).then_some(end.1)
        })?;
        self.nodes[index].handle(self.now, Input::Frame(conn, frame));
        while let Some(output) = self.nodes[index].poll_output() {
            match output {
                Output::Store(command) => {
                    for event in self.stores[index].command(command) {
                        self.nodes[index].handle(self.now, Input::Store(StoreEvent::History(event)));
                    }
                }
                Output::Send(to, bytes) if to == conn => return Frame::decode(&bytes).ok(),
                _ => {}
            }
        }
        None
    }

    /// A member's machine loses power: nothing more comes of it. Its store stays.
    pub(super) fn crash(&mut self, index: usize) {
        self.finished[index] = Some(CloseReason::Internal.into());
        self.frozen.insert(index);
        let own: Vec<End> = self.links.keys().filter(|end| end.0 == index).copied().collect();
        for end in own {
            if let Some(other) = self.links.remove(&end) {
                self.queue.push_back(Delivery::Closed(other));
            }
        }
        self.run();
    }

    /// A crashed member begins again with what its store has.
    pub(super) fn begin_again(&mut self, index: usize, alias: &str, identity: Identity) -> usize {
        let kept = std::mem::take(&mut self.stores[index].kept);
        self.begin_with(kept, index, alias, identity)
    }

    /// A member begins again with what a disk had.
    pub(super) fn begin_with(&mut self, kept: Kept, index: usize, alias: &str, identity: Identity) -> usize {
        let store = SimStore { kept, ..SimStore::new(self.ids[index], true) };
        let next = self.nodes.len();
        let before = std::mem::replace(&mut self.on_disk, true);
        self.restored = Some(store);
        let again = self.join_as(alias, PASSWORD, identity);
        self.on_disk = before;
        assert_eq!(again, next);
        self.wait(1.0);
        again
    }
}

pub(super) fn identity() -> (Identity, Identity) {
    let (identity, bytes) = Identity::generate().unwrap();
    (Identity::from_pkcs8(&bytes).unwrap(), identity)
}

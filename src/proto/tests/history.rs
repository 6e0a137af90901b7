//! What is kept, what is acknowledged, and how those who were away catch up.

use super::*;
use crate::{
    api::{Compared, HistoryCommand, HistoryEvent},
    model::{Addressee, Batch, Held, HistoryState, Interval, OwnStream, Span, StoredBatch, Stream, StreamId},
    proto::roster::{Changes, Roster},
    wire::Wanted,
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
    fn answer(&mut self) -> Vec<HistoryEvent> {
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
    fn cut_peer_links(&mut self, index: usize) {
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
    fn leave_alone(&mut self, index: usize) -> Roster {
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
    fn bring_back(&mut self, index: usize, whole: Roster) {
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

    fn own_epoch(&self, index: usize) -> u64 {
        let epoch = |event: &NodeEvent| match event {
            NodeEvent::Message { id, own: true, .. } => Some(id.epoch),
            _ => None,
        };
        self.events[index].iter().find_map(epoch).unwrap()
    }

    /// What a node answers to a frame over its link with another.
    fn ask(&mut self, asker: usize, index: usize, frame: Frame) -> Option<Frame> {
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

#[test]
fn nothing_is_acknowledged_before_it_is_kept() {
    let mut sim = Sim::host_on_disk();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.stores[bob].disk = Disk::Hangs;
    sim.say(ann, "bob", "one");
    sim.wait(1.0);
    assert_eq!(sim.heard(bob), ["ann: one"], "shown at once");
    assert_eq!(sim.deliveries(ann), ["one bob Queued 0/1"]);
    // The link is lost, the message comes again, and still is not kept.
    sim.cut_peer_links(ann);
    sim.wait(5.0);
    assert_eq!(sim.heard(bob), ["ann: one"], "once");
    assert!(!sim.deliveries(ann).iter().any(|line| line.contains("Delivered")));
    sim.mend(bob);
    assert_eq!(sim.deliveries(ann).last().unwrap(), "one bob Delivered 1/1");
    assert_eq!(sim.stores[bob].messages().len(), 1);
}

#[test]
fn nothing_leaves_before_it_is_kept() {
    let mut sim = Sim::host_on_disk();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.stores[ann].disk = Disk::Hangs;
    sim.say(ann, "everyone", "one");
    sim.wait(1.0);
    assert!(sim.heard(bob).is_empty());
    assert!(!sim.has(ann, |event| matches!(event, NodeEvent::Message { .. })), "not taken yet");
    sim.mend(ann);
    sim.wait(0.1);
    assert_eq!(sim.heard(bob), ["ann: one"]);
    assert!(sim.deliveries(ann).last().unwrap().ends_with("Delivered 2/2"));
}

#[test]
fn with_a_full_disk_talk_goes_on_and_nothing_is_called_delivered() {
    let mut sim = Sim::host_with(|config| {
        config.policy = Policy { rate: 0, ..Policy::default() };
        config.earlier.recalled = Recalled { state: HistoryState::Saved, ..Recalled::nothing() };
    });
    sim.on_disk = true;
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.stores[bob].disk = Disk::Full;
    for number in 0..800 {
        sim.say(ann, "bob", &number.to_string());
    }
    sim.wait(1.0);
    assert_eq!(sim.heard(bob).len(), 800, "far more than the window");
    assert!(!sim.deliveries(ann).iter().any(|line| line.contains("Delivered")));
    sim.say(bob, "ann", "my disk is full");
    sim.wait(0.1);
    assert_eq!(sim.heard(ann), ["bob: my disk is full"]);
    sim.mend(bob);
    let delivered = sim.deliveries(ann).iter().filter(|line| line.contains("Delivered")).count();
    assert_eq!((delivered, sim.stores[bob].messages().len()), (800, 801));
}

#[test]
fn what_waits_for_somebody_survives_the_sender() {
    let mut sim = Sim::host_on_disk();
    let (keep, key) = identity();
    let ann = sim.join_as("ann", PASSWORD, key);
    let bob = sim.join("bob");
    sim.wait(0.1);
    sim.frozen.insert(bob);
    sim.say(ann, "bob", "one");
    sim.say(ann, "everyone", "two");
    sim.wait(1.0);
    sim.crash(ann);
    sim.frozen.remove(&bob);
    let again = sim.begin_again(ann, "ann", keep);
    assert_eq!(sim.deliveries(again)[..2], ["two bob Queued 1/2", "one bob Queued 0/1"]);
    assert_eq!(sim.heard(bob), ["ann: two", "ann: one"]);
    let mut last = sim.deliveries(again);
    assert_eq!(last.split_off(last.len() - 2), ["two bob Delivered 2/2", "one bob Delivered 1/1"]);
    // What is said now is not taken for what was said before.
    sim.say(again, "bob", "three");
    sim.wait(0.1);
    assert_eq!(sim.heard(bob).last().unwrap(), "ann: three");
}

#[test]
fn what_left_without_being_kept_is_never_mistaken_for_what_is_said_later() {
    let mut sim = Sim::host_on_disk();
    let (keep, key) = identity();
    let ann = sim.join_as("ann", PASSWORD, key);
    let bob = sim.join("bob");
    sim.wait(0.1);
    sim.say(ann, "bob", "one");
    sim.stores[ann].disk = Disk::Full;
    sim.say(ann, "bob", "two, which no disk has");
    sim.wait(0.1);
    sim.crash(ann);
    let again = sim.begin_again(ann, "ann", keep);
    sim.say(again, "bob", "three");
    sim.wait(0.1);
    assert_eq!(sim.heard(bob), ["ann: one", "ann: two, which no disk has", "ann: three"]);
    assert_eq!(sim.deliveries(again).last().unwrap(), "three bob Delivered 1/1");
}

#[test]
fn messages_wait_for_a_member_that_left_and_fail_for_one_that_was_removed() {
    let mut sim = Sim::host_on_disk();
    let (keep, key) = identity();
    let ann = sim.join("ann");
    let bob = sim.join_as("bob", PASSWORD, key);
    sim.wait(0.1);
    sim.command(bob, NodeCommand::Leave);
    sim.wait(3.0);
    sim.say(ann, "bob", "for tomorrow");
    assert_eq!(sim.deliveries(ann), ["for tomorrow bob Queued 0/1"]);
    sim.wait(3600.0);
    let bob = sim.begin_again(bob, "bob", keep);
    assert_eq!(sim.heard(bob), ["ann: for tomorrow"]);
    sim.frozen.insert(bob);
    let before = sim.deliveries(ann).len();
    for number in 0..20 {
        sim.say(ann, "bob", &format!("{number} {}", "x".repeat(16_000)));
    }
    sim.ban("bob");
    sim.wait(0.1);
    // What went before may be read yet; what did not go never will.
    let lines = sim.deliveries(ann).split_off(before);
    let ends = |end: &str| lines.iter().filter(|line| line.ends_with(end)).count();
    let (sent, failed) = (ends(" Sent 0/1"), ends(" Failed banned 0/1"));
    assert!((10..15).contains(&sent) && sent + failed == 20, "{sent} {failed}");
    sim.say(ann, "bob", "hello?");
    assert!(sim.errors(ann).last().unwrap().contains("nobody called \"bob\""));
}

#[test]
fn who_was_away_catches_up_in_place_and_in_order() {
    let mut sim = Sim::host_on_disk();
    let (keep, key) = identity();
    let ann = sim.join("ann");
    let bob = sim.join_as("bob", PASSWORD, key);
    sim.wait(0.1);
    sim.say(ann, "everyone", "1");
    sim.wait(60.0);
    sim.crash(bob);
    sim.wait(20.0);
    for text in ["2", "3", "4", "5", "6"] {
        sim.say(ann, "everyone", text);
        sim.wait(1.0);
        sim.say(0, "everyone", &format!("host {text}"));
        sim.wait(60.0);
    }
    let bob = sim.begin_again(bob, "bob", keep);
    sim.say(ann, "everyone", "7");
    sim.wait(1.0);
    let all = sim.stores[ann].log();
    assert_eq!(all.len(), 12, "{all:?}");
    assert_eq!(sim.stores[bob].log(), all);
    let late = |event: &NodeEvent| matches!(event, NodeEvent::Message { late: true, .. });
    assert_eq!(sim.events[bob].iter().filter(|event| late(event)).count(), 10);
    let times: Vec<i64> = sim.events[bob]
        .iter()
        .filter_map(|event| match event {
            NodeEvent::Message { late: true, came_at, .. } => Some(came_at.0),
            _ => None,
        })
        .collect();
    assert!(times.iter().max().unwrap() + 50_000_000 < sim.now.wall.0, "at the time when they were sent");
}

#[test]
fn who_is_away_when_something_is_said_to_everyone_is_listed_until_it_has_it() {
    let mut sim = Sim::host_on_disk();
    let (keep, key) = identity();
    let ann = sim.join("ann");
    let bob = sim.join_as("bob", PASSWORD, key);
    sim.join("carol");
    sim.wait(0.1);
    sim.crash(bob);
    sim.wait(20.0);
    // Whoever the host has removed is not waited for.
    sim.ban("carol");
    sim.wait(0.1);
    sim.say(ann, "everyone", "while bob is away");
    sim.wait(0.1);
    let last = |sim: &Sim, index: usize| sim.deliveries(index).pop().unwrap();
    assert_eq!(last(&sim, ann), "while bob is away host Delivered 1/2");
    assert!(sim.deliveries(ann).contains(&"while bob is away bob Queued 0/2".to_owned()));
    assert!(!sim.deliveries(ann).iter().any(|line| line.contains(" carol ")));
    // Nobody who leaves waits for it, and it is no fault that bob is away.
    assert!(!sim.nodes[ann].mesh.messaging.has_deliverable(sim.nodes[ann].role.group()));
    assert_eq!(sim.nodes[ann].mesh.messaging.undelivered(), 0);
    // A session that begins meanwhile knows whom it waits for, and by which name.
    let dave = sim.join("dave");
    sim.say(dave, "everyone", "I am new");
    sim.wait(0.1);
    assert!(
        sim.deliveries(dave).contains(&"I am new bob Queued 0/3".to_owned()),
        "{:?}",
        sim.deliveries(dave)
    );
    sim.wait(60.0);
    let bob = sim.begin_again(bob, "bob", keep);
    sim.wait(5.0);
    assert_eq!(last(&sim, ann), "while bob is away bob Delivered 2/2");
    assert_eq!(last(&sim, dave), "I am new bob Delivered 3/3");
    let said = sim.stores[bob].log();
    assert!(
        said.len() == 2 && said[0].contains("while bob is away") && said[1].contains("I am new"),
        "{said:?}"
    );
}

#[test]
fn who_is_away_for_more_than_a_day_is_not_waited_for_and_nothing_is_called_failed() {
    let mut sim = Sim::host_on_disk();
    let ann = sim.join("ann");
    let bob = sim.join("bob");
    sim.wait(0.1);
    sim.crash(bob);
    sim.wait(20.0);
    sim.say(ann, "everyone", "hello");
    sim.wait(25.0 * 3600.0);
    // It may still get it from anybody who has it.
    assert_eq!(sim.deliveries(ann).pop().unwrap(), "hello bob Sent 1/2");
    sim.join("dave");
    sim.say(ann, "everyone", "again");
    sim.wait(0.1);
    assert!(sim.deliveries(ann).pop().unwrap().ends_with(" Delivered 2/2"), "{:?}", sim.deliveries(ann));
}

#[test]
fn who_is_away_twice_in_a_moment_catches_up_twice() {
    let mut sim = Sim::host_on_disk();
    let bytes = Identity::generate().unwrap().1;
    let again = || Identity::from_pkcs8(&bytes).unwrap();
    let ann = sim.join("ann");
    let mut bob = sim.join_as("bob", PASSWORD, again());
    sim.wait(0.1);
    for round in 0..3 {
        sim.crash(bob);
        sim.wait(0.2);
        sim.say(ann, "everyone", &format!("round {round}"));
        sim.wait(0.2);
        bob = sim.begin_again(bob, "bob", again());
    }
    assert_eq!(sim.stores[bob].log(), ["ann: round 0", "ann: round 1", "ann: round 2"]);
}

#[test]
fn a_gap_closes_when_the_author_hands_on_what_is_missing() {
    let mut sim = Sim::host_on_disk();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.say(ann, "everyone", "1");
    sim.wait(0.1);
    // For a while ann is told of nobody: what she says then is addressed to nobody.
    let others = sim.leave_alone(ann);
    for text in ["2", "3", "4", "5"] {
        sim.say(ann, "everyone", text);
    }
    sim.wait(0.1);
    assert_eq!(sim.heard(bob), ["ann: 1"]);
    sim.bring_back(ann, others);
    sim.say(ann, "everyone", "6");
    sim.wait(1.0);
    assert_eq!(sim.heard(bob), ["ann: 1", "ann: 6 (4 missed)", "ann: 2", "ann: 3", "ann: 4", "ann: 5"]);
    assert_eq!(sim.stores[bob].log(), ["ann: 1", "ann: 2", "ann: 3", "ann: 4", "ann: 5", "ann: 6"]);
    let gaps: Vec<u64> = sim.events[bob]
        .iter()
        .filter_map(|event| match event {
            NodeEvent::Gap { missing, .. } => Some(*missing),
            _ => None,
        })
        .collect();
    assert_eq!(gaps, [3, 2, 1, 0]);
}

#[test]
fn newcomers_read_back_as_far_as_the_host_lets_them() {
    for (read_back, expected) in [(0, 0), (90, 1), (3600, 3)] {
        let mut sim = Sim::host_with(|config| {
            config.policy.read_back = read_back;
            config.earlier.recalled = Recalled { state: HistoryState::Saved, ..Recalled::nothing() };
        });
        sim.on_disk = true;
        let ann = sim.join("ann");
        for text in ["1", "2", "3"] {
            sim.say(ann, "everyone", text);
            sim.wait(60.0);
        }
        let bob = sim.join("bob");
        sim.wait(1.0);
        assert_eq!(sim.heard(bob).len(), expected, "{read_back} s back");
        // Nor does it help to ask for more.
        let wanted = Wanted {
            direct: false,
            range: Held { author: sim.ids[ann], epoch: sim.own_epoch(ann), from: 1, to: 3 },
        };
        let handed = sim.ask(bob, ann, Frame::Wanted(wanted));
        let Some(Frame::HandedOn(handed)) = handed else { panic!("{handed:?}") };
        assert!(handed.batches.len() <= expected, "{read_back} s back");
        let handed = sim.ask(bob, ann, Frame::Wanted(Wanted { direct: true, ..wanted }));
        let Some(Frame::HandedOn(handed)) = handed else { panic!("{handed:?}") };
        assert!(handed.batches.is_empty(), "nothing that was said to everyone by the way");
        sim.wait(6.0);
        let held = sim.ask(bob, ann, Frame::CatchUp(Timestamp(0)));
        let Some(Frame::Held(held)) = held else { panic!("{held:?}") };
        let told: u64 =
            held.iter().filter(|held| held.author == sim.ids[ann]).map(|held| held.to - held.from + 1).sum();
        assert_eq!(told, expected as u64, "{read_back} s back");
    }
}

#[test]
fn an_answer_that_nobody_waits_for_any_more_is_passed_over() {
    let mut sim = Sim::host_on_disk();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.say(ann, "bob", "hello");
    sim.wait(0.1);
    let conn = sim.links.iter().find_map(|(end, other)| {
        (end.0 == bob && other.0 == ann && sim.nodes[bob].mesh.links.has(end.1)).then_some(end.1)
    });
    let conn = conn.unwrap();
    let range = Held { author: sim.ids[ann], epoch: 1, from: 1, to: 2 };
    let wanted = Wanted { direct: false, range };
    let handed = crate::wire::HandedOn { wanted, label: String::new(), batches: Vec::new(), next: Some(2) };
    for frame in [Frame::Held(vec![range].into()), Frame::HandedOn(handed)] {
        sim.nodes[bob].handle(sim.now, Input::Frame(conn, frame));
    }
    sim.run();
    assert!(sim.nodes[bob].mesh.links.has(conn), "the link stays");
    assert_eq!(sim.errors(bob), Vec::<String>::new(), "and nobody is blamed");
}

#[test]
fn a_question_that_is_overtaken_is_asked_again() {
    let mut sim = Sim::host_on_disk();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.say(ann, "everyone", "1");
    sim.wait(0.1);
    let others = sim.leave_alone(ann);
    sim.say(ann, "everyone", "2");
    sim.bring_back(ann, others);
    // Ann's history takes its time: bob has asked her for the gap, and asks what else it missed.
    sim.stores[ann].is_slow = true;
    sim.say(ann, "everyone", "3");
    sim.wait(0.2);
    assert_eq!(sim.heard(bob), ["ann: 1", "ann: 3 (1 missed)"]);
    let now = sim.now;
    let node = &mut sim.nodes[bob];
    node.begin_turn(now);
    node.mesh.messaging.catch_up_since(node.role.group(), Timestamp(0));
    node.route();
    sim.run();
    sim.wait(0.2);
    for event in sim.stores[ann].answer() {
        sim.nodes[ann].handle(sim.now, Input::Store(StoreEvent::History(event)));
    }
    sim.wait(2.0);
    assert_eq!(sim.heard(bob), ["ann: 1", "ann: 3 (1 missed)", "ann: 2"]);
    assert_eq!(sim.errors(bob), Vec::<String>::new());
}

#[test]
fn only_what_its_author_signed_is_taken_from_others() {
    let mut sim = Sim::host_on_disk();
    let (keep, key) = identity();
    let ann = sim.join("ann");
    let bob = sim.join_as("bob", PASSWORD, key);
    sim.wait(0.1);
    sim.say(ann, "everyone", "1");
    sim.wait(0.1);
    sim.crash(bob);
    sim.wait(20.0);
    sim.say(ann, "everyone", "pay bob");
    sim.wait(0.1);
    let is_original = |stored: &&Arc<StoredBatch>| stored.batch.texts[0].as_str() == "pay bob";
    let original = sim.stores[0].kept.batches.iter().find(is_original).unwrap().batch.clone();
    // The host is asked first, and answers what it likes; the author itself is busy.
    sim.stores[0].disk = Disk::Hangs;
    sim.frozen.insert(ann);
    let bob = sim.begin_again(bob, "bob", keep);
    let conn = sim.links.iter().find_map(|(end, other)| {
        (end.0 == bob && other.0 == 0 && sim.nodes[bob].mesh.links.has(end.1)).then_some(end.1)
    });
    let conn = conn.unwrap();
    let StreamId { author, epoch, .. } = original.stream;
    let range = Held { author, epoch, from: original.first, to: original.first };
    let puppet = Held { author: PeerId([9; 32]), ..range };
    sim.nodes[bob].handle(sim.now, Input::Frame(conn, Frame::Held(vec![range].into())));
    let forged = Batch { texts: vec![crate::model::SafeText::clean("pay mallory")], ..original };
    let wanted = Wanted { direct: false, range };
    let handed = crate::wire::HandedOn { wanted, label: "ann".into(), batches: vec![forged], next: None };
    sim.nodes[bob].handle(sim.now, Input::Frame(conn, Frame::HandedOn(handed)));
    assert_eq!(sim.heard(bob), Vec::<String>::new());
    // The others are asked as well, and have the right one.
    sim.frozen.clear();
    sim.wait(60.0);
    assert_eq!(sim.heard(bob), ["ann: pay bob"]);
    // Nobody but the host may speak of people that nobody here has met.
    let ann_conn = sim.links.iter().find_map(|(end, other)| {
        (end.0 == bob && other.0 == ann && sim.nodes[bob].mesh.links.has(end.1)).then_some(end.1)
    });
    if let Some(conn) = ann_conn {
        sim.nodes[bob].handle(sim.now, Input::Frame(conn, Frame::Held(vec![puppet].into())));
        sim.wait(1.0);
        assert_eq!(sim.heard(bob).len(), 1);
    }
}

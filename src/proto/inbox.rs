//! The messages of one author: drops known ones, notices holes, and takes them no faster than the network's policy allows.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use super::{ConnId, rate::TokenBucket};
use crate::{
    model::{Batch, Place, Policy, Recipient, Span, StreamId, limits},
    wire::Addressed,
};

/// Whether a batch is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// All of it is new.
    New(Arrived),
    /// Some of its numbers are known: a batch came under them before, or they were given up.
    Known,
}

/// Where a new batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// The place of its first message in the conversation; the others stand just after it.
    pub place: Place,
    /// How many of the same stream are missing just before it.
    pub missed: u64,
    /// The next message of the same stream that is here already, and how many are missing just before it now. Nothing when
    /// no later message is here.
    pub next: Option<(u64, u64)>,
}

/// What is here of each stream of one author, for everyone and for this receiver, by epoch.
#[derive(Debug, Default)]
struct Streams(BTreeMap<(bool, u64), Vec<Span>>);

impl Streams {
    /// Places messages `first..=last`. `now` is where one that comes now would stand; what was handed on later stands
    /// about where it was sent.
    fn arrive(
        &mut self,
        key: (bool, u64),
        (first, last): (u64, u64),
        now: Place,
        handed_on: Option<Place>,
    ) -> Arrival {
        let (everyone, epoch) = key;
        let earlier = self.0.range((everyone, 0)..key).next_back().and_then(|(_, spans)| spans.last());
        // An earlier epoch stands before the later ones, however late its messages come.
        let later = epoch.checked_add(1).and_then(|from| {
            self.0.range((everyone, from)..=(everyone, u64::MAX)).next().and_then(|(_, spans)| spans.first())
        });
        // The end of the epoch before the newest may still be on its way over another link.
        let between = if later.is_none() { room(u64::MAX) } else { 0 };
        let mut lower = earlier.map(|span| span.last.saturating_add(between + 1));
        let others = (last - first).min(limits::BATCH_MESSAGES as u64).cast_signed();
        let mut upper = later.map(|span| span.first.saturating_sub(1).saturating_sub(others));
        let oldest = self.0.range((everyone, 0)..=(everyone, u64::MAX)).next().map(|(key, _)| *key);
        let count = self.0.range((everyone, 0)..=(everyone, u64::MAX)).count();
        if count >= limits::EPOCHS && !self.0.contains_key(&key) {
            match oldest {
                // Of too many epochs the oldest are forgotten.
                Some(oldest) if key < oldest => return Arrival::Known,
                Some(oldest) => _ = self.0.remove(&oldest),
                None => {}
            }
        }

        let spans = self.0.entry(key).or_default();
        let at = spans.partition_point(|span| span.from <= last);
        let before = at.checked_sub(1).and_then(|before| spans.get(before)).copied();
        let after = spans.get(at).copied();
        let mut missed = 0;
        let mut least = Place::MIN;
        if let Some(before) = before {
            if first <= before.to {
                return Arrival::Known;
            }
            missed = first - before.to - 1;
            if missed > limits::GAP_MOST && after.is_none() {
                // Too much to be handed on: the hole is closed as it is.
                if let Some(before) = at.checked_sub(1).and_then(|before| spans.get_mut(before)) {
                    before.to = first - 1;
                }
                missed = 0;
            }
            least = before.last.saturating_add(1);
            lower = Some(least.saturating_add(room(missed)));
        }
        if let Some(after) = after {
            upper = Some(after.first.saturating_sub(room(after.from - last)).saturating_sub(others));
        }
        let wished = handed_on.map_or(now, |sent| sent.min(now));
        let wished = match upper {
            // A hole is closed from its end.
            Some(upper) if after.is_some() => handed_on.map_or(upper, |_| wished),
            // What else is missing of an earlier epoch comes after it, and needs room too.
            Some(upper) if handed_on.is_none() || wished > upper => {
                lower.unwrap_or(upper.saturating_sub(room(u64::MAX)))
            }
            _ => wished,
        };
        let (lower, upper) = (lower.unwrap_or(Place::MIN), upper.unwrap_or(Place::MAX));
        // Where there is no room, what is of one epoch stays in order.
        let place = wished.max(lower).min(upper);
        let place = if after.is_some() { place } else { place.max(least) };
        let new = Span { from: first, to: last, first: place, last: place.saturating_add(others) };
        insert(spans, at, new);
        let next = after.map(|after| (after.from, after.from - last - 1));
        Arrival::New(Arrived { place, missed, next })
    }
}

/// Places for so many messages.
fn room(messages: u64) -> Place {
    messages.min(limits::GAP_ROOM).cast_signed()
}

/// Adds a span before index `at`, joining what touches it.
fn insert(spans: &mut Vec<Span>, at: usize, new: Span) {
    let touches_before = at
        .checked_sub(1)
        .filter(|before| spans.get(*before).is_some_and(|span| span.to.saturating_add(1) == new.from));
    let touches_after = spans.get(at).filter(|span| new.to.saturating_add(1) == span.from).copied();
    let start = touches_before.and_then(|before| spans.get(before)).copied();
    let whole = Span {
        from: start.map_or(new.from, |span| span.from),
        first: start.map_or(new.first, |span| span.first),
        to: touches_after.map_or(new.to, |span| span.to),
        last: touches_after.map_or(new.last, |span| span.last),
    };
    let from = touches_before.unwrap_or(at);
    let to = if touches_after.is_some() { at + 1 } else { at };
    spans.splice(from..to, [whole]);
    // Of too many holes the oldest is given up.
    if spans.len() > limits::GAPS + 1
        && let Some(second) = spans.get(1).copied()
    {
        spans.remove(1);
        if let Some(first) = spans.first_mut() {
            (first.to, first.last) = (second.to, second.last);
        }
    }
}

/// The author sent more than it may have on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flooded;

/// One author, as seen by one receiver.
#[derive(Debug)]
pub struct Inbox {
    streams: Streams,
    messages: TokenBucket,
    bytes: TokenBucket,
    held: VecDeque<(ConnId, Addressed)>,
    held_messages: u64,
    held_bytes: usize,
}

impl Inbox {
    /// Nothing received yet.
    #[must_use]
    pub fn new(policy: &Policy, now: Instant) -> Self {
        Self {
            streams: Streams::default(),
            messages: TokenBucket::new(policy.rate, policy.burst, now),
            bytes: TokenBucket::new(policy.rate_bytes, policy.rate_bytes, now),
            held: VecDeque::new(),
            held_messages: 0,
            held_bytes: 0,
        }
    }

    /// Takes in a batch that came over a link. [`Self::release`] gives it out when its turn has come. A sender that keeps to
    /// the window is never [`Flooded`].
    pub fn take_in(&mut self, conn: ConnId, addressed: Addressed) -> Result<(), Flooded> {
        let bytes = self.held_bytes + addressed.batch.bytes();
        let messages = self.held_messages + addressed.batch.count();
        let most = limits::WINDOW_SLACK * limits::WINDOW_MESSAGES;
        if messages > most as u64 || bytes > limits::WINDOW_SLACK * limits::WINDOW_BYTES {
            return Err(Flooded);
        }
        (self.held_messages, self.held_bytes) = (messages, bytes);
        self.held.push_back((conn, addressed));
        Ok(())
    }

    /// Drops batches that wait for their turn and are not `wanted`. They were not acknowledged, and may come again.
    pub fn retain_held(&mut self, wanted: impl Fn(ConnId, &StreamId) -> bool) {
        self.held.retain(|(over, held)| wanted(*over, &held.batch.stream));
        self.held_messages = self.held.iter().map(|(_, held)| held.batch.count()).sum();
        self.held_bytes = self.held.iter().map(|(_, held)| held.batch.bytes()).sum();
    }

    /// The next batch whose turn has come and the link over which it came, or how long the next one has to wait.
    pub fn release(&mut self, now: Instant) -> Result<Option<(ConnId, Addressed)>, Duration> {
        let Some((_, Addressed { batch: next, .. })) = self.held.front() else { return Ok(None) };
        let (count, size) = (u32::try_from(next.count()).unwrap_or(u32::MAX), next.bytes());
        self.messages.take(count, now)?;
        if let Err(wait) = self.bytes.take(u32::try_from(size).unwrap_or(u32::MAX), now) {
            self.messages.give_back(count);
            return Err(wait);
        }
        self.held_messages -= u64::from(count);
        self.held_bytes -= size;
        Ok(self.held.pop_front())
    }

    /// Places a batch in its stream. `now` is where what comes now would stand, `handed_on` where something was sent
    /// that comes later than it should.
    pub fn arrive(&mut self, batch: &Batch, now: Place, handed_on: Option<Place>) -> Arrival {
        self.streams.arrive(key(&batch.stream), (batch.first, batch.last()), now, handed_on)
    }

    /// Takes a batch in again whose numbers are known but whose messages were lost or given up. It stands at `place` now.
    pub fn arrive_again(&mut self, batch: &Batch, place: Place) {
        let spans = self.streams.0.entry(key(&batch.stream)).or_default();
        let (mut from, mut to) = (batch.first, batch.last());
        let (mut first, mut last) = (place, place);
        let apart = |span: &Span| span.to < batch.first || span.from > batch.last();
        for span in spans.iter().filter(|span| !apart(span)) {
            (from, to) = (from.min(span.from), to.max(span.to));
            (first, last) = (first.min(span.first), last.max(span.last));
        }
        spans.retain(apart);
        let at = spans.partition_point(|span| span.from <= to);
        insert(spans, at, Span { from, to, first, last });
    }

    /// What is here of a stream.
    #[must_use]
    pub fn spans(&self, everyone: bool, epoch: u64) -> &[Span] {
        self.streams.0.get(&(everyone, epoch)).map(Vec::as_slice).unwrap_or_default()
    }

    /// Of the newest epochs of the stream to everyone, the last number that is here; the newest last. And where that one
    /// stands.
    #[must_use]
    pub fn counts(&self) -> (Vec<(u64, u64)>, Place) {
        let everyone = self.streams.0.range((true, 0)..=(true, u64::MAX));
        let lasts = everyone.filter_map(|((_, epoch), spans)| Some((*epoch, *spans.last()?)));
        let newest = lasts.clone().next_back().map_or(0, |(_, span)| span.last);
        let mut counts: Vec<(u64, u64)> =
            lasts.rev().take(limits::DEPARTED_EPOCHS).map(|(epoch, span)| (epoch, span.to)).collect();
        counts.reverse();
        (counts, newest)
    }

    /// Takes up what the history has of a stream.
    pub fn recall(&mut self, everyone: bool, epoch: u64, spans: Vec<Span>) {
        self.streams.0.insert((everyone, epoch), spans);
    }

    /// The parts of a range that are not here, the oldest first.
    #[must_use]
    pub fn missing(&self, everyone: bool, epoch: u64, from: u64, to: u64) -> Vec<(u64, u64)> {
        let mut missing = Vec::new();
        let mut next = from;
        for span in self.spans(everyone, epoch) {
            if next > to {
                break;
            }
            if span.from > next {
                missing.push((next, to.min(span.from - 1)));
            }
            next = next.max(span.to.saturating_add(1));
        }
        if next <= to {
            missing.push((next, to));
        }
        missing
    }

    /// Takes on the network's policy.
    pub fn set_policy(&mut self, policy: &Policy, now: Instant) {
        self.messages = TokenBucket::new(policy.rate, policy.burst, now);
        self.bytes = TokenBucket::new(policy.rate_bytes, policy.rate_bytes, now);
    }
}

fn key(stream: &StreamId) -> (bool, u64) {
    (stream.to == Recipient::Everyone, stream.epoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PeerId, SafeText, Timestamp};

    const LINK: ConnId = ConnId(1);

    fn range(epoch: u64, first: u64, count: usize) -> Batch {
        let stream = StreamId { author: PeerId([1; 32]), epoch, to: Recipient::Everyone };
        let texts = vec![SafeText::clean("x"); count];
        Batch { stream, first, sent_at: Timestamp(0), texts, signature: None }
    }

    fn one(epoch: u64, sequence: u64) -> Batch {
        range(epoch, sequence, 1)
    }

    fn message(sequence: u64, size: usize) -> Addressed {
        let batch = Batch { texts: vec![SafeText::clean(&"x".repeat(size))], ..one(1, sequence) };
        Addressed { roster: 1, batch }
    }

    /// What arrives, and how much is missing before it; nothing for what is known.
    fn arrive(inbox: &mut Inbox, epoch: u64, sequence: u64) -> Option<u64> {
        match inbox.arrive(&one(epoch, sequence), 1000 * sequence.min(1 << 40).cast_signed(), None) {
            Arrival::New(arrived) => Some(arrived.missed),
            Arrival::Known => None,
        }
    }

    #[test]
    fn duplicates_gaps_and_epochs() {
        let mut inbox = Inbox::new(&Policy::default(), Instant::now());
        for (epoch, sequence, expected) in [
            (1, 50, Some(0)),
            (1, 51, Some(0)),
            (1, 51, None),
            (1, 50, None),
            (1, 55, Some(3)),
            (1, 53, Some(1)),
            (1, 53, None),
            (1, 52, Some(0)),
            (1, 54, Some(0)),
            (1, 54, None),
            (2, 1, Some(0)),
            (2, 1, None),
            (1, 49, Some(0)),
            (1, 56, Some(0)),
            (2, 90_000, Some(89_998)),
            (2, u64::MAX - 1, Some(0)),
        ] {
            assert_eq!(arrive(&mut inbox, epoch, sequence), expected, "{epoch} {sequence}");
        }
        assert_eq!(inbox.spans(true, 1).len(), 1);
        assert_eq!(inbox.missing(true, 1, 40, 60), [(40, 48), (57, 60)]);
        assert_eq!(inbox.missing(true, 3, 1, 2), [(1, 2)]);
        assert_eq!(inbox.missing(true, 1, 50, 56), []);
        let mut direct = one(2, 1);
        direct.stream.to = Recipient::Peer(PeerId([2; 32]));
        assert!(matches!(inbox.arrive(&direct, 0, None), Arrival::New(_)), "numbered apart");
    }

    #[test]
    fn what_was_missed_finds_its_place_between_its_neighbours() {
        let mut inbox = Inbox::new(&Policy::default(), Instant::now());
        let mut place = |epoch, sequence, now, sent| match inbox.arrive(&one(epoch, sequence), now, sent) {
            Arrival::New(arrived) => (arrived.place, arrived.next),
            Arrival::Known => panic!("{sequence} is new"),
        };
        assert_eq!(place(5, 1, 1000, None), (1000, None));
        assert_eq!(place(5, 6, 2000, None), (2000, None));
        assert_eq!(place(5, 3, 9000, Some(1500)), (1500, Some((6, 2))), "where it was sent");
        assert_eq!(place(5, 5, 9000, Some(99_999)), (1999, Some((6, 0))), "a clock that is ahead");
        assert_eq!(place(5, 4, 9000, Some(-5)), (1501, Some((5, 0))), "a clock that is behind");
        assert_eq!(place(5, 2, 9000, None), (1499, Some((3, 0))), "late, but from its author");
        assert_eq!(place(5, 7, 9000, Some(3000)), (3000, None), "missed at the end");
        assert_eq!(place(4, 1, 9000, Some(8000)), (-9001, None), "an earlier epoch stands before, with room");
        assert_eq!(place(4, 2, 9000, None), (-9000, None));
        assert_eq!(place(6, 1, 100, None), (13_001, None), "a later one after, whatever the clock says");
        // Two that come at the same time leave room for those between them.
        assert_eq!(place(6, 4, 100, None).0, 13_004);
        assert_eq!((place(6, 3, 9000, Some(0)).0, place(6, 2, 9000, Some(9000)).0), (13_003, 13_002));
    }

    #[test]
    fn a_batch_is_placed_as_a_whole_and_known_when_any_part_of_it_is() {
        let mut inbox = Inbox::new(&Policy::default(), Instant::now());
        let mut arrive = |first, count, now| match inbox.arrive(&range(1, first, count), now, None) {
            Arrival::New(Arrived { place, missed, next }) => Some((place, missed, next)),
            Arrival::Known => None,
        };
        assert_eq!(arrive(1, 10, 1000), Some((1000, 0, None)));
        assert_eq!(arrive(21, 10, 2000), Some((2000, 10, None)));
        assert_eq!(arrive(5, 1, 3000), None);
        assert_eq!(arrive(9, 4, 3000), None);
        assert_eq!(arrive(15, 10, 3000), None);
        assert_eq!(arrive(1, 40, 3000), None);
        assert_eq!(
            arrive(13, 4, 3000),
            Some((1992, 2, Some((21, 4)))),
            "just before the next, with room for four"
        );
        assert_eq!(arrive(11, 2, 3000), Some((1990, 0, Some((13, 0)))));
        let earlier = Batch { stream: StreamId { epoch: 0, ..range(1, 1, 1).stream }, ..range(1, 1, 5) };
        let Arrival::New(before) = inbox.arrive(&earlier, 9000, Some(8000)) else { panic!("new") };
        assert_eq!(before.place, 995 - 10_000, "all of an earlier epoch stands before the later one");
        inbox.arrive_again(&range(1, 8, 13), 4000);
        assert_eq!(inbox.spans(true, 1).iter().map(|s| (s.from, s.to)).collect::<Vec<_>>(), [(1, 30)]);
    }

    #[test]
    fn the_end_of_an_epoch_that_comes_after_the_next_one_has_begun_stands_before_it_in_order() {
        let mut inbox = Inbox::new(&Policy::default(), Instant::now());
        let mut stand = |epoch, first, count: usize, now| {
            let Arrival::New(Arrived { place, .. }) = inbox.arrive(&range(epoch, first, count), now, None)
            else {
                panic!("new")
            };
            (place, place + count.cast_signed() as Place - 1)
        };
        let (_, mut end) = stand(1, 1, 40, 1000);
        let (next, _) = stand(2, 1, 10, 1040);
        // One at a time, and many at once.
        let mut first = 41;
        for count in [1, 1, 30, 5, 200, 1] {
            let (from, to) = stand(1, first, count, 9000);
            assert!(end < from && to < next, "{first}: {from}..={to} between {end} and {next}");
            (first, end) = (first + count as u64, to);
        }
        // Where more is missing than there is room for, it still stands before.
        let (from, to) = stand(1, first + 20_000, 1, 9000);
        assert!(end < from && to < next, "{from}..={to} between {end} and {next}");
        end = to;
        first += 20_001;
        // There is no end to how many may be missing, but to the room.
        let (from, _) = stand(1, first, 2 * usize::try_from(limits::GAP_ROOM).unwrap(), 9000);
        assert!(end < from);
    }

    #[test]
    fn an_epoch_of_which_nothing_was_here_stands_before_the_later_ones_in_order() {
        for sent in [None, Some(2000), Some(99_999)] {
            let mut inbox = Inbox::new(&Policy::default(), Instant::now());
            let mut stand = |epoch, sequence| match inbox.arrive(&one(epoch, sequence), 50_000, sent) {
                Arrival::New(arrived) => arrived.place,
                Arrival::Known => panic!("{sequence} is new"),
            };
            let later = stand(7, 1);
            let earlier: Vec<Place> = (1..100).map(|sequence| stand(5, sequence)).collect();
            assert!(earlier.is_sorted_by(|one, next| one < next) && earlier[98] < later, "{earlier:?}");
        }
    }

    #[test]
    fn an_author_that_counts_wildly_costs_no_memory() {
        let mut inbox = Inbox::new(&Policy::default(), Instant::now());
        for sequence in 1..1000 {
            assert!(arrive(&mut inbox, 1, sequence * 2).is_some());
        }
        assert_eq!(inbox.spans(true, 1).len(), limits::GAPS + 1);
        for epoch in 1..1000 {
            arrive(&mut inbox, epoch, 1);
        }
        assert_eq!(inbox.streams.0.len(), limits::EPOCHS);
        assert!(!inbox.spans(true, 999).is_empty(), "the newest stay");
    }

    #[test]
    fn a_hole_that_nobody_could_fill_is_closed_as_it_is() {
        let mut inbox = Inbox::new(&Policy::default(), Instant::now());
        assert_eq!(arrive(&mut inbox, 1, 1), Some(0));
        assert_eq!(arrive(&mut inbox, 1, 100_002), Some(100_000));
        assert_eq!(arrive(&mut inbox, 1, 200_004), Some(0), "100,001 are missing");
        assert_eq!(arrive(&mut inbox, 1, 150_000), None, "nor is one of them waited for");
        assert_eq!(arrive(&mut inbox, 1, 50_000), Some(49_998));
    }

    #[test]
    fn a_burst_passes_then_the_rate_holds_and_nothing_is_dropped() {
        let start = Instant::now();
        let policy = Policy { rate: 10, burst: 5, rate_bytes: 0, ..Policy::default() };
        let mut inbox = Inbox::new(&policy, start);
        for sequence in 0..100 {
            inbox.take_in(LINK, message(sequence, 1)).unwrap();
        }
        let mut now = start;
        let mut released = 0;
        loop {
            match inbox.release(now) {
                Ok(Some((_, message))) => {
                    assert_eq!(message.batch.first, released);
                    released += 1;
                }
                Ok(None) => break,
                Err(wait) => now += wait,
            }
        }
        assert_eq!(released, 100);
        assert!((now - start).as_secs_f64() > 9.4 && (now - start).as_secs_f64() < 9.6);
    }

    #[test]
    fn what_came_over_a_link_that_is_gone_comes_again() {
        let policy = Policy { rate: 1, burst: 1, rate_bytes: 0, ..Policy::default() };
        let mut inbox = Inbox::new(&policy, Instant::now());
        for turn in 0..10 {
            let link = ConnId(turn);
            for sequence in 0..limits::WINDOW_MESSAGES as u64 {
                inbox.take_in(link, message(sequence, 1)).unwrap();
            }
            inbox.retain_held(|over, _| over != link);
        }
        inbox.take_in(LINK, message(0, 1)).unwrap();
        inbox.take_in(ConnId(77), message(1, 1)).unwrap();
        inbox.retain_held(|over, _| over != LINK);
        let (link, next) = inbox.release(Instant::now()).unwrap().unwrap();
        assert_eq!((link, next.batch.first), (ConnId(77), 1));
    }

    #[test]
    fn bytes_are_limited_too() {
        let start = Instant::now();
        let mut inbox =
            Inbox::new(&Policy { rate: 0, burst: 0, rate_bytes: 1000, ..Policy::default() }, start);
        inbox.take_in(LINK, message(0, 1000)).unwrap();
        inbox.take_in(LINK, message(1, 500)).unwrap();
        assert!(inbox.release(start).unwrap().is_some());
        assert_eq!(inbox.release(start).unwrap_err(), Duration::from_millis(500));
    }

    #[test]
    fn a_sender_that_ignores_the_window_is_noticed() {
        let mut inbox =
            Inbox::new(&Policy { rate: 1, burst: 1, rate_bytes: 1, ..Policy::default() }, Instant::now());
        let taken =
            (0..10_000).take_while(|sequence| inbox.take_in(LINK, message(*sequence, 1)).is_ok()).count();
        assert_eq!(taken, limits::WINDOW_SLACK * limits::WINDOW_MESSAGES);
    }
}

//! Catching up: a member that was away, or finds a hole in a stream, asks for the messages that it lacks, and members that
//! have them hand them on.
//!
//! It must never take on a message that was handed on by anybody but its author without the author's signature, or hand on
//! what the reader may not read.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use rand_core::RngCore as _;

use super::{Messaging, Timer, receiving::Way};
use crate::{
    api::{HistoryCommand, StoreCommand},
    model::{Batch, CloseReason, Held, PeerId, Recipient, StoredBatch, StreamId, Timestamp, Wire, limits},
    proto::{ConnId, group::Group},
    security::sign,
    wire::{Frame, HandedOn, Wanted},
};

/// A question to a peer. The next one waits for the answer.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) frame: Frame,
    pub(super) is_asked: bool,
}

/// Whom this node asks for what it missed, and who has asked this node.
#[derive(Debug, Default)]
pub(super) struct CatchUp {
    /// Messages since this time may be missing here.
    since: Timestamp,
    /// Nobody has handed on yet all that it has.
    is_open: bool,
    /// How many peers are still to be asked.
    left: usize,
    asked: BTreeSet<PeerId>,
    /// The peer that is being asked what it has.
    current: Option<PeerId>,
    /// Messages to be asked of each peer, after the present question.
    pub(super) wanted: BTreeMap<PeerId, VecDeque<Wanted>>,
    /// Questions of others that wait for the history, by token: who asked, over which link, and for what.
    answering: BTreeMap<u64, (PeerId, ConnId, Option<Wanted>)>,
    number: u64,
}

impl CatchUp {
    /// A token for a question to the history.
    pub(super) fn next_token(&mut self) -> u64 {
        self.number += 1;
        self.number
    }
}

impl Messaging {
    /// Asks a few peers which messages they have since this node was here last, as far as it may read them.
    pub(in crate::proto) fn catch_up(&mut self, group: &Group) {
        let since = self.places.take_away(self.turn.now.wall);
        self.catch_up_since(group, since);
    }

    /// As [`Self::catch_up`], from this time on.
    pub(in crate::proto) fn catch_up_since(&mut self, group: &Group, since: Timestamp) {
        let slack = i64::try_from(limits::CATCH_UP_SLACK.as_micros()).unwrap_or(i64::MAX);
        let since = Timestamp(since.0.saturating_sub(slack)).max(group.readable_since(&group.me()));
        // A question that nobody has answered stays open, with its earlier time.
        let is_open = std::mem::replace(&mut self.catch_up.is_open, true);
        self.catch_up.since = if is_open { since.min(self.catch_up.since) } else { since };
        self.catch_up.left = limits::CATCH_UP_PEERS;
        self.catch_up.asked.clear();
        self.next_source(group);
    }

    /// Asks the next peer: the host first, then any.
    pub(super) fn next_source(&mut self, group: &Group) {
        if self.catch_up.left == 0 || self.catch_up.current.is_some() {
            return;
        }
        let me = group.me();
        let open =
            |peer: &PeerId| *peer != me && peer.wire() == Wire::Native && !self.catch_up.asked.contains(peer);
        let mut others: Vec<PeerId> =
            group.roster.entries().map(|entry| entry.peer_id).filter(|peer| open(peer)).collect();
        let host = group.host().filter(|host| others.contains(host));
        let count = u32::try_from(others.len()).unwrap_or(u32::MAX);
        let source = host.or_else(|| {
            let at = self.turn.rng.next_u32().checked_rem(count)?;
            Some(others.swap_remove(usize::try_from(at).ok()?))
        });
        // Peers that come later are asked then.
        let Some(source) = source else { return };
        self.catch_up.left -= 1;
        self.catch_up.asked.insert(source);
        self.catch_up.current = Some(source);
        let frame = Frame::CatchUp(self.catch_up.since);
        self.ask(group, source, frame);
    }

    fn ask(&mut self, group: &Group, peer: PeerId, frame: Frame) {
        let state = self.peer(group, peer);
        let before = state.question.replace(Question { frame, is_asked: false });
        // A question that is replaced is asked again later; an answer to it now is passed over.
        if let Some(Question { frame: Frame::Wanted(wanted), .. }) = before {
            self.catch_up.wanted.entry(peer).or_default().push_front(wanted);
        }
        self.turn.timers.set(Timer::Answer(peer), self.turn.now.instant + limits::ANSWER_TIMEOUT);
        self.pump(group, peer);
    }

    /// The next question for a peer that has none now.
    pub(in crate::proto) fn next_question(&mut self, group: &Group, peer: PeerId) {
        let is_asked = self.peers.get(&peer).is_some_and(|state| state.question.is_some());
        if is_asked || self.turn.timers.is_set(Timer::Ask(peer)) {
            return;
        }
        // More is asked for only when what was handed on is kept.
        if self.journal.behind() > limits::UNKEPT_BATCHES {
            self.turn.timers.set(Timer::Ask(peer), self.turn.now.instant + limits::ASK_EVERY);
            return;
        }
        self.turn.timers.cancel(Timer::Answer(peer));
        let next = self.catch_up.wanted.get_mut(&peer).and_then(VecDeque::pop_front);
        if let Some(wanted) = next {
            return self.ask(group, peer, Frame::Wanted(wanted));
        }
        self.catch_up.wanted.remove(&peer);
        if self.catch_up.current == Some(peer) {
            self.catch_up.current = None;
            self.catch_up.is_open = false;
            self.next_source(group);
        }
    }

    /// A peer does not answer, or is gone: another one is asked.
    pub(in crate::proto) fn no_answer(&mut self, group: &Group, peer: PeerId) {
        self.turn.timers.cancel(Timer::Answer(peer));
        self.turn.timers.cancel(Timer::Ask(peer));
        if let Some(state) = self.peers.get_mut(&peer) {
            state.question = None;
        }
        self.catch_up.wanted.remove(&peer);
        if self.catch_up.current == Some(peer) {
            self.catch_up.current = None;
            self.next_source(group);
        }
    }

    /// Messages before one that came are missing: asks their author.
    pub(super) fn ask_for_gap(&mut self, group: &Group, stream: &StreamId, first: u64, missed: u64) {
        let author = stream.author;
        let range = Held { author, epoch: stream.epoch, from: first.saturating_sub(missed), to: first - 1 };
        let direct = stream.to != Recipient::Everyone;
        self.want(author, [Wanted { direct, range }]);
        self.next_question(group, author);
    }

    /// A peer answers which messages it has.
    pub(super) fn held(&mut self, group: &Group, conn: ConnId, peer: PeerId, held: Vec<Held>) {
        if !self.takes_answer(peer, |frame| matches!(frame, Frame::CatchUp(_))) {
            return;
        }
        if held.len() > limits::HELD {
            return self.drop_link(conn, CloseReason::ProtocolError);
        }
        self.want_of(group, peer, held);
    }

    /// A peer has these messages: asks it for those that are not here.
    pub(in crate::proto) fn want_of(&mut self, group: &Group, peer: PeerId, held: Vec<Held>) {
        let me = group.me();
        let mut wanted = Vec::new();
        let may_name = Self::may_name(group, &peer);
        for range in held.into_iter().filter(is_lawful) {
            // Of too many, only the newest.
            let range = Held { from: range.from.max(range.to.saturating_sub(limits::GAP_MOST)), ..range };
            // Nobody signs what a classic peer says, and each member numbers it for itself.
            let is_classic = range.author.wire() == Wire::Classic;
            if range.author == me || is_classic || !may_name(group, &range.author) {
                continue;
            }
            let Some(state) = self.peers.get(&range.author) else {
                wanted.push(Wanted { direct: false, range });
                continue;
            };
            for (from, to) in state.inbox.missing(true, range.epoch, range.from, range.to) {
                wanted.push(Wanted { direct: false, range: Held { from, to, ..range } });
            }
        }
        self.want(peer, wanted);
        self.next_question(group, peer);
    }

    /// An author is gone, perhaps before it had sent its last messages here: asks the host for those that it has.
    pub(super) fn want_last_words(&mut self, group: &Group, gone: &PeerId) {
        let me = group.me();
        let Some((host, departed)) = group.host().filter(|host| *host != me).zip(group.roster.departed(gone))
        else {
            return;
        };
        let newest = departed.counts.last().filter(|_| departed.newest >= group.readable_since(&me));
        let inbox = self.peers.get(gone).map(|state| &state.inbox);
        let missing = |count: &(u64, u64)| {
            // Messages from before this node's admission are not missing.
            let known = inbox.and_then(|inbox| inbox.spans(true, count.0).first()).map(|span| span.from);
            let from = known.or_else(|| (Some(count) == newest).then_some(1))?;
            Some(Held { author: *gone, epoch: count.0, from, to: count.1 })
        };
        let held: Vec<Held> = departed.counts.iter().filter_map(missing).collect();
        self.want_of(group, host, held);
    }

    /// Adds to what is to be asked of a peer. What is too much stays a gap.
    fn want(&mut self, peer: PeerId, wanted: impl IntoIterator<Item = Wanted>) {
        let waiting = self.catch_up.wanted.entry(peer).or_default();
        let room = limits::WANTED.saturating_sub(waiting.len());
        waiting.extend(wanted.into_iter().take(room));
    }

    /// Whether a peer may name an author: any peer may name one that is known here, and only the host one that is not,
    /// since it knows whom it has admitted.
    fn may_name(group: &Group, peer: &PeerId) -> impl Fn(&Group, &PeerId) -> bool + use<> {
        let is_host = group.host().as_ref() == Some(peer);
        move |group, author| is_host || group.person(author).is_some()
    }

    /// True for the answer to the present question. Any other answer came too late, which is nobody's fault, and is passed
    /// over.
    fn takes_answer(&mut self, peer: PeerId, is_answered: impl Fn(&Frame) -> bool) -> bool {
        let Some(state) = self.peers.get_mut(&peer) else { return false };
        let question = state.question.take_if(|question| question.is_asked && is_answered(&question.frame));
        question.is_some()
    }

    /// A peer hands on messages that it was asked for.
    pub(super) fn handed_on(&mut self, group: &mut Group, conn: ConnId, peer: PeerId, handed: HandedOn) {
        let HandedOn { wanted, label, batches, next } = handed;
        let is_asked = self.takes_answer(peer, |frame| *frame == Frame::Wanted(wanted));
        let Some(network) = group.network_id().filter(|_| is_asked) else { return };
        let count: u64 = batches.iter().map(Batch::count).sum();
        let Held { author, epoch, from, to: until } = wanted.range;
        let to = if wanted.direct { Recipient::Peer(group.me()) } else { Recipient::Everyone };
        for batch in batches {
            let is_wanted = batch.stream == StreamId { author, epoch, to }
                && batch.first <= until
                && batch.last() >= from;
            if !is_wanted || !batch.is_lawful() {
                return self.drop_link(conn, CloseReason::ProtocolError);
            }
            // Nobody can tell whether its author or the peer that hands it on is at fault.
            if author != peer && !sign::batch_holds(&network, &batch) {
                continue;
            }
            group.meet(&author, &label);
            // A batch that is known is kept already.
            let _ = self.take_on(group, &batch, Way::HandedOn);
        }
        // A peer that hands on nothing has no more.
        let goes_on = |next: &u64| count > 0 && *next > wanted.range.from && *next <= wanted.range.to;
        if let Some(next) = next.filter(goes_on) {
            let rest = Wanted { range: Held { from: next, ..wanted.range }, ..wanted };
            self.catch_up.wanted.entry(peer).or_default().push_front(rest);
        }
        self.turn.timers.cancel(Timer::Answer(peer));
        // At most ten times the rate at which a member may send.
        let rate = 10 * u64::from(group.policy.rate);
        let pace = (count * 1000).checked_div(rate).map_or(Duration::ZERO, Duration::from_millis);
        self.turn.timers.set(Timer::Ask(peer), self.turn.now.instant + pace.max(limits::ASK_EVERY));
    }

    /// A peer asks which messages are here.
    pub(super) fn asked(&mut self, group: &Group, conn: ConnId, peer: PeerId, since: Timestamp) {
        let Some((token, network)) = self.may_ask(group, conn, peer, None) else { return };
        let since = since.max(group.readable_since(&peer));
        let command = HistoryCommand::Held { token, network, since };
        self.turn.store(StoreCommand::History(command));
    }

    /// A peer asks for messages.
    pub(super) fn wanted(&mut self, group: &Group, conn: ConnId, peer: PeerId, wanted: Wanted) {
        if (wanted.direct && wanted.range.author != group.me()) || !is_lawful(&wanted.range) {
            return self.drop_link(conn, CloseReason::ProtocolError);
        }
        let Some((token, network)) = self.may_ask(group, conn, peer, Some(wanted)) else { return };
        let (conversation, since) = if wanted.direct {
            (Recipient::Peer(peer), Timestamp(i64::MIN))
        } else {
            (Recipient::Everyone, group.readable_since(&peer))
        };
        let command = HistoryCommand::Range { token, network, conversation, wanted: wanted.range, since };
        self.turn.store(StoreCommand::History(command));
    }

    /// A token for a peer's question to the history, unless the peer has too many open or asks too often.
    fn may_ask(
        &mut self,
        group: &Group,
        conn: ConnId,
        asker: PeerId,
        wanted: Option<Wanted>,
    ) -> Option<(u64, crate::model::NetworkId)> {
        let open = self.catch_up.answering.values().filter(|(other, ..)| *other == asker).count();
        let (now, cost) = (self.turn.now.instant, if wanted.is_some() { 1 } else { limits::CATCH_UP_COST });
        let is_too_fast = self.peer(group, asker).asks.take(cost, now).is_err();
        if is_too_fast || open >= limits::QUESTIONS {
            self.drop_link(conn, CloseReason::ProtocolError);
            return None;
        }
        let network = group.network_id()?;
        let token = self.catch_up.next_token();
        self.catch_up.answering.insert(token, (asker, conn, wanted));
        Some((token, network))
    }

    /// The history answers which messages are here.
    pub(in crate::proto) fn answer_held(&mut self, token: u64, mut held: Vec<Held>) {
        held.retain(|range| range.author.wire() == Wire::Native);
        held.truncate(limits::HELD);
        if let Some((_, conn, None)) = self.catch_up.answering.remove(&token) {
            self.turn.send(conn, &Frame::Held(held.into()));
        }
    }

    /// The history gives the messages that a peer asked for.
    pub(in crate::proto) fn answer_range(
        &mut self,
        group: &Group,
        token: u64,
        batches: &[Arc<StoredBatch>],
        next: Option<u64>,
    ) {
        let Some((_, conn, Some(wanted))) = self.catch_up.answering.remove(&token) else { return };
        let label = batches.first().map(|batch| batch.alias.to_string()).unwrap_or_default();
        let network = group.network_id();
        // A batch that came over its author's own link was not verified then.
        let can_be_handed_on = |batch: &&Batch| {
            wanted.direct || network.is_some_and(|network| sign::batch_holds(&network, batch))
        };
        let batches = batches.iter().map(|stored| &stored.batch).filter(can_be_handed_on).cloned().collect();
        self.turn.send(conn, &Frame::HandedOn(HandedOn { wanted, label, batches, next }));
    }
}

/// True for a range whose numbers do not overflow.
fn is_lawful(range: &Held) -> bool {
    let most = i64::MAX.cast_unsigned();
    range.from >= 1 && range.from <= range.to && range.to < most && range.epoch < most
}

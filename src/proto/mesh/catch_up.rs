//! Catching up: whoever was away, or finds a hole in a stream, asks for what it lacks, and whoever has
//! it hands it on.
//!
//! It must never take on a message of somebody who is not at the other end without that author's signature, or hand
//! on what its reader may not read.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use rand_core::RngCore as _;

use super::{Mesh, receiving::Way};
use crate::{
    api::{HistoryCommand, StoreCommand},
    model::{Batch, CloseReason, Held, PeerId, Recipient, StoredBatch, StreamId, Timestamp, Wire, limits},
    proto::{
        ConnId, Output,
        core::{Core, Timer},
    },
    security::sign,
    wire::{Frame, HandedOn, Wanted},
};

/// What a peer is asked; the next question waits for the answer.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) frame: Frame,
    pub(super) is_asked: bool,
}

/// Whom to ask what was missed, and who has asked this peer.
#[derive(Debug, Default)]
pub(in crate::proto) struct CatchUp {
    /// What came since then may be missing here.
    since: Timestamp,
    /// Nobody has handed on yet all that it had.
    is_open: bool,
    /// How many are still to be asked.
    left: usize,
    asked: BTreeSet<PeerId>,
    /// Who is being asked.
    current: Option<PeerId>,
    /// Messages that are wanted of a peer, beside the question that it has.
    pub(in crate::proto) wanted: BTreeMap<PeerId, VecDeque<Wanted>>,
    /// Questions to this peer's history, by number: who asked, over which link, and what.
    answering: BTreeMap<u64, (PeerId, ConnId, Option<Wanted>)>,
    number: u64,
}

impl CatchUp {
    /// A number for a question to the history.
    pub(super) fn next_token(&mut self) -> u64 {
        self.number += 1;
        self.number
    }
}

impl Mesh {
    /// Asks a few peers what came since `since`, as far as this one may read.
    pub(in crate::proto) fn catch_up(&mut self, core: &mut Core, since: Timestamp) {
        let slack = i64::try_from(limits::CATCH_UP_SLACK.as_micros()).unwrap_or(i64::MAX);
        let since = Timestamp(since.0.saturating_sub(slack)).max(core.readable_since(&core.me()));
        // What was not answered the last time is still missing.
        let is_open = std::mem::replace(&mut self.catch_up.is_open, true);
        self.catch_up.since = if is_open { since.min(self.catch_up.since) } else { since };
        self.catch_up.left = limits::CATCH_UP_PEERS;
        self.catch_up.asked.clear();
        self.next_source(core);
    }

    /// Asks the next peer: the host first, then any.
    pub(super) fn next_source(&mut self, core: &mut Core) {
        if self.catch_up.left == 0 || self.catch_up.current.is_some() {
            return;
        }
        let me = core.me();
        let open =
            |peer: &PeerId| *peer != me && peer.wire() == Wire::Native && !self.catch_up.asked.contains(peer);
        let mut others: Vec<PeerId> =
            core.roster.entries().map(|entry| entry.peer_id).filter(|peer| open(peer)).collect();
        let host = core.host().filter(|host| others.contains(host));
        let count = u32::try_from(others.len()).unwrap_or(u32::MAX);
        let source = host.or_else(|| {
            let at = core.rng.next_u32().checked_rem(count)?;
            Some(others.swap_remove(usize::try_from(at).ok()?))
        });
        // Those who come later are asked when they are here.
        let Some(source) = source else { return };
        self.catch_up.left -= 1;
        self.catch_up.asked.insert(source);
        self.catch_up.current = Some(source);
        let frame = Frame::CatchUp(self.catch_up.since);
        self.ask(core, source, frame);
    }

    fn ask(&mut self, core: &mut Core, peer: PeerId, frame: Frame) {
        let state = self.peer(peer, &core.policy, core.now.instant);
        let before = state.question.replace(Question { frame, is_asked: false });
        // A question that is overtaken is asked again; the answer to the first one is passed over.
        if let Some(Question { frame: Frame::Wanted(wanted), .. }) = before {
            self.catch_up.wanted.entry(peer).or_default().push_front(wanted);
        }
        core.timers.set(Timer::Answer(peer), core.now.instant + limits::ANSWER_TIMEOUT);
        self.pump(core, peer);
    }

    /// The next question for a peer that has none now.
    pub(in crate::proto) fn next_question(&mut self, core: &mut Core, peer: PeerId) {
        let is_asked = self.peers.get(&peer).is_some_and(|state| state.question.is_some());
        if is_asked || core.timers.is_set(Timer::Ask(peer)) {
            return;
        }
        // What was handed on is kept before more is asked for.
        if self.journal.behind() > limits::UNKEPT_BATCHES {
            core.timers.set(Timer::Ask(peer), core.now.instant + limits::ASK_EVERY);
            return;
        }
        core.timers.cancel(Timer::Answer(peer));
        let next = self.catch_up.wanted.get_mut(&peer).and_then(VecDeque::pop_front);
        if let Some(wanted) = next {
            return self.ask(core, peer, Frame::Wanted(wanted));
        }
        self.catch_up.wanted.remove(&peer);
        if self.catch_up.current == Some(peer) {
            self.catch_up.current = None;
            self.catch_up.is_open = false;
            self.next_source(core);
        }
    }

    /// A peer does not answer, or is gone: others may.
    pub(in crate::proto) fn no_answer(&mut self, core: &mut Core, peer: PeerId) {
        core.timers.cancel(Timer::Answer(peer));
        core.timers.cancel(Timer::Ask(peer));
        if let Some(state) = self.peers.get_mut(&peer) {
            state.question = None;
        }
        self.catch_up.wanted.remove(&peer);
        if self.catch_up.current == Some(peer) {
            self.catch_up.current = None;
            self.next_source(core);
        }
    }

    /// A message came, and some before it are missing: their author has them.
    pub(super) fn ask_for_gap(&mut self, core: &mut Core, stream: &StreamId, first: u64, missed: u64) {
        let author = stream.author;
        let range = Held { author, epoch: stream.epoch, from: first.saturating_sub(missed), to: first - 1 };
        let direct = stream.to != Recipient::Everyone;
        self.want(author, [Wanted { direct, range }]);
        self.next_question(core, author);
    }

    /// A peer says what it has.
    pub(super) fn held(&mut self, core: &mut Core, conn: ConnId, peer: PeerId, held: Vec<Held>) {
        if !self.takes_answer(peer, |frame| matches!(frame, Frame::CatchUp(_))) {
            return;
        }
        if held.len() > limits::HELD {
            return self.drop_link(core, conn, CloseReason::ProtocolError);
        }
        self.want_of(core, peer, held);
    }

    /// A peer has these: what is not here is wanted of it.
    pub(in crate::proto) fn want_of(&mut self, core: &mut Core, peer: PeerId, held: Vec<Held>) {
        let me = core.me();
        let mut wanted = Vec::new();
        let may_name = Self::may_name(core, &peer);
        for range in held.into_iter().filter(is_lawful) {
            // The newest of what is too much.
            let range = Held { from: range.from.max(range.to.saturating_sub(limits::GAP_MOST)), ..range };
            // What a classic peer said is signed by nobody, and counted by each for itself.
            let is_classic = range.author.wire() == Wire::Classic;
            if range.author == me || is_classic || !may_name(core, &range.author) {
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
        self.next_question(core, peer);
    }

    /// Somebody is gone, and may have been sending something: what it said to everyone and the host has is asked of the
    /// host.
    pub(super) fn want_last_words(&mut self, core: &mut Core, gone: &PeerId) {
        let me = core.me();
        let Some((host, departed)) = core.host().filter(|host| *host != me).zip(core.roster.departed(gone))
        else {
            return;
        };
        let newest = departed.counts.last().filter(|_| departed.newest >= core.readable_since(&me));
        let inbox = self.peers.get(gone).map(|state| &state.inbox);
        let missing = |count: &(u64, u64)| {
            // What was said before this node was there is not missing.
            let known = inbox.and_then(|inbox| inbox.spans(true, count.0).first()).map(|span| span.from);
            let from = known.or_else(|| (Some(count) == newest).then_some(1))?;
            Some(Held { author: *gone, epoch: count.0, from, to: count.1 })
        };
        let held: Vec<Held> = departed.counts.iter().filter_map(missing).collect();
        self.want_of(core, host, held);
    }

    /// Notes what is wanted of a peer; what is too much stays a gap.
    fn want(&mut self, peer: PeerId, wanted: impl IntoIterator<Item = Wanted>) {
        let waiting = self.catch_up.wanted.entry(peer).or_default();
        let room = limits::WANTED.saturating_sub(waiting.len());
        waiting.extend(wanted.into_iter().take(room));
    }

    /// Whether a peer may tell of an author: of those who are known here anybody may, of others only the host,
    /// which knows whom it has admitted.
    fn may_name(core: &Core, peer: &PeerId) -> impl Fn(&Core, &PeerId) -> bool + use<> {
        let is_host = core.host().as_ref() == Some(peer);
        move |core, author| is_host || core.person(author).is_some()
    }

    /// True for the answer that is waited for. One that comes too late, or to a question that was overtaken, is
    /// nobody's fault and is passed over.
    fn takes_answer(&mut self, peer: PeerId, is_answered: impl Fn(&Frame) -> bool) -> bool {
        let Some(state) = self.peers.get_mut(&peer) else { return false };
        let question = state.question.take_if(|question| question.is_asked && is_answered(&question.frame));
        question.is_some()
    }

    /// A peer hands on what was wanted of it.
    pub(super) fn handed_on(&mut self, core: &mut Core, conn: ConnId, peer: PeerId, handed: HandedOn) {
        let HandedOn { wanted, label, batches, next } = handed;
        let is_asked = self.takes_answer(peer, |frame| *frame == Frame::Wanted(wanted));
        let Some(network) = Self::network(core).filter(|_| is_asked) else { return };
        let count: u64 = batches.iter().map(Batch::count).sum();
        let Held { author, epoch, from, to: until } = wanted.range;
        let to = if wanted.direct { Recipient::Peer(core.me()) } else { Recipient::Everyone };
        for batch in batches {
            let is_wanted = batch.stream == StreamId { author, epoch, to }
                && batch.first <= until
                && batch.last() >= from;
            if !is_wanted || !batch.is_lawful() {
                return self.drop_link(core, conn, CloseReason::ProtocolError);
            }
            // Its author's fault, or that of whoever hands it on: nobody can tell.
            if author != peer && !sign::batch_holds(&network, &batch) {
                continue;
            }
            core.meet(&author, &label);
            // What is known is kept already.
            let _ = self.take_on(core, &batch, Way::HandedOn);
        }
        // Whoever hands on nothing has no more.
        let goes_on = |next: &u64| count > 0 && *next > wanted.range.from && *next <= wanted.range.to;
        if let Some(next) = next.filter(goes_on) {
            let rest = Wanted { range: Held { from: next, ..wanted.range }, ..wanted };
            self.catch_up.wanted.entry(peer).or_default().push_front(rest);
        }
        core.timers.cancel(Timer::Answer(peer));
        // Ten times as fast as somebody may talk, and no faster.
        let rate = 10 * u64::from(core.policy.rate);
        let pace = (count * 1000).checked_div(rate).map_or(Duration::ZERO, Duration::from_millis);
        core.timers.set(Timer::Ask(peer), core.now.instant + pace.max(limits::ASK_EVERY));
    }

    /// A peer asks what is here.
    pub(super) fn asked(&mut self, core: &mut Core, conn: ConnId, peer: PeerId, since: Timestamp) {
        let Some((token, network)) = self.may_ask(core, conn, peer, None) else { return };
        let since = since.max(core.readable_since(&peer));
        let command = HistoryCommand::Held { token, network, since };
        core.outputs.push_back(Output::Store(StoreCommand::History(command)));
    }

    /// A peer asks for messages.
    pub(super) fn wanted(&mut self, core: &mut Core, conn: ConnId, peer: PeerId, wanted: Wanted) {
        if (wanted.direct && wanted.range.author != core.me()) || !is_lawful(&wanted.range) {
            return self.drop_link(core, conn, CloseReason::ProtocolError);
        }
        let Some((token, network)) = self.may_ask(core, conn, peer, Some(wanted)) else { return };
        let (conversation, since) = if wanted.direct {
            (Recipient::Peer(peer), Timestamp(i64::MIN))
        } else {
            (Recipient::Everyone, core.readable_since(&peer))
        };
        let command = HistoryCommand::Range { token, network, conversation, wanted: wanted.range, since };
        core.outputs.push_back(Output::Store(StoreCommand::History(command)));
    }

    /// A number for a question to the history, unless its asker has too many open.
    fn may_ask(
        &mut self,
        core: &mut Core,
        conn: ConnId,
        asker: PeerId,
        wanted: Option<Wanted>,
    ) -> Option<(u64, crate::model::NetworkId)> {
        let open = self.catch_up.answering.values().filter(|(other, ..)| *other == asker).count();
        if open >= limits::QUESTIONS {
            self.drop_link(core, conn, CloseReason::ProtocolError);
            return None;
        }
        let network = Self::network(core)?;
        let token = self.catch_up.next_token();
        self.catch_up.answering.insert(token, (asker, conn, wanted));
        Some((token, network))
    }

    /// The history says what is here.
    pub(in crate::proto) fn answer_held(&mut self, core: &mut Core, token: u64, mut held: Vec<Held>) {
        held.retain(|range| range.author.wire() == Wire::Native);
        held.truncate(limits::HELD);
        if let Some((_, conn, None)) = self.catch_up.answering.remove(&token) {
            core.send(conn, &Frame::Held(held));
        }
    }

    /// The history gives what was wanted.
    pub(in crate::proto) fn answer_range(
        &mut self,
        core: &mut Core,
        token: u64,
        batches: &[Arc<StoredBatch>],
        next: Option<u64>,
    ) {
        let Some((_, conn, Some(wanted))) = self.catch_up.answering.remove(&token) else { return };
        let label = batches.first().map(|batch| batch.alias.to_string()).unwrap_or_default();
        let network = Self::network(core);
        // What came over its author's own link was not checked then.
        let can_be_handed_on = |batch: &&Batch| {
            wanted.direct || network.is_some_and(|network| sign::batch_holds(&network, batch))
        };
        let batches = batches.iter().map(|stored| &stored.batch).filter(can_be_handed_on).cloned().collect();
        core.send(conn, &Frame::HandedOn(HandedOn { wanted, label, batches, next }));
    }

    /// A link is gone: what was asked over it is asked again over the next.
    pub(super) fn forget_questions(&mut self, peer: PeerId) {
        if let Some(state) = self.peers.get_mut(&peer)
            && let Some(question) = &mut state.question
        {
            question.is_asked = false;
        }
    }
}

/// A range that can be counted through.
fn is_lawful(range: &Held) -> bool {
    let most = i64::MAX.cast_unsigned();
    range.from >= 1 && range.from <= range.to && range.to < most && range.epoch < most
}

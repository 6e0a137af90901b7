//! Messages: sending, receiving and catching up, over the links that there are.
//!
//! It must never take a message under another's name, or from or for a key that the roster does not name.

mod catch_up;
mod conflict;
mod feeding;
mod journal;
mod receiving;
mod sending;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use rand_chacha::ChaCha20Rng;

pub(super) use self::sending::check_text;
use self::{
    catch_up::{CatchUp, Question},
    conflict::{Comparing, Renewing},
    feeding::Lacking,
    journal::Journal,
    sending::Growing,
};
use super::{
    ConnId, MemoryLimits, Output,
    group::Group,
    inbox::Inbox,
    links::Demand,
    log::{Log, Range},
    rate::TokenBucket,
    roster::Changes,
    turn::Turn,
    window::Window,
};
use crate::{
    api::{HistoryEvent, NodeEvent},
    model::{
        CloseReason, Closed, ErrorKind, Held, HistoryState, MessageId, Moment, PeerId, Place, Policy,
        Recalled, Recipient, SafeText, StreamId, Timestamp, Wire, limits,
    },
    wire::{Ack, Frame},
};

/// When this part is wanted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Take more messages of this peer, which is over its rate.
    Throttle(PeerId),
    /// Give up on messages that waited too long.
    Expire,
    /// This peer has not answered a question.
    Answer(PeerId),
    /// Ask this peer the next question.
    Ask(PeerId),
    /// Read the messages that this peer lacks from the history again.
    Read(PeerId),
    /// A recipient without progress no longer slows its sender down.
    Pressed,
}

/// What this part asks for.
#[derive(Debug)]
pub(super) enum Ask {
    Output(Output),
    /// A link to a peer.
    Link(PeerId),
    /// Something was sent over a link that is to be answered.
    Sent(ConnId),
    /// A link is to be given up.
    Drop(ConnId, CloseReason),
    /// Something that was sent to a peer has arrived: the links to it are of use.
    Arrived(PeerId),
    /// There are messages for a classic peer.
    Classic(PeerId),
    /// A message of a classic peer is here for good.
    Kept(MessageId),
    /// Host: messages that are addressed by an earlier roster, and the version of that roster.
    Late(Vec<(u64, Held)>),
}

impl From<Output> for Ask {
    fn from(output: Output) -> Self {
        Self::Output(output)
    }
}

/// One own stream among those of this node: whom it is for, and its epoch.
pub(super) type LogKey = (Recipient, u64);

/// What is said to one peer, and what it says.
#[derive(Debug)]
struct State {
    /// The link that is used to it.
    link: Option<ConnId>,
    /// What is on its way to it.
    window: Window,
    /// What it lacks and the log has no more in memory.
    lacking: Lacking,
    /// When it last said to have something.
    progressed: Option<Instant>,
    /// When the last link to it was lost.
    lost_at: Option<Timestamp>,
    /// Since when there is a link to it.
    linked_at: Option<Timestamp>,
    inbox: Inbox,
    /// The history is looking up whether it said something else before under the same numbers.
    comparing: Option<u64>,
    /// How often it had something else under numbers of what was said to it alone.
    conflicts: u32,
    question: Option<Question>,
    /// How often it may ask.
    asks: TokenBucket,
    /// It was told that it cannot be reached.
    notified: bool,
    /// How far its clock is behind this one, in microseconds.
    behind: i64,
}

impl State {
    fn new(policy: &Policy, now: Instant) -> Self {
        Self {
            link: None,
            window: Window::default(),
            lacking: Lacking::default(),
            progressed: None,
            lost_at: None,
            linked_at: None,
            inbox: Inbox::new(policy, now),
            comparing: None,
            conflicts: 0,
            question: None,
            asks: TokenBucket::new(limits::QUESTIONS_RATE, limits::QUESTIONS_BURST, now),
            notified: false,
            behind: 0,
        }
    }
}

/// When this node began: by that its time only goes forward, whatever is done to the clock.
#[derive(Debug, Clone, Copy)]
struct Begun(Moment);

impl Begun {
    fn steady(self, now: Moment) -> Timestamp {
        self.0.wall.plus(now.instant.saturating_duration_since(self.0.instant))
    }
}

/// The places of messages in this history, one after the other whatever the clock says.
#[derive(Debug)]
struct Places {
    /// The place of the last message.
    last: Place,
    /// Messages may have been missed since this time.
    away: Option<Timestamp>,
}

impl Places {
    /// The place of a message that comes now: after all that are here.
    fn next(&self, now: Timestamp) -> Place {
        now.0.max(self.last.saturating_add(1))
    }

    /// A message stands at `place`.
    fn stood_at(&mut self, place: Place, now: Timestamp) {
        // A gap that is said to be enormous must not drive all later places into the future.
        let most = now.0.max(self.last).saturating_add(2 * limits::GAP_ROOM.cast_signed());
        self.last = self.last.max(place.min(most));
    }

    /// Takes the next places for so many own messages. Gives the first.
    fn take(&mut self, count: u64, now: Timestamp) -> Place {
        let place = self.next(now);
        self.last = place.saturating_add(count.cast_signed() - 1);
        place
    }

    /// Messages may have been missed since then.
    fn away_since(&mut self, since: Timestamp) {
        self.away = Some(self.away.map_or(since, |before| before.min(since)));
    }

    /// Since when messages may have been missed, or else since the last one that is here.
    fn take_away(&mut self, now: Timestamp) -> Timestamp {
        self.away.take().unwrap_or(Timestamp(self.last.min(now.0)))
    }
}

/// Everything that is said in the network, as far as this node says it, hears it or owes it.
#[derive(Debug)]
pub(super) struct Messaging {
    pub(super) turn: Turn<Timer, Ask>,
    limits: MemoryLimits,
    begun: Begun,
    places: Places,
    /// Of own streams that begin now.
    epoch: u64,
    /// Own streams in which something may be said, or of which somebody lacks something.
    logs: BTreeMap<LogKey, Log>,
    /// What is said in this turn.
    growing: BTreeMap<Recipient, Growing>,
    journal: Journal,
    /// Questions to the history: who lacks what of which own stream.
    reading: BTreeMap<u64, (PeerId, LogKey, Range)>,
    comparing: BTreeMap<u64, Comparing>,
    renewing: BTreeMap<u64, Renewing>,
    peers: BTreeMap<PeerId, State>,
    /// Streams of which the other end of a link was told that something else is here under their numbers.
    refused: BTreeSet<(ConnId, StreamId)>,
    /// What classic peers call themselves in messages that are not kept yet.
    claims: BTreeMap<MessageId, SafeText>,
    /// Acknowledgements of this turn, by link and stream.
    acks: BTreeMap<(ConnId, bool, u64), Ack>,
    /// Host: what was taken on in this turn, and the roster by which it is addressed: an earlier one than that of now.
    late: Vec<(u64, Held)>,
    catch_up: CatchUp,
}

impl Demand for Messaging {
    fn wants_link(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|state| state.question.is_some()) || self.is_pending(peer)
    }

    fn awaits_answer(&self, peer: &PeerId) -> bool {
        let is_asked = |state: &State| state.question.as_ref().is_some_and(|question| question.is_asked);
        self.peers.get(peer).is_some_and(|state| !state.window.is_empty() || is_asked(state))
    }
}

impl Messaging {
    pub(super) fn new(limits: MemoryLimits, now: Moment, rng: &mut ChaCha20Rng) -> Self {
        Self {
            limits,
            turn: Turn::new(now, rng),
            begun: Begun(now),
            places: Places { last: Place::MIN, away: None },
            epoch: u64::try_from(now.wall.0).unwrap_or(0).max(1),
            logs: BTreeMap::new(),
            growing: BTreeMap::new(),
            journal: Journal::new(limits),
            reading: BTreeMap::new(),
            comparing: BTreeMap::new(),
            renewing: BTreeMap::new(),
            peers: BTreeMap::new(),
            refused: BTreeSet::new(),
            claims: BTreeMap::new(),
            acks: BTreeMap::new(),
            late: Vec::new(),
            catch_up: CatchUp::default(),
        }
    }

    /// Takes up what the history knows of this network. Comes before anything is said in it.
    pub(super) fn recall(&mut self, group: &mut Group, recalled: Recalled) {
        let me = group.me();
        self.journal.waits = recalled.state != HistoryState::Memory;
        // Every session counts anew: a profile that was put back from a copy never says two things under one number.
        let own = recalled.streams.iter().filter(|stream| stream.id.author == me);
        if let Some(newest) = own.map(|stream| stream.id.epoch).max() {
            self.epoch = self.epoch.max(newest.saturating_add(1));
        }
        let day = i64::try_from(limits::UNDELIVERED_FOR.as_micros()).unwrap_or(0);
        let day_ago = self.turn.now.wall.0.saturating_sub(day);
        for stream in recalled.streams {
            if let Some(span) = stream.spans.last() {
                self.places.last = self.places.last.max(span.last);
            }
            let StreamId { author, epoch, to } = stream.id;
            if author == me {
                continue;
            }
            let everyone = to == Recipient::Everyone;
            // Holes of the last day may still be closed.
            let holes = stream.spans.iter().rev().skip(1).map(|span| span.last).filter(|at| *at > day_ago);
            if let (true, Some(hole)) = (everyone, holes.min()) {
                self.places.away_since(Timestamp(hole));
            }
            self.peer(group, author).inbox.recall(everyone, epoch, stream.spans);
        }
        for (peer, alias) in recalled.people {
            group.remember(peer, alias);
        }
        for stream in &recalled.own {
            for addressee in &stream.addressees {
                group.remember(addressee.peer, addressee.alias.clone());
            }
            self.logs.insert((stream.id.to, stream.id.epoch), Log::recalled(stream));
        }
        let waiting: BTreeSet<PeerId> = self.logs.values().flat_map(Log::readers).collect();
        for peer in waiting {
            self.tell_waiting(group, &peer);
            self.pump(group, peer);
        }
        self.expire_later();
        let message = SafeText::line(&recalled.message);
        if !message.as_str().is_empty() {
            self.turn.event(NodeEvent::error(ErrorKind::Storage, &message));
        }
        self.turn.event(NodeEvent::History { state: recalled.state, message });
    }

    /// The history did something.
    pub(super) fn history(&mut self, group: &Group, event: HistoryEvent) {
        match event {
            HistoryEvent::Kept { token, for_good } => self.kept(group, token, for_good),
            HistoryEvent::State { state, message } => {
                let message = SafeText::line(&message);
                if state != HistoryState::Saved || !message.as_str().is_empty() {
                    self.turn.event(NodeEvent::error(ErrorKind::Storage, &message));
                }
                self.turn.event(NodeEvent::History { state, message });
            }
            HistoryEvent::Held { token, held } => self.answer_held(token, held),
            HistoryEvent::Range { token, batches, next } => {
                if self.reading.contains_key(&token) {
                    self.read(group, token, batches, next);
                } else if !self.say_again(group, token, &batches, next) {
                    self.answer_range(group, token, &batches, next);
                }
            }
            HistoryEvent::Compared { token, compared } => self.compared(group, token, Some(compared)),
            HistoryEvent::NotRead { token } => self.not_read(group, token),
            _ => {}
        }
    }

    /// All that decides how the streams go on, for tests that compare states.
    #[cfg(test)]
    pub(super) fn state_of_streams(&self) -> impl std::fmt::Debug {
        let state = |(peer, state): (&PeerId, &State)| {
            let inbox = format!("{:?}", state.inbox);
            (*peer, format!("{:?}{:?}", state.window, state.link), state.comparing, inbox)
        };
        let peers: Vec<_> = self.peers.iter().map(state).collect();
        (format!("{:?}{:?}{:?}", self.logs, self.journal, self.growing), peers)
    }

    /// How many ranges are to be asked of a peer.
    #[cfg(test)]
    pub(super) fn wanted_of(&self, peer: &PeerId) -> usize {
        self.catch_up.wanted.get(peer).map_or(0, std::collections::VecDeque::len)
    }

    fn peer(&mut self, group: &Group, peer: PeerId) -> &mut State {
        let now = self.turn.now.instant;
        self.peers.entry(peer).or_insert_with(|| State::new(&group.policy, now))
    }

    /// A peer is to be written to over another link than before, or over none.
    pub(super) fn link_used(&mut self, group: &Group, peer: PeerId, link: Option<ConnId>) {
        let now = self.turn.now.wall;
        let state = self.peer(group, peer);
        let before = std::mem::replace(&mut state.link, link);
        match link {
            None => (state.lost_at, state.linked_at) = (Some(now), None),
            Some(_) => _ = state.linked_at.get_or_insert(now),
        }
        if before.is_some() {
            // What was on the way goes again.
            state.window.clear();
            for key in self.logs_for(&peer) {
                if let Some(log) = self.logs.get_mut(&key) {
                    log.link_lost(&peer);
                }
            }
        }
        if link.is_some() {
            self.pump(group, peer);
        }
    }

    /// A link to a peer is gone: nothing that was to go over it goes over another one.
    pub(super) fn link_gone(&mut self, group: &Group, peer: PeerId, conn: ConnId) {
        self.acks.retain(|(over, ..), _| *over != conn);
        self.refused.retain(|(over, _)| *over != conn);
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.inbox.retain_held(|over, _| over != conn);
        // The question over it is asked again over the next one.
        if let Some(question) = &mut state.question {
            question.is_asked = false;
        }
        if state.link.is_some_and(|used| used != conn) {
            self.pump(group, peer);
        }
    }

    /// A peer has said what time it is there: its clock is so far behind this one, in microseconds.
    pub(super) fn clock_behind(&mut self, group: &Group, peer: PeerId, behind: i64) {
        self.peer(group, peer).behind = behind;
    }

    /// Says once that a peer is out of reach.
    pub(super) fn unreachable(&mut self, group: &Group, peer: PeerId, closed: &Closed) {
        let is_pending = self.is_pending(&peer);
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if is_pending
            && !std::mem::replace(&mut state.notified, true)
            && let Some(person) = group.person(&peer)
        {
            let message =
                format!("{} cannot be reached now ({closed}); what is said to it waits", person.alias);
            self.turn.event(NodeEvent::error(ErrorKind::Connection, &message));
        }
    }

    /// A frame came over a link.
    pub(super) fn frame(&mut self, group: &mut Group, peer: PeerId, conn: ConnId, frame: Frame) {
        match frame {
            Frame::Batch(addressed) => self.batch(group, conn, peer, addressed),
            Frame::Ack(ack) => {
                self.acknowledged(group, peer, &ack);
                self.pump(group, peer);
            }
            Frame::Conflict(conflict) => self.in_conflict(group, conn, peer, conflict),
            Frame::CatchUp(since) => self.asked(group, conn, peer, since),
            Frame::Wanted(wanted) => self.wanted(group, conn, peer, wanted),
            Frame::Held(held) => self.held(group, conn, peer, held.0),
            Frame::HandedOn(handed) => self.handed_on(group, conn, peer, handed),
            _ => self.drop_link(conn, CloseReason::ProtocolError),
        }
    }

    fn drop_link(&mut self, conn: ConnId, reason: CloseReason) {
        self.turn.ask(Ask::Drop(conn, reason));
    }

    /// The roster changed: streams to everyone are for those who are in it, and for those who are away for a while.
    pub(super) fn roster_changed(&mut self, group: &Group, changes: &Changes) {
        self.close_batches(group);
        let everyone = self.current(Recipient::Everyone);
        let now = self.turn.now.wall;
        if let Some(log) = self.logs.get_mut(&everyone) {
            let me = group.me();
            for peer in log.readers().filter(|peer| !group.is_member(peer)).collect::<Vec<_>>() {
                if group.awaits(&peer, now) {
                    log.let_wait(peer, now);
                } else {
                    log.dismiss(&peer);
                }
            }
            for entry in changes.updated.iter().filter(|entry| entry.peer_id != me) {
                log.address(entry.peer_id, now);
            }
        }
        self.keep_audience(group, everyone);
        for (entry, reason) in &changes.removed {
            self.cut(group, entry.peer_id, *reason);
            self.want_last_words(group, &entry.peer_id);
        }
        for (peer, reason) in &changes.shut_out {
            self.cut(group, *peer, *reason);
        }
        for entry in &changes.updated {
            self.pump(group, entry.peer_id);
        }
        self.next_source(group);
    }

    /// A peer is no longer a member. What waits for it is kept, unless the host has removed it.
    fn cut(&mut self, group: &Group, peer: PeerId, reason: CloseReason) {
        self.turn.timers.cancel(Timer::Throttle(peer));
        // What was on the way waits again, and says so.
        self.tell_waiting(group, &peer);
        let is_classic = peer.wire() == Wire::Classic;
        if is_classic {
            // It has no link that would be closed.
            if let Some(state) = self.peers.get_mut(&peer) {
                state.inbox.retain_held(|_, _| false);
            }
            self.claims.retain(|id, _| id.author != peer);
        }
        // Whoever comes to a classic peer's address next may be somebody else.
        if is_classic || reason.is_removal() {
            self.fail_all(group, peer, reason.into());
        }
        self.no_answer(group, peer);
    }

    /// The policy of the network is known, or is another.
    pub(super) fn policy_changed(&mut self, policy: &Policy) {
        for state in self.peers.values_mut() {
            state.inbox.set_policy(policy, self.turn.now.instant);
        }
    }

    /// Messages may have been missed since then.
    pub(super) fn away_since(&mut self, since: Timestamp) {
        self.places.away_since(since);
    }

    /// True when messages of an earlier run are here.
    pub(super) fn was_here_before(&self) -> bool {
        self.places.last > Place::MIN
    }

    /// Lets a timer of this part do what it is for.
    pub(super) fn timer(&mut self, group: &Group, timer: Timer) {
        match timer {
            Timer::Ask(peer) => self.next_question(group, peer),
            Timer::Answer(peer) => self.no_answer(group, peer),
            Timer::Read(peer) => self.pump(group, peer),
            Timer::Throttle(peer) => self.release(group, peer),
            Timer::Expire => self.expire(group),
            Timer::Pressed => {}
        }
    }
}

#[cfg(test)]
mod tests;

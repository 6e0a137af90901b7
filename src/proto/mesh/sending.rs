//! Sending: a text becomes a message, the message is kept, and then goes to each recipient until it has it for good.
//!
//! Nothing leaves before the history has it: what a crash forgets has been sent to nobody.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Mesh, Pending};
use crate::{
    api::{NodeEvent, Outcome, StoreCommand, Target},
    model::{
        CloseReason, Delivery, DeliveryStatus, ErrorKind, MessageId, Moment, NetworkId, Peer, PeerId,
        Recipient, SafeText, SendError, Span, StoredMessage, Summary, Wire, limits,
    },
    proto::{
        Output,
        core::{Core, Timer},
        outbox::Outgoing,
    },
    security::sign,
    wire::{Communication, Frame},
};

/// What became of one of our messages so far.
#[derive(Debug)]
pub(super) struct Tally {
    id: MessageId,
    reference: Option<Arc<str>>,
    summary: Summary,
    open: u32,
}

/// An own message that is being kept.
#[derive(Debug)]
pub(super) struct Own {
    message: StoredMessage,
    recipients: Vec<PeerId>,
    pub(super) frame: Bytes,
}

/// A message on its way into the queues.
struct Leaving<'a> {
    message: &'a StoredMessage,
    /// As it travels on native links.
    frame: Bytes,
    tally: u64,
    /// How long it may wait.
    left: Duration,
}

impl Mesh {
    /// Takes a text for sending, or says why not.
    pub(in crate::proto) fn send(
        &mut self,
        core: &mut Core,
        to: &Target,
        text: &str,
        reference: Option<&str>,
        now: Moment,
    ) {
        let reference: Option<Arc<str>> = reference.map(Into::into);
        if let Err(error) = self.try_send(core, to, text, reference.clone(), now) {
            let message = SafeText::line(&error.to_string());
            let refused = Some(Box::new((to.clone(), text.to_owned())));
            core.event(NodeEvent::Error { kind: ErrorKind::Send, message, reference, refused });
        }
    }

    fn try_send(
        &mut self,
        core: &mut Core,
        to: &Target,
        text: &str,
        reference: Option<Arc<str>>,
        now: Moment,
    ) -> Result<(), SendError> {
        let text = SafeText::clean(text);
        match text.as_str().len() {
            0 => return Err(SendError::Empty),
            bytes if bytes > limits::TEXT_BYTES => return Err(SendError::TooLong(bytes)),
            _ => {}
        }
        if !self.has_room() {
            return Err(SendError::NoRoom);
        }
        let me = core.me();
        let Some(network) = core.network.as_ref().map(|network| network.id) else {
            return Err(SendError::NotConnected);
        };
        let (to, recipients): (_, Vec<PeerId>) = match to {
            Target::Everyone if core.is_out => return Err(SendError::NotConnected),
            Target::Everyone => {
                let others = core.roster.entries().map(|entry| entry.peer_id).filter(|peer| *peer != me);
                (Recipient::Everyone, others.collect())
            }
            Target::Peer(name) => match core.correspondent(name) {
                Some(peer) if peer == me => return Err(SendError::Yourself),
                Some(peer) => (Recipient::Peer(peer), vec![peer]),
                None => return Err(SendError::NoSuchMember(name.to_string())),
            },
        };
        if let (Recipient::Peer(peer), Wire::Classic) =
            (to, recipients.first().map_or(Wire::Native, PeerId::wire))
        {
            Self::object_for(core, &peer, to, text.as_str())?;
        }
        let place = core.next_place(now);
        let span = self.numbering.entry(to).or_insert(Span { from: 1, to: 0, first: place, last: place });
        (span.to, span.last) = (span.to + 1, place);
        let span = *span;
        let id = MessageId { author: me, epoch: self.epoch, to, sequence: span.to };
        let signature = (to == Recipient::Everyone)
            .then(|| sign::message(&core.identity, &network, &id, now.wall, text.as_str()));
        let queued = |peer: Arc<Peer>| Delivery {
            peer: peer.peer_id,
            alias: peer.alias.clone(),
            status: DeliveryStatus::Queued,
            reason: None,
            at: now.wall,
        };
        let deliveries: Vec<Delivery> =
            recipients.iter().filter_map(|peer| core.person(peer)).map(queued).collect();
        let total = u32::try_from(deliveries.len()).unwrap_or(u32::MAX);
        let message = StoredMessage {
            id,
            alias: core.alias.clone(),
            text,
            sent_at: now.wall,
            at: now.wall,
            place,
            signature,
            reference,
            claims: None,
            missed: 0,
            summary: Summary { delivered: 0, total },
            deliveries,
        };
        let frame = frame_of(&message);
        self.keep(core, network, message.clone(), vec![span]);
        let own = Own { message, recipients, frame };
        if self.keeping.waits {
            self.keeping.own += 1;
            self.keeping.own_bytes += own.frame.len();
            self.keeping.pending.push_back((self.keeping.token, Pending::Own(Box::new(own))));
        } else {
            self.own_is_kept(core, own, now);
        }
        Ok(())
    }

    /// An own message is in the history: now it may leave.
    pub(super) fn own_is_kept(&mut self, core: &mut Core, own: Own, now: Moment) {
        let Own { message, recipients, frame } = own;
        let StoredMessage { id, sent_at, at, place, summary, .. } = message;
        let Some(from) = core.person(&id.author) else { return };
        core.event(NodeEvent::Message {
            id,
            from,
            to: id.to,
            text: message.text.clone(),
            sent_at,
            own: true,
            missed: 0,
            reference: message.reference.clone(),
            late: false,
            claims: None,
            came_at: at,
            place,
        });
        let tally = self.tally(id, message.reference.clone(), summary, summary.total);
        let leaving = Leaving { message: &message, frame, tally, left: limits::UNDELIVERED_FOR };
        self.enqueue(core, &leaving, &recipients, now);
    }

    /// Queues a message for its recipients.
    fn enqueue(&mut self, core: &mut Core, leaving: &Leaving<'_>, recipients: &[PeerId], now: Moment) {
        let Leaving { message, frame, tally, left } = leaving;
        let (tally, left) = (*tally, *left);
        let MessageId { epoch, sequence, to, .. } = message.id;
        let (everyone, expires) = (to == Recipient::Everyone, now.instant + left);
        for peer in recipients.iter().copied() {
            let said = match peer.wire() {
                Wire::Native => Ok(frame.clone()),
                Wire::Classic => Self::object_for(core, &peer, to, message.text.as_str()),
            };
            let frame = match said {
                Ok(frame) => frame,
                Err(error) => {
                    self.failed(core, tally, peer, error.reason(), now);
                    continue;
                }
            };
            let outgoing = Outgoing { tally, everyone, epoch, sequence, frame, expires };
            let state = self.peer(peer, &core.policy, now.instant);
            if left.is_zero() {
                self.failed(core, tally, peer, CloseReason::Expired, now);
            } else if state.outbox.push(outgoing).is_err() {
                self.failed(core, tally, peer, CloseReason::QueueFull, now);
            } else if let Some(reason) = core.shut_out(&peer) {
                // Removed for good while the message was being kept.
                self.fail_all(core, peer, reason, now);
            } else if !self.pump_all(core, peer, now) {
                self.tell(core, tally, peer, DeliveryStatus::Queued, None);
            }
        }
        if !core.timers.is_set(Timer::Expire) {
            core.timers.set(Timer::Expire, expires);
        }
    }

    fn tally(&mut self, id: MessageId, reference: Option<Arc<str>>, summary: Summary, open: u32) -> u64 {
        self.next_tally += 1;
        if open > 0 {
            self.tallies.insert(self.next_tally, Tally { id, reference, summary, open });
        }
        self.next_tally
    }

    /// Takes up an own message of an earlier run that somebody has not got yet.
    pub(super) fn recall_own(&mut self, core: &mut Core, message: &StoredMessage, now: Moment) {
        let open = message.deliveries.iter().filter(|delivery| delivery.status == DeliveryStatus::Queued);
        let recipients: Vec<PeerId> = open.map(|delivery| delivery.peer).collect();
        let frame = frame_of(message);
        let StoredMessage { id, sent_at, summary, .. } = *message;
        let open = u32::try_from(recipients.len()).unwrap_or(u32::MAX);
        let tally = self.tally(id, message.reference.clone(), summary, open);
        let left = limits::UNDELIVERED_FOR.saturating_sub(now.wall.since(sent_at));
        self.enqueue(core, &Leaving { message, frame, tally, left }, &recipients, now);
    }

    /// Sends what the peer's window has room for, or sees to a link.
    pub(in crate::proto) fn pump(&mut self, core: &mut Core, peer: PeerId, now: Moment) {
        self.pump_all(core, peer, now);
    }

    /// As [`Self::pump`]. True when everything that waited was sent.
    fn pump_all(&mut self, core: &mut Core, peer: PeerId, now: Moment) -> bool {
        let Some(state) = self.peers.get_mut(&peer) else { return true };
        if !state.needs_link() {
            return true;
        }
        if !core.is_member(&peer) {
            return false;
        }
        if peer.wire() == Wire::Classic {
            return self.say(core, peer, now);
        }
        let Some(conn) = state.links.first().copied() else {
            if !core.timers.is_set(Timer::Dial(peer)) {
                self.dial(core, peer, now);
            }
            return false;
        };
        if let Some(question) = state.question.as_mut().filter(|question| !question.is_asked) {
            question.is_asked = true;
            core.send(conn, &question.frame);
        }
        while let Some(frame) = state.outbox.next_frame() {
            core.send_bytes(conn, frame);
        }
        if let Some(link) = self.links.get_mut(&conn) {
            link.used = now.instant;
        }
        let (is_all_sent, is_on_the_way) = (state.outbox.is_all_sent(), state.outbox.is_on_the_way());
        if is_on_the_way || state.question.is_some() {
            self.expect_answer(core, conn, now);
        }
        is_all_sent
    }

    /// Dials a peer, unless that is under way.
    pub(super) fn dial(&mut self, core: &mut Core, peer: PeerId, now: Moment) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if std::mem::replace(&mut state.dialling, true) {
            return;
        }
        let mut addrs = core.candidates(&peer);
        if let Some(at) = state.answered_at.and_then(|best| addrs.iter().position(|addr| *addr == best)) {
            addrs.swap(0, at);
        }
        core.timers.set(Timer::Call(peer), now.instant + limits::CALL_AFTER);
        core.outputs.push_back(Output::Dial(peer, addrs));
    }

    /// A recipient has messages `first..=last` of a numbering for good, or at least they were sent and that is all that
    /// will ever be known.
    pub(in crate::proto) fn arrived(
        &mut self,
        core: &mut Core,
        peer: PeerId,
        first: &MessageId,
        last: u64,
        status: DeliveryStatus,
        now: Moment,
    ) {
        let everyone = first.to == Recipient::Everyone;
        let state = self.peer(peer, &core.policy, now.instant);
        let done = state.outbox.acknowledged(everyone, first.epoch, first.sequence, last, now.instant);
        if done.is_empty() {
            return;
        }
        // Only what arrives proves that a link is of use.
        state.backoff.reset();
        state.told = false;
        note(core, first, last, peer, status, None, now);
        for tally in done {
            self.close(core, tally, peer, status, None);
        }
    }

    /// A recipient has messages `first..=last` of a numbering, but cannot keep them yet.
    pub(super) fn received(
        &mut self,
        core: &mut Core,
        peer: PeerId,
        first: &MessageId,
        last: u64,
        now: Moment,
    ) {
        let everyone = first.to == Recipient::Everyone;
        let state = self.peer(peer, &core.policy, now.instant);
        for tally in state.outbox.received(everyone, first.epoch, first.sequence, last, now.instant) {
            self.tell(core, tally, peer, DeliveryStatus::Queued, None);
        }
    }

    /// One recipient will not have the message.
    pub(super) fn failed(
        &mut self,
        core: &mut Core,
        tally: u64,
        peer: PeerId,
        reason: CloseReason,
        now: Moment,
    ) {
        if let Some(id) = self.tallies.get(&tally).map(|tally| tally.id) {
            note(core, &id, id.sequence, peer, DeliveryStatus::Failed, Some(reason), now);
        }
        self.close(core, tally, peer, DeliveryStatus::Failed, Some(reason));
    }

    /// Nothing that waits for a peer will arrive.
    pub(in crate::proto) fn fail_all(
        &mut self,
        core: &mut Core,
        peer: PeerId,
        reason: CloseReason,
        now: Moment,
    ) {
        let waiting = self.peers.get_mut(&peer).map(|state| state.outbox.drain()).unwrap_or_default();
        for tally in waiting {
            self.failed(core, tally, peer, reason, now);
        }
    }

    /// For one recipient the last word is spoken.
    fn close(
        &mut self,
        core: &mut Core,
        tally: u64,
        peer: PeerId,
        status: DeliveryStatus,
        reason: Option<CloseReason>,
    ) {
        if let Some(record) = self.tallies.get_mut(&tally) {
            record.open = record.open.saturating_sub(1);
            if status == DeliveryStatus::Delivered {
                record.summary.delivered += 1;
            }
        }
        self.tell(core, tally, peer, status, reason);
        if self.tallies.get(&tally).is_some_and(|record| record.open == 0) {
            self.tallies.remove(&tally);
        }
    }

    pub(super) fn tell(
        &self,
        core: &mut Core,
        tally: u64,
        peer: PeerId,
        status: DeliveryStatus,
        reason: Option<CloseReason>,
    ) {
        let (Some(record), Some(peer)) = (self.tallies.get(&tally), core.person(&peer)) else { return };
        let (id, reference, summary) = (record.id, record.reference.clone(), record.summary);
        core.event(NodeEvent::Delivery { id, reference, peer, status, reason, summary });
    }

    pub(in crate::proto) fn expire(&mut self, core: &mut Core, now: Moment) {
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        let mut next = None;
        for peer in peers {
            let Some(state) = self.peers.get_mut(&peer) else { continue };
            let expired = state.outbox.expire(now.instant);
            next = [next, state.outbox.expires_at()].into_iter().flatten().min();
            for tally in expired {
                self.failed(core, tally, peer, CloseReason::Expired, now);
            }
        }
        if let Some(at) = next {
            core.timers.set(Timer::Expire, at);
        }
    }

    pub(in crate::proto) fn is_pressed(&self, core: &mut Core, now: Moment) -> bool {
        if self.keeping.own > limits::UNKEPT || self.keeping.own_bytes > limits::UNKEPT_BYTES {
            return true;
        }
        let pressing = self.peers.values().filter(|state| state.outbox.is_pressed(now.instant));
        let until = pressing.filter_map(|state| state.outbox.pressed_until()).max();
        if let Some(until) = until {
            core.timers.set(Timer::Pressed, until);
        }
        until.is_some()
    }

    /// True while something could still reach a member.
    pub(in crate::proto) fn has_deliverable(&self, core: &Core) -> bool {
        self.keeping.own > 0
            || self.peers.iter().any(|(peer, state)| !state.outbox.is_empty() && core.is_member(peer))
    }

    /// The session ends. What is on disk waits for the next one; of everything else it is said that it will not
    /// arrive.
    pub(in crate::proto) fn give_up(&mut self, core: &mut Core, reason: CloseReason, now: Moment) {
        self.flush_acks(core);
        let is_final = matches!(reason, CloseReason::Kicked | CloseReason::Banned);
        if self.keeping.waits && !is_final {
            return;
        }
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        for peer in peers {
            self.fail_all(core, peer, reason, now);
        }
    }

    /// Keeps a message, and what is here of its numbering.
    pub(super) fn keep(
        &mut self,
        core: &mut Core,
        network: NetworkId,
        message: StoredMessage,
        spans: Vec<Span>,
    ) {
        self.keeping.token += 1;
        let token = self.keeping.token;
        let command = StoreCommand::Keep { token, network, message: Box::new(message), spans };
        core.outputs.push_back(Output::Store(command));
    }
}

fn frame_of(message: &StoredMessage) -> Bytes {
    let StoredMessage { id, sent_at, text, signature, .. } = message;
    let communication =
        Communication { id: *id, sent_at: *sent_at, text: text.as_str().to_owned(), signature: *signature };
    Frame::Communication(communication).encode()
}

/// Has the history note what became of own messages.
fn note(
    core: &mut Core,
    first: &MessageId,
    last: u64,
    peer: PeerId,
    status: DeliveryStatus,
    reason: Option<CloseReason>,
    now: Moment,
) {
    let Some(network) = core.network.as_ref().map(|network| network.id) else { return };
    let outcome = Outcome {
        network,
        to: first.to,
        epoch: first.epoch,
        first: first.sequence,
        last,
        peer,
        status,
        reason,
        at: now.wall,
    };
    core.outputs.push_back(Output::Store(StoreCommand::Settle(Box::new(outcome))));
}

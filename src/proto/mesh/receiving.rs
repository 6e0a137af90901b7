//! Receiving: what a peer has sent is taken on as fast as the policy allows, shown, kept, and only then acknowledged.

use super::{Mesh, Pending};
use crate::{
    api::NodeEvent,
    model::{
        MessageId, Moment, NetworkId, PeerId, Recipient, SafeText, StoredMessage, Summary, Timestamp, Wire,
        limits,
    },
    proto::{
        ConnId,
        core::{Core, Timer},
        inbox::{Arrival, Arrived},
    },
    wire::{Ack, Communication, Frame},
};

/// How a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Over its author's own link, in its turn.
    Direct,
    /// Later than it should, from whoever had it.
    HandedOn,
}

impl Mesh {
    /// Takes on what a peer has sent, as fast as the policy allows.
    pub(in crate::proto) fn release(&mut self, core: &mut Core, peer: PeerId, now: Moment) {
        loop {
            let Some(state) = self.peers.get_mut(&peer) else { return };
            match state.inbox.release(now.instant) {
                Ok(Some((conn, message))) => {
                    let id = message.id;
                    let missed = self.take_on(core, &message, Way::Direct, now);
                    self.acknowledge_when_kept(core, conn, id);
                    if missed > 0 {
                        self.ask_for_gap(core, peer, &id, missed, now);
                    }
                }
                Ok(None) => return,
                Err(wait) => {
                    core.timers.set(Timer::Throttle(peer), now.instant + wait);
                    return;
                }
            }
        }
    }

    /// Shows a message that is new, and has it kept. Gives how many are missing just before it.
    pub(super) fn take_on(&mut self, core: &mut Core, message: &Communication, way: Way, now: Moment) -> u64 {
        let id = message.id;
        let (Some(network), Some(from)) =
            (core.network.as_ref().map(|network| network.id), core.person(&id.author))
        else {
            return 0;
        };
        let here = core.place_for(now);
        let behind = self.peers.get(&id.author).map_or(0, |state| state.behind);
        let sent_at = Timestamp(message.sent_at.0.saturating_add(behind));
        let delay = now.wall.since(sent_at);
        let when = match way {
            Way::HandedOn => Some(message.sent_at.0),
            // What has waited stands where it was said, so that all see the same order.
            Way::Direct if (limits::DELAYED..limits::UNDELIVERED_FOR).contains(&delay) => Some(sent_at.0),
            Way::Direct => None,
        };
        let state = self.peer(id.author, &core.policy, now.instant);
        let Arrival::New(Arrived { place, missed, next }) = state.inbox.arrive(&id, here, when) else {
            return 0;
        };
        let everyone = id.to == Recipient::Everyone;
        let spans = state.inbox.spans(everyone, id.epoch).to_vec();
        core.stood_at(place, now);
        let late = way == Way::HandedOn || next.is_some();
        let at = if late || when.is_some() { Timestamp(place) } else { now.wall };
        let text = SafeText::clean(&message.text);
        // A signature over anything but the clean text is of no use to those whom it is handed on to.
        let signature = message.signature.filter(|_| text.as_str() == message.text);
        let stored = StoredMessage {
            id,
            alias: from.alias.clone(),
            text: text.clone(),
            sent_at: message.sent_at,
            at,
            place,
            signature,
            reference: None,
            claims: self.talk.claimed_in(&id),
            missed,
            summary: Summary::default(),
            deliveries: Vec::new(),
        };
        if self.keeping.tried > self.keeping.kept {
            self.keeping.held_bytes += message.text.len();
        }
        self.keep(core, network, stored, spans);
        core.event(NodeEvent::Message {
            id,
            from: from.clone(),
            to: id.to,
            text,
            sent_at: message.sent_at,
            own: false,
            missed,
            reference: None,
            late,
            claims: self.talk.claimed_in(&id),
            came_at: at,
            place,
        });
        if let Some((sequence, missing)) = next {
            let before = MessageId { sequence, ..id };
            core.event(NodeEvent::Gap { before, from, missing });
        }
        missed
    }

    /// Acknowledges a message as soon as it, and all that came before it, is kept.
    fn acknowledge_when_kept(&mut self, core: &mut Core, conn: ConnId, id: MessageId) {
        let token = self.keeping.token;
        if !self.keeping.waits || self.keeping.kept >= token {
            self.acknowledge(core, conn, id, true);
        } else if self.keeping.tried >= token {
            self.keeping.unsaved.push_back((token, conn, id));
            if self.has_room() {
                self.acknowledge(core, conn, id, false);
            }
        } else {
            self.keeping.pending.push_back((token, Pending::Theirs(conn, id)));
        }
    }

    /// An acknowledgement goes over the link over which the message came, or not at all: over another one it could be
    /// lost while its sender sees no reason to send again.
    fn acknowledge(&mut self, core: &mut Core, conn: ConnId, id: MessageId, for_good: bool) {
        if id.author.wire() == Wire::Classic {
            return self.reply(core, &id, for_good);
        }
        let key = (conn, id.to == Recipient::Everyone, for_good);
        match self.acks.get_mut(&key) {
            Some(ack) if ack.first.epoch == id.epoch && ack.last.checked_add(1) == Some(id.sequence) => {
                ack.last = id.sequence;
            }
            _ => {
                let ack = Ack { first: id, last: id.sequence, for_good };
                if let Some(before) = self.acks.insert(key, ack) {
                    core.send(conn, &Frame::Ack(before));
                }
            }
        }
    }

    /// Acknowledges everything taken on since the last time: one frame for a whole range.
    pub(in crate::proto) fn flush_acks(&mut self, core: &mut Core) {
        for ((conn, ..), ack) in std::mem::take(&mut self.acks) {
            core.send(conn, &Frame::Ack(ack));
        }
    }

    /// The history has everything up to a token, for good or until there is room on the disk.
    pub(in crate::proto) fn kept(&mut self, core: &mut Core, token: u64, for_good: bool, now: Moment) {
        self.keeping.tried = self.keeping.tried.max(token);
        if for_good {
            self.keeping.kept = self.keeping.kept.max(token);
            (self.keeping.held, self.keeping.held_bytes) = (0, 0);
            while self.keeping.unsaved.front().is_some_and(|(waiting, ..)| *waiting <= token) {
                if let Some((_, conn, id)) = self.keeping.unsaved.pop_front() {
                    self.acknowledge(core, conn, id, true);
                }
            }
        }
        while self.keeping.pending.front().is_some_and(|(waiting, _)| *waiting <= token) {
            self.keeping.held += usize::from(!for_good);
            match self.keeping.pending.pop_front() {
                Some((_, Pending::Own(own))) => {
                    self.keeping.own -= 1;
                    self.keeping.own_bytes -= own.frame.len();
                    self.keeping.held_bytes += if for_good { 0 } else { own.frame.len() };
                    self.own_is_kept(core, *own, now);
                }
                Some((_, Pending::Theirs(conn, id))) if for_good => self.acknowledge(core, conn, id, true),
                Some((waiting, Pending::Theirs(conn, id))) => {
                    self.keeping.unsaved.push_back((waiting, conn, id));
                    // Nobody sends more than a window of what is not acknowledged at all.
                    if self.has_room() {
                        self.acknowledge(core, conn, id, false);
                    }
                }
                None => {}
            }
        }
    }

    /// False when what waits for room on the disk takes all the memory that it may.
    pub(in crate::proto) fn has_room(&self) -> bool {
        self.keeping.held <= limits::UNSAVED_MESSAGES && self.keeping.held_bytes <= limits::UNSAVED_BYTES
    }

    /// A message that breaks no rule of the wire.
    pub(in crate::proto) fn is_lawful(message: &Communication, for_me: bool) -> bool {
        // Numbers beyond these cannot be kept, and nobody counts that far.
        let countable = 1..i64::MAX.cast_unsigned();
        for_me
            && countable.contains(&message.id.sequence)
            && countable.contains(&message.id.epoch)
            && (1..=limits::TEXT_BYTES).contains(&message.text.len())
    }

    pub(super) fn network(core: &Core) -> Option<NetworkId> {
        core.network.as_ref().map(|network| network.id)
    }
}

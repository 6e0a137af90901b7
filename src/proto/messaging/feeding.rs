//! Feeding: each recipient is sent what it lacks of each own stream, in order, as far as its window has room: from the
//! log, or from the history where the log has let go of it.

use std::{collections::VecDeque, sync::Arc};

use super::{Ask, LogKey, Messaging, State, Timer};
use crate::{
    api::{HistoryCommand, StoreCommand},
    model::{FailReason, Held, PeerId, Recipient, StoredBatch, Timestamp, Wire, limits},
    proto::{
        ConnId,
        group::Group,
        links::Demand as _,
        log::{Entry, Next},
    },
    wire::Frame,
};

/// Messages that a recipient lacks and that only the history has.
#[derive(Debug, Default)]
pub(super) struct Lacking {
    /// The token of the open question to the history.
    asked: Option<u64>,
    /// Its answer: batches of one stream, in order.
    entries: VecDeque<Entry>,
}

impl Messaging {
    /// The own streams that are, or were, addressed to a peer, the oldest first.
    pub(in crate::proto) fn logs_for(&self, peer: &PeerId) -> Vec<LogKey> {
        let direct = Recipient::Peer(*peer);
        let everyone = self.logs.range((Recipient::Everyone, 0)..=(Recipient::Everyone, u64::MAX));
        let direct = self.logs.range((direct, 0)..=(direct, u64::MAX));
        everyone.chain(direct).map(|(key, _)| *key).collect()
    }

    /// True when messages are pending for a peer.
    pub(in crate::proto) fn is_pending(&self, peer: &PeerId) -> bool {
        self.logs_for(peer).iter().any(|key| self.logs.get(key).is_some_and(|log| log.is_pending(peer)))
    }

    /// Sends what the peer's window has room for; without a link, has one opened.
    pub(in crate::proto) fn pump(&mut self, group: &Group, peer: PeerId) {
        if peer == group.me() || !group.is_member(&peer) || !self.wants_link(&peer) {
            return;
        }
        if peer.wire() == Wire::Classic {
            return self.turn.ask(Ask::Classic(peer));
        }
        let state = self.peer(group, peer);
        let Some(conn) = state.link else { return self.turn.ask(Ask::Link(peer)) };
        if let Some(question) = state.question.as_mut().filter(|question| !question.is_asked) {
            question.is_asked = true;
            let frame = question.frame.encode();
            self.turn.send_bytes(conn, frame);
        }
        self.feed(group, conn, peer);
        let is_due = |state: &State| !state.window.is_empty() || state.question.is_some();
        if self.peers.get(&peer).is_some_and(is_due) {
            self.turn.ask(Ask::Sent(conn));
        }
    }

    /// Sends batches for as long as the peer's window has room.
    fn feed(&mut self, group: &Group, conn: ConnId, peer: PeerId) {
        let mut waits = None;
        for key in self.logs_for(&peer) {
            // Earlier epochs of the same audience go first.
            if waits == Some(key.0) {
                continue;
            }
            while let Some(entry) = self.next_entry(group, key, &peer) {
                let (Some(state), Some(log)) = (self.peers.get_mut(&peer), self.logs.get_mut(&key)) else {
                    return;
                };
                let batch = &entry.batch.batch;
                let (last, messages) = (batch.last(), batch.texts.len());
                if !state.window.has_room(messages, entry.frame.len()) {
                    return;
                }
                state.window.sent((key.0 == Recipient::Everyone, key.1), last, messages, entry.frame.len());
                log.sent(&peer, last);
                self.turn.send_bytes(conn, entry.frame);
            }
            if self.logs.get(&key).is_some_and(|log| log.next_number(&peer).is_some()) {
                waits = Some(key.0);
            }
        }
    }

    /// The next batch of a stream for a peer. The history is asked for what the log has no more.
    pub(in crate::proto) fn next_entry(
        &mut self,
        group: &Group,
        key: LogKey,
        peer: &PeerId,
    ) -> Option<Entry> {
        let log = self.logs.get(&key)?;
        let (first, last) = match log.next_for(peer) {
            Next::Nothing => return None,
            Next::Batch(entry) => return Some(entry),
            Next::History(first, last) => (first, last),
        };
        let id = log.id();
        let state = self.peers.get_mut(peer)?;
        let lacking = &mut state.lacking;
        // Batches that were read ahead and are not needed any more.
        while lacking
            .entries
            .front()
            .is_some_and(|entry| entry.batch.batch.stream == id && entry.batch.batch.last() < first)
        {
            lacking.entries.pop_front();
        }
        let found = lacking
            .entries
            .front()
            .filter(|entry| entry.batch.batch.stream == id && entry.batch.batch.first <= first);
        if let Some(entry) = found {
            return Some(entry.clone());
        }
        if lacking.asked.is_none() && !self.turn.timers.is_set(Timer::Read(*peer)) {
            lacking.entries.clear();
            let token = self.catch_up.next_token();
            lacking.asked = Some(token);
            self.reading.insert(token, (*peer, key, (first, last)));
            let network = group.network_id()?;
            let wanted = Held { author: id.author, epoch: id.epoch, from: first, to: last };
            let (conversation, since) = (key.0, Timestamp(i64::MIN));
            let command = HistoryCommand::Range { token, network, conversation, wanted, since };
            self.turn.store(StoreCommand::History(command));
        }
        None
    }

    /// The history has given the messages that a peer lacks. Those that it has lost will never arrive.
    pub(super) fn read(
        &mut self,
        group: &Group,
        token: u64,
        batches: Vec<Arc<StoredBatch>>,
        next: Option<u64>,
    ) {
        let Some((peer, key, (first, last))) = self.reading.remove(&token) else { return };
        let Some(state) = self.peers.get_mut(&peer).filter(|state| state.lacking.asked == Some(token)) else {
            return;
        };
        state.lacking.asked = None;
        let found = batches.first().map_or_else(|| next.unwrap_or(last + 1), |batch| batch.batch.first);
        let entry = |batch: Arc<StoredBatch>| {
            let frame = Frame::encode_batch(0, &batch.batch);
            Entry { batch, frame }
        };
        state.lacking.entries = batches.into_iter().map(entry).collect();
        if found > first {
            let reason = if self.journal.waits { FailReason::Expired } else { FailReason::QueueFull };
            self.fail_up_to(group, key, &peer, found.min(last + 1) - 1, reason);
        }
        self.pump(group, peer);
    }

    /// The history could not be read. It is asked again after a while for the messages that a peer lacks.
    pub(super) fn not_read(&mut self, group: &Group, token: u64) {
        if let Some((peer, ..)) = self.reading.remove(&token) {
            if let Some(state) = self.peers.get_mut(&peer) {
                state.lacking = Lacking::default();
            }
            return self.turn.timers.set(Timer::Read(peer), self.turn.now.instant + limits::DISK_RETRY);
        }
        // After a conflict the peer answers with it again over the next link, and the messages are read then.
        if self.renewing.remove(&token).is_none() {
            self.compared(group, token, None);
            self.answer_range(group, token, &[], None);
            self.answer_held(token, Vec::new());
        }
    }
}

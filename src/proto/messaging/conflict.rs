//! Two batches under one number: the receiver keeps the first, and answers the second with it. An author that gets such an
//! answer has gone back in time (its profile was put back from a copy, or its machine from a snapshot). It begins a new
//! epoch, and says there again what the receiver lacks.
//!
//! No member may make an author begin a new epoch by a mere claim: for streams to everyone the answer must hold the author's
//! own signature over a batch that differs from what the author has.

use std::{collections::VecDeque, sync::Arc};

use super::{Messaging, receiving::Shown, sending::Growing};
use crate::{
    api::{Compared, HistoryCommand, StoreCommand},
    model::{
        Batch, CloseReason, FailReason, Held, PeerId, Recipient, Resolution, StoredBatch, StreamId,
        Timestamp, limits,
    },
    proto::{
        ConnId,
        group::Group,
        log::{Log, Range},
    },
    security::sign,
    wire::{Conflict, Frame},
};

/// What the history is asked to compare.
#[derive(Debug, Clone)]
pub(super) enum Comparing {
    /// A batch that an author sent under numbers that are known.
    Received { conn: ConnId, batch: Arc<Batch> },
    /// A batch that a peer has under numbers of this node's own.
    Own { conn: ConnId, peer: PeerId, batch: Arc<Batch> },
}

/// Messages that are said again, to one recipient, in an epoch of their own.
#[derive(Debug)]
pub(super) struct Renewing {
    to: Recipient,
    /// The old epoch, and the one in which its messages are said again.
    epochs: (u64, u64),
    peer: PeerId,
    /// The ranges that the recipient lacks, the next first.
    lacking: VecDeque<Range>,
}

impl Messaging {
    /// Asks the history whether what an author has sent is what is kept under its numbers.
    pub(super) fn compare_received(&mut self, group: &Group, conn: ConnId, batch: Arc<Batch>) {
        self.compare(group, Comparing::Received { conn, batch });
    }

    fn compare(&mut self, group: &Group, comparing: Comparing) {
        let Some(network) = group.network_id() else { return };
        let token = self.catch_up.next_token();
        let (Comparing::Received { batch, .. } | Comparing::Own { batch, .. }) = &comparing;
        let command = HistoryCommand::Compare { token, network, batch: batch.clone() };
        if let Comparing::Received { batch, .. } = &comparing
            && let Some(state) = self.peers.get_mut(&batch.stream.author)
        {
            state.comparing = Some(token);
        }
        self.comparing.insert(token, comparing);
        self.turn.store(StoreCommand::History(command));
    }

    /// The history has compared.
    pub(super) fn compared(&mut self, group: &Group, token: u64, compared: Option<Compared>) {
        match self.comparing.remove(&token) {
            Some(Comparing::Received { conn, batch }) => {
                let author = batch.stream.author;
                if let Some(state) =
                    self.peers.get_mut(&author).filter(|state| state.comparing == Some(token))
                {
                    state.comparing = None;
                    self.known(group, conn, &batch, compared);
                }
                self.release(group, author);
            }
            Some(Comparing::Own { conn, peer, batch }) => match compared {
                Some(Compared::Differs(_) | Compared::Lacks(_)) => {
                    self.renew(group, (batch.stream.to, batch.stream.epoch), peer);
                }
                Some(Compared::Same) => self.drop_link(conn, CloseReason::ProtocolError),
                None => {}
            },
            None => {}
        }
    }

    /// The history has compared a batch whose numbers are known.
    fn known(&mut self, group: &Group, conn: ConnId, batch: &Arc<Batch>, compared: Option<Compared>) {
        match compared {
            Some(Compared::Same) => self.acknowledge_when_kept(group, conn, batch.stream, batch.last()),
            // The history has lost it. It is taken on again, since it is called delivered once it is acknowledged.
            Some(Compared::Lacks(numbers)) => {
                let place = self.places.next(self.turn.now.wall);
                let author = batch.stream.author;
                self.peer(group, author).inbox.arrive_again(batch, place);
                for part in numbers.chunk_by(|one, next| one + 1 == *next) {
                    let (Some(first), Some(last)) = (part.first(), part.last()) else { continue };
                    let shown = Shown { place, at: self.turn.now.wall, late: true, missed: 0 };
                    self.show(group, batch, (*first, *last), shown);
                }
                self.acknowledge_when_kept(group, conn, batch.stream, batch.last());
            }
            Some(Compared::Differs(proof)) => {
                let everyone = batch.stream.to == Recipient::Everyone;
                self.refused.insert((conn, batch.stream));
                if let Some(state) = self.peers.get_mut(&batch.stream.author) {
                    let refused = batch.stream;
                    state.inbox.retain_held(|over, stream| over != conn || *stream != refused);
                }
                let conflict = Conflict { everyone, epoch: batch.stream.epoch, proof };
                self.turn.send(conn, &Frame::Conflict(conflict));
            }
            // Without an answer of the history there is none to the author, which sends it again.
            None => {}
        }
    }

    /// A peer has another batch under numbers of this node's own.
    pub(super) fn in_conflict(&mut self, group: &Group, conn: ConnId, peer: PeerId, conflict: Conflict) {
        let Conflict { everyone, epoch, proof } = conflict;
        let to = if everyone { Recipient::Everyone } else { Recipient::Peer(peer) };
        let Some(id) = self.logs.get(&(to, epoch)).map(Log::id) else { return };
        if !everyone {
            // Only the two of them are concerned, and the number of conflicts is bounded.
            let state = self.peer(group, peer);
            state.conflicts += 1;
            if state.conflicts > limits::CONFLICTS {
                return self.drop_link(conn, CloseReason::ProtocolError);
            }
            return self.renew(group, (to, epoch), peer);
        }
        let network = group.network_id();
        let holds = |batch: &Batch| {
            batch.stream == id
                && batch.is_lawful()
                && network.is_some_and(|network| sign::batch_holds(&network, batch))
        };
        match proof.filter(|batch| holds(batch)) {
            Some(batch) => self.compare(group, Comparing::Own { conn, peer, batch: Arc::new(*batch) }),
            None => self.drop_link(conn, CloseReason::ProtocolError),
        }
    }

    /// Begins a new epoch of an own stream, unless there is one already. The messages that a peer lacks of the old epoch are
    /// read and said again to this peer alone, in an epoch between the two.
    fn renew(&mut self, group: &Group, (to, old): (Recipient, u64), peer: PeerId) {
        let is_under_way =
            |renewing: &Renewing| (renewing.to, renewing.epochs.0, renewing.peer) == (to, old, peer);
        let Some(lacking) = self.logs.get(&(to, old)).map(|log| log.pending(&peer)) else { return };
        if self.renewing.values().any(is_under_way) {
            return;
        }
        self.close_batches(group);
        let (author, (_, newest)) = (group.me(), self.current(to));
        if newest == old {
            let epoch = u64::try_from(self.turn.now.wall.0).unwrap_or(0).max(old) + limits::EPOCH_ROOM;
            let mut log = Log::new(StreamId { author, epoch, to }, self.limits.log_bytes);
            Self::address_all(group, &mut log, self.turn.now.wall);
            self.logs.insert((to, epoch), log);
        }
        let (_, current) = self.current(to);
        let Some(epoch) = (old + 1..current).rev().find(|epoch| !self.logs.contains_key(&(to, *epoch)))
        else {
            return;
        };
        let mut log = Log::new(StreamId { author, epoch, to }, self.limits.log_bytes);
        log.address(peer, self.turn.now.wall);
        self.logs.insert((to, epoch), log);
        self.read_to_renew(group, Renewing { to, epochs: (old, epoch), peer, lacking: lacking.into() });
    }

    /// Asks the history for the next messages to be said again. After the last one those of the old epoch are resolved.
    fn read_to_renew(&mut self, group: &Group, renewing: Renewing) {
        let Renewing { to, epochs: (old, epoch), peer, ref lacking } = renewing;
        let Some(((from, until), network)) = lacking.front().copied().zip(group.network_id()) else {
            // The recipient takes nothing more of the old epoch.
            let conflict = Resolution::Failed(FailReason::Conflict);
            self.resolve(group, (to, old), &peer, u64::MAX, conflict);
            return self.settle_log((to, epoch));
        };
        let token = self.catch_up.next_token();
        self.renewing.insert(token, renewing);
        let wanted = Held { author: group.me(), epoch: old, from, to: until };
        let (conversation, since) = (to, Timestamp(i64::MIN));
        let command = HistoryCommand::Range { token, network, conversation, wanted, since };
        self.turn.store(StoreCommand::History(command));
    }

    /// The history gives messages to be said again. False when it was asked for something else.
    pub(super) fn say_again(
        &mut self,
        group: &Group,
        token: u64,
        batches: &[Arc<StoredBatch>],
        next: Option<u64>,
    ) -> bool {
        let Some(mut renewing) = self.renewing.remove(&token) else { return false };
        let key = (renewing.to, renewing.epochs.1);
        for StoredBatch { batch, references, .. } in batches.iter().map(Arc::as_ref) {
            // Nobody else lacks them: the others have them under their old numbers.
            let (texts, references) = (batch.texts.clone(), references.clone());
            let said = Growing { roster: u64::MAX, at: self.turn.now, texts, references, bytes: 0 };
            self.say_batch(group, key, said, batch.sent_at);
        }
        if let Some((from, until)) = renewing.lacking.pop_front()
            && let Some(next) = next.filter(|next| (from + 1..=until).contains(next) && !batches.is_empty())
        {
            renewing.lacking.push_front((next, until));
        }
        self.read_to_renew(group, renewing);
        true
    }
}

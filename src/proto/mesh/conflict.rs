//! Two batches under one number: the first is kept, the second is answered with what is kept. An author that is told so
//! of its own words has gone back in time (a profile put back from a copy, a machine from a snapshot): it begins a new
//! epoch, and says there what somebody lacks.
//!
//! A member must not make an author begin anew by a mere claim: of streams to everyone the author's own signature is
//! asked for, over something else than what it has.

use std::{collections::VecDeque, sync::Arc};

use super::{Mesh, receiving::Shown, sending::Growing};
use crate::{
    api::{Compared, HistoryCommand, StoreCommand},
    model::{
        Batch, CloseReason, Held, PeerId, Recipient, Resolution, StoredBatch, StreamId, Timestamp, limits,
    },
    proto::{
        ConnId, Output,
        core::Core,
        log::{Log, Range},
    },
    security::sign,
    wire::{Conflict, Frame},
};

/// What the history is asked to compare.
#[derive(Debug, Clone)]
pub(super) enum Comparing {
    /// What an author has sent under numbers that are known.
    Received { conn: ConnId, batch: Arc<Batch> },
    /// What somebody has of this node's own.
    Own { conn: ConnId, peer: PeerId, batch: Arc<Batch> },
}

/// What is said again to one recipient in an epoch of its own, until all of it is.
#[derive(Debug)]
pub(super) struct Renewing {
    to: Recipient,
    /// The epoch that is over, and the one in which it is said again.
    epochs: (u64, u64),
    peer: PeerId,
    /// What it lacks, the next first.
    lacking: VecDeque<Range>,
}

impl Mesh {
    /// Asks the history whether what an author has sent is what is kept under its numbers.
    pub(super) fn compare_received(&mut self, core: &mut Core, conn: ConnId, batch: Arc<Batch>) {
        self.compare(core, Comparing::Received { conn, batch });
    }

    fn compare(&mut self, core: &mut Core, comparing: Comparing) {
        let Some(network) = Self::network(core) else { return };
        let token = self.catch_up.next_token();
        let (Comparing::Received { batch, .. } | Comparing::Own { batch, .. }) = &comparing;
        let command = HistoryCommand::Compare { token, network, batch: batch.clone() };
        if let Comparing::Received { batch, .. } = &comparing
            && let Some(state) = self.peers.get_mut(&batch.stream.author)
        {
            state.comparing = Some(token);
        }
        self.comparing.insert(token, comparing);
        core.outputs.push_back(Output::Store(StoreCommand::History(command)));
    }

    /// The history has compared.
    pub(super) fn compared(&mut self, core: &mut Core, token: u64, compared: Option<Compared>) {
        match self.comparing.remove(&token) {
            Some(Comparing::Received { conn, batch }) => {
                let author = batch.stream.author;
                if let Some(state) =
                    self.peers.get_mut(&author).filter(|state| state.comparing == Some(token))
                {
                    state.comparing = None;
                    self.known(core, conn, &batch, compared);
                }
                self.release(core, author);
            }
            Some(Comparing::Own { conn, peer, batch }) => match compared {
                Some(Compared::Differs(_) | Compared::Lacks(_)) => {
                    self.renew(core, (batch.stream.to, batch.stream.epoch), peer);
                }
                Some(Compared::Same) => self.drop_link(core, conn, CloseReason::ProtocolError),
                None => {}
            },
            None => {}
        }
    }

    /// A batch came whose numbers are known.
    fn known(&mut self, core: &mut Core, conn: ConnId, batch: &Arc<Batch>, compared: Option<Compared>) {
        match compared {
            Some(Compared::Same) => self.acknowledge_when_kept(core, conn, batch.stream, batch.last()),
            // It was here once, and is not any more: it is taken on again, since it is called delivered.
            Some(Compared::Lacks(numbers)) => {
                let place = core.place_for();
                let author = batch.stream.author;
                self.peer(author, &core.policy, core.now.instant).inbox.arrive_again(batch, place);
                for part in numbers.chunk_by(|one, next| one + 1 == *next) {
                    let (Some(first), Some(last)) = (part.first(), part.last()) else { continue };
                    let shown = Shown { place, at: core.now.wall, late: true, missed: 0 };
                    self.show(core, batch, (*first, *last), shown);
                }
                self.acknowledge_when_kept(core, conn, batch.stream, batch.last());
            }
            Some(Compared::Differs(proof)) => {
                let everyone = batch.stream.to == Recipient::Everyone;
                if let Some(link) = self.links.get_mut(&conn) {
                    link.refused.insert(batch.stream);
                }
                if let Some(state) = self.peers.get_mut(&batch.stream.author) {
                    let refused = batch.stream;
                    state.inbox.retain_held(|over, stream| over != conn || *stream != refused);
                }
                let conflict = Conflict { everyone, epoch: batch.stream.epoch, proof };
                core.send(conn, &Frame::Conflict(conflict));
            }
            // Nothing is said of what cannot be looked up: it comes again.
            None => {}
        }
    }

    /// Somebody has something else under numbers of this node's own.
    pub(super) fn in_conflict(&mut self, core: &mut Core, conn: ConnId, peer: PeerId, conflict: Conflict) {
        let Conflict { everyone, epoch, proof } = conflict;
        let to = if everyone { Recipient::Everyone } else { Recipient::Peer(peer) };
        let Some(id) = self.logs.get(&(to, epoch)).map(Log::id) else { return };
        if !everyone {
            // It concerns nobody else, and is bounded.
            let state = self.peer(peer, &core.policy, core.now.instant);
            state.conflicts += 1;
            if state.conflicts > limits::CONFLICTS {
                return self.drop_link(core, conn, CloseReason::ProtocolError);
            }
            return self.renew(core, (to, epoch), peer);
        }
        let network = Self::network(core);
        let holds = |batch: &Batch| {
            batch.stream == id
                && batch.is_lawful()
                && network.is_some_and(|network| sign::batch_holds(&network, batch))
        };
        match proof.filter(|batch| holds(batch)) {
            Some(batch) => self.compare(core, Comparing::Own { conn, peer, batch: Arc::new(*batch) }),
            None => self.drop_link(core, conn, CloseReason::ProtocolError),
        }
    }

    /// Begins a new epoch of an own stream, unless that was done already. What a peer lacks of the old one is read, to
    /// be said again to it alone, in an epoch that stands before the new one.
    fn renew(&mut self, core: &mut Core, (to, old): (Recipient, u64), peer: PeerId) {
        let is_under_way =
            |renewing: &Renewing| (renewing.to, renewing.epochs.0, renewing.peer) == (to, old, peer);
        let Some(lacking) = self.logs.get(&(to, old)).map(|log| log.pending(&peer)) else { return };
        if self.renewing.values().any(is_under_way) {
            return;
        }
        self.close_batches(core);
        let (author, (_, newest)) = (core.me(), self.current(to));
        if newest == old {
            let epoch = u64::try_from(core.now.wall.0).unwrap_or(0).max(old) + limits::EPOCH_ROOM;
            let mut log = Log::new(StreamId { author, epoch, to });
            Self::address_all(core, &mut log, core.now.wall);
            self.logs.insert((to, epoch), log);
        }
        let (_, current) = self.current(to);
        let Some(epoch) = (old + 1..current).rev().find(|epoch| !self.logs.contains_key(&(to, *epoch)))
        else {
            return;
        };
        let mut log = Log::new(StreamId { author, epoch, to });
        log.address(peer, core.now.wall);
        self.logs.insert((to, epoch), log);
        self.read_to_renew(core, Renewing { to, epochs: (old, epoch), peer, lacking: lacking.into() });
    }

    /// Asks the history for the next part of what is to be said again; at the end the old words are given up.
    fn read_to_renew(&mut self, core: &mut Core, renewing: Renewing) {
        let Renewing { to, epochs: (old, epoch), peer, ref lacking } = renewing;
        let Some(((from, until), network)) = lacking.front().copied().zip(Self::network(core)) else {
            // It has said that it takes nothing more of that epoch.
            let conflict = Resolution::Failed(CloseReason::Conflict);
            self.resolve(core, (to, old), &peer, u64::MAX, conflict);
            return self.settle_log((to, epoch));
        };
        let token = self.catch_up.next_token();
        self.renewing.insert(token, renewing);
        let wanted = Held { author: core.me(), epoch: old, from, to: until };
        let (conversation, since) = (to, Timestamp(i64::MIN));
        let command = HistoryCommand::Range { token, network, conversation, wanted, since };
        core.outputs.push_back(Output::Store(StoreCommand::History(command)));
    }

    /// The history gives what is to be said again. False when it was not asked for that.
    pub(super) fn say_again(
        &mut self,
        core: &mut Core,
        token: u64,
        batches: &[Arc<StoredBatch>],
        next: Option<u64>,
    ) -> bool {
        let Some(mut renewing) = self.renewing.remove(&token) else { return false };
        let key = (renewing.to, renewing.epochs.1);
        for StoredBatch { batch, references, .. } in batches.iter().map(Arc::as_ref) {
            // Nobody else lacks it: the others have it under its old number.
            let (texts, references) = (batch.texts.clone(), references.clone());
            let said = Growing { roster: u64::MAX, at: core.now, texts, references, bytes: 0 };
            self.say_batch(core, key, said, batch.sent_at);
        }
        if let Some((from, until)) = renewing.lacking.pop_front()
            && let Some(next) = next.filter(|next| (from + 1..=until).contains(next) && !batches.is_empty())
        {
            renewing.lacking.push_front((next, until));
        }
        self.read_to_renew(core, renewing);
        true
    }
}

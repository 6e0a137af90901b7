//! What a host keeps: its state is saved at the end of a turn, and whoever waits for that is told when it is on disk.

use std::collections::BTreeMap;

use super::{Host, Timer};
use crate::{
    api::{NodeEvent, StoreCommand},
    model::{ErrorKind, HostState, Wire, limits},
    proto::ConnId,
    wire::{Frame, InviteMade},
};

/// What is to be kept, and what waits for that.
#[derive(Debug, Default)]
pub(super) struct Saves {
    /// The number of the newest state.
    pub(super) token: u64,
    /// Events to give out once a state is on disk.
    pub(super) waiting: BTreeMap<u64, Vec<NodeEvent>>,
    /// Invites to give to members once a state is on disk.
    pub(super) invites: Vec<(u64, ConnId, InviteMade)>,
    /// The state changed and is to be saved at the end of the turn.
    is_due: bool,
    /// The disk did not take the last state.
    is_unsaved: bool,
}

impl Host {
    /// Has the state saved at the end of the turn, and gives `then` out once that is on disk. A network that is being set
    /// aside is not saved again.
    pub(super) fn save(&mut self, then: Vec<NodeEvent>) {
        if self.is_retiring() {
            return then.into_iter().for_each(|event| self.turn.event(event));
        }
        self.saves.token += 1;
        self.saves.waiting.insert(self.saves.token, then);
        self.saves.is_due = true;
    }

    /// Has the state saved anew: the time in it tells a host that begins again for how long it was gone.
    pub(super) fn save_again(&mut self) {
        self.saves.is_due = true;
    }

    /// Ends a turn: a changed state is saved once.
    pub(in crate::proto) fn end_turn(&mut self) {
        if std::mem::take(&mut self.saves.is_due) && !self.is_retiring() {
            let state = Box::new(self.state());
            self.turn.store(StoreCommand::SaveHost { token: self.saves.token, state });
        }
        self.feed_deputy();
    }

    /// The host leaves: the next one that it opens begins without members.
    pub(in crate::proto) fn leave(&mut self) {
        self.has_left = true;
        self.save(Vec::new());
    }

    pub(super) fn state(&self) -> HostState {
        let me = self.group.me();
        HostState {
            network: self.network.clone(),
            alias: Some(self.group.alias.clone()),
            record: self.password.record.to_bytes(),
            listen: Some(self.listening.join_addr),
            admitted: self.admission.admitted().cloned().collect(),
            bans: self.admission.bans().to_vec(),
            passes: self.passes.all().to_vec(),
            attempts: self.admission.kept_attempts(),
            roster: self
                .group
                .roster
                .entries()
                .filter(|entry| entry.peer_id != me && entry.wire == Wire::Native && !self.has_left)
                .cloned()
                .collect(),
            departed: self.group.roster.all_departed().cloned().collect(),
            version: self.group.roster.version(),
            classic: self.group.policy.classic,
            alive: self.turn.now.wall,
            deputy: self.deputy.statement.clone(),
            opened_by: self.deputy.opened_by.clone(),
        }
    }

    pub(in crate::proto) fn saved(&mut self, token: u64) {
        self.saves.is_unsaved = false;
        self.turn.timers.cancel(Timer::Save);
        self.done_with(token);
        self.has_own_file();
    }

    /// What waited for this state is told.
    fn done_with(&mut self, token: u64) {
        let later = self.saves.waiting.split_off(&(token + 1));
        for events in std::mem::replace(&mut self.saves.waiting, later).into_values() {
            for event in events {
                self.turn.event(event);
            }
        }
        for (_, conn, made) in self.saves.invites.extract_if(.., |(since, ..)| *since <= token) {
            self.turn.send(conn, &Frame::InviteMade(made));
        }
        self.announce_deputy(token);
        self.welcome();
    }

    pub(in crate::proto) fn not_saved(&mut self, token: u64, message: &str) {
        if !std::mem::replace(&mut self.saves.is_unsaved, true) {
            let message = format!(
                "{message}; what the host decides is in force, and is written as soon as it can be: a restart \
                 before that forgets it"
            );
            self.turn.event(NodeEvent::error(ErrorKind::Storage, &message));
        }
        self.turn.set(Timer::Save, limits::SAVE_AGAIN);
        self.done_with(token);
    }
}

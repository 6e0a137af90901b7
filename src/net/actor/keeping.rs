//! When commands are given to the store.
//!
//! It must never keep back a command that somebody waits for, or let the store answer before it has earlier commands.

use tokio::time;

use super::Actor;
use crate::{
    api::{StoreCommand, StoreEvent},
    model::limits,
};

impl Actor {
    /// Takes a command for the store. Commands that nobody waits for go with the next ones, or within
    /// [`limits::STORE_WITHIN`]: each handing over costs a commit, or wakes a thread.
    pub(super) fn store(&mut self, command: StoreCommand) {
        let can_wait = match command {
            StoreCommand::Keep { .. } => !self.node.waits_for_store(),
            StoreCommand::Audience(_) | StoreCommand::Receipt(_) => true,
            _ => false,
        };
        let now = self.now().instant;
        let at = if can_wait { now + limits::STORE_WITHIN } else { now };
        self.store.at = Some(self.store.at.map_or(at, |earlier| earlier.min(at)));
        self.store.waiting.push(command);
    }

    /// Hands the store what has gathered, if it is time. A store that is full is given it again a moment later.
    pub(super) fn give_store(&mut self) {
        let Some(at) = self.store.at else { return };
        let now = self.now().instant;
        if at > now {
            let later = std::mem::take(&mut self.store.waiting);
            if self.store.profile.commands_later(later, &self.store.answers.tx) < limits::STORE_TOGETHER {
                return;
            }
        }
        self.store.at = None;
        if let Err(commands) =
            self.store.profile.commands(std::mem::take(&mut self.store.waiting), &self.store.answers.tx)
        {
            self.store.waiting = commands;
            self.store.at = Some(now + limits::STORE_WITHIN);
        }
    }

    /// Hands the store the last of what is to be kept, and waits until it has dealt with it.
    pub(super) async fn flush_store(&mut self) {
        self.store(StoreCommand::Recents);
        let flushed = async {
            loop {
                self.turn = self.platform.now();
                self.give_store();
                match time::timeout(limits::STORE_WITHIN, self.store.answers.rx.recv()).await {
                    Ok(Some(StoreEvent::Recents(_))) if self.store.waiting.is_empty() => return,
                    Ok(None) => return,
                    Ok(Some(_)) | Err(_) => {}
                }
            }
        };
        let _ = time::timeout(limits::LEAVE_TIMEOUT, flushed).await;
    }
}

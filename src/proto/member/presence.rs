//! What this member is called, and what it says of itself: the host has to agree.

use super::Member;
use crate::{
    model::{Alias, AliasError, CommandError, Status, Wire},
    proto::roster::Changes,
    wire::{Frame, Presence, Refusal},
};

impl Member {
    /// Asks the host for another name or status. The answer is a roster that says so, or a refusal.
    pub(in crate::proto) fn present(
        &mut self,
        alias: Option<String>,
        status: Option<Status>,
    ) -> Result<(), CommandError> {
        let Some(link) = &self.link else { return Err(CommandError::NoHost) };
        if self.host.key.is_some_and(|host| host.wire() == Wire::Classic) {
            return Err(CommandError::ClassicHost);
        }
        let refused = |error: AliasError| CommandError::NameRefused(error.to_string());
        let alias = alias.map(|alias| Alias::new(&alias)).transpose().map_err(refused)?;
        let alias = alias.unwrap_or_else(|| self.group.alias.clone());
        if alias == self.group.alias && status == self.group.own_status() {
            self.turn.event(self.group.roster_event());
            return Ok(());
        }
        self.status.clone_from(&status);
        let alias = alias.to_string();
        self.turn.send(link.conn, &Frame::Presence(Presence { alias, status }));
        Ok(())
    }

    /// What was said of this member before it was one.
    pub(in crate::proto) fn keep_status(&mut self) {
        self.status = self.group.own_status();
    }

    /// Says again what the host does not know any more, since it has admitted this member anew.
    pub(super) fn present_again(&mut self) {
        let (Some(status), Some(link)) = (self.status.clone(), &self.link) else { return };
        let alias = self.group.alias.to_string();
        self.turn.send(link.conn, &Frame::Presence(Presence { alias, status: Some(status) }));
    }

    /// The host does not agree: everything is as it was.
    pub(super) fn presence_refused(&mut self, refusal: &Refusal) {
        self.status = self.group.own_status();
        self.command_refused(refusal);
    }

    /// The roster says how this member is called now.
    pub(super) fn relabelled(&mut self, changes: &Changes) {
        if self.group.rename_self(changes) {
            if let Some(known) = &mut self.host.known {
                known.alias = self.group.alias.clone();
            }
            self.remember();
        }
    }
}

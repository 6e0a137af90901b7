//! What members are called, and what they say of themselves: the host agrees, or says why not.

use std::net::{IpAddr, Ipv4Addr};

use super::Host;
use crate::{
    model::{Alias, CloseReason, CommandError, PeerId, RosterEntry, Status, limits},
    wire::{Frame, Presence, Refusal},
};

impl Host {
    /// A member wants to be called otherwise, or says something else of itself.
    pub(super) fn presence(&mut self, peer: PeerId, wanted: Presence) {
        let now = self.turn.now.instant;
        let Some(link) = self.members.get_mut(&peer) else { return };
        let conn = link.conn;
        let is_soon = |at: std::time::Instant| now.saturating_duration_since(at) < limits::PRESENCE_EVERY;
        let done = if link.presence_at.is_some_and(is_soon) {
            Err(CommandError::TooSoon)
        } else {
            link.presence_at = Some(now);
            self.present(peer, &wanted.alias, wanted.status)
        };
        if let Err(error) = done {
            let refusal = Refusal { reason: CloseReason::AliasNotAllowed, detail: error.to_string() };
            self.turn.send(conn, &Frame::PresenceRefused(refusal));
        }
    }

    /// Gives a member, or this host itself, another name or status.
    pub(in crate::proto) fn present(
        &mut self,
        peer: PeerId,
        alias: &str,
        status: Option<Status>,
    ) -> Result<(), CommandError> {
        if self.is_retiring() {
            return Err(CommandError::HandingOver);
        }
        let pending = self.group.roster.entries_to_be().find(|entry| entry.peer_id == peer).cloned();
        let entry =
            pending.ok_or_else(|| CommandError::NoSuchMember(self.group.alias_of(&peer).to_string()))?;
        let alias = self.alias_for(&peer, &entry, alias)?;
        if alias == entry.alias && status == entry.status {
            // Whoever asked is told all the same.
            if peer == self.group.me() {
                self.turn.event(self.group.roster_event());
            }
            return Ok(());
        }
        if peer == self.group.me() {
            self.group.alias = alias.clone();
        }
        self.group.roster.update(RosterEntry { alias, status, ..entry });
        self.distribute_soon();
        Ok(())
    }

    fn alias_for(&mut self, peer: &PeerId, entry: &RosterEntry, wanted: &str) -> Result<Alias, CommandError> {
        if entry.alias.as_str() == wanted {
            return Ok(entry.alias.clone());
        }
        let refused = |error: &dyn std::fmt::Display| CommandError::NameRefused(error.to_string());
        let host = Some(&self.group.alias).filter(|_| *peer != self.group.me());
        let others = self.group.roster.entries_to_be().map(|entry| (&entry.peer_id, &entry.alias));
        let alias =
            self.admission.check_alias(peer, wanted, host, others).map_err(|error| refused(&error))?;
        // The name of before stays bound to its key: nobody else is taken for it.
        let ip = self.members.get(peer).map_or(IpAddr::from(Ipv4Addr::LOCALHOST), |link| link.ip);
        for name in [&entry.alias, &alias] {
            let bound = self.admission.admit(*peer, name.clone(), ip, self.turn.now);
            if bound.map_err(|error| refused(&error))? {
                self.save(Vec::new());
            }
        }
        Ok(alias)
    }
}

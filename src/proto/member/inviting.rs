//! A member's invites: the host makes them, where it lets members invite.

use super::Member;
use crate::{
    api::{InviteInfo, NodeEvent},
    model::{CommandError, ErrorKind, Invite, KeptPass, SafeText, Wire, limits},
    security::pass,
    wire::{Frame, InviteMade, InviteRequest, Refusal},
};

impl Member {
    /// Asks the host for an invite. One without a pass needs nobody: it says only whose key the host has.
    pub(in crate::proto) fn invite(
        &mut self,
        uses: Option<u32>,
        hours: Option<u32>,
        has_pass: bool,
    ) -> Result<(), CommandError> {
        let (Some(link), Some(host)) = (&self.link, self.host.key) else { return Err(CommandError::NoHost) };
        if host.wire() == Wire::Classic {
            return Err(CommandError::ClassicHost);
        }
        if !has_pass {
            let addrs = Invite::choose(self.group.host_addr.into_iter().collect());
            let invite = Invite { addrs, key: host, pass: None };
            self.turn.event(NodeEvent::Invite { link: invite.into(), info: None });
            return Ok(());
        }
        if !self.group.policy.members_invite {
            return Err(CommandError::MembersDoNotInvite);
        }
        let (uses, hours) = (uses.unwrap_or(1), hours.unwrap_or(limits::PASS_HOURS));
        self.invites_asked += 1;
        self.turn.send(link.conn, &Frame::InviteRequest(InviteRequest { uses, hours }));
        Ok(())
    }

    /// The host has made an invite. Where this member reaches the host, others may too.
    pub(super) fn invite_made(&mut self, made: InviteMade) {
        let Some(host) = self.host.key.filter(|_| self.invites_asked > 0) else { return };
        self.invites_asked -= 1;
        let InviteMade { pass, uses, until, addrs } = made;
        let kept = KeptPass {
            hash: pass::hash(&pass),
            uses,
            until,
            since: self.turn.now.wall,
            by: Some(self.group.me()),
            is_revoked: false,
        };
        let addrs = Invite::choose(self.group.host_addr.into_iter().chain(addrs).collect());
        let invite = Invite { addrs, key: host, pass: Some(pass) };
        self.turn.event(NodeEvent::Invite { link: invite.into(), info: Some(InviteInfo::from(&kept)) });
    }

    /// The host makes no invite.
    pub(super) fn invite_not_made(&mut self, refusal: &Refusal) {
        if self.invites_asked > 0 {
            self.invites_asked -= 1;
            self.command_refused(refusal);
        }
    }

    /// The host does not do what this member asked for.
    pub(super) fn command_refused(&mut self, refusal: &Refusal) {
        self.turn.event(NodeEvent::error(ErrorKind::Command, &SafeText::line(&refusal.detail)));
    }
}

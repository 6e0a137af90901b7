//! Invites: a pass is made, given out once, and lets its bearer in without the password.

use std::{net::SocketAddr, time::Duration};

use rand_core::RngCore as _;

use super::Host;
use crate::{
    api::{InviteInfo, NodeEvent},
    model::{AuthenticationError, CloseReason, CommandError, Invite, KeptPass, Pass, PassError, limits},
    proto::ConnId,
    security::pass,
    wire::Invited,
};

impl Host {
    /// Makes an invite for joiners at these addresses. It is told once it is kept.
    pub(super) fn invite(
        &mut self,
        uses: Option<u32>,
        hours: Option<u32>,
        has_pass: bool,
        addrs: Vec<SocketAddr>,
    ) -> Result<(), CommandError> {
        let (uses, hours) = (uses.unwrap_or(1), hours.unwrap_or(limits::PASS_HOURS));
        if !(1..=limits::PASS_USES).contains(&uses) {
            return Err(CommandError::InviteBounds("uses", limits::PASS_USES));
        }
        if !(1..=limits::PASS_HOURS_MAX).contains(&hours) {
            return Err(CommandError::InviteBounds("hours", limits::PASS_HOURS_MAX));
        }
        let mut addrs = if addrs.is_empty() { vec![self.listening.join_addr] } else { addrs };
        // This machine's own address leads nowhere from others.
        if addrs.iter().any(|addr| !addr.ip().is_loopback()) {
            addrs.retain(|addr| !addr.ip().is_loopback());
        }
        addrs.truncate(limits::INVITE_ADDRS);
        let mut invite = Invite { addrs, key: self.group.me(), pass: None };
        if !has_pass {
            self.turn.event(NodeEvent::Invite { link: invite.into(), info: None });
            return Ok(());
        }
        let mut bits = [0; limits::PASS_BYTES];
        self.turn.rng.fill_bytes(&mut bits);
        let pass = Pass::new(bits);
        let now = self.turn.now.wall;
        let until = now.plus(Duration::from_secs(u64::from(hours) * 3600));
        let kept = KeptPass { hash: pass::hash(&pass), uses, until, since: now, is_revoked: false };
        invite.pass = Some(pass);
        let info = InviteInfo::from(&kept);
        if !self.passes.add(kept, now) {
            return Err(CommandError::TooManyInvites);
        }
        self.save(vec![NodeEvent::Invite { link: invite.into(), info: Some(info) }]);
        self.tell_invites();
        Ok(())
    }

    /// Takes an invite back, or all of them.
    pub(super) fn revoke(&mut self, id: Option<&str>) -> Result<(), CommandError> {
        if !self.passes.revoke(id, self.turn.now.wall) {
            return Err(CommandError::NoSuchInvite);
        }
        self.save(Vec::new());
        self.tell_invites();
        Ok(())
    }

    pub(super) fn tell_invites(&mut self) {
        let invites: Vec<InviteInfo> = self.passes.open(self.turn.now.wall).map(InviteInfo::from).collect();
        if invites != self.told_invites {
            self.told_invites.clone_from(&invites);
            self.turn.event(NodeEvent::Invites { invites });
        }
    }

    /// A joiner shows the pass of an invite in place of proving the password.
    pub(super) fn invited(&mut self, conn: ConnId, invited: &Invited) {
        let Some(joiner) = self.joiners.get(&conn) else { return };
        let ban = self.admission.ban_of(&joiner.peer, joiner.remote.ip());
        if let Some(reason) = ban.map(|ban| ban.reason.clone()) {
            return self.refuse_banned(conn, &reason);
        }
        let hash = pass::hash(&invited.pass);
        if let Err(error) = self.passes.check(&hash, self.turn.now.wall) {
            return self.refuse_invited(conn, error);
        }
        self.admit(conn, &invited.hello);
        if self.by_conn.contains_key(&conn) {
            // The admission is saved at the end of this turn, and this with it.
            self.passes.was_used(&hash);
            self.tell_invites();
        }
    }

    fn refuse_invited(&mut self, conn: ConnId, error: PassError) {
        self.turn.timers.cancel(super::Timer::Admission(conn));
        self.joiners.remove(&conn);
        self.refuse(conn, CloseReason::InviteRefused, &AuthenticationError::Pass(error));
    }
}

//! Invites: a pass is made, given out once, and lets its bearer in without the password.

use std::{net::SocketAddr, time::Duration};

use rand_core::RngCore as _;

use super::Host;
use crate::{
    api::{InviteInfo, NodeEvent},
    model::{AuthenticationError, CloseReason, CommandError, Invite, KeptPass, Pass, PeerId, limits},
    proto::{ConnId, Output},
    security::pass,
    wire::{Frame, InviteMade, InviteRequest, Invited, Refusal},
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
        let here = if addrs.is_empty() { vec![self.listening.join_addr] } else { addrs };
        let addrs = self.outside().into_iter().chain(here).collect();
        let mut invite = Invite { addrs: Invite::choose(addrs), key: self.group.me(), pass: None };
        if !has_pass {
            self.turn.event(NodeEvent::Invite { link: invite.into(), info: None });
            return Ok(());
        }
        let (pass, info) = self.make_pass(uses, hours, None)?;
        invite.pass = Some(pass);
        self.save(vec![NodeEvent::Invite { link: invite.into(), info: Some(info) }]);
        self.tell_invites();
        Ok(())
    }

    fn make_pass(
        &mut self,
        uses: u32,
        hours: u32,
        by: Option<PeerId>,
    ) -> Result<(Pass, InviteInfo), CommandError> {
        if !(1..=limits::PASS_USES).contains(&uses) {
            return Err(CommandError::InviteBounds("uses", limits::PASS_USES));
        }
        if !(1..=limits::PASS_HOURS_MAX).contains(&hours) {
            return Err(CommandError::InviteBounds("hours", limits::PASS_HOURS_MAX));
        }
        let mut bits = [0; limits::PASS_BYTES];
        self.turn.rng.fill_bytes(&mut bits);
        let pass = Pass::new(bits);
        let since = self.turn.now.wall;
        let until = since.plus(Duration::from_secs(u64::from(hours) * 3600));
        let kept = KeptPass { hash: pass::hash(&pass), uses, until, since, by, is_revoked: false };
        let info = InviteInfo::from(&kept);
        if self.passes.add(kept, since) { Ok((pass, info)) } else { Err(CommandError::TooManyInvites) }
    }

    /// A member wants an invite to give away.
    pub(super) fn invite_for(&mut self, peer: PeerId, wanted: InviteRequest) {
        let Some(link) = self.members.get(&peer) else { return };
        let conn = link.conn;
        let open = |of: &dyn Fn(PeerId) -> bool| {
            let passes = self.passes.open(self.turn.now.wall);
            passes.filter(|pass| pass.by.is_some_and(of)).count()
        };
        let (own, all) = (open(&|by| by == peer), open(&|_| true));
        let made = match () {
            () if !self.group.policy.members_invite => Err(CommandError::MembersDoNotInvite),
            () if self.is_retiring() => Err(CommandError::HandingOver),
            () if own >= limits::PASSES_OF_MEMBER => Err(CommandError::EnoughInvites),
            () if all >= limits::PASSES_OF_MEMBERS => Err(CommandError::TooManyInvites),
            () => self.make_pass(wanted.uses, wanted.hours, Some(peer)),
        };
        match made {
            Ok((pass, info)) => {
                self.save(Vec::new());
                self.tell_invites();
                let mut addrs = self.join_addrs();
                addrs.truncate(limits::CANDIDATES - 1);
                if let Some(outside) = self.outside() {
                    addrs.insert(0, outside);
                }
                let InviteInfo { uses, until, .. } = info;
                let made = InviteMade { pass, uses, until, addrs };
                self.saves.invites.push((self.saves.token, conn, made));
            }
            Err(error) => {
                let refusal = Refusal { reason: CloseReason::InviteRefused, detail: error.to_string() };
                self.turn.send(conn, &Frame::InviteNotMade(refusal));
            }
        }
    }

    /// Where joiners reach this host from its network, best first.
    pub(super) fn join_addrs(&self) -> Vec<SocketAddr> {
        let join = self.listening.join_addr;
        if !join.ip().is_unspecified() {
            return vec![join];
        }
        self.listening.peer_addrs.iter().map(|addr| SocketAddr::new(addr.ip(), join.port())).collect()
    }

    /// Whom the host does not want any more, nobody comes in by its invites.
    pub(super) fn revoke_invites_of(&mut self, peer: &PeerId) {
        if self.passes.revoke_of(peer, self.turn.now.wall) {
            self.save(Vec::new());
            self.tell_invites();
        }
    }

    /// Takes an invite back, or all of them.
    pub(super) fn revoke(&mut self, id: Option<&str>) -> Result<(), CommandError> {
        if !self.passes.revoke(id, self.turn.now.wall) {
            return Err(CommandError::NoSuchInvite);
        }
        self.save(Vec::new());
        self.tell_invites();
        self.clear_the_door();
        Ok(())
    }

    /// Tells those around of the network, where the host wants that.
    pub(super) fn announce(&mut self) {
        if self.announce {
            let (network, join_addr) = (self.network.name.clone(), self.listening.join_addr);
            self.turn.ask(Output::Announce { network, join_addr });
        }
    }

    pub(super) fn tell_invites(&mut self) {
        let invites: Vec<InviteInfo> = self.passes.open(self.turn.now.wall).map(InviteInfo::from).collect();
        if invites != self.told_invites {
            self.told_invites.clone_from(&invites);
            self.turn.event(NodeEvent::Invites { invites });
        }
    }

    /// A joiner shows the pass of an invite in place of proving the password.
    pub(super) fn invited(&mut self, conn: ConnId, invited: Invited) {
        let Some(joiner) = self.joiners.get(&conn) else { return };
        let ban = self.admission.ban_of(&joiner.peer, joiner.remote.ip());
        if let Some(reason) = ban.map(|ban| ban.reason.clone()) {
            return self.refuse_banned(conn, &reason);
        }
        let hash = pass::hash(&invited.pass);
        if let Err(error) = self.passes.check(&hash, self.turn.now.wall) {
            return self.turn_away(conn, CloseReason::InviteRefused, &AuthenticationError::Pass(error));
        }
        self.arrive(conn, invited.hello, Some(hash));
    }
}

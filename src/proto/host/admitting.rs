//! Admission (seed, "Protocol Flow"): from a joiner's first frame to its place in the roster.
//!
//! It must never say more to a banned joiner than that, or work for one that was not charged.

use std::{collections::BTreeMap, net::IpAddr};

use super::{Host, Joiner, MemberLink, ReachabilityAsked, Step, Timer, candidates, classic};
use crate::{
    api::NodeEvent,
    model::{Alias, AuthenticationError, CloseReason, PeerId, Role, RosterEntry, SafeText, Wire, limits},
    proto::{
        ConnId, Connected,
        admission::{Charge, Settled},
        detector::Detector,
    },
    security::password::join_context,
    wire::{BannedStatus, ByteBuf, Frame, Hello, Refusal, classic::Object},
};

impl Host {
    pub(in crate::proto) fn connected(&mut self, conn: ConnId, connected: &Connected) {
        let (peer, remote) = (connected.secured.peer, connected.remote);
        let status = self.admission.status(&peer, remote.ip());
        if let (BannedStatus::Known, Some(opened)) = (&status, &self.deputy.opened_by) {
            self.turn.send(conn, &Frame::OpenedAgain(Box::new(opened.statement.clone())));
        }
        self.turn.send(conn, &Frame::BannedStatus(status.clone()));
        let known = match status {
            _ if peer == self.group.me() => return self.turn.close(conn, CloseReason::Superseded),
            BannedStatus::Banned { .. } => return self.turn.close(conn, CloseReason::Banned),
            BannedStatus::Known => true,
            BannedStatus::Password { .. } => false,
        };
        let binding = connected.secured.binding;
        let (local, step) = (connected.local, Step::Status { known, echoes: 0 });
        self.joiners.insert(conn, Joiner { peer, remote, local, binding, step });
        self.turn.set(Timer::Admission(conn), limits::ADMISSION_TIMEOUT);
    }

    pub(in crate::proto) fn frame(&mut self, conn: ConnId, frame: Frame) {
        if let Some(peer) = self.by_conn.get(&conn).copied() {
            self.member_frame(peer, conn, &frame);
            return;
        }
        let Some(joiner) = self.joiners.get_mut(&conn) else { return };
        match (frame, &mut joiner.step) {
            (Frame::Echo(bytes), Step::Status { echoes, .. }) if *echoes < limits::ECHOES => {
                *echoes += 1;
                self.turn.send(conn, &Frame::Echo(bytes));
            }
            (Frame::StillHost(addrs), Step::Status { known: true, .. }) => {
                let (peer, remote) = (joiner.peer, joiner.remote);
                self.turn.close(conn, CloseReason::Left);
                self.joiner_gone(conn);
                self.host_before_stays(peer, remote, &addrs);
            }
            (Frame::Hello(hello), Step::Status { known: true, .. }) => {
                let peer = joiner.peer;
                if self.admission.is_admitted(&peer)
                    || self.admission.ban_of(&peer, joiner.remote.ip()).is_some()
                {
                    return self.admit(conn, &hello);
                }
                // A kick in the meantime has made the key unknown.
                self.turn.goodbye(conn, CloseReason::Kicked, "");
                self.joiner_gone(conn);
            }
            (Frame::Hello(hello), Step::Status { known: false, .. }) => {
                let ip = joiner.remote.ip();
                joiner.step = Step::Turn(hello);
                self.charge(conn, ip);
            }
            (Frame::Invited(invited), Step::Status { known: false, .. }) => self.invited(conn, invited),
            (Frame::Proof(ByteBuf(ke3)), Step::Challenged(..)) => self.proof(conn, &ke3),
            _ => {
                self.turn.goodbye(conn, CloseReason::ProtocolError, "");
                self.joiner_gone(conn);
            }
        }
    }

    /// A joiner wants to prove the password: it is its turn, or it waits for others from its address.
    pub(super) fn charge(&mut self, conn: ConnId, ip: IpAddr) {
        if let Some(held) = &mut self.password.held {
            held.push(conn);
            return self.turn.set(Timer::Admission(conn), limits::JOIN_FOR);
        }
        if self.admission.tidy(self.turn.now) {
            self.save(Vec::new());
            self.tell_admission_soon();
        }
        // Its neighbourhood may be banned since it was told how it stands.
        let ban = self.joiners.get(&conn).and_then(|joiner| self.admission.ban_of(&joiner.peer, ip));
        if let Some(reason) = ban.map(|ban| ban.reason.clone()) {
            return self.refuse_banned(conn, &reason);
        }
        match self.admission.charge(conn, ip, self.turn.now) {
            Charge::Challenge => self.challenge(conn),
            Charge::Wait => self.turn.set(Timer::Admission(conn), limits::JOIN_FOR),
        }
    }

    /// Sends the challenge to a joiner whose attempt is charged.
    pub(in crate::proto) fn challenge(&mut self, conn: ConnId) {
        let Some(mut joiner) = self.joiners.remove(&conn) else { return };
        let hello = match joiner.step {
            Step::Turn(hello) => hello,
            Step::Classic(classic::Step::Turn(password)) => {
                joiner.step = Step::Classic(classic::Step::Charged(password));
                self.joiners.insert(conn, joiner);
                return self.check_password(conn);
            }
            _ => return,
        };
        let context = join_context(&joiner.binding, &self.group.me(), &joiner.peer);
        match self.password.record.challenge(&mut self.turn.rng, context, &hello.ke1) {
            Ok((ke2, challenged)) => {
                joiner.step = Step::Challenged(hello, Box::new(challenged));
                self.joiners.insert(conn, joiner);
                // Whoever had to wait for its turn has as long for the answer as others.
                self.turn.set(Timer::Admission(conn), limits::ADMISSION_TIMEOUT);
                self.turn.send(conn, &Frame::Challenge(ByteBuf(ke2)));
            }
            Err(_) => {
                self.turn.timers.cancel(Timer::Admission(conn));
                self.turn.goodbye(conn, CloseReason::ProtocolError, "");
                self.settle_attempt(joiner.remote.ip(), false);
            }
        }
    }

    pub(super) fn proof(&mut self, conn: ConnId, ke3: &[u8]) {
        let Some(joiner) = self.joiners.remove(&conn) else { return };
        let Step::Challenged(hello, challenged) = joiner.step else { return };
        let ip = joiner.remote.ip();
        if challenged.is_proven_by(ke3) {
            self.joiners.insert(
                conn,
                Joiner { step: Step::Status { known: true, echoes: limits::ECHOES }, ..joiner },
            );
            self.settle_attempt(ip, true);
            self.arrive(conn, hello, None);
        } else {
            self.turn.timers.cancel(Timer::Admission(conn));
            let left = self.settle_attempt(ip, false);
            let error = AuthenticationError::WrongPassword { left };
            self.refuse(conn, CloseReason::WrongPassword, &error);
        }
    }

    /// An attempt succeeded or failed. Gives how many the address has left.
    pub(in crate::proto) fn settle_attempt(&mut self, ip: IpAddr, proven: bool) -> u32 {
        let Settled { wrong, ban, challenge, refuse } =
            self.admission.settle(ip, proven, self.turn.now.instant, self.turn.now.wall);
        let mut left = 0;
        if let Some(attempt) = wrong {
            left = attempt.left;
            self.turn.event(NodeEvent::Attempt { addr: attempt.addr, left });
            if ban.is_none() {
                self.save(Vec::new());
            }
        }
        if let Some(ban) = ban {
            let reason = SafeText::line(&ban.reason);
            let banned = NodeEvent::Banned { peer_id: None, addr: ban.addr, reason };
            self.save(vec![banned]);
            for conn in refuse {
                self.refuse_banned(conn, &ban.reason);
            }
        }
        self.tell_admission_soon();
        for conn in challenge {
            self.challenge(conn);
        }
        left
    }

    /// True while a joiner has the challenge, its password is being compared, or it waits at the door.
    pub(in crate::proto) fn is_judged(&self, conn: ConnId) -> bool {
        let step = self.joiners.get(&conn).map(|joiner| &joiner.step);
        matches!(
            step,
            Some(Step::Challenged(..) | Step::Applying(_) | Step::Classic(classic::Step::Checking(_)))
        )
    }

    pub(super) fn refuse_banned(&mut self, conn: ConnId, reason: &str) {
        let joiner = self.joiners.remove(&conn);
        if joiner.is_some_and(|joiner| matches!(joiner.step, Step::Classic(_))) {
            self.turn.send_object(conn, &Object::Authenticated(false));
        } else {
            let status = BannedStatus::Banned { reason: reason.to_owned() };
            self.turn.send(conn, &Frame::BannedStatus(status));
        }
        self.turn.close(conn, CloseReason::Banned);
        self.turn.timers.cancel(Timer::Admission(conn));
    }

    /// Makes a joiner a member: its password is proven, or its key is known.
    pub(super) fn admit(&mut self, conn: ConnId, hello: &Hello) {
        let Some(joiner) = self.joiners.remove(&conn) else { return };
        self.turn.timers.cancel(Timer::Admission(conn));
        if self.is_retiring() {
            // The next host is not told of whoever comes in now.
            return self.turn.goodbye(conn, CloseReason::Busy, "");
        }
        let (peer, remote) = (joiner.peer, joiner.remote);
        // What an older session had still said may arrive after the newer one was let in.
        if self.members.get(&peer).is_some_and(|member| member.conn > conn) {
            return self.turn.goodbye(conn, CloseReason::Superseded, "");
        }
        if let Some(ban) = self.admission.ban_of(&peer, remote.ip()) {
            self.turn.send(conn, &Frame::BannedStatus(BannedStatus::Banned { reason: ban.reason.clone() }));
            return self.turn.close(conn, CloseReason::Banned);
        }
        let (alias, saved_with) = match self.admit_key(&joiner, hello) {
            Ok(admitted) => admitted,
            Err((reason, error)) => return self.refuse(conn, reason, &error),
        };
        self.turn.authenticated(conn);
        self.supersede(&peer);
        // It may be somewhere else now: whoever has called it in vain may call it again.
        for member in self.members.values_mut() {
            member.called.remove(&peer);
        }
        // Only its link is another one.
        let status = self.group.roster.entries_to_be().find(|entry| entry.peer_id == peer);
        let status = status.and_then(|entry| entry.status.clone());
        self.group.roster.update(RosterEntry {
            peer_id: peer,
            alias,
            role: Role::Member,
            wire: Wire::Native,
            addrs: candidates(remote, &hello.addrs),
            since: self.admission.since(&peer).unwrap_or(self.turn.now.wall),
            status,
        });
        let link = MemberLink {
            conn,
            ip: remote.ip(),
            detector: Detector::new(self.turn.now.instant),
            since: None,
            saved_with,
            roster_wanted: false,
            reachability: ReachabilityAsked::Never,
            called: BTreeMap::new(),
            presence_at: None,
        };
        self.members.insert(peer, link);
        self.by_conn.insert(conn, peer);
        self.distribute_soon();
    }

    /// Admits a joiner's key, and has that saved. Gives its alias and the token of the save, 0 when the key was known already;
    /// or why it may not come in.
    fn admit_key(
        &mut self,
        joiner: &Joiner,
        hello: &Hello,
    ) -> Result<(Alias, u64), (CloseReason, AuthenticationError)> {
        let peer = joiner.peer;
        let present = self.group.roster.entries_to_be().map(|entry| (&entry.peer_id, &entry.alias));
        let alias = self.admission.check_alias(&peer, &hello.alias, Some(&self.group.alias), present);
        let alias = alias.map_err(|error| match error {
            AuthenticationError::AliasNotAllowed(_) => (CloseReason::AliasNotAllowed, error),
            error => (CloseReason::AliasTaken, error),
        })?;
        let is_full = |error| (CloseReason::NetworkFull, error);
        if !self.group.roster.will_have(&peer) {
            self.admission.check_room(self.group.roster.members_to_be()).map_err(is_full)?;
        }
        let is_news = self.admission.admit(peer, alias.clone(), joiner.remote.ip(), self.turn.now);
        if !is_news.map_err(is_full)? {
            return Ok((alias, 0));
        }
        self.save(Vec::new());
        Ok((alias, self.saves.token))
    }

    /// A member that is admitted again has one link, the newer.
    fn supersede(&mut self, peer: &PeerId) {
        if let Some(before) = self.members.remove(peer) {
            self.by_conn.remove(&before.conn);
            self.group.join_links.remove(peer);
            self.turn.timers.cancel(Timer::Beat(before.conn));
            self.turn.goodbye(before.conn, CloseReason::Superseded, "");
        }
    }

    pub(super) fn refuse(&mut self, conn: ConnId, reason: CloseReason, error: &AuthenticationError) {
        self.turn.send(conn, &Frame::Refused(Refusal { reason, detail: error.to_string() }));
        self.turn.close(conn, reason);
    }

    /// A joiner closed its link or took too long. One that was challenged and gave no proof has guessed wrong.
    pub(in crate::proto) fn joiner_gone(&mut self, conn: ConnId) {
        self.turn.timers.cancel(Timer::Admission(conn));
        let Some(joiner) = self.joiners.remove(&conn) else { return };
        match joiner.step {
            Step::Turn(_) | Step::Classic(classic::Step::Turn(_)) => {
                self.admission.stop_waiting(conn, joiner.remote.ip());
            }
            Step::Applying(_) => self.tell_applicants(),
            Step::Challenged(..) => _ = self.settle_attempt(joiner.remote.ip(), false),
            // Its guess is here, and is settled by what comes of it.
            Step::Classic(classic::Step::Checking(challenged)) => {
                self.classic.gone_while_checking(conn, joiner.remote.ip(), challenged);
            }
            // Nobody has compared it: nobody is charged.
            Step::Classic(classic::Step::Charged(_)) => {
                for next in self.admission.withdraw(joiner.remote.ip()) {
                    self.challenge(next);
                }
            }
            Step::Status { .. } | Step::Classic(_) => {}
        }
    }
}

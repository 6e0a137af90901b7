//! The door: where the host wants to be asked, whoever has proven the password or shown a pass waits for its yes.
//!
//! A key that is known does not wait. Nobody who waits has a place in the roster, a use of an invite, or a message.

use super::{Host, Step, Timer};
use crate::{
    api::{NodeEvent, PeerName},
    model::{Alias, Applicant, AuthenticationError, CloseReason, CommandError, ban::address_block, limits},
    proto::ConnId,
    wire::{Frame, Hello},
};

/// Who waits, as the front end was told last.
#[derive(Debug, Default)]
pub(super) struct Door {
    /// Whoever comes for the first time waits.
    pub(super) asks: bool,
    told: Vec<Applicant>,
}

impl Door {
    /// One at which newcomers wait, or do not.
    pub(super) fn new(asks: bool) -> Self {
        Self { asks, told: Vec::new() }
    }
}

impl Host {
    /// Somebody has proven the password, or shown a pass: it comes in, or waits.
    pub(super) fn arrive(&mut self, conn: ConnId, hello: Hello, pass: Option<[u8; 32]>) {
        let Some(joiner) = self.joiners.get(&conn) else { return };
        if !self.door.asks || self.admission.is_admitted(&joiner.peer) {
            return self.come_in(conn, &hello, pass.as_ref());
        }
        let peer = joiner.peer;
        let alias = match Alias::new(&hello.alias) {
            Ok(alias) => alias,
            Err(error) => {
                let error = AuthenticationError::AliasNotAllowed(error);
                return self.turn_away(conn, CloseReason::AliasNotAllowed, &error);
            }
        };
        // Whoever comes again has given up the first time.
        let earlier = self.applicants().find(|(_, other)| other.peer_id == peer).map(|(conn, _)| conn);
        if earlier.is_none() && !self.has_room_for(conn, pass.as_ref()) {
            self.turn.goodbye(conn, CloseReason::Busy, "");
            return self.joiner_gone(conn);
        }
        if let Some(earlier) = earlier {
            self.turn.goodbye(earlier, CloseReason::Superseded, "");
            self.joiner_gone(earlier);
        }
        let Some(joiner) = self.joiners.get_mut(&conn) else { return };
        let applicant = Applicant {
            peer_id: peer,
            alias,
            addr: joiner.remote.ip().to_canonical(),
            until: self.turn.now.wall.plus(limits::APPROVAL_WAIT),
            invited: pass.is_some(),
        };
        joiner.step = Step::Applying(Box::new((hello, pass, applicant)));
        // It has done what a stranger has to do, and takes no stranger's place while it waits.
        self.turn.authenticated(conn);
        self.turn.set(Timer::Admission(conn), limits::APPROVAL_WAIT);
        let seconds = u32::try_from(limits::APPROVAL_WAIT.as_secs()).unwrap_or(u32::MAX);
        self.turn.send(conn, &Frame::AwaitApproval(seconds));
        self.tell_applicants();
    }

    /// There is room for one more at the door: in all, from its address, and by its pass.
    fn has_room_for(&self, conn: ConnId, pass: Option<&[u8; 32]>) -> bool {
        let Some(joiner) = self.joiners.get(&conn) else { return false };
        let block = address_block(joiner.remote.ip());
        let waiting = || {
            self.joiners.values().filter_map(|joiner| match &joiner.step {
                Step::Applying(applying) => Some((address_block(joiner.remote.ip()), applying.1)),
                _ => None,
            })
        };
        let uses = |pass: &[u8; 32]| {
            self.passes.all().iter().find(|kept| kept.hash == *pass).map_or(0, |kept| kept.uses)
        };
        let by_pass = waiting().filter(|(_, other)| other.is_some() && other.as_ref() == pass).count();
        waiting().count() < limits::APPLICANTS
            && waiting().filter(|(other, _)| *other == block).count() < limits::APPLICANTS_PER_ADDRESS
            && pass.is_none_or(|pass| by_pass < uses(pass) as usize)
    }

    /// Turns away those at the door who are banned by now, or whose invite was taken back.
    pub(super) fn clear_the_door(&mut self) {
        let now = self.turn.now.wall;
        let mut banned = Vec::new();
        let mut refused = Vec::new();
        for (conn, joiner) in &self.joiners {
            let Step::Applying(applying) = &joiner.step else { continue };
            if let Some(ban) = self.admission.ban_of(&joiner.peer, joiner.remote.ip()) {
                banned.push((*conn, ban.reason.clone()));
            } else if let Some(error) = applying.1.and_then(|pass| self.passes.check(&pass, now).err()) {
                refused.push((*conn, error));
            }
        }
        for (conn, reason) in banned {
            self.refuse_banned(conn, &reason);
        }
        for (conn, error) in refused {
            self.turn_away(conn, CloseReason::InviteRefused, &AuthenticationError::Pass(error));
        }
        self.tell_applicants();
    }

    fn come_in(&mut self, conn: ConnId, hello: &Hello, pass: Option<&[u8; 32]>) {
        let Some(joiner) = self.joiners.get(&conn) else { return };
        // Whoever came in over another link meanwhile needs no more than its key.
        let is_new = !self.admission.is_admitted(&joiner.peer);
        self.admit(conn, hello);
        if let Some(pass) = pass
            && is_new
            && self.by_conn.contains_key(&conn)
        {
            // The admission is saved at the end of this turn, and this with it.
            self.passes.was_used(pass);
            self.tell_invites();
        }
    }

    fn applicants(&self) -> impl Iterator<Item = (ConnId, &Applicant)> {
        self.joiners.iter().filter_map(|(conn, joiner)| match &joiner.step {
            Step::Applying(applying) => Some((*conn, &applying.2)),
            _ => None,
        })
    }

    /// The joiner on this link waits at the door.
    pub(super) fn is_applying(&self, conn: ConnId) -> bool {
        self.joiners.get(&conn).is_some_and(|joiner| matches!(joiner.step, Step::Applying(_)))
    }

    /// Who is meant: by key, or by a name that only one has.
    fn at_the_door(&self, name: &PeerName) -> Result<ConnId, CommandError> {
        let is_meant = |(_, applicant): &(ConnId, &Applicant)| match name {
            PeerName::Id(key) => applicant.peer_id == *key,
            PeerName::Alias(alias) => applicant.alias.as_str() == alias,
        };
        let mut meant = self.applicants().filter(is_meant);
        match (meant.next(), meant.next()) {
            (Some((conn, _)), None) => Ok(conn),
            (Some(_), Some(_)) => Err(CommandError::SeveralWait(name.to_string())),
            (None, _) => Err(CommandError::NobodyWaits(name.to_string())),
        }
    }

    /// The host says yes.
    pub(super) fn approve(&mut self, name: &PeerName) -> Result<(), CommandError> {
        let conn = self.at_the_door(name)?;
        let Some(joiner) = self.joiners.get_mut(&conn) else { return Ok(()) };
        let Step::Applying(applying) =
            std::mem::replace(&mut joiner.step, Step::Status { known: true, echoes: limits::ECHOES })
        else {
            return Ok(());
        };
        let (hello, pass, _) = *applying;
        // It may have been taken back, or used by another, meanwhile.
        let why_not = pass.and_then(|pass| self.passes.check(&pass, self.turn.now.wall).err());
        match why_not {
            Some(error) => {
                self.turn_away(conn, CloseReason::InviteRefused, &AuthenticationError::Pass(error));
            }
            None => self.come_in(conn, &hello, pass.as_ref()),
        }
        self.tell_applicants();
        Ok(())
    }

    /// The host says no.
    pub(super) fn refuse_entry(&mut self, name: &PeerName, reason: &str) -> Result<(), CommandError> {
        let conn = self.at_the_door(name)?;
        let error = AuthenticationError::NotApproved(reason.to_owned());
        self.turn_away(conn, CloseReason::NotApproved, &error);
        Ok(())
    }

    /// The host has said nothing in time.
    pub(super) fn nobody_opens(&mut self, conn: ConnId) {
        self.turn_away(conn, CloseReason::NotApproved, &AuthenticationError::NobodyOpened);
    }

    pub(super) fn turn_away(&mut self, conn: ConnId, reason: CloseReason, error: &AuthenticationError) {
        self.turn.timers.cancel(Timer::Admission(conn));
        self.joiners.remove(&conn);
        self.refuse(conn, reason, error);
        self.tell_applicants();
    }

    pub(super) fn tell_applicants(&mut self) {
        let mut applicants: Vec<Applicant> =
            self.applicants().map(|(_, applicant)| applicant.clone()).collect();
        applicants.sort_by_key(|applicant| applicant.until);
        if applicants != self.door.told {
            self.door.told.clone_from(&applicants);
            self.turn.event(NodeEvent::Applicants { applicants });
        }
    }
}

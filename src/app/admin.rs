//! The Admin view's lists: members, attempts and banned as lines that can be selected.

use std::sync::Arc;

use super::room::Room;
use crate::api::InviteInfo;
use crate::model::{Applicant, Attempt, Ban, Peer, Penalty};

/// A line of the Admin view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminRow {
    /// A member that is not this peer.
    Member(Arc<Peer>),
    /// Somebody who waits at the door.
    Applicant(Applicant),
    /// An invite that lets somebody in.
    Invite(InviteInfo),
    /// An address with wrong passwords.
    Attempt(Attempt),
    /// An address that is held back.
    Penalty(Penalty),
    /// A ban.
    Banned(Box<Ban>),
}

/// One of its lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminColumn {
    /// Who is here.
    Members,
    /// Who waits at the door.
    Door,
    /// Who may come in by a link.
    Invites,
    /// Who guessed wrong.
    Attempts,
    /// Who is refused.
    Banned,
}

impl AdminRow {
    /// Where it stands.
    #[must_use]
    pub fn column(&self) -> AdminColumn {
        match self {
            Self::Member(_) => AdminColumn::Members,
            Self::Applicant(_) => AdminColumn::Door,
            Self::Invite(_) => AdminColumn::Invites,
            Self::Attempt(_) | Self::Penalty(_) => AdminColumn::Attempts,
            Self::Banned(_) => AdminColumn::Banned,
        }
    }
}

/// Every line that can be selected: members that are not this peer, then who waits at the door, invites, attempts, then bans, newest first.
#[must_use]
pub fn admin_rows(room: &Room) -> Vec<AdminRow> {
    let members = room.present().into_iter().filter(|view| view.peer.peer_id != room.me);
    let mut rows: Vec<AdminRow> = members.map(|view| AdminRow::Member(view.peer.clone())).collect();
    rows.extend(room.door.applicants.iter().cloned().map(AdminRow::Applicant));
    rows.extend(room.door.invites.iter().cloned().map(AdminRow::Invite));
    rows.extend(room.door.attempts.iter().copied().map(AdminRow::Attempt));
    rows.extend(room.door.penalties.iter().copied().map(AdminRow::Penalty));
    rows.extend(room.door.bans.iter().rev().map(|ban| AdminRow::Banned(Box::new(ban.clone()))));
    rows
}

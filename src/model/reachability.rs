//! Who can open a link to whom: what members find out when they try, and the host collects.

use serde::{Deserialize, Serialize};

use super::{peer::PeerId, reason::CloseReason};

/// A member cannot open a link to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unreachable {
    /// Who tried.
    pub from: PeerId,
    /// Whom it did not reach.
    pub to: PeerId,
    /// Why not.
    pub reason: CloseReason,
}

/// Whom a member reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reached {
    /// The member.
    pub from: PeerId,
    /// Whom it reached the last time that it tried.
    pub reached: Vec<PeerId>,
}

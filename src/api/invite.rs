//! Invites, as front ends are told of them.

use serde::{Serialize, Serializer};

use crate::model::{Invite, KeptPass, PeerId, Timestamp};

/// An invite as it is given to others. `Debug` shows nothing of its pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteLink(pub Invite);

impl From<Invite> for InviteLink {
    fn from(invite: Invite) -> Self {
        Self(invite)
    }
}

impl Serialize for InviteLink {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.link())
    }
}

/// What a host knows of an invite that lets somebody in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InviteInfo {
    /// What it is called by: six letters.
    pub id: String,
    /// How many may still come in by it.
    pub uses: u32,
    /// Until when.
    pub until: Timestamp,
    /// The member that asked for it; nothing for the host's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<PeerId>,
}

impl From<&KeptPass> for InviteInfo {
    fn from(pass: &KeptPass) -> Self {
        Self { id: pass.id(), uses: pass.uses, until: pass.until, by: pass.by }
    }
}

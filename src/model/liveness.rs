//! What the heartbeat says of a peer.

use serde::{Deserialize, Serialize};

/// Whether a peer is heard from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Liveness {
    /// Heard from lately.
    Alive,
    /// Silent for longer than [`super::limits::SUSPECT_AFTER`].
    Suspect,
    /// Silent for longer than [`super::limits::DEAD_AFTER`]; no longer a member.
    Dead,
}

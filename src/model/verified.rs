//! Keys that were verified: two people have compared the same words, and both said yes.

use serde::{Deserialize, Serialize};

use super::{Alias, PeerId, Timestamp};

/// A key that was verified, and what its owner was called then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// The key.
    pub peer_id: PeerId,
    /// What it was called.
    pub alias: Alias,
    /// When.
    pub at: Timestamp,
}

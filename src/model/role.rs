//! What a peer does in the network, and how it speaks.

use serde::{Deserialize, Serialize};

/// What a peer does in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The authenticating peer.
    Host,
    /// A peer that was authenticated.
    Member,
}

/// How a peer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wire {
    /// TLS and postcard frames.
    #[default]
    Native,
    /// The clear text of the Python program.
    Classic,
}

//! Whom a command is about, as a person or program names them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer};

use crate::model::{PeerId, Recipient, SafeText};

/// Somebody as a person or program names them: an alias or a `peer_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerName {
    /// By key.
    Id(PeerId),
    /// By label.
    Alias(String),
}

impl From<PeerId> for PeerName {
    fn from(peer: PeerId) -> Self {
        Self::Id(peer)
    }
}

impl FromStr for PeerName {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::Alias(text.to_owned()), Self::Id))
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // As the screen shows it: the whole key is for programs.
            Self::Id(peer) => f.write_str(&peer.short()),
            Self::Alias(alias) => f.write_str(SafeText::line(alias).as_str()),
        }
    }
}

impl<'de> Deserialize<'de> for PeerName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Ok(name) = String::deserialize(deserializer)?.parse::<Self>();
        Ok(name)
    }
}

/// Whom a message is for, as named by a person or program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// All members.
    Everyone,
    /// One.
    Peer(PeerName),
}

impl From<PeerId> for Target {
    fn from(peer: PeerId) -> Self {
        Self::Peer(peer.into())
    }
}

impl From<&str> for PeerName {
    fn from(name: &str) -> Self {
        let Ok(name) = name.parse();
        name
    }
}

impl From<PeerName> for Target {
    fn from(peer: PeerName) -> Self {
        Self::Peer(peer)
    }
}

impl From<Recipient> for Target {
    fn from(recipient: Recipient) -> Self {
        match recipient {
            Recipient::Everyone => Self::Everyone,
            Recipient::Peer(peer) => Self::Peer(peer.into()),
        }
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let Ok(name) = text.parse::<PeerName>();
        Ok(if text == "everyone" { Self::Everyone } else { Self::Peer(name) })
    }
}

//! What is said: identities of messages, whom they are for, and what became of them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{peer::PeerId, reason::FailReason};

/// Whom a message is for. Its text form is `everyone` or a `peer_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Recipient {
    /// Every member of the roster at the moment of sending.
    Everyone,
    /// One peer.
    Peer(PeerId),
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everyone => f.write_str("everyone"),
            Self::Peer(peer) => peer.fmt(f),
        }
    }
}

impl Serialize for Recipient {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        match self {
            Self::Everyone => None::<PeerId>.serialize(serializer),
            Self::Peer(peer) => Some(peer).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Recipient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            if text == "everyone" {
                return Ok(Self::Everyone);
            }
            return text.parse().map(Self::Peer).map_err(|_| D::Error::custom("\"everyone\" or a peer_id"));
        }
        Ok(Option::<PeerId>::deserialize(deserializer)?.map_or(Self::Everyone, Self::Peer))
    }
}

/// The identity of a message, unique for its author: a stream and a number in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId {
    /// Who wrote it.
    pub author: PeerId,
    /// The epoch of its stream.
    pub epoch: u64,
    /// Whom it is for.
    pub to: Recipient,
    /// Its number, from 1.
    pub sequence: u64,
}

impl MessageId {
    /// The stream that it is a message of.
    #[must_use]
    pub fn stream(&self) -> StreamId {
        StreamId { author: self.author, epoch: self.epoch, to: self.to }
    }
}

/// What one author says to one audience: its messages are numbered from 1 without holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamId {
    /// Who says it.
    pub author: PeerId,
    /// When its author began to count, in microseconds since 1970. An author begins anew with every session, and
    /// whenever it finds that others have something else under its numbers.
    pub epoch: u64,
    /// To whom.
    pub to: Recipient,
}

impl StreamId {
    /// The identity of its message with this number.
    #[must_use]
    pub fn message(&self, sequence: u64) -> MessageId {
        MessageId { author: self.author, epoch: self.epoch, to: self.to, sequence }
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.author, self.epoch, self.to, self.sequence)
    }
}

/// How far a message has come on its way to one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeliveryStatus {
    /// Kept here until the recipient can be reached.
    Queued,
    /// The recipient has it for good.
    Delivered,
    /// It will not arrive; the reason says why.
    Failed,
    /// It went, and the recipient has not said whether it has it: it is a classic one, or is gone. Nothing more will be
    /// heard.
    Sent,
}

impl DeliveryStatus {
    /// The status with this number, as it is kept.
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Queued,
            1 => Self::Delivered,
            3 => Self::Sent,
            _ => Self::Failed,
        }
    }
}

/// The last word on a message for one recipient, other than that it has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resolution {
    /// It will never arrive, and why.
    Failed(FailReason),
    /// It went, and the recipient has not said whether it has it: it is a classic one, or is gone.
    Sent,
}

/// How many of a message's recipients have it. Its text form is `3/4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Recipients that have it.
    pub delivered: u32,
    /// All recipients.
    pub total: u32,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.delivered, self.total)
    }
}

impl Serialize for Summary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

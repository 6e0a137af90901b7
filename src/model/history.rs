//! What is kept of what was said: messages with their place in a conversation, how far each stream is known, and who
//! has what of one's own.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    message::{DeliveryStatus, MessageId, Recipient, Resolution, StreamId, Summary},
    peer::{Alias, PeerId},
    reason::FailReason,
    text::SafeText,
    time::Timestamp,
};

/// Where a message stands in its conversation: the order of places is the order on the screen.
///
/// A place is about the microseconds since 1970 at which the message came, moved so that what comes later stands
/// further down even when the clock was set back, and that what was missed finds room where it belongs.
pub type Place = i64;

/// Numbers of one stream that are here without a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first number.
    pub from: u64,
    /// The last number.
    pub to: u64,
    /// The place of the first.
    pub first: Place,
    /// The place of the last.
    pub last: Place,
}

/// A stream, and what of it is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Which.
    pub id: StreamId,
    /// What is here, in order, with holes between.
    pub spans: Vec<Span>,
}

/// Messages of an own stream that are addressed to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// The first number.
    pub first: u64,
    /// The last number; nothing while it goes on.
    pub last: Option<u64>,
    /// The last word on them, when that is not the cursor's.
    pub resolution: Option<Resolution>,
    /// Since when that holds.
    pub at: Timestamp,
}

/// Somebody whom an own stream is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressee {
    /// Who.
    pub peer: PeerId,
    /// Its label.
    pub alias: Alias,
    /// What is addressed to it, in order.
    pub intervals: Vec<Interval>,
    /// The last number that it has for good, and all that are addressed to it before.
    pub kept: u64,
}

/// An own stream of which somebody may still need something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnStream {
    /// Which.
    pub id: StreamId,
    /// Its last number.
    pub last: u64,
    /// Whom it is for.
    pub addressees: Vec<Addressee>,
    /// About when its messages were said: numbers, and when the last up to there was said, in order.
    pub ages: Vec<(u64, Timestamp)>,
    /// The sender's own names for messages that somebody has not got.
    pub references: Vec<(u64, Arc<str>)>,
}

/// What became of an own message for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The recipient.
    pub peer: PeerId,
    /// Its label.
    pub alias: Alias,
    /// How far the message came.
    pub status: DeliveryStatus,
    /// Why it failed.
    pub reason: Option<FailReason>,
    /// Since when.
    pub at: Timestamp,
}

/// A message as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its identity.
    pub id: MessageId,
    /// Its author's label.
    pub alias: Alias,
    /// What it says, cleaned.
    pub text: SafeText,
    /// When its author says it was sent.
    pub sent_at: Timestamp,
    /// When it came or went; for one that was missed, about when it would have come.
    pub at: Timestamp,
    /// Where it stands.
    pub place: Place,
    /// The sender's own name for it.
    pub reference: Option<Arc<str>>,
    /// What a classic peer called itself in it, when that was not its label.
    pub claims: Option<SafeText>,
    /// Messages of the same stream that are missing just before it.
    pub missed: u64,
    /// Own messages: how many have it.
    pub summary: Summary,
    /// Own messages: who has not got it.
    pub deliveries: Vec<Delivery>,
}

impl StoredMessage {
    /// The conversation that it belongs to, on the machine of `me`.
    #[must_use]
    pub fn conversation(&self, me: &PeerId) -> Recipient {
        conversation_of(&self.id.stream(), me)
    }
}

/// The conversation that a stream belongs to, on the machine of `me`.
#[must_use]
pub fn conversation_of(id: &StreamId, me: &PeerId) -> Recipient {
    match id.to {
        Recipient::Everyone => Recipient::Everyone,
        Recipient::Peer(_) if id.author != *me => Recipient::Peer(id.author),
        to @ Recipient::Peer(_) => to,
    }
}

/// Where the history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HistoryState {
    /// On disk.
    Saved,
    /// In memory, for want of room on the disk; it goes there as soon as it can.
    Unsaved,
    /// In memory only: it ends with the program.
    Memory,
}

/// What a node takes up again of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recalled {
    /// Where the history is kept.
    pub state: HistoryState,
    /// Why it is not on disk, or what became of the one before; empty when there is nothing to say.
    pub message: String,
    /// What is here.
    pub streams: Vec<Stream>,
    /// Own streams of which somebody has not got everything yet.
    pub own: Vec<OwnStream>,
    /// Everybody who ever said something there, or with whom there are conversations.
    pub people: Vec<(PeerId, Alias)>,
}

impl Recalled {
    /// Nothing is known, and nothing will be kept beyond the program's end.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            state: HistoryState::Memory,
            message: String::new(),
            streams: Vec::new(),
            own: Vec::new(),
            people: Vec::new(),
        }
    }
}

/// A part of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Which conversation.
    pub conversation: Recipient,
    /// Its messages, in order.
    pub messages: Vec<StoredMessage>,
    /// Nothing is kept before the first.
    pub is_first: bool,
    /// Nothing is kept after the last.
    pub is_last: bool,
}

/// Messages of one author to everyone that somebody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Who wrote them.
    pub author: PeerId,
    /// In which epoch.
    pub epoch: u64,
    /// The first number.
    pub from: u64,
    /// The last number; there may be holes between.
    pub to: u64,
}

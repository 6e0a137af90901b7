//! What is kept of what was said: messages with their place in a conversation, and how far each author's numbering
//! is known.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    message::{DeliveryStatus, MessageId, Recipient, Summary},
    peer::{Alias, PeerId},
    reason::CloseReason,
    text::SafeText,
    time::Timestamp,
};

/// Where a message stands in its conversation: the order of places is the order on the screen.
///
/// A place is about the microseconds since 1970 at which the message came, moved so that what comes later stands
/// further down even when the clock was set back, and that what was missed finds room where it belongs.
pub type Place = i64;

/// Numbers of one numbering that are here without a hole.
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

/// One numbering of one author, and what of it is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Who counts.
    pub author: PeerId,
    /// For whom.
    pub to: Recipient,
    /// Which of its numberings.
    pub epoch: u64,
    /// What is here, in order, with holes between.
    pub spans: Vec<Span>,
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
    pub reason: Option<CloseReason>,
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
    /// Its author's signature, when others may hand it on.
    pub signature: Option<[u8; 64]>,
    /// The sender's own name for it.
    pub reference: Option<Arc<str>>,
    /// What a classic peer called itself in it, when that was not its label.
    pub claims: Option<SafeText>,
    /// Messages of the same numbering that are missing just before it.
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
        conversation_of(&self.id, me)
    }
}

/// The conversation that a message belongs to, on the machine of `me`.
#[must_use]
pub fn conversation_of(id: &MessageId, me: &PeerId) -> Recipient {
    match id.to {
        Recipient::Everyone => Recipient::Everyone,
        Recipient::Peer(_) if id.author != *me => Recipient::Peer(id.author),
        to @ Recipient::Peer(_) => to,
    }
}

/// Where the history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// This node's own numberings can go on: nothing ever left that was not kept.
    pub continues: bool,
    /// What is here.
    pub streams: Vec<Stream>,
    /// Own messages that somebody has not got yet, in order.
    pub outbox: Vec<StoredMessage>,
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
            continues: false,
            streams: Vec::new(),
            outbox: Vec::new(),
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
    /// In which of its numberings.
    pub epoch: u64,
    /// The first number.
    pub from: u64,
    /// The last number; there may be holes between.
    pub to: u64,
}

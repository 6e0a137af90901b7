//! What nodes and front ends ask of the history, and what it answers.
//!
//! Commands of one asker are carried out in their order.

use crate::model::{
    CloseReason, Delivery, DeliveryStatus, Held, HistoryState, Network, NetworkId, Page, PeerId, Place,
    Recalled, Recipient, SafeText, StoredMessage, Timestamp,
};

/// Which part of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The newest messages.
    Newest,
    /// Those just before a place.
    Before(Place),
    /// Those just after a place.
    After(Place),
    /// Those about a place, itself included.
    Around(Place),
}

/// What became of some of this node's own messages for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// In which network.
    pub network: NetworkId,
    /// For everyone or for one.
    pub to: Recipient,
    /// In which of this node's numberings.
    pub epoch: u64,
    /// The first message.
    pub first: u64,
    /// The last message.
    pub last: u64,
    /// The recipient.
    pub peer: PeerId,
    /// What became of them.
    pub status: DeliveryStatus,
    /// Why they failed.
    pub reason: Option<CloseReason>,
    /// When.
    pub at: Timestamp,
}

/// What the history is asked, beside keeping what is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryCommand {
    /// Answers with [`HistoryEvent::Recalled`].
    Recall(Network),
    /// Which messages to everyone came since then? Answered by [`HistoryEvent::Held`].
    Held {
        /// Comes back in the answer.
        token: u64,
        /// In which network.
        network: NetworkId,
        /// Neither sent nor received before.
        since: Timestamp,
    },
    /// Answers with [`HistoryEvent::Range`]: as many messages as fit a frame.
    Range {
        /// Comes back in the answer.
        token: u64,
        /// In which network.
        network: NetworkId,
        /// The conversation here.
        conversation: Recipient,
        /// Whose messages, of which numbering, and which numbers.
        wanted: Held,
        /// Neither sent nor received before.
        since: Timestamp,
    },
    /// The newest messages of every conversation. Answered by [`HistoryEvent::Opened`].
    Open {
        /// In which network.
        network: NetworkId,
    },
    /// Answered by [`HistoryEvent::Page`].
    Page {
        /// In which network.
        network: NetworkId,
        /// Which conversation.
        conversation: Recipient,
        /// Which part of it.
        part: Part,
    },
    /// Answered by [`HistoryEvent::Found`], unless a newer search has come.
    Search {
        /// In which network.
        network: NetworkId,
        /// The words.
        text: String,
    },
    /// Who has a message, and since when? Answered by [`HistoryEvent::Info`].
    Info {
        /// In which network.
        network: NetworkId,
        /// Which conversation.
        conversation: Recipient,
        /// The message's place.
        place: Place,
    },
}

/// Where a search found something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// In which conversation.
    pub conversation: Recipient,
    /// The other's label, or that of everyone.
    pub with: String,
    /// The message's place.
    pub place: Place,
    /// When it came or went.
    pub at: Timestamp,
    /// Its author's label.
    pub from: SafeText,
    /// The part of it around the match, on one line.
    pub excerpt: SafeText,
}

/// What the history did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryEvent {
    /// Every message up to this token is kept.
    Kept {
        /// The last token.
        token: u64,
        /// On disk, or in memory as configured; otherwise only until there is room on the disk.
        for_good: bool,
    },
    /// Where the history is kept has changed.
    State {
        /// Where now.
        state: HistoryState,
        /// Cause and remedy.
        message: String,
    },
    /// What a node takes up again.
    Recalled(Box<Recalled>),
    /// What there is.
    Held {
        /// The question.
        token: u64,
        /// By author and numbering.
        held: Vec<Held>,
    },
    /// What was asked for, in order.
    Range {
        /// The question.
        token: u64,
        /// The messages.
        messages: Vec<StoredMessage>,
        /// The first number that was not looked for, for want of room.
        next: Option<u64>,
    },
    /// The newest messages of every conversation.
    Opened(Vec<(Page, SafeText)>),
    /// A part of a conversation.
    Page {
        /// Which part.
        part: Part,
        /// The messages.
        page: Page,
    },
    /// What a search found, the newest first.
    Found {
        /// The words.
        text: String,
        /// Where.
        hits: Vec<Hit>,
    },
    /// A conversation is no longer kept here.
    Forgotten(Recipient),
    /// Who has a message.
    Info {
        /// The message's place.
        place: Place,
        /// For each recipient.
        deliveries: Vec<Delivery>,
    },
}

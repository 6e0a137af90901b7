//! What nodes and front ends ask of the history, and what it answers.
//!
//! Commands of one asker are carried out in their order.

use std::sync::Arc;

use crate::model::{
    Alias, Batch, Delivery, Held, HistoryState, Interval, Network, NetworkId, Page, PeerId, Place, Recalled,
    Recipient, SafeText, StoredBatch, StreamId, Timestamp,
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

/// Whom an own stream is for: intervals that are new, or say something else than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience {
    /// In which network.
    pub network: NetworkId,
    /// Of which own stream.
    pub stream: StreamId,
    /// Who, and what is addressed to it.
    pub intervals: Vec<(PeerId, Alias, Interval)>,
}

/// A recipient has everything of an own stream that is addressed to it, up to a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// In which network.
    pub network: NetworkId,
    /// Of which own stream.
    pub stream: StreamId,
    /// Who has it.
    pub peer: PeerId,
    /// The last number.
    pub up_to: u64,
    /// Since when.
    pub at: Timestamp,
}

/// What a batch is beside what is kept under its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compared {
    /// All of it is kept, word for word.
    Same,
    /// These numbers are not kept, or not any more; the others are, word for word.
    Lacks(Vec<u64>),
    /// Something else is kept, and that is it, with its signature where there is one.
    Differs(Option<Box<Batch>>),
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
    /// Is this what is kept under its numbers? Answered by [`HistoryEvent::Compared`].
    Compare {
        /// Comes back in the answer.
        token: u64,
        /// In which network.
        network: NetworkId,
        /// What came.
        batch: Arc<Batch>,
    },
    /// Answers with [`HistoryEvent::Range`]: as many batches as fit a frame.
    Range {
        /// Comes back in the answer.
        token: u64,
        /// In which network.
        network: NetworkId,
        /// The conversation here.
        conversation: Recipient,
        /// Whose messages, of which epoch, and which numbers.
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

/// What a front end begins with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenedHistory {
    /// The newest messages of every conversation, with the other's label.
    pub pages: Vec<(Page, SafeText)>,
    /// What was written and not sent, and for whom.
    pub drafts: Vec<(Recipient, String)>,
    /// Whose words are folded.
    pub muted: Vec<PeerId>,
}

/// What the history did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryEvent {
    /// Every batch up to this token is kept.
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
        /// By author and epoch.
        held: Vec<Held>,
    },
    /// What came of comparing.
    Compared {
        /// The question.
        token: u64,
        /// What it is.
        compared: Compared,
    },
    /// What was asked for, in order: whole batches, those at the ends too.
    Range {
        /// The question.
        token: u64,
        /// The batches.
        batches: Vec<Arc<StoredBatch>>,
        /// The first number that was not looked for, for want of room.
        next: Option<u64>,
    },
    /// The history could not be read now.
    NotRead {
        /// The question.
        token: u64,
    },
    /// The newest messages of every conversation.
    Opened(Box<OpenedHistory>),
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

//! What the store is asked, and what it answers.

use std::sync::Arc;

use super::{Audience, HistoryCommand, HistoryEvent, Receipt};
use crate::model::{
    Deputyship, HostState, KnownHost, NetworkId, PeerId, Recipient, Span, StoredBatch, Verified,
};

/// What the store is asked to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreCommand {
    /// Replaces what a host needs after a restart.
    SaveHost {
        /// Comes back in [`StoreEvent::Saved`].
        token: u64,
        /// All of it.
        state: Box<HostState>,
    },
    /// Keeps what a host needs beside what is kept of a network of one's own, until it is taken on or dropped.
    /// Answered like [`Self::SaveHost`].
    KeepPackage {
        /// Comes back in the answer.
        token: u64,
        /// All of it.
        state: Box<HostState>,
    },
    /// Nothing comes of a handover: the package goes.
    DropPackage,
    /// Keeps what this profile has been given as the deputy of another host; nothing = it is the deputy no more. Answered
    /// only by [`StoreEvent::Failed`].
    KeepDeputyship(Option<Box<Deputyship>>),
    /// This profile's network is hosted by somebody else now: what was kept of it goes aside. Answered by
    /// [`StoreEvent::Retired`].
    RetireHost,
    /// Pins a host's key and puts it first among the recent networks.
    RememberHost(Box<KnownHost>),
    /// Forgets a recent network and its pin.
    ForgetHost {
        /// What was typed to reach it.
        target: String,
    },
    /// Answers with [`StoreEvent::Recents`].
    Recents,
    /// Keeps a batch. Answered by [`HistoryEvent::Kept`].
    Keep {
        /// Counts upward; comes back in the answer.
        token: u64,
        /// In which network.
        network: NetworkId,
        /// The batch.
        batch: Arc<StoredBatch>,
        /// What is here of its stream now.
        spans: Vec<Span>,
    },
    /// Notes whom own messages are for. Not answered: it is kept no later than the batch after it.
    Audience(Box<Audience>),
    /// Notes who has own messages. Not answered: should it be lost, they go again, and are dropped there.
    Receipt(Box<Receipt>),
    /// Keeps what is written and not sent in these conversations of a network, in place of what was; nothing is kept of an
    /// empty one. Not answered.
    KeepDrafts {
        /// In which network.
        network: NetworkId,
        /// For whom, and what.
        drafts: Vec<(Recipient, String)>,
    },
    /// Keeps that the words of a peer are folded, in every network, or are not any more. Not answered.
    KeepMuted {
        /// Whose.
        peer: PeerId,
        /// They are.
        is_muted: bool,
    },
    /// Keeps that a key was verified, in every network. Answered only by [`StoreEvent::Failed`].
    KeepVerified(Box<Verified>),
    /// Forgets a conversation here. Answered by [`HistoryEvent::Forgotten`].
    Forget {
        /// In which network.
        network: NetworkId,
        /// Which conversation.
        conversation: Recipient,
    },
    /// Asks something of the history.
    History(HistoryCommand),
}

/// What the store did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreEvent {
    /// Everything up to this token is on disk, or kept in memory as configured.
    Saved(u64),
    /// The network that this profile hosted is set aside.
    Retired,
    /// It could not be kept; what was kept before is unharmed.
    Failed {
        /// The token of what failed.
        token: Option<u64>,
        /// Cause and remedy.
        message: String,
    },
    /// The recent networks changed, latest first.
    Recents(Vec<KnownHost>),
    /// What the history did.
    History(HistoryEvent),
}

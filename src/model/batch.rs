//! Batches: messages of one stream that were said in one turn of their author, encoded, signed, kept and told as one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    bounded::at_most,
    history::Place,
    limits,
    message::{MessageId, StreamId},
    peer::{Alias, Signature},
    text::SafeText,
    time::Timestamp,
};

/// Messages `first..first + n` of one stream. An idle message is a batch of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Whose, of which epoch, for whom.
    pub stream: StreamId,
    /// The number of the first message, from 1.
    pub first: u64,
    /// When its author says that it was sent.
    pub sent_at: Timestamp,
    /// What the messages say, 1 to [`limits::BATCH_MESSAGES`] of them.
    #[serde(deserialize_with = "at_most::<{ limits::BATCH_MESSAGES }, _, _>")]
    pub texts: Vec<SafeText>,
    /// The author's signature over all this; only on batches to everyone, which others may hand on.
    pub signature: Option<Signature>,
}

impl Batch {
    /// How many messages it has.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.texts.len() as u64
    }

    /// The number of the last message.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.first.saturating_add(self.count()).saturating_sub(1)
    }

    /// Bytes of all texts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.texts.iter().map(|text| text.as_str().len()).sum()
    }

    /// The text with this number.
    #[must_use]
    pub fn text(&self, sequence: u64) -> Option<&SafeText> {
        self.texts.get(usize::try_from(sequence.checked_sub(self.first)?).ok()?)
    }

    /// Every message with its identity.
    pub fn messages(&self) -> impl Iterator<Item = (MessageId, &SafeText)> {
        (self.first..).zip(&self.texts).map(|(sequence, text)| (self.stream.message(sequence), text))
    }

    /// True for a batch that breaks no rule of the wire: it has messages, every message has 1 to
    /// [`limits::TEXT_BYTES`] bytes, and its numbers can be counted to.
    #[must_use]
    pub fn is_lawful(&self) -> bool {
        // Numbers beyond these cannot be kept, and nobody counts that far.
        let countable = 1..i64::MAX.cast_unsigned();
        !self.texts.is_empty()
            && self.texts.len() <= limits::BATCH_MESSAGES
            && countable.contains(&self.first)
            && countable.contains(&self.last())
            && countable.contains(&self.stream.epoch)
            && self.texts.iter().all(|text| (1..=limits::TEXT_BYTES).contains(&text.as_str().len()))
    }
}

/// A batch as it is kept here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBatch {
    /// What was said.
    pub batch: Batch,
    /// Its author's label.
    pub alias: Alias,
    /// When it came or went; for one that was missed, about when it would have come.
    pub at: Timestamp,
    /// Where its first message stands; each other one stands just after the one before.
    pub place: Place,
    /// Own messages: the sender's own names for them, in the order of the texts; empty when there are none.
    pub references: Vec<Option<Arc<str>>>,
    /// What a classic peer called itself in it, when that was not its label.
    pub claims: Option<SafeText>,
}

impl StoredBatch {
    /// Where the message with this number stands.
    #[must_use]
    pub fn place_of(&self, sequence: u64) -> Place {
        self.place.saturating_add(sequence.saturating_sub(self.batch.first).cast_signed())
    }

    /// The sender's own name for the message with this number.
    #[must_use]
    pub fn reference_of(&self, sequence: u64) -> Option<&Arc<str>> {
        let at = usize::try_from(sequence.checked_sub(self.batch.first)?).ok()?;
        self.references.get(at)?.as_ref()
    }
}

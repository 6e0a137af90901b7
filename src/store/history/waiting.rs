//! Changes that are not in the database yet: for want of room on the disk, or because a history in memory is put in
//! order only when somebody asks.
//!
//! It must never forget how far a numbering has come, whatever becomes of its messages.

use std::collections::{BTreeMap, VecDeque};

use super::write::Write;
use crate::model::{MessageId, SafeText, limits};

/// What a message takes beside its text, about.
const OVERHEAD: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Waiting {
    writes: VecDeque<Write>,
    bytes: usize,
}

impl Waiting {
    pub(super) fn extend(&mut self, writes: impl IntoIterator<Item = Write>) {
        for write in writes {
            self.bytes += bytes(&write);
            self.writes.push_back(write);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.writes.len()
    }

    /// Bytes that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn last(&self) -> Option<&Write> {
        self.writes.back()
    }

    pub(super) fn all(&mut self) -> &[Write] {
        self.writes.make_contiguous()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Drops what became of own messages, if there is too much. They are delivered again, and dropped there as
    /// duplicates; the messages themselves stay: the node sees to it that they do not become too many.
    pub(super) fn bound(&mut self) {
        if self.writes.len() > 2 * limits::UNSAVED_MESSAGES {
            self.writes.retain(|write| !matches!(write, Write::Settle(_) | Write::Probe));
        }
    }

    /// Drops the oldest until no more than `most` bytes are left. How far their numberings have come stays.
    pub(super) fn drop_oldest(&mut self, most: usize) {
        let (mut counted, mut others) = (BTreeMap::new(), Vec::new());
        while self.bytes > most
            && let Some(write) = self.writes.pop_front()
        {
            self.bytes -= bytes(&write);
            match write {
                Write::Keep { network, mut message, spans }
                | Write::Count { network, mut message, spans } => {
                    message.text = SafeText::clean("");
                    let numbering = (network, MessageId { sequence: 0, ..message.id });
                    counted.insert(numbering, Write::Count { network, message, spans });
                }
                Write::Settle(_) | Write::Probe => {}
                Write::Forget { .. } | Write::Name(_) => others.push(write),
            }
        }
        for write in counted.into_values().chain(others).rev() {
            self.writes.push_front(write);
        }
    }
}

/// What a change takes of the memory, about.
fn bytes(write: &Write) -> usize {
    match write {
        Write::Keep { message, .. } => OVERHEAD + message.text.as_str().len(),
        Write::Settle(_) => OVERHEAD / 2,
        Write::Count { .. } | Write::Forget { .. } | Write::Name(_) | Write::Probe => 0,
    }
}

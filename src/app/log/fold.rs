//! Folding: however much one peer says, what others say stays on the screen.

use super::{Entry, Geometry, Message, MessageLog};
use crate::model::{MessageId, PeerId, limits};

/// What is shown in full although it is long or much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfolded {
    /// A long message.
    Message(MessageId),
    /// All that a peer says.
    Peer(PeerId),
}

impl MessageLog {
    /// Rows that one message may take before it is folded.
    pub(super) fn rows_of_one(geometry: &Geometry) -> usize {
        limits::FOLDED_LINES.min(geometry.rows / 3).max(2)
    }

    /// True for a message of another peer that is muted, or has said enough to fill a third of the view within a short time
    /// after it.
    pub(super) fn is_folded(&self, number: u64, geometry: &Geometry) -> bool {
        let Some(Entry::Message(message)) = self.entry(number) else { return false };
        if message.mark.is_some() || self.unfolded == Some(Unfolded::Peer(message.from.peer_id)) {
            return false;
        }
        if geometry.muted.contains(&message.from.peer_id) {
            return true;
        }
        let most = (geometry.rows / 3).max(2);
        let mut rows = height(message, geometry);
        // Own words and those of others between them count for nobody.
        for later in (number + 1..).take(2 * most) {
            let Some(Entry::Message(next)) = self.entry(later) else {
                if self.entry(later).is_none() {
                    return false;
                }
                continue;
            };
            if next.from.peer_id != message.from.peer_id {
                continue;
            }
            if next.at.since(message.at) > limits::FOLDED_WITHIN {
                return false;
            }
            rows += height(next, geometry);
            if rows > most {
                return true;
            }
        }
        false
    }

    /// True for a message that is folded into the line of the one after it, of the same author.
    pub(super) fn is_folded_with_next(&self, number: u64, geometry: &Geometry) -> bool {
        self.author(number).is_some_and(|author| self.author(number + 1) == Some(author))
            && self.is_folded(number, geometry)
            && self.is_folded(number + 1, geometry)
            && self.lines_before(number + 1, geometry).is_empty()
    }

    /// How many messages of one author are folded in a row, this one being the last of them.
    pub(super) fn folded_until(&self, number: u64, geometry: &Geometry) -> usize {
        let author = self.author(number);
        // The one after each is folded, as it was looked at before.
        let is_joined = |at: &u64| {
            self.author(*at) == author
                && self.is_folded(*at, geometry)
                && self.lines_before(at + 1, geometry).is_empty()
        };
        1 + (self.first..number).rev().take_while(is_joined).count()
    }

    fn author(&self, number: u64) -> Option<PeerId> {
        match self.entry(number) {
            Some(Entry::Message(message)) => Some(message.from.peer_id),
            _ => None,
        }
    }
}

/// About how many rows of the view a message takes: breaking its text into rows costs more than this is worth.
fn height(message: &Message, geometry: &Geometry) -> usize {
    let (text, most) = (message.text.as_str(), MessageLog::rows_of_one(geometry));
    let rows = 1 + text.len() / geometry.text.max(1);
    if rows >= most {
        return most;
    }
    (rows + text.bytes().filter(|byte| *byte == b'\n').count()).min(most)
}

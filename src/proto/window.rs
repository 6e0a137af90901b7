//! What is on its way to one recipient: a bounded part of what it lacks, so that no queue between here and there grows.

use std::collections::VecDeque;

use crate::model::limits;

/// An own stream, as one recipient knows it: to everyone or to it alone, and the epoch.
pub type Key = (bool, u64);

#[derive(Debug)]
struct Sent {
    key: Key,
    last: u64,
    messages: usize,
    bytes: usize,
}

/// Batches that were sent and not acknowledged, in order.
#[derive(Debug, Default)]
pub struct Window {
    sent: VecDeque<Sent>,
    messages: usize,
    bytes: usize,
}

impl Window {
    /// True when a batch of so many messages and bytes may be sent. One may always be on its way.
    #[must_use]
    pub fn has_room(&self, messages: usize, bytes: usize) -> bool {
        self.sent.is_empty()
            || (self.messages + messages <= limits::WINDOW_MESSAGES
                && self.bytes + bytes <= limits::WINDOW_BYTES)
    }

    /// A batch was sent, whose last number this is.
    pub fn sent(&mut self, key: Key, last: u64, messages: usize, bytes: usize) {
        self.messages += messages;
        self.bytes += bytes;
        self.sent.push_back(Sent { key, last, messages, bytes });
    }

    /// The recipient has everything of a stream up to `up_to`.
    pub fn acknowledged(&mut self, key: Key, up_to: u64) {
        self.sent.retain(|sent| {
            let stays = sent.key != key || sent.last > up_to;
            if !stays {
                self.messages -= sent.messages;
                self.bytes -= sent.bytes;
            }
            stays
        });
    }

    /// Nothing is on its way any more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// True when nothing is on its way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_bytes_bound_it_but_one_batch_always_goes() {
        let mut window = Window::default();
        assert!(window.has_room(1, limits::WINDOW_BYTES + 1));
        window.sent((true, 1), 10, 10, limits::WINDOW_BYTES / 2);
        assert!(window.has_room(1, limits::WINDOW_BYTES / 2));
        assert!(!window.has_room(1, limits::WINDOW_BYTES / 2 + 1));
        assert!(!window.has_room(limits::WINDOW_MESSAGES, 1));
        window.sent((false, 1), 3, 3, 1);
        window.acknowledged((true, 1), 9);
        window.acknowledged((true, 2), 10);
        assert!(!window.has_room(1, limits::WINDOW_BYTES / 2));
        window.acknowledged((true, 1), 10);
        assert!(window.has_room(1, limits::WINDOW_BYTES / 2) && !window.is_empty());
        window.acknowledged((false, 1), 3);
        assert!(window.is_empty());
    }
}

//! The batches that were given to the history, how far it has kept them, and what is due when it has.

use std::collections::VecDeque;

use crate::{
    model::{Recipient, StreamId},
    proto::{ConnId, MemoryLimits},
};

/// What is due once a batch is in the history.
#[derive(Debug, Clone, Copy)]
pub(super) enum Due {
    /// Own messages up to this one may leave.
    Release { to: Recipient, epoch: u64, last: u64, bytes: usize },
    /// Messages up to this one are acknowledged to their sender.
    Acknowledge { conn: ConnId, stream: StreamId, last: u64 },
}

/// Batches in the order in which the history was given them, each with a token that counts upward.
#[derive(Debug)]
pub(super) struct Journal {
    limits: MemoryLimits,
    /// Nothing leaves or is acknowledged before the history has it. A history in memory has everything at once.
    pub(super) waits: bool,
    /// The last batch that the history was given.
    given: u64,
    /// The last batch that it has for good.
    kept: u64,
    /// The last batch that it has, for good or in memory.
    had: u64,
    due: VecDeque<(u64, Due)>,
    /// Due once more when the disk takes what the history has only in memory now.
    unsaved: VecDeque<(u64, Due)>,
    /// Bytes of own messages that wait to be kept.
    own_bytes: usize,
    own_batches: usize,
    /// Messages, own and received, that the history holds in memory because the disk takes nothing, and their bytes.
    held: u64,
    held_bytes: usize,
}

impl Journal {
    /// Nothing was given, to a history in memory.
    pub(super) fn new(limits: MemoryLimits) -> Self {
        Self {
            limits,
            waits: false,
            given: 0,
            kept: 0,
            had: 0,
            due: VecDeque::new(),
            unsaved: VecDeque::new(),
            own_bytes: 0,
            own_batches: 0,
            held: 0,
            held_bytes: 0,
        }
    }

    /// The token of the next batch of so many messages and bytes.
    pub(super) fn give(&mut self, messages: u64, bytes: usize) -> u64 {
        self.given += 1;
        if self.waits && self.had > self.kept {
            self.held += messages;
            self.held_bytes += bytes;
        }
        self.given
    }

    /// Notes what is due once all batches that were given are kept. Gives it back when they are kept already.
    pub(super) fn when_kept(&mut self, due: Due) -> Option<Due> {
        if !self.waits || self.kept >= self.given {
            return Some(due);
        }
        if let Due::Release { bytes, .. } = due {
            self.own_bytes += bytes;
            self.own_batches += 1;
        }
        self.due.push_back((self.given, due));
        None
    }

    /// The history has everything up to a token. Gives what is due now, and whether that is for good.
    pub(super) fn has(&mut self, token: u64, for_good: bool) -> Vec<(Due, bool)> {
        self.had = self.had.max(token);
        let mut now = Vec::new();
        if for_good {
            self.kept = self.kept.max(token);
            (self.held, self.held_bytes) = (0, 0);
            while self.unsaved.front().is_some_and(|(waiting, _)| *waiting <= token) {
                now.extend(self.unsaved.pop_front().map(|(_, due)| (due, true)));
            }
        }
        while self.due.front().is_some_and(|(waiting, _)| *waiting <= token) {
            let Some((waiting, due)) = self.due.pop_front() else { break };
            if let Due::Release { bytes, .. } = due {
                self.own_bytes -= bytes;
                self.own_batches -= 1;
            }
            if !for_good {
                self.unsaved.push_back((waiting, due));
            }
            now.push((due, for_good));
        }
        now
    }

    /// False when the messages that wait for the disk take all the memory that they may.
    pub(super) fn has_room(&self) -> bool {
        self.held <= self.limits.unsaved_messages && self.held_bytes <= self.limits.unsaved_bytes
    }

    /// True while so many own messages wait to be kept that the front end should wait too.
    pub(super) fn is_pressed(&self) -> bool {
        self.own_bytes > self.limits.unkept_bytes
    }

    /// True while own messages wait to be kept.
    pub(super) fn has_own(&self) -> bool {
        self.own_batches > 0
    }

    /// Batches that were given and are not kept for good.
    pub(super) fn behind(&self) -> u64 {
        if self.waits { self.given.saturating_sub(self.kept) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Due = Due::Release { to: Recipient::Everyone, epoch: 1, last: 1, bytes: 10 };

    #[test]
    fn in_memory_everything_is_due_at_once() {
        let mut journal = Journal::new(MemoryLimits::default());
        journal.give(1, 10);
        assert!(journal.when_kept(OWN).is_some());
        assert_eq!(journal.behind(), 0);
    }

    #[test]
    fn what_a_full_disk_holds_is_due_twice_and_in_order() {
        let mut journal = Journal { waits: true, ..Journal::new(MemoryLimits::default()) };
        let first = journal.give(1, 10);
        assert!(journal.when_kept(OWN).is_none());
        let second = journal.give(1, 10);
        assert!(journal.when_kept(OWN).is_none());
        let due = |due: Vec<(Due, bool)>| due.into_iter().map(|(_, for_good)| for_good).collect::<Vec<_>>();
        assert_eq!(due(journal.has(first, false)), [false]);
        assert!(journal.has_own());
        assert_eq!(due(journal.has(second, false)), [false]);
        assert!(!journal.has_own());
        assert_eq!(due(journal.has(second, true)), [true, true]);
        assert_eq!(journal.behind(), 0);
    }

    #[test]
    fn what_waits_for_a_disk_is_bounded() {
        let mut journal = Journal { waits: true, ..Journal::new(MemoryLimits::default()) };
        let token = journal.give(1, 1);
        journal.has(token, false);
        journal.give(1, MemoryLimits::default().unsaved_bytes);
        assert!(journal.has_room());
        journal.give(1, 1);
        assert!(!journal.has_room());
        let token = journal.give(1, 1);
        journal.has(token, true);
        assert!(journal.has_room());
    }
}

//! To whom the messages of an own stream are addressed, and the resolution of those that will never be acknowledged.
//!
//! The intervals of one recipient are in order and do not overlap; only the last one may go on.

use crate::model::{Interval, Resolution, Timestamp};

/// The messages of one stream that are addressed to one recipient.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audience {
    intervals: Vec<Interval>,
    /// First numbers of the intervals that changed since the history was last told.
    unsaved: Vec<u64>,
}

impl Audience {
    /// The intervals that the history kept. One that was open ends at `last`.
    #[must_use]
    pub fn recalled(mut intervals: Vec<Interval>, last: u64) -> Self {
        for interval in &mut intervals {
            interval.last = Some(interval.last.unwrap_or(last));
        }
        Self { intervals, unsaved: Vec::new() }
    }

    /// All intervals, in order.
    #[must_use]
    pub fn intervals(&self) -> &[Interval] {
        &self.intervals
    }

    /// Addresses messages from `first` on to this recipient.
    pub fn open(&mut self, first: u64, at: Timestamp) {
        if self.is_open() {
            return;
        }
        match self.intervals.last_mut() {
            // It was away while nothing was said.
            Some(before) if before.last == Some(first - 1) && before.resolution.is_none() => {
                before.last = None;
                let changed = before.first;
                self.changed(changed);
            }
            _ => {
                self.intervals.push(Interval { first, last: None, resolution: None, at });
                self.changed(first);
            }
        }
    }

    /// Addresses no messages after `last` to this recipient.
    pub fn close(&mut self, last: u64) {
        if let Some(interval) = self.intervals.last_mut().filter(|interval| interval.last.is_none()) {
            interval.last = Some(last);
            let first = interval.first;
            self.changed(first);
        }
    }

    /// True while new messages are addressed to this recipient.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.intervals.last().is_some_and(|interval| interval.last.is_none())
    }

    /// The interval that a message is in.
    #[must_use]
    pub fn interval(&self, sequence: u64) -> Option<&Interval> {
        let at = self.intervals.partition_point(|interval| interval.first <= sequence).checked_sub(1)?;
        self.intervals.get(at).filter(|interval| interval.last.is_none_or(|last| sequence <= last))
    }

    /// Ranges after `after` and up to `up_to` that are addressed to this recipient and not resolved, in order.
    pub fn pending(&self, after: u64, up_to: u64) -> impl Iterator<Item = (u64, u64)> {
        let from = self.intervals.partition_point(|interval| interval.last.is_some_and(|last| last <= after));
        let open = self.intervals.iter().skip(from).filter(|interval| interval.resolution.is_none());
        open.map(move |interval| {
            let last = interval.last.unwrap_or(u64::MAX).min(up_to);
            (interval.first.max(after.saturating_add(1)), last)
        })
        .filter(|(first, last)| first <= last)
    }

    /// Resolves what is addressed to this recipient in a range and is not resolved yet.
    pub fn resolve(&mut self, first: u64, last: u64, resolution: Resolution, at: Timestamp) {
        let before = std::mem::take(&mut self.intervals);
        for interval in before {
            let end = interval.last.unwrap_or(u64::MAX);
            let (from, to) = (first.max(interval.first), last.min(end));
            if interval.resolution.is_some() || from > to {
                self.intervals.push(interval);
                continue;
            }
            if interval.first < from {
                self.intervals.push(Interval { last: Some(from - 1), ..interval });
                self.changed(interval.first);
            }
            self.intervals.push(Interval { first: from, last: Some(to), resolution: Some(resolution), at });
            self.changed(from);
            if to < end {
                self.intervals.push(Interval { first: to + 1, ..interval });
                self.changed(to + 1);
            }
        }
    }

    fn changed(&mut self, first: u64) {
        if !self.unsaved.contains(&first) {
            self.unsaved.push(first);
        }
    }

    /// The intervals that changed since the history was last told, of those that begin no later than `last`: the others
    /// have no message yet.
    pub fn take_unsaved(&mut self, last: u64) -> Vec<Interval> {
        let (now, later) = std::mem::take(&mut self.unsaved).into_iter().partition(|first| *first <= last);
        self.unsaved = later;
        let now: Vec<u64> = now;
        self.intervals.iter().filter(|interval| now.contains(&interval.first)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FailReason;

    const AT: Timestamp = Timestamp(5);
    const FAILED: Resolution = Resolution::Failed(FailReason::Expired);

    fn pending(audience: &Audience, after: u64, up_to: u64) -> Vec<(u64, u64)> {
        audience.pending(after, up_to).collect()
    }

    #[test]
    fn whoever_is_away_for_a_while_is_addressed_before_and_after() {
        let mut audience = Audience::default();
        audience.open(1, AT);
        audience.open(1, AT);
        audience.close(4);
        audience.open(8, AT);
        assert_eq!(pending(&audience, 0, 10), [(1, 4), (8, 10)]);
        assert_eq!(pending(&audience, 2, 9), [(3, 4), (8, 9)]);
        assert_eq!(pending(&audience, 4, 7), []);
        assert!(audience.interval(5).is_none());
        assert_eq!(audience.interval(8).unwrap().last, None);
        audience.close(9);
        audience.open(10, AT);
        assert_eq!(audience.intervals().len(), 2, "nothing was said meanwhile");
    }

    #[test]
    fn a_last_word_splits_an_interval_and_is_spoken_once() {
        let mut audience = Audience::default();
        audience.open(1, AT);
        audience.resolve(3, 5, FAILED, AT);
        audience.resolve(1, 4, Resolution::Sent, AT);
        assert_eq!(pending(&audience, 0, 9), [(6, 9)]);
        let words: Vec<_> = (1..=6).map(|n| audience.interval(n).unwrap().resolution).collect();
        let (sent, failed) = (Some(Resolution::Sent), Some(FAILED));
        assert_eq!(words, [sent, sent, failed, failed, failed, None]);
        assert!(audience.is_open());
    }

    #[test]
    fn what_changed_is_given_once_and_not_before_anything_is_said_in_it() {
        let mut audience = Audience::default();
        audience.open(4, AT);
        assert_eq!(audience.take_unsaved(3), []);
        assert_eq!(audience.take_unsaved(4).len(), 1);
        assert_eq!(audience.take_unsaved(4), []);
        audience.close(6);
        assert_eq!(audience.take_unsaved(6)[0].last, Some(6));
        let again = Audience::recalled(vec![Interval { last: None, ..audience.intervals()[0] }], 9);
        assert_eq!(again.intervals()[0].last, Some(9), "a crash ends what went on");
    }
}

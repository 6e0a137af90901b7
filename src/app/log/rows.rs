//! The rows of the view: what of each entry is shown, and the lines between them.

use std::ops::Range;

use super::{Anchor, Entry, Geometry, Message, MessageLog, Unfolded};
use crate::{app::wrap, model::Timestamp};

/// One row of the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// A new day begins.
    Day(Timestamp),
    /// Messages are missing just before this entry.
    Gap(u64),
    /// A row of an entry's text.
    Text {
        /// The entry's number.
        entry: u64,
        /// Which bytes of its text.
        range: Range<usize>,
        /// The first row of the entry.
        is_first: bool,
        /// The entry's mark, if it has one, stands at the end of this row.
        has_mark: bool,
    },
    /// So many lines more of a long message are folded.
    Folded {
        /// The entry's number.
        entry: u64,
        /// How many.
        lines: usize,
    },
    /// So many messages that one peer said in a short time are folded.
    Flood {
        /// The number of the last of them.
        entry: u64,
        /// How many.
        messages: usize,
    },
    /// What follows came when nobody was reading.
    New,
}

impl MessageLog {
    /// The rows of the view, from top to bottom; at most as many as it has.
    #[must_use]
    pub fn visible(&self, geometry: &Geometry) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        let Some(last) = self.last() else { return rows };
        let (mut entry, hidden) = match self.anchor {
            Anchor::Bottom => (last, 0),
            Anchor::At { entry, hidden } => (entry, hidden),
        };
        let mut skip = hidden;
        loop {
            let mut entries = 1;
            for row in self.rows_of(entry, geometry).into_iter().rev().skip(skip) {
                if rows.len() == geometry.rows {
                    break;
                }
                if let Row::Flood { messages, .. } = row {
                    entries = messages as u64;
                }
                rows.push(row);
            }
            skip = 0;
            if rows.len() == geometry.rows || entry < self.first + entries {
                break;
            }
            entry -= entries;
        }
        rows.reverse();
        rows
    }

    /// The lines that stand before an entry: a day begins, or reading stopped here.
    pub(super) fn lines_before(&self, number: u64, geometry: &Geometry) -> Vec<Row> {
        let Some(entry) = self.entry(number) else { return Vec::new() };
        let mut rows = Vec::new();
        let day = |entry: &Entry| entry.at().in_zone(&geometry.zone).date();
        let before = number.checked_sub(1).and_then(|before| self.entry(before));
        if before.map_or(self.is_first, |before| day(before) != day(entry)) {
            rows.push(Row::Day(entry.at()));
        }
        if let Some(new_from) = self.new_from
            && entry.place() >= new_from
            && before.is_some_and(|before| before.place() < new_from)
        {
            rows.push(Row::New);
        }
        rows
    }

    pub(super) fn rows_of(&self, number: u64, geometry: &Geometry) -> Vec<Row> {
        let Some(entry) = self.entry(number) else { return Vec::new() };
        if self.is_folded(number, geometry) {
            if self.is_folded_with_next(number, geometry) {
                return Vec::new();
            }
            let messages = self.folded_until(number, geometry);
            let first = number + 1 - messages as u64;
            let mut rows = self.lines_before(first, geometry);
            rows.push(Row::Flood { entry: number, messages });
            return rows;
        }
        let mut rows = self.lines_before(number, geometry);
        if let Entry::Message(Message { missed, .. }) = entry
            && *missed > 0
        {
            rows.push(Row::Gap(number));
        }
        let mut ranges = wrap::rows(entry.text(), geometry.text);
        let mut folded = 0;
        if let Entry::Message(message) = entry
            && self.unfolded != Some(Unfolded::Message(message.id))
        {
            // Nobody takes more of the screen at once.
            let shown = Self::rows_of_one(geometry);
            if ranges.len() > shown + 1 {
                folded = ranges.len() - shown;
                ranges.truncate(shown);
            }
        }
        let count = ranges.len();
        rows.extend(ranges.into_iter().enumerate().map(|(at, range)| Row::Text {
            entry: number,
            range,
            is_first: at == 0,
            has_mark: folded == 0 && at + 1 == count,
        }));
        if folded > 0 {
            rows.push(Row::Folded { entry: number, lines: folded });
        }
        rows
    }
}

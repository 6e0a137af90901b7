//! Moving the window over the history: what comes goes in at its place, and far ends are let go.
//!
//! It must never hold more than the window, whatever the size of the history.

use std::{collections::BTreeMap, sync::Arc};

use super::{Anchor, Entry, Geometry, Message, MessageLog, Outcome, Unfolded};
use crate::{
    api::Part,
    model::{MessageId, Peer, Place, SafeText, Timestamp, limits},
};

impl MessageLog {
    /// Adds an entry at its place, which mostly is the end.
    pub fn insert(&mut self, entry: Entry) {
        if matches!(entry, Entry::Notice { .. }) {
            if self.notices.len() == limits::LOG_LINES {
                self.notices.pop_front();
            }
            self.notices.push_back(entry.clone());
        }
        self.put(entry);
    }

    /// Somebody came, went, or has another name. Right after another such line it takes no line of its own.
    pub fn pass(&mut self, at: Timestamp, place: Place, text: &str) {
        if let Some(Entry::Notice { at: told_at, text: told, passings: passings @ 1.., .. }) =
            self.entries.back_mut()
            && self.is_last
            && at.since(*told_at) < limits::PASSINGS_WITHIN
        {
            *passings += 1;
            let words = match *passings {
                2..=limits::PASSINGS_TOLD => together(told.as_str(), text),
                count => format!("{count} times somebody came, went or took another name; the last: {text}"),
            };
            (*told_at, *told) = (at, SafeText::line(&words));
            let merged = self.entries.back().cloned();
            if let (Some(merged), Some(kept)) = (merged, self.notices.back_mut()) {
                *kept = merged;
            }
            return;
        }
        self.insert(Entry::Notice { at, place, text: SafeText::line(text), passings: 1 });
    }

    /// Says more in a line that was said before. False when it is not there any more.
    pub fn amend(&mut self, before: &str, after: &str) -> bool {
        let is_it =
            |entry: &&mut Entry| matches!(entry, Entry::Notice { text, .. } if text.as_str() == before);
        let mut is_said = false;
        for entries in [&mut self.notices, &mut self.entries] {
            if let Some(Entry::Notice { text, .. }) = entries.iter_mut().rev().find(is_it) {
                *text = SafeText::line(after);
                is_said = true;
            }
        }
        is_said
    }

    fn put(&mut self, entry: Entry) {
        let place = entry.place();
        let at = self.entries.partition_point(|other| other.place() <= place);
        let is_end = at == self.entries.len();
        if is_end && !self.is_last {
            // It is kept, and comes with its page.
            self.below += 1;
            return;
        }
        if at == 0 && !self.is_first && !self.entries.is_empty() {
            return;
        }
        // What stands before it moves up by one.
        let number = (self.first + at as u64).saturating_sub(1);
        if !is_end {
            for other in self.open.values_mut().filter(|other| **other <= number) {
                *other -= 1;
            }
            if let Anchor::At { entry, .. } = &mut self.anchor
                && *entry <= number
            {
                *entry -= 1;
            }
            if let Some(pointer) = &mut self.pointer
                && *pointer <= number
            {
                *pointer -= 1;
            }
            self.first -= 1;
        }
        let number = if is_end { self.first + at as u64 } else { number };
        self.note_open(&entry, number);
        self.entries.insert(at, entry);
        if is_end && self.anchor != Anchor::Bottom {
            self.below += 1;
        }
        if self.anchor == Anchor::Bottom {
            if self.entries.len() > limits::LOG_WINDOW {
                self.drop_of_greediest();
            }
            self.drop_first(limits::LOG_WINDOW);
        } else {
            self.drop_last(2 * limits::LOG_WINDOW);
        }
    }

    fn note_open(&mut self, entry: &Entry, number: u64) {
        if let Entry::Message(Message { id, mark: Some(mark), .. }) = entry
            && mark.is_open()
        {
            self.open.insert(*id, number);
        }
    }

    /// Whoever fills more than half of the window makes room itself: the oldest that it said goes, and what others said stays.
    fn drop_of_greediest(&mut self) {
        let author = |entry: &Entry| match entry {
            Entry::Message(message) if message.mark.is_none() => Some(message.from.peer_id),
            _ => None,
        };
        let Some(greediest) = self.entries.back().and_then(author) else { return };
        let is_its = |entry: &Entry| author(entry) == Some(greediest);
        if self.entries.iter().filter(|entry| is_its(entry)).count() <= limits::LOG_WINDOW / 2 {
            return;
        }
        let mut left = limits::LOG_WINDOW / 10;
        let mut number = self.first;
        let gone = left as u64;
        let mut open = BTreeMap::new();
        let entries = std::mem::take(&mut self.entries);
        for entry in entries {
            if left > 0 && is_its(&entry) {
                left -= 1;
                // The history knows it.
                self.is_first &= !self.entries.is_empty();
                continue;
            }
            // Numbers count up to the newest, which keeps its own.
            if let Entry::Message(Message { id, mark: Some(mark), .. }) = &entry
                && mark.is_open()
            {
                open.insert(*id, number + gone);
            }
            number += 1;
            self.entries.push_back(entry);
        }
        self.first += gone;
        self.open = open;
    }

    fn drop_first(&mut self, most: usize) {
        while self.entries.len() > most {
            let gone = self.entries.pop_front();
            self.first += 1;
            self.is_first = false;
            if let Some(Entry::Message(message)) = gone {
                self.open.remove(&message.id);
            }
        }
        if let Anchor::At { entry, .. } = self.anchor
            && entry < self.first
        {
            self.anchor = Anchor::At { entry: self.first, hidden: 0 };
        }
    }

    fn drop_last(&mut self, most: usize) {
        while self.entries.len() > most {
            self.is_last = false;
            if let Some(Entry::Message(message)) = self.entries.pop_back() {
                self.open.remove(&message.id);
            }
        }
    }

    /// The part of the history that is needed next, when the view comes near an end of the window, or when so much of it is
    /// folded that it does not fill the view.
    pub fn wanted(&mut self, geometry: &Geometry) -> Option<Part> {
        if self.is_waiting {
            return None;
        }
        let rows = geometry.rows;
        if self.anchor == Anchor::Bottom && !self.is_last {
            self.is_waiting = true;
            return Some(Part::Newest);
        }
        if !self.is_first && self.entries.len() < limits::LOG_WINDOW && self.visible(geometry).len() < rows {
            self.is_waiting = true;
            return Some(Part::Before(self.entries.front()?.place()));
        }
        let near = u64::try_from(2 * rows).unwrap_or(u64::MAX);
        let selected = self.selected()?;
        let part = if !self.is_first && selected < self.first.saturating_add(near) {
            Part::Before(self.entries.front()?.place())
        } else if !self.is_last && self.first + self.entries.len() as u64 <= selected.saturating_add(near) {
            Part::After(self.entries.back()?.place())
        } else {
            return None;
        };
        self.is_waiting = true;
        Some(part)
    }

    /// A part of the history is asked for: what becomes of messages meanwhile is noted.
    pub fn ask(&mut self) {
        self.is_waiting = true;
    }

    /// Nothing is kept before (or after) what is held.
    #[must_use]
    pub fn ends(&self) -> (bool, bool) {
        (self.is_first, self.is_last)
    }

    /// Takes in a part of the history.
    pub fn page(&mut self, part: Part, messages: Vec<Message>, is_first: bool, is_last: bool) {
        self.is_waiting = false;
        match part {
            // The window may have moved on meanwhile.
            Part::Before(place) if self.entries.front().map(Entry::place) != Some(place) => {}
            Part::Before(_) => self.prepend(messages, is_first),
            Part::After(place) if place > Place::MIN && self.last_place() != place => {}
            Part::After(place) if place > Place::MIN => self.append(messages, is_last),
            Part::After(_) => {
                self.replace(messages, is_first, is_last);
                self.anchor = Anchor::At { entry: self.first, hidden: 0 };
            }
            Part::Newest => {
                // What came while the page was on its way stands after it.
                let newer = self.newer_than(messages.last().map_or(Place::MIN, |last| last.place));
                self.replace(messages, is_first, true);
                self.to_bottom();
                for entry in newer {
                    self.insert(entry);
                }
            }
            Part::Around(place) => {
                self.replace(messages, is_first, is_last);
                let at = self.entries.partition_point(|entry| entry.place() < place);
                let entry = self.first + at as u64;
                self.anchor = Anchor::At { entry, hidden: 0 };
                if let Some(Entry::Message(sought)) = self.entry(entry) {
                    // What was looked for is not folded away.
                    self.unfolded = Some(Unfolded::Peer(sought.from.peer_id));
                }
            }
        }
        self.put_notices_back();
        for Outcome { id, peer, status, reason, summary } in std::mem::take(&mut self.early) {
            self.delivery(&id, &peer, status, reason, summary);
        }
    }

    /// What happened between the messages that are held now.
    fn put_notices_back(&mut self) {
        let (first, last) = match (self.entries.front(), self.entries.back()) {
            (Some(first), Some(last)) => (first.place(), last.place()),
            _ => (Place::MIN, Place::MAX),
        };
        let below = self.below;
        for notice in self.notices.clone() {
            let place = notice.place();
            let is_inside = (place >= first || self.is_first) && (place <= last || self.is_last);
            let same = |entry: &Entry| {
                matches!(entry, Entry::Notice { .. })
                    && entry.place() == place
                    && entry.text() == notice.text()
            };
            let at = self.entries.partition_point(|entry| entry.place() < place);
            let is_here = self.entries.iter().skip(at).take_while(|entry| entry.place() == place).any(same);
            if is_inside && !is_here {
                self.put(notice);
            }
        }
        self.below = below;
    }

    fn newer_than(&mut self, place: Place) -> Vec<Entry> {
        let at = self.entries.partition_point(|entry| entry.place() <= place);
        let newer = self.entries.split_off(at);
        newer.into_iter().filter(|entry| matches!(entry, Entry::Message(_))).collect()
    }

    fn prepend(&mut self, messages: Vec<Message>, is_first: bool) {
        self.is_first = is_first;
        for message in messages.into_iter().rev() {
            if !self.starts_with(&message) {
                self.first -= 1;
                let entry = Entry::Message(message);
                self.note_open(&entry, self.first);
                self.entries.push_front(entry);
            }
        }
        if self.anchor != Anchor::Bottom {
            self.drop_last(2 * limits::LOG_WINDOW);
        }
    }

    /// Pages overlap where they meet.
    fn starts_with(&self, message: &Message) -> bool {
        let same_place = self.entries.iter().take_while(|entry| entry.place() <= message.place);
        same_place.into_iter().any(|entry| matches!(entry, Entry::Message(other) if other.id == message.id))
    }

    fn append(&mut self, messages: Vec<Message>, is_last: bool) {
        self.is_last = is_last;
        for message in messages {
            let same_place = self.entries.iter().rev().take_while(|entry| entry.place() >= message.place);
            let is_here =
                same_place.into_iter().any(|entry| matches!(entry, Entry::Message(m) if m.id == message.id));
            if !is_here {
                let entry = Entry::Message(message);
                self.note_open(&entry, self.first + self.entries.len() as u64);
                self.entries.push_back(entry);
            }
        }
        if is_last {
            self.below = 0;
        }
        self.drop_first(2 * limits::LOG_WINDOW);
    }

    fn replace(&mut self, messages: Vec<Message>, is_first: bool, is_last: bool) {
        let (early, notices) = (std::mem::take(&mut self.early), std::mem::take(&mut self.notices));
        let new_from = self.new_from;
        *self = Self { is_first, is_last, notices, early, new_from, ..Self::default() };
        for message in messages {
            let entry = Entry::Message(message);
            self.note_open(&entry, self.first + self.entries.len() as u64);
            self.entries.push_back(entry);
        }
    }

    /// Nothing of it is kept any more.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// So many are missing just before a message now.
    pub fn gap(&mut self, before: &MessageId, missing: u64) {
        let is_meant = |entry: &&mut Entry| matches!(entry, Entry::Message(message) if message.id == *before);
        if let Some(Entry::Message(message)) = self.entries.iter_mut().rev().find(is_meant) {
            message.missed = missing;
        }
    }

    /// The gap just before an entry.
    #[must_use]
    pub fn gap_before(&self, number: u64) -> Option<Gap> {
        let Entry::Message(message) = self.entry(number)? else { return None };
        let stream = |id: &MessageId| (id.author, id.epoch, id.to);
        let index = self.index(number)?;
        let same = |entry: &&Entry| matches!(entry, Entry::Message(other) if stream(&other.id) == stream(&message.id));
        let after = self.entries.iter().take(index).rev().find(same).map(Entry::at);
        Some(Gap { from: message.from.clone(), missed: message.missed, after, before: message.at })
    }

    /// An answer that was waited for will not come.
    pub fn stop_waiting(&mut self) {
        self.is_waiting = false;
    }

    /// The place of the last entry.
    #[must_use]
    pub fn last_place(&self) -> Place {
        self.entries.back().map_or(Place::MIN, Entry::place)
    }
}

/// Messages of one author that are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Whose.
    pub from: Arc<Peer>,
    /// How many.
    pub missed: u64,
    /// When the last one before them came, if it is held.
    pub after: Option<Timestamp>,
    /// When the first one after them came.
    pub before: Timestamp,
}

/// Two things that happened as one line: `bob and carol joined`, or one after the other.
fn together(told: &str, text: &str) -> String {
    const JOINED: &str = " joined";
    let names =
        |line: &str| line.strip_suffix(JOINED).filter(|names| !names.contains([':', ';'])).map(str::to_owned);
    match (names(told), names(text)) {
        (Some(before), Some(name)) => format!("{} and {name}{JOINED}", before.replace(" and ", ", ")),
        _ => format!("{told}; {text}"),
    }
}

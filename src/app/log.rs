//! The message log of one conversation: a window over its history, and what of it is visible.
//!
//! The view is an anchor, the message at its bottom and how many of its rows are hidden below. Only what is visible
//! is ever wrapped, so that a million messages cost a frame as much as ten.

mod fold;
mod mark;
mod rows;
mod window;

pub use self::{mark::Mark, rows::Row, window::Gap};

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use self::fold::Unfolded;
use super::markup::{self, Span};
use crate::model::{
    Alias, CloseReason, DeliveryStatus, FailReason, MessageId, Peer, PeerId, Place, SafeText, Summary,
    Timestamp, Wire, limits,
};

/// One line of talk.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its identity.
    pub id: MessageId,
    /// Who wrote it.
    pub from: Arc<Peer>,
    /// What it says.
    pub text: SafeText,
    /// When it came or went.
    pub at: Timestamp,
    /// Where it stands.
    pub place: Place,
    /// Messages of the same author that are missing before it.
    pub missed: u64,
    /// What became of it; only on own ones.
    pub mark: Option<Box<Mark>>,
    /// What a classic peer called itself in it, when that is not its alias.
    pub claims: Option<SafeText>,
    /// It names this peer.
    pub mentions_me: bool,
    /// It says what its author does: its text begins with the author's name.
    pub is_action: bool,
    /// What of its text is drawn in another way.
    pub spans: Box<[Span]>,
}

impl Message {
    /// What stands at its end: what became of an own one, or that a classic peer said it in clear.
    fn mark_text(&self, is_newest: bool) -> Option<String> {
        match (&self.mark, self.from.wire, &self.claims) {
            // Only the newest message says that all have it.
            (Some(mark), ..)
                if mark.summary.total > 0
                    && !is_newest
                    && mark.is_settled()
                    && mark.failed.is_empty()
                    && mark.sent.is_empty() =>
            {
                None
            }
            (Some(mark), ..) => Some(mark.text()),
            (None, Wire::Native, _) => None,
            (None, Wire::Classic, None) => Some("~ in clear".to_owned()),
            (None, Wire::Classic, Some(claims)) => Some(format!("~ in clear, says it is \"{claims}\"")),
        }
    }
}

/// Something in the log.
#[derive(Debug, Clone)]
pub enum Entry {
    /// Somebody said something.
    Message(Message),
    /// Something happened.
    Notice {
        /// When.
        at: Timestamp,
        /// Where it stands.
        place: Place,
        /// What.
        text: SafeText,
        /// How many comings, goings and renamings it tells of; 0 for anything else. Those in a row are one entry.
        passings: u32,
    },
}

impl Entry {
    /// When.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Message(message) => message.at,
            Self::Notice { at, .. } => *at,
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn place(&self) -> Place {
        match self {
            Self::Message(message) => message.place,
            Self::Notice { place, .. } => *place,
        }
    }

    /// What it says.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Message(message) => message.text.as_str(),
            Self::Notice { text, .. } => text.as_str(),
        }
    }
}

/// What the bottom row of the view shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Anchor {
    /// The newest; new messages scroll in.
    #[default]
    Bottom,
    /// Entry number `entry`, counted from the first ever, with `hidden` of its rows below the view.
    At {
        /// The entry's number.
        entry: u64,
        /// Rows below.
        hidden: usize,
    },
}

/// How wide the columns of the log are, and where a day begins.
#[derive(Debug, Clone)]
pub struct Geometry {
    /// Cells for text.
    pub text: usize,
    /// Rows of the view.
    pub rows: usize,
    /// The zone that days are told in.
    pub zone: jiff::tz::TimeZone,
    /// Peers all of whose messages are folded.
    pub muted: BTreeSet<PeerId>,
}

/// What became of a message that is not in the window yet.
#[derive(Debug)]
struct Outcome {
    id: MessageId,
    peer: Arc<Peer>,
    status: DeliveryStatus,
    reason: Option<FailReason>,
    summary: Summary,
}

/// A window over the history of a conversation: what is held in memory of it.
#[derive(Debug)]
pub struct MessageLog {
    entries: VecDeque<Entry>,
    /// The number of the first entry that is held.
    first: u64,
    /// Nothing is kept before the first entry.
    is_first: bool,
    /// Nothing is kept after the last entry.
    is_last: bool,
    /// A part of the history was asked for.
    is_waiting: bool,
    /// Own messages whose fate is open, by their numbers here.
    open: BTreeMap<MessageId, u64>,
    /// What happened lately: the history knows only what was said.
    notices: VecDeque<Entry>,
    /// What came while a part of the history was waited for.
    early: Vec<Outcome>,
    anchor: Anchor,
    /// The entry that keys act on, where the view cannot move so that it stands at the bottom.
    pointer: Option<u64>,
    /// Entries that came while the view was not at the bottom.
    below: u64,
    /// Where reading stopped: the place of the first message after it.
    new_from: Option<Place>,
    /// What is unfolded.
    unfolded: Option<Unfolded>,
}

impl Default for MessageLog {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            // Earlier entries get smaller numbers.
            first: 1 << 40,
            is_first: true,
            is_last: true,
            is_waiting: false,
            open: BTreeMap::new(),
            notices: VecDeque::new(),
            early: Vec::new(),
            anchor: Anchor::default(),
            pointer: None,
            below: 0,
            new_from: None,
            unfolded: None,
        }
    }
}

impl MessageLog {
    /// Notes what became of an own message.
    pub fn delivery(
        &mut self,
        id: &MessageId,
        peer: &Arc<Peer>,
        status: DeliveryStatus,
        reason: Option<FailReason>,
        summary: Summary,
    ) {
        let Some(number) = self.open.get(id).copied() else {
            if self.is_waiting && self.early.len() < limits::LOG_LINES {
                self.early.push(Outcome { id: *id, peer: peer.clone(), status, reason, summary });
            }
            return;
        };
        let Some(Entry::Message(Message { mark: Some(mark), .. })) = self.entry_mut(number) else { return };
        mark.summary = summary;
        mark.waiting.retain(|waiting| waiting.peer_id != peer.peer_id);
        if status == DeliveryStatus::Queued {
            mark.queued = true;
            mark.waiting.push(peer.clone());
        }
        if status == DeliveryStatus::Failed {
            mark.failed.push((peer.clone(), reason.unwrap_or(CloseReason::Internal.into())));
        }
        if status == DeliveryStatus::Sent {
            mark.sent.push(peer.clone());
        }
        if mark.is_told_of_all() {
            // Whoever came after it was said does not wait for it.
            mark.waiting.clear();
        }
        if mark.is_settled() {
            self.open.remove(id);
        }
    }

    /// Shows all of the long message that keys act on, from its beginning, or all that its author says where much of that
    /// is folded; or folds it again.
    pub fn unfold_selected(&mut self, geometry: &Geometry) {
        let Some(selected) = self.selected() else { return };
        let Some(Entry::Message(message)) = self.entry(selected) else { return };
        let (id, author) = (message.id, message.from.peer_id);
        self.unfolded = match self.unfolded {
            Some(Unfolded::Peer(peer)) if peer == author => None,
            _ if self.is_folded(selected, geometry) => Some(Unfolded::Peer(author)),
            Some(Unfolded::Message(message)) if message == id => None,
            _ => Some(Unfolded::Message(id)),
        };
        self.pointer = None;
        let hidden = self.rows_of(selected, geometry).len().saturating_sub(geometry.rows);
        self.anchor = Anchor::At { entry: selected, hidden };
        if hidden == 0 && self.last() == Some(selected) {
            self.go_to_end();
        }
        self.fill(geometry);
    }

    /// A peer has another label: what it called itself before that may be its label now.
    pub fn rename(&mut self, peer: &Arc<Peer>) {
        for entry in &mut self.entries {
            if let Entry::Message(message) = entry
                && message.from.peer_id == peer.peer_id
            {
                if message.is_action
                    && let Some(does) = message.text.as_str().strip_prefix(message.from.alias.as_str())
                {
                    message.text = SafeText::clean(&format!("{}{does}", peer.alias));
                    message.spans = markup::spans(message.text.as_str());
                }
                message.from = peer.clone();
                message
                    .claims
                    .take_if(|claims| Alias::claimed(claims.as_str()).as_ref() == Some(&peer.alias));
            }
        }
    }

    /// What stands at the end of an entry: what became of it, or how it came, where that is worth a word.
    #[must_use]
    pub fn mark_text(&self, number: u64) -> Option<String> {
        let Some(Entry::Message(message)) = self.entry(number) else { return None };
        let mut later = (number + 1..).map_while(|later| self.entry(later));
        let is_own = |entry: &Entry| matches!(entry, Entry::Message(message) if message.mark.is_some());
        message.mark_text(message.mark.is_some() && !later.any(is_own))
    }

    /// What this peer said, the newest first.
    pub fn own_texts(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().rev().filter_map(|entry| match entry {
            Entry::Message(message) if message.mark.is_some() && !message.is_action => {
                Some(message.text.as_str())
            }
            _ => None,
        })
    }

    /// This message is the first unread one, unless there is an earlier one.
    pub fn new_from(&mut self, place: Place) {
        self.new_from.get_or_insert(place);
    }

    /// Everything was read.
    pub fn all_read(&mut self) {
        self.new_from = None;
    }

    /// How many entries are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when nothing was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry with this number.
    #[must_use]
    pub fn entry(&self, number: u64) -> Option<&Entry> {
        self.entries.get(self.index(number)?)
    }

    fn entry_mut(&mut self, number: u64) -> Option<&mut Entry> {
        let index = self.index(number)?;
        self.entries.get_mut(index)
    }

    fn index(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }

    fn last(&self) -> Option<u64> {
        (self.first + self.entries.len() as u64).checked_sub(1).filter(|_| !self.entries.is_empty())
    }

    /// Entries that came since the view left the bottom.
    #[must_use]
    pub fn below(&self) -> u64 {
        self.below
    }

    /// The entry that keys act on: mostly the one at the bottom of the view.
    #[must_use]
    pub fn selected(&self) -> Option<u64> {
        self.pointer.or_else(|| self.bottom())
    }

    /// Has keys act on this entry, which is in sight; what comes next does not move it away.
    pub fn point(&mut self, entry: u64) {
        let Some(last) = self.last().filter(|_| self.entry(entry).is_some()) else { return };
        if self.anchor == Anchor::Bottom {
            self.anchor = Anchor::At { entry: last, hidden: 0 };
        }
        self.pointer = Some(entry);
    }

    /// The number of a message, as long as it is held: others that come between move it.
    #[must_use]
    pub fn number_of(&self, id: &MessageId) -> Option<u64> {
        let is_it = |entry: &Entry| matches!(entry, Entry::Message(message) if message.id == *id);
        self.entries.iter().rposition(is_it).map(|at| self.first + at as u64)
    }

    /// The entry at the bottom of the view.
    fn bottom(&self) -> Option<u64> {
        match self.anchor {
            Anchor::Bottom => self.last(),
            Anchor::At { entry, .. } => Some(entry),
        }
    }

    /// The newest message is in sight.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.anchor == Anchor::Bottom && self.pointer.is_none()
    }

    /// How far up the view is, in thousandths: 1000 is the bottom.
    #[must_use]
    pub fn position(&self) -> u64 {
        match (self.anchor, self.last()) {
            (Anchor::At { entry, .. }, Some(last)) if last > self.first => {
                entry.saturating_sub(self.first) * 1000 / (last - self.first)
            }
            _ => 1000,
        }
    }

    /// To the newest; what a peer says much of is folded again.
    pub fn to_bottom(&mut self) {
        self.unfolded.take_if(|unfolded| matches!(unfolded, Unfolded::Peer(_)));
        self.anchor_at_bottom();
    }

    fn anchor_at_bottom(&mut self) {
        self.pointer = None;
        self.anchor = Anchor::Bottom;
        self.below = 0;
    }

    /// To the oldest.
    pub fn to_top(&mut self, geometry: &Geometry) {
        self.pointer = None;
        self.anchor = Anchor::At { entry: self.first, hidden: 0 };
        self.fill(geometry);
    }

    /// To the last entry that is held; that is the newest one only where nothing is kept after it.
    fn go_to_end(&mut self) {
        match self.last() {
            Some(last) if !self.is_last => self.anchor = Anchor::At { entry: last, hidden: 0 },
            _ => self.anchor_at_bottom(),
        }
    }

    /// Shows entry number `entry` at the bottom.
    fn show_entry(&mut self, entry: u64) {
        if self.entry(entry).is_some() {
            self.pointer = None;
            self.anchor = Anchor::At { entry, hidden: 0 };
        }
    }

    /// One message up or down.
    pub fn step(&mut self, down: bool, geometry: &Geometry) {
        let (Some(selected), Some(last)) = (self.selected(), self.last()) else { return };
        let next = |at: u64| if down { at + 1 } else { at.saturating_sub(1) };
        let mut wanted = next(selected);
        // Messages that are folded in a row are one step.
        while self.is_folded_with_next(wanted, geometry) && wanted > self.first {
            wanted = next(wanted);
        }
        if wanted >= last && down {
            return self.go_to_end();
        }
        if wanted < self.first {
            return;
        }
        self.show_entry(wanted);
        // All of it is to be seen: the view stays, and what comes next does not move it.
        self.settle(geometry);
    }

    /// `rows` rows up, or down when negative.
    pub fn scroll(&mut self, rows: isize, geometry: &Geometry) {
        self.pointer = None;
        let Some(last) = self.last() else { return };
        let (mut entry, hidden) = match self.anchor {
            Anchor::Bottom => (last, 0),
            Anchor::At { entry, hidden } => (entry, hidden),
        };
        let mut hidden = hidden.cast_signed() + rows;
        loop {
            let height = self.rows_of(entry, geometry).len().cast_signed();
            if hidden >= height && entry > self.first {
                hidden -= height;
                entry -= 1;
            } else if hidden < 0 && entry < last {
                entry += 1;
                hidden += self.rows_of(entry, geometry).len().cast_signed();
            } else {
                break;
            }
        }
        if entry == self.first {
            // There is nothing further up.
            hidden = hidden.min(self.rows_of(entry, geometry).len().cast_signed() - 1);
        }
        // Never on what is folded into the line of a later one.
        while self.is_folded_with_next(entry, geometry) && entry < last {
            entry += 1;
            hidden = 0;
        }
        if hidden <= 0 && entry == last {
            self.go_to_end();
        } else {
            self.anchor = Anchor::At { entry, hidden: hidden.max(0).cast_unsigned() };
            self.fill(geometry);
        }
    }

    /// Shows what was looked for, which stays selected, with as much around it as there is room for.
    pub fn settle(&mut self, geometry: &Geometry) {
        let (Some(sought), Some(last)) = (self.selected(), self.last()) else { return };
        self.fill(geometry);
        if self.bottom() != Some(sought) {
            if self.anchor == Anchor::Bottom {
                self.anchor = Anchor::At { entry: last, hidden: 0 };
            }
            self.pointer = Some(sought);
        }
    }

    /// Never leaves rows empty above the first entry while there is more below.
    fn fill(&mut self, geometry: &Geometry) {
        let missing = geometry.rows.saturating_sub(self.visible(geometry).len());
        // What is kept before the first entry comes, and fills them.
        if missing == 0 || !self.is_first {
            return;
        }
        let Anchor::At { mut entry, mut hidden } = self.anchor else { return };
        let Some(last) = self.last() else { return };
        let mut missing = missing;
        loop {
            let shown = missing.min(hidden);
            hidden -= shown;
            missing -= shown;
            if missing == 0 {
                break;
            }
            if entry >= last {
                return self.go_to_end();
            }
            entry += 1;
            hidden = self.rows_of(entry, geometry).len();
        }
        self.anchor = Anchor::At { entry, hidden };
        if entry == last && hidden == 0 {
            self.go_to_end();
        }
    }
}

#[cfg(test)]
mod tests;

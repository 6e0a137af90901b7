//! One conversation: what was said, and what is being written.

use super::Stash;
use crate::{
    app::{composer::Composer, log::MessageLog},
    model::Recipient,
};

/// One conversation.
#[derive(Debug)]
pub struct Conversation {
    /// With everyone or with one.
    pub with: Recipient,
    /// What was said.
    pub log: MessageLog,
    /// What is being written.
    pub draft: Composer,
    /// Messages not seen.
    pub unread: u32,
    /// One of them names this peer.
    pub mentioned: bool,
    /// What was sent before stands in the draft.
    pub recalled: Option<Recalled>,
    /// For whom the draft was begun, if it was put aside and brought back in another conversation.
    pub begun_for: Option<Recipient>,
}

/// What was sent before, put into the draft to be sent again.
#[derive(Debug)]
pub struct Recalled {
    /// How far back it stands.
    back: usize,
    /// What was put there.
    shown: String,
    /// The draft of before.
    draft: String,
}

impl Recalled {
    /// The draft of before.
    #[must_use]
    pub fn into_draft(self) -> String {
        self.draft
    }
}

impl Conversation {
    /// An empty one.
    #[must_use]
    pub fn new(with: Recipient) -> Self {
        Self {
            with,
            log: MessageLog::default(),
            draft: Composer::default(),
            unread: 0,
            mentioned: false,
            recalled: None,
            begun_for: None,
        }
    }

    /// Puts what was sent before into the draft, further back or nearer; after the nearest the draft of before. What was
    /// changed meanwhile stays.
    pub fn recall(&mut self, is_further: bool) {
        let text = self.draft.text();
        if self.recalled.as_ref().is_some_and(|recalled| !text.is_empty() && text != recalled.shown) {
            return;
        }
        let wanted = match (self.recalled.as_ref().map(|recalled| recalled.back), is_further) {
            (None, true) => Some(0),
            (Some(back), true) => Some(back + 1),
            (Some(back), false) => back.checked_sub(1),
            (None, false) => return,
        };
        let Some(wanted) = wanted else {
            self.draft.take();
            return self.end_recall();
        };
        let Some(text) = self.log.own_texts().nth(wanted) else { return };
        let shown = as_typed(text);
        let before = std::mem::replace(&mut self.draft, Composer::with(&shown));
        let draft = self.recalled.take().map_or_else(|| before.text().to_owned(), |recalled| recalled.draft);
        self.recalled = Some(Recalled { back: wanted, shown, draft });
    }

    /// What was recalled is gone from the draft: the draft of before is there again.
    pub fn end_recall(&mut self) {
        if let Some(recalled) = self.recalled.take()
            && self.draft.is_empty()
        {
            self.draft = Composer::with(&recalled.draft);
        }
    }

    /// Takes the draft out, and with it what was recalled.
    pub fn take_draft(&mut self) -> String {
        let text = self.draft.take();
        if self.recalled.is_none() {
            self.begun_for = None;
        }
        self.end_recall();
        text
    }

    /// What stands in the draft, and for whom.
    #[must_use]
    pub fn shown(&self) -> Stash {
        // What was recalled was said here.
        let begun_for = self.begun_for.filter(|_| self.recalled.is_none());
        Stash { text: self.draft.text().to_owned(), with: begun_for.unwrap_or(self.with) }
    }

    /// What was written here and not sent, and for whom: what was recalled and not changed is sent already.
    pub fn unsent(&self) -> impl Iterator<Item = Stash> {
        let is_sent = self.recalled.as_ref().is_some_and(|recalled| recalled.shown == self.draft.text());
        let before = self.recalled.as_ref().map(|recalled| Stash {
            text: recalled.draft.clone(),
            with: self.begun_for.unwrap_or(self.with),
        });
        before.into_iter().chain((!is_sent).then(|| self.shown()))
    }
}

/// A text as it is typed to be sent: a slash is doubled.
#[must_use]
pub fn as_typed(text: &str) -> String {
    let slash = if text.starts_with('/') { "/" } else { "" };
    format!("{slash}{text}")
}

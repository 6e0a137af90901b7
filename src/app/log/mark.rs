//! What became of an own message, in a few words.

use std::sync::Arc;

use crate::model::{FailReason, Peer, Summary};

/// What became of an own message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark {
    /// How many have it.
    pub summary: Summary,
    /// Who has not got it yet.
    pub waiting: Vec<Arc<Peer>>,
    /// Who will not get it, and why.
    pub failed: Vec<(Arc<Peer>, FailReason)>,
    /// To whom it went, and nothing more is known.
    pub sent: Vec<Arc<Peer>>,
    /// Some of those that wait cannot be reached now.
    pub queued: bool,
}

impl Mark {
    /// True when nothing more will be heard of it.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.is_told_of_all() && self.waiting.is_empty()
    }

    /// More may be heard of it. Of a message that was said while nobody was here it is told later for whom it waits.
    pub(super) fn is_open(&self) -> bool {
        !self.is_settled() || self.summary.total == 0
    }

    pub(super) fn is_told_of_all(&self) -> bool {
        let others = u32::try_from(self.failed.len() + self.sent.len()).unwrap_or(u32::MAX);
        self.summary.delivered.saturating_add(others) >= self.summary.total
    }

    /// The mark in words: `✓ 4/4`, `… 3/4, not yet bob`, `✗ not bob`, `› 3/4, sent to bob`.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { summary, waiting, failed, sent, queued } = self;
        let names = |peers: &mut dyn Iterator<Item = &Arc<Peer>>| {
            let all: Vec<&str> = peers.map(|peer| peer.alias.as_str()).collect();
            let shown = all.iter().take(3).copied().collect::<Vec<_>>().join(", ");
            if all.len() > 3 { format!("{shown} and {} more", all.len() - 3) } else { shown }
        };
        if summary.total == 0 {
            "nobody else is here".to_owned()
        } else if !failed.is_empty() {
            format!("✗ not {}", names(&mut failed.iter().map(|(peer, _)| peer)))
        } else if self.is_settled() && !sent.is_empty() {
            match summary.total {
                1 => "› sent".to_owned(),
                _ => format!("› {summary}, sent to {}", names(&mut sent.iter())),
            }
        } else if self.is_settled() {
            if summary.total == 1 { "✓".to_owned() } else { format!("✓ {summary}") }
        } else if *queued && !waiting.is_empty() {
            format!("… {summary}, not yet {}", names(&mut waiting.iter()))
        } else {
            format!("… {summary}")
        }
    }
}

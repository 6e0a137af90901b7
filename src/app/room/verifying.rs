//! Verified keys, as the room sees them: who is who, for good, and who is not.

use std::sync::Arc;

use super::{Grade, Room};
use crate::model::{Peer, PeerId, Timestamp, Verified};

impl Room {
    /// The person here has verified this key.
    #[must_use]
    pub fn is_verified(&self, peer: &PeerId) -> bool {
        self.verified.iter().any(|verified| verified.peer_id == *peer)
    }

    /// Words are there to compare. What was asked for here is shown at once; what was not, when the person here wants it.
    pub(super) fn words_came(&mut self, now: Timestamp, peer: &Arc<Peer>, words: Vec<String>, own: bool) {
        if !own {
            let text =
                format!("{} wants to compare words with you: /verify {} shows them", peer.alias, peer.alias);
            self.announce(now, Grade::Warning, &text);
        }
        self.compare = Some((peer.clone(), words));
    }

    /// Both have said yes.
    pub(super) fn verified(&mut self, now: Timestamp, peer: &Peer) {
        self.compare.take_if(|(other, _)| other.peer_id == peer.peer_id);
        self.verified.retain(|other| other.peer_id != peer.peer_id);
        self.verified.push(Verified { peer_id: peer.peer_id, alias: peer.alias.clone(), at: now });
        self.announce(now, Grade::Info, &format!("{} is verified: this key is theirs", peer.alias));
    }

    /// Somebody is called as one whose key is known, and has another key: that is told loudly, once.
    pub(super) fn warn_of_other_key(&mut self, now: Timestamp, peer: &Peer) {
        let is_other = |verified: &&Verified| {
            verified.alias.as_str().eq_ignore_ascii_case(peer.alias.as_str())
                && verified.peer_id != peer.peer_id
        };
        let Some(known) = self.verified.iter().rev().find(is_other) else { return };
        if peer.peer_id == self.me || self.is_verified(&peer.peer_id) || !self.warned.insert(peer.peer_id) {
            return;
        }
        let text = format!(
            "{} is NOT the {} that you verified: this key is {}, that one {}. Ask who it is before you trust it",
            peer.alias,
            known.alias,
            peer.peer_id.short(),
            known.peer_id.short()
        );
        self.announce(now, Grade::Error, &text);
    }
}

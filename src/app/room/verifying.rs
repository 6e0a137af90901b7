//! Verified keys, as the room sees them: who is who, for good, and who is not.

use std::sync::Arc;

use super::{Grade, Room};
use crate::model::{Alias, Peer, PeerId, Timestamp, Verified};

impl Room {
    /// What the owner of this key was called when the person here verified it.
    #[must_use]
    pub fn verified_as(&self, peer: &PeerId) -> Option<&Alias> {
        self.verified.iter().find(|verified| verified.peer_id == *peer).map(|verified| &verified.alias)
    }

    /// The person here has verified this key under the name that it has now.
    #[must_use]
    pub fn is_verified(&self, peer: &Peer) -> bool {
        self.verified_as(&peer.peer_id).is_some_and(|alias| *alias == peer.alias)
    }

    /// Words are there to compare. What was asked for here is shown at once; what was not, when the person here wants it.
    pub(super) fn words_came(&mut self, now: Timestamp, peer: &Arc<Peer>, words: Vec<String>, own: bool) {
        let is_told = self.compare.as_ref().is_some_and(|(other, _)| other.peer_id == peer.peer_id);
        if !own && !is_told {
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

    /// Warns, once for each name, of a peer that has the name of a verified key and another key. That other key may itself be
    /// verified, under another name.
    pub(super) fn warn_of_other_key(&mut self, now: Timestamp, peer: PeerId, alias: &Alias) {
        let is_named = |verified: &Verified| verified.alias.as_str().eq_ignore_ascii_case(alias.as_str());
        let is_other = |verified: &&Verified| is_named(verified) && verified.peer_id != peer;
        let is_its_own = self.verified.iter().any(|verified| verified.peer_id == peer && is_named(verified));
        let Some(known) = self.verified.iter().rev().find(is_other) else { return };
        if peer == self.me || is_its_own || !self.warned.insert((peer, alias.clone())) {
            return;
        }
        let text = format!(
            "{alias} is NOT the {} that you verified: this key is {}, that one {}. Ask who it is before you trust it",
            known.alias,
            peer.short(),
            known.peer_id.short()
        );
        self.announce(now, Grade::Error, &text);
    }
}

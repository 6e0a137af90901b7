//! The members of the network, with a version and the host's signature (seed, "Set Distributions").
//!
//! The host changes it and sends whole rosters in pages or deltas; a member only ever takes on what the host has
//! signed, and asks for the whole again when a version is missing.

use std::collections::BTreeMap;

use crate::{
    model::{CloseReason, NetworkId, PeerId, RosterEntry, limits},
    security::{Identity, sign},
    wire::{Authenticated, Removal, RosterDelta, RosterPage},
};

/// What a change did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Who came, or changed.
    pub updated: Vec<RosterEntry>,
    /// Who went, and why.
    pub removed: Vec<(RosterEntry, CloseReason)>,
}

/// Why a roster was not taken on. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// A version is missing between what is here and what came.
    #[error("a version of the roster is missing")]
    Gap,
    /// The host's signature does not hold: the host's fault.
    #[error("the roster is not signed by the host")]
    NotSigned,
    /// More entries than announced or allowed: the host's fault.
    #[error("the roster is larger than announced")]
    TooLarge,
}

/// All members, by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roster {
    version: u64,
    entries: BTreeMap<PeerId, RosterEntry>,
    pending_updates: BTreeMap<PeerId, RosterEntry>,
    pending_removals: BTreeMap<PeerId, CloseReason>,
}

impl Roster {
    /// The version: counts changes.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// All entries, in the order of their keys.
    #[must_use]
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &RosterEntry> {
        self.entries.values()
    }

    /// One entry.
    #[must_use]
    pub fn get(&self, peer: &PeerId) -> Option<&RosterEntry> {
        self.entries.get(peer)
    }

    /// Member of a classic network: what its host says, which nobody signs.
    #[must_use]
    pub fn unsigned(version: u64, entries: Vec<RosterEntry>) -> Self {
        let entries = entries.into_iter().map(|entry| (entry.peer_id, entry)).collect();
        Self { version, entries, ..Self::default() }
    }

    /// All entries that there will be once pending changes are made.
    pub fn entries_to_be(&self) -> impl Iterator<Item = &RosterEntry> {
        let stays = |entry: &&RosterEntry| {
            let peer = &entry.peer_id;
            !self.pending_updates.contains_key(peer) && !self.pending_removals.contains_key(peer)
        };
        self.entries.values().filter(stays).chain(self.pending_updates.values())
    }

    /// Member: without the others, for one who is on its own.
    #[must_use]
    pub fn alone(&self, me: &PeerId) -> Self {
        let entries = self.entries.get(me).map(|entry| (*me, entry.clone())).into_iter().collect();
        Self { version: self.version, entries, ..Self::default() }
    }

    /// How many members there will be once pending changes are made.
    #[must_use]
    pub fn members_to_be(&self) -> usize {
        let new = self.pending_updates.keys().filter(|peer| !self.entries.contains_key(*peer)).count();
        let gone = self.pending_removals.keys().filter(|peer| self.entries.contains_key(*peer)).count();
        self.entries.len() + new - gone
    }

    /// True for a member, also one whose entry is pending.
    #[must_use]
    pub fn will_have(&self, peer: &PeerId) -> bool {
        self.pending_updates.contains_key(peer)
            || (self.entries.contains_key(peer) && !self.pending_removals.contains_key(peer))
    }

    /// Host: a member is to be added or changed with the next version.
    pub fn update(&mut self, entry: RosterEntry) {
        self.pending_removals.remove(&entry.peer_id);
        if self.entries.get(&entry.peer_id) == Some(&entry) {
            self.pending_updates.remove(&entry.peer_id);
        } else {
            self.pending_updates.insert(entry.peer_id, entry);
        }
    }

    /// Host: a member is to be removed with the next version.
    pub fn remove(&mut self, peer: PeerId, reason: CloseReason) {
        self.pending_updates.remove(&peer);
        if self.entries.contains_key(&peer) {
            self.pending_removals.insert(peer, reason);
        }
    }

    /// Host: true when there is something to distribute.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        !self.pending_updates.is_empty() || !self.pending_removals.is_empty()
    }

    /// Host: makes the next version of all pending changes, signed.
    pub fn commit(&mut self, host: &Identity, network: &NetworkId) -> (RosterDelta, Changes) {
        let from = self.version;
        let updated: Vec<RosterEntry> = std::mem::take(&mut self.pending_updates).into_values().collect();
        let removed: Vec<Removal> = std::mem::take(&mut self.pending_removals)
            .into_iter()
            .map(|(peer, reason)| Removal { peer, reason })
            .collect();
        let changes = self.change(&removed, &updated);
        self.version += 1;
        let signature = self.signature(host, network);
        (RosterDelta { from, to: self.version, removed, updated, signature }, changes)
    }

    /// Host: the signature over this version.
    #[must_use]
    pub fn signature(&self, host: &Identity, network: &NetworkId) -> [u8; 64] {
        sign::roster(host, network, self.version, self.entries.values())
    }

    /// Host: this version in pages that fit a frame.
    #[must_use]
    pub fn pages(&self) -> Vec<RosterPage> {
        let mut pages = Vec::new();
        let mut entries = Vec::new();
        let mut size = 0;
        for entry in self.entries.values() {
            let bytes = postcard::experimental::serialized_size(entry).unwrap_or(limits::ROSTER_PAGE_BYTES);
            if size + bytes > limits::ROSTER_PAGE_BYTES && !entries.is_empty() {
                pages.push(RosterPage { version: self.version, entries: std::mem::take(&mut entries) });
                size = 0;
            }
            size += bytes;
            entries.push(entry.clone());
        }
        pages.push(RosterPage { version: self.version, entries });
        pages
    }

    /// Member: takes on a delta.
    pub fn apply(
        &mut self,
        delta: &RosterDelta,
        host: &PeerId,
        network: &NetworkId,
    ) -> Result<Changes, RosterError> {
        if delta.from != self.version {
            return Err(RosterError::Gap);
        }
        let mut next = self.clone();
        let changes = next.change(&delta.removed, &delta.updated);
        next.version = delta.to;
        if next.entries.len() > limits::MEMBERS_MAX {
            return Err(RosterError::TooLarge);
        }
        let holds = sign::roster_holds(host, network, delta.to, next.entries.values(), &delta.signature);
        if !holds {
            return Err(RosterError::NotSigned);
        }
        *self = next;
        Ok(changes)
    }

    /// Member: takes on another roster as a whole. A peer that is no longer in it went while nobody looked.
    pub fn replace(&mut self, other: Self) -> Changes {
        let removed = self
            .entries
            .values()
            .filter(|entry| !other.entries.contains_key(&entry.peer_id))
            .map(|entry| (entry.clone(), CloseReason::ConnectionLost))
            .collect();
        let updated = other
            .entries
            .values()
            .filter(|entry| self.entries.get(&entry.peer_id) != Some(entry))
            .cloned()
            .collect();
        *self = other;
        Changes { updated, removed }
    }

    fn change(&mut self, removed: &[Removal], updated: &[RosterEntry]) -> Changes {
        let mut changes = Changes::default();
        for removal in removed {
            if let Some(entry) = self.entries.remove(&removal.peer) {
                changes.removed.push((entry, removal.reason));
            }
        }
        for entry in updated {
            self.entries.insert(entry.peer_id, entry.clone());
            changes.updated.push(entry.clone());
        }
        changes
    }
}

/// Member: a whole roster that is coming in, page by page.
#[derive(Debug)]
pub struct Assembly {
    header: Authenticated,
    entries: BTreeMap<PeerId, RosterEntry>,
}

impl Assembly {
    /// Expects what `header` announces.
    pub fn new(header: Authenticated) -> Result<Self, RosterError> {
        match usize::try_from(header.entries) {
            Ok(entries) if entries <= limits::MEMBERS_MAX => Ok(Self { header, entries: BTreeMap::new() }),
            _ => Err(RosterError::TooLarge),
        }
    }

    /// Takes a page. Gives the roster when it is complete and the host's signature holds.
    pub fn page(&mut self, page: RosterPage, host: &PeerId) -> Result<Option<Roster>, RosterError> {
        if page.version != self.header.version {
            return Err(RosterError::Gap);
        }
        self.entries.extend(page.entries.into_iter().map(|entry| (entry.peer_id, entry)));
        let announced = usize::try_from(self.header.entries).unwrap_or(0);
        if self.entries.len() > announced {
            return Err(RosterError::TooLarge);
        }
        if self.entries.len() < announced {
            return Ok(None);
        }
        let (version, network) = (self.header.version, &self.header.network.id);
        if !sign::roster_holds(host, network, version, self.entries.values(), &self.header.signature) {
            return Err(RosterError::NotSigned);
        }
        let entries = std::mem::take(&mut self.entries);
        Ok(Some(Roster { version, entries, ..Roster::default() }))
    }

    /// What was announced.
    #[must_use]
    pub fn header(&self) -> &Authenticated {
        &self.header
    }
}

#[cfg(test)]
mod tests;

//! The members of the network, with a version and the host's signature (seed, "Set Distributions").
//!
//! The host changes it and sends whole rosters in pages or deltas; a member only ever takes on what the host has
//! signed, and asks for the whole again when a version is missing.

use std::collections::BTreeMap;

use crate::{
    model::{
        Batch, CloseReason, Departed, NetworkId, PeerId, RosterEntry, Signature, Timestamp, Wire, limits,
    },
    security::{Identity, sign},
    wire::{Authenticated, Removal, RosterDelta, RosterPage},
};

/// What a change did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Who came, or is somewhere else.
    pub updated: Vec<RosterEntry>,
    /// Who is where it was, and has another name or says something else of itself.
    pub relabelled: Vec<RosterEntry>,
    /// Who went, and why.
    pub removed: Vec<(RosterEntry, CloseReason)>,
    /// Who was away, and was banned or kicked meanwhile.
    pub shut_out: Vec<(PeerId, CloseReason)>,
}

impl Changes {
    /// Notes an entry that is other than `before`.
    fn note(&mut self, before: Option<&RosterEntry>, entry: RosterEntry) {
        let is_relabelled = |before: &RosterEntry| {
            let (alias, status) = (entry.alias.clone(), entry.status.clone());
            RosterEntry { alias, status, ..before.clone() } == entry
        };
        if before.is_some_and(is_relabelled) {
            self.relabelled.push(entry);
        } else {
            self.updated.push(entry);
        }
    }
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
    /// Members of the past, and how far their words count.
    departed: BTreeMap<PeerId, Departed>,
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

    /// Host: begins where an earlier session ended.
    #[must_use]
    pub fn begun(version: u64, departed: Vec<Departed>) -> Self {
        let departed = departed.into_iter().map(|departed| (departed.peer, departed)).collect();
        Self { version, departed, ..Self::default() }
    }

    /// Host: begins after an earlier host, of whose members these are still to be looked after.
    #[must_use]
    pub fn begun_with(version: u64, entries: Vec<RosterEntry>, departed: Vec<Departed>) -> Self {
        let entries = entries.into_iter().map(|entry| (entry.peer_id, entry)).collect();
        Self { entries, ..Self::begun(version, departed) }
    }

    /// A member of the past.
    #[must_use]
    pub fn departed(&self, peer: &PeerId) -> Option<&Departed> {
        self.departed.get(peer)
    }

    /// True for somebody who is away, and whom the host has not removed.
    #[must_use]
    pub fn is_expected(&self, peer: &PeerId) -> bool {
        self.departed.get(peer).is_some_and(|departed| !departed.is_out)
    }

    /// Members of the past, in the order of their keys.
    #[must_use]
    pub fn all_departed(&self) -> impl ExactSizeIterator<Item = &Departed> {
        self.departed.values()
    }

    /// True when a batch to everyone counts: its author is a member, or said it before it went, as the host knows.
    #[must_use]
    pub fn counts(&self, batch: &Batch) -> bool {
        let author = &batch.stream.author;
        self.entries.contains_key(author)
            || self
                .departed
                .get(author)
                .is_some_and(|departed| departed.counts(batch.stream.epoch, batch.last()))
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

    /// Member: this roster without the others, for a member that is on its own.
    #[must_use]
    pub fn alone(&self, me: &PeerId) -> Self {
        let entries = self.entries.get(me).map(|entry| (*me, entry.clone())).into_iter().collect();
        Self { version: self.version, entries, departed: self.departed.clone(), ..Self::default() }
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

    /// Host: a member is to be removed with the next version. One that is away is waited for no more.
    pub fn remove(&mut self, peer: PeerId, reason: CloseReason) {
        self.pending_updates.remove(&peer);
        if self.entries.contains_key(&peer) || reason.is_removal() && self.is_expected(&peer) {
            self.pending_removals.insert(peer, reason);
        }
    }

    /// Host: true when there is something to distribute.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        !self.pending_updates.is_empty() || !self.pending_removals.is_empty()
    }

    /// Host: makes the next version of all pending changes, signed. `departed` gives how far the words of somebody count
    /// who goes `now`.
    pub fn commit(
        &mut self,
        host: &Identity,
        network: &NetworkId,
        now: Timestamp,
        departed: impl Fn(&PeerId) -> Departed,
    ) -> (RosterDelta, Changes) {
        let from = self.version;
        let updated: Vec<RosterEntry> = std::mem::take(&mut self.pending_updates).into_values().collect();
        let removed: Vec<Removal> = std::mem::take(&mut self.pending_removals)
            .into_iter()
            .map(|(peer, reason)| Removal { peer, reason })
            .collect();
        let native = removed.iter().filter(|removal| removal.peer.wire() == Wire::Native);
        let departed = native.map(|removal| {
            let (peer, is_out) = (&removal.peer, removal.reason.is_removal());
            match (self.entries.get(peer), self.departed.get(peer)) {
                // What it had said when it went counts.
                (None, Some(before)) => Departed { is_out, ..before.clone() },
                (entry, _) => {
                    Departed { alias: entry.map(|entry| entry.alias.clone()), is_out, ..departed(peer) }
                }
            }
        });
        let departed = departed.collect();
        let to = from + 1;
        let mut delta = RosterDelta { from, to, removed, updated, departed, signature: Signature([0; 64]) };
        delta.signature = sign::roster_delta(host, network, &delta.signed_bytes());
        let changes = self.change(&delta);
        // After that time nobody asks any more for their messages.
        let oldest =
            now.0.saturating_sub(i64::try_from(limits::DEPARTED_FOR.as_micros()).unwrap_or(i64::MAX));
        self.departed.retain(|_, departed| departed.at.0 >= oldest);
        (delta, changes)
    }

    /// Host: the signature over this version.
    #[must_use]
    pub fn signature(&self, host: &Identity, network: &NetworkId) -> Signature {
        sign::roster(host, network, self.version, self.entries.values(), self.departed.values())
    }

    /// Host: this version in pages that fit a frame.
    #[must_use]
    pub fn pages(&self) -> Vec<RosterPage> {
        let empty = || RosterPage { version: self.version, entries: Vec::new(), departed: Vec::new() };
        let mut pages = Vec::new();
        let (mut page, mut size) = (empty(), 0);
        for entry in self.entries.values() {
            make_room(&mut pages, &mut page, &mut size, bytes_of(entry), empty);
            page.entries.push(entry.clone());
        }
        for departed in self.departed.values() {
            make_room(&mut pages, &mut page, &mut size, bytes_of(departed), empty);
            page.departed.push(departed.clone());
        }
        pages.push(page);
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
        let members = delta.removed.iter().filter(|removal| self.entries.contains_key(&removal.peer));
        if self.entries.len() + delta.updated.len() > limits::MEMBERS_MAX + members.count() {
            return Err(RosterError::TooLarge);
        }
        if !sign::roster_delta_holds(host, network, &delta.signed_bytes(), &delta.signature) {
            return Err(RosterError::NotSigned);
        }
        Ok(self.change(delta))
    }

    /// Member: takes on another roster as a whole. A peer that is no longer in it went while nobody looked.
    pub fn replace(&mut self, other: Self) -> Changes {
        let gone = self.entries.values().filter(|entry| !other.entries.contains_key(&entry.peer_id));
        let removed = gone.map(|entry| (entry.clone(), CloseReason::ConnectionLost)).collect();
        let mut changes = Changes { removed, ..Changes::default() };
        let was_out = |peer| self.departed.get(peer).is_some_and(|departed| departed.is_out);
        let are_out = other.departed.values().filter(|departed| departed.is_out && !was_out(&departed.peer));
        // Whether it was banned or kicked is not told any more.
        changes.shut_out = are_out.map(|departed| (departed.peer, CloseReason::Kicked)).collect();
        for entry in other.entries.values() {
            let before = self.entries.get(&entry.peer_id);
            if before != Some(entry) {
                changes.note(before, entry.clone());
            }
        }
        *self = other;
        changes
    }

    fn change(&mut self, delta: &RosterDelta) -> Changes {
        self.version = delta.to;
        let mut changes = Changes::default();
        for removal in &delta.removed {
            match self.entries.remove(&removal.peer) {
                Some(entry) => changes.removed.push((entry, removal.reason)),
                None if self.is_expected(&removal.peer) => {
                    changes.shut_out.push((removal.peer, removal.reason));
                }
                None => {}
            }
        }
        for departed in &delta.departed {
            self.departed.insert(departed.peer, departed.clone());
        }
        for entry in &delta.updated {
            let before = self.entries.insert(entry.peer_id, entry.clone());
            self.departed.remove(&entry.peer_id);
            changes.note(before.as_ref(), entry.clone());
        }
        while self.departed.len() > limits::DEPARTED {
            let oldest =
                self.departed.values().min_by_key(|departed| departed.at).map(|departed| departed.peer);
            let Some(oldest) = oldest else { break };
            self.departed.remove(&oldest);
        }
        changes
    }
}

fn bytes_of(item: &impl serde::Serialize) -> usize {
    postcard::to_stdvec(item).map_or(limits::ROSTER_PAGE_BYTES, |bytes| bytes.len())
}

/// Begins another page where this one has no room for so many bytes.
fn make_room(
    pages: &mut Vec<RosterPage>,
    page: &mut RosterPage,
    size: &mut usize,
    bytes: usize,
    empty: impl Fn() -> RosterPage,
) {
    if *size > 0 && *size + bytes > limits::ROSTER_PAGE_BYTES {
        pages.push(std::mem::replace(page, empty()));
        *size = 0;
    }
    *size += bytes;
}

/// Member: a whole roster that is coming in, page by page.
#[derive(Debug)]
pub struct Assembly {
    header: Authenticated,
    entries: BTreeMap<PeerId, RosterEntry>,
    departed: BTreeMap<PeerId, Departed>,
}

impl Assembly {
    /// Expects what `header` announces.
    pub fn new(header: Authenticated) -> Result<Self, RosterError> {
        match (usize::try_from(header.entries), usize::try_from(header.departed)) {
            (Ok(entries), Ok(departed)) if entries <= limits::MEMBERS_MAX && departed <= limits::DEPARTED => {
                Ok(Self { header, entries: BTreeMap::new(), departed: BTreeMap::new() })
            }
            _ => Err(RosterError::TooLarge),
        }
    }

    /// Takes a page. Gives the roster when it is complete and the host's signature holds.
    pub fn page(&mut self, page: RosterPage, host: &PeerId) -> Result<Option<Roster>, RosterError> {
        if page.version != self.header.version {
            return Err(RosterError::Gap);
        }
        self.entries.extend(page.entries.into_iter().map(|entry| (entry.peer_id, entry)));
        self.departed.extend(page.departed.into_iter().map(|departed| (departed.peer, departed)));
        let announced = (self.header.entries, self.header.departed);
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let here = (number(self.entries.len()), number(self.departed.len()));
        if here.0 > announced.0 || here.1 > announced.1 {
            return Err(RosterError::TooLarge);
        }
        if here != announced {
            return Ok(None);
        }
        let (version, network) = (self.header.version, &self.header.network.id);
        let (entries, departed) = (self.entries.values(), self.departed.values());
        if !sign::roster_holds(host, network, version, entries, departed, &self.header.signature) {
            return Err(RosterError::NotSigned);
        }
        let (entries, departed) = (std::mem::take(&mut self.entries), std::mem::take(&mut self.departed));
        Ok(Some(Roster { version, entries, departed, ..Roster::default() }))
    }

    /// What was announced.
    #[must_use]
    pub fn header(&self) -> &Authenticated {
        &self.header
    }
}

#[cfg(test)]
mod tests;

//! Who can open a link to whom: what the host collects, and what it tells the members.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    model::{CloseReason, PeerId, Reached, Unreachable, limits},
    wire::{ByteBuf, ReachabilityPart, Tried},
};

/// Who reaches whom: by who tried, and whom.
#[derive(Debug, Clone, Default)]
pub(super) struct Reachability {
    none: BTreeMap<(PeerId, PeerId), CloseReason>,
    reached: BTreeMap<PeerId, BTreeSet<PeerId>>,
    /// `none` changed since the members were last told.
    is_changed: bool,
}

impl Reachability {
    /// A peer has tried another.
    pub(super) fn note(&mut self, from: PeerId, tried: Tried) {
        let way = (from, tried.peer);
        if let Some(reason) = tried.why_not {
            self.is_changed |= self.none.insert(way, reason) != Some(reason);
            if let Some(reached) = self.reached.get_mut(&from) {
                reached.remove(&tried.peer);
            }
        } else {
            self.is_changed |= self.none.remove(&way).is_some();
            self.reached.entry(from).or_default().insert(tried.peer);
        }
    }

    /// A peer went, or has new addresses.
    pub(super) fn forget(&mut self, peer: &PeerId) {
        let before = self.none.len();
        self.none.retain(|(from, to), _| from != peer && to != peer);
        self.is_changed |= before != self.none.len();
        self.reached.remove(peer);
        for reached in self.reached.values_mut() {
            reached.remove(peer);
        }
    }

    /// Member: what the host says.
    pub(super) fn replace(&mut self, ways: Vec<Unreachable>) {
        self.none = ways.into_iter().map(|way| ((way.from, way.to), way.reason)).collect();
    }

    /// Why one peer cannot reach the other; nothing when it can, or when that is not known.
    pub(super) fn why_not(&self, from: PeerId, to: PeerId) -> Option<CloseReason> {
        self.none.get(&(from, to)).copied()
    }

    /// True once after something changed.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    pub(super) fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// Who cannot reach whom: at most [`limits::UNREACHABLE`] pairs.
    pub(super) fn unreachable(&self) -> Vec<Unreachable> {
        let way = |((from, to), reason): (&(PeerId, PeerId), &CloseReason)| Unreachable {
            from: *from,
            to: *to,
            reason: *reason,
        };
        self.none.iter().take(limits::UNREACHABLE).map(way).collect()
    }

    /// Who has reached whom.
    pub(super) fn reached(&self) -> Vec<Reached> {
        let row = |(from, reached): (&PeerId, &BTreeSet<PeerId>)| Reached {
            from: *from,
            reached: reached.iter().copied().collect(),
        };
        self.reached.iter().map(row).collect()
    }

    /// The same in parts that fit a frame, for members that know this version of the roster.
    pub(super) fn parts(&self, version: u64, members: &[PeerId]) -> Vec<ReachabilityPart> {
        let place = |peer: &PeerId| members.binary_search(peer).ok();
        let row = |(from, reached): (&PeerId, &BTreeSet<PeerId>)| {
            let mut bits = vec![0; members.len().div_ceil(8)];
            for at in reached.iter().filter_map(place) {
                if let Some(byte) = bits.get_mut(at / 8) {
                    *byte |= 1 << (at % 8);
                }
            }
            Some((u16::try_from(place(from)?).ok()?, ByteBuf(bits)))
        };
        let rows: Vec<(u16, ByteBuf)> = self.reached.iter().filter_map(row).collect();
        let size = members.len().div_ceil(8) + 4;
        let chunks: Vec<_> = rows.chunks((limits::ROSTER_PAGE_BYTES / size).max(1)).collect();
        let last = chunks.len().saturating_sub(1);
        let part = |(at, rows): (usize, &&[(u16, ByteBuf)])| ReachabilityPart {
            version,
            rows: rows.to_vec(),
            is_last: at == last,
        };
        if chunks.is_empty() {
            return vec![ReachabilityPart { version, rows: Vec::new(), is_last: true }];
        }
        chunks.iter().enumerate().map(part).collect()
    }
}

/// Member: reads rows that the host sent.
pub(super) fn read(rows: &[(u16, ByteBuf)], members: &[PeerId]) -> Vec<Reached> {
    let row = |(from, ByteBuf(bits)): &(u16, ByteBuf)| {
        let is_set = |at: usize| bits.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1);
        let reached = members.iter().enumerate().filter(|(at, _)| is_set(*at)).map(|(_, peer)| *peer);
        Some(Reached { from: *members.get(usize::from(*from))?, reached: reached.collect() })
    };
    rows.iter().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_out_travels_in_bits() {
        let members: Vec<PeerId> = (0..20).map(|number| PeerId([number; 32])).collect();
        let mut book = Reachability::default();
        for (from, to) in [(0, 1), (0, 19), (7, 8), (19, 0)] {
            book.note(members[from], Tried { peer: members[to], why_not: None });
        }
        book.note(members[3], Tried { peer: members[4], why_not: Some(CloseReason::NoAnswer) });
        assert!(book.take_changed());
        let parts = book.parts(5, &members);
        assert_eq!(parts.len(), 1);
        assert!(parts[0].is_last && parts[0].version == 5);
        assert_eq!(read(&parts[0].rows, &members), book.reached());
        assert_eq!(book.unreachable().len(), 1);
        book.note(members[3], Tried { peer: members[4], why_not: None });
        assert!(book.take_changed() && book.unreachable().is_empty());
        book.forget(&members[0]);
        assert_eq!(book.reached().iter().map(|row| row.reached.len()).sum::<usize>(), 2, "7 to 8, 3 to 4");
    }

    #[test]
    fn a_thousand_members_take_several_parts() {
        let id = |number: u16| {
            let mut bytes = [0; 32];
            bytes[..2].copy_from_slice(&number.to_be_bytes());
            PeerId(bytes)
        };
        let members: Vec<PeerId> = (0..1000).map(id).collect();
        let mut book = Reachability::default();
        for number in 0..1000 {
            book.note(id(number), Tried { peer: id(999 - number), why_not: None });
        }
        let parts = book.parts(1, &members);
        assert!(parts.len() > 1);
        for part in &parts {
            assert!(crate::wire::Frame::ReachabilityPart(part.clone()).encode().len() <= limits::FRAME_AFTER);
        }
        let all: Vec<Reached> = parts.iter().flat_map(|part| read(&part.rows, &members)).collect();
        assert_eq!(all, book.reached());
    }

    #[test]
    fn rows_that_name_nobody_are_passed_over() {
        assert_eq!(read(&[(700, ByteBuf(vec![255; 300]))], &[PeerId([1; 32])]), []);
    }
}

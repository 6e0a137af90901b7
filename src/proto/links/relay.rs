//! Relays: a third member passes on the bytes of the peer link of two members that cannot reach each other.
//!
//! The relay cannot read the bytes. Once it has a link to the far end it holds none of them back, and it never has more of
//! them than the windows allow. The two ends run their usual TLS handshake through it, so that it proves nothing and learns
//! nothing.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rand_core::RngCore as _;

use super::{Links, Timer};
use crate::{
    model::{CloseReason, PeerId, Wire, limits},
    proto::{ConnId, LinkKind, Output, RelayedId, group::Group},
    wire::{Frame, RelayBytes, RelayClosed, RelayTaken, RelayedLink},
};

/// One side of a relayed link: a number on a link.
type Side = (ConnId, u32);

/// Where what comes from a side goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// To the other side: this node is the relay.
    On(Side),
    /// To this node, which is one of the ends.
    Here(RelayedId),
    /// To the other side, once there is a link to the far end.
    Soon,
}

#[derive(Debug)]
struct Hop {
    to: Way,
    /// What came before there was a link to the far end.
    held: Vec<Bytes>,
    /// Frames that came from this side and were not taken yet.
    untaken: u32,
    /// Frames that went to this side and were not taken yet.
    on_the_way: u32,
}

impl Hop {
    fn new(to: Way) -> Self {
        Self { to, held: Vec::new(), untaken: 0, on_the_way: 0 }
    }
}

/// An end of a relayed link that is here.
#[derive(Debug)]
struct End {
    side: Side,
    far: PeerId,
    /// This node has opened it.
    is_ours: bool,
}

/// Who waits for a link to the relay, or to the far end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// This node, for a link to the relay: it wants to reach this peer.
    Ours(PeerId),
    /// Another peer, for a link from here to the far end.
    Theirs(Side, PeerId),
}

/// All relayed links of a node.
#[derive(Debug, Default)]
pub(super) struct Relays {
    hops: BTreeMap<Side, Hop>,
    ends: BTreeMap<RelayedId, End>,
    next: u64,
    /// The last number of a relayed link on each link.
    numbers: BTreeMap<ConnId, u32>,
    /// Who was asked in vain to relay the link to a peer.
    tried: BTreeMap<PeerId, BTreeSet<PeerId>>,
}

impl Links {
    /// Looks for a relay to a peer. False when no member could be one.
    pub(super) fn relay_to(&mut self, group: &Group, peer: PeerId) -> bool {
        let is_under_way = self.relays.ends.values().any(|end| end.is_ours && end.far == peer)
            || self.peers.values().any(|state| state.waiting.contains(&Waiting::Ours(peer)));
        if is_under_way {
            return true;
        }
        // What has changed meanwhile is soonest seen at the host.
        if self.relays.tried.get(&peer).is_some_and(|tried| tried.len() >= limits::RELAYS) {
            self.forget_relays(&peer);
        }
        let Some(relay) = self.choose_relay(group, peer) else {
            // From the beginning, the next time.
            self.forget_relays(&peer);
            return false;
        };
        self.relays.tried.entry(peer).or_default().insert(relay);
        self.with_link(group, relay, Waiting::Ours(peer));
        true
    }

    /// The host, or else somebody of whom it is not known that the way here or there is closed.
    fn choose_relay(&mut self, group: &Group, peer: PeerId) -> Option<PeerId> {
        let me = group.me();
        let tried = self.relays.tried.get(&peer);
        let blocked = |one: PeerId, other: PeerId| {
            group.reachability.why_not(one, other).is_some()
                && group.reachability.why_not(other, one).is_some()
        };
        let could = |other: &PeerId| {
            *other != me
                && *other != peer
                && other.wire() == Wire::Native
                && tried.is_none_or(|tried| !tried.contains(other))
                && !blocked(me, *other)
                && !blocked(*other, peer)
        };
        let candidates: Vec<PeerId> =
            group.roster.entries().map(|entry| entry.peer_id).filter(could).collect();
        if let Some(host) = group.host().filter(|host| candidates.contains(host)) {
            return Some(host);
        }
        let count = u32::try_from(candidates.len()).unwrap_or(u32::MAX);
        let at = self.turn.rng.next_u32().checked_rem(count)?;
        candidates.get(usize::try_from(at).ok()?).copied()
    }

    /// Does what waits for a link to a peer, now or when there is one.
    fn with_link(&mut self, group: &Group, peer: PeerId, waiting: Waiting) {
        let state = self.peers.entry(peer).or_default();
        let is_full = state.waiting.len() >= limits::RELAYED_PER_LINK;
        if !is_full {
            state.waiting.push(waiting);
        }
        if is_full {
            self.refuse(waiting, CloseReason::Busy);
        } else if self.peers.get(&peer).is_some_and(|state| !state.links.is_empty()) {
            self.open_waiting(peer);
        } else if group.is_member(&peer) {
            self.want(group, peer);
        }
    }

    /// A direct link to a peer.
    fn direct_link(&self, peer: &PeerId) -> Option<ConnId> {
        let is_direct = |conn: &&ConnId| self.by_conn.get(conn).is_some_and(|link| link.via.is_none());
        self.peers.get(peer)?.links.iter().find(is_direct).copied()
    }

    /// There is a link to a peer: relayed links that waited for it go on.
    pub(super) fn open_waiting(&mut self, peer: PeerId) {
        // A relayed link relays nothing itself.
        let Some(conn) = self.direct_link(&peer) else { return self.refuse_waiting(peer) };
        let waiting = self.peers.get_mut(&peer).map(|state| std::mem::take(&mut state.waiting));
        for waiting in waiting.unwrap_or_default() {
            let is_full = self.relayed_over(conn) >= limits::RELAYED_PER_LINK;
            let open = self.relays.hops.values().filter(|hop| hop.to != Way::Soon).count();
            if is_full || open >= 2 * limits::RELAYED {
                self.refuse(waiting, CloseReason::Busy);
                continue;
            }
            let number = self.next_relayed(conn);
            match waiting {
                Waiting::Ours(far) => {
                    self.turn.send(conn, &Frame::RelayOpen(RelayedLink { number, peer: far }));
                    self.end_here((conn, number), far, true);
                }
                Waiting::Theirs(side, from) => {
                    let Some(hop) = self.relays.hops.get_mut(&side) else { continue };
                    hop.to = Way::On((conn, number));
                    let held = std::mem::take(&mut hop.held);
                    self.turn.send(conn, &Frame::RelayOpened(RelayedLink { number, peer: from }));
                    self.relays.hops.insert((conn, number), Hop::new(Way::On(side)));
                    for bytes in &held {
                        self.pass_on((conn, number), bytes);
                    }
                }
            }
        }
    }

    /// There is no link to a peer: relayed links that waited for it come to nothing.
    pub(super) fn refuse_waiting(&mut self, peer: PeerId) {
        let waiting = self.peers.get_mut(&peer).map(|state| std::mem::take(&mut state.waiting));
        for waiting in waiting.unwrap_or_default() {
            self.refuse(waiting, CloseReason::Unreachable);
        }
    }

    fn refuse(&mut self, waiting: Waiting, reason: CloseReason) {
        match waiting {
            Waiting::Ours(far) => self.not_carried(far),
            Waiting::Theirs(side, _) => self.close_relayed(side, reason),
        }
    }

    /// The relay did not reach the far end, or is gone: another one may, a moment later.
    fn not_carried(&mut self, far: PeerId) {
        if self.peers.get(&far).is_some_and(|state| state.links.is_empty()) {
            self.turn.set(Timer::Direct(far), limits::BACKOFF_FIRST);
        }
    }

    /// Both sides of a link count: who dialled it evenly, the other one oddly.
    fn next_relayed(&mut self, conn: ConnId) -> u32 {
        let is_dialler = self.by_conn.get(&conn).is_some_and(|link| link.kind == LinkKind::PeerOut);
        let first = u32::from(!is_dialler);
        let number = self.relays.numbers.get(&conn).map_or(first, |last| last.wrapping_add(2));
        self.relays.numbers.insert(conn, number);
        number
    }

    /// One end of a relayed link is this node.
    fn end_here(&mut self, side: Side, far: PeerId, is_ours: bool) {
        self.relays.next += 1;
        let relayed = RelayedId(self.relays.next);
        self.relays.hops.insert(side, Hop::new(Way::Here(relayed)));
        self.relays.ends.insert(relayed, End { side, far, is_ours });
        let Some(link) = self.by_conn.get(&side.0) else { return };
        let (relay, remote, to) = (link.peer, link.remote, is_ours.then_some(far));
        self.turn.ask(Output::OpenRelayed { relayed, relay, remote, to });
    }

    /// A frame about relayed links came over a link.
    pub(super) fn relayed_frame(&mut self, group: &Group, conn: ConnId, frame: Frame) {
        let Some(link) = self.by_conn.get_mut(&conn) else { return };
        link.used = self.turn.now.instant;
        let peer = link.peer;
        match frame {
            Frame::RelayOpen(RelayedLink { number, peer: far }) => {
                self.asked_to_carry(group, (conn, number), peer, far);
            }
            Frame::RelayOpened(RelayedLink { number, peer: far }) => {
                self.called_through(group, (conn, number), far);
            }
            Frame::RelayBytes(RelayBytes { number, bytes }) => {
                self.relay_bytes((conn, number), bytes.into());
            }
            Frame::RelayTaken(RelayTaken { number, frames }) => {
                self.far_end_took((conn, number), frames);
            }
            Frame::RelayClosed(RelayClosed { number, reason }) => {
                self.end_side((conn, number), reason);
            }
            _ => {}
        }
    }

    /// True for a number that the other side of a link may use for a new relayed link.
    fn is_theirs(&self, side: Side) -> bool {
        let is_dialler = self.by_conn.get(&side.0).is_some_and(|link| link.kind == LinkKind::PeerOut);
        side.1.is_multiple_of(2) != is_dialler && !self.relays.hops.contains_key(&side)
    }

    /// Relayed links over a link, and those that wait for one to their far end.
    fn relayed_over(&self, conn: ConnId) -> usize {
        self.relays.hops.keys().filter(|(over, _)| *over == conn).count()
    }

    /// Relayed links that wait for a link to their far end: altogether, and those over one link.
    fn waiting_relayed(&self, conn: ConnId) -> (usize, usize) {
        let waiting = self.relays.hops.iter().filter(|(_, hop)| hop.to == Way::Soon);
        waiting.fold((0, 0), |(all, over), (side, _)| (all + 1, over + usize::from(side.0 == conn)))
    }

    fn asked_to_carry(&mut self, group: &Group, side: Side, from: PeerId, far: PeerId) {
        let waiting = self.waiting_relayed(side.0);
        let reason = if !self.is_theirs(side) {
            CloseReason::ProtocolError
        } else if far == from || far == group.me() || far.wire() == Wire::Classic || !group.is_member(&far) {
            CloseReason::NotAMember
        } else if self.relayed_over(side.0) >= limits::RELAYED_PER_LINK
            || waiting.0 >= limits::RELAYED_WAITING
            || waiting.1 >= limits::RELAYED_WAITING_PER_LINK
        {
            CloseReason::Busy
        } else {
            self.relays.hops.insert(side, Hop::new(Way::Soon));
            return self.with_link(group, far, Waiting::Theirs(side, from));
        };
        self.turn.send(side.0, &Frame::RelayClosed(RelayClosed { number: side.1, reason }));
    }

    fn called_through(&mut self, group: &Group, side: Side, far: PeerId) {
        if self.is_theirs(side)
            && far != group.me()
            && group.is_member(&far)
            && self.relayed_over(side.0) < limits::RELAYED_PER_LINK
        {
            return self.end_here(side, far, false);
        }
        let reason = CloseReason::NotAMember;
        self.turn.send(side.0, &Frame::RelayClosed(RelayClosed { number: side.1, reason }));
    }

    fn relay_bytes(&mut self, side: Side, bytes: Bytes) {
        // What crossed with the end of the relayed link is nobody's fault.
        let Some(hop) = self.relays.hops.get_mut(&side) else { return };
        hop.untaken += 1;
        if hop.untaken > limits::RELAYED_WINDOW || bytes.is_empty() || bytes.len() > limits::RELAYED_BYTES {
            return self.close_relayed(side, CloseReason::ProtocolError);
        }
        match hop.to {
            Way::Here(relayed) => self.turn.ask(Output::FeedRelayed(relayed, bytes)),
            Way::On(other) => self.pass_on(other, &bytes),
            Way::Soon => hop.held.push(bytes),
        }
    }

    fn pass_on(&mut self, (conn, number): Side, bytes: &Bytes) {
        if let Some(link) = self.by_conn.get_mut(&conn) {
            link.used = self.turn.now.instant;
        }
        if let Some(hop) = self.relays.hops.get_mut(&(conn, number)) {
            hop.on_the_way += 1;
        }
        self.turn.send(conn, &Frame::RelayBytes(RelayBytes { number, bytes: bytes.to_vec() }));
        self.expect_answer(conn);
    }

    /// True while something went over a link that its other side has not taken.
    pub(super) fn is_carrying(&self, conn: ConnId) -> bool {
        let on_link = |((over, _), hop): (&Side, &Hop)| *over == conn && hop.on_the_way > 0;
        self.relays.hops.iter().any(on_link)
    }

    fn far_end_took(&mut self, side: Side, frames: u32) {
        let Some(hop) = self.relays.hops.get_mut(&side) else { return };
        let Some(on_the_way) = hop.on_the_way.checked_sub(frames) else {
            return self.close_relayed(side, CloseReason::ProtocolError);
        };
        hop.on_the_way = on_the_way;
        match hop.to {
            Way::Here(relayed) => self.turn.ask(Output::CreditRelayed(relayed, frames)),
            Way::On(other) => self.taken(other, frames),
            // Nothing went there yet, so that nothing can have been taken.
            Way::Soon => {}
        }
    }

    /// What came from a side was taken: more may come.
    fn taken(&mut self, side: Side, frames: u32) {
        let Some(hop) = self.relays.hops.get_mut(&side) else { return };
        match hop.untaken.checked_sub(frames) {
            Some(untaken) => {
                hop.untaken = untaken;
                self.turn.send(side.0, &Frame::RelayTaken(RelayTaken { number: side.1, frames }));
            }
            None => self.close_relayed(side, CloseReason::ProtocolError),
        }
    }

    /// The session at an end that is here has written something.
    pub(in crate::proto) fn relayed_bytes(&mut self, relayed: RelayedId, bytes: &Bytes) {
        if let Some(side) = self.relays.ends.get(&relayed).map(|end| end.side) {
            self.pass_on(side, bytes);
        }
    }

    /// The session at an end that is here has read something.
    pub(in crate::proto) fn relayed_taken(&mut self, relayed: RelayedId, frames: u32) {
        if let Some(side) = self.relays.ends.get(&relayed).map(|end| end.side) {
            self.taken(side, frames);
        }
    }

    /// The session at an end that is here is over.
    pub(in crate::proto) fn relayed_ended(&mut self, relayed: RelayedId) {
        if let Some(side) = self.relays.ends.get(&relayed).map(|end| end.side) {
            self.close_relayed(side, CloseReason::Left);
        }
    }

    /// Ends a relayed link from here, to both sides.
    fn close_relayed(&mut self, side: Side, reason: CloseReason) {
        self.turn.send(side.0, &Frame::RelayClosed(RelayClosed { number: side.1, reason }));
        self.end_side(side, reason);
    }

    /// A side of a relayed link is no more: neither is the other.
    fn end_side(&mut self, side: Side, reason: CloseReason) {
        let Some(hop) = self.relays.hops.remove(&side) else { return };
        match hop.to {
            Way::On((conn, number)) => {
                self.relays.hops.remove(&(conn, number));
                self.turn.send(conn, &Frame::RelayClosed(RelayClosed { number, reason }));
            }
            Way::Here(relayed) => {
                self.turn.ask(Output::CloseRelayed(relayed));
                if let Some(end) = self.relays.ends.remove(&relayed).filter(|end| end.is_ours) {
                    self.not_carried(end.far);
                }
            }
            Way::Soon => {
                let waits = |other: &Waiting| !matches!(other, Waiting::Theirs(over, _) if *over == side);
                for state in self.peers.values_mut() {
                    state.waiting.retain(waits);
                }
            }
        }
    }

    /// A link is gone, and every relayed link over it.
    pub(super) fn end_relayed(&mut self, conn: ConnId) {
        self.relays.numbers.remove(&conn);
        let sides: Vec<Side> = self.relays.hops.keys().filter(|(over, _)| *over == conn).copied().collect();
        for side in sides {
            self.end_side(side, CloseReason::ConnectionLost);
        }
    }

    /// A relayed link is up, or a better one: nobody else needs to be tried.
    pub(super) fn forget_relays(&mut self, peer: &PeerId) {
        self.relays.tried.remove(peer);
    }
}

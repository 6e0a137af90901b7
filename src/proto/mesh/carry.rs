//! Circuits: the peer link of two members that cannot reach each other, inside the peer links of a third.
//!
//! The carrier hands on bytes that it cannot read, holds none of them back once it has a link to the far end, and never
//! has more of them than the windows allow. The ends run the same handshake as ever: whoever carries proves nothing and learns nothing.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rand_core::RngCore as _;

use super::Mesh;
use crate::{
    model::{CloseReason, PeerId, Wire, limits},
    proto::{
        CircuitId, ConnId, LinkKind, Output,
        core::{Core, Timer},
    },
    wire::{CarryBytes, CarryClosed, CarryTaken, Circuit, Frame},
};

/// One side of a circuit: a number on a link.
type Side = (ConnId, u32);

/// Where what comes from a side goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// To the other side: this node is the carrier.
    On(Side),
    /// To this node, which is one of the ends.
    Here(CircuitId),
    /// To the other side, once there is a link to the far end.
    Soon,
}

#[derive(Debug)]
struct Leg {
    to: Way,
    /// What came before there was a link to the far end.
    held: Vec<Bytes>,
    /// Frames that came from this side and were not taken yet.
    untaken: u32,
    /// Frames that went to this side and were not taken yet.
    on_the_way: u32,
}

impl Leg {
    fn new(to: Way) -> Self {
        Self { to, held: Vec::new(), untaken: 0, on_the_way: 0 }
    }
}

/// An end of a circuit that is here.
#[derive(Debug)]
struct End {
    side: Side,
    far: PeerId,
    /// This node has opened it.
    is_ours: bool,
}

/// Who waits until there is a link to the one who is to carry, or to the far end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// This node, for a link to the carrier: it wants to reach this peer.
    Ours(PeerId),
    /// Another peer, for a link from here to the far end.
    Theirs(Side, PeerId),
}

/// All circuits of a node.
#[derive(Debug, Default)]
pub(super) struct Circuits {
    legs: BTreeMap<Side, Leg>,
    ends: BTreeMap<CircuitId, End>,
    next: u64,
    /// The last number of a circuit on each link.
    numbers: BTreeMap<ConnId, u32>,
    /// Who was asked in vain to carry the link to a peer.
    tried: BTreeMap<PeerId, BTreeSet<PeerId>>,
}

impl Mesh {
    /// Has somebody carry the link to a peer. False when there is nobody who could.
    pub(super) fn carry_to(&mut self, core: &mut Core, peer: PeerId) -> bool {
        let is_under_way = self.circuits.ends.values().any(|end| end.is_ours && end.far == peer)
            || self.peers.values().any(|state| state.waiting.contains(&Waiting::Ours(peer)));
        if is_under_way {
            return true;
        }
        // What has changed meanwhile is soonest seen at the host.
        if self.circuits.tried.get(&peer).is_some_and(|tried| tried.len() >= limits::CARRIERS) {
            self.forget_carriers(&peer);
        }
        let Some(carrier) = self.choose_carrier(core, peer) else {
            // From the beginning, the next time.
            self.forget_carriers(&peer);
            return false;
        };
        self.circuits.tried.entry(peer).or_default().insert(carrier);
        self.with_link(core, carrier, Waiting::Ours(peer));
        true
    }

    /// The host, or else somebody of whom it is not known that the way here or there is closed.
    fn choose_carrier(&self, core: &mut Core, peer: PeerId) -> Option<PeerId> {
        let me = core.me();
        let tried = self.circuits.tried.get(&peer);
        let blocked = |one: PeerId, other: PeerId| {
            core.ways.why_not(one, other).is_some() && core.ways.why_not(other, one).is_some()
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
            core.roster.entries().map(|entry| entry.peer_id).filter(could).collect();
        if let Some(host) = core.host().filter(|host| candidates.contains(host)) {
            return Some(host);
        }
        let count = u32::try_from(candidates.len()).unwrap_or(u32::MAX);
        let at = core.rng.next_u32().checked_rem(count)?;
        candidates.get(usize::try_from(at).ok()?).copied()
    }

    /// Does what waits for a link to a peer, now or when there is one.
    fn with_link(&mut self, core: &mut Core, peer: PeerId, waiting: Waiting) {
        let state = self.peer(peer, &core.policy, core.now.instant);
        let is_full = state.waiting.len() >= limits::CIRCUITS_PER_LINK;
        if !is_full {
            state.waiting.push(waiting);
        }
        if is_full {
            self.refuse(core, waiting, CloseReason::Busy);
        } else if self.peers.get(&peer).is_some_and(|state| !state.links.is_empty()) {
            self.open_waiting(core, peer);
        } else {
            self.pump(core, peer);
        }
    }

    /// A link to a peer that nobody carries.
    fn direct_link(&self, peer: &PeerId) -> Option<ConnId> {
        let is_direct = |conn: &&ConnId| self.links.get(conn).is_some_and(|link| link.via.is_none());
        self.peers.get(peer)?.links.iter().find(is_direct).copied()
    }

    /// There is a link to a peer: circuits that waited for it go on.
    pub(super) fn open_waiting(&mut self, core: &mut Core, peer: PeerId) {
        // Over a link that is carried itself nothing else is.
        let Some(conn) = self.direct_link(&peer) else { return self.refuse_waiting(core, peer) };
        let waiting = self.peers.get_mut(&peer).map(|state| std::mem::take(&mut state.waiting));
        for waiting in waiting.unwrap_or_default() {
            let is_full = self.circuits_over(conn) >= limits::CIRCUITS_PER_LINK;
            let open = self.circuits.legs.values().filter(|leg| leg.to != Way::Soon).count();
            if is_full || open >= 2 * limits::CIRCUITS {
                self.refuse(core, waiting, CloseReason::Busy);
                continue;
            }
            let number = self.next_circuit(conn);
            match waiting {
                Waiting::Ours(far) => {
                    core.send(conn, &Frame::Carry(Circuit { number, peer: far }));
                    self.end_here(core, (conn, number), far, true);
                }
                Waiting::Theirs(side, from) => {
                    let Some(leg) = self.circuits.legs.get_mut(&side) else { continue };
                    leg.to = Way::On((conn, number));
                    let held = std::mem::take(&mut leg.held);
                    core.send(conn, &Frame::Carried(Circuit { number, peer: from }));
                    self.circuits.legs.insert((conn, number), Leg::new(Way::On(side)));
                    for bytes in &held {
                        self.pass_on(core, (conn, number), bytes);
                    }
                }
            }
        }
    }

    /// There is no link to a peer: circuits that waited for it come to nothing.
    pub(super) fn refuse_waiting(&mut self, core: &mut Core, peer: PeerId) {
        let waiting = self.peers.get_mut(&peer).map(|state| std::mem::take(&mut state.waiting));
        for waiting in waiting.unwrap_or_default() {
            self.refuse(core, waiting, CloseReason::Unreachable);
        }
    }

    fn refuse(&mut self, core: &mut Core, waiting: Waiting, reason: CloseReason) {
        match waiting {
            Waiting::Ours(far) => self.not_carried(core, far),
            Waiting::Theirs(side, _) => self.close_circuit(core, side, reason),
        }
    }

    /// The carrier did not reach the far end, or is gone: another one may, a moment later.
    fn not_carried(&self, core: &mut Core, far: PeerId) {
        if self.peers.get(&far).is_some_and(|state| state.links.is_empty()) {
            core.timers.set(Timer::Direct(far), core.now.instant + limits::BACKOFF_FIRST);
        }
    }

    /// Both sides of a link count: who dialled it evenly, the other one oddly.
    fn next_circuit(&mut self, conn: ConnId) -> u32 {
        let is_dialler = self.links.get(&conn).is_some_and(|link| link.kind == LinkKind::PeerOut);
        let first = u32::from(!is_dialler);
        let number = self.circuits.numbers.get(&conn).map_or(first, |last| last.wrapping_add(2));
        self.circuits.numbers.insert(conn, number);
        number
    }

    /// One end of a circuit is this node.
    fn end_here(&mut self, core: &mut Core, side: Side, far: PeerId, is_ours: bool) {
        self.circuits.next += 1;
        let circuit = CircuitId(self.circuits.next);
        self.circuits.legs.insert(side, Leg::new(Way::Here(circuit)));
        self.circuits.ends.insert(circuit, End { side, far, is_ours });
        let Some(link) = self.links.get(&side.0) else { return };
        let (carrier, remote, to) = (link.peer, link.remote, is_ours.then_some(far));
        core.outputs.push_back(Output::OpenCircuit { circuit, carrier, remote, to });
    }

    /// A frame about circuits came over a link.
    pub(super) fn circuit_frame(&mut self, core: &mut Core, conn: ConnId, frame: Frame) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        link.used = core.now.instant;
        let peer = link.peer;
        match frame {
            Frame::Carry(Circuit { number, peer: far }) => {
                self.asked_to_carry(core, (conn, number), peer, far);
            }
            Frame::Carried(Circuit { number, peer: far }) => self.called_through(core, (conn, number), far),
            Frame::CarryBytes(CarryBytes { number, bytes }) => {
                self.carry_bytes(core, (conn, number), bytes.into());
            }
            Frame::CarryTaken(CarryTaken { number, frames }) => {
                self.far_end_took(core, (conn, number), frames);
            }
            Frame::CarryClosed(CarryClosed { number, reason }) => {
                self.end_side(core, (conn, number), reason);
            }
            _ => {}
        }
    }

    /// True for a number that the other side of a link may use for a new circuit.
    fn is_theirs(&self, side: Side) -> bool {
        let is_dialler = self.links.get(&side.0).is_some_and(|link| link.kind == LinkKind::PeerOut);
        side.1.is_multiple_of(2) != is_dialler && !self.circuits.legs.contains_key(&side)
    }

    /// Circuits over a link, and those that wait for one to their far end.
    fn circuits_over(&self, conn: ConnId) -> usize {
        self.circuits.legs.keys().filter(|(over, _)| *over == conn).count()
    }

    /// Circuits that wait for a link to their far end: altogether, and those over one link.
    fn waiting_circuits(&self, conn: ConnId) -> (usize, usize) {
        let waiting = self.circuits.legs.iter().filter(|(_, leg)| leg.to == Way::Soon);
        waiting.fold((0, 0), |(all, over), (side, _)| (all + 1, over + usize::from(side.0 == conn)))
    }

    fn asked_to_carry(&mut self, core: &mut Core, side: Side, from: PeerId, far: PeerId) {
        let waiting = self.waiting_circuits(side.0);
        let reason = if !self.is_theirs(side) {
            CloseReason::ProtocolError
        } else if far == from || far == core.me() || far.wire() == Wire::Classic || !core.is_member(&far) {
            CloseReason::NotAMember
        } else if self.circuits_over(side.0) >= limits::CIRCUITS_PER_LINK
            || waiting.0 >= limits::CIRCUITS_WAITING
            || waiting.1 >= limits::CIRCUITS_WAITING_PER_LINK
        {
            CloseReason::Busy
        } else {
            self.circuits.legs.insert(side, Leg::new(Way::Soon));
            return self.with_link(core, far, Waiting::Theirs(side, from));
        };
        core.send(side.0, &Frame::CarryClosed(CarryClosed { number: side.1, reason }));
    }

    fn called_through(&mut self, core: &mut Core, side: Side, far: PeerId) {
        if self.is_theirs(side)
            && far != core.me()
            && core.is_member(&far)
            && self.circuits_over(side.0) < limits::CIRCUITS_PER_LINK
        {
            return self.end_here(core, side, far, false);
        }
        let reason = CloseReason::NotAMember;
        core.send(side.0, &Frame::CarryClosed(CarryClosed { number: side.1, reason }));
    }

    fn carry_bytes(&mut self, core: &mut Core, side: Side, bytes: Bytes) {
        // What crossed with the end of the circuit is nobody's fault.
        let Some(leg) = self.circuits.legs.get_mut(&side) else { return };
        leg.untaken += 1;
        if leg.untaken > limits::CIRCUIT_WINDOW || bytes.is_empty() || bytes.len() > limits::CIRCUIT_BYTES {
            return self.close_circuit(core, side, CloseReason::ProtocolError);
        }
        match leg.to {
            Way::Here(circuit) => core.outputs.push_back(Output::FeedCircuit(circuit, bytes)),
            Way::On(other) => self.pass_on(core, other, &bytes),
            Way::Soon => leg.held.push(bytes),
        }
    }

    fn pass_on(&mut self, core: &mut Core, (conn, number): Side, bytes: &Bytes) {
        if let Some(link) = self.links.get_mut(&conn) {
            link.used = core.now.instant;
        }
        if let Some(leg) = self.circuits.legs.get_mut(&(conn, number)) {
            leg.on_the_way += 1;
        }
        core.send(conn, &Frame::CarryBytes(CarryBytes { number, bytes: bytes.to_vec() }));
        self.expect_answer(core, conn);
    }

    /// True while something went over a link that its other side has not taken.
    pub(super) fn is_carrying(&self, conn: ConnId) -> bool {
        let on_link = |((over, _), leg): (&Side, &Leg)| *over == conn && leg.on_the_way > 0;
        self.circuits.legs.iter().any(on_link)
    }

    fn far_end_took(&mut self, core: &mut Core, side: Side, frames: u32) {
        let Some(leg) = self.circuits.legs.get_mut(&side) else { return };
        let Some(on_the_way) = leg.on_the_way.checked_sub(frames) else {
            return self.close_circuit(core, side, CloseReason::ProtocolError);
        };
        leg.on_the_way = on_the_way;
        match leg.to {
            Way::Here(circuit) => core.outputs.push_back(Output::CreditCircuit(circuit, frames)),
            Way::On(other) => self.taken(core, other, frames),
            // Nothing went there yet, so that nothing can have been taken.
            Way::Soon => {}
        }
    }

    /// What came from a side was taken: more may come.
    fn taken(&mut self, core: &mut Core, side: Side, frames: u32) {
        let Some(leg) = self.circuits.legs.get_mut(&side) else { return };
        match leg.untaken.checked_sub(frames) {
            Some(untaken) => {
                leg.untaken = untaken;
                core.send(side.0, &Frame::CarryTaken(CarryTaken { number: side.1, frames }));
            }
            None => self.close_circuit(core, side, CloseReason::ProtocolError),
        }
    }

    /// The session at an end that is here has written something.
    pub(in crate::proto) fn circuit_bytes(&mut self, core: &mut Core, circuit: CircuitId, bytes: &Bytes) {
        if let Some(side) = self.circuits.ends.get(&circuit).map(|end| end.side) {
            self.pass_on(core, side, bytes);
        }
    }

    /// The session at an end that is here has read something.
    pub(in crate::proto) fn circuit_taken(&mut self, core: &mut Core, circuit: CircuitId, frames: u32) {
        if let Some(side) = self.circuits.ends.get(&circuit).map(|end| end.side) {
            self.taken(core, side, frames);
        }
    }

    /// The session at an end that is here is over.
    pub(in crate::proto) fn circuit_ended(&mut self, core: &mut Core, circuit: CircuitId) {
        if let Some(side) = self.circuits.ends.get(&circuit).map(|end| end.side) {
            self.close_circuit(core, side, CloseReason::Left);
        }
    }

    /// Ends a circuit from here, to both sides.
    fn close_circuit(&mut self, core: &mut Core, side: Side, reason: CloseReason) {
        core.send(side.0, &Frame::CarryClosed(CarryClosed { number: side.1, reason }));
        self.end_side(core, side, reason);
    }

    /// A side of a circuit is no more: neither is the other.
    fn end_side(&mut self, core: &mut Core, side: Side, reason: CloseReason) {
        let Some(leg) = self.circuits.legs.remove(&side) else { return };
        match leg.to {
            Way::On((conn, number)) => {
                self.circuits.legs.remove(&(conn, number));
                core.send(conn, &Frame::CarryClosed(CarryClosed { number, reason }));
            }
            Way::Here(circuit) => {
                core.outputs.push_back(Output::CloseCircuit(circuit));
                if let Some(end) = self.circuits.ends.remove(&circuit).filter(|end| end.is_ours) {
                    self.not_carried(core, end.far);
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

    /// A link is gone, and every circuit over it.
    pub(super) fn end_circuits(&mut self, core: &mut Core, conn: ConnId) {
        self.circuits.numbers.remove(&conn);
        let sides: Vec<Side> = self.circuits.legs.keys().filter(|(over, _)| *over == conn).copied().collect();
        for side in sides {
            self.end_side(core, side, CloseReason::ConnectionLost);
        }
    }

    /// A carried link is up, or a better one: nobody else needs to be tried.
    pub(super) fn forget_carriers(&mut self, peer: &PeerId) {
        self.circuits.tried.remove(peer);
    }
}

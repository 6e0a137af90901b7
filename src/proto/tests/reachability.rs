//! Reachability: who reaches whom, calls, and links that somebody relays.

use bytes::Bytes;

use super::*;
use crate::wire::{RelayBytes, RelayedLink};

/// Sessions over relayed links: instead of a handshake both ends say who they are.
#[derive(Default)]
pub(super) struct SimRelays {
    relays: BTreeMap<(usize, RelayedId), PeerId>,
    ends: BTreeMap<(usize, RelayedId), ConnId>,
    conns: BTreeMap<End, RelayedId>,
    /// Bytes that were relayed, to be searched.
    pub(super) bytes: Vec<Bytes>,
}

impl SimRelays {
    pub(super) fn relays_over(&self, end: End) -> bool {
        self.conns.contains_key(&end)
    }
}

impl Sim {
    fn write(&mut self, index: usize, relayed: RelayedId, bytes: Bytes) {
        self.relays.bytes.push(bytes.clone());
        self.nodes[index].handle(self.now, Input::RelayedBytes(relayed, bytes));
    }

    pub(super) fn open_relayed(
        &mut self,
        index: usize,
        relayed: RelayedId,
        relay: PeerId,
        to: Option<PeerId>,
    ) {
        self.relays.relays.insert((index, relayed), relay);
        if to.is_some() {
            self.write(index, relayed, format!("call {index}").into());
        }
    }

    pub(super) fn feed_relayed(&mut self, index: usize, relayed: RelayedId, bytes: &[u8]) {
        self.nodes[index].handle(self.now, Input::RelayedTaken(relayed, 1));
        if let Some(conn) = self.relays.ends.get(&(index, relayed)).copied() {
            let frame = Frame::decode(bytes).unwrap();
            return self.nodes[index].handle(self.now, Input::Frame(conn, frame));
        }
        let greeting = std::str::from_utf8(bytes).ok().and_then(|text| text.split_once(' '));
        // What is no handshake leads to no session.
        let Some((word, far)) = greeting else { return };
        let far: usize = far.parse().unwrap();
        let conn = self.conn();
        let link = if word == "call" { LinkKind::PeerIn } else { LinkKind::PeerOut };
        self.relays.ends.insert((index, relayed), conn);
        self.relays.conns.insert((index, conn), relayed);
        let relay = self.relays.relays[&(index, relayed)];
        let carrier_at = self.ids.iter().position(|id| *id == relay).unwrap();
        let remote = SocketAddr::new(Self::ip(carrier_at), 50_000);
        if link == LinkKind::PeerIn {
            self.nodes[index].handle(self.now, Input::Incoming(conn, remote.ip()));
            self.nodes[index].handle(self.now, Input::Spoke(conn));
            self.write(index, relayed, format!("here {index}").into());
        }
        let secured = Secured { peer: self.ids[far], binding: [8; 32] };
        let (listening, via) = (Vec::new(), Some(relay));
        let connected = Connected { link, secured, remote, local: remote, listening, via };
        self.nodes[index].handle(self.now, Input::Connected(conn, connected));
    }

    pub(super) fn send_in_relayed(&mut self, end: End, bytes: Bytes) {
        let relayed = self.relays.conns[&end];
        self.write(end.0, relayed, bytes);
    }

    pub(super) fn close_in_relayed(&mut self, end: End) {
        let relayed = self.relays.conns.remove(&end).unwrap();
        self.relays.ends.remove(&(end.0, relayed));
        self.nodes[end.0].handle(self.now, Input::RelayedEnded(relayed));
        self.nodes[end.0].handle(self.now, Input::Closed(end.1, CloseReason::Left.into()));
    }

    pub(super) fn close_relayed(&mut self, index: usize, relayed: RelayedId) {
        if let Some(conn) = self.relays.ends.remove(&(index, relayed)) {
            self.relays.conns.remove(&(index, conn));
            let closed = CloseReason::ConnectionLost.into();
            self.nodes[index].handle(self.now, Input::Closed(conn, closed));
        }
    }

    /// Neither can open a link to the other.
    fn part(&mut self, one: usize, other: usize) {
        self.closed.extend([(one, other), (other, one)]);
        let between: Vec<End> = self.links_between(one, other);
        for end in between {
            self.links.remove(&end);
            let closed = CloseReason::ConnectionLost.into();
            self.nodes[end.0].handle(self.now, Input::Closed(end.1, closed));
        }
        self.run();
    }

    /// Through whom a node reaches another, as it was told last.
    fn via(&self, index: usize, other: usize) -> Option<String> {
        let route = |event: &NodeEvent| match event {
            NodeEvent::Route { peer, via } if peer.peer_id == self.ids[other] => {
                Some(via.as_ref().map(|via| via.alias.to_string()))
            }
            _ => None,
        };
        self.events[index].iter().rev().find_map(route).flatten()
    }

    /// Who cannot reach whom, as a node was told last.
    fn unreachable(&self, index: usize) -> Vec<(usize, usize, CloseReason)> {
        let at = |id: PeerId| self.ids.iter().position(|other| *other == id).unwrap();
        let told = |event: &NodeEvent| match event {
            NodeEvent::NoWays { ways } => Some(ways.clone()),
            _ => None,
        };
        let ways = self.events[index].iter().rev().find_map(told).unwrap_or_default();
        let mut ways: Vec<_> = ways.iter().map(|way| (at(way.from), at(way.to), way.reason)).collect();
        ways.sort_unstable();
        ways
    }
}

#[test]
fn a_member_behind_a_closed_port_is_called_and_comes_itself() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.closed.extend([(0, bob), (ann, bob)]);
    sim.say(ann, "bob", "hi");
    sim.say(0, "bob", "hi from the host");
    sim.wait(0.1);
    let mut heard = sim.heard(bob);
    heard.sort();
    assert_eq!(heard, ["ann: hi", "host: hi from the host"]);
    assert_eq!(sim.via(ann, bob), None, "its own link, opened from the other side");
    assert!(sim.errors(ann).is_empty(), "nothing to worry about: {:?}", sim.errors(ann));
}

#[test]
fn who_asks_is_tried_by_the_host_and_two_members_and_all_are_told_who_is_out_of_reach() {
    let mut sim = Sim::host();
    let members: Vec<usize> = ["ann", "bob", "carol"].map(|name| sim.join(name)).to_vec();
    sim.closed.extend([(0, 4), (1, 4), (2, 4), (3, 4)]);
    let dan = sim.join("dan");
    assert_eq!(dan, 4);
    sim.wait(4.0);
    assert_eq!(sim.unreachable(0), [], "nobody needed it yet");
    for _ in 0..2 {
        sim.command(dan, NodeCommand::Ways);
        sim.wait(4.0);
    }
    let told = sim.unreachable(0);
    assert_eq!(told.len(), 3, "the host and two of three");
    assert!(told.iter().all(|(_, to, why)| *to == dan && *why == CloseReason::NothingListens));
    for index in members.into_iter().chain([dan]) {
        assert_eq!(sim.unreachable(index), told, "everybody is told, also dan itself");
    }
    // Who comes later is told too, and a way that is found again is.
    let eve = sim.join("eve");
    assert_eq!(sim.unreachable(eve), told);
    sim.closed.clear();
    sim.say(0, "dan", "hi");
    sim.wait(0.5);
    assert_eq!(sim.heard(dan), ["host: hi"]);
    sim.command(1, NodeCommand::Ways);
    sim.wait(3.0);
    let rows = |event: &NodeEvent| match event {
        NodeEvent::Ways { rows } => Some(rows.clone()),
        _ => None,
    };
    let rows = sim.events[1].iter().rev().find_map(rows).unwrap();
    let host = rows.iter().find(|row| row.from == sim.ids[0]).unwrap();
    assert!(host.reached.contains(&sim.ids[1]), "{rows:?}");
}

#[test]
fn who_is_called_and_does_not_come_in_six_seconds_is_reached_through_another() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.closed.insert((ann, bob));
    sim.frozen.insert(bob);
    sim.say(ann, "bob", "hi");
    sim.wait(5.9);
    let by_ann = |sim: &Sim| sim.relays.relays.keys().filter(|(index, _)| *index == ann).count();
    assert_eq!(by_ann(&sim), 0);
    sim.wait(0.2);
    assert_eq!(by_ann(&sim), 1);
}

#[test]
fn two_that_cannot_reach_each_other_talk_through_the_host_which_reads_nothing() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.part(ann, bob);
    sim.say(ann, "bob", "for bob alone");
    sim.wait(10.0);
    assert_eq!(sim.heard(bob), ["ann: for bob alone"]);
    assert_eq!(sim.deliveries(ann).last().unwrap(), "for bob alone bob Delivered 1/1");
    assert_eq!(sim.via(ann, bob).as_deref(), Some("host"));
    assert_eq!(sim.via(bob, ann).as_deref(), Some("host"));
    assert!(sim.heard(0).is_empty());
    sim.say(bob, "ann", "and back");
    assert_eq!(sim.heard(ann), ["bob: and back"]);
    let told = sim.unreachable(0);
    let refused = CloseReason::NothingListens;
    assert_eq!(told, [(ann, bob, refused), (bob, ann, refused)]);
    // The direct way is taken again when it is there.
    sim.closed.clear();
    sim.wait(40.0);
    assert_eq!(sim.via(ann, bob), None);
    sim.say(ann, "bob", "directly");
    assert_eq!(sim.heard(bob).last().unwrap(), "ann: directly");
    sim.wait(2.0);
    assert!(sim.unreachable(0).len() < 2, "{:?}", sim.unreachable(0));
}

/// Ann has said something to bob, whom neither she nor the host reaches.
fn carried_by_carol() -> (Sim, [usize; 3]) {
    let mut sim = Sim::host();
    let (ann, bob, carol) = (sim.join("ann"), sim.join("bob"), sim.join("carol"));
    sim.part(ann, bob);
    sim.part(0, bob);
    sim.say(ann, "bob", "hi");
    sim.wait(20.0);
    assert_eq!(sim.via(ann, bob).as_deref(), Some("carol"));
    (sim, [ann, bob, carol])
}

#[test]
fn when_the_host_cannot_carry_either_another_member_does() {
    let (mut sim, [ann, bob, carol]) = carried_by_carol();
    assert_eq!(sim.heard(bob), ["ann: hi"]);
    assert!(sim.heard(carol).is_empty());
    // And when the relay goes, nothing is lost.
    sim.command(carol, NodeCommand::Leave);
    sim.wait(3.0);
    sim.say(ann, "bob", "later");
    sim.wait(10.0);
    assert_eq!(sim.deliveries(ann).last().unwrap(), "later bob Queued 0/1");
    assert!(sim.errors(ann).iter().any(|error| error.contains("bob cannot be reached now")));
    let dan = sim.join("dan");
    sim.wait(20.0);
    assert_eq!(sim.heard(bob).last().unwrap(), "ann: later");
    assert_eq!(sim.via(ann, bob).as_deref(), Some("dan"));
    assert!(sim.heard(dan).is_empty());
}

#[test]
fn a_banned_peer_is_not_carried() {
    let (mut sim, [_, _, carol]) = carried_by_carol();
    sim.ban("bob");
    sim.wait(1.0);
    let before = sim.relays.bytes.len();
    assert!(sim.relays.conns.is_empty(), "all relays are gone");
    sim.say(carol, "everyone", "bob is gone");
    sim.wait(5.0);
    assert_eq!(sim.relays.bytes.len(), before);
}

#[test]
fn a_member_that_misuses_circuits_gains_nothing() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.say(ann, "host", "warm");
    sim.say(bob, "host", "warm");
    let conn = sim
        .links
        .iter()
        .find(|(near, far)| near.0 == 0 && far.0 == ann && sim.nodes[0].mesh.links.has(near.1))
        .map(|(near, _)| near.1)
        .unwrap();
    // It was ann who dialled: her numbers are even.
    let first = 0;
    let bob_id = sim.ids[bob];
    let give = |sim: &mut Sim, frame: Frame| {
        sim.nodes[0].handle(sim.now, Input::Frame(conn, frame));
        sim.run();
    };
    // To itself, to the relay, to nobody, with the relay's own numbers.
    let nobody = PeerId([9; 32]);
    for (number, peer) in
        [(first, sim.ids[ann]), (first + 2, sim.ids[0]), (first + 4, nobody), (first + 1, bob_id)]
    {
        give(&mut sim, Frame::RelayOpen(RelayedLink { number, peer }));
        assert!(sim.relays.relays.is_empty());
    }
    // More than the window.
    give(&mut sim, Frame::RelayOpen(RelayedLink { number: 0, peer: bob_id }));
    assert_eq!(sim.relays.relays.len(), 1, "bob was called");
    sim.frozen.insert(bob);
    for _ in 0..=limits::RELAYED_WINDOW {
        give(&mut sim, Frame::RelayBytes(RelayBytes { number: 0, bytes: b"x".to_vec() }));
    }
    let queued = sim.queue.len();
    for _ in 0..100 {
        give(&mut sim, Frame::RelayBytes(RelayBytes { number: 0, bytes: vec![0; 8192] }));
    }
    assert!(sim.queue.len() <= queued, "the relayed link is closed");
    sim.frozen.clear();
    sim.run();
    // More relayed links than there is room for.
    for number in 1..200 {
        give(&mut sim, Frame::RelayOpen(RelayedLink { number: number * 2, peer: bob_id }));
    }
    assert!(sim.relays.relays.len() <= 1 + limits::RELAYED_PER_LINK);
    sim.say(ann, "everyone", "the link still stands");
    assert_eq!(sim.heard(bob).last().unwrap(), "ann: the link still stands");
}

#[test]
fn circuits_that_wait_for_their_far_ends_are_bounded_together() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    let others: Vec<usize> = (0..4).map(|number| sim.join(&format!("far-{number}"))).collect();
    sim.say(ann, "host", "warm");
    let conn = sim.peer_link(0, ann);
    // Nobody answers any more: neither the far ends nor whoever reads the refusals.
    sim.frozen.extend(others.iter().copied().chain([ann]));
    for number in 0..160 {
        let peer = sim.ids[others[number % 4]];
        let relayed = RelayedLink { number: 2 * u32::try_from(number).unwrap(), peer };
        sim.nodes[0].handle(sim.now, Input::Frame(conn, Frame::RelayOpen(relayed)));
        sim.drain(0);
    }
    let is_busy = |delivery: &&Delivery| matches!(delivery, Delivery::Frame(_, Frame::RelayClosed(closed)) if closed.reason == CloseReason::Busy);
    assert_eq!(sim.queue.iter().filter(is_busy).count(), 160 - limits::RELAYED_WAITING_PER_LINK);
}

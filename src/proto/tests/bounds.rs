//! More than the limits allow, of everything that a peer can send.

use super::*;
use crate::{
    model::{NoWay, RosterEntry},
    wire::{HandoverPart, Tried},
};

impl Sim {
    /// The join link of a node to another one.
    fn join_link(&self, near: usize, far: usize) -> ConnId {
        let is_meant = |(here, there): &(&End, &End)| {
            here.0 == near && there.0 == far && !self.nodes[near].mesh.has(here.1)
        };
        self.links.iter().find(is_meant).map(|(here, _)| here.1).unwrap()
    }

    /// Hands a node frames all at once and gives all that it has to say to that.
    fn flood(&mut self, index: usize, conn: ConnId, frames: impl IntoIterator<Item = Frame>) -> Vec<Output> {
        self.run();
        for frame in frames {
            self.nodes[index].handle(self.now, Input::Frame(conn, frame));
        }
        self.outputs(index)
    }

    /// What a node says and does while time passes.
    fn outputs_within(&mut self, index: usize, seconds: f64) -> Vec<Output> {
        let until = self.now.plus(Duration::from_secs_f64(seconds));
        let mut outputs = Vec::new();
        while let Some(at) = self.nodes[index].poll_timeout().filter(|at| *at <= until.instant) {
            self.now = self.now.plus(at.saturating_duration_since(self.now.instant));
            self.nodes[index].handle_timeout(self.now);
            outputs.extend(self.outputs(index));
        }
        self.now = until;
        outputs
    }
}

fn sent(outputs: &[Output], matches: impl Fn(&Frame) -> bool) -> usize {
    let is_sent = |output: &&Output| match output {
        Output::Send(_, bytes) => Frame::decode(bytes).is_ok_and(|frame| matches(&frame)),
        _ => false,
    };
    outputs.iter().filter(is_sent).count()
}

fn is_closed(outputs: &[Output], conn: ConnId) -> bool {
    outputs.iter().any(|output| matches!(output, Output::Close(closed, _) if *closed == conn))
}

#[test]
fn time_for_admission() {
    let mut sim = Sim::host();
    let bob = sim.join("bob");
    sim.command(bob, NodeCommand::Leave);
    sim.wait(1.0);
    let conn = sim.knocks(bob, LinkKind::JoinIn);
    let most = limits::ADMISSION_TIMEOUT.as_secs_f64();
    assert!(!is_closed(&sim.outputs_within(0, most - 0.1), conn));
    assert!(is_closed(&sim.outputs_within(0, 0.2), conn));
}

#[test]
fn addresses_that_a_peer_announces() {
    let mut sim = Sim::host();
    let bob = sim.join("bob");
    let conn = sim.knocks(bob, LinkKind::JoinIn);
    let addrs = (1..200).map(|last| SocketAddr::from(([10, 1, 1, last], 50_000))).collect();
    let hello = Frame::Hello(Hello { alias: "bob".into(), addrs, ke1: Vec::new() });
    sim.flood(0, conn, [hello]);
    sim.outputs_within(0, 1.0);
    let is_bob = |entry: &&RosterEntry| entry.peer_id == sim.ids[bob];
    let entry = sim.nodes[0].core.roster.entries().find(is_bob).unwrap();
    assert_eq!(entry.addrs.len(), limits::CANDIDATES);
}

#[test]
fn members_that_can_be_configured() {
    let admission = super::super::admission::Admission::new(3, 1_000_000, Vec::new(), Vec::new());
    assert_eq!(admission.limits().1, limits::MEMBERS_MAX);
    assert!(admission.check_room(limits::MEMBERS_MAX).is_err());
}

#[test]
fn words_of_a_ban() {
    let mut sim = Sim::host();
    sim.join("bob");
    let line = serde_json::json!({"cmd": "ban", "peer": "bob", "reason": "ä".repeat(10_000)});
    sim.command(0, serde_json::from_value(line).unwrap());
    let reason = |event: &NodeEvent| match event {
        NodeEvent::Banned { reason, .. } => Some(reason.as_str().len()),
        _ => None,
    };
    let length = sim.events[0].iter().find_map(reason).unwrap();
    assert!((limits::REASON_BYTES - 1..=limits::REASON_BYTES).contains(&length), "{length}");
}

#[test]
fn questions_for_the_whole_roster_and_for_the_ways() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    let conn = sim.join_link(0, ann);
    let mut answers = [0, 0];
    for _ in 0..20 {
        let floods = (0..1000).flat_map(|_| [Frame::RosterRequest, Frame::WaysRequest]);
        let mut outputs = sim.flood(0, conn, floods);
        outputs.extend(sim.outputs_within(0, 0.1));
        answers[0] += sent(&outputs, |frame| matches!(frame, Frame::RosterWhole(_)));
        answers[1] += sent(&outputs, |frame| matches!(frame, Frame::WaysPart(part) if part.is_last));
    }
    // Two seconds: they come, and no faster than allowed.
    assert!(answers.iter().all(|count| (3..=4).contains(count)), "{answers:?}");
}

#[test]
fn calls_that_a_member_has_passed_on() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    let (conn, to) = (sim.join_link(0, ann), sim.ids[bob]);
    let calls = |outputs: &[Output]| sent(outputs, |frame| matches!(frame, Frame::Call(_)));
    let stranger = Frame::Call(PeerId([9; 32]));
    let outputs = sim.flood(0, conn, (0..1000).flat_map(|_| [Frame::Call(to), stranger.clone()]));
    assert_eq!(calls(&outputs), 1);
    sim.outputs_within(0, limits::CALL_EVERY.as_secs_f64());
    assert_eq!(calls(&sim.flood(0, conn, [Frame::Call(to)])), 1, "one that is due goes through");
}

#[test]
fn peer_links_of_one_peer() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    let links: Vec<ConnId> = (0..20).map(|_| sim.knocks(ann, LinkKind::PeerIn)).collect();
    let outputs = sim.outputs(0);
    let open = links.iter().filter(|conn| !is_closed(&outputs, **conn)).count();
    assert_eq!(open, limits::LINKS_PER_PEER);
}

#[test]
fn questions_about_the_history() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    sim.say(ann, "host", "warm");
    let conn = sim.peer_link(0, ann);
    let question = Frame::CatchUp(Timestamp(0));
    let fits = sim.flood(0, conn, vec![question.clone(); limits::QUESTIONS]);
    assert!(!is_closed(&fits, conn));
    let outputs = sim.flood(0, conn, [question]);
    assert!(is_closed(&outputs, conn));
}

#[test]
fn members_to_be_tried_at_once() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    let others: Vec<usize> = (0..40).map(|number| sim.join(&format!("member-{number}"))).collect();
    sim.wait(10.0);
    let (conn, peers) = (sim.join_link(ann, 0), others.iter().map(|other| sim.ids[*other]).collect());
    let outputs = sim.flood(ann, conn, [Frame::TryPeers(peers)]);
    let dials = outputs.iter().filter(|output| matches!(output, Output::Dial(..))).count();
    assert!((1..=limits::TRIED_AT_ONCE).contains(&dials), "{dials}");
}

#[test]
fn ways_that_do_not_exist() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    let others: Vec<usize> = (0..40).map(|number| sim.join(&format!("member-{number}"))).collect();
    // A member that says it reaches nobody, strangers included, and a host that says nobody reaches anybody.
    let none = |index: u8| Tried { peer: PeerId([index; 32]), why_not: Some(CloseReason::NoAnswer) };
    let (at_host, at_ann) = (sim.join_link(0, ann), sim.join_link(ann, 0));
    sim.flood(0, at_host, (0..100).map(|_| Frame::Tried((0..=255).map(none).collect())));
    assert!(sim.nodes[0].core.ways.no_ways().is_empty(), "strangers are in no book");
    let pairs = others.iter().flat_map(|from| others.iter().map(|to| (sim.ids[*from], sim.ids[*to])));
    let ways = pairs.map(|(from, to)| NoWay { from, to, reason: CloseReason::NoAnswer }).collect();
    let outputs = sim.flood(ann, at_ann, [Frame::NoWays(ways)]);
    let told = |output: &Output| match output {
        Output::Event(NodeEvent::NoWays { ways }) => Some(ways.len()),
        _ => None,
    };
    assert_eq!(outputs.iter().find_map(told), Some(limits::NO_WAYS));
}

#[test]
fn what_a_host_hands_over() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    let conn = sim.join_link(ann, 0);
    sim.frozen.insert(0);
    sim.flood(ann, conn, [Frame::HandoverOffer(4702)]);
    let opened = ("10.0.0.2:4702".parse().unwrap(), vec!["10.0.0.2:4702".parse().unwrap()]);
    sim.nodes[ann].handle(sim.now, Input::JoinOpened(Ok(opened)));
    assert_eq!(sent(&sim.outputs(ann), |frame| matches!(frame, Frame::HandoverReady(_))), 1);
    let part =
        || Frame::HandoverPart(HandoverPart { bytes: vec![b' '; limits::HANDOVER_PART], is_last: false });
    let fits = limits::HANDOVER_BYTES / limits::HANDOVER_PART;
    let outputs = sim.flood(ann, conn, (0..fits).map(|_| part()));
    assert_eq!(sent(&outputs, |frame| matches!(frame, Frame::HandoverRefused(_))), 0);
    let outputs = sim.flood(ann, conn, [part()]);
    assert_eq!(sent(&outputs, |frame| matches!(frame, Frame::HandoverRefused(_))), 1);
}

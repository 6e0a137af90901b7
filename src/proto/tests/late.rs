//! What comes when its reader has asked for what it missed already: the host tells it.

use super::*;
use crate::{
    model::{Held, limits},
    security::sign,
    wire::{Addressed, HandedOn, Wanted},
};

/// A host, ann, whose words the test puts in the host's way itself, and bob.
struct Late {
    sim: Sim,
    ann: usize,
    bob: usize,
    signer: Identity,
}

impl Late {
    fn new() -> Self {
        let mut sim = Sim::host_on_disk();
        let (signer, again) = identity();
        let ann = sim.join_as("ann", PASSWORD, again);
        let bob = sim.join("bob");
        sim.say(ann, "host", "warm");
        Self { sim, ann, bob, signer }
    }

    fn said(&self, sequence: u64, text: &str) -> Batch {
        let stream = StreamId { author: self.sim.ids[self.ann], epoch: 9, to: Recipient::Everyone };
        let mut batch = self.sim.batch_of(stream, sequence, text);
        let network = self.sim.nodes[0].role.group().network.as_ref().unwrap().id;
        batch.signature = Some(sign::batch(&self.signer, &network, &batch));
        batch
    }

    fn version(&self) -> u64 {
        self.sim.nodes[0].role.group().roster.version()
    }

    /// Ann said it when that version of the roster was in force, and it is at the host only now.
    fn comes_now(&mut self, sequence: u64, text: &str, roster: u64) {
        let batch = self.said(sequence, text);
        let sim = &mut self.sim;
        let conn = sim.peer_link(0, self.ann);
        sim.nodes[0].handle(sim.now, Input::Frame(conn, Frame::Batch(Addressed { roster, batch })));
        sim.wait(0.5);
    }

    fn at(&self, index: usize) -> Vec<String> {
        self.sim.stores[index].log()
    }
}

#[test]
fn what_was_on_its_way_when_somebody_came_reaches_it_too() {
    let mut late = Late::new();
    let version = late.version();
    late.comes_now(1, "before", version - 1);
    assert_eq!(late.at(late.bob), ["ann: before"]);
    // What is addressed to it comes from its author, and nobody needs to say so.
    late.comes_now(2, "now", version);
    assert_eq!(late.at(0), ["ann: before", "ann: now"]);
    assert_eq!(late.at(late.bob), ["ann: before"]);
}

#[test]
fn an_author_that_never_knows_the_roster_does_not_make_the_host_tell_of_each_message() {
    let mut late = Late::new();
    let (sim, ann) = (&mut late.sim, late.ann);
    let stream = StreamId { author: sim.ids[ann], epoch: 9, to: Recipient::Everyone };
    let conn = sim.peer_link(0, ann);
    let mut held = 0;
    let mut count = |sim: &mut Sim| {
        while let Some(output) = sim.nodes[0].poll_output() {
            let is_held = |bytes| matches!(Frame::decode(bytes), Ok(Frame::Held(_)));
            held += usize::from(matches!(&output, Output::Send(_, bytes) if is_held(bytes)));
        }
    };
    for sequence in 1..=100 {
        let batch = sim.batch_of(stream, sequence, "x");
        let frame = Frame::Batch(Addressed { roster: sequence % 2, batch });
        sim.nodes[0].handle(sim.now, Input::Frame(conn, frame));
        count(sim);
    }
    sim.now = sim.now.plus(limits::ROSTER_TICK);
    sim.nodes[0].handle_timeout(sim.now);
    count(sim);
    assert_eq!(held, 2, "one for each member");
}

#[test]
fn what_the_host_has_of_somebody_who_is_gone_reaches_everybody() {
    let mut late = Late::new();
    let version = late.version();
    late.comes_now(1, "the last word", version);
    assert_eq!(late.at(late.bob), [""; 0]);
    // Her machine is lost, and with it that she was to send it to bob.
    late.sim.crash(late.ann);
    late.sim.wait(20.0);
    assert_eq!(late.at(late.bob), ["ann: the last word"]);
}

#[test]
fn what_the_host_itself_has_missed_reaches_those_who_have_asked_it_before() {
    let mut late = Late::new();
    let missed = late.said(1, "missed");
    let sim = &mut late.sim;
    let carol = sim.join("carol");
    sim.say(carol, "host", "warm");
    // Carol hands it on to the host, which has asked her for it.
    let range = Held { author: missed.stream.author, epoch: 9, from: 1, to: 1 };
    let (conn, now) = (sim.peer_link(0, carol), sim.now);
    let node = &mut sim.nodes[0];
    node.begin_turn(now);
    node.mesh.messaging.want_of(node.role.group(), sim.ids[carol], vec![range]);
    node.route();
    let wanted = Wanted { direct: false, range };
    let handed = HandedOn { wanted, label: "ann".to_owned(), batches: vec![missed], next: None };
    node.handle(now, Input::Frame(conn, Frame::HandedOn(handed)));
    sim.wait(0.5);
    assert_eq!(late.at(late.bob), ["ann: missed"]);
}

#[test]
fn a_host_that_names_more_than_it_may_is_left() {
    let mut late = Late::new();
    let (sim, bob) = (&mut late.sim, late.bob);
    let held = Held { author: sim.ids[late.ann], epoch: 9, from: 1, to: 1 };
    let conn = sim.nodes[bob].role.group().join_links[&sim.ids[0]];
    let frame = Frame::Held(vec![held; limits::HELD + 1].into());
    sim.nodes[bob].handle(sim.now, Input::Frame(conn, frame));
    sim.run();
    assert!(
        sim.errors(bob).iter().any(|error| error.contains("has no place there")),
        "{:?}",
        sim.errors(bob)
    );
}

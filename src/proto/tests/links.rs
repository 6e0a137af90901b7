//! Links between peers: who may open them, how many, and what is lost with one.

use super::*;

#[test]
fn a_peer_that_takes_links_and_never_greets_costs_one_link_at_a_time() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.frozen.insert(bob);
    let dials = |node: &mut Node| {
        let outputs = std::iter::from_fn(|| node.poll_output());
        outputs.filter(|output| matches!(output, Output::Dial(..))).count()
    };
    let send = || NodeCommand::Send {
        to: Target::Peer(crate::api::PeerName::Alias("bob".into())),
        text: "hi".into(),
        reference: None,
    };
    sim.nodes[ann].handle(sim.now, Input::Command(send()));
    assert_eq!(dials(&mut sim.nodes[ann]), 1);
    let secured = Secured { peer: sim.ids[bob], binding: [0; 32] };
    let remote = SocketAddr::new(Sim::ip(bob), 50_000);
    let connected = Connected {
        link: LinkKind::PeerOut,
        secured,
        remote,
        local: remote,
        listening: Vec::new(),
        via: None,
    };
    sim.nodes[ann].handle(sim.now, Input::Connected(ConnId(5000), connected));
    for _ in 0..50 {
        sim.nodes[ann].handle(sim.now, Input::Command(send()));
    }
    assert_eq!(dials(&mut sim.nodes[ann]), 0, "the link that is being opened is waited for");
    sim.now = sim.now.plus(2 * limits::ROSTER_PATIENCE);
    sim.nodes[ann].handle_timeout(sim.now);
    let closed = std::iter::from_fn(|| sim.nodes[ann].poll_output())
        .any(|output| matches!(output, Output::Close(ConnId(5000), _)));
    assert!(closed, "but not for ever");
}

#[test]
fn another_authors_name_a_strangers_link_and_odd_frames_end_the_link() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.say(ann, "bob", "hi");
    let bob_end = *sim.links.keys().rfind(|end| end.0 == bob).unwrap();
    let stream = |author: PeerId| StreamId { author, epoch: 1, to: Recipient::Everyone };
    let host = sim.ids[0];
    let forged = Frame::Batch(sim.batch_of(stream(host), 1, "forged").into());
    sim.queue.push_back(Delivery::Frame(bob_end, forged));
    sim.run();
    assert_eq!(sim.heard(bob), ["ann: hi"]);
    assert!(sim.errors(bob)[0].contains("ann sent a frame that has no place there"));
    assert!(!sim.links.contains_key(&bob_end), "the link is cut");
    sim.say(ann, "bob", "again");
    assert_eq!(sim.heard(bob), ["ann: hi", "ann: again"], "a new one works");

    let stranger = Identity::generate().unwrap().0;
    let near = (99, sim.conn());
    let far = (bob, sim.conn());
    sim.links.insert(far, near);
    let secured = Secured { peer: stranger.peer_id(), binding: [0; 32] };
    let remote = "10.0.0.99:1".parse().unwrap();
    let connected = Connected {
        link: LinkKind::PeerIn,
        secured,
        remote,
        local: remote,
        listening: Vec::new(),
        via: None,
    };
    sim.nodes[bob].handle(sim.now, Input::Connected(far.1, connected));
    sim.nodes[bob].handle(
        sim.now,
        Input::Frame(
            far.1,
            Frame::PeerHello(crate::wire::PeerHello { network: NetworkId([1; 16]), now: Timestamp(0) }),
        ),
    );
    let forged = Frame::Batch(sim.batch_of(stream(stranger.peer_id()), 1, "forged").into());
    sim.nodes[bob].handle(sim.now, Input::Frame(far.1, forged));
    let answers: Vec<Frame> = std::iter::from_fn(|| sim.nodes[bob].poll_output())
        .filter_map(|output| match output {
            Output::Send(conn, bytes) if conn == far.1 => Frame::decode(&bytes).ok(),
            _ => None,
        })
        .collect();
    assert!(answers.iter().all(|frame| matches!(frame, Frame::Goodbye(_))), "{answers:?}");
    sim.wait(limits::ROSTER_PATIENCE.as_secs_f64());
    assert_eq!(sim.heard(bob).len(), 2, "nor heard");
}

#[test]
fn an_idle_peer_link_is_closed_and_opened_again_when_needed() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.say(ann, "bob", "one");
    let links = |sim: &Sim| sim.links.keys().filter(|end| end.0 == bob).count();
    assert_eq!(links(&sim), 2);
    sim.wait(61.0);
    assert_eq!(links(&sim), 1, "only the join link is left");
    sim.say(ann, "bob", "two");
    assert_eq!(sim.heard(bob), ["ann: one", "ann: two"]);
}

/// Stopped at any time while an answer is due, and the clock is looked at before the answer is read.
#[test]
fn who_was_stopped_does_not_give_up_a_peer_link_for_silent() {
    for phase in 0..20 {
        let mut sim = Sim::host();
        let (ann, bob) = (sim.join("ann"), sim.join("bob"));
        sim.say(ann, "bob", "one");
        let links = sim.links_between(ann, bob);
        sim.frozen.insert(bob);
        sim.say(ann, "bob", "two");
        sim.wait(1.0 + 0.5 * f64::from(phase));
        sim.frozen.insert(ann);
        sim.frozen.remove(&bob);
        sim.wait(6.5);
        sim.nodes[ann].handle_timeout(sim.now);
        sim.frozen.clear();
        sim.wait(3.0);
        assert_eq!(sim.links_between(ann, bob), links, "phase {phase}");
        assert_eq!(sim.heard(bob), ["ann: one", "ann: two"]);
    }
}

#[test]
fn a_peer_link_that_dies_without_a_word_is_given_up_and_nothing_on_it_is_lost() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.say(ann, "bob", "one");
    let dead = sim.links_between(ann, bob);
    sim.dead.extend(dead.iter().copied());
    sim.say(ann, "bob", "two");
    sim.wait(11.9);
    assert_eq!(sim.heard(bob), ["ann: one"]);
    assert_eq!(sim.roster(ann).len(), 3, "the host sees both");
    sim.wait(1.0);
    assert_eq!(sim.heard(bob), ["ann: one", "ann: two"]);
    assert_eq!(sim.deliveries(ann).last().unwrap(), "two bob Delivered 1/1");
}

#[test]
fn who_takes_messages_slowly_is_not_taken_for_gone() {
    let mut sim = Sim::host_with(|config| config.policy = Policy { rate_bytes: 100, ..Policy::default() });
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    for text in ["x".repeat(4000), "y".repeat(4000)] {
        sim.say(ann, "bob", &text);
    }
    let before = sim.links_between(ann, bob);
    sim.wait(35.0);
    assert_eq!(sim.heard(bob).len(), 1, "40 s for the second");
    let after = sim.links_between(ann, bob);
    assert!(before.iter().all(|end| after.contains(end)), "the link still stands");
    sim.wait(45.0);
    assert_eq!(sim.heard(bob).len(), 2);
    assert_eq!(sim.deliveries(ann).last().unwrap().split(' ').nth(2), Some("Delivered"));
}

#[test]
fn two_that_dial_each_other_at_once_lose_nothing() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    let send = |to: PeerId| NodeCommand::Send {
        to: Target::from(Recipient::Peer(to)),
        text: "hi".into(),
        reference: None,
    };
    let (ann_id, bob_id) = (sim.ids[ann], sim.ids[bob]);
    sim.nodes[ann].handle(sim.now, Input::Command(send(bob_id)));
    sim.nodes[bob].handle(sim.now, Input::Command(send(ann_id)));
    sim.run();
    assert_eq!(sim.heard(bob), ["ann: hi"]);
    assert_eq!(sim.heard(ann), ["bob: hi"]);
    for index in [ann, bob] {
        let delivered = |event: &NodeEvent| {
            matches!(event, NodeEvent::Delivery { status: DeliveryStatus::Delivered, .. })
        };
        assert!(sim.has(index, delivered));
    }
}

//! Messages and what becomes of them: in order, once, and nobody waits for another.

use super::*;

#[test]
fn leaving_is_seen_and_what_is_on_its_way_arrives() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.say(ann, "everyone", "bye");
    sim.command(ann, NodeCommand::Leave);
    sim.wait(0.2);
    assert_eq!(sim.end(ann), Some(CloseReason::Left));
    assert!(matches!(sim.events[ann].last(), Some(NodeEvent::Left { reason: CloseReason::Left, .. })));
    assert_eq!(sim.heard(bob), ["ann: bye"]);
    assert!(sim.has(bob, |event| matches!(event, NodeEvent::PeerDown { reason: CloseReason::Left, .. })));
}

#[test]
fn leaving_does_not_wait_for_a_stalled_peer_and_says_what_did_not_arrive() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.frozen.insert(bob);
    sim.say(ann, "bob", "are you there");
    sim.command(ann, NodeCommand::Leave);
    assert_eq!(sim.end(ann), None);
    sim.wait(2.1);
    assert_eq!(sim.end(ann), Some(CloseReason::Left));
    assert_eq!(sim.deliveries(ann), ["are you there bob Queued 0/1", "are you there bob Failed left 0/1"]);
}

#[test]
fn an_acknowledgement_goes_back_over_the_link_of_its_message() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    sim.say(ann, "host", "over the first link");
    let (_, second) = (sim.knocks(ann, LinkKind::PeerIn), sim.knocks(ann, LinkKind::PeerIn));
    let hello = crate::wire::PeerHello { network: NetworkId([1; 16]), now: Timestamp(0) };
    sim.nodes[0].handle(sim.now, Input::Frame(second, Frame::PeerHello(hello)));
    sim.outputs(0);
    for (sequence, over) in [(1, second), (2, sim.peer_link(0, ann)), (3, second)] {
        let stream = StreamId { author: sim.ids[ann], epoch: 99, to: Recipient::Peer(sim.ids[0]) };
        let said = sim.batch_of(stream, sequence, "hi");
        sim.nodes[0].handle(sim.now, Input::Frame(over, Frame::Batch(said.into())));
        let is_ack = |output: &&Output| matches!(output, Output::Send(_, bytes) if matches!(Frame::decode(bytes), Ok(Frame::Ack(_))));
        let outputs = sim.outputs(0);
        let links: Vec<ConnId> = outputs
            .iter()
            .filter(is_ack)
            .map(|output| match output {
                Output::Send(conn, _) => *conn,
                _ => unreachable!(),
            })
            .collect();
        assert_eq!(links, [over]);
    }
}

#[test]
fn texts_are_bounded_and_recipients_must_exist() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    sim.say(ann, "everyone", "");
    sim.say(ann, "everyone", &"x".repeat(limits::TEXT_BYTES + 1));
    sim.say(ann, "nobody", "hi");
    sim.say(ann, "ann", "hi");
    let errors = sim.errors(ann);
    assert_eq!(errors.len(), 4);
    assert!(errors[1].contains("16385 bytes, at most 16384"));
    sim.say(ann, "everyone", &"x".repeat(limits::TEXT_BYTES));
    assert_eq!(sim.heard(0).len(), 1);
}

#[test]
fn five_thousand_messages_arrive_in_order_and_once() {
    let policy = Policy { rate: 0, burst: 0, rate_bytes: 0, ..Policy::default() };
    let mut sim = Sim::host_with(|config| config.policy = policy);
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    for number in 0..5000 {
        sim.say(ann, "everyone", &number.to_string());
    }
    let expected: Vec<String> = (0..5000).map(|number| format!("ann: {number}")).collect();
    assert_eq!(sim.heard(0), expected);
    assert_eq!(sim.heard(bob), expected);
}

#[test]
fn a_flood_is_slowed_down_and_delays_only_its_author() {
    let policy = Policy { rate: 100, burst: 10, rate_bytes: 0, ..Policy::default() };
    let mut sim = Sim::host_with(|config| config.policy = policy);
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    for number in 0..200 {
        sim.say(ann, "bob", &number.to_string());
    }
    assert_eq!(sim.heard(bob).len(), 10, "the burst");
    sim.say(0, "bob", "prompt");
    assert_eq!(sim.heard(bob).last().unwrap(), "host: prompt");
    sim.wait(1.0);
    assert!((105..=115).contains(&sim.heard(bob).len()), "{}", sim.heard(bob).len());
    sim.wait(1.0);
    assert_eq!(sim.heard(bob).len(), 201, "nothing was dropped");
    assert_eq!(sim.deliveries(ann).iter().filter(|line| line.contains("Delivered")).count(), 200);
}

#[test]
fn what_waits_for_a_stalled_member_costs_a_cursor_and_nobody_else_waits() {
    let policy = Policy { rate: 0, burst: 0, rate_bytes: 0, ..Policy::default() };
    let mut sim = Sim::host_with(|config| config.policy = policy);
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.frozen.insert(bob);
    for number in 0..3000 {
        sim.say(ann, "everyone", &number.to_string());
    }
    assert_eq!(sim.heard(0).len(), 3000);
    assert!(!sim.deliveries(ann).iter().any(|line| line.contains("Failed")));
    sim.frozen.clear();
    sim.wait(1.0);
    let expected: Vec<String> = (0..3000).map(|number| format!("ann: {number}")).collect();
    assert_eq!(sim.heard(bob), expected);
    assert!(sim.deliveries(ann).last().unwrap().ends_with("Delivered 2/2"));
}

#[test]
fn a_member_that_acknowledges_one_message_at_a_time_holds_back_nobody() {
    let policy = Policy { rate: 0, burst: 0, rate_bytes: 0, ..Policy::default() };
    let mut sim = Sim::host_with(|config| config.policy = policy);
    let (slow, bob) = (sim.join("slow"), sim.join("bob"));
    sim.say(0, "everyone", "warm");
    let conn = sim.peer_link(0, slow);
    // What it says of itself over this link is not heard; the test says it in its place.
    sim.dead.insert(sim.links[&(0, conn)]);
    let epoch = sim.events[0].iter().find_map(|event| match event {
        NodeEvent::Delivery { id, .. } => Some(id.epoch),
        _ => None,
    });
    for number in 0..3000 {
        sim.say(0, "everyone", &number.to_string());
    }
    assert_eq!(sim.heard(bob).len(), 3001, "nobody else waits");
    for acknowledged in 2..100 {
        let ack = Ack { everyone: true, epoch: epoch.unwrap(), received: acknowledged, kept: 0 };
        sim.nodes[0].handle(sim.now, Input::Frame(conn, Frame::Ack(ack)));
        sim.wait(0.9);
        sim.say(0, "bob", "prompt");
        assert_eq!(sim.heard(bob).last().unwrap(), "host: prompt");
    }
    assert!(sim.links.contains_key(&(0, conn)), "who is slow is not cut off");
    assert!(!sim.deliveries(0).iter().any(|line| line.contains("Failed")));
    sim.ban("slow");
    sim.wait(0.1);
    assert!(sim.finished[slow].is_some(), "a ban does not wait either");
    let deliveries = sim.deliveries(0);
    let ends = [" slow Delivered", " slow Sent", " slow Failed"];
    let ended =
        deliveries.iter().filter_map(|line| ends.iter().find_map(|end| Some(line.split_once(end)?.0)));
    assert_eq!(ended.collect::<BTreeSet<_>>().len(), 3001, "everything ends");
}

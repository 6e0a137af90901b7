//! A host or a member that falls silent, sleeps, crashes or is lost.

use super::*;

#[test]
fn a_silent_member_is_removed_and_comes_back_without_a_password() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.wait(3.0);
    sim.frozen.insert(bob);
    sim.wait(7.0);
    assert!(sim.has(0, |event| matches!(event, NodeEvent::Heartbeat { state: Liveness::Suspect, .. })));
    assert_eq!(sim.roster(ann), ["host", "ann", "bob"]);
    sim.say(ann, "everyone", "for bob too");
    sim.wait(6.0);
    assert_eq!(sim.roster(ann), ["host", "ann"]);
    assert!(sim.has(ann, |event| {
        matches!(event, NodeEvent::PeerDown { reason: CloseReason::HeartbeatTimeout, .. })
    }));
    sim.wait(20.0);
    sim.frozen.clear();
    sim.wait(2.0);
    for index in [0, ann, bob] {
        assert_eq!(sim.roster(index), ["host", "ann", "bob"]);
    }
    assert_eq!(sim.end(bob), None);
    assert_eq!(sim.heard(bob), ["ann: for bob too"], "what waited arrived");
    assert_eq!(sim.deliveries(ann).last().unwrap(), "for bob too bob Delivered 2/2");
}

#[test]
fn four_seconds_of_silence_change_nothing() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.wait(3.0);
    sim.frozen.insert(bob);
    sim.wait(4.0);
    sim.frozen.clear();
    sim.wait(10.0);
    let down = |event: &NodeEvent| matches!(event, NodeEvent::PeerDown { .. });
    for index in [0, ann, bob] {
        assert!(!sim.has(index, down));
    }
}

/// Stopped at any time between two beats, and the clock is looked at before what came meanwhile is read.
#[test]
fn a_member_that_was_stopped_does_not_take_its_host_for_silent() {
    for phase in 0..25 {
        let mut sim = Sim::host();
        let bob = sim.join("bob");
        sim.wait(3.0 + 0.1 * f64::from(phase));
        sim.frozen.insert(bob);
        sim.wait(5.5);
        sim.nodes[bob].handle_timeout(sim.now);
        sim.frozen.clear();
        sim.wait(10.0);
        for index in [0, bob] {
            assert!(!sim.has(index, |event| matches!(event, NodeEvent::PeerDown { .. })), "phase {phase}");
        }
    }
}

#[test]
fn a_host_that_slept_finds_its_members_again() {
    let mut sim = Sim::host();
    let (ann, _) = (sim.join("ann"), sim.join("bob"));
    sim.wait(3.0);
    sim.frozen.insert(0);
    sim.wait(30.0);
    assert!(
        sim.has(ann, |event| matches!(event, NodeEvent::Link { state: crate::api::LinkState::Waiting, .. }))
    );
    sim.frozen.clear();
    sim.wait(8.0);
    assert_eq!(sim.roster(0), ["host", "ann", "bob"]);
    assert_eq!(sim.roster(ann), ["host", "ann", "bob"]);
    sim.say(ann, "everyone", "back");
    assert_eq!(sim.heard(0), ["ann: back"]);
}

#[test]
fn a_member_gives_up_on_a_lost_host_in_the_end() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    sim.command(0, NodeCommand::Leave);
    assert_eq!(sim.end(0), Some(CloseReason::Left));
    assert!(sim.errors(ann)[0].contains("the host left and closed the network"));
    sim.wait(limits::REJOIN_FOR.as_secs_f64() - 1.0);
    assert_eq!(sim.end(ann), None);
    sim.wait(2.0);
    assert_eq!(sim.end(ann), Some(CloseReason::HostLost));
}

#[test]
fn without_the_host_members_go_on_for_a_while_and_then_are_out_until_it_is_back() {
    for grace in [0, 120] {
        let mut sim = Sim::host_with(|config| config.policy.grace = grace);
        let (ann, bob) = (sim.join("ann"), sim.join("bob"));
        sim.frozen.insert(0);
        // The host is noticed to be gone after a while.
        sim.wait(13.0);
        let alone = |event: &NodeEvent| matches!(event, NodeEvent::Link { alone_until: Some(_), .. });
        assert_eq!(sim.has(ann, alone), grace > 0);
        sim.say(ann, "everyone", "still here?");
        sim.wait(0.1);
        let heard = if grace == 0 { vec![] } else { vec!["ann: still here?".to_owned()] };
        assert_eq!(sim.heard(bob), heard, "grace {grace}");
        sim.wait(f64::from(grace) + 10.0);
        assert_eq!(sim.roster(ann), ["ann"], "out");
        sim.say(ann, "everyone", "anybody?");
        assert!(sim.errors(ann).last().unwrap().contains("not connected"));
        assert_eq!(sim.end(ann), None, "it waits for the host");
        sim.frozen.remove(&0);
        sim.wait(20.0);
        assert_eq!(sim.roster(ann), ["host", "ann", "bob"]);
        assert_eq!(sim.roster(bob), ["host", "ann", "bob"]);
        sim.say(ann, "everyone", "back");
        sim.wait(0.1);
        assert_eq!(sim.heard(bob).last().unwrap(), "ann: back");
    }
}

#[test]
fn members_of_a_host_that_crashed_are_expected_back() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    let kept = sim.saved.last().unwrap().clone();
    assert_eq!(
        kept.roster.iter().map(|entry| entry.peer_id).collect::<BTreeSet<_>>(),
        [ann, bob].map(|i| sim.ids[i]).into()
    );
    // A banned one is not, whatever was kept.
    let mut again = Sim::host_with(|config| {
        config.earlier.expected.clone_from(&kept.roster);
        config.kept.admitted =
            kept.admitted.iter().filter(|admitted| admitted.alias.as_str() == "ann").cloned().collect();
    });
    assert_eq!(again.roster(0), ["host", "ann"], "as if nothing had happened");
    again.wait(11.0);
    assert_eq!(again.roster(0), ["host", "ann"]);
    again.wait(2.0);
    assert_eq!(again.roster(0), ["host"], "but not for ever");
    assert!(
        again.has(0, |event| matches!(
            event,
            NodeEvent::PeerDown { reason: CloseReason::HeartbeatTimeout, .. }
        ))
    );
    // A host that leaves in order expects nobody.
    sim.command(0, NodeCommand::Leave);
    assert!(sim.saved.last().unwrap().roster.is_empty());
}

#[test]
fn who_slept_asks_to_be_admitted_again_at_once() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    sim.frozen.insert(ann);
    sim.wait(240.0);
    sim.frozen.remove(&ann);
    // The link is as dead as it would be after a change of network.
    sim.queue.retain(
        |delivery| !matches!(delivery, Delivery::Closed(end) | Delivery::Frame(end, _) if end.0 == ann),
    );
    sim.nodes[ann].handle(sim.now, Input::Suspended(Duration::from_secs(240)));
    sim.nodes[ann].handle_timeout(sim.now);
    sim.run();
    sim.wait(0.1);
    assert!(sim.has(ann, |event| *event == NodeEvent::Suspended { time: Duration::from_secs(240) }));
    assert_eq!(sim.roster(0), ["host", "ann"], "without waiting for the heartbeat");
}

#[test]
fn a_lost_delta_is_asked_for_again() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    let end = *sim.links.keys().find(|end| end.0 == ann).unwrap();
    let delta = crate::wire::RosterDelta {
        from: 90,
        to: 91,
        removed: Vec::new(),
        updated: Vec::new(),
        departed: Vec::new(),
        signature: Signature([0; 64]),
    };
    sim.wait(1.0);
    sim.queue.push_back(Delivery::Frame(end, Frame::RosterDelta(delta)));
    sim.run();
    sim.wait(0.6);
    let moved = |event: &NodeEvent| matches!(event, NodeEvent::PeerUp { .. } | NodeEvent::PeerDown { .. });
    assert!(!sim.has(ann, moved), "the whole came and changed nothing");
    sim.join("bob");
    assert_eq!(sim.roster(ann), ["host", "ann", "bob"], "and deltas are taken on again");
}

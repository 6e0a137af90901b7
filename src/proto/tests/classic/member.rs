//! A member of a classic network.

use super::*;

impl Sim {
    /// A member that is about to join the Python program at 10.0.0.1, and its join link.
    fn classic_member(&mut self) -> (usize, End) {
        self.frozen.insert(0);
        let config = MemberConfig { wire: Wire::Classic, ..member_config(PASSWORD) };
        self.plain_joins = true;
        let identity = Identity::generate().unwrap().0;
        let index = self.add("ann", identity, RoleConfig::Member(Box::new(config)));
        let join = self.plain(index, LinkKind::JoinOut, "10.0.0.1:4702");
        (index, join)
    }

    fn classic_joined(&mut self) -> (usize, End, End) {
        let (ann, join) = self.classic_member();
        self.tell(join, Object::BannedStatus(false));
        self.tell(join, Object::Authenticated(true));
        self.tell(join, roster(&["10.0.0.1:49000", "10.0.0.2:49999"]));
        self.tell(join, Object::DistributionAddress(Address("6.6.6.6".into(), PORT)));
        let distribution = self.plain(ann, LinkKind::DistributionOut, "10.0.0.1:50500");
        self.told(join);
        (ann, join, distribution)
    }
}

#[test]
fn a_member_joins_a_python_host() {
    let mut sim = Sim::host();
    let (ann, join) = sim.classic_member();
    assert!(sim.told(join).is_empty(), "it says nothing before it is spoken to");
    sim.tell(join, Object::BannedStatus(false));
    assert_eq!(sim.told(join), [Object::Password(Password::new(PASSWORD.into()))]);
    sim.tell(join, Object::Authenticated(true));
    assert_eq!(sim.told(join), [Object::PeerAddress(v4("10.0.0.2:49999").into())]);
    sim.tell(join, roster(&["10.0.0.1:49000", "10.0.0.2:49999"]));
    sim.tell(join, Object::DistributionAddress(Address("6.6.6.6".into(), PORT)));
    assert_eq!(sim.distribution, Some(v4("10.0.0.1:50500")), "at the host's address, whatever it says");
    let distribution = sim.plain(ann, LinkKind::DistributionOut, "10.0.0.1:50500");
    assert_eq!(sim.roster(ann), ["10.0.0.1", "ann"]);
    assert!(sim.has(ann, |event| matches!(event, NodeEvent::Authenticated { .. })));
    for _ in 0..30 {
        sim.tell(join, Object::Beat);
        assert_eq!(sim.told(join), [Object::Beat]);
        sim.wait(2.0);
    }
    sim.tell(distribution, roster(&["10.0.0.1:49000", "10.0.0.2:49999", "10.0.0.3:49003"]));
    assert_eq!(sim.roster(ann), ["10.0.0.1", "10.0.0.3", "ann"]);
    let end = sim.plain(ann, LinkKind::PeerIn, "10.0.0.3:60000");
    sim.tell(end, message("hi", "bob", To::Everyone, v4("10.0.0.3:49003")));
    let end = sim.plain(ann, LinkKind::PeerIn, "10.0.0.1:60000");
    sim.tell(end, message("hi", "bob", To::Everyone, v4("10.0.0.1:49000")));
    assert_eq!(sim.heard(ann), ["bob: hi", "10.0.0.1: hi"]);
    assert_eq!(sim.claims(ann), [None, Some("bob".into())], "the label is taken");
    sim.say(ann, "everyone", "hello");
    assert_eq!(sim.said.len(), 2);
    sim.tell(distribution, roster(&["10.0.0.1:49000", "10.0.0.2:49999"]));
    assert_eq!(sim.roster(ann), ["10.0.0.1", "ann"]);
    assert!(sim.has(ann, |event| matches!(event, NodeEvent::PeerDown { reason: CloseReason::Left, .. })));
    assert!(!sim.has(ann, |event| matches!(event, NodeEvent::Heartbeat { missed: 1.., .. })));
}

#[test]
fn a_python_host_that_calls_itself_something_else_is_found_where_it_is() {
    for name in ["localhost", "0.0.0.0"] {
        let mut sim = Sim::host();
        let (ann, join) = sim.classic_member();
        sim.tell(join, Object::BannedStatus(false));
        sim.tell(join, Object::Authenticated(true));
        let all =
            vec![Address(name.into(), 49_000), v4("10.0.0.2:49999").into(), Address(name.into(), 49_005)];
        sim.tell(join, Object::Roster(all));
        sim.tell(join, Object::DistributionAddress(Address(name.into(), PORT)));
        sim.plain(ann, LinkKind::DistributionOut, "10.0.0.1:50500");
        assert_eq!(sim.roster(ann), ["10.0.0.1", "ann"], "{name}");
    }
}

#[test]
fn a_python_host_that_hangs_up_is_not_told_the_password_again_and_again() {
    let mut sim = Sim::host();
    let (ann, join) = sim.classic_member();
    sim.tell(join, Object::BannedStatus(false));
    sim.hang_up(join);
    assert_eq!(sim.end(ann), Some(CloseReason::NotPyile));
    assert!(sim.errors(ann)[0].contains("without --classic"), "{:?}", sim.errors(ann));
}

#[test]
fn a_python_host_that_says_no_is_believed_and_one_that_makes_no_sense_is_left() {
    for (objects, end) in [
        (vec![Object::BannedStatus(true)], CloseReason::Banned),
        (vec![Object::BannedStatus(false), Object::Authenticated(false)], CloseReason::WrongPassword),
        (vec![Object::Authenticated(true)], CloseReason::NotPyile),
        (vec![Object::BannedStatus(false), roster(&["10.0.0.1:49000"])], CloseReason::NotPyile),
    ] {
        let mut sim = Sim::host();
        let (ann, join) = sim.classic_member();
        for object in objects {
            sim.tell(join, object);
        }
        assert_eq!(sim.end(ann), Some(end));
    }
    let mut sim = Sim::host();
    let (ann, _) = sim.classic_member();
    sim.wait(20.0);
    assert!(sim.finished[ann].is_none(), "one that says nothing is slow, for a while");
    while sim.finished[ann].is_none() {
        sim.nodes[ann].handle(sim.now, Input::JoinFailed(CloseReason::TimedOut.into()));
        sim.wait(10.0);
    }
    assert_eq!(sim.end(ann), Some(CloseReason::TimedOut), "{:?}", sim.errors(ann));
}

#[test]
fn a_member_comes_back_to_a_python_host_with_the_password_it_was_given() {
    let mut sim = Sim::host();
    let (ann, join, distribution) = sim.classic_joined();
    sim.hang_up(distribution);
    assert!(sim.shut.contains(&join), "without the second link no roster comes any more");
    sim.wait(1.0);
    let join = sim.plain(ann, LinkKind::JoinOut, "10.0.0.1:4702");
    sim.tell(join, Object::BannedStatus(false));
    assert_eq!(sim.told(join), [Object::Password(Password::new(PASSWORD.into()))]);
    sim.tell(join, Object::Authenticated(true));
    sim.tell(join, roster(&["10.0.0.1:49000", "10.0.0.2:49999"]));
    sim.tell(join, Object::DistributionAddress(Address("6.6.6.6".into(), PORT)));
    sim.plain(ann, LinkKind::DistributionOut, "10.0.0.1:50501");
    let joined = |event: &&NodeEvent| matches!(event, NodeEvent::Authenticated { .. });
    assert_eq!(sim.events[ann].iter().filter(joined).count(), 2);
    // A host that falls silent is lost.
    sim.wait(13.0);
    let lost = |event: &NodeEvent| {
        matches!(event, NodeEvent::Error { kind: ErrorKind::Connection, message, .. }
            if message.as_str().contains("the host is lost: no heartbeat"))
    };
    assert!(sim.has(ann, lost), "{:?}", sim.errors(ann));
}

/// As with a native host: stopped at any time between two beats, and the clock is looked at before what came is read.
#[test]
fn a_member_that_was_stopped_does_not_take_a_python_host_for_silent() {
    for phase in 0..20 {
        let mut sim = Sim::host();
        let (ann, join, _) = sim.classic_joined();
        sim.tell(join, Object::Beat);
        sim.wait(2.0);
        sim.tell(join, Object::Beat);
        sim.wait(0.1 * f64::from(phase));
        sim.frozen.insert(ann);
        sim.wait(5.5);
        sim.nodes[ann].handle_timeout(sim.now);
        sim.frozen.remove(&ann);
        for _ in 0..3 {
            sim.tell(join, Object::Beat);
            sim.wait(2.0);
        }
        let doubts = |event: &NodeEvent| match event {
            NodeEvent::Heartbeat { state, .. } => *state != Liveness::Alive,
            _ => false,
        };
        assert!(!sim.has(ann, doubts), "phase {phase}");
        assert_eq!(sim.errors(ann), Vec::<String>::new(), "phase {phase}");
    }
}

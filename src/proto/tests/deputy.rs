//! The deputy opens the network again when the host is gone.

mod old_host;

use super::*;
use crate::model::{DeputyStatement, HostState};

const GRACE: u32 = 60;

impl Sim {
    fn with_grace() -> Self {
        Self::host_with(|config| config.policy.grace = GRACE)
    }

    /// Another host in place of the first, of which the test has the key twice.
    fn replace_host(&mut self, key: Identity) -> usize {
        let mut config = host_config();
        config.policy.grace = GRACE;
        *self = Self::host_as(key, config);
        0
    }

    fn deputy(&mut self, name: Option<&str>) {
        let peer = name.map(|name| name.parse().unwrap());
        self.command(0, NodeCommand::Deputy { peer });
        self.wait(2.0);
    }

    /// The host is gone, and its time of grace over.
    fn lose_host(&mut self) {
        self.frozen.insert(0);
        self.wait(f64::from(GRACE) + 20.0);
    }

    fn deputy_of(&self, index: usize) -> Option<String> {
        let named = |event: &NodeEvent| match event {
            NodeEvent::Deputy { peer } => Some(peer.as_ref().map(|peer| peer.alias.to_string())),
            _ => None,
        };
        self.events[index].iter().rev().find_map(named).flatten()
    }

    /// Whether a member goes on with a deputy that shows this word where it looks for a host.
    fn follows(&mut self, member: usize, deputy: usize, shown: &DeputyStatement) -> bool {
        let node::Role::Member(it) = &mut self.nodes[member].role else { unreachable!() };
        // Nobody answers until the test does.
        it.turn.timers.cancel(member::Timer::Rejoin);
        let _ = self.outputs(member);
        let conn = self.conn();
        let remote = SocketAddr::new(Sim::ip(deputy), 4702);
        let secured = Secured { peer: self.ids[deputy], binding: [0; 32] };
        let link = LinkKind::JoinOut;
        let connected =
            Connected { link, secured, remote, local: remote, listening: vec![remote], via: None };
        let known = crate::wire::BannedStatus::Known;
        for input in [
            Input::Connected(conn, connected),
            Input::Frame(conn, Frame::OpenedAgain(Box::new(shown.clone()))),
            Input::Frame(conn, Frame::BannedStatus(known)),
        ] {
            self.nodes[member].handle(self.now, input);
        }
        let says_hello = |output: &Output| matches!(output, Output::Send(_, bytes) if matches!(Frame::decode(bytes), Ok(Frame::Hello(_))));
        self.outputs(member).iter().any(says_hello)
    }

    /// The host is gone, and its deputy opens the network again.
    fn take_over(&mut self, deputy: usize) {
        self.lose_host();
        self.command(deputy, NodeCommand::TakeOver);
    }

    fn statement(&self) -> DeputyStatement {
        self.saved.last().unwrap().deputy.clone().unwrap()
    }
}

/// How a host begins again with what it has kept.
fn again(kept: &HostState) -> HostConfig {
    HostConfig {
        network: kept.network.clone(),
        record: HostRecord::from_bytes(&kept.record).unwrap(),
        kept: KeptState {
            bans: kept.bans.clone(),
            admitted: kept.admitted.clone(),
            alive: kept.alive,
            deputy: kept.deputy.clone(),
            opened_by: kept.opened_by.clone(),
            ..KeptState::default()
        },
        earlier: EarlierRun {
            expected: kept.roster.clone(),
            departed: kept.departed.clone(),
            version: kept.version,
            recalled: Recalled::nothing(),
        },
        ..host_config()
    }
}

#[test]
fn the_deputy_opens_the_network_again_and_the_others_follow_with_all_that_the_host_had() {
    let mut sim = Sim::with_grace();
    let (ann, bob, carol) = (sim.join("ann"), sim.join("bob"), sim.join("carol"));
    let mallory = sim.join("mallory");
    sim.deputy(Some("bob"));
    for index in [0, ann, bob, carol, mallory] {
        assert_eq!(sim.deputy_of(index).as_deref(), Some("bob"), "{index}");
    }
    // Also what is decided after it was named.
    sim.ban("mallory");
    sim.say(0, "everyone", "my last words");
    sim.wait(3.0);
    sim.frozen.insert(0);
    sim.wait(20.0);
    sim.say(ann, "everyone", "still here?");
    sim.command(bob, NodeCommand::TakeOver);
    assert!(sim.errors(bob).last().unwrap().contains("once it has been gone for its time of grace, in 5"));
    sim.wait(f64::from(GRACE));
    assert!(sim.errors(ann).last().unwrap().contains("bob, its deputy"), "{:?}", sim.errors(ann));
    assert!(sim.errors(bob).last().unwrap().contains("/takeover opens the network again"));
    sim.command(ann, NodeCommand::TakeOver);
    assert!(sim.errors(ann).last().unwrap().contains("you are not the deputy"));
    sim.command(bob, NodeCommand::TakeOver);
    sim.wait(60.0);
    for index in [ann, bob, carol] {
        assert_eq!(sim.roster(index), ["bob", "ann", "carol"], "{index}");
        assert_eq!(sim.deputy_of(index), None, "each host names its own");
    }
    assert!(
        sim.has(
            ann,
            |event| matches!(event, NodeEvent::Handover { host, .. } if host.alias.as_str() == "bob")
        )
    );
    let kept = sim.saved.last().unwrap();
    assert_eq!((kept.network.name.as_str(), kept.bans.len()), ("lab", 1));
    assert!(kept.version > limits::DEPUTY_LEAP, "no version of the old host is as high");
    sim.say(carol, "everyone", "we are here");
    sim.say(bob, "ann", "welcome");
    sim.wait(0.1);
    assert_eq!(sim.heard(bob), ["host: my last words", "ann: still here?", "carol: we are here"]);
    assert_eq!(sim.heard(ann), ["host: my last words", "carol: we are here", "bob: welcome"]);
    // With the same password, and under the same ban.
    let mut config = member_config(PASSWORD);
    config.addrs = vec![SocketAddr::new(Sim::ip(bob), 4702)];
    let dave = sim.add("dave", Identity::generate().unwrap().0, RoleConfig::Member(Box::new(config)));
    sim.wait(1.0);
    assert_eq!(sim.roster(dave), ["bob", "ann", "carol", "dave"]);
}

#[test]
fn a_member_that_begins_again_by_the_address_of_before_finds_the_host_of_now() {
    let mut sim = Sim::with_grace();
    let (ann_key, ann_again) = identity();
    let ann = sim.join_as("ann", PASSWORD, ann_key);
    let bob = sim.join("bob");
    sim.deputy(Some("bob"));
    sim.take_over(bob);
    sim.wait(30.0);
    sim.crash(ann);
    let config = MemberConfig {
        pin: Some(sim.ids[0]),
        known: Some((host_config().network.id, 1)),
        moved: Some((sim.ids[bob], "10.0.0.3:4702".to_owned())),
        ..member_config(PASSWORD)
    };
    sim.names.insert("10.0.0.3:4702".to_owned(), bob);
    let ann = sim.add("ann", ann_again, RoleConfig::Member(Box::new(config)));
    sim.wait(5.0);
    assert_eq!(sim.roster(ann), ["bob", "ann"]);
}

#[test]
fn nobody_opens_a_network_whose_host_is_here_or_that_it_was_not_named_for() {
    let mut sim = Sim::with_grace();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    for (name, why) in [("nobody", "nobody called"), ("host", "a deputy is for when you are gone")] {
        sim.command(0, NodeCommand::Deputy { peer: Some(name.parse().unwrap()) });
        assert!(sim.errors(0).last().unwrap().contains(why), "{:?}", sim.errors(0));
    }
    sim.deputy(Some("bob"));
    sim.command(bob, NodeCommand::TakeOver);
    assert!(sim.errors(bob).last().unwrap().contains("the host is here"));
    sim.command(0, NodeCommand::TakeOver);
    assert!(sim.errors(0).last().unwrap().contains("you are the host already"));
    let earlier = sim.statement();
    sim.deputy(Some("ann"));
    assert_ne!(sim.statement().to, earlier.to);
    assert_eq!(sim.deputyships[&bob], None, "it does not keep what it may not use");
    assert!(sim.deputyships[&ann].is_some());
    sim.take_over(bob);
    assert!(sim.errors(bob).last().unwrap().contains("you are not the deputy"));
}

#[test]
fn a_word_that_the_host_has_not_signed_for_this_deputy_and_network_is_worth_nothing() {
    let mut sim = Sim::with_grace();
    let (key, same) = identity();
    sim.replace_host(key);
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.deputy(Some("bob"));
    let right = sim.statement();
    let signed = |mut statement: DeputyStatement| {
        statement.signature = crate::security::sign::deputy(&same, &statement);
        statement
    };
    let not_signed = DeputyStatement { addrs: vec!["10.0.0.9:4702".parse().unwrap()], ..right.clone() };
    let elsewhere = signed(DeputyStatement { network: NetworkId([2; 16]), ..right.clone() });
    let of_another = signed(DeputyStatement { to: sim.ids[ann], ..right.clone() });
    assert!(!sim.follows(ann, bob, &right), "the host is here");
    sim.lose_host();
    for shown in [not_signed.clone(), elsewhere.clone(), of_another.clone()] {
        assert!(!sim.follows(ann, bob, &shown), "{shown:?}");
    }
    // Nor does the host itself go by one.
    sim.frozen.remove(&0);
    sim.frozen.extend([ann, bob]);
    sim.wait(30.0);
    for (shown, goes) in [(not_signed, false), (elsewhere, false), (of_another, false), (right.clone(), true)]
    {
        sim.nodes[0].handle(sim.now, Input::LookedForDeputy(Some(Box::new(shown))));
        sim.run();
        assert_eq!(sim.stores_retired(0) > 0, goes);
    }
    sim.frozen.clear();
    sim.frozen.insert(0);
    assert!(sim.follows(ann, bob, &right));
}

#[test]
fn whoever_begins_again_while_the_host_is_gone_finds_the_deputy_or_is_it() {
    let mut sim = Sim::with_grace();
    let ((ann_key, ann_again), (bob_key, bob_again)) = (identity(), identity());
    let (ann, bob) = (sim.join_as("ann", PASSWORD, ann_key), sim.join_as("bob", PASSWORD, bob_key));
    sim.wait(1.0);
    sim.deputy(Some("bob"));
    let (statement, network) = (sim.statement(), host_config().network.id);
    let given = sim.deputyships[&bob].clone();
    assert_eq!(given.as_ref().map(|given| &given.statement), Some(&statement));
    sim.crash(0);
    sim.crash(ann);
    sim.crash(bob);
    sim.wait(600.0);
    let config = |sim: &Sim| MemberConfig {
        pin: Some(sim.ids[0]),
        known: Some((network, 1)),
        deputy: Some(statement.clone()),
        ..member_config(PASSWORD)
    };
    // Bob has another address now, at which he is looked for.
    let mut moved = config(&sim);
    moved.deputyship = given;
    let bob = sim.add("bob", bob_again, RoleConfig::Member(Box::new(moved)));
    sim.wait(1.0);
    assert_eq!(sim.end(bob), None, "he waits for the host, and may open the network");
    sim.command(bob, NodeCommand::TakeOver);
    assert!(sim.errors(bob).last().unwrap().contains("time of grace"), "{:?}", sim.errors(bob));
    sim.wait(f64::from(GRACE) + 1.0);
    assert_eq!(sim.deputy_of(bob).as_deref(), Some("bob"));
    sim.command(bob, NodeCommand::TakeOver);
    sim.wait(1.0);
    assert_eq!(sim.roster(bob)[0], "bob");
    let mut returning = config(&sim);
    returning.addrs = vec![SocketAddr::new(Sim::ip(0), 4702)];
    returning.deputy = Some(statement.clone());
    sim.moved = Some((2, bob));
    let ann = sim.add("ann", ann_again, RoleConfig::Member(Box::new(returning)));
    sim.wait(15.0);
    assert_eq!(sim.roster(ann), ["bob", "ann"]);
    assert_eq!(sim.roster(bob), ["bob", "ann"]);
}

#[test]
fn a_ban_of_a_deputy_that_is_away_ends_it_too() {
    let mut sim = Sim::with_grace();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.deputy(Some("bob"));
    sim.command(bob, NodeCommand::Leave);
    sim.wait(1.0);
    assert_eq!(sim.deputy_of(ann).as_deref(), Some("bob"), "it may be back");
    sim.ban("bob");
    sim.wait(1.0);
    assert_eq!((sim.deputy_of(0), sim.deputy_of(ann)), (None, None));
}

#[test]
fn a_ban_or_a_kick_takes_the_deputy_along() {
    for cmd in ["ban", "kick"] {
        let mut sim = Sim::with_grace();
        let (ann, _bob) = (sim.join("ann"), sim.join("bob"));
        sim.deputy(Some("bob"));
        let line = serde_json::json!({"cmd": cmd, "peer": "bob", "reason": "spam"});
        sim.command(0, serde_json::from_value(line).unwrap());
        sim.wait(1.0);
        assert_eq!((sim.deputy_of(0), sim.deputy_of(ann)), (None, None), "{cmd}");
        assert_eq!(sim.saved.last().unwrap().deputy, None);
    }
}

#[test]
fn a_deputy_that_began_again_while_the_host_was_away_is_a_member_like_any_when_it_is_back() {
    let mut sim = Sim::with_grace();
    let (bob_key, bob_again) = identity();
    let bob = sim.join_as("bob", PASSWORD, bob_key);
    sim.wait(1.0);
    sim.deputy(Some("bob"));
    let (statement, network) = (sim.statement(), host_config().network.id);
    let given = sim.deputyships[&bob].clone();
    sim.crash(bob);
    sim.frozen.insert(0);
    let config = |rejoin_for| MemberConfig {
        pin: Some(sim.ids[0]),
        known: Some((network, 1)),
        deputy: Some(statement.clone()),
        deputyship: given.clone(),
        rejoin_for,
        ..member_config(PASSWORD)
    };
    let (patient, hasty) = (config(limits::REJOIN_FOR), config(Duration::ZERO));
    let other = identity().0;
    let bob = sim.add("bob", bob_again, RoleConfig::Member(Box::new(patient)));
    sim.wait(10.0);
    assert!(!sim.has(bob, |event| matches!(event, NodeEvent::Listening { .. })));
    sim.frozen.remove(&0);
    sim.wait(20.0);
    assert!(
        sim.has(bob, |event| matches!(event, NodeEvent::Listening { role: crate::model::Role::Member, .. }))
    );
    assert_eq!(sim.roster(bob), ["host", "bob"]);
    sim.command(bob, NodeCommand::TakeOver);
    assert!(sim.errors(bob).last().unwrap().contains("the host is here"));
    // Whoever does not want to wait for a host does not.
    sim.frozen.insert(0);
    let hasty = sim.add("bob", other, RoleConfig::Member(Box::new(hasty)));
    assert_eq!(sim.end(hasty), Some(CloseReason::Unreachable));
}

#[test]
fn a_takeover_that_came_to_nothing_is_forgotten() {
    let mut sim = Sim::with_grace();
    let bob = sim.join("bob");
    sim.deputy(Some("bob"));
    sim.lose_host();
    sim.frozen.remove(&0);
    sim.command(bob, NodeCommand::TakeOver);
    sim.wait(30.0);
    assert_eq!(sim.roster(bob), ["host", "bob"]);
    // The host is away again, for a moment.
    sim.frozen.insert(0);
    sim.wait(30.0);
    sim.frozen.remove(&0);
    sim.wait(30.0);
    assert_eq!(sim.roster(bob), ["host", "bob"]);
    assert_eq!(sim.stores_retired(0), 0);
}

#[test]
fn a_host_that_answers_and_has_no_time_is_there() {
    let mut sim = Sim::with_grace();
    let bob = sim.join("bob");
    sim.deputy(Some("bob"));
    sim.lose_host();
    sim.plain_joins = true;
    sim.command(bob, NodeCommand::TakeOver);
    sim.nodes[bob].handle(sim.now, Input::JoinFailed(CloseReason::Busy.into()));
    sim.run();
    assert!(sim.errors(bob).last().unwrap().contains("nobody takes over from one that is there"));
    assert!(matches!(sim.nodes[bob].role, node::Role::Member(_)));
}

#[test]
fn whoever_was_kicked_or_came_later_knows_who_is_the_deputy() {
    let mut sim = Sim::with_grace();
    let bob = sim.join("bob");
    sim.deputy(Some("bob"));
    sim.command(bob, NodeCommand::Leave);
    sim.wait(1.0);
    // Bob is not here, and is the deputy.
    let carol = sim.join("carol");
    assert!(sim.deputy_of(carol).is_some());
    let (key, again) = identity();
    let dave = sim.join_as("dave", PASSWORD, key);
    sim.wait(1.0);
    sim.deputy(Some("dave"));
    assert!(sim.deputyships[&dave].is_some());
    let line = serde_json::json!({"cmd": "kick", "peer": "dave"});
    sim.command(0, serde_json::from_value(line).unwrap());
    sim.wait(1.0);
    assert_eq!(sim.deputyships[&dave], None, "it keeps nothing");
    drop(again);
}

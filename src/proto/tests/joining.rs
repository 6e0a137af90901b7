//! Who is let in, who is not, and whose name and key it is.

use super::*;

#[test]
fn members_are_admitted_and_talk() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    for index in [0, ann, bob] {
        assert_eq!(sim.roster(index), ["host", "ann", "bob"]);
    }
    sim.say(ann, "everyone", "hello");
    sim.say(bob, "ann", "psst");
    assert_eq!(sim.heard(0), ["ann: hello"]);
    assert_eq!(sim.heard(bob), ["ann: hello"]);
    assert_eq!(sim.heard(ann), ["bob: psst"]);
    let deliveries = sim.deliveries(ann);
    assert!(deliveries.last().unwrap().ends_with("Delivered 2/2"), "{deliveries:?}");
    assert_eq!(sim.deliveries(bob).last().unwrap(), "psst ann Delivered 1/1");
}

#[test]
fn events_of_a_join_come_in_order() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    let names: Vec<&str> = sim.events[ann]
        .iter()
        .map(|event| match event {
            NodeEvent::Link { .. } => "link",
            NodeEvent::Listening { .. } => "listening",
            NodeEvent::Authenticated { .. } => "authenticated",
            NodeEvent::Roster { .. } => "roster",
            NodeEvent::Heartbeat { .. } => "heartbeat",
            NodeEvent::History { .. } => "history",
            _ => "other",
        })
        .collect();
    assert_eq!(names, ["link", "link", "listening", "authenticated", "roster", "history", "heartbeat"]);
}

#[test]
fn a_wrong_password_is_counted_and_the_third_bans_the_address() {
    let mut sim = Sim::host();
    let mut wrong = |expected: CloseReason, words: &str| {
        let index = sim.nodes.len();
        let identity = Identity::generate().unwrap().0;
        sim.ids.truncate(index);
        let at = sim.join_as("mallory", "guess", identity);
        sim.wait(0.1);
        let closed = sim.finished[at].clone().unwrap();
        assert_eq!(closed.reason, expected);
        assert!(closed.to_string().contains(words), "{closed}");
        // Take the node out again so that the next one has its address.
        sim.nodes.pop();
        sim.ids.pop();
        sim.events.pop();
        sim.finished.pop();
        sim.links.retain(|end, other| end.0 != at && other.0 != at);
        sim.queue.clear();
    };
    wrong(CloseReason::WrongPassword, "2 attempts are left");
    wrong(CloseReason::WrongPassword, "1 attempt is left");
    wrong(CloseReason::WrongPassword, "no attempts are left");
    wrong(CloseReason::Banned, "the host has banned you (3 wrong passwords)");
    let lefts: Vec<u32> = sim.events[0]
        .iter()
        .filter_map(|event| match event {
            NodeEvent::Attempt { left, .. } => Some(*left),
            _ => None,
        })
        .collect();
    assert_eq!(lefts, [2, 1, 0]);
    assert!(sim.has(0, |event| matches!(event, NodeEvent::Banned { addr: Some(_), peer_id: None, .. })));
    let lift = serde_json::json!({"cmd": "unban", "addr": "10.0.0.2"});
    sim.command(0, serde_json::from_value(lift).unwrap());
    let index = sim.join("mallory");
    assert_eq!(sim.end(index), None);
}

#[test]
fn a_newcomer_is_told_that_it_is_in_once_the_host_would_know_it_again() {
    let mut sim = Sim::host();
    let (key, again) = identity();
    let ann = sim.join_as("ann", PASSWORD, key);
    sim.hold_saves = true;
    let bob = sim.join("bob");
    sim.wait(1.0);
    assert_eq!(sim.roster(ann), ["host", "ann", "bob"]);
    assert!(!sim.has(bob, |event| matches!(event, NodeEvent::Authenticated { .. })));
    let token = *sim.held_saves.last().unwrap();
    sim.nodes[0].handle(sim.now, Input::Store(StoreEvent::Saved(token)));
    sim.run();
    assert_eq!(sim.roster(bob), ["host", "ann", "bob"]);
    // Whom it knows already needs to wait for no disk.
    sim.crash(ann);
    let ann = sim.join_as("ann", PASSWORD, again);
    sim.wait(1.0);
    assert!(sim.has(ann, |event| matches!(event, NodeEvent::Authenticated { .. })));
}

#[test]
fn wrong_passwords_are_remembered_by_a_host_that_begins_again() {
    let mut sim = Sim::host();
    for _ in 0..2 {
        sim.join_as("guess", "wrong", Identity::generate().unwrap().0);
    }
    let kept = sim.saved.last().unwrap().attempts.clone();
    assert_eq!(kept.iter().map(|kept| kept.wrong).sum::<u32>(), 2);
    let one = KeptAttempts { wrong: 2, ..kept[0].clone() };
    let host = |last: Timestamp| {
        let one = KeptAttempts { last, ..one.clone() };
        Sim::host_with(|config| config.kept.attempts = vec![one])
    };
    let attempts = |sim: &Sim| {
        let left = |event: &NodeEvent| match event {
            NodeEvent::Admission { attempts, .. } => {
                Some(attempts.iter().map(|attempt| attempt.left).collect())
            }
            _ => None,
        };
        sim.events[0].iter().find_map(left).unwrap_or_else(Vec::new)
    };
    assert_eq!(attempts(&host(one.last)), [1]);
    let long_ago = Timestamp(one.last.0 - 700_000_000);
    assert_eq!(attempts(&host(long_ago)), Vec::<u32>::new(), "forgotten after ten quiet minutes");
}

#[test]
fn aliases_are_unique_and_bound_to_keys() {
    let mut sim = Sim::host();
    sim.join("bob");
    for (alias, words) in
        [("bob", "belongs to another member"), ("b0b", "looks like \"bob\""), ("Host", "looks like")]
    {
        let index = sim.join(alias);
        assert_eq!(sim.end(index), Some(CloseReason::AliasTaken), "{alias}");
        assert!(sim.errors(index)[0].contains(words), "{:?}", sim.errors(index));
    }
}

#[test]
fn a_full_network_refuses() {
    let mut sim = Sim::host_with(|config| config.members = 2);
    sim.join("ann");
    let bob = sim.join("bob");
    assert_eq!(sim.end(bob), Some(CloseReason::NetworkFull));
}

#[test]
fn a_host_with_another_key_is_a_hard_stop() {
    let mut sim = Sim::host();
    let config = MemberConfig { pin: Some(PeerId([9; 32])), ..member_config(PASSWORD) };
    let identity = Identity::generate().unwrap().0;
    let ann = sim.add("ann", identity, RoleConfig::Member(Box::new(config)));
    assert_eq!(sim.end(ann), Some(CloseReason::KeyChanged));
    assert_eq!(sim.roster(0), ["host"]);
}

#[test]
fn a_stranger_at_the_address_of_a_host_that_is_away_is_not_the_host_and_no_end() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    let host = sim.ids[0];
    let link = sim.nodes[ann].role.group().join_links[&host];
    sim.plain_joins = true;
    sim.nodes[ann].handle(sim.now, Input::Closed(link, CloseReason::ConnectionLost.into()));
    sim.run();
    let stranger = |sim: &mut Sim, peer: PeerId| {
        let conn = sim.conn();
        let addr = "10.0.0.1:4702".parse().unwrap();
        let secured = Secured { peer, binding: [0; 32] };
        let link = LinkKind::JoinOut;
        let connected =
            Connected { link, secured, remote: addr, local: addr, listening: Vec::new(), via: None };
        sim.nodes[ann].handle(sim.now, Input::Connected(conn, connected));
        sim.run();
    };
    stranger(&mut sim, PeerId([9; 32]));
    // So is a program of another version, or of another kind.
    for reason in [CloseReason::IncompatibleVersion, CloseReason::NotPyile] {
        sim.wait(1.0);
        sim.nodes[ann].handle(sim.now, Input::JoinFailed(reason.into()));
        sim.run();
    }
    assert!(sim.finished[ann].is_none());
    let told = |event: &NodeEvent| match event {
        NodeEvent::Link { state: crate::api::LinkState::Waiting, message, .. } => {
            message.as_str().contains("the host is still away; a stranger")
        }
        _ => false,
    };
    assert!(sim.has(ann, told));
    sim.plain_joins = false;
    sim.wait(20.0);
    assert_eq!(sim.roster(ann), ["host", "ann"], "the host is back");
}

#[test]
fn the_newer_of_two_sessions_with_one_key_wins() {
    let mut sim = Sim::host();
    let (identity, bytes) = Identity::generate().unwrap();
    let first = sim.join_as("bob", PASSWORD, identity);
    sim.wait(0.1);
    let second = sim.join_as("bob", PASSWORD, Identity::from_pkcs8(&bytes).unwrap());
    sim.wait(0.1);
    assert_eq!(sim.end(first), Some(CloseReason::Superseded));
    assert_eq!(sim.end(second), None);
    assert_eq!(sim.roster(0), ["host", "bob"]);
}

#[test]
fn a_late_word_of_an_older_session_does_not_end_the_newer() {
    let mut sim = Sim::host();
    let bob = sim.join("bob");
    let (older, newer) = (sim.knocks(bob, LinkKind::JoinIn), sim.knocks(bob, LinkKind::JoinIn));
    // Both are known by their key; the newer one says so first.
    for conn in [newer, older] {
        let hello = Hello { alias: "bob".into(), addrs: Vec::new(), ke1: Vec::new() };
        sim.nodes[0].handle(sim.now, Input::Frame(conn, Frame::Hello(hello)));
    }
    let outputs = sim.outputs(0);
    let is_closed = |conn: ConnId| {
        outputs
            .iter()
            .any(|output| matches!(output, Output::Close(closed, CloseReason::Superseded) if *closed == conn))
    };
    assert!(is_closed(older) && !is_closed(newer));
}

#[test]
fn a_joiner_that_breaks_the_sequence_is_sent_away_and_charged_only_when_challenged() {
    let mut sim = Sim::host();
    let far = (0, sim.conn());
    let near = (99, sim.conn());
    sim.links.insert(far, near);
    let stranger = Identity::generate().unwrap().0;
    let secured = Secured { peer: stranger.peer_id(), binding: [0; 32] };
    let remote = "10.0.0.99:1".parse().unwrap();
    let connected = Connected {
        link: LinkKind::JoinIn,
        secured,
        remote,
        local: remote,
        listening: Vec::new(),
        via: None,
    };
    sim.nodes[0].handle(sim.now, Input::Connected(far.1, connected));
    sim.nodes[0].handle(sim.now, Input::Frame(far.1, Frame::Beat(crate::wire::Beat::default())));
    sim.queue.clear();
    while let Some(output) = sim.nodes[0].poll_output() {
        if let Output::Close(conn, reason) = output {
            assert_eq!((conn, reason), (far.1, CloseReason::ProtocolError));
        }
    }
    let hello = Hello { alias: "x".into(), addrs: Vec::new(), ke1: vec![0; 96] };
    sim.nodes[0].handle(sim.now, Input::Frame(far.1, Frame::Hello(hello)));
    assert!(sim.nodes[0].poll_output().is_none(), "nothing more is taken from it");
    assert!(!sim.has(0, |event| matches!(event, NodeEvent::Attempt { .. })));
}

#[test]
fn the_host_changes_the_password_and_members_stay() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    sim.command(0, NodeCommand::SetPassword(Password::new("new one".into())));
    assert!(sim.has(0, |event| matches!(event, NodeEvent::PasswordChanged)));
    let bob = sim.join("bob");
    assert_eq!(sim.end(bob), Some(CloseReason::WrongPassword));
    let carol = sim.join_as("carol", "new one", Identity::generate().unwrap().0);
    sim.wait(0.1);
    assert_eq!(sim.end(carol), None);
    assert_eq!(sim.roster(ann), ["host", "ann", "carol"]);
}

#[test]
fn a_host_that_begins_again_with_a_password_is_there_at_once_and_takes_no_other_one_meanwhile() {
    let mut sim = Sim::host_with(|config| config.password = Some(Password::new("new one".into())));
    assert!(sim.has(0, |event| matches!(event, NodeEvent::Listening { .. })));
    let bob = sim.join("bob");
    let carol = sim.join_as("carol", "new one", Identity::generate().unwrap().0);
    sim.wait(0.1);
    assert_eq!((sim.end(bob), sim.end(carol)), (None, None), "they wait");
    assert_eq!(sim.roster(0), ["host"]);
    // Another one is set before that: it counts in the end.
    sim.command(0, NodeCommand::SetPassword(Password::new("newest".into())));
    assert_eq!(sim.held_records.len(), 1, "one after the other");
    for _ in 0..2 {
        let (index, password) = sim.held_records.pop().unwrap();
        let record = HostRecord::register(&password, PasswordCost::TEST, [9; 32]).unwrap();
        sim.nodes[index].handle(sim.now, Input::Registered(record.into()));
        sim.run();
        sim.wait(0.1);
    }
    assert_eq!(sim.end(bob), Some(CloseReason::WrongPassword));
    assert_eq!(sim.end(carol), None);
    assert_eq!(sim.roster(0), ["host", "carol"]);
    let dave = sim.join_as("dave", "newest", Identity::generate().unwrap().0);
    let erin = sim.join_as("erin", "new one", Identity::generate().unwrap().0);
    sim.wait(0.1);
    assert_eq!((sim.end(dave), sim.end(erin)), (None, Some(CloseReason::WrongPassword)));
}

#[test]
fn fifty_join_at_once_and_all_rosters_are_equal() {
    let mut sim = Sim::host();
    for number in 0..50 {
        sim.join_as(&format!("peer{number}"), PASSWORD, Identity::generate().unwrap().0);
    }
    sim.wait(1.0);
    let whole = sim.roster(0);
    assert_eq!(whole.len(), 51);
    for index in 0..=50 {
        assert_eq!(sim.roster(index), whole);
    }
    sim.say(7, "everyone", "hi all");
    assert!(sim.deliveries(7).last().unwrap().ends_with("Delivered 50/50"));
}

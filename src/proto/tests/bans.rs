//! Bans and kicks, and what they outlast.

use super::*;

#[test]
fn a_ban_cuts_off_everywhere_and_lasts_until_it_is_lifted() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.say(ann, "everyone", "before");
    sim.ban("bob");
    sim.wait(0.1);
    assert_eq!(sim.end(bob), Some(CloseReason::Banned));
    assert!(sim.has(bob, |event| matches!(event, NodeEvent::Banned { .. })));
    assert_eq!(sim.roster(ann), ["host", "ann"]);
    assert!(sim.has(ann, |event| {
        matches!(event, NodeEvent::PeerDown { peer, reason: CloseReason::Banned } if peer.alias.as_str() == "bob")
    }));
    assert!(sim.has(0, |event| matches!(event, NodeEvent::CutOff { by: 1, of: 1, .. })));
    let open = |index: usize| sim.links.keys().filter(|end| end.0 == index).count();
    assert_eq!(open(bob), 0, "no link of the banned peer is left");
    assert_eq!(sim.saved.last().unwrap().bans.len(), 1, "kept");
    let lift = serde_json::json!({"cmd": "unban", "peer": "bob"});
    sim.command(0, serde_json::from_value(lift).unwrap());
    assert!(sim.has(0, |event| matches!(event, NodeEvent::Unbanned { .. })));
    assert!(sim.saved.last().unwrap().bans.is_empty());
    let again = sim.join("bob");
    assert_eq!(sim.end(again), None);
}

#[test]
fn a_banned_key_does_not_come_back_by_itself() {
    let mut sim = Sim::host();
    let (identity, bytes) = Identity::generate().unwrap();
    let bob = sim.join_as("bob", PASSWORD, identity);
    sim.wait(0.1);
    sim.ban("bob");
    sim.wait(1.0);
    assert_eq!(sim.end(bob), Some(CloseReason::Banned));
    let again = sim.join_as("rob", PASSWORD, Identity::from_pkcs8(&bytes).unwrap());
    sim.wait(0.1);
    assert_eq!(sim.end(again), Some(CloseReason::Banned));
}

#[test]
fn an_address_ban_stops_a_new_key_with_the_old_password() {
    let mut sim = Sim::host();
    let bob = sim.join("bob");
    let addr = Sim::ip(bob).to_string();
    let ban = serde_json::json!({"cmd": "ban", "peer": "bob", "addr": addr});
    sim.command(0, serde_json::from_value(ban).unwrap());
    assert_eq!(sim.end(bob), Some(CloseReason::Banned));
    assert!(
        sim.has(0, |event| { matches!(event, NodeEvent::Banned { peer_id: Some(_), addr: Some(_), .. }) })
    );
    // The next node has another address: a control that it is the address that is refused.
    let other = sim.join("other");
    assert_eq!(sim.end(other), None);
    let far = (0, sim.conn());
    sim.links.insert(far, (99, ConnId(0)));
    let secured = Secured { peer: Identity::generate().unwrap().0.peer_id(), binding: [0; 32] };
    let remote = SocketAddr::new(Sim::ip(bob), 1);
    let connected = Connected {
        link: LinkKind::JoinIn,
        secured,
        remote,
        local: remote,
        listening: Vec::new(),
        via: None,
    };
    sim.nodes[0].handle(sim.now, Input::Connected(far.1, connected));
    let first = std::iter::from_fn(|| sim.nodes[0].poll_output()).find_map(|output| match output {
        Output::Send(_, bytes) => Frame::decode(&bytes).ok(),
        _ => None,
    });
    assert!(matches!(first, Some(Frame::BannedStatus(crate::wire::BannedStatus::Banned { .. }))));
}

#[test]
fn a_kicked_member_may_join_again_with_the_password() {
    let mut sim = Sim::host();
    let (identity, bytes) = Identity::generate().unwrap();
    let bob = sim.join_as("bob", PASSWORD, identity);
    sim.wait(0.1);
    let kick = serde_json::json!({"cmd": "kick", "peer": "bob", "reason": "too loud"});
    sim.command(0, serde_json::from_value(kick).unwrap());
    assert_eq!(sim.end(bob), Some(CloseReason::Kicked));
    assert!(sim.errors(bob)[0].contains("too loud"));
    let wrong = sim.join_as("bob", "guess", Identity::from_pkcs8(&bytes).unwrap());
    sim.wait(0.1);
    assert_eq!(sim.end(wrong), Some(CloseReason::WrongPassword), "the key is forgotten");
    let again = sim.join_as("bob", PASSWORD, Identity::from_pkcs8(&bytes).unwrap());
    sim.wait(0.1);
    assert_eq!(sim.end(again), None);
}

#[test]
fn only_the_host_bans() {
    let mut sim = Sim::host();
    let (ann, _) = (sim.join("ann"), sim.join("bob"));
    let ban = serde_json::json!({"cmd": "ban", "peer": "bob"});
    sim.command(ann, serde_json::from_value(ban).unwrap());
    assert_eq!(sim.errors(ann), ["only the host can do that"]);
    assert_eq!(sim.roster(0).len(), 3);
    sim.ban("host");
    assert!(sim.errors(0)[0].contains("cannot ban itself"));
}

#[test]
fn a_kick_and_a_ban_reach_a_join_link_that_was_opened_before() {
    for (cmd, reason) in [("kick", CloseReason::Kicked), ("ban", CloseReason::Banned)] {
        let mut sim = Sim::host();
        let bob = sim.join("bob");
        let conn = sim.knocks(bob, LinkKind::JoinIn);
        let line = serde_json::json!({"cmd": cmd, "peer": "bob"});
        sim.command(0, serde_json::from_value(line).unwrap());
        let hello = Hello { alias: "bob".into(), addrs: Vec::new(), ke1: Vec::new() };
        sim.nodes[0].handle(sim.now, Input::Frame(conn, Frame::Hello(hello)));
        let told = |output: &Output| matches!(output, Output::Close(closed, why) if (*closed, *why) == (conn, reason));
        assert!(sim.outputs(0).iter().any(told), "{cmd}: it is told why");
        sim.wait(0.2);
        assert_eq!(sim.roster(0), ["host"]);
    }
}

#[test]
fn a_ban_on_a_full_disk_is_in_force_and_is_written_as_soon_as_there_is_room() {
    let mut sim = Sim::host();
    let bob = sim.join("bob");
    sim.wait(0.1);
    sim.is_disk_full = true;
    sim.ban("bob");
    assert_eq!(sim.end(bob), Some(CloseReason::Banned));
    sim.wait(60.0);
    let full = sim.errors(0).iter().filter(|error| error.contains("the disk is full")).count();
    assert_eq!(full, 1, "said once: {:?}", sim.errors(0));
    assert!(sim.saved.last().unwrap().bans.is_empty());
    sim.is_disk_full = false;
    sim.wait(10.0);
    assert_eq!(sim.saved.last().unwrap().bans.len(), 1);
    let saves = sim.saved.len();
    sim.wait(60.0);
    assert_eq!(sim.saved.len(), saves, "and that is all");
}

#[test]
fn nobody_waits_for_one_that_is_banned_while_it_is_away() {
    let mut sim = Sim::host_on_disk();
    let (keep, again) = identity();
    let (ann, bob, carol) = (sim.join("ann"), sim.join("bob"), sim.join_as("carol", PASSWORD, again));
    sim.wait(0.1);
    let key = sim.ids[bob];
    sim.command(bob, NodeCommand::Leave);
    sim.wait(3.0);
    for member in [ann, carol] {
        sim.say(member, "bob", "for tomorrow");
        sim.say(member, "everyone", "to all");
        let last = sim.deliveries(member).last().unwrap().clone();
        assert!(last.ends_with(" 2/3"), "bob is waited for: {last}");
    }
    // One of them hears of it later.
    sim.command(carol, NodeCommand::Leave);
    sim.wait(3.0);
    sim.ban(&key.to_string());
    sim.wait(0.5);
    let is_told = |event: &NodeEvent| matches!(event, NodeEvent::PeerDown { peer, reason: CloseReason::Banned } if peer.peer_id == key);
    assert!(sim.has(ann, is_told));
    let carol = sim.begin_again(carol, "carol", keep);
    sim.wait(1.0);
    // Whoever has begun again does not know what had gone before.
    for (member, end) in [(ann, "Failed banned"), (carol, "Sent")] {
        let lines = sim.deliveries(member);
        let expected = format!("for tomorrow bob {end} 0/1");
        assert_eq!(lines.iter().rfind(|line| line.starts_with("for tomorrow")), Some(&expected));
        sim.say(member, "bob", "hello?");
        assert!(sim.errors(member).last().unwrap().contains("nobody called \"bob\""));
        sim.say(member, "everyone", "who is here?");
        sim.wait(0.1);
        let last = sim.deliveries(member).last().unwrap().clone();
        assert!(last.ends_with("Delivered 2/2"), "{last}");
    }
    // Also whoever comes only now.
    let dave = sim.join("dave");
    sim.say(dave, "bob", "hello?");
    assert!(sim.errors(dave).last().unwrap().contains("nobody called \"bob\""));
    // And by a host that begins again.
    let kept = sim.saved.last().unwrap().clone();
    let mut again = Sim::host_with(|config| {
        config.earlier.departed = kept.departed;
        config.kept.bans = kept.bans;
    });
    again.join("erin");
    again.say(0, "everyone", "here we are");
    again.wait(0.1);
    assert!(again.deliveries(0).last().unwrap().ends_with("Delivered 1/1"), "{:?}", again.deliveries(0));
}

#[test]
fn a_kick_of_somebody_who_is_away_forgets_the_key_and_frees_the_name() {
    let mut sim = Sim::host();
    let (keep, again) = identity();
    let (ann, bob) = (sim.join("ann"), sim.join_as("bob", PASSWORD, again));
    sim.command(bob, NodeCommand::Leave);
    sim.wait(3.0);
    let new = sim.join("bob");
    assert_eq!(sim.end(new), Some(CloseReason::AliasTaken));
    let kick = |name: &str| NodeCommand::Kick { peer: Some(name.parse().unwrap()), addr: None, reason: None };
    sim.command(0, kick("nobody"));
    assert!(sim.errors(0).last().unwrap().contains("nobody called \"nobody\""), "{:?}", sim.errors(0));
    sim.command(0, kick("bob"));
    sim.wait(1.0);
    let key = sim.ids[bob];
    let is_told = |event: &NodeEvent| matches!(event, NodeEvent::PeerDown { peer, reason: CloseReason::Kicked } if peer.peer_id == key);
    assert!(sim.has(ann, is_told));
    let new = sim.join("bob");
    assert_eq!(sim.roster(ann), ["host", "ann", "bob"]);
    // The key of before is nobody's who is known.
    let before = sim.join_as("bob", PASSWORD, keep);
    assert_eq!((sim.end(before), sim.end(new)), (Some(CloseReason::AliasTaken), None));
}

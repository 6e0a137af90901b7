//! The host of before comes back, and finds that its deputy has opened the network again.

use super::*;

#[test]
fn the_old_host_is_a_member_when_it_is_back() {
    let mut sim = Sim::with_grace();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.deputy(Some("bob"));
    sim.take_over(bob);
    sim.wait(60.0);
    assert_eq!(sim.roster(ann), ["bob", "ann"]);
    sim.say(ann, "everyone", "without you");
    sim.frozen.remove(&0);
    sim.wait(90.0);
    for index in [0, ann, bob] {
        assert_eq!(sim.roster(index), ["bob", "ann", "host"], "{index}");
    }
    assert_eq!(sim.stores_retired(0), 1, "it keeps no network of its own");
    assert!(sim.errors(0).iter().any(|error| error.contains("while you were gone")), "{:?}", sim.errors(0));
    assert_eq!(sim.heard(0), ["ann: without you"]);
    sim.say(0, "everyone", "well done");
    sim.wait(0.1);
    assert_eq!(sim.heard(bob), ["ann: without you", "host: well done"]);
}

#[test]
fn an_old_host_that_begins_again_is_a_member_at_once() {
    let mut sim = Sim::with_grace();
    let (key, same) = identity();
    // The one that is lost, as the others know it.
    let host = sim.replace_host(key);
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.deputy(Some("bob"));
    let kept = sim.saved.last().unwrap().clone();
    sim.crash(host);
    sim.wait(f64::from(GRACE) + 20.0);
    sim.command(bob, NodeCommand::TakeOver);
    sim.wait(60.0);
    assert_eq!(sim.roster(ann), ["bob", "ann"]);
    let back = sim.add("host", same, RoleConfig::Host(Box::new(again(&kept))));
    sim.wait(5.0);
    for index in [back, ann, bob] {
        assert_eq!(sim.roster(index), ["bob", "ann", "host"], "{index}");
    }
    assert_eq!(sim.stores_retired(back), 1);
}

#[test]
fn members_whose_deputy_is_gone_too_find_the_old_host_when_it_is_back() {
    for is_banned in [false, true] {
        let mut sim = Sim::with_grace();
        let (key, same) = identity();
        let host = sim.replace_host(key);
        let (ann, bob, carol) = (sim.join("ann"), sim.join("bob"), sim.join("carol"));
        sim.deputy(Some("bob"));
        let kept = sim.saved.last().unwrap().clone();
        sim.crash(host);
        sim.wait(f64::from(GRACE) + 20.0);
        sim.command(bob, NodeCommand::TakeOver);
        sim.wait(60.0);
        assert_eq!(sim.roster(ann), ["bob", "ann", "carol"]);
        if is_banned {
            let peer = Some(sim.ids[host].to_string().parse().unwrap());
            sim.command(bob, NodeCommand::Ban { peer, addr: None, reason: None });
            sim.wait(1.0);
            assert_eq!(sim.saved.last().unwrap().bans.len(), 1);
        }
        // The old host is back at a time when nobody else hosts. Nobody leaves a host for it that may be back.
        sim.crash(bob);
        let back = sim.add("host", same, RoleConfig::Host(Box::new(again(&kept))));
        sim.moved = Some((host, back));
        sim.wait(f64::from(GRACE) - 10.0);
        assert_eq!(sim.roster(back), ["host"]);
        sim.wait(100.0);
        let expected: &[&str] = if is_banned { &["host"] } else { &["host", "ann", "carol"] };
        assert_eq!(sim.roster(back), expected);
        if is_banned {
            continue;
        }
        let tells = |event: &NodeEvent| matches!(event, NodeEvent::Handover { host, .. } if host.alias.as_str() == "host");
        assert!(sim.has(ann, tells));
        let known = sim.stores[ann].known.as_ref().unwrap();
        assert_eq!(
            (known.peer_id, known.target.as_str(), known.handed_over),
            (sim.ids[back], "10.0.0.1:4702", false)
        );
        sim.say(carol, "everyone", "welcome back");
        sim.wait(0.1);
        assert_eq!(sim.heard(ann), ["carol: welcome back"]);
    }
}

#[test]
fn a_deputy_of_a_deputy_asks_the_host_of_now_before_it_opens() {
    // At different times of its own looking around.
    for seconds in 0..8 {
        let mut sim = Sim::with_grace();
        let (ann, bob) = (sim.join("ann"), sim.join("bob"));
        sim.deputy(Some("bob"));
        sim.take_over(bob);
        sim.wait(60.0);
        let peer = Some("ann".parse().unwrap());
        sim.command(bob, NodeCommand::Deputy { peer });
        sim.wait(2.0);
        sim.frozen.insert(bob);
        sim.wait(f64::from(GRACE) + 20.0 + f64::from(seconds));
        sim.frozen.remove(&bob);
        sim.command(ann, NodeCommand::TakeOver);
        sim.wait(30.0);
        assert_eq!(sim.roster(ann), ["bob", "ann"], "{seconds}");
    }
}

#[test]
fn a_host_whose_deputy_has_done_nothing_goes_on_as_ever() {
    let mut sim = Sim::with_grace();
    let (key, same) = identity();
    let host = sim.replace_host(key);
    let bob = sim.join("bob");
    sim.deputy(Some("bob"));
    let kept = sim.saved.last().unwrap().clone();
    sim.crash(host);
    let back = sim.add("host", same, RoleConfig::Host(Box::new(again(&kept))));
    sim.wait(60.0);
    assert_eq!((sim.stores_retired(back), sim.end(back)), (0, None));
    assert_eq!(sim.deputy_of(back).as_deref(), Some("bob"), "it is the deputy still");
    assert_eq!(sim.end(bob), None);
}

#[test]
fn a_host_with_members_is_not_put_out_by_its_deputy() {
    let mut sim = Sim::with_grace();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.deputy(Some("bob"));
    // The deputy alone does not see the host.
    sim.take_over(bob);
    sim.frozen.insert(bob);
    sim.frozen.remove(&0);
    sim.wait(60.0);
    assert_eq!(sim.roster(0), ["host", "ann"]);
    sim.frozen.remove(&bob);
    sim.wait(60.0);
    assert_eq!(sim.stores_retired(0), 0);
    // The deputy is alone, and gives way.
    for index in [0, ann, bob] {
        assert_eq!(sim.roster(index), ["host", "ann", "bob"], "{index}");
    }
    assert_eq!(sim.stores_retired(bob), 1);
    assert!(
        sim.errors(bob).iter().any(|error| error.contains("and so are the others")),
        "{:?}",
        sim.errors(bob)
    );
}

#[test]
fn two_hosts_with_members_each_stay_and_both_are_told() {
    let mut sim = Sim::with_grace();
    let (ann, bob, carol) = (sim.join("ann"), sim.join("bob"), sim.join("carol"));
    sim.deputy(Some("bob"));
    sim.frozen.insert(ann);
    sim.take_over(bob);
    sim.wait(30.0);
    assert_eq!(sim.roster(carol), ["bob", "carol"]);
    sim.frozen.extend([bob, carol]);
    sim.frozen.remove(&0);
    sim.frozen.remove(&ann);
    sim.wait(30.0);
    assert_eq!(sim.roster(0), ["host", "ann"]);
    sim.frozen.clear();
    sim.wait(100.0);
    assert_eq!((sim.roster(0), sim.roster(ann)), (vec!["host".to_owned(), "ann".to_owned()], sim.roster(0)));
    assert_eq!(sim.roster(bob), ["bob", "carol"]);
    for index in [0, bob] {
        let told =
            sim.errors(index).iter().filter(|error| error.contains("those here stay with you")).count();
        assert_eq!(told, 1, "{:?}", sim.errors(index));
    }
}

#[test]
fn bans_that_the_deputy_was_not_told_of_are_in_force_once_the_old_host_is_back() {
    let mut sim = Sim::with_grace();
    let (key, same) = identity();
    let host = sim.replace_host(key);
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    let (eve, mallory) = (sim.join("eve"), sim.join("mallory"));
    sim.ban("mallory");
    sim.deputy(Some("bob"));
    // Bob is not told any more.
    sim.frozen.insert(bob);
    sim.wait(30.0);
    sim.ban("eve");
    assert_eq!((sim.end(eve), sim.end(mallory)), (Some(CloseReason::Banned), Some(CloseReason::Banned)));
    let kept = sim.saved.last().unwrap().clone();
    sim.crash(host);
    sim.frozen.remove(&bob);
    sim.wait(f64::from(GRACE) + 30.0);
    sim.command(bob, NodeCommand::TakeOver);
    sim.wait(30.0);
    let unban = serde_json::json!({"cmd": "unban", "peer": sim.ids[mallory]});
    sim.command(bob, serde_json::from_value(unban).unwrap());
    let banned = |sim: &Sim| -> Vec<PeerId> {
        sim.saved.last().unwrap().bans.iter().filter_map(|ban| ban.peer_id).collect()
    };
    sim.wait(1.0);
    assert_eq!(banned(&sim), []);
    let back = sim.add("host", same, RoleConfig::Host(Box::new(again(&kept))));
    sim.wait(5.0);
    assert_eq!(sim.roster(back), ["bob", "ann", "host"]);
    assert_eq!(banned(&sim), [sim.ids[eve]], "and a ban that was lifted since is not");
    let _ = ann;
}

#[test]
fn the_old_host_goes_on_to_whom_its_deputy_has_handed_over_to() {
    let mut sim = Sim::with_grace();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    let (carol_key, carol_again) = identity();
    let carol = sim.join_as("carol", PASSWORD, carol_key);
    sim.wait(1.0);
    sim.deputy(Some("bob"));
    // Carol knows of nothing later.
    sim.crash(carol);
    sim.take_over(bob);
    sim.wait(30.0);
    sim.command(bob, NodeCommand::Handover { peer: "ann".parse().unwrap() });
    sim.wait(10.0);
    let config = MemberConfig {
        pin: Some(sim.ids[0]),
        known: Some((host_config().network.id, 1)),
        deputy: sim.saved.iter().find_map(|state| state.deputy.clone()),
        ..member_config(PASSWORD)
    };
    let carol = sim.add("carol", carol_again, RoleConfig::Member(Box::new(config)));
    sim.wait(10.0);
    assert_eq!(sim.roster(carol), ["ann", "bob", "carol"]);
    sim.frozen.remove(&0);
    sim.wait(90.0);
    for index in [0, ann, bob, carol] {
        assert_eq!(sim.roster(index), ["ann", "bob", "carol", "host"], "{index}");
    }
}

#[test]
fn nobody_but_the_host_before_tells_a_deputy_of_bans_or_that_it_is_still_host() {
    let mut sim = Sim::with_grace();
    let (ann, bob, carol) = (sim.join("ann"), sim.join("bob"), sim.join("carol"));
    sim.deputy(Some("bob"));
    sim.take_over(bob);
    sim.wait(30.0);
    let line = serde_json::json!({"peer_id": sim.ids[carol], "reason": "x", "since": sim.now.plus(limits::DEPUTY_LOOK).wall});
    let bans = Frame::FormerBans(crate::wire::ByteBuf(serde_json::to_vec(&[line]).unwrap()));
    let links: Vec<End> = sim.links_between(bob, ann);
    for (_, conn) in links {
        if !sim.nodes[bob].mesh.links.has(conn) {
            sim.nodes[bob].handle(sim.now, Input::Frame(conn, bans.clone()));
        }
    }
    sim.wait(1.0);
    assert_eq!(sim.roster(bob), ["bob", "ann", "carol"]);
    // Alone, it would give way to the host before.
    sim.command(ann, NodeCommand::Leave);
    sim.command(carol, NodeCommand::Leave);
    sim.wait(1.0);
    let conn = sim.conn();
    let at: SocketAddr = "10.0.0.2:4702".parse().unwrap();
    let secured = Secured { peer: sim.ids[ann], binding: [0; 32] };
    let link = LinkKind::JoinIn;
    let connected = Connected { link, secured, remote: at, local: at, listening: Vec::new(), via: None };
    sim.nodes[bob].handle(sim.now, Input::Connected(conn, connected));
    sim.nodes[bob].handle(sim.now, Input::Frame(conn, Frame::StillHost(vec![at].into())));
    sim.wait(1.0);
    assert_eq!(sim.stores_retired(bob), 0);
}

#[test]
fn a_host_that_is_back_when_its_deputy_opens_stays_the_host() {
    let mut sim = Sim::with_grace();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.deputy(Some("bob"));
    sim.lose_host();
    // The next try of bob's own is seconds away.
    sim.frozen.remove(&0);
    sim.command(bob, NodeCommand::TakeOver);
    sim.wait(30.0);
    for index in [0, ann, bob] {
        assert_eq!(sim.roster(index), ["host", "ann", "bob"], "{index}");
    }
    assert_eq!(sim.stores_retired(0), 0);
}

#[test]
fn a_host_that_begins_again_at_another_port_finds_its_deputy() {
    let mut sim = Sim::with_grace();
    let (key, same) = identity();
    let host = sim.replace_host(key);
    let bob = sim.join("bob");
    sim.deputy(Some("bob"));
    let kept = sim.saved.last().unwrap().clone();
    sim.crash(host);
    let config = HostConfig { join_addr: "10.0.0.1:4800".parse().unwrap(), ..again(&kept) };
    sim.frozen.insert(bob);
    let back = sim.add("host", same, RoleConfig::Host(Box::new(config)));
    sim.wait(5.0);
    let now = sim.saved.last().unwrap().deputy.clone().unwrap();
    assert_eq!(now.addrs[0].port(), 4800, "who comes later is looked for there");
    sim.frozen.remove(&bob);
    sim.wait(f64::from(GRACE) + 5.0);
    sim.command(bob, NodeCommand::TakeOver);
    sim.wait(60.0);
    assert_eq!(sim.roster(back), ["bob", "host"], "{:?}", sim.errors(back));
}

#[test]
fn what_the_old_host_said_last_reaches_those_who_missed_it() {
    let mut sim = Sim::with_grace();
    sim.on_disk = true;
    let (ann, bob, carol) = (sim.join("ann"), sim.join("bob"), sim.join("carol"));
    sim.deputy(Some("bob"));
    sim.frozen.insert(carol);
    sim.say(0, "everyone", "my last words");
    sim.wait(1.0);
    assert_eq!(sim.heard(ann), ["host: my last words"]);
    sim.take_over(bob);
    sim.wait(30.0);
    sim.frozen.remove(&carol);
    // For carol the host is only now gone.
    sim.wait(150.0);
    assert_eq!(sim.roster(carol), ["bob", "ann", "carol"]);
    assert_eq!(sim.heard(carol), ["host: my last words"]);
}

#[test]
fn a_host_before_is_heard_on_bans_once() {
    let mut sim = Sim::with_grace();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.deputy(Some("bob"));
    sim.take_over(bob);
    sim.wait(30.0);
    sim.frozen.remove(&0);
    sim.wait(90.0);
    assert_eq!(sim.roster(bob), ["bob", "ann", "host"]);
    sim.wait(60.0);
    // It is a member like any.
    let since = sim.now.wall;
    let line = serde_json::json!({"peer_id": sim.ids[ann], "reason": "x", "since": since});
    let bans = Frame::FormerBans(crate::wire::ByteBuf(serde_json::to_vec(&[line]).unwrap()));
    for (_, conn) in sim.links_between(bob, 0) {
        if !sim.nodes[bob].mesh.links.has(conn) {
            sim.nodes[bob].handle(sim.now, Input::Frame(conn, bans.clone()));
        }
    }
    sim.wait(1.0);
    assert_eq!((sim.roster(bob).len(), sim.end(ann)), (3, None));
}

#[test]
fn a_host_that_was_gone_for_a_moment_is_not_put_out() {
    let mut sim = Sim::with_grace();
    let (key, same) = identity();
    let host = sim.replace_host(key);
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.deputy(Some("bob"));
    // Cut off, the deputy has opened it while the others were here.
    sim.frozen.insert(0);
    sim.frozen.insert(ann);
    sim.wait(f64::from(GRACE) + 20.0);
    sim.command(bob, NodeCommand::TakeOver);
    sim.wait(1.0);
    sim.frozen.insert(bob);
    sim.frozen.remove(&0);
    sim.frozen.remove(&ann);
    sim.wait(60.0);
    let kept = sim.saved.iter().rev().find(|state| state.deputy.is_some()).unwrap().clone();
    assert!(sim.now.wall.since(kept.alive) < limits::DEPUTY_LOOK * 2, "it says that it is there");
    sim.crash(host);
    let back = sim.add("host", same, RoleConfig::Host(Box::new(again(&kept))));
    sim.moved = Some((0, back));
    sim.wait(20.0);
    sim.frozen.remove(&bob);
    sim.wait(60.0);
    assert_eq!(sim.stores_retired(back), 0);
    assert_eq!(sim.roster(back), ["host", "ann", "bob"]);
}

#[test]
fn a_host_that_slept_for_longer_than_its_grace_finds_its_deputy_whoever_has_come_to_it() {
    let mut sim = Sim::with_grace();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.deputy(Some("bob"));
    sim.frozen.insert(ann);
    sim.take_over(bob);
    sim.wait(1.0);
    sim.frozen.clear();
    let slept = Duration::from_secs(u64::from(GRACE) + 20);
    sim.nodes[0].handle(sim.now, Input::Suspended(slept));
    sim.wait(60.0);
    for index in [0, ann, bob] {
        assert_eq!(sim.roster(index), ["bob", "ann", "host"], "{index}");
    }
}

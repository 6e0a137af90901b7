//! Classic peers in virtual time: what they say is written out, what they are told is looked at.

mod member;
mod messages;

use super::*;
use crate::{
    model::{ErrorKind, Wire},
    wire::classic::{Address, Message, Reply, To},
};

const PORT: u16 = 50_500;

/// A Python program, as the host sees it.
struct Python {
    addr: SocketAddrV4,
    join: End,
    distribution: End,
}

impl Python {
    fn id(&self) -> PeerId {
        PeerId::of_address(self.addr)
    }
}

fn v4(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

fn message(text: &str, alias: &str, to: To, from: SocketAddrV4) -> Object {
    Object::Message(Message { data: text.into(), alias: alias.into(), to, from: from.into() })
}

impl Sim {
    fn classic_host() -> Self {
        Self::host_with(classic)
    }

    /// A connection without TLS.
    fn plain(&mut self, index: usize, link: LinkKind, from: &str) -> End {
        let end = (index, self.conn());
        let remote: SocketAddr = from.parse().unwrap();
        self.classic.insert(end, Vec::new());
        self.nodes[index].handle(self.now, Input::Incoming(end.1, remote.ip()));
        let secured = Secured { peer: PeerId::of_address(v4(from)), binding: [0; 32] };
        let local = SocketAddr::new(Self::ip(index), 4702);
        let listening = vec![SocketAddr::new(Self::ip(index), 49_999)];
        let connected = Connected { link, secured, remote, local, listening, via: None };
        self.nodes[index].handle(self.now, Input::Connected(end.1, connected));
        self.run();
        end
    }

    fn tell(&mut self, end: End, object: Object) {
        self.nodes[end.0].handle(self.now, Input::Object(end.1, object));
        self.run();
    }

    fn told(&mut self, end: End) -> Vec<Object> {
        std::mem::take(self.classic.get_mut(&end).unwrap())
    }

    fn hang_up(&mut self, end: End) {
        self.nodes[end.0].handle(self.now, Input::Closed(end.1, CloseReason::ConnectionLost.into()));
        self.run();
    }

    fn try_join(&mut self, ip: &str, password: &str) -> (End, Vec<Object>) {
        let join = self.plain(0, LinkKind::JoinIn, &format!("{ip}:4702"));
        self.tell(join, Object::Password(Password::new(password.into())));
        let told = self.told(join);
        (join, told)
    }

    fn python(&mut self, ip: &str, port: u16) -> Python {
        let (join, _) = self.try_join(ip, PASSWORD);
        self.tell(join, Object::PeerAddress(Address("whatever".into(), port)));
        let distribution = self.plain(0, LinkKind::DistributionIn, &format!("{ip}:50001"));
        self.wait(0.1);
        self.told(join);
        Python { addr: v4(&format!("{ip}:{port}")), join, distribution }
    }

    /// A Python program says something, over a connection of its own. Gives that.
    fn python_says(&mut self, to: usize, python: &Python, alias: &str, text: &str, direct: bool) -> End {
        let end = self.plain(to, LinkKind::PeerIn, &format!("{}:60001", python.addr.ip()));
        let whom = if direct { To::Peer(Address("x".into(), 1)) } else { To::Everyone };
        self.tell(end, message(text, alias, whom, python.addr));
        end
    }

    fn claims(&self, index: usize) -> Vec<Option<String>> {
        let claims = |event: &NodeEvent| match event {
            NodeEvent::Message { claims, own: false, .. } => Some(claims.as_ref().map(ToString::to_string)),
            _ => None,
        };
        self.events[index].iter().filter_map(claims).collect()
    }

    fn said(&mut self, index: usize, python: &Python, result: Result<Option<&str>, CloseReason>) {
        let result = result.map(|label| label.map(str::to_owned)).map_err(Closed::from);
        self.nodes[index].handle(self.now, Input::ClassicSent(python.id(), result));
        self.run();
    }
}

fn classic(config: &mut HostConfig) {
    config.policy.classic = true;
    config.distribution = Some(PORT);
}

fn roster(addrs: &[&str]) -> Object {
    Object::Roster(addrs.iter().map(|addr| v4(addr).into()).collect())
}

#[test]
fn a_python_program_joins_in_the_order_of_the_original_and_is_marked() {
    let mut sim = Sim::classic_host();
    let ann = sim.join("ann");
    let join = sim.plain(0, LinkKind::JoinIn, "10.0.0.9:4702");
    assert_eq!(sim.told(join), [Object::BannedStatus(false)]);
    sim.tell(join, Object::Password(Password::new(PASSWORD.into())));
    assert_eq!(sim.told(join), [Object::Authenticated(true)]);
    sim.tell(join, Object::PeerAddress(Address("6.6.6.6".into(), 49_001)));
    let all = ["10.0.0.1:50000", "10.0.0.9:49001", "10.0.0.2:50000"];
    let at = Object::DistributionAddress(v4("10.0.0.1:50500").into());
    assert_eq!(sim.told(join), [roster(&all), at], "where it comes from, not what it says");
    sim.wait(1.0);
    assert_eq!(sim.roster(ann), ["host", "ann"], "not before both links are there");
    let stranger = sim.plain(0, LinkKind::DistributionIn, "10.0.0.10:50001");
    assert!(sim.shut.contains(&stranger), "only whoever waits for it");
    let distribution = sim.plain(0, LinkKind::DistributionIn, "10.0.0.9:50001");
    sim.wait(0.1);
    assert!(matches!(&sim.told(distribution)[..], [Object::Roster(_)]));
    sim.wait(1.0);
    assert_eq!(sim.told(join), [Object::Beat]);
    for index in [0, ann] {
        assert_eq!(sim.roster(index), ["host", "10.0.0.9", "ann"]);
        let is_marked =
            |event: &NodeEvent| matches!(event, NodeEvent::PeerUp { peer } if peer.wire == Wire::Classic);
        assert!(sim.has(index, is_marked));
    }
    sim.hang_up(join);
    sim.wait(0.1);
    assert_eq!(sim.roster(ann), ["host", "ann"]);
    let left = |event: &NodeEvent| matches!(event, NodeEvent::PeerDown { reason: CloseReason::Left, .. });
    assert!(sim.has(ann, left), "it has no other goodbye");
    assert!(sim.shut.contains(&distribution));
}

#[test]
fn attempts_and_bans_are_those_of_all_others() {
    let mut sim = Sim::classic_host();
    for (turn, left) in [2, 1, 0].into_iter().enumerate() {
        let (join, told) = sim.try_join("10.0.0.9", "wrong");
        assert_eq!(told, [Object::BannedStatus(false), Object::Authenticated(false)]);
        assert!(sim.shut.contains(&join));
        let attempts = |event: &&NodeEvent| matches!(event, NodeEvent::Attempt { .. });
        let last = sim.events[0].iter().filter(attempts).nth(turn).unwrap().clone();
        assert_eq!(last, NodeEvent::Attempt { addr: "10.0.0.9".parse().unwrap(), left });
    }
    let join = sim.plain(0, LinkKind::JoinIn, "10.0.0.9:4702");
    assert_eq!(sim.told(join), [Object::BannedStatus(true)]);
    assert!(sim.shut.contains(&join));
    assert_eq!(sim.try_join("10.0.0.10", PASSWORD).1.len(), 2, "nobody else");
    // Guesses at once cannot race: as many are under way as there are attempts left.
    let mut sim = Sim::classic_host();
    let joins: Vec<End> = (0..5).map(|_| sim.plain(0, LinkKind::JoinIn, "10.0.0.9:4702")).collect();
    for join in &joins {
        let wrong = Object::Password(Password::new("wrong".into()));
        sim.nodes[0].handle(sim.now, Input::Object(join.1, wrong));
    }
    sim.run();
    let bans = |event: &&NodeEvent| matches!(event, NodeEvent::Banned { .. });
    assert_eq!(sim.events[0].iter().filter(bans).count(), 1);
    assert!(joins.iter().all(|join| sim.shut.contains(join)));
    assert_eq!(sim.saved.last().unwrap().bans.len(), 1);
}

/// While nobody answers what is being worked out.
fn hold(sim: &mut Sim) {
    sim.hold_proofs = true;
}

fn release(sim: &mut Sim) {
    sim.hold_proofs = false;
    for (index, conn, answer) in std::mem::take(&mut sim.held_proofs) {
        sim.nodes[index].handle(sim.now, Input::Proven(conn, answer));
    }
    sim.run();
}

#[test]
fn who_hangs_up_while_its_password_is_compared_is_judged_by_the_password() {
    for (password, bans) in [(PASSWORD, 0), ("wrong", 1)] {
        let mut sim = Sim::classic_host();
        hold(&mut sim);
        for _ in 0..3 {
            let (join, _) = sim.try_join("10.0.0.9", password);
            sim.hang_up(join);
            release(&mut sim);
            hold(&mut sim);
        }
        release(&mut sim);
        let banned = |event: &&NodeEvent| matches!(event, NodeEvent::Banned { .. });
        assert_eq!(sim.events[0].iter().filter(banned).count(), bans, "{password}");
    }
}

#[test]
fn only_a_joiner_whose_password_is_compared_keeps_its_place_when_strangers_crowd_in() {
    let mut sim = Sim::classic_host();
    hold(&mut sim);
    let (judged, _) = sim.try_join("10.0.0.9", PASSWORD);
    sim.nodes[0].handle(sim.now, Input::Spoke(judged.1));
    let asked: Vec<End> = (0..3).map(|_| sim.plain(0, LinkKind::JoinIn, "10.0.0.9:4702")).collect();
    for join in &asked {
        sim.nodes[0].handle(sim.now, Input::Spoke(join.1));
    }
    for number in 0..limits::STARTUPS_FREE + 40 {
        let (high, low) = (number / 250, number % 250);
        let stranger = sim.plain(0, LinkKind::JoinIn, &format!("10.1.{high}.{low}:4702"));
        sim.nodes[0].handle(sim.now, Input::Spoke(stranger.1));
    }
    assert!(asked.iter().any(|join| sim.shut.contains(join)), "who was only asked for a password makes room");
    assert!(!sim.shut.contains(&judged));
    release(&mut sim);
    assert_eq!(sim.told(judged).last(), Some(&Object::Authenticated(true)));
}

#[test]
fn passwords_are_compared_a_few_at_a_time_and_whoever_is_gone_by_then_costs_nothing() {
    let mut sim = Sim::classic_host();
    hold(&mut sim);
    let joins: Vec<End> =
        (0..20_u8).map(|number| sim.try_join(&format!("10.0.1.{number}"), PASSWORD).0).collect();
    assert_eq!(sim.held_proofs.len(), limits::HASHES_AT_ONCE);
    for join in &joins[2..18] {
        sim.hang_up(*join);
    }
    release(&mut sim);
    assert!(!sim.has(0, |event| matches!(event, NodeEvent::Attempt { .. })));
    for join in &joins[18..] {
        assert_eq!(sim.told(*join), [Object::Authenticated(true)]);
    }
    assert_eq!(sim.compared, 4);
}

#[test]
fn an_address_is_admitted_for_one_session_only() {
    let mut sim = Sim::classic_host();
    let bob = sim.python("10.0.0.9", 49_001);
    assert!(sim.saved.last().unwrap().admitted.is_empty(), "an address proves nothing the next time");
    assert!(sim.saved.last().unwrap().roster.is_empty(), "it knows no way back");
    sim.hang_up(bob.distribution);
    let (join, told) = sim.try_join("10.0.0.9", "wrong");
    assert_eq!(told.last(), Some(&Object::Authenticated(false)));
    assert!(sim.shut.contains(&join) && sim.shut.contains(&bob.join));
}

#[test]
fn a_banned_or_kicked_python_program_is_cut_off() {
    for verb in ["ban", "kick"] {
        let mut sim = Sim::classic_host();
        let ann = sim.join("ann");
        let (bob, eve) = (sim.python("10.0.0.9", 49_001), sim.python("10.0.0.10", 49_002));
        sim.wait(2.0);
        let line = serde_json::json!({"cmd": verb, "peer": "10.0.0.9", "reason": "spam"});
        sim.command(0, serde_json::from_value(line).unwrap());
        sim.wait(2.0);
        assert!(sim.shut.contains(&bob.join) && sim.shut.contains(&bob.distribution), "{verb}");
        assert_eq!(sim.roster(ann), ["host", "10.0.0.10", "ann"]);
        let Some(Object::Roster(all)) = sim.told(eve.distribution).pop() else { panic!("a roster") };
        assert!(all.len() == 3 && !all.contains(&bob.addr.into()), "{all:?}");
        let told = sim.told(bob.join);
        assert_eq!(told.contains(&Object::BannedStatus(true)), verb == "ban");
        let end = sim.python_says(ann, &bob, "bob", "still here?", false);
        assert!(sim.shut.contains(&end) && sim.heard(ann).is_empty());
        let again = sim.plain(0, LinkKind::JoinIn, "10.0.0.9:4702");
        assert_eq!(sim.told(again), [Object::BannedStatus(verb == "ban")]);
    }
}

#[test]
fn a_python_program_that_falls_silent_is_removed_and_one_that_beats_is_not() {
    let mut sim = Sim::classic_host();
    let (bob, eve) = (sim.python("10.0.0.9", 49_001), sim.python("10.0.0.10", 49_002));
    for _ in 0..60 {
        if sim.told(eve.join).contains(&Object::Beat) {
            sim.tell(eve.join, Object::Beat);
        }
        sim.wait(0.5);
    }
    assert_eq!(sim.roster(0), ["host", "10.0.0.10"]);
    assert!(sim.shut.contains(&bob.join) && !sim.shut.contains(&eve.join));
    let timed_out = |event: &NodeEvent| {
        matches!(event, NodeEvent::PeerDown { reason: CloseReason::HeartbeatTimeout, .. })
    };
    assert!(sim.has(0, timed_out));
    assert!(sim.told(bob.join).len() <= 7, "a silent one is not buried in beats");
}

#[test]
fn a_classic_peer_is_shown_as_one_whatever_its_host_calls_it() {
    let mut sim = Sim::classic_host();
    let ann = sim.join("ann");
    sim.nodes[0].role.group_mut().roster.update(RosterEntry {
        peer_id: PeerId::of_address(v4("10.0.0.9:49001")),
        alias: Alias::new("bob").unwrap(),
        role: crate::model::Role::Member,
        wire: Wire::Native,
        addrs: vec!["10.0.0.9:49001".parse().unwrap()],
        since: Timestamp(1),
        status: None,
    });
    sim.join("eve");
    let shown = |event: &NodeEvent| matches!(event, NodeEvent::PeerUp { peer } if peer.alias.as_str() == "bob" && peer.wire == Wire::Classic);
    assert!(sim.has(ann, shown));
}

#[test]
fn a_network_that_was_without_classic_peers_does_not_become_classic_in_silence() {
    for (was_classic, cleartext, allowed, asked) in [
        (None, None, true, false),
        (Some(true), None, true, false),
        (Some(false), None, false, true),
        (Some(false), Some(true), true, false),
        (None, Some(false), false, false),
    ] {
        let mut sim = Sim::classic_host();
        let config = MemberConfig {
            target: "10.0.0.1:4702".into(),
            password: Some(Password::new(PASSWORD.into())),
            pin: was_classic.map(|_| sim.ids[0]),
            pass: None,
            addrs: Vec::new(),
            announce: true,
            map_port: false,
            rejoin_for: limits::REJOIN_FOR,
            wire: Wire::Native,
            known: None,
            was_classic,
            moved: None,
            deputy: None,
            deputyship: None,
        };
        sim.cleartext = cleartext;
        let ann = sim.add("ann", Identity::generate().unwrap().0, RoleConfig::Member(Box::new(config)));
        sim.wait(0.1);
        let told = NodeEvent::Cleartext { allowed, asked };
        assert!(sim.has(ann, |event| *event == told), "{was_classic:?} {cleartext:?}");
        sim.python("10.0.0.9", 49_001);
        sim.say(ann, "everyone", "hello");
        assert_eq!(sim.said.len(), usize::from(allowed));
        let known = sim.stores[ann].known.clone().unwrap();
        assert_eq!(known.classic, allowed);
        sim.command(ann, NodeCommand::Cleartext { allow: true });
        assert!(sim.stores[ann].known.clone().unwrap().classic);
    }
}

#[test]
fn without_the_policy_nothing_is_spoken_or_taken_in_clear() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    for link in [LinkKind::JoinIn, LinkKind::PeerIn, LinkKind::DistributionIn] {
        assert!(!sim.nodes[0].takes_classic(link) && !sim.nodes[ann].takes_classic(link));
    }
    assert!(!sim.has(ann, |event| matches!(event, NodeEvent::Cleartext { .. })));
    // Even if its roster had classic peers in it.
    let id = PeerId::of_address(v4("10.0.0.9:49001"));
    sim.nodes[0].role.group_mut().roster.update(RosterEntry {
        peer_id: id,
        alias: Alias::new("bob").unwrap(),
        role: crate::model::Role::Member,
        wire: Wire::Classic,
        addrs: vec!["10.0.0.9:49001".parse().unwrap()],
        since: Timestamp(1),
        status: None,
    });
    sim.join("eve");
    sim.say(ann, "everyone", "hello");
    assert!(sim.said.is_empty());
    assert!(sim.deliveries(ann).iter().any(|line| line.contains("bob Failed not_in_clear")));
    let sim = Sim::classic_host();
    assert!(sim.nodes[0].takes_classic(LinkKind::JoinIn) && sim.nodes[0].takes_classic(LinkKind::PeerIn));
}

#[test]
fn a_roster_of_70_fits_and_a_longer_one_is_cut_with_a_word_in_the_log() {
    let mut sim = Sim::classic_host();
    let joined = |sim: &mut Sim| {
        let (join, _) = sim.try_join("192.168.200.200", PASSWORD);
        sim.tell(join, Object::PeerAddress(Address("x".into(), 50_999)));
        let told = sim.told(join);
        sim.hang_up(join);
        let [roster @ Object::Roster(addrs), Object::DistributionAddress(_)] = &told[..] else {
            panic!("{told:?}")
        };
        assert!(roster.encode().len() <= limits::CLASSIC_OBJECT);
        assert_eq!(addrs[0], v4("10.0.0.1:50000").into(), "the host first");
        assert_eq!(addrs[1], v4("192.168.200.200:50999").into(), "the joiner always");
        addrs.len()
    };
    let add = |sim: &mut Sim, number: u8| {
        let addr = SocketAddrV4::new([192, 168, 100, number].into(), 50_000);
        sim.nodes[0].role.group_mut().roster.update(RosterEntry {
            peer_id: PeerId([number; 32]),
            alias: Alias::new(&format!("m{number}")).unwrap(),
            role: crate::model::Role::Member,
            wire: Wire::Native,
            addrs: vec![addr.into()],
            since: Timestamp(1),
            status: None,
        });
    };
    (101..169).for_each(|number| add(&mut sim, number));
    sim.python("10.0.0.9", 49_001);
    assert_eq!(joined(&mut sim), 71);
    assert!(sim.errors(0).is_empty(), "{:?}", sim.errors(0));
    (169..250).for_each(|number| add(&mut sim, number));
    let eve = sim.python("10.0.0.10", 49_001);
    sim.wait(2.0);
    assert!(joined(&mut sim) < 90);
    assert!(sim.errors(0)[0].contains("longer than what the classic peer at"), "{:?}", sim.errors(0));
    let Some(Object::Roster(all)) = sim.told(eve.distribution).pop() else { panic!("a roster") };
    assert_eq!(all.len(), 152, "over its second link all");
}

#[test]
fn rosters_for_python_programs_do_not_come_faster_than_they_are_read() {
    let mut sim = Sim::classic_host();
    let bob = sim.python("10.0.0.9", 49_001);
    sim.wait(2.0);
    sim.told(bob.distribution);
    for index in 0..6 {
        sim.join(&format!("m{index}"));
    }
    assert!(sim.told(bob.distribution).len() <= 2);
    sim.wait(2.0);
    let last = sim.told(bob.distribution).pop();
    assert!(matches!(&last, Some(Object::Roster(all)) if all.len() == 8), "{last:?}");
}

#[test]
fn a_handover_lets_python_programs_go_and_the_new_host_lets_none_in() {
    let mut sim = Sim::classic_host();
    let ann = sim.join("ann");
    let bob = sim.python("10.0.0.9", 49_001);
    sim.command(0, NodeCommand::Handover { peer: sim.ids[ann].into() });
    sim.wait(3.0);
    assert!(sim.shut.contains(&bob.join) && sim.shut.contains(&bob.distribution));
    assert_eq!(sim.roster(ann), ["ann", "host"]);
    assert!(!sim.nodes[ann].takes_classic(LinkKind::JoinIn));
}

#[test]
fn who_does_not_finish_in_time_is_let_go() {
    let mut sim = Sim::classic_host();
    let silent = sim.plain(0, LinkKind::JoinIn, "10.0.0.9:4702");
    let (half, _) = sim.try_join("10.0.0.10", PASSWORD);
    sim.tell(half, Object::PeerAddress(Address("x".into(), 49_001)));
    let (wrong, _) = sim.try_join("10.0.0.11", PASSWORD);
    sim.tell(wrong, Object::Beat);
    assert!(sim.shut.contains(&wrong), "out of turn");
    sim.wait(16.0);
    assert!(sim.shut.contains(&silent) && sim.shut.contains(&half));
    assert_eq!(sim.roster(0), ["host"]);
    assert!(!sim.has(0, |event| matches!(event, NodeEvent::Attempt { .. })));
}

#[test]
fn a_full_network_does_not_blame_the_password() {
    let mut sim = Sim::host_with(|config| {
        classic(config);
        config.members = 2;
    });
    sim.join("ann");
    assert_eq!(sim.try_join("10.0.0.9", PASSWORD).1.pop(), Some(Object::Authenticated(false)));
    assert!(!sim.has(0, |event| matches!(event, NodeEvent::Attempt { .. })));
    assert!(sim.errors(0)[0].contains("the network is full"), "{:?}", sim.errors(0));
}

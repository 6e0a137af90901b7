//! Invites: who comes in by one, who does not, and to whom a pass is said.

use super::*;
use crate::model::Invite;

impl Sim {
    /// An invite of the host, made now.
    pub(super) fn invite(&mut self, host: usize, uses: u32) -> Invite {
        let addrs = vec![SocketAddr::new(Self::ip(host), limits::JOIN_PORT)];
        self.command(host, NodeCommand::Invite { uses: Some(uses), hours: None, pass: true, addrs });
        self.wait(0.1);
        self.newest_invite(host).expect("an invite")
    }

    /// The invite that the host was told last.
    pub(super) fn newest_invite(&self, host: usize) -> Option<Invite> {
        self.events[host].iter().rev().find_map(|event| match event {
            NodeEvent::Invite { link, .. } => Some(link.0.clone()),
            _ => None,
        })
    }

    /// How often each invite may still be used, as the host was told last.
    fn open_invites(&self, host: usize) -> Vec<u32> {
        let told = self.events[host].iter().rev().find_map(|event| match event {
            NodeEvent::Invites { invites } => Some(invites.iter().map(|info| info.uses).collect()),
            _ => None,
        });
        told.unwrap_or_default()
    }

    pub(super) fn come(&mut self, alias: &str, invite: &Invite, identity: Identity) -> usize {
        let config = MemberConfig {
            password: None,
            pin: Some(invite.key),
            pass: invite.pass.clone(),
            addrs: invite.addrs.clone(),
            ..member_config("")
        };
        self.add(alias, identity, RoleConfig::Member(Box::new(config)))
    }

    pub(super) fn comes(&mut self, alias: &str, invite: &Invite) -> usize {
        let index = self.come(alias, invite, Identity::generate().unwrap().0);
        self.wait(0.2);
        index
    }

    fn is_refused(&self, index: usize, words: &str) {
        let errors = self.errors(index);
        assert_eq!(self.end(index), Some(CloseReason::InviteRefused), "{errors:?}");
        assert!(errors.last().is_some_and(|error| error.contains(words)), "{errors:?}");
    }
}

#[test]
fn an_invite_lets_one_in_without_the_password_and_is_used_up() {
    let mut sim = Sim::host();
    let invite = sim.invite(0, 1);
    assert_eq!((invite.key, invite.addrs.len()), (sim.ids[0], 1));
    assert_eq!(sim.open_invites(0), [1]);
    let key = Identity::generate().unwrap();
    let ann = sim.come("ann", &invite, key.0);
    sim.wait(0.2);
    assert_eq!(sim.roster(ann), ["host", "ann"]);
    assert_eq!(sim.open_invites(0), [0; 0], "nobody else comes in by it");
    let thief = sim.comes("mallory", &invite);
    sim.is_refused(thief, "used up");
    assert_eq!(sim.roster(0), ["host", "ann"]);
    let guest = sim.join("bob");
    assert_eq!(sim.end(guest), None, "a refused invite is no wrong password");
    sim.say(ann, "everyone", "hello");
    sim.wait(0.2);
    assert_eq!(sim.heard(guest), ["ann: hello"]);
}

#[test]
fn an_invite_for_several_counts_those_who_are_in_and_nobody_who_comes_back() {
    let mut sim = Sim::host();
    let invite = sim.invite(0, 2);
    let ann = sim.comes("ann", &invite);
    sim.frozen.insert(ann);
    sim.wait(30.0);
    sim.frozen.clear();
    sim.wait(10.0);
    assert_eq!(sim.roster(0), ["host", "ann"], "she is known, and is back");
    assert_eq!(sim.open_invites(0), [1]);
    let bob = sim.comes("bob", &invite);
    assert_eq!(sim.end(bob), None);
    let last = sim.comes("carol", &invite);
    sim.is_refused(last, "used up");
}

#[test]
fn of_two_who_show_the_last_use_at_once_one_comes_in() {
    let mut sim = Sim::host();
    let invite = sim.invite(0, 1);
    sim.hold_saves = true;
    let (ann, bob) = (sim.comes("ann", &invite), sim.comes("bob", &invite));
    sim.is_refused(bob, "used up");
    let kept = sim.saved.last().unwrap();
    assert_eq!((kept.passes[0].uses, kept.admitted.len()), (0, 1), "both are written at once");
    assert_eq!(sim.roster(ann), [""; 0], "nobody is told before it is on disk");
}

#[test]
fn an_invite_ends_in_time_and_can_be_taken_back() {
    let mut sim = Sim::host();
    let (first, second) = (sim.invite(0, 5), sim.invite(0, 5));
    let (id, third) = (sim.saved.last().unwrap().passes[0].id(), sim.invite(0, 5));
    sim.command(0, NodeCommand::Revoke { invite: Some(id.clone()) });
    sim.command(0, NodeCommand::Revoke { invite: Some(id) });
    sim.wait(0.1);
    assert!(sim.errors(0).last().is_some_and(|error| error.contains("no invite that lets somebody in")));
    assert_eq!(sim.open_invites(0), [5, 5]);
    let ann = sim.comes("ann", &first);
    sim.is_refused(ann, "taken this invite back");
    sim.now = sim.now.plus(Duration::from_secs(u64::from(limits::PASS_HOURS) * 3600));
    sim.wait(0.1);
    for invite in [&second, &third] {
        let late = sim.comes("late", invite);
        sim.is_refused(late, "has expired");
    }
    let forged = Invite { pass: Some(crate::model::Pass::new([1; 16])), ..first };
    let mallory = sim.comes("mallory", &forged);
    sim.is_refused(mallory, "does not know this invite");
    assert_eq!(sim.roster(0), ["host"]);
}

#[test]
fn a_pass_is_said_only_to_the_host_whose_key_the_invite_has() {
    let mut sim = Sim::host();
    let invite = sim.invite(0, 1);
    // The host would take the pass, if it only heard it.
    let fooled = Invite { key: PeerId([9; 32]), ..invite.clone() };
    let ann = sim.comes("ann", &fooled);
    assert_eq!(sim.end(ann), Some(CloseReason::KeyChanged));
    assert!(sim.errors(ann).last().is_some_and(|error| error.contains("nothing was sent")));
    assert_eq!((sim.roster(0), sim.open_invites(0)), (vec!["host".to_owned()], vec![1]));
    assert_eq!(sim.comes("bob", &invite), 2);
    assert_eq!(sim.roster(2), ["host", "bob"]);
}

#[test]
fn whom_the_host_does_not_want_does_not_use_up_an_invite() {
    let mut sim = Sim::host_with(|config| config.members = 3);
    let invite = sim.invite(0, 1);
    let key = || Identity::generate().unwrap();
    let (bob_key, bob_bytes) = key();
    sim.join_as("bob", PASSWORD, bob_key);
    sim.wait(0.2);
    sim.ban("bob");
    sim.wait(0.2);
    let back = sim.come("bob", &invite, Identity::from_pkcs8(bob_bytes.as_ref()).unwrap());
    sim.wait(0.2);
    assert_eq!(sim.end(back), Some(CloseReason::Banned));
    let taken = sim.comes("host", &invite);
    assert_eq!(sim.end(taken), Some(CloseReason::AliasTaken));
    let (_ann, _carol) = (sim.join("ann"), sim.join("carol"));
    let late = sim.comes("dave", &invite);
    assert_eq!(sim.end(late), Some(CloseReason::NetworkFull));
    assert_eq!(sim.open_invites(0), [1]);
}

#[test]
fn an_invite_without_a_pass_says_whose_key_it_is_and_the_password_is_asked_for() {
    let mut sim = Sim::host();
    sim.command(0, NodeCommand::Invite { uses: None, hours: None, pass: false, addrs: Vec::new() });
    sim.wait(0.1);
    let invite = sim.newest_invite(0).unwrap();
    assert_eq!((invite.pass.clone(), sim.open_invites(0)), (None, vec![]));
    let ann = sim.comes("ann", &invite);
    assert_eq!(sim.end(ann), Some(CloseReason::WrongPassword), "it has none");
    let config = MemberConfig { pin: Some(invite.key), addrs: invite.addrs, ..member_config(PASSWORD) };
    let bob = sim.add("bob", Identity::generate().unwrap().0, RoleConfig::Member(Box::new(config)));
    sim.wait(0.2);
    assert_eq!(sim.roster(bob), ["host", "bob"]);
}

#[test]
fn only_the_host_invites_and_within_bounds() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    let invite = |uses, hours| NodeCommand::Invite { uses, hours, pass: true, addrs: Vec::new() };
    sim.command(ann, NodeCommand::Revoke { invite: None });
    assert!(sim.errors(ann).last().is_some_and(|error| error.contains("only the host can")));
    for (command, words) in [
        (invite(Some(0), None), "1 to 1000 uses"),
        (invite(Some(1001), None), "1 to 1000 uses"),
        (invite(None, Some(0)), "1 to 744 hours"),
        (invite(None, Some(745)), "1 to 744 hours"),
    ] {
        sim.command(0, command);
        assert!(sim.errors(0).last().is_some_and(|error| error.contains(words)), "{:?}", sim.errors(0));
    }
    for _ in 0..limits::PASSES {
        sim.command(0, invite(None, None));
    }
    assert_eq!(sim.open_invites(0).len(), limits::PASSES);
    sim.command(0, invite(None, None));
    assert!(sim.errors(0).last().is_some_and(|error| error.contains("take some back first")));
    sim.command(0, NodeCommand::Revoke { invite: None });
    assert_eq!(sim.open_invites(0), [0; 0]);
    sim.command(0, invite(None, None));
    assert_eq!(sim.open_invites(0), [1]);
}

#[test]
fn members_invite_where_the_host_lets_them_and_answer_for_it() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    let asked = |uses| NodeCommand::Invite { uses, hours: None, pass: true, addrs: Vec::new() };
    sim.command(ann, asked(None));
    assert!(sim.errors(ann).last().is_some_and(|error| error.contains("lets no member invite")));
    // One who asks all the same.
    let conn = sim.nodes[ann].role.group().join_links[&sim.ids[0]];
    let wanted = Frame::InviteRequest(crate::wire::InviteRequest { uses: 1, hours: 1 });
    let far = sim.links[&(ann, conn)];
    sim.queue.push_back(Delivery::Frame(far, wanted));
    sim.wait(0.2);
    assert!(sim.newest_invite(ann).is_none() && sim.open_invites(0).is_empty());

    let mut sim = Sim::host_with(|config| config.policy.members_invite = true);
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.hold_saves = true;
    sim.command(ann, asked(Some(2)));
    sim.wait(0.2);
    assert!(sim.newest_invite(ann).is_none(), "not before it is kept");
    sim.hold_saves = false;
    let token = sim.held_saves.pop().unwrap();
    sim.nodes[0].handle(sim.now, Input::Store(StoreEvent::Saved(token)));
    sim.wait(0.2);
    let invite = sim.newest_invite(ann).unwrap();
    assert_eq!((invite.key, sim.open_invites(0)), (sim.ids[0], vec![2]));
    assert!(sim.newest_invite(bob).is_none() && sim.newest_invite(0).is_none(), "it is hers");
    let carol = sim.comes("carol", &invite);
    assert_eq!(sim.end(carol), None);
    sim.command(ann, asked(Some(5000)));
    sim.wait(0.2);
    assert!(sim.errors(ann).last().is_some_and(|error| error.contains("1 to 1000 uses")));
    for _ in 0..limits::PASSES_OF_MEMBER {
        sim.command(ann, asked(None));
    }
    sim.wait(0.2);
    assert_eq!(sim.open_invites(0).len(), limits::PASSES_OF_MEMBER);
    assert!(sim.errors(ann).last().is_some_and(|error| error.contains("invites of yours still")));
    // With her go her invites; with whoever is put out only its own.
    sim.command(bob, asked(None));
    sim.wait(0.2);
    sim.command(0, NodeCommand::Kick { peer: Some("bob".parse().unwrap()), addr: None, reason: None });
    sim.wait(0.2);
    assert_eq!(sim.open_invites(0).len(), limits::PASSES_OF_MEMBER);
    sim.ban("ann");
    sim.wait(0.2);
    assert_eq!(sim.open_invites(0), [0; 0]);
    let dave = sim.comes("dave", &invite);
    sim.is_refused(dave, "taken this invite back");
}

#[test]
fn whoever_leaves_before_it_is_banned_does_not_come_back_by_an_invite_of_its_own() {
    let mut sim = Sim::host_with(|config| config.policy.members_invite = true);
    let mallory = sim.join("mallory");
    sim.command(
        mallory,
        NodeCommand::Invite { uses: Some(1000), hours: None, pass: true, addrs: Vec::new() },
    );
    sim.wait(0.2);
    let invite = sim.newest_invite(mallory).unwrap();
    sim.command(mallory, NodeCommand::Leave);
    sim.wait(0.5);
    sim.ban("mallory");
    sim.wait(0.2);
    let back = sim.comes("trent", &invite);
    sim.is_refused(back, "taken this invite back");
}

#[test]
fn the_invites_of_members_leave_the_host_room_for_its_own() {
    let mut sim = Sim::host_with(|config| config.policy.members_invite = true);
    for number in 0..=limits::PASSES_OF_MEMBERS / limits::PASSES_OF_MEMBER {
        let member =
            sim.join(["ann", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan"][number]);
        for _ in 0..limits::PASSES_OF_MEMBER {
            sim.command(
                member,
                NodeCommand::Invite { uses: None, hours: None, pass: true, addrs: Vec::new() },
            );
        }
        sim.wait(0.2);
    }
    assert_eq!(sim.open_invites(0).len(), limits::PASSES_OF_MEMBERS);
    sim.invite(0, 1);
    assert_eq!(sim.open_invites(0).len(), limits::PASSES_OF_MEMBERS + 1);
}

#[test]
fn a_refused_invite_and_the_right_password_let_in_and_a_wrong_one_costs_one_attempt() {
    let mut sim = Sim::host();
    let invite = sim.invite(0, 1);
    sim.command(0, NodeCommand::Revoke { invite: None });
    let with = |sim: &mut Sim, alias: &str, password: &str| {
        let config = MemberConfig {
            pin: Some(invite.key),
            pass: invite.pass.clone(),
            addrs: invite.addrs.clone(),
            ..member_config(password)
        };
        let index = sim.add(alias, Identity::generate().unwrap().0, RoleConfig::Member(Box::new(config)));
        sim.wait(0.5);
        index
    };
    let ann = with(&mut sim, "ann", PASSWORD);
    assert_eq!(sim.roster(ann), ["host", "ann"]);
    let mallory = with(&mut sim, "mallory", "wrong");
    assert_eq!(sim.end(mallory), Some(CloseReason::WrongPassword));
    let attempts = |event: &&NodeEvent| matches!(event, NodeEvent::Attempt { .. });
    assert_eq!(sim.events[0].iter().filter(attempts).count(), 1);
}

#[test]
fn another_host_at_one_address_of_an_invite_does_not_hide_the_right_one_at_the_next() {
    let mut sim = Sim::host();
    let invite = sim.invite(0, 1);
    // In the simulation the first address is dialled: a host with another key is there.
    let other = sim.add("other", Identity::generate().unwrap().0, RoleConfig::Host(Box::new(host_config())));
    let false_addr = SocketAddr::new(Sim::ip(other), 50_000);
    let mut addrs = vec![false_addr];
    addrs.extend(&invite.addrs);
    let ann = sim.comes("ann", &Invite { addrs: addrs.clone(), ..invite.clone() });
    assert_eq!(sim.roster(ann), ["host", "ann"], "{:?}", sim.errors(ann));
    let bob = sim.comes("bob", &Invite { addrs: vec![false_addr], ..invite });
    assert_eq!(sim.end(bob), Some(CloseReason::KeyChanged));
}

#[test]
fn a_host_that_sends_invites_unasked_makes_nobody_look_at_them() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    let conn = sim.nodes[ann].role.group().join_links[&sim.ids[0]];
    // Also after one that was asked for and refused, or was refused unasked.
    let no =
        || Frame::InviteNotMade(crate::wire::Refusal { reason: CloseReason::Busy, detail: "no".to_owned() });
    sim.queue.push_back(Delivery::Frame((ann, conn), no()));
    sim.wait(0.1);
    assert_eq!(sim.errors(ann), [""; 0]);
    sim.nodes[ann].role.group_mut().policy.members_invite = true;
    sim.command(ann, NodeCommand::Invite { uses: None, hours: None, pass: true, addrs: Vec::new() });
    sim.wait(0.1);
    assert_eq!(sim.errors(ann).len(), 1, "{:?}", sim.errors(ann));
    let made = crate::wire::InviteMade {
        pass: crate::model::Pass::new([1; 16]),
        uses: 1,
        until: Timestamp(i64::MAX),
        addrs: Vec::new(),
    };
    sim.queue.push_back(Delivery::Frame((ann, conn), Frame::InviteMade(made)));
    sim.wait(0.2);
    assert!(sim.newest_invite(ann).is_none());
}

#[test]
fn invites_are_good_after_a_restart_and_at_the_next_host() {
    let mut sim = Sim::host();
    let invite = sim.invite(0, 3);
    sim.comes("ann", &invite);
    let kept = sim.saved.last().unwrap().passes.clone();
    let mut again = Sim::host_with(|config| config.kept.passes = kept);
    assert_eq!(again.open_invites(0), [2]);
    let there = Invite { key: again.ids[0], ..invite.clone() };
    let bob = again.comes("bob", &there);
    assert_eq!(again.roster(bob), ["host", "bob"]);

    sim.command(0, NodeCommand::Handover { peer: "ann".parse().unwrap() });
    sim.wait(1.0);
    assert_eq!(sim.open_invites(1), [2], "ann has them now");
    // Whoever asks at the old place is told by the old host's signature where the network is.
    let carol = sim.comes("carol", &invite);
    sim.wait(5.0);
    assert_eq!(sim.roster(carol), ["ann", "carol", "host"], "{:?}", sim.errors(carol));
    assert_eq!(sim.open_invites(1), [1]);
    // They are the old host's, which answers for them.
    sim.command(1, NodeCommand::Ban { peer: Some(sim.ids[0].into()), addr: None, reason: None });
    sim.wait(0.5);
    assert_eq!(sim.open_invites(1), [0; 0]);
}

#[test]
fn only_the_host_of_now_tells_those_around_and_only_where_it_wants_to() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    assert_eq!(sim.announced, [(0, Some("lab".to_owned()))]);
    sim.command(0, NodeCommand::Handover { peer: "ann".parse().unwrap() });
    sim.wait(1.0);
    let after: Vec<(usize, bool)> =
        sim.announced[1..].iter().map(|(who, name)| (*who, name.is_some())).collect();
    assert!(after.contains(&(0, false)) && after.contains(&(ann, true)) && after.len() == 2, "{after:?}");
    assert!(Sim::host_with(|config| config.announce = false).announced.is_empty());
}

//! Messages from and to Python programs.

use super::*;

#[test]
fn what_a_python_program_calls_itself_is_its_label_once_and_a_claim_afterwards() {
    let mut sim = Sim::classic_host();
    let ann = sim.join("ann");
    let bob = sim.python("10.0.0.9", 49_001);
    let end = sim.python_says(0, &bob, "bob the builder", "hi", false);
    let Object::Message(said) = message("hi", "bob the builder", To::Everyone, bob.addr) else {
        unreachable!()
    };
    assert_eq!(sim.told(end), [Object::Reply(Reply { data: said, alias: "host".into() })]);
    assert!(sim.shut.contains(&end));
    sim.wait(0.1);
    assert_eq!(sim.roster(ann), ["host", "ann", "bob-the-builder"]);
    sim.python_says(0, &bob, "ann", "I am ann", false);
    sim.python_says(ann, &bob, "\u{202E}nna", "so am I", true);
    sim.python_says(ann, &bob, "bob the builder", "no", false);
    assert_eq!(sim.heard(0), ["bob-the-builder: hi", "bob-the-builder: I am ann"]);
    sim.wait(0.1);
    sim.python_says(0, &bob, "robert", "call me robert now", false);
    assert_eq!(sim.claims(0), [None, Some("ann".into()), Some("robert".into())]);
    assert_eq!(sim.claims(ann), [Some("\u{FFFD}nna".into()), None]);
    assert_eq!(sim.roster(ann), ["host", "ann", "bob-the-builder"]);
    // A label that is taken is only ever a claim, and so is a look-alike.
    for (ip, alias) in [("10.0.0.20", "ann"), ("10.0.0.21", "аnn"), ("10.0.0.22", "everyone")] {
        let eve = sim.python(ip, 49_002);
        sim.python_says(0, &eve, alias, "hello", false);
        assert_eq!(sim.claims(0).pop(), Some(Some(alias.into())), "{alias}");
    }
    sim.wait(2.0);
    assert_eq!(sim.roster(0).len(), 6);
    assert!(sim.roster(0).contains(&"10.0.0.20".to_owned()));
}

#[test]
fn only_members_are_listened_to_and_nobody_speaks_for_another() {
    let mut sim = Sim::classic_host();
    let ann = sim.join("ann");
    let (bob, eve) = (sim.python("10.0.0.9", 49_001), sim.python("10.0.0.10", 49_002));
    let stranger = sim.plain(ann, LinkKind::PeerIn, "10.0.0.77:60000");
    assert!(sim.shut.contains(&stranger), "before a byte of it is read");
    // From eve's address, in bob's name.
    let end = sim.plain(ann, LinkKind::PeerIn, "10.0.0.10:60000");
    sim.tell(end, message("trust me", "bob", To::Everyone, bob.addr));
    assert_eq!(sim.heard(ann), ["10.0.0.10: trust me"]);
    // What is no message, too long or empty is not taken; the link is closed and who did it is told.
    for object in [
        Object::Beat,
        message("", "eve", To::Everyone, eve.addr),
        message(&"x".repeat(limits::TEXT_BYTES + 1), "eve", To::Everyone, eve.addr),
    ] {
        let end = sim.plain(ann, LinkKind::PeerIn, "10.0.0.10:60000");
        sim.tell(end, object);
        assert!(sim.shut.contains(&end));
    }
    assert_eq!(sim.heard(ann).len(), 1);
    assert!(sim.errors(ann).iter().any(|error| error.contains("10.0.0.10 sent a message of 0 or more than")));
    assert_eq!(sim.roster(ann), ["host", "10.0.0.10", "10.0.0.9", "ann"]);
}

#[test]
fn on_one_machine_the_message_tells_whose_it_is() {
    let mut sim = Sim::classic_host();
    let (bob, eve) = (sim.python("127.0.0.2", 49_001), sim.python("127.0.0.3", 49_002));
    for python in [&eve, &bob] {
        let end = sim.plain(0, LinkKind::PeerIn, "127.0.0.1:60000");
        sim.tell(end, message("hi", "x", To::Everyone, python.addr));
    }
    assert_eq!(sim.heard(0), ["x: hi", "127.0.0.2: hi"]);
}

#[test]
fn messages_to_a_python_program_go_one_by_one_and_say_what_became_of_them() {
    let mut sim = Sim::classic_host();
    let ann = sim.join("ann");
    let bob = sim.python("10.0.0.9", 49_001);
    sim.say(ann, "everyone", "one");
    sim.say(ann, "10.0.0.9", "two");
    let Some((index, to, from, Object::Message(said))) = sim.said.pop() else { panic!("said") };
    assert_eq!((index, to, from), (ann, bob.id(), Some("10.0.0.2".parse().unwrap())));
    assert_eq!((said.data.as_str(), said.to, said.alias.as_str()), ("one", To::Everyone, "ann"));
    assert_eq!(said.from, v4("10.0.0.2:50000").into());
    assert!(sim.said.is_empty(), "one at a time");
    assert!(sim.deliveries(ann).contains(&"one host Delivered 1/2".to_owned()));
    sim.said(ann, &bob, Ok(Some("bob")));
    assert!(sim.deliveries(ann).contains(&"one 10.0.0.9 Delivered 2/2".to_owned()));
    let Some((.., Object::Message(said))) = sim.said.pop() else { panic!("said") };
    assert_eq!((said.data.as_str(), said.to), ("two", To::Peer(bob.addr.into())));
    sim.said(ann, &bob, Ok(None));
    assert_eq!(sim.deliveries(ann).pop().unwrap(), "two 10.0.0.9 Sent 0/1", "nobody knows more");
    // One that does not go is said again.
    sim.say(ann, "10.0.0.9", "three");
    sim.said.clear();
    sim.said(ann, &bob, Err(CloseReason::Unreachable));
    assert!(sim.said.is_empty());
    sim.wait(1.0);
    assert!(matches!(&sim.said.pop().unwrap().3, Object::Message(said) if said.data == "three"));
    // An answer also tells what it is called, where the host decides that.
    sim.say(0, "everyone", "four");
    sim.said(0, &bob, Ok(Some("bob")));
    sim.wait(0.1);
    assert_eq!(sim.roster(ann), ["host", "ann", "bob"]);
}

#[test]
fn what_is_too_long_for_a_python_program_is_refused_with_the_reason() {
    let mut sim = Sim::classic_host();
    let ann = sim.join("ann");
    sim.python("10.0.0.9", 49_001);
    let long = "€".repeat(700);
    sim.say(ann, "10.0.0.9", &long);
    assert!(sim.errors(ann).pop().unwrap().contains("of which 10.0.0.9 reads at most 2048"));
    assert!(sim.deliveries(ann).is_empty() && sim.said.is_empty(), "nothing was taken");
    sim.say(ann, "everyone", &long);
    let deliveries = sim.deliveries(ann);
    assert!(deliveries.iter().any(|line| line.contains("10.0.0.9 Failed too_long")), "{deliveries:?}");
    assert!(deliveries.last().unwrap().ends_with("host Delivered 1/2"), "the others have it");
    let fits = "x".repeat(limits::CLASSIC_OBJECT - 80);
    sim.say(ann, "10.0.0.9", &fits);
    assert!(sim.said.pop().unwrap().3.encode().len() <= limits::CLASSIC_OBJECT);
}

#[test]
fn nothing_waits_for_a_python_program_that_is_gone() {
    let mut sim = Sim::classic_host();
    let ann = sim.join("ann");
    let bob = sim.python("10.0.0.9", 49_001);
    sim.say(ann, "10.0.0.9", "for bob alone");
    sim.hang_up(bob.join);
    sim.wait(0.1);
    assert_eq!(sim.deliveries(ann).pop().unwrap(), "for bob alone 10.0.0.9 Failed left 0/1");
    sim.say(ann, "10.0.0.9", "are you there?");
    assert!(sim.errors(ann).pop().unwrap().contains("nobody called \"10.0.0.9\""));
    sim.say(ann, &bob.id().to_string(), "are you there?");
    assert!(sim.errors(ann).pop().unwrap().contains("not here now"));
    sim.said.clear();
    // Whoever comes to that address next may be somebody else.
    sim.python("10.0.0.9", 49_001);
    sim.wait(2.0);
    assert!(sim.said.is_empty());
}

#[test]
fn without_consent_nothing_goes_in_clear_and_it_is_told_who_goes_without() {
    let mut sim = Sim::classic_host();
    let ann = sim.join("ann");
    let bob = sim.python("10.0.0.9", 49_001);
    sim.command(ann, NodeCommand::Cleartext { allow: false });
    sim.say(ann, "everyone", "not for all");
    let deliveries = sim.deliveries(ann);
    assert!(
        deliveries.contains(&"not for all 10.0.0.9 Failed not_in_clear 0/2".to_owned()),
        "{deliveries:?}"
    );
    sim.say(ann, "10.0.0.9", "psst");
    assert!(sim.errors(ann).pop().unwrap().contains("switched off"));
    let end = sim.python_says(ann, &bob, "bob", "hi", true);
    assert_eq!(sim.heard(ann), ["10.0.0.9: hi"]);
    assert!(sim.told(end).is_empty() && sim.shut.contains(&end), "not even an answer");
    assert!(sim.said.is_empty());
    sim.command(ann, NodeCommand::Cleartext { allow: true });
    sim.say(ann, "10.0.0.9", "psst");
    assert_eq!(sim.said.len(), 1);
}

#[test]
fn what_waits_does_not_go_in_clear_any_more_once_that_is_not_wanted() {
    let mut sim = Sim::classic_host();
    let ann = sim.join("ann");
    let bob = sim.python("10.0.0.9", 49_001);
    sim.say(ann, "10.0.0.9", "secret");
    sim.said(ann, &bob, Err(CloseReason::Unreachable));
    sim.said.clear();
    sim.command(ann, NodeCommand::Cleartext { allow: false });
    sim.wait(8.0);
    assert!(sim.said.is_empty());
    assert_eq!(sim.deliveries(ann).pop().unwrap(), "secret 10.0.0.9 Failed not_in_clear 0/1");
    // What is on its way already is told of truly.
    sim.command(ann, NodeCommand::Cleartext { allow: true });
    sim.say(ann, "10.0.0.9", "gone");
    sim.say(ann, "10.0.0.9", "not yet");
    sim.command(ann, NodeCommand::Cleartext { allow: false });
    sim.said(ann, &bob, Ok(Some("bob")));
    let deliveries = sim.deliveries(ann);
    assert!(deliveries.contains(&"gone 10.0.0.9 Delivered 1/1".to_owned()), "{deliveries:?}");
    assert_eq!(deliveries.last().unwrap(), "not yet 10.0.0.9 Failed not_in_clear 0/1");
}

#[test]
fn a_connection_that_brings_no_message_is_closed_after_a_while() {
    let mut sim = Sim::classic_host();
    let bob = sim.python("10.0.0.9", 49_001);
    let silent = sim.plain(0, LinkKind::PeerIn, "10.0.0.9:60000");
    let said = sim.python_says(0, &bob, "bob", "hi", false);
    assert!(sim.shut.contains(&said) && !sim.shut.contains(&silent));
    sim.wait(5.0);
    assert!(sim.shut.contains(&silent));
}

#[test]
fn a_last_word_does_not_bring_back_who_is_gone() {
    let mut sim = Sim::classic_host();
    let ann = sim.join("ann");
    let (bob, eve) = (sim.python("10.0.0.9", 49_001), sim.python("10.0.0.10", 49_002));
    sim.wait(1.0);
    let word = sim.plain(0, LinkKind::PeerIn, "10.0.0.9:60000");
    for python in [&eve, &bob] {
        let end = python.join;
        sim.nodes[0].handle(sim.now, Input::Closed(end.1, CloseReason::ConnectionLost.into()));
    }
    sim.tell(word, message("bye", "bob", To::Everyone, bob.addr));
    sim.wait(1.0);
    assert_eq!(sim.roster(ann), ["host", "ann"]);
}

#[test]
fn what_python_programs_said_is_not_handed_on() {
    let mut sim = Sim::host_with(|config| {
        classic(config);
        config.policy.read_back = 3600;
    });
    sim.on_disk = true;
    let ann = sim.join("ann");
    let bob = sim.python("10.0.0.9", 49_001);
    sim.python_says(ann, &bob, "bob", "hello", false);
    sim.say(ann, "everyone", "hi");
    let carol = sim.join("carol");
    sim.wait(30.0);
    assert_eq!(sim.heard(carol), ["ann: hi"]);
    assert!(sim.errors(carol).is_empty() && sim.errors(ann).is_empty(), "{:?}", sim.errors(carol));
}

#[test]
fn what_a_python_program_says_is_answered_once_it_is_kept_and_counted_on_after_a_pause() {
    let mut sim = Sim::classic_host();
    sim.on_disk = true;
    let ann = sim.join("ann");
    let bob = sim.python("10.0.0.9", 49_001);
    sim.stores[ann].disk = Disk::Full;
    let end = sim.python_says(ann, &bob, "bob", "one", true);
    assert!(sim.told(end).is_empty() && !sim.shut.contains(&end));
    sim.mend(ann);
    assert!(matches!(&sim.told(end)[..], [Object::Reply(_)]));
    let second = sim.python_says(ann, &bob, "bob", "two", true);
    assert_eq!(sim.heard(ann), ["10.0.0.9: one", "10.0.0.9: two"], "none is taken for the other");
    assert!(matches!(&sim.told(second)[..], [Object::Reply(_)]));
}

#[test]
fn a_flood_from_a_python_program_is_bounded() {
    let mut sim = Sim::host_with(|config| {
        classic(config);
        config.policy.rate = 1;
        config.policy.burst = 10;
    });
    let bob = sim.python("10.0.0.9", 49_001);
    let ends: Vec<End> = (0..1000).map(|_| sim.python_says(0, &bob, "bob", "buy", false)).collect();
    assert_eq!(sim.heard(0).len(), 10);
    let refused = ends.iter().filter(|end| sim.shut.contains(end)).count();
    assert!(refused > 500, "{refused}");
    assert!(sim.errors(0).iter().any(|error| error.contains("bob sent more than it may")));
}

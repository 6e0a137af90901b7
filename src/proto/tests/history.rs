//! What is kept, what is acknowledged, and how those who were away catch up.

use super::*;
use crate::{
    model::{Batch, Held, HistoryState, StoredBatch, StreamId},
    wire::Wanted,
};

#[test]
fn nothing_is_acknowledged_before_it_is_kept() {
    let mut sim = Sim::host_on_disk();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.stores[bob].disk = Disk::Hangs;
    sim.say(ann, "bob", "one");
    sim.wait(1.0);
    assert_eq!(sim.heard(bob), ["ann: one"], "shown at once");
    assert_eq!(sim.deliveries(ann), ["one bob Queued 0/1"]);
    // The link is lost, the message comes again, and still is not kept.
    sim.cut_peer_links(ann);
    sim.wait(5.0);
    assert_eq!(sim.heard(bob), ["ann: one"], "once");
    assert!(!sim.deliveries(ann).iter().any(|line| line.contains("Delivered")));
    sim.mend(bob);
    assert_eq!(sim.deliveries(ann).last().unwrap(), "one bob Delivered 1/1");
    assert_eq!(sim.stores[bob].messages().len(), 1);
}

#[test]
fn nothing_leaves_before_it_is_kept() {
    let mut sim = Sim::host_on_disk();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.stores[ann].disk = Disk::Hangs;
    sim.say(ann, "everyone", "one");
    sim.wait(1.0);
    assert!(sim.heard(bob).is_empty());
    assert!(!sim.has(ann, |event| matches!(event, NodeEvent::Message { .. })), "not taken yet");
    sim.mend(ann);
    sim.wait(0.1);
    assert_eq!(sim.heard(bob), ["ann: one"]);
    assert!(sim.deliveries(ann).last().unwrap().ends_with("Delivered 2/2"));
}

#[test]
fn with_a_full_disk_talk_goes_on_and_nothing_is_called_delivered() {
    let mut sim = Sim::host_with(|config| {
        config.policy = Policy { rate: 0, ..Policy::default() };
        config.earlier.recalled = Recalled { state: HistoryState::Saved, ..Recalled::nothing() };
    });
    sim.on_disk = true;
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.stores[bob].disk = Disk::Full;
    for number in 0..800 {
        sim.say(ann, "bob", &number.to_string());
    }
    sim.wait(1.0);
    assert_eq!(sim.heard(bob).len(), 800, "far more than the window");
    assert!(!sim.deliveries(ann).iter().any(|line| line.contains("Delivered")));
    sim.say(bob, "ann", "my disk is full");
    sim.wait(0.1);
    assert_eq!(sim.heard(ann), ["bob: my disk is full"]);
    sim.mend(bob);
    let delivered = sim.deliveries(ann).iter().filter(|line| line.contains("Delivered")).count();
    assert_eq!((delivered, sim.stores[bob].messages().len()), (800, 801));
}

#[test]
fn what_waits_for_somebody_survives_the_sender() {
    let mut sim = Sim::host_on_disk();
    let (keep, key) = identity();
    let ann = sim.join_as("ann", PASSWORD, key);
    let bob = sim.join("bob");
    sim.wait(0.1);
    sim.frozen.insert(bob);
    sim.say(ann, "bob", "one");
    sim.say(ann, "everyone", "two");
    sim.wait(1.0);
    sim.crash(ann);
    sim.frozen.remove(&bob);
    let again = sim.begin_again(ann, "ann", keep);
    assert_eq!(sim.deliveries(again)[..2], ["two bob Queued 1/2", "one bob Queued 0/1"]);
    assert_eq!(sim.heard(bob), ["ann: two", "ann: one"]);
    let mut last = sim.deliveries(again);
    assert_eq!(last.split_off(last.len() - 2), ["two bob Delivered 2/2", "one bob Delivered 1/1"]);
    // What is said now is not taken for what was said before.
    sim.say(again, "bob", "three");
    sim.wait(0.1);
    assert_eq!(sim.heard(bob).last().unwrap(), "ann: three");
}

#[test]
fn what_left_without_being_kept_is_never_mistaken_for_what_is_said_later() {
    let mut sim = Sim::host_on_disk();
    let (keep, key) = identity();
    let ann = sim.join_as("ann", PASSWORD, key);
    let bob = sim.join("bob");
    sim.wait(0.1);
    sim.say(ann, "bob", "one");
    sim.stores[ann].disk = Disk::Full;
    sim.say(ann, "bob", "two, which no disk has");
    sim.wait(0.1);
    sim.crash(ann);
    let again = sim.begin_again(ann, "ann", keep);
    sim.say(again, "bob", "three");
    sim.wait(0.1);
    assert_eq!(sim.heard(bob), ["ann: one", "ann: two, which no disk has", "ann: three"]);
    assert_eq!(sim.deliveries(again).last().unwrap(), "three bob Delivered 1/1");
}

#[test]
fn messages_wait_for_a_member_that_left_and_fail_for_one_that_was_removed() {
    let mut sim = Sim::host_on_disk();
    let (keep, key) = identity();
    let ann = sim.join("ann");
    let bob = sim.join_as("bob", PASSWORD, key);
    sim.wait(0.1);
    sim.command(bob, NodeCommand::Leave);
    sim.wait(3.0);
    sim.say(ann, "bob", "for tomorrow");
    assert_eq!(sim.deliveries(ann), ["for tomorrow bob Queued 0/1"]);
    sim.wait(3600.0);
    let bob = sim.begin_again(bob, "bob", keep);
    assert_eq!(sim.heard(bob), ["ann: for tomorrow"]);
    sim.frozen.insert(bob);
    let before = sim.deliveries(ann).len();
    for number in 0..20 {
        sim.say(ann, "bob", &format!("{number} {}", "x".repeat(16_000)));
    }
    sim.ban("bob");
    sim.wait(0.1);
    // What went before may be read yet; what did not go never will.
    let lines = sim.deliveries(ann).split_off(before);
    let ends = |end: &str| lines.iter().filter(|line| line.ends_with(end)).count();
    let (sent, failed) = (ends(" Sent 0/1"), ends(" Failed banned 0/1"));
    assert!((10..15).contains(&sent) && sent + failed == 20, "{sent} {failed}");
    sim.say(ann, "bob", "hello?");
    assert!(sim.errors(ann).last().unwrap().contains("nobody called \"bob\""));
}

#[test]
fn who_was_away_catches_up_in_place_and_in_order() {
    let mut sim = Sim::host_on_disk();
    let (keep, key) = identity();
    let ann = sim.join("ann");
    let bob = sim.join_as("bob", PASSWORD, key);
    sim.wait(0.1);
    sim.say(ann, "everyone", "1");
    sim.wait(60.0);
    sim.crash(bob);
    sim.wait(20.0);
    for text in ["2", "3", "4", "5", "6"] {
        sim.say(ann, "everyone", text);
        sim.wait(1.0);
        sim.say(0, "everyone", &format!("host {text}"));
        sim.wait(60.0);
    }
    let bob = sim.begin_again(bob, "bob", keep);
    sim.say(ann, "everyone", "7");
    sim.wait(1.0);
    let all = sim.stores[ann].log();
    assert_eq!(all.len(), 12, "{all:?}");
    assert_eq!(sim.stores[bob].log(), all);
    let late = |event: &NodeEvent| matches!(event, NodeEvent::Message { late: true, .. });
    assert_eq!(sim.events[bob].iter().filter(|event| late(event)).count(), 10);
    let times: Vec<i64> = sim.events[bob]
        .iter()
        .filter_map(|event| match event {
            NodeEvent::Message { late: true, came_at, .. } => Some(came_at.0),
            _ => None,
        })
        .collect();
    assert!(times.iter().max().unwrap() + 50_000_000 < sim.now.wall.0, "at the time when they were sent");
}

#[test]
fn who_is_away_when_something_is_said_to_everyone_is_listed_until_it_has_it() {
    let mut sim = Sim::host_on_disk();
    let (keep, key) = identity();
    let ann = sim.join("ann");
    let bob = sim.join_as("bob", PASSWORD, key);
    sim.join("carol");
    sim.wait(0.1);
    sim.crash(bob);
    sim.wait(20.0);
    // Whoever the host has removed is not waited for.
    sim.ban("carol");
    sim.wait(0.1);
    sim.say(ann, "everyone", "while bob is away");
    sim.wait(0.1);
    let last = |sim: &Sim, index: usize| sim.deliveries(index).pop().unwrap();
    assert_eq!(last(&sim, ann), "while bob is away host Delivered 1/2");
    assert!(sim.deliveries(ann).contains(&"while bob is away bob Queued 0/2".to_owned()));
    assert!(!sim.deliveries(ann).iter().any(|line| line.contains(" carol ")));
    // Nobody who leaves waits for it, and it is no fault that bob is away.
    assert!(!sim.nodes[ann].mesh.messaging.has_deliverable(sim.nodes[ann].role.group()));
    assert_eq!(sim.nodes[ann].mesh.messaging.undelivered(), 0);
    // A session that begins meanwhile knows whom it waits for, and by which name.
    let dave = sim.join("dave");
    sim.say(dave, "everyone", "I am new");
    sim.wait(0.1);
    assert!(
        sim.deliveries(dave).contains(&"I am new bob Queued 0/3".to_owned()),
        "{:?}",
        sim.deliveries(dave)
    );
    sim.wait(60.0);
    let bob = sim.begin_again(bob, "bob", keep);
    sim.wait(5.0);
    assert_eq!(last(&sim, ann), "while bob is away bob Delivered 2/2");
    assert_eq!(last(&sim, dave), "I am new bob Delivered 3/3");
    let said = sim.stores[bob].log();
    assert!(
        said.len() == 2 && said[0].contains("while bob is away") && said[1].contains("I am new"),
        "{said:?}"
    );
}

#[test]
fn who_is_away_for_more_than_a_day_is_not_waited_for_and_nothing_is_called_failed() {
    let mut sim = Sim::host_on_disk();
    let ann = sim.join("ann");
    let bob = sim.join("bob");
    sim.wait(0.1);
    sim.crash(bob);
    sim.wait(20.0);
    sim.say(ann, "everyone", "hello");
    sim.wait(25.0 * 3600.0);
    // It may still get it from anybody who has it.
    assert_eq!(sim.deliveries(ann).pop().unwrap(), "hello bob Sent 1/2");
    sim.join("dave");
    sim.say(ann, "everyone", "again");
    sim.wait(0.1);
    assert!(sim.deliveries(ann).pop().unwrap().ends_with(" Delivered 2/2"), "{:?}", sim.deliveries(ann));
}

#[test]
fn who_is_away_twice_in_a_moment_catches_up_twice() {
    let mut sim = Sim::host_on_disk();
    let bytes = Identity::generate().unwrap().1;
    let again = || Identity::from_pkcs8(&bytes).unwrap();
    let ann = sim.join("ann");
    let mut bob = sim.join_as("bob", PASSWORD, again());
    sim.wait(0.1);
    for round in 0..3 {
        sim.crash(bob);
        sim.wait(0.2);
        sim.say(ann, "everyone", &format!("round {round}"));
        sim.wait(0.2);
        bob = sim.begin_again(bob, "bob", again());
    }
    assert_eq!(sim.stores[bob].log(), ["ann: round 0", "ann: round 1", "ann: round 2"]);
}

#[test]
fn a_gap_closes_when_the_author_hands_on_what_is_missing() {
    let mut sim = Sim::host_on_disk();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.say(ann, "everyone", "1");
    sim.wait(0.1);
    // For a while ann is told of nobody: what she says then is addressed to nobody.
    let others = sim.leave_alone(ann);
    for text in ["2", "3", "4", "5"] {
        sim.say(ann, "everyone", text);
    }
    sim.wait(0.1);
    assert_eq!(sim.heard(bob), ["ann: 1"]);
    sim.bring_back(ann, others);
    sim.say(ann, "everyone", "6");
    sim.wait(1.0);
    assert_eq!(sim.heard(bob), ["ann: 1", "ann: 6 (4 missed)", "ann: 2", "ann: 3", "ann: 4", "ann: 5"]);
    assert_eq!(sim.stores[bob].log(), ["ann: 1", "ann: 2", "ann: 3", "ann: 4", "ann: 5", "ann: 6"]);
    let gaps: Vec<u64> = sim.events[bob]
        .iter()
        .filter_map(|event| match event {
            NodeEvent::Gap { missing, .. } => Some(*missing),
            _ => None,
        })
        .collect();
    assert_eq!(gaps, [3, 2, 1, 0]);
}

#[test]
fn newcomers_read_back_as_far_as_the_host_lets_them() {
    for (read_back, expected) in [(0, 0), (90, 1), (3600, 3)] {
        let mut sim = Sim::host_with(|config| {
            config.policy.read_back = read_back;
            config.earlier.recalled = Recalled { state: HistoryState::Saved, ..Recalled::nothing() };
        });
        sim.on_disk = true;
        let ann = sim.join("ann");
        for text in ["1", "2", "3"] {
            sim.say(ann, "everyone", text);
            sim.wait(60.0);
        }
        let bob = sim.join("bob");
        sim.wait(1.0);
        assert_eq!(sim.heard(bob).len(), expected, "{read_back} s back");
        // Nor does it help to ask for more.
        let wanted = Wanted {
            direct: false,
            range: Held { author: sim.ids[ann], epoch: sim.own_epoch(ann), from: 1, to: 3 },
        };
        let handed = sim.ask(bob, ann, Frame::Wanted(wanted));
        let Some(Frame::HandedOn(handed)) = handed else { panic!("{handed:?}") };
        assert!(handed.batches.len() <= expected, "{read_back} s back");
        let handed = sim.ask(bob, ann, Frame::Wanted(Wanted { direct: true, ..wanted }));
        let Some(Frame::HandedOn(handed)) = handed else { panic!("{handed:?}") };
        assert!(handed.batches.is_empty(), "nothing that was said to everyone by the way");
        sim.wait(6.0);
        let held = sim.ask(bob, ann, Frame::CatchUp(Timestamp(0)));
        let Some(Frame::Held(held)) = held else { panic!("{held:?}") };
        let told: u64 =
            held.iter().filter(|held| held.author == sim.ids[ann]).map(|held| held.to - held.from + 1).sum();
        assert_eq!(told, expected as u64, "{read_back} s back");
    }
}

#[test]
fn an_answer_that_nobody_waits_for_any_more_is_passed_over() {
    let mut sim = Sim::host_on_disk();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.say(ann, "bob", "hello");
    sim.wait(0.1);
    let conn = sim.links.iter().find_map(|(end, other)| {
        (end.0 == bob && other.0 == ann && sim.nodes[bob].mesh.links.has(end.1)).then_some(end.1)
    });
    let conn = conn.unwrap();
    let range = Held { author: sim.ids[ann], epoch: 1, from: 1, to: 2 };
    let wanted = Wanted { direct: false, range };
    let handed = crate::wire::HandedOn { wanted, label: String::new(), batches: Vec::new(), next: Some(2) };
    for frame in [Frame::Held(vec![range].into()), Frame::HandedOn(handed)] {
        sim.nodes[bob].handle(sim.now, Input::Frame(conn, frame));
    }
    sim.run();
    assert!(sim.nodes[bob].mesh.links.has(conn), "the link stays");
    assert_eq!(sim.errors(bob), Vec::<String>::new(), "and nobody is blamed");
}

#[test]
fn a_question_that_is_overtaken_is_asked_again() {
    let mut sim = Sim::host_on_disk();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.say(ann, "everyone", "1");
    sim.wait(0.1);
    let others = sim.leave_alone(ann);
    sim.say(ann, "everyone", "2");
    sim.bring_back(ann, others);
    // Ann's history takes its time: bob has asked her for the gap, and asks what else it missed.
    sim.stores[ann].is_slow = true;
    sim.say(ann, "everyone", "3");
    sim.wait(0.2);
    assert_eq!(sim.heard(bob), ["ann: 1", "ann: 3 (1 missed)"]);
    let now = sim.now;
    let node = &mut sim.nodes[bob];
    node.begin_turn(now);
    node.mesh.messaging.catch_up_since(node.role.group(), Timestamp(0));
    node.route();
    sim.run();
    sim.wait(0.2);
    for event in sim.stores[ann].answer() {
        sim.nodes[ann].handle(sim.now, Input::Store(StoreEvent::History(event)));
    }
    sim.wait(2.0);
    assert_eq!(sim.heard(bob), ["ann: 1", "ann: 3 (1 missed)", "ann: 2"]);
    assert_eq!(sim.errors(bob), Vec::<String>::new());
}

#[test]
fn only_what_its_author_signed_is_taken_from_others() {
    let mut sim = Sim::host_on_disk();
    let (keep, key) = identity();
    let ann = sim.join("ann");
    let bob = sim.join_as("bob", PASSWORD, key);
    sim.wait(0.1);
    sim.say(ann, "everyone", "1");
    sim.wait(0.1);
    sim.crash(bob);
    sim.wait(20.0);
    sim.say(ann, "everyone", "pay bob");
    sim.wait(0.1);
    let is_original = |stored: &&Arc<StoredBatch>| stored.batch.texts[0].as_str() == "pay bob";
    let original = sim.stores[0].kept.batches.iter().find(is_original).unwrap().batch.clone();
    // The host is asked first, and answers what it likes; the author itself is busy.
    sim.stores[0].disk = Disk::Hangs;
    sim.frozen.insert(ann);
    let bob = sim.begin_again(bob, "bob", keep);
    let conn = sim.links.iter().find_map(|(end, other)| {
        (end.0 == bob && other.0 == 0 && sim.nodes[bob].mesh.links.has(end.1)).then_some(end.1)
    });
    let conn = conn.unwrap();
    let StreamId { author, epoch, .. } = original.stream;
    let range = Held { author, epoch, from: original.first, to: original.first };
    let puppet = Held { author: PeerId([9; 32]), ..range };
    sim.nodes[bob].handle(sim.now, Input::Frame(conn, Frame::Held(vec![range].into())));
    let forged = Batch { texts: vec![crate::model::SafeText::clean("pay mallory")], ..original };
    let wanted = Wanted { direct: false, range };
    let handed = crate::wire::HandedOn { wanted, label: "ann".into(), batches: vec![forged], next: None };
    sim.nodes[bob].handle(sim.now, Input::Frame(conn, Frame::HandedOn(handed)));
    assert_eq!(sim.heard(bob), Vec::<String>::new());
    // The others are asked as well, and have the right one.
    sim.frozen.clear();
    sim.wait(60.0);
    assert_eq!(sim.heard(bob), ["ann: pay bob"]);
    // Nobody but the host may speak of people that nobody here has met.
    let ann_conn = sim.links.iter().find_map(|(end, other)| {
        (end.0 == bob && other.0 == ann && sim.nodes[bob].mesh.links.has(end.1)).then_some(end.1)
    });
    if let Some(conn) = ann_conn {
        sim.nodes[bob].handle(sim.now, Input::Frame(conn, Frame::Held(vec![puppet].into())));
        sim.wait(1.0);
        assert_eq!(sim.heard(bob).len(), 1);
    }
}

//! Comparing words: what both ends are shown, and what an attacker between them, or at one end, makes of it.

use super::*;
use crate::security::sas;

impl Sim {
    fn verify(&mut self, from: usize, whom: &str) {
        self.command(from, NodeCommand::Verify { peer: whom.into() });
        self.wait(1.0);
    }

    fn compared(&mut self, at: usize, whom: &str, same: bool) {
        let words = self.words(at).filter(|_| same);
        self.command(at, NodeCommand::Compared { peer: whom.into(), words });
        self.wait(1.0);
    }

    /// The words that one end was shown last.
    fn words(&self, index: usize) -> Option<Vec<String>> {
        self.events[index].iter().rev().find_map(|event| match event {
            NodeEvent::Verify { words, .. } => Some(words.clone()),
            _ => None,
        })
    }

    /// Whom one end has verified.
    fn verified(&self, index: usize) -> Vec<String> {
        let named = |event: &NodeEvent| match event {
            NodeEvent::Verified { peer } => Some(peer.alias.to_string()),
            _ => None,
        };
        self.events[index].iter().filter_map(named).collect()
    }

    fn why_not(&self, index: usize) -> String {
        let told = self.events[index].iter().rev().find_map(|event| match event {
            NodeEvent::NotVerified { message, .. } => Some(message.to_string()),
            _ => None,
        });
        told.unwrap_or_default()
    }

    /// A frame of a changed client, over the link from one to another.
    fn forge(&mut self, from: usize, to: usize, frame: Frame) {
        let over = |(near, far): (&End, &End)| {
            (near.0 == from && far.0 == to && !self.is_join_link(*near)).then_some(*far)
        };
        let far = self.links.iter().find_map(over).expect("a peer link");
        self.queue.push_back(Delivery::Frame(far, frame));
        self.wait(0.2);
    }

    fn is_join_link(&self, end: End) -> bool {
        self.nodes[end.0].role.group().join_links.values().any(|conn| *conn == end.1)
    }
}

/// Two members with a peer link between them.
fn two() -> (Sim, usize, usize) {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.say(ann, "bob", "hi");
    sim.wait(1.0);
    (sim, ann, bob)
}

#[test]
fn both_ends_have_the_same_words_and_a_yes_of_both_verifies_for_good() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    // Without a link at first: it is opened for that.
    sim.verify(ann, "bob");
    let words = sim.words(ann).unwrap();
    assert_eq!((words.len(), sim.words(bob)), (limits::VERIFY_WORDS, Some(words.clone())));
    sim.compared(ann, "bob", true);
    assert!(sim.verified(ann).is_empty() && sim.verified(bob).is_empty(), "one yes is none");
    sim.compared(bob, "ann", true);
    assert_eq!((sim.verified(ann), sim.verified(bob)), (vec!["bob".to_owned()], vec!["ann".to_owned()]));
    let kept = |index: usize| sim.stores[index].verified.clone();
    assert_eq!((kept(ann), kept(bob)), (vec![sim.ids[bob]], vec![sim.ids[ann]]));
    // Other words each time.
    sim.wait(limits::VERIFY_EVERY.as_secs_f64());
    sim.verify(ann, "bob");
    assert_ne!(sim.words(ann), Some(words));
    // With the host, and where both begin at once: both have asked for them.
    sim.command(0, NodeCommand::Verify { peer: "ann".into() });
    sim.command(ann, NodeCommand::Verify { peer: "host".into() });
    sim.wait(1.0);
    assert_eq!(sim.words(0), sim.words(ann));
    let asked = |index: usize| {
        sim.events[index].iter().rev().find_map(|event| match event {
            NodeEvent::Verify { own, .. } => Some(*own),
            _ => None,
        })
    };
    assert_eq!((asked(0), asked(ann)), (Some(true), Some(true)));
    assert_eq!((sim.why_not(0), sim.why_not(ann)), (String::new(), String::new()));
}

#[test]
fn people_may_take_their_time_and_nothing_of_it_stays_behind() {
    let (mut sim, ann, bob) = two();
    sim.verify(ann, "bob");
    let words = sim.words(ann);
    // Longer than a link without a word is kept.
    sim.wait(limits::PEER_LINK_IDLE.as_secs_f64() * 2.0);
    sim.compared(ann, "bob", true);
    sim.wait(limits::PEER_LINK_IDLE.as_secs_f64() * 2.0);
    sim.compared(bob, "ann", true);
    sim.wait(2.0);
    assert_eq!((sim.verified(ann), sim.verified(bob)), (vec!["bob".to_owned()], vec!["ann".to_owned()]));
    sim.wait(limits::PEER_LINK_IDLE.as_secs_f64() * 2.0);
    sim.verify(bob, "ann");
    assert_ne!(sim.words(bob), words, "new ones");
    assert_eq!(sim.words(bob), sim.words(ann));
}

#[test]
fn an_impatient_person_makes_no_alarm() {
    let (mut sim, ann, bob) = two();
    for _ in 0..3 {
        sim.command(ann, NodeCommand::Verify { peer: "bob".into() });
    }
    sim.wait(1.0);
    assert!(sim.words(ann).is_some() && sim.words(ann) == sim.words(bob));
    assert_eq!((sim.why_not(ann), sim.why_not(bob)), (String::new(), String::new()));
    // After a no one may begin again at once.
    sim.compared(bob, "ann", false);
    sim.verify(ann, "bob");
    assert_eq!(sim.words(ann), sim.words(bob));
}

#[test]
fn a_key_is_verified_under_the_name_that_was_shown() {
    let (mut sim, ann, bob) = two();
    sim.verify(ann, "bob");
    sim.compared(ann, "bob", true);
    sim.command(bob, NodeCommand::Nick { alias: "carol".into() });
    sim.wait(3.0);
    sim.compared(bob, "ann", true);
    assert!(sim.verified(ann).is_empty() && sim.stores[ann].verified.is_empty());
    assert!(sim.why_not(ann).contains("name is another one"));
}

#[test]
fn a_no_and_no_answer_verify_nobody() {
    let (mut sim, ann, bob) = two();
    sim.verify(ann, "bob");
    sim.compared(bob, "ann", true);
    sim.compared(ann, "bob", false);
    assert!(sim.why_not(ann).contains("words differ") && sim.why_not(bob).contains("did not say"));
    sim.compared(bob, "ann", true);
    assert!(sim.errors(bob).last().unwrap().contains("no words to compare"));
    sim.wait(limits::VERIFY_EVERY.as_secs_f64());
    sim.verify(ann, "bob");
    sim.wait(limits::VERIFY_FOR.as_secs_f64() + 1.0);
    assert!(sim.why_not(ann).contains("not compared in time"));
    sim.compared(bob, "ann", true);
    assert!(sim.verified(ann).is_empty() && sim.verified(bob).is_empty());
    sim.verify(ann, "nobody");
    assert!(sim.errors(ann).last().unwrap().contains("nobody called \"nobody\""));
    sim.verify(ann, "ann");
    assert!(sim.errors(ann).last().unwrap().contains("that is you"));
}

#[test]
fn a_yes_before_the_words_and_a_random_part_that_was_not_promised_count_for_nothing() {
    let (mut sim, ann, bob) = two();
    // A yes to words that nobody has.
    sim.forge(bob, ann, Frame::VerifyAnswer(true));
    sim.forge(bob, ann, Frame::VerifyReveal([1; 16]));
    sim.forge(bob, ann, Frame::VerifyNonce([1; 16]));
    assert!(sim.words(ann).is_none() && sim.verified(ann).is_empty());
    // A commitment, and then something else.
    let network = sim.nodes[ann].role.group().network.as_ref().unwrap().id;
    let pair = sas::Pair { network, first: sim.ids[bob], second: sim.ids[ann] };
    sim.forge(bob, ann, Frame::VerifyCommit(sas::commitment(&pair, &[1; 16])));
    sim.forge(bob, ann, Frame::VerifyReveal([2; 16]));
    assert!(sim.words(ann).is_none());
    assert!(sim.why_not(ann).contains("does not fit what was promised"));
    // The one that fits gives words, which a yes of the other alone does not make true.
    sim.wait(limits::VERIFY_EVERY.as_secs_f64());
    sim.forge(bob, ann, Frame::VerifyCommit(sas::commitment(&pair, &[1; 16])));
    sim.forge(bob, ann, Frame::VerifyAnswer(true));
    sim.forge(bob, ann, Frame::VerifyReveal([1; 16]));
    assert!(sim.words(ann).is_some());
    sim.compared(ann, "bob", true);
    assert!(sim.verified(ann).is_empty(), "the yes came before the words");
}

#[test]
fn whoever_begins_again_and_again_is_heard_once_in_ten_seconds() {
    let (mut sim, ann, bob) = two();
    let network = sim.nodes[ann].role.group().network.as_ref().unwrap().id;
    let pair = sas::Pair { network, first: sim.ids[bob], second: sim.ids[ann] };
    for number in 0..40 {
        sim.forge(bob, ann, Frame::VerifyCommit(sas::commitment(&pair, &[number; 16])));
        sim.forge(bob, ann, Frame::VerifyReveal([number; 16]));
    }
    let shown = sim.events[ann].iter().filter(|event| matches!(event, NodeEvent::Verify { .. })).count();
    assert!((1..=3).contains(&shown), "{shown} in 16 s");
}

#[test]
fn whoever_is_removed_while_words_are_compared_is_not_verified() {
    let (mut sim, ann, _) = two();
    sim.verify(ann, "bob");
    sim.compared(ann, "bob", true);
    sim.ban("bob");
    sim.wait(1.0);
    assert!(sim.why_not(ann).contains("no member any more"), "what is shown is closed");
    sim.compared(ann, "bob", true);
    assert!(sim.verified(ann).is_empty());
}

#[test]
fn a_yes_to_words_of_before_is_none_to_those_that_came_in_their_place() {
    let (mut sim, ann, bob) = two();
    sim.verify(ann, "bob");
    let before = sim.words(ann).unwrap();
    let network = sim.nodes[ann].role.group().network.as_ref().unwrap().id;
    let pair = sas::Pair { network, first: sim.ids[bob], second: sim.ids[ann] };
    sim.forge(bob, ann, Frame::VerifyCommit(sas::commitment(&pair, &[1; 16])));
    assert!(sim.why_not(ann).contains("begun anew"), "what is shown is closed");
    sim.forge(bob, ann, Frame::VerifyReveal([1; 16]));
    sim.forge(bob, ann, Frame::VerifyAnswer(true));
    sim.command(ann, NodeCommand::Compared { peer: "bob".into(), words: Some(before) });
    assert!(sim.errors(ann).last().unwrap().contains("no words to compare"));
    assert!(sim.verified(ann).is_empty());
}

//! The door: who waits for the host's yes, and what comes of it.

use super::*;
use crate::model::Notes;

impl Sim {
    fn with_approval() -> Self {
        Self::host_with(|config| config.approve = true)
    }

    /// What those who wait want to be called, as the host was told last.
    fn applicants(&self) -> Vec<String> {
        let told = self.events[0].iter().rev().find_map(|event| match event {
            NodeEvent::Applicants { applicants } => {
                Some(applicants.iter().map(|applicant| applicant.alias.to_string()).collect())
            }
            _ => None,
        });
        told.unwrap_or_default()
    }

    fn approve(&mut self, who: &str) {
        self.command(0, NodeCommand::Approve { peer: who.into() });
        self.wait(0.2);
    }
}

#[test]
fn whoever_proves_the_password_waits_for_the_hosts_yes_and_comes_back_without() {
    let mut sim = Sim::with_approval();
    let ann = sim.join("ann");
    assert_eq!((sim.applicants(), sim.roster(0)), (vec!["ann".to_owned()], vec!["host".to_owned()]));
    assert!(sim.has(ann, |event| {
        matches!(event, NodeEvent::Link { message, .. } if message.as_str().contains("waiting for the person"))
    }));
    assert!(
        sim.saved.last().is_none_or(|state| state.admitted.is_empty()),
        "nobody is admitted before the yes"
    );
    sim.wait(60.0);
    assert_eq!(sim.end(ann), None, "it waits");
    sim.approve("ann");
    assert_eq!((sim.applicants(), sim.roster(ann)), (vec![], vec!["host".to_owned(), "ann".to_owned()]));
    sim.frozen.insert(ann);
    sim.wait(30.0);
    sim.frozen.clear();
    sim.wait(10.0);
    assert_eq!((sim.applicants(), sim.roster(0).len()), (vec![], 2), "a known key does not wait");
}

#[test]
fn a_no_says_so_and_so_does_nothing_in_time() {
    let mut sim = Sim::with_approval();
    let ann = sim.join("ann");
    sim.command(0, NodeCommand::Refuse { peer: "ann".into(), reason: Some("full tonight".to_owned()) });
    sim.wait(0.2);
    assert_eq!((sim.end(ann), sim.applicants()), (Some(CloseReason::NotApproved), vec![]));
    assert!(sim.errors(ann).last().unwrap().contains("did not let you in (full tonight)"));
    let bob = sim.join("bob");
    sim.wait(limits::APPROVAL_WAIT.as_secs_f64() + 1.0);
    assert_eq!((sim.end(bob), sim.applicants()), (Some(CloseReason::NotApproved), vec![]));
    assert!(sim.errors(bob).last().unwrap().contains("said yes or no in time"));
    sim.approve("bob");
    assert!(sim.errors(0).last().unwrap().contains("nobody called \"bob\" waits"));
    let wrong = sim.join_as("mallory", "wrong", Identity::generate().unwrap().0);
    sim.wait(0.2);
    assert_eq!(sim.end(wrong), Some(CloseReason::WrongPassword), "the host is not asked about those");
    assert_eq!(sim.applicants(), [""; 0]);
}

#[test]
fn whoever_goes_waits_no_longer_and_who_comes_again_waits_once() {
    let mut sim = Sim::with_approval();
    let (key, bytes) = Identity::generate().unwrap();
    let first = sim.join_as("ann", PASSWORD, key);
    sim.wait(0.2);
    let second = sim.join_as("ann", PASSWORD, Identity::from_pkcs8(bytes.as_ref()).unwrap());
    sim.wait(0.2);
    assert_eq!(sim.applicants(), ["ann"]);
    assert!(sim.end(first).is_some());
    sim.command(second, NodeCommand::Leave);
    sim.wait(0.5);
    assert_eq!(sim.applicants(), [""; 0]);
}

#[test]
fn two_who_want_one_name_are_told_apart_by_key() {
    let mut sim = Sim::with_approval();
    let (one, two) = (sim.join("ann"), sim.join("ann"));
    assert_eq!(sim.applicants(), ["ann", "ann"]);
    sim.approve("ann");
    assert!(sim.errors(0).last().unwrap().contains("name one by its key"));
    let key = sim.ids[two].to_string();
    sim.approve(&key);
    assert_eq!(sim.roster(two), ["host", "ann"]);
    sim.approve("ann");
    assert_eq!(sim.end(one), Some(CloseReason::AliasTaken), "the name is somebody's now");
}

#[test]
fn an_invite_waits_too_and_is_used_only_by_who_comes_in() {
    let mut sim = Sim::with_approval();
    let invite = sim.invite(0, 1);
    let (ann, bob) = (sim.comes("ann", &invite), sim.comes("bob", &invite));
    assert_eq!(sim.applicants(), ["ann"], "as many as it lets in");
    sim.command(0, NodeCommand::Refuse { peer: "ann".into(), reason: None });
    sim.wait(10.0);
    assert_eq!(sim.applicants(), ["bob"], "it has tried again");
    sim.approve("bob");
    assert_eq!((sim.end(ann), sim.roster(bob).len()), (Some(CloseReason::NotApproved), 2));
    let late = sim.comes("carol", &invite);
    assert_eq!(sim.end(late), Some(CloseReason::InviteRefused), "used up by bob alone");
    // Taken back while somebody waits with it.
    let mut sim = Sim::with_approval();
    let invite = sim.invite(0, 1);
    let ann = sim.comes("ann", &invite);
    sim.command(0, NodeCommand::Revoke { invite: None });
    sim.approve("ann");
    assert_eq!(sim.end(ann), Some(CloseReason::InviteRefused));
}

#[test]
fn so_many_wait_at_once_and_those_who_wait_keep_nobody_else_out() {
    let mut sim = Sim::with_approval();
    let known = sim.join("known");
    sim.approve("known");
    sim.frozen.insert(known);
    sim.wait(30.0);
    // More than handshakes that one address may have under way, from one.
    sim.one_address = Some(known);
    let mut joiners = Vec::new();
    for name in ["ann", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy"] {
        joiners.push(sim.join_as(name, PASSWORD, Identity::generate().unwrap().0));
        sim.wait(0.1);
    }
    assert_eq!(sim.applicants().len(), limits::APPLICANTS_PER_ADDRESS);
    sim.frozen.clear();
    sim.wait(10.0);
    assert_eq!(sim.roster(0), ["host", "known"], "who is known comes back past them");
    sim.one_address = None;
    for number in 0..limits::APPLICANTS {
        let letter = char::from(b'a' + u8::try_from(number % 26).unwrap());
        let alias = format!("peer{}", letter.to_string().repeat(number / 26 + 1));
        sim.join_as(&alias, PASSWORD, Identity::generate().unwrap().0);
        sim.wait(0.1);
    }
    assert_eq!(sim.applicants().len(), limits::APPLICANTS);
    // Whoever speaks out of turn is out.
    let first = joiners.iter().copied().find(|index| sim.end(*index).is_none()).unwrap();
    let ((host, conn), _) = sim.links.iter().find(|((index, _), far)| *index == 0 && far.0 == first).unwrap();
    let far = (*host, *conn);
    sim.queue.push_back(Delivery::Frame(far, Frame::RosterRequest));
    sim.wait(0.2);
    assert_eq!(sim.end(first), Some(CloseReason::ProtocolError));
}

#[test]
fn a_ban_and_an_invite_that_is_taken_back_clear_the_door() {
    let mut sim = Sim::with_approval();
    let ann = sim.join("ann");
    let key = sim.ids[ann];
    sim.command(0, NodeCommand::Ban { peer: Some(key.into()), addr: None, reason: Some("no".into()) });
    sim.wait(0.2);
    assert_eq!((sim.applicants(), sim.end(ann)), (vec![], Some(CloseReason::Banned)));
    let invite = sim.invite(0, 1);
    let bob = sim.comes("bob", &invite);
    sim.comes("carol", &invite);
    assert_eq!(sim.applicants(), ["bob"], "as many as it lets in");
    sim.command(0, NodeCommand::Revoke { invite: None });
    sim.wait(0.2);
    assert_eq!((sim.applicants(), sim.end(bob)), (vec![], Some(CloseReason::InviteRefused)));
}

#[test]
fn whoever_comes_in_is_told_what_the_host_tells_once_and_bounded() {
    let mut sim = Sim::host_with(|config| config.notes = Notes::new("the lab", "be kind\nno spam"));
    let ann = sim.join("ann");
    let told = |sim: &Sim, index: usize| -> Vec<Notes> {
        let notes = sim.events[index].iter().filter_map(|event| match event {
            NodeEvent::Notes(notes) => Some(notes.clone()),
            _ => None,
        });
        notes.collect()
    };
    assert_eq!(told(&sim, ann), [Notes::new("the lab", "be kind\nno spam")]);
    let conn = sim.nodes[ann].role.group().join_links[&sim.ids[0]];
    let long =
        Notes { topic: SafeText::line(&"x".repeat(5000)), rules: SafeText::clean(&"y\n".repeat(9000)) };
    sim.queue.push_back(Delivery::Frame((ann, conn), Frame::Notes(Box::new(long.clone()))));
    sim.wait(0.2);
    assert_eq!(told(&sim, ann).len(), 1);
    let mut silent = Sim::host();
    let bob = silent.join("bob");
    assert!(told(&silent, bob).is_empty());
    let conn = silent.nodes[bob].role.group().join_links[&silent.ids[0]];
    silent.queue.push_back(Delivery::Frame((bob, conn), Frame::Notes(Box::new(long.clone()))));
    silent.wait(0.2);
    let bounded = |notes: &Notes| {
        notes.topic.as_str().len() <= limits::TOPIC_CHARACTERS
            && notes.rules.as_str().len() <= limits::RULES_BYTES
    };
    assert!(bounded(&told(&silent, bob)[0]));
    // A host that was given too much, by a program or by the host before it, tells what fits.
    let mut loud = Sim::host_with(|config| {
        config.notes = Notes { rules: SafeText::clean(&"y\n".repeat(limits::FRAME_AFTER)), ..long };
    });
    let cat = loud.join("cat");
    assert!(matches!(&told(&loud, cat)[..], [notes] if bounded(notes) && !notes.is_empty()));
}

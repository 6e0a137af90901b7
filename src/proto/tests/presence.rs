//! What members are called, and what they say of themselves.

use super::*;

impl Sim {
    fn nick(&mut self, index: usize, alias: &str) {
        self.command(index, NodeCommand::Nick { alias: alias.to_owned() });
    }

    fn away(&mut self, index: usize, text: Option<&str>) {
        self.command(index, NodeCommand::Away { text: text.map(str::to_owned) });
    }

    /// What the member under this name says of itself, as one of them sees it.
    fn status(&self, index: usize, alias: &str) -> Option<String> {
        let roster = |event: &NodeEvent| match event {
            NodeEvent::Roster { peers, .. } => Some(peers.clone()),
            _ => None,
        };
        let peers = self.events[index].iter().rev().find_map(roster).unwrap_or_default();
        let peer = peers.into_iter().find(|peer| peer.alias.as_str() == alias)?;
        peer.status.as_ref().map(|status| status.as_str().to_owned())
    }
}

/// Time after which a change is taken again.
const PAUSE: f64 = 2.5;

#[test]
fn whoever_takes_another_name_goes_on_as_before() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.say(ann, "bob", "before");
    sim.wait(PAUSE);
    let before: Vec<usize> = sim.events.iter().map(Vec::len).collect();
    sim.nick(ann, "anna");
    sim.nick(0, "boss");
    sim.wait(PAUSE);
    for index in [0, ann, bob] {
        assert_eq!(sim.roster(index), ["boss", "anna", "bob"]);
        let moved =
            |event: &NodeEvent| matches!(event, NodeEvent::PeerUp { .. } | NodeEvent::PeerDown { .. });
        assert!(!sim.events[index][before[index]..].iter().any(moved), "nobody seems to go and come");
    }
    sim.say(bob, "anna", "after");
    sim.say(ann, "everyone", "it is me");
    sim.wait(0.5);
    assert_eq!(sim.heard(ann), ["bob: after"]);
    assert_eq!(sim.heard(bob), ["ann: before", "anna: it is me"]);
    // The name of before stays hers, and the new one comes back with her.
    sim.frozen.insert(ann);
    sim.wait(30.0);
    assert_eq!(sim.roster(bob), ["boss", "bob"]);
    let thief = sim.join("ann");
    assert_eq!(sim.end(thief), Some(CloseReason::AliasTaken));
    sim.frozen.clear();
    sim.wait(5.0);
    assert_eq!(sim.roster(bob), ["boss", "anna", "bob"]);
    assert_eq!(sim.saved.last().unwrap().alias.as_ref().unwrap().as_str(), "boss", "also after a restart");
}

#[test]
fn the_host_has_to_agree_to_a_name() {
    let mut sim = Sim::host();
    let (ann, _bob) = (sim.join("ann"), sim.join("bob"));
    for (alias, words) in [
        ("bob", "belongs to another member"),
        ("b0b", "looks like"),
        ("Host", "looks like"),
        ("", "not possible"),
    ] {
        sim.nick(ann, alias);
        sim.wait(PAUSE);
        let errors = sim.errors(ann);
        assert!(errors.last().is_some_and(|error| error.contains(words)), "{alias}: {errors:?}");
    }
    sim.nick(0, "ann");
    assert!(sim.errors(0).last().is_some_and(|error| error.contains("belongs to another member")));
    assert_eq!(sim.roster(ann), ["host", "ann", "bob"], "nothing changed");
    assert_eq!(sim.end(ann), None);
}

#[test]
fn a_status_is_seen_by_all_bounded_and_outlives_a_lost_host() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.away(
        ann,
        Some("at lunch\u{1b}[2J until two, and then some more words than anybody wants to read here"),
    );
    sim.away(0, Some("back soon"));
    sim.wait(PAUSE);
    for index in [0, ann, bob] {
        let said = sim.status(index, "ann").unwrap();
        assert!(said.starts_with("at lunch␛[2J until two") && said.chars().count() <= 64, "{said}");
        assert_eq!(sim.status(index, "host").as_deref(), Some("back soon"));
    }
    // Taken out and admitted again it says so again.
    sim.frozen.insert(ann);
    sim.wait(30.0);
    sim.frozen.clear();
    sim.wait(5.0);
    assert!(sim.status(bob, "ann").is_some());
    sim.away(ann, None);
    sim.wait(PAUSE);
    assert_eq!(sim.status(bob, "ann"), None);
}

#[test]
fn whoever_changes_again_and_again_changes_once_in_a_while() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.wait(PAUSE);
    let before = sim.events[bob].len();
    for number in 0..50 {
        sim.away(ann, Some(&format!("number {number}")));
    }
    sim.wait(PAUSE);
    let rosters = sim.events[bob][before..].iter().filter(|event| matches!(event, NodeEvent::Roster { .. }));
    assert_eq!(rosters.count(), 1);
    assert_eq!(sim.status(bob, "ann").as_deref(), Some("number 0"));
    assert!(sim.errors(ann).iter().all(|error| error.contains("try again in two seconds")));
}

#[test]
fn the_hosts_name_of_before_is_nobody_elses_and_whoever_asks_is_told() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    sim.nick(0, "boss");
    sim.wait(PAUSE);
    sim.nick(ann, "host");
    sim.wait(PAUSE);
    assert!(
        sim.errors(ann).last().is_some_and(|error| error.contains("belongs to another")),
        "{:?}",
        sim.errors(ann)
    );
    let before = sim.events[ann].len();
    sim.nick(ann, "ann");
    sim.nick(ann, &"x".repeat(100_000));
    sim.wait(PAUSE);
    assert!(matches!(sim.events[ann][before], NodeEvent::Roster { .. }), "also where nothing changes");
    assert!(sim.errors(ann).last().is_some_and(|error| error.contains("not possible")));
    assert_eq!(sim.end(ann), None);
    // Its own word outlives a handover.
    sim.away(0, Some("at lunch"));
    sim.wait(PAUSE);
    sim.command(0, NodeCommand::Handover { peer: "ann".parse().unwrap() });
    sim.wait(2.0);
    assert_eq!(sim.status(ann, "boss").as_deref(), Some("at lunch"));
}

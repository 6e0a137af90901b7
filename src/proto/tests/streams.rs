//! Streams whose author goes back in time, says two things under one number, or is no member any more; and recipients
//! that say what is not so.

use super::*;
use crate::{
    model::{Held, SafeText, StoredBatch},
    security::sign,
    wire::{Ack, Conflict, HandedOn, Wanted},
};

/// Several with the same key.
fn copies() -> impl Fn() -> Identity {
    let (_, bytes) = Identity::generate().unwrap();
    move || Identity::from_pkcs8(&bytes).unwrap()
}

impl Sim {
    fn kept(&self, index: usize) -> Kept {
        self.stores[index].kept.clone()
    }

    /// How often each text is on a disk.
    fn on_disk(&self, index: usize) -> BTreeMap<String, usize> {
        let mut texts = BTreeMap::new();
        for message in self.stores[index].messages() {
            *texts.entry(message.text).or_default() += 1;
        }
        texts
    }

    fn delivered(&self, index: usize, to: &str) -> Vec<String> {
        let end = format!(" {to} Delivered");
        let lines = self.deliveries(index);
        lines.iter().filter_map(|line| Some(line.split_once(&end)?.0.to_owned())).collect()
    }
}

#[test]
fn a_profile_that_is_put_back_from_a_copy_says_nothing_that_is_taken_for_something_else() {
    for to in ["everyone", "bob"] {
        let mut sim = Sim::host_on_disk();
        let key = copies();
        let ann = sim.join_as("ann", PASSWORD, key());
        let bob = sim.join("bob");
        sim.wait(0.1);
        sim.say(ann, to, "1");
        let copy = sim.kept(ann);
        sim.say(ann, to, "2");
        sim.say(ann, to, "3");
        sim.command(ann, NodeCommand::Leave);
        sim.wait(3.0);
        let again = sim.begin_with(copy, ann, "ann", key());
        sim.say(again, to, "4");
        sim.say(again, to, "5");
        sim.wait(1.0);
        assert_eq!(sim.heard(bob), ["ann: 1", "ann: 2", "ann: 3", "ann: 4", "ann: 5"], "to {to}");
        assert_eq!(sim.delivered(again, "bob"), ["4", "5"], "to {to}");
        let expected: BTreeMap<String, usize> = (1..=5).map(|number| (number.to_string(), 1)).collect();
        assert_eq!(sim.on_disk(bob), expected, "to {to}");
    }
}

#[test]
fn a_host_that_is_put_back_from_a_copy_is_heard_as_well() {
    let mut sim = Sim::host_on_disk();
    let bob = sim.join("bob");
    sim.say(0, "everyone", "1");
    sim.wait(0.1);
    let epochs = |sim: &Sim| -> BTreeSet<u64> {
        sim.stores[bob].messages().iter().map(|message| message.id.epoch).collect()
    };
    let before = epochs(&sim);
    // Another session of the same host, with the same history as the first began with.
    let mut node = {
        let recalled = Recalled { state: crate::model::HistoryState::Saved, ..Recalled::nothing() };
        let config = NodeConfig {
            alias: Alias::new("host").unwrap(),
            identity: Arc::new(Identity::generate().unwrap().0),
            seed: [3; 32],
            cost: PasswordCost::TEST,
            descriptors: 1000,
            limits: Limits::default(),
            cleartext: None,
            role: RoleConfig::Host(Box::new(HostConfig {
                earlier: EarlierRun { version: 7, recalled, ..EarlierRun::none() },
                ..host_config()
            })),
        };
        Node::new(config, sim.now.plus(Duration::from_secs(1)))
    };
    let line = serde_json::json!({"cmd": "send", "to": "everyone", "text": "2"});
    node.handle(sim.now, Input::Command(serde_json::from_value(line).unwrap()));
    let kept = std::iter::from_fn(|| node.poll_output()).find_map(|output| match output {
        Output::Store(StoreCommand::Keep { batch, .. }) => Some(batch),
        _ => None,
    });
    let epoch = kept.unwrap().batch.stream.epoch;
    assert!(!before.contains(&epoch), "every session counts anew");
    assert_eq!(node.role.group().roster.version(), 8, "and its rosters go on counting");
}

/// Ann's machine goes back in time under the running program: it says under a number what bob has under it already.
fn snapshot(to: &str) -> (Sim, usize, usize) {
    let mut sim = Sim::host_on_disk();
    let key = copies();
    let (ann, bob) = (sim.join_as("ann", PASSWORD, key()), sim.join("bob"));
    sim.wait(0.1);
    sim.say(ann, to, "1");
    let recipient = if to == "everyone" { Recipient::Everyone } else { Recipient::Peer(sim.ids[bob]) };
    let epoch = sim.stores[ann].messages()[0].id.epoch;
    let stream = StreamId { author: sim.ids[ann], epoch, to: recipient };
    let mut other = sim.batch_of(stream, 2, "said by the other one");
    if recipient == Recipient::Everyone {
        other.signature = Some(sign::batch(&key(), &NetworkId([1; 16]), &other));
    }
    let conn = sim.peer_link(bob, ann);
    sim.nodes[bob].handle(sim.now, Input::Frame(conn, Frame::Batch(other.into())));
    // What bob says to that is for the other one.
    sim.outputs(bob).into_iter().for_each(|output| {
        if let Output::Store(command) = output {
            sim.stores[bob].command(command);
        }
    });
    (sim, ann, bob)
}

#[test]
fn a_machine_that_is_put_back_under_the_running_program_says_it_again_under_another_number() {
    for to in ["everyone", "bob"] {
        let (mut sim, ann, bob) = snapshot(to);
        sim.say(ann, to, "2");
        sim.say(ann, to, "3");
        sim.wait(1.0);
        assert_eq!(sim.heard(bob), ["ann: 1", "ann: 2", "ann: 3"], "to {to}");
        let disk = sim.on_disk(bob);
        assert!(disk.values().all(|count| *count == 1), "{disk:?}");
        assert_eq!(disk.len(), 4, "{disk:?}");
        let said: Vec<_> = sim.stores[bob].messages();
        let delivered = sim.events[ann].iter().filter_map(|event| match event {
            NodeEvent::Delivery { id, peer, status: DeliveryStatus::Delivered, .. }
                if peer.peer_id == sim.ids[bob] =>
            {
                Some(*id)
            }
            _ => None,
        });
        for id in delivered {
            let own = sim.stores[ann].messages();
            let text = |all: &[super::store::KeptMessage]| {
                all.iter().find(|message| message.id == id).map(|message| message.text.clone())
            };
            assert_eq!(text(&said), text(&own), "what is called delivered is there word for word");
        }
        let lines = sim.deliveries(ann);
        assert!(lines.iter().any(|line| line.starts_with("2 bob Failed conflict")), "{lines:?}");
        assert!(lines.iter().any(|line| line.starts_with("2 bob Delivered")), "{lines:?}");
    }
}

#[test]
fn a_mere_claim_makes_nobody_begin_anew() {
    let mut sim = Sim::host_on_disk();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.say(ann, "everyone", "1");
    sim.wait(0.1);
    let is_ann = |stored: &&Arc<StoredBatch>| stored.batch.stream.author == sim.ids[ann];
    let own = sim.stores[bob].kept.batches.iter().find(is_ann).unwrap().batch.clone();
    let epoch = own.stream.epoch;
    let forged = Batch { texts: vec![SafeText::clean("forged")], ..own.clone() };
    for proof in [None, Some(Box::new(forged)), Some(Box::new(own))] {
        let conn = sim.peer_link(ann, bob);
        let conflict = Conflict { everyone: true, epoch, proof };
        sim.nodes[ann].handle(sim.now, Input::Frame(conn, Frame::Conflict(conflict)));
        sim.run();
        assert!(!sim.nodes[ann].mesh.links.has(conn), "its link is cut");
        sim.say(ann, "everyone", "more");
        sim.wait(1.0);
    }
    let epochs: BTreeSet<u64> = sim.stores[ann].messages().iter().map(|message| message.id.epoch).collect();
    assert_eq!(epochs, BTreeSet::from([epoch]));
    assert_eq!(sim.heard(bob).len(), 4);
    // Of what was said to it alone it may say so, but not for ever.
    sim.say(ann, "bob", "1");
    for _ in 0..100 {
        let conn = sim.peer_link(ann, bob);
        let newest = sim.stores[ann].messages().last().unwrap().id.epoch;
        let conflict = Conflict { everyone: false, epoch: newest, proof: None };
        sim.nodes[ann].handle(sim.now, Input::Frame(conn, Frame::Conflict(conflict)));
        sim.run();
        sim.say(ann, "bob", "again");
        sim.wait(8.0);
    }
    let epochs: BTreeSet<u64> = sim.stores[ann].messages().iter().map(|message| message.id.epoch).collect();
    assert!(epochs.len() <= 2 + limits::CONFLICTS as usize, "{}", epochs.len());
}

#[test]
fn what_is_acknowledged_is_here_word_for_word() {
    let mut sim = Sim::host_on_disk();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.say(ann, "bob", "warm");
    let stream = StreamId { author: sim.ids[ann], epoch: 9, to: Recipient::Peer(sim.ids[bob]) };
    let answer = |sim: &mut Sim, sequence, text: &str| {
        let conn = sim.peer_link(bob, ann);
        let batch = sim.batch_of(stream, sequence, text);
        sim.nodes[bob].handle(sim.now, Input::Frame(conn, Frame::Batch(batch.into())));
        let mut frames = Vec::new();
        while let Some(output) = sim.nodes[bob].poll_output() {
            match output {
                Output::Store(command) => {
                    for event in sim.stores[bob].command(command) {
                        sim.nodes[bob].handle(sim.now, Input::Store(StoreEvent::History(event)));
                    }
                }
                Output::Send(_, bytes) => frames.push(Frame::decode(&bytes).unwrap()),
                _ => {}
            }
        }
        frames
    };
    let ack = |kept| vec![Frame::Ack(Ack { everyone: false, epoch: 9, received: kept, kept })];
    assert_eq!(answer(&mut sim, 1, "a"), ack(1));
    assert_eq!(answer(&mut sim, 1, "a"), ack(1), "it may not have heard the first");
    let frames = answer(&mut sim, 1, "b");
    assert!(matches!(&frames[..], [Frame::Conflict(_)]), "{frames:?}");
    assert_eq!(answer(&mut sim, 2, "c"), [], "nothing more of that stream over this link");
    assert_eq!(sim.on_disk(bob).len(), 2);
}

#[test]
fn what_was_forgotten_is_taken_on_again_before_it_is_acknowledged() {
    let mut sim = Sim::host_on_disk();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.say(ann, "bob", "warm");
    let stream = StreamId { author: sim.ids[ann], epoch: 9, to: Recipient::Peer(sim.ids[bob]) };
    for _ in 0..2 {
        let conn = sim.peer_link(bob, ann);
        let batch = sim.batch_of(stream, 1, "a");
        sim.nodes[bob].handle(sim.now, Input::Frame(conn, Frame::Batch(batch.into())));
        sim.run();
        assert_eq!(sim.on_disk(bob).get("a"), Some(&1));
        sim.stores[bob].kept = Kept::default();
    }
}

#[test]
fn words_that_a_removed_member_signs_are_taken_from_nobody() {
    for is_removed in [false, true] {
        let mut sim = Sim::host_on_disk();
        let (keep, key) = identity();
        let mallory_key = copies();
        let ann = sim.join("ann");
        let mallory = sim.join_as("mallory", PASSWORD, mallory_key());
        let bob = sim.join_as("bob", PASSWORD, key);
        sim.wait(0.1);
        sim.say(mallory, "everyone", "while bob is here");
        sim.wait(0.1);
        sim.crash(bob);
        sim.wait(20.0);
        sim.say(mallory, "everyone", "while it still counts");
        sim.wait(0.1);
        if is_removed {
            sim.ban("mallory");
            sim.wait(0.1);
        }
        let original = sim.stores[ann].kept.batches.last().unwrap().batch.clone();
        // Signed with the right key, whenever that was.
        let mut late = Batch {
            first: original.last() + 1,
            texts: vec![SafeText::clean("I am still here")],
            ..original.clone()
        };
        late.signature = Some(sign::batch(&mallory_key(), &NetworkId([1; 16]), &late));
        // The accomplice is asked first, and hands on both.
        for store in &mut sim.stores {
            store.disk = Disk::Hangs;
        }
        sim.frozen.insert(mallory);
        let bob = sim.begin_again(bob, "bob", keep);
        let conn = sim.peer_link(bob, 0);
        let StreamId { author, epoch, .. } = original.stream;
        let range = Held { author, epoch, from: original.first, to: late.first };
        let wanted = Wanted { direct: false, range };
        let batches = vec![original, late.clone()];
        let handed = HandedOn { wanted, label: "mallory".into(), batches, next: None };
        for frame in [Frame::Held(vec![range].into()), Frame::HandedOn(handed)] {
            sim.nodes[bob].handle(sim.now, Input::Frame(conn, frame));
        }
        sim.run();
        let mut heard = vec!["mallory: while it still counts"];
        if !is_removed {
            // The control: of a member it is taken.
            heard.push("mallory: I am still here");
        }
        assert_eq!(sim.heard(bob), heard, "removed: {is_removed}");
    }
}

#[test]
fn nothing_stands_before_its_author_was_admitted() {
    let mut sim = Sim::host_on_disk();
    let ann = sim.join("ann");
    sim.say(ann, "host", "warm");
    sim.wait(3600.0);
    let mallory = sim.join("mallory");
    sim.say(mallory, "host", "warm");
    let admitted = sim.now.wall;
    sim.wait(1.0);
    // It says that it has waited for half a day.
    let stream = StreamId { author: sim.ids[mallory], epoch: 9, to: Recipient::Peer(sim.ids[0]) };
    let mut batch = sim.batch_of(stream, 1, "as I said yesterday");
    batch.sent_at = Timestamp(sim.now.wall.0 - 12 * 3600 * 1_000_000);
    let conn = sim.peer_link(0, mallory);
    sim.nodes[0].handle(sim.now, Input::Frame(conn, Frame::Batch(batch.into())));
    sim.run();
    let place = |event: &NodeEvent| match event {
        NodeEvent::Message { text, place, .. } if text.as_str() == "as I said yesterday" => Some(*place),
        _ => None,
    };
    let place = sim.events[0].iter().find_map(place).unwrap();
    assert!(place >= admitted.0 - 1_000_000, "{place} {}", admitted.0);
}

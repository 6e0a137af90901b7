//! Messages alone: without sockets, links or another node. Who is reached over which link is said by hand.

use std::sync::Arc;

use rand_core::SeedableRng as _;

use super::*;
use crate::{
    api::{Compared, StoreCommand},
    model::{Alias, Batch, NetworkId, Role, RosterEntry, StoredBatch},
    proto::{roster::Roster, tests::group_of},
    security::{Identity, sign},
    wire::{Addressed, Conflict},
};

const NETWORK: NetworkId = NetworkId([1; 16]);
const LINK: ConnId = ConnId(1);

struct Bench {
    messaging: Messaging,
    group: Group,
    bob: Identity,
}

impl Bench {
    /// A member of a network with bob, whose history is on disk.
    fn new() -> Self {
        let bob = Identity::generate().unwrap().0;
        let entry = |peer_id, name: &str, role| RosterEntry {
            peer_id,
            alias: Alias::new(name).unwrap(),
            role,
            wire: Wire::Native,
            addrs: Vec::new(),
            since: Timestamp(0),
            status: None,
        };
        let identity = Arc::new(Identity::generate().unwrap().0);
        let own = entry(identity.peer_id(), "me", Role::Member);
        let entries = vec![entry(bob.peer_id(), "bob", Role::Host), own];
        let (mut group, changes) = group_of("me", identity, entries);
        let now = Moment { instant: Instant::now(), wall: Timestamp(1_700_000_000_000_000) };
        let mut messaging =
            Messaging::new(MemoryLimits::default(), now, &mut ChaCha20Rng::from_seed([7; 32]));
        let recalled = Recalled { state: HistoryState::Saved, ..Recalled::nothing() };
        messaging.recall(&mut group, recalled);
        messaging.roster_changed(&group, &changes);
        messaging.turn.take();
        Self { messaging, group, bob }
    }

    fn say(&mut self, text: &str) -> MessageId {
        let text = check_text(text).unwrap();
        self.messaging.send(&self.group, Recipient::Everyone, text, None).unwrap()
    }

    fn linked(&mut self) {
        self.messaging.link_used(&self.group, self.bob.peer_id(), Some(LINK));
    }

    /// The turn ends. Gives what it asked for.
    fn end(&mut self) -> Vec<Ask> {
        self.messaging.end_turn(&self.group);
        self.messaging.turn.take().into()
    }

    fn kept(&mut self, token: u64) {
        self.messaging.history(&self.group, HistoryEvent::Kept { token, for_good: true });
    }

    fn frame(&mut self, frame: Frame) {
        let bob = self.bob.peer_id();
        self.messaging.frame(&mut self.group, bob, LINK, frame);
    }

    /// What bob says to everyone.
    fn bob_says(&self, first: u64, texts: &[&str]) -> Batch {
        let stream = StreamId { author: self.bob.peer_id(), epoch: 1, to: Recipient::Everyone };
        let texts = texts.iter().map(|text| SafeText::clean(text)).collect();
        let mut batch =
            Batch { stream, first, sent_at: self.messaging.turn.now.wall, texts, signature: None };
        batch.signature = Some(sign::batch(&self.bob, &NETWORK, &batch));
        batch
    }

    fn hear(&mut self, batch: Batch) {
        self.frame(Frame::Batch(Addressed { roster: 1, batch }));
    }
}

fn frames(asked: &[Ask]) -> Vec<Frame> {
    let frame = |ask: &Ask| match ask {
        Ask::Output(Output::Send(_, bytes)) => Frame::decode(bytes).ok(),
        _ => None,
    };
    asked.iter().filter_map(frame).collect()
}

fn stored(asked: &[Ask]) -> Vec<(u64, Arc<StoredBatch>)> {
    let keep = |ask: &Ask| match ask {
        Ask::Output(Output::Store(StoreCommand::Keep { token, batch, .. })) => Some((*token, batch.clone())),
        _ => None,
    };
    asked.iter().filter_map(keep).collect()
}

fn shown(asked: &[Ask]) -> Vec<String> {
    let said = |ask: &Ask| match ask {
        Ask::Output(Output::Event(NodeEvent::Batch(said))) => Some(said.batch.batch.texts.clone()),
        _ => None,
    };
    asked.iter().filter_map(said).flatten().map(|text| text.to_string()).collect()
}

#[test]
fn all_texts_of_a_turn_are_one_batch_and_nothing_leaves_before_it_is_kept() {
    let mut bench = Bench::new();
    bench.linked();
    let ids = [bench.say("one"), bench.say("two")];
    assert_eq!(ids.map(|id| id.sequence), [1, 2]);
    let asked = bench.end();
    let kept = stored(&asked);
    assert_eq!((kept.len(), frames(&asked).len()), (1, 0));
    bench.kept(kept[0].0);
    let asked = bench.end();
    assert!(matches!(&frames(&asked)[..], [Frame::Batch(said)] if said.batch.texts.len() == 2));
    assert_eq!(shown(&asked), ["one", "two"]);
}

#[test]
fn without_a_link_one_is_asked_for_and_over_a_new_one_goes_what_was_not_kept_there() {
    let mut bench = Bench::new();
    bench.say("hello");
    let token = stored(&bench.end())[0].0;
    bench.kept(token);
    assert!(bench.end().iter().any(|ask| matches!(ask, Ask::Link(_))));
    bench.linked();
    assert_eq!(frames(&bench.end()).len(), 1);
    // It has received it, and has not kept it: the link is lost, and it goes again.
    let ack =
        |received, kept| Frame::Ack(Ack { everyone: true, epoch: 1_700_000_000_000_000, received, kept });
    bench.frame(ack(1, 0));
    bench.messaging.link_used(&bench.group, bench.bob.peer_id(), None);
    bench.linked();
    assert_eq!(frames(&bench.end()).len(), 1);
    bench.frame(ack(1, 1));
    bench.messaging.link_used(&bench.group, bench.bob.peer_id(), None);
    bench.linked();
    assert_eq!(frames(&bench.end()).len(), 0, "it has it for good");
    assert!(!bench.messaging.wants_link(&bench.bob.peer_id()));
}

#[test]
fn a_full_window_goes_again_as_a_whole_over_a_new_link() {
    let mut bench = Bench::new();
    bench.linked();
    bench.end();
    let batches =
        |asked: &[Ask]| frames(asked).iter().filter(|frame| matches!(frame, Frame::Batch(_))).count();
    let mut sent = 0;
    for number in 0..limits::WINDOW_MESSAGES {
        bench.say(&number.to_string());
        let tokens: Vec<u64> = stored(&bench.end()).iter().map(|(token, _)| *token).collect();
        for token in tokens {
            bench.kept(token);
        }
        sent += batches(&bench.end());
    }
    assert_eq!(sent, limits::WINDOW_MESSAGES);
    bench.messaging.link_used(&bench.group, bench.bob.peer_id(), None);
    bench.linked();
    assert_eq!(batches(&bench.end()), sent, "none is acknowledged");
}

#[test]
fn what_comes_is_shown_at_once_and_acknowledged_once_a_turn_when_it_is_kept() {
    let mut bench = Bench::new();
    bench.linked();
    bench.hear(bench.bob_says(1, &["a", "b"]));
    bench.hear(bench.bob_says(3, &["c"]));
    let asked = bench.end();
    assert_eq!((shown(&asked), frames(&asked)), (vec!["a".into(), "b".into(), "c".into()], vec![]));
    for (token, _) in stored(&asked) {
        bench.kept(token);
    }
    let acks = frames(&bench.end());
    assert_eq!(acks, [Frame::Ack(Ack { everyone: true, epoch: 1, received: 3, kept: 3 })]);
}

#[test]
fn what_was_taken_on_over_a_link_is_not_acknowledged_over_another() {
    let mut bench = Bench::new();
    bench.linked();
    bench.hear(bench.bob_says(1, &["a"]));
    let token = stored(&bench.end())[0].0;
    bench.kept(token);
    let bob = bench.bob.peer_id();
    bench.messaging.link_gone(&bench.group, bob, LINK);
    assert_eq!(frames(&bench.end()), []);
}

#[test]
fn a_batch_under_anothers_name_costs_the_link() {
    let mut bench = Bench::new();
    bench.linked();
    let mut batch = bench.bob_says(1, &["I am somebody else"]);
    batch.stream.author = PeerId([9; 32]);
    bench.hear(batch);
    let asked = bench.end();
    assert!(asked.iter().any(|ask| matches!(ask, Ask::Drop(LINK, CloseReason::ProtocolError))));
    assert_eq!(shown(&asked), Vec::<String>::new());
}

#[test]
fn under_numbers_that_are_known_the_history_decides_and_another_text_is_answered_with_the_first() {
    let mut bench = Bench::new();
    bench.linked();
    bench.hear(bench.bob_says(1, &["the first"]));
    let first = stored(&bench.end())[0].clone();
    bench.kept(first.0);
    bench.end();
    bench.hear(bench.bob_says(1, &["another"]));
    let asked = bench.end();
    assert_eq!((shown(&asked), frames(&asked)), (Vec::<String>::new(), vec![]));
    let token = asked.iter().find_map(|ask| match ask {
        Ask::Output(Output::Store(StoreCommand::History(crate::api::HistoryCommand::Compare {
            token,
            ..
        }))) => Some(*token),
        _ => None,
    });
    let proof = Some(Box::new(first.1.batch.clone()));
    let compared =
        HistoryEvent::Compared { token: token.unwrap(), compared: Compared::Differs(proof.clone()) };
    bench.messaging.history(&bench.group, compared);
    let conflict = Frame::Conflict(Conflict { everyone: true, epoch: 1, proof });
    assert_eq!(frames(&bench.end()), [conflict]);
}

#[test]
fn a_hole_is_asked_for_and_only_what_the_author_signed_closes_it() {
    let mut bench = Bench::new();
    bench.linked();
    bench.hear(bench.bob_says(1, &["one"]));
    bench.hear(bench.bob_says(3, &["three"]));
    let wanted = frames(&bench.end()).into_iter().find_map(|frame| match frame {
        Frame::Wanted(wanted) => Some(wanted),
        _ => None,
    });
    assert_eq!(wanted.map(|wanted| (wanted.range.from, wanted.range.to)), Some((2, 2)));
}

#[test]
fn words_beyond_those_that_count_are_refused_from_anybody() {
    let mut bench = Bench::new();
    bench.linked();
    bench.hear(bench.bob_says(1, &["before"]));
    bench.end();
    let departed = bench.messaging.departed(&bench.bob.peer_id());
    assert_eq!(departed.counts, [(1, 1)], "as far as this node has them");
    let entries = bench.group.roster.entries().filter(|entry| entry.peer_id == bench.group.me()).cloned();
    let alone = Roster::unsigned(2, entries.collect());
    let changes = bench.group.roster.replace(alone);
    bench.group.learn(&changes, true);
    bench.messaging.roster_changed(&bench.group, &changes);
    let late = bench.bob_says(2, &["after"]);
    let taken = bench.messaging.take_on(&bench.group, &late, receiving::Way::HandedOn);
    assert_eq!(taken, receiving::Taken::Refused);
    assert_eq!(shown(&bench.end()), Vec::<String>::new());
}

#[test]
fn what_is_said_to_be_from_a_time_when_its_author_could_be_heard_is_late() {
    for (linked_before, waited, is_late) in [(60, 30, true), (10, 30, false), (60, 1, false), (60, 120, true)]
    {
        let mut bench = Bench::new();
        let mut now = bench.messaging.turn.now;
        let mut pass = |bench: &mut Bench, seconds: u64| {
            now = now.plus(std::time::Duration::from_secs(seconds));
            bench.messaging.turn.now = now;
        };
        // There was a link once, for a moment.
        bench.linked();
        bench.messaging.link_used(&bench.group, bench.bob.peer_id(), None);
        pass(&mut bench, 50);
        bench.linked();
        pass(&mut bench, linked_before);
        let mut batch = bench.bob_says(1, &["from back then"]);
        batch.sent_at = Timestamp(batch.sent_at.0 - waited * 1_000_000);
        batch.signature = Some(sign::batch(&bench.bob, &NETWORK, &batch));
        // What came before this session is told as missed in any case.
        bench.messaging.begun.0.wall = Timestamp(0);
        bench.hear(batch);
        let late = bench.end().into_iter().find_map(|ask| match ask {
            Ask::Output(Output::Event(NodeEvent::Batch(said))) => Some(said.late),
            _ => None,
        });
        assert_eq!(late, Some(is_late), "linked {linked_before} s ago, said {waited} s ago");
    }
}

#[test]
fn what_somebody_lacks_is_counted_until_it_is_there() {
    let mut bench = Bench::new();
    bench.linked();
    bench.say("one");
    bench.say("two");
    assert_eq!(bench.messaging.undelivered(), 2, "not kept yet");
    let token = stored(&bench.end())[0].0;
    bench.kept(token);
    let text = check_text("for bob alone").unwrap();
    let to = Recipient::Peer(bench.bob.peer_id());
    bench.messaging.send(&bench.group, to, text, None).unwrap();
    let token = stored(&bench.end())[0].0;
    bench.kept(token);
    assert_eq!(bench.messaging.undelivered(), 3);
    let ack = Ack { everyone: true, epoch: 1_700_000_000_000_000, received: 1, kept: 1 };
    bench.frame(Frame::Ack(ack));
    assert_eq!(bench.messaging.undelivered(), 2);
}

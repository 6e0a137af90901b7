//! More than the limits allow, of everything that a peer can send.

use super::*;
use crate::{
    model::{Held, HistoryState, RosterEntry, Unreachable},
    wire::{ByteBuf, HandoverPart, PeerHello, RelayedLink, Tried},
};

impl Sim {
    /// The join link of a node to another one.
    fn join_link(&self, near: usize, far: usize) -> ConnId {
        let is_meant = |(here, there): &(&End, &End)| {
            here.0 == near && there.0 == far && !self.nodes[near].mesh.links.has(here.1)
        };
        self.links.iter().find(is_meant).map(|(here, _)| here.1).unwrap()
    }

    /// Hands a node frames all at once and gives all that it has to say to that.
    fn flood(&mut self, index: usize, conn: ConnId, frames: impl IntoIterator<Item = Frame>) -> Vec<Output> {
        self.run();
        for frame in frames {
            self.nodes[index].handle(self.now, Input::Frame(conn, frame));
        }
        self.outputs(index)
    }

    /// What a node says and does while time passes.
    fn outputs_within(&mut self, index: usize, seconds: f64) -> Vec<Output> {
        let until = self.now.plus(Duration::from_secs_f64(seconds));
        let mut outputs = Vec::new();
        while let Some(at) = self.nodes[index].poll_timeout().filter(|at| *at <= until.instant) {
            self.now = self.now.plus(at.saturating_duration_since(self.now.instant));
            self.nodes[index].handle_timeout(self.now);
            outputs.extend(self.outputs(index));
        }
        self.now = until;
        outputs
    }
}

fn sent(outputs: &[Output], matches: impl Fn(&Frame) -> bool) -> usize {
    let is_sent = |output: &&Output| match output {
        Output::Send(_, bytes) => Frame::decode(bytes).is_ok_and(|frame| matches(&frame)),
        _ => false,
    };
    outputs.iter().filter(is_sent).count()
}

fn is_closed(outputs: &[Output], conn: ConnId) -> bool {
    outputs.iter().any(|output| matches!(output, Output::Close(closed, _) if *closed == conn))
}

#[test]
fn time_for_admission() {
    let mut sim = Sim::host();
    let bob = sim.join("bob");
    sim.command(bob, NodeCommand::Leave);
    sim.wait(1.0);
    let conn = sim.knocks(bob, LinkKind::JoinIn);
    let most = limits::ADMISSION_TIMEOUT.as_secs_f64();
    assert!(!is_closed(&sim.outputs_within(0, most - 0.1), conn));
    assert!(is_closed(&sim.outputs_within(0, 0.2), conn));
}

#[test]
fn bytes_that_a_stranger_has_sent_back() {
    let mut sim = Sim::host();
    let bob = sim.join("bob");
    sim.command(bob, NodeCommand::Leave);
    let conn = sim.knocks(bob, LinkKind::JoinIn);
    let echo = Frame::Echo(ByteBuf(vec![7; 1000]));
    let echoes = usize::try_from(limits::ECHOES).unwrap();
    let outputs = sim.flood(0, conn, vec![echo.clone(); echoes]);
    assert_eq!(sent(&outputs, |frame| *frame == echo), echoes);
    assert!(!is_closed(&outputs, conn));
    let outputs = sim.flood(0, conn, [echo.clone()]);
    assert!(is_closed(&outputs, conn) && sent(&outputs, |frame| *frame == echo) == 0);
}

#[test]
fn addresses_that_a_peer_announces() {
    let mut sim = Sim::host();
    let bob = sim.join("bob");
    let conn = sim.knocks(bob, LinkKind::JoinIn);
    let addrs = (1..200).map(|last| SocketAddr::from(([10, 1, 1, last], 50_000))).collect();
    let hello = Frame::Hello(Hello { alias: "bob".into(), addrs, ke1: Vec::new() });
    sim.flood(0, conn, [hello]);
    sim.outputs_within(0, 1.0);
    let is_bob = |entry: &&RosterEntry| entry.peer_id == sim.ids[bob];
    let entry = sim.nodes[0].role.group().roster.entries().find(is_bob).unwrap();
    assert_eq!(entry.addrs.len(), limits::CANDIDATES);
}

#[test]
fn why_a_third_party_does_not_answer_is_told_to_nobody() {
    for elsewhere in [false, true] {
        let mut sim = Sim::host();
        let (ann, bob) = (sim.join("ann"), sim.join("bob"));
        let conn = sim.knocks(bob, LinkKind::JoinIn);
        let own = SocketAddr::new(Sim::ip(bob), 50_000);
        let other = elsewhere.then(|| "10.9.9.9:22".parse().unwrap());
        let addrs = std::iter::once(own).chain(other).collect();
        let hello = Frame::Hello(Hello { alias: "bob".into(), addrs, ke1: Vec::new() });
        sim.flood(0, conn, [hello]);
        sim.outputs_within(0, 1.0);
        let why_not = Some(CloseReason::NothingListens);
        let tried = Frame::Tried(vec![Tried { peer: sim.ids[bob], why_not }].into());
        let at_host = sim.join_link(0, ann);
        sim.nodes[0].handle(sim.now, Input::Frame(at_host, tried));
        let ways = sim.nodes[0].role.group().reachability.unreachable();
        let told: Vec<CloseReason> = ways.iter().map(|way| way.reason).collect();
        let right = if elsewhere { CloseReason::Unreachable } else { CloseReason::NothingListens };
        assert_eq!(told, [right]);
    }
}

#[test]
fn members_that_can_be_configured() {
    let admission = super::super::admission::Admission::new(
        StrangerLimits::default(),
        3,
        1_000_000,
        Vec::new(),
        Vec::new(),
    );
    assert_eq!(admission.limits().1, limits::MEMBERS_MAX);
    assert!(admission.check_room(limits::MEMBERS_MAX).is_err());
}

#[test]
fn words_of_a_ban() {
    let mut sim = Sim::host();
    sim.join("bob");
    let line = serde_json::json!({"cmd": "ban", "peer": "bob", "reason": "ä".repeat(10_000)});
    sim.command(0, serde_json::from_value(line).unwrap());
    let reason = |event: &NodeEvent| match event {
        NodeEvent::Banned { reason, .. } => Some(reason.as_str().len()),
        _ => None,
    };
    let length = sim.events[0].iter().find_map(reason).unwrap();
    assert!((limits::REASON_BYTES - 1..=limits::REASON_BYTES).contains(&length), "{length}");
}

#[test]
fn questions_for_the_whole_roster_and_for_the_ways() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    let conn = sim.join_link(0, ann);
    let mut answers = [0, 0];
    for _ in 0..20 {
        let floods = (0..1000).flat_map(|_| [Frame::RosterRequest, Frame::ReachabilityRequest]);
        let mut outputs = sim.flood(0, conn, floods);
        outputs.extend(sim.outputs_within(0, 0.1));
        answers[0] += sent(&outputs, |frame| matches!(frame, Frame::RosterWhole(_)));
        answers[1] += sent(&outputs, |frame| matches!(frame, Frame::ReachabilityPart(part) if part.is_last));
    }
    // Two seconds: they come, and no faster than allowed.
    assert!(answers.iter().all(|count| (3..=4).contains(count)), "{answers:?}");
}

#[test]
fn calls_that_a_member_has_passed_on() {
    let mut sim = Sim::host();
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    let (conn, to) = (sim.join_link(0, ann), sim.ids[bob]);
    let calls = |outputs: &[Output]| sent(outputs, |frame| matches!(frame, Frame::Call(_)));
    let stranger = Frame::Call(PeerId([9; 32]));
    let outputs = sim.flood(0, conn, (0..1000).flat_map(|_| [Frame::Call(to), stranger.clone()]));
    assert_eq!(calls(&outputs), 1);
    sim.outputs_within(0, limits::CALL_EVERY.as_secs_f64());
    assert_eq!(calls(&sim.flood(0, conn, [Frame::Call(to)])), 1, "one that is due goes through");
}

#[test]
fn peer_links_of_one_peer() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    let links: Vec<ConnId> = (0..20).map(|_| sim.knocks(ann, LinkKind::PeerIn)).collect();
    let outputs = sim.outputs(0);
    let open = links.iter().filter(|conn| !is_closed(&outputs, **conn)).count();
    assert_eq!(open, limits::LINKS_PER_PEER);
}

#[test]
fn questions_about_the_history() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    sim.say(ann, "host", "warm");
    let conn = sim.peer_link(0, ann);
    let question = Frame::CatchUp(Timestamp(0));
    let fits = sim.flood(0, conn, vec![question.clone(); limits::QUESTIONS]);
    assert!(!is_closed(&fits, conn));
    let outputs = sim.flood(0, conn, [question]);
    assert!(is_closed(&outputs, conn));
}

#[test]
fn questions_that_follow_each_other_without_end() {
    for pause in [0.0, 0.3] {
        let mut sim = Sim::host_on_disk();
        let ann = sim.join("ann");
        sim.say(ann, "host", "warm");
        sim.wait(1.0);
        let conn = sim.peer_link(0, ann);
        let asked = (0..150).take_while(|_| {
            sim.nodes[0].handle(sim.now, Input::Frame(conn, Frame::CatchUp(Timestamp(0))));
            sim.run();
            sim.wait(pause);
            sim.nodes[0].mesh.links.has(conn)
        });
        let asked = asked.count();
        assert_eq!(asked == 150, pause > 0.0, "{asked} with {pause} s between");
    }
}

#[test]
fn members_to_be_tried_at_once() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    let others: Vec<usize> = (0..40).map(|number| sim.join(&format!("member-{number}"))).collect();
    sim.wait(10.0);
    let (conn, peers) = (sim.join_link(ann, 0), others.iter().map(|other| sim.ids[*other]).collect());
    let outputs = sim.flood(ann, conn, [Frame::TryPeers(peers)]);
    let dials = outputs.iter().filter(|output| matches!(output, Output::Dial(..))).count();
    assert!((1..=limits::TRIED_AT_ONCE).contains(&dials), "{dials}");
}

#[test]
fn ways_that_do_not_exist() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    let others: Vec<usize> = (0..40).map(|number| sim.join(&format!("member-{number}"))).collect();
    // A member that says it reaches nobody, strangers included, and a host that says nobody reaches anybody.
    let none = |index: u8| Tried { peer: PeerId([index; 32]), why_not: Some(CloseReason::NoAnswer) };
    let (at_host, at_ann) = (sim.join_link(0, ann), sim.join_link(ann, 0));
    sim.flood(0, at_host, (0..100).map(|_| Frame::Tried((0..=255).map(none).collect())));
    assert!(sim.nodes[0].role.group().reachability.unreachable().is_empty(), "strangers are in no book");
    let pairs = others.iter().flat_map(|from| others.iter().map(|to| (sim.ids[*from], sim.ids[*to])));
    let ways = pairs.map(|(from, to)| Unreachable { from, to, reason: CloseReason::NoAnswer }).collect();
    let outputs = sim.flood(ann, at_ann, [Frame::Unreachable(ways)]);
    let told = |output: &Output| match output {
        Output::Event(NodeEvent::NoWays { ways }) => Some(ways.len()),
        _ => None,
    };
    assert_eq!(outputs.iter().find_map(told), Some(limits::UNREACHABLE));
}

#[test]
fn what_a_host_hands_over() {
    let mut sim = Sim::host();
    let ann = sim.join("ann");
    let conn = sim.join_link(ann, 0);
    sim.frozen.insert(0);
    sim.flood(ann, conn, [Frame::HandoverOffer(4702)]);
    let addr = "10.0.0.2:4702".parse().unwrap();
    let port = JoinPort { addr, addrs: vec![addr], peer_addrs: vec![addr] };
    sim.nodes[ann].handle(sim.now, Input::JoinOpened(Ok(port)));
    assert_eq!(sent(&sim.outputs(ann), |frame| matches!(frame, Frame::HandoverReady(_))), 1);
    let part =
        || Frame::HandoverPart(HandoverPart { bytes: vec![b' '; limits::HANDOVER_PART], is_last: false });
    let fits = limits::HANDOVER_BYTES / limits::HANDOVER_PART;
    let outputs = sim.flood(ann, conn, (0..fits).map(|_| part()));
    assert_eq!(sent(&outputs, |frame| matches!(frame, Frame::HandoverRefused(_))), 0);
    let outputs = sim.flood(ann, conn, [part()]);
    assert_eq!(sent(&outputs, |frame| matches!(frame, Frame::HandoverRefused(_))), 1);
}

#[test]
fn links_that_are_carried_altogether() {
    let mut sim = Sim::host();
    let mut pairs = Vec::new();
    for number in 0..9 {
        let (near, far) = (sim.join(&format!("near-{number}")), sim.join(&format!("far-{number}")));
        sim.say(near, "host", "warm");
        sim.say(far, "host", "warm");
        pairs.push((near, far));
    }
    let (mut carried, mut busy) = (0, 0);
    for (near, far) in pairs {
        let (conn, peer) = (sim.peer_link(0, near), sim.ids[far]);
        let outputs =
            sim.flood(0, conn, (0..64).map(|at| Frame::RelayOpen(RelayedLink { number: 2 * at, peer })));
        carried += sent(&outputs, |frame| matches!(frame, Frame::RelayOpened(_)));
        let is_busy =
            |frame: &Frame| matches!(frame, Frame::RelayClosed(end) if end.reason == CloseReason::Busy);
        busy += sent(&outputs, is_busy);
    }
    assert_eq!((carried, busy), (512, 64));
}

#[test]
fn authors_that_an_answer_names() {
    for (more, is_too_much) in [(0, false), (1, true)] {
        let mut sim = Sim::host_on_disk();
        let (keep, key) = identity();
        let ann = sim.join("ann");
        let bob = sim.join_as("bob", PASSWORD, key);
        sim.say(ann, "everyone", "1");
        sim.wait(0.1);
        sim.crash(bob);
        sim.wait(20.0);
        // The host is asked first; it answers what it likes.
        sim.stores[0].is_slow = true;
        let bob = sim.begin_again(bob, "bob", keep);
        let conn = sim.peer_link(bob, 0);
        let of = |number: usize| {
            let author = PeerId(std::array::from_fn(|at| number.to_be_bytes()[at % 8] | 8));
            Held { author, epoch: 1, from: 1, to: u64::MAX / 4 }
        };
        let outputs = sim.flood(bob, conn, [Frame::Held((0..1000 + more).map(of).collect())]);
        assert_eq!(is_closed(&outputs, conn), is_too_much);
    }
}

#[test]
fn peers_that_are_asked_what_was_missed() {
    let mut sim = Sim::host_on_disk();
    let (keep, key) = identity();
    let others: Vec<usize> = (0..8).map(|number| sim.join(&format!("member-{number}"))).collect();
    let bob = sim.join_as("bob", PASSWORD, key);
    sim.wait(0.1);
    sim.crash(bob);
    sim.wait(20.0);
    // Nobody answers.
    for store in &mut sim.stores {
        store.is_slow = true;
    }
    sim.begin_again(bob, "bob", keep);
    // One after the other, each when the one before has had its time.
    for (wait, expected) in [(8.0, 1), (2.0, 2), (8.0, 2), (2.0, 3), (300.0, 3)] {
        sim.wait(wait);
        let is_asked = |index: &&usize| !sim.stores[**index].questions.is_empty();
        assert_eq!(others.iter().chain([&0]).filter(is_asked).count(), expected);
    }
}

#[test]
fn messages_that_are_wanted_of_one_peer() {
    let mut sim = Sim::host_with(|config| {
        config.policy = Policy { rate: 0, burst: 0, rate_bytes: 0, ..Policy::default() };
        config.earlier.recalled = Recalled { state: HistoryState::Saved, ..Recalled::nothing() };
    });
    sim.on_disk = true;
    let (ann, bob) = (sim.join("ann"), sim.join("bob"));
    sim.say(ann, "bob", "warm");
    let conn = sim.peer_link(bob, ann);
    // It leaves out every other message, and answers no question for them.
    for number in 1..=10_000 {
        let stream = StreamId { author: sim.ids[ann], epoch: 9, to: Recipient::Everyone };
        let batch = sim.batch_of(stream, 2 * number, "x");
        sim.nodes[bob].handle(sim.now, Input::Frame(conn, Frame::Batch(batch.into())));
        sim.drain(bob);
    }
    assert!(sim.nodes[bob].mesh.messaging.wanted_of(&sim.ids[ann]) <= 4000);
    assert!(sim.heard(bob).len() > 4000, "{}", sim.heard(bob).len());
}

#[test]
fn what_strangers_may_take_up_is_the_hosts_word() {
    // Nothing at all would shut nobody out.
    let strangers = StrangerLimits { counted: 0, automatic_bans: 0, ..StrangerLimits::default() };
    let host = |attempts| {
        let mut sim = Sim { limits: Limits { strangers, ..Limits::default() }, ..Sim::nobody() };
        let config = HostConfig { attempts, ..host_config() };
        sim.add("host", Identity::generate().unwrap().0, RoleConfig::Host(Box::new(config)));
        sim
    };
    let guess = |sim: &mut Sim| {
        let guesser = sim.join_as("guess", "wrong", Identity::generate().unwrap().0);
        sim.wait(2.0);
        sim.end(guesser)
    };
    let bans = |sim: &Sim| {
        let told = |event: &NodeEvent| match event {
            NodeEvent::Admission { bans, .. } => Some(bans.len()),
            _ => None,
        };
        sim.events[0].iter().rev().find_map(told)
    };
    let mut sim = host(1);
    for _ in 0..3 {
        guess(&mut sim);
        assert_eq!(bans(&sim), Some(1), "of neighbours there is one ban");
    }
    let mut sim = host(3);
    sim.one_address = Some(1);
    let ends: Vec<_> = (0..4).map(|_| guess(&mut sim)).collect();
    assert_eq!((bans(&sim), ends[3]), (Some(1), Some(CloseReason::Banned)), "{ends:?}");
}

#[test]
fn messages_that_wait_for_a_disk() {
    let quick = |config: &mut HostConfig| {
        config.policy = Policy { rate: 0, burst: 0, rate_bytes: 0, ..Policy::default() };
        config.earlier.recalled = Recalled { state: HistoryState::Saved, ..Recalled::nothing() };
    };
    let memory = MemoryLimits {
        unsaved_messages: 4000,
        unsaved_bytes: 64 * limits::TEXT_BYTES,
        ..MemoryLimits::default()
    };
    for (text, most) in [("x".to_owned(), 4000), ("x".repeat(limits::TEXT_BYTES), 64)] {
        let mut sim = Sim::host_with(quick);
        sim.on_disk = true;
        sim.limits.memory = memory;
        let bob = sim.join("bob");
        sim.stores[bob].disk = Disk::Full;
        let authors: Vec<usize> = (0..3).map(|number| sim.join(&format!("author-{number}"))).collect();
        let each = 2 * most / authors.len();
        for author in &authors {
            for _ in 0..each {
                sim.say(*author, "bob", &text);
            }
        }
        // Beyond the limit a window of each is taken at most, and the rest waits with its author.
        let (heard, all) = (sim.heard(bob).len(), authors.len() * each);
        let windows = authors.len() * limits::WINDOW_MESSAGES.min(limits::WINDOW_BYTES / text.len() + 1);
        assert!(most + windows < all && (most..=most + windows).contains(&heard), "{heard} of {all}");
        // Of one's own no more is taken.
        sim.say(bob, "everyone", "is there room?");
        assert!(sim.errors(bob).last().unwrap().contains("disk"), "{:?}", sim.errors(bob).last());
        sim.mend(bob);
        sim.wait(1.0);
        assert_eq!(sim.heard(bob).len(), all, "nothing is lost");
        sim.say(bob, "everyone", "there is");
        assert_eq!(sim.heard(0).last().unwrap(), "bob: there is");
    }
}

#[test]
fn own_messages_that_wait_to_be_kept() {
    for (text, most) in [("x".to_owned(), 4096), ("x".repeat(limits::TEXT_BYTES), 64)] {
        let mut sim = Sim::host_with(|config| {
            config.policy = Policy { rate: 0, burst: 0, rate_bytes: 0, ..Policy::default() };
            config.earlier.recalled = Recalled { state: HistoryState::Saved, ..Recalled::nothing() };
        });
        sim.on_disk = true;
        sim.stores[0] = SimStore::new(sim.ids[0], true);
        let ann = sim.join("ann");
        sim.stores[ann].disk = Disk::Hangs;
        let mut taken = 0;
        while sim.nodes[ann].wants_commands(sim.now) {
            sim.say(ann, "everyone", &text);
            taken += 1;
        }
        assert!((most / 2..=most + 1).contains(&taken), "{taken}");
        sim.mend(ann);
        sim.wait(0.1);
        assert!(sim.nodes[ann].wants_commands(sim.now));
        assert_eq!(sim.heard(0).len(), taken);
    }
}

#[test]
fn tries_at_a_host_that_hangs_up() {
    let mut sim = Sim::host();
    sim.plain_joins = true;
    let ann = sim.join_as("ann", PASSWORD, Identity::generate().unwrap().0);
    let begin = sim.now.instant;
    let mut tries = 0;
    while sim.finished[ann].is_none() {
        sim.nodes[ann].handle(sim.now, Input::JoinFailed(CloseReason::Busy.into()));
        sim.wait(limits::BACKOFF_LAST.as_secs_f64() * 1.5);
        tries += 1;
    }
    assert!(sim.now.instant - begin >= limits::JOIN_FOR && tries < 20, "{tries}");
    assert_eq!(sim.end(ann), Some(CloseReason::NotPyile));
}

#[test]
fn a_host_that_says_nothing_is_slow_and_tried_again() {
    let mut sim = Sim::host();
    sim.plain_joins = true;
    let ann = sim.join_as("ann", PASSWORD, Identity::generate().unwrap().0);
    sim.wait(limits::HOST_SLOW.as_secs_f64() + 0.1);
    let is_slow = |event: &NodeEvent| matches!(event, NodeEvent::Link { message, .. } if message.as_str().contains("slow"));
    assert!(sim.has(ann, is_slow));
    let silent = || Closed::new(CloseReason::TimedOut, "it says nothing");
    for _ in 0..3 {
        sim.nodes[ann].handle(sim.now, Input::JoinFailed(silent()));
        sim.wait(limits::JOIN_PATIENCE.as_secs_f64());
        assert!(sim.finished[ann].is_none(), "silence is no verdict");
    }
    // Whatever it is that answers in the end decides.
    sim.nodes[ann].handle(sim.now, Input::JoinFailed(CloseReason::NotPyile.into()));
    sim.run();
    assert_eq!(sim.end(ann), Some(CloseReason::NotPyile));
}

#[test]
fn clocks_that_differ_too_much_are_told_of() {
    for (seconds, is_told) in [(59, false), (61, true), (-59, false), (-61, true)] {
        let mut sim = Sim::host();
        let ann = sim.join("ann");
        let conn = sim.knocks(ann, LinkKind::PeerIn);
        let now = Timestamp(sim.now.wall.0 + seconds * 1_000_000);
        let network = sim.nodes[0].role.group().network.as_ref().unwrap().id;
        let outputs = sim.flood(0, conn, [Frame::PeerHello(PeerHello { network, now })]);
        let tells = |output: &Output| matches!(output, Output::Event(NodeEvent::Clock { ahead_ms, .. }) if *ahead_ms == seconds * 1000);
        assert_eq!(outputs.iter().any(tells), is_told, "{seconds} s");
    }
}

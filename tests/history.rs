//! What is delivered is kept: real processes, killed, stopped and starved of disk.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use serde_json::{Value, json};
use support::{DEADLINE, Peer, Starting, free_port, history_of};
use tempfile::TempDir;

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// A member or host that is killed and started again in the same directory.
struct Phoenix {
    alias: &'static str,
    addr: String,
    dir: Arc<TempDir>,
    peer: Peer,
    /// What earlier processes of it said.
    before: Vec<Value>,
    replaced: bool,
}

impl Phoenix {
    fn start(alias: &'static str, addr: &str) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let peer = Self::process(alias, addr, &dir);
        Self { alias, addr: addr.to_owned(), dir, peer, before: Vec::new(), replaced: false }
    }

    fn process(alias: &str, addr: &str, dir: &Arc<TempDir>) -> Peer {
        let starting = match alias {
            "host" => Starting::host(alias).listen(addr).args(&["--rate", "0"]),
            _ => Starting::new(alias, &["join", addr]),
        };
        starting.in_dir(dir).start()
    }

    fn kill_and_start(&mut self) {
        self.peer.kill();
        self.before.extend(self.peer.events_so_far().iter().cloned());
        // What was still on its way out of the killed process.
        self.before.extend(self.peer.rest());
        self.peer = Self::process(self.alias, &self.addr, &self.dir);
        self.replaced = true;
    }

    fn was_replaced(&mut self) -> bool {
        std::mem::take(&mut self.replaced)
    }

    /// The numbers of the messages that were taken for sending.
    fn taken(&mut self) -> BTreeSet<usize> {
        let all = self.everything();
        let own = all.iter().filter(|event| event["event"] == "message" && event["own"] == true);
        own.filter_map(|event| text(event, "ref").parse().ok()).collect()
    }

    /// A host that cannot be reached ends a process that never was a member; it is started again.
    fn see_to(&mut self) {
        if self.peer.has_ended() {
            self.kill_and_start();
        }
    }

    fn everything(&mut self) -> Vec<Value> {
        let mut all = self.before.clone();
        all.extend(self.peer.events_so_far().iter().cloned());
        all
    }

    fn is_member(&mut self) -> bool {
        self.peer.events_so_far().iter().any(|event| event["event"] == "listening")
    }

    fn history(&self) -> Vec<Value> {
        history_of(&self.dir, &[])
    }
}

/// The number of each of an author's messages, in the order of the log, by epoch.
fn sequences<'a>(log: &'a [Value], author: &str, to: &str) -> Vec<(u64, u64, &'a str)> {
    let by_author = log.iter().filter(|line| text(&line["from"], "alias") == author);
    by_author
        .filter(|line| (text(line, "to") == "everyone") == (to == "everyone"))
        .map(|line| {
            let parts: Vec<&str> = text(line, "id").split('/').collect();
            (parts[1].parse().unwrap(), parts[3].parse().unwrap(), text(line, "text"))
        })
        .collect()
}

fn assert_in_order(who: &str, numbers: &[(u64, u64, &str)]) {
    for pair in numbers.windows(2) {
        assert!(pair[0] < pair[1], "{who}: {:?} before {:?}", pair[0], pair[1]);
    }
}

/// A host, a member that streams, and one that listens.
struct Trio {
    seed: u64,
    host: Phoenix,
    ann: Phoenix,
    bob: Phoenix,
}

impl Trio {
    fn start(seed: u64) -> Self {
        let addr = format!("127.0.0.1:{}", free_port());
        let host = Phoenix::start("host", &addr);
        let mut ann = Phoenix::start("ann", &addr);
        ann.peer.event("authenticated");
        let mut bob = Phoenix::start("bob", &addr);
        bob.peer.event("authenticated");
        ann.peer.event("peer_up");
        Self { seed, host, ann, bob }
    }

    /// Says so many messages while somebody is killed so many times.
    fn stream(&mut self, messages: usize, kills: usize) {
        let Self { seed, host, ann, bob } = self;
        let mut random = ChaCha20Rng::seed_from_u64(*seed);
        let mut below = |count: usize| usize::try_from(random.next_u64() % count as u64).unwrap();
        let mut moments: Vec<usize> = (0..kills).map(|_| below(messages)).collect();
        moments.sort_unstable();
        let mut killed = BTreeMap::new();
        let mut to_say: VecDeque<usize> = (0..messages).collect();
        let deadline = Instant::now() + 3 * DEADLINE;
        loop {
            let said = messages - to_say.len();
            while moments.first().is_some_and(|at| *at <= said) {
                moments.remove(0);
                let victim = match below(3) {
                    0 => &mut *host,
                    1 => &mut *ann,
                    _ => &mut *bob,
                };
                *killed.entry(victim.alias).or_insert(0) += 1;
                victim.kill_and_start();
            }
            assert!(Instant::now() < deadline, "seed {seed}: in time; {:#?}", ann.everything().last());
            bob.see_to();
            // What a killed process had not taken is said again.
            if ann.was_replaced() {
                let taken = ann.taken();
                to_say = (0..messages).filter(|number| !taken.contains(number)).collect();
            }
            ann.see_to();
            if !ann.is_member() {
                ann.peer.wait_a_moment();
                continue;
            }
            let Some(number) = to_say.pop_front() else {
                if ann.taken().len() == messages {
                    break;
                }
                ann.peer.wait_a_moment();
                continue;
            };
            // Every seventh message is for bob alone, who may not be there.
            let to = if number % 7 == 0 { "bob" } else { "everyone" };
            let said = format!("message {number}");
            ann.peer.say(json!({"cmd": "send", "to": to, "text": said, "ref": number.to_string()}));
        }
        println!("killed: {killed:?}");
    }

    /// Everything arrives in the end, whoever was away when it was said. Gives what ann and bob keep.
    fn settled(&mut self) -> (Vec<Value>, Vec<Value>) {
        let Self { seed, ann, bob, .. } = self;
        let deadline = Instant::now() + 2 * DEADLINE;
        while !(ann.is_member() && bob.is_member()) {
            assert!(Instant::now() < deadline, "seed {seed}: both are back");
            ann.see_to();
            bob.see_to();
            ann.peer.wait_a_moment();
        }
        ann.peer.say(json!({"cmd": "send", "to": "everyone", "text": "the end", "ref": "end"}));
        loop {
            let (ann_log, bob_log) = (ann.history(), bob.history());
            let open =
                ann_log.iter().flat_map(deliveries).any(|delivery| text(delivery, "status") == "queued");
            let has_end = ann_log.iter().any(|line| text(line, "text") == "the end");
            let missing = said_by_ann(&ann_log).difference(&said_by_ann(&bob_log)).count();
            if has_end && !open && missing == 0 {
                return (ann_log, bob_log);
            }
            assert!(Instant::now() < deadline, "seed {seed}: {missing} missing, open {open}, end {has_end}");
        }
    }

    fn check(&mut self, ann_log: &[Value], bob_log: &[Value]) {
        let seed = self.seed;
        let at_bob: Vec<&str> = bob_log.iter().map(|line| text(line, "id")).collect();
        let once: BTreeSet<&str> = at_bob.iter().copied().collect();
        assert_eq!(at_bob.len(), once.len(), "seed {seed}: each once");
        for to in ["everyone", "bob"] {
            assert_in_order("ann", &sequences(ann_log, "ann", to));
            assert_in_order("bob", &sequences(bob_log, "ann", to));
        }
        let told = self.ann.everything();
        // Marked delivered: kept by the receiver.
        let is_delivered = |event: &&Value| {
            event["event"] == "delivery"
                && text(event, "status") == "delivered"
                && text(&event["peer"], "alias") == "bob"
        };
        for event in told.iter().filter(is_delivered) {
            assert!(once.contains(text(event, "id")), "seed {seed}: {event} is not at bob's");
        }
        // Everything else that was taken is not forgotten, and says what became of it.
        let by_id: BTreeMap<&str, &Value> = ann_log.iter().map(|line| (text(line, "id"), line)).collect();
        for event in told.iter().filter(|event| event["event"] == "message" && event["own"] == true) {
            let Some(line) = by_id.get(text(event, "id")) else {
                panic!("seed {seed}: {event} is forgotten")
            };
            for delivery in deliveries(line) {
                assert!(
                    ["delivered", "failed"].contains(&text(delivery, "status")),
                    "seed {seed}: {delivery}"
                );
            }
        }
        let count = told.iter().filter(is_delivered).count();
        println!("{} kept by ann, {} by bob, {count} told as delivered to bob", ann_log.len(), bob_log.len());
    }
}

fn deliveries(line: &Value) -> impl Iterator<Item = &Value> {
    line["deliveries"].as_array().into_iter().flatten()
}

fn said_by_ann(log: &[Value]) -> BTreeSet<String> {
    let by_ann = log.iter().filter(|line| text(&line["from"], "alias") == "ann");
    by_ann.map(|line| text(line, "id").to_owned()).collect()
}

fn killed_at_random(seed: u64) {
    println!("seed {seed}; PYILE_SEED={seed} cargo test --test history killed -- --nocapture");
    let mut trio = Trio::start(seed);
    trio.stream(10_000, 12);
    let (ann_log, bob_log) = trio.settled();
    assert!(ann_log.len() >= 10_000, "seed {seed}");
    trio.check(&ann_log, &bob_log);
}

#[test]
fn every_message_marked_delivered_is_kept_once_whoever_is_killed() {
    let _alone = alone();
    match std::env::var("PYILE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => killed_at_random(seed),
        None => [1, 2, 3].into_iter().for_each(killed_at_random),
    }
}

/// Tests that load the machine run one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_receiver_that_is_stopped_for_thirty_seconds_holds_up_nobody_and_gets_everything() {
    let mut trio = Trio::start(0);
    let say = |trio: &mut Trio, number: usize, to: &str| {
        let said = format!("message {number}");
        trio.ann.peer.say(json!({"cmd": "send", "to": to, "text": said, "ref": number.to_string()}));
    };
    for number in 0..300 {
        say(&mut trio, number, "everyone");
        if number == 100 {
            trio.bob.peer.signal("STOP");
        }
    }
    let stopped = Instant::now();
    trio.host.peer.wait_for("the last one of the burst", |event| event["text"] == "message 299");
    assert!(stopped.elapsed() < DEADLINE / 2, "nobody else waits");
    for number in 300..320 {
        say(&mut trio, number, "bob");
    }
    // The others notice, and their life goes on until thirty seconds are over.
    trio.ann.peer.wait_for("bob is gone", |event| event["event"] == "peer_down");
    let mut number = 320;
    while stopped.elapsed() < Duration::from_secs(30) {
        say(&mut trio, number, "everyone");
        let said = format!("message {number}");
        trio.host.peer.wait_for("what is said meanwhile", |event| event["text"] == said.as_str());
        trio.host.peer.event("heartbeat");
        number += 1;
    }
    trio.bob.peer.signal("CONT");
    let slept = trio.bob.peer.event("suspended");
    assert!(slept["for_ms"].as_u64().unwrap() > 20_000, "{slept}");
    let (ann_log, bob_log) = trio.settled();
    assert!(ann_log.len() > number, "all are kept");
    trio.check(&ann_log, &bob_log);
}

#[test]
fn a_host_that_is_killed_comes_back_with_everything_and_its_members_by_themselves() {
    let addr = format!("127.0.0.1:{}", free_port());
    let mut host = Phoenix::start("host", &addr);
    let mut members: Vec<Peer> =
        (0..8).map(|number| Starting::new(&format!("member{number}"), &["join", &addr]).start()).collect();
    for member in &mut members {
        member.event("authenticated");
    }
    host.peer.say(json!({"cmd": "ban", "addr": "10.9.9.9", "reason": "spam"}));
    host.peer.event("banned");
    let mut guesser = Starting::new("mallory", &["join", &addr]).password("wrong").start();
    assert_eq!(guesser.exit_code(), 4);
    host.peer.wait_for("attempt", |event| event["event"] == "attempt" && event["left"] == 2);
    members[0].say(json!({"cmd": "send", "to": "everyone", "text": "before"}));
    host.peer.wait_for("message", |event| event["text"] == "before");
    members[0].wait_for("told to all", |event| event["summary"] == "8/8");

    host.peer.kill();
    for member in &mut members {
        member.wait_for("the host is lost", |event| {
            event["event"] == "link" && event["alone_until"].is_string()
        });
    }
    // Meanwhile the members talk among themselves.
    members[1].say(json!({"cmd": "send", "to": "everyone", "text": "without a host"}));
    members[2].wait_for("message", |event| event["text"] == "without a host");
    host.peer = Phoenix::process("host", &addr, &host.dir);
    let back = Instant::now();
    for member in &mut members {
        member.event("authenticated");
    }
    assert!(back.elapsed() < Duration::from_secs(10), "within ten seconds: {:?}", back.elapsed());
    for member in &mut members {
        let gone = |event: &Value| event["event"] == "peer_down" && text(&event["peer"], "alias") != "host";
        assert_eq!(member.count(gone), 0, "nobody else seems to go and come");
    }
    host.peer.rewind();
    assert_eq!(host.peer.event("listening")["network"], "lab");
    let admission = host.peer.event("admission");
    assert_eq!(
        (&admission["bans"][0]["addr"], &admission["attempts"][0]["left"]),
        (&json!("10.9.9.9"), &json!(2))
    );
    // What was said to it meanwhile was queued for it.
    host.peer.wait_for("message", |event| event["text"] == "without a host");
    members[1].rewind();
    members[1].wait_for("kept by all", |event| event["summary"] == "8/8");
    let texts: Vec<Value> = host.history().iter().map(|line| line["text"].clone()).collect();
    assert_eq!(texts, ["before", "without a host"]);
}

#[test]
fn history_prints_what_was_said_and_no_history_keeps_nothing() {
    let addr = format!("127.0.0.1:{}", free_port());
    let mut host = Phoenix::start("host", &addr);
    let mut ann = Starting::new("ann", &["join", &addr, "--no-history"]).start();
    ann.event("authenticated");
    assert_eq!(ann.event("history")["state"], "memory");
    host.peer.rewind();
    assert_eq!(host.peer.event("history")["state"], "saved");
    host.peer.event("peer_up");
    for (to, said) in
        [("everyone", "the quick brown fox"), ("ann", "only for ann"), ("everyone", "two\nlines")]
    {
        host.peer.say(json!({"cmd": "send", "to": to, "text": said}));
        ann.wait_for("message", |event| event["text"] == said);
        host.peer
            .wait_for("delivered", |event| event["event"] == "delivery" && event["status"] == "delivered");
    }
    let all = host.history();
    assert_eq!(all.len(), 3);
    assert_eq!(
        (&all[0]["own"], &all[0]["summary"], &all[0]["to"]),
        (&json!(true), &json!("1/1"), &json!("everyone"))
    );
    assert_eq!(all[0]["deliveries"][0]["peer"]["alias"], "ann");
    for (args, expected) in [
        (["--search", "qui"], 1),
        (["--search", "nothing"], 0),
        (["--peer", "ann"], 1),
        (["--since", "1h"], 3),
        (["--since", "2100-01-01"], 0),
        (["--network", "another"], 0),
        (["--network", "lab"], 3),
    ] {
        assert_eq!(history_of(&host.dir, &args).len(), expected, "{args:?}");
    }
    let key = all[0]["deliveries"][0]["peer"]["peer_id"].as_str().unwrap();
    let short = format!("{}-{}", &key[..4], &key[4..8]);
    assert_eq!(history_of(&host.dir, &["--peer", &short]).len(), 1, "as the screen shows it");
    assert!(!ann.profile_dir().join("history.db").exists());
    assert!(host.dir.path().join("default/history.db").exists());
}

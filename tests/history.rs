//! What is delivered is kept: real processes, killed, stopped and starved of disk.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Instant,
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

/// The number of each of an author's messages, in the order of the log, by numbering.
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

fn killed_at_random(seed: u64, messages: usize, kills: usize) {
    println!("seed {seed} (PYILE_SEED replays it)");
    let mut random = ChaCha20Rng::seed_from_u64(seed);
    let mut below = |count: usize| usize::try_from(random.next_u64() % count as u64).unwrap();
    let addr = format!("127.0.0.1:{}", free_port());
    let mut host = Phoenix::start("host", &addr);
    let mut ann = Phoenix::start("ann", &addr);
    ann.peer.event("authenticated");
    let mut bob = Phoenix::start("bob", &addr);
    bob.peer.event("authenticated");
    ann.peer.event("peer_up");

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
                0 => &mut host,
                1 => &mut ann,
                _ => &mut bob,
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
        let command =
            json!({"cmd": "send", "to": to, "text": format!("message {number}"), "ref": number.to_string()});
        ann.peer.say(command);
    }
    println!("killed: {killed:?}");
    let deadline = Instant::now() + 2 * DEADLINE;
    while !(ann.is_member() && bob.is_member()) {
        assert!(Instant::now() < deadline, "both are back");
        ann.see_to();
        bob.see_to();
        ann.peer.wait_a_moment();
    }
    ann.peer.say(json!({"cmd": "send", "to": "everyone", "text": "the end", "ref": "end"}));

    // Everything arrives in the end, whoever was away when it was said.
    let said = |log: &[Value]| -> BTreeSet<String> {
        log.iter()
            .filter(|line| text(&line["from"], "alias") == "ann")
            .map(|line| text(line, "id").to_owned())
            .collect()
    };
    let mut logs;
    loop {
        logs = (ann.history(), bob.history());
        let open = logs.0.iter().flat_map(|line| line["deliveries"].as_array().into_iter().flatten());
        let is_settled = open.filter(|delivery| text(delivery, "status") == "queued").count() == 0;
        let has_end = logs.0.iter().any(|line| text(line, "text") == "the end");
        let expired = |line: &&Value| text(&line["deliveries"][0], "status") == "failed";
        let failed: BTreeSet<String> =
            logs.0.iter().filter(expired).map(|line| text(line, "id").to_owned()).collect();
        let missing = said(&logs.0).difference(&said(&logs.1)).filter(|id| !failed.contains(*id)).count();
        if has_end && is_settled && missing == 0 {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "seed {seed}: {missing} missing at bob, settled {is_settled}, end {has_end}"
        );
    }
    let (ann_log, bob_log) = logs;

    // Marked delivered: exactly once in bob's history, in order.
    let at_bob: Vec<&str> = bob_log.iter().map(|line| text(line, "id")).collect();
    let once: BTreeSet<&str> = at_bob.iter().copied().collect();
    assert_eq!(at_bob.len(), once.len(), "seed {seed}: each once");
    for to in ["everyone", "bob"] {
        assert_in_order("ann", &sequences(&ann_log, "ann", to));
        assert_in_order("bob", &sequences(&bob_log, "ann", to));
    }
    let by_id: BTreeMap<&str, &Value> = ann_log.iter().map(|line| (text(line, "id"), line)).collect();
    let mut delivered = 0;
    for event in ann.everything().iter().filter(|event| event["event"] == "delivery") {
        if text(event, "status") == "delivered" && text(&event["peer"], "alias") == "bob" {
            delivered += 1;
            assert!(once.contains(text(event, "id")), "seed {seed}: {event} is not at bob's");
        }
    }
    // Every other one is queued or failed; none that was taken is forgotten.
    for event in ann.everything().iter().filter(|event| event["event"] == "message" && event["own"] == true) {
        let Some(line) = by_id.get(text(event, "id")) else { panic!("seed {seed}: {event} is forgotten") };
        for delivery in line["deliveries"].as_array().into_iter().flatten() {
            assert!(["delivered", "failed"].contains(&text(delivery, "status")), "seed {seed}: {delivery}");
        }
    }
    println!("{} kept by ann, {} by bob, {delivered} told as delivered to bob", ann_log.len(), bob_log.len());
    assert!(ann_log.len() >= messages, "seed {seed}");
}

#[test]
fn every_message_marked_delivered_is_kept_once_whoever_is_killed() {
    let seed = std::env::var("PYILE_SEED").ok().and_then(|seed| seed.parse().ok());
    killed_at_random(seed.unwrap_or(1), 10_000, 12);
}

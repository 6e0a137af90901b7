//! Promises about what is said, between real processes: a profile put back from a copy, a member that sleeps, a front end
//! that does not read, a host that is asked for something while much waits to be sent.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    sync::Arc,
};

use pyile::{
    Events, HostOptions, JoinOptions, Network, Profile,
    api::{NodeCommand, NodeEvent, Target},
    model::{Alias, DeliveryStatus, Password, Policy},
    security::PasswordCost,
};
use serde_json::{Value, json};
use support::{DEADLINE, Starting, free_port, history_of, resident};
use tempfile::TempDir;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

fn texts(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["text"].as_str().unwrap()).collect()
}

#[test]
fn what_a_copy_of_a_profile_says_is_delivered_or_is_not_called_so() {
    for to in ["everyone", "host"] {
        let mut host = Starting::host("host").start();
        let mut bob = Starting::join(&host, "bob").start();
        bob.event("authenticated");
        let mut ann = Starting::join(&host, "ann").start();
        ann.event("authenticated");
        let say = |peer: &mut support::Peer, text: &str| {
            peer.say(json!({"cmd": "send", "to": to, "text": text, "ref": text}));
            let all = if to == "everyone" { "2/2" } else { "1/1" };
            peer.wait_for("everybody has it", |event| event["ref"] == text && event["summary"] == all);
        };
        say(&mut ann, "before");
        assert_eq!(ann.leave(), 0);
        let copied = Arc::new(TempDir::new().unwrap());
        copy(ann.dir().path(), copied.path());
        let mut original = Starting::join(&host, "ann").profile_of(&ann).no_password().start();
        original.event("authenticated");
        say(&mut original, "one");
        say(&mut original, "two");
        assert_eq!(original.leave(), 0);
        let mut copy = Starting::join(&host, "ann").in_dir(&copied).no_password().start();
        copy.event("authenticated");
        say(&mut copy, "three");
        say(&mut copy, "four");
        assert_eq!(copy.leave(), 0);
        assert_eq!(host.leave(), 0);
        let kept = history_of(&host.dir(), &[]);
        assert_eq!(texts(&kept), ["before", "one", "two", "three", "four"], "to {to}");
    }
}

#[test]
fn a_hundred_thousand_messages_wait_for_a_member_that_sleeps_and_cost_a_cursor() {
    const COUNT: usize = 100_000;
    let mut host = Starting::host("host").args(&["--rate", "0"]).start();
    let mut bob = Starting::join(&host, "bob").start();
    bob.event("authenticated");
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    ann.say(json!({"cmd": "send", "to": "everyone", "text": "warm"}));
    ann.wait_for("word of both", |event| event["event"] == "delivery" && event["summary"] == "2/2");
    bob.signal("STOP");
    let before = resident(&ann);
    for number in 0..COUNT {
        ann.say(json!({"cmd": "send", "to": "everyone", "text": format!("{number} and some words more")}));
    }
    let last = format!("{} and", COUNT - 1);
    let is_last = |event: &Value| {
        event["event"] == "message" && event["text"].as_str().is_some_and(|text| text.starts_with(&last))
    };
    host.wait_for("the last one: nobody waits for bob", is_last);
    let grown = resident(&ann).saturating_sub(before);
    println!("ann has grown by {grown} KiB");
    assert!(grown < 16 * 1024, "{grown} KiB");
    bob.signal("CONT");
    bob.wait_for("the last one", is_last);
    let mut numbers = Vec::new();
    for event in bob.events_so_far() {
        if event["event"] == "message" && event["text"] != "warm" {
            let text = event["text"].as_str().unwrap();
            numbers.push(text.split(' ').next().unwrap().parse::<usize>().unwrap());
        }
    }
    assert_eq!(numbers.len(), COUNT, "each once");
    assert!(numbers.is_sorted(), "and in order");
    assert_eq!(ann.count(|event| event["status"] == "failed"), 0);
}

const OTHERS: usize = 65;
const SAID: usize = 4_000;

async fn next(events: &mut Events) -> NodeEvent {
    tokio::time::timeout(DEADLINE, events.next_whole()).await.unwrap().unwrap()
}

/// Everything that others say, until there is so much of it.
async fn hear((network, mut events): (Network, Events)) -> ((Network, Events), Vec<usize>) {
    let mut heard = Vec::new();
    while heard.len() < SAID {
        if let NodeEvent::Batch(said) = next(&mut events).await
            && !said.own
        {
            let number = |text: &str| text.split(' ').next().unwrap().parse::<usize>().unwrap();
            heard.extend(said.batch.batch.texts.iter().map(|text| number(text.as_str())));
        }
    }
    ((network, events), heard)
}

/// Says as much as is taken, from the moment that it is in, until everybody has acknowledged everything.
async fn say_at_once((network, mut events): (Network, Events)) {
    let (mut said, mut delivered) = (0, 0);
    let mut is_in = false;
    while delivered < SAID * OTHERS {
        let send = |number: usize| NodeCommand::Send {
            to: Target::Everyone,
            text: format!("{number} {}", "x".repeat(200)),
            reference: None,
        };
        while is_in && said < SAID && network.try_command(send(said)).is_ok() {
            said += 1;
        }
        match next(&mut events).await {
            NodeEvent::Authenticated { .. } => is_in = true,
            NodeEvent::Progress(progress) if progress.status == DeliveryStatus::Delivered => {
                delivered += usize::try_from(progress.last - progress.first + 1).unwrap();
            }
            NodeEvent::Progress(progress) => {
                assert_eq!(progress.status, DeliveryStatus::Queued, "{:?}", progress.reason);
            }
            _ => {}
        }
    }
}

#[test]
fn four_thousand_messages_right_after_joining_64_others_all_arrive_and_none_is_called_failed() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let password = || Password::new("open sesame".into());
    let alias = |name: &str| Alias::new(name).unwrap();
    let options = HostOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        cost: PasswordCost::TEST,
        policy: Policy { rate: 0, burst: 0, rate_bytes: 0, ..Policy::default() },
        ..HostOptions::new(alias("host"), password())
    };
    runtime.block_on(async {
        let (host, mut at_host) = Network::host(options, Profile::ephemeral().unwrap()).await.unwrap();
        let target = host.join_addr().unwrap().to_string();
        let join = |name: &str| {
            let options = JoinOptions {
                cost: PasswordCost::TEST,
                ..JoinOptions::new(&target, alias(name), password())
            };
            Network::join(options, Profile::ephemeral().unwrap()).unwrap()
        };
        let members: Vec<_> = (1..OTHERS).map(|number| join(&format!("member-{number}"))).collect();
        let is_complete = |event: &NodeEvent| match event {
            NodeEvent::Roster { peers, .. } => peers.len() == OTHERS,
            _ => false,
        };
        while !is_complete(&next(&mut at_host).await) {}
        let hearing: Vec<_> =
            members.into_iter().chain([(host, at_host)]).map(|peer| tokio::spawn(hear(peer))).collect();
        say_at_once(join("late")).await;
        for hearing in hearing {
            let (network, heard) = hearing.await.unwrap();
            assert_eq!(heard, (0..SAID).collect::<Vec<_>>(), "each once and in order");
            drop(network);
        }
    });
}

#[test]
fn a_front_end_that_does_not_read_stops_nothing_but_itself() {
    let addr = format!("127.0.0.1:{}", free_port());
    let mut command = Starting::host("host").listen(&addr).args(&["--rate", "0"]).command();
    let mut host = command.spawn().unwrap();
    let mut lines = BufReader::new(host.stdout.take().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    assert!(first.contains("listening"), "{first}");
    // From here on nobody reads what it says.
    let join = |alias: &str| Starting::new(alias, &["join", &addr]).start();
    let mut ann = join("ann");
    ann.event("authenticated");
    for number in 0..30_000 {
        let text = format!("{number} {}", "x".repeat(400));
        ann.say(json!({"cmd": "send", "to": "host", "text": text, "ref": number.to_string()}));
    }
    ann.wait_for("the host has everything", |event| {
        event["ref"] == "29999" && event["status"] == "delivered"
    });
    // It goes on beating, lets others in, and does what it is told.
    let mut bob = join("bob");
    bob.event("authenticated");
    let input = host.stdin.as_mut().unwrap();
    writeln!(input, "{}", json!({"cmd": "ban", "peer": "bob"})).unwrap();
    bob.event("banned");
    assert!(!ann.seen(|event| event["event"] == "peer_down" && event["peer"]["alias"] == "host"));
    // Whoever reads again is told what it has missed, and the end of it.
    writeln!(input, "{}", json!({"cmd": "leave"})).unwrap();
    let said: Vec<Value> = lines.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert_eq!(said.last().unwrap()["event"], "left");
    let heard = said.iter().filter(|event| event["event"] == "message").count() as u64;
    let skipped: u64 = said.iter().filter_map(|event| event["messages"].as_u64()).sum();
    assert_eq!(heard + skipped, 30_000);
    assert!(skipped > 0, "{heard} were written though nobody read them");
    assert!(said.iter().any(|event| event["event"] == "banned"), "what is no message is not left out");
    host.wait().unwrap();
}

//! What members do at the worst moment, and what all the others must see of it.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Instant};

use pyile::wire::{BannedStatus, Frame, Hello};
use serde_json::{Value, json};
use support::{
    Peer, Starting,
    wire::{Insider, Link},
};

fn joined(host: &Peer, alias: &str) -> Peer {
    let mut peer = Starting::join(host, alias).start();
    peer.event("authenticated");
    peer
}

fn names(roster: &Value) -> Vec<&str> {
    roster["peers"].as_array().unwrap().iter().map(|peer| peer["alias"].as_str().unwrap()).collect()
}

/// From now on, sooner or later; what it saw before does not count.
fn sees(peer: &mut Peer, everybody: &[&str]) {
    peer.forget_past();
    peer.say(json!({"cmd": "peers"}));
    peer.wait_for(&format!("{everybody:?}"), |event| {
        let mut names = if event["event"] == "roster" { names(event) } else { Vec::new() };
        names.sort_unstable();
        names == everybody
    });
}

fn is_message(event: &Value) -> bool {
    event["event"] == "message" && event["own"] == false
}

fn say(peer: &mut Peer, to: &str, text: &str) {
    peer.say(json!({"cmd": "send", "to": to, "text": text}));
}

fn hears(peer: &mut Peer, text: &str) {
    peer.wait_for(text, |event| is_message(event) && event["text"] == text);
}

#[test]
fn ban_of_an_idle_member() {
    let mut host = Starting::host("host").start();
    let (mut ann, mut bob) = (joined(&host, "ann"), joined(&host, "bob"));
    host.say(json!({"cmd": "ban", "peer": "bob", "reason": "idle"}));
    assert_eq!(bob.event("banned")["reason"], "idle");
    assert_eq!(bob.exit_code(), 5);
    for peer in [&mut host, &mut ann] {
        let down = peer.event("peer_down");
        assert_eq!((&down["peer"]["alias"], &down["reason"]), (&json!("bob"), &json!("banned")));
    }
}

#[test]
fn ban_of_a_member_that_is_sending() {
    let mut host = Starting::host("host").args(&["--rate", "0"]).start();
    let mut ann = Starting::join(&host, "ann").start();
    let addr = ann.event("listening")["peer_addr"].as_str().map(|addr| addr.parse().unwrap());
    ann.event("authenticated");
    let mut bob = joined(&host, "bob");
    // It writes as fast as it can and reads nothing, so it is a peer by hand.
    let mallory = Insider::join(&host.join_addr(), "mallory");
    let links: Vec<Link> = addr.iter().map(|addr| mallory.peer_link(*addr)).collect();
    for number in 1..=5_000 {
        let message = mallory.message(pyile::model::Recipient::Everyone, number, &format!("spam {number}"));
        links[0].send(&Frame::Batch(message.into()));
        if number == 500 {
            host.say(json!({"cmd": "ban", "peer": "mallory"}));
        }
    }
    host.event("banned");
    // The members may be faster than the disk.
    host.rewind();
    host.wait_for("cut off everywhere", |event| event["event"] == "cut_off" && event["by"] == event["of"]);
    links[0].closed();
    mallory.host.closed();
    // Not one more is shown once it is gone.
    ann.wait_for("mallory gone", |event| event["event"] == "peer_down" && event["reason"] == "banned");
    say(&mut bob, "everyone", "quiet now");
    hears(&mut ann, "quiet now");
    let events = ann.events_so_far();
    let gone = events.iter().position(|event| event["event"] == "peer_down").unwrap();
    let spam = |event: &Value| event["text"].as_str().is_some_and(|text| text.starts_with("spam"));
    assert_eq!(events[gone..].iter().filter(|event| spam(event)).count(), 0);
    assert_eq!(host.leave(), 0);
}

#[test]
fn ban_of_a_suspended_member() {
    let mut host = Starting::host("host").start();
    let (mut ann, mut bob) = (joined(&host, "ann"), joined(&host, "bob"));
    say(&mut bob, "ann", "good night");
    hears(&mut ann, "good night");
    bob.signal("STOP");
    host.say(json!({"cmd": "ban", "peer": "bob"}));
    // Nobody waits for it: its links are cut on the other side.
    host.wait_for("cut off everywhere", |event| event["event"] == "cut_off" && event["by"] == event["of"]);
    ann.wait_for("bob gone", |event| event["event"] == "peer_down" && event["reason"] == "banned");
    bob.signal("CONT");
    bob.event("banned");
    assert_eq!(bob.exit_code(), 5);
    sees(&mut ann, &["ann", "host"]);
}

#[test]
fn roster_change_during_a_broadcast() {
    let mut host = Starting::host("host").args(&["--rate", "0"]).start();
    let (mut ann, mut bob) = (joined(&host, "ann"), joined(&host, "bob"));
    let mut carol = joined(&host, "carol");
    ann.wait_for("carol", |event| event["event"] == "peer_up" && event["peer"]["alias"] == "carol");
    let dave = Starting::join(&host, "dave");
    for number in 1..=600 {
        let text = number.to_string();
        ann.say(json!({"cmd": "send", "to": "everyone", "text": text, "ref": text}));
        match number {
            150 => bob.signal("STOP"),
            200 => _ = carol.leave(),
            300 => host.say(json!({"cmd": "kick", "peer": "bob"})),
            _ => {}
        }
    }
    ann.wait_for("bob gone", |event| event["event"] == "peer_down" && event["peer"]["alias"] == "bob");
    bob.signal("CONT");
    let mut dave = dave.start();
    dave.event("authenticated");
    ann.wait_for("dave", |event| event["event"] == "peer_up" && event["peer"]["alias"] == "dave");
    ann.say(json!({"cmd": "send", "to": "everyone", "text": "601", "ref": "last"}));
    // Who stayed has all of them, in order; who went, a beginning without holes; who came, what came after.
    let heard = |peer: &mut Peer| -> Vec<u32> {
        let texts = peer.events_so_far().iter().filter(|event| is_message(event));
        texts.map(|event| event["text"].as_str().unwrap().parse().unwrap()).collect()
    };
    hears(&mut host, "601");
    assert_eq!(heard(&mut host), (1..=601).collect::<Vec<_>>());
    hears(&mut dave, "601");
    for gone in [&mut bob, &mut carol] {
        gone.exit_code();
        let heard = heard(gone);
        assert_eq!(heard, (1..=u32::try_from(heard.len()).unwrap()).collect::<Vec<_>>());
    }
    ann.wait_for("word on the last", |event| event["ref"] == "last" && event["summary"] == "2/3");
    // What became of every message is known for everyone to whom it went, once she who left has been back.
    let _back = Starting::join(&host, "carol").profile_of(&carol).start();
    let mut open: BTreeMap<String, i64> = BTreeMap::new();
    ann.rewind();
    while open.len() < 601 || open.values().any(|count| *count > 0) {
        let is_final = |event: &Value| event["event"] == "delivery" && event["status"] != "queued";
        let event = ann.wait_for("what became of the others", is_final);
        let (_, total) = event["summary"].as_str().unwrap().split_once('/').unwrap();
        let count = open.entry(event["ref"].to_string()).or_insert_with(|| total.parse().unwrap());
        *count -= 1;
    }
}

#[test]
fn leave_and_rejoin_within_100_ms() {
    let mut host = Starting::host("host").start();
    let mut ann = joined(&host, "ann");
    let mut mallory = Insider::join(&host.join_addr(), "hasty");
    let (stranger, addr) = (mallory.stranger, host.join_addr());
    for _ in 0..5 {
        let left = Instant::now();
        mallory.host.send(&Frame::Goodbye(pyile::wire::Refusal {
            reason: pyile::model::CloseReason::Left,
            detail: String::new(),
        }));
        let link = stranger.join_link(&addr);
        assert!(
            matches!(link.next(), Some(Frame::BannedStatus(BannedStatus::Known))),
            "it needs no password"
        );
        link.send(&Frame::Hello(Hello { alias: "hasty".into(), addrs: Vec::new(), ke1: Vec::new() }));
        link.find("admission", |frame| matches!(frame, Frame::Authenticated(_)).then_some(()));
        println!("back after {:?}", left.elapsed());
        mallory.host = link;
    }
    // However fast that was, it is there, once.
    sees(&mut host, &["ann", "hasty", "host"]);
    sees(&mut ann, &["ann", "hasty", "host"]);
    drop(mallory.host);
    for peer in [&mut host, &mut ann] {
        sees(peer, &["ann", "host"]);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            _ = std::fs::copy(entry.path(), to);
        }
    }
}

#[test]
fn two_sessions_of_one_identity_the_newer_wins_and_the_older_is_told() {
    let host = Starting::host("host").start();
    let (mut ann, mut older) = (joined(&host, "ann"), joined(&host, "bob"));
    // The same key on another machine.
    let dir = Arc::new(tempfile::tempdir().unwrap());
    copy(older.dir().path(), dir.path());
    let mut newer = Starting::join(&host, "bob").in_dir(&dir).start();
    newer.event("authenticated");
    let left = older.event("left");
    assert_eq!(left["reason"], "superseded");
    assert!(left["message"].as_str().unwrap().contains("same key"), "{left}");
    assert_ne!(older.exit_code(), 0);
    sees(&mut ann, &["ann", "bob", "host"]);
    say(&mut ann, "bob", "which one are you?");
    hears(&mut newer, "which one are you?");
    say(&mut newer, "ann", "the newer");
    hears(&mut ann, "the newer");
}

#[test]
fn messages_of_0_and_1_and_16384_and_16385_bytes() {
    let mut host = Starting::host("host").start();
    let mut ann = joined(&host, "ann");
    for (text, words) in [(String::new(), "nothing to send"), ("x".repeat(16_385), "16385")] {
        say(&mut ann, "host", &text);
        let error = ann.event("error");
        assert_eq!(error["kind"], "send");
        assert!(error["message"].as_str().unwrap().contains(words), "{error}");
    }
    // Two bytes a letter: it is bytes that are counted.
    say(&mut ann, "host", &"ä".repeat(8193));
    assert!(ann.event("error")["message"].as_str().unwrap().contains("16386"));
    for text in ["x".to_owned(), "x".repeat(16_384), "ä".repeat(8192)] {
        say(&mut ann, "host", &text);
        hears(&mut host, &text);
    }
    assert_eq!(host.count(is_message), 3);
}

#[test]
fn a_hundred_joins_and_drops_at_once() {
    let mut host = Starting::host("host").start();
    let mut ann = joined(&host, "ann");
    let addr = host.join_addr();
    let crowd: Vec<Insider> = (0..10).map(|number| Insider::join(&addr, &format!("moth-{number}"))).collect();
    let comings: Vec<_> = crowd
        .into_iter()
        .enumerate()
        .map(|(number, Insider { stranger, .. })| {
            let addr = addr.clone();
            std::thread::spawn(move || {
                for round in 0..10 {
                    let link = stranger.join_link(&addr);
                    link.find("status", |frame| {
                        matches!(frame, Frame::BannedStatus(BannedStatus::Known)).then_some(())
                    });
                    let alias = format!("moth-{number}");
                    link.send(&Frame::Hello(Hello { alias, addrs: Vec::new(), ke1: Vec::new() }));
                    // Some are gone before they are let in.
                    if round != 4 {
                        link.find("admission", |frame| {
                            matches!(frame, Frame::Authenticated(_)).then_some(())
                        });
                    }
                }
            })
        })
        .collect();
    for coming in comings {
        coming.join().unwrap();
    }
    let settled = Instant::now();
    for peer in [&mut host, &mut ann] {
        sees(peer, &["ann", "host"]);
    }
    println!("settled after {:?}", settled.elapsed());
    say(&mut ann, "host", "gone?");
    hears(&mut host, "gone?");
    assert!(!host.seen(|event| event["event"] == "peer_down" && event["peer"]["alias"] == "ann"));
}

#[test]
fn two_members_dialling_each_other() {
    let mut host = Starting::host("host").start();
    for round in 0..5 {
        let (one, two) = (format!("ann-{round}"), format!("bob-{round}"));
        let (mut ann, mut bob) = (joined(&host, &one), joined(&host, &two));
        for peer in [&mut ann, &mut bob] {
            sees(peer, &[&one, &two, "host"]);
        }
        // Neither has a link to the other yet; both open one now.
        for number in 0..20 {
            say(&mut ann, &two, &format!("a{number}"));
            say(&mut bob, &one, &format!("b{number}"));
        }
        hears(&mut bob, "a19");
        hears(&mut ann, "b19");
        assert_eq!((ann.count(is_message), bob.count(is_message)), (20, 20), "each once");
        ann.leave();
        bob.leave();
        sees(&mut host, &["host"]);
    }
}

#[test]
fn a_duplicate_alias_and_one_that_looks_like_another() {
    let host = Starting::host("host").start();
    let _ann = joined(&host, "ann");
    for (alias, words) in [
        ("ann", "belongs to another member"),
        ("anո", "looks like"),
        ("Ann", "looks like"),
        ("h0st", "looks like"),
    ] {
        let mut refused = Starting::join(&host, alias).start();
        let error = refused.event("error");
        assert!(error["message"].as_str().unwrap().contains(words), "{alias}: {error}");
        assert_eq!(refused.exit_code(), 9);
    }
}

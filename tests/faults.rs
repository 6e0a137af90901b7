//! What strangers, a crowd and a poor machine do to a host, and what they must not do to anybody else.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use pyile::{
    HostOptions, JoinOptions, Network, Profile,
    api::NodeEvent,
    model::{Alias, Password, PeerId},
    security::PasswordCost,
};
use serde_json::json;
use support::{DEADLINE, Peer, Starting};

/// One at a time: what is measured here must not measure the test beside it.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Resident memory of a process in KiB.
fn resident(peer: &Peer) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", peer.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Connections of strangers: silent ones, garbage, HTTP, and lengths that claim gigabytes.
fn strangers(addr: &str, count: usize) -> Vec<TcpStream> {
    let openings: [&[u8]; 5] = [
        b"",
        b"\x00\xff\x13garbage\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xff",
        b"\x16\x03\x01\xff\xff\x01",
    ];
    (0..count)
        .filter_map(|number| {
            let mut stream = TcpStream::connect(addr).ok()?;
            // Whatever happens to them is not our concern.
            let _ = stream.write_all(openings[number % openings.len()]);
            Some(stream)
        })
        .collect()
}

#[test]
fn an_honest_join_succeeds_beside_300_strangers() {
    let _alone = alone();
    let mut host = Starting::host("host").start();
    let addr = host.join_addr();
    let mut first = Starting::join(&host, "first").start();
    first.event("authenticated");
    let before = resident(&host);
    let crowd = strangers(&addr, 300);
    let begun = Instant::now();
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    let took = begun.elapsed();
    let grown = resident(&host).saturating_sub(before);
    assert!(took < Duration::from_secs(2), "the honest join took {took:?}");
    assert!(grown < 20 * 1024, "host memory grew by {grown} KiB");
    ann.say(json!({"cmd": "send", "to": "first", "text": "hello"}));
    first.event("message");
    drop(crowd);
    assert_eq!(host.leave(), 0);
}

#[test]
fn few_descriptors_never_end_a_host() {
    let _alone = alone();
    let mut host = Starting::host("host").descriptors(64).start();
    let addr = host.join_addr();
    let crowd = strangers(&addr, 200);
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    host.event("peer_up");
    drop(crowd);
    let mut bob = Starting::join(&host, "bob").start();
    bob.event("authenticated");
    bob.say(json!({"cmd": "send", "to": "everyone", "text": "still alive"}));
    assert_eq!(host.event("message")["text"], "still alive");
    assert_eq!(host.leave(), 0);
}

#[test]
fn a_member_that_stops_reading_holds_back_nobody() {
    let _alone = alone();
    let mut host = Starting::host("host").args(&["--rate", "0"]).start();
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    let mut bob = Starting::join(&host, "bob").start();
    bob.event("authenticated");
    ann.event("peer_up");
    // The link is up before bob stops.
    ann.say(json!({"cmd": "send", "to": "everyone", "text": "warm"}));
    bob.event("message");
    bob.signal("STOP");
    for number in 0..900 {
        ann.say(json!({"cmd": "send", "to": "everyone", "text": format!("{number} {}", "x".repeat(200))}));
    }
    host.wait_for("the last one", |event| {
        event["event"] == "message" && event["text"].as_str().unwrap().starts_with("899 ")
    });
    bob.signal("CONT");
    bob.wait_for("the last one", |event| {
        event["event"] == "message" && event["text"].as_str().unwrap().starts_with("899 ")
    });
    assert_eq!(bob.count(|event| event["event"] == "message" && event["own"] == false), 901, "each once");
}

#[test]
fn five_thousand_at_once_arrive_in_order_and_once_and_others_stay_prompt() {
    let _alone = alone();
    let mut host = Starting::host("host").args(&["--rate", "0"]).start();
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    let mut bob = Starting::join(&host, "bob").start();
    bob.event("authenticated");
    ann.event("peer_up");
    for number in 0..5000 {
        ann.say(json!({"cmd": "send", "to": "everyone", "text": format!("{number} {}", "x".repeat(300))}));
        if number == 2500 {
            bob.say(json!({"cmd": "send", "to": "host", "text": "prompt"}));
        }
    }
    host.wait_for("bob's word", |event| event["text"] == "prompt");
    for peer in [&mut host, &mut bob] {
        peer.rewind();
        for number in 0..5000 {
            let start = format!("{number} ");
            let message = peer.wait_for("the next of ann's", |event| {
                event["event"] == "message" && event["from"]["alias"] == "ann"
            });
            assert!(message["text"].as_str().unwrap().starts_with(&start), "{number}: in order, each once");
        }
    }
    ann.wait_for("all delivered", |event| {
        event["summary"] == "2/2" && event["id"].as_str().is_some_and(|id| id.ends_with("/5000"))
    });
}

async fn next(network: &mut Network, what: &str) -> NodeEvent {
    match tokio::time::timeout(DEADLINE, network.next_event()).await {
        Ok(Some(event)) => event,
        _ => panic!("no {what}"),
    }
}

/// The keys of the newest roster, once it has `count` of them.
async fn roster_of(network: &mut Network, count: usize) -> Vec<PeerId> {
    loop {
        if let NodeEvent::Roster { peers, .. } = next(network, "roster").await
            && peers.len() == count
        {
            return peers.iter().map(|peer| peer.peer_id).collect();
        }
    }
}

#[test]
fn fifty_members_have_equal_rosters_within_two_seconds() {
    let _alone = alone();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(fifty_members());
}

async fn fifty_members() {
    let password = || Password::new("open sesame".into());
    let options = HostOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        cost: PasswordCost::TEST,
        ..HostOptions::new(Alias::new("host").unwrap(), password())
    };
    let mut host = Network::host(options, Profile::ephemeral().unwrap()).await.unwrap();
    let target = host.join_addr().unwrap().to_string();
    let mut members = Vec::new();
    for number in 0..50 {
        let alias = Alias::new(&format!("member-{number:02}")).unwrap();
        let options =
            JoinOptions { cost: PasswordCost::TEST, ..JoinOptions::new(&target, alias, password()) };
        members.push(Network::join(options, Profile::ephemeral().unwrap()).unwrap());
    }
    let at_host = roster_of(&mut host, 51).await;
    let all_joined = Instant::now();
    for member in &mut members {
        assert_eq!(roster_of(member, 51).await, at_host);
    }
    let took = all_joined.elapsed();
    assert!(took < Duration::from_secs(2), "rosters were equal after {took:?}");
    members[7].broadcast("hi all").await;
    for (number, member) in members.iter_mut().enumerate().filter(|(number, _)| *number != 7) {
        loop {
            if let NodeEvent::Message { text, .. } = next(member, &format!("message at {number}")).await {
                assert_eq!(text.as_str(), "hi all");
                break;
            }
        }
    }
    for member in members {
        member.leave().await;
    }
    host.leave().await;
}

#[test]
fn a_stranger_on_a_members_port_and_one_byte_at_a_time() {
    let _alone = alone();
    let mut host = Starting::host("host").start();
    let mut ann = Starting::join(&host, "ann").start();
    let port = ann.event("listening")["peer_addr"].as_str().unwrap().to_owned();
    ann.event("authenticated");
    let mut stranger = TcpStream::connect(&port).unwrap();
    stranger.write_all(b"\x00\x00\x00\x05hello").unwrap();
    stranger.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut rest = Vec::new();
    let _ = stranger.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains("hello"));
    host.say(json!({"cmd": "send", "to": "ann", "text": "fine?"}));
    assert_eq!(ann.event("message")["text"], "fine?");
}

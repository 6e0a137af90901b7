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
    Events, HostOptions, JoinOptions, Network, Profile,
    api::NodeEvent,
    model::{Alias, CloseReason, Password, PeerId},
    security::PasswordCost,
};
use serde_json::{Value, json};
use support::{DEADLINE, Starting, resident};

/// One at a time: what is measured here must not measure the test beside it.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Connections from a loopback address, each of which says what strangers say and stays.
async fn crowd_from(from: [u8; 4], target: std::net::SocketAddr, count: usize) -> Vec<tokio::net::TcpStream> {
    use tokio::io::AsyncWriteExt as _;
    let openings: [&[u8]; 4] = [
        b"",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xff",
    ];
    let mut crowd = Vec::new();
    for number in 0..count {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let connecting = tokio::time::timeout(Duration::from_secs(5), socket.connect(target));
        // Whatever happens to them is not our concern.
        if let Ok(Ok(mut stream)) = connecting.await {
            let _ = stream.write_all(openings[number % openings.len()]).await;
            crowd.push(stream);
        }
    }
    crowd
}

#[test]
fn ten_thousand_connections_from_two_addresses() {
    let _alone = alone();
    let mut host = Starting::host("host").listen("127.0.0.1:0").start();
    let addr = host.join_addr();
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    let mut bob = Starting::join(&host, "bob").start();
    bob.event("authenticated");
    ann.wait_for("bob", |event| event["event"] == "peer_up" && event["peer"]["alias"] == "bob");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let target = addr.parse().unwrap();
    let crowd = runtime.block_on(async {
        let tasks: Vec<_> = (0..50)
            .map(|task| tokio::spawn(crowd_from([127, 0, 0, 2 + u8::from(task % 2 == 0)], target, 200)))
            .collect();
        let mut crowd = Vec::new();
        for task in tasks {
            crowd.extend(task.await.unwrap());
        }
        crowd
    });
    assert!(crowd.len() > 5_000, "{} of 10,000 were opened", crowd.len());
    let begun = Instant::now();
    let mut carol = Starting::join(&host, "carol").start();
    carol.event("authenticated");
    let took = begun.elapsed();
    println!("{} connections; joined after {took:?}; the host has {} KiB", crowd.len(), resident(&host));
    assert!(took < Duration::from_secs(20), "the honest join took {took:?}");
    assert!(resident(&host) < 100 * 1024, "the host has {} KiB", resident(&host));
    ann.say(json!({"cmd": "send", "to": "everyone", "text": "still here?", "ref": "1"}));
    for peer in [&mut host, &mut bob, &mut carol] {
        peer.wait_for("ann's word", |event| event["text"] == "still here?");
    }
    assert!(!ann.seen(|event| event["event"] == "peer_down"), "members are not disturbed");
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
    // The link is up before bob stops, and nothing is open on it.
    ann.say(json!({"cmd": "send", "to": "everyone", "text": "warm"}));
    ann.wait_for("word of both", |event| event["event"] == "delivery" && event["summary"] == "2/2");
    bob.signal("STOP");
    for number in 0..1500 {
        let text = format!("{number} {}", "x".repeat(200));
        ann.say(json!({"cmd": "send", "to": "everyone", "text": text, "ref": number.to_string()}));
    }
    let is_number = |number: u32| {
        move |event: &Value| {
            event["event"] == "message" && event["text"].as_str().unwrap().starts_with(&format!("{number} "))
        }
    };
    host.wait_for("the last one", is_number(1499));
    // All of it waits for bob, and nothing is given up.
    let fails = |event: &Value| event["event"] == "delivery" && event["status"] == "failed";
    let of_host = |event: &Value| event["status"] == "delivered" && event["peer"]["alias"] == "host";
    ann.wait_for("the host has the last", |event| of_host(event) && event["ref"] == "1499");
    bob.signal("CONT");
    bob.wait_for("the last that waited", is_number(1499));
    assert_eq!(bob.count(|event| event["event"] == "message" && event["own"] == false), 1501, "each once");
    ann.wait_for("both have the last", |event| event["ref"] == "1499" && event["summary"] == "2/2");
    assert_eq!(ann.count(fails), 0);
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

async fn next(events: &mut Events, what: &str) -> NodeEvent {
    match tokio::time::timeout(DEADLINE, events.next()).await {
        Ok(Some(event)) => event,
        _ => panic!("no {what}"),
    }
}

/// The keys of the newest roster, once it has `count` of them.
async fn roster_of(events: &mut Events, count: usize) -> Vec<PeerId> {
    loop {
        if let NodeEvent::Roster { peers, .. } = next(events, "roster").await
            && peers.len() == count
        {
            return peers.iter().map(|peer| peer.peer_id).collect();
        }
    }
}

#[test]
fn two_hundred_and_fifty_members_have_equal_rosters_and_the_next_is_told_that_there_is_no_room() {
    let _alone = alone();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(full_network());
}

/// Processor time of this process in milliseconds, and resident memory in KiB.
fn used() -> (u64, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after = stat.rsplit_once(')').unwrap().1;
    let ticks: u64 =
        after.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    (ticks * 10, line.split_whitespace().nth(1).unwrap().parse().unwrap())
}

async fn full_network() {
    const MEMBERS: usize = 249;
    let password = || Password::new("open sesame".into());
    let options = HostOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        cost: PasswordCost::TEST,
        ..HostOptions::new(Alias::new("host").unwrap(), password())
    };
    let (host, mut events) = Network::host(options, Profile::ephemeral().unwrap()).await.unwrap();
    let target = host.join_addr().unwrap().to_string();
    let join = |alias: &str| {
        let options = JoinOptions {
            cost: PasswordCost::TEST,
            ..JoinOptions::new(&target, Alias::new(alias).unwrap(), password())
        };
        Network::join(options, Profile::ephemeral().unwrap()).unwrap()
    };
    let (begun, before) = (Instant::now(), used());
    let mut members: Vec<(Network, Events)> =
        (0..MEMBERS).map(|number| join(&format!("member-{number:03}"))).collect();
    let at_host = roster_of(&mut events, MEMBERS + 1).await;
    let all_joined = Instant::now();
    for (_, events) in &mut members {
        assert_eq!(roster_of(events, MEMBERS + 1).await, at_host);
    }
    let (took, equal) = (begun.elapsed(), all_joined.elapsed());
    let after = used();
    println!(
        "{MEMBERS} joined in {took:?}, rosters equal {equal:?} after the last; {} KiB and {} ms of processor time each",
        (after.1 - before.1) / MEMBERS as u64,
        (after.0 - before.0) / MEMBERS as u64
    );
    assert!(equal < Duration::from_secs(2), "rosters were equal {equal:?} after the last");
    // The one after the last is told why not.
    let (_late, mut late) = join("late");
    loop {
        if let NodeEvent::Left { reason, message, .. } = next(&mut late, "refusal").await {
            assert_eq!(reason, CloseReason::NetworkFull);
            assert!(message.as_str().contains("250 members"), "{message}");
            break;
        }
    }
    let said = Instant::now();
    members[7].0.broadcast("hi all").await.unwrap();
    for (number, (_, events)) in members.iter_mut().enumerate().filter(|(number, _)| *number != 7) {
        loop {
            if let NodeEvent::Message { text, .. } = next(events, &format!("message at {number}")).await {
                assert_eq!(text.as_str(), "hi all");
                break;
            }
        }
    }
    println!("a broadcast reached all within {:?}, with {MEMBERS} links to be opened", said.elapsed());
    // All at once: each says its goodbyes and waits for its links to close.
    let leaving: Vec<_> =
        members.into_iter().map(|(member, _)| tokio::spawn(async move { member.leave().await })).collect();
    for member in leaving {
        member.await.unwrap();
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

//! What a program with a right key, or even the right password, may say over TLS, and what must come of it: it is cut
//! off with a reason, and nobody else notices.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use pyile::{
    model::{CloseReason, Held, PeerId, Recipient, Role},
    wire::{BannedStatus, Beat, ByteBuf, Frame, HandedOn, Hello, Refusal, Wanted},
};
use serde_json::{Value, json};
use support::{
    DEADLINE, Peer, Starting, resident,
    wire::{FalseHost, Insider, Link, Stranger, entry, framed, framed_bytes},
};

/// A host, a member of it, where that member listens, and one by hand that was let in.
fn network() -> (Peer, Peer, SocketAddr, Insider) {
    let host = Starting::host("host").start();
    let mut ann = Starting::join(&host, "ann").start();
    let addr = ann.event("listening")["peer_addr"].as_str().unwrap().parse().unwrap();
    ann.event("authenticated");
    let mallory = Insider::join(&host.join_addr(), "mallory");
    ann.wait_for("mallory", |event| event["event"] == "peer_up" && event["peer"]["alias"] == "mallory");
    (host, ann, addr, mallory)
}

fn key_of(mallory: &Insider, alias: &str) -> PeerId {
    mallory.roster.iter().find(|entry| entry.alias.as_str() == alias).unwrap().peer_id
}

fn goodbye(last: Option<Frame>) -> CloseReason {
    match last {
        Some(Frame::Goodbye(refusal) | Frame::Refused(refusal)) => refusal.reason,
        other => panic!("no last word, but {other:?}"),
    }
}

/// Two honest members talk as if nothing had been.
fn still_well(host: &mut Peer, ann: &mut Peer) {
    host.say(json!({"cmd": "send", "to": "ann", "text": "well?"}));
    ann.wait_for("the host's word", |event| event["text"] == "well?");
    ann.say(json!({"cmd": "send", "to": "host", "text": "well"}));
    host.wait_for("ann's word", |event| event["text"] == "well");
    let is_ann_down = |event: &Value| event["event"] == "peer_down" && event["peer"]["alias"] == "ann";
    assert!(!host.seen(is_ann_down));
}

/// What is said on a link in place of a frame, each on a link of its own.
fn no_frames() -> Vec<(&'static str, Vec<u8>)> {
    let mut trailing = Frame::BeatReply(1).encode().to_vec();
    trailing.push(0);
    vec![
        ("giant length prefix", vec![0xff; 4]),
        ("a length just over the limit", (64 * 1024_u32 + 1).to_be_bytes().to_vec()),
        ("unknown tag", framed_bytes(&[99, 1, 2, 3])),
        ("trailing bytes", framed_bytes(&trailing)),
        ("an empty frame", framed_bytes(&[])),
        ("a frame cut short inside", framed_bytes(&[21, 1, 2, 3])),
        ("garbage", vec![0x13; 70_000]),
        ("plain text", b"hello, is anybody there?\r\n".to_vec()),
    ]
}

#[test]
fn what_is_no_frame_ends_the_link_of_a_stranger_before_admission() {
    let mut host = Starting::host("host").start();
    let addr = host.join_addr();
    let stranger = Stranger::new();
    for (what, bytes) in no_frames() {
        let link = stranger.join_link(&addr);
        assert!(matches!(link.next(), Some(Frame::BannedStatus(_))), "{what}");
        link.send_bytes(bytes);
        assert_eq!(goodbye(link.closed()), CloseReason::ProtocolError, "{what}");
    }
    // More than 1 KiB before admission is refused, although it would be a frame afterwards.
    let link = stranger.join_link(&addr);
    link.send(&Frame::Hello(Hello { alias: "x".repeat(1025), addrs: vec![], ke1: vec![] }));
    assert_eq!(goodbye(link.closed()), CloseReason::ProtocolError);
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    still_well(&mut host, &mut ann);
    assert!(!host.seen(|event| event["event"] == "attempt"), "nobody guessed a password");
}

#[test]
fn what_is_no_frame_ends_the_link_of_a_member_and_only_that() {
    let (mut host, mut ann, addr, mallory) = network();
    for (what, bytes) in no_frames() {
        let link = mallory.peer_link(addr);
        link.send_bytes(bytes);
        assert_eq!(goodbye(link.closed()), CloseReason::ProtocolError, "{what}");
    }
    still_well(&mut host, &mut ann);
    mallory.host.send_bytes(framed_bytes(&[99]));
    assert_eq!(goodbye(mallory.host.closed()), CloseReason::ProtocolError);
    host.wait_for("mallory gone", |event| {
        event["event"] == "peer_down" && event["peer"]["alias"] == "mallory"
    });
    still_well(&mut host, &mut ann);
}

#[test]
fn a_truncated_frame_then_fin() {
    let (mut host, mut ann, addr, mallory) = network();
    let ann_key = key_of(&mallory, "ann");
    let whole = framed(&Frame::Batch(mallory.message(Recipient::Peer(ann_key), 1, "half said").into()));
    for cut in [1, 3, 4, 5, whole.len() - 1] {
        let link = mallory.peer_link(addr);
        link.send_bytes(whole[..cut].to_vec());
        link.send_bytes(Vec::new());
        link.closed();
    }
    still_well(&mut host, &mut ann);
    assert!(!ann.seen(|event| event["text"] == "half said"));
    // What was cut off can be said again.
    let link = mallory.peer_link(addr);
    link.send_bytes(whole);
    ann.wait_for("the whole of it", |event| event["text"] == "half said");
}

#[test]
fn one_frame_in_one_byte_segments() {
    let (_host, mut ann, addr, mallory) = network();
    let link = mallory.peer_link(addr);
    let to = Recipient::Peer(key_of(&mallory, "ann"));
    for byte in framed(&Frame::Batch(mallory.message(to, 1, "byte by byte").into())) {
        link.send_bytes(vec![byte]);
    }
    assert_eq!(ann.event("message")["text"], "byte by byte");
    link.find("its acknowledgement", |frame| matches!(frame, Frame::Ack(ack) if ack.kept == 1).then_some(()));
}

#[test]
fn a_replayed_frame_is_shown_once() {
    let (mut host, mut ann, addr, mallory) = network();
    let frame = Frame::Batch(mallory.message(Recipient::Everyone, 1, "once").into());
    let links: Vec<Link> = (0..3).map(|_| mallory.peer_link(addr)).collect();
    for link in &links {
        link.send(&frame);
        link.send(&frame);
    }
    for link in &links {
        // It is acknowledged again, for the sender may not have heard the first.
        link.find("an acknowledgement", |frame| matches!(frame, Frame::Ack(_)).then_some(()));
    }
    still_well(&mut host, &mut ann);
    assert_eq!(ann.count(|event| event["text"] == "once"), 1);
}

#[test]
fn another_members_author_id_is_nobodys_word() {
    let (mut host, mut ann, addr, mallory) = network();
    let host_key = key_of(&mallory, "host");
    let ann_key = key_of(&mallory, "ann");
    for (author, to) in [
        (host_key, Recipient::Everyone),
        (ann_key, Recipient::Everyone),
        (host_key, Recipient::Peer(ann_key)),
    ] {
        let link = mallory.peer_link(addr);
        let mut message = mallory.message(to, 1, "I resign");
        message.stream.author = author;
        link.send(&Frame::Batch(message.into()));
        assert_eq!(goodbye(link.closed()), CloseReason::ProtocolError);
    }
    // Nor one to somebody else.
    let link = mallory.peer_link(addr);
    link.send(&Frame::Batch(mallory.message(Recipient::Peer(host_key), 1, "astray").into()));
    assert_eq!(goodbye(link.closed()), CloseReason::ProtocolError);
    // What is handed on unasked may be an answer that came too late: nothing is made of it.
    let mut message = mallory.message(Recipient::Everyone, 1, "I resign");
    message.stream.author = host_key;
    let wanted = Wanted { direct: false, range: Held { author: host_key, epoch: 1, from: 1, to: 1 } };
    let link = mallory.peer_link(addr);
    link.send(&Frame::HandedOn(HandedOn {
        wanted,
        label: "host".into(),
        batches: vec![message],
        next: None,
    }));
    link.send(&Frame::Batch(mallory.message(Recipient::Peer(ann_key), 1, "well?").into()));
    ann.wait_for("mallory's own word", |event| event["from"]["alias"] == "mallory");
    still_well(&mut host, &mut ann);
    assert!(!ann.seen(|event| {
        event["event"] == "message" && event["text"] != "well?" && event["text"] != "well"
    }));
}

#[test]
fn a_stranger_on_a_members_port_is_told_nothing() {
    let (mut host, mut ann, addr, mallory) = network();
    let stranger = Stranger::new();
    let link = stranger.peer_link(&addr.to_string());
    link.send(&mallory.peer_hello());
    let mut message = mallory.message(Recipient::Everyone, 1, "let me in");
    message.stream.author = stranger.identity.peer_id();
    link.send(&Frame::Batch(message.into()));
    let mut heard = Vec::new();
    while let Some(frame) = link.next() {
        heard.push(frame);
    }
    // Not even which network this is.
    assert!(heard.iter().all(|frame| matches!(frame, Frame::Goodbye(_))), "{heard:?}");
    still_well(&mut host, &mut ann);
    assert!(!ann.seen(|event| event["text"] == "let me in"));
}

#[test]
fn frames_out_of_turn_lead_nowhere_before_admission() {
    let mut host = Starting::host("host").start();
    let addr = host.join_addr();
    let stranger = Stranger::new();
    let link = stranger.join_link(&addr);
    assert!(matches!(link.next(), Some(Frame::BannedStatus(BannedStatus::Password { left: 3 }))));
    // A proof that nobody asked for, and a frame of members.
    link.send(&Frame::Proof(ByteBuf(vec![1; 64])));
    assert_eq!(goodbye(link.closed()), CloseReason::ProtocolError);
    let link = stranger.join_link(&addr);
    link.send(&Frame::RosterRequest);
    link.find("status", |frame| matches!(frame, Frame::BannedStatus(_)).then_some(()));
    assert_eq!(goodbye(link.closed()), CloseReason::ProtocolError);
    // An empty Ke1 means "you know me", which the host does not.
    let link = stranger.join_link(&addr);
    link.send(&Frame::Hello(Hello { alias: "mallory".into(), addrs: vec![], ke1: vec![] }));
    link.find("status", |frame| matches!(frame, Frame::BannedStatus(_)).then_some(()));
    let last = link.closed();
    assert!(matches!(last, Some(Frame::Goodbye(_) | Frame::Refused(_))), "{last:?}");
    host.forget_past();
    host.say(json!({"cmd": "peers"}));
    assert_eq!(host.event("roster")["peers"].as_array().unwrap().len(), 1);
}

#[test]
fn who_does_not_finish_the_handshake_or_the_admission_is_let_go() {
    let mut host = Starting::host("host").start();
    let addr = host.join_addr();
    // One says nothing at all, one stops in the middle of its first words, one after the handshake.
    let mut silent = TcpStream::connect(&addr).unwrap();
    let mut half = TcpStream::connect(&addr).unwrap();
    half.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252]).unwrap();
    let stranger = Stranger::new();
    let secured = stranger.join_link(&addr);
    for stream in [&mut silent, &mut half] {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut rest = Vec::new();
        // Closed, by a word of TLS or without one, and not only given up here.
        let ended = stream.read_to_end(&mut rest).map_err(|error| error.kind());
        assert!(!matches!(ended, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)), "{ended:?}");
    }
    assert_eq!(goodbye(secured.closed()), CloseReason::TimedOut);
    assert!(!host.seen(|event| event["event"] == "attempt"), "nobody guessed a password");
}

#[test]
fn who_asks_without_end_and_never_reads_is_dropped_and_costs_no_memory() {
    let (mut host, mut ann, addr, mallory) = network();
    let link = mallory.peer_link(addr);
    link.stop_reading();
    let before = resident(&ann);
    let beats: Vec<u8> = (0..10_000).flat_map(|_| framed(&Frame::Beat(Beat::default()))).collect();
    let mut sent = 0;
    while link.send_and_wait(beats.clone()) {
        sent += beats.len();
        assert!(sent < 1 << 30, "it still answers somebody who reads nothing");
    }
    println!("dropped after {} KiB of beats", sent / 1024);
    assert!(resident(&ann) < before + 20 * 1024, "{} KiB before, {} after", before, resident(&ann));
    still_well(&mut host, &mut ann);
}

/// What stands in a terminal's way of showing only text.
const HOSTILE: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\r\n\u{202e}gnp\u{9b}31m\u{0}\u{ad}tail";

fn is_clean(value: &Value) -> bool {
    let text = value.to_string();
    let is_raw = |c: char| {
        (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    // JSON writes control characters as escapes.
    !text.chars().any(is_raw)
        && !text.contains("\\u001b")
        && !text.contains("\\u0007")
        && !text.contains("\\u0000")
}

#[test]
fn hostile_text_everywhere_text_is_shown() {
    let (mut host, mut ann, addr, mallory) = network();
    let link = mallory.peer_link(addr);
    link.send_bytes(mallory.raw_message(Recipient::Everyone, 1, HOSTILE));
    let message = ann.event("message");
    assert!(message["text"].as_str().unwrap().ends_with("tail"), "{message}");
    link.send(&Frame::Goodbye(Refusal { reason: CloseReason::Left, detail: HOSTILE.into() }));
    // As an alias it is refused.
    let stranger = Stranger::new();
    let join = stranger.join_link(&host.join_addr());
    join.send(&Frame::Hello(Hello { alias: HOSTILE.into(), addrs: vec![], ke1: vec![] }));
    join.closed();
    // As the words of a ban, a search, an address, a command.
    host.say(json!({"cmd": "ban", "peer": "mallory", "reason": HOSTILE}));
    host.event("banned");
    host.say(json!({"cmd": "send", "to": HOSTILE, "text": HOSTILE}));
    host.event("error");
    host.raw(HOSTILE);
    host.event("error");
    still_well(&mut host, &mut ann);
    let mut wrong =
        Starting::new("ann", &["join", HOSTILE.trim_end_matches('\u{0}').replace('\u{0}', "").as_str()])
            .start();
    wrong.event("left");
    for peer in [&mut host, &mut ann, &mut wrong] {
        for event in peer.events_so_far() {
            assert!(is_clean(event), "{event}");
        }
    }
    // A host may say such things too.
    let mut false_host = FalseHost::new();
    false_host.network.name = HOSTILE.into();
    let mut bob = Starting::new("bob", &["join", &false_host.addr()]).start();
    let link = false_host.admit();
    bob.event("authenticated");
    link.send(&Frame::Goodbye(Refusal { reason: CloseReason::Kicked, detail: HOSTILE.into() }));
    bob.event("left");
    for event in bob.events_so_far() {
        assert!(is_clean(event), "{event}");
    }
}

#[test]
fn a_lost_roster_delta_is_made_up_for() {
    let mut host = FalseHost::new();
    let mut ann = Starting::new("ann", &["join", &host.addr()]).start();
    let link = host.admit();
    ann.event("authenticated");
    let nowhere = "127.0.0.1:9".parse().unwrap();
    let [lost, came] = [[1; 32], [2; 32]].map(PeerId);
    host.add(entry(lost, "lost", Role::Member, nowhere));
    host.add(entry(came, "came", Role::Member, nowhere));
    // Only the second change arrives.
    link.send(&Frame::RosterDelta(host.delta(came)));
    link.find("the question for the whole", |frame| matches!(frame, Frame::RosterRequest).then_some(()));
    link.send(&Frame::RosterWhole(Box::new(host.header())));
    link.send(&host.page());
    for alias in ["lost", "came"] {
        ann.rewind();
        ann.wait_for(alias, |event| event["event"] == "peer_up" && event["peer"]["alias"] == alias);
    }
    // One that the host has not signed is not taken on, and a host that sends such a thing whole is left.
    let forged = PeerId([3; 32]);
    host.add(entry(forged, "forged", Role::Member, nowhere));
    let mut delta = host.delta(forged);
    delta.signature.0[0] ^= 1;
    link.send(&Frame::RosterDelta(delta));
    link.find("the question for the whole", |frame| matches!(frame, Frame::RosterRequest).then_some(()));
    let mut header = host.header();
    header.signature.0[0] ^= 1;
    link.send(&Frame::RosterWhole(Box::new(header)));
    link.send(&host.page());
    assert_eq!(goodbye(link.closed()), CloseReason::ProtocolError);
    ann.wait_for("the blame", |event| {
        event["event"] == "error" && event["message"].as_str().unwrap().contains("not signed")
    });
    assert!(!ann.seen(|event| event["peer"]["alias"] == "forged"));
}

//! What a changed client tries that has the password, or tries to guess it: each attack gets nowhere, nobody else notices,
//! and beside it stands what an honest one gets. What needs no sockets is attacked in `proto`'s own tests;
//! `docs/security.md` names for each threat the test that holds it.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::net::{IpAddr, SocketAddr};

use pyile::{
    model::{CloseReason, Timestamp, limits},
    wire::{BannedStatus, Frame},
};
use serde_json::{Value, json};
use support::{
    Peer, Starting,
    wire::{Insider, Stranger},
};

fn network() -> (Peer, Peer, String) {
    let host = Starting::host("host").start();
    let mut bob = Starting::join(&host, "bob").start();
    bob.event("authenticated");
    let addr = host.join_addr();
    (host, bob, addr)
}

/// The host and a member talk as if nothing had been.
fn still_well(host: &mut Peer, bob: &mut Peer) {
    host.say(json!({"cmd": "send", "to": "bob", "text": "well?"}));
    bob.wait_for("the host's word", |event| event["text"] == "well?");
    bob.say(json!({"cmd": "send", "to": "host", "text": "well"}));
    host.wait_for("bob's word", |event| event["text"] == "well");
}

#[test]
fn names_that_deceive_are_not_let_in() {
    let (mut host, mut bob, addr) = network();
    for name in [
        "bob\u{2800}",
        "bob\u{2062}",
        "bob\u{1D173}",
        "bob\u{13430}",
        "bob\u{E000}",
        "bob\u{FFFC}",
        "\u{2800}\u{2800}",
        "b\u{43E}b",
        "bob\u{200D}",
        "",
    ] {
        let refusal = Insider::try_join(&addr, name).map(|_| ()).unwrap_err();
        assert_eq!(refusal.reason, CloseReason::AliasNotAllowed, "{name:?}: {}", refusal.detail);
    }
    for name in ["b0b", "BOB"] {
        let refusal = Insider::try_join(&addr, name).map(|_| ()).unwrap_err();
        assert_eq!(refusal.reason, CloseReason::AliasTaken, "{name:?}: {}", refusal.detail);
    }
    assert!(Insider::try_join(&addr, "mallory").is_ok(), "the control");
    still_well(&mut host, &mut bob);
}

#[test]
fn large_and_early_frames_cost_their_sender_the_link() {
    let (mut host, mut bob, addr) = network();
    let addrs =
        |count: u16| -> Vec<SocketAddr> { (0..count).map(|port| ([10, 0, 0, 1], port).into()).collect() };
    for (name, frame, is_over) in [
        ("mallory", Frame::HandoverReady(addrs(5000).into()), true),
        ("trudy", Frame::HandoverReady(addrs(9).into()), true),
        ("oscar", Frame::HandoverReady(addrs(8).into()), false),
        ("eve", Frame::HandoverTaken, false),
    ] {
        let mallory = Insider::join(&addr, name);
        for _ in 0..20 {
            mallory.host.send(&frame);
        }
        if is_over {
            let last = mallory.host.closed();
            assert!(
                matches!(last, Some(Frame::Goodbye(refusal)) if refusal.reason == CloseReason::ProtocolError)
            );
        } else {
            // Out of turn: nothing is made of it.
            mallory.host.send(&Frame::RosterRequest);
            mallory.host.find("the roster", |frame| matches!(frame, Frame::RosterWhole(_)).then_some(()));
        }
    }
    still_well(&mut host, &mut bob);
}

#[test]
fn questions_without_end_cost_their_asker_the_link() {
    let (mut host, mut bob, addr) = network();
    let peer_addr: SocketAddr = {
        bob.rewind();
        bob.event("listening")["peer_addr"].as_str().unwrap().parse().unwrap()
    };
    let mallory = Insider::join(&addr, "mallory");
    bob.wait_for("mallory", |event| event["event"] == "peer_up" && event["peer"]["alias"] == "mallory");
    let link = mallory.peer_link(peer_addr);
    let mut asked = 0;
    let last = loop {
        link.send(&Frame::CatchUp(Timestamp(0)));
        asked += 1;
        let answer = link.find("an answer or the end", |frame| match frame {
            Frame::Held(_) | Frame::Goodbye(_) => Some(frame),
            _ => None,
        });
        if let Frame::Goodbye(refusal) = answer {
            break refusal.reason;
        }
        assert!(asked < 1000, "it is answered without end");
    };
    assert_eq!(last, CloseReason::ProtocolError);
    assert!(asked >= 16, "an honest one is answered: {asked}");
    still_well(&mut host, &mut bob);
}

#[test]
fn guesses_from_a_whole_neighbourhood_end_with_one_ban_of_it() {
    let (mut host, mut bob, addr) = network();
    let stranger = Stranger::new();
    let ip = |last: usize| IpAddr::from([127, 44, 7, u8::try_from(last).unwrap()]);
    let known = Insider::join(&addr, "carol");
    let mut asked = 0;
    for number in 1..=40 {
        for _ in 0..4 {
            let (status, _) = stranger.guesses_wrong(ip(number), &addr);
            asked += usize::from(matches!(status, BannedStatus::Password { .. }));
        }
    }
    assert_eq!(asked, 3 * limits::CROWDED, "three for each of so many addresses, then nobody there is heard");
    let is_wide = |event: &Value| event["event"] == "admission" && event["bans"][0]["prefix"] == 24;
    let bans = host.wait_for("the ban", is_wide)["bans"].clone();
    assert_eq!((bans.as_array().unwrap().len(), &bans[0]["addr"]), (1, &json!("127.44.7.0")));
    let again = known.stranger.join_link_from(ip(200), &addr);
    assert!(matches!(again.next(), Some(Frame::BannedStatus(BannedStatus::Known))), "who is known comes in");
    assert!(Insider::try_join(&addr, "dave").is_ok(), "and whoever comes from elsewhere");
    host.say(json!({"cmd": "unban", "addr": "127.44.7.9"}));
    host.wait_for("the ban lifted", |event| event["event"] == "admission" && event["bans"] == json!([]));
    let (status, _) = stranger.guesses_wrong(ip(9), &addr);
    assert!(matches!(status, BannedStatus::Password { .. }));
    still_well(&mut host, &mut bob);
}

//! The classic wire against recorded conversations of the Python program, on the real binary. That the recordings are
//! true is what `tests/interop.rs` checks, where that program is to be had.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

use serde_json::json;
use support::{
    Peer, Starting,
    transcript::{Ask, Script, Side},
};

fn classic_host() -> Peer {
    Starting::host("host").args(&["--classic"]).start()
}

fn join_link(host: &Peer) -> TcpStream {
    TcpStream::connect(host.join_addr()).unwrap()
}

fn guest(host: &Peer) -> Script {
    Script::new(Side::Joiner, join_link(host), "127.0.0.1", "127.0.0.1")
}

fn has(peer: &str) -> impl Fn(&serde_json::Value) -> bool {
    move |event| {
        event["event"] == "roster" && event["peers"].as_array().unwrap().iter().any(|p| p["alias"] == peer)
    }
}

/// Has a peer say something to everyone or to one.
fn send(peer: &mut Peer, text: &str, to: &str) {
    peer.say(json!({"cmd": "send", "to": to, "text": text, "ref": text}));
}

#[test]
fn a_host_speaks_as_the_python_program_does() {
    let mut host = classic_host();
    guest(&host).play("admitted", |asked| {
        host.wait_for("its label", has("script"));
        host.rewind();
        match asked {
            Ask::Broadcast(text) => send(&mut host, text, "everyone"),
            Ask::Direct(text) => send(&mut host, text, "script"),
            Ask::Close => unreachable!("the joiner does"),
        }
    });
    host.rewind();
    for text in ["hello, ä€}{\"", "psst"] {
        let message = host.wait_for(text, |event| event["event"] == "message" && event["text"] == text);
        assert_eq!((&message["from"]["wire"], message.get("claims")), (&json!("classic"), None));
    }
    let delivered =
        |event: &serde_json::Value| event["event"] == "delivery" && event["status"] == "delivered";
    host.rewind();
    for text in ["welcome", "what?"] {
        assert_eq!(host.wait_for("delivered", delivered)["ref"], text);
    }
    let down = host.event("peer_down");
    assert_eq!(down["reason"], "left");
}

#[test]
fn wrong_passwords_ban_and_the_ban_is_told() {
    let mut host = classic_host();
    for left in [2, 1, 0] {
        guest(&host).play("refused", |_| unreachable!());
        assert_eq!(host.event("attempt")["left"], left);
    }
    assert_eq!(host.event("banned")["addr"], "127.0.0.1");
    guest(&host).play("banned", |asked| assert_eq!(asked, Ask::Close));
    let mut native = Starting::join(&host, "ann").start();
    native.event("banned");
    assert_eq!(native.exit_code(), 5, "one list for all");
}

fn classic_join(listener: &TcpListener, alias: &str) -> Starting {
    let target = listener.local_addr().unwrap().to_string();
    Starting::new(alias, &["join", &target, "--classic"])
}

#[test]
fn a_member_speaks_as_the_python_program_does() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut ann = classic_join(&listener, "ann").start();
    let (join, _) = listener.accept().unwrap();
    let mut script = Script::new(Side::Host, join, "127.0.0.1", "127.0.0.1");
    script.play("admitted", |asked| match asked {
        Ask::Broadcast(text) => {
            ann.event("authenticated");
            send(&mut ann, text, "everyone");
        }
        Ask::Direct(text) => {
            // The host is known by its address until it has said something, or has answered.
            ann.wait_for("its label", has("script"));
            send(&mut ann, text, "script");
        }
        Ask::Close => ann.say(json!({"cmd": "leave"})),
    });
    assert_eq!(ann.exit_code(), 0);
}

#[test]
fn a_member_is_told_no_by_a_classic_host() {
    for (transcript, password, code) in [("refused", "wrong", 4), ("banned", "open sesame", 5)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ann = classic_join(&listener, "ann").password(password).start();
        let (join, _) = listener.accept().unwrap();
        Script::new(Side::Host, join, "127.0.0.1", "127.0.0.1").play(transcript, |asked| {
            assert_eq!(asked, Ask::Close);
        });
        assert_eq!(ann.exit_code(), code, "{transcript}");
    }
}

// ---- Nothing goes in clear that was not asked for ----

#[test]
fn without_the_option_nothing_is_said_in_clear() {
    // A host: a silent joiner is told nothing at all.
    let host = Starting::host("host").start();
    let mut silent = join_link(&host);
    let mut told = Vec::new();
    silent.set_read_timeout(Some(support::DEADLINE)).unwrap();
    let _ = silent.read_to_end(&mut told);
    assert_eq!(told, b"");
    // A joiner: it speaks first, and all that it says is TLS, whatever it is told.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let mut ann = Starting::new("ann", &["join", &target]).start();
    let (mut join, _) = listener.accept().unwrap();
    let mut said = [0; 1024];
    let count = join.read(&mut said).unwrap();
    assert_eq!(said[0], 0x16, "a TLS handshake");
    join.write_all(br#"{"banned": false}"#).unwrap();
    let mut rest = Vec::new();
    let _ = join.read_to_end(&mut rest);
    let all = [&said[..count], &rest].concat();
    assert!(!String::from_utf8_lossy(&all).contains("sesame"));
    assert_eq!(ann.exit_code(), 3);
}

#[test]
fn silent_ones_do_not_keep_an_honest_joiner_waiting() {
    let host = classic_host();
    let silent: Vec<TcpStream> = (0..300).map(|_| join_link(&host)).collect();
    // They are spoken to as classic joiners are.
    let mut status = [0; 64];
    let count = (&silent[299]).read(&mut status).unwrap();
    assert_eq!(&status[..count], br#"{"banned":false}"#);
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    guest(&host).play("refused", |_| unreachable!());
}

#[test]
fn an_object_without_an_end_is_cut_off_at_4_kib() {
    let mut host = classic_host();
    for (text, is_too_much) in [("x".repeat(4000), false), ("x".repeat(4100), true)] {
        let mut link = join_link(&host);
        link.set_read_timeout(Some(support::DEADLINE)).unwrap();
        let mut status = [0; 64];
        let count = link.read(&mut status).unwrap();
        assert_eq!(&status[..count], br#"{"banned":false}"#);
        write!(link, r#"{{"shadow": "{text}"#).unwrap();
        if !is_too_much {
            // With its end it is taken for what it is: a password that no host has.
            write!(link, r#""}}"#).unwrap();
            host.event("attempt");
        }
        let mut rest = Vec::new();
        let _ = link.read_to_end(&mut rest);
        let all = String::from_utf8_lossy(&rest);
        assert_eq!(all.contains("authenticated"), !is_too_much, "{all}");
    }
    guest(&host).play("refused", |_| unreachable!());
}

fn down_to_clear(allowed: bool, asked: bool) -> impl Fn(&serde_json::Value) -> bool {
    move |event| {
        event["event"] == "cleartext" && event["allowed"] == allowed && event.get("asked").is_some() == asked
    }
}

/// A classic peer that is there and says nothing; it lives as long as the script does not beat.
fn guest_that_stays(host: &Peer) -> Script {
    let mut script = guest(host);
    script.play("stays", |_| unreachable!());
    script
}

#[test]
fn a_network_that_becomes_classic_asks_before_anything_goes_in_clear() {
    let mut host = Starting::host("host").start();
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    let (addr, dir) = (host.join_addr(), host.dir());
    assert_eq!(host.leave(), 0);
    ann.wait_for("the host gone", |event| event["event"] == "link");
    let mut host = Starting::host("host").in_dir(&dir).listen(&addr).args(&["--classic"]).start();
    ann.wait_for("asked", down_to_clear(false, true));
    let mut bob = guest_that_stays(&host);
    let is_here = has("127.0.0.1");
    ann.wait_for("bob", &is_here);
    send(&mut ann, "secret", "everyone");
    let failed = ann.wait_for("bob not", |event| event["event"] == "delivery" && event["status"] == "failed");
    assert_eq!(failed["reason"], "not_in_clear");
    ann.wait_for("the host", |event| event["event"] == "delivery" && event["status"] == "delivered");
    ann.say(json!({"cmd": "cleartext", "allow": true}));
    ann.wait_for("allowed", down_to_clear(true, false));
    send(&mut ann, "no secret", "127.0.0.1");
    bob.words.insert("$host_alias".into(), "ann".into());
    bob.play("told", |_| {});
    ann.wait_for("told", |event| event["event"] == "delivery" && event["ref"] == "no secret");
    // The host itself may keep from it too.
    host.say(json!({"cmd": "cleartext", "allow": false}));
    host.wait_for("not allowed", down_to_clear(false, false));
    send(&mut host, "psst", "127.0.0.1");
    let error = host.wait_for("refused", |event| event["event"] == "error" && event["ref"] == "psst");
    assert!(error["message"].as_str().unwrap().contains("/cleartext on"), "{error}");
}

#[test]
fn a_host_that_was_joined_by_its_key_is_not_joined_in_clear() {
    let host = classic_host();
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    assert_eq!(ann.leave(), 0);
    let mut again = Starting::join(&host, "ann").profile_of(&ann).args(&["--classic"]).start();
    let error = again.event("error");
    assert!(error["message"].as_str().unwrap().contains("was joined before over encrypted links"), "{error}");
    assert_eq!(again.exit_code(), 3);
    let mut both = Starting::join(&host, "ann").args(&["--classic", "--no-cleartext"]).start();
    assert_eq!(both.exit_code(), 2);
    // To whom it is new it is a classic host like any other.
    let mut bob = Starting::join(&host, "bob").args(&["--classic"]).start();
    assert_eq!(bob.event("authenticated")["host"]["wire"], "classic");
    let mut carl = Starting::join(&host, "carl").start();
    carl.event("authenticated");
    bob.wait_for("carl", |event| {
        event["event"] == "roster" && event["peers"].as_array().is_some_and(|peers| peers.len() == 3)
    });
    send(&mut bob, "hello", "everyone");
    carl.wait_for("hello", |event| event["event"] == "message" && event["text"] == "hello");
}

//! The classic wire against recorded conversations of the Python program, on the real binary. That the recordings are
//! true is what `tests/interop.rs` checks, where that program is to be had.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::net::{TcpListener, TcpStream};

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

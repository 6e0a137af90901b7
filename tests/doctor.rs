//! `pyile doctor` against everything that may stand where a host should: each names its cause and the next step. What
//! needs machines of their own is in `namespaces.rs`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
};

use serde_json::{Value, json};
use support::{Peer, Starting, diagnose, free_port};

/// A server that says something at once, or once it was spoken to.
fn server(speaks_first: bool, words: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut heard = [0; 512];
                if !speaks_first && stream.read(&mut heard).is_err() {
                    return;
                }
                let _ = stream.write_all(words);
                // Whatever else is said makes no sense to it.
                while stream.read(&mut heard).is_ok_and(|count| count > 0) {}
            });
        }
    });
    addr
}

/// How a check stands, its words, and the exit code.
fn found(target: &str, check: &str, args: &[&str], password: Option<&str>) -> (String, String, i32) {
    let (findings, code) = diagnose(target, args, password);
    let finding = findings.iter().find(|finding| finding["check"] == check);
    let finding = finding.unwrap_or_else(|| panic!("no {check} in {findings:#?}"));
    let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    (text("verdict"), format!("{} → {}", text("message"), text("next")), code)
}

#[test]
fn closed_port() {
    let target = format!("127.0.0.1:{}", free_port());
    let (verdict, words, code) = found(&target, "port", &[], None);
    assert_eq!((verdict.as_str(), code), ("bad", 3));
    assert!(words.contains("nothing listens at port") && words.contains("is pyile running there"), "{words}");
}

#[test]
fn unknown_name() {
    let (verdict, words, code) = found("no-such-machine.invalid", "name", &[], None);
    assert_eq!((verdict.as_str(), code), ("bad", 3));
    assert!(words.contains("nobody here knows that name") && words.contains("IP address"), "{words}");
}

#[test]
fn ssh_and_web_servers() {
    for (addr, what) in [
        (server(true, b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n"), "an SSH server (SSH-2.0-OpenSSH_9.2p1 Debian)"),
        (
            server(false, b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n"),
            "a web server (HTTP/1.1 400 Bad Request)",
        ),
        (server(true, b"{\"banned_status\": false}"), "a classic Pyile host, it seems"),
    ] {
        let (verdict, words, code) = found(&addr.to_string(), "host", &[], None);
        assert_eq!((verdict.as_str(), code), ("bad", 3), "{words}");
        assert!(words.contains(what), "{words}");
        assert!(words.contains("check the port") || words.contains("--classic"), "{words}");
    }
}

#[test]
fn a_server_that_never_stops_talking() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || while stream.write_all(&[b'A'; 4096]).is_ok() {});
        }
    });
    let (verdict, words, code) = found(&addr.to_string(), "host", &[], None);
    assert_eq!((verdict.as_str(), code), ("bad", 3), "{words}");
    assert!(words.len() < 2048, "{} bytes", words.len());
}

#[test]
fn another_version() {
    // A later pyile knows only its own ALPN: TLS answers with the alert no_application_protocol (120).
    let addr = server(false, &[21, 3, 3, 0, 2, 2, 120]);
    let (verdict, words, code) = found(&addr.to_string(), "host", &[], None);
    assert_eq!((verdict.as_str(), code), ("bad", 6), "{words}");
    assert!(words.contains("another version") && words.contains("pyile --version"), "{words}");
}

#[test]
fn an_open_host_a_wrong_password_and_a_ban() {
    let mut host = Starting::host("host").start();
    let target = host.join_addr();
    // Only looking costs no attempt.
    for _ in 0..5 {
        let (verdict, words, code) = found(&target, "admission", &[], None);
        assert_eq!((verdict.as_str(), code), ("good", 0));
        assert!(words.contains("3 attempts are left"), "{words}");
    }
    let (verdict, words, code) = found(&target, "join", &["--alias", "dora"], Some("wrong"));
    assert_eq!((verdict.as_str(), code), ("bad", 4));
    assert!(words.contains("wrong password") && words.contains("2 attempts are left"), "{words}");
    host.event("attempt");
    let (verdict, words, code) = found(&target, "peer_port", &["--alias", "dora"], Some("open sesame"));
    assert_eq!((verdict.as_str(), code), ("good", 0));
    assert!(words.contains("is reached by host"), "{words}");
    host.wait_for("its leave", |event| event["event"] == "peer_down" && event["reason"] == "left");
    host.say(json!({"cmd": "ban", "addr": "127.0.0.1", "reason": "spam"}));
    host.event("banned");
    let (verdict, words, code) = found(&target, "admission", &[], None);
    assert_eq!((verdict.as_str(), code), ("bad", 5));
    assert!(words.contains("banned") && words.contains("spam") && words.contains("Admin (F3)"), "{words}");
}

#[test]
fn a_host_with_another_key() {
    let first = Starting::host("host").start();
    let target = first.join_addr();
    let member: Peer = {
        let mut member = Starting::join(&first, "ann").start();
        member.event("authenticated");
        member.leave();
        member
    };
    drop(first);
    let _second = Starting::host("host").listen(&target).start();
    let dir = member.dir();
    let data_dir = dir.path().to_str().unwrap();
    let (verdict, words, code) = found(&target, "host", &["--data-dir", data_dir], None);
    assert_eq!((verdict.as_str(), code), ("bad", 3), "{words}");
    assert!(words.contains("and before it had") && words.contains("fingerprint"), "{words}");
}

#[test]
fn a_profile_in_use_still_looks() {
    let mut host = Starting::host("host").start();
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    let dir = ann.dir();
    let args = ["--data-dir", dir.path().to_str().unwrap()];
    let (findings, code) = diagnose(&host.join_addr(), &args, Some("open sesame"));
    assert_eq!(code, 0);
    let join: Vec<&Value> = findings.iter().filter(|finding| finding["check"] == "join").collect();
    assert_eq!(join[0]["verdict"], "skipped");
    assert_eq!(host.leave(), 0);
}

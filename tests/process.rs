//! What the system and its user do to the process: signals, a closed output, a wrong clock, a taken port, bad
//! configuration.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::TcpListener,
    process::Command,
    sync::Arc,
};

use serde_json::{Value, json};
use support::{Peer, Starting};

fn joined(starting: Starting) -> Peer {
    let mut peer = starting.start();
    peer.event("authenticated");
    peer
}

fn said(peer: &mut Peer, to: &mut Peer, text: &str) -> Value {
    peer.say(json!({"cmd": "send", "to": "everyone", "text": text, "ref": text}));
    let heard = to.wait_for(text, |event| event["own"] == false && event["text"] == text);
    // Whoever leaves at once may leave before it is kept there; who is away has it later.
    peer.wait_for("that it is kept", |event| event["ref"] == text && event["status"] == "delivered");
    heard
}

fn is_down(alias: &str) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == "peer_down" && event["peer"]["alias"] == alias
}

#[test]
fn sigterm_sigint_and_sighup_leave_in_order() {
    let mut host = Starting::host("host").start();
    for (signal, alias) in [("TERM", "ann"), ("INT", "bob"), ("HUP", "carol")] {
        let mut peer = joined(Starting::join(&host, alias).heeding_hangup());
        said(&mut peer, &mut host, &format!("before {signal}"));
        peer.signal(signal);
        assert_eq!(peer.event("left")["reason"], "left", "{signal}");
        assert_eq!(peer.exit_code(), 0, "{signal}");
        assert_eq!(
            host.wait_for("its word", is_down(alias))["reason"],
            "left",
            "it said goodbye after {signal}"
        );
        // What was said is kept.
        let kept = support::history_of(&peer.dir(), &[]);
        assert!(kept.iter().any(|message| message["text"] == format!("before {signal}")), "{signal}");
    }
    let mut dave = joined(Starting::join(&host, "dave"));
    host.terminate();
    assert_eq!(host.exit_code(), 0);
    assert_eq!(dave.wait_for("the host's goodbye", is_down("host"))["reason"], "left");
}

#[test]
fn a_closed_stdout_ends_the_session_in_order() {
    let mut host = Starting::host("host").start();
    let ann = Starting::join(&host, "ann"); // Its directory lives as long as this.
    let mut child = ann.command().spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("\"authenticated\"") {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "it is let in");
    }
    drop(output);
    // It notices with the next thing that it has to tell.
    host.event("peer_up");
    host.say(json!({"cmd": "send", "to": "everyone", "text": "are you listening?"}));
    assert_eq!(host.wait_for("its goodbye", is_down("ann"))["reason"], "left");
    let status = child.wait().unwrap();
    assert!(status.code().is_some(), "not by a signal: {status}");
    // Whether ann has the last message is known by nobody here but the host.
    assert!([0, 10].contains(&host.leave()));
}

#[test]
fn a_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let mut host = Starting::host("host").listen(&addr).start();
    let error = host.event("error");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("in use by another program") && message.contains(&addr), "{error}");
    assert_eq!(host.exit_code(), 7);
}

#[test]
fn two_hosts_on_one_port() {
    let first = Starting::host("host").start();
    let mut second = Starting::host("usurper").listen(&first.join_addr()).start();
    assert_eq!(second.event("left")["reason"], "cannot_listen");
    assert_eq!(second.exit_code(), 7);
    // The first one does not notice.
    let mut ann = joined(Starting::join(&first, "ann"));
    assert_eq!(ann.leave(), 0);
}

#[test]
fn two_instances_on_one_profile() {
    let mut host = Starting::host("host").start();
    let mut ann = joined(Starting::join(&host, "ann"));
    let mut second = Starting::join(&host, "eve").profile_of(&ann).start();
    let message = second.event("error")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("in use by another pyile") && message.contains("--profile"), "{message}");
    assert_eq!(second.exit_code(), 2);
    said(&mut ann, &mut host, "undisturbed");
}

#[test]
fn bad_configuration() {
    for (text, words) in [
        ("alias = \"ann\"\nrejoin_fr = 10\n", &["config.toml", "rejoin_fr"][..]),
        ("attempts = \"three\"\n", &["config.toml", "attempts"]),
        ("attempts = [\n", &["config.toml", "line"]),
        ("attempts = 0\n", &["config.toml", "attempts", "0"]),
        ("members = 1001\n", &["config.toml", "members", "1001", "1000"]),
    ] {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        std::fs::create_dir(dir.path().join("pyile")).unwrap();
        std::fs::write(dir.path().join("pyile/config.toml"), text).unwrap();
        let mut host = Starting::host("host").in_dir(&dir).start();
        let message = host.event("error")["message"].as_str().unwrap().to_owned();
        for word in words {
            assert!(message.contains(word), "{text:?}: no {word:?} in {message}");
        }
        assert_eq!(host.exit_code(), 2, "{text}");
    }
}

#[test]
fn values_that_are_too_long() {
    let long_name = "n".repeat(65);
    let long_alias = "a".repeat(33);
    for (starting, words) in [
        (Starting::host("host").password(&"p".repeat(1025)), &["1025 bytes", "1024"][..]),
        (
            Starting::new("host", &["host", "--listen", "127.0.0.1:0", "--network", &long_name]),
            &["network", "64"],
        ),
        (Starting::host(&long_alias), &["33", "32"]),
    ] {
        let mut host = starting.start();
        let message = host.event("error")["message"].as_str().unwrap().to_owned();
        for word in words {
            assert!(message.contains(word), "no {word:?} in {message}");
        }
        assert_eq!(host.exit_code(), 2, "{message}");
    }
}

/// False when this system has no `faketime`: the test then proves nothing.
fn can_lie_about_the_time() -> bool {
    let there = Command::new("faketime").arg("--version").output().is_ok();
    if !there {
        eprintln!("SKIPPED: a wrong clock needs the program faketime");
    }
    there
}

#[test]
fn clocks_a_day_fast_and_a_day_slow() {
    if !can_lie_about_the_time() {
        return;
    }
    let mut host = Starting::host("host").start();
    let mut fast = joined(Starting::join(&host, "fast").clock("+1d"));
    let mut slow = joined(Starting::join(&host, "slow").clock("-1d"));
    // One that could be taken for somebody whose messages have waited.
    let mut late = joined(Starting::join(&host, "late").clock("-1h"));
    for peer in [&mut fast, &mut slow, &mut late] {
        peer.wait_for("four", |event| {
            event["event"] == "roster" && event["peers"].as_array().unwrap().len() == 4
        });
    }
    for (number, from) in [0, 1, 2, 3, 0, 1, 2, 3].into_iter().enumerate() {
        let mut peers = [&mut host, &mut fast, &mut slow, &mut late];
        let text = format!("number {number}");
        peers[from].say(json!({"cmd": "send", "to": "everyone", "text": text}));
        for (_, peer) in peers.iter_mut().enumerate().filter(|(other, _)| *other != from) {
            peer.wait_for(&text, |event| event["text"] == text && event["own"] == false);
        }
    }
    // Everybody is told whose clock is wrong, and by how much.
    let is_told = |event: &Value| event["event"] == "clock" && event["peer"]["alias"] == "fast";
    host.rewind();
    let clock = host.wait_for("a word on the clock", is_told);
    assert!((86_000_000..87_000_000).contains(&clock["ahead_ms"].as_i64().unwrap()), "{clock}");
    for peer in [&mut host, &mut fast, &mut slow, &mut late] {
        assert!(!peer.seen(|event| event["event"] == "peer_down"));
    }
    // What was said stands in the order in which it was said, whatever the clocks say.
    for mut peer in [late, slow, fast, host] {
        assert_eq!(peer.leave(), 0);
        let kept = support::history_of(&peer.dir(), &[]);
        let texts: Vec<&str> = kept.iter().map(|message| message["text"].as_str().unwrap()).collect();
        assert_eq!(texts, (0..8).map(|number| format!("number {number}")).collect::<Vec<_>>());
    }
}

#[test]
fn a_clock_that_jumps_a_day_while_people_talk() {
    if !can_lie_about_the_time() {
        return;
    }
    let mut host = Starting::host("host").start();
    let dir = tempfile::tempdir().unwrap();
    let wrong_by = dir.path().join("wrong_by");
    std::fs::write(&wrong_by, "+0\n").unwrap();
    let mut ann = joined(Starting::join(&host, "ann").changing_clock(&wrong_by));
    let mut bob = joined(Starting::join(&host, "bob"));
    said(&mut ann, &mut bob, "before");
    for (jump, text) in [("+1d\n", "a day later"), ("-1d\n", "two days earlier")] {
        std::fs::write(&wrong_by, jump).unwrap();
        said(&mut ann, &mut bob, text);
        said(&mut bob, &mut ann, text);
    }
    host.say(json!({"cmd": "send", "to": "everyone", "text": "all there?"}));
    host.wait_for("both have it", |event| event["summary"] == "2/2");
    for peer in [&mut host, &mut bob] {
        assert!(!peer.seen(is_down("ann")), "nobody was removed");
    }
    assert_eq!(ann.leave(), 0);
}

#[test]
fn wrong_usage_is_said_in_words() {
    // The usage of the program, wrong in every way, on the plain terminal: no type names, no backtrace.
    let mut host = Starting::host("host").start();
    for args in [&["join"][..], &["join", "::::"], &["host", "--listen", "nonsense"], &["fly"]] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pyile"));
        command.args(args).env("PYILE_DATA_DIR", dir.path()).env("XDG_CONFIG_HOME", dir.path());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let mut text = String::new();
        output.stderr.as_slice().read_to_string(&mut text).unwrap();
        assert!(!text.is_empty() && !text.contains("panicked") && !text.contains("::Error"), "{text}");
    }
    assert_eq!(host.leave(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_hangup_that_is_ignored_stays_ignored() {
    let host = Starting::host("host").start();
    let mut ann = Starting::join(&host, "ann").ignoring_hangup().start();
    ann.event("authenticated");
    ann.forget_past();
    ann.signal("HUP");
    // Whoever was told to end would not be there to answer both times.
    for _ in 0..2 {
        ann.say(json!({"cmd": "peers"}));
        ann.event("roster");
    }
    assert_eq!(ann.leave(), 0);
    // Otherwise it is a request to end.
    let mut bob = Starting::join(&host, "bob").heeding_hangup().start();
    bob.event("authenticated");
    bob.signal("HUP");
    assert_eq!(bob.exit_code(), 0);
}

/// The program with these arguments in a directory of its own, and what it said on standard error.
fn refused(dir: &std::path::Path, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pyile"));
    command.args(args).env("XDG_CONFIG_HOME", dir).env("XDG_DATA_HOME", dir).env_remove("PYILE_PASSWORD");
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_others_can_read_or_change_is_refused_with_the_way_out() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "open sesame\n").unwrap();
    let name = file.to_str().unwrap();
    for mode in [0o644, 0o640, 0o604] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let (code, words) = refused(dir.path(), &["join", "127.0.0.1:1", "--json", "--password-file", name]);
        assert_eq!(code, Some(2), "{words}");
    }
    let (_, words) = refused(dir.path(), &["doctor", "127.0.0.1:1", "--password-file", name]);
    assert!(words.contains("others can read it (mode 604)") && words.contains("chmod 600"), "{words}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (code, words) = refused(dir.path(), &["doctor", "127.0.0.1:1", "--password-file", name]);
    assert_eq!(code, Some(3), "private, it is read, and nothing listens there: {words}");
    // A profile of somebody else's, which only root can make.
    let profile = dir.path().join("pyile").join("default");
    if std::os::unix::fs::chown(&profile, Some(12_345), None).is_err() {
        eprintln!("SKIPPED: a profile of somebody else's needs root");
        return;
    }
    let (code, words) = refused(dir.path(), &["doctor", "127.0.0.1:1"]);
    assert_eq!(code, Some(2));
    assert!(words.contains("belongs to another user (number 12345"), "{words}");
}

#[test]
fn nothing_that_was_typed_or_stands_in_a_file_reaches_the_terminal_raw() {
    let dir = tempfile::tempdir().unwrap();
    let evil = "\x1b]0;evil\x07\x1b[31m";
    let config = dir.path().join(format!("{evil}.toml"));
    std::fs::write(&config, format!("alias = \"{}\"\n", "\\u001b[31mred")).unwrap();
    let odd_key = dir.path().join("key.toml");
    std::fs::write(&odd_key, "\"\\u001b]0;evil\\u0007\" = 1\n").unwrap();
    for args in [
        vec![evil],
        vec!["join", "--alias", evil, "127.0.0.1:1"],
        vec!["host", "--config", config.to_str().unwrap()],
        vec!["host", "--config", odd_key.to_str().unwrap()],
        vec!["host", "--password-file", evil],
        vec!["history", "--data-dir", evil],
        vec!["doctor", "127.0.0.1:1", "--log-file", "/\x1b[31m/no/such"],
    ] {
        let (code, words) = refused(dir.path(), &args);
        assert_eq!(code, Some(2), "{args:?}: {words}");
        assert!(!words.is_empty() && !words.contains(['\x1b', '\x07']), "{words:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_in_memory_is_in_no_core_dump() {
    // Where the system would let a process dump; root may say so.
    let most = rustix::process::Rlimit { current: None, maximum: None };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, most);
    let mut host = Starting::host("host").start();
    host.event("listening");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", host.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    assert_eq!(host.leave(), 0);
}

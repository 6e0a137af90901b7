//! The real binary over loopback, driven through `--json` as a program would.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Starting, free_port};

fn alias_of(peer: &Value) -> &str {
    peer["alias"].as_str().unwrap()
}

fn names(roster: &Value) -> Vec<String> {
    roster["peers"].as_array().unwrap().iter().map(|peer| alias_of(peer).to_owned()).collect()
}

#[test]
fn three_peers_talk_to_everyone_and_to_one() {
    let mut host = Starting::host("host").start();
    let listening = host.event("listening");
    assert_eq!(listening["role"], "host");
    assert!(listening["at"].as_str().unwrap().ends_with('Z'));
    let mut ann = Starting::join(&host, "ann").start();
    let listening = ann.event("listening");
    assert_eq!((&listening["role"], &listening["network"]), (&json!("member"), &json!("lab")));
    assert_eq!(ann.event("authenticated")["host"]["alias"], "host");
    let mut bob = Starting::join(&host, "bob").start();
    for peer in [&mut host, &mut ann, &mut bob] {
        peer.wait_for("roster of three", |event| event["event"] == "roster" && names(event).len() == 3);
    }
    ann.say(json!({"cmd": "send", "to": "everyone", "text": "hello all", "ref": "r1"}));
    for peer in [&mut host, &mut bob] {
        let message = peer.event("message");
        assert_eq!(message["text"], "hello all");
        assert_eq!((alias_of(&message["from"]), &message["own"]), ("ann", &json!(false)));
        assert_eq!(message["to"], "everyone");
    }
    let delivered = ann.wait_for("all delivered", |event| {
        event["event"] == "delivery" && event["status"] == "delivered" && event["summary"] == "2/2"
    });
    assert_eq!(delivered["ref"], "r1");
    bob.say(json!({"cmd": "send", "to": "ann", "text": "only you"}));
    let message = ann.wait_for("bob's message", |event| event["event"] == "message" && event["own"] == false);
    assert_eq!((&message["text"], alias_of(&message["from"])), (&json!("only you"), "bob"));
    assert_eq!(message["to"].as_str().unwrap().len(), 52, "to one: a peer_id");
    bob.wait_for("delivered to ann", |event| {
        event["event"] == "delivery" && event["status"] == "delivered" && alias_of(&event["peer"]) == "ann"
    });
    host.event("heartbeat");
    assert_eq!(bob.leave(), 0);
    let down = ann.event("peer_down");
    assert_eq!((alias_of(&down["peer"]), &down["reason"]), ("bob", &json!("left")));
    assert_eq!(host.leave(), 0);
    ann.wait_for("host gone", |event| event["event"] == "peer_down" && event["reason"] == "left");
    assert_eq!(ann.leave(), 0);
}

#[test]
fn wrong_passwords_are_counted_and_ban_the_address() {
    let mut host = Starting::host("host").start();
    for left in [2, 1, 0] {
        let mut guesser = Starting::join(&host, "mallory").password("wrong").start();
        let error = guesser.event("error");
        assert_eq!(error["kind"], "authentication");
        assert!(error["message"].as_str().unwrap().starts_with("wrong password"), "{error}");
        assert_eq!(guesser.exit_code(), 4);
        assert_eq!(host.event("attempt")["left"], left);
    }
    assert_eq!(host.event("banned")["addr"], "127.0.0.1");
    let mut banned = Starting::join(&host, "mallory").start();
    banned.event("banned");
    assert_eq!(banned.exit_code(), 5);
    host.say(json!({"cmd": "unban", "addr": "127.0.0.1"}));
    assert_eq!(host.event("unbanned")["addr"], "127.0.0.1");
    let mut again = Starting::join(&host, "mallory").start();
    again.event("authenticated");
}

#[test]
fn wrong_passwords_from_an_address_do_not_shut_out_a_known_key_behind_it() {
    let mut host = Starting::host("host").start();
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    assert_eq!(ann.leave(), 0);
    for _ in 0..3 {
        assert_eq!(Starting::join(&host, "mallory").password("wrong").start().exit_code(), 4);
    }
    host.event("banned");
    assert_eq!(Starting::join(&host, "stranger").start().exit_code(), 5);
    let mut again = Starting::join(&host, "ann").profile_of(&ann).no_password().start();
    again.event("authenticated");
    // A ban of the address by the host itself is for all.
    host.say(json!({"cmd": "ban", "addr": "127.0.0.1"}));
    assert_eq!(again.exit_code(), 5);
    assert_eq!(Starting::join(&host, "ann").profile_of(&ann).start().exit_code(), 5);
}

#[test]
fn a_stranger_at_the_address_of_a_host_that_is_away_ends_no_session() {
    let mut host = Starting::host("host").start();
    let addr = host.join_addr();
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    host.kill();
    let mut stranger = Starting::host("stranger").listen(&addr).start();
    stranger.event("listening");
    ann.wait_for("a stranger", |event| {
        event["event"] == "link" && event["message"].as_str().is_some_and(|text| text.contains("a stranger"))
    });
    stranger.kill();
    let _back = Starting::host("host").listen(&addr).profile_of(&host).start();
    ann.wait_for("the host is back", |event| event["event"] == "authenticated");
}

#[test]
fn a_ban_cuts_off_everywhere_until_it_is_lifted() {
    let mut host = Starting::host("host").start();
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    let mut bob = Starting::join(&host, "bob").start();
    bob.event("authenticated");
    host.wait_for("three", |event| event["event"] == "roster" && names(event).len() == 3);
    host.say(json!({"cmd": "ban", "peer": "bob", "reason": "spam"}));
    let banned = host.event("banned");
    assert_eq!(banned["reason"], "spam");
    assert_eq!(bob.event("banned")["reason"], "spam");
    assert_eq!(bob.exit_code(), 5);
    let down = ann.event("peer_down");
    assert_eq!((alias_of(&down["peer"]), &down["reason"]), ("bob", &json!("banned")));
    // The members may be faster than the disk.
    host.rewind();
    let cut = host.wait_for("cut off", |event| event["event"] == "cut_off" && event["by"] == 1);
    assert_eq!(cut["of"], 1);
    let mut again = Starting::join(&host, "robert").profile_of(&bob).start();
    assert_eq!(again.event("banned")["reason"], "spam");
    assert_eq!(again.exit_code(), 5, "the same key, another alias");
    host.say(json!({"cmd": "unban", "peer": banned["peer_id"]}));
    host.event("unbanned");
    let mut again = Starting::join(&host, "bob").profile_of(&bob).start();
    again.event("authenticated");
    ann.say(json!({"cmd": "ban", "peer": "bob"}));
    assert_eq!(ann.event("error")["kind"], "command", "only the host bans");
}

#[test]
fn exit_codes_and_refusals() {
    let mut host = Starting::host("host").start();
    let mut nobody = Starting::new("ann", &["join", &format!("127.0.0.1:{}", free_port())]).start();
    assert_eq!(nobody.event("error")["kind"], "connection");
    let left = nobody.event("left");
    assert_eq!(left["reason"], "unreachable");
    assert!(left["message"].as_str().unwrap().contains("nothing listens"), "{left}");
    assert_eq!(nobody.exit_code(), 3);

    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    let mut usage = Starting::new("ann", &["join"]).start();
    assert_eq!(usage.event("left")["reason"], "usage");
    assert_eq!(usage.exit_code(), 2);
    let mut usage = Starting::new("a b", &["join", "127.0.0.1"]).start();
    assert_eq!(usage.exit_code(), 2);
    let mut no_password = Starting::new("x", &["host", "--listen", "127.0.0.1:0"]).no_password().start();
    assert_eq!(no_password.exit_code(), 2);
    host.kill();
    ann.wait_for("lost", |event| event["event"] == "link" && event["state"] == "waiting");
    let mut strict_host = Starting::host("strict").start();
    let mut strict = Starting::join(&strict_host, "bob").args(&["--rejoin-for", "0"]).start();
    strict.event("authenticated");
    strict_host.kill();
    assert_eq!(strict.event("left")["reason"], "host_lost");
    assert_eq!(strict.exit_code(), 8);
}

#[test]
fn another_version_and_other_servers_are_named() {
    use std::io::{Read as _, Write as _};
    for (answer, code) in [(&b"SSH-2.0-OpenSSH_9.2\r\n"[..], 3), (b"HTTP/1.1 400 Bad Request\r\n\r\n", 3)] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(answer).unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
        });
        let mut peer = Starting::new("ann", &["join", &target]).start();
        assert_eq!(peer.event("left")["reason"], "not_pyile");
        assert_eq!(peer.exit_code(), code);
        server.join().unwrap();
    }
    // A later pyile knows only its own ALPN: TLS answers with the alert no_application_protocol (120).
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut hello = [0; 64];
        stream.read_exact(&mut hello).unwrap();
        stream.write_all(&[21, 3, 3, 0, 2, 2, 120]).unwrap();
    });
    let mut peer = Starting::new("ann", &["join", &target]).start();
    assert_eq!(peer.event("left")["reason"], "incompatible_version");
    assert_eq!(peer.exit_code(), 6);
    server.join().unwrap();
}

#[test]
fn bad_lines_change_nothing_and_the_end_of_input_does_not_end_the_session() {
    let mut host = Starting::host("host").start();
    for line in ["garbage", "{}", r#"{"cmd":"fly"}"#, r#"{"cmd":"send","to":"bob"}"#, "\u{0}"] {
        host.raw(line);
        assert_eq!(host.event("error")["kind"], "command", "{line}");
    }
    host.say(json!({"cmd": "send", "to": "nobody", "text": "x", "ref": "7"}));
    let error = host.event("error");
    assert_eq!((&error["kind"], &error["ref"]), (&json!("send"), &json!("7")));
    host.say(json!({"cmd": "send", "to": "everyone", "text": "x".repeat(16_385)}));
    assert!(host.event("error")["message"].as_str().unwrap().contains("16385"));
    host.say(json!({"cmd": "send", "to": "everyone", "text": "x".repeat(16_384)}));
    assert_eq!(host.event("message")["own"], true);
    host.say(json!({"cmd": "peers"}));
    host.event("roster");
    host.close_input();
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    host.event("peer_up");
    host.terminate();
    assert_eq!(host.event("left")["reason"], "left");
    assert_eq!(host.exit_code(), 0);
}

#[test]
fn a_restarted_host_knows_its_members_and_its_bans() {
    let mut host = Starting::host("host").start();
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    let mut bob = Starting::join(&host, "bob").start();
    bob.event("authenticated");
    host.say(json!({"cmd": "ban", "peer": "bob"}));
    host.event("banned");
    let addr = host.join_addr();
    host.kill();
    for file in std::fs::read_dir(host.profile_dir()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(11).any(|window| window == b"open sesame"), "the password is on no disk");
    }
    // It would put a member out by its name.
    let again =
        |alias: &str| Starting::new(alias, &["host", "--listen", &addr]).no_password().profile_of(&host);
    let mut usurper = again("Ann").start();
    let message = usurper.event("error")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("looks like \"ann\", who is a member already; choose another"), "{message}");
    assert_eq!(usurper.exit_code(), 9);
    // Without a password and a name: both are kept.
    let mut host = again("host").unnamed().start();
    assert_eq!(host.event("admission")["bans"][0]["alias"], "bob");
    ann.wait_for("the host gone", |event| {
        event["event"] == "peer_down" && alias_of(&event["peer"]) == "host"
    });
    ann.wait_for("back by its key", |event| event["event"] == "authenticated");
    ann.wait_for("the host back", |event| event["event"] == "peer_up" && alias_of(&event["peer"]) == "host");
    let mut again = Starting::join(&host, "bob").profile_of(&bob).start();
    assert_eq!(again.exit_code(), 5);
    let mut carol = Starting::join(&host, "carol").start();
    carol.event("authenticated");
}

#[test]
fn a_host_with_another_key_is_not_believed() {
    let mut host = Starting::host("host").start();
    let addr = host.join_addr();
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    assert_eq!(ann.leave(), 0);
    host.kill();
    let _false_host = Starting::host("host").listen(&addr).start();
    let mut again = Starting::new("ann", &["join", &addr]).profile_of(&ann).start();
    let left = again.event("left");
    assert_eq!(left["reason"], "key_changed");
    assert!(left["message"].as_str().unwrap().contains("nothing was sent"));
    assert_eq!(again.exit_code(), 3);
}

#[test]
fn four_seconds_stopped_change_nothing() {
    let mut host = Starting::host("host").start();
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    let mut bob = Starting::join(&host, "bob").start();
    bob.event("authenticated");
    ann.event("peer_up");
    let beats = |event: &Value| event["event"] == "heartbeat" && event["peer"]["alias"] == "host";
    bob.wait_for("a beat", beats);
    bob.signal("STOP");
    // Two beats of another member: four seconds by the network's own clock.
    for _ in 0..3 {
        ann.wait_for("a beat", beats);
    }
    bob.signal("CONT");
    host.say(json!({"cmd": "send", "to": "everyone", "text": "still here?"}));
    let delivered = host.wait_for("both have it", |event| event["summary"] == "2/2");
    assert_eq!(delivered["status"], "delivered");
    for peer in [&mut host, &mut ann, &mut bob] {
        assert!(!peer.seen(|event| event["event"] == "peer_down"), "nobody was removed");
    }
}

#[test]
fn a_stopped_member_is_removed_and_comes_back_by_itself() {
    let mut host = Starting::host("host").start();
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    let mut bob = Starting::join(&host, "bob").start();
    bob.event("authenticated");
    ann.event("peer_up");
    bob.signal("STOP");
    let stopped = std::time::Instant::now();
    for peer in [&mut host, &mut ann] {
        let down = peer.event("peer_down");
        assert_eq!((alias_of(&down["peer"]), &down["reason"]), ("bob", &json!("heartbeat_timeout")));
    }
    assert!(stopped.elapsed() < Duration::from_secs(13), "removed after {:?}", stopped.elapsed());
    bob.signal("CONT");
    bob.wait_for("back without a password", |event| event["event"] == "authenticated");
    for peer in [&mut host, &mut ann, &mut bob] {
        peer.wait_for("three again", |event| event["event"] == "roster" && names(event).len() == 3);
    }
}

#[test]
fn the_demo_talks() {
    let mut demo = Starting::new("me", &["demo"]).no_password().start();
    demo.wait_for("four", |event| event["event"] == "roster" && names(event).len() == 4);
    demo.say(json!({"cmd": "send", "to": "echo", "text": "ping"}));
    let answer = |event: &Value| {
        event["event"] == "message" && event["text"] == "ping" && event["from"]["alias"] == "echo"
    };
    demo.wait_for("an answer", answer);
    demo.say(json!({"cmd": "ban", "peer": "spam"}));
    demo.wait_for("cut off", |event| event["event"] == "cut_off" && event["by"] == 2);
    assert_eq!(demo.leave(), 0);
}

#[test]
fn another_member_becomes_the_host_and_all_follow() {
    let mut host = Starting::host("host").start();
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    let mut bob = Starting::join(&host, "bob").start();
    bob.event("authenticated");
    host.wait_for("three", |event| event["event"] == "roster" && names(event).len() == 3);
    host.say(json!({"cmd": "ban", "addr": "10.9.9.9", "reason": "spam"}));
    host.event("banned");
    host.say(json!({"cmd": "handover", "peer": "bob"}));
    let listening =
        bob.wait_for("bob listens", |event| event["event"] == "listening" && event["role"] == "host");
    let join_addr = listening["join_addr"].as_str().unwrap().to_owned();
    for peer in [&mut host, &mut ann] {
        let handover = peer.event("handover");
        assert_eq!(
            (alias_of(&handover["host"]), handover["join_addr"].as_str().unwrap()),
            ("bob", &*join_addr)
        );
        assert_eq!(alias_of(&peer.event("authenticated")["host"]), "bob");
    }
    assert_eq!(bob.wait_for("bans", |event| event["event"] == "admission")["bans"][0]["addr"], "10.9.9.9");
    // Whoever still knows only the old address is sent on, and needs the same password.
    let mut carol = Starting::join(&host, "carol").start();
    assert_eq!(alias_of(&carol.event("authenticated")["host"]), "bob");
    let mut mallory = Starting::new("mallory", &["join", &join_addr]).password("wrong").start();
    assert_eq!(mallory.exit_code(), 4);
    ann.say(json!({"cmd": "send", "to": "everyone", "text": "who is there?"}));
    ann.wait_for("all have it", |event| event["summary"] == "3/3" && event["status"] == "delivered");
    // The old host leaves like anybody else, and the network stays.
    assert_eq!(host.leave(), 0);
    ann.wait_for("gone", |event| event["event"] == "peer_down" && event["reason"] == "left");
    ann.say(json!({"cmd": "send", "to": "carol", "text": "still here"}));
    carol.wait_for("message", |event| event["text"] == "still here");
    assert!(!host.profile_dir().join("host.json").exists() && bob.profile_dir().join("host.json").exists());
    // The new one is killed and comes back as the host.
    bob.kill();
    let mut bob = Starting::host("bob").listen(&join_addr).profile_of(&bob).no_password().start();
    assert_eq!(bob.event("listening")["network"], "lab");
    ann.wait_for("back", |event| event["event"] == "authenticated");
    bob.wait_for("both are back", |event| event["event"] == "roster" && names(event).len() == 3);
}

#[test]
fn a_handover_that_makes_no_sense_is_refused() {
    let mut host = Starting::host("host").start();
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    ann.say(json!({"cmd": "handover", "peer": "host"}));
    assert!(ann.event("error")["message"].as_str().unwrap().contains("only the host"));
    for (peer, why) in [("nobody", "nobody called"), ("host", "you are the host already")] {
        host.say(json!({"cmd": "handover", "peer": peer}));
        assert!(host.event("error")["message"].as_str().unwrap().contains(why));
    }
}

#[test]
fn commands_that_come_before_admission_wait_for_it_and_the_goodbye_for_what_was_said() {
    let mut host = Starting::host("host").start();
    let mut ann = Starting::join(&host, "ann").start();
    ann.raw("\u{feff}{\"cmd\":\"send\",\"to\":\"everyone\",\"text\":\"hello\"}");
    ann.raw("{\"cmd\":\"peers\"}");
    ann.raw("{\"cmd\":\"leave\"}");
    ann.close_input();
    assert_eq!(host.event("message")["text"], "hello");
    assert_eq!(ann.exit_code(), 0);
    assert_eq!(ann.count(|event| event["event"] == "error"), 0);
}

#[test]
fn whoever_leaves_before_somebody_has_what_was_said_is_told_by_the_exit_code() {
    let host = Starting::host("host").start();
    let mut bob = Starting::join(&host, "bob").start();
    bob.event("authenticated");
    let mut ann = Starting::join(&host, "ann").start();
    ann.wait_for("three", |event| event["event"] == "roster" && names(event).len() == 3);
    assert_eq!(bob.leave(), 0);
    ann.wait_for("bob gone", |event| event["event"] == "peer_down");
    for text in ["are you there?", "hello?"] {
        ann.say(json!({"cmd": "send", "to": "bob", "text": text}));
    }
    ann.say(json!({"cmd": "leave"}));
    let left = ann.event("left");
    assert_eq!((&left["reason"], &left["undelivered"]), (&json!("left"), &json!(2)));
    assert_eq!(ann.exit_code(), 10);
}

#[test]
fn a_known_network_is_joined_by_the_name_that_one_has_there() {
    let mut host = Starting::host("host").start();
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    assert_eq!(ann.leave(), 0);
    host.wait_for("ann gone", |event| event["event"] == "peer_down");
    host.forget_past();
    let mut again = Starting::join(&host, "ignored").unnamed().profile_of(&ann).start();
    again.event("authenticated");
    assert_eq!(alias_of(&host.event("peer_up")["peer"]), "ann");
}

#[cfg(target_os = "linux")]
#[test]
fn a_standard_output_that_takes_nothing_is_an_error_and_a_closed_one_is_none() {
    let host = Starting::host("host").start();
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    ann.say(json!({"cmd": "send", "to": "everyone", "text": "hello"}));
    ann.wait_for("it is there", |event| event["event"] == "delivery" && event["status"] == "delivered");
    assert_eq!(ann.leave(), 0);
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let run = |words: &[&str], output: std::process::Stdio| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pyile"));
        let dir = ann.dir();
        command
            .args(words)
            .arg("--data-dir")
            .arg(dir.path())
            .env("PYILE_PASSWORD", "open sesame")
            .stdout(output)
            .stdin(std::process::Stdio::null());
        command.output().unwrap()
    };
    let addr = host.join_addr();
    for words in [&["history"][..], &["history", "--json"], &["doctor", &addr], &["doctor", &addr, "--json"]]
    {
        let output = run(words, full().into());
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("standard output cannot be written"));
    }
    let session = run(&["host", "--json", "--listen", "127.0.0.1:0"], full().into());
    assert_eq!(session.status.code(), Some(1));
    // Nobody reads: the pipe's other end is closed.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = run(&["history"], writer.into());
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn a_program_that_has_said_nothing_leaves_a_silent_host_at_once_and_one_that_has_is_told_what_is_lost() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = silent.local_addr().unwrap().to_string();
    let mut ann = Starting::new("ann", &["join", &target]).start();
    ann.say(json!({"cmd": "leave"}));
    assert_eq!(ann.exit_code(), 0);
    let mut bob = Starting::new("bob", &["join", &target]).start();
    bob.say(json!({"cmd": "send", "to": "everyone", "text": "hello?"}));
    bob.say(json!({"cmd": "peers"}));
    bob.wait_for("slow", |event| event["message"].as_str().is_some_and(|text| text.contains("slow")));
    bob.terminate();
    assert_eq!(bob.event("left")["undelivered"], 1);
    assert_eq!(bob.exit_code(), 10);
}

#[test]
fn a_member_takes_another_name_and_says_that_it_is_away() {
    let mut host = Starting::host("host").start();
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    ann.say(json!({"cmd": "nick", "alias": "host"}));
    let refused = ann.wait_for("a refusal", |event| event["event"] == "error" && event["kind"] == "command");
    assert!(refused["message"].as_str().unwrap().contains("another member"), "{refused}");
    host.say(json!({"cmd": "away", "text": "at lunch"}));
    let says = |event: &Value, alias: &str, status: &str| {
        let peers = event["peers"].as_array().into_iter().flatten();
        peers.into_iter().any(|peer| alias_of(peer) == alias && peer["status"] == status)
    };
    ann.wait_for("the host's status", |event| says(event, "host", "at lunch"));
    host.say(json!({"cmd": "nick", "alias": "boss"}));
    ann.wait_for("the host's name", |event| says(event, "boss", "at lunch"));
    host.say(json!({"cmd": "away"}));
    ann.wait_for("the end of it", |event| {
        event["event"] == "roster"
            && event["peers"].as_array().unwrap().iter().all(|peer| peer.get("status").is_none())
    });
    assert_eq!(ann.leave(), 0);
    assert_eq!(host.leave(), 0);
    // Hosted again without a name it is called so still, and its name of before is nobody else's.
    let mut again = Starting::host("").unnamed().profile_of(&host).start();
    assert_eq!(again.event("listening")["alias"], "boss");
    let mut thief = Starting::join(&again, "host").start();
    assert_eq!(thief.exit_code(), 9, "the host's name of before");
    assert_eq!(again.leave(), 0);
}

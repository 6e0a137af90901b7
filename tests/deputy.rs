//! The deputy with the real binary over loopback: who opens a network again whose host is gone, and who follows.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::time::Instant;

use serde_json::{Value, json};
use support::{DEADLINE, Peer, Starting, free_port};

/// A host at an address of its own, so that its deputy opens the network at another one.
fn host(at: &str) -> Starting {
    Starting::host("host").listen(at).args(&["--grace", "1"])
}

fn join(host: &str, alias: &str) -> Peer {
    let mut peer = Starting::new(alias, &["join", host]).start();
    peer.event("authenticated");
    peer
}

fn is_deputy(alias: &str) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == "deputy" && event["peer"]["alias"] == alias
}

fn says(words: &str) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == "error" && event["message"].as_str().unwrap().contains(words)
}

fn hears(peer: &mut Peer, text: &str) {
    peer.wait_for(text, |event| {
        event["event"] == "message" && event["text"] == text && event["own"] == false
    });
}

/// The package is at the deputy.
fn wait_for_package(deputy: &mut Peer, what: &str) {
    let file = deputy.profile_dir().join("deputy.json");
    let deadline = Instant::now() + DEADLINE;
    while !std::fs::read_to_string(&file).is_ok_and(|kept| kept.contains(what)) {
        assert!(Instant::now() < deadline, "no {what} in {}", file.display());
        deputy.wait_a_moment();
    }
}

#[test]
fn the_deputy_opens_the_network_again_and_the_old_host_comes_back_as_a_member() {
    let at = format!("127.0.0.2:{}", free_port());
    let mut host = host(&at).start();
    host.event("listening");
    let (mut ann, mut bob) = (join(&at, "ann"), join(&at, "bob"));
    host.say(json!({"cmd": "deputy", "peer": "bob"}));
    for peer in [&mut host, &mut ann, &mut bob] {
        peer.wait_for("the deputy", is_deputy("bob"));
    }
    host.say(json!({"cmd": "ban", "addr": "10.9.9.9", "reason": "spam"}));
    wait_for_package(&mut bob, "10.9.9.9");
    bob.say(json!({"cmd": "take_over"}));
    bob.wait_for("a refusal", says("the host is here"));
    host.kill();
    bob.wait_for("its choice", says("you are its deputy"));
    ann.wait_for("what may come", says("bob, its deputy"));
    bob.say(json!({"cmd": "take_over"}));
    let opened = ann.event("handover");
    assert_eq!(
        (&opened["host"]["alias"], ann.event("authenticated")["network"].clone()),
        (&json!("bob"), json!("lab"))
    );
    bob.wait_for("the ban", |event| event["event"] == "admission" && event["bans"][0]["addr"] == "10.9.9.9");
    ann.say(json!({"cmd": "send", "to": "everyone", "text": "here we are"}));
    hears(&mut bob, "here we are");
    // The same password, by the new address.
    let _carol = join(opened["join_addr"].as_str().unwrap(), "carol");
    // The old host begins again as ever, and learns of it.
    let mut back = Starting::host("host").listen(&at).profile_of(&host).no_password().start();
    back.wait_for("what has happened", says("while you were gone"));
    assert_eq!(back.event("authenticated")["host"]["alias"], "bob");
    hears(&mut back, "here we are");
    back.say(json!({"cmd": "send", "to": "ann", "text": "thank you"}));
    hears(&mut ann, "thank you");
    back.say(json!({"cmd": "ban", "peer": "ann"}));
    back.wait_for("a refusal", says("only the host"));
    assert_eq!(back.leave(), 0);
    assert!(
        !host.profile_dir().join("host.json").exists() && !bob.profile_dir().join("deputy.json").exists()
    );
    // The new host is killed and comes back: all know it by its key.
    let join_addr = opened["join_addr"].as_str().unwrap().to_owned();
    ann.forget_past();
    bob.kill();
    let _bob = Starting::host("bob").listen(&join_addr).profile_of(&bob).no_password().start();
    ann.wait_for("back", |event| event["event"] == "authenticated" && event["host"]["alias"] == "bob");
}

#[test]
fn a_deputy_and_a_member_that_begin_again_meet_while_the_host_is_gone() {
    let at = format!("127.0.0.2:{}", free_port());
    let mut host = host(&at).start();
    host.event("listening");
    let (mut ann, mut bob) = (join(&at, "ann"), join(&at, "bob"));
    host.say(json!({"cmd": "deputy", "peer": "bob"}));
    ann.wait_for("the deputy", is_deputy("bob"));
    wait_for_package(&mut bob, "ann");
    assert_eq!(ann.leave(), 0);
    assert_eq!(bob.leave(), 0);
    host.kill();
    let again =
        |peer: &Peer, alias| Starting::new(alias, &["join", &at]).profile_of(peer).no_password().start();
    // Without its deputy there is no network.
    assert_eq!(again(&ann, "ann").exit_code(), 3);
    let mut bob = again(&bob, "bob");
    bob.wait_for("its choice", says("you are its deputy"));
    bob.say(json!({"cmd": "take_over"}));
    bob.wait_for("the network", |event| event["event"] == "listening" && event["role"] == "host");
    let mut ann = again(&ann, "ann");
    assert_eq!(ann.event("authenticated")["host"]["alias"], "bob");
    bob.say(json!({"cmd": "send", "to": "everyone", "text": "open again"}));
    hears(&mut ann, "open again");
}

#[test]
fn whoever_is_deputy_no_more_keeps_nothing_and_opens_nothing() {
    let at = format!("127.0.0.2:{}", free_port());
    let mut host = host(&at).start();
    host.event("listening");
    let mut bob = join(&at, "bob");
    host.say(json!({"cmd": "deputy", "peer": "bob"}));
    wait_for_package(&mut bob, "bob");
    host.say(json!({"cmd": "deputy"}));
    bob.wait_for("nobody", |event| event["event"] == "deputy" && event["peer"].is_null());
    host.kill();
    bob.wait_for("the choices", says("one of you opens a network"));
    bob.say(json!({"cmd": "take_over"}));
    bob.wait_for("a refusal", says("you are not the deputy"));
    assert_eq!(bob.leave(), 0);
    assert!(!bob.profile_dir().join("deputy.json").exists());
}

//! Invites with the real binary over loopback: who comes in by one, and what one who should not makes of it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use serde_json::{Value, json};
use support::{Peer, Starting};

/// An invite of the host, as it is given to others.
fn invite(host: &mut Peer, command: Value) -> Value {
    host.say(command);
    host.event("invite")
}

fn link(invite: &Value) -> String {
    invite["link"].as_str().unwrap().to_owned()
}

fn by(link: &str, alias: &str) -> Starting {
    Starting::new(alias, &["join", link]).no_password()
}

/// Why the host does not take an invite.
fn refusal(link: &str) -> String {
    let mut joiner = by(link, "mallory").start();
    let left = joiner.event("left");
    assert_eq!((&left["reason"], joiner.exit_code()), (&json!("invite_refused"), 9), "{left}");
    left["message"].as_str().unwrap().to_owned()
}

#[test]
fn an_invite_lets_one_in_who_comes_back_by_key_and_nobody_else() {
    let mut host = Starting::host("host").start();
    let made = invite(&mut host, json!({"cmd": "invite"}));
    let link = link(&made);
    assert!(link.starts_with(&format!("pyile://{}/", host.join_addr())), "{made}");
    assert_eq!((&made["uses"], made["id"].as_str().unwrap().len()), (&json!(1), 6));
    let mut ann = by(&link, "ann").start();
    ann.event("authenticated");
    let told = host
        .wait_for("no more invites", |event| event["event"] == "invites" && event["invites"] == json!([]));
    assert!(told["at"].is_string());
    ann.say(json!({"cmd": "send", "to": "everyone", "text": "hello"}));
    assert_eq!(host.event("message")["text"], "hello");
    assert_eq!(ann.leave(), 0);
    // By the line as a terminal broke it, in capitals as a QR code has it: the key is known.
    let (one, two) = link.split_at(50);
    let mut again = by(&format!("{one}\n{two}").to_uppercase(), "ann").profile_of(&ann).start();
    again.event("authenticated");
    assert!(refusal(&link).contains("used up"));
    assert_eq!(again.leave(), 0);
    // What is remembered is the host, not the invite.
    let mut known = Starting::join(&host, "ann").profile_of(&ann).no_password().start();
    known.event("authenticated");
    let pass = link.split_once('#').unwrap().1;
    let mut files = 0;
    for profile in [ann.profile_dir(), host.profile_dir()] {
        for file in std::fs::read_dir(profile).unwrap() {
            let kept = std::fs::read(file.unwrap().path()).unwrap_or_default().to_ascii_lowercase();
            assert!(!kept.windows(pass.len()).any(|part| part == pass.as_bytes()));
            files += 1;
        }
    }
    assert!(files > 4, "{files}");
}

#[test]
fn two_who_show_the_last_use_at_once_are_not_both_in() {
    let mut host = Starting::host("host").start();
    // The name of who has left is kept for them, so each round has names of its own.
    for round in 1..=5 {
        let link = link(&invite(&mut host, json!({"cmd": "invite"})));
        let both = ["one", "two"].map(|name| by(&link, &format!("{name}-{round}")).start());
        let ends = both.map(|mut peer| {
            let first = peer
                .wait_for("in or out", |event| event["event"] == "authenticated" || event["event"] == "left");
            let is_in = first["event"] == "authenticated";
            let code = if is_in { peer.leave() } else { peer.exit_code() };
            (is_in, code)
        });
        assert!(ends == [(true, 0), (false, 9)] || ends == [(false, 9), (true, 0)], "{ends:?}");
    }
}

#[test]
fn what_is_taken_back_used_or_forged_says_so_and_costs_no_attempt() {
    let mut host = Starting::host("host").args(&["--attempts", "1"]).start();
    let first = invite(&mut host, json!({"cmd": "invite", "uses": 5, "hours": 1}));
    let second = invite(&mut host, json!({"cmd": "invite"}));
    host.say(json!({"cmd": "revoke", "invite": first["id"]}));
    host.wait_for("one left", |event| {
        event["event"] == "invites" && event["invites"].as_array().unwrap().len() == 1
    });
    assert!(refusal(&link(&first)).contains("taken this invite back"));
    let forged = link(&second);
    let (rest, pass) = forged.split_once('#').unwrap();
    // Not at the end, of whose letter some bits are unused: with those it would be no invite at all.
    let other = if pass.starts_with('a') { "b" } else { "a" };
    assert!(refusal(&format!("{rest}#{other}{}", &pass[1..])).contains("does not know this invite"));
    // One wrong password would ban the address.
    by(&forged, "ann").start().event("authenticated");
}

#[test]
fn an_invite_says_nothing_to_a_host_with_another_key() {
    let mut host = Starting::host("host").start();
    let made = link(&invite(&mut host, json!({"cmd": "invite"})));
    let addr = host.join_addr();
    host.kill();
    let mut false_host = Starting::host("host").listen(&addr).start();
    false_host.event("listening");
    let mut ann = by(&made, "ann").start();
    let left = ann.event("left");
    assert_eq!((&left["reason"], ann.exit_code()), (&json!("key_changed"), 3));
    assert!(left["message"].as_str().unwrap().contains("nothing was sent"), "{left}");
    false_host.kill();
    // An invite outlives the host's crash.
    let _back = Starting::host("host").listen(&addr).profile_of(&host).start();
    by(&made, "ann").start().event("authenticated");
}

#[test]
fn an_invite_without_a_pass_makes_the_first_join_safe_and_the_environment_holds_one_unseen() {
    let mut host = Starting::host("host").start();
    let made = invite(&mut host, json!({"cmd": "invite", "pass": false}));
    assert_eq!((made.get("id"), made["link"].as_str().unwrap().contains('#')), (None, false));
    assert_eq!(by(&link(&made), "ann").start().exit_code(), 4, "the password is asked for");
    let mut ann = by(&link(&made), "ann").password("open sesame").start();
    ann.event("authenticated");
    let made = link(&invite(&mut host, json!({"cmd": "invite"})));
    let mut bob = Starting::new("bob", &["join"]).no_password().environment("PYILE_INVITE", &made).start();
    bob.event("authenticated");
}

#[test]
fn a_member_invites_where_the_host_lets_it() {
    let mut host = Starting::host("host").args(&["--members-invite"]).start();
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    let made = invite(&mut ann, json!({"cmd": "invite"}));
    let told =
        host.wait_for("whose it is", |event| event["event"] == "invites" && event["invites"] != json!([]));
    assert_eq!((&told["invites"][0]["id"], &told["invites"][0]["by"]), (&made["id"], &made["by"]));
    by(&link(&made), "bob").start().event("authenticated");
    let made = invite(&mut ann, json!({"cmd": "invite"}));
    host.wait_for("the other", |event| {
        event["event"] == "invites" && event["invites"][0]["id"] == made["id"]
    });
    let another = link(&made);
    host.say(json!({"cmd": "kick", "peer": "ann"}));
    host.wait_for("with her they go", |event| event["event"] == "invites" && event["invites"] == json!([]));
    assert!(refusal(&another).contains("taken this invite back"));
    let mut other = Starting::host("host").start();
    let mut carol = Starting::join(&other, "carol").start();
    carol.event("authenticated");
    carol.say(json!({"cmd": "invite"}));
    assert!(carol.event("error")["message"].as_str().unwrap().contains("lets no member invite"));
    other.leave();
}

#[test]
fn an_invite_takes_no_place_of_a_host_that_is_known_at_its_address() {
    let mut host = Starting::host("host").start();
    let addr = host.join_addr();
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    assert_eq!(ann.leave(), 0);
    host.kill();
    let mut stranger = Starting::host("stranger").listen(&addr).start();
    let lure = link(&invite(&mut stranger, json!({"cmd": "invite"})));
    let mut caught = by(&lure, "ann").profile_of(&ann).start();
    let left = caught.event("left");
    assert!(left["message"].as_str().unwrap().contains("another host than the one that you know"), "{left}");
    assert_eq!(caught.exit_code(), 3);
    stranger.kill();
    let _back = Starting::host("host").listen(&addr).profile_of(&host).start();
    let mut again = Starting::new("ann", &["join", &addr]).profile_of(&ann).no_password().start();
    again.event("authenticated");
}

#[test]
fn what_is_no_invite_is_told_without_its_pass() {
    for (words, message) in [
        (&["join", "pyile://127.0.0.1/abc#secretsecret"][..], "the key in the invite is not whole"),
        (&["join", "pyile://somewhere"], "an invite is one line"),
        (&["pyile://127.0.0.1/KEY#secretsecret"], "to join by an invite: pyile join INVITE"),
        (&["doctor", "pyile://127.0.0.1/abc#secretsecret"], "the key in the invite is not whole"),
        (&["join"], "say which host to join, or give an invite"),
        (&["join", "--classic", "pyile://127.0.0.1/KEY"], "a classic host has no key"),
    ] {
        let key = "a".repeat(52);
        let words: Vec<String> = words.iter().map(|word| word.replace("KEY", &key)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut peer = Starting::new("ann", &words).start();
        let left = peer.event("left");
        let found = left["message"].as_str().unwrap();
        assert!(found.contains(message) && !found.contains("secret"), "{left}");
        assert_eq!(peer.exit_code(), 2);
    }
}

#[test]
fn a_host_that_wants_to_be_asked_is_asked_and_tells_what_it_has_to_tell() {
    let words = &["--approve", "--topic", "the lab", "--rules", "be kind"];
    let mut host = Starting::host("host").args(words).start();
    let mut ann = Starting::join(&host, "ann").start();
    let applicants = host
        .wait_for("a applicant", |event| event["event"] == "applicants" && event["applicants"] != json!([]));
    assert_eq!(
        (&applicants["applicants"][0]["alias"], &applicants["applicants"][0]["invited"]),
        (&json!("ann"), &json!(false))
    );
    host.say(json!({"cmd": "approve", "peer": applicants["applicants"][0]["peer_id"]}));
    ann.event("authenticated");
    let notes = ann.event("notes");
    assert_eq!((&notes["topic"], &notes["rules"]), (&json!("the lab"), &json!("be kind")));
    let mut bob = Starting::join(&host, "bob").start();
    host.wait_for("another", |event| {
        event["event"] == "applicants" && event["applicants"][0]["alias"] == "bob"
    });
    host.say(json!({"cmd": "refuse", "peer": "bob", "reason": "not tonight"}));
    let left = bob.event("left");
    assert_eq!((&left["reason"], bob.exit_code()), (&json!("not_approved"), 9));
    assert!(left["message"].as_str().unwrap().contains("not tonight"), "{left}");
    let mut wrong = Starting::host("host").args(&["--approve", "--classic"]).start();
    assert_eq!(wrong.exit_code(), 2, "the Python program cannot wait");
}

#[test]
fn two_compare_words_and_remember_whom_they_have_verified() {
    let mut host = Starting::host("host").start();
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    let mut bob = Starting::join(&host, "bob").start();
    bob.event("authenticated");
    ann.wait_for("bob", |event| event["event"] == "peer_up" && event["peer"]["alias"] == "bob");
    ann.say(json!({"cmd": "verify", "peer": "bob"}));
    let (here, there) = (ann.event("verify"), bob.event("verify"));
    assert_eq!((&here["words"], &here["own"], &there["own"]), (&there["words"], &json!(true), &json!(false)));
    assert_eq!(here["words"].as_array().unwrap().len(), 6);
    ann.say(json!({"cmd": "compared", "peer": "bob", "words": ["a", "b", "c", "d", "e", "f"]}));
    assert!(ann.event("error")["message"].as_str().unwrap().contains("no words to compare"), "others");
    ann.say(json!({"cmd": "compared", "peer": "bob", "words": here["words"]}));
    bob.say(json!({"cmd": "compared", "peer": "ann", "words": there["words"]}));
    assert_eq!(ann.event("verified")["peer"]["alias"], "bob");
    assert_eq!(bob.event("verified")["peer"]["alias"], "ann");
    assert_eq!((ann.leave(), bob.leave(), host.leave()), (0, 0, 0));
    let kept = std::fs::read_to_string(ann.profile_dir().join("verified.json")).unwrap();
    assert!(
        kept.contains(there["peer"]["peer_id"].as_str().map_or("", |_| "bob")) && kept.contains("peer_id"),
        "{kept}"
    );
}

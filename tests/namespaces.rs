//! What networks do to peers on different machines. Each machine is a network namespace, all of them on one switch,
//! which needs root: without it every test here says SKIPPED and proves nothing.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::process::Command;

use serde_json::{Value, json};
use support::{Starting, diagnose_on, lan::Lan};

fn says(text: &str) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == "message" && event["text"] == text && event["own"] == false
}

fn is_delivered(reference: &str) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == "delivery" && event["ref"] == reference && event["status"] == "delivered"
}

/// What is heard around a machine.
fn networks(lan: &Lan, machine: &str, args: &[&str]) -> Vec<Value> {
    let data = tempfile::tempdir().unwrap();
    let output = Command::new("ip")
        .args(["netns", "exec", &lan.namespace(machine), env!("CARGO_BIN_EXE_pyile"), "networks", "--json"])
        .args(args)
        .arg("--data-dir")
        .arg(data.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_host_is_heard_by_those_around_and_joined_by_what_is_heard() {
    let Some(lan) = Lan::new(&["host", "ann", "bob"]) else { return };
    for machine in ["host", "ann", "bob"] {
        // As a machine with multicast has it.
        lan.on(machine, &["ip", "route", "add", "224.0.0.0/4", "dev", "eth0"]);
    }
    let everywhere =
        |machine: &str| Starting::host(machine).listen("0.0.0.0:4702").in_namespace(&lan.namespace(machine));
    let mut host = everywhere("host").start();
    let id = host.event("listening")["peer_id"].clone();
    // Whoever does not want to be heard is not.
    let hidden = &["host", "--listen", "0.0.0.0:4702", "--network", "hidden", "--no-announce"];
    let mut silent = Starting::new("bob", hidden).in_namespace(&lan.namespace("bob")).start();
    silent.event("listening");
    let heard = networks(&lan, "ann", &[]);
    assert_eq!(heard.len(), 1, "{heard:?}");
    let network = &heard[0];
    assert_eq!(
        (&network["network"], &network["peer_id"], &network["known"]),
        (&json!("lab"), &id, &json!("new"))
    );
    assert_eq!(network["addrs"], json!(["10.77.0.1:4702"]));
    assert!(network["rtt_us"].as_u64().is_some_and(|micros| micros > 0), "{network}");
    let link = format!("pyile://10.77.0.1/{}", id.as_str().unwrap());
    let mut ann = Starting::new("ann", &["join", &link]).in_namespace(&lan.namespace("ann")).start();
    ann.event("authenticated");
    assert_eq!(host.leave(), 0);
    assert_eq!(networks(&lan, "ann", &[]), Vec::<Value>::new(), "it has said goodbye");
}

#[test]
fn half_open_tcp() {
    let Some(lan) = Lan::new(&["host", "ann", "bob"]) else { return };
    let mut host = lan.host("host");
    let (mut ann, mut bob) = (lan.join(&host, "ann"), lan.join(&host, "bob"));
    ann.wait_for("bob", |event| event["event"] == "peer_up" && event["peer"]["alias"] == "bob");
    ann.say(json!({"cmd": "send", "to": "bob", "text": "before", "ref": "before"}));
    bob.wait_for("the first", says("before"));
    lan.plug("bob", false);
    ann.say(json!({"cmd": "send", "to": "bob", "text": "meanwhile", "ref": "meanwhile"}));
    host.wait_for("bob's removal", |event| {
        event["event"] == "peer_down" && event["reason"] == "heartbeat_timeout"
    });
    lan.plug("bob", true);
    bob.wait_for("what was said meanwhile", says("meanwhile"));
    ann.wait_for("its acknowledgement", is_delivered("meanwhile"));
    assert_eq!(bob.count(says("meanwhile")), 1);
}

#[test]
fn partition_between_two_members_that_both_see_the_host() {
    let Some(lan) = Lan::new(&["host", "ann", "bob"]) else { return };
    let mut host = lan.host("host");
    lan.isolate("ann", true);
    lan.isolate("bob", true);
    let (mut ann, mut bob) = (lan.join(&host, "ann"), lan.join(&host, "bob"));
    ann.wait_for("bob", |event| event["event"] == "peer_up" && event["peer"]["alias"] == "bob");
    ann.say(json!({"cmd": "send", "to": "bob", "text": "for you alone", "ref": "1"}));
    bob.wait_for("what ann said", says("for you alone"));
    ann.wait_for("its acknowledgement", is_delivered("1"));
    assert!(ann.seen(|event| event["event"] == "route" && event["via"]["alias"] == "host"));
    assert!(!host.seen(|event| event["event"] == "message"), "the relay reads nothing");
    host.wait_for("who does not reach whom", |event| {
        event["event"] == "no_ways" && event["ways"].as_array().is_some_and(|ways| ways.len() == 2)
    });
    bob.say(json!({"cmd": "send", "to": "everyone", "text": "and back", "ref": "2"}));
    ann.wait_for("the answer", says("and back"));
    host.wait_for("the same", says("and back"));
    // The direct way is taken again when it is there.
    lan.isolate("bob", false);
    ann.rewind();
    ann.wait_for("the direct way", |event| event["event"] == "route" && event["via"].is_null());
    ann.say(json!({"cmd": "send", "to": "bob", "text": "directly", "ref": "3"}));
    bob.wait_for("what ann said", says("directly"));
}

#[test]
fn a_path_that_swallows_large_packets() {
    let Some(lan) = Lan::new(&["host", "ann"]) else { return };
    let _host = lan.host("host");
    let target = "10.77.0.1:4702";
    let look = || diagnose_on(Some(&lan.namespace("ann")), target, &[], None);
    let (findings, code) = look();
    assert_eq!((found(&findings, "packets").0.as_str(), code), ("good", 0), "{findings:#?}");
    // The switch's own end takes less, and nobody says so. Packets are not to be cut any later than by their sender.
    for machine in ["host", "ann"] {
        lan.on(machine, &["ip", "link", "set", "eth0", "gso_max_segs", "1"]);
    }
    lan.on("switch", &["ip", "link", "set", "ann", "mtu", "1280"]);
    let (findings, code) = look();
    let (verdict, words) = found(&findings, "packets");
    assert_eq!((verdict.as_str(), code), ("bad", 3), "{findings:#?}");
    assert!(words.contains("large ones are lost"), "{words}");
}

#[test]
fn ipv6_only() {
    let Some(lan) = Lan::new(&["host", "ann", "bob"]) else { return };
    for (number, machine) in ["host", "ann", "bob"].iter().enumerate() {
        lan.on(machine, &["ip", "-4", "addr", "flush", "dev", "eth0"]);
        lan.on(machine, &["ip", "-4", "addr", "flush", "dev", "lo"]);
        let addr = format!("fd77::{}/64", number + 1);
        lan.on(machine, &["ip", "-6", "addr", "add", &addr, "dev", "eth0", "nodad"]);
    }
    // On all addresses, as one hosts who knows nothing of this.
    let mut host = Starting::host("host").listen("[::]:4702").in_namespace(&lan.namespace("host")).start();
    let join = |machine: &str, target: &str| {
        let starting = Starting::new(machine, &["join", target]);
        let mut peer = starting.in_namespace(&lan.namespace(machine)).start();
        peer.event("authenticated");
        peer
    };
    // With a port and without.
    let (mut ann, mut bob) = (join("ann", "[fd77::1]:4702"), join("bob", "fd77::1"));
    ann.wait_for("bob", |event| event["event"] == "peer_up" && event["peer"]["alias"] == "bob");
    ann.say(json!({"cmd": "send", "to": "everyone", "text": "to all six"}));
    bob.wait_for("what ann said", says("to all six"));
    host.wait_for("the same", says("to all six"));
    assert!(!ann.seen(|event| event["event"] == "route"), "nobody carries it");
    let (findings, code) = diagnose_on(Some(&lan.namespace("ann")), "fd77::1", &[], None);
    assert!(found(&findings, "port").0 == "good" && code != 3, "{findings:#?}");
}

#[test]
fn on_the_link_alone_by_addresses_with_a_zone() {
    let Some(lan) = Lan::new(&["host", "ann"]) else { return };
    for (number, machine) in ["host", "ann"].iter().enumerate() {
        lan.on(machine, &["ip", "-4", "addr", "flush", "dev", "eth0"]);
        lan.on(machine, &["ip", "-6", "addr", "flush", "dev", "eth0"]);
        let addr = format!("fe80::77:{}/64", number + 1);
        lan.on(machine, &["ip", "-6", "addr", "add", &addr, "dev", "eth0", "nodad"]);
    }
    let mut host = Starting::host("host").listen("[::]:4702").in_namespace(&lan.namespace("host")).start();
    let mut ann =
        Starting::new("ann", &["join", "fe80::77:1%eth0"]).in_namespace(&lan.namespace("ann")).start();
    ann.event("authenticated");
    ann.say(json!({"cmd": "send", "to": "everyone", "text": "over the link"}));
    host.wait_for("what ann said", says("over the link"));
    host.say(json!({"cmd": "send", "to": "ann", "text": "and back", "ref": "1"}));
    ann.wait_for("what the host said", says("and back"));
    host.wait_for("delivered", is_delivered("1"));
    assert_eq!(ann.leave(), 0);
    // The zone is remembered with the host's key: by its number it is the same host.
    let known = std::fs::read_to_string(ann.dir().path().join("default/known_hosts.json")).unwrap();
    assert!(known.contains("[fe80::77:1%eth0]:4702"), "{known}");
}

/// How a check stands, and its words.
fn found(findings: &[Value], check: &str) -> (String, String) {
    let finding = findings.iter().find(|finding| finding["check"] == check);
    let finding = finding.unwrap_or_else(|| panic!("no {check} in {findings:#?}"));
    let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    (text("verdict"), format!("{} → {}", text("message"), text("next")))
}

#[test]
fn doctor_at_a_filtered_port_and_at_an_address_that_nobody_has() {
    let Some(lan) = Lan::new(&["host", "ann"]) else { return };
    let _host = lan.host("host");
    let ann = lan.namespace("ann");
    // Its answers to ann go nowhere.
    lan.on("host", &["ip", "route", "add", "blackhole", "10.77.0.2/32"]);
    let (findings, code) = diagnose_on(Some(&ann), "10.77.0.1", &[], None);
    let (verdict, words) = found(&findings, "port");
    assert_eq!((verdict.as_str(), code), ("bad", 3));
    assert!(words.contains("a firewall drops what is sent there") && words.contains("4702/tcp"), "{words}");
    let (findings, code) = diagnose_on(Some(&ann), "10.99.0.1", &[], None);
    let (verdict, words) = found(&findings, "route");
    assert_eq!((verdict.as_str(), code), ("bad", 3));
    assert!(words.contains("no way to 10.99.0.1"), "{words}");
}

#[test]
fn doctor_behind_a_closed_peer_port_which_is_marked_and_messages_arrive() {
    let Some(lan) = Lan::new(&["host", "ann", "bob"]) else { return };
    let mut host = lan.host("host");
    let closed = ["--alias", "dora", "--peer-listen", "127.0.0.1:50555"];
    let (findings, code) =
        diagnose_on(Some(&lan.namespace("ann")), "10.77.0.1", &closed, Some("open sesame"));
    let (verdict, words) = found(&findings, "peer_port");
    assert_eq!((verdict.as_str(), code), ("poor", 0));
    assert!(words.contains("the host cannot open a link") && words.contains("nothing listens"), "{words}");
    assert!(words.contains("50555"), "the command names the port: {words}");
    host.wait_for("the end of it", |event| event["event"] == "peer_down");
    // The same in a session: everybody is told, and messages go both ways.
    let mut bob = lan.join(&host, "bob");
    let mut ann = Starting::join(&host, "ann")
        .args(&["--peer-listen", "127.0.0.1:50555"])
        .in_namespace(&lan.namespace("ann"))
        .start();
    ann.event("authenticated");
    bob.wait_for("ann", |event| event["event"] == "peer_up" && event["peer"]["alias"] == "ann");
    bob.say(json!({"cmd": "send", "to": "ann", "text": "can you hear me?", "ref": "1"}));
    ann.wait_for("what bob said", says("can you hear me?"));
    ann.say(json!({"cmd": "send", "to": "everyone", "text": "yes", "ref": "2"}));
    bob.wait_for("the answer", says("yes"));
    host.wait_for("the answer", says("yes"));
    bob.wait_for("who does not reach ann", |event| {
        event["event"] == "no_ways" && event["ways"].as_array().is_some_and(|ways| !ways.is_empty())
    });
}

#[test]
fn address_change() {
    let Some(lan) = Lan::new(&["host", "ann", "bob"]) else { return };
    let mut host = lan.host("host");
    let (mut ann, mut bob) = (lan.join(&host, "ann"), lan.join(&host, "bob"));
    ann.wait_for("bob", |event| event["event"] == "peer_up" && event["peer"]["alias"] == "bob");
    lan.on("bob", &["ip", "addr", "del", "10.77.0.3/24", "dev", "eth0"]);
    lan.on("bob", &["ip", "addr", "add", "10.77.0.33/24", "dev", "eth0"]);
    ann.say(json!({"cmd": "send", "to": "bob", "text": "wherever you are", "ref": "1"}));
    let is_moved = |event: &Value| {
        event["event"] == "roster"
            && event["peers"].as_array().is_some_and(|peers| {
                let mut addrs = peers.iter().filter_map(|peer| peer["addr"].as_str());
                addrs.any(|addr| addr.starts_with("10.77.0.33:"))
            })
    };
    let moved = host.wait_for("bob at its new address", is_moved);
    bob.wait_for("what ann said", says("wherever you are"));
    ann.wait_for("its acknowledgement", is_delivered("1"));
    // And it listens there: nobody has to ask it to come.
    let mut addrs = moved["peers"].as_array().unwrap().iter().filter_map(|peer| peer["addr"].as_str());
    let port = addrs.find_map(|addr| addr.strip_prefix("10.77.0.33:")).unwrap();
    lan.on("ann", &["bash", "-c", &format!("exec 3<>/dev/tcp/10.77.0.33/{port}")]);
}

#[test]
fn several_addresses_for_one_name() {
    let Some(lan) = Lan::new(&["host", "ann"]) else { return };
    let _host = lan.host("host");
    // The first one leads nowhere: it is the nearer one to ann's own, by which the system sorts them (RFC 6724).
    let namespace = lan.namespace("ann");
    let etc = format!("/etc/netns/{namespace}");
    std::fs::create_dir_all(&etc).unwrap();
    std::fs::write(format!("{etc}/hosts"), "10.77.0.3 lab\n10.77.0.1 lab\n").unwrap();
    let mut ann = Starting::new("ann", &["join", "lab"]).in_namespace(&namespace).start();
    ann.event("authenticated");
    drop(ann);
    std::fs::remove_dir_all(etc).unwrap();
}

#[test]
fn host_whose_cable_was_pulled() {
    let Some(lan) = Lan::new(&["host", "ann", "bob"]) else { return };
    let host = lan.host("host");
    let (mut ann, mut bob) = (lan.join(&host, "ann"), lan.join(&host, "bob"));
    ann.wait_for("bob", |event| event["event"] == "peer_up" && event["peer"]["alias"] == "bob");
    lan.plug("host", false);
    for peer in [&mut ann, &mut bob] {
        peer.wait_for("the loss", |event| event["event"] == "link" && event["state"] == "waiting");
    }
    ann.say(json!({"cmd": "send", "to": "bob", "text": "without a host", "ref": "1"}));
    bob.wait_for("what ann said", says("without a host"));
    lan.plug("host", true);
    for peer in [&mut ann, &mut bob] {
        peer.wait_for("the host", |event| event["event"] == "authenticated");
    }
}

#[test]
fn a_deputy_opens_the_network_of_a_host_whose_cable_was_pulled_and_which_is_a_member_then() {
    let Some(lan) = Lan::new(&["host", "ann", "bob"]) else { return };
    let starting = Starting::host("host").listen("10.77.0.1:4702").args(&["--grace", "1"]);
    let mut host = starting.in_namespace(&lan.namespace("host")).start();
    let (mut ann, mut bob) = (lan.join(&host, "ann"), lan.join(&host, "bob"));
    host.say(json!({"cmd": "deputy", "peer": "bob"}));
    ann.wait_for("the deputy", |event| event["event"] == "deputy" && event["peer"]["alias"] == "bob");
    // Its first roster was of itself alone too.
    host.forget_past();
    lan.plug("host", false);
    let is_told = |event: &Value| {
        event["event"] == "error" && event["message"].as_str().unwrap().contains("you are its deputy")
    };
    bob.wait_for("its choice", is_told);
    bob.say(json!({"cmd": "take_over"}));
    let opened = ann.event("handover");
    assert_eq!(opened["join_addr"], "10.77.0.3:4702");
    ann.rewind();
    ann.wait_for("bob", |event| event["event"] == "authenticated" && event["host"]["alias"] == "bob");
    ann.say(json!({"cmd": "send", "to": "everyone", "text": "at bob's"}));
    bob.wait_for("what ann said", says("at bob's"));
    host.wait_for("that nobody is there", |event| {
        event["event"] == "roster" && event["peers"].as_array().is_some_and(|peers| peers.len() == 1)
    });
    // It was there all the time, and finds that it is the host no more.
    lan.plug("host", true);
    host.wait_for("bob", |event| event["event"] == "authenticated" && event["host"]["alias"] == "bob");
    host.wait_for("what ann said", says("at bob's"));
    host.say(json!({"cmd": "send", "to": "ann", "text": "back"}));
    ann.wait_for("what the old host said", says("back"));
}

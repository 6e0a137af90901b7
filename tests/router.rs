//! A host behind a router that translates, and somebody on the internet: with a real miniupnpd for PCP and UPnP, and a small
//! program of the tests' own for NAT-PMP. Needs root, iproute2 and nftables: without them every test here says SKIPPED.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::process::Command;

use serde_json::{Value, json};
use support::{
    Peer, Starting,
    lan::{Lan, OUTSIDE, Running},
};

/// A host's network behind a router.
fn behind_a_router() -> Option<Lan> {
    if !Command::new("nft").arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: nftables is not installed");
        return None;
    }
    let mut lan = Lan::new(&["host", "ann"])?;
    lan.add_router();
    Some(lan)
}

/// The router's program that opens ports, by NAT-PMP and PCP too, or by UPnP alone.
fn miniupnpd(lan: &Lan, has_natpmp: bool) -> Option<(Running, tempfile::TempDir)> {
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "ext_ifname=wan\nlistening_ip=eth0\nhttp_port=0\nenable_natpmp={}\nenable_upnp=yes\nsecure_mode=yes\n\
         upnp_table_name=filter\nupnp_nat_table_name=filter\nupnp_forward_chain=miniupnpd\nupnp_nat_chain=mapped\n\
         upnp_nat_postrouting_chain=from_mapped\nuuid=00000000-0000-0000-0000-000000000001\n\
         allow 1024-65535 10.77.0.0/24 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n",
        if has_natpmp { "yes" } else { "no" }
    );
    let file = dir.path().join("miniupnpd.conf");
    std::fs::write(&file, config).unwrap();
    let pid = dir.path().join("pid");
    let words = ["/usr/sbin/miniupnpd", "-d", "-f", file.to_str().unwrap(), "-P", pid.to_str().unwrap()];
    Some((lan.run("router", &words)?, dir))
}

fn host(lan: &Lan) -> Peer {
    let starting = Starting::host("host").listen("0.0.0.0:4702").args(&["--map-port"]);
    starting.in_namespace(&lan.namespace("host")).start()
}

/// What came of asking, once the router answers: it takes a moment to start.
fn doctor(lan: &Lan) -> (Value, i32) {
    let data = tempfile::tempdir().unwrap();
    let words = [
        "netns",
        "exec",
        &lan.namespace("host"),
        env!("CARGO_BIN_EXE_pyile"),
        "doctor",
        "--map-port",
        "--json",
    ];
    let output = Command::new("ip").args(words).arg("--data-dir").arg(data.path()).output().unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    (serde_json::from_str(line.trim()).unwrap(), output.status.code().unwrap())
}

fn wait_for_router(lan: &Lan) -> Value {
    for _ in 0..20 {
        let (finding, code) = doctor(lan);
        if code == 0 {
            return finding;
        }
    }
    panic!("{:#?}", doctor(lan));
}

fn says(text: &str) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == "message" && event["text"] == text && event["own"] == false
}

/// Somebody on the internet comes in by an invite, and both talk.
fn comes_in_from_outside(lan: &Lan, host: &mut Peer, protocol: &str) {
    let mapped = host.event("port_mapping");
    assert_eq!(
        (&mapped["addr"], &mapped["protocol"]),
        (&json!(format!("{OUTSIDE}:4702")), &json!(protocol)),
        "{mapped}"
    );
    assert_eq!(lan.let_in(), 2, "for joiners, and for peers");
    host.say(json!({"cmd": "invite"}));
    let link = host.event("invite")["link"].as_str().unwrap().to_owned();
    assert!(link.starts_with(&format!("pyile://{OUTSIDE},10.77.0.1/")), "{link}");
    // Where nobody reaches it: it has to come to the host's own peer port.
    let outside = Starting::new("erin", &["join", &link, "--peer-listen", "127.0.0.1:50555"]);
    let mut erin = outside.no_password().in_namespace(&lan.namespace("outside")).start();
    erin.event("authenticated");
    erin.say(json!({"cmd": "send", "to": "host", "text": "from outside"}));
    host.wait_for("what erin said", says("from outside"));
    host.say(json!({"cmd": "send", "to": "erin", "text": "from inside", "ref": "1"}));
    erin.wait_for("what the host said", says("from inside"));
    host.wait_for("its delivery", |event| event["ref"] == "1" && event["status"] == "delivered");
    assert!(!erin.seen(|event| event["event"] == "route" && !event["via"].is_null()), "nobody relays");
}

#[test]
fn a_host_behind_a_router_is_joined_from_outside_and_gives_its_ports_back() {
    for (has_natpmp, protocol) in [(true, "pcp"), (false, "upnp")] {
        let Some(lan) = behind_a_router() else { return };
        let Some(_router) = miniupnpd(&lan, has_natpmp) else { return };
        let finding = wait_for_router(&lan);
        assert!(finding["message"].as_str().unwrap().contains(OUTSIDE), "{finding}");
        assert_eq!(lan.let_in(), 0, "what doctor has asked for it gives back");
        let mut host = host(&lan);
        comes_in_from_outside(&lan, &mut host, protocol);
        assert_eq!(host.leave(), 0);
        assert_eq!(lan.let_in(), 0, "{protocol}: nobody comes in any more");
    }
}

/// A router that speaks NAT-PMP (RFC 6886) and nothing newer, and only pretends to open ports. What it was asked is in a file.
const NAT_PMP: &str = r#"
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("10.77.0.254", 5351))
while True:
    asked, who = s.recvfrom(1100)
    version, code = asked[0], asked[1]
    if version != 0:
        said = struct.pack("!BBHI", 0, 128 + code, 1, 0)
    elif code == 0:
        said = struct.pack("!BBHI4B", 0, 128, 0, 7, 1, 2, 3, 1)
    else:
        inside, outside, lifetime = struct.unpack("!HHI", asked[4:12])
        open(sys.argv[1], "a").write(f"{inside} {lifetime}\n")
        said = struct.pack("!BBHIHHI", 0, 128 + code, 0, 7, inside, outside, lifetime)
    s.sendto(said, who)
"#;

#[test]
fn a_router_that_knows_nat_pmp_alone_is_asked_by_that() {
    let Some(lan) = behind_a_router() else { return };
    let asked = tempfile::NamedTempFile::new().unwrap();
    let words = ["python3", "-c", NAT_PMP, asked.path().to_str().unwrap()];
    let Some(_router) = lan.run("router", &words) else { return };
    wait_for_router(&lan);
    let mut host = host(&lan);
    let mapped = host.event("port_mapping");
    assert_eq!((&mapped["addr"], &mapped["protocol"]), (&json!("1.2.3.1:4702"), &json!("nat_pmp")));
    assert_eq!(host.leave(), 0);
    let asked = std::fs::read_to_string(asked.path()).unwrap();
    let of_join: Vec<&str> = asked.lines().filter(|line| line.starts_with("4702 ")).collect();
    assert_eq!(of_join, ["4702 7200", "4702 0"], "opened, and given back");
}

#[test]
fn where_no_router_opens_anything_the_host_and_doctor_say_so_and_those_here_come_in_as_ever() {
    let Some(lan) = behind_a_router() else { return };
    let (finding, code) = doctor(&lan);
    assert_eq!((&finding["verdict"], code), (&json!("bad"), 3), "{finding}");
    let words = finding["message"].as_str().unwrap();
    assert!(words.contains("10.77.0.254 opens no port") && words.contains("it does not answer"), "{words}");
    let mut host = host(&lan);
    let mapped = host.event("port_mapping");
    assert!(mapped["addr"].is_null() && mapped["protocol"].is_null(), "{mapped}");
    assert!(mapped["message"].as_str().unwrap().contains("forward port 4702 there by hand"), "{mapped}");
    host.say(json!({"cmd": "invite"}));
    let link = host.event("invite")["link"].as_str().unwrap().to_owned();
    assert!(link.starts_with("pyile://10.77.0.1/"), "{link}");
    let mut ann = Starting::new("ann", &["join", &link]).in_namespace(&lan.namespace("ann")).start();
    ann.event("authenticated");
    assert_eq!(host.leave(), 0);
}

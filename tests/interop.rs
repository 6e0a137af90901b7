//! The Python program itself, `pyile_protocol` 0.1.1, beside the real binary: in networks of this one, and this one in
//! networks of its own. `PYILE_PYTHON` names an interpreter that has it, as `.ci/run` makes one; without it these
//! tests say that they are skipped, and `tests/classic.rs` holds this program to what was recorded.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::{
    io::Write as _,
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    thread,
};

use pyile::{
    api::NodeEvent,
    model::{Alias, Password, Policy},
    network::{HostOptions, JoinOptions, Network},
    security::PasswordCost,
    store::Profile,
};
use serde_json::{Value, json};
use support::{
    Peer, Starting, python,
    transcript::{Ask, Script, Side, connect},
};

/// Each run has addresses of its own: the Python program needs one for itself.
static LANE: AtomicU8 = AtomicU8::new(1);

fn lane() -> u8 {
    LANE.fetch_add(1, Ordering::Relaxed)
}

/// The Python program is there; otherwise says that nothing is tested.
fn is_there() -> bool {
    let is_there = std::env::var_os("PYILE_PYTHON").is_some();
    if !is_there {
        // Past the test harness, which would swallow it.
        let words = "SKIPPED: PYILE_PYTHON names no interpreter with pyile_protocol 0.1.1; .ci/run makes one";
        let _ = writeln!(std::io::stderr(), "{words}");
    }
    is_there
}

fn port_of(addr: &str) -> &str {
    addr.rsplit_once(':').unwrap().1
}

/// A Python joiner at `ip`.
fn joins(ip: &str, host: &str, alias: &str) -> Peer {
    let (host_ip, host_port) = host.rsplit_once(':').unwrap();
    python(&["join", ip, "4702", "open sesame", host_ip, host_port, alias]).unwrap()
}

fn ready(python: &mut Peer) -> Value {
    python.event("ready")["address"].clone()
}

fn has_roster(count: usize) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == "roster" && event["peers"].as_array().unwrap().len() == count
}

fn is_message(text: &str) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == "message" && event["text"] == text && event["own"] != true
}

fn is_down(addr: &Value, reason: &str) -> impl Fn(&Value) -> bool {
    let addr = format!("{}:{}", addr[0].as_str().unwrap(), addr[1]);
    move |event| {
        event["event"] == "peer_down" && event["peer"]["addr"] == addr.as_str() && event["reason"] == reason
    }
}

/// The Python program takes itself for a member a moment before its host does.
fn is_up(addr: &Value) -> impl Fn(&Value) -> bool {
    let addr = format!("{}:{}", addr[0].as_str().unwrap(), addr[1]);
    move |event| event["event"] == "peer_up" && event["peer"]["addr"] == addr.as_str()
}

/// Somebody in a network, and where classic peers find it.
struct Member {
    name: &'static str,
    peer: Peer,
    is_python: bool,
    addr: Value,
}

impl Member {
    fn pyile(name: &'static str, mut peer: Peer) -> Self {
        peer.rewind();
        let listening = peer.event("listening");
        let addr = listening["peer_addr"].as_str().unwrap();
        let (ip, port) = addr.rsplit_once(':').unwrap();
        Self { name, peer, is_python: false, addr: json!([ip, port.parse::<u16>().unwrap()]) }
    }

    fn python(name: &'static str, mut peer: Peer) -> Self {
        let addr = ready(&mut peer);
        Self { name, peer, is_python: true, addr }
    }

    fn broadcasts(&mut self, text: &str) {
        if self.is_python {
            self.peer.say(json!({"do": "broadcast", "text": text}));
        } else {
            self.peer.say(json!({"cmd": "send", "to": "everyone", "text": text, "ref": text}));
        }
    }

    fn sends(&mut self, to: (&str, &Value), text: &str) {
        if self.is_python {
            self.peer.say(json!({"do": "send", "to": to.1, "text": text}));
        } else {
            self.peer.say(json!({"cmd": "send", "to": to.0, "text": text, "ref": text}));
        }
    }
}

/// Everybody says something to all, and to each alone; everybody hears it once, and knows whose it is.
fn all_talk(members: &mut [Member]) {
    let count = members.len();
    for member in &mut *members {
        member.peer.rewind();
        member.peer.wait_for("all", has_roster(count));
    }
    for speaker in 0..count {
        let text = format!("{} to all", members[speaker].name);
        members[speaker].broadcasts(&text);
        for hearer in (0..count).filter(|hearer| *hearer != speaker) {
            let name = members[speaker].name;
            let heard = members[hearer].peer.wait_for(&text, is_message(&text));
            if members[hearer].is_python {
                assert_eq!(heard["alias"], name);
            } else {
                assert!(heard["from"]["alias"] == name || heard["claims"] == name, "{heard}");
            }
            members[hearer].peer.rewind();
        }
        if !members[speaker].is_python {
            let whole = format!("{0}/{0}", count - 1);
            members[speaker].peer.wait_for("delivered to all", |event| {
                event["event"] == "delivery" && event["ref"] == text.as_str() && event["summary"] == whole
            });
        }
    }
    // Where a native host has to tell, it has told by now who is called what.
    let names: Vec<&str> = members.iter().map(|member| member.name).collect();
    for member in members.iter_mut().filter(|member| !member.is_python) {
        member.peer.rewind();
        member.peer.wait_for("all by name", |event| {
            let peers = event["peers"].as_array();
            event["event"] == "roster"
                && peers.is_some_and(|peers| {
                    names.iter().all(|name| peers.iter().any(|peer| peer["alias"] == *name))
                })
        });
        member.peer.rewind();
    }
    for speaker in 0..count {
        for hearer in (0..count).filter(|hearer| *hearer != speaker) {
            let text = format!("{} to {}", members[speaker].name, members[hearer].name);
            let (name, addr) = (members[hearer].name, members[hearer].addr.clone());
            members[speaker].sends((name, &addr), &text);
            let heard = members[hearer].peer.wait_for(&text, is_message(&text));
            assert_ne!(heard["to"], "everyone");
            members[hearer].peer.rewind();
            if !members[speaker].is_python {
                members[speaker].peer.wait_for("delivered", |event| {
                    event["event"] == "delivery"
                        && event["ref"] == text.as_str()
                        && event["status"] == "delivered"
                });
                members[speaker].peer.rewind();
            }
        }
    }
    for member in members {
        let doubled = |event: &Value| event["event"] == "message" && event["own"] != true;
        let others = count - 1;
        assert_eq!(member.peer.count(doubled), 2 * others, "{} heard each once", member.name);
    }
}

/// Two Python programs in a network of this one, beside two native members.
fn in_a_pyile_network() {
    let lane = lane();
    let host = Starting::host("host").args(&["--classic"]).start();
    let addr = host.join_addr();
    let (bob_ip, eve_ip) = (format!("127.0.{lane}.2"), format!("127.0.{lane}.3"));
    let bob = joins(&bob_ip, &addr, "bob");
    let eve = joins(&eve_ip, &addr, "eve");
    let (ann, carl) = (Starting::join(&host, "ann").start(), Starting::join(&host, "carl").start());
    let mut members = [
        Member::pyile("host", host),
        Member::pyile("ann", ann),
        Member::pyile("carl", carl),
        Member::python("bob", bob),
        Member::python("eve", eve),
    ];
    all_talk(&mut members);
    let [mut host, mut ann, mut carl, mut bob, mut eve] = members;
    // One leaves, and all see it.
    eve.peer.forget_past();
    bob.peer.say(json!({"do": "leave"}));
    for member in [&mut host, &mut ann, &mut carl] {
        member.peer.wait_for("bob gone", is_down(&bob.addr, "left"));
    }
    eve.peer.wait_for("roster without bob", has_roster(4));
    // One falls silent, and is removed.
    eve.peer.signal("STOP");
    ann.peer.wait_for("eve gone", is_down(&eve.addr, "heartbeat_timeout"));
    eve.peer.signal("CONT");
    eve.peer.event("left");
    // One that is banned is cut off at once, and refused afterwards.
    let mut bob = Member::python("bob", joins(&bob_ip, &addr, "bob"));
    carl.peer.wait_for("bob here", is_up(&bob.addr));
    host.peer.say(json!({"cmd": "ban", "addr": bob_ip, "reason": "spam"}));
    carl.peer.wait_for("bob banned", is_down(&bob.addr, "banned"));
    bob.peer.event("left");
    let mut again = joins(&bob_ip, &addr, "bob");
    again.wait_for("banned", |event| event["text"] == "You are banned from this network");
    // A wrong password is counted.
    let mut wrong = python(&["join", &eve_ip, "4702", "wrong", "127.0.0.1", port_of(&addr), "eve"]).unwrap();
    wrong.event("refused");
    let attempt = host.peer.event("attempt");
    assert_eq!((&attempt["addr"], &attempt["left"]), (&json!(eve_ip), &json!(2)));
    let mut eve = Member::python("eve", joins(&eve_ip, &addr, "eve"));
    ann.peer.wait_for("eve here", is_up(&eve.addr));
    host.peer.say(json!({"cmd": "kick", "addr": eve_ip}));
    ann.peer.wait_for("eve kicked", is_down(&eve.addr, "kicked"));
    eve.peer.event("left");
    assert_eq!(host.peer.leave(), 0);
}

/// This program and a Python one in a network of the Python program.
fn in_a_python_network() {
    let lane = lane();
    let ip = |last: u8| format!("127.0.{lane}.{last}");
    let host = python(&["host", &ip(1), "4702", "open sesame", "2", "host"]).unwrap();
    let host = Member::python("host", host);
    let addr = format!("{}:4702", ip(1));
    let bob = Member::python("bob", joins(&ip(2), &addr, "bob"));
    let join = |alias: &str, listen: &str| {
        Starting::new(alias, &["join", &addr, "--classic", "--peer-listen", listen]).start()
    };
    // The system sends what Python programs on one machine say to each other from 127.0.0.1: somebody must be there.
    let ann = Member::pyile("ann", join("ann", "127.0.0.1:0"));
    let carl = Member::pyile("carl", join("carl", &format!("{}:0", ip(4))));
    let mut members = [host, bob, ann, carl];
    all_talk(&mut members);
    let [mut host, mut bob, mut ann, mut carl] = members;
    assert_eq!(carl.peer.leave(), 0);
    for member in [&mut host, &mut bob, &mut ann] {
        member.peer.rewind();
        member.peer.wait_for("all", has_roster(4));
        member.peer.wait_for("without carl", has_roster(3));
    }
    bob.peer.say(json!({"do": "leave"}));
    ann.peer.wait_for("bob gone", is_down(&bob.addr, "left"));
    // It says no, and then that this address is banned.
    let refused = |alias: &str| {
        Starting::new(alias, &["join", &addr, "--classic"]).password("wrong").start().exit_code()
    };
    assert_eq!([refused("x"), refused("y"), refused("z")], [4, 4, 5]);
    host.peer.kill();
    ann.peer.wait_for("host lost", |event| event["event"] == "link" && event["state"] == "waiting");
    assert_eq!(ann.peer.leave(), 0);
}

#[test]
fn two_python_programs_in_a_pyile_network() {
    if is_there() {
        in_a_pyile_network();
    }
}

#[test]
fn pyile_in_a_python_network() {
    if is_there() {
        in_a_python_network();
    }
}

/// Twenty times each, several at once, while the machine has other work to do.
#[test]
fn again_and_again_on_a_busy_machine() {
    if !is_there() {
        return;
    }
    let done = Arc::new(AtomicBool::new(false));
    let cores = thread::available_parallelism().map_or(2, usize::from);
    let busy: Vec<_> = (0..cores)
        .map(|_| {
            let done = done.clone();
            thread::spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        })
        .collect();
    let lanes: Vec<_> = (0..10)
        .map(|_| {
            thread::spawn(|| {
                for _ in 0..2 {
                    in_a_pyile_network();
                    in_a_python_network();
                }
            })
        })
        .collect();
    let failed = lanes.into_iter().map(thread::JoinHandle::join).filter(Result::is_err).count();
    done.store(true, Ordering::Relaxed);
    for thread in busy {
        thread.join().unwrap();
    }
    assert_eq!(failed, 0);
}

#[test]
fn a_python_program_that_reads_late_joins_every_time() {
    if !is_there() {
        return;
    }
    let host = Starting::host("host").args(&["--classic"]).start();
    let port = port_of(&host.join_addr()).to_owned();
    for _ in 0..5 {
        let ip = format!("127.0.{}.2", lane());
        let args = ["join", &ip, "4702", "open sesame", "127.0.0.1", &port, "late", "0.1"];
        let mut late = python(&args).unwrap();
        ready(&mut late);
        late.rewind();
        late.wait_for("roster", |event| event["event"] == "roster");
    }
}

#[test]
fn a_roster_of_70_is_read_by_a_python_program() {
    if !is_there() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_guard, cost) = (runtime.enter(), PasswordCost::TEST);
    let password = || Password::new("open sesame".into());
    let profile = || Profile::ephemeral().unwrap();
    runtime.block_on(async {
        let options = HostOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            policy: Policy { classic: true, ..Policy::default() },
            cost,
            ..HostOptions::new(Alias::new("host").unwrap(), password())
        };
        let (host, mut at_host) = Network::host(options, profile()).await.unwrap();
        let addr = host.join_addr().unwrap().to_string();
        let mut members = Vec::new();
        for number in 1..69 {
            let alias = Alias::new(&format!("m{number}")).unwrap();
            let options = JoinOptions { cost, ..JoinOptions::new(&addr, alias, password()) };
            let (member, mut events) = Network::join(options, profile()).unwrap();
            while !matches!(events.next().await, Some(NodeEvent::Authenticated { .. })) {}
            members.push(member);
        }
        let ip = format!("127.0.{}.2", lane());
        let python = tokio::task::spawn_blocking(move || {
            let mut python = joins(&ip, &addr, "bob");
            ready(&mut python);
            python.rewind();
            python.wait_for("a roster of 70", has_roster(70));
            python.say(json!({"do": "broadcast", "text": "hello to 69"}));
            python
        });
        loop {
            let event = at_host.next().await;
            if matches!(event, Some(NodeEvent::Message { text, .. }) if text.as_str() == "hello to 69") {
                break;
            }
        }
        drop(python.await);
    });
}

// ---- The recordings of tests/classic.rs are true ----

#[test]
fn the_python_joiner_is_as_recorded() {
    if !is_there() {
        return;
    }
    let ip = format!("127.0.{}.2", lane());
    for (name, password) in [("admitted", "open sesame"), ("refused", "wrong"), ("banned", "open sesame")] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let mut joiner = python(&["join", &ip, "4702", password, "127.0.0.1", &port, "bob"]).unwrap();
        let (join, _) = listener.accept().unwrap();
        let mut script = Script::new(Side::Host, join, "127.0.0.1", &ip);
        script.play(name, |asked| match asked {
            Ask::Broadcast(text) => {
                ready(&mut joiner);
                joiner.say(json!({"do": "broadcast", "text": text}));
            }
            Ask::Direct(text) => {
                let to = joiner.wait_for("a message", |event| event["event"] == "message")["sender"].clone();
                joiner.say(json!({"do": "send", "to": to, "text": text}));
            }
            Ask::Close if name == "admitted" => joiner.say(json!({"do": "leave"})),
            Ask::Close => {}
        });
        assert_eq!(script.words["$joiner"], json!(ip));
    }
}

#[test]
fn the_python_host_is_as_recorded() {
    if !is_there() {
        return;
    }
    let ip = format!("127.0.{}.1", lane());
    let mut host = python(&["host", &ip, "4702", "open sesame", "2", "admin"]).unwrap();
    let addr: std::net::SocketAddr = format!("{ip}:4702").parse().unwrap();
    ready(&mut host);
    // The messages of the script come from 127.0.0.1, as those of any program on this machine.
    let own = "127.0.0.1";
    let script = |join: TcpStream| Script::new(Side::Joiner, join, &ip, own);
    script(connect(addr)).play("admitted", |asked| match asked {
        Ask::Broadcast(text) => host.say(json!({"do": "broadcast", "text": text})),
        Ask::Direct(text) => {
            let to = host.wait_for("a message", |event| event["event"] == "message")["sender"].clone();
            host.say(json!({"do": "send", "to": to, "text": text}));
        }
        Ask::Close => unreachable!("the joiner does"),
    });
    for name in ["refused", "refused", "banned"] {
        script(connect(addr)).play(name, |asked| assert_eq!(asked, Ask::Close));
    }
}

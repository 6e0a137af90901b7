//! Machines of their own: network namespaces on a switch, which need root and iproute2.

use std::{
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use super::{Peer, Starting};

/// Runs a program of the system, which must succeed.
fn must(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Machines on a switch; gone when dropped.
pub struct Lan {
    prefix: String,
    machines: Vec<String>,
}

impl Lan {
    /// Nothing when this system does not let us.
    pub fn new(machines: &[&str]) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("py{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let switch = format!("{prefix}-switch");
        let added = Command::new("ip").args(["netns", "add", &switch]).output();
        if !added.is_ok_and(|output| output.status.success()) {
            eprintln!("SKIPPED: network namespaces need root and iproute2");
            return None;
        }
        let mut lan = Self { prefix, machines: vec!["switch".to_owned()] };
        lan.on("switch", &["ip", "link", "add", "bridge", "type", "bridge"]);
        lan.on("switch", &["ip", "link", "set", "bridge", "up"]);
        for (number, name) in machines.iter().enumerate() {
            lan.add(name, u8::try_from(number + 1).unwrap());
        }
        Some(lan)
    }

    pub fn namespace(&self, machine: &str) -> String {
        format!("{}-{machine}", self.prefix)
    }

    /// Runs a program on a machine.
    pub fn on(&self, machine: &str, words: &[&str]) {
        let namespace = self.namespace(machine);
        must("ip", &[&["netns", "exec", &namespace], words].concat());
    }

    fn add(&mut self, name: &str, number: u8) {
        let (namespace, switch) = (self.namespace(name), self.namespace("switch"));
        must("ip", &["netns", "add", &namespace]);
        self.machines.push(name.to_owned());
        must(
            "ip",
            &[
                "link", "add", name, "netns", &switch, "type", "veth", "peer", "name", "eth0", "netns",
                &namespace,
            ],
        );
        self.on("switch", &["ip", "link", "set", name, "master", "bridge", "up"]);
        self.on(name, &["ip", "link", "set", "lo", "up"]);
        self.on(name, &["ip", "addr", "add", &format!("10.77.0.{number}/24"), "dev", "eth0"]);
        self.on(name, &["ip", "link", "set", "eth0", "up"]);
    }

    /// Pulls a machine's cable, or puts it back: nobody is told.
    pub fn plug(&self, machine: &str, is_in: bool) {
        let words: &[&str] = if is_in { &["master", "bridge"] } else { &["nomaster"] };
        self.on("switch", &[&["ip", "link", "set", machine], words].concat());
    }

    /// Machines that are isolated see those that are not, and not each other.
    pub fn isolate(&self, machine: &str, is_on: bool) {
        let state = if is_on { "on" } else { "off" };
        self.on("switch", &["bridge", "link", "set", "dev", machine, "isolated", state]);
    }

    pub fn host(&self, machine: &str) -> Peer {
        let addr = "10.77.0.1:4702";
        Starting::host(machine).listen(addr).in_namespace(&self.namespace(machine)).start()
    }

    pub fn join(&self, host: &Peer, machine: &str) -> Peer {
        let mut peer = Starting::join(host, machine).in_namespace(&self.namespace(machine)).start();
        peer.event("authenticated");
        peer
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for machine in &self.machines {
            let _ = Command::new("ip").args(["netns", "del", &self.namespace(machine)]).status();
        }
    }
}

/// Where the router is on the internet, and somebody else there. Nothing leads out of these namespaces.
pub const OUTSIDE: &str = "1.2.3.1";

impl Lan {
    /// A router with nothing but translation between the switch and an internet on which a machine called `outside` is.
    pub fn add_router(&mut self) {
        self.add("router", 254);
        let (router, outside) = (self.namespace("router"), self.namespace("outside"));
        must("ip", &["netns", "add", &outside]);
        self.machines.push("outside".to_owned());
        let words = [
            "link", "add", "wan", "netns", &router, "type", "veth", "peer", "name", "eth0", "netns", &outside,
        ];
        must("ip", &words);
        for (machine, addr, device) in [
            ("router", "1.2.3.1/24", "wan"),
            ("outside", "1.2.3.9/24", "eth0"),
            ("outside", "127.0.0.1/8", "lo"),
        ] {
            self.on(machine, &["ip", "addr", "add", addr, "dev", device]);
            self.on(machine, &["ip", "link", "set", device, "up"]);
        }
        for machine in self.machines.clone() {
            if !["switch", "router", "outside"].contains(&machine.as_str()) {
                self.on(&machine, &["ip", "route", "add", "default", "via", "10.77.0.254"]);
            }
        }
        self.on("router", &["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
        let rules = "table inet filter {
            chain forward {
                type filter hook forward priority 0; policy accept; jump miniupnpd; iifname wan ct state new drop;
            }
            chain prerouting { type nat hook prerouting priority -100; policy accept; jump mapped; }
            chain postrouting {
                type nat hook postrouting priority 100; policy accept; jump from_mapped; oifname wan masquerade;
            }
            chain miniupnpd { }
            chain mapped { }
            chain from_mapped { }
        }";
        self.on("router", &["nft", rules]);
    }

    /// The ports that the router lets in.
    pub fn let_in(&self) -> usize {
        let namespace = self.namespace("router");
        let words = ["netns", "exec", &namespace, "nft", "list", "chain", "inet", "filter", "mapped"];
        let output = Command::new("ip").args(words).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).matches("dnat").count()
    }
}

/// A program that runs on a machine until it is dropped.
pub struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Lan {
    /// Runs a program on a machine until the answer is dropped. Nothing when it is not installed.
    pub fn run(&self, machine: &str, words: &[&str]) -> Option<Running> {
        let is_installed =
            Command::new("which").arg(words[0]).output().is_ok_and(|found| found.status.success());
        if !is_installed {
            eprintln!("SKIPPED: {} is not installed", words[0]);
            return None;
        }
        // Without a shell between: what is ended is the program.
        let namespace = self.namespace(machine);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &namespace]).args(words);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        Some(Running(command.spawn().unwrap()))
    }
}

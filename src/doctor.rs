//! `pyile doctor`: why a host cannot be joined, or why others do not reach this peer, one step after the other.
//!
//! Each finding names its cause and the next step. It must never guess: what was not looked at is said to be so. No
//! attempt is ever charged by looking; only a password that was given on purpose is tried, as any join would.

use std::{io, net::SocketAddr, sync::Arc, time::Instant};

use crate::{
    api::{Check, Finding, NodeCommand, NodeEvent, Verdict},
    model::{CloseReason, Closed, Peer, PeerId, Reached, Role, SafeText, Unreachable, limits},
    net::{
        platform::Platform,
        probe::{self, Greeting, Packets},
    },
    network::{JoinOptions, Network},
    security::Identity,
    store::Profile,
    wire::BannedStatus,
};

pub mod firewall;
mod router;

use self::firewall::Firewall;
pub use self::router::router;

/// The first byte of a TLS alert (RFC 8446, section 5.1).
const TLS_ALERT: u8 = 21;

/// A host that is diagnosed.
pub struct Doctor<'a> {
    /// Where.
    pub target: &'a str,
    /// The machine from which.
    pub platform: &'a dyn Platform,
    /// Who asks.
    pub identity: Arc<Identity>,
    /// The key that the host had before.
    pub pin: Option<PeerId>,
    /// Told of each finding as soon as it is known.
    pub found: &'a mut (dyn FnMut(Finding) + Send),
}

impl Doctor<'_> {
    fn tell(&mut self, check: Check, verdict: Verdict, message: &str, next: &str) {
        (self.found)(Finding::new(check, verdict, message, next));
    }

    fn good(&mut self, check: Check, message: &str) {
        (self.found)(Finding::good(check, message));
    }

    /// Diagnoses from outside, up to the host's first answer. Gives that answer, or why there is none.
    pub async fn diagnose(&mut self) -> Result<Greeting, CloseReason> {
        let addrs = self.resolve().await?;
        let mut last = CloseReason::Unreachable;
        let mut open = None;
        for addr in addrs.iter().take(limits::CANDIDATES) {
            match self.reach(*addr).await {
                Ok(()) => {
                    open = Some(*addr);
                    break;
                }
                Err(reason) => last = reason,
            }
        }
        let addr = open.ok_or(last)?;
        match probe::greet(self.platform, addr, &self.identity).await {
            Ok(greeting) => {
                let greeting = self.greeted(addr, greeting)?;
                self.packets(addr).await.map(|()| greeting)
            }
            // Of a handshake some packets are large.
            Err(closed) if closed.reason == CloseReason::TimedOut => {
                self.packets(addr).await?;
                Err(self.not_greeted(addr, &closed).await)
            }
            Err(closed) => Err(self.not_greeted(addr, &closed).await),
        }
    }

    async fn resolve(&mut self) -> Result<Vec<SocketAddr>, CloseReason> {
        let target = self.target;
        let name = target.rsplit_once(':').map_or(target, |(name, _)| name);
        match probe::resolve(self.platform, target).await {
            Ok(addrs) if !addrs.is_empty() => {
                let text: Vec<String> = addrs.iter().map(|addr| addr.ip().to_string()).collect();
                if target.parse::<SocketAddr>().is_err() {
                    self.good(Check::Name, &format!("{name} is {}", text.join(", ")));
                }
                Ok(addrs)
            }
            result => {
                let why = match result {
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => "the lookup got no answer",
                    _ => "nobody here knows that name",
                };
                let next = "check the spelling, or ask the host for its IP address (its title line shows it) and use that";
                self.tell(Check::Name, Verdict::Bad, &format!("{name:?} cannot be looked up: {why}"), next);
                Err(CloseReason::Unreachable)
            }
        }
    }

    /// Whether something takes connections at an address.
    async fn reach(&mut self, addr: SocketAddr) -> Result<(), CloseReason> {
        match probe::route(addr) {
            Ok(from) => self.good(Check::Route, &format!("{} is reached from {from}", addr.ip())),
            Err(error) => {
                let next = "check the address, and that this machine's network, VPN or Wi-Fi is up";
                let message = format!("this machine has no way to {} ({error})", addr.ip());
                self.tell(Check::Route, Verdict::Bad, &message, next);
                return Err(CloseReason::NoRoute);
            }
        }
        let port = addr.port();
        let Err(error) = probe::connect(self.platform, addr).await else {
            self.good(Check::Port, &format!("{addr} takes connections"));
            return Ok(());
        };
        let (message, next, reason) = match error.kind() {
            io::ErrorKind::ConnectionRefused => (
                format!("the machine {} is there, and nothing listens at port {port}", addr.ip()),
                "is pyile running there, as a host? is the port right? its title line shows the join address"
                    .to_owned(),
                CloseReason::NothingListens,
            ),
            io::ErrorKind::TimedOut => (
                format!(
                    "no answer at all from {addr} within {} s: a firewall drops what is sent there, or nobody has \
                     that address",
                    limits::CONNECT_TIMEOUT.as_secs()
                ),
                format!(
                    "check the address; then let the port in on the host's machine, for example:\n{}\n{}",
                    Firewall::Ufw.command(port),
                    Firewall::Firewalld.command(port)
                ),
                CloseReason::NoAnswer,
            ),
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => (
                format!("there is no way to {}: {error}", addr.ip()),
                "check the address, and that both machines are in the same network or VPN".to_owned(),
                CloseReason::NoRoute,
            ),
            _ => (
                format!("{addr} cannot be reached: {error}"),
                "check the address and the network connection".to_owned(),
                CloseReason::Unreachable,
            ),
        };
        self.tell(Check::Port, Verdict::Bad, &message, &next);
        Err(reason)
    }

    /// The host has spoken.
    fn greeted(&mut self, addr: SocketAddr, greeting: Greeting) -> Result<Greeting, CloseReason> {
        let key = greeting.host.short();
        match self.pin {
            Some(pin) if pin != greeting.host => {
                let message = format!(
                    "{addr} is a pyile host with the key {key}, and before it had {}: another machine, a new \
                     profile, or somebody who poses as the host",
                    pin.short()
                );
                let next = "ask the host for its fingerprint over another channel; if it is right, forget the old \
                            network (Del on it in the launch screen) and join anew";
                self.tell(Check::Host, Verdict::Bad, &message, next);
                return Err(CloseReason::KeyChanged);
            }
            Some(_) => {
                let message = format!("a pyile host of this version, with its key {key} as before");
                self.good(Check::Host, &message);
            }
            None => {
                self.good(
                    Check::Host,
                    &format!(
                        "a pyile host of this version; its key is {key}: compare it with the host's screen"
                    ),
                );
            }
        }
        match &greeting.status {
            BannedStatus::Banned { reason } => {
                let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                let message = format!("the host has banned this key or this address{because}");
                let next = "only the person at the host can lift it: Admin (F3), u";
                self.tell(Check::Admission, Verdict::Bad, &message, next);
                return Err(CloseReason::Banned);
            }
            BannedStatus::Known => {
                self.good(Check::Admission, "the host knows this key: no password is needed");
            }
            BannedStatus::Password { left: 0 } => {
                let next = "wait ten minutes, or ask the person at the host";
                let message = "the host wants the password, and no attempts are left for this address";
                self.tell(Check::Admission, Verdict::Poor, message, next);
            }
            BannedStatus::Password { left } => {
                let attempts = if *left == 1 { "1 attempt is" } else { &format!("{left} attempts are") };
                self.good(
                    Check::Admission,
                    &format!("the host wants the password; {attempts} left for this address"),
                );
            }
        }
        Ok(greeting)
    }

    /// Whether large packets get through, where small ones do.
    async fn packets(&mut self, addr: SocketAddr) -> Result<(), CloseReason> {
        match probe::packets(self.platform, addr, &self.identity).await {
            Packets::Through => self.good(Check::Packets, "large packets get through, both ways"),
            // Whatever it is, it is not that.
            Packets::Neither => {}
            Packets::OnlySmall => {
                let message =
                    "small packets get through, large ones are lost on the way: joining and messages hang";
                let next = "a VPN, tunnel or line on the way takes smaller packets and does not say so: let ICMP \
                            through its firewall, or set a smaller MTU here, for example:\n\
                            sudo ip link set dev eth0 mtu 1280";
                self.tell(Check::Packets, Verdict::Bad, message, next);
                return Err(CloseReason::TimedOut);
            }
        }
        Ok(())
    }

    /// Something answers, and not as a host of this version.
    async fn not_greeted(&mut self, addr: SocketAddr, closed: &Closed) -> CloseReason {
        let version = env!("CARGO_PKG_VERSION");
        // Any server with TLS may refuse the protocol; one that speaks of itself is no pyile.
        let said = probe::banner(self.platform, addr).await;
        let speaks_tls = said.is_empty() || said.starts_with(&[TLS_ALERT, 3]);
        let (message, next) = match closed.reason {
            CloseReason::IncompatibleVersion if speaks_tls => (
                format!(
                    "{addr} is pyile of another version than this one ({version}), or another server with TLS"
                ),
                "both sides need the same version: compare `pyile --version`; else check the port",
            ),
            CloseReason::NotAMember if !closed.detail.is_empty() => (
                format!("{addr} is no host any more: {closed}"),
                "ask who is the host now, and at which address",
            ),
            _ => {
                let (what, next) = identify(&said, closed.reason);
                (format!("{addr} answers, and is {what}"), next)
            }
        };
        let reason = match closed.reason {
            CloseReason::IncompatibleVersion if speaks_tls => CloseReason::IncompatibleVersion,
            _ => CloseReason::NotPyile,
        };
        self.tell(Check::Host, Verdict::Bad, &message, next);
        reason
    }
}

/// What a server is, by what it says.
fn identify(said: &[u8], reason: CloseReason) -> (String, &'static str) {
    let text = String::from_utf8_lossy(said);
    let line = SafeText::line(text.lines().next().unwrap_or_default());
    let start: String = line.as_str().trim().chars().take(60).collect();
    let wrong_port = "check the port: a pyile host listens on 4702 unless it was told otherwise";
    if said.starts_with(b"SSH-") {
        (format!("an SSH server ({start})"), wrong_port)
    } else if said.starts_with(b"HTTP/") {
        (format!("a web server ({start})"), wrong_port)
    } else if said.starts_with(b"{") {
        let next = "a host that is the Python program is joined with --classic, the password and everything else in clear";
        ("a classic Pyile host, it seems".to_owned(), next)
    } else if said.starts_with(b"220") {
        (format!("a mail or FTP server ({start})"), wrong_port)
    } else if !said.is_empty() {
        (format!("another program, which says {start:?}"), wrong_port)
    } else if reason == CloseReason::Busy {
        let next = "it may be a pyile host with too many strangers at its door: try again in a minute; else check the port";
        ("a program that hangs up before it says anything".to_owned(), next)
    } else {
        ("another program, which says nothing that pyile understands".to_owned(), wrong_port)
    }
}

/// What was learnt in the network.
#[derive(Default)]
struct Inside {
    me: Option<(PeerId, SocketAddr)>,
    peers: Vec<Arc<Peer>>,
    unreachable: Vec<Unreachable>,
    reached: Vec<Reached>,
    clocks: Vec<(Arc<Peer>, i64)>,
    why_not: Option<Closed>,
}

impl Inside {
    fn note(&mut self, event: NodeEvent) {
        match event {
            NodeEvent::Listening { peer_id, peer_addr, .. } => self.me = Some((peer_id, peer_addr)),
            NodeEvent::Roster { peers, .. } => self.peers = peers,
            NodeEvent::NoWays { ways } => self.unreachable = ways,
            NodeEvent::Ways { rows } => self.reached = rows,
            NodeEvent::Clock { peer, ahead_ms } => self.clocks.push((peer, ahead_ms)),
            NodeEvent::Left { reason, message, .. } => {
                self.why_not = Some(Closed::new(reason, message.to_string()));
            }
            _ => {}
        }
    }

    /// Who reached this peer's port, and who did not and why.
    fn tried(&self, me: &PeerId) -> (Vec<PeerId>, Vec<Unreachable>) {
        let reached =
            self.reached.iter().filter(|row| row.reached.contains(me)).map(|row| row.from).collect();
        (reached, self.unreachable.iter().filter(|way| way.to == *me).copied().collect())
    }

    /// All who try one that asks have tried this one.
    fn is_enough(&self) -> bool {
        let Some((me, _)) = self.me else { return false };
        let (reached, not) = self.tried(&me);
        let others = self.peers.len().saturating_sub(1);
        others > 0 && reached.len() + not.len() >= others.min(1 + limits::TRIED_BY)
    }

    fn name(&self, id: &PeerId) -> String {
        let peer = self.peers.iter().find(|peer| peer.peer_id == *id);
        peer.map_or_else(|| id.short(), |peer| peer.alias.to_string())
    }
}

impl Doctor<'_> {
    /// Joins, has its own port tried by the host and two members, and leaves.
    pub async fn join(&mut self, options: JoinOptions, profile: Profile) -> CloseReason {
        let (network, mut events) = match Network::join(options, profile) {
            Ok(joined) => joined,
            Err(closed) => return self.not_joined(&closed),
        };
        let mut inside = Inside::default();
        let mut begun = Instant::now();
        let mut is_in = false;
        let mut ask = tokio::time::interval(limits::DIAGNOSIS_EVERY);
        loop {
            tokio::select! {
                event = events.next() => {
                    let Some(event) = event else {
                        let closed = inside.why_not.unwrap_or_else(|| CloseReason::Internal.into());
                        return self.not_joined(&closed);
                    };
                    if matches!(event, NodeEvent::Authenticated { .. }) {
                        (is_in, begun) = (true, Instant::now());
                        ask.reset_immediately();
                    }
                    inside.note(event);
                }
                // However much is said meanwhile.
                _ = ask.tick(), if is_in => network.command(NodeCommand::Ways).await,
            }
            if is_in && (inside.is_enough() || begun.elapsed() > limits::DIAGNOSIS_TIMEOUT) {
                break;
            }
        }
        let others = inside.peers.len().saturating_sub(1);
        let others = match others {
            0 => "nobody else is here".to_owned(),
            1 => "the host is here, and nobody else".to_owned(),
            others => format!("{others} others are here"),
        };
        self.good(Check::Join, &format!("admitted; {others}"));
        self.own_port(&inside);
        self.clock(&inside);
        network.leave().await;
        CloseReason::Left
    }

    fn not_joined(&mut self, closed: &Closed) -> CloseReason {
        let next = match closed.reason {
            CloseReason::WrongPassword => "ask the person at the host for the password",
            CloseReason::Banned => "only the person at the host can lift it: Admin (F3), u",
            CloseReason::NetworkFull => "the host can allow more with --members N",
            CloseReason::AliasTaken | CloseReason::AliasNotAllowed => "choose another name with --alias NAME",
            _ => "try again; if it stays so, the host's log (F5) may tell more",
        };
        self.tell(Check::Join, Verdict::Bad, &closed.to_string(), next);
        closed.reason
    }

    fn own_port(&mut self, inside: &Inside) {
        let Some((me, addr)) = inside.me else { return };
        let (reached, not) = inside.tried(&me);
        let port = addr.port();
        let names = |ids: &[PeerId]| ids.iter().map(|id| inside.name(id)).collect::<Vec<_>>().join(", ");
        if !reached.is_empty() {
            self.good(Check::PeerPort, &format!("{addr} is reached by {}", names(&reached)));
        } else if not.is_empty() {
            let message = format!("nobody has tried {addr} in time");
            self.tell(Check::PeerPort, Verdict::Skipped, &message, "run it again when more members are here");
        }
        for way in &not {
            let is_host = inside.peers.iter().any(|peer| peer.peer_id == way.from && peer.role == Role::Host);
            let who = if is_host { "the host".to_owned() } else { inside.name(&way.from) };
            let message = format!("{who} cannot open a link to {addr}: {}", way.reason.words());
            let next = format!(
                "messages still go through: you open the links, or somebody carries them. To be reached directly, \
                 choose a port and let it in on this machine:\npyile join {} --peer-listen 0.0.0.0:{port}\n{}",
                self.target,
                Firewall::find().command(port)
            );
            self.tell(Check::PeerPort, Verdict::Poor, &message, &next);
        }
    }

    fn clock(&mut self, inside: &Inside) {
        if inside.clocks.is_empty() {
            return self.good(Check::Clock, "within a minute of the others'");
        }
        for (peer, ahead) in &inside.clocks {
            let (who, time) = (&peer.alias, duration(ahead.unsigned_abs()));
            let direction = if *ahead > 0 { "ahead of" } else { "behind" };
            let message = format!("{who}'s clock is {time} {direction} this machine's");
            let next = "set the wrong one, best by network time; until then times beside messages are wrong";
            self.tell(Check::Clock, Verdict::Poor, &message, next);
        }
    }
}

/// A time as people say it.
fn duration(millis: u64) -> String {
    match millis / 1000 {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7200 => format!("{} min", seconds / 60),
        seconds @ ..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_known_by_what_they_say() {
        for (said, reason, what) in [
            (&b"SSH-2.0-OpenSSH_9.2\r\n"[..], CloseReason::NotPyile, "an SSH server (SSH-2.0-OpenSSH_9.2)"),
            (
                b"HTTP/1.1 400 Bad Request\r\nServer: nginx",
                CloseReason::NotPyile,
                "a web server (HTTP/1.1 400 Bad Request)",
            ),
            (b"{\"banned_status\": false}", CloseReason::NotPyile, "a classic Pyile host, it seems"),
            (b"220 mail ESMTP", CloseReason::NotPyile, "a mail or FTP server (220 mail ESMTP)"),
            (b"\x1b[31mred", CloseReason::NotPyile, "another program, which says \"␛[31mred\""),
            (b"", CloseReason::Busy, "a program that hangs up before it says anything"),
            (b"", CloseReason::TimedOut, "another program, which says nothing that pyile understands"),
        ] {
            assert_eq!(identify(said, reason).0, what);
        }
    }

    #[test]
    fn times_as_people_say_them() {
        for (millis, text) in
            [(61_000, "61 s"), (3_600_000, "60 min"), (10_800_000, "3 h"), (864_000_000, "10 days")]
        {
            assert_eq!(duration(millis), text);
        }
    }
}

//! Networks around this machine: a host announces its own by mDNS (RFC 6762, RFC 6763), and whoever wants to join hears it.
//!
//! Only at addresses of one's own, none of the whole world. What is heard is said by anybody, and is cleaned and bounded here.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use if_addrs::IfAddr;
use mdns_sd::{IfKind, IfPredicate, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};

use crate::{
    model::{Answer, NearbyNetwork, PeerId, Sighting, Wire, limits},
    wire::WIRE_VERSION,
};

const SERVICE: &str = "_pyile._tcp.local.";

/// What a host tells everybody around it. No members, and of addresses only what mDNS needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The network's name.
    pub network: String,
    /// The host's key.
    pub key: PeerId,
    /// Where it listens for joiners.
    pub join_addr: SocketAddr,
}

/// A network is announced for as long as this lives.
pub struct Announced(ServiceDaemon);

impl Drop for Announced {
    fn drop(&mut self) {
        // Its thread says goodbye and ends.
        let _ = self.0.shutdown();
    }
}

/// An address of a network of one's own, that can be written without an interface.
fn is_own(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

/// The interfaces that count: those with an own address, of which only `at` where a host listens at one alone.
fn interfaces(at: Option<IpAddr>) -> IfPredicate {
    IfPredicate::new(move |interface| {
        !interface.is_loopback() && is_own(interface.ip()) && at.is_none_or(|at| at == interface.ip())
    })
}

fn daemon(at: Option<IpAddr>) -> Option<ServiceDaemon> {
    let daemon = ServiceDaemon::new().ok()?;
    let counts = interfaces(at);
    daemon.disable_interface(IfKind::All).ok()?;
    daemon.enable_interface(IfKind::Predicate(counts)).ok()?;
    Some(daemon)
}

/// Announces a network. Nothing where its host does not listen on a network of its own.
#[must_use]
pub fn announce(announcement: &Announcement) -> Option<Announced> {
    let ip = announcement.join_addr.ip();
    let at = Some(ip).filter(|ip| !ip.is_unspecified());
    if at.is_some_and(|at| !is_own(at)) {
        return None;
    }
    let key = announcement.key.to_string();
    let version = WIRE_VERSION.to_string();
    // A text of mDNS has at most 255 bytes, its name included.
    let mut name = announcement.network.clone();
    while name.len() > limits::NEARBY_NAME_BYTES {
        name.pop();
    }
    let texts = [("name", name.as_str()), ("key", key.as_str()), ("v", version.as_str())];
    let host = format!("pyile-{}.local.", key.get(..16)?);
    let mut service = ServiceInfo::new(SERVICE, &key, &host, "", announcement.join_addr.port(), &texts[..])
        .ok()?
        .enable_addr_auto();
    service.set_interfaces(vec![IfKind::Predicate(interfaces(at))]);
    let daemon = daemon(at)?;
    daemon.register(service).ok()?;
    Some(Announced(daemon))
}

/// Hears the networks around.
pub struct Browser {
    daemon: ServiceDaemon,
    heard: mdns_sd::Receiver<ServiceEvent>,
    /// By the names under which they are announced.
    known: HashMap<String, PeerId>,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.daemon.shutdown();
    }
}

impl Browser {
    /// Begins to listen. Nothing where this machine cannot.
    #[must_use]
    pub fn start() -> Option<Self> {
        let daemon = daemon(None)?;
        let heard = daemon.browse(SERVICE).ok()?;
        Some(Self { daemon, heard, known: HashMap::new() })
    }

    /// The next thing that is heard. Nothing when nothing will be.
    pub async fn next(&mut self) -> Option<Sighting> {
        loop {
            match self.heard.recv_async().await.ok()? {
                ServiceEvent::ServiceResolved(service) => {
                    let Some(network) = read(&service) else { continue };
                    let is_new = !self.known.contains_key(&service.fullname);
                    if is_new && self.known.len() >= limits::NEARBY {
                        continue;
                    }
                    self.known.insert(service.fullname.clone(), network.peer_id);
                    return Some(Sighting::Here(network));
                }
                ServiceEvent::ServiceRemoved(_, name) => {
                    let Some(key) = self.known.remove(&name) else { continue };
                    if !self.known.values().any(|other| *other == key) {
                        return Some(Sighting::Gone(key));
                    }
                }
                _ => {}
            }
        }
    }
}

/// An address is in the net of an interface.
fn is_in_net(interface: &IfAddr, ip: IpAddr) -> bool {
    match (interface, ip) {
        (IfAddr::V4(own), IpAddr::V4(ip)) => {
            let mask = own.netmask.to_bits();
            own.ip.to_bits() & mask == ip.to_bits() & mask
        }
        (IfAddr::V6(own), IpAddr::V6(ip)) => {
            let mask = own.netmask.to_bits();
            own.ip.to_bits() & mask == ip.to_bits() & mask
        }
        _ => false,
    }
}

/// What is said of a network; nothing where it makes no sense.
fn read(service: &ResolvedService) -> Option<NearbyNetwork> {
    // Somebody could have others try every address of a network that is not around here.
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let is_near = |ip: &IpAddr| interfaces.iter().any(|interface| is_in_net(&interface.addr, *ip));
    let addrs = service.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr).filter(is_near);
    let text = |name| service.get_property_val_str(name);
    let key = text("key")?;
    // One name is one key: whoever changes the key takes another name.
    let is_its = service.fullname.strip_suffix(SERVICE)?.strip_suffix('.')?.eq_ignore_ascii_case(key);
    understand((text("name")?, key, text("v")?), addrs.collect(), service.port).filter(|_| is_its)
}

fn understand(
    (name, key, version): (&str, &str, &str),
    mut ips: Vec<IpAddr>,
    port: u16,
) -> Option<NearbyNetwork> {
    let peer_id: PeerId = key.parse().ok().filter(|key: &PeerId| key.wire() == Wire::Native)?;
    // Somebody could have others dialled anywhere.
    ips.retain(|ip| is_own(*ip));
    ips.sort_unstable();
    ips.truncate(limits::INVITE_ADDRS);
    if ips.is_empty() || port == 0 {
        return None;
    }
    let addrs = ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
    let version = version.parse().ok()?;
    Some(NearbyNetwork {
        peer_id,
        name: NearbyNetwork::clean_name(name),
        addrs,
        version,
        answer: Answer::Awaited,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_heard_is_cleaned_bounded_and_leads_nowhere_else() {
        let key = PeerId([7; 32]).to_string();
        let heard = |name: &str, key: &str, version: &str, ips: &[&str], port| {
            let ips = ips.iter().map(|ip| ip.parse().unwrap()).collect();
            understand((name, key, version), ips, port)
        };
        let lab = heard("lab", &key, "1", &["203.0.113.9", "192.168.1.66", "fd00::1"], 4702).unwrap();
        assert_eq!(lab.addrs, ["192.168.1.66:4702".parse().unwrap(), "[fd00::1]:4702".parse().unwrap()]);
        assert_eq!((lab.name.as_str(), lab.version, lab.answer), ("lab", 1, Answer::Awaited));
        let hostile = heard(&"\u{1b}]0;x\u{7}\u{202e}é\n".repeat(99), &key, "1", &["10.0.0.1"], 1).unwrap();
        assert!(hostile.name.as_str().chars().count() <= limits::NETWORK_NAME_CHARACTERS);
        assert!(!hostile.name.as_str().contains(['\u{1b}', '\u{7}', '\u{202e}', '\n']));
        let many: Vec<String> = (1..200).map(|last| format!("10.0.0.{last}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(heard("lab", &key, "1", &many, 4702).unwrap().addrs.len(), limits::INVITE_ADDRS);
        let classic = PeerId::of_address("10.0.0.1:5000".parse().unwrap()).to_string();
        for (key, version, ips, port) in [
            ("no key", "1", &["10.0.0.1"][..], 4702),
            (classic.as_str(), "1", &["10.0.0.1"], 4702),
            (key.as_str(), "one", &["10.0.0.1"], 4702),
            (key.as_str(), "1", &["203.0.113.9", "127.0.0.1", "8.8.8.8", "2001:db8::1"], 4702),
            (key.as_str(), "1", &[], 4702),
            (key.as_str(), "1", &["10.0.0.1"], 0),
        ] {
            assert_eq!(heard("lab", key, version, ips, port), None, "{key} {version} {ips:?} {port}");
        }
    }

    #[test]
    fn only_what_is_in_the_net_of_an_interface_is_near() {
        let (ip, netmask) = ([192, 168, 1, 7].into(), [255, 255, 255, 0].into());
        let own = IfAddr::V4(if_addrs::Ifv4Addr { ip, netmask, broadcast: None, prefixlen: 24 });
        let near = |ip: &str| is_in_net(&own, ip.parse().unwrap());
        assert!(near("192.168.1.66") && !near("192.168.2.66") && !near("10.0.0.1") && !near("fd00::1"));
    }

    #[test]
    fn a_host_of_this_machine_alone_or_of_the_whole_world_is_not_announced() {
        for addr in ["127.0.0.1:4702", "[::1]:4702", "203.0.113.9:4702"] {
            let announcement = Announcement {
                network: "lab".to_owned(),
                key: PeerId([7; 32]),
                join_addr: addr.parse().unwrap(),
            };
            assert!(announce(&announcement).is_none(), "{addr}");
        }
    }
}

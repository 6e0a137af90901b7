//! Whether the router of this machine opens ports: it is asked for one, which goes back at once.

use std::net::{Ipv4Addr, SocketAddr};

use crate::{
    api::{Check, Finding, Verdict},
    model::{HostPorts, PortMapping, limits},
    net::platform::Platform,
};

/// Asks the router of this machine for a port that nobody listens at. Gives whether somebody outside could come in by one.
pub async fn router(platform: &dyn Platform, found: &mut (dyn FnMut(Finding) + Send)) -> bool {
    let finding = match platform.router() {
        None => Finding::new(
            Check::Router,
            Verdict::Skipped,
            "this program was built without that",
            "build it with the feature map-port",
        ),
        Some(mut router) => {
            // None that a host here may have open.
            let [a, b, ..] = platform.random();
            let span = limits::PEER_PORTS.end() - limits::PEER_PORTS.start() + 1;
            let port = limits::PEER_PORTS.start() + u16::from_be_bytes([a, b]) % span;
            let at = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            let mapped = router.map(HostPorts { join: at, peer: at }).await;
            router.release().await;
            finding(mapped)
        }
    };
    let is_good = finding.verdict == Verdict::Good;
    found(finding);
    is_good
}

fn finding(mapped: Result<PortMapping, String>) -> Finding {
    match mapped {
        Ok(mapping @ PortMapping { join, protocol, .. }) if mapping.is_of_the_internet() => Finding::new(
            Check::Router,
            Verdict::Good,
            &format!(
                "it opens ports ({}): from the internet this machine is {}",
                protocol.label(),
                join.ip()
            ),
            "host with --map-port, or the box Router in the form: invites have that address then",
        ),
        Ok(PortMapping { join, protocol, .. }) => Finding::new(
            Check::Router,
            Verdict::Poor,
            &format!(
                "it opens ports ({}), and its own address {} is not one of the internet: another translator stands \
                 behind it",
                protocol.label(),
                join.ip()
            ),
            "ask your provider for an address of your own, or use a VPN",
        ),
        Err(why) => Finding::new(
            Check::Router,
            Verdict::Bad,
            &why,
            "switch it on in the router's settings (UPnP, NAT-PMP or PCP), or forward the port there by hand",
        ),
    }
}

//! Where a member may be reached by others: of what the host sees and what the member says of itself, what can work.

use std::net::SocketAddr;

use crate::model::{Realm, limits};

/// Where a member may be reached: where the host sees it, with its announced port, then what it says of itself. One that
/// listens at a single address has nothing at the other, unless there is a translator between them: that address comes first.
pub(super) fn candidates(remote: SocketAddr, announced: &[SocketAddr]) -> Vec<SocketAddr> {
    let seen_at = remote.ip().to_canonical();
    // An address of the member's own machine leads nowhere from others.
    let leads_here = |addr: &&SocketAddr| !addr.ip().to_canonical().is_loopback() || seen_at.is_loopback();
    let is_usable = |addr: &&SocketAddr| !addr.ip().is_unspecified() && addr.port() != 0;
    let seen = announced.first().map(|first| {
        // With its zone, where it has one: what a peer says of itself has none.
        let mut seen = if seen_at == remote.ip() { remote } else { SocketAddr::new(seen_at, 0) };
        seen.set_port(first.port());
        seen
    });
    let is_seen =
        |own: &&SocketAddr| seen.is_some_and(|seen| (seen.ip(), seen.port()) == (own.ip(), own.port()));
    // Of the world's addresses only the one that is seen: others may be anybody's.
    let may_be_its = |addr: &&SocketAddr| {
        let ip = addr.ip().to_canonical();
        // Seen inside a private network, a member may listen outside of it alone.
        let is_outside = announced.len() == 1 && Realm::of(seen_at) == Realm::Private;
        ip == seen_at || seen_at.is_loopback() || Realm::of(ip) != Realm::Global || is_outside
    };
    let own = announced.iter().filter(is_usable).filter(leads_here).filter(may_be_its);
    let own = own.map(|own| seen.filter(|_| is_seen(&own)).unwrap_or(*own));
    let is_chosen = |own: &SocketAddr| announced.len() == 1 && Realm::of(own.ip()) == Realm::of(seen_at);
    let all: Vec<SocketAddr> = if announced.first().is_some_and(is_chosen) {
        own.chain(seen).collect()
    } else {
        seen.into_iter().chain(own).collect()
    };
    let mut addrs: Vec<SocketAddr> = Vec::new();
    for addr in all {
        if !addrs.contains(&addr) {
            addrs.push(addr);
        }
    }
    addrs.truncate(limits::CANDIDATES);
    addrs
}

#[cfg(test)]
mod tests {
    use super::candidates;

    #[test]
    fn only_addresses_that_can_work_are_announced_the_best_first() {
        for (seen_at, told, expected) in [
            // It listens everywhere: where it is seen, then what it says of itself.
            ("10.0.0.7:1", vec!["192.168.1.7:50", "127.0.0.1:50"], vec!["10.0.0.7:50", "192.168.1.7:50"]),
            // At one address of this machine, and joined from another.
            ("127.0.0.1:1", vec!["127.0.0.5:50"], vec!["127.0.0.5:50", "127.0.0.1:50"]),
            ("10.0.0.7:1", vec!["10.0.0.8:50"], vec!["10.0.0.8:50", "10.0.0.7:50"]),
            // Behind a translator.
            ("203.0.113.7:1", vec!["192.168.1.7:50"], vec!["203.0.113.7:50", "192.168.1.7:50"]),
            ("10.0.0.7:1", vec!["127.0.0.1:50"], vec!["10.0.0.7:50"]),
            // Somebody else's.
            ("10.0.0.7:1", vec!["10.0.0.7:50", "192.0.2.1:80"], vec!["10.0.0.7:50"]),
            ("203.0.113.7:1", vec!["192.0.2.1:80"], vec!["203.0.113.7:80"]),
            ("10.0.0.5:1", vec!["203.0.113.7:50"], vec!["10.0.0.5:50", "203.0.113.7:50"]),
            ("10.0.0.5:1", vec!["10.0.0.5:50", "100.100.1.1:50"], vec!["10.0.0.5:50", "100.100.1.1:50"]),
            ("203.0.113.7:1", vec!["203.0.113.7:50", "[2001:db8::9]:80"], vec!["203.0.113.7:50"]),
            // This host's own machine may have more than one.
            ("127.0.0.1:1", vec!["192.0.2.7:50"], vec!["127.0.0.1:50", "192.0.2.7:50"]),
            ("10.0.0.7:1", vec!["0.0.0.0:50"], vec!["10.0.0.7:50"]),
            ("10.0.0.7:1", vec![], vec![]),
        ] {
            let parse =
                |addrs: Vec<&str>| addrs.into_iter().map(|addr| addr.parse().unwrap()).collect::<Vec<_>>();
            assert_eq!(candidates(seen_at.parse().unwrap(), &parse(told)), parse(expected), "{seen_at}");
        }
    }
}

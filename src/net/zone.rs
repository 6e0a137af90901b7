//! Link-local IPv6 addresses with their zone: the interface on whose link they are (RFC 4007, section 11).

use std::{
    io,
    net::{Ipv6Addr, SocketAddr, SocketAddrV6},
};

/// True for an address with a zone, without brackets and port: `fe80::1%eth0` or `fe80::1%3`.
#[must_use]
pub fn is_zoned(text: &str) -> bool {
    split(text).is_some()
}

fn split(text: &str) -> Option<(Ipv6Addr, &str)> {
    let (ip, zone) = text.split_once('%')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | ':');
    let ip = ip.parse().ok()?;
    (!zone.is_empty() && zone.chars().all(is_name)).then_some((ip, zone))
}

/// The address that `[ADDRESS%ZONE]:PORT` means on this machine, where the zone is the name or the number of an interface;
/// nothing when it is something else.
pub(super) fn resolve(target: &str) -> Option<io::Result<SocketAddr>> {
    let (bare, port) = target.strip_prefix('[')?.rsplit_once("]:")?;
    let ((ip, zone), port) = (split(bare)?, port.parse().ok()?);
    Some(index_of(zone).map(|index| SocketAddrV6::new(ip, port, 0, index).into()))
}

/// The address that `[ADDRESS%ZONE]:PORT` means on this machine, if it has that interface.
#[must_use]
pub fn zoned(text: &str) -> Option<SocketAddr> {
    resolve(text)?.ok()
}

fn index_of(zone: &str) -> io::Result<u32> {
    if let Ok(index) = zone.parse() {
        return Ok(index);
    }
    let interfaces = if_addrs::get_if_addrs()?;
    let index =
        interfaces.iter().find(|interface| interface.name == zone).and_then(|interface| interface.index);
    index.ok_or_else(|| {
        let mut names: Vec<String> = interfaces.into_iter().map(|interface| interface.name).collect();
        names.dedup();
        let message = format!("this machine has no interface called {zone:?}; it has {}", names.join(", "));
        io::Error::new(io::ErrorKind::NotFound, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_the_name_or_the_number_of_an_interface() {
        let own = if_addrs::get_if_addrs().unwrap();
        let known = own.iter().find(|interface| interface.is_loopback()).unwrap();
        let index = known.index.unwrap();
        for zone in [known.name.clone(), index.to_string()] {
            let found = resolve(&format!("[fe80::1%{zone}]:4702")).unwrap().unwrap();
            assert_eq!(found, SocketAddrV6::new("fe80::1".parse().unwrap(), 4702, 0, index).into());
        }
        let error = resolve("[fe80::1%nowhere0]:4702").unwrap().unwrap_err().to_string();
        assert!(error.contains("nowhere0") && error.contains(&known.name), "{error}");
        for other in ["[fe80::1]:4702", "host:4702", "[::1%]:4702", "10.0.0.1%eth0:4702", "[fe80::1%a b]:1"] {
            assert!(resolve(other).is_none(), "{other}");
        }
    }
}

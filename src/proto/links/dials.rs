//! How often others are dialled: a peer that announces ever other addresses, or many that announce the same one, must not
//! make the members of a network knock at the doors of a third party.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use crate::{model::limits, proto::rate::TokenBucket};

/// The dials of one peer.
#[derive(Debug, Default)]
pub(super) struct Dials(Option<TokenBucket>);

impl Dials {
    /// One more, or how long to wait for it.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let full = || TokenBucket::new(1, limits::DIALS * limits::DIAL_SECONDS, now);
        self.0.get_or_insert_with(full).take(limits::DIAL_SECONDS, now)
    }
}

/// The dials of each address, whoever is said to be there.
#[derive(Debug, Default)]
pub(super) struct Targets(BTreeMap<IpAddr, TokenBucket>);

impl Targets {
    /// Keeps of the addresses those that may be dialled now, or says how long to wait for the first.
    pub(super) fn take(&mut self, addrs: &mut Vec<SocketAddr>, now: Instant) -> Result<(), Duration> {
        let full = || TokenBucket::new(limits::DIALS_OF_ADDRESS_RATE, limits::DIALS_OF_ADDRESS, now);
        if self.0.len() > limits::ADDRESSES {
            self.0.retain(|_, bucket| !bucket.is_full(now));
        }
        let mut wait = Ok(());
        addrs.retain(|addr| {
            let taken = self.0.entry(addr.ip()).or_insert_with(full).take(1, now);
            wait = wait.and(taken);
            taken.is_ok()
        });
        if addrs.is_empty() { wait } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_peers_at_one_address_do_not_have_it_dialled_without_end() {
        let (mut targets, start) = (Targets::default(), Instant::now());
        let (victim, other): (SocketAddr, SocketAddr) =
            ("192.0.2.1:80".parse().unwrap(), "192.0.2.2:80".parse().unwrap());
        let mut dialled = 0;
        for number in 0..10_000_u64 {
            // In ten seconds.
            let now = start + Duration::from_millis(number);
            dialled += u32::from(targets.take(&mut vec![victim], now).is_ok());
        }
        assert!((1024..=1024 + 170).contains(&dialled), "{dialled}");
        let mut addrs = vec![victim, other];
        let now = start + Duration::from_millis(10_000);
        while targets.take(&mut vec![victim], now).is_ok() {}
        assert!(targets.take(&mut addrs, now).is_ok());
        assert_eq!(addrs, [other], "the others are dialled meanwhile");
    }
}

//! Whom the host refuses. Bans that the person at the host sets last until it lifts them; those that wrong passwords bring
//! end by themselves, and when there are many of them from one neighbourhood they become one ban of all of it.

use std::{collections::BTreeMap, net::IpAddr};

use crate::model::{
    Ban, PeerId, Timestamp,
    ban::{address_block, neighbourhood, wider},
    limits,
};

/// The bans in force, oldest first.
#[derive(Debug)]
pub(super) struct Bans {
    all: Vec<Ban>,
    /// Those for wrong passwords, at most.
    most: usize,
}

impl Bans {
    /// With those that were kept. With the next for wrong passwords there are at most so many of these, at least one.
    pub(super) fn new(all: Vec<Ban>, most: usize) -> Self {
        Self { all, most: most.max(1) }
    }

    pub(super) fn all(&self) -> &[Ban] {
        &self.all
    }

    /// The ban that refuses a peer, if any. A key that is known needs no password: wrong ones do not shut it out.
    pub(super) fn of(&self, peer: &PeerId, addr: IpAddr, is_known: bool) -> Option<&Ban> {
        self.all.iter().find(|ban| ban.refuses(peer, addr) && !(ban.automatic && is_known))
    }

    /// Adds a ban; one for the same key and address is replaced.
    pub(super) fn add(&mut self, ban: Ban) {
        self.all
            .retain(|other| (other.peer_id, other.addr, other.prefix) != (ban.peer_id, ban.addr, ban.prefix));
        self.all.push(ban);
    }

    /// Adds the ban of an address that has guessed too often. Gives the one that is in force for it now.
    pub(super) fn add_automatic(&mut self, addr: IpAddr, reason: String, since: Timestamp) -> Ban {
        let own = Ban {
            peer_id: None,
            alias: None,
            addr: Some(addr),
            prefix: None,
            reason,
            since,
            automatic: true,
        };
        self.all.retain(|other| !(other.automatic && other.covers(addr)));
        self.all.push(own.clone());
        while let Some((wide, bits)) = self.crowded() {
            let inside = self.all.extract_if(.., |ban| is_inside(ban, wide, bits)).count();
            self.all.push(Ban {
                addr: Some(wide),
                prefix: Some(bits),
                reason: format!("wrong passwords from {inside} parts of {wide}/{bits}"),
                ..own.clone()
            });
        }
        // Wherever they come from. Whoever has just guessed is out in any case.
        while self.automatic().count() > self.most {
            let is_other = |ban: &Ban| ban.automatic && !ban.covers(addr);
            let Some(oldest) = self.all.iter().position(is_other) else { break };
            self.all.remove(oldest);
        }
        self.automatic().find(|ban| ban.covers(addr)).cloned().unwrap_or(own)
    }

    fn automatic(&self) -> impl Iterator<Item = &Ban> {
        self.all.iter().filter(|ban| ban.automatic)
    }

    /// The neighbourhood whose bans are to become one: the narrowest that has [`limits::CROWDED`] of them, or, when there
    /// are too many altogether, the narrowest that has two.
    fn crowded(&self) -> Option<(IpAddr, u8)> {
        let mut counts: BTreeMap<(u8, IpAddr), usize> = BTreeMap::new();
        for ban in self.automatic() {
            // Only those of the level just below: a few parts of a large neighbourhood are not all of it.
            if let (Some(addr), Some(bits)) = (ban.addr, ban.bits())
                && let Some(fewer) = wider(bits, addr)
            {
                *counts.entry((u8::MAX - fewer, neighbourhood(addr, fewer))).or_default() += 1;
            }
        }
        let most = if self.automatic().count() > self.most { 2 } else { limits::CROWDED };
        let crowded = counts.into_iter().find(|(_, count)| *count >= most);
        crowded.map(|((level, wide), _)| (wide, u8::MAX - level))
    }

    /// Lifts every ban on `peer` or on `addr`.
    pub(super) fn lift(&mut self, peer: Option<&PeerId>, addr: Option<IpAddr>) -> Vec<Ban> {
        let is_meant = |ban: &mut Ban| {
            (peer.is_some() && ban.peer_id.as_ref() == peer) || addr.is_some_and(|addr| ban.covers(addr))
        };
        self.all.extract_if(.., is_meant).collect()
    }

    /// Ends those that wrong passwords brought, after [`limits::AUTOMATIC_BAN`]. True when there were any.
    pub(super) fn end_automatic(&mut self, now: Timestamp) -> bool {
        let before = self.all.len();
        self.all.retain(|ban| !ban.automatic || now.since(ban.since) < limits::AUTOMATIC_BAN);
        before != self.all.len()
    }
}

fn is_inside(ban: &Ban, wide: IpAddr, bits: u8) -> bool {
    ban.automatic
        && ban.addr.is_some_and(|addr| neighbourhood(address_block(addr), bits) == wide)
        && ban.bits().is_some_and(|own| own > bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ban(bans: &mut Bans, addr: [u8; 4], at: i64) -> Ban {
        bans.add_automatic(addr.into(), "3 wrong passwords".into(), Timestamp(at))
    }

    #[test]
    fn bans_for_wrong_passwords_end_and_others_stay() {
        let mut bans = Bans::new(Vec::new(), 64);
        let automatic = ban(&mut bans, [10, 0, 0, 1], 0);
        bans.add(Ban { automatic: false, addr: Some([10, 0, 0, 2].into()), ..automatic });
        let day = Timestamp(i64::try_from(limits::AUTOMATIC_BAN.as_micros()).unwrap());
        assert!(!bans.end_automatic(Timestamp(day.0 - 1)));
        assert!(bans.end_automatic(day));
        assert_eq!(bans.all().iter().map(|ban| ban.automatic).collect::<Vec<_>>(), [false]);
    }

    #[test]
    fn many_neighbours_become_one_ban() {
        let mut bans = Bans::new(Vec::new(), 64);
        for last in 1..32 {
            assert_eq!(ban(&mut bans, [10, 0, 0, last], 0).prefix, None);
        }
        let wide = ban(&mut bans, [10, 0, 0, 32], 0);
        assert_eq!((wide.addr, wide.prefix), (Some([10, 0, 0, 0].into()), Some(24)));
        assert_eq!(wide.reason, "wrong passwords from 32 parts of 10.0.0.0/24");
        assert_eq!(bans.all().len(), 1);
        let refuses = |addr: [u8; 4]| bans.of(&PeerId([1; 32]), addr.into(), false).is_some();
        assert!(refuses([10, 0, 0, 200]) && !refuses([10, 0, 1, 1]));
        assert!(bans.of(&PeerId([1; 32]), [10, 0, 0, 9].into(), true).is_none(), "a known key comes in");
        assert_eq!(bans.lift(None, Some([10, 0, 0, 77].into())).len(), 1);
    }

    #[test]
    fn of_more_that_were_kept_those_stay_that_keep_out_whoever_guesses_now() {
        let mut before = Bans::new(Vec::new(), 64);
        for number in 0..64_u8 {
            // Two in each of 32 neighbourhoods.
            ban(&mut before, [10, number / 2, 0, number % 2], 0);
        }
        let mut bans = Bans::new(before.all().to_vec(), 8);
        assert_eq!(bans.all().len(), 64);
        let own = ban(&mut bans, [11, 0, 0, 1], 1);
        assert!(own.covers([11, 0, 0, 1].into()) && bans.all().contains(&own));
        assert_eq!(bans.all().len(), 8);
    }

    #[test]
    fn there_are_never_more_than_so_many() {
        let mut bans = Bans::new(Vec::new(), 64);
        for number in 0..1500_u32 {
            // Far apart, so that no neighbourhood is crowded.
            let addr = number.wrapping_mul(2_654_435_761).to_be_bytes();
            let own = ban(&mut bans, addr, i64::from(number));
            assert!(own.covers(addr.into()), "whoever guessed is out");
            assert!(bans.all().len() <= 64);
        }
        for number in 0..1500_u128 {
            let addr = std::net::Ipv6Addr::from_bits((0x2001_0db8 << 96) | (number << 64) | 1);
            bans.add_automatic(addr.into(), String::new(), Timestamp(0));
            assert!(bans.all().len() <= 64);
        }
    }
}

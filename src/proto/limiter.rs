//! The admission limiter: how many connections may take up room and work before they are authenticated.
//!
//! A silent connection costs a descriptor and no work, so it only counts against the total; the one that begins a
//! handshake takes one of its address's places. An honest joiner speaks at once, and is therefore never kept
//! waiting by silent or garbled ones, even from its own address.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    time::Instant,
};

use rand_core::RngCore;

use super::{ConnId, rate::TokenBucket};
use crate::model::{Penalty, ban::address_block, limits};

/// What becomes of a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// It may stay.
    Taken,
    /// It may stay in the place of this one, which has said nothing so far, or is one of too many from its address.
    TakenInsteadOf(ConnId),
    /// It is dropped.
    Dropped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Silent,
    Waiting,
    Handshaking,
}

#[derive(Debug)]
struct Address {
    handshaking: u32,
    wasted: TokenBucket,
    waiting: VecDeque<ConnId>,
}

/// Connections that are not authenticated yet.
#[derive(Debug)]
pub struct Limiter {
    free: usize,
    full: usize,
    connections: BTreeMap<ConnId, (IpAddr, Stage)>,
    /// Numbers grow, so that the first is the oldest.
    silent: BTreeSet<ConnId>,
    addresses: BTreeMap<IpAddr, Address>,
    /// Connections turned away since this was last asked.
    dropped: u64,
}

impl Limiter {
    /// A limiter for a process that may have `descriptors` open: never more than half of them are strangers'.
    #[must_use]
    pub fn new(descriptors: usize) -> Self {
        let full = limits::STARTUPS_FULL.min(descriptors / 2).max(1);
        Self {
            free: limits::STARTUPS_FREE.min(full / 4).max(1),
            full,
            connections: BTreeMap::new(),
            silent: BTreeSet::new(),
            addresses: BTreeMap::new(),
            dropped: 0,
        }
    }

    /// A connection came in. One that `is_kept` makes room for no other: it is being judged already.
    pub fn incoming(
        &mut self,
        conn: ConnId,
        ip: IpAddr,
        rng: &mut impl RngCore,
        is_kept: &dyn Fn(ConnId) -> bool,
    ) -> Entry {
        let open = self.connections.len();
        let mut entry = Entry::Taken;
        if open >= self.free {
            let span = (self.full - self.free).max(1);
            let chance = limits::STARTUPS_DROP_PERCENT
                + (100 - limits::STARTUPS_DROP_PERCENT) * (open - self.free).min(span) / span;
            let draw = usize::try_from(rng.next_u32() % 100).unwrap_or(0);
            if draw < chance {
                self.dropped += 1;
                let greediest = || self.greediest(address_block(ip), is_kept);
                let Some(other) = self.silent.first().copied().or_else(greediest) else {
                    return Entry::Dropped;
                };
                entry = Entry::TakenInsteadOf(other);
                self.remove(other);
            }
        }
        self.connections.insert(conn, (address_block(ip), Stage::Silent));
        self.silent.insert(conn);
        entry
    }

    /// The oldest connection of the address that has the most of them, if that are at least two more than `block` has.
    fn greediest(&self, block: IpAddr, is_kept: &dyn Fn(ConnId) -> bool) -> Option<ConnId> {
        let mut open: BTreeMap<IpAddr, (usize, ConnId)> = BTreeMap::new();
        // Numbers grow, so that the first of each address is its oldest.
        for (conn, (other, _)) in self.connections.iter().filter(|(conn, _)| !is_kept(**conn)) {
            open.entry(*other).or_insert((0, *conn)).0 += 1;
        }
        let own = open.get(&block).map_or(0, |(count, _)| *count);
        let (count, oldest) =
            open.into_values().max_by_key(|(count, conn)| (*count, std::cmp::Reverse(*conn)))?;
        (count >= own + 2).then_some(oldest)
    }

    fn remove(&mut self, conn: ConnId) -> Option<(IpAddr, Stage)> {
        self.silent.remove(&conn);
        let (block, stage) = self.connections.remove(&conn)?;
        if let Some(address) = self.addresses.get_mut(&block)
            && stage == Stage::Handshaking
        {
            address.handshaking = address.handshaking.saturating_sub(1);
        }
        Some((block, stage))
    }

    /// A connection began a handshake. Gives every connection that may now go on with its own.
    pub fn spoke(&mut self, conn: ConnId, now: Instant) -> Vec<ConnId> {
        let Some((block, stage)) = self.connections.get_mut(&conn) else { return Vec::new() };
        let block = *block;
        if *stage != Stage::Silent {
            return Vec::new();
        }
        *stage = Stage::Waiting;
        self.silent.remove(&conn);
        self.forget_addresses(now);
        let address = self.addresses.entry(block).or_insert_with(|| Address {
            handshaking: 0,
            wasted: TokenBucket::new(limits::HANDSHAKE_RATE, limits::HANDSHAKE_BURST, now),
            waiting: VecDeque::new(),
        });
        if address.waiting.len() < limits::HANDSHAKES_WAITING {
            address.waiting.push_back(conn);
        }
        self.release(block, now)
    }

    /// A connection was authenticated and counts no longer. Gives every connection that may now go on.
    pub fn authenticated(&mut self, conn: ConnId, now: Instant) -> Vec<ConnId> {
        self.done(conn, now, true)
    }

    /// A connection is gone. Gives every connection that may now go on.
    pub fn closed(&mut self, conn: ConnId, now: Instant) -> Vec<ConnId> {
        self.done(conn, now, false)
    }

    fn done(&mut self, conn: ConnId, now: Instant, honest: bool) -> Vec<ConnId> {
        let Some((block, stage)) = self.remove(conn) else { return Vec::new() };
        if honest
            && stage == Stage::Handshaking
            && let Some(address) = self.addresses.get_mut(&block)
        {
            address.wasted.give_back(1);
        }
        self.release(block, now)
    }

    /// Looks at the clock: gives every connection that may now go on.
    pub fn poll(&mut self, now: Instant) -> Vec<ConnId> {
        let blocks: Vec<IpAddr> = self
            .addresses
            .iter()
            .filter(|(_, address)| !address.waiting.is_empty())
            .map(|(block, _)| *block)
            .collect();
        blocks.into_iter().flat_map(|block| self.release(block, now)).collect()
    }

    /// Addresses that have wasted too many handshakes, and whose next ones wait for it.
    #[must_use]
    pub fn penalties(&self, now: Instant) -> Vec<Penalty> {
        let is_held_back =
            |(_, address): &(&IpAddr, &Address)| !address.waiting.is_empty() && address.wasted.is_empty(now);
        let penalty = |(addr, address): (&IpAddr, &Address)| Penalty {
            addr: *addr,
            waiting: u32::try_from(address.waiting.len()).unwrap_or(u32::MAX),
        };
        let mut penalties: Vec<Penalty> = self.addresses.iter().filter(is_held_back).map(penalty).collect();
        penalties.sort_by_key(|penalty| std::cmp::Reverse(penalty.waiting));
        penalties.truncate(limits::PENALTIES);
        penalties
    }

    /// Lifts what holds an address back. Gives every connection that may now go on; nothing when nothing did.
    pub fn forgive(&mut self, ip: IpAddr, now: Instant) -> Option<Vec<ConnId>> {
        let block = address_block(ip);
        let address = self.addresses.get_mut(&block).filter(|address| address.wasted.is_empty(now))?;
        address.wasted = TokenBucket::new(limits::HANDSHAKE_RATE, limits::HANDSHAKE_BURST, now);
        Some(self.release(block, now))
    }

    /// True while a connection waits for time to pass.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.addresses.values().any(|address| !address.waiting.is_empty())
    }

    /// How many connections were turned away since the last time.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    fn release(&mut self, block: IpAddr, now: Instant) -> Vec<ConnId> {
        let mut released = Vec::new();
        let Some(address) = self.addresses.get_mut(&block) else { return released };
        while address.handshaking < limits::HANDSHAKES_PER_ADDRESS {
            let Some(conn) = address.waiting.front().copied() else { break };
            if let Some((_, stage)) = self.connections.get_mut(&conn) {
                if address.wasted.take(1, now).is_err() {
                    break;
                }
                *stage = Stage::Handshaking;
                address.handshaking += 1;
                released.push(conn);
            }
            address.waiting.pop_front();
        }
        released
    }

    fn forget_addresses(&mut self, now: Instant) {
        if self.addresses.len() >= limits::ADDRESSES {
            self.addresses.retain(|_, address| {
                address.handshaking > 0 || !address.waiting.is_empty() || !address.wasted.is_full(now)
            });
        }
        if self.addresses.len() >= limits::ADDRESSES {
            let idle = self.addresses.iter().find(|(_, a)| a.handshaking == 0 && a.waiting.is_empty());
            if let Some(block) = idle.map(|(block, _)| *block) {
                self.addresses.remove(&block);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand_core::SeedableRng as _;

    use super::*;

    const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9));

    fn rng() -> rand_chacha::ChaCha20Rng {
        rand_chacha::ChaCha20Rng::from_seed([1; 32])
    }

    #[test]
    fn silent_connections_do_not_delay_one_that_speaks() {
        let now = Instant::now();
        let mut limiter = Limiter::new(100_000);
        for conn in 0..300 {
            assert_eq!(limiter.incoming(ConnId(conn), STRANGER, &mut rng(), &|_| false), Entry::Taken);
        }
        limiter.incoming(ConnId(999), STRANGER, &mut rng(), &|_| false);
        assert_eq!(limiter.spoke(ConnId(999), now), [ConnId(999)]);
    }

    #[test]
    fn handshakes_of_one_address_take_turns() {
        let now = Instant::now();
        let mut limiter = Limiter::new(100_000);
        let mut going = 0;
        for conn in 0..20 {
            limiter.incoming(ConnId(conn), STRANGER, &mut rng(), &|_| false);
            going += limiter.spoke(ConnId(conn), now).len();
        }
        assert_eq!(going, 8);
        assert_eq!(limiter.closed(ConnId(0), now), [ConnId(8)]);
        let other = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 10));
        limiter.incoming(ConnId(50), other, &mut rng(), &|_| false);
        assert_eq!(limiter.spoke(ConnId(50), now), [ConnId(50)], "another address does not wait");
    }

    #[test]
    fn wasted_handshakes_cost_time_and_honest_ones_do_not() {
        let start = Instant::now();
        for honest in [false, true] {
            let mut limiter = Limiter::new(100_000);
            let mut passed = 0;
            for conn in 0..100 {
                limiter.incoming(ConnId(conn), STRANGER, &mut rng(), &|_| false);
                let released = limiter.spoke(ConnId(conn), start);
                passed += released.len();
                for conn in released {
                    let next =
                        if honest { limiter.authenticated(conn, start) } else { limiter.closed(conn, start) };
                    assert!(next.is_empty());
                }
            }
            assert_eq!(passed, if honest { 100 } else { 20 });
            assert_eq!(limiter.is_waiting(), !honest);
            if !honest {
                assert_eq!(limiter.penalties(start), [Penalty { addr: STRANGER, waiting: 80 }]);
                assert_eq!(limiter.poll(start + Duration::from_secs(1)).len(), 1);
                let later = start + Duration::from_secs(1);
                assert_eq!(
                    limiter.forgive(STRANGER, later).unwrap().len(),
                    7,
                    "as many as may go on at once"
                );
                assert!(limiter.penalties(later).is_empty());
                assert_eq!(limiter.forgive(STRANGER, later), None, "nothing to forgive");
            }
        }
    }

    #[test]
    fn when_full_the_silent_make_room_and_never_more_than_half_the_descriptors_are_used() {
        let mut rng = rng();
        let mut limiter = Limiter::new(64);
        let mut open: std::collections::BTreeSet<ConnId> = std::collections::BTreeSet::new();
        for conn in (0..300).map(ConnId) {
            match limiter.incoming(conn, STRANGER, &mut rng, &|_| false) {
                Entry::Taken => _ = open.insert(conn),
                Entry::TakenInsteadOf(other) => {
                    assert!(open.remove(&other));
                    open.insert(conn);
                }
                Entry::Dropped => {}
            }
            assert!(open.len() <= 32);
        }
        assert!(open.contains(&ConnId(299)), "the newest always has its chance");
        assert!(limiter.take_dropped() > 200);
    }

    #[test]
    fn connections_that_speak_are_dropped_by_chance_from_512_on_and_all_of_them_at_2048() {
        let now = Instant::now();
        let (mut limiter, mut rng) = (Limiter::new(100_000), rng());
        let mut taken_at = Vec::new();
        for number in 0..20_000_u32 {
            let conn = ConnId(u64::from(number));
            if limiter.incoming(conn, IpAddr::V4(number.into()), &mut rng, &|_| false) == Entry::Taken {
                limiter.spoke(conn, now);
                taken_at.push(number);
            }
        }
        assert_eq!(taken_at[511], 511, "below 512 nobody is turned away");
        let next = taken_at.iter().filter(|at| (512..612).contains(*at)).count();
        assert!((50..=85).contains(&next), "about 70 of the next hundred are taken: {next}");
        assert!(limiter.connections.len() <= 2048, "{}", limiter.connections.len());
        let (full, mut rng) = (limiter.connections.len(), self::rng());
        for number in 0..5000 {
            let conn = ConnId(1_000_000 + number);
            limiter.incoming(conn, STRANGER, &mut rng, &|_| false);
            limiter.spoke(conn, now);
        }
        assert!(limiter.connections.len() <= 2048 && full > 1500, "{full}");
    }

    #[test]
    fn addresses_that_hold_many_places_make_room_for_one_that_holds_none() {
        let now = Instant::now();
        let (mut limiter, mut rng) = (Limiter::new(100_000), rng());
        let mut held = BTreeSet::new();
        let mut knock = |limiter: &mut Limiter, conn: u64, ip: u32| {
            let (conn, entry) =
                (ConnId(conn), limiter.incoming(ConnId(conn), IpAddr::V4(ip.into()), &mut rng, &|_| false));
            if let Entry::TakenInsteadOf(other) = entry {
                held.remove(&other);
            }
            if entry != Entry::Dropped {
                held.insert(conn);
                limiter.spoke(conn, now);
            }
            entry != Entry::Dropped
        };
        // 300 addresses of eight each, again and again.
        for conn in 0..20_000 {
            knock(&mut limiter, conn, 1 + (u32::try_from(conn).unwrap() / 8) % 300);
        }
        assert!(limiter.connections.len() > 1000 && limiter.connections.len() <= 2048);
        for newcomer in 0..50 {
            assert!(knock(&mut limiter, 1_000_000 + u64::from(newcomer), 1_000_000 + newcomer), "{newcomer}");
        }
        assert_eq!(held.len(), limiter.connections.len());
        let handshaking: u32 = limiter.addresses.values().map(|address| address.handshaking).sum();
        let counted = limiter.connections.values().filter(|(_, stage)| *stage == Stage::Handshaking).count();
        assert_eq!(usize::try_from(handshaking).unwrap(), counted);
    }

    #[test]
    fn handshakes_that_wait_and_addresses_that_are_told_of_are_bounded() {
        let now = Instant::now();
        let (mut limiter, mut random) = (Limiter::new(100_000), rng());
        for conn in (0..6000).map(ConnId) {
            limiter.incoming(conn, STRANGER, &mut random, &|_| false);
            limiter.spoke(conn, now);
        }
        assert!(limiter.connections.len() > 1024 + 8);
        assert_eq!(limiter.addresses[&STRANGER].waiting.len(), 1024);
        let mut limiter = Limiter::new(100_000);
        for last in 0..100_u8 {
            let ip = IpAddr::from([10, 1, 1, last]);
            // The first 20 are wasted, the others wait: more of them the higher the address.
            for number in 0..21 + u64::from(last) / 10 {
                let conn = ConnId(1000 * u64::from(last) + number);
                limiter.incoming(conn, ip, &mut rng(), &|_| false);
                for conn in limiter.spoke(conn, now) {
                    limiter.closed(conn, now);
                }
            }
        }
        let penalties = limiter.penalties(now);
        assert_eq!(penalties.len(), 32);
        assert!(penalties.iter().all(|penalty| penalty.waiting >= 7), "{penalties:?}");
    }

    #[test]
    fn a_flood_of_addresses_is_forgotten() {
        let now = Instant::now();
        let mut limiter = Limiter::new(100_000);
        for number in 0..20_000_u32 {
            let conn = ConnId(u64::from(number));
            limiter.incoming(conn, IpAddr::V4(number.into()), &mut rng(), &|_| false);
            limiter.spoke(conn, now);
            limiter.closed(conn, now);
        }
        assert!(limiter.addresses.len() <= limits::ADDRESSES);
        assert!(limiter.connections.is_empty() && limiter.silent.is_empty());
    }
}

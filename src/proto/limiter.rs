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

use super::{ConnId, StrangerLimits, rate::TokenBucket};
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

/// Which connections each address has. A flood asks for the address with the most at every connection: to find it must not
/// cost more the more there are.
#[derive(Debug, Default)]
struct ByAddress {
    of: BTreeMap<IpAddr, BTreeSet<ConnId>>,
    by_count: BTreeSet<(usize, IpAddr)>,
}

impl ByAddress {
    fn add(&mut self, block: IpAddr, conn: ConnId) {
        let conns = self.of.entry(block).or_default();
        self.by_count.remove(&(conns.len(), block));
        conns.insert(conn);
        self.by_count.insert((conns.len(), block));
    }

    fn remove(&mut self, block: IpAddr, conn: ConnId) {
        let Some(conns) = self.of.get_mut(&block) else { return };
        self.by_count.remove(&(conns.len(), block));
        conns.remove(&conn);
        if conns.is_empty() {
            self.of.remove(&block);
        } else {
            self.by_count.insert((conns.len(), block));
        }
    }

    /// The oldest connection of an address that has the most of them, if that are at least two more than `block` has. One
    /// that is kept stays; an address has few of those.
    fn greediest(&self, block: IpAddr, is_kept: &dyn Fn(ConnId) -> bool) -> Option<ConnId> {
        let own = self.of.get(&block).map_or(0, BTreeSet::len);
        let greedy = self.by_count.iter().rev().take_while(|(count, _)| *count >= own + 2);
        // Numbers grow, so that the first is the oldest.
        let oldest = |block| self.of.get(block)?.iter().find(|conn| !is_kept(**conn)).copied();
        greedy.map(|(_, block)| block).find_map(oldest)
    }
}

/// Connections that are not authenticated yet.
#[derive(Debug)]
pub struct Limiter {
    limits: StrangerLimits,
    connections: BTreeMap<ConnId, (IpAddr, Stage)>,
    by_address: ByAddress,
    /// Numbers grow, so that the first is the oldest.
    silent: BTreeSet<ConnId>,
    addresses: BTreeMap<IpAddr, Address>,
    /// Connections turned away since this was last asked.
    dropped: u64,
}

impl Limiter {
    /// A limiter for a process that may have `descriptors` open: never more than half of them are strangers'.
    #[must_use]
    pub fn new(limits: StrangerLimits, descriptors: usize) -> Self {
        let full = limits.full.min(descriptors / 2).max(1);
        let free = limits.free.min(full / 4).max(1);
        Self {
            limits: StrangerLimits {
                free,
                full,
                handshakes_waiting: limits.handshakes_waiting.max(1),
                ..limits
            },
            connections: BTreeMap::new(),
            by_address: ByAddress::default(),
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
        let StrangerLimits { free, full, .. } = self.limits;
        if open >= free {
            let span = (full - free).max(1);
            let chance = limits::STARTUPS_DROP_PERCENT
                + (100 - limits::STARTUPS_DROP_PERCENT) * (open - free).min(span) / span;
            let draw = usize::try_from(rng.next_u32() % 100).unwrap_or(0);
            if draw < chance {
                self.dropped += 1;
                let greediest = || self.by_address.greediest(address_block(ip), is_kept);
                let Some(other) = self.silent.first().copied().or_else(greediest) else {
                    return Entry::Dropped;
                };
                entry = Entry::TakenInsteadOf(other);
                self.remove(other);
            }
        }
        self.connections.insert(conn, (address_block(ip), Stage::Silent));
        self.by_address.add(address_block(ip), conn);
        self.silent.insert(conn);
        entry
    }

    fn remove(&mut self, conn: ConnId) -> Option<(IpAddr, Stage)> {
        self.silent.remove(&conn);
        let (block, stage) = self.connections.remove(&conn)?;
        self.by_address.remove(block, conn);
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
        if address.waiting.len() < self.limits.handshakes_waiting {
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
        penalties.truncate(self.limits.penalties);
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
        if self.addresses.len() >= self.limits.addresses {
            self.addresses.retain(|_, address| {
                address.handshaking > 0 || !address.waiting.is_empty() || !address.wasted.is_full(now)
            });
        }
        if self.addresses.len() >= self.limits.addresses {
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

    /// A host with little room.
    const SMALL: StrangerLimits = StrangerLimits {
        free: 64,
        full: 256,
        handshakes_waiting: 100,
        addresses: 128,
        penalties: 8,
        counted: 0,
        automatic_bans: 0,
    };
    const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9));

    fn rng() -> rand_chacha::ChaCha20Rng {
        rand_chacha::ChaCha20Rng::from_seed([1; 32])
    }

    #[test]
    fn silent_connections_do_not_delay_one_that_speaks() {
        let now = Instant::now();
        let mut limiter = Limiter::new(StrangerLimits::default(), 100_000);
        for conn in 0..300 {
            assert_eq!(limiter.incoming(ConnId(conn), STRANGER, &mut rng(), &|_| false), Entry::Taken);
        }
        limiter.incoming(ConnId(999), STRANGER, &mut rng(), &|_| false);
        assert_eq!(limiter.spoke(ConnId(999), now), [ConnId(999)]);
    }

    #[test]
    fn handshakes_of_one_address_take_turns() {
        let now = Instant::now();
        let mut limiter = Limiter::new(StrangerLimits::default(), 100_000);
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
            let mut limiter = Limiter::new(StrangerLimits::default(), 100_000);
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
        let mut limiter = Limiter::new(StrangerLimits::default(), 64);
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
    fn connections_that_speak_are_dropped_by_chance_once_there_are_many_and_all_of_them_when_it_is_full() {
        let now = Instant::now();
        let mut rng = rng();
        let mut speak = |limiter: &mut Limiter, number: usize| {
            let (conn, ip) = (ConnId(number as u64), IpAddr::V4(u32::try_from(number).unwrap().into()));
            let is_taken = limiter.incoming(conn, ip, &mut rng, &|_| false) == Entry::Taken;
            if is_taken {
                limiter.spoke(conn, now);
            }
            is_taken
        };
        let mut next_taken = 0;
        for _ in 0..40 {
            let mut limiter = Limiter::new(SMALL, 100_000);
            assert!((0..SMALL.free).all(|number| speak(&mut limiter, number)), "nobody is turned away yet");
            next_taken += (SMALL.free..SMALL.free + 5).filter(|number| speak(&mut limiter, *number)).count();
        }
        assert!(
            (110..=170).contains(&next_taken),
            "about 70 percent of the next 200 are taken: {next_taken}"
        );
        let mut limiter = Limiter::new(SMALL, 100_000);
        for number in 0..3000 {
            speak(&mut limiter, number);
        }
        let full = limiter.connections.len();
        assert!((SMALL.full * 3 / 4..=SMALL.full).contains(&full), "{full}");
        for conn in (10_000..11_000).map(ConnId) {
            limiter.incoming(conn, STRANGER, &mut rng, &|_| false);
            limiter.spoke(conn, now);
        }
        assert!(limiter.connections.len() <= SMALL.full);
    }

    #[test]
    fn what_is_kept_makes_no_room() {
        let (mut limiter, mut rng, now) = (Limiter::new(SMALL, 100_000), rng(), Instant::now());
        let mut conn = 0;
        let mut fill = |limiter: &mut Limiter, last: u8, count: u64| {
            let ip = IpAddr::from([10, 0, 0, last]);
            let conns: Vec<ConnId> = (conn..conn + count).map(ConnId).collect();
            conn += count;
            for conn in &conns {
                limiter.incoming(*conn, ip, &mut rng, &|_| false);
                limiter.spoke(*conn, now);
            }
            conns
        };
        let (kept, most, few) =
            (fill(&mut limiter, 1, 20), fill(&mut limiter, 2, 15), fill(&mut limiter, 3, 10));
        let is_kept = |conn: ConnId| kept.contains(&conn);
        let greediest = |limiter: &Limiter, last: u8, is_kept: &dyn Fn(ConnId) -> bool| {
            limiter.by_address.greediest(IpAddr::from([10, 0, 0, last]), is_kept)
        };
        assert_eq!(greediest(&limiter, 9, &|_| false), Some(kept[0]));
        assert_eq!(greediest(&limiter, 9, &is_kept), Some(most[0]));
        assert_eq!(greediest(&limiter, 2, &is_kept), None, "it has the most itself");
        assert_eq!(greediest(&limiter, 3, &is_kept), Some(most[0]));
        for conn in &most[..6] {
            limiter.closed(*conn, now);
        }
        assert_eq!(greediest(&limiter, 9, &is_kept), Some(few[0]));
        assert_eq!(greediest(&limiter, 2, &is_kept), None, "one more is no reason");
        let is_kept = |conn: ConnId| kept.contains(&conn) && conn != kept[3];
        assert_eq!(greediest(&limiter, 9, &is_kept), Some(kept[3]), "one of them is not kept");
    }

    #[test]
    fn addresses_that_hold_many_places_make_room_for_one_that_holds_none() {
        let now = Instant::now();
        let (mut limiter, mut rng) = (Limiter::new(SMALL, 100_000), rng());
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
        // 40 addresses of eight each, again and again.
        for conn in 0..3000 {
            knock(&mut limiter, conn, 1 + (u32::try_from(conn).unwrap() / 8) % 40);
        }
        assert!((SMALL.full / 2..=SMALL.full).contains(&limiter.connections.len()));
        for newcomer in 0..20 {
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
        let (mut limiter, mut random) = (Limiter::new(SMALL, 100_000), rng());
        for conn in (0..2000).map(ConnId) {
            limiter.incoming(conn, STRANGER, &mut random, &|_| false);
            limiter.spoke(conn, now);
        }
        assert!(limiter.connections.len() > SMALL.handshakes_waiting + 8);
        assert_eq!(limiter.addresses[&STRANGER].waiting.len(), SMALL.handshakes_waiting);
        let limits = StrangerLimits { penalties: SMALL.penalties, ..StrangerLimits::default() };
        let mut limiter = Limiter::new(limits, 100_000);
        for last in 0..20_u8 {
            let ip = IpAddr::from([10, 1, 1, last]);
            // The first 20 are wasted, the others wait: more of them the higher the address.
            for number in 0..21 + u64::from(last) / 2 {
                let conn = ConnId(1000 * u64::from(last) + number);
                limiter.incoming(conn, ip, &mut rng(), &|_| false);
                for conn in limiter.spoke(conn, now) {
                    limiter.closed(conn, now);
                }
            }
        }
        let penalties = limiter.penalties(now);
        assert_eq!(penalties.len(), SMALL.penalties);
        assert!(penalties.iter().all(|penalty| penalty.waiting >= 7), "{penalties:?}");
    }

    #[test]
    fn a_flood_of_addresses_is_forgotten() {
        let now = Instant::now();
        let mut limiter = Limiter::new(SMALL, 100_000);
        for number in 0..1000_u32 {
            let conn = ConnId(u64::from(number));
            limiter.incoming(conn, IpAddr::V4(number.into()), &mut rng(), &|_| false);
            limiter.spoke(conn, now);
            limiter.closed(conn, now);
        }
        assert!(limiter.addresses.len() <= SMALL.addresses);
        assert!(limiter.connections.is_empty() && limiter.silent.is_empty());
        assert!(limiter.by_address.of.is_empty() && limiter.by_address.by_count.is_empty());
    }
}

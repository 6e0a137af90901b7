//! The host's rules of admission (seed, "Protocol Flow"): first the ban, then the password.
//!
//! An attempt is charged before the challenge goes out and given back when the password is proven, so that guesses
//! in parallel gain nothing. An address that has as many guesses under way as it has attempts left waits its turn.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    time::{Duration, Instant},
};

use self::{bans::Bans, keys::Keys};
use super::{ConnId, StrangerLimits};
use crate::{
    model::{
        Admitted, Alias, Attempt, AuthenticationError, Ban, KeptAttempts, Moment, PeerId, Timestamp,
        ban::address_block, limits,
    },
    wire::BannedStatus,
};

mod bans;
mod keys;
pub mod passes;

/// What a joiner that wants to prove the password may do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge {
    /// Be challenged: one attempt is charged.
    Challenge,
    /// Wait until another joiner from its address is through.
    Wait,
}

/// What followed from an attempt that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// A wrong one: how many are left now.
    pub wrong: Option<Attempt>,
    /// The address is banned now.
    pub ban: Option<Ban>,
    /// Joiners that may be challenged now; charged already.
    pub challenge: Vec<ConnId>,
    /// Joiners that are banned with their address.
    pub refuse: Vec<ConnId>,
}

#[derive(Debug)]
struct Count {
    addr: IpAddr,
    wrong: u32,
    under_way: u32,
    last: Instant,
    /// The same on the wall clock, for a host that begins again.
    last_wall: Timestamp,
    waiting: VecDeque<ConnId>,
}

/// Bans, admitted keys and attempts.
#[derive(Debug)]
pub struct Admission {
    attempts: u32,
    members: usize,
    bans: Bans,
    keys: Keys,
    counts: BTreeMap<IpAddr, Count>,
    /// Addresses whose wrong passwords are counted at once.
    most_counts: usize,
}

impl Admission {
    /// With what was kept, `attempts` wrong passwords an address and at most `members` members.
    #[must_use]
    pub fn new(
        limits: StrangerLimits,
        attempts: u32,
        members: usize,
        bans: Vec<Ban>,
        admitted: Vec<Admitted>,
    ) -> Self {
        Self {
            attempts: attempts.max(1),
            members: members.clamp(1, limits::MEMBERS_MAX),
            bans: Bans::new(bans, limits.automatic_bans),
            keys: Keys::new(admitted),
            counts: BTreeMap::new(),
            most_counts: limits.counted.max(1),
        }
    }

    /// Takes up wrong passwords that were counted before this host began again.
    pub fn recall_attempts(&mut self, attempts: Vec<KeptAttempts>, now: Moment) {
        for KeptAttempts { addr, wrong, last: last_wall } in attempts {
            let last = now.instant.checked_sub(now.wall.since(last_wall)).unwrap_or(now.instant);
            let wrong = wrong.min(self.attempts.saturating_sub(1));
            let count = Count { addr, wrong, under_way: 0, last, last_wall, waiting: VecDeque::new() };
            self.counts.insert(address_block(addr), count);
        }
        self.tidy(now);
    }

    /// Wrong passwords, for a host that begins again.
    #[must_use]
    pub fn kept_attempts(&self) -> Vec<KeptAttempts> {
        let counted = self.counts.values().filter(|count| count.wrong > 0);
        let kept =
            |count: &Count| KeptAttempts { addr: count.addr, wrong: count.wrong, last: count.last_wall };
        counted.map(kept).collect()
    }

    /// The ban that refuses a peer, if any.
    #[must_use]
    pub fn ban_of(&self, peer: &PeerId, addr: IpAddr) -> Option<&Ban> {
        self.bans.of(peer, addr, self.is_admitted(peer))
    }

    /// The address that was banned for want of a key, under this label.
    #[must_use]
    pub fn address_banned_as(&self, label: &str) -> Option<IpAddr> {
        let is_meant = |ban: &&Ban| {
            ban.peer_id.is_none() && ban.alias.as_ref().is_some_and(|alias| alias.as_str() == label)
        };
        self.bans.all().iter().find(is_meant).and_then(|ban| ban.addr)
    }

    /// The first thing that a host says to a joiner.
    #[must_use]
    pub fn status(&self, peer: &PeerId, addr: IpAddr) -> BannedStatus {
        if let Some(ban) = self.ban_of(peer, addr) {
            return BannedStatus::Banned { reason: ban.reason.clone() };
        }
        if self.is_admitted(peer) {
            return BannedStatus::Known;
        }
        let wrong = self.counts.get(&address_block(addr)).map_or(0, |count| count.wrong);
        BannedStatus::Password { left: self.attempts.saturating_sub(wrong) }
    }

    /// True for a key that needs no password.
    #[must_use]
    pub fn is_admitted(&self, peer: &PeerId) -> bool {
        self.keys.get(peer).is_some()
    }

    /// A joiner wants to prove the password.
    pub fn charge(&mut self, conn: ConnId, addr: IpAddr, now: Moment) -> Charge {
        let now = now.instant;
        let attempts = self.attempts;
        let count = self.counts.entry(address_block(addr)).or_insert_with(|| Count {
            addr,
            wrong: 0,
            under_way: 0,
            last: now,
            last_wall: Timestamp::default(),
            waiting: VecDeque::new(),
        });
        count.last = now;
        if count.wrong + count.under_way < attempts {
            count.under_way += 1;
            Charge::Challenge
        } else {
            count.waiting.push_back(conn);
            Charge::Wait
        }
    }

    /// A joiner that waited for its turn is gone.
    pub fn stop_waiting(&mut self, conn: ConnId, addr: IpAddr) {
        if let Some(count) = self.counts.get_mut(&address_block(addr)) {
            count.waiting.retain(|waiting| *waiting != conn);
        }
    }

    /// A challenged joiner has proven the password, or has failed to or gone away.
    pub fn settle(&mut self, addr: IpAddr, proven: bool, now: Instant, wall: Timestamp) -> Settled {
        let mut settled = Settled { wrong: None, ban: None, challenge: Vec::new(), refuse: Vec::new() };
        let block = address_block(addr);
        let Some(count) = self.counts.get_mut(&block) else { return settled };
        count.under_way = count.under_way.saturating_sub(1);
        count.last = now;
        if proven {
            count.wrong = 0;
        } else {
            count.wrong += 1;
            count.last_wall = wall;
            let left = self.attempts.saturating_sub(count.wrong);
            settled.wrong = Some(Attempt { addr, wrong: count.wrong, left });
            if left == 0 {
                let reason = match count.wrong {
                    1 => "a wrong password".to_owned(),
                    wrong => format!("{wrong} wrong passwords"),
                };
                let ban = self.bans.add_automatic(addr, reason, wall);
                // Those of its neighbourhood too, where it is banned with it.
                for (_, count) in self.counts.extract_if(.., |_, count| ban.covers(count.addr)) {
                    settled.refuse.extend(count.waiting);
                }
                settled.ban = Some(ban);
                return settled;
            }
        }
        settled.challenge = self.next_turns(block);
        settled
    }

    /// A challenge was taken back: nobody is charged for it. Gives joiners that may be challenged now.
    pub fn withdraw(&mut self, addr: IpAddr) -> Vec<ConnId> {
        let block = address_block(addr);
        if let Some(count) = self.counts.get_mut(&block) {
            count.under_way = count.under_way.saturating_sub(1);
        }
        self.next_turns(block)
    }

    fn next_turns(&mut self, block: IpAddr) -> Vec<ConnId> {
        let mut challenge = Vec::new();
        let Some(count) = self.counts.get_mut(&block) else { return challenge };
        while count.wrong + count.under_way < self.attempts {
            let Some(conn) = count.waiting.pop_front() else { break };
            count.under_way += 1;
            challenge.push(conn);
        }
        if count.wrong == 0 && count.under_way == 0 {
            self.counts.remove(&block);
        }
        challenge
    }

    /// Whether `peer` may be a member under `alias`; `host` is the host's own name, unless it is the host that asks.
    pub fn check_alias<'a>(
        &'a self,
        peer: &PeerId,
        alias: &str,
        host: Option<&'a Alias>,
        present: impl Iterator<Item = (&'a PeerId, &'a Alias)>,
    ) -> Result<Alias, AuthenticationError> {
        let alias = Alias::new(alias)?;
        let present = present.filter(|(other, _)| *other != peer).map(|(_, alias)| alias);
        let bound = self.keys.names_like(&alias, peer);
        tell_apart(&alias, host.into_iter().chain(bound).chain(present))?;
        Ok(alias)
    }

    /// Whether there is room for one more than `members`.
    pub fn check_room(&self, members: usize) -> Result<(), AuthenticationError> {
        if members < self.members { Ok(()) } else { Err(AuthenticationError::NetworkFull(self.members)) }
    }

    /// Binds a key and its alias: it comes back without a password. True when that is to be kept.
    ///
    /// # Errors
    /// Its address has brought too many new keys.
    pub fn admit(
        &mut self,
        peer: PeerId,
        alias: Alias,
        from: IpAddr,
        now: Moment,
    ) -> Result<bool, AuthenticationError> {
        self.keys.admit(peer, alias, from, now)
    }

    /// Forgets a key and releases its aliases.
    pub fn forget(&mut self, peer: &PeerId) -> bool {
        self.keys.remove(peer).is_some()
    }

    /// A key is here, or was until now.
    pub fn seen(&mut self, peer: &PeerId, now: Timestamp) {
        self.keys.seen(peer, now);
    }

    /// Forgets keys that have not been here for `age`, zero for never, but for those that are. True when there were any.
    pub fn forget_unseen(
        &mut self,
        age: Duration,
        present: &dyn Fn(&PeerId) -> bool,
        now: Timestamp,
    ) -> bool {
        self.keys.forget_unseen(age, present, now)
    }

    /// The key that an alias is bound to.
    #[must_use]
    pub fn key_of(&self, alias: &str) -> Option<PeerId> {
        self.keys.called(alias).or_else(|| {
            let labelled = |ban: &&Ban| ban.alias.as_ref().is_some_and(|label| label.as_str() == alias);
            self.bans.all().iter().find(labelled).and_then(|ban| ban.peer_id)
        })
    }

    /// The alias that is bound to a key.
    #[must_use]
    pub fn alias_of(&self, peer: &PeerId) -> Option<&Alias> {
        self.keys.get(peer).map(|admitted| &admitted.alias)
    }

    /// Attempts for each address, and members at most.
    #[must_use]
    pub fn limits(&self) -> (u32, usize) {
        (self.attempts, self.members)
    }

    /// When a key was first admitted.
    #[must_use]
    pub fn since(&self, peer: &PeerId) -> Option<Timestamp> {
        self.keys.get(peer).map(|admitted| admitted.since)
    }

    /// Adds a ban; one for the same key and address is replaced.
    pub fn ban(&mut self, ban: Ban) {
        self.bans.add(ban);
    }

    /// Lifts every ban on `peer` or on `addr`.
    pub fn unban(&mut self, peer: Option<&PeerId>, addr: Option<IpAddr>) -> Vec<Ban> {
        let lifted = self.bans.lift(peer, addr);
        if let Some(addr) = addr {
            self.counts.remove(&address_block(addr));
        }
        lifted
    }

    /// All bans, oldest first.
    #[must_use]
    pub fn bans(&self) -> &[Ban] {
        self.bans.all()
    }

    /// All admitted keys.
    pub fn admitted(&self) -> impl Iterator<Item = &Admitted> {
        self.keys.iter()
    }

    /// Addresses with wrong passwords.
    #[must_use]
    pub fn attempts(&self) -> Vec<Attempt> {
        let counted = self.counts.values().filter(|count| count.wrong > 0);
        counted
            .map(|count| Attempt {
                addr: count.addr,
                wrong: count.wrong,
                left: self.attempts.saturating_sub(count.wrong),
            })
            .collect()
    }

    /// Forgets addresses that have been quiet for [`limits::ATTEMPTS_FORGOTTEN`], those that were quiet longest where there
    /// are too many, and ends bans for wrong passwords in time. True when any was shown.
    pub fn tidy(&mut self, now: Moment) -> bool {
        let before = self.counts.len();
        let is_busy = |count: &Count| count.under_way > 0 || !count.waiting.is_empty();
        let quiet = |count: &Count| now.instant.saturating_duration_since(count.last);
        self.counts.retain(|_, count| is_busy(count) || quiet(count) < limits::ATTEMPTS_FORGOTTEN);
        if self.counts.len() > self.most_counts {
            let mut idle: Vec<(Duration, IpAddr)> = self
                .counts
                .iter()
                .filter(|(_, count)| !is_busy(count))
                .map(|(ip, count)| (quiet(count), *ip))
                .collect();
            idle.sort_unstable();
            // Half of them, so that it is not done again for each that comes.
            for (_, ip) in idle.split_off(idle.len() / 2) {
                self.counts.remove(&ip);
            }
        }
        self.bans.end_automatic(now.wall) || before != self.counts.len()
    }
}

/// Whether an alias is nobody else's, and cannot be mistaken for one of the `others`.
pub fn tell_apart<'a>(
    alias: &Alias,
    others: impl IntoIterator<Item = &'a Alias>,
) -> Result<(), AuthenticationError> {
    let looks = alias.looks();
    for other in others {
        if other == alias {
            return Err(AuthenticationError::AliasTaken(alias.to_string()));
        }
        if looks.are_like(other) {
            let (alias, other) = (alias.to_string(), other.to_string());
            return Err(AuthenticationError::AliasLooksLike { alias, other });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! The keys that come back without a password, and the names that are theirs.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::model::{
    Admitted, Alias, AuthenticationError, Looks, Moment, PeerId, Timestamp, ban::address_block, limits,
};

/// New keys from one address block.
#[derive(Debug)]
struct Newcomers {
    since: Instant,
    count: u32,
}

/// Admitted keys. To find one, or whose a name is, does not take longer the more there are.
#[derive(Debug)]
pub(super) struct Keys {
    admitted: BTreeMap<PeerId, Admitted>,
    /// Whose names look like that: what a name is to the eye, in both ways, and the keys.
    by_look: BTreeMap<String, BTreeSet<PeerId>>,
    newcomers: BTreeMap<IpAddr, Newcomers>,
}

impl Keys {
    pub(super) fn new(admitted: Vec<Admitted>) -> Self {
        let mut keys =
            Self { admitted: BTreeMap::new(), by_look: BTreeMap::new(), newcomers: BTreeMap::new() };
        for admitted in admitted {
            keys.insert(admitted);
        }
        keys
    }

    fn insert(&mut self, admitted: Admitted) {
        for alias in admitted.names() {
            for look in alias.looks().both() {
                self.by_look.entry(look).or_default().insert(admitted.peer_id);
            }
        }
        self.admitted.insert(admitted.peer_id, admitted);
    }

    pub(super) fn remove(&mut self, peer: &PeerId) -> Option<Admitted> {
        let admitted = self.admitted.remove(peer)?;
        for look in admitted.names().flat_map(|alias| alias.looks().both()) {
            if let Some(keys) = self.by_look.get_mut(&look) {
                keys.remove(peer);
                if keys.is_empty() {
                    self.by_look.remove(&look);
                }
            }
        }
        Some(admitted)
    }

    pub(super) fn get(&self, peer: &PeerId) -> Option<&Admitted> {
        self.admitted.get(peer)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Admitted> {
        self.admitted.values()
    }

    fn alike(&self, looks: &Looks) -> impl Iterator<Item = &Admitted> + use<'_> {
        let keys: BTreeSet<PeerId> =
            looks.both().iter().filter_map(|look| self.by_look.get(look)).flatten().copied().collect();
        keys.into_iter().filter_map(|peer| self.admitted.get(&peer))
    }

    /// Names of others, present or earlier ones, that could be taken for `alias`.
    pub(super) fn names_like<'a>(
        &'a self,
        alias: &Alias,
        peer: &'a PeerId,
    ) -> impl Iterator<Item = &'a Alias> {
        self.alike(&alias.looks()).filter(move |other| other.peer_id != *peer).flat_map(Admitted::names)
    }

    /// The key that is called `alias` now.
    pub(super) fn called(&self, alias: &str) -> Option<PeerId> {
        let looks = Alias::new(alias).ok()?.looks();
        self.alike(&looks).find(|admitted| admitted.alias.as_str() == alias).map(|admitted| admitted.peer_id)
    }

    /// Binds a key and its alias. True when that is to be kept.
    ///
    /// # Errors
    /// Too many new keys came from its address.
    pub(super) fn admit(
        &mut self,
        peer: PeerId,
        alias: Alias,
        from: IpAddr,
        now: Moment,
    ) -> Result<bool, AuthenticationError> {
        let Some(known) = self.admitted.get_mut(&peer) else {
            self.newcomer(from, now.instant)?;
            let (since, seen) = (now.wall, now.wall);
            self.insert(Admitted { peer_id: peer, alias, since, seen, earlier: Vec::new() });
            return Ok(true);
        };
        if known.alias == alias {
            let is_news = now.wall.since(known.seen) >= limits::SEEN_EVERY;
            if is_news {
                known.seen = now.wall;
            }
            return Ok(is_news);
        }
        if let Some(mut known) = self.remove(&peer) {
            known.earlier.retain(|earlier| *earlier != alias && *earlier != known.alias);
            known.earlier.push(std::mem::replace(&mut known.alias, alias));
            let surplus = known.earlier.len().saturating_sub(limits::EARLIER_ALIASES);
            known.earlier.drain(..surplus);
            known.seen = now.wall;
            self.insert(known);
        }
        Ok(true)
    }

    /// A key is here, or was until now.
    pub(super) fn seen(&mut self, peer: &PeerId, now: Timestamp) {
        if let Some(known) = self.admitted.get_mut(peer) {
            known.seen = now;
        }
    }

    fn newcomer(&mut self, from: IpAddr, now: Instant) -> Result<(), AuthenticationError> {
        let is_over = |newcomers: &Newcomers| {
            now.saturating_duration_since(newcomers.since) >= limits::NEWCOMERS_WITHIN
        };
        if self.newcomers.len() >= limits::ADDRESSES {
            self.newcomers.retain(|_, newcomers| !is_over(newcomers));
        }
        let block = address_block(from);
        let newcomers = self.newcomers.entry(block).or_insert(Newcomers { since: now, count: 0 });
        if is_over(newcomers) {
            *newcomers = Newcomers { since: now, count: 0 };
        }
        if newcomers.count >= limits::NEWCOMERS {
            return Err(AuthenticationError::TooManyNewcomers);
        }
        newcomers.count += 1;
        Ok(())
    }

    /// Forgets keys that have not been here for `age`, zero for never, but for those that are. True when there were any.
    pub(super) fn forget_unseen(
        &mut self,
        age: Duration,
        present: &dyn Fn(&PeerId) -> bool,
        now: Timestamp,
    ) -> bool {
        if age.is_zero() {
            return false;
        }
        let is_old =
            |known: &&Admitted| now.since(known.seen.max(known.since)) >= age && !present(&known.peer_id);
        let old: Vec<PeerId> = self.admitted.values().filter(is_old).map(|known| known.peer_id).collect();
        for peer in &old {
            self.remove(peer);
        }
        !old.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 60 * 60 * 1_000_000;

    fn at(days: i64) -> Moment {
        Moment { instant: Instant::now(), wall: Timestamp(days * DAY) }
    }

    fn alias(text: &str) -> Alias {
        Alias::new(text).unwrap()
    }

    fn addr() -> IpAddr {
        [10, 0, 0, 1].into()
    }

    #[test]
    fn a_renaming_does_not_free_the_old_name_for_others() {
        let (bob, eve) = (PeerId([1; 32]), PeerId([2; 32]));
        let mut keys = Keys::new(Vec::new());
        keys.admit(bob, alias("bob"), addr(), at(0)).unwrap();
        keys.admit(bob, alias("robert"), addr(), at(1)).unwrap();
        let taken = |keys: &Keys, name: &str, who: &PeerId| keys.names_like(&alias(name), who).count() > 0;
        assert!(taken(&keys, "bob", &eve) && taken(&keys, "B0B", &eve) && taken(&keys, "robert", &eve));
        assert!(!taken(&keys, "bob", &bob), "it may go back");
        assert_eq!((keys.called("bob"), keys.called("robert")), (None, Some(bob)));
        // After a restart, and until the key is unknown.
        let mut keys = Keys::new(keys.iter().cloned().collect());
        assert!(taken(&keys, "bob", &eve));
        for number in 0..100 {
            keys.admit(bob, alias(&format!("bob-{number}")), addr(), at(1)).unwrap();
        }
        assert_eq!(keys.get(&bob).unwrap().earlier.len(), limits::EARLIER_ALIASES);
        keys.remove(&bob);
        assert!(keys.by_look.is_empty());
    }

    #[test]
    fn keys_that_were_not_here_for_long_are_forgotten() {
        let (bob, eve, ann) = (PeerId([1; 32]), PeerId([2; 32]), PeerId([3; 32]));
        let mut keys = Keys::new(Vec::new());
        for (peer, name) in [(bob, "bob"), (eve, "eve"), (ann, "ann")] {
            assert!(keys.admit(peer, alias(name), addr(), at(0)).unwrap());
        }
        assert!(!keys.admit(eve, alias("eve"), addr(), at(0)).unwrap(), "nothing new to keep");
        assert!(keys.admit(eve, alias("eve"), addr(), at(100)).unwrap());
        let age = Duration::from_secs(180 * 24 * 60 * 60);
        assert!(!keys.forget_unseen(Duration::ZERO, &|_| false, at(1000).wall));
        assert!(!keys.forget_unseen(age, &|peer| *peer == ann, at(179).wall));
        assert!(keys.forget_unseen(age, &|peer| *peer == ann, at(180).wall));
        assert_eq!(keys.iter().map(|known| known.peer_id).collect::<Vec<_>>(), [eve, ann]);
    }

    #[test]
    fn an_insider_cannot_fill_the_host_with_keys() {
        let mut keys = Keys::new(Vec::new());
        let (start, mut admitted) = (Instant::now(), 0);
        for number in 0..8000_u32 {
            let mut peer = PeerId([0; 32]);
            peer.0[..4].copy_from_slice(&number.to_be_bytes());
            // 8,000 in five minutes.
            let now =
                Moment { instant: start + Duration::from_millis(u64::from(number) * 37), wall: Timestamp(0) };
            admitted += u32::from(keys.admit(peer, alias(&format!("n{number}")), addr(), now).is_ok());
        }
        assert_eq!(admitted, limits::NEWCOMERS);
        let later = Moment { instant: start + limits::NEWCOMERS_WITHIN, wall: Timestamp(0) };
        assert!(keys.admit(PeerId([9; 32]), alias("late"), addr(), later).is_ok());
        assert!(keys.admit(PeerId([8; 32]), alias("other"), [10, 0, 0, 2].into(), later).is_ok());
    }
}

//! The passes of invites: which of them let somebody in, and why others do not.
//!
//! A pass is used once its bearer is a member, in the same turn: two who show the last use of one at once do not both come in.

use crate::model::{KeptPass, PassError, PeerId, Timestamp, limits};

/// The passes that a host has made, oldest first.
#[derive(Debug, Default)]
pub struct Passes(Vec<KeptPass>);

impl Passes {
    /// With those that were kept.
    #[must_use]
    pub fn new(mut kept: Vec<KeptPass>) -> Self {
        kept.truncate(limits::PASSES);
        Self(kept)
    }

    /// All, also those that let nobody in any more.
    #[must_use]
    pub fn all(&self) -> &[KeptPass] {
        &self.0
    }

    /// Those that let somebody in now.
    pub fn open(&self, now: Timestamp) -> impl Iterator<Item = &KeptPass> {
        self.0.iter().filter(move |pass| pass.why_not(now).is_none())
    }

    /// Adds a pass. What lets nobody in any more makes room, the oldest first. False when there is none to make room.
    pub fn add(&mut self, pass: KeptPass, now: Timestamp) -> bool {
        if self.0.len() >= limits::PASSES {
            let Some(over) = self.0.iter().position(|pass| pass.why_not(now).is_some()) else { return false };
            self.0.remove(over);
        }
        self.0.push(pass);
        true
    }

    /// Whether the pass with this hash lets somebody in.
    pub fn check(&self, hash: &[u8; 32], now: Timestamp) -> Result<(), PassError> {
        let pass = self.0.iter().find(|pass| pass.hash == *hash).ok_or(PassError::Unknown)?;
        pass.why_not(now).map_or(Ok(()), Err)
    }

    /// Somebody came in by the pass with this hash.
    pub fn was_used(&mut self, hash: &[u8; 32]) {
        if let Some(pass) = self.0.iter_mut().find(|pass| pass.hash == *hash) {
            pass.uses = pass.uses.saturating_sub(1);
        }
    }

    /// Takes back what a member had asked for, who is not wanted any more. False when there is none.
    pub fn revoke_of(&mut self, by: &PeerId, now: Timestamp) -> bool {
        let mut is_any = false;
        for pass in
            self.0.iter_mut().filter(|pass| pass.by.as_ref() == Some(by) && pass.why_not(now).is_none())
        {
            pass.is_revoked = true;
            is_any = true;
        }
        is_any
    }

    /// Takes the pass that is called so back, or all that let somebody in. False when there is none.
    pub fn revoke(&mut self, id: Option<&str>, now: Timestamp) -> bool {
        let is_meant =
            |pass: &&mut KeptPass| id.is_none_or(|id| pass.id() == id) && pass.why_not(now).is_none();
        let mut is_any = false;
        for pass in self.0.iter_mut().filter(is_meant) {
            pass.is_revoked = true;
            is_any = true;
        }
        is_any
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn pass(number: u8, uses: u32) -> KeptPass {
        let until = NOW.plus(Duration::from_secs(60));
        KeptPass { hash: [number; 32], uses, until, since: NOW, by: None, is_revoked: false }
    }

    #[test]
    fn a_pass_is_good_so_often_and_so_long_and_says_why_it_is_not() {
        let mut passes = Passes::new(vec![pass(1, 2), pass(2, 1), pass(3, 1)]);
        assert_eq!(passes.check(&[1; 32], NOW), Ok(()));
        passes.was_used(&[1; 32]);
        assert_eq!(passes.check(&[1; 32], NOW), Ok(()));
        passes.was_used(&[1; 32]);
        assert_eq!(passes.check(&[1; 32], NOW), Err(PassError::Used));
        assert_eq!(passes.check(&[9; 32], NOW), Err(PassError::Unknown));
        let at_the_end = NOW.plus(Duration::from_secs(60));
        assert_eq!(passes.check(&[2; 32], at_the_end), Err(PassError::Expired));
        assert!(passes.revoke(Some(&pass(2, 1).id()), NOW));
        assert_eq!(passes.check(&[2; 32], NOW), Err(PassError::Revoked));
        assert!(!passes.revoke(Some(&pass(2, 1).id()), NOW), "once");
        assert_eq!(passes.open(NOW).count(), 1);
        assert!(passes.revoke(None, NOW) && !passes.revoke(None, NOW));
        assert_eq!(passes.open(NOW).count(), 0);
    }

    #[test]
    fn what_is_of_no_use_makes_room_and_what_is_stays() {
        let mut passes = Passes::default();
        for number in 0..limits::PASSES {
            assert!(passes.add(pass(u8::try_from(number).unwrap(), 1), NOW));
        }
        assert!(!passes.add(pass(200, 1), NOW), "all of them are good");
        passes.was_used(&[5; 32]);
        assert!(passes.add(pass(200, 1), NOW));
        assert_eq!(passes.all().len(), limits::PASSES);
        assert_eq!(passes.check(&[5; 32], NOW), Err(PassError::Unknown));
        assert_eq!(passes.check(&[0; 32], NOW), Ok(()));
    }
}

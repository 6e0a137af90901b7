//! Waits that double, with jitter, so that many who lost the same host do not come back in step.

use std::time::Duration;

use rand_core::RngCore;

use crate::model::limits;

/// The next wait.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: limits::BACKOFF_FIRST }
    }
}

impl Backoff {
    /// How long to wait now: between half and all of a time that doubles from [`limits::BACKOFF_FIRST`] to
    /// [`limits::BACKOFF_LAST`].
    pub fn next(&mut self, rng: &mut impl RngCore) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(limits::BACKOFF_LAST);
        whole / 2 + whole.mul_f64(f64::from(rng.next_u32()) / f64::from(u32::MAX)) / 2
    }

    /// Begins anew after a success.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng as _;

    use super::*;

    #[test]
    fn doubles_to_the_last_and_jitters() {
        let mut rng = rand_chacha::ChaCha20Rng::from_seed([1; 32]);
        let mut backoff = Backoff::default();
        let mut whole = limits::BACKOFF_FIRST;
        for _ in 0..10 {
            let wait = backoff.next(&mut rng);
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
            whole = (whole * 2).min(limits::BACKOFF_LAST);
        }
        backoff.reset();
        assert!(backoff.next(&mut rng) <= limits::BACKOFF_FIRST);
    }
}

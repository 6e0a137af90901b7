//! A token bucket: so much at once, so much a second in the long run.

use std::time::{Duration, Instant};

/// Counts what may still pass.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl TokenBucket {
    /// A full bucket of `burst` that regains `rate` a second. A rate of 0 means no limit.
    #[must_use]
    pub fn new(rate: u32, burst: u32, now: Instant) -> Self {
        Self { rate: f64::from(rate), burst: f64::from(burst), tokens: f64::from(burst), at: now }
    }

    /// Takes `amount`, or says how long to wait. What exceeds the burst passes when the bucket is full, and leaves
    /// a debt.
    pub fn take(&mut self, amount: u32, now: Instant) -> Result<(), Duration> {
        if self.rate == 0.0 {
            return Ok(());
        }
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = self.burst.min(self.tokens + elapsed * self.rate);
        self.at = now.max(self.at);
        let amount = f64::from(amount);
        let needed = amount.min(self.burst);
        if self.tokens + 1e-9 >= needed {
            self.tokens -= amount;
            Ok(())
        } else {
            Err(Duration::from_secs_f64((needed - self.tokens) / self.rate))
        }
    }

    /// True when not even one can be taken now.
    #[must_use]
    pub fn is_empty(&self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.rate > 0.0 && self.tokens + elapsed * self.rate < 1.0
    }

    /// Gives back what was taken for nothing.
    pub fn give_back(&mut self, amount: u32) {
        self.tokens = self.burst.min(self.tokens + f64::from(amount));
    }

    /// True when nothing is owed.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens + elapsed * self.rate >= self.burst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_then_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(10, 3, start);
        for _ in 0..3 {
            assert_eq!(bucket.take(1, start), Ok(()));
        }
        let wait = bucket.take(1, start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        assert_eq!(bucket.take(1, start + wait), Ok(()));
        bucket.give_back(1);
        assert_eq!(bucket.take(1, start + wait), Ok(()));
        assert!(!bucket.is_full(start + wait));
        assert!(bucket.is_full(start + Duration::from_secs(1)));
    }

    #[test]
    fn more_than_the_burst_passes_with_a_debt() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(10, 10, start);
        assert_eq!(bucket.take(30, start), Ok(()));
        assert_eq!(bucket.take(1, start), Err(Duration::from_millis(2100)));
    }

    #[test]
    fn zero_is_no_limit() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(0, 0, start);
        assert!((0..10_000).all(|_| bucket.take(1000, start).is_ok()));
    }
}

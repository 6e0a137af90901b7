//! Notices that this machine slept, or that this process was stopped.
//!
//! The clock of timers stands still while a machine sleeps; the one that is read here does not.

use std::time::{Duration, Instant};

use crate::model::limits;

/// A wait that has begun.
#[derive(Debug)]
pub(super) struct Wait {
    since: Duration,
    most: Option<Duration>,
}

impl Wait {
    /// A wait begins that is to end at `deadline` at the latest.
    pub(super) fn until(deadline: Option<Instant>) -> Self {
        let most = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        Self { since: elapsed(), most }
    }

    /// By how much the wait was too long, when that means that nothing ran here.
    pub(super) fn overslept(&self) -> Option<Duration> {
        let late = elapsed().saturating_sub(self.since).checked_sub(self.most?)?;
        (late >= limits::SUSPENDED).then_some(late)
    }
}

/// Time since the machine was started, its sleep included.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn elapsed() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (seconds, nanos) =
        (u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0));
    Duration::new(seconds, nanos)
}

/// Elsewhere the wall clock serves: a clock that is set forward looks like sleep, and costs a new admission by key.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn elapsed() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

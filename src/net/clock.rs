//! The time of this machine.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::{Moment, Timestamp};

/// The time now, on both clocks.
pub(crate) fn now() -> Moment {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment { instant: Instant::now(), wall: Timestamp(i64::try_from(wall.as_micros()).unwrap_or(i64::MAX)) }
}

/// Time since the machine was started, its sleep included.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn since_start() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (seconds, nanos) =
        (u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0));
    Duration::new(seconds, nanos)
}

/// Elsewhere the wall clock serves: a clock that is set forward looks like sleep, and costs a new admission by key.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn since_start() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

//! The time of this machine, and pauses in a machine's time: it slept, or this process was stopped.
//!
//! The clock of timers stands still while a machine sleeps; [`Platform::since_start`] does not.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{sync::mpsc, time};

use super::platform::Platform;
use crate::{
    model::{Moment, Timestamp, limits},
    proto::Input,
};

/// The time now, on both clocks.
pub(crate) fn now() -> Moment {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment { instant: Instant::now(), wall: Timestamp(i64::try_from(wall.as_micros()).unwrap_or(i64::MAX)) }
}

/// Tells the node, until it is gone, of every pause in which nothing ran here.
pub(super) async fn watch(platform: Arc<dyn Platform>, to_node: mpsc::Sender<Input>) {
    loop {
        let begin = platform.since_start();
        time::sleep(limits::SLEEP_WATCH).await;
        let late = platform.since_start().saturating_sub(begin + limits::SLEEP_WATCH);
        if late >= limits::SUSPENDED && to_node.send(Input::Suspended(late)).await.is_err() {
            return;
        }
    }
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

//! Pauses in which nothing ran here: the machine slept, or this process was stopped.
//!
//! The clock of timers stands still while a machine sleeps; [`Platform::since_start`] does not.

use std::sync::Arc;

use tokio::{sync::mpsc, time};

use super::platform::Platform;
use crate::{model::limits, proto::Input};

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

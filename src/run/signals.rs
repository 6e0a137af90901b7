//! The system's requests to end.

use std::io;

use tokio::sync::mpsc;

use super::Stop;

/// Something arrives when the system asks the process to end.
#[cfg(unix)]
pub(super) fn stop() -> io::Result<Stop> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let (tx, stop) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            if tx.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(stop)
}

/// Something arrives when the system asks the process to end.
#[cfg(not(unix))]
pub(super) fn stop() -> io::Result<Stop> {
    let (tx, stop) = mpsc::channel(1);
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            if tx.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(stop)
}

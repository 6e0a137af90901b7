//! The system's requests to end.

use std::io;

use tokio::sync::mpsc;

use super::{Asked, Stop};
#[cfg(unix)]
use crate::model::limits;

/// Something arrives when the system asks the process to end.
#[cfg(unix)]
pub(super) fn stop() -> io::Result<Stop> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut quit = signal(SignalKind::quit())?;
    // Whoever started this program with nohup wants it to outlive the terminal.
    let mut hangup =
        if is_ignored(rustix::process::Signal::HUP) { None } else { Some(signal(SignalKind::hangup())?) };
    let (tx, stop) = mpsc::channel(1);
    tokio::spawn(async move {
        let hung_up = async |hangup: &mut Option<tokio::signal::unix::Signal>| match hangup {
            Some(hangup) => hangup.recv().await,
            None => std::future::pending().await,
        };
        loop {
            let asked = tokio::select! {
                _ = interrupt.recv() => Asked::AtTheKeyboard,
                _ = quit.recv() => Asked::AtTheKeyboard,
                _ = terminate.recv() => Asked::BySystem,
                _ = hung_up(&mut hangup) => Asked::BySystem,
            };
            if tx.send(asked).await.is_err() {
                return;
            }
        }
    });
    Ok(stop)
}

/// A file that may not grow further (`ulimit -f`) is an error of whoever writes it, and does not end the process.
#[cfg(unix)]
pub(super) fn survive_full_files() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _entered = runtime.enter();
    // The handler stays in place when nobody listens any more.
    signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).map(drop)
}

/// There is no such signal here.
#[cfg(not(unix))]
pub(super) fn survive_full_files() -> io::Result<()> {
    Ok(())
}

/// Whether the memory suffices that the process may have (`ulimit -v`). Where it does not, the system would end the process
/// in the middle of something.
#[cfg(unix)]
pub(super) fn check_limits() -> Result<(), String> {
    use rustix::process::{Resource, getrlimit};
    match getrlimit(Resource::As).current {
        Some(limit) if limit < limits::ADDRESS_SPACE => Err(format!(
            "this process may have {} MiB of memory (ulimit -v), and needs {} MiB of addresses, most of which it never \
             uses; raise the limit: ulimit -v unlimited",
            limit >> 20,
            limits::ADDRESS_SPACE >> 20
        )),
        _ => Ok(()),
    }
}

/// There is no such limit here.
#[cfg(not(unix))]
pub(super) fn check_limits() -> Result<(), String> {
    Ok(())
}

/// True when this process was started so that a signal does nothing. Only where the system tells so.
#[cfg(unix)]
fn is_ignored(signal: rustix::process::Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal.as_raw() - 1) & 1 == 1
}

/// Something arrives when this process goes on after it was stopped.
#[cfg(unix)]
pub(super) fn continued() -> io::Result<mpsc::Receiver<()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut signal = signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()))?;
    let (tx, continued) = mpsc::channel(1);
    tokio::spawn(async move { while signal.recv().await.is_some() && tx.send(()).await.is_ok() {} });
    Ok(continued)
}

/// There is no such thing here.
#[cfg(not(unix))]
pub(super) fn continued() -> io::Result<mpsc::Receiver<()>> {
    Ok(mpsc::channel(1).1)
}

/// Something arrives when the system asks the process to end.
#[cfg(not(unix))]
pub(super) fn stop() -> io::Result<Stop> {
    let (tx, stop) = mpsc::channel(1);
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            if tx.send(Asked::AtTheKeyboard).await.is_err() {
                return;
            }
        }
    });
    Ok(stop)
}

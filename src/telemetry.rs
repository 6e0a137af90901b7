//! The log: to a file, or to standard error where there is no screen. It must never go to the screen's terminal.

use std::{fs::OpenOptions, io, path::Path};

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::fmt;

/// Starts the log. Keep the guard for as long as there is something to log.
pub fn start(file: Option<&Path>, level: LevelFilter, has_screen: bool) -> io::Result<Option<WorkerGuard>> {
    let Some(path) = file else {
        if !has_screen {
            // Standard output belongs to the events.
            let _ = fmt().with_max_level(level).with_ansi(false).with_writer(io::stderr).try_init();
        }
        return Ok(None);
    };
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let (writer, guard) = tracing_appender::non_blocking(options.open(path)?);
    let _ = fmt().with_max_level(level).with_ansi(false).with_writer(writer).try_init();
    Ok(Some(guard))
}

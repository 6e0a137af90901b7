//! The network's password, from a file that is its owner's alone or from the environment; never from the command line.

use std::{fs, io, path::Path};

use zeroize::Zeroizing;

use super::{ConfigError, Options, Sources};
use crate::model::Password;

/// The password that was given, if any.
pub(super) fn password(sources: &Sources<'_>, options: &Options) -> Result<Option<Password>, ConfigError> {
    let from_file = |path: &Path| -> Result<Option<Password>, ConfigError> {
        let file = path.display().to_string();
        let failed = |found: String| ConfigError::File { file: file.clone(), found };
        if let Some(mode) = open_to_others(path) {
            return Err(failed(format!(
                "others can read it (mode {mode:o}), and the password stands in it; take that right away: chmod 600 \
                 {file}, or give the password in PYILE_PASSWORD"
            )));
        }
        let text = read_first_line(path).map_err(|error| failed(error.to_string()))?;
        if text.is_empty() {
            return Err(failed("its first line is empty; the password stands there".to_owned()));
        }
        Ok(Some(Password::new(text.to_string())))
    };
    if let Some(path) = &options.password_file {
        return from_file(path);
    }
    if let Some(password) = (sources.environment)("PYILE_PASSWORD").filter(|password| !password.is_empty()) {
        return Ok(Some(Password::new(password)));
    }
    match sources.path("password_file", None)? {
        Some(path) => from_file(&path),
        None => Ok(None),
    }
}

/// The mode of a file that others than its owner can read; nothing for a pipe, which nobody else has.
#[cfg(unix)]
fn open_to_others(path: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    let file = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some(file.mode() & 0o777).filter(|mode| mode & 0o044 != 0)
}

#[cfg(not(unix))]
fn open_to_others(_: &Path) -> Option<u32> {
    None
}

fn read_first_line(path: &Path) -> io::Result<Zeroizing<String>> {
    let text = Zeroizing::new(fs::read_to_string(path)?);
    // What an editor on another system puts before and after it is no part of it.
    let line = text.strip_prefix('\u{feff}').unwrap_or(&text).lines().next().unwrap_or_default();
    Ok(Zeroizing::new(line.trim_end_matches('\r').to_owned()))
}

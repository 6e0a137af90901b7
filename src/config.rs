//! What the words mean: flag, environment, file and default made into one validated configuration.
//!
//! The only reading of files outside `store`, once, at the start. A bad value names where it stands, its key, what
//! was found and what is allowed.

use std::{env, fs, net::SocketAddr, path::PathBuf, time::Duration};

use etcetera::BaseStrategy as _;
use tracing::level_filters::LevelFilter;

use crate::{
    cli::{Cli, Options},
    model::{Alias, Password, Wire, limits},
};

mod host;
mod keys;
mod mode;
mod password;
mod screen;
mod sources;
mod themes;

pub use self::{
    host::{HostSettings, default_listen},
    mode::Mode,
    screen::ScreenSettings,
    sources::File,
};
use self::{
    mode::mode,
    password::password,
    sources::{Found, Sources},
};

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Config {
    /// What to do.
    pub mode: Mode,
    /// No screen: events and commands as JSON lines.
    pub json: bool,
    /// This peer's label.
    pub alias: Alias,
    /// Somebody has chosen it; otherwise it is the login name, and what the host of before called itself is stronger.
    pub alias_is_chosen: bool,
    /// Where other members reach this one; nothing = the address in use, any free port.
    pub peer_listen: Option<SocketAddr>,
    /// The password, when it was given.
    pub password: Option<Password>,
    /// The network's name.
    pub network: Option<String>,
    /// How long to try to come back to a lost host; zero = not at all.
    pub rejoin_for: Duration,
    /// Whether messages may go to classic peers, when somebody has said so.
    pub cleartext: Option<bool>,
    /// How to host.
    pub host: HostSettings,
    /// What is kept of what was said.
    pub history: HistorySettings,
    /// The profile's directory.
    pub profile_dir: PathBuf,
    /// The profile's name.
    pub profile: String,
    /// Where to log, and how much.
    pub log: LogSettings,
    /// How the screen looks, and what it does.
    pub screen: ScreenSettings,
    /// Why times are not those of this place.
    pub unknown_zone: Option<String>,
}

/// What is kept of what was said.
#[derive(Debug, Clone)]
pub struct HistorySettings {
    /// It is kept on disk.
    pub is_on_disk: bool,
    /// How long; zero = for good.
    pub time: Duration,
    /// Bytes that it may take, 0 = as many as there are; nothing = what suits the disk.
    pub bytes: Option<u64>,
}

/// Where to log, and how much.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// The file; nothing = none.
    pub file: Option<PathBuf>,
    /// How much.
    pub level: LevelFilter,
}

/// A configuration that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value that is not allowed.
    #[error("{place}: {key} is {found}; {allowed}")]
    Value {
        /// Where it stands: the command line, the environment, or a file.
        place: String,
        /// Its name there.
        key: String,
        /// What it is.
        found: String,
        /// What it may be.
        allowed: String,
    },
    /// A key that does not exist.
    #[error("{file}: there is no key {key:?}; the keys are {keys}")]
    Key {
        /// Which file.
        file: String,
        /// The key.
        key: String,
        /// All that exist.
        keys: String,
    },
    /// A file that cannot be read.
    #[error("cannot read {file}: {found}")]
    File {
        /// Which file.
        file: String,
        /// Why not.
        found: String,
    },
    /// There is no place for data or configuration.
    #[error("this system has no home directory; say where profiles live with --data-dir DIR")]
    NoHome,
}

/// Reads the environment and the configuration file and puts everything together.
pub fn load(cli: &Cli) -> Result<Config, ConfigError> {
    let environment = |name: &str| env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let directories = etcetera::choose_base_strategy().ok();
    let default_file = directories.as_ref().map(|dirs| dirs.config_dir().join("pyile").join("config.toml"));
    let path = cli.options.config.clone().or(default_file.filter(|file| file.exists()));
    let name = path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let text = path
        .map(fs::read_to_string)
        .transpose()
        .map_err(|error| ConfigError::File { file: name.clone(), found: error.to_string() })?;
    let file = text.as_deref().map(|text| File { name: &name, text });
    let data_dir = directories.map(|dirs| dirs.data_dir().join("pyile"));
    resolve(cli, &environment, file, data_dir)
}

/// Puts together what was typed, the environment and the configuration file.
pub fn resolve(
    cli: &Cli,
    environment: &dyn Fn(&str) -> Option<String>,
    file: Option<File<'_>>,
    data_dir: Option<PathBuf>,
) -> Result<Config, ConfigError> {
    let options = &cli.options;
    let sources = Sources::new(environment, file)?;
    let mode = mode(cli, environment)?;
    let (alias, alias_is_chosen) = alias(&sources, options)?;
    let profile = profile(&sources, options)?;
    let data_dir = sources.path("data_dir", options.data_dir.as_deref())?.or(data_dir);
    let profile_dir = data_dir.ok_or(ConfigError::NoHome)?.join(&profile);
    Ok(Config {
        json: options.json,
        alias,
        alias_is_chosen,
        peer_listen: sources.listen_addr("peer_listen", options.peer_listen.as_deref(), 0)?,
        password: password(&sources, options)?,
        network: network(&sources, options)?,
        rejoin_for: sources
            .number("rejoin_for", options.rejoin_for.as_deref(), 0, 604_800)?
            .map_or(limits::REJOIN_FOR, Duration::from_secs),
        cleartext: cleartext(&sources, options, &mode)?,
        mode,
        host: HostSettings::of(&sources, options, cli.command.as_ref())?,
        history: history(&sources, options)?,
        profile_dir,
        profile,
        log: log(&sources, options)?,
        screen: ScreenSettings::of(&sources)?,
        unknown_zone: unknown_zone(environment),
    })
}

fn network(sources: &Sources<'_>, options: &Options) -> Result<Option<String>, ConfigError> {
    let allowed = format!("1 to {} characters are allowed", limits::NETWORK_NAME_CHARACTERS);
    sources.get("network", options.network.as_deref(), &allowed, |text| {
        let fits = (1..=limits::NETWORK_NAME_CHARACTERS).contains(&text.trim().chars().count());
        fits.then(|| text.trim().to_owned())
    })
}

fn profile(sources: &Sources<'_>, options: &Options) -> Result<String, ConfigError> {
    let allowed = "1 to 32 letters, digits, - and _ are allowed";
    let profile = sources.get("profile", options.profile.as_deref(), allowed, |text| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        ((1..=32).contains(&text.len()) && text.chars().all(plain)).then(|| text.to_owned())
    })?;
    Ok(profile.unwrap_or_else(|| "default".to_owned()))
}

fn cleartext(sources: &Sources<'_>, options: &Options, mode: &Mode) -> Result<Option<bool>, ConfigError> {
    let flag = options.no_cleartext.then_some("off").or_else(|| options.cleartext.then_some("on"));
    let cleartext = sources.switch("cleartext", flag)?;
    if let (Mode::Join(_, Wire::Classic), Some(false)) = (mode, cleartext) {
        return Err(ConfigError::Value {
            place: "command line".to_owned(),
            key: "--classic".to_owned(),
            found: "on while cleartext is off".to_owned(),
            allowed: "to a classic host everything goes in clear; choose one of the two".to_owned(),
        });
    }
    Ok(cleartext)
}

fn history(sources: &Sources<'_>, options: &Options) -> Result<HistorySettings, ConfigError> {
    Ok(HistorySettings {
        is_on_disk: sources.switch("history", options.no_history.then_some("off"))?.unwrap_or(true),
        time: sources
            .number("history_days", options.history_days.as_deref(), 0, 36_500)?
            .map_or(Duration::ZERO, |days: u64| Duration::from_secs(days * 24 * 3600)),
        bytes: sources
            .number("history_mib", options.history_mib.as_deref(), 0, 1 << 20)?
            .map(|size: u64| size << 20),
    })
}

fn log(sources: &Sources<'_>, options: &Options) -> Result<LogSettings, ConfigError> {
    let allowed = "error, warn, info, debug, trace or off is allowed";
    let level = sources.get("log_level", options.log_level.as_deref(), allowed, |text| text.parse().ok())?;
    Ok(LogSettings {
        file: sources.path("log_file", options.log_file.as_deref())?,
        level: level.unwrap_or(LevelFilter::INFO),
    })
}

fn unknown_zone(environment: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let name = environment("TZ").filter(|name| !name.is_empty())?;
    let is_unknown = jiff::tz::TimeZone::try_system().is_err();
    is_unknown.then(|| format!("the time zone {name:?} (TZ) is not known here: times are those of UTC"))
}

fn alias(sources: &Sources<'_>, options: &Options) -> Result<(Alias, bool), ConfigError> {
    if let Some(Found { place, key, value }) = sources.find("alias", options.alias.as_deref()) {
        let alias = Alias::new(&value).map_err(|error| ConfigError::Value {
            place,
            key,
            found: format!("{value:?}"),
            allowed: error.to_string(),
        })?;
        return Ok((alias, true));
    }
    let mut login = ["USER", "LOGNAME", "USERNAME"].into_iter().filter_map(sources.environment);
    let usable = login.find_map(|name| Alias::new(&name).ok());
    let usable = usable.or_else(|| login_name().and_then(|name| Alias::new(&name).ok()));
    let alias = usable.or_else(|| Alias::new("peer").ok()).ok_or(ConfigError::NoHome)?;
    Ok((alias, false))
}

/// The name that belongs to this process's user, where the environment does not say it.
#[cfg(unix)]
fn login_name() -> Option<String> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let uid = rustix::process::getuid().as_raw().to_string();
    let mine = users.lines().find(|line| line.split(':').nth(2) == Some(&uid))?;
    mine.split(':').next().map(str::to_owned)
}

#[cfg(not(unix))]
fn login_name() -> Option<String> {
    None
}

#[cfg(test)]
mod tests;

//! What the words mean: flag, environment, file and default made into one validated configuration.
//!
//! The only reading of files outside `store`, once, at the start. A bad value names where it stands, its key, what
//! was found and what is allowed.

use std::{
    collections::BTreeMap,
    env, fmt, fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use etcetera::BaseStrategy as _;

use crate::{
    app::{Noticed, Notices, keymap::Keymap},
    cli::{Cli, Options},
    model::{Alias, Notes, Password, SafeText, Wire, limits},
    net,
    theme::{Palette, Themes},
};

mod host;
mod keys;
mod mode;
mod password;
mod themes;

pub use self::mode::Mode;
use self::{
    host::{HostFlags, approve, notes},
    mode::mode,
    password::password,
};

/// Everything that can be set.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Config {
    /// What to do.
    pub mode: Mode,
    /// No screen: events and commands as JSON lines.
    pub json: bool,
    /// This peer's label.
    pub alias: Alias,
    /// Somebody has chosen it; otherwise it is the login name, and what the host of before called itself is stronger.
    pub alias_is_chosen: bool,
    /// The join address; nothing = that of last time, or [`default_listen`].
    pub listen: Option<SocketAddr>,
    /// Where other members reach this one; nothing = the address in use, any free port.
    pub peer_listen: Option<SocketAddr>,
    /// The password, when it was given.
    pub password: Option<Password>,
    /// Wrong passwords from one address before it is banned.
    pub attempts: u32,
    /// The network's name.
    pub network: Option<String>,
    /// Members at most.
    pub members: usize,
    /// Host: how long a key that is not here comes back without a password; zero for ever.
    pub key_age: Duration,
    /// Messages a second that a member takes from another; 0 = no limit.
    pub rate: u32,
    /// How long to try to come back to a lost host; zero = not at all.
    pub rejoin_for: Duration,
    /// Host: seconds for which members go on while it is away; 0 = not at all.
    pub grace: u32,
    /// Host: seconds before its admission from which a member may read; 0 = nothing.
    pub read_back: u32,
    /// Host: classic peers are let in.
    pub classic: bool,
    /// Host: whoever comes for the first time waits for a yes.
    pub approve: bool,
    /// Host: what whoever comes in is told.
    pub notes: Notes,
    /// Host: those around are told of the network.
    pub announce: bool,
    /// Host: the router is asked to let others in from the internet.
    pub map_port: bool,
    /// Host: members may invite others.
    pub members_invite: bool,
    /// Whether messages may go to classic peers, when somebody has said so.
    pub cleartext: Option<bool>,
    /// The history is kept on disk.
    pub history: bool,
    /// How long messages are kept; zero = for good.
    pub history_time: Duration,
    /// Bytes that the history may take, 0 = as many as there are; nothing = what suits the disk.
    pub history_bytes: Option<u64>,
    /// The profile's directory.
    pub profile_dir: PathBuf,
    /// The profile's name.
    pub profile: String,
    /// Where to log.
    pub log_file: Option<PathBuf>,
    /// How much.
    pub log_level: tracing::level_filters::LevelFilter,
    /// Colours may be used.
    pub color: bool,
    /// The themes of the screen, and which of them is shown.
    pub themes: Themes,
    /// What keys do.
    pub keymap: Keymap,
    /// What the terminal is told of that wants attention.
    pub notices: Notices,
    /// The mouse points at the screen, in place of selecting text.
    pub mouse: bool,
    /// Why nothing but ASCII is drawn, where the terminal shows nothing else.
    pub only_ascii: Option<String>,
    /// Why times are not those of this place.
    pub unknown_zone: Option<String>,
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

const KEYS: [&str; 34] = [
    "alias",
    "announce",
    "approve",
    "attempts",
    "bell",
    "classic",
    "cleartext",
    "data_dir",
    "grace",
    "history",
    "history_days",
    "history_mib",
    "keys",
    "listen",
    "log_file",
    "log_level",
    "key_days",
    "map_port",
    "members",
    "members_invite",
    "mouse",
    "network",
    "notify",
    "notify_text",
    "password_file",
    "peer_listen",
    "profile",
    "rate",
    "read_back",
    "rejoin_for",
    "rules",
    "theme",
    "themes",
    "topic",
];

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

/// A configuration file.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// Its path, for errors.
    pub name: &'a str,
    /// All that stands in it.
    pub text: &'a str,
}

/// What a configuration file says.
struct ConfigFile {
    name: String,
    values: BTreeMap<String, String>,
    themes: Vec<Palette>,
    keymap: Keymap,
}

fn parse_file(File { name, text }: File<'_>) -> Result<ConfigFile, ConfigError> {
    // It shows the line that it cannot read.
    let failed = |found: String| ConfigError::File {
        file: name.to_owned(),
        found: SafeText::clean(&found).to_string(),
    };
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| failed(error.to_string()))?;
    let mut values = BTreeMap::new();
    let (mut own_themes, mut keymap) = (Vec::new(), Keymap::default());
    for (key, value) in table {
        if !KEYS.contains(&key.as_str()) {
            return Err(ConfigError::Key { file: name.to_owned(), key, keys: KEYS.join(", ") });
        }
        if key == "themes" {
            own_themes = themes::read(name, value)?;
            continue;
        }
        if key == "keys" {
            keymap = keys::read(name, &value)?;
            continue;
        }
        let value = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(is_on) => if is_on { "on" } else { "off" }.to_owned(),
            other => {
                return Err(ConfigError::Value {
                    place: name.to_owned(),
                    key,
                    found: other.to_string(),
                    allowed: "a text, a whole number, or true or false is allowed".to_owned(),
                });
            }
        };
        values.insert(key, value);
    }
    Ok(ConfigFile { name: name.to_owned(), values, themes: own_themes, keymap })
}

/// Where a value was found, for errors.
struct Found {
    place: String,
    key: String,
    value: String,
}

struct Sources<'a> {
    environment: &'a dyn Fn(&str) -> Option<String>,
    file: Option<ConfigFile>,
}

impl Sources<'_> {
    /// The first of flag, environment and file that says something.
    fn find(&self, key: &str, flag: Option<&str>) -> Option<Found> {
        if let Some(value) = flag {
            let key = format!("--{}", key.replace('_', "-"));
            return Some(Found { place: "command line".to_owned(), key, value: value.to_owned() });
        }
        let variable = format!("PYILE_{}", key.to_uppercase());
        if let Some(value) = (self.environment)(&variable).filter(|value| !value.is_empty()) {
            return Some(Found { place: "environment".to_owned(), key: variable, value });
        }
        let file = self.file.as_ref()?;
        let value = file.values.get(key)?.clone();
        Some(Found { place: file.name.clone(), key: key.to_owned(), value })
    }

    fn get<T>(
        &self,
        key: &str,
        flag: Option<&str>,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(Found { place, key, value }) = self.find(key, flag) else { return Ok(None) };
        match parse(&value) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(ConfigError::Value {
                place,
                key,
                found: format!("{value:?}"),
                allowed: allowed.to_owned(),
            }),
        }
    }

    fn number<T: FromStr + PartialOrd + fmt::Display + Copy>(
        &self,
        key: &str,
        flag: Option<&str>,
        least: T,
        most: T,
    ) -> Result<Option<T>, ConfigError> {
        let allowed = format!("a whole number from {least} to {most} is allowed");
        let within = |number: &T| *number >= least && *number <= most;
        self.get(key, flag, &allowed, |text| text.parse().ok().filter(within))
    }
}

/// Puts together what was typed, the environment and the configuration file.
pub fn resolve(
    cli: &Cli,
    environment: &dyn Fn(&str) -> Option<String>,
    file: Option<File<'_>>,
    data_dir: Option<PathBuf>,
) -> Result<Config, ConfigError> {
    let options = &cli.options;
    let sources = Sources { environment, file: file.map(parse_file).transpose()? };
    let mode = mode(cli, environment)?;
    let host = HostFlags::of(cli.command.as_ref());
    let (alias, alias_is_chosen) = alias(&sources, options, environment)?;
    let listen_allowed =
        "an address and port such as 0.0.0.0:4702, 192.168.1.66:4702 or [::]:4702 is allowed";
    let listen =
        sources.get("listen", host.listen, listen_allowed, |text| listen_addr(text, limits::JOIN_PORT))?;
    let peer_listen = sources
        .get("peer_listen", options.peer_listen.as_deref(), listen_allowed, |text| listen_addr(text, 0))?;
    let name_allowed = format!("1 to {} characters are allowed", limits::NETWORK_NAME_CHARACTERS);
    let network = sources.get("network", options.network.as_deref(), &name_allowed, |text| {
        let fits = (1..=limits::NETWORK_NAME_CHARACTERS).contains(&text.trim().chars().count());
        fits.then(|| text.trim().to_owned())
    })?;
    let color = environment("NO_COLOR").is_none_or(|value| value.is_empty());
    let profile_allowed = "1 to 32 letters, digits, - and _ are allowed";
    let profile = sources.get("profile", options.profile.as_deref(), profile_allowed, |text| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        ((1..=32).contains(&text.len()) && text.chars().all(plain)).then(|| text.to_owned())
    })?;
    let profile = profile.unwrap_or_else(|| "default".to_owned());
    let level_allowed = "error, warn, info, debug, trace or off is allowed";
    let log_level =
        sources.get("log_level", options.log_level.as_deref(), level_allowed, |text| text.parse().ok())?;
    let path = |key: &str, flag: &Option<PathBuf>| match flag {
        // A name that is no Unicode is what it is.
        Some(path) if path.to_str().is_none() => Ok(Some(path.clone())),
        flag => {
            let found = sources.find(key, flag.as_deref().and_then(Path::to_str));
            found.map(|found| expand(found, environment)).transpose()
        }
    };
    let cleartext_flag = options.no_cleartext.then_some("off").or_else(|| options.cleartext.then_some("on"));
    let cleartext = sources.get("cleartext", cleartext_flag, ON_OR_OFF, on_or_off)?;
    if let (Mode::Join(_, Wire::Classic), Some(false)) = (&mode, cleartext) {
        return Err(ConfigError::Value {
            place: "command line".to_owned(),
            key: "--classic".to_owned(),
            found: "on while cleartext is off".to_owned(),
            allowed: "to a classic host everything goes in clear; choose one of the two".to_owned(),
        });
    }
    let data_dir = path("data_dir", &options.data_dir)?.or(data_dir).ok_or(ConfigError::NoHome)?;
    Ok(Config {
        mode,
        json: options.json,
        alias,
        alias_is_chosen,
        listen,
        peer_listen,
        password: password(&sources, options, environment)?,
        attempts: sources
            .number("attempts", options.attempts.as_deref(), 1, 1000)?
            .unwrap_or(limits::ATTEMPTS),
        network,
        members: sources
            .number("members", options.members.as_deref(), 2, limits::MEMBERS_MAX)?
            .unwrap_or(limits::MEMBERS),
        key_age: sources
            .number("key_days", options.key_days.as_deref(), 0, 36_500)?
            .map_or(limits::KEY_AGE, |days: u64| Duration::from_secs(days * 24 * 60 * 60)),
        rate: sources.number("rate", options.rate.as_deref(), 0, 1_000_000)?.unwrap_or(limits::RATE),
        rejoin_for: sources
            .number("rejoin_for", options.rejoin_for.as_deref(), 0, 604_800)?
            .map_or(limits::REJOIN_FOR, Duration::from_secs),
        grace: sources.number("grace", options.grace.as_deref(), 0, 604_800)?.unwrap_or(limits::GRACE),
        read_back: sources.number("read_back", options.read_back.as_deref(), 0, u32::MAX)?.unwrap_or(0),
        classic: sources.get("classic", host.classic, ON_OR_OFF, on_or_off)?.unwrap_or(false),
        approve: approve(&sources, &host)?,
        notes: notes(&sources, &host)?,
        map_port: sources.get("map_port", host.map_port, ON_OR_OFF, on_or_off)?.unwrap_or(false),
        announce: sources.get("announce", host.announce, ON_OR_OFF, on_or_off)?.unwrap_or(true),
        members_invite: sources
            .get("members_invite", host.members_invite, ON_OR_OFF, on_or_off)?
            .unwrap_or(false),
        cleartext,
        history: sources
            .get("history", options.no_history.then_some("off"), ON_OR_OFF, on_or_off)?
            .unwrap_or(true),
        history_time: sources
            .number("history_days", options.history_days.as_deref(), 0, 36_500)?
            .map_or(Duration::ZERO, |days: u64| Duration::from_secs(days * 24 * 3600)),
        history_bytes: sources
            .number("history_mib", options.history_mib.as_deref(), 0, 1 << 20)?
            .map(|size: u64| size << 20),
        profile_dir: data_dir.join(&profile),
        profile,
        log_file: path("log_file", &options.log_file)?,
        log_level: log_level.unwrap_or(tracing::level_filters::LevelFilter::INFO),
        color,
        themes: chosen_theme(&sources)?,
        keymap: sources.file.as_ref().map(|file| file.keymap.clone()).unwrap_or_default(),
        notices: notices(&sources)?,
        mouse: sources.get("mouse", None, ON_OR_OFF, on_or_off)?.unwrap_or(false),
        only_ascii: only_ascii(environment),
        unknown_zone: unknown_zone(environment),
    })
}

fn chosen_theme(sources: &Sources<'_>) -> Result<Themes, ConfigError> {
    let mut themes = Themes::default();
    themes.own = sources.file.as_ref().map(|file| file.themes.clone()).unwrap_or_default();
    let allowed = format!("{} is allowed", themes.names().join(", "));
    if let Some(theme) = sources.get("theme", None, &allowed, |name| themes.named(name))? {
        themes.shown = theme;
    }
    Ok(themes)
}

fn notices(sources: &Sources<'_>) -> Result<Notices, ConfigError> {
    let usual = Notices::default();
    let of = sources.get("notify", None, "mentions, all or off is allowed", |text| match text {
        "mentions" => Some(Noticed::Calls),
        "all" => Some(Noticed::Everything),
        "off" => Some(Noticed::Nothing),
        _ => None,
    })?;
    Ok(Notices {
        of: of.unwrap_or(usual.of),
        has_text: sources.get("notify_text", None, ON_OR_OFF, on_or_off)?.unwrap_or(usual.has_text),
        bell: sources.get("bell", None, ON_OR_OFF, on_or_off)?.unwrap_or(usual.bell),
    })
}

/// Why nothing but ASCII can be shown, if that is so. A locale that nothing names is taken for one of today.
fn only_ascii(environment: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let named = |name: &&str| environment(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(named);
    let is_utf8 = |locale: &String| locale.to_lowercase().replace('-', "").contains("utf8");
    match locale.filter(|locale| !is_utf8(locale)) {
        Some(locale) => Some(format!("the locale {locale} is not UTF-8 (set LANG=C.UTF-8): drawn in ASCII")),
        None if environment("TERM").is_some_and(|term| term == "dumb") => {
            Some("the terminal calls itself dumb (TERM): drawn in ASCII".to_owned())
        }
        None => None,
    }
}

fn unknown_zone(environment: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let name = environment("TZ").filter(|name| !name.is_empty())?;
    let is_unknown = jiff::tz::TimeZone::try_system().is_err();
    is_unknown.then(|| format!("the time zone {name:?} (TZ) is not known here: times are those of UTC"))
}

fn alias(
    sources: &Sources<'_>,
    options: &Options,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<(Alias, bool), ConfigError> {
    if let Some(Found { place, key, value }) = sources.find("alias", options.alias.as_deref()) {
        let alias = Alias::new(&value).map_err(|error| ConfigError::Value {
            place,
            key,
            found: format!("{value:?}"),
            allowed: error.to_string(),
        })?;
        return Ok((alias, true));
    }
    let mut login = ["USER", "LOGNAME", "USERNAME"].into_iter().filter_map(environment);
    let usable = login.find_map(|name| Alias::new(&name).ok());
    let usable = usable.or_else(|| login_name().and_then(|name| Alias::new(&name).ok()));
    let alias = usable.or_else(|| Alias::new("peer").ok()).ok_or(ConfigError::NoHome)?;
    Ok((alias, false))
}

/// A path with the home directory for `~` and with the values of variables, as a shell has it: where no shell reads them,
/// they must not become the names of directories.
fn expand(found: Found, environment: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf, ConfigError> {
    let Found { place, key, value } = found;
    let refuse = |allowed: &str| {
        let (place, key, found) = (place.clone(), key.clone(), format!("{value:?}"));
        Err(ConfigError::Value { place, key, found, allowed: allowed.to_owned() })
    };
    let mut path = String::new();
    let mut rest = value.as_str();
    if let Some(after) = value.strip_prefix('~') {
        let (true, Some(home)) = (after.is_empty() || after.starts_with('/'), environment("HOME")) else {
            return refuse("~ is your own home directory, if HOME says where that is; write others in full");
        };
        path.push_str(&home);
        rest = after;
    }
    while let Some((before, after)) = rest.split_once('$') {
        path.push_str(before);
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, after) = match after.strip_prefix('{').map(|after| after.split_once('}')) {
            Some(Some(named)) => named,
            Some(None) => return refuse("a variable is $NAME or ${NAME}"),
            None => after.split_at(after.find(|c| !is_name(c)).unwrap_or(after.len())),
        };
        let Some(value) = environment(name).filter(|_| !name.is_empty()) else {
            return refuse("a variable in a path has to be set; write $NAME or ${NAME}, or the path in full");
        };
        path.push_str(&value);
        rest = after;
    }
    path.push_str(rest);
    Ok(path.into())
}

/// The join address of a new host, unless the user gives another.
#[must_use]
pub fn default_listen() -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, limits::JOIN_PORT).into()
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

const ON_OR_OFF: &str = "on or off is allowed, in the file true or false";

fn on_or_off(text: &str) -> Option<bool> {
    match text {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

/// An address with or without a port, of IPv6 also with a zone.
fn listen_addr(text: &str, port: u16) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        let zoned = || net::zoned(text).or_else(|| net::zoned(&format!("[{bare}]:{port}")));
        bare.parse().ok().map(|ip| SocketAddr::new(ip, port)).or_else(zoned)
    })
}

#[cfg(test)]
mod tests;

//! Where values stand: flag, environment and file, the first of them that says something.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use super::{ConfigError, keys, themes};
use crate::{app::keymap::Keymap, model::SafeText, net, theme::Palette};

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

/// A configuration file.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// Its path, for errors.
    pub name: &'a str,
    /// All that stands in it.
    pub text: &'a str,
}

/// What a configuration file says.
pub(super) struct ConfigFile {
    name: String,
    values: BTreeMap<String, String>,
    pub(super) themes: Vec<Palette>,
    pub(super) keymap: Keymap,
}

pub(super) fn parse_file(File { name, text }: File<'_>) -> Result<ConfigFile, ConfigError> {
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
pub(super) struct Found {
    pub(super) place: String,
    pub(super) key: String,
    pub(super) value: String,
}

/// Where values stand.
pub(super) struct Sources<'a> {
    pub(super) environment: &'a dyn Fn(&str) -> Option<String>,
    pub(super) file: Option<ConfigFile>,
}

impl<'a> Sources<'a> {
    pub(super) fn new(
        environment: &'a dyn Fn(&str) -> Option<String>,
        file: Option<File<'_>>,
    ) -> Result<Self, ConfigError> {
        Ok(Self { environment, file: file.map(parse_file).transpose()? })
    }

    /// The first of flag, environment and file that says something.
    pub(super) fn find(&self, key: &str, flag: Option<&str>) -> Option<Found> {
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

    pub(super) fn get<T>(
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

    pub(super) fn number<T: FromStr + PartialOrd + fmt::Display + Copy>(
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

    /// Something that is on or off.
    pub(super) fn switch(&self, key: &str, flag: Option<&str>) -> Result<Option<bool>, ConfigError> {
        let allowed = "on or off is allowed, in the file true or false";
        self.get(key, flag, allowed, |text| match text {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        })
    }

    /// A path, as [`expand`] has it. A flag that is no Unicode is what it is.
    pub(super) fn path(&self, key: &str, flag: Option<&Path>) -> Result<Option<PathBuf>, ConfigError> {
        match flag {
            Some(path) if path.to_str().is_none() => Ok(Some(path.to_owned())),
            flag => {
                let found = self.find(key, flag.and_then(Path::to_str));
                found.map(|found| expand(found, self.environment)).transpose()
            }
        }
    }

    /// An address and a port, `port` where none stands there.
    pub(super) fn listen_addr(
        &self,
        key: &str,
        flag: Option<&str>,
        port: u16,
    ) -> Result<Option<SocketAddr>, ConfigError> {
        let allowed = "an address and port such as 0.0.0.0:4702, 192.168.1.66:4702 or [::]:4702 is allowed";
        self.get(key, flag, allowed, |text| listen_addr(text, port))
    }
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

/// An address with or without a port, of IPv6 also with a zone.
pub(super) fn listen_addr(text: &str, port: u16) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        let zoned = || net::zoned(text).or_else(|| net::zoned(&format!("[{bare}]:{port}")));
        bare.parse().ok().map(|ip| SocketAddr::new(ip, port)).or_else(zoned)
    })
}

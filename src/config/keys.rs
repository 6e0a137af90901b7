//! The user's own keys: the table `keys` in the configuration file.

use std::collections::BTreeMap;

use super::ConfigError;
use crate::app::keymap::{Keymap, Unbindable};

/// Reads the table `keys` of a file: for each action a key, or a list of them.
pub(super) fn read(file: &str, value: &toml::Value) -> Result<Keymap, ConfigError> {
    let wrong = |key: String, found: String, allowed: &str| ConfigError::Value {
        place: file.to_owned(),
        key,
        found,
        allowed: allowed.to_owned(),
    };
    let toml::Value::Table(table) = value else {
        let allowed = "a table such as [keys] with lines such as search = \"Ctrl-G\" is allowed";
        return Err(wrong("keys".to_owned(), value.to_string(), allowed));
    };
    let mut changes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (action, value) in table {
        let one = |value: &toml::Value| value.as_str().map(str::to_owned);
        let keys = match value {
            toml::Value::Array(all) => all.iter().map(one).collect(),
            value => one(value).map(|key| vec![key]),
        };
        let allowed = "a key such as \"Ctrl-G\" is allowed, or a list of them";
        let keys = keys.ok_or_else(|| wrong(format!("keys.{action}"), value.to_string(), allowed))?;
        changes.insert(action.clone(), keys);
    }
    Keymap::with(&changes)
        .map_err(|Unbindable { name, found, allowed }| wrong(format!("keys.{name}"), found, &allowed))
}

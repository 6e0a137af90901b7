//! The user's own themes: tables of colours in the configuration file.

use ratatui::style::Color;

use super::ConfigError;
use crate::{
    model::limits,
    theme::{Palette, THEMES},
};

/// What a table of a theme may hold.
const KEYS: &str = "base, accent, good, warning, error, quiet, nicks";

/// Reads the table `themes` of a file: a table of colours for each name.
pub(super) fn read(file: &str, value: toml::Value) -> Result<Vec<Palette>, ConfigError> {
    let wrong = |key: String, found: &toml::Value, allowed: String| ConfigError::Value {
        place: file.to_owned(),
        key,
        found: found.to_string(),
        allowed,
    };
    let toml::Value::Table(themes) = value else {
        return Err(wrong(
            "themes".to_owned(),
            &value,
            "a table such as [themes.NAME] is allowed".to_owned(),
        ));
    };
    let mut read = Vec::new();
    for (name, value) in themes {
        let key = format!("themes.{name}");
        let toml::Value::Table(table) = value else {
            return Err(wrong(key, &value, "a table of colours is allowed".to_owned()));
        };
        let base = table.get("base").and_then(toml::Value::as_str).unwrap_or("default");
        let Some(mut palette) = Palette::named(base) else {
            let allowed = format!("{} is allowed", THEMES.join(", "));
            return Err(wrong(format!("{key}.base"), &toml::Value::String(base.to_owned()), allowed));
        };
        palette.name = name;
        for (entry, value) in table {
            let key = format!("{key}.{entry}");
            let color = |value: &toml::Value| {
                let allowed = "a colour such as cyan, light-blue, 24 or #5f87af is allowed".to_owned();
                let read = value.as_str().and_then(|text| text.parse::<Color>().ok());
                read.ok_or_else(|| wrong(key.clone(), value, allowed))
            };
            match entry.as_str() {
                "base" => {}
                "accent" => palette.accent = Some(color(&value)?),
                "good" => palette.good = Some(color(&value)?),
                "warning" => palette.warning = Some(color(&value)?),
                "error" => palette.error = Some(color(&value)?),
                "quiet" => palette.quiet = Some(color(&value)?),
                "nicks" => {
                    let all = value.as_array().filter(|all| (1..=limits::HUES).contains(&all.len()));
                    let allowed = format!("a list of 1 to {} colours is allowed", limits::HUES);
                    let all = all.ok_or_else(|| wrong(key.clone(), &value, allowed))?;
                    let all: Vec<Color> = all.iter().map(color).collect::<Result<_, _>>()?;
                    for (nick, color) in palette.nicks.iter_mut().zip(all.iter().cycle()) {
                        *nick = Some(*color);
                    }
                }
                _ => {
                    let (file, keys) = (file.to_owned(), KEYS.to_owned());
                    return Err(ConfigError::Key { file, key, keys });
                }
            }
        }
        read.push(palette);
    }
    Ok(read)
}

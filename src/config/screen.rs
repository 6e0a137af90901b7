//! What belongs to the screen.

use super::{ConfigError, sources::Sources};
use crate::{
    app::{Noticed, Notices, keymap::Keymap},
    theme::Themes,
};

/// How the screen looks, and what it does.
#[derive(Debug, Clone)]
pub struct ScreenSettings {
    /// Colours may be used.
    pub color: bool,
    /// The themes, and which of them is shown.
    pub themes: Themes,
    /// What keys do.
    pub keymap: Keymap,
    /// What the terminal is told of that wants attention.
    pub notices: Notices,
    /// The mouse points at the screen, in place of selecting text.
    pub mouse: bool,
    /// Why nothing but ASCII is drawn, where the terminal shows nothing else.
    pub only_ascii: Option<String>,
}

impl ScreenSettings {
    pub(super) fn of(sources: &Sources<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            color: (sources.environment)("NO_COLOR").is_none_or(|value| value.is_empty()),
            themes: chosen_theme(sources)?,
            keymap: sources.file.as_ref().map(|file| file.keymap.clone()).unwrap_or_default(),
            notices: notices(sources)?,
            mouse: sources.switch("mouse", None)?.unwrap_or(false),
            only_ascii: only_ascii(sources.environment),
        })
    }
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
        has_text: sources.switch("notify_text", None)?.unwrap_or(usual.has_text),
        bell: sources.switch("bell", None)?.unwrap_or(usual.bell),
    })
}

/// Why nothing but ASCII can be shown, if that is so. Where no locale is named, UTF-8 is assumed.
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

//! Colours by meaning: the themes that come with the program, and the user's own.

use ratatui::style::Color;

use crate::model::limits;

/// The colours of a theme. Nothing = the terminal's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Palette {
    /// How it is called.
    pub name: String,
    /// The focus, and titles.
    pub accent: Option<Color>,
    /// Alive, and done.
    pub good: Option<Color>,
    /// What wants attention.
    pub warning: Option<Color>,
    /// Errors and refusals.
    pub error: Option<Color>,
    /// Times and lines; nothing = the terminal's own colour, dimmed where [`Palette::is_dimmed`].
    pub quiet: Option<Color>,
    /// What is quiet is dimmed.
    pub is_dimmed: bool,
    /// Names.
    pub nicks: [Option<Color>; limits::HUES],
    /// Nothing but ASCII is drawn.
    pub only_ascii: bool,
}

/// Names of the themes that there are without a configuration.
pub const THEMES: [&str; 6] = ["default", "light", "dark", "high-contrast", "mono", "ascii"];

impl Palette {
    /// The theme with a name; nothing when there is none.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        use Color::{
            Blue, Cyan, Green, Indexed, LightBlue, LightCyan, LightGreen, LightMagenta, LightRed,
            LightYellow, Magenta, Red, Yellow,
        };
        let hues = [Blue, Magenta, Cyan, Green, LightBlue, LightMagenta, LightCyan, LightGreen];
        let default = Self {
            name: name.to_owned(),
            accent: Some(Cyan),
            good: Some(Green),
            warning: Some(Yellow),
            error: Some(Red),
            quiet: None,
            is_dimmed: true,
            nicks: hues.map(Some),
            only_ascii: false,
        };
        Some(match name {
            "default" => default,
            "light" => Self {
                accent: Some(Indexed(24)),
                good: Some(Indexed(28)),
                warning: Some(Indexed(130)),
                error: Some(Indexed(124)),
                quiet: Some(Indexed(242)),
                is_dimmed: false,
                nicks: [25, 90, 30, 28, 61, 132, 54, 23].map(|number| Some(Indexed(number))),
                ..default
            },
            "dark" => Self {
                accent: Some(Indexed(80)),
                good: Some(Indexed(114)),
                warning: Some(Indexed(221)),
                error: Some(Indexed(203)),
                quiet: Some(Indexed(245)),
                is_dimmed: false,
                nicks: [75, 176, 79, 150, 111, 218, 147, 116].map(|number| Some(Indexed(number))),
                ..default
            },
            "high-contrast" => Self {
                accent: None,
                good: Some(LightGreen),
                warning: Some(LightYellow),
                error: Some(LightRed),
                is_dimmed: false,
                nicks: [None; limits::HUES],
                ..default
            },
            "mono" | "ascii" => Self { only_ascii: name == "ascii", ..Self::mono(name) },
            _ => return None,
        })
    }

    /// No colours at all.
    #[must_use]
    pub fn mono(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            accent: None,
            good: None,
            warning: None,
            error: None,
            quiet: None,
            is_dimmed: true,
            nicks: [None; limits::HUES],
            only_ascii: false,
        }
    }
}

/// The themes that can be chosen: those that come with the program, and the user's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Themes {
    /// The user's own.
    pub own: Vec<Palette>,
    /// What is shown.
    pub shown: Palette,
}

impl Default for Themes {
    fn default() -> Self {
        Self { own: Vec::new(), shown: Palette::named("default").unwrap_or_else(|| Palette::mono("default")) }
    }
}

impl Themes {
    /// Shows the theme with a name. False when there is none.
    pub fn show(&mut self, name: &str) -> bool {
        let named = self.named(name);
        let is_there = named.is_some();
        self.shown = named.unwrap_or_else(|| self.shown.clone());
        is_there
    }

    /// The theme with a name, the user's own first.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Palette> {
        self.own.iter().find(|own| own.name == name).cloned().or_else(|| Palette::named(name))
    }

    /// All names.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let own = self.own.iter().map(|own| own.name.clone());
        let rest = THEMES.iter().filter(|name| self.own.iter().all(|own| own.name != **name));
        own.chain(rest.map(|name| (*name).to_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance of a colour of the 256 (WCAG 2.1).
    fn luminance(color: Color) -> f64 {
        let Color::Indexed(number) = color else { panic!("{color:?}") };
        let rgb: [u8; 3] = match number {
            16..=231 => {
                let level = |digit: u8| if digit == 0 { 0 } else { 55 + 40 * digit };
                [level((number - 16) / 36), level((number - 16) / 6 % 6), level((number - 16) % 6)]
            }
            _ => [8 + 10 * (number - 232); 3],
        };
        let linear = rgb.map(|value| {
            let value = f64::from(value) / 255.0;
            if value <= 0.03928 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }

    #[test]
    fn every_colour_is_legible_on_its_background_and_no_two_nicks_are_alike() {
        // Black and white, and solarized's two backgrounds.
        for (name, backgrounds) in [("light", [1.0, 0.92]), ("dark", [0.0, 0.021])] {
            let palette = Palette::named(name).unwrap();
            let named = [palette.accent, palette.good, palette.warning, palette.error, palette.quiet];
            for color in named.into_iter().chain(palette.nicks).flatten() {
                for background in backgrounds {
                    let (light, dark) = (luminance(color).max(background), luminance(color).min(background));
                    let contrast = (light + 0.05) / (dark + 0.05);
                    assert!(contrast >= 4.0, "{name}: {color:?} on {background}: {contrast:.1}");
                }
            }
        }
        for name in THEMES {
            let nicks = Palette::named(name).unwrap().nicks;
            let all: std::collections::HashSet<_> = nicks.iter().flatten().collect();
            assert!(all.is_empty() || all.len() == nicks.len(), "{name}");
            let taken = [Color::Red, Color::LightRed, Color::Yellow, Color::LightYellow];
            assert!(nicks.iter().flatten().all(|color| !taken.contains(color)), "{name}");
        }
        assert!(Palette::named("pink").is_none());
    }
}

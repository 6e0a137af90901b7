//! Styles by meaning. Without colours everything is still told apart by signs and weight.

use ratatui::style::{Color, Modifier, Style};

use crate::{model::limits, theme::Palette};

/// How things look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Theme {
    accent: Option<Color>,
    good: Option<Color>,
    warning: Option<Color>,
    error: Option<Color>,
    quiet: Option<Color>,
    is_dimmed: bool,
    nicks: [Option<Color>; limits::HUES],
}

impl From<&Palette> for Theme {
    fn from(palette: &Palette) -> Self {
        let Palette { accent, good, warning, error, quiet, is_dimmed, nicks, .. } = *palette;
        Self { accent, good, warning, error, quiet, is_dimmed, nicks }
    }
}

fn colored(color: Option<Color>, without: Modifier) -> Style {
    color.map_or_else(|| Style::new().add_modifier(without), |color| Style::new().fg(color))
}

impl Theme {
    pub(super) fn plain() -> Style {
        Style::new()
    }

    pub(super) fn strong() -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn selected() -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    pub(super) fn dim(self) -> Style {
        let without = if self.is_dimmed { Modifier::DIM } else { Modifier::empty() };
        colored(self.quiet, without)
    }

    pub(super) fn accent(self) -> Style {
        colored(self.accent, Modifier::empty()).add_modifier(Modifier::BOLD)
    }

    pub(super) fn good(self) -> Style {
        colored(self.good, Modifier::empty())
    }

    pub(super) fn warning(self) -> Style {
        colored(self.warning, Modifier::BOLD)
    }

    pub(super) fn bad(self) -> Style {
        colored(self.error, Modifier::BOLD)
    }

    /// A pane's title.
    pub(super) fn title(self, focused: bool) -> Style {
        if focused { self.accent() } else { Self::strong() }
    }

    /// A peer's name.
    pub(super) fn name(self, hue: usize) -> Style {
        colored(self.nicks.get(hue).copied().flatten(), Modifier::BOLD)
    }
}

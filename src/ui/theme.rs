//! Styles by meaning. Only the 16 colours of the terminal, so that light and dark ones both work; without colours
//! everything is still told apart by signs and weight.

use ratatui::style::{Color, Modifier, Style};

use crate::model::PeerId;

/// How things look.
#[derive(Debug, Clone, Copy)]
pub struct Theme {
    color: bool,
}

const NAMES: [Color; 6] =
    [Color::Cyan, Color::Magenta, Color::Green, Color::Yellow, Color::Blue, Color::LightRed];

impl Theme {
    /// With colours or without.
    #[must_use]
    pub fn new(color: bool) -> Self {
        Self { color }
    }

    fn fg(self, color: Color, fallback: Modifier) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new().add_modifier(fallback) }
    }

    pub(super) fn plain() -> Style {
        Style::new()
    }

    pub(super) fn strong() -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn dim() -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(super) fn selected() -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    pub(super) fn accent(self) -> Style {
        self.fg(Color::Cyan, Modifier::BOLD).add_modifier(Modifier::BOLD)
    }

    pub(super) fn good(self) -> Style {
        self.fg(Color::Green, Modifier::empty())
    }

    pub(super) fn warning(self) -> Style {
        self.fg(Color::Yellow, Modifier::BOLD)
    }

    pub(super) fn bad(self) -> Style {
        self.fg(Color::Red, Modifier::BOLD)
    }

    /// A pane's frame and title.
    pub(super) fn frame(self, focused: bool) -> Style {
        if focused { self.accent() } else { Self::dim() }
    }

    /// A peer's name: always the same colour for the same key.
    pub(super) fn name(self, peer: &PeerId) -> Style {
        let sum =
            peer.0.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
        let color = NAMES.get(sum % NAMES.len()).copied().unwrap_or(Color::Cyan);
        self.fg(color, Modifier::BOLD)
    }
}

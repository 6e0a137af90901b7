//! A line to type on top of everything, and above it what may be meant.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};
use unicode_segmentation::UnicodeSegmentation as _;

use super::{Theme, paint};
use crate::app::{
    State,
    keymap::{Action, Context},
    layer::{Prompt, PromptKind},
    palette::{self, Command},
    strength::Strength,
    suggestions, why_not, wrap,
};

/// What stands above the line.
fn title(state: &State, line: &Prompt) -> String {
    let title = match line.kind {
        PromptKind::Palette => match palette::begun(line.editor.text()) {
            Some((command, _)) => {
                return format!("/{} {}", command.name, command.takes).trim_end().to_owned();
            }
            None => "Commands",
        },
        PromptKind::GoTo => "Go to",
        PromptKind::Search => "Search",
        PromptKind::Password => "New password",
        PromptKind::Theme => "Theme",
        PromptKind::Recall => "Sent before",
        PromptKind::Menu(_) => "Message",
        PromptKind::Handover(peer) => {
            let next = state.room().map(|room| room.name(&peer)).unwrap_or_default();
            return format!("Type {next} to hand the network over");
        }
    };
    title.to_owned()
}

/// Draws it above the hint line. Gives where the cursor is.
pub(super) fn draw(
    state: &State,
    line: &Prompt,
    theme: Theme,
    area: Rect,
    buffer: &mut Buffer,
) -> Option<Position> {
    let title = title(state, line);
    let suggestions = suggestions(state);
    let listed = suggestions.len().min(usize::from(area.height.saturating_sub(6))).min(12);
    let extra = listed + usize::from(line.error.is_some());
    let height = u16::try_from(extra + 3).unwrap_or(u16::MAX).min(area.height);
    let width = 100.min(area.width);
    // Above the hint line, so that what is searched for stays visible.
    let rect = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.bottom().saturating_sub(height + 1).max(area.y),
        width,
        height,
    };
    paint::clear(buffer, rect);
    let more = if suggestions.len() > listed { ", ↑↓ for more" } else { "" };
    let inner = paint::boxed(buffer, rect, &format!("{title}{more}"), theme.accent());
    if inner.is_empty() {
        return None;
    }
    let mut y = inner.y;
    let first = (line.at + 1).saturating_sub(listed);
    for (at, name) in suggestions.iter().enumerate().skip(first).take(listed) {
        suggestion(state, line, name, theme, row(inner, y), buffer);
        if at == line.at {
            paint::fill(buffer, inner, y, Theme::selected());
        }
        y += 1;
    }
    if let Some(error) = &line.error {
        paint::put(buffer, inner, inner.x, y, &wrap::fit(error, usize::from(inner.width)), theme.bad());
        y += 1;
    }
    Some(typed(line, theme, row(inner, y), buffer))
}

/// One row, as far as there is room for it.
fn row(inner: Rect, y: u16) -> Rect {
    Rect { y, height: 1, ..inner }.intersection(inner)
}

/// One of what may be meant, and beside a command what it does, or why it cannot be done now.
fn suggestion(state: &State, line: &Prompt, name: &str, theme: Theme, row: Rect, buffer: &mut Buffer) {
    let is_list = line.kind == PromptKind::Palette && palette::begun(line.editor.text()).is_none();
    let command = palette::COMMANDS.iter().find(|command| is_list && command.name == name);
    let why_not = command.and_then(|command| why_not(state, command));
    let text = match command {
        Some(command) => {
            let why_not = why_not.map(|why_not| format!("{why_not}: ")).unwrap_or_default();
            format!("{:<28} {why_not}{}", format!("/{} {}", command.name, command.takes), command.help)
        }
        None if line.kind == PromptKind::Theme && name == state.themes.shown.name => {
            format!("{name:<28} the one you have")
        }
        None => name.replace('\n', " "),
    };
    let style = if why_not.is_none() { Theme::plain() } else { theme.dim() };
    let end = paint::put(buffer, row, row.x, row.y, &wrap::fit(&text, usize::from(row.width)), style);
    if let Some(key) = command.and_then(|command| command_key(state, command)) {
        paint::put_right(buffer, row, end + 2, row.y, &key, theme.dim());
    }
}

/// What is typed, scrolled so that the cursor is seen. Gives where that is.
fn typed(line: &Prompt, theme: Theme, row: Rect, buffer: &mut Buffer) -> Position {
    let x = paint::put(buffer, row, row.x, row.y, "› ", theme.accent());
    let text = line.editor.text();
    let before = text.get(..line.editor.cursor()).unwrap_or_default();
    let (shown, before) = if line.kind == PromptKind::Password && !line.revealed {
        ("•".repeat(text.chars().count()), before.chars().count())
    } else {
        (text.to_owned(), wrap::width(before))
    };
    let mut room = usize::from(row.right().saturating_sub(x + 1)).max(1);
    if let Some(strength) = line.strength {
        let style = if strength == Strength::Weak { theme.warning() } else { theme.dim() };
        let words = strength.words();
        paint::put_right(buffer, row, x, row.y, words, style);
        room = room.saturating_sub(wrap::width(words) + 2).max(1);
    }
    let field = Rect { width: (x - row.x) + u16::try_from(room).unwrap_or(u16::MAX), ..row };
    let skip = before.saturating_sub(room);
    let visible: String = shown.graphemes(true).skip(skip).collect();
    paint::put(buffer, field, x, row.y, &visible, Theme::plain());
    Position { x: x + u16::try_from(before - skip).unwrap_or(0), y: row.y }
}

/// The key that does the same as a command. One that acts where letters do comes after Esc.
pub(super) fn command_key(state: &State, command: &Command) -> Option<String> {
    let action = command.action?;
    let key = |contexts: &[Context]| state.keymap.key(contexts, action);
    let of_letters = || {
        let esc = state.keymap.key(&[Context::Compose], Action::Close)?;
        Some(format!("{esc} {}", key(&[Context::Browse])?))
    };
    key(&[Context::Compose, Context::Room, Context::Everywhere]).or_else(of_letters)
}

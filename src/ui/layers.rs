//! What lies on top: help, questions, lines to type.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use super::{Theme, paint};
use crate::app::{
    State,
    keymap::{Action, Context},
    layer::{Dialog, Item, Layer, Prompt, PromptKind},
    palette::{self, Command},
    strength::Strength,
    suggestions, why_not, wrap,
};

/// Draws a layer. Gives where the cursor is then, if anywhere.
pub(super) fn draw(
    state: &State,
    layer: &Layer,
    theme: Theme,
    area: Rect,
    buffer: &mut Buffer,
) -> Option<Position> {
    match layer {
        Layer::Help { scroll } => help(state, *scroll, theme, area, buffer),
        Layer::Invite(card) => super::invite::draw(state, card, theme, area, buffer),
        Layer::Dialog(question) => dialog(question, theme, area, buffer),
        Layer::Note { title, lines, scroll } => note(title, lines, *scroll, theme, area, buffer),
        Layer::Prompt(line) => return prompt(state, line, theme, area, buffer),
    }
    None
}

fn boxed(area: Rect, width: u16, height: u16, title: &str, theme: Theme, buffer: &mut Buffer) -> Rect {
    let rect = paint::centered(area, width, height);
    paint::clear(buffer, rect);
    paint::boxed(buffer, rect, title, theme.accent())
}

/// Keys in groups, then the commands.
fn help(state: &State, scroll: usize, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut last = None;
    for (group, keys, words) in state.keymap.grouped_help(&state.contexts_below_help()) {
        if last.replace(group) != Some(group) {
            if !all.is_empty() {
                all.push((String::new(), String::new()));
            }
            all.push((group.words().to_owned(), String::new()));
        }
        all.push((format!("  {keys}"), words.to_owned()));
    }
    if state.room().is_some() {
        all.extend([(String::new(), String::new()), ("Commands".to_owned(), String::new())]);
        let commands = palette::COMMANDS.iter().filter(|command| state.is_host() || !command.host_only);
        all.extend(commands.map(|command| {
            let key = command_key(state, command).map(|key| format!(": {key}")).unwrap_or_default();
            let name = format!("  /{} {}", command.name, command.takes).trim_end().to_owned();
            (name, format!("{}{key}", command.help))
        }));
    }
    // A column or two beside it would show letters of what lies below.
    let whole = if area.width < 84 { area.width } else { 76 };
    let width = usize::from(whole.saturating_sub(4));
    let keys = all.iter().map(|(keys, _)| wrap::width(keys)).max().unwrap_or(8).min(width * 2 / 5);
    // Both columns break into as many rows as they need.
    let mut rows: Vec<(String, String)> = Vec::new();
    for (key, words) in &all {
        let split = |text: &str, width: usize| -> Vec<String> {
            wrap::rows(text, width)
                .into_iter()
                .filter_map(|range| text.get(range))
                // The blank after the last word may stand outside.
                .map(|row| row.trim_end().to_owned())
                .collect()
        };
        let indent = if key.starts_with(' ') { "  " } else { "" };
        let left: Vec<String> = split(key.trim_start(), keys.saturating_sub(indent.len()))
            .into_iter()
            .map(|row| format!("{indent}{row}"))
            .collect();
        let right = split(words, width.saturating_sub(keys + 2));
        let cell = |column: &[String], at: usize| column.get(at).cloned().unwrap_or_default();
        let lines = left.len().max(right.len());
        rows.extend((0..lines).map(|at| (cell(&left, at), cell(&right, at))));
    }
    let height = u16::try_from(rows.len() + 2).unwrap_or(u16::MAX).min(area.height.saturating_sub(1));
    let shown = usize::from(height.saturating_sub(2));
    let scroll = scroll.min(rows.len().saturating_sub(shown));
    let title = if scroll + shown < rows.len() { "Help, more below ↓" } else { "Help" };
    let inner = boxed(area, whole, height, title, theme, buffer);
    for (at, (key, words)) in rows.iter().skip(scroll).take(usize::from(inner.height)).enumerate() {
        let y = inner.y + u16::try_from(at).unwrap_or(0);
        let style = if key.starts_with(' ') { Theme::strong() } else { theme.accent() };
        paint::put(buffer, inner, inner.x, y, &wrap::fit(key, keys), style);
        let x = inner.x + u16::try_from(keys + 2).unwrap_or(0);
        let width = usize::from(inner.right().saturating_sub(x));
        paint::put(buffer, inner, x, y, &wrap::fit(words, width), Theme::plain());
    }
}

fn note(title: &str, lines: &[String], scroll: usize, theme: Theme, area: Rect, buffer: &mut Buffer) {
    // As wide as it takes: keys are compared line by line.
    let longest = lines.iter().map(|line| wrap::width(line)).max().unwrap_or(0);
    let width = u16::try_from(longest + 4).unwrap_or(u16::MAX).max(66).min(area.width);
    let text_width = usize::from(width.saturating_sub(4)).max(8);
    let broken: Vec<&str> = lines
        .iter()
        .flat_map(|line| wrap::rows(line, text_width).into_iter().filter_map(|range| line.get(range)))
        .collect();
    let height = u16::try_from(broken.len() + 2).unwrap_or(u16::MAX).min(area.height.saturating_sub(1));
    let shown = usize::from(height.saturating_sub(2));
    let scroll = scroll.min(broken.len().saturating_sub(shown));
    let more = if scroll + shown < broken.len() { ", more below ↓" } else { "" };
    let inner = boxed(area, width, height, &format!("{title}{more}"), theme, buffer);
    for (at, line) in broken.into_iter().skip(scroll).take(usize::from(inner.height)).enumerate() {
        let y = inner.y + u16::try_from(at).unwrap_or(0);
        paint::put(buffer, inner, inner.x, y, line, Theme::plain());
    }
}

fn dialog(question: &Dialog, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let width = 66.min(area.width);
    let text_width = usize::from(width.saturating_sub(4)).max(8);
    let lines: Vec<String> = question
        .lines
        .iter()
        .flat_map(|line| wrap::rows(line, text_width).into_iter().filter_map(|range| line.get(range)))
        .map(str::to_owned)
        .collect();
    // A row for each check box; the buttons stand side by side below them.
    let is_button = |item: &Item| matches!(item, Item::Cancel | Item::Differ | Item::Yes);
    let boxes = question.items.iter().filter(|item| !is_button(item)).count();
    let gap = usize::from(boxes > 0);
    let height = u16::try_from(lines.len() + boxes + gap + 4).unwrap_or(u16::MAX);
    let inner = boxed(area, width, height, &question.title, theme, buffer);
    // Where there is no room for all of it, the buttons go before the words.
    let below = u16::try_from(boxes + gap + 2).unwrap_or(u16::MAX);
    let words = inner.height.saturating_sub(below.min(inner.height.saturating_sub(1)));
    for (at, line) in lines.iter().take(usize::from(words)).enumerate() {
        let y = inner.y + u16::try_from(at).unwrap_or(0);
        paint::put(buffer, inner, inner.x, y, line, Theme::plain());
    }
    let buttons = inner.bottom().saturating_sub(1).max(inner.y);
    let mut y = buttons.saturating_sub(below.saturating_sub(2)).max(inner.y);
    let mut x = inner.x;
    for (at, item) in question.items.iter().enumerate() {
        let label = label(*item, question.yes);
        let mut style = if *item == Item::Yes { theme.bad() } else { Theme::plain() };
        if at == question.at {
            style = style.patch(Theme::selected());
        }
        if is_button(item) {
            x = paint::put(buffer, inner, x, buttons, &label, style) + 2;
        } else if y < buttons {
            paint::put(buffer, inner, inner.x, y, &label, style);
            y += 1;
        }
    }
}

/// The key that does the same as a command. One that acts where letters do comes after Esc.
fn command_key(state: &State, command: &Command) -> Option<String> {
    let action = command.action?;
    let key = |contexts: &[Context]| state.keymap.key(contexts, action);
    let of_letters = || {
        let esc = state.keymap.key(&[Context::Compose], Action::Close)?;
        Some(format!("{esc} {}", key(&[Context::Browse])?))
    };
    key(&[Context::Compose, Context::Room, Context::Everywhere]).or_else(of_letters)
}

fn label(item: Item, yes: &str) -> String {
    let option = |on: bool, words: &str| format!("[{}] {words}", if on { "x" } else { " " });
    match item {
        Item::Cancel => "[ Cancel ]".to_owned(),
        Item::Differ => "[ They differ ]".to_owned(),
        Item::Yes => format!("[ {yes} ]"),
        Item::ByKey(on) => option(on, "by key"),
        Item::ByAddress(on) => option(on, "by address"),
        Item::NewPassword(on) => option(on, "then set a new password"),
    }
}

fn prompt(state: &State, line: &Prompt, theme: Theme, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    let name;
    let begun = Some(line.editor.text()).filter(|_| line.kind == PromptKind::Palette);
    let title = match line.kind {
        PromptKind::Palette => match begun.and_then(palette::begun) {
            Some((command, _)) => {
                name = format!("/{} {}", command.name, command.takes).trim_end().to_owned();
                &name
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
            name = format!("Type {next} to hand the network over");
            &name
        }
    };
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
        let is_list = line.kind == PromptKind::Palette && begun.and_then(palette::begun).is_none();
        let command = palette::COMMANDS.iter().find(|command| is_list && command.name == name);
        let why_not = command.and_then(|command| why_not(state, command));
        let text = match command {
            Some(command) => {
                let why_not = why_not.map(|why_not| format!("{why_not}: ")).unwrap_or_default();
                format!("{:<28} {why_not}{}", format!("/{} {}", command.name, command.takes), command.help)
            }
            None if line.kind == PromptKind::Theme && *name == state.themes.shown.name => {
                format!("{name:<28} the one you have")
            }
            None => name.replace('\n', " "),
        };
        let style = if why_not.is_none() { Theme::plain() } else { theme.dim() };
        let end = paint::put(buffer, inner, inner.x, y, &wrap::fit(&text, usize::from(inner.width)), style);
        if let Some(key) = command.and_then(|command| command_key(state, command)) {
            paint::put_right(buffer, inner, end + 2, y, &key, theme.dim());
        }
        if at == line.at {
            paint::fill(buffer, inner, y, Theme::selected());
        }
        y += 1;
    }
    if let Some(error) = &line.error {
        paint::put(buffer, inner, inner.x, y, &wrap::fit(error, usize::from(inner.width)), theme.bad());
        y += 1;
    }
    let x = paint::put(buffer, inner, inner.x, y, "› ", theme.accent());
    let text = line.editor.text();
    let before = text.get(..line.editor.cursor()).unwrap_or_default();
    let (shown, before) = if line.kind == PromptKind::Password && !line.revealed {
        ("•".repeat(text.chars().count()), before.chars().count())
    } else {
        (text.to_owned(), wrap::width(before))
    };
    let mut room = usize::from(inner.right().saturating_sub(x + 1)).max(1);
    if let Some(strength) = line.strength {
        let style = if strength == Strength::Weak { theme.warning() } else { theme.dim() };
        let words = strength.words();
        paint::put_right(buffer, inner, x, y, words, style);
        room = room.saturating_sub(wrap::width(words) + 2).max(1);
    }
    let field = Rect { width: (x - inner.x) + u16::try_from(room).unwrap_or(u16::MAX), ..inner };
    let skip = before.saturating_sub(room);
    let visible: String =
        unicode_segmentation::UnicodeSegmentation::graphemes(shown.as_str(), true).skip(skip).collect();
    paint::put(buffer, field, x, y, &visible, Theme::plain());
    Some(Position { x: x + u16::try_from(before - skip).unwrap_or(0), y })
}

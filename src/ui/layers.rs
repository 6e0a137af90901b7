//! What lies on top: help, questions, what is to be read.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use super::{Theme, paint, prompt::command_key};
use crate::app::{
    State,
    layer::{Dialog, Item, Layer},
    palette, wrap,
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
        Layer::Prompt(line) => return super::prompt::draw(state, line, theme, area, buffer),
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
